"""A process of its own for the tests of faults: does what it is told, and dies where it is told.

    python child.py '{"folder": "/somewhere", "values": {...}, "do": [["submit", {...}]], "die": "after_insert"}'

It prints one line of JSON: what each step answered. With `crowd` instead of `do` it forks into as many processes, which
begin together, and prints what each of them answered.

    python child.py nursery krakenex

imports what is named and then has a child for every such line on standard input: it says the child's process id, and
when that has ended its exit code and what it printed.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import resource
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import ordergate_paper
from ordergate import Executor, LedgerError, Order, OrdergateError
from ordergate import sqlite_ledger as store
from ordergate.broker import Broker
from ordergate.clock import SystemClock
from ordergate.fallback import Fallback
from ordergate.plugins import Hook
from ordergate.sqlite_ledger import SqliteLedger

DROP_FROM_BOUNDING_SET, RIGHT_TO_PASS_FILE_MODES = 24, 1


class ShiftedClock(SystemClock):
    """The real clock, set some seconds ahead, on which sleeping takes no time."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._slept = seconds, 0.0

    def now(self) -> float:
        return super().now() + self._seconds + self._slept

    def monotonic(self) -> float:
        return super().monotonic() + self._slept

    def sleep(self, seconds: float) -> None:
        self._slept += seconds


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def replace(owner: Any, name: str, new: Any) -> None:
    setattr(owner, name, new)


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit


# ------------------------------------------------------------------------------------------------------ points to die


def _around_append(kind: str, *, after: bool, nth: int = 1) -> None:
    real = SqliteLedger.append
    seen: list[str] = []

    def append(self: SqliteLedger, account: str, row_kind: str, body: Mapping[str, object], **more: Any) -> int | None:
        hit = kind in (row_kind, "*")
        if hit:
            seen.append(row_kind)
        if hit and len(seen) == nth and not after:
            die()
        row = real(self, account, row_kind, body, **more)
        if hit and len(seen) == nth and after and row is not None:
            die()
        return row

    replace(SqliteLedger, "append", append)


def _around_send(*, after: bool) -> None:
    real = Broker.place_order

    def place_order(self: Broker, order: Any, seconds: float) -> Any:
        try:
            return real(self, order, seconds) if after else die()
        finally:
            die()

    replace(Broker, "place_order", place_order)


def _around_look(*, after: bool) -> None:
    real = Broker.find_order

    def find_order(self: Broker, *arguments: Any) -> Any:
        try:
            return real(self, *arguments) if after else die()
        finally:
            die()

    replace(Broker, "find_order", find_order)


def _in_fallback(*, torn: bool) -> None:
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        if torn:
            real(descriptor, bytes(data)[: len(data) // 2])
            die()
        return real(descriptor, data)

    replace(os, "write", write)


def _after_fallback() -> None:
    real = Fallback.write

    def write(self: Fallback, *arguments: Any, **more: Any) -> str | None:
        answer = real(self, *arguments, **more)
        die()
        return answer

    replace(Fallback, "write", write)


def _before_put_aside() -> None:
    replace(Fallback, "_put_aside", lambda _: die())


def _while_creating(statement: str) -> None:
    real = store._connect

    def connect(path: Path) -> sqlite3.Connection:
        connection = real(path)
        connection.set_trace_callback(lambda sql: die() if statement in sql else None)
        return connection

    replace(store, "_connect", connect)


def _on_the_wire(hook: str, *, written: bool) -> None:
    """Just before the first byte of what the hook asks, or just after its last one."""
    name = "getresponse" if written else "putrequest"
    real, real_call = getattr(HTTPConnection, name), Hook.call
    begun: list[str] = []

    def call(self: Hook, values: Mapping[str, Any]) -> Any:
        begun.append(self.name)
        return real_call(self, values)

    def at_the_wire(*arguments: Any, **more: Any) -> Any:
        return die() if begun[-1] == hook else real(*arguments, **more)

    replace(Hook, "call", call)
    replace(HTTPConnection, name, at_the_wire)


DEATHS: dict[str, Callable[[], None]] = {
    "before_insert": lambda: _around_append("decision", after=False),
    "after_insert": lambda: _around_append("decision", after=True),
    "before_send": lambda: _around_send(after=False),
    "after_send": lambda: _around_send(after=True),
    "before_receipt": lambda: _around_append("receipt", after=False),
    "after_receipt": lambda: _around_append("receipt", after=True),
    "first_row": lambda: _around_append("*", after=True),
    "second_row": lambda: _around_append("*", after=True, nth=2),
    "in_fallback": lambda: _in_fallback(torn=True),
    "after_fallback": _after_fallback,
    "before_put_aside": _before_put_aside,
    "before_first_byte": lambda: _on_the_wire("place_order", written=False),
    "before_answer": lambda: _on_the_wire("place_order", written=True),
    "before_look": lambda: _around_look(after=False),
    "after_look": lambda: _around_look(after=True),
    "before_asking": lambda: _on_the_wire("find_order", written=False),
    "while_asking": lambda: _on_the_wire("find_order", written=True),
}


# ------------------------------------------------------------------------------------------------- trouble with files


def no_rights() -> None:
    """Let file modes bind this process although root runs it. Exits with 77 where that cannot be done."""
    if os.geteuid() != 0 or "ORDERGATE_TEST_BOUND" in os.environ:
        return
    if not sys.platform.startswith("linux"):
        raise SystemExit(77)
    if ctypes.CDLL(None, use_errno=True).prctl(DROP_FROM_BOUNDING_SET, RIGHT_TO_PASS_FILE_MODES, 0, 0, 0) != 0:
        raise SystemExit(77)
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "ORDERGATE_TEST_BOUND": "1"})  # noqa: S606


def full_disk(executor: Executor) -> None:
    """From now on no file of this process can grow beyond what the ledger's log already has."""
    ledger = executor.desk.ledger()
    log = Path(f"{executor.config.folder / 'ordergate.db'}-wal")
    while log.stat().st_size < 1_000_000:
        ledger.append("main", "note", {"filling": "x" * 50_000}, at=0.0)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def disk_freed() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def speak_while_hanging() -> None:
    """Say `hanging` at the moment the venue stops answering, so that a test can act just then."""
    real = ordergate_paper._hang

    def hang(*arguments: Any) -> None:
        say("hanging")
        real(*arguments)

    replace(ordergate_paper, "_hang", hang)


# ---------------------------------------------------------------------------------------------------------- the steps


def step(executor: Executor, what: str, arguments: Mapping[str, Any]) -> Any:
    try:
        if what == "submit":
            decision = executor.submit(Order.from_mapping(arguments))
        elif what == "cancel":
            decision = executor.cancel(arguments["id"])
        else:
            return _other_step(executor, what)
    except OrdergateError as error:
        return {"raised": type(error).__name__, "message": str(error)}
    return {
        "status": decision.status.value,
        "error": decision.error,
        "message": decision.message,
        "warnings": list(decision.warnings),
        "replayed": decision.replayed,
        "id": decision.order.client_order_id,
        "refused_by": {verdict.rule: verdict.code for verdict in decision.refusals},
    }


def _other_step(executor: Executor, what: str) -> Any:
    if what == "reconcile":
        return [settled.message for settled in executor.reconcile()["main"]]
    if what == "full_disk":
        return full_disk(executor)
    if what == "disk_freed":
        return disk_freed()
    raise LookupError(what)


def run(told: Mapping[str, Any], do: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
    clock: SystemClock = SystemClock()
    if told.get("ahead"):
        clock = ShiftedClock(told["ahead"])
        replace(Broker, "get_time", lambda *_: clock.now())  # time passes at the venue as well
    with Executor.from_values(told["values"], folder=told["folder"], clock=clock) as executor:
        return [step(executor, what, arguments) for what, arguments in do]


def crowd(told: Mapping[str, Any]) -> list[Any]:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(len(told["crowd"])), context.SimpleQueue()

    def member(number: int, do: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        barrier.wait(60)
        try:
            answers.put((number, run(told, do)))
        except (OSError, LedgerError, sqlite3.Error) as error:
            answers.put((number, [{"raised": type(error).__name__, "message": str(error)}]))

    members = [context.Process(target=member, args=each) for each in enumerate(told["crowd"])]
    for each in members:
        each.start()
    found = dict(answers.get() for _ in members)
    for each in members:
        each.join(60)
    return [found[number] for number in sorted(found)]


def nursery(modules: Sequence[str]) -> None:
    """Children that need not be born each with an import of an SDK."""
    for module in modules:
        import_module(module)
    for line in iter(sys.stdin.readline, ""):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writing, 1)
            os.close(writing)
            os.close(reading)
            _live(line)
        os.close(writing)
        say(str(child))
        with os.fdopen(reading) as printed:
            out = printed.read()
        say(json.dumps({"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "out": out}))


def _live(line: str) -> NoReturn:
    code = 1
    try:
        main(json.loads(line))
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        raise
    finally:
        os._exit(code)


def main(told: Mapping[str, Any]) -> None:
    if told.get("no_rights"):
        no_rights()
    if told.get("die"):
        DEATHS[told["die"]]()
    if told.get("die_while_creating"):
        _while_creating(told["die_while_creating"])
    speak_while_hanging()
    if "open_ledger" in told:
        with closing(SqliteLedger(Path(told["folder"]) / told["open_ledger"], SystemClock())):
            answers: Any = []
    else:
        answers = crowd(told) if "crowd" in told else run(told, told["do"])
    say(json.dumps(answers))


if __name__ == "__main__":
    if sys.argv[1] == "nursery":
        nursery(sys.argv[2:])
    else:
        main(json.loads(sys.argv[1]))
