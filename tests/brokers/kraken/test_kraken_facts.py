"""What the broker reads: balances under all their names, prices, limits, fees, rights, time and orders."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from attrs import evolve, fields
from kraken_script import (  # type: ignore[import-not-found]  # this folder is on the path of its tests alone
    CLOCK,
    Scripted,
    an_order,
    connected,
    pair,
    row,
    said,
)

import ordergate_kraken as broker
import ordergate_paper as paper
from ordergate import (
    Absence,
    BrokerError,
    FeesFrom,
    Holding,
    IdPromise,
    MarketStatus,
    OrderStatus,
    RateLimited,
    Side,
)
from ordergate.testing.kraken import Budget, KrakenRehearsal, rehearsal
from ordergate.testing.loopback import Loopback, Reply, Request

RECORDED = Path(__file__).parents[2] / "recorded"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"kraken_http_{name}.json").read_bytes(), parse_float=Decimal)["result"]


def held(client: broker.Client) -> dict[str, Holding]:
    return {one.currency: one for one in broker.get_account(client).holdings}


def balance(total: str, hold: str = "0", **more: str) -> dict[str, str]:
    return {"balance": total, "hold_trade": hold, **more}


# ------------------------------------------------------------------------------------------------------ the profile


def test_the_profile_says_what_the_venue_promises() -> None:
    profile = broker.broker_profile()

    assert (profile.fee_threshold.value, profile.maker_fee.value, profile.taker_fee.value) == (
        Decimal(10),
        Decimal("0.004"),
        Decimal("0.008"),
    )
    assert (profile.fees_from, profile.id_promise, profile.absence) == (
        FeesFrom.ON_TOP,
        IdPromise.UNIQUE_WHILE_OPEN,
        Absence.LOOKUP,
    )
    assert "traded" in profile.rests_on
    assert "documented" in profile.rests_on
    assert "inferred" in profile.rests_on


def test_what_the_venue_honours_covers_the_latest_deadline_an_order_can_carry(spoken: broker.Client) -> None:
    send_by = CLOCK.now()

    # Signed in the last moment, by a clock that is 2 s behind the venue's.
    latest = broker._deadline(spoken, send_by) + 2

    assert latest <= send_by + broker.broker_profile().honoured


def test_the_page_names_every_setting_and_the_figures_of_the_profile() -> None:
    page = (Path(__file__).parents[3] / "docs" / "kraken.md").read_text(encoding="utf-8")
    profile = broker.broker_profile()

    assert [one.name for one in fields(broker.Settings) if f"| `{one.name}` |" not in page] == []
    assert f"| maker | {profile.maker_fee.value * 100:.2f} % |" in page
    assert f"| taker | {profile.taker_fee.value * 100:.2f} % |" in page
    assert f"| fee threshold | {profile.fee_threshold.value} USD |" in page


def test_facts_serve_for_as_long_as_a_starters_budget_needs(kraken: KrakenRehearsal, client: broker.Client) -> None:
    broker.get_account(client)
    before = len(kraken.server.requests())

    broker.get_account(client)

    private = [one for one in kraken.server.requests()[before:] if "/private/" in one.path]
    assert len(private) / broker.broker_profile().facts_every <= Decimal("0.34")


def test_absence_is_proved_within_a_starters_budget(kraken: KrakenRehearsal, client: broker.Client) -> None:
    """Though something else traded meanwhile, which each look has to read, and with room for facts afterwards."""
    broker.place_order(client, an_order())
    kraken.dialect.budget = Budget()
    lost = an_order()

    looks = [broker.find_order(client, lost) for _ in range(broker.broker_profile().absence_looks)]
    broker.get_account(client)

    assert looks == [None, None]
    assert kraken.dialect.budget.spent <= 13


# ------------------------------------------------------------------------------------------------------- the account


def test_an_account_has_its_holdings_holds_and_open_orders(client: broker.Client) -> None:
    order = an_order(amount="0.002", limit="40000")
    broker.place_order(client, order)

    report = broker.get_account(client)

    assert {one.currency: (one.available, one.hold) for one in report.holdings} == {
        "USD": (Decimal("919.68"), Decimal("80.32")),
        "BTC": (Decimal("0.01"), Decimal(0)),
    }
    (resting,) = report.open_orders
    assert (resting.symbol, resting.side, resting.amount_left, resting.limit, resting.client_order_id) == (
        "BTC-USD",
        Side.BUY,
        Decimal("0.002"),
        Decimal(40000),
        order.client_order_id,
    )


def test_a_new_account_has_nothing(spoken: broker.Client) -> None:
    report = broker.get_account(spoken)

    assert (report.holdings, report.open_orders) == ((), ())


def test_identity_is_the_accounts_and_every_key_of_it_has_the_same(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    first = broker.get_account(client).identity
    key_file = Path(str(kraken.settings["key_file"]))
    renamed = key_file.rename(key_file.with_name("another.key"))

    again = broker.get_account(connected(kraken.settings, key_file=renamed)).identity

    assert again == first
    assert re.fullmatch(r"kraken-account-[0-9a-f]{32}", first)


def test_identity_is_the_keys_where_the_venue_names_no_account(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["GetApiKeyInfo"] = {"permissions": []}

    assert re.fullmatch(r"kraken-key-[0-9a-f]{32}", broker.get_account(spoken).identity)


def test_what_is_staked_bonded_or_unknown_counts_and_is_never_sellable(
    spoken: broker.Client, scripted: Scripted
) -> None:
    scripted.answers["BalanceEx"] = {
        "XXBT": balance("1.0", "0.25"),
        "XBT.M": balance("2"),
        "XBT.F": balance("4"),
        "ETH.S": balance("5"),
        "DOT28.S": balance("7"),
        "XETH.B": balance("1"),
        "ZUSD.HOLD": balance("9"),
        "XBT.NEW": balance("8"),
        "WHAT": balance("3"),
        "WHAT.S": balance("6"),
        "KFEE": balance("1000"),
        "XTZ": balance("0"),
    }

    assert held(spoken) == {
        "BTC": Holding(currency="BTC", available=Decimal("0.75"), hold=Decimal("0.25"), locked=Decimal(14)),
        "ETH": Holding(currency="ETH", available=Decimal(0), locked=Decimal(6)),
        "DOT": Holding(currency="DOT", available=Decimal(0), locked=Decimal(7)),
        "USD": Holding(currency="USD", available=Decimal(0), locked=Decimal(9)),
        "WHAT": Holding(currency="WHAT", available=Decimal(0), locked=Decimal(3)),
        "WHAT.S": Holding(currency="WHAT.S", available=Decimal(0), locked=Decimal(6)),
    }


def test_flexible_balances_are_sellable_where_the_config_says_so(
    scripted: Scripted, server: Loopback, key_file: Path
) -> None:
    scripted.answers["BalanceEx"] = {"XXBT": balance("1"), "XBT.F": balance("4", "0.5"), "XBT.S": balance("2")}
    settings = {"key_file": key_file, "base_url": f"http://{server.address}", "count_flexible": True}

    assert held(connected(settings))["BTC"] == Holding(
        currency="BTC", available=Decimal("4.5"), hold=Decimal("0.5"), locked=Decimal(2)
    )


def test_credit_lines_count_as_far_as_they_are_free(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["BalanceEx"] = {"ZUSD": balance("100", "10", credit="50", credit_used="20")}

    assert held(spoken)["USD"].available == Decimal(120)


def test_dollars_and_the_coins_that_imitate_them_stay_apart(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["BalanceEx"] = {"ZUSD": balance("1"), "USDT": balance("2"), "USDC": balance("3")}

    assert {name: one.available for name, one in held(spoken).items()} == {"USD": 1, "USDT": 2, "USDC": 3}


def test_letters_are_not_cut_off_names(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["BalanceEx"] = {"XTZ": balance("1"), "XXDG": balance("2")}

    assert held(spoken).keys() == {"XTZ", "DOGE"}


@pytest.mark.parametrize(
    "half",
    [
        {"ZUSD": {"balance": "1"}},
        {"ZUSD": {"hold_trade": "1"}},
        {"ZUSD": "1"},
        {"ZUSD": balance("nan")},
        {"ZUSD": balance("1", "-1")},
        {"ZUSD": balance("1e3")},
        {"ZUSD": {"balance": 0.5, "hold_trade": None}},
        [],
        "text",
        None,
    ],
)
def test_balances_that_are_delivered_by_half_are_no_account(
    spoken: broker.Client, scripted: Scripted, half: object
) -> None:
    scripted.answers["BalanceEx"] = said(half)

    with pytest.raises(BrokerError, match="BalanceEx"):
        broker.get_account(spoken)


def test_a_balance_below_zero_is_no_account_and_is_told_in_words(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["BalanceEx"] = {"XXBT": balance("1"), "ZGBP": balance("-0.0001")}

    with pytest.raises(BrokerError) as told:
        broker.get_account(spoken)

    assert str(told.value).startswith("Kraken shows a balance of -0.0001 ZGBP, which is below zero")
    assert "settle it at Kraken" in str(told.value)


def test_an_open_order_in_a_market_without_a_table_is_no_account_and_is_told_in_words(
    spoken: broker.Client, scripted: Scripted
) -> None:
    scripted.answers["OpenOrders"] = {"open": {"OGONE1-BBBBB-CCCCCC": row(descr={"pair": "GONEUSD"})}}

    with pytest.raises(BrokerError) as told:
        broker.get_account(spoken)

    assert str(told.value).startswith("Kraken shows the order OGONE1-BBBBB-CCCCCC in GONEUSD, a market that is not in")
    assert "cancel it at Kraken" in str(told.value)


@pytest.mark.parametrize(
    "half",
    [
        {},
        {"open": []},
        {"open": {"O1": row(vol=None)}},
        {"open": {"O1": {}}},
        {"open": {"O1": row(descr={"type": "short"})}},
        {"open": {"O1": row(vol_exec="0.003")}},
        {"open": {"O1": row(cl_ord_id=7)}},
    ],
)
def test_open_orders_that_are_delivered_by_half_are_no_account(
    spoken: broker.Client, scripted: Scripted, half: object
) -> None:
    scripted.answers["OpenOrders"] = half

    try:
        report = broker.get_account(spoken)
    except BrokerError:
        return
    # More filled than there was: the gate itself refuses an amount below zero.
    assert report.open_orders[0].amount_left < 0


def test_open_orders_of_every_kind_are_told(spoken: broker.Client, scripted: Scripted) -> None:
    stop = {"ordertype": "stop-loss", "price": "30000.0"}
    scripted.answers["OpenOrders"] = {
        "open": {
            "O1": row(vol_exec="0.00050000", cl_ord_id="mine"),
            "O2": row(descr={**stop, "type": "sell"}),
            "O3": row(descr={"ordertype": "stop-loss-limit", "price2": "29000.0"}),
            "O4": row(descr={"ordertype": "trailing-stop", "price": "+5.0%"}),
            "O5": row(descr={"ordertype": "market", "price": "0"}, oflags="viqc,fciq", vol="25.00", status="pending"),
        }
    }

    told = broker.get_account(spoken).open_orders

    assert [(one.order_id, one.side, one.amount_left, one.limit, one.client_order_id) for one in told] == [
        ("O1", Side.BUY, Decimal("0.0015"), Decimal(40000), "mine"),
        ("O2", Side.SELL, Decimal("0.002"), None, None),
        ("O3", Side.BUY, Decimal("0.002"), Decimal(29000), None),
        ("O4", Side.BUY, Decimal("0.002"), None, None),
        ("O5", Side.BUY, Decimal(0), None, None),
    ]


def test_an_open_order_in_a_new_market_has_the_names_read_again(spoken: broker.Client, scripted: Scripted) -> None:
    broker.get_account(spoken)
    scripted.answers["AssetPairs"]["DOTUSD"] = pair("DOTUSD", "DOT", "ZUSD")
    scripted.answers["OpenOrders"] = {"open": {"O1": row(descr={"pair": "DOTUSD"})}}

    assert broker.get_account(spoken).open_orders[0].symbol == "DOT-USD"


# -------------------------------------------------------------------------------------------------- prices and limits


def test_prices_come_from_one_call_and_are_exact(kraken: KrakenRehearsal, client: broker.Client) -> None:
    prices = broker.get_prices(client, ["BTC-USD", "ETH-USD", "NO-USD"])

    assert [(one.symbol, one.bid) for one in prices] == [("BTC-USD", Decimal(50000)), ("ETH-USD", Decimal(2500))]
    assert all(one.ask == one.bid and one.at is None for one in prices)
    assert kraken.server.count("prices") == 1


def test_a_market_without_a_book_has_no_price(spoken: broker.Client, scripted: Scripted) -> None:
    empty = {"a": ["0.00000", "0", "0"], "b": ["1.00000", "1", "1"]}
    scripted.answers["Ticker"] = {"XXBTZUSD": empty}

    assert broker.get_prices(spoken, ["BTC-USD", "ETH-USD"]) == []


def test_a_market_that_stays_unknown_is_told_without_a_private_name(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["Ticker"] = said(None, "EQuery:Unknown asset pair")

    with pytest.raises(BrokerError) as told:
        broker.get_prices(spoken, ["BTC-USD"])

    assert type(told.value).__name__ in broker.__all__


def test_a_market_that_vanished_is_left_out_and_the_others_are_not(spoken: broker.Client, scripted: Scripted) -> None:
    assert broker.get_market(spoken, "ETH-USD") is not None
    del scripted.answers["AssetPairs"]["XETHZUSD"]

    def ticker(request: Request) -> Any:
        if "ETHUSD" in request.query["pair"][0]:
            return said(None, "EQuery:Unknown asset pair")
        return {"XXBTZUSD": {"a": ["2.0", "1", "1"], "b": ["1.0", "1", "1"]}}

    scripted.by_request["Ticker"] = ticker

    assert [one.symbol for one in broker.get_prices(spoken, ["BTC-USD", "ETH-USD"])] == ["BTC-USD"]


@pytest.mark.parametrize("half", [{"XXBTZUSD": {"a": ["1.0"]}}, {"XXBTZUSD": {"a": [], "b": []}}, {"XXBTZUSD": None}])
def test_prices_that_are_delivered_by_half_are_none(spoken: broker.Client, scripted: Scripted, half: object) -> None:
    scripted.answers["Ticker"] = half

    with pytest.raises(BrokerError, match="Ticker"):
        broker.get_prices(spoken, ["BTC-USD"])


def test_a_markets_limits_and_steps(client: broker.Client) -> None:
    market = broker.get_market(client, "BTC-USD")

    assert market is not None
    assert (market.amount_step, market.spend_step, market.price_step) == (
        Decimal("0.00000001"),
        Decimal("0.00001"),
        Decimal("0.1"),
    )
    assert (market.min_amount, market.min_spend, market.status) == (
        Decimal("0.00005"),
        Decimal("0.5"),
        MarketStatus.ONLINE,
    )
    assert broker.get_market(client, "NOSUCH-USD") is None


@pytest.mark.parametrize(
    ("word", "status"), [(one.value, one) for one in MarketStatus] + [("maintenance", MarketStatus.OFFLINE)]
)
def test_every_status_of_a_market(spoken: broker.Client, scripted: Scripted, word: str, status: MarketStatus) -> None:
    scripted.answers["AssetPairs"]["XXBTZUSD"]["status"] = word

    market = broker.get_market(spoken, "BTC-USD")

    assert market is not None
    assert market.status is status


def test_names_are_kept_for_an_hour(scripted: Scripted, spoken: broker.Client, server: Loopback) -> None:
    def asked() -> int:
        return sum(one.path.endswith("AssetPairs") for one in server.requests())

    broker.get_market(spoken, "BTC-USD")
    broker.get_market(spoken, "ETH-USD")
    assert asked() == 1
    assert spoken.names is not None
    spoken.names = evolve(spoken.names, until=CLOCK.monotonic() - 1)

    broker.get_market(spoken, "BTC-USD")

    assert asked() == 2


def test_two_markets_that_claim_one_name_are_both_refused(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["AssetPairs"]["XBTUSDNEW"] = pair("XBTUSDNEW", "XXBT", "ZUSD")

    with pytest.raises(BrokerError, match="two markets that are BTC-USD"):
        broker.get_market(spoken, "BTC-USD")


def test_a_dark_pool_is_not_its_market(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["AssetPairs"]["XXBTZUSD.d"] = pair("XBTUSD.d", "XXBT", "ZUSD", ordermin="50")

    market = broker.get_market(spoken, "BTC-USD")

    assert market is not None
    assert market.min_amount == Decimal("0.00005")


@pytest.mark.parametrize("missing", ["lot_decimals", "cost_decimals", "tick_size", "ordermin", "costmin"])
def test_a_market_without_one_of_its_limits_is_none(spoken: broker.Client, scripted: Scripted, missing: str) -> None:
    del scripted.answers["AssetPairs"]["XXBTZUSD"][missing]

    with pytest.raises(BrokerError, match="AssetPairs"):
        broker.get_market(spoken, "BTC-USD")
    assert broker.get_market(spoken, "ETH-USD") is not None


# --------------------------------------------------------------------------------------------- fees, rights and time


def test_fees_are_the_accounts_own_as_fractions(client: broker.Client) -> None:
    maker, taker = broker.get_fees(client, "BTC-USD")

    assert (maker.value, taker.value) == (Decimal("0.004"), Decimal("0.008"))
    assert "TradeVolume" in maker.source
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", taker.as_of)


def test_fees_without_a_makers_table_are_the_takers(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["TradeVolume"] = {"fees": {"XXBTZUSD": {"fee": "0.2600"}}}

    assert [one.value for one in broker.get_fees(spoken, "BTC-USD")] == [Decimal("0.0026")] * 2


def test_fees_of_another_market_are_none(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["TradeVolume"] = {"fees": {"XETHZUSD": {"fee": "0.2600"}}}

    with pytest.raises(BrokerError, match="TradeVolume"):
        broker.get_fees(spoken, "BTC-USD")


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        (("view", "trade"), {"view", "trade", "close-trades"}),
        (("view",), {"view"}),
        (("view", "trade", "withdraw"), {"view", "trade", "close-trades", "withdraw"}),
        (("view", "trade", "transfer"), {"view", "trade", "close-trades", "transfer"}),
        (("view", "trade", "add-withdraw-address"), {"view", "trade", "close-trades", "withdraw"}),
        # It could send, and not look up what became of it.
        (("query-funds", "query-open-trades", "modify-trades"), {"view"}),
    ],
)
def test_g08_over_powered_key_rights_are_told_in_the_gates_words(
    tmp_path: Path, rights: tuple[str, ...], words: set[str]
) -> None:
    with rehearsal(tmp_path, permissions=rights) as venue:
        assert set(broker.get_permissions(connected(venue.settings))) == words


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        (["Query Funds", "Create & Modify Orders"], {"view", "trade"}),
        (["Query Funds", "Withdraw Funds"], {"withdraw"}),
        (["query-funds", "Create & Modify Orders"], set()),
        ([], set()),
    ],
)
def test_g08_rights_in_other_words_are_read_for_what_must_not_be_there(
    spoken: broker.Client, scripted: Scripted, rights: list[str], words: set[str]
) -> None:
    """Where nothing of Kraken's own words is left, only what names a withdrawal is known for certain."""
    scripted.answers["GetApiKeyInfo"] = {"permissions": rights}

    told = set(broker.get_permissions(spoken))
    assert words <= told
    assert ("trade" in told) is bool(rights and "query-funds" not in rights)


def test_whose_the_key_is_and_what_it_may_is_one_question(kraken: KrakenRehearsal, client: broker.Client) -> None:
    broker.get_account(client)
    broker.get_permissions(client)

    assert kraken.server.count("permissions") == 1


@pytest.mark.parametrize("half", [{}, {"permissions": "withdraw-funds"}, {"permissions": [["withdraw-funds"]]}])
def test_rights_that_are_delivered_by_half_are_none(spoken: broker.Client, scripted: Scripted, half: object) -> None:
    scripted.answers["GetApiKeyInfo"] = half

    with pytest.raises(BrokerError, match="GetApiKeyInfo"):
        broker.get_permissions(spoken)


@pytest.mark.parametrize("ahead", [0.0, 3600.0])
def test_the_venues_time_is_told_to_half_a_second(tmp_path: Path, ahead: float) -> None:
    with rehearsal(tmp_path, clock_ahead=ahead) as venue:
        there = broker.get_time(connected(venue.settings))

    assert abs(there - CLOCK.now() - ahead) < 1.5  # half a second, and what a busy machine takes


# ------------------------------------------------------------------------------------------------- orders of all kinds


def test_all_orders_are_listed_over_all_pages(kraken: KrakenRehearsal, client: broker.Client) -> None:
    for _ in range(60):
        paper.place_order(kraken.dialect.venue, an_order(spend="3", send_by=CLOCK.now() + 60))
    for number, symbol in enumerate(("BTC-USD", "ETH-USD")):
        order = an_order(amount=f"0.00{number + 1}", limit="1000", symbol=symbol, send_by=CLOCK.now() + 60)
        paper.place_order(kraken.dialect.venue, order)

    told = broker.list_orders(client, 0.0)

    assert len(told) == 62
    assert [one.client_order_id for one in told] == [one.client_order_id for one in kraken.orders()]
    assert broker.list_orders(client, CLOCK.now() + 5) == []


def test_f03_manual_trade_of_the_app_is_told_under_the_venues_own_id(spoken: broker.Client, scripted: Scripted) -> None:
    gone = row(descr={"pair": "LUNAUSD"}, status="canceled", opentm=1688583841)
    scripted.answers["ClosedOrders"] = {"closed": {"O2": gone}, "count": 1}
    scripted.answers["OpenOrders"] = {"open": {"O1": row()}}

    told = broker.list_orders(spoken, 1688583840.0)

    assert [(one.client_order_id, one.symbol) for one in told] == [("O1", "BTC-USD"), ("O2", "LUNAUSD")]


@pytest.mark.parametrize(
    "half", [{"closed": {}}, {"closed": {}, "count": 1}, {"closed": [], "count": 0}, {"closed": {}, "count": "0"}]
)
def test_a_listing_that_is_delivered_by_half_is_none(spoken: broker.Client, scripted: Scripted, half: object) -> None:
    scripted.answers["ClosedOrders"] = half

    with pytest.raises(BrokerError, match="ClosedOrders"):
        broker.list_orders(spoken, 0.0)
    with pytest.raises(BrokerError, match="ClosedOrders"):
        broker.find_order(spoken, an_order())


def test_pages_without_an_end_are_not_read_for_ever(spoken: broker.Client, scripted: Scripted) -> None:
    def page(request: Request) -> Any:
        offset = parse_qs(request.body.decode()).get("ofs", ["0"])[0]
        return {"closed": {f"O{offset}": row(status="closed")}, "count": 1_000_000}

    scripted.by_request["ClosedOrders"] = page

    with pytest.raises(BrokerError, match="rows of ClosedOrders"):
        broker.list_orders(spoken, 0.0)


# ----------------------------------------------------------------------------------------------------- recorded answers


@pytest.fixture
def usdt(scripted: Scripted) -> Scripted:
    scripted.answers["AssetPairs"] = {
        **recorded_plain("asset_pairs"),
        "ETHUSDT": pair("ETHUSDT", "XETH", "USDT"),
    }
    scripted.answers["Ticker"] = recorded_plain("ticker")
    scripted.answers["OpenOrders"] = recorded_plain("open_orders")
    scripted.answers["ClosedOrders"] = recorded_plain("closed_orders")
    return scripted


def recorded_plain(name: str) -> Any:
    return json.loads((RECORDED / f"kraken_http_{name}.json").read_bytes())["result"]


def test_recorded_markets_and_prices_are_read(usdt: Scripted, spoken: broker.Client) -> None:
    market = broker.get_market(spoken, "BTC-USDT")
    (price,) = broker.get_prices(spoken, ["BTC-USDT"])

    assert market is not None
    assert (market.base, market.quote, market.min_amount, market.price_step) == (
        "BTC",
        "USDT",
        Decimal("0.00005"),
        Decimal("0.1"),
    )
    assert (price.bid, price.ask) == (Decimal("105944.20000"), Decimal("105944.30000"))


def test_recorded_orders_are_read(usdt: Scripted, spoken: broker.Client) -> None:
    limit, stop = broker.get_account(spoken).open_orders
    told = {one.order_id: one for one in broker.list_orders(spoken, 0.0)}

    assert (limit.symbol, limit.side, limit.amount_left, limit.limit) == (
        "BTC-USDT",
        Side.BUY,
        Decimal("0.5"),
        Decimal(29500),
    )
    assert (stop.symbol, stop.side, stop.limit) == ("ETH-USDT", Side.SELL, None)
    filled = told["O5KZFT-GH3AD-LP6TLU"]
    assert (filled.status, filled.filled_amount, filled.filled_value, filled.fees) == (
        OrderStatus.FILLED,
        Decimal("0.5"),
        Decimal(14750),
        Decimal("22.125"),
    )
    assert len(told) == 4


def test_the_venue_that_is_rehearsed_on_tells_all_that_was_recorded(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    """What the recorded answers have and the broker reads, the rehearsal has too."""
    broker.get_market(client, "BTC-USD")
    asked = next(one for one in kraken.server.requests() if one.path.endswith("AssetPairs"))
    told = json.loads(kraken.dialect.answer(asked).body)["result"]["XXBTZUSD"]

    assert recorded("asset_pairs")["XBTUSDT"].keys() - told.keys() == {"long_position_limit", "short_position_limit"}


# ------------------------------------------------------------------------------------------------ asked too often


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("EAPI:Rate limit exceeded", 30),
        ("EGeneral:Temporary lockout", 180),
        ("EService: Throttled:1", 1),
        ("EService: Throttled:never", 1),
        ("EService: Throttled:99999999999", 900),
    ],
)
def test_c14_throttled_questions_say_for_how_long(
    spoken: broker.Client, scripted: Scripted, text: str, seconds: float
) -> None:
    scripted.answers["BalanceEx"] = said(None, text)

    with pytest.raises(RateLimited) as limited:
        broker.get_account(spoken)
    assert limited.value.seconds == seconds


def test_c14_throttled_for_as_long_as_the_venue_says(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["BalanceEx"] = said(None, f"EService: Throttled: {int(CLOCK.now()) + 60}")

    with pytest.raises(RateLimited) as limited:
        broker.get_account(spoken)
    assert 30 < limited.value.seconds <= 61


def test_c14_throttled_by_a_proxy(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["Ticker"] = Reply(b"<html>slow down</html>", 429, "text/html")

    with pytest.raises(RateLimited):
        broker.get_prices(spoken, ["BTC-USD"])


def test_c14_throttled_by_the_venues_own_counter(kraken: KrakenRehearsal, client: broker.Client) -> None:
    broker.get_account(client)
    kraken.dialect.budget = Budget(most=1.0)

    with pytest.raises(RateLimited):
        broker.get_account(client)
