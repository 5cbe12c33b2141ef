"""Ctrl-C ends the thread that commits for others too: nobody is told that a row stands which the journal has not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from ordergate import Decision, Executor, LedgerError, Order
from ordergate import turns as turns_module
from ordergate.clock import SystemClock
from ordergate.sqlite_ledger import SqliteLedger

AT = 1_800_000_000.0

Gate = Callable[..., Executor]
Requests = Callable[[], int]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a turn never looks by itself: the order of the threads is that of the test."""
    monkeypatch.setattr(turns_module, "_PATIENCE", 60)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "ledger.db", SystemClock())) as opened:
        opened.append("main", "note", {}, at=AT)
        yield opened


def interrupted_after(monkeypatch: pytest.MonkeyPatch, key: str) -> list[str]:
    """Ctrl-C is heard once the row with this key was inserted, before its commit. Gives the threads that heard it."""
    real, heard = SqliteLedger._insert_somehow, list[str]()

    def insert(self: SqliteLedger, row: object) -> None:
        real(self, row)  # type: ignore[arg-type]  # it is a row
        if getattr(row, "key", None) == key and not heard:
            heard.append(threading.current_thread().name)
            raise KeyboardInterrupt

    monkeypatch.setattr(SqliteLedger, "_insert_somehow", insert)
    return heard


def in_one_commit(ledger: SqliteLedger, first: Callable[[], None], second: Callable[[], None]) -> None:
    """Run both in threads of their own; the thread of the first commits for both."""
    threads = [threading.Thread(target=run, name=run.__name__, daemon=True) for run in (first, second)]
    with ledger._turns._turn:
        for number, thread in enumerate(threads):
            thread.start()
            until(lambda number=number: len(ledger._turns._waiting) == number + 1)  # type: ignore[misc]
        waits = ledger._turns._waiting[0]
    waits.tell()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0)  # lets another thread run


def test_ctrl_c_in_a_shared_commit_tells_nobody_that_a_row_stands(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = interrupted_after(monkeypatch, "theirs")
    told: list[object] = []

    def mine() -> None:
        with suppress(KeyboardInterrupt):
            told.append(ledger.append("main", "note", {}, at=AT, key="mine"))

    def theirs() -> None:
        try:
            told.append(ledger.append("main", "note", {}, at=AT, key="theirs"))
        except LedgerError as error:
            told.append(error)

    in_one_commit(ledger, mine, theirs)
    assert heard == ["mine"]
    assert [type(one) for one in told] == [LedgerError]
    assert [entry.key for entry in ledger.entries("main")] == [None]
    assert ledger.append("main", "note", {}, at=AT, key="theirs") == 2
    assert ledger.verify() is None


def test_ctrl_c_in_a_shared_commit_sends_no_order_that_no_ledger_has(
    gate: Gate, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = gate(rules=("position_cap",))
    refused = executor.submit(Order.buy("BTC-USD", spend="5000"))  # binds the account: a decision is the one row left
    assert refused.status == "refused"
    ledger = executor.desk.ledger()
    assert isinstance(ledger, SqliteLedger)
    heard = interrupted_after(monkeypatch, "order:theirs")
    decisions: list[Decision] = []

    def mine() -> None:
        with suppress(KeyboardInterrupt):
            ledger.append("main", "note", {}, at=AT, key="mine")

    def theirs() -> None:
        decisions.append(executor.submit(Order.buy("ETH-USD", spend="50", client_order_id="theirs")))

    in_one_commit(ledger, mine, theirs)
    assert heard == ["mine"]
    assert [decision.status for decision in decisions] == ["refused"]
    assert executor.desk.ledger().find("main", "theirs") is None, "opened again after the failure"
    assert requests() == 0
