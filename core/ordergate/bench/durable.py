"""Goal 4: what a decision costs on disk, beside one bare INSERT of the same text, and beside a busy thread."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from ordergate.bench.case import Case, Effort, Row, Way
from ordergate.bench.given import ACCOUNT, Body, buy, decision_body, gate, ledger_in, venue
from ordergate.bench.measure import CLOCK, Sample, gathered, timed
from ordergate.bench.whole import until_sent
from ordergate.executor import Executor
from ordergate.ledger import Ledger
from ordergate.models import OrderStatus

__all__ = ["CASES", "appended", "bare_insert", "reserved"]

_COUNTED: Final = 20


@contextmanager
def bare_insert(folder: Path) -> Iterator[Callable[[str], object]]:
    """The floor of durability: a text, inserted and committed with full synchronisation by one statement."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS bare (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT")
        yield lambda text: connection.execute("INSERT INTO bare (body) VALUES (?)", (text,))


def appended(ledger: Ledger, body: Body, names: Iterator[str], account: str = ACCOUNT) -> None:
    """One refused decision, recorded."""
    name = next(names)
    ledger.append(account, "decision", body.named(name, reserves=False), at=CLOCK.now(), key=f"order:{name}")


def reserved(
    ledger: Ledger, body: Body, names: Iterator[str], account: str = ACCOUNT, *, read: bool = True
) -> Callable[[], float]:
    """One approved decision: the state read, the insert that is only taken if it is still true.

    Not `read`: the insert alone is counted. The order is cancelled and its reservation given up before the next; that
    is not counted.
    """

    def one() -> float:
        name = next(names)
        values = body.named(name)
        began = CLOCK.monotonic()
        state = ledger.state(account)
        began = began if read else CLOCK.monotonic()
        row = ledger.append(account, "decision", values, at=CLOCK.now(), key=f"order:{name}", judged_on=state)
        took = CLOCK.monotonic() - began
        if row is None:
            raise RuntimeError("nobody else writes here, yet the state was stale")
        ledger.append(account, "receipt", body.receipt(name, OrderStatus.CANCELLED), at=CLOCK.now())
        ledger.append(account, "settled", {"gone": [name], "facts_begun": 0.0}, at=CLOCK.now())
        return took

    return one


@contextmanager
def _ways(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with (
        gate(effort.disk) as executor,
        ledger_in(effort.disk) as ledger,
        bare_insert(effort.disk) as insert,
    ):
        body, names, share = decision_body(executor), map("order-{}".format, count()), effort.share
        text = body.text("order-0")
        one = reserved(ledger, body, names)
        yield {
            "bare": partial(timed, partial(insert, text), share),
            "append": partial(timed, partial(appended, ledger, body, names), share),
            "reserve": partial(gathered, one, share),
            "decided": partial(gathered, until_sent(executor, names), share),
            "bought": partial(timed, lambda: executor.submit(buy(name=next(names))), share),
        }


@contextmanager
def _busy_ways(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with (
        gate(effort.disk) as executor,
        ledger_in(effort.disk) as ledger,
        bare_insert(effort.disk) as insert,
    ):
        body, names, share = decision_body(executor), map("order-{}".format, count()), 2 * effort.share
        text = body.text("order-0")
        one = reserved(ledger, body, names)
        yield {
            "bare": partial(_beside_a_busy_thread, partial(timed, partial(insert, text), share, most=100)),
            "append": partial(
                _beside_a_busy_thread, partial(timed, partial(appended, ledger, body, names), share, most=100)
            ),
            "reserve": partial(_beside_a_busy_thread, partial(gathered, one, share)),
            "decided": partial(_beside_a_busy_thread, partial(gathered, until_sent(executor, names), share)),
        }


@contextmanager
def _counted_ways(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with gate(effort.memory, facts_age=300, facts_cache=300) as executor:
        names = map("order-{}".format, count())
        with _counting():
            executor.submit(buy(name=next(names)))  # opens the ledger
        venue(executor).watch = lambda: float(_Counting.calls)
        yield {
            "checked": partial(_calls, lambda: executor.check(buy())),
            "bought": partial(_calls, lambda: executor.submit(buy(name=next(names)))),
            "decided": partial(_calls_until_sent, executor, names),
        }


class _Counting(sqlite3.Connection):
    """A connection that counts what it is asked for, all connections together."""

    calls = 0

    def execute(self, *given: Any) -> sqlite3.Cursor:
        _Counting.calls += 1
        return super().execute(*given)

    def executemany(self, *given: Any) -> sqlite3.Cursor:
        _Counting.calls += 1
        return super().executemany(*given)

    def cursor(self, factory: Any = None) -> Any:
        raise NotImplementedError("a cursor's calls would not be counted")


@contextmanager
def _counting() -> Iterator[None]:
    connect = sqlite3.connect
    sqlite3.connect = partial(connect, factory=_Counting)  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect = connect


def _calls(call: Callable[[], object]) -> Sample:
    before = _Counting.calls
    for _ in range(_COUNTED):
        call()
    return {"calls": (_Counting.calls - before) / _COUNTED}


def _calls_until_sent(executor: Executor, names: Iterator[str]) -> Sample:
    there, calls = venue(executor), 0.0
    for _ in range(_COUNTED):
        before = _Counting.calls
        executor.submit(buy(name=next(names)))
        calls += there.placed - before
    return {"calls": calls / _COUNTED}


def _beside_a_busy_thread(way: Way) -> Sample:
    """The same while another thread of the process calculates. `intervals` is the p50 in switch intervals: how long a
    thread may keep the interpreter before it must hand it on.
    """
    over = threading.Event()
    thread = threading.Thread(target=_calculate, args=(over,), name="busy", daemon=True)
    thread.start()
    try:
        sample = way()
    finally:
        over.set()
        thread.join()
    return {**sample, "intervals": sample["p50"] / sys.getswitchinterval()}


def _calculate(over: threading.Event) -> None:
    number = 0
    while not over.is_set():
        for step in range(1000):
            number = (number * 31 + step) % 1_000_003


CASES: Final = (
    Case(
        name="durable",
        goal=4,
        says="Recording a decision on disk with full synchronisation, beside one bare INSERT of the same text.",
        ways=_ways,
        rows=(
            Row(
                says="One decision recorded",
                of="append",
                against="bare",
                limit=1.15,
                bound="beside the flush of the disk the row is written out as JSON, hashed onto the one before, "
                "and folded into two tables.",
            ),
            Row(
                says="State read, and a reservation made on it",
                of="reserve",
                against="bare",
                limit=1.15,
                bound="as above, and the state is asked for first.",
            ),
            Row(says="From words until the broker has the order", of="decided", against="bare"),
            Row(says="A whole buy, its receipt recorded", of="bought", against="bare"),
        ),
    ),
    Case(
        name="calls",
        goal=4,
        says="How often a decision goes to SQLite, each call of it a chance to lose the interpreter.",
        ways=_counted_ways,
        rows=(
            Row(
                says="Calls until the broker has the order",
                of="decided",
                figure="calls",
                limit=1,
                unit="calls",
                bound="the id is looked up, the ledger asked whether others wrote, and the facts' text goes in "
                "with the row, in one transaction.",
            ),
            Row(says="Calls of a whole buy", of="bought", figure="calls", unit="calls"),
            Row(says="Calls of a check", of="checked", figure="calls", unit="calls"),
        ),
    ),
    Case(
        name="busy",
        goal=4,
        says="The same beside a Python thread that calculates without pause, in switch intervals (5 ms each).",
        ways=_busy_ways,
        rows=(
            Row(says="One bare INSERT", of="bare", figure="intervals", unit="intervals"),
            Row(
                says="One decision recorded",
                of="append",
                figure="intervals",
                limit=1.3,
                unit="intervals",
                bound="to ask whether the file is still there gives up the interpreter as the insert does.",
            ),
            Row(
                says="State read, and a reservation",
                of="reserve",
                figure="intervals",
                limit=1.3,
                unit="intervals",
                bound="as above, and so does asking whether others wrote.",
            ),
            Row(says="From words until the broker has it", of="decided", figure="intervals", unit="intervals"),
        ),
    ),
)
