"""What must not be taken for the present: facts of an hour ago, prices that are none, a halt or a history cut short."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import pytest

import ordergate_paper as paper
from ordergate import Decision, Executor, InputError, LedgerError, Order, OrderStatus, hookimpl, testing
from ordergate.amounts import exact
from ordergate.calls import Overran
from ordergate.clock import SystemClock
from ordergate.desk import Desk
from ordergate.errors import LedgerDamaged
from ordergate.facts import Facts
from ordergate.judge import Inputs, Judgement, judge
from ordergate.ledger import Recorded
from ordergate.models import AccountReport, Figure, Holding, Market, Price
from ordergate.outcome import replay
from ordergate.panel import Panel
from ordergate.settings import Gate as GateSettings
from ordergate.sqlite_ledger import SqliteLedger
from ordergate.valuation import value

Gate = Callable[..., Executor]
Requests = Callable[[], int]


def codes(decision: Decision) -> dict[str, str]:
    return {verdict.rule: verdict.code for verdict in decision.refusals}


# ------------------------------------------------------------------------------------------------------ time that went


class JumpingClock(SystemClock):
    """The machine's clock, with a wall clock and a steady one that can be moved on apart from each other."""

    def __init__(self) -> None:
        self.wall = self.steady = 0.0

    def now(self) -> float:
        return super().now() + self.wall

    def monotonic(self) -> float:
        return super().monotonic() + self.steady


@pytest.mark.parametrize(
    ("steady", "facts_cache"),
    [(3600.0, 0), (0.0, 0), (3600.0, 5), (0.0, 5)],
    ids=["both clocks", "a machine that slept", "kept facts", "kept facts and a machine that slept"],
)
def test_a_process_stopped_after_judging_judges_again_on_fresh_facts(
    gate: Gate, requests: Requests, monkeypatch: pytest.MonkeyPatch, steady: float, facts_cache: int
) -> None:
    clock = JumpingClock()
    executor = gate(clock=clock, settings={"facts_cache": facts_cache})
    asked: list[float] = []

    def stopped(inputs: Inputs, panel: Panel, **more: Any) -> Judgement:
        judgement = judge(inputs, panel, **more)
        asked.append(inputs.facts.begun)
        if len(asked) == 1:
            clock.wall, clock.steady = 3600.0, steady
        return judgement

    monkeypatch.setattr("ordergate.executor.judge", stopped)
    assert executor.submit(Order.buy("BTC-USD", spend="300")).status is OrderStatus.FILLED
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 3600, "the second time on facts of after the stop"
    assert requests() == 1


def test_a_process_stopped_after_judging_refuses_what_has_become_wrong(
    gate: Gate, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = JumpingClock()
    executor = gate(clock=clock)
    client = executor.setup.brokers["main"].client(5.0)

    def stopped(inputs: Inputs, panel: Panel, **more: Any) -> Judgement:
        judgement = judge(inputs, panel, **more)
        if judgement.approved:
            clock.wall = clock.steady = 3600.0
            paper.set_fault(client, "accounts_down", times=None)
        return judgement

    monkeypatch.setattr("ordergate.executor.judge", stopped)
    decision = executor.submit(Order.buy("BTC-USD", spend="300"))
    assert decision.status is OrderStatus.REFUSED
    assert codes(decision)["gate.facts"] == "no_trusted_facts"
    assert requests() == 0


# --------------------------------------------------------------------------------------------------------- the history


def test_a_sent_order_is_in_the_history_behind_a_thousand_refusals(gate: Gate, install: Callable[..., Path]) -> None:
    source = """
        from decimal import Decimal
        from ordergate import Verdict, hookimpl

        @hookimpl
        def validate_order(history):
            return Verdict.approve(observed=Decimal(len(history.orders)))
    """
    install("fake-counts", entries={"counts": "fake_counts"}, modules={"fake_counts.py": source})
    executor = gate(rules=("counts",))
    assert executor.submit(Order.buy("BTC-USD", spend="100", client_order_id="sent")).status is OrderStatus.FILLED
    ledger = executor.desk.ledger()
    assert isinstance(ledger, SqliteLedger)
    ledger._connection.execute("PRAGMA synchronous = OFF")  # nothing here is about what outlives a power cut
    refused = {"digest": "d", "symbol": "BTC-USD", "is_exit": False, "venue_order": None, "reservation": None}
    for number in range(1001):
        body = {
            **refused,
            "client_order_id": f"no{number}",
            "order": None,
            "summary": None,
            "verdicts": [],
            "purchase": None,
        }
        ledger.append("main", "decision", body, at=executor.clock.now(), key=f"order:no{number}")
    decision = executor.check(Order.buy("BTC-USD", spend="100"))
    assert [verdict.observed for verdict in decision.verdicts if verdict.rule == "counts"] == [Decimal(1)]


# -------------------------------------------------------------------------------------------------------------- prices


@pytest.mark.parametrize(
    ("bid", "at"),
    [
        (Decimal("NaN"), None),
        (Decimal("1e500"), None),
        (1.5, None),
        (Decimal(5), float("nan")),
        (Decimal(5), "soon"),
    ],
    ids=["nan", "huge", "float", "no moment", "moment in words"],
)
def test_an_unusable_price_is_a_refusal_and_recorded(
    gate: Gate, requests: Requests, monkeypatch: pytest.MonkeyPatch, bid: Any, at: Any
) -> None:
    def odd(_db: object, _client: object, symbol: str) -> Price:
        return Price(symbol=symbol, bid=bid, ask=bid, at=at)

    executor = gate()
    monkeypatch.setattr(paper, "_price", odd)
    order = Order.buy("BTC-USD", spend="300", client_order_id="odd")
    assert executor.check(order).status is OrderStatus.REFUSED
    decision = executor.submit(order)
    assert (decision.status, codes(decision)["gate.facts"]) == (OrderStatus.REFUSED, "no_trusted_facts")
    recorded = executor.explain("odd").decision
    assert (recorded.status, codes(recorded)["gate.facts"]) == (OrderStatus.REFUSED, "no_trusted_facts")
    assert requests() == 0


def test_a_limit_under_one_price_step_is_no_limit_a_venue_takes(gate: Gate, requests: Requests) -> None:
    executor = gate(rules=("position_cap",), positions={"ETH-USD": "0.0100"})
    refused = executor.submit(Order.buy("BTC-USD", amount="1", limit="0.001"))
    assert codes(refused)["gate.market"] == "venue_limits"
    assert "under one price step" in refused.message
    assert requests() == 0
    out = executor.submit(Order.sell("ETH-USD", amount="0.005", limit="0.001"))
    assert requests() == 1
    assert out.venue_order is not None
    assert out.venue_order.limit == Decimal("0.01"), "one step: never nothing, and never the lack of a limit"


def test_a_position_is_no_dust_because_its_quote_currency_is_small() -> None:
    """0.004 BTC at 10 million JPY are 40,000 JPY, 264 USD: over the venue's minimum of 500 JPY."""

    def market(symbol: str, min_spend: str) -> Market:
        base, quote = symbol.split("-")
        step, one = Decimal("0.0001"), Decimal(1)
        return Market(
            symbol=symbol,
            base=base,
            quote=quote,
            amount_step=step,
            spend_step=one,
            price_step=one,
            min_spend=Decimal(min_spend),
        )

    def price(symbol: str, amount: str) -> Price:
        return Price(symbol=symbol, bid=Decimal(amount), ask=Decimal(amount))

    def positions(held: str) -> list[str]:
        holdings = (
            Holding(currency="BTC", available=Decimal(held)),
            Holding(currency="JPY", available=Decimal(100_000)),
        )
        facts = Facts(
            symbol="BTC-JPY",
            begun=1.0,
            report=AccountReport(identity="funds", holdings=holdings),
            markets=(market("BTC-JPY", "500"), market("JPY-USD", "1")),
            no_market=(),
            prices=(price("BTC-JPY", "10000000"), price("JPY-USD", "0.0066")),
            maker=fee,
            taker=fee,
        )
        with exact():
            found = value(facts, GateSettings(rules=("position_cap",), cash=("USD", "JPY")), testing.broker("5"))
        assert found.flaws == ()
        return list(found.positions)

    fee = Figure(Decimal("0.001"), "an example for tests", "2026-11-22")
    assert positions("0.004") == ["BTC"]


# -------------------------------------------------------------------------------------------------------------- halts


def test_a_resume_of_one_account_does_not_end_a_halt_of_the_process(
    gate: Gate, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = gate(accounts={"side": {"cash": "1000.00"}}, settings={"halt_file": "nowhere/halt"})
    with monkeypatch.context() as broken:

        def down(_: Desk) -> NoReturn:
            raise LedgerError("the disk is gone")

        broken.setattr(Desk, "ledger", down)
        assert executor.halt(by="ann", reason="the news").warning
    with pytest.raises(InputError, match="halted for all accounts"):
        executor.resume(by="bob", reason="side only", account="side")
    status = executor.status()
    assert status["trading"] == "exits_only"
    assert "the news" in status["why"]
    assert {account["trading"] for account in status["accounts"].values()} == {"exits_only"}
    buy = Order.buy("BTC-USD", spend="60", account="main")
    assert codes(executor.submit(buy))["gate.state"] == "exits_only"
    assert requests() == 0
    executor.resume(by="ann", reason="over")
    assert executor.status()["trading"] == "active"
    assert executor.submit(buy).status is OrderStatus.FILLED


def test_a_halt_cancels_a_sell_that_acquires(gate: Gate) -> None:
    prices = {"BTC-USD": "70000", "ETH-USD": "3500", "ETH-BTC": "0.05"}
    executor = gate(rules=("position_cap",), cash="3000.00", positions={"ETH-USD": "1"}, prices=prices)
    swap = Order.sell("ETH-BTC", amount="0.5", limit="0.06", client_order_id="swap")
    decision = executor.submit(swap)
    assert (decision.status, decision.is_exit) == (OrderStatus.OPEN, False)
    out = Order.sell("ETH-USD", amount="0.1", limit="9000", client_order_id="out")
    assert executor.submit(out).status is OrderStatus.OPEN
    halted = executor.halt(by="ann", reason="the news")
    assert (set(halted.acknowledged), dict(halted.unacknowledged)) == ({"swap"}, {})
    resting = executor.setup.brokers["main"].get_account().open_orders
    assert [order.symbol for order in resting] == ["ETH-USD"], "an exit that rests is left alone"


def two_resting(executor: Executor) -> None:
    for name in ("damaged", "whole"):
        resting = Order.buy("BTC-USD", amount="0.001", limit="60000", client_order_id=name)
        assert executor.submit(resting).status is OrderStatus.OPEN


def test_a_record_that_cannot_be_read_does_not_end_the_cancelling_of_a_halt(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = gate(rules=("position_cap",), cash="3000.00")
    two_resting(executor)

    def damaged(recorded: Recorded, *more: Any) -> Decision:
        if recorded.client_order_id == "damaged":
            raise LedgerDamaged("the record of order damaged cannot be read")
        return replay(recorded, *more)

    monkeypatch.setattr("ordergate.exits.replay", damaged)
    halted = executor.halt(by="ann", reason="the news", account="main")
    assert "cannot be read" in halted.unacknowledged["damaged"]
    assert set(halted.acknowledged) == {"whole"}


def test_a_damaged_record_does_not_end_the_cancelling_of_a_halt(gate: Gate, tmp_path: Path) -> None:
    executor = gate(rules=("position_cap",), cash="3000.00")
    two_resting(executor)
    with closing(sqlite3.connect(tmp_path / "ordergate.db", isolation_level=None)) as other:
        other.execute("DROP TRIGGER journal_keeps")
        other.execute("UPDATE journal SET body = '{}' WHERE key = 'order:damaged'")
    halted = executor.halt(by="ann", reason="the news", account="main")
    assert set(halted.unacknowledged) == {"damaged"}
    assert set(halted.acknowledged) == {"whole"}


# ------------------------------------------------------------------------------------------------------------- advice


def test_the_advice_says_that_the_rules_were_too_slow_to_look_for_a_size(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(_: Panel, run: object) -> NoReturn:
        raise Overran(2.5)

    executor = gate()
    fast = executor.check(Order.buy("BTC-USD", spend="3"))
    assert fast.smallest_passing is not None
    monkeypatch.setattr(Panel, "search", late)
    slow = executor.check(Order.buy("BTC-USD", spend="3"))
    assert (slow.status, slow.smallest_passing) == (OrderStatus.REFUSED, None)
    assert slow.advice is not None
    assert "too slowly" in slow.advice
    assert "No size passes" not in slow.advice


# ---------------------------------------------------------------------------------------------- a ledger that forgot


def forget(executor: Executor, folder: Path) -> None:
    """The ledger is gone, as after a lost disk; the venue has everything."""
    executor.close()
    for file in folder.glob("ordergate.db*"):
        file.unlink()


@pytest.mark.parametrize("limit", [None, "40000"], ids=["filled", "resting"])
def test_d05_deleted_ledger_and_a_repeated_id_is_not_a_second_order(
    gate: Gate, requests: Requests, tmp_path: Path, limit: str | None
) -> None:
    """Where a venue takes an id again once the first order is done, nothing but this look stands between."""
    sized: dict[str, Any] = {"spend": "50"} if limit is None else {"amount": "0.002", "limit": limit}
    order = Order.buy("BTC-USD", client_order_id="signal-17", **sized)
    first = gate(venue="kraken")
    assert first.submit(order).status in (OrderStatus.FILLED, OrderStatus.OPEN)
    forget(first, tmp_path)

    again = gate(venue="kraken").submit(order)
    assert codes(again)["gate.state"] == "id_at_venue"
    assert "signal-17" in again.message
    assert requests() == 1
    other = gate(venue="kraken").submit(Order.buy("ETH-USD", spend="60", client_order_id="signal-18"))
    assert other.status is OrderStatus.FILLED


def test_d05_deleted_ledger_is_looked_past_again_when_the_venue_did_not_answer(
    gate: Gate, requests: Requests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that could not be had at the first buy of a process is asked for at the next one."""
    order = Order.buy("BTC-USD", spend="50", client_order_id="signal-17")
    first = gate(venue="kraken")
    first.submit(order)
    forget(first, tmp_path)
    listed, down = paper.list_orders, [True]

    @hookimpl
    def list_orders(client: paper.PaperVenue, since: float) -> Any:
        if down.pop():
            raise TimeoutError("not now")
        return listed(client, since)

    monkeypatch.setattr(paper, "list_orders", list_orders)
    executor = gate(venue="kraken")
    assert executor.submit(Order.buy("ETH-USD", spend="60")).status is OrderStatus.FILLED
    down[:] = [False, False]
    assert codes(executor.submit(order))["gate.state"] == "id_at_venue"
    assert requests() == 2


@pytest.mark.parametrize(
    ("at", "age"),
    [(-3.0, 9.0), (0.0, 6.0), (5.0, 6.0), (6.0, 6.0), (8.0, 8.0), (60.0, 60.0)],
    ids=["before", "as begun", "meanwhile", "now", "in the future", "far in the future"],
)
def test_f01_price_is_as_old_as_its_stamp_and_the_facts_say(at: float, age: float) -> None:
    """Facts were begun six seconds ago. What was stamped while they were fetched is not older for it."""
    begun = 1_795_000_000.0
    price = Price(symbol="BTC-USD", bid=Decimal(100), ask=Decimal(100), at=begun + at)
    figure = Figure(Decimal(0), "a test", "2026-11-22")
    facts = Facts(
        symbol="BTC-USD",
        begun=begun,
        report=AccountReport(identity="funds", holdings=(Holding(currency="USD", available=Decimal(100)),)),
        markets=(),
        no_market=(),
        prices=(price,),
        maker=figure,
        taker=figure,
    )
    with exact():
        assert value(facts, GateSettings(), testing.broker("5")).ages(6.0) == {"account": 6.0, "prices": age}
