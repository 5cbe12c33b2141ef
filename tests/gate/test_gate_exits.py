"""Exits pass whatever is wrong with prices, balances, rules or set-up, once each, and are written down."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

import ordergate_paper as paper
from ordergate import BrokerError, ConfigError, Executor, Order, OrderStatus, hookimpl

Gate = Callable[..., Executor]
Venue = Callable[..., paper.PaperVenue]


@pytest.mark.parametrize("fault", ["accounts_down", "prices_down", "stale_prices"])
def test_f01_bad_price_or_no_balance_lets_exits_pass(gate: Gate, venue: Venue, fault: str) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"})
    paper.set_fault(venue(executor), fault, times=None)
    assert not executor.submit(Order.buy("BTC-USD", spend="60")).approved
    decision = executor.submit(Order.sell("ETH-USD", amount="0.02", client_order_id="out"))
    assert decision.status is OrderStatus.FILLED
    assert decision.verdicts == ()
    assert executor.explain("out").decision.is_exit
    assert paper.count_requests(venue(executor)) == 1


def test_f02_no_balance_all_of_it_cannot_be_sold_and_says_so(gate: Gate, venue: Venue) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"})
    paper.set_fault(venue(executor), "accounts_down", times=None)
    decision = executor.submit(Order.sell("ETH-USD", all=True))
    assert (decision.status, decision.refusals[0].code) == (OrderStatus.REFUSED, "no_balance")
    assert "name an amount" in decision.message
    assert paper.count_requests(venue(executor)) == 0


def test_f02_no_balance_goes_as_asked_with_a_warning(gate: Gate, venue: Venue) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"})
    paper.set_fault(venue(executor), "accounts_down", times=None)
    decision = executor.submit(Order.sell("ETH-USD", amount="0.01"))
    assert decision.status is OrderStatus.FILLED
    assert any("balances could not be read" in warning for warning in decision.warnings)


def test_exits_pass_when_every_rule_is_broken(gate: Gate) -> None:
    executor = gate(rules=("nobody_made_this",), positions={"ETH-USD": "0.0200"})
    assert not executor.submit(Order.buy("BTC-USD", spend="60")).approved
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED


def test_only_the_orders_own_account_can_stop_an_exit(gate: Gate) -> None:
    """A broken section of one account stops its own exits, and nobody else's."""
    executor = gate(positions={"ETH-USD": "0.0200"}, accounts={"broken": {"cash": "a lot"}})
    with pytest.raises(ConfigError):
        executor.submit(Order.buy("BTC-USD", spend="60", account="main"))
    with pytest.raises(ConfigError):
        executor.submit(Order.sell("ETH-USD", all=True, account="broken"))
    assert executor.submit(Order.sell("ETH-USD", all=True, account="main")).status is OrderStatus.FILLED


@pytest.mark.parametrize("asked", ["0.020000009", "0.0200000099999"])
def test_an_exit_is_cut_to_the_step_never_raised(gate: Gate, asked: str) -> None:
    executor = gate(positions={"ETH-USD": "0.5000"})
    decision = executor.submit(Order.sell("ETH-USD", amount=asked))
    assert decision.venue_order is not None
    assert decision.venue_order.amount == Decimal("0.02")


def test_a_forced_liquidation_cancels_resting_orders_first_and_asks_for_no_facts(
    gate: Gate, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"})
    target = executor.submit(Order.sell("ETH-USD", all=True, limit="9000", client_order_id="target"))
    assert target.status is OrderStatus.OPEN
    paper.set_fault(venue(executor), "accounts_down", times=None)
    forced = Order.sell("ETH-USD", amount="0.02", force_liquidate=True, reason="the bridge burns")
    decision = executor.submit(forced)
    assert decision.status is OrderStatus.FILLED
    assert any("the bridge burns" in warning for warning in decision.warnings)
    assert executor.explain("target").decision.status is OrderStatus.CANCELLED


def test_an_exit_of_unknown_outcome_is_settled_before_the_next(gate: Gate, venue: Venue) -> None:
    """The first sell was taken and its answer lost: the second is capped at what is left of the holding."""
    executor = gate(positions={"ETH-USD": "0.0200"})
    client = venue(executor)
    paper.set_fault(client, "no_answer_after")
    first = executor.submit(Order.sell("ETH-USD", amount="0.015", client_order_id="first"))
    assert first.status is OrderStatus.UNKNOWN
    second = executor.submit(Order.sell("ETH-USD", amount="0.02", client_order_id="second"))
    assert second.receipt is not None
    assert second.receipt.filled_amount == Decimal("0.005")
    assert executor.explain("first").decision.status is OrderStatus.FILLED
    assert (paper.count_orders(client), paper.count_requests(client)) == (2, 2)


def test_an_exit_does_not_wait_for_an_earlier_one_for_ever(gate: Gate, venue: Venue, clock: object) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"}, clock=clock, settings={"exit_settle": 1})
    client = venue(executor)
    paper.set_fault(client, "no_answer_before")
    paper.set_fault(client, "late_visibility", times=None)
    assert executor.submit(Order.sell("ETH-USD", amount="0.01", client_order_id="first")).status is OrderStatus.UNKNOWN
    second = executor.submit(Order.sell("ETH-USD", amount="0.02", client_order_id="second"))
    assert second.status is OrderStatus.FILLED
    assert any("first" in warning for warning in second.warnings)


def test_a_sell_frees_its_slot_when_the_facts_show_it(gate: Gate) -> None:
    executor = gate(cash="100.00", positions={"ETH-USD": "0.0100"})
    refused = executor.submit(Order.buy("BTC-USD", spend="20"))
    assert {verdict.rule for verdict in refused.refusals} == {"position_cap"}
    executor.submit(Order.sell("ETH-USD", all=True))
    assert executor.submit(Order.buy("BTC-USD", spend="20")).status is OrderStatus.FILLED


def test_an_open_sell_frees_nothing_yet(gate: Gate) -> None:
    executor = gate(cash="100.00", positions={"ETH-USD": "0.0100"})
    assert executor.submit(Order.sell("ETH-USD", all=True, limit="9000")).status is OrderStatus.OPEN
    refused = executor.submit(Order.buy("BTC-USD", spend="20"))
    assert {verdict.rule for verdict in refused.refusals} == {"position_cap"}


def test_a_resting_buy_holds_its_slot_and_its_cash_until_it_is_cancelled(gate: Gate, venue: Venue) -> None:
    executor = gate(cash="200.00")
    resting = Order.buy("BTC-USD", amount="0.001", limit="60000", client_order_id="resting")
    assert executor.submit(resting).status is OrderStatus.OPEN
    refused = executor.submit(Order.buy("ETH-USD", spend="20"))
    assert {verdict.rule for verdict in refused.refusals} == {"position_cap"}
    free = next(verdict.limit for verdict in refused.verdicts if verdict.rule == "gate.funds")
    usd = next(one for one in paper.get_account(venue(executor)).holdings if one.currency == "USD")
    assert free == usd.available
    executor.cancel("resting")
    assert executor.submit(Order.buy("ETH-USD", spend="20")).status is OrderStatus.FILLED


def test_a_buy_that_cannot_be_connected_is_not_sent_and_says_so(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    @hookimpl
    def connect(settings: paper.Settings) -> object:
        raise BrokerError("no such key")

    monkeypatch.setattr(paper, "connect", connect)
    executor = gate()
    decision = executor.submit(Order.buy("BTC-USD", spend="60"))
    assert "gate.facts" in {verdict.rule for verdict in decision.refusals}
    sold = executor.submit(Order.sell("ETH-USD", amount="0.01"))
    assert (sold.status, sold.error) == (OrderStatus.EXPIRED, "NOT_SENT")
