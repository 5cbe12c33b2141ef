"""The five rules: boundaries, the faults they exist for, and what holds for every size and unit."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ordergate import Account, InputError, Market, Position, Side, Verdict, testing
from ordergate.amounts import CENT, exact
from ordergate.binding import bind
from ordergate_rules import average_position, dust, min_allocation, min_position, position_cap

NAMES = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
ALL = tuple(import_module(f"ordergate_rules.{name}") for name in NAMES)
TINY = Decimal("0.000000000000000001")
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
KRAKEN_BTC = testing.market(min_amount="0.00005", min_spend="0.5")


def amounts(low: str = "0.01", high: str = "1000000", places: int = 8) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(low), Decimal(high), places=places)


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    positions = draw(st.dictionaries(st.sampled_from(["BTC", "ETH", "SOL"]), amounts("1", "10000", places=2)))
    cash = draw(amounts("0", "100000", places=2))
    return testing.account(
        sum(positions.values(), cash),
        positions={name: testing.position(name, value, amount="0.001") for name, value in positions.items()},
        dust_holdings=draw(st.sampled_from([{}, {"DOGE": "0.02"}])) if cash >= 1 else {},
    )


# ------------------------------------------------------------------------------------------ every rule


@pytest.mark.parametrize("module", ALL, ids=NAMES)
@pytest.mark.parametrize("held", [{}, {"BTC": "3"}, {"ETH": "35", "SOL": "1.20"}], ids=["none", "same", "others"])
@pytest.mark.parametrize("market", [testing.market(), KRAKEN_BTC], ids=["coinbase", "kraken"])
def test_it_is_a_rule_as_the_gate_needs_it(
    module: ModuleType, held: dict[str, testing.Number | Position], market: Market
) -> None:
    testing.check_rule(module, account=testing.account("335", positions=held), market=market)


@pytest.mark.parametrize("module", ALL, ids=NAMES)
def test_it_imports_nothing_but_the_public_package(module: ModuleType) -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names])
    }
    assert imported <= {"__future__", "attrs", "decimal", "ordergate", "ordergate.amounts"}


@UNTIMED
@given(account=accounts(), sizes=st.tuples(amounts(), amounts()), threshold=st.sampled_from(["5", "10"]))
@pytest.mark.parametrize("module", [min_allocation, min_position, dust, average_position])
def test_minimums_are_monotone_in_size(
    module: ModuleType, account: Account, sizes: tuple[Decimal, Decimal], threshold: str
) -> None:
    smaller, larger = sorted(sizes)
    broker = testing.broker(threshold)

    def passes(size: Decimal) -> bool:
        order = testing.purchase(size)
        return testing.judge(module, order=order, account=account, broker=broker, market=KRAKEN_BTC).approved

    assert passes(larger) or not passes(smaller)


@UNTIMED
@given(account=accounts(), size=amounts(), factor=amounts("0.001", "1000", places=3))
@pytest.mark.parametrize("module", ALL, ids=NAMES)
def test_verdicts_do_not_change_with_the_unit_of_account(
    module: ModuleType, account: Account, size: Decimal, factor: Decimal
) -> None:
    """Every USD amount and price times one factor: the same answers. Amounts of coins stay."""
    order, market, tier, broker = testing.purchase(size), KRAKEN_BTC, testing.tier(), testing.broker()
    before = testing.judge(module, order=order, market=market, account=account, tier=tier, broker=broker)
    with exact():
        assert market.price is not None
        after = testing.judge(
            module,
            order=evolve(order, size=order.size * factor, cost=order.cost * factor),
            market=evolve(
                market,
                min_spend=market.min_spend * factor,
                price=evolve(market.price, bid=market.bid * factor, ask=market.ask * factor),
            ),
            account=scaled(account, factor),
            tier=evolve(tier, equity=tier.equity * factor, min_position=tier.min_position * factor),
            broker=testing.broker(broker.fee_threshold.value * factor),
        )
    assert (before.approved, before.code) == (after.approved, after.code)


def scaled(account: Account, factor: Decimal) -> Account:
    def worth(values: Mapping[str, Position]) -> dict[str, Position]:
        return {
            name: evolve(item, value=item.value * factor, claimed=item.claimed * factor)
            for name, item in values.items()
        }

    return evolve(
        account,
        equity=account.equity * factor,
        cash=account.cash * factor,
        dust=account.dust * factor,
        positions=worth(account.positions),
        position_total=account.position_total * factor,
        position_floor=account.position_floor * factor,
        holdings=worth(account.holdings),
    )


# ---------------------------------------------------------------------------------------- position_cap


def test_cap_counts_the_position_the_order_would_open() -> None:
    account = testing.account("500", positions={"ETH": "35", "SOL": "40"})
    at_cap = testing.judge(position_cap, account=account, tier=testing.tier("INVESTOR", max_positions=3))
    assert at_cap == Verdict.approve(observed=Decimal(3), limit=Decimal(3))
    over = testing.judge(position_cap, account=account, tier=testing.tier("SMALL", max_positions=2))
    assert (over.code, over.observed, over.limit) == ("over_cap", Decimal(3), Decimal(2))
    assert over.message == "It would open position number 3, over the cap of 2 (tier SMALL)."


def test_s07_scale_in_adding_to_a_held_position_opens_none() -> None:
    account = testing.account("200", positions={"BTC": "50"})
    verdict = testing.judge(position_cap, account=account, tier=testing.tier(max_positions=1))
    assert verdict == Verdict.approve(observed=Decimal(1), limit=Decimal(1))


def test_an_approved_buy_that_is_not_seen_yet_is_a_position() -> None:
    claimed = testing.position("BTC", "20", claimed="20")
    assert claimed.amount == 0
    account = testing.account("100", positions={"BTC": claimed})
    assert account.cash == 100
    assert testing.judge(position_cap, account=account).approved
    other = testing.purchase(symbol="ETH-USD", price="3500")
    assert testing.judge(position_cap, order=other, account=account).code == "over_cap"


def test_a_lowered_cap_still_lets_a_position_grow() -> None:
    account = testing.account("500", positions={"BTC": "50", "ETH": "35", "SOL": "40"})
    adding = testing.judge(position_cap, account=account, tier=testing.tier(max_positions=1))
    assert adding == Verdict.approve(observed=Decimal(3), limit=Decimal(1))


@pytest.mark.parametrize("module", [position_cap, average_position])
def test_acquiring_cash_changes_no_position(module: ModuleType) -> None:
    account = testing.account("103", positions={"ETH": "1.50", "SOL": "1.50"})
    order = testing.purchase("1", symbol="USDC-USD", price="1")
    assert testing.judge(module, order=order, account=account, tier=testing.tier(max_positions=1)).approved


def test_s08_dust_fills_cap_three_crumbs_take_no_slot_and_no_average() -> None:
    crumbs = {"DOGE": "0.02", "SHIB": "0.02", "PEPE": "0.02"}
    account = testing.account("300", dust_holdings=crumbs)
    cap = testing.judge(position_cap, account=account, tier=testing.tier("INVESTOR", max_positions=3))
    assert (cap.approved, cap.observed) == (True, Decimal(1))
    average = testing.judge(average_position, account=account)
    assert (average.approved, average.observed) == (True, Decimal("20.00"))


def test_buying_more_of_what_is_dust_opens_a_position() -> None:
    account = testing.account("100", positions={"ETH": "35"}, dust_holdings={"BTC": "0.02"})
    assert testing.judge(position_cap, account=account).code == "over_cap"


# --------------------------------------------------------------------------- min_allocation, min_position


@pytest.mark.parametrize(
    ("equity", "share", "limit"),
    [
        ("335", "0.05", "16.75"),
        ("1000", "0.10", "100"),
        ("99.50", "0.05", "4.975"),
        ("123456.123456789012345678", "0.075", "9259.20925925917592592585"),
    ],
)
def test_min_allocation_passes_at_the_limit_and_not_under_it(equity: str, share: str, limit: str) -> None:
    account, tier, exactly = testing.account(equity), testing.tier(min_allocation=share), Decimal(limit)
    at = testing.judge(min_allocation, order=testing.purchase(exactly), account=account, tier=tier)
    assert at == Verdict.approve(observed=exactly, limit=exactly)
    with exact():
        less = (exactly - CENT, exactly - Decimal("1e-30"))
    for size in less:
        under = testing.judge(min_allocation, order=testing.purchase(size), account=account, tier=tier)
        assert (under.code, under.observed, under.limit) == ("under_allocation", size, exactly)


def test_min_allocation_says_share_equity_and_both_numbers() -> None:
    verdict = testing.judge(min_allocation, order=testing.purchase("3"), account=testing.account("335.00"))
    assert verdict.message == "The size, 3.00 USD, is under 5 % of the equity of 335.00 USD, which is 16.75 USD."


def test_min_position_passes_at_the_limit_and_not_under_it() -> None:
    tier = testing.tier("INVESTOR", min_position="20")
    at = testing.judge(min_position, order=testing.purchase("20"), tier=tier)
    assert at == Verdict.approve(observed=Decimal(20), limit=Decimal(20))
    for size in ("19.99", Decimal(20) - TINY):
        verdict = testing.judge(min_position, order=testing.purchase(size), tier=tier)
        assert (verdict.code, verdict.limit) == ("under_minimum", Decimal(20))
    verdict = testing.judge(min_position, order=testing.purchase("3"), tier=tier)
    assert verdict.message == "The size, 3.00 USD, is under the minimum of tier INVESTOR, 20.00 USD."


@pytest.mark.parametrize("module", [min_allocation, min_position])
def test_minimums_hold_for_orders_that_add_to_a_position_too(module: ModuleType) -> None:
    account = testing.account("1000", positions={"BTC": "500"})
    assert not testing.judge(module, order=testing.purchase("9.99"), account=account).approved


# ------------------------------------------------------------------------------------------------ dust


def test_s09_ignored_setting_the_dust_threshold_takes_effect() -> None:
    order = testing.purchase("3")
    assert testing.judge(dust, order=order, account=testing.account(dust="1")).approved
    verdict = testing.judge(dust, order=order, account=testing.account(dust="5"))
    assert (verdict.code, verdict.observed, verdict.limit) == ("dust_size", Decimal(3), Decimal(5))
    assert testing.judge(dust, order=testing.purchase("5"), account=testing.account(dust="5")).approved


def test_dust_judges_the_amount_the_venue_lets_be_sold() -> None:
    verdict = testing.judge(dust, order=testing.purchase("3"), market=KRAKEN_BTC)
    assert (verdict.code, verdict.observed, verdict.limit) == (
        "unsellable",
        Decimal("0.00004352"),
        Decimal("0.00005"),
    )
    assert verdict.message == (
        "The 0.00004352 BTC held after it could not be sold again: the venue's minimum is 0.00005 BTC."
    )
    assert testing.judge(dust, order=testing.purchase("3", acquires="0.00005"), market=KRAKEN_BTC).approved


def test_dust_counts_what_is_held_and_sellable_also_where_that_is_dust() -> None:
    order = testing.purchase("3")
    crumb = testing.position("BTC", "0.50", amount="0.00000725")
    with_crumb = testing.account(dust_holdings={"BTC": crumb})
    assert testing.judge(dust, order=order, market=KRAKEN_BTC, account=with_crumb).approved
    staked = testing.account(positions={"BTC": testing.position("BTC", "50", amount="0.0007", sellable="0")})
    assert testing.judge(dust, order=order, market=KRAKEN_BTC, account=staked).code == "unsellable"


def test_dust_counts_no_claims_because_they_may_never_fill() -> None:
    claimed = testing.account(positions={"BTC": testing.position("BTC", "90", claimed="90")})
    verdict = testing.judge(dust, order=testing.purchase("3"), market=KRAKEN_BTC, account=claimed)
    assert verdict.code == "unsellable"


def test_dust_rounds_down_to_the_step_before_it_judges() -> None:
    market = testing.market("DOGE-USD", bid="0.2", amount_step="0.1", min_amount="0.1", min_spend="1")
    order = testing.purchase("1.12", symbol="DOGE-USD", acquires="5.59")
    verdict = testing.judge(dust, order=order, market=market)
    # 5.59 would be worth 1.0062 after the fall, 5.5 is worth 0.99
    assert (verdict.code, verdict.observed) == ("unsellable_after_fall", Decimal("0.99"))


def test_dust_needs_at_least_one_step_where_the_venue_names_no_minimum() -> None:
    market = testing.market(amount_step="0.001", min_amount="0", min_spend="0")
    verdict = testing.judge(dust, order=testing.purchase("20"), market=market)
    assert (verdict.code, verdict.observed, verdict.limit) == ("unsellable", Decimal(0), Decimal("0.001"))


def test_dust_value_passes_at_the_venues_minimum_and_not_under_it() -> None:
    market = testing.market("SOL-USD", bid="10", min_spend="1")

    def judged(acquires: str, limit: str | None = None) -> Verdict:
        order = testing.purchase("2", symbol="SOL-USD", acquires=acquires, limit=limit)
        return testing.judge(dust, order=order, market=market, settings=dust.Settings(exit_buffer=Decimal("0.5")))

    assert judged("0.2").approved
    verdict = judged("0.19999999")
    assert (verdict.code, verdict.observed, verdict.limit) == (
        "unsellable_after_fall",
        Decimal("0.99999995"),
        Decimal(1),
    )
    assert verdict.message == (
        "The 0.19999999 SOL held after it could not be sold again after a fall of 50 %, "
        "worth 0.99999995 USD: the venue's minimum is 1.00 USD."
    )
    # A limit under the bid fills only when the price is there; one above it buys at the market.
    assert judged("0.2", limit="9.99").code == "unsellable_after_fall"
    assert judged("0.2", limit="1000").approved
    assert judged("0.19999999", limit="1000").code == "unsellable_after_fall"


def test_dust_values_at_the_bid_not_at_the_ask() -> None:
    market = testing.market("SOL-USD", bid="9.99", ask="10", min_spend="1")
    order = testing.purchase("2", symbol="SOL-USD", acquires="0.2")
    settings = dust.Settings(exit_buffer=Decimal("0.5"))
    verdict = testing.judge(dust, order=order, market=market, settings=settings)
    assert (verdict.code, verdict.observed) == ("unsellable_after_fall", Decimal("0.999"))


def test_dust_names_the_quote_currency_of_the_market() -> None:
    market = testing.market("ETH-EUR", bid="3000", min_spend="10")
    order = testing.purchase("2", symbol="ETH-EUR", acquires="0.0006")
    assert "1.62 EUR" in testing.judge(dust, order=order, market=market).message


def test_a_sell_that_acquires_a_coin_is_judged_by_its_size_alone() -> None:
    market = testing.market("ETH-BTC", bid="0.05", min_amount="1000", min_spend="1000")
    order = testing.purchase("25", symbol="ETH-BTC", side=Side.SELL, acquires="0.0003", amount="0.007")
    assert order.takes == "BTC"
    assert testing.judge(dust, order=order, market=market).approved
    tiny = evolve(order, size=Decimal("0.99"))
    assert testing.judge(dust, order=tiny, market=market).code == "dust_size"


def test_cash_that_is_bought_need_not_be_sold_again() -> None:
    market = testing.market("USDC-USD", bid="1", min_amount="1000")
    order = testing.purchase("20", symbol="USDC-USD", price="1")
    assert testing.judge(dust, order=order, market=market).approved


# ------------------------------------------------------------------------------------ average_position


def test_average_passes_at_the_limit_and_not_under_it() -> None:
    account = testing.account("300", positions={"ETH": "3.50"})
    for size, passes in (("11.50", True), ("11.49", False), (Decimal("11.5") - TINY, False)):
        verdict = testing.judge(average_position, order=testing.purchase(size), account=account)
        assert (verdict.approved, verdict.limit) == (passes, Decimal("7.5"))
        # What is shown is on the same side of the limit as the truth, although it is cut at the cent.
        assert verdict.observed is not None
        assert (verdict.observed >= Decimal("7.5")) is passes


def test_average_is_exact_where_a_division_would_be_rounded() -> None:
    # A third of this total has no end; rounded to the digits of an ordinary context it would equal the limit.
    account = testing.account("300", positions={"ETH": "1", "SOL": "1"})
    order = testing.purchase(Decimal(f"20.4{60 * '9'}"))
    verdict = testing.judge(average_position, order=order, account=account)
    assert (verdict.code, verdict.observed) == ("low_average", Decimal("7.49"))
    assert testing.judge(average_position, order=testing.purchase("20.5"), account=account).approved


def test_average_shows_a_limit_finer_than_a_cent_truthfully() -> None:
    broker = testing.broker("5.001")
    verdict = testing.judge(average_position, order=testing.purchase("7.5015"), broker=broker)
    assert verdict == Verdict.approve(observed=Decimal("7.5015"), limit=Decimal("7.5015"))
    verdict = testing.judge(average_position, order=testing.purchase("7.50149"), broker=broker)
    assert (verdict.approved, verdict.observed) == (False, Decimal("7.5014"))
    assert verdict.message == (
        "The average position after it, 7.5014 USD, is under 1.5 times the broker's fee threshold "
        "of 5.001 USD, which is 7.5015 USD."
    )


def test_s13_averages_of_positions_that_lost_their_worth_count_them_as_they_are() -> None:
    account = testing.account("300", positions={"ETH": "1.20", "SOL": "1.20"})
    verdict = testing.judge(average_position, order=testing.purchase("20"), account=account)
    assert (verdict.approved, verdict.observed) == (False, Decimal("7.46"))
    assert testing.judge(average_position, order=testing.purchase("20.10"), account=account).approved


def test_average_of_adding_to_a_position_divides_by_the_positions_held() -> None:
    account = testing.account("300", positions={"BTC": "4", "SOL": "1"})
    verdict = testing.judge(average_position, order=testing.purchase("10"), account=account)
    assert (verdict.approved, verdict.observed) == (True, Decimal("7.50"))


def test_average_counts_approved_buys_that_are_not_seen_yet() -> None:
    claimed = testing.account("100", positions={"ETH": testing.position("ETH", "2", claimed="2")})
    verdict = testing.judge(average_position, order=testing.purchase("12"), account=claimed)
    assert (verdict.approved, verdict.observed) == (False, Decimal("7.00"))


def test_average_counts_a_buy_once_while_both_its_claim_and_the_balances_may_show_it() -> None:
    seen_and_claimed = testing.account("100", positions={"ETH": testing.position("ETH", "32", claimed="16")})
    kraken = testing.broker("10", venue="kraken")
    verdict = testing.judge(average_position, order=testing.purchase("12"), account=seen_and_claimed, broker=kraken)
    assert (verdict.approved, verdict.observed) == (False, Decimal("14.00"))


def test_s01_wrong_venue_threshold_each_order_is_judged_by_its_own_broker() -> None:
    order = testing.purchase("12")
    coinbase, kraken = testing.broker("5", venue="coinbase"), testing.broker("10", venue="kraken")
    for broker, limit, passes in (
        (coinbase, "7.5", True),
        (kraken, "15", False),
        (coinbase, "7.5", True),
    ):
        verdict = testing.judge(average_position, order=order, broker=broker)
        assert (verdict.approved, verdict.limit) == (passes, Decimal(limit))


# -------------------------------------------------------------------------------------------- settings


def decimals(*texts: str) -> list[object]:
    return [Decimal(text) for text in texts]


@pytest.mark.parametrize("value", [*decimals("-0.01", "1", "1.5", "NaN", "sNaN"), 0.1, True, "0.2", None])
def test_exit_buffer_takes_only_a_fraction(value: Any) -> None:
    with pytest.raises(InputError, match=r"exit_buffer.*from 0 to under 1"):
        dust.Settings(exit_buffer=value)


@pytest.mark.parametrize("value", [*decimals("1.49", "0", "-2", "Infinity", "NaN"), 1.5, False, "2", None])
def test_multiple_can_only_be_tightened(value: Any) -> None:
    with pytest.raises(InputError, match=r"multiple.*from 1\.5 up"):
        average_position.Settings(multiple=value)


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [(dust.Settings, "exit_buffer", "1"), (average_position.Settings, "multiple", "1")],
)
def test_a_setting_out_of_bounds_is_a_problem_of_its_key(settings: type, key: str, value: str) -> None:
    [problem] = bind(settings, {key: value}, "rules.some", Path()).problems
    assert problem.where == f"rules.some.{key}"
    assert bind(settings, {}, "rules.some", Path()).value == settings()


def test_settings_take_effect() -> None:
    order, strict = testing.purchase("8"), average_position.Settings(multiple=Decimal(2))
    assert testing.judge(average_position, order=order).approved
    verdict = testing.judge(average_position, order=order, settings=strict)
    assert (verdict.approved, verdict.limit) == (False, Decimal(10))
    bought = testing.purchase("1.05")
    assert not testing.judge(dust, order=bought).approved
    assert testing.judge(dust, order=bought, settings=dust.Settings(exit_buffer=Decimal(0))).approved
