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
_ENOUGH: Final = 12  # readings after that, before anything is said
_CREEP: Final = 6 * 2**20
"""Bytes by which an allocator's resident memory wanders while nothing is kept (measured: 1 to 4 MB, 2026-11-23)."""
_LEAST_BYTES: Final = 50.0
"""Bytes per intent that are never too many: over a million intents they are no more than a process needs anyway."""
_KEPT: Final = 1000
_MOST_FILES: Final = 0.2
"""Descriptors, or threads, per window: one that is forgotten in every window shows as 1."""


@frozen
class Reading:
    """After so many windows and intents. `memory` in bytes: resident now, where the machine tells it, else the most it
    ever was.
    """

    window: int
    intents: int
    memory: int
    files: int
    threads: int


@define
class Gauge:
    """Readings in the order in which they were taken; of very many every second is forgotten."""

    readings: list[Reading] = field(factory=list)

    def read(self, window: int, intents: int) -> Reading:
        """How the process stands after so many windows and intents."""
        gc.collect()
        files = sum(1 for _ in _FILES.iterdir())
        reading = Reading(window, intents, _memory(), files, threading.active_count())
        self.take(reading)
        return reading

    def take(self, reading: Reading) -> None:
        if len(self.readings) == _KEPT:
            del self.readings[1::2]
        self.readings.append(reading)

    def growth(self) -> str:
        """What grows from window to window, in words; empty when nothing does."""
        warm = self.readings[max(4, int(len(self.readings) * _WARM_UP)) :]
        if len(warm) < _ENOUGH:
            return ""
        windows = [float(one.window) for one in warm]
        found = []
        intents = [float(one.intents) for one in warm]
        memory = slope(intents, [float(one.memory) for one in warm])
        if memory > max(_LEAST_BYTES, _CREEP / (intents[-1] - intents[0])):
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
