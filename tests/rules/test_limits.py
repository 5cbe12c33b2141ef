"""The rules that are off unless configured: boundaries, settings, and what holds for every window and every day."""

from __future__ import annotations

import ast
import inspect
import sys
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ordergate import History, OrderStatus, PastOrder, Side, Verdict, testing
from ordergate.amounts import exact
from ordergate.binding import bind
from ordergate_rules import (
    budget,
    cooldown,
    daily_limits,
    drawdown,
    duplicate_order,
    max_notional,
    max_open_orders,
    order_rate,
    price_collar,
    symbol_list,
)

SET: Mapping[ModuleType, Any] = {
    max_notional: max_notional.Settings(Decimal(100), {"ETH-USD": Decimal(50)}),
    price_collar: price_collar.Settings(),
    order_rate: order_rate.Settings(orders=4, seconds=60),
    duplicate_order: duplicate_order.Settings(),
    daily_limits: daily_limits.Settings(orders=9, spend=Decimal(1000), loss=Decimal(50), total_loss=Decimal(80)),
    cooldown: cooldown.Settings(loss=Decimal(60), minutes=30),
    drawdown: drawdown.Settings(fall=Decimal("0.2")),
    symbol_list: symbol_list.Settings(allow=("BTC-*",)),
    max_open_orders: max_open_orders.Settings(orders=3),
    budget: budget.Settings(principals={"bot": Decimal(500)}),
}
MODULES = tuple(SET)
LOOKING_BACK = (order_rate, duplicate_order, daily_limits, cooldown, drawdown, budget)
UNTIMED = settings(deadline=None)
TINY = Decimal("0.000000000000000001")
BUY, SELL = Side.BUY, Side.SELL


def named(module: ModuleType) -> str:
    return module.__name__.split(".")[1]


def judge(module: ModuleType, **facts: Any) -> Verdict:
    facts.setdefault("settings", SET[module])
    return testing.judge(module, **facts)


# ------------------------------------------------------------------------------------------------------ every rule


@pytest.mark.parametrize("module", MODULES, ids=named)
@pytest.mark.parametrize("principal", [None, "bot", "stranger"])
def test_it_is_a_rule_as_the_gate_needs_it(module: ModuleType, principal: str | None) -> None:
    order = testing.purchase(principal=principal)
    for account in (testing.account("100"), testing.account("9000", positions={"BTC": "50", "ETH": "3000"})):
        testing.check_rule(module, order=order, account=account, settings=SET[module])
    wide = testing.market(bid="60000", ask="70000")
    testing.check_rule(module, order=order, market=wide, account=testing.account(open_orders=3), settings=SET[module])


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_it_imports_nothing_that_could_reach_a_venue_or_a_clock(module: ModuleType) -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names])
    }
    own = {"ordergate", "ordergate.amounts", "ordergate.settings", "ordergate_rules.bounds", "ordergate_rules.lately"}
    assert imported <= own | {
        "__future__",
        "attrs",
        "collections.abc",
        "datetime",
        "decimal",
        "itertools",
        "math",
        "typing",
        "zoneinfo",
    }
    asked = [ast.unparse(node) for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)]
    assert not [call for call in asked if call.endswith((".now()", ".today()", ".time()"))]


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_every_rule_that_comes_with_ordergate_is_offered_under_its_name(module: ModuleType) -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert f'\n{named(module)} = "{module.__name__}"\n' in text


# -------------------------------------------------------------------------------------------------------- settings


def bound(module: ModuleType, table: Mapping[str, object]) -> list[str]:
    return [str(problem) for problem in bind(module.Settings, table, "rules.it", Path()).problems]


@pytest.mark.parametrize(
    ("module", "table", "problem"),
    [
        (max_notional, {}, "rules.it.usd: it is missing and has no default. The most one buy may cost in USD"),
        (max_notional, {"usd": "0"}, "rules.it.usd: 0 is not usable. Give a number above 0 and at most"),
        (max_notional, {"usd": "-5"}, "rules.it.usd: -5 is not usable"),
        (max_notional, {"usd": "1e3"}, "rules.it.usd"),
        (
            max_notional,
            {"usd": "9", "symbols": {"btc-usd": "9"}},
            "rules.it.symbols: btc-usd is not usable. Write BASE-",
        ),
        (max_notional, {"usd": "9", "symbols": {"BTC-USD": "0"}}, "rules.it.symbols.BTC-USD: 0 is not usable"),
        (max_notional, {"usd": "9", "usb": "9"}, "rules.it.usb: there is no such key. Did you mean usd?"),
        (price_collar, {"away": "1.5"}, "rules.it.away: 1.5 is not usable. Give a number above 0 and at most 1"),
        (price_collar, {"spread": "0"}, "rules.it.spread: 0 is not usable"),
        (order_rate, {"orders": 5}, "rules.it.seconds: it is missing and has no default"),
        (order_rate, {"orders": 0, "seconds": 60}, "rules.it.orders: 0 is not usable"),
        (order_rate, {"orders": 5, "seconds": 2_678_401}, "rules.it.seconds: 2678401 is not usable"),
        (order_rate, {"orders": "5", "seconds": 60}, "rules.it.orders: 5 is not usable. Write a whole number without"),
        (duplicate_order, {"seconds": 0}, "rules.it.seconds: 0 is not usable"),
        (
            daily_limits,
            {},
            "rules.it.orders: nothing is not usable. Set at least one of orders, spend, loss and total_l",
        ),
        (daily_limits, {"zone": "Europe/Berlin"}, "Set at least one of orders, spend, loss and total_loss"),
        (
            daily_limits,
            {"orders": 5, "zone": "Europe/Berln"},
            "rules.it.zone: Europe/Berln is not usable. Use a name of",
        ),
        (daily_limits, {"orders": 5, "zone": "../../etc/passwd"}, "rules.it.zone"),
        (daily_limits, {"orders": 5, "zone": ""}, "rules.it.zone"),
        (daily_limits, {"loss": "0"}, "rules.it.loss: 0 is not usable"),
        (cooldown, {"loss": "5"}, "rules.it.minutes: it is missing"),
        (cooldown, {"loss": "5", "minutes": 44_641}, "rules.it.minutes: 44641 is not usable"),
        (
            cooldown,
            {"loss": "5", "minutes": 5, "scope": "markt"},
            "rules.it.scope: markt is not usable. Did you mean mark",
        ),
        (drawdown, {}, "rules.it.fall: it is missing"),
        (drawdown, {"fall": "0.1", "days": 367}, "rules.it.days: 367 is not usable"),
        (
            drawdown,
            {"fall": "0.1", "since": "22.11.2026"},
            "rules.it.since: 22.11.2026 is not usable. Write a date in quo",
        ),
        (drawdown, {"fall": "0.1", "since": "20261122"}, "rules.it.since"),
        (symbol_list, {}, "rules.it.allow: nothing is not usable. Name at least one market"),
        (symbol_list, {"allow": ["btc-*"]}, "rules.it.allow: btc-* is not usable. Write BASE-QUOTE in capital letters"),
        (symbol_list, {"allow": ["BTC*"]}, "rules.it.allow: BTC* is not usable"),
        (symbol_list, {"deny": ["BTC-*", "BTC-*"]}, "rules.it.deny: BTC-* is not usable. It stands twice"),
        (max_open_orders, {}, "rules.it.orders: it is missing"),
        (budget, {}, "rules.it.principals: it is missing"),
        (budget, {"principals": {}}, "rules.it.principals: nothing is not usable. Name at least one"),
        (budget, {"principals": {"a b": "5"}}, "rules.it.principals: a b is not usable. Use 1 to 64 ASCII letters"),
        (budget, {"principals": {"bot": "-5"}}, "rules.it.principals.bot: -5 is not usable"),
        (budget, {"principals": {"bot": "5"}, "days": 32}, "rules.it.days: 32 is not usable"),
    ],
)
def test_a_bad_setting_is_named_with_its_fix(module: ModuleType, table: dict[str, object], problem: str) -> None:
    found = bound(module, table)
    assert len(found) == 1, found
    assert problem.replace("…", "") in found[0].replace('"', "")


def test_a_machine_without_time_zones_is_told_what_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tzdata", "tzdata.zoneinfo", "tzdata.zoneinfo.Europe"):
        monkeypatch.setitem(sys.modules, name, None)
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        (problem,) = bound(daily_limits, {"orders": 5, "zone": "Europe/Vienna"})
    finally:
        zoneinfo.reset_tzpath(to=before)
    assert "pip install tzdata" in problem


# ---------------------------------------------------------------------------------------------------- max_notional


def test_a_buy_may_cost_as_much_as_allowed_fees_included_and_not_more() -> None:
    at = judge(max_notional, order=testing.purchase("90", cost="100"))
    assert at == Verdict.approve(observed=Decimal(100), limit=Decimal(100))
    over = judge(max_notional, order=testing.purchase("90", cost=Decimal(100) + TINY))
    assert (over.code, over.limit) == ("over_notional", Decimal(100))


def test_a_market_with_a_figure_of_its_own_has_that_instead() -> None:
    assert judge(max_notional, order=testing.purchase("50", symbol="ETH-USD")).approved
    verdict = judge(max_notional, order=testing.purchase("50.01", symbol="ETH-USD"))
    assert verdict.message == "It may cost 50.01 USD, fees included, over the 50.00 USD allowed in ETH-USD."


def test_attack_a_limit_far_above_the_market_does_not_make_a_large_order_small() -> None:
    assert judge(max_notional, order=testing.purchase("10", cost="1000", limit="689259800")).code == "over_notional"


# ---------------------------------------------------------------------------------------------------- price_collar


@pytest.mark.parametrize(
    ("side", "limit", "bid", "ask", "code"),
    [
        (BUY, "105", "100", "100", "approved"),
        (BUY, "105.00000001", "100", "100", "above_collar"),
        (BUY, "1", "100", "100", "approved"),
        (BUY, None, "99", "101", "approved"),
        (BUY, None, "98.99", "101.01", "wide_spread"),
        (SELL, "95", "100", "100", "approved"),
        (SELL, "94.99999999", "100", "100", "below_collar"),
        (SELL, "500", "100", "100", "approved"),
        (SELL, None, "99", "101", "approved"),
        (BUY, "100", "0", "100", "no_reference"),
        (BUY, "100", "100", "0", "no_reference"),
        (BUY, "100", "-100", "100", "no_reference"),
        (BUY, "100", "101", "100", "no_reference"),
    ],
)
def test_prices_are_held_against_the_middle(side: Side, limit: str | None, bid: str, ask: str, code: str) -> None:
    order = testing.purchase("20", symbol="ETH-BTC", side=side, limit=limit, price="1")
    verdict = judge(price_collar, order=order, market=testing.market("ETH-BTC", bid=bid, ask=ask))
    assert verdict.code == code


def test_a_market_order_is_held_against_what_it_would_pay() -> None:
    tight = price_collar.Settings(away=Decimal("0.01"), spread=Decimal("0.5"))
    market = testing.market("ETH-USD", bid="98", ask="102")
    verdict = judge(price_collar, order=testing.purchase("20", symbol="ETH-USD"), market=market, settings=tight)
    assert (verdict.code, verdict.observed, verdict.limit) == ("above_collar", Decimal(102), Decimal(101))


def test_a_market_without_any_price_is_refused() -> None:
    assert judge(price_collar, market=evolve(testing.market(), price=None)).code == "no_reference"


@UNTIMED
@given(
    bid=st.decimals(Decimal("0.00000001"), Decimal(100000), places=8),
    apart=st.decimals(0, Decimal("0.02"), places=6),
    limit=st.decimals(Decimal("0.00000001"), Decimal(200000), places=8),
    away=st.decimals(Decimal("0.001"), 1, places=3),
)
def test_the_collar_is_exact_for_every_price(bid: Decimal, apart: Decimal, limit: Decimal, away: Decimal) -> None:
    with exact():
        ask = bid * (1 + apart)
        middle = (bid + ask) / 2
    verdict = judge(
        price_collar,
        order=testing.purchase("20", symbol="ETH-USD", limit=limit),
        market=testing.market("ETH-USD", bid=bid, ask=ask),
        settings=price_collar.Settings(away=away, spread=Decimal("0.02")),
    )
    with exact():
        wide = ask - bid > middle * Decimal("0.02")
        assert verdict.approved == (not wide and limit <= middle + middle * away)


# ------------------------------------------------------------------------------------------------------ order_rate


@pytest.mark.parametrize(("agos", "passes"), [([], True), ([0, 1, 59.9], True), ([0, 1, 2, 59.9], False)])
def test_as_many_buys_as_allowed_pass_in_a_window(agos: list[float], passes: bool) -> None:
    past = testing.history(*(testing.past_order(ago=ago) for ago in agos))
    verdict = judge(order_rate, history=past)
    assert (verdict.approved, verdict.observed) == (passes, Decimal(len(agos) + 1))


def test_a_buy_counts_until_a_whole_window_has_passed() -> None:
    one = order_rate.Settings(orders=1, seconds=60)
    assert judge(order_rate, history=testing.history(testing.past_order(ago=60)), settings=one).approved
    assert not judge(order_rate, history=testing.history(testing.past_order(ago=59.999)), settings=one).approved


def test_whatever_became_of_a_buy_it_was_sent_and_exits_use_nothing_up() -> None:
    one = order_rate.Settings(orders=1, seconds=60)
    for status in (OrderStatus.REJECTED, OrderStatus.CANCELLED, OrderStatus.UNKNOWN, OrderStatus.OPEN):
        past = testing.history(testing.past_order(status=status, ago=5))
        assert judge(order_rate, history=past, settings=one).code == "too_many_orders"
    assert judge(order_rate, history=testing.history(testing.past_order(side=SELL, ago=5)), settings=one).approved


def test_attack_setting_the_clock_back_frees_nothing() -> None:
    past = testing.history(*(testing.past_order(ago=ago) for ago in (1, 2, 3, 4)), now=testing.NOW - 7200)
    assert judge(order_rate, history=past).code == "too_many_orders"


@UNTIMED
@given(agos=st.lists(st.integers(-100, 200), max_size=8), seconds=st.integers(1, 100), most=st.integers(1, 6))
def test_the_rate_counts_exactly_what_is_in_the_window(agos: list[int], seconds: int, most: int) -> None:
    past = testing.history(*(testing.past_order(ago=ago) for ago in agos))
    verdict = judge(order_rate, history=past, settings=order_rate.Settings(orders=most, seconds=seconds))
    assert verdict.approved == (1 + sum(ago < seconds for ago in agos) <= most)


# ------------------------------------------------------------------------------------------------- duplicate_order


@pytest.mark.parametrize(
    ("past", "order", "repeats"),
    [
        ({"ago": 59.9}, {}, True),
        ({"ago": 60}, {}, False),
        ({"ago": 5}, {"symbol": "ETH-USD"}, False),
        ({"ago": 5, "limit": "60000"}, {}, False),
        ({"ago": 5, "limit": "60000"}, {"limit": "60000.00"}, True),
        ({"ago": 5, "limit": "60000"}, {"limit": "60001"}, False),
        ({"ago": 5, "side": SELL}, {}, False),
        ({"ago": 5, "status": OrderStatus.REJECTED}, {}, False),
        ({"ago": 5, "status": OrderStatus.EXPIRED}, {}, False),
        ({"ago": 5, "status": OrderStatus.OPEN}, {}, True),
        ({"ago": 5, "status": OrderStatus.PARTLY_FILLED}, {}, True),
        ({"ago": 9999, "status": OrderStatus.UNKNOWN}, {}, True),
        ({"ago": 9999, "status": OrderStatus.OPEN}, {}, False),
        ({"ago": -3600}, {}, True),
    ],
)
def test_what_repeats_a_buy(past: dict[str, Any], order: dict[str, Any], repeats: bool) -> None:
    verdict = judge(
        duplicate_order, order=testing.purchase(**order), history=testing.history(testing.past_order(**past))
    )
    assert verdict.code == ("duplicate" if repeats else "approved")


@pytest.mark.parametrize("size", ["20.01", "10", "0.01", "5000"])
def test_attack_splitting_the_order_or_changing_it_by_a_cent_is_the_same_order(size: str) -> None:
    past = testing.history(testing.past_order("20", ago=5))
    assert judge(duplicate_order, order=testing.purchase(size), history=past).code == "duplicate"


# ---------------------------------------------------------------------------------------------------- daily_limits


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()


def sent(moment: float, cost: str = "100", **more: Any) -> PastOrder:
    return testing.past_order(cost, ago=testing.NOW - moment, **more)


def daily(
    now: float, *orders: PastOrder, costs: Any = None, account: Any = None, size: str = "20", **limits: Any
) -> Verdict:
    limits = {
        name: Decimal(value) if isinstance(value, str) and name != "zone" else value for name, value in limits.items()
    }
    return judge(
        daily_limits,
        order=testing.purchase(size),
        account=account or testing.account("1000"),
        history=testing.history(*orders, now=now, costs=costs),
        settings=daily_limits.Settings(**limits),
    )


def test_as_many_buys_as_allowed_pass_on_a_day_and_midnight_begins_a_new_one() -> None:
    noon, midnight = at("2026-11-22T12:00"), at("2026-11-22T00:00")
    assert daily(noon, sent(midnight), orders=2).approved
    assert daily(noon, sent(midnight), sent(noon), orders=2).code == "too_many_today"
    assert daily(noon, sent(midnight - 0.001), sent(noon), orders=2).approved
    assert daily(midnight, sent(midnight - 0.001), orders=1).approved
    assert daily(midnight, sent(midnight), orders=1).code == "too_many_today"


def test_as_much_as_allowed_may_be_spent_on_a_day() -> None:
    noon = at("2026-11-22T12:00")
    assert daily(noon, sent(noon, "80"), spend="100").approved
    over = daily(noon, sent(noon, "80"), size="20.01", spend="100")
    assert (over.code, over.observed, over.limit) == ("over_daily_spend", Decimal("100.01"), Decimal(100))
    assert daily(noon, sent(noon, "80", status=OrderStatus.REJECTED), spend="20").approved
    assert not daily(noon, sent(noon, "80", status=OrderStatus.OPEN), spend="99").approved


def test_attack_splitting_a_large_buy_spends_as_much_as_the_large_one() -> None:
    noon = at("2026-11-22T12:00")
    parts = [sent(noon, "10", name=f"part-{number}") for number in range(9)]
    assert daily(noon, *parts, size="10", spend="100").approved
    assert daily(noon, *parts, size="10.01", spend="100").code == "over_daily_spend"


def test_what_sells_of_the_day_lost_together_stops_buys_when_it_is_over_the_limit() -> None:
    noon = at("2026-11-22T12:00")
    lost = [sent(noon, side=SELL, realised=won, name=won) for won in ("-70", "20", "-50")]
    assert daily(noon, *lost, loss="100").approved
    assert daily(noon, *lost, loss="99.99").code == "over_daily_loss"
    assert daily(noon + 86_400, *lost, loss="99.99").approved


def test_an_order_that_rested_for_days_loses_on_the_day_that_it_fills() -> None:
    noon = at("2026-11-22T12:00")
    rested = sent(noon - 5 * 86_400, side=SELL, realised="-70", heard_ago=testing.NOW - noon)
    assert daily(noon, rested, loss="69").code == "over_daily_loss"


@pytest.mark.parametrize(
    ("value", "costs", "limit", "passes"),
    [
        ("600", {"ETH-USD": ("2", "700")}, "130", True),  # 30 lost by sells, 100 open
        ("600", {"ETH-USD": ("2", "700")}, "129.99", False),
        ("600", {"ETH-USD": ("1", "400"), "ETH-EUR": ("1", "300")}, "129.99", False),
        ("600", {"ETH-USD": ("4", "1400")}, "129.99", False),  # half of it was moved elsewhere
        ("600", {"SOL-USD": ("4", "1400")}, "30", True),  # all of it was
        ("900", {"ETH-USD": ("2", "700")}, "1", True),  # a gain makes up for a loss
        ("600", {}, "30", True),
    ],
)
def test_what_is_open_counts_beside_what_was_lost(value: str, costs: Any, limit: str, passes: bool) -> None:
    noon = at("2026-11-22T12:00")
    account = testing.account("2000", positions={"ETH": testing.position("ETH", value, amount="2")})
    lost = sent(noon, side=SELL, realised="-30")
    verdict = daily(noon, lost, costs=costs, account=account, total_loss=limit)
    assert verdict.code == ("approved" if passes else "over_daily_total_loss")


def test_an_approved_buy_that_is_not_seen_yet_is_neither_won_nor_lost() -> None:
    account = testing.account("2000", positions={"ETH": testing.position("ETH", "900", amount="2", claimed="300")})
    verdict = daily(at("2026-11-22T12:00"), costs={"ETH-USD": ("2", "700")}, account=account, total_loss="99.99")
    assert (verdict.code, verdict.observed) == ("over_daily_total_loss", Decimal(100))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-11-22", 24),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Africa/Cairo", "2026-04-24", 23),  # the day begins at one: there is no midnight
        ("America/Havana", "2026-11-01", 25),  # midnight comes twice
        ("Asia/Kathmandu", "2026-11-22", 24),
    ],
)
def test_days_on_which_clocks_change_have_their_own_length(zone: str, day: str, hours: float) -> None:
    begin = at(f"{day}T00:00", zone)
    inside = (begin, begin + 1, begin + hours * 3600 - 1)
    for now in inside:
        for moment in inside:
            assert daily(now, sent(moment), orders=1, zone=zone).code == "too_many_today"
        assert daily(now, sent(begin - 1), orders=1, zone=zone).approved
    assert daily(begin + hours * 3600, *map(sent, inside), orders=1, zone=zone).approved


@pytest.mark.parametrize("back", [60, 3600, 86_400, 7 * 86_400])
def test_attack_setting_the_clock_back_does_not_begin_the_day_again(back: float) -> None:
    now = at("2026-11-22T00:30")
    assert daily(now - back, sent(now), sent(now - 60), orders=2).code == "too_many_today"
    assert daily(now - back, sent(now, "100"), spend="100").code == "over_daily_spend"
    assert daily(now - back, sent(now, side=SELL, realised="-50"), loss="49").code == "over_daily_loss"


@UNTIMED
@given(
    now=st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - made aware below
    ago=st.integers(0, 100_000),
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Africa/Cairo", "Pacific/Apia"]
    ),
)
@example(now=datetime(2026, 10, 25, 0, 30), ago=3600, zone="Europe/Berlin")  # noqa: DTZ001 - as above
def test_an_order_is_of_the_day_exactly_when_the_calendar_says_so(now: datetime, ago: int, zone: str) -> None:
    moment = now.replace(tzinfo=UTC)
    before = moment - timedelta(seconds=ago)
    same = before.astimezone(zoneinfo.ZoneInfo(zone)).date() == moment.astimezone(zoneinfo.ZoneInfo(zone)).date()
    assert daily(moment.timestamp(), sent(before.timestamp()), orders=1, zone=zone).approved != same


# -------------------------------------------------------------------------------------------------------- cooldown


@pytest.mark.parametrize(
    ("orders", "passes"),
    [
        ([("-59.99", 60)], True),
        ([("-60", 60)], False),
        ([("-60", 1799.9)], False),
        ([("-60", 1800)], True),
        ([("-20", 60), ("-20", 70), ("-20", 80)], False),  # attack: one exit in three pieces
        ([("-60", 60), ("500", 50)], False),  # a gain later is no reason to hurry
        ([("60", 60)], True),
        ([("-60", -7200)], False),  # attack: the clock was set back
    ],
)
def test_buys_wait_after_a_loss(orders: list[tuple[str, float]], passes: bool) -> None:
    sells = [testing.past_order(side=SELL, realised=won, ago=ago, name=str(ago)) for won, ago in orders]
    verdict = judge(cooldown, history=testing.history(*sells))
    assert verdict.code == ("approved" if passes else "cooling_down")


def test_a_loss_in_one_market_can_leave_the_others_alone() -> None:
    one = cooldown.Settings(loss=Decimal(60), minutes=30, scope="market")
    past = testing.history(testing.past_order(side=SELL, realised="-60", ago=5, symbol="ETH-USD"))
    assert judge(cooldown, history=past, settings=one).approved
    order = testing.purchase(symbol="ETH-USD")
    assert judge(cooldown, history=past, order=order, settings=one).code == "cooling_down"
    assert judge(cooldown, history=past).code == "cooling_down"


def test_the_wait_begins_with_the_last_word_of_the_sell() -> None:
    rested = testing.past_order(side=SELL, realised="-60", ago=90_000, heard_ago=60)
    assert judge(cooldown, history=testing.history(rested)).code == "cooling_down"


# -------------------------------------------------------------------------------------------------------- drawdown


@pytest.mark.parametrize(
    ("equity", "peaks", "passes"),
    [
        ("100", {}, True),
        ("80", {"2026-11-22": "100"}, True),
        ("79.99", {"2026-11-22": "100"}, False),
        ("79.99", {"2026-11-20": "100", "2026-11-22": "80"}, False),
        ("79.99", {"2026-10-24": "100"}, False),  # the first of thirty days
        ("79.99", {"2026-10-23": "100"}, True),
        ("79.99", {"2026-12-24": "100"}, False),  # attack: the clock was set back
        ("500", {"2026-11-22": "100"}, True),
    ],
)
def test_equity_may_fall_so_far_under_its_peak(equity: str, peaks: dict[str, str], passes: bool) -> None:
    verdict = judge(drawdown, account=testing.account(equity), history=testing.history(peaks=peaks))
    assert verdict.code == ("approved" if passes else "in_drawdown")


def test_days_before_money_was_taken_out_can_be_left_out() -> None:
    past = testing.history(peaks={"2026-11-19": "100", "2026-11-20": "60"})
    since = drawdown.Settings(fall=Decimal("0.2"), since="2026-11-20")
    assert judge(drawdown, account=testing.account("50"), history=past, settings=since).approved
    assert judge(drawdown, account=testing.account("47.99"), history=past, settings=since).code == "in_drawdown"


# ----------------------------------------------------------------------------------------------------- symbol_list


@pytest.mark.parametrize(
    ("allow", "deny", "symbol", "side", "code"),
    [
        (["BTC-USD"], [], "BTC-USD", BUY, "approved"),
        (["BTC-USD"], [], "BTC-EUR", BUY, "symbol_not_allowed"),
        (["BTC-*"], [], "BTC-EUR", BUY, "approved"),
        (["*-EUR"], [], "BTC-EUR", BUY, "approved"),
        (["*-EUR"], [], "BTC-USD", BUY, "symbol_not_allowed"),
        (["BTC-*"], [], "BTCB-USD", BUY, "symbol_not_allowed"),
        ([], ["*-USDT"], "BTC-USDT", BUY, "symbol_denied"),
        ([], ["*-USDT"], "BTC-USD", BUY, "approved"),
        (["*-*"], ["DOGE-*"], "DOGE-USD", BUY, "symbol_denied"),
        (["DOGE-USD"], ["DOGE-USD"], "DOGE-USD", BUY, "symbol_denied"),
        ([], ["BTC-*"], "ETH-BTC", SELL, "symbol_denied"),  # attack: selling ETH for BTC buys BTC
        (["ETH-*"], [], "ETH-BTC", SELL, "symbol_not_allowed"),  # attack: as above
        (["BTC-*"], [], "ETH-BTC", SELL, "approved"),
        ([], ["ETH-BTC"], "ETH-BTC", SELL, "symbol_denied"),
        ([], ["ETH-*"], "ETH-BTC", BUY, "symbol_denied"),
    ],
)
def test_what_may_be_bought(allow: list[str], deny: list[str], symbol: str, side: Side, code: str) -> None:
    listed = symbol_list.Settings(allow=tuple(allow), deny=tuple(deny))
    order = testing.purchase(symbol=symbol, side=side, price="1")
    assert judge(symbol_list, order=order, settings=listed).code == code


# ------------------------------------------------------------------------------------------------- max_open_orders


@pytest.mark.parametrize(("there", "passes"), [(0, True), (2, True), (3, False), (9, False)])
def test_as_many_orders_as_allowed_may_be_open(there: int, passes: bool) -> None:
    verdict = judge(max_open_orders, account=testing.account(open_orders=there))
    assert (verdict.approved, verdict.observed, verdict.limit) == (passes, Decimal(there + 1), Decimal(3))


# ---------------------------------------------------------------------------------------------------------- budget


def spent(principal: str | None, size: str, *orders: PastOrder, now: float = testing.NOW) -> Verdict:
    return judge(budget, order=testing.purchase(size, principal=principal), history=testing.history(*orders, now=now))


def test_a_principal_may_spend_its_budget_and_not_more() -> None:
    past = testing.past_order("450", principal="bot", ago=86_399)
    assert spent("bot", "50", past).approved
    over = spent("bot", "50.01", past)
    assert (over.code, over.observed, over.limit) == ("over_budget", Decimal("500.01"), Decimal(500))
    assert spent("bot", "500", testing.past_order("450", principal="bot", ago=86_400)).approved
    assert spent("bot", "500", testing.past_order("450", principal="other", ago=5)).approved
    assert spent("bot", "500", testing.past_order("450", ago=5)).approved


@pytest.mark.parametrize("principal", [None, "Bot", "bot2", "BOT"])
def test_attack_nobody_buys_without_a_budget_of_that_very_name(principal: str | None) -> None:
    assert spent(principal, "1").code == "no_budget"


def test_attack_many_small_buys_use_the_budget_up_as_one_large_does() -> None:
    parts = [testing.past_order("50", principal="bot", ago=number, name=f"{number}") for number in range(10)]
    assert spent("bot", "0.01", *parts).code == "over_budget"
    assert spent("bot", "0.01", *parts, now=testing.NOW - 3600).code == "over_budget"  # and the clock is set back


@UNTIMED
@given(costs=st.lists(st.tuples(st.integers(1, 200), st.integers(0, 200_000)), max_size=8), size=st.integers(1, 500))
def test_a_budget_adds_up_exactly_what_is_in_its_days(costs: list[tuple[int, int]], size: int) -> None:
    past = [testing.past_order(cost, principal="bot", ago=ago, name=str(n)) for n, (cost, ago) in enumerate(costs)]
    used = sum(cost for cost, ago in costs if ago < 86_400)
    assert spent("bot", str(size), *past).approved == (used + size <= 500)


# ------------------------------------------------------------------------------------------------------ all of them


@pytest.mark.parametrize("module", LOOKING_BACK, ids=named)
def test_an_empty_past_stops_nobody(module: ModuleType) -> None:
    order = testing.purchase(principal="bot")
    assert judge(module, order=order, history=History(), account=testing.account("1000")).approved


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_its_settings_can_be_recorded_and_read_back(module: ModuleType) -> None:
    records = import_module("ordergate.records")
    assert records.from_plain(records.to_plain(SET[module]), module.Settings) == SET[module]


def test_of_several_limits_of_a_day_the_one_that_is_over_is_named() -> None:
    noon = at("2026-11-22T12:00")
    lost = sent(noon, side=SELL, realised="-50")
    verdict = daily(noon, sent(noon, "80"), lost, orders=5, spend="1000", loss="49")
    assert verdict.code == "over_daily_loss"
    both = daily(noon, sent(noon, "80"), lost, orders=1, spend="50", loss="60")
    assert both.code == "too_many_today"
    assert daily(noon, sent(noon, "80"), lost, orders=5, spend="1000", loss="50") == Verdict.approve(
        observed=Decimal(2), limit=Decimal(5)
    )


def test_the_largest_settings_are_taken() -> None:
    assert bound(cooldown, {"loss": "0.01", "minutes": 44_640}) == []
    assert bound(order_rate, {"orders": 1_000_000, "seconds": 2_678_400}) == []
    assert bound(max_notional, {"usd": "1000000000000", "symbols": {"BTC-USD": "1000000000000"}}) == []
    assert bound(drawdown, {"fall": "1", "days": 366}) == []
    assert bound(budget, {"principals": {"x": "0.01"}, "days": 31}) == []


@pytest.mark.parametrize(
    ("module", "facts", "message"),
    [
        (
            price_collar,
            {"order": testing.purchase(limit="110"), "market": testing.market(bid="100")},
            "Its price of 110.00 USD is over 105.00, which is 5 % from the middle price.",
        ),
        (
            price_collar,
            {"market": testing.market(bid="95", ask="105")},
            "Bid and ask of BTC-USD are 10.00 USD apart, over 2.00, which is 2 % of the middle price.",
        ),
        (
            order_rate,
            {"history": testing.history(*(testing.past_order(ago=ago) for ago in range(4)))},
            "It would be buy number 5 within 60 s, over the 4 allowed.",
        ),
        (
            duplicate_order,
            {"history": testing.history(testing.past_order(ago=7, status=OrderStatus.OPEN, name="a"))},
            "Order a of 7 s ago, open, has the same market, side and limit; a repeat is allowed after 60 s.",
        ),
        (
            duplicate_order,
            {"history": testing.history(testing.past_order(ago=7, status=OrderStatus.PARTLY_FILLED, name="a"))},
            "Order a of 7 s ago, partly filled, has the same market, side and limit; a repeat is allowed after 60 s.",
        ),
        (
            cooldown,
            {"history": testing.history(testing.past_order(side=SELL, realised="-61.5"))},
            "Sells have lost 61.50 USD in the last 30 minutes; buys wait from a loss of 60.00 USD on.",
        ),
        (
            cooldown,
            {
                "history": testing.history(testing.past_order(side=SELL, realised="-61.5")),
                "settings": cooldown.Settings(loss=Decimal(60), minutes=30, scope="market"),
            },
            "Sells in BTC-USD have lost 61.50 USD in the last 30 minutes; buys wait from a loss of 60.00 USD on.",
        ),
        (
            drawdown,
            {"account": testing.account("70"), "history": testing.history(peaks={"2026-11-20": "100"})},
            "The equity of 70.00 USD is under 80.00 USD, 20 % below the peak of 100.00 USD since 2026-10-24.",
        ),
        (
            max_open_orders,
            {"account": testing.account(open_orders=3)},
            "It would be open order number 4, over the 3 allowed.",
        ),
        (budget, {}, "It does not say who asks; budgets are for bot."),
        (budget, {"order": testing.purchase(principal="x")}, "x has no budget; budgets are for bot."),
        (
            budget,
            {"order": testing.purchase("501", principal="bot")},
            "bot would have spent 501.00 USD in 1 x 24 hours, over its budget of 500.00 USD.",
        ),
        (
            daily_limits,
            {"order": testing.purchase("1001")},
            "1001.00 USD would be spent today, over the 1000.00 USD allowed.",
        ),
        (symbol_list, {"order": testing.purchase(symbol="ETH-USD")}, "ETH-USD is not among what is allowed: BTC-*."),
    ],
)
def test_what_people_read(module: ModuleType, facts: dict[str, Any], message: str) -> None:
    assert judge(module, **facts).message == message


def test_a_repeat_of_what_nobody_knows_the_outcome_of_says_so() -> None:
    past = testing.history(testing.past_order(ago=7, status=OrderStatus.UNKNOWN))
    assert "of 7 s ago, of unknown outcome, has" in judge(duplicate_order, history=past).message
