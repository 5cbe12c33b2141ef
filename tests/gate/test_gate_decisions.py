"""Whole decisions of the real gate on the paper venue: the first example, and every worked case of the rules."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

import ordergate_paper as paper
from ordergate import Decision, Executor, Order, OrderStatus
from ordergate.amounts import CENT

Gate = Callable[..., Executor]
Venue = Callable[..., paper.PaperVenue]

RULES = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
DOC = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
EXAMPLE = (Path(__file__).parents[1] / "example.toml").read_text(encoding="utf-8")


def refusals(decision: Decision) -> dict[str, Decimal | None]:
    return {verdict.rule: verdict.limit for verdict in decision.refusals}


def worked_cases() -> list[dict[str, str]]:
    """The rows of the table in docs/rules.md, column by cell."""
    rows: list[list[str]] = []
    for line in DOC[DOC.index("<!-- worked cases -->") :].splitlines()[1:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


# --------------------------------------------------------------------------------------------------- the first example


def test_the_example_is_answered_with_every_number(tmp_path: Path) -> None:
    (tmp_path / "ordergate.toml").write_text(EXAMPLE)
    with Executor.from_config(tmp_path / "ordergate.toml") as executor:
        decision = executor.check(Order.buy("BTC-USD", spend="3"))
    assert (decision.status, decision.error) == (OrderStatus.REFUSED, "HARDENING_ENFORCEMENT")
    assert refusals(decision) == {"min_allocation": Decimal("16.75"), "min_position": Decimal(20)}
    assert (decision.smallest_passing, decision.smallest_passing_in) == (Decimal("20.00"), "USD")
    assert "20.00" in (decision.advice or "")
    for number in ("3.00", "16.75", "20.00"):
        assert number in decision.message
    assert decision.facts is not None
    assert [decision.facts.equity, decision.facts.cash] == [335, 300]
    assert decision.facts.tier == "INVESTOR"
    assert [(held.currency, held.value) for held in decision.facts.positions] == [("ETH", Decimal(35))]
    assert set(decision.facts.ages) == {"account", "prices"}
    assert [verdict.rule for verdict in decision.verdicts] == [
        "gate.state",
        "gate.facts",
        "gate.tier",
        "gate.market",
        "gate.funds",
        *RULES,
    ]


def test_the_example_with_less_cash_has_its_one_slot_taken(tmp_path: Path) -> None:
    (tmp_path / "ordergate.toml").write_text(EXAMPLE.replace('"300.00"', '"100.00"'))
    with Executor.from_config(tmp_path / "ordergate.toml") as executor:
        decision = executor.check(Order.buy("BTC-USD", spend="3"))
        assert "position_cap" in refusals(decision)
        assert decision.smallest_passing is None
        assert decision.smallest_passing_in is None
        assert executor.limits("BTC-USD").band is None


def test_the_example_buys_the_smallest_that_passes(tmp_path: Path) -> None:
    (tmp_path / "ordergate.toml").write_text(EXAMPLE)
    with Executor.from_config(tmp_path / "ordergate.toml") as executor:
        decision = executor.submit(Order.buy("BTC-USD", spend="20", client_order_id="first"))
    assert decision.status is OrderStatus.FILLED
    assert decision.error is None
    assert decision.receipt is not None
    assert decision.venue_order is not None
    assert decision.receipt.client_order_id == decision.venue_order.client_order_id != "first"
    assert paper.count_orders(tmp_path / "paper-main.db") == 1


# ---------------------------------------------------------------------------------------------------- worked cases


def gate_of(gate: Gate, case: dict[str, str]) -> Executor:
    """The case's account at the paper venue."""
    held = {}
    if case["holdings"] != "none":
        amount, currency = case["holdings"].split()
        held = {f"{currency}-USD": amount}
    cash = case["equity (cash)"].removesuffix(")").split(" (")[1]
    return gate(venue=case["venue"], cash=cash, positions=held, fee_threshold=case["fee threshold"])


@pytest.mark.parametrize(
    "case", worked_cases(), ids=lambda case: f"{case['venue']} {case['equity (cash)']} {case['order']}"
)
def test_worked_case(gate: Gate, case: dict[str, str]) -> None:
    executor = gate_of(gate, case)
    symbol, spend = case["order"].split()
    decision = executor.check(Order.buy(symbol, spend=spend))
    shown = {
        verdict.rule: (verdict.code, verdict.limit) if not verdict.approved else ("passes", None)
        for verdict in decision.verdicts
        if verdict.rule in RULES
    }
    expected = {}
    for name in RULES:
        code, _, limit = case[name].partition(" ")
        expected[name] = (code, Decimal(limit) if limit else None)
    assert shown == expected
    assert decision.facts is not None
    assert decision.facts.equity == Decimal(case["equity (cash)"].split()[0])
    smallest = case["smallest that passes"]
    if decision.approved:
        assert Decimal(spend) >= Decimal(smallest)
        assert not executor.check(Order.buy(symbol, spend=Decimal(smallest) - CENT)).approved
    elif smallest == "none":
        assert decision.smallest_passing is None
    elif not any(verdict.rule == "gate.market" for verdict in decision.refusals):
        assert decision.smallest_passing == Decimal(smallest)
        assert executor.check(Order.buy(symbol, spend=smallest)).approved
        assert not executor.check(Order.buy(symbol, spend=Decimal(smallest) - CENT)).approved


def test_every_worked_case_that_passes_is_filled_by_the_venue_at_its_smallest(gate: Gate, tmp_path: Path) -> None:
    """What the gate lets through the venue takes: one order each, on an account of its own."""
    passing = [case for case in worked_cases() if case["smallest that passes"] != "none"]
    accounts = {}
    for number, case in enumerate(passing):
        held = {}
        if case["holdings"] != "none":
            amount, currency = case["holdings"].split()
            held = {f"{currency}-USD": amount}
        cash = case["equity (cash)"].removesuffix(")").split(" (")[1]
        accounts[f"case{number}"] = {
            "venue": case["venue"],
            "cash": cash,
            "positions": held,
            "fee_threshold": case["fee threshold"],
        }
    executor = gate(accounts=accounts)
    for number, case in enumerate(passing):
        order = Order.buy(case["order"].split()[0], spend=case["smallest that passes"], account=f"case{number}")
        assert executor.submit(order).status is OrderStatus.FILLED, case
        assert paper.count_orders(tmp_path / f"paper-case{number}.db") == 1


# ------------------------------------------------------------------------------------------- tiers, caps and thresholds


@pytest.mark.parametrize(
    ("cash", "tier"),
    [
        ("50.00", "STARTER"),
        ("99.50", "STARTER"),
        ("99.99", "STARTER"),
        ("100.00", "SAVER"),
        ("249.99", "SAVER"),
        ("250.00", "INVESTOR"),
        ("999.99", "INVESTOR"),
        ("1000.00", "INCOME"),
        ("4999.99", "INCOME"),
        ("5000.00", "LIVABLE"),
        ("24999.99", "LIVABLE"),
        ("25000.00", "BALLER"),
        ("9999999.00", "BALLER"),
    ],
)
def test_the_tiers_have_no_gaps(gate: Gate, cash: str, tier: str) -> None:
    decision = gate(cash=cash).check(Order.buy("BTC-USD", spend="10"))
    assert decision.facts is not None
    assert decision.facts.tier == tier


def test_a_changed_tier_table_reaches_every_rule(gate: Gate) -> None:
    tiers = [{"name": "ONLY", "equity": "10", "max_positions": 2, "min_position": "33", "min_allocation": "0.10"}]
    decision = gate(tables={"tiers": tiers}, cash="1000.00").check(Order.buy("BTC-USD", spend="3"))
    assert decision.facts is not None
    assert decision.facts.tier == "ONLY"
    found = refusals(decision)
    assert (found["min_allocation"], found["min_position"]) == (Decimal(100), Decimal(33))


@pytest.mark.parametrize(("ceiling", "cap"), [(1, 1), (3, 3), (99, 5)])
def test_the_ceiling_of_all_accounts_is_the_smaller_of_the_two(gate: Gate, ceiling: int, cap: int) -> None:
    executor = gate(settings={"max_positions": ceiling}, accounts={"rich": {"cash": "30000.00"}})
    limits = {}
    for account in ("main", "rich"):
        decision = executor.check(Order.buy("BTC-USD", spend="3", account=account))
        limits[account] = next(verdict.limit for verdict in decision.verdicts if verdict.rule == "position_cap")
    assert limits == {"main": cap, "rich": min(ceiling, 8)}


def test_a_ceiling_of_nothing_opens_nothing_and_lets_positions_grow(gate: Gate) -> None:
    executor = gate(settings={"max_positions": 0}, positions={"ETH-USD": "0.0200"})
    assert set(refusals(executor.check(Order.buy("BTC-USD", spend="60")))) == {"position_cap"}
    assert executor.check(Order.buy("ETH-USD", spend="60")).approved


@pytest.mark.parametrize(("threshold", "limit"), [(None, "7.50"), ("5", "7.50"), ("5.01", "7.515"), ("20", "30")])
def test_a_fee_threshold_is_tightened_by_the_config_and_named_in_the_decision(
    gate: Gate, threshold: str | None, limit: str
) -> None:
    tighter = {} if threshold is None else {"fee_threshold": threshold}
    decision = gate(**tighter).check(Order.buy("BTC-USD", spend="60"))
    verdict = next(verdict for verdict in decision.verdicts if verdict.rule == "average_position")
    assert verdict.limit == Decimal(limit)
    assert decision.fee_threshold is not None
    assert ("config" in decision.fee_threshold.source) is (threshold is not None)


def test_e07_cap_lowered_below_what_is_held(gate: Gate) -> None:
    """Nothing new opens, what is held may grow, and may leave."""
    positions = {"ETH-USD": "0.0300", "SOL-USD": "0.6"}
    executor = gate(positions=positions, settings={"max_positions": 1})
    assert set(refusals(executor.submit(Order.buy("BTC-USD", spend="70")))) == {"position_cap"}
    assert executor.submit(Order.buy("ETH-USD", spend="70")).status is OrderStatus.FILLED
    assert executor.submit(Order.sell("SOL-USD", all=True)).status is OrderStatus.FILLED


# --------------------------------------------------------------------------------------------------- one path for both


def test_check_and_submit_say_the_same(gate: Gate) -> None:
    executor = gate(cash="300.00", positions={"ETH-USD": "0.0100"})
    for spend in ("3", "16.75", "19.99", "301"):
        order = Order.buy("BTC-USD", spend=spend)
        checked, submitted = executor.check(order), executor.submit(order)
        assert [
            (one.rule, one.approved, one.code, one.limit) for one in checked.verdicts if one.rule != "gate.facts"
        ] == [(one.rule, one.approved, one.code, one.limit) for one in submitted.verdicts if one.rule != "gate.facts"]
        assert (checked.checked_only, submitted.checked_only) == (True, False)
        assert checked.smallest_passing == submitted.smallest_passing


def test_check_records_binds_and_sends_nothing(gate: Gate, venue: Venue) -> None:
    executor = gate(positions={"ETH-USD": "0.0100"})
    ledger = executor.desk.ledger()
    before = list(ledger.entries())
    for order in (
        Order.buy("BTC-USD", spend="60", client_order_id="same"),
        Order.buy("BTC-USD", spend="3", client_order_id="same"),
        Order.buy("NONE-USD", spend="60"),
        Order.sell("ETH-USD", all=True, client_order_id="same"),
        Order.sell("BTC-USD", all=True),
    ):
        assert executor.check(order).checked_only
    executor.limits("BTC-USD")
    assert list(ledger.entries()) == before
    assert ledger.state("main").identity is None
    assert ledger.find("main", "same") is None
    assert paper.count_requests(venue(executor)) == 0
    assert executor.submit(Order.buy("BTC-USD", spend="70", client_order_id="same")).status is OrderStatus.FILLED


def test_limits_are_the_band_that_check_agrees_with(gate: Gate) -> None:
    executor = gate(cash="300.00", positions={"ETH-USD": "0.0100"}, fee_threshold="10")
    limits = executor.limits("BTC-USD")
    assert limits.band is not None
    least, most = limits.band.least * limits.unit, limits.band.most * limits.unit
    assert (least, most, limits.currency) == (Decimal(20), Decimal(300), "USD")
    assert [limits.band.below, limits.band.above] == [{"min_position"}, {"gate.funds"}]
    for spend, passes in ((least, True), (most, True), (least - CENT, False), (most + CENT, False)):
        assert executor.check(Order.buy("BTC-USD", spend=spend)).approved is passes


def test_limits_of_a_limit_order_count_in_the_base_currency(gate: Gate) -> None:
    executor = gate(cash="300.00")
    limits = executor.limits("BTC-USD", limit="50000")
    assert limits.band is not None
    least = limits.band.least * limits.unit
    assert (limits.currency, least) == ("BTC", Decimal("0.0004"))  # 20 USD at the limit
    assert executor.check(Order.buy("BTC-USD", amount=least, limit="50000")).approved
    assert not executor.check(Order.buy("BTC-USD", amount=least - limits.unit, limit="50000")).approved


def test_a_limit_far_above_the_market_does_not_look_bigger(gate: Gate) -> None:
    executor = gate(cash="1000.00")
    decision = executor.check(Order.buy("BTC-USD", amount="0.0005", limit="137000"))
    assert {"min_allocation", "min_position"} == set(refusals(decision))  # 0.0005 at the ask are 34.46, not 68.50
    assert decision.purchase is not None
    assert decision.purchase.size == Decimal("34.46299")
    assert decision.purchase.cost == Decimal("68.5") * Decimal("1.009")


@pytest.mark.parametrize(("name", "most"), [("coinbase", "1000.00"), ("kraken", "992.06")])
def test_the_fee_is_covered_where_the_venue_takes_it_on_top(gate: Gate, name: str, most: str) -> None:
    """Coinbase takes its fee out of what is spent; Kraken's 0.8 % come on top: 992.07 would need 1,000.01."""
    executor = gate(venue=name, cash="1000.00")
    over = executor.submit(Order.buy("BTC-USD", spend=Decimal(most) + CENT))
    assert set(refusals(over)) == {"gate.funds"}
    assert executor.submit(Order.buy("BTC-USD", spend=most)).status is OrderStatus.FILLED
