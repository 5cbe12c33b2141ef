"""Clocks that jump: what is sent late is not sent, and nothing is given up early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ordergate import Order, OrderStatus
from ordergate.desk import Desk
from ordergate.sqlite_ledger import SqliteLedger

if TYPE_CHECKING:
    from tests.faults.conftest import MovedClock, Stage

ONE_SLOT = [{"name": "ONE", "equity": "50", "max_positions": 1, "min_position": "10"}]
HOUR = 3600.0


def one_slot(stage: Stage) -> dict[str, Any]:
    return stage.values(positions={}) | {"tiers": ONE_SLOT}


def live(stage: Stage) -> list[str]:
    return [one.client_order_id for one in stage.opened[0].desk.ledger().state("main").reservations]


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_an_order_whose_send_by_time_passed_before_the_send_is_not_sent(
    stage: Stage, clock: MovedClock, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    executor = stage.executor(clock=clock)
    place = Desk.place

    def stopped_for_a_while(*arguments: Any) -> Any:
        clock.ahead += 8
        return place(*arguments)

    monkeypatch.setattr(Desk, "place", stopped_for_a_while)
    buy = Order.buy("BTC-USD", spend="50", client_order_id="mine")
    order = buy if side == "buy" else Order.sell("ETH-USD", amount="0.004", client_order_id="mine")
    answer = executor.submit(order)
    assert (answer.status, answer.error) == (OrderStatus.EXPIRED, "NOT_SENT")
    assert stage.sent() == 0
    again = executor.submit(order)
    assert (again.replayed, again.status, again.error) == (True, OrderStatus.EXPIRED, "NOT_SENT")


def test_what_was_not_sent_gives_its_slot_back(
    stage: Stage, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = stage.executor(one_slot(stage), clock=clock)
    place = Desk.place

    def stopped_for_a_while(*arguments: Any) -> Any:
        clock.ahead += 8
        return place(*arguments)

    monkeypatch.setattr(Desk, "place", stopped_for_a_while)
    assert executor.submit(Order.buy("AAA-USD", spend="50", client_order_id="late")).status is OrderStatus.EXPIRED
    monkeypatch.setattr(Desk, "place", place)
    assert executor.submit(Order.buy("BBB-USD", spend="50", client_order_id="next")).status is OrderStatus.FILLED
    assert live(stage) == ["next"]
    assert stage.sent() == 1
    stage.journal()


def test_a_sender_that_was_stopped_after_the_insert_is_refused_by_its_own_deadline_and_by_the_venue(
    stage: Stage, clock: MovedClock
) -> None:
    """The venue honours the send-by time too: an order that is on its way for longer is rejected there."""
    clock.ahead = -60
    answer = stage.executor(clock=clock).submit(Order.buy("BTC-USD", spend="50"))
    assert answer.status is OrderStatus.REJECTED
    assert answer.receipt is not None
    assert answer.receipt.code == "deadline_elapsed"
    assert stage.count() == 0


@pytest.mark.parametrize("back", [0.005, 1.0, HOUR], ids=["milliseconds", "a second", "an hour"])
def test_d08_clock_that_steps_back_gives_no_reservation_up_early(stage: Stage, clock: MovedClock, back: float) -> None:
    """The receipt is from later than these facts claim to be: they may not have seen it yet."""
    executor = stage.executor(one_slot(stage), clock=clock)
    clock.ahead = 2 * HOUR
    assert executor.submit(Order.buy("AAA-USD", spend="50", client_order_id="first")).status is OrderStatus.FILLED
    assert live(stage) == ["first"]
    clock.ahead -= back + 1
    again = executor.submit(Order.buy("AAA-USD", spend="20", client_order_id="more"))
    assert again.status is OrderStatus.FILLED, "adding to the held symbol needs no slot"
    assert "first" in live(stage)
    refused = executor.submit(Order.buy("BBB-USD", spend="50", client_order_id="second"))
    assert [verdict.code for verdict in refused.refusals] == ["over_cap"]


def test_d08_clock_that_steps_back_does_not_forget_an_unknown_order(stage: Stage, clock: MovedClock) -> None:
    executor = stage.executor(one_slot(stage), clock=clock)
    clock.ahead = 2 * HOUR
    stage.fault("no_answer_before")
    assert executor.submit(Order.buy("AAA-USD", spend="50", client_order_id="lost")).status is OrderStatus.UNKNOWN
    clock.ahead -= HOUR
    refused = executor.submit(Order.buy("BBB-USD", spend="50"))
    assert "over_cap" in [verdict.code for verdict in refused.refusals]
    executor.reconcile()
    assert live(stage) == ["lost"], "it may still arrive, as far as this clock can tell"
    clock.ahead += HOUR + 60
    executor.reconcile()
    assert executor.submit(Order.buy("BBB-USD", spend="50", client_order_id="next")).status is OrderStatus.FILLED
    assert live(stage) == ["next"]


def test_d08_clock_that_jumps_ahead_in_another_process_frees_nothing_that_is_being_sent(
    stage: Stage, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, an hour ahead, settles the order while it is on its way. The venue has it in the end."""
    executor = stage.executor(one_slot(stage))
    ahead = stage.executor(one_slot(stage), clock=clock)
    clock.ahead = HOUR
    place = Desk.place

    def settled_meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(Desk, "place", place)
        outcome = place(*arguments)
        ahead.reconcile()
        return outcome

    monkeypatch.setattr(Desk, "place", settled_meanwhile)
    answer = executor.submit(Order.buy("AAA-USD", spend="50", client_order_id="first"))
    assert answer.status is OrderStatus.FILLED
    refused = ahead.submit(Order.buy("BBB-USD", spend="50"))
    assert refused.status is OrderStatus.REFUSED
    assert stage.count() == 1


def test_d08_clock_that_jumps_ahead_makes_facts_no_older_within_a_process(stage: Stage, clock: MovedClock) -> None:
    """Ages are counted on the clock that never jumps."""
    executor = stage.executor(clock=clock)
    for jump in (HOUR, -2 * HOUR, 24 * HOUR):
        clock.ahead += jump
        answer = executor.check(Order.buy("BTC-USD", spend="50"))
        assert answer.status is OrderStatus.APPROVED
        assert answer.facts is not None
        assert answer.facts.ages["account"] < 10


def test_d08_clock_a_year_ends_between_two_rows(stage: Stage, clock: MovedClock) -> None:
    executor = stage.executor(clock=clock)
    assert executor.submit(Order.buy("AAA-USD", spend="50")).status is OrderStatus.FILLED
    clock.ahead += 366 * 24 * HOUR
    assert executor.submit(Order.buy("AAA-USD", spend="50")).status is OrderStatus.FILLED
    clock.ahead -= 300 * 24 * HOUR
    assert executor.submit(Order.sell("AAA-USD", all=True)).status is OrderStatus.FILLED
    ledger = executor.desk.ledger()
    assert isinstance(ledger, SqliteLedger)
    assert ledger.verify() is None
