"""Time, new ids and jitter: the only module that asks the machine for any of them.

Everything else is given a `Clock`, so that tests and simulations can own time, and the code path stays the real one.
"""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "iso"]


class Clock(Protocol):
    """What the gate needs of its surroundings."""

    def now(self) -> float:
        """Seconds since the epoch, UTC: for what is recorded and compared across processes."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back: for ages and deadlines inside one process."""
        ...

    def sleep(self, seconds: float) -> None: ...

    def new_id(self) -> str:
        """A fresh identifier of 32 characters that nobody else has."""
        ...

    def jitter(self, low: float, high: float) -> float:
        """A number between the two, for spreading retries."""
        ...


class SystemClock:
    """The machine's own clock and randomness."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def new_id(self) -> str:
        return uuid.uuid4().hex

    def jitter(self, low: float, high: float) -> float:
        return random.uniform(low, high)  # noqa: S311 - spreads retries; nothing secret depends on it


def iso(moment: float) -> str:
    """A moment as people and other programs read it: `2026-11-22T20:47:18.123Z`."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
