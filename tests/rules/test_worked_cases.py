"""The worked cases in docs/rules.md, executed against the rules themselves."""

from __future__ import annotations

import inspect
import re
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from ordergate import Account, Market, Position, Tier, Verdict, testing
from ordergate.amounts import CENT, exact, round_down
from ordergate.settings import DEFAULT_TIERS

DOC = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
RULES = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
MODULES = {name: import_module(f"ordergate_rules.{name}") for name in RULES}


def table(after: str) -> list[dict[str, str]]:
    """The first table after a piece of text: one mapping from column to cell for each line."""
    lines = iter(DOC[DOC.index(after) :].splitlines()[1:])
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


TIERS = [
    testing.tier(
        row["tier"],
        equity=row["equity from, USD"],
        max_positions=int(row["max positions"]),
        min_position=row["minimum position, USD"],
        min_allocation=Decimal(row["minimum allocation"].removesuffix(" %")) / 100,
    )
    for row in table("## Tiers")
]
MARKETS = {(row["venue"], row["market"]): row for row in table("<!-- markets -->")}
CASES = table("<!-- worked cases -->")


def test_the_tier_table_is_the_default() -> None:
    assert tuple(TIERS) == DEFAULT_TIERS


def market_of(venue: str, symbol: str) -> Market:
    row = MARKETS[venue, symbol]
    return testing.market(
        symbol,
        bid=row["price"],
        amount_step=row["amount step"],
        min_amount=row["minimum amount"],
        min_spend=row["minimum value"],
    )


def account_of(case: dict[str, str]) -> Account:
    equity, cash = case["equity (cash)"].removesuffix(")").split(" (")
    positions: dict[str, testing.Number | Position] = {}
    dust: dict[str, testing.Number | Position] = {}
    if case["holdings"] != "none":
        amount, currency = case["holdings"].split()
        market = market_of(case["venue"], f"{currency}-USD")
        worth = Decimal(amount) * market.bid
        sellable = Decimal(amount) >= market.min_amount and worth >= market.min_spend
        counts = worth >= 1 and sellable
        held = testing.position(currency, worth, amount=amount)
        (positions if counts else dust)[currency] = held
    account = testing.account(equity, positions=positions, dust_holdings=dust)
    assert account.cash == Decimal(cash), "equity is not cash and holdings"
    return account


def tier_of(equity: Decimal) -> Tier:
    return max((tier for tier in TIERS if tier.equity <= equity), key=lambda tier: tier.equity)


def verdicts(case: dict[str, str], spend: Decimal) -> dict[str, Verdict]:
    venue, symbol = case["venue"], case["order"].split()[0]
    market, account, row = market_of(venue, symbol), account_of(case), MARKETS[venue, symbol]
    with exact():
        paid = market.ask * (1 + Decimal(row["taker fee"])) if row["taken"] == "inside" else market.ask
        acquires = round_down(spend / paid, market.amount_step)
    order = testing.purchase(spend, symbol=symbol, acquires=acquires)

    def asked(module: ModuleType) -> Verdict:
        return testing.judge(
            module,
            order=order,
            market=market,
            account=account,
            tier=tier_of(account.equity),
            broker=testing.broker(case["fee threshold"]),
        )

    return {name: asked(module) for name, module in MODULES.items()}


def shown(verdict: Verdict) -> tuple[str, Decimal | None]:
    return ("passes", None) if verdict.approved else (verdict.code, verdict.limit)


def expected(cell: str) -> tuple[str, Decimal | None]:
    code, _, limit = cell.partition(" ")
    return code, Decimal(limit) if limit else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['venue']} {case['equity (cash)']} {case['order']}")
def test_worked_case(case: dict[str, str]) -> None:
    answers = verdicts(case, Decimal(case["order"].split()[1]))
    assert {name: shown(verdict) for name, verdict in answers.items()} == {name: expected(case[name]) for name in RULES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['venue']} {case['equity (cash)']} {case['order']}")
def test_smallest_that_passes_does_and_one_cent_less_does_not(case: dict[str, str]) -> None:
    def passes(spend: Decimal) -> bool:
        return all(verdict.approved for verdict in verdicts(case, spend).values())

    if case["smallest that passes"] == "none":
        equity = Decimal(case["equity (cash)"].split()[0])
        assert not any(passes(spend) for spend in (CENT, *testing.SIZES, equity))
    else:
        smallest = Decimal(case["smallest that passes"])
        assert passes(smallest)
        assert not passes(smallest - CENT)


def test_every_code_a_rule_can_give_is_documented_and_worked() -> None:
    worked = {expected(case[name])[0] for case in CASES for name in RULES} - {"passes"}
    for name, module in MODULES.items():
        codes = set(re.findall(r'Verdict\.refuse\(\s*"([a-z_]+)"', inspect.getsource(module)))
        section = DOC.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert codes
        assert codes == set(re.findall(r"`([a-z_]+)`", section.split("**Codes**")[1])) - {"gate"}
        assert codes <= worked


def test_every_rule_and_setting_has_its_section() -> None:
    for name, module in MODULES.items():
        section = DOC.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for field in module.rule_settings().__attrs_attrs__:
            assert f"`{field.name}`" in section
            assert f"by default `{field.default}`" in section
