"""The one place where foreign code runs, and where whatever it does wrong becomes a value the gate can judge.

Rules, brokers and observers are called through here and nowhere else. `attempt` turns whatever is raised into `Failed`;
`within` also gives up after a deadline. A thread cannot be killed: what overran is abandoned as a daemon thread, which
is why callers stop using a plugin that overran.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from ordergate.amounts import exact

__all__ = ["Failed", "NoThread", "Overran", "attempt", "within"]

T = TypeVar("T")

_MOST_IDLE: Final = 64  # threads kept for later calls; more end with the call they were made for
_BUSY: Final = "ordergate-call"
_IDLE: Final = "ordergate-idle"


class Failed(Exception):
    """Foreign code raised; `cause` is what it raised, also where that was SystemExit or KeyboardInterrupt."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause
        super().__init__(f"{type(cause).__name__}: {_text(cause)}")


class NoThread(Failed):
    """There was no thread to call foreign code in: certainly nothing was called."""


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
    try:
        worker = _idle.pop()
    except IndexError:
        try:
            worker = _Worker()
        except RuntimeError as cause:  # the machine, or an interpreter that is ending, gives no more threads
            raise NoThread(cause) from cause
    call = _Call(function, arguments)
    in_time = False
    try:
        worker.take(call)
        in_time = call.done.acquire(timeout=seconds)
    finally:  # also when Ctrl-C ends the waiting
        if in_time and len(_idle) < _MOST_IDLE:
            _idle.append(worker)
        else:
            worker.dismiss()
    if call.failed is not None:
        raise call.failed
    if not call.answer:
        raise Overran(seconds)
    return call.answer[0]  # type: ignore[no-any-return]  # it is what the function gave


class _Call:
    """One call, and what came of it: an answer or a failure, or neither while it runs."""

    __slots__ = ("answer", "arguments", "done", "failed", "function")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments
        self.answer: list[Any] = []
        self.failed: Failed | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        with exact():
            try:
                self.answer.append(attempt(self.function, *self.arguments))
            except Failed as failed:
                self.failed = failed


class _Worker:
    """A thread that runs one call after another: waking one costs a fraction of starting one."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        threading.Thread(target=self._work, name=_IDLE, daemon=True).start()

    def take(self, call: _Call) -> None:
        self._calls.put(call)

    def dismiss(self) -> None:
        """Let the thread end; one that is still busy with its last call ends after that, if ever."""
        self._calls.put(None)

    def _work(self) -> None:
        thread = threading.current_thread()
        while (call := self._calls.get()) is not None:
            thread.name = _BUSY
            call.run()
            thread.name = _IDLE
            call.done.release()
            del call  # an idle thread keeps nothing of the last call alive


_idle: list[_Worker] = []
os.register_at_fork(after_in_child=_idle.clear)  # a forked process has none of these threads


def _text(cause: BaseException) -> str:
    """The exception's text on one printable line, bounded; a plugin's `__str__` may itself be broken, or hostile."""
    try:
        text = str(cause)
    except BaseException:
        return "(its message cannot be shown)"
    line = " ".join(text.split())[:300]
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in line)
