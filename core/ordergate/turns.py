"""Threads that want the same kind of slow work done take turns, and those who waited through one share the next.

There is no thread of its own: whoever comes when nobody is at it does the work, for itself alone. Who comes meanwhile
waits; then the first of them does it for all who wait. Plain locks, because nothing is cheaper to wake a thread with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from attrs import define, field

__all__ = ["Turns"]

T = TypeVar("T")


@define(eq=False)
class _Waiting(Generic[T]):
    item: T
    told: threading.Lock = field(factory=threading.Lock)
    done: bool = False

    def __attrs_post_init__(self) -> None:
        self.told.acquire()


class Turns(Generic[T]):
    """`work` gets the items of one turn, in the order in which they came, and leaves with each what became of it."""

    def __init__(self, work: Callable[[Sequence[T]], None]) -> None:
        self._work = work
        self._gate = threading.Lock()
        self._busy = False
        self._waiting: list[_Waiting[T]] = []

    def do(self, item: T) -> None:
        """Return when the work was done on the item, by this thread or another. What `work` raises, it raises in the
        thread that did it; the others' items are as it left them.
        """
        mine = _Waiting(item)
        with self._gate:
            at_once, self._busy = not self._busy, True
            if not at_once:
                self._waiting.append(mine)
        if not at_once:
            self._wait(mine)
        if not mine.done:
            self._take_turn(mine, alone=at_once)

    def _wait(self, mine: _Waiting[T]) -> None:
        told = False
        try:
            told = mine.told.acquire()
        finally:
            if not told:  # Ctrl-C; the others must not wait for a thread that has left
                with self._gate:
                    if mine in self._waiting:
                        chosen = not mine.told.locked()
                        self._waiting.remove(mine)
                        if chosen:
                            self._hand_on()

    def _take_turn(self, mine: _Waiting[T], *, alone: bool) -> None:
        batch = [mine]
        if not alone:
            with self._gate:
                batch, self._waiting = self._waiting, []
        try:
            self._work([one.item for one in batch])
        finally:
            for one in batch:
                one.done = True
                if one is not mine:
                    one.told.release()
            with self._gate:
                self._hand_on()

    def _hand_on(self) -> None:
        """The turn goes to who has waited longest. Called behind the gate."""
        self._busy = bool(self._waiting)
        if self._busy:
            self._waiting[0].told.release()
