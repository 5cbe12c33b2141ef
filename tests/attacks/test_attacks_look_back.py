"""An older ledger, restored from a backup: an order that it lacks and the venue has is sent a second time.

Before its first buy a process looks back at the venue's orders. That look fails once, or is still going on.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ordergate_paper as paper
from ordergate import Decision, Executor, Order, Receipt
from ordergate.broker import Broker
from ordergate.errors import LedgerBusy
from ordergate.sqlite_ledger import SqliteLedger
from ordergate.sqlite_upkeep import back_up

Gate = Callable[..., Executor]

LOST = Order.buy("ETH-USD", spend="50", client_order_id="lost")
OTHER = Order.buy("BTC-USD", spend="50", client_order_id="other")


@pytest.fixture
def restored(gate: Gate, tmp_path: Path) -> Callable[..., Executor]:
    """restored(venue="kraken") is an executor at this venue whose ledger has forgotten the order LOST, which filled."""

    def made(**venue: str) -> Executor:
        before = gate(rules=("position_cap",), **venue)
        assert before.submit(Order.buy("BTC-USD", spend="50")).status == "filled"
        ledger = before.desk.ledger()
        assert isinstance(ledger, SqliteLedger)
        back_up(ledger.path, tmp_path / "backup.db")
        assert before.submit(LOST).status == "filled"
        before.close()
        for suffix in ("", "-wal", "-shm"):
            ledger.path.with_name(ledger.path.name + suffix).unlink(missing_ok=True)
        shutil.copy(tmp_path / "backup.db", ledger.path)
        return gate(rules=("position_cap",), **venue)

    return made


@pytest.fixture
def orders(tmp_path: Path) -> Callable[[], int]:
    """How many orders the venue has."""
    return lambda: paper.count_orders(tmp_path / "paper-main.db")


def is_held_back(decision: Decision) -> bool:
    return decision.status == "refused" and "id lost" in decision.message


# Kraken takes an id again once its order is done: there, one intent would be two orders.
@pytest.mark.parametrize("venue", ["coinbase", "kraken"])
def test_an_order_that_the_restored_ledger_lacks(
    restored: Callable[..., Executor], orders: Callable[[], int], venue: str
) -> None:
    executor = restored(venue=venue)
    before = orders()
    assert is_held_back(executor.submit(LOST))
    assert orders() == before


@pytest.mark.parametrize("venue", ["coinbase", "kraken"])
def test_the_ledger_was_busy_during_the_look_back(
    restored: Callable[..., Executor], orders: Callable[[], int], monkeypatch: pytest.MonkeyPatch, venue: str
) -> None:
    """It has to be made up for."""

    def busy(self: SqliteLedger, *given: Any, **more: Any) -> frozenset[str]:
        raise LedgerBusy("locked")

    executor = restored(venue=venue)
    before = orders()
    with monkeypatch.context() as patched:
        patched.setattr(SqliteLedger, "known_wire_ids", busy)
        assert executor.submit(OTHER).status == "refused"
    assert is_held_back(executor.submit(LOST))
    assert orders() == before


class Door:
    """A lock that tells when somebody has to wait for it."""

    def __init__(self, waits: threading.Event) -> None:
        self._lock, self._waits = threading.Lock(), waits

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._waits.set()
            self._lock.acquire()

    def __exit__(self, *ended: object) -> None:
        self._lock.release()


def test_two_first_buys_at_once(restored: Callable[..., Executor], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes while the first is still looking back: it has to wait for what that sees."""
    executor = restored()
    real = Broker.list_orders
    looking, waits_or_done, go_on = threading.Event(), threading.Event(), threading.Event()
    decisions: list[Decision] = []

    def slow(self: Broker, since: float) -> tuple[Receipt, ...] | None:
        looking.set()
        assert go_on.wait(30)
        return real(self, since)

    def second() -> None:
        decisions.append(executor.submit(LOST))
        waits_or_done.set()

    monkeypatch.setattr(Broker, "list_orders", slow)
    monkeypatch.setitem(executor.desk.strangers._looking, "main", Door(waits_or_done))
    threads = [threading.Thread(target=run, daemon=True) for run in (lambda: executor.submit(OTHER), second)]
    threads[0].start()
    assert looking.wait(30)
    threads[1].start()
    assert waits_or_done.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert [is_held_back(decision) for decision in decisions] == [True]
