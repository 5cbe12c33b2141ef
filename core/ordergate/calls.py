"""The one place where foreign code runs, and where whatever it does wrong becomes a value the gate can judge.

Rules, brokers and observers are called through here and nowhere else. `attempt` turns whatever is raised into `Failed`;
`within` also gives up after a deadline. A thread cannot be killed: what overran is abandoned as a daemon thread, which
is why callers stop using a plugin that overran.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ordergate.amounts import exact

__all__ = ["Failed", "Overran", "attempt", "within"]

T = TypeVar("T")


class Failed(Exception):
    """Foreign code raised; `cause` is what it raised, also where that was SystemExit or KeyboardInterrupt."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause
        super().__init__(f"{type(cause).__name__}: {_text(cause)}")


class Overran(Failed):
    """Foreign code did not answer in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(TimeoutError(f"no answer within {seconds:g} s"))


def attempt(function: Callable[..., T], *arguments: Any) -> T:
    """Call the function and hand on its answer; raise `Failed` for whatever it raises."""
    try:
        return function(*arguments)
    except BaseException as cause:
        raise Failed(cause) from cause


def within(seconds: float, function: Callable[..., T], *arguments: Any) -> T:
    """Like `attempt`, in a thread with exact arithmetic, and `Overran` when no answer has come after `seconds`."""
    outcome: list[T] = []
    failure: list[Failed] = []

    def run() -> None:
        with exact():
            try:
                outcome.append(attempt(function, *arguments))
            except Failed as failed:
                failure.append(failed)

    thread = threading.Thread(target=run, name="ordergate-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if outcome:
        return outcome[0]
    if failure:
        raise failure[0]
    raise Overran(seconds)


def _text(cause: BaseException) -> str:
    """The exception's text on one printable line, bounded; a plugin's `__str__` may itself be broken, or hostile."""
    try:
        text = str(cause)
    except BaseException:
        return "(its message cannot be shown)"
    line = " ".join(text.split())[:300]
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in line)
