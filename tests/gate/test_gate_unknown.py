"""When the venue's answer does not come, or makes no sense: nothing is sent twice, nothing is given up on a guess."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Protocol

import pytest
from attrs import evolve

import ordergate_paper as paper
from ordergate import Decision, Executor, InputError, Order, OrderStatus, Receipt, Side, VenueOrder, hookimpl
from ordergate.clock import Clock

Gate = Callable[..., Executor]
Venue = Callable[..., paper.PaperVenue]


class Moved(Clock, Protocol):
    """The test's clock: `ahead` seconds in front of the machine's."""

    ahead: float


QUICK = {"deadline": 0.3, "exit_facts": 0.3}
TAKEN = ["no_answer_after", "hang_after", "nonsense_type", "nonsense_error"]
BUY = Order.buy("BTC-USD", spend="60", client_order_id="first")


def codes(decision: Decision) -> dict[str, str]:
    return {verdict.rule: verdict.code for verdict in decision.refusals}


def held(client: paper.PaperVenue, currency: str) -> Decimal:
    report = paper.get_account(client)
    return sum((holding.total for holding in report.holdings if holding.currency == currency), Decimal(0))


def settled(executor: Executor) -> Mapping[str, str | None]:
    """What reconciling says of each unfinished order of main."""
    return {one.recorded.client_order_id: one.status for one in executor.reconcile("main")["main"]}


# ------------------------------------------------------------------------------------------------------- C01, C05, C07


@pytest.mark.parametrize("fault", TAKEN)
def test_c01_took_it_no_reply(gate: Gate, venue: Venue, fault: str) -> None:
    """Unknown, exactly one venue order, and adopted as filled when it is looked for."""
    executor = gate(settings=QUICK)
    client = venue(executor)
    paper.set_fault(client, fault)
    decision = executor.submit(BUY)
    assert (decision.status, decision.error, decision.receipt) == (OrderStatus.UNKNOWN, "OUTCOME_UNKNOWN", None)
    assert [one["status"] for one in executor.status()["unfinished"]] == ["unknown"]
    client.released.set()
    assert settled(executor) == {"first": OrderStatus.FILLED}
    assert executor.status()["unfinished"] == []
    again = executor.submit(BUY)
    assert (again.status, again.replayed) == (OrderStatus.FILLED, True)
    assert again.receipt is not None
    assert again.receipt.filled_amount == held(client, "BTC")
    assert (paper.count_orders(client), paper.count_requests(client)) == (1, 1)


def test_c01_took_it_no_reply_is_adopted_by_the_next_buy_itself(gate: Gate, venue: Venue) -> None:
    executor = gate()
    paper.set_fault(venue(executor), "no_answer_after")
    assert executor.submit(BUY).status is OrderStatus.UNKNOWN
    assert executor.submit(Order.buy("BTC-USD", spend="61")).status is OrderStatus.FILLED
    assert executor.explain("first").decision.status is OrderStatus.FILLED
    assert paper.count_orders(venue(executor)) == 2


def test_c01_took_it_no_reply_is_adopted_after_a_restart(gate: Gate, venue: Venue) -> None:
    first = gate()
    paper.set_fault(venue(first), "no_answer_after")
    first.submit(BUY)
    first.close()
    restarted = gate()
    assert settled(restarted) == {"first": OrderStatus.FILLED}
    assert paper.count_requests(venue(restarted)) == 1


def test_c01_took_it_no_reply_and_cannot_be_looked_up_keeps_its_reservation(gate: Gate, venue: Venue) -> None:
    """Cap one: while the first is unknown its slot is taken, its cash too, and its symbol is closed for buys."""
    executor = gate(cash="200.00")
    client = venue(executor)
    paper.set_fault(client, "no_answer_before")
    paper.set_fault(client, "late_visibility", times=None)
    assert executor.submit(Order.buy("BTC-USD", spend="150", client_order_id="first")).status is OrderStatus.UNKNOWN
    other = executor.submit(Order.buy("ETH-USD", spend="60"))
    assert codes(other) == {"position_cap": "over_cap", "gate.funds": "not_enough_funds"}
    free = next(verdict.limit for verdict in other.verdicts if verdict.rule == "gate.funds")
    assert free == Decimal(50)
    same = executor.submit(Order.buy("BTC-USD", spend="20"))
    assert codes(same) == {"gate.state": "outcome_unknown"}
    assert same.smallest_passing is None
    assert paper.count_requests(client) == 1


def test_c01_took_it_no_reply_leaves_other_symbols_open(gate: Gate, venue: Venue) -> None:
    executor = gate(cash="1000.00")
    client = venue(executor)
    paper.set_fault(client, "no_answer_before", symbol="BTC-USD")
    paper.set_fault(client, "late_visibility", times=None, symbol="BTC-USD")
    assert executor.submit(BUY).status is OrderStatus.UNKNOWN
    assert executor.submit(Order.buy("ETH-USD", spend="60")).status is OrderStatus.FILLED
    assert codes(executor.submit(Order.buy("BTC-USD", spend="60")))["gate.state"] == "outcome_unknown"


def test_c01_took_it_no_reply_and_a_sell_of_the_symbol_still_passes(gate: Gate, venue: Venue, clock: Moved) -> None:
    executor = gate(positions={"BTC-USD": "0.0010"}, clock=clock)
    client = venue(executor)
    paper.set_fault(client, "no_answer_before")
    paper.set_fault(client, "late_visibility", times=None)
    assert executor.submit(BUY).status is OrderStatus.UNKNOWN
    sold = executor.submit(Order.sell("BTC-USD", all=True))
    assert sold.status is OrderStatus.FILLED
    assert held(client, "BTC") == 0


@pytest.mark.parametrize("fault", ["nonsense_other_order", "nonsense_other_size"])
def test_c05_lying_200_about_another_order_freezes_the_account(gate: Gate, venue: Venue, fault: str) -> None:
    executor = gate(accounts={"side": {"cash": "1000.00"}})
    client = venue(executor)
    paper.set_fault(client, fault)
    decision = executor.submit(evolve(BUY, account="main"))
    assert decision.status is OrderStatus.UNKNOWN
    assert "another order" in decision.message
    status = executor.status()["accounts"]
    assert (status["main"]["trading"], status["side"]["trading"]) == ("exits_only", "active")
    assert any(
        entry.kind == "alarm" and "order_mismatch" in entry.body for entry in executor.desk.ledger().entries("main")
    )
    refused = executor.submit(Order.buy("ETH-USD", spend="60", account="main"))
    assert codes(refused)["gate.state"] == "exits_only"
    assert executor.submit(Order.buy("ETH-USD", spend="60", account="side")).status is OrderStatus.FILLED
    assert paper.count_requests(client) == 1


def test_c05_lying_200_is_settled_by_looking_and_ended_by_a_person(gate: Gate, venue: Venue) -> None:
    executor = gate()
    paper.set_fault(venue(executor), "nonsense_other_size")
    executor.submit(BUY)
    assert settled(executor) == {"first": OrderStatus.FILLED}
    assert executor.status()["accounts"]["main"]["trading"] == "exits_only"
    executor.resume(by="ann", reason="looked at the venue: it is our order", account="main")
    assert executor.submit(Order.buy("BTC-USD", spend="60")).status is OrderStatus.FILLED


@pytest.mark.parametrize("answer", [None, {}, "<html>", 200, [], True])
def test_c05_lying_200_that_is_no_receipt(
    gate: Gate, venue: Venue, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    place = paper.place_order

    @hookimpl
    def place_order(client: paper.PaperVenue, order: object) -> object:
        place(client, order)  # type: ignore[arg-type]  # handed on as it came
        return answer

    monkeypatch.setattr(paper, "place_order", place_order)
    executor = gate()
    assert executor.submit(BUY).status is OrderStatus.UNKNOWN
    assert settled(executor) == {"first": OrderStatus.FILLED}
    assert paper.count_requests(venue(executor)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"status": "accepted"},
        {"status": OrderStatus.APPROVED},
        {"status": OrderStatus.REFUSED},
        {"filled_amount": Decimal("NaN")},
        {"filled_amount": 0.1},
        {"filled_value": Decimal(-1)},
        {"fees": None},
        {"symbol": "ETH-USD"},
        {"side": "sell"},
    ],
    ids=str,
)
def test_c08_schema_moved_so_that_the_receipt_is_not_usable(
    gate: Gate, venue: Venue, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    place = paper.place_order

    @hookimpl
    def place_order(client: paper.PaperVenue, order: object) -> Receipt:
        return evolve(place(client, order), **change)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(paper, "place_order", place_order)
    executor = gate()
    assert executor.submit(BUY).status is OrderStatus.UNKNOWN
    assert settled(executor) == {"first": OrderStatus.FILLED}
    assert paper.count_requests(venue(executor)) == 1


@pytest.mark.parametrize("error", [TypeError, KeyError, RecursionError, MemoryError, SystemExit, KeyboardInterrupt])
def test_c07_parser_bomb(gate: Gate, venue: Venue, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    place = paper.place_order

    @hookimpl
    def place_order(client: paper.PaperVenue, order: object) -> Receipt:
        place(client, order)  # type: ignore[arg-type]  # handed on as it came
        raise error("the answer could not be read")

    monkeypatch.setattr(paper, "place_order", place_order)
    executor = gate()
    decision = executor.submit(BUY)
    assert decision.status is OrderStatus.UNKNOWN
    assert error.__name__ in decision.message
    (alarm,) = [json.loads(one.body) for one in executor.desk.ledger().entries("main") if one.kind == "alarm"]
    assert alarm["code"] == "outcome_unknown"
    assert error.__name__ in alarm["message"]
    assert paper.count_requests(venue(executor)) == 1


def test_c15_deadline_of_the_gates_own(gate: Gate, venue: Venue) -> None:
    """A venue that never answers costs the deadline and no more; the order, never taken, stays unknown."""
    executor = gate(settings=QUICK)
    client = venue(executor)
    paper.set_fault(client, "hang_before")
    decision = executor.submit(BUY)
    assert decision.status is OrderStatus.UNKNOWN
    assert "0.3 s" in decision.message
    assert paper.count_orders(client) == 0


def test_c15_deadline_for_facts_refuses_the_buy(gate: Gate, venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    @hookimpl
    def get_prices(client: paper.PaperVenue, symbols: object) -> object:
        client.released.wait(paper.HANG_SECONDS)
        return []

    monkeypatch.setattr(paper, "get_prices", get_prices)
    executor = gate(settings=QUICK, positions={"ETH-USD": "0.0100"})
    client = venue(executor)
    decision = executor.submit(BUY)
    assert codes(decision)["gate.facts"] == "no_trusted_facts"
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED
    assert paper.count_requests(client) == 1


# ------------------------------------------------------------------------------------------------------------- C02, C03


def test_c02_never_arrived_is_proved_absent_and_freed_once(gate: Gate, venue: Venue, clock: Moved) -> None:
    executor = gate(cash="200.00", clock=clock)
    client = venue(executor)
    paper.set_fault(client, "no_answer_before")
    assert executor.submit(BUY).status is OrderStatus.UNKNOWN
    assert settled(executor) == {"first": None}  # within its send-by time it may still arrive
    clock.ahead += 8
    assert settled(executor) == {"first": OrderStatus.EXPIRED}
    assert settled(executor) == {}
    again = executor.submit(BUY)
    assert (again.status, again.replayed) == (OrderStatus.EXPIRED, True)
    assert executor.submit(Order.buy("ETH-USD", spend="60")).status is OrderStatus.FILLED
    receipts = [
        entry for entry in executor.desk.ledger().entries("main") if entry.kind == "receipt" and "first" in entry.body
    ]
    assert len(receipts) == 2  # unknown, then expired
    assert (paper.count_requests(client), paper.count_orders(client)) == (2, 1)


def test_c02_never_arrived_frees_its_claim_for_the_next_buy(gate: Gate, venue: Venue, clock: Moved) -> None:
    executor = gate(cash="200.00", clock=clock)
    paper.set_fault(venue(executor), "no_answer_before")
    executor.submit(Order.buy("BTC-USD", spend="150", client_order_id="first"))
    clock.ahead += 8
    decision = executor.submit(Order.buy("ETH-USD", spend="150"))
    assert decision.status is OrderStatus.FILLED
    assert executor.desk.ledger().find("main", "first").status == OrderStatus.EXPIRED  # type: ignore[union-attr]


def test_c02_never_arrived_needs_every_look_to_find_nothing(gate: Gate, venue: Venue, clock: Moved) -> None:
    """One or two looks that miss an order are no proof: the third finds it, and it is adopted."""
    executor = gate(clock=clock)
    client = venue(executor)
    paper.set_fault(client, "no_answer_after")
    executor.submit(BUY)
    clock.ahead += 8
    paper.set_fault(client, "late_visibility", times=2)
    assert settled(executor) == {"first": OrderStatus.FILLED}


def test_c03_late_arrival_is_not_freed_early(gate: Gate, venue: Venue, clock: Moved) -> None:
    executor = gate(clock=clock)
    client = venue(executor)
    paper.set_fault(client, "no_answer_after")
    paper.set_fault(client, "late_visibility", times=3)
    executor.submit(BUY)
    assert settled(executor) == {"first": None}
    assert settled(executor) == {"first": None}
    assert codes(executor.submit(Order.buy("BTC-USD", spend="60")))["gate.state"] == "outcome_unknown"
    assert settled(executor) == {"first": OrderStatus.FILLED}
    assert paper.count_orders(client) == 1


def test_c04_wire_cuts_while_settling_leave_it_unknown(
    gate: Gate, venue: Venue, clock: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not being able to ask is no proof of absence, however much time has passed."""
    down = True
    find = paper.find_order

    @hookimpl
    def find_order(client: paper.PaperVenue, order: object) -> Receipt | None:
        if down:
            raise ConnectionResetError("cut")
        return find(client, order)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(paper, "find_order", find_order)
    executor = gate(clock=clock)
    paper.set_fault(venue(executor), "no_answer_after")
    executor.submit(BUY)
    clock.ahead += 86_400
    assert settled(executor) == {"first": None}
    down = False
    assert settled(executor) == {"first": OrderStatus.FILLED}


@pytest.mark.parametrize(
    "change", [{"spend": Decimal(120)}, {"symbol": "ETH-USD"}, {"client_order_id": "another"}], ids=str
)
def test_c05_lying_200_when_looked_up_freezes_once_and_adopts_nothing(
    gate: Gate, venue: Venue, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    find = paper.find_order

    @hookimpl
    def find_order(client: paper.PaperVenue, order: object) -> Receipt | None:
        found = find(client, order)  # type: ignore[arg-type]  # handed on as it came
        return None if found is None else evolve(found, **change)  # type: ignore[arg-type]

    monkeypatch.setattr(paper, "find_order", find_order)
    executor = gate()
    client = venue(executor)
    paper.set_fault(client, "no_answer_after")
    executor.submit(BUY)
    assert settled(executor) == {"first": None}
    assert executor.status()["accounts"]["main"]["trading"] == "exits_only"
    before = sum(1 for _ in executor.desk.ledger().entries("main"))
    decision = executor.submit(Order.buy("ETH-USD", spend="60"))
    assert codes(decision)["gate.state"] == "exits_only"  # refused and recorded, not contended
    after = sum(1 for _ in executor.desk.ledger().entries("main"))
    assert after - before <= 3  # the decision, and at most one more alarm
    assert paper.count_requests(client) == 1


# ----------------------------------------------------------------------------------------------- rejected, and by hand


def test_c06_status_sweep_a_definite_rejection_frees_and_is_told(gate: Gate, venue: Venue) -> None:
    executor = gate(cash="200.00")
    client = venue(executor)
    paper.set_fault(client, "reject", code="INSUFFICIENT_FUND")
    decision = executor.submit(BUY)
    assert (decision.status, decision.error) == (OrderStatus.REJECTED, "VENUE_REJECTED")
    assert "INSUFFICIENT_FUND" in decision.message
    assert executor.status()["unfinished"] == []
    assert executor.submit(Order.buy("ETH-USD", spend="150")).status is OrderStatus.FILLED
    assert (executor.submit(BUY).status, paper.count_requests(client)) == (OrderStatus.REJECTED, 2)


def test_an_unknown_order_is_settled_by_a_person_with_name_and_reason(gate: Gate, venue: Venue, clock: Moved) -> None:
    executor = gate(clock=clock)
    client = venue(executor)
    paper.set_fault(client, "no_answer_before")
    paper.set_fault(client, "late_visibility", times=None)
    executor.submit(BUY)
    told = {"by": "ann", "reason": "the venue's support says it never came"}
    with pytest.raises(InputError, match="still arrive"):
        executor.settle_by_hand("first", "expired", **told)
    clock.ahead += 8
    for field in told:
        with pytest.raises(InputError, match=field):
            executor.settle_by_hand("first", "expired", **{**told, field: ""})
    assert executor.settle_by_hand("first", "expired", **told).status is OrderStatus.EXPIRED
    assert executor.submit(Order.buy("BTC-USD", spend="61")).status is OrderStatus.FILLED
    with pytest.raises(InputError, match="unknown outcome"):
        executor.settle_by_hand("first", "filled", **told)


def test_what_is_known_is_not_settled_by_hand(gate: Gate) -> None:
    executor = gate()
    executor.submit(BUY)
    with pytest.raises(InputError):
        executor.settle_by_hand("first", "expired", by="ann", reason="to sell it twice")


# ------------------------------------------------------------------------------------------------ orders of other hands


@pytest.mark.parametrize(("setting", "passes"), [("alarm", True), ("stop", False)])
def test_f03_manual_trade_raises_an_alarm_and_stops_buys_if_told_to(
    gate: Gate, venue: Venue, setting: str, passes: bool
) -> None:
    executor = gate(settings={"foreign_orders": setting})
    client = venue(executor)
    elsewhere = VenueOrder(
        account="main",
        symbol="ETH-USD",
        side=Side.BUY,
        spend=None,
        amount=Decimal("0.01"),
        limit=Decimal(3000),
        client_order_id="placed-by-hand",
        send_by=client.clock.now() + 5,
    )
    assert paper.place_order(client, elsewhere).status is OrderStatus.OPEN
    decisions = [executor.submit(Order.buy("BTC-USD", spend="60")) for _ in range(2)]
    assert [decision.approved for decision in decisions] == [passes, passes]
    alarms = [entry for entry in executor.desk.ledger().entries("main") if entry.kind == "alarm"]
    assert len(alarms) == 1
    assert "foreign_order" in alarms[0].body
    if not passes:
        assert codes(decisions[0])["gate.state"] == codes(decisions[1])["gate.state"] == "foreign_orders"


def test_f04_start_mismatch_two_names_for_one_account_are_an_error(gate: Gate, venue: Venue) -> None:
    executor = gate(state="paper-one.db", accounts={"twin": {"state": "paper-one.db", "cash": "1000.00"}})
    assert executor.submit(BUY_MAIN).status is OrderStatus.FILLED
    decision = executor.submit(Order.buy("BTC-USD", spend="60", account="twin"))
    assert codes(decision)["gate.state"] == "identity_conflict"
    assert paper.count_requests(venue(executor)) == 1


BUY_MAIN = Order.buy("BTC-USD", spend="60", account="main")


def test_f04_start_mismatch_other_funds_under_an_old_name(gate: Gate, venue: Venue) -> None:
    first = gate()
    first.submit(BUY)
    first.close()
    second = gate(state="another.db")
    decision = second.submit(Order.buy("BTC-USD", spend="60"))
    assert codes(decision)["gate.state"] == "identity_conflict"
    assert paper.count_requests(venue(second)) == 0


def test_f04_start_mismatch_an_account_gone_with_an_open_intent_stops_buys(gate: Gate, venue: Venue) -> None:
    first = gate(accounts={"side": {"cash": "1000.00"}})
    paper.set_fault(venue(first, "side"), "no_answer_after")
    assert first.submit(Order.buy("BTC-USD", spend="60", account="side")).status is OrderStatus.UNKNOWN
    first.close()
    without = gate()
    decision = without.submit(Order.buy("BTC-USD", spend="60"))
    assert codes(decision)["gate.state"] == "account_gone"
    assert "side" in decision.message
    assert paper.count_requests(venue(without)) == 0


def test_c05_lying_lookup_before_a_sell_closes_the_account_and_the_sell_still_passes(
    gate: Gate, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sell looks an earlier unknown one up; what contradicts there counts as much as it does before a buy."""
    find = paper.find_order

    @hookimpl
    def find_order(client: paper.PaperVenue, order: object) -> Receipt | None:
        receipt = find(client, order)  # type: ignore[arg-type]  # handed on as it came
        return None if receipt is None else evolve(receipt, symbol="ETH-EUR")

    monkeypatch.setattr(paper, "find_order", find_order)
    executor = gate(settings={"exit_settle": "0.1"}, positions={"ETH-USD": "0.0300"})
    client = venue(executor)
    paper.set_fault(client, "no_answer_after")
    first = Order.sell("ETH-USD", amount="0.01", client_order_id="lost")
    assert executor.submit(first).status is OrderStatus.UNKNOWN
    second = executor.submit(Order.sell("ETH-USD", amount="0.01"))
    assert second.status is OrderStatus.FILLED
    assert "lost" in " ".join(second.warnings)
    assert executor.status()["accounts"]["main"]["trading"] == "exits_only"
    alarms = [entry for entry in executor.desk.ledger().entries("main") if entry.kind == "alarm"]
    assert [json.loads(entry.body)["code"] for entry in alarms] == ["outcome_unknown", "order_mismatch"]
    assert paper.count_orders(client) == 2
