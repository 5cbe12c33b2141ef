"""Timing: how often a call fits into a share of a second, how long each took, and what several rounds come to."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from attrs import frozen

from ordergate.clock import SystemClock

__all__ = ["CLOCK", "Sample", "Spread", "gathered", "quantile", "rates", "sample_of", "spread", "timed"]

CLOCK: Final = SystemClock()
"""What everything here is timed with. `monotonic` counts nanoseconds on Linux."""

Sample: TypeAlias = Mapping[str, float]
"""Figures of one round by name: `call`, what one call takes, `p50` and `p99` are seconds, `rate` calls per second."""

_FAST: Final = 50e-6  # under this the clock itself would be a part of the figure
_STRETCHES: Final = 21
_APART: Final = 400  # calls of a fast one that are timed one by one, for p50 and p99 alone
_MOST: Final = 200_000


@frozen(kw_only=True)
class Spread:
    """A figure over all rounds: the median, and the tenth and ninetieth of a hundred."""

    median: float
    low: float
    high: float


def timed(call: Callable[[], object], seconds: float, *, most: int = _MOST) -> Sample:
    """Call as often as fits into `seconds`, at least once and at most `most` times.

    Slow calls are timed one by one, and `call` is their median. Fast ones are timed in stretches, `call` is the median
    stretch's mean, and p50 and p99 are of some hundred more that are timed one by one, the clock's own cost in them.
    """
    gc.collect()
    first = min(_each(call, 2))
    count = max(1, min(most, int(seconds / max(first, 1e-7))))
    if first > _FAST:
        return sample_of(_each(call, count))
    stretch = max(1, count // _STRETCHES)
    means = [time / stretch for time in _each(partial(_repeat, call, stretch), _STRETCHES)]
    return {**sample_of(_each(call, min(_APART, count))), "call": quantile(means, 0.5)}


def _repeat(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


def gathered(one: Callable[[], float], seconds: float, *, most: int = _MOST) -> Sample:
    """The same for what says itself how long it took, in seconds: where not all that a call does is to be counted."""
    gc.collect()
    until, times = CLOCK.monotonic() + seconds, [one()]
    while CLOCK.monotonic() < until and len(times) < most:
        times.append(one())
    return sample_of(times)


def sample_of(times: Sequence[float]) -> Sample:
    """The figures of calls that took so many seconds each."""
    median = quantile(times, 0.5)
    return {"call": median, "p50": median, "p99": quantile(times, 0.99)}


def rates(count: int, seconds: float) -> Sample:
    """The figure of so many calls done in so many seconds."""
    return {"rate": count / seconds}


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all are not above: one of the values, never one between two."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> Spread:
    """Median and spread of one figure over the rounds."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return Spread(median=median, low=quantile(ordered, 0.1), high=quantile(ordered, 0.9))


def _each(call: Callable[[], object], count: int) -> list[float]:
    clock, times = CLOCK.monotonic, []
    for _ in range(count):
        began = clock()
        call()
        times.append(clock() - began)
    return times
