"""The windows of one seed, one after the other, until there were enough intents, one failed or something grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from ordergate.testing.soak.gauge import Gauge, Reading
from ordergate.testing.soak.windows import Failure, Window, run_window

__all__ = ["Series"]

_KILLED: Final = 300  # intents of a window of processes at most: each start of one costs as much as dozens of them


@define(kw_only=True)
class Series:
    """`threads_every` and `kill_every`: in each so manieth window; 0 for never."""

    seed: int
    size: int
    threads_every: int = 4
    kill_every: int = 40
    done: int = 0
    """Intents so far, and windows."""
    windows: int = 0
    failure: Failure | None = None
    growth: str = ""
    gauge: Gauge = field(factory=Gauge)

    def run(self, intents: int | None, heard: Callable[[Reading], None]) -> None:
        """`heard` is called after each window. Without a number of intents it goes on until something fails."""
        while (intents is None or self.done < intents) and not self.failure and not self.growth:
            heard(self.run_one(self.windows))

    def run_one(self, number: int) -> Reading:
        window = self.window(number)
        self.failure = run_window(window)
        self.done += window.intents
        self.windows += 1
        reading = self.gauge.read(self.windows, self.done)
        self.growth = self.gauge.growth()
        return reading

    def window(self, number: int) -> Window:
        """Which window the seed has there; the same whatever came before it."""
        if self.kill_every and number % self.kill_every == self.kill_every - 1:
            return Window(seed=self.seed, number=number, intents=min(self.size, _KILLED), kills=3)
        several = self.threads_every and number % self.threads_every == self.threads_every - 1
        return Window(seed=self.seed, number=number, intents=self.size, threads=4 if several else 1)
