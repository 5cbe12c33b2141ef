"""What must not hold an exit back: a ledger nobody can read, a slow door, a silent venue, a second process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ordergate import Decision, Executor, Order, OrderStatus
from ordergate.broker import Broker, NothingSent
from ordergate.calls import Overran
from ordergate.clock import SystemClock
from ordergate.errors import LedgerBusy
from ordergate.ledger import Ledger
from ordergate.models import Receipt, VenueOrder

if TYPE_CHECKING:
    from tests.faults.conftest import Stage

Crowd = Callable[[int, Callable[[int], Any]], list[Any]]


class StillClock(SystemClock):
    """Time that passes only where somebody sleeps: however slow the machine is, no test here sees it."""

    def __init__(self) -> None:
        self.begun, self.ahead, self.slept = super().now(), 0.0, 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.begun + self.ahead + self.slept

    def monotonic(self) -> float:
        return self.slept

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept += seconds


@pytest.fixture
def still() -> StillClock:
    return StillClock()


def sell(amount: str = "0.0040", client_id: str = "out", **more: Any) -> Order:
    return Order.sell("ETH-USD", amount=amount, client_order_id=client_id, **more)


def closed(stage: Stage, still: StillClock, **gate: Any) -> Executor:
    """An executor that is not connected yet, to a venue that exists."""
    stage.executor().reconcile()
    stage.close()
    executor = Executor.from_values(stage.values(gate=gate), folder=stage.folder, clock=still)
    stage.opened.append(executor)
    return executor


# ---------------------------------------------------------------------------------------------- a ledger out of reach


def test_sells_side_by_side_pass_a_ledger_locked_for_reading_and_writing(
    stage: Stage, still: StillClock, crowd: Crowd
) -> None:
    """It is waited for once, not by each exit in turn: else the send-by time of the last ones has passed."""
    stage.executor().reconcile()
    stage.close()
    with closing(sqlite3.connect(stage.ledger_path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        executor = stage.executor(clock=still)
        # The venue goes by the same clock: a slow machine must not make the orders late.
        object.__setattr__(executor.setup.brokers["main"].client(60.0), "clock", still)
        answers = crowd(3, lambda number: executor.submit(sell("0.0010", f"out{number}")))
        stage.close()
    assert [answer.status for answer in answers] == [OrderStatus.FILLED] * 3, [answer.message for answer in answers]
    assert stage.sent() == 3
    assert {line["key"] for line in stage.waiting()} >= {f"order:out{number}" for number in range(3)}


@pytest.mark.parametrize("url", ["postgresql://x", f"sqlite:///{'x' * 300}.db"], ids=["unknown", "too long"])
def test_a_sell_passes_a_ledger_that_cannot_be_named(stage: Stage, url: str) -> None:
    executor = stage.executor(gate={"ledger": url})
    answer = executor.submit(sell())
    assert answer.status is OrderStatus.FILLED
    assert any("The ledger could not record it" in warning for warning in answer.warnings), answer.warnings
    assert executor.submit(sell()).replayed
    assert executor.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.REFUSED
    assert stage.sent() == 1


def test_a_sell_passes_a_ledger_in_a_folder_that_may_not_be_looked_into(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = stage.executor()
    is_dir = Path.is_dir

    def forbidden(self: Path, **more: Any) -> bool:
        if self == stage.ledger_path:
            raise PermissionError(13, "Permission denied", str(self))
        return is_dir(self, **more)

    monkeypatch.setattr(Path, "is_dir", forbidden)
    answer = executor.submit(sell())
    assert answer.status is OrderStatus.FILLED
    assert any("Permission denied" in warning for warning in answer.warnings), answer.warnings
    assert stage.sent() == 1


# -------------------------------------------------------------------------------------------- one id, two processes


class LockedForWriting:
    """A ledger that somebody else is writing to all the time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def append(self, *_: object, **__: object) -> NoReturn:
        raise LedgerBusy("another process is writing")


@pytest.mark.parametrize("first", ["ledger", "fallback"])
def test_an_id_written_in_the_ledger_and_in_the_fallback_is_sent_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Both found the id nowhere; one then writes it in the ledger, the other, kept out of there, in the fallback."""
    free, kept_out = stage.executor(), stage.executor()
    free.reconcile()
    real = kept_out.desk.store.ledger
    monkeypatch.setattr(kept_out.desk.store, "ledger", lambda: LockedForWriting(real()))
    early, late = (free, kept_out) if first == "ledger" else (kept_out, free)
    write_first = late.desk.store.write_first
    before: list[Decision] = []

    def overtaken(*arguments: Any, **more: Any) -> str | None:
        if not before:
            before.append(early.submit(sell()))
        return write_first(*arguments, **more)

    monkeypatch.setattr(late.desk.store, "write_first", overtaken)
    second = late.submit(sell())
    assert before[0].status is OrderStatus.FILLED
    assert (second.replayed, second.status) == (True, OrderStatus.FILLED)
    assert stage.sent() == 1


# ---------------------------------------------------------------------------------------------- venues that are slow


@pytest.mark.parametrize("what", [{"all": True}, {"amount": "0.0040"}], ids=["all", "amount"])
def test_a_connection_slower_than_facts_may_be_does_not_hold_a_sell(
    stage: Stage, still: StillClock, monkeypatch: pytest.MonkeyPatch, what: dict[str, Any]
) -> None:
    """Connecting has the time that an order has; only the questions after it have the facts' short time."""
    executor = closed(stage, still, exit_facts=3, deadline=5)
    client = Broker.client

    def slow(self: Broker, seconds: float) -> Any:
        if not self._client:
            still.sleep(min(4.0, seconds))
            if seconds < 4:
                raise NothingSent(TimeoutError("not yet"))
        return client(self, 60)

    monkeypatch.setattr(Broker, "client", slow)
    answer = executor.submit(Order.sell("ETH-USD", client_order_id="out", **what))
    assert answer.status is OrderStatus.FILLED, answer.message
    assert still.slept == 4, "it is waited for once"
    assert stage.sent() == 1


def test_eight_unanswered_cancels_hold_an_emergency_no_longer_than_one(
    stage: Stage, still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = stage.executor(clock=still)
    names = [f"resting{number}" for number in range(8)]
    for name in names:
        assert executor.submit(sell("0.0005", name, limit="9000")).status is OrderStatus.OPEN

    def unanswered(self: Broker, order: VenueOrder, seconds: float) -> Receipt:
        still.sleep(seconds)
        raise Overran(seconds)

    monkeypatch.setattr(Broker, "cancel_order", unanswered)
    answer = executor.submit(sell("0.0060", "forced", force_liquidate=True, reason="drill"))
    assert answer.status is OrderStatus.FILLED
    assert still.slept <= executor.config.gate.exit_facts
    told = " ".join(answer.warnings)
    assert [name for name in names if name not in told] == [], "every order that still rests is named"


def test_a_sell_behind_an_unknown_one_waits_for_slow_answers_no_longer_than_it_may(
    stage: Stage, still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = stage.executor(clock=still)
    stage.fault("no_answer_before")
    assert executor.submit(sell("0.0040", "first")).status is OrderStatus.UNKNOWN
    still.ahead = 3600.0  # from now on the venue must be asked as often as a proof of absence needs

    def slow(self: Broker, order: VenueOrder, seconds: float | None = None) -> None:
        still.sleep(4.5 if seconds is None else min(4.5, seconds))

    monkeypatch.setattr(Broker, "find_order", slow)
    answer = executor.submit(sell("0.0040", "second"))
    assert answer.status is OrderStatus.FILLED
    assert any("unknown outcome (first)" in warning for warning in answer.warnings), answer.warnings
    assert still.slept < executor.config.gate.exit_settle + 1
