"""One id, one order: whatever repeats gets what was recorded, from wherever; another order under it is an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

import ordergate_paper as paper
from ordergate import Decision, Executor, IdConflict, InputError, Order, OrderStatus

Gate = Callable[..., Executor]
Venue = Callable[..., paper.PaperVenue]

BUY = Order.buy("BTC-USD", spend="60", client_order_id="one")


def together(count: int, run: Callable[[int], Decision]) -> list[Decision]:
    """Run it in so many threads that all start at the same moment."""
    start = threading.Barrier(count)

    def one(number: int) -> Decision:
        start.wait(30)
        return run(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_e04_same_key_32x_one_order_32_equal_answers(gate: Gate, venue: Venue) -> None:
    executor = gate()
    decisions = together(32, lambda _: executor.submit(BUY))
    assert paper.count_requests(venue(executor)) == 1
    assert sum(not decision.replayed for decision in decisions) == 1
    assert {decision.status for decision in decisions} == {OrderStatus.FILLED}
    assert len({decision.receipt for decision in decisions}) == 1


def test_e04_same_key_32x_refused_is_refused_32_times(gate: Gate, venue: Venue) -> None:
    executor = gate()
    small = Order.buy("BTC-USD", spend="3", client_order_id="one")
    decisions = together(32, lambda _: executor.submit(small))
    assert {(decision.status, decision.message) for decision in decisions} == {
        (OrderStatus.REFUSED, decisions[0].message)
    }
    assert paper.count_requests(venue(executor)) == 0


def test_e04_same_key_from_two_executors_on_one_ledger(gate: Gate, venue: Venue) -> None:
    both = gate(), gate()
    decisions = together(8, lambda number: both[number % 2].submit(BUY))
    assert paper.count_requests(venue(both[0])) == 1
    assert sum(not decision.replayed for decision in decisions) == 1


def test_e04_same_key_later_and_after_a_restart(gate: Gate, venue: Venue) -> None:
    first = gate()
    answer = first.submit(BUY)
    again = first.submit(BUY)
    first.close()
    restarted = gate().submit(BUY)
    for replayed in (again, restarted):
        assert replayed.replayed
        assert (replayed.status, replayed.receipt, replayed.verdicts) == (
            answer.status,
            answer.receipt,
            answer.verdicts,
        )
        assert "use a new id" in (replayed.advice or "")
    assert paper.count_requests(venue(first)) == 1


def test_a_refusal_binds_too(gate: Gate, venue: Venue) -> None:
    """An id that was refused stays refused, also when the same order would pass by now."""
    executor = gate(cash="40.00")
    refused = executor.submit(BUY)
    assert refused.status is OrderStatus.REFUSED
    executor.close()
    richer = gate(cash="1000.00")
    paper.reset(venue(richer))
    again = richer.submit(BUY)
    assert (again.status, again.replayed, again.message) == (OrderStatus.REFUSED, True, refused.message)
    assert richer.submit(Order.buy("BTC-USD", spend="60", client_order_id="two")).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    "other",
    [
        Order.buy("BTC-USD", spend="61", client_order_id="one"),
        Order.buy("ETH-USD", spend="60", client_order_id="one"),
        Order.buy("BTC-USD", amount="0.001", limit="60000", client_order_id="one"),
        Order.buy("BTC-USD", spend="60", limit="60000", client_order_id="one"),
        Order.sell("BTC-USD", amount="0.001", client_order_id="one"),
        Order.sell("BTC-USD", all=True, client_order_id="one"),
    ],
    ids=["spend", "symbol", "amount", "limit", "sell", "sell all"],
)
def test_e05_same_key_other_body(gate: Gate, venue: Venue, other: Order) -> None:
    executor = gate()
    executor.submit(BUY)
    with pytest.raises(IdConflict, match="another order"):
        executor.submit(other)
    assert paper.count_requests(venue(executor)) == 1


def test_e05_same_key_other_body_of_an_exit(gate: Gate, venue: Venue) -> None:
    executor = gate(positions={"ETH-USD": "0.0100"})
    executor.submit(Order.sell("ETH-USD", amount="0.004", client_order_id="out"))
    with pytest.raises(IdConflict):
        executor.submit(Order.sell("ETH-USD", amount="0.005", client_order_id="out"))
    with pytest.raises(IdConflict):
        executor.submit(Order.buy("BTC-USD", spend="60", client_order_id="out"))
    assert paper.count_requests(venue(executor)) == 1


def test_e05_same_key_is_free_in_another_account(gate: Gate) -> None:
    executor = gate(accounts={"side": {"cash": "1000.00"}})
    ids = set()
    for account in ("main", "side"):
        decision = executor.submit(Order.buy("BTC-USD", spend="60", account=account, client_order_id="one"))
        assert (decision.status, decision.replayed) == (OrderStatus.FILLED, False)
        assert decision.venue_order is not None
        ids.add(decision.venue_order.client_order_id)
    assert len(ids) == 2  # on the wire they differ


def test_an_exit_repeated_32_times_is_sent_once(gate: Gate, venue: Venue) -> None:
    executor = gate(positions={"ETH-USD": "0.0100"})
    order = Order.sell("ETH-USD", amount="0.004", client_order_id="out")
    decisions = together(32, lambda _: executor.submit(order))
    assert paper.count_requests(venue(executor)) == 1
    assert sum(not decision.replayed for decision in decisions) == 1


@pytest.mark.parametrize("name", ["coinbase", "kraken"])
def test_c11_id_reuse_after_fill_is_stopped_by_our_own_journal(gate: Gate, venue: Venue, name: str) -> None:
    """Kraken would take the id again once the first order is done: the journal does not."""
    executor = gate(venue=name)
    for _ in range(3):
        assert executor.submit(BUY).status is OrderStatus.FILLED
    assert (paper.count_requests(venue(executor)), paper.count_orders(venue(executor))) == (1, 1)


def test_c18_duplicate_intent_without_an_id_while_the_first_is_unknown(gate: Gate, venue: Venue) -> None:
    """A bot that repeats itself with new ids is refused, and pointed at the first."""
    executor = gate(settings={"facts_age": 10})
    paper.set_fault(venue(executor), "no_answer_before")
    paper.set_fault(venue(executor), "late_visibility", times=None)
    first = executor.submit(Order.buy("BTC-USD", spend="60"))
    assert (first.status, first.error) == (OrderStatus.UNKNOWN, "OUTCOME_UNKNOWN")
    for _ in range(3):
        again = executor.submit(Order.buy("BTC-USD", spend="60"))
        assert again.refusals[0].code == "outcome_unknown"
        assert str(first.order.client_order_id) in again.message
    assert paper.count_requests(venue(executor)) == 1


def test_orders_without_an_id_are_given_one_each(gate: Gate, venue: Venue) -> None:
    executor = gate()
    decisions = [executor.submit(Order.buy("BTC-USD", spend="60")) for _ in range(3)]
    assert len({decision.order.client_order_id for decision in decisions}) == 3
    assert paper.count_orders(venue(executor)) == 3


def test_the_id_on_the_wire_follows_from_the_callers_id_and_the_funds(gate: Gate, venue: Venue) -> None:
    from ordergate.broker import wire_id

    executor = gate()
    decision = executor.submit(BUY)
    identity = paper.get_account(venue(executor)).identity
    assert decision.venue_order is not None
    assert decision.venue_order.client_order_id == wire_id(identity, "one")


def test_bad_input_binds_no_id(gate: Gate) -> None:
    executor = gate()
    with pytest.raises(InputError):
        executor.submit(Order.buy("BTC-USD", spend="60", account="nobody", client_order_id="one"))
    assert executor.submit(BUY).status is OrderStatus.FILLED


def test_e06_burst_of_buys_opens_no_more_positions_than_the_cap(gate: Gate, venue: Venue) -> None:
    """Cap three, eight coins, sixteen threads at once: three positions, the rest refused and recorded."""
    coins = [f"C{number}" for number in range(8)]
    executor = gate(cash="900.00", prices={f"{coin}-USD": "10.00" for coin in coins}, settings={"rule_budget": 10})
    decisions = together(16, lambda number: executor.submit(Order.buy(f"{coins[number % 8]}-USD", spend="45")))
    held = {holding.currency for holding in paper.get_account(venue(executor)).holdings} - {"USD"}
    assert len(held) == 3
    assert all(decision.status in (OrderStatus.FILLED, OrderStatus.REFUSED) for decision in decisions)
    for decision in decisions:
        assert executor.explain(str(decision.order.client_order_id)).decision.status is decision.status


def test_threads_never_spend_more_than_there_is(gate: Gate, venue: Venue) -> None:
    """Ten buys of 60 USD at once with 400 USD: never more than six, and none that the venue must reject.

    In the storm it may be fewer: what was just filled counts until facts that began after its receipt are there.
    """
    executor = gate(cash="400.00", settings={"rule_budget": 10})
    order = Order.buy("BTC-USD", spend="60")
    decisions = together(10, lambda _: executor.submit(order))
    filled = sum(decision.status is OrderStatus.FILLED for decision in decisions)
    assert 1 <= filled <= 6
    refused = [decision for decision in decisions if decision.status is OrderStatus.REFUSED]
    assert len(refused) == 10 - filled
    assert {verdict.rule for decision in refused for verdict in decision.refusals} <= {"gate.funds"}
    afterwards = [executor.submit(order).status for _ in range(7 - filled)]
    assert afterwards == [OrderStatus.FILLED] * (6 - filled) + [OrderStatus.REFUSED]
    cash = {holding.currency: holding.available for holding in paper.get_account(venue(executor)).holdings}["USD"]
    assert cash >= Decimal(40)
