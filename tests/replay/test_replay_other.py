"""Judged again under another config: what changes is what must, worked out by hand, and the rest stays as recorded."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ordergate import Executor, Order, OrderStatus
from ordergate.replay import Chosen
from ordergate.replay_report import Report

Gate = Callable[..., Executor]
Under = Callable[..., Report]

LOOSER = ("position_cap", "min_position", "dust", "average_position")
ONLY = {"tiers": [{"name": "ONLY", "equity": "1", "max_positions": 2, "min_position": "30", "min_allocation": "0.05"}]}


@pytest.fixture
def recorded(gate: Gate) -> Executor:
    """Of 1,100 USD (tier INCOME: 5 positions, at least 50 USD and 5 % of equity) 60 go into BTC, 200 into SOL and 100
    into ETH; 40 for ETH, asked for in between, are refused by both minimums.
    """
    executor = gate(cash="1100.00")
    answers = [
        executor.submit(Order.buy(symbol, spend=spend, client_order_id=name))
        for name, symbol, spend in (
            ("a", "BTC-USD", "60"),
            ("b", "ETH-USD", "40"),
            ("c", "SOL-USD", "200"),
            ("d", "ETH-USD", "100"),
        )
    ]
    assert [answer.status for answer in answers] == [
        OrderStatus.FILLED,
        OrderStatus.REFUSED,
        OrderStatus.FILLED,
        OrderStatus.FILLED,
    ]
    return executor


def test_a_worked_example(recorded: Executor, other: Gate, under: Under) -> None:
    """Two positions, at least 30 USD and no share of equity: `b` would be the second and pass, `d` the third and not.

    `c` stays the second: `b` was not sent then, and what it would have changed is not played through. The paper venue
    takes its fee of 0.9 % out of what is spent: 100 - 100 / 1.009 and 40 - 40 / 1.009.
    """
    report = under(recorded, other(rules=LOOSER, tables=ONLY))
    total = report.total

    assert (total.decisions, total.approved_then, total.approved_now) == (4, 3, 3)
    assert (total.now_refused, total.now_approved, total.same, total.refused_otherwise) == (1, 1, 2, 0)
    assert [(one.client_order_id, one.approved_then, one.approved_now) for one in report.changes] == [
        ("b", False, True),
        ("d", True, False),
    ]
    assert [verdict.rule for verdict in report.changes[0].then] == ["min_allocation", "min_position"]
    assert report.changes[0].now == ()
    (refusal,) = report.changes[1].now
    assert (refusal.rule, refusal.observed, refusal.limit) == ("position_cap", Decimal(3), Decimal(2))
    assert report.not_sent == evolve(report.not_sent, orders=1, size=Decimal(100), cost=Decimal(100))
    assert round(report.not_sent.fees, 8) == Decimal("0.89197225")
    assert report.newly_sent == evolve(report.newly_sent, orders=1, size=Decimal(40), cost=Decimal(40))
    assert round(report.newly_sent.fees, 8) == Decimal("0.35678890")
    rules = {rule: (one.then, one.now, one.no_longer, one.newly) for rule, one in report.by_rule.items()}
    assert rules == {"min_allocation": (1, 0, 1, 0), "min_position": (1, 0, 1, 0), "position_cap": (0, 1, 0, 1)}
    symbols = {name: (one.decisions, one.now_refused, one.now_approved) for name, one in report.by_symbol.items()}
    assert symbols == {"BTC-USD": (1, 0, 0), "ETH-USD": (2, 1, 1), "SOL-USD": (1, 0, 0)}
    (day,) = report.by_day.values()
    assert (day.decisions, day.fees_not_paid) == (4, report.not_sent.fees)


def test_the_same_config_changes_nothing(recorded: Executor, under: Under) -> None:
    report = under(recorded)

    assert (report.changed, report.total.same, report.not_sent.orders, report.newly_sent.orders) == (0, 4, 0, 0)


def test_refused_by_other_rules_than_then(recorded: Executor, other: Gate, under: Under) -> None:
    """`b` stays refused, by its minimum alone: no change, but not quite the same either."""
    report = under(recorded, other(rules=("min_position",)))

    assert (report.changed, report.total.refused_otherwise) == (0, 1)


def test_the_fee_threshold_is_the_other_configs(recorded: Executor, other: Gate, under: Under) -> None:
    """1.5 x 90 = 135 USD: `a` alone is 60, with `c` they are 130 on average, with `d` 120."""
    report = under(recorded, other(fee_threshold="90"))

    assert [(one.client_order_id, [verdict.rule for verdict in one.now]) for one in report.changes] == [
        ("a", ["average_position"]),
        ("c", ["average_position"]),
        ("d", ["average_position"]),
    ]
    assert report.absent == set()


def test_an_account_that_the_other_config_does_not_have(recorded: Executor, other: Gate, under: Under) -> None:
    """Its threshold stays the recorded one, and the report says so; the rest is the other config's."""
    values = {"gate": {"rules": ["min_position"]}, "accounts": {"spare": {"broker": "paper"}}}
    with Executor.from_values(values, folder=recorded.config.folder / ".") as renamed:
        report = under(recorded, renamed)

    assert report.absent == {"main"}
    assert (report.total.decisions, report.changed) == (4, 0)


def test_settings_of_rules_and_of_the_gate(recorded: Executor, other: Gate, under: Under) -> None:
    strict = other(tables={"rules": {"average_position": {"multiple": "30"}}})
    young = other(settings={"facts_age": 0.000001})
    fewer = other(settings={"max_positions": 1})

    assert {verdict.rule for one in under(recorded, strict).changes for verdict in one.now} == {"average_position"}
    assert under(recorded, young).by_rule["gate.facts"].newly == 4
    assert [one.client_order_id for one in under(recorded, fewer).changes] == ["c", "d"]


def test_a_halt_stays_a_halt(gate: Gate, under: Under, other: Gate) -> None:
    """It was the ledger's word, not the config's: no other config would have sent anything."""
    executor = gate()
    executor.halt(by="test", reason="a look")
    executor.submit(Order.buy("BTC-USD", spend="60", client_order_id="halted"))
    report = under(executor, other(rules=("dust",)))

    assert (report.total.decisions, report.changed, report.by_rule["gate.state"].now) == (1, 0, 1)


def test_a_plugin_that_was_not_admitted_then_stops_nothing_now(gate: Gate, under: Under, other: Gate) -> None:
    """That was the config's doing; under one whose rules are all there the order passes. A check keeps it."""
    executor = gate(rules=("dust", "not_installed"))
    refused = executor.submit(Order.buy("BTC-USD", spend="60", client_order_id="one"))
    assert refused.verdicts[0].code == "plugin_missing"
    sound = other(rules=("dust",))

    assert [one.approved_now for one in under(executor, sound).changes] == [True]
    assert under(executor, sound, check=True).changed == 0


def test_a_sell_that_is_an_exit_under_the_other_config(gate: Gate, under: Under, other: Gate) -> None:
    prices = {"BTC-USD": "68925.98", "ETH-USD": "3500", "ETH-BTC": "0.05"}
    executor = gate(prices=prices, positions={"ETH-USD": "0.5"})
    executor.submit(Order.sell("ETH-BTC", amount="0.1", client_order_id="swap"))
    executor.submit(Order.sell("ETH-USD", amount="0.1", client_order_id="out"))
    report = under(executor, other(settings={"cash": ["USD", "BTC"]}))

    assert {reason.split(":")[0]: (one.decisions, one.first) for reason, one in report.skipped.items()} == {
        "exits": (1, "out"),
        "exits under this config": (1, "swap"),
    }
    assert report.unchecked == 1


def test_a_swap_that_would_not_have_been_sent(gate: Gate, under: Under, other: Gate) -> None:
    """0.1 ETH at 0.05 BTC is 0.005 BTC, of 68,925.98 USD each; the fee of 0.9 % is taken out of what it brings in."""
    prices = {"BTC-USD": "68925.98", "ETH-USD": "3500", "ETH-BTC": "0.05"}
    executor = gate(prices=prices, positions={"ETH-USD": "0.5"})
    assert executor.submit(Order.sell("ETH-BTC", amount="0.1", client_order_id="swap")).approved
    report = under(executor, other(settings={"max_positions": 1}))

    assert report.not_sent.size == Decimal("344.6299")
    assert report.not_sent.fees == Decimal("3.1016691")


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (Chosen(account="main"), "bd"),
        (Chosen(symbol="SOL-USD"), ""),
        (Chosen(symbol="ETH-USD"), "bd"),
        (Chosen(until=1.0), ""),
        (Chosen(since=1.0), "bd"),
    ],
)
def test_only_some_decisions(recorded: Executor, other: Gate, under: Under, chosen: Chosen, names: str) -> None:
    report = under(recorded, other(rules=LOOSER, tables=ONLY), chosen)

    assert "".join(one.client_order_id for one in report.changes) == names


def test_moments_bound_decisions_and_what_came_before_still_counts(
    recorded: Executor, other: Gate, under: Under
) -> None:
    at = {entry.key: entry.at for entry in recorded.desk.ledger().entries() if entry.kind == "decision"}
    chosen = Chosen(since=at["order:b"], until=at["order:d"])
    report = under(recorded, other(rules=LOOSER, tables=ONLY), chosen)

    assert [one.client_order_id for one in report.changes] == ["b"]
    assert report.total.decisions == 2


@pytest.mark.parametrize(("listed", "names"), [(0, ""), (1, "b"), (2, "bd"), (9, "bd")])
def test_the_first_changes_are_listed_and_all_are_counted(
    recorded: Executor, other: Gate, under: Under, listed: int, names: str
) -> None:
    report = under(recorded, other(rules=LOOSER, tables=ONLY), listed=listed)

    assert ("".join(one.client_order_id for one in report.changes), report.changed) == (names, 2)


def test_nothing_is_sent_recorded_or_asked(
    recorded: Executor, other: Gate, under: Under, requests: Callable[[], int], tmp_path: Path
) -> None:
    ledger = recorded.desk.ledger()
    before, sent, files = list(ledger.entries()), requests(), sorted(path.name for path in tmp_path.iterdir())
    recorded.setup.brokers["main"].client(5.0).path.unlink()
    files.remove("paper-main.db")
    under(recorded, other(rules=LOOSER, tables=ONLY))
    under(recorded, check=True)

    assert list(ledger.entries()) == before
    assert sent == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_two_accounts_are_each_judged_on_their_own_past(gate: Gate, under: Under) -> None:
    executor = gate(accounts={"spare": {"cash": "120.00"}})
    for account, name in (("main", "x"), ("spare", "x"), ("main", "y"), ("spare", "y")):
        symbol = "BTC-USD" if name == "x" else "ETH-USD"
        executor.submit(Order.buy(symbol, spend="60", account=account, client_order_id=name))
    report = under(executor, check=True)

    assert (report.total.decisions, report.changed, report.unchecked) == (4, 0, 0)
    assert under(executor, None, Chosen(account="spare"), check=True).total.decisions == 2


def test_a_rule_that_looks_back_where_none_did_then(
    gate: Gate, other: Gate, under: Under, install: Callable[..., Any]
) -> None:
    """The moment of judging was not written down then: that of the row stands in, and the journal has the orders."""
    module = """
        from ordergate import Verdict, hookimpl

        @hookimpl
        def validate_order(order, history):
            young = [one for one in history.orders if history.now - one.at < 60]
            return Verdict.refuse("again", f"{len(young)} orders in the last minute.") if young else Verdict.approve()
    """
    install(entries={"once": "fakeonce"}, modules={"fakeonce.py": module})
    executor = gate(rules=("dust",))
    for name in ("a", "b", "c"):
        executor.submit(Order.buy("BTC-USD", spend="60", client_order_id=name))
    report = under(executor, other(rules=("once",)))

    assert [(one.client_order_id, one.now[0].message) for one in report.changes] == [
        ("b", "1 orders in the last minute."),
        ("c", "2 orders in the last minute."),
    ]
