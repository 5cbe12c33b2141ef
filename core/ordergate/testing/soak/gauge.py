"""Memory, open files and threads of this process, read after each window, and whether they grow.

A slope over many windows is asked for, never a size: what a process needs once is its own business.
"""

from __future__ import annotations

import gc
import resource
import threading
from pathlib import Path
from statistics import median
from typing import Final

from attrs import define, field, frozen

__all__ = ["Gauge", "Reading"]

_PAGES: Final = Path("/proc/self/statm")
_FILES: Final = Path("/dev/fd")
_WARM_UP: Final = 0.4
"""The share of the windows, and at least four of them, in which whatever is made once is made."""
_ENOUGH: Final = 8  # readings after that, before anything is said
_MOST_BYTES: Final = 400
"""Bytes per intent. A record of an intent that is kept has thousands."""
_MOST_FILES: Final = 0.2
"""Descriptors, or threads, per window: one that is forgotten in every window shows as 1."""


@frozen
class Reading:
    """`memory` in bytes: resident now, where the machine tells it, else the most there has been."""

    intents: int
    memory: int
    files: int
    threads: int


@define
class Gauge:
    """Readings in the order in which they were taken."""

    readings: list[Reading] = field(factory=list)

    def read(self, intents: int) -> Reading:
        gc.collect()
        reading = Reading(intents, _memory(), sum(1 for _ in _FILES.iterdir()), threading.active_count())
        self.readings.append(reading)
        return reading

    def growth(self) -> str:
        """What grows from window to window, in words; empty when nothing does."""
        warm = self.readings[max(4, int(len(self.readings) * _WARM_UP)) :]
        if len(warm) < _ENOUGH:
            return ""
        windows = [float(number) for number in range(len(warm))]
        found = []
        memory = slope([float(one.intents) for one in warm], [float(one.memory) for one in warm])
        if memory > _MOST_BYTES:
            found.append(f"memory grows by {memory:.0f} bytes per intent")
        for name in ("files", "threads"):
            per_window = slope(windows, [float(getattr(one, name)) for one in warm])
            if per_window > _MOST_FILES:
                found.append(f"open {name} grow by {per_window:.2f} per window")
        return ", ".join(found)


def slope(places: list[float], values: list[float]) -> float:
    """The median of the slopes between all pairs: some odd readings do not move it. Needs two places or more."""
    step = max(1, len(places) // 200)  # a long run has more readings than pairs of them are worth
    pairs = list(zip(places[::step], values[::step], strict=True))
    return median(
        (other[1] - one[1]) / (other[0] - one[0]) for number, one in enumerate(pairs) for other in pairs[number + 1 :]
    )


def _memory() -> int:
    if _PAGES.exists():
        return int(_PAGES.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
