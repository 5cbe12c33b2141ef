"""Rows of several threads in one commit of the SQLite ledger: each has its own outcome, and all share the disk's."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from ordergate import LedgerError
from ordergate.clock import SystemClock
from ordergate.ledger import AlreadyRecorded
from ordergate.sqlite_ledger import SqliteLedger

AT = 1_800_000_000.0

Outcome = int | None | str


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "ledger.db", SystemClock())) as opened:
        opened.append("main", "note", {}, at=AT, key="there")
        yield opened


class Watched:
    """A connection that counts commits, and fails at the statement it is told."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.fails_at = ""
        self.commits = 0

    def execute(self, statement: str, *values: Any) -> Any:
        if self.fails_at and statement.startswith(self.fails_at):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return self._connection.execute(statement, *values)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection.__enter__()

    def __exit__(self, *ended: object) -> Any:
        if self.fails_at == "COMMIT" and self._connection.in_transaction:
            self._connection.rollback()
            self.execute("COMMIT")
        self.commits += self._connection.in_transaction
        return self._connection.__exit__(*ended)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
def watched(ledger: SqliteLedger) -> Watched:
    ledger._connection = cast("sqlite3.Connection", Watched(ledger._connection))
    return cast("Watched", ledger._connection)


def together(ledger: SqliteLedger, *appends: Callable[[], Outcome]) -> list[Outcome]:
    """Run them in threads of their own, all in the commit that follows one which is held up until they wait."""
    outcomes: list[Outcome] = ["did not end"] * len(appends)

    def run(number: int) -> None:
        try:
            outcomes[number] = appends[number]()
        except (LedgerError, AlreadyRecorded) as error:
            outcomes[number] = type(error).__name__

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(appends))]
    first = threading.Thread(target=note(ledger, account="first"), daemon=True)
    with ledger._lock:
        first.start()
        until(lambda: ledger._turns._turn.locked() and not ledger._turns._waiting)
        for number, thread in enumerate(threads):
            thread.start()
            until(lambda number=number: len(ledger._turns._waiting) == number + 1)  # type: ignore[misc]
    for thread in (first, *threads):
        thread.join(30)
    return outcomes


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0)  # lets another thread run


def note(ledger: SqliteLedger, key: str | None = None, *, account: str = "main", **more: Any) -> Callable[[], Outcome]:
    return lambda: ledger.append(account, "note", {}, at=AT, key=key, **more)


def test_threads_that_wait_share_one_commit_and_one_chain(ledger: SqliteLedger, watched: Watched) -> None:
    assert together(ledger, *(note(ledger, f"row {number}") for number in range(12))) == list(range(2, 14))
    assert watched.commits == 2, "the one that was held up, which named its account, and one for twelve rows"
    assert [entry.key for entry in ledger.entries("main")] == ["there", *(f"row {number}" for number in range(12))]
    assert ledger.verify() is None


def test_each_row_has_its_own_outcome(ledger: SqliteLedger) -> None:
    stale = ledger.state("main")
    ledger.append("main", "trading", {"trading": "active", "by": "Ann", "reason": "drill"}, at=AT)
    fresh = ledger.state("main")
    outcomes = together(
        ledger,
        note(ledger, "one"),
        note(ledger, "there"),
        note(ledger, "two", judged_on=stale),
        note(ledger, "three", judged_on=fresh),
        note(ledger, "one"),
        note(ledger, "one", account="other"),
        note(ledger, "\x00 and \U0001f600"),
    )
    assert outcomes == [3, "AlreadyRecorded", None, 4, "AlreadyRecorded", 1, 5]
    assert ledger.verify() is None


def test_two_buys_judged_on_one_state_are_one_row_in_one_commit_too(ledger: SqliteLedger) -> None:
    def halt() -> Outcome:
        return ledger.append(
            "main", "trading", {"trading": "exits_only", "by": "Ann", "reason": "now"}, at=AT, judged_on=judged_on
        )

    judged_on = ledger.state("main")
    assert together(ledger, halt, halt, note(ledger, judged_on=judged_on)) == [2, None, None]


@pytest.mark.parametrize("statement", ["COMMIT", "BEGIN"])
def test_d04_eio_of_a_shared_commit_fails_every_row_of_it_and_leaves_none(
    ledger: SqliteLedger, watched: Watched, statement: str
) -> None:
    ledger.append("first", "note", {}, at=AT)  # known by now: its next row is a commit of its own, without these words
    before = list(ledger.entries("main"))
    watched.fails_at = statement
    assert together(ledger, note(ledger), note(ledger), note(ledger)) == ["LedgerError"] * 3
    watched.fails_at = ""
    assert list(ledger.entries("main")) == before
    assert together(ledger, note(ledger), note(ledger)) == [2, 3]
    assert ledger.verify() is None


def test_a_text_that_cannot_be_stored_fails_alone(ledger: SqliteLedger) -> None:
    with pytest.raises(UnicodeEncodeError):
        ledger.append("main", "note", {}, at=AT, key="\ud800")
    assert note(ledger)() == 2


def test_reading_goes_on_while_a_commit_waits_for_the_disk(ledger: SqliteLedger) -> None:
    ledger.append("main", "decision", sent("a"), at=AT, key="order:a")
    told = ledger.state("main")
    with ledger._lock:
        assert ledger.state("main") == told
        assert [one.client_order_id for one in ledger.unfinished("main")] == ["a"]
        assert ledger.find("main", "a") is not None
        assert len(list(ledger.entries())) == 2
    assert note(ledger)() == 3
    with ledger._lock:
        assert ledger.state("main").seq == 3


def sent(client_id: str) -> dict[str, Any]:
    return {
        "client_order_id": client_id,
        "digest": client_id,
        "symbol": "BTC-USD",
        "is_exit": True,
        "venue_order": {"client_order_id": f"wire-{client_id}", "send_by": AT + 5},
        "reservation": None,
    }
