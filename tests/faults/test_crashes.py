"""Processes that are killed at each named point of the path, and what the next one finds and does."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ordergate import Order, OrderStatus

if TYPE_CHECKING:
    from tests.faults.conftest import MovedClock, Stage

BUY = {"symbol": "BTC-USD", "side": "buy", "spend": "50", "client_order_id": "mine"}
SELL = {"symbol": "ETH-USD", "side": "sell", "amount": "0.0100", "client_order_id": "mine"}
ONE_SLOT = [{"name": "ONE", "equity": "50", "max_positions": 1, "min_position": "10"}]

DEATHS = 50

# Where it dies, what the venue does with orders, and whether the venue has the order in the end.
POINTS = [
    ("before_insert", None, False),
    ("after_insert", None, False),
    ("before_send", None, False),
    ("after_send", None, True),
    ("after_send", "no_answer_after", True),
    ("after_send", "no_answer_before", False),
    ("after_send", "reject", False),
    ("before_receipt", None, True),
    ("before_receipt", "no_answer_after", True),
    ("before_receipt", "no_answer_before", False),
    ("before_receipt", "nonsense_error", True),
    ("after_receipt", None, True),
    ("after_receipt", "no_answer_after", True),
    ("after_receipt", "no_answer_before", False),
    ("after_receipt", "reject", False),
]


def one_slot(stage: Stage) -> dict[str, Any]:
    """Cash alone and one slot: while a reservation lives, nothing else can be bought."""
    return stage.values(positions={}) | {"tiers": ONE_SLOT}


def prepare(stage: Stage, values: dict[str, Any], fault: str | None) -> None:
    stage.executor(values)
    stage.close()
    if fault:
        stage.fault(fault)


@pytest.mark.parametrize(("point", "fault", "taken"), POINTS)
def test_d01_kill9_everywhere_on_a_buy(
    stage: Stage, clock: MovedClock, point: str, fault: str | None, taken: bool
) -> None:
    values = one_slot(stage)
    prepare(stage, values, fault)
    stage.killed(values=values, do=[["submit", BUY]], die=point)
    assert stage.count() == taken
    sent = stage.sent()
    recorded = point != "before_insert"

    # At once: whatever was recorded holds its slot until its outcome is known for certain.
    executor = stage.executor(values, clock=clock)
    ledger = executor.desk.ledger()
    known_at_once = taken or not recorded or (point, fault) == ("after_receipt", "reject")
    live = [one.client_order_id for one in ledger.state("main").reservations]
    assert live == (["mine"] if recorded else [])
    if not known_at_once:
        refused = executor.submit(Order.buy("AAA-USD", spend="50", client_order_id="too-early"))
        assert [verdict.code for verdict in refused.refusals if verdict.rule == "position_cap"] == ["over_cap"]

    # Later: the order is adopted or proved absent, by asking, and the id is never sent again.
    clock.ahead = 60
    executor.reconcile()
    again = executor.submit(Order.from_mapping(BUY)) if recorded else None
    assert stage.sent() == sent
    if again is not None:
        rejected = fault == "reject" and point == "after_receipt"
        gone = OrderStatus.REJECTED if rejected else OrderStatus.EXPIRED
        assert (again.replayed, again.status) == (True, OrderStatus.FILLED if taken else gone)
    follow_up = executor.submit(Order.buy("AAA-USD", spend="50", client_order_id="next"))
    assert follow_up.status is (OrderStatus.REFUSED if taken else OrderStatus.FILLED)
    assert stage.count() == 1
    assert [receipt.symbol for receipt in stage.at_venue()] == ["BTC-USD" if taken else "AAA-USD"]
    assert [one.client_order_id for one in ledger.state("main").reservations] == ([] if taken else ["next"])
    assert ledger.unfinished("main") == ()
    stage.journal()


@pytest.mark.parametrize(("point", "fault", "taken"), POINTS)
def test_d01_kill9_everywhere_on_a_sell(
    stage: Stage, clock: MovedClock, point: str, fault: str | None, taken: bool
) -> None:
    prepare(stage, stage.values(), fault)
    stage.killed(do=[["submit", SELL]], die=point)
    assert stage.count() == taken
    executor = stage.executor(clock=clock)
    recorded = point != "before_insert"
    sent = stage.sent()
    clock.ahead = 60
    again = executor.submit(Order.from_mapping(SELL))
    if recorded:
        assert again.replayed
        assert stage.sent() == sent
    else:
        assert again.status is OrderStatus.FILLED
    # A new sell of everything: of what is left, and never of what is gone.
    rest = executor.submit(Order.sell("ETH-USD", all=True, client_order_id="rest"))
    left = recorded and not taken
    assert rest.status is (OrderStatus.FILLED if left else OrderStatus.REFUSED), rest
    assert stage.count() == 1
    assert stage.held("ETH") == "0"
    executor.reconcile()
    assert executor.desk.ledger().unfinished("main") == ()
    stage.journal()


@pytest.mark.parametrize("fault", [None, "no_answer_before"], ids=["venue took it", "venue did not"])
def test_d02_kill9_in_recovery_again_and_again_converges(stage: Stage, clock: MovedClock, fault: str | None) -> None:
    values = one_slot(stage)
    prepare(stage, values, fault)
    recovery: dict[str, Any] = {"values": values, "do": [["reconcile", {}]], "ahead": 60}
    points = [("before_look", "after_look", "before_receipt")[number % 3] for number in range(DEATHS)]
    lives: list[dict[str, Any]] = [
        {"values": values, "do": [["submit", BUY]], "die": "before_receipt"},
        *({**recovery, "die": point} for point in points),
        {**recovery, "die": "after_receipt"},
    ]
    assert [code for code, _ in stage.one_after_another(lives)] == [-signal.SIGKILL] * (DEATHS + 2)
    sent = stage.sent()
    clock.ahead = 60
    executor = stage.executor(values, clock=clock)
    assert executor.reconcile() == {"main": ()}, "the last death left nothing to do"
    assert stage.sent() == sent == 1
    status = executor.submit(Order.from_mapping(BUY)).status
    assert status is (OrderStatus.EXPIRED if fault else OrderStatus.FILLED)
    receipts = [key for kind, key in stage.journal() if kind == "receipt"]
    assert len(receipts) == 1


def test_d01_kill9_between_two_processes_the_living_one_is_not_disturbed(stage: Stage) -> None:
    """An intent that may still be being sent by its own process is nobody else's to settle."""
    values = one_slot(stage)
    prepare(stage, values, None)
    stage.killed(values=values, do=[["submit", BUY]], die="after_insert")
    executor = stage.executor(values)
    assert executor.reconcile() == {"main": ()}
    recorded = executor.desk.ledger().find("main", "mine")
    assert recorded is not None
    assert recorded.status == "sending"


def test_d06_sigterm_mid_send_leaves_unknown(stage: Stage, clock: MovedClock) -> None:
    values = one_slot(stage)
    prepare(stage, values, "hang_after")
    interrupt_while_sending(stage, values, signal.SIGTERM)
    recovered(stage, values, clock)


def test_d06_keyboard_interrupt_mid_send_leaves_unknown(stage: Stage, clock: MovedClock) -> None:
    values = one_slot(stage)
    prepare(stage, values, "hang_after")
    process = interrupt_while_sending(stage, values, signal.SIGINT)
    assert process.returncode != 0
    recovered(stage, values, clock)


def interrupt_while_sending(stage: Stage, values: dict[str, Any], number: int) -> subprocess.Popen[str]:
    process = stage.start(values=values, do=[["submit", BUY]])
    assert process.stdout is not None
    assert process.stdout.readline() == "hanging\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert out == "", "it never claimed an outcome"
    return process


def recovered(stage: Stage, values: dict[str, Any], clock: MovedClock) -> None:
    executor = stage.executor(values, clock=clock)
    assert executor.submit(Order.from_mapping(BUY)).status is OrderStatus.UNKNOWN
    refused = executor.submit(Order.buy("AAA-USD", spend="50"))
    assert refused.status is OrderStatus.REFUSED
    clock.ahead = 60
    executor.reconcile()
    assert executor.submit(Order.from_mapping(BUY)).status is OrderStatus.FILLED
    assert stage.sent() == 1
    stage.journal()
