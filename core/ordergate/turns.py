"""Threads that want the same kind of slow work done take turns, and those who waited through one share the next.

There is no thread of its own: whoever comes when nobody is at it does the work, for itself alone. Who comes meanwhile
waits; then the first of them does it for all who wait. Plain locks, because nothing is cheaper to wake a thread with.

An exception from nowhere, such as Ctrl-C, may end any thread at any line. So the turn is a lock held by `with`, and
nobody waits for long to be told by another.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar

from attrs import define, field

__all__ = ["Turns"]

_PATIENCE: Final = 0.25  # seconds after which a thread looks by itself whether it is its turn

T = TypeVar("T")


@define(eq=False)
class _Waiting(Generic[T]):
    item: T
    told: threading.Lock = field(factory=threading.Lock)
    done: bool = False

    def __attrs_post_init__(self) -> None:
        self.told.acquire()

    def tell(self) -> None:
        """Wake its thread: the work on its item is done, or it is its turn."""
        with suppress(RuntimeError):  # another thread has just told it
            self.told.release()


class Turns(Generic[T]):
    """`work` gets the items of one turn, in the order in which they came, and leaves with each what became of it."""

    def __init__(self, work: Callable[[Sequence[T]], None]) -> None:
        self._work = work
        self._turn = threading.Lock()
        self._waiting: deque[_Waiting[T]] = deque()

    def do(self, item: T) -> None:
        """Return when the work was done on the item, by this thread or another.

        What `work` raises, it raises in the thread that did it; the others return, their items as it left them.
        """
        mine = _Waiting(item)
        try:
            self._waiting.append(mine)
            if self._turn.locked() or not self._comes_first(mine):
                mine.told.acquire(timeout=_PATIENCE)
            if not mine.done:
                self._take_turn(mine)
        finally:
            if not mine.done:  # who leaves takes the item along: nothing may be done with it later
                with suppress(ValueError):
                    self._waiting.remove(mine)

    def _comes_first(self, mine: _Waiting[T]) -> bool:
        """Who does not leaves the turn to who does: the more come together, the more share it."""
        try:
            return self._waiting[0] is mine
        except IndexError:  # it has been taken along by the thread whose turn it is
            return False

    def _take_turn(self, mine: _Waiting[T]) -> None:
        batch: list[_Waiting[T]] = []
        try:
            with self._turn:
                if not mine.done:
                    while self._waiting:
                        batch.append(self._waiting.popleft())
                    self._do_all(batch)
        finally:
            for one in batch:
                one.tell()
            with suppress(IndexError):  # after the turn was given back: who comes from now on finds it free
                self._waiting[0].tell()

    def _do_all(self, batch: Sequence[_Waiting[T]]) -> None:
        try:
            self._work([one.item for one in batch])
        finally:
            for one in batch:
                one.done = True
