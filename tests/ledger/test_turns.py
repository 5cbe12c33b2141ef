"""Threads that take turns: who waits through one shares the next; who fails or leaves holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ordergate import turns as module
from ordergate.turns import Turns

Crowd = Callable[[int, Callable[[int], None]], list[None]]


class Work:
    """Remembers each turn. The first one lasts until as many as told wait behind it."""

    def __init__(self, waiting: int = 0, hold: threading.Event | None = None) -> None:
        self.turns: Turns[int] = Turns(self)
        self.done: list[list[int]] = []
        self._waiting, self._hold = waiting, hold
        self.fails: frozenset[int] = frozenset()

    def __call__(self, items: Sequence[int]) -> None:
        if not self.done:
            until(lambda: len(self.turns._waiting) == self._waiting)
            if self._hold is not None:
                self._hold.wait(30)
        self.done.append(list(items))
        if self.fails.intersection(items):
            raise OSError("the disk failed")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0)  # lets another thread run


def test_alone_it_is_done_at_once() -> None:
    work = Work()
    for number in range(3):
        work.turns.do(number)
    assert work.done == [[0], [1], [2]]


def test_who_waits_through_one_turn_shares_the_next(crowd: Crowd) -> None:
    work = Work(waiting=15)
    crowd(16, work.turns.do)
    assert [len(turn) for turn in work.done] == [1, 15]
    assert sorted(number for turn in work.done for number in turn) == list(range(16))


def test_a_turn_that_fails_is_told_to_one_and_the_others_go_on(crowd: Crowd) -> None:
    work = Work(waiting=7)
    work.fails = frozenset(range(8))
    told: list[int] = []

    def do(number: int) -> None:
        try:
            work.turns.do(number)
        except OSError:
            told.append(number)

    crowd(8, do)
    assert (len(told), len(work.done)) == (2, 2), "one thread in each turn"
    work.fails = frozenset()
    work.turns.do(99)
    assert work.done[-1] == [99]


class Interrupted:
    """A lock on which the waiting thread is interrupted, before or after it was told that it is its turn."""

    def __init__(self, before: Callable[[], Any]) -> None:
        self._before = before

    def acquire(self, **_: float) -> bool:
        self._before()
        raise KeyboardInterrupt

    def release(self) -> None:
        """Nobody hears of it."""


@pytest.mark.parametrize("chosen", [False, True])
def test_who_leaves_while_waiting_holds_up_nobody(monkeypatch: pytest.MonkeyPatch, *, chosen: bool) -> None:
    """Whether it was the one to do the next turn or not; and nothing is done with its item once it has left."""
    release = threading.Event()
    work = Work(waiting=1 if chosen else 0, hold=release)
    first = threading.Thread(target=work.turns.do, args=(1,), daemon=True)
    first.start()
    until(work.turns._turn.locked)
    leaving: Any = module._Waiting(2)

    def told() -> None:
        release.set()
        first.join(30)

    leaving.told = Interrupted(told if chosen else lambda: None)
    monkeypatch.setattr(module, "_Waiting", lambda _: leaving)
    with pytest.raises(KeyboardInterrupt):
        work.turns.do(2)
    monkeypatch.undo()
    release.set()
    first.join(30)
    work.turns.do(3)
    assert work.done == [[1], [3]]


def test_a_thread_that_nobody_tells_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that did the turn was interrupted before it could tell anybody."""
    work = Work(waiting=1)
    monkeypatch.setattr(module._Waiting, "tell", lambda _: None)
    first, second = (threading.Thread(target=work.turns.do, args=(number,), daemon=True) for number in (1, 2))
    first.start()
    until(work.turns._turn.locked)
    second.start()
    second.join(30)
    assert work.done == [[1], [2]]
