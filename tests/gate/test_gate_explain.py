"""A recorded decision, judged again from what was recorded, gets the same verdicts, also in another process."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

import ordergate_paper as paper
from ordergate import Executor, InputError, Order, OrderStatus

Gate = Callable[..., Executor]
Venue = Callable[..., paper.PaperVenue]

PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD", "NONE-USD")


def random_order(draw: random.Random, number: int) -> Order:
    """A buy in one of three coins or in one that does not exist, by spend or by amount and limit."""
    symbol, name = draw.choice(PAIRS), f"order-{number}"
    if draw.randrange(10) < 4:
        limit = str(draw.choice([100, 3400, 70000]))
        return Order.buy(symbol, amount=f"0.{draw.randrange(1, 999):05}", limit=limit, client_order_id=name)
    return Order.buy(
        symbol, spend=f"{draw.choice([1, 20, 60, 200, 5000])}.{draw.randrange(100):02}", client_order_id=name
    )


def test_explain_gives_a_hundred_random_decisions_the_verdicts_they_got(gate: Gate, venue: Venue) -> None:
    draw = random.Random(20261122)  # noqa: S311 - the same hundred orders in every run
    executor = gate(cash="3000.00", positions={"ETH-USD": "0.1000"}, settings={"rule_budget": 10})
    given = {}
    for number in range(100):
        paper.set_price(venue(executor), "BTC-USD", str(draw.randrange(50_000, 90_000)))
        if number % 20 == 19:
            paper.set_fault(venue(executor), draw.choice(["prices_down", "stale_prices", "accounts_down"]))
        decision = executor.submit(random_order(draw, number))
        paper.clear_faults(venue(executor))
        given[str(decision.order.client_order_id)] = decision
    assert {decision.approved for decision in given.values()} == {True, False}
    assert len({verdict.code for decision in given.values() for verdict in decision.refusals}) >= 7
    executor.close()
    later = gate(cash="3000.00", positions={"ETH-USD": "0.1000"}, settings={"rule_budget": 10})
    for name, decision in given.items():
        explained = later.explain(name)
        assert explained.decision.verdicts == decision.verdicts
        assert explained.same, name


def test_explain_of_an_exit_that_passed(gate: Gate) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"})
    executor.submit(Order.sell("ETH-USD", amount="0.01", client_order_id="out"))
    explained = executor.explain("out")
    assert (explained.same, explained.again, explained.decision.status) == (True, (), OrderStatus.FILLED)


def test_explain_of_an_exit_that_was_refused(gate: Gate) -> None:
    """An exit meets no rules; what little can refuse it must not look like a changed verdict."""
    executor = gate()
    decision = executor.submit(Order.sell("ETH-USD", all=True, client_order_id="out"))
    assert decision.status is OrderStatus.REFUSED
    assert executor.explain("out").same


def test_explain_uses_the_settings_of_then(gate: Gate) -> None:
    """Other tiers, another threshold and another dust since: the old decision is explained by the old ones."""
    first = gate(cash="300.00", fee_threshold="10")
    before = first.submit(Order.buy("BTC-USD", spend="3", client_order_id="one"))
    first.close()
    tiers = [{"name": "ONLY", "equity": "1", "max_positions": 9, "min_position": "1", "min_allocation": "0.05"}]
    later = gate(
        cash="300.00",
        fee_threshold="90",
        settings={"dust": "50", "max_positions": 1},
        tables={"tiers": tiers, "rules": {"dust": {"exit_buffer": "0.5"}, "average_position": {"multiple": "3"}}},
    )
    explained = later.explain("one")
    assert explained.same
    assert explained.again == before.verdicts


def test_explain_says_when_a_rule_is_not_active_any_more(gate: Gate) -> None:
    first = gate(cash="300.00")
    first.submit(Order.buy("BTC-USD", spend="3", client_order_id="one"))
    first.close()
    explained = gate(cash="300.00", rules=("position_cap", "min_position")).explain("one")
    assert not explained.same
    gone = {verdict.rule for verdict in explained.again if verdict.code == "rule_not_active"}
    assert gone == {"min_allocation", "dust", "average_position"}


def test_explain_of_what_was_never_decided(gate: Gate) -> None:
    with pytest.raises(InputError, match="no decision under this id"):
        gate().explain("nothing")


def test_explain_records_and_sends_nothing(gate: Gate, venue: Venue) -> None:
    executor = gate()
    executor.submit(Order.buy("BTC-USD", spend="60", client_order_id="one"))
    before = list(executor.desk.ledger().entries())
    executor.explain("one")
    assert list(executor.desk.ledger().entries()) == before
    assert paper.count_requests(venue(executor)) == 1
