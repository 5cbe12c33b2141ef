"""Many at once on one ledger and one venue: threads and real processes that begin together."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ordergate import Decision, IdConflict, Order, OrderStatus
from ordergate.desk import Desk
from ordergate.executor import Executor
from ordergate.exits import Exits

if TYPE_CHECKING:
    from tests.faults.conftest import MovedClock, Stage

Crowd = Callable[[int, Callable[[int], Decision]], list[Decision]]

CAP_2 = [{"name": "TWO", "equity": "50", "max_positions": 2, "min_position": "10"}]
CAP_9 = [{"name": "NINE", "equity": "50", "max_positions": 9, "min_position": "10"}]
COINS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH", "III", "JJJ", "KKK", "LLL")


def buys(spend: str, coins: tuple[str, ...] = COINS) -> list[list[Any]]:
    """One process per coin, each with one buy."""
    return [
        [["submit", {"symbol": f"{coin}-USD", "side": "buy", "spend": spend, "client_order_id": coin}]]
        for coin in coins
    ]


# ------------------------------------------------------------------------------------------------------------ the cap


@pytest.mark.parametrize("fresh", [True, False], ids=["nothing there yet", "ledger and venue there"])
def test_e01_cap_storm_of_processes_never_passes_a_cap_of_two(stage: Stage, fresh: bool) -> None:
    values = stage.values(cash="1000.00", positions={}) | {"tiers": CAP_2}
    if not fresh:
        stage.executor(values).reconcile()
        stage.close()
    answers = [answer for (answer,) in stage.child(values=values, crowd=buys("100"))]
    filled = [answer for answer in answers if answer.get("status") == "filled"]
    assert len(filled) == stage.count() == stage.sent() == 2
    refused = [answer for answer in answers if answer.get("status") == "refused"]
    assert len(refused) == len(COINS) - 2, answers
    assert {answer["error"] for answer in refused} == {"HARDENING_ENFORCEMENT"}
    assert {code for answer in refused for code in answer["refused_by"].values()} == {"over_cap"}
    assert Counter(kind for kind, _ in stage.journal())["decision"] == len(COINS)


def test_e01_cap_storm_of_resting_orders_that_hold_the_slots(stage: Stage) -> None:
    values = stage.values(cash="1000.00", positions={}) | {"tiers": CAP_2}
    told = [[["submit", {**order[0][1], "limit": "9.00"}]] for order in buys("100", COINS[:6])]
    answers = [answer for (answer,) in stage.child(values=values, crowd=told)]
    assert Counter(answer["status"] for answer in answers) == {"open": 2, "refused": 4}
    assert stage.count() == 2
    stage.journal()


def test_e01_cap_storm_of_threads_in_one_executor(stage: Stage, crowd: Crowd) -> None:
    executor = stage.executor(stage.values(cash="1000.00", positions={}) | {"tiers": CAP_2})
    answers = crowd(12, lambda number: executor.submit(Order.buy(f"{COINS[number]}-USD", spend="100")))
    assert Counter(answer.status.value for answer in answers) == {"filled": 2, "refused": 10}
    assert stage.count() == stage.sent() == 2
    stage.journal()


def test_e01_cap_storm_while_every_outcome_stays_unknown(stage: Stage, crowd: Crowd) -> None:
    """Nobody ever hears of the orders that were sent: their reservations alone must hold the cap."""
    values = stage.values(cash="1000.00", positions={}) | {"tiers": CAP_2}
    executor = stage.executor(values)
    stage.fault("no_answer_before", times=None)
    answers = crowd(8, lambda number: executor.submit(Order.buy(f"{COINS[number]}-USD", spend="100")))
    assert Counter(answer.status.value for answer in answers) == {"unknown": 2, "refused": 6}
    assert stage.sent() == 2
    ledger = executor.desk.ledger()
    assert len(ledger.state("main").reservations) == 2


# ---------------------------------------------------------------------------------------------------------- free cash


def test_e01_cash_storm_of_processes_never_spends_more_than_there_is(stage: Stage) -> None:
    values = stage.values(cash="100.00", positions={}) | {"tiers": CAP_9}
    answers = [answer for (answer,) in stage.child(values=values, crowd=buys("30", COINS[:8]))]
    assert Counter(answer["status"] for answer in answers) == {"filled": 3, "refused": 5}
    funds = {rule for answer in answers if answer["status"] == "refused" for rule in answer["refused_by"]}
    assert funds == {"gate.funds"}
    assert stage.sent() == 3, "the venue was never asked for what is not there"
    assert Decimal(stage.held("USD")) >= 10
    stage.journal()


def test_e01_cash_storm_of_threads_never_spends_more_than_there_is(stage: Stage, crowd: Crowd) -> None:
    executor = stage.executor(stage.values(cash="100.00", positions={}) | {"tiers": CAP_9})
    answers = crowd(8, lambda number: executor.submit(Order.buy(f"{COINS[number]}-USD", spend="30")))
    assert Counter(answer.status.value for answer in answers) == {"filled": 3, "refused": 5}
    assert stage.sent() == 3


# ------------------------------------------------------------------------------------------------------------- one id


def test_e04_same_key_from_32_processes_is_one_buy(stage: Stage) -> None:
    order = ["submit", {"symbol": "BTC-USD", "side": "buy", "spend": "50", "client_order_id": "the-one"}]
    answers = [answer for (answer,) in stage.child(values=stage.values(), crowd=[[order]] * 32)]
    assert stage.count() == stage.sent() == 1
    assert Counter(answer["replayed"] for answer in answers) == {True: 31, False: 1}
    assert {answer["id"] for answer in answers} == {"the-one"}
    assert {answer["status"] for answer in answers} <= {"filled", "unknown"}, "unknown only while it is being sent"
    assert stage.journal().count(("decision", "order:the-one")) == 1


@pytest.mark.parametrize("venue", ["coinbase", "kraken"])
def test_e04_same_key_from_32_processes_is_one_sell(stage: Stage, venue: str) -> None:
    """Kraken would take the id again once the first order is done: nothing but the ledger stops a second sell."""
    values = stage.values(venue=venue, positions={"ETH-USD": "1"})
    order = ["submit", {"symbol": "ETH-USD", "side": "sell", "amount": "0.01", "client_order_id": "the-one"}]
    answers = [answer for (answer,) in stage.child(values=values, crowd=[[order]] * 32)]
    assert Counter(answer["replayed"] for answer in answers) == {True: 31, False: 1}
    assert stage.count() == stage.sent() == 1
    assert stage.journal().count(("decision", "order:the-one")) == 1


def test_e04_same_key_from_two_sells_in_the_same_moment_is_one_sell(
    stage: Stage, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have found the id new, and their clocks show the same time, so what they write is the same to the letter."""
    values = stage.values(venue="kraken", positions={"ETH-USD": "1"})
    first, second = stage.executor(values), stage.executor(values)
    moment = first.clock.now()
    monkeypatch.setattr(type(first.clock), "now", lambda _: moment)
    both_have_looked = threading.Barrier(2)
    look = type(first._exits)._look

    def looked(*arguments: Any) -> Any:
        seen = look(*arguments)
        both_have_looked.wait(30)
        return seen

    monkeypatch.setattr(type(first._exits), "_look", looked)
    order = Order.sell("ETH-USD", amount="0.01", client_order_id="the-one")
    answers = crowd(2, lambda number: (first, second)[number].submit(order))
    assert sorted(answer.replayed for answer in answers) == [False, True]
    assert stage.sent() == 1


def test_e04_same_key_recorded_by_another_while_the_ledger_was_locked_is_not_sent(
    stage: Stage, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found the id new, then the ledger was locked for long; when it gives up, the ledger can still be read."""
    values = stage.values(venue="kraken", positions={"ETH-USD": "1"})
    first, second = stage.executor(values), stage.executor(values, clock=clock)
    order = Order.sell("ETH-USD", amount="0.01", client_order_id="the-one")
    look = Exits._look
    locker = sqlite3.connect(stage.ledger_path, isolation_level=None)

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(Exits, "_look", look)
        seen = look(*arguments)
        assert first.submit(order).status is OrderStatus.FILLED
        locker.execute("BEGIN IMMEDIATE")
        return seen

    monkeypatch.setattr(Exits, "_look", overtaken)
    with closing(locker):
        answer = second.submit(order)
    assert answer.replayed
    assert stage.sent() == 1
    executor = stage.executor(values)
    executor.reconcile()
    assert stage.journal().count(("decision", "order:the-one")) == 1


def test_e05_same_key_other_body_is_an_error_and_sends_nothing(stage: Stage) -> None:
    executor = stage.executor()
    first = executor.submit(Order.buy("BTC-USD", spend="50", client_order_id="mine"))
    assert first.status is OrderStatus.FILLED
    for other in (
        Order.buy("BTC-USD", spend="50.01", client_order_id="mine"),
        Order.buy("AAA-USD", spend="50", client_order_id="mine"),
        Order.buy("BTC-USD", spend="50", limit="70000", client_order_id="mine"),
        Order.sell("BTC-USD", amount="0.0001", client_order_id="mine"),
        Order.sell("BTC-USD", all=True, force_liquidate=True, reason="drill", client_order_id="mine"),
    ):
        with pytest.raises(IdConflict, match="used for another order"):
            executor.submit(other)
    assert stage.sent() == 1
    again = executor.submit(Order.buy("BTC-USD", spend="50", client_order_id="mine"))
    assert (again.replayed, again.status, again.receipt) == (True, first.status, first.receipt)


def test_e05_same_key_other_body_from_processes_at_once(stage: Stage) -> None:
    told = [
        [["submit", {"symbol": "BTC-USD", "side": "buy", "spend": f"{30 + number}", "client_order_id": "mine"}]]
        for number in range(8)
    ]
    answers = [answer for (answer,) in stage.child(values=stage.values(), crowd=told)]
    assert Counter(answer.get("raised", answer.get("status")) for answer in answers) == {"filled": 1, "IdConflict": 7}
    assert stage.count() == 1


# --------------------------------------------------------------------------------------------------- limits that move


def test_e07_cap_lowered_below_what_is_held_stops_buys_and_not_exits(stage: Stage) -> None:
    wide = stage.executor(stage.values(cash="1000.00", positions={"ETH-USD": "0.1"}))
    for coin in COINS[:2]:
        assert wide.submit(Order.buy(f"{coin}-USD", spend="100")).status is OrderStatus.FILLED
    narrow = stage.executor(stage.values(cash="1000.00", positions={"ETH-USD": "0.1"}, gate={"max_positions": 1}))
    refused = narrow.submit(Order.buy("CCC-USD", spend="100"))
    assert refused.status is OrderStatus.REFUSED
    assert [verdict.code for verdict in refused.refusals] == ["over_cap"]
    assert refused.smallest_passing is None
    assert narrow.submit(Order.buy("AAA-USD", spend="100")).status is OrderStatus.FILLED, "adding opens no position"
    assert narrow.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED
    assert narrow.submit(Order.sell("AAA-USD", all=True)).status is OrderStatus.FILLED
    stage.journal()


def test_e08_contention_errors_end_after_a_bounded_number_of_whole_decisions(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else changes the account every single time before the insert."""
    executor = stage.executor()
    record = Executor._record
    tries = []

    def beaten(self: Executor, *arguments: Any) -> Any:
        tries.append(1)
        self.desk.ledger().append("main", "settled", {"gone": []}, at=self.clock.now())
        return record(self, *arguments)

    monkeypatch.setattr(Executor, "_record", beaten)
    answer = executor.submit(Order.buy("BTC-USD", spend="50", client_order_id="mine"))
    assert answer.status is OrderStatus.REFUSED
    assert {verdict.code for verdict in answer.refusals} == {"ledger_busy"}
    assert 1 < len(tries) <= 200
    assert stage.sent() == 0
    monkeypatch.setattr(Executor, "_record", record)
    assert executor.submit(Order.buy("BTC-USD", spend="50", client_order_id="mine")).status is OrderStatus.FILLED


def test_e02_library_and_other_processes_share_one_ledger(stage: Stage) -> None:
    executor = stage.executor()
    order = {"symbol": "BTC-USD", "side": "buy", "spend": "50", "client_order_id": "theirs"}
    (theirs,) = stage.child(do=[["submit", order]])
    assert theirs["status"] == "filled"
    assert executor.submit(Order.from_mapping(order)).replayed
    assert executor.submit(Order.buy("AAA-USD", spend="50", client_order_id="ours")).status is OrderStatus.FILLED
    (again,) = stage.child(do=[["submit", {**order, "symbol": "AAA-USD", "client_order_id": "ours"}]])
    assert again["replayed"]
    assert stage.count() == 2


# ----------------------------------------------------------------------------------------------------- whose funds


def bind_after(monkeypatch: pytest.MonkeyPatch, first: Callable[[], object]) -> None:
    """The next executor that is about to bind its account does so only after `first` has run."""
    bind = Desk._bind

    def late(self: Desk, *arguments: Any) -> None:
        monkeypatch.setattr(Desk, "_bind", bind)
        first()
        bind(self, *arguments)

    monkeypatch.setattr(Desk, "_bind", late)


def test_one_name_for_two_funds_bound_in_the_same_moment_buys_only_with_the_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = stage.executor(stage.values())
    theirs = stage.executor(stage.values(state="paper-theirs.db"))
    bind_after(monkeypatch, lambda: theirs.submit(Order.buy("AAA-USD", spend="50")))
    answer = ours.submit(Order.buy("BTC-USD", spend="50"))
    assert answer.status is OrderStatus.REFUSED
    assert "identity_conflict" in {verdict.code for verdict in answer.refusals}
    assert stage.sent() == 0
    assert theirs.submit(Order.buy("AAA-USD", spend="50")).status is OrderStatus.FILLED


def test_two_names_for_one_fund_bound_in_the_same_moment_buy_only_under_the_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = stage.values() | {"tiers": CAP_2}
    seed = values["accounts"]["main"]["paper"]
    values["accounts"]["other"] = {"broker": "paper", "paper": seed}
    seed["state"] = "paper-main.db"
    first, second = stage.executor(values), stage.executor(values)
    bind_after(monkeypatch, lambda: first.submit(Order.buy("AAA-USD", spend="50", account="main")))
    answer = second.submit(Order.buy("BTC-USD", spend="50", account="other"))
    assert answer.status is OrderStatus.REFUSED
    assert "identity_conflict" in {verdict.code for verdict in answer.refusals}
    assert stage.sent() == 1
