"""What the broker reads: accounts, open orders, prices, markets, fees, rights, time. Nothing doubtful is a fact."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import ordergate_coinbase as coinbase
from ordergate import BrokerError, FeesFrom, IdPromise, MarketStatus, RateLimited, VenueOrder
from ordergate.amounts import exact
from ordergate.testing.coinbase import CoinbaseRehearsal
from ordergate.testing.loopback import Reply

Make = Callable[..., VenueOrder]
Script = Callable[..., tuple[coinbase.Client, Any]]


def wallet(currency: str, available: object, hold: object = "0", **more: Any) -> dict[str, Any]:
    return {
        "currency": currency,
        "available_balance": {"value": available, "currency": currency},
        "hold": {"value": hold, "currency": currency},
        "type": "ACCOUNT_TYPE_CRYPTO",
        "ready": True,
        "active": True,
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
        **more,
    }


def account_of(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "/accounts": {"accounts": list(rows), "has_next": False, "cursor": "", "size": len(rows)},
        "/key_permissions": {"can_view": True, "can_trade": True, "can_transfer": False, "portfolio_uuid": "p-1"},
        "/orders/historical/batch": {"orders": [], "has_next": False, "cursor": ""},
        **more,
    }


def product(**changes: Any) -> dict[str, Any]:
    flags = ("is_disabled", "trading_disabled", "cancel_only", "limit_only", "post_only", "auction_mode", "view_only")
    return {
        "product_id": "BTC-USD",
        "base_currency_id": "BTC",
        "quote_currency_id": "USD",
        "product_type": "SPOT",
        "status": "online",
        "base_increment": "0.00000001",
        "quote_increment": "0.01",
        "price_increment": "0.01",
        "base_min_size": "0.00000001",
        "base_max_size": "3400",
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        **dict.fromkeys(flags, False),
        **changes,
    }


def book(bid: object = "49999.99", ask: object = "50000.01", **changes: Any) -> dict[str, Any]:
    sides = {"bids": [{"price": bid, "size": "1"}], "asks": [{"price": ask, "size": "1"}]}
    return {"product_id": "BTC-USD", **sides, "time": "2026-04-07T00:28:59.662782Z", **changes}


# --- the profile


def test_the_profile_says_what_is_known_and_from_where() -> None:
    profile = coinbase.broker_profile()

    assert (profile.fee_threshold.value, profile.fees_from) == (Decimal(5), FeesFrom.INSIDE)
    assert (profile.maker_fee.value, profile.taker_fee.value) == (Decimal("0.005"), Decimal("0.009"))
    assert all(
        figure.source and figure.as_of for figure in (profile.fee_threshold, profile.maker_fee, profile.taker_fee)
    )
    assert profile.id_promise is IdPromise.ALWAYS_UNIQUE
    assert profile.honoured >= 120, "a token lives for 120 s"
    assert "ocumented" in profile.rests_on
    assert "nferred" in profile.rests_on


# --- accounts


def test_the_account_is_all_there_is_of_it(venue: CoinbaseRehearsal, client: coinbase.Client, resting: Make) -> None:
    coinbase.place_order(client, resting())

    report = coinbase.get_account(client)

    assert report.identity == venue.dialect.portfolio
    held = {holding.currency: holding for holding in report.holdings}
    assert (held["BTC"].available, held["BTC"].hold) == (Decimal("0.01"), Decimal(0))
    assert held["USD"].available + held["USD"].hold == Decimal(1000)
    assert held["USD"].hold >= Decimal(40)
    (open_order,) = report.open_orders
    assert (open_order.symbol, open_order.amount_left, open_order.limit) == (
        "BTC-USD",
        Decimal("0.001"),
        Decimal(40000),
    )
    assert open_order.client_order_id == resting().client_order_id


def test_c12_accounts_come_in_pages_and_none_is_forgotten(venue: CoinbaseRehearsal, client: coinbase.Client) -> None:
    venue.dialect.page_size = 2
    venue.dialect.wallets = [{**wallet(f"C{number}", "1"), "uuid": f"w-{number}"} for number in range(7)]

    held = {holding.currency for holding in coinbase.get_account(client).holdings}

    assert held == {"BTC", "USD", *(f"C{number}" for number in range(7))}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"accounts": [], "has_next": True, "cursor": ""}, None),
        ({"accounts": [], "has_next": True, "cursor": "a"}, {"accounts": [], "has_next": True, "cursor": "a"}),
        ({"accounts": [], "has_next": True}, None),
        ({"accounts": [], "cursor": ""}, None),
        ({"accounts": [], "has_next": "false", "cursor": ""}, None),
        ({"accounts": None, "has_next": False, "cursor": ""}, None),
        ({"accounts": ["BTC"], "has_next": False, "cursor": ""}, None),
        ({"has_next": False, "cursor": ""}, None),
    ],
    ids=["no-cursor", "same-cursor", "cursor-missing", "no-has-next", "text-has-next", "null", "no-rows", "no-list"],
)
def test_c12_a_listing_that_is_not_whole_is_no_fact(scripted: Script, first: object, second: object) -> None:
    client, server = scripted(account_of(**{"/accounts": lambda r: second if "cursor" in r.query else first}))

    with pytest.raises(BrokerError):
        coinbase.get_account(client)
    assert len(server.requests()) <= 2, "a venue that turns in a circle is not followed"


def test_c12_an_endless_listing_ends(scripted: Script) -> None:
    count = iter(range(10_000))
    client, server = scripted(
        account_of(**{"/accounts": lambda _: {"accounts": [], "has_next": True, "cursor": str(next(count))}})
    )

    with pytest.raises(BrokerError, match="more than 100 pages"):
        coinbase.get_account(client)
    assert len(server.requests()) == 100


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "ACCOUNT_TYPE_VAULT"},
        {"type": "ACCOUNT_TYPE_STAKED"},
        {"ready": False},
        {"active": False},
        {"platform": "ACCOUNT_PLATFORM_CFM_CONSUMER"},
    ],
    ids=["vault", "staked", "not-ready", "not-active", "futures"],
)
def test_what_cannot_be_traded_is_locked_and_counts(scripted: Script, odd: dict[str, Any]) -> None:
    client, _ = scripted(account_of(wallet("ETH", "1.5", "0.25"), wallet("ETH", "2", "0.5", **odd)))

    (held,) = coinbase.get_account(client).holdings

    assert (held.available, held.hold, held.locked) == (Decimal("1.5"), Decimal("0.25"), Decimal("2.5"))


def test_usd_and_usdc_are_two_wallets(scripted: Script) -> None:
    client, _ = scripted(account_of(wallet("USD", "10", type="ACCOUNT_TYPE_FIAT"), wallet("USDC", "7")))

    held = {holding.currency: holding.available for holding in coinbase.get_account(client).holdings}

    assert held == {"USD": Decimal(10), "USDC": Decimal(7)}


@pytest.mark.parametrize("value", [1.5, 1, None, "", "-1", "NaN", "1e3", "1_000", " 1", "１", True, "Infinity", {}])
def test_a01_a04_a_figure_that_is_not_digits_as_text_is_no_fact(scripted: Script, value: object) -> None:
    client, _ = scripted(account_of(wallet("BTC", value)))

    with pytest.raises(BrokerError):
        coinbase.get_account(client)


@pytest.mark.parametrize("lacks", ["available_balance", "hold", "currency", "ready"])
def test_c08_a_wallet_that_lacks_something_is_no_fact(scripted: Script, lacks: str) -> None:
    row = wallet("BTC", "1")
    del row[lacks]
    client, _ = scripted(account_of(row))

    with pytest.raises(BrokerError, match=lacks):
        coinbase.get_account(client)


def test_the_key_names_the_portfolio_and_nothing_else_does(scripted: Script) -> None:
    answers = account_of(wallet("BTC", "1"), **{"/key_permissions": {"can_view": True, "portfolio_uuid": ""}})
    client, _ = scripted(answers)

    with pytest.raises(BrokerError, match="portfolio_uuid"):
        coinbase.get_account(client)


@pytest.mark.parametrize("status", ["OPEN", "PENDING", "QUEUED", "CANCEL_QUEUED"])
def test_whatever_can_still_fill_is_an_open_order(
    venue: CoinbaseRehearsal, client: coinbase.Client, resting: Make, status: str
) -> None:
    receipt = coinbase.place_order(client, resting())
    venue.dialect.shown_statuses[str(receipt.order_id)] = status

    assert [one.order_id for one in coinbase.get_account(client).open_orders] == [receipt.order_id]


def test_f06_orders_of_futures_are_none_of_a_spot_account(scripted: Script) -> None:
    row = {"order_id": "f-1", "product_id": "BIT-28JUL23-CDE", "product_type": "FUTURE", "side": "BUY"}
    listing = {"orders": [row], "has_next": False, "cursor": ""}
    client, _ = scripted(account_of(**{"/orders/historical/batch": listing}))

    assert coinbase.get_account(client).open_orders == ()
    assert coinbase.list_orders(client, 0.0) == []


# --- prices


def test_prices_are_of_the_moment_that_the_venue_names(scripted: Script) -> None:
    client, server = scripted({"/best_bid_ask": {"pricebooks": [book()]}})

    (price,) = coinbase.get_prices(client, ["BTC-USD", "ETH-USD"])

    assert (price.bid, price.ask) == (Decimal("49999.99"), Decimal("50000.01"))
    assert price.at == pytest.approx(1775521739.662782)
    assert server.requests()[0].query == {"product_ids": ["BTC-USD", "ETH-USD"]}


def test_no_symbols_are_no_question(scripted: Script) -> None:
    client, server = scripted({})

    assert coinbase.get_prices(client, []) == []
    assert server.requests() == ()


def test_f01_a_book_with_an_empty_side_has_no_price(scripted: Script) -> None:
    client, _ = scripted({"/best_bid_ask": {"pricebooks": [book(bids=[])]}})

    assert coinbase.get_prices(client, ["BTC-USD"]) == []


def test_f01_the_price_of_another_market_is_not_taken(scripted: Script) -> None:
    client, _ = scripted({"/best_bid_ask": {"pricebooks": [book(product_id="BTC-USDC")]}})

    assert coinbase.get_prices(client, ["BTC-USD"]) == []


@pytest.mark.parametrize(
    "books",
    [
        [book(bid=50000.0)],
        [book(ask="NaN")],
        [book(time="yesterday")],
        [book(time="2026-04-07T00:28:59")],
        [book(time=None)],
        [book(), book(bid="1")],
        None,
        [book(bids={"price": "1"})],
    ],
    ids=["float", "nan", "no-moment", "no-zone", "null-moment", "twice", "no-list", "no-levels"],
)
def test_f01_a_price_in_doubt_is_no_price(scripted: Script, books: object) -> None:
    client, _ = scripted({"/best_bid_ask": {"pricebooks": books}})

    with pytest.raises(BrokerError):
        coinbase.get_prices(client, ["BTC-USD"])


# --- markets


def test_a_market_has_the_venues_own_steps(client: coinbase.Client) -> None:
    market = coinbase.get_market(client, "BTC-USD")

    assert market is not None
    assert (market.base, market.quote, market.status) == ("BTC", "USD", MarketStatus.ONLINE)
    assert (market.amount_step, market.spend_step, market.price_step) == (
        Decimal("0.00000001"),
        Decimal("0.01"),
        Decimal("0.01"),
    )
    assert (market.min_spend, market.max_amount) == (Decimal(1), Decimal(3400))


def test_an_alias_keeps_its_own_name_and_wallet(client: coinbase.Client) -> None:
    market = coinbase.get_market(client, "BTC-USDC")

    assert market is not None
    assert (market.symbol, market.quote) == ("BTC-USDC", "USDC")


def test_a_product_that_the_venue_does_not_have_is_none(client: coinbase.Client) -> None:
    assert coinbase.get_market(client, "NOPE-USD") is None


def test_a_delisted_product_is_none(scripted: Script) -> None:
    client, _ = scripted({"/products/BTC-USD": product(status="delisted")})

    assert coinbase.get_market(client, "BTC-USD") is None


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>404</html>", 404, "text/html"),
        (404, "unknown", "the product service is away"),
        (400, "INVALID_ARGUMENT", "product_id"),
        (503, "NOT_FOUND", "product"),
        {},
        product(product_id="BTC-USDC"),
        product(quote_currency_id="USDC"),
        product(product_type="FUTURE"),
        product(base_increment=1e-8),
        product(view_only=None),
    ],
    ids=["page", "other-word", "argument", "away", "empty", "other", "quote", "future", "float", "flag"],
)
def test_f06_a_market_in_doubt_is_neither_there_nor_absent(scripted: Script, reply: object) -> None:
    client, _ = scripted({"/products/BTC-USD": reply})

    with pytest.raises(BrokerError):
        coinbase.get_market(client, "BTC-USD")


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({"trading_disabled": True}, MarketStatus.OFFLINE),
        ({"is_disabled": True}, MarketStatus.OFFLINE),
        ({"view_only": True}, MarketStatus.OFFLINE),
        ({"status": "offline"}, MarketStatus.OFFLINE),
        ({"status": ""}, MarketStatus.OFFLINE),
        ({"cancel_only": True}, MarketStatus.CANCEL_ONLY),
        ({"cancel_only": True, "limit_only": True}, MarketStatus.CANCEL_ONLY),
        ({"post_only": True}, MarketStatus.POST_ONLY),
        ({"limit_only": True}, MarketStatus.LIMIT_ONLY),
        ({"auction_mode": True}, MarketStatus.LIMIT_ONLY),
        ({"auction_mode": None}, MarketStatus.LIMIT_ONLY),  # whatever that means, it is not a plain no
    ],
)
def test_the_flags_of_a_product_say_what_can_be_done(
    scripted: Script, flags: dict[str, Any], status: MarketStatus
) -> None:
    client, _ = scripted({"/products/BTC-USD": product(**flags)})

    market = coinbase.get_market(client, "BTC-USD")

    assert market is not None
    assert market.status is status


def test_a_maximum_that_is_not_set_is_none(scripted: Script) -> None:
    client, _ = scripted({"/products/BTC-USD": product(base_max_size="", quote_max_size="0")})

    market = coinbase.get_market(client, "BTC-USD")

    assert market is not None
    assert (market.max_amount, market.max_spend) == (None, None)


# --- fees, permissions, time


def test_fees_are_the_accounts_own_fractions(client: coinbase.Client) -> None:
    maker, taker = coinbase.get_fees(client)

    assert (maker.value, taker.value) == (Decimal("0.005"), Decimal("0.009"))
    assert maker.as_of == taker.as_of != ""


def test_fees_of_a_promotion_are_not_counted_on(scripted: Script) -> None:
    tier = {"maker_fee_rate": "0.001", "taker_fee_rate": "0.002"}
    usual = {"maker_fee_rate": "0.005", "taker_fee_rate": "0.009"}
    client, _ = scripted({"/transaction_summary": {"fee_tier": tier, "fee_tier_without_promotion": usual}})

    assert [figure.value for figure in coinbase.get_fees(client)] == [Decimal("0.005"), Decimal("0.009")]


@pytest.mark.parametrize("rate", ["0.9", "0.05", "-0.001", 0.009, None, "", "NaN"])
def test_f05_a_fee_that_cannot_be_is_none(scripted: Script, rate: object) -> None:
    client, _ = scripted({"/transaction_summary": {"fee_tier": {"maker_fee_rate": "0.005", "taker_fee_rate": rate}}})

    with pytest.raises(BrokerError):
        coinbase.get_fees(client)


def test_g08_the_key_says_what_it_may_do(scripted: Script) -> None:
    may = {"can_view": True, "can_trade": False, "can_transfer": True, "portfolio_uuid": "p-1"}
    client, _ = scripted({"/key_permissions": may})

    assert coinbase.get_permissions(client) == ["view", "transfer"]


@pytest.mark.parametrize("lacks", ["can_view", "can_trade", "can_transfer"])
def test_g08_a_permission_that_is_not_told_is_not_guessed(scripted: Script, lacks: str) -> None:
    may = {"can_view": True, "can_trade": True, "can_transfer": False, "portfolio_uuid": "p-1"}
    client, _ = scripted({"/key_permissions": {name: value for name, value in may.items() if name != lacks}})

    with pytest.raises(BrokerError, match=lacks):
        coinbase.get_permissions(client)


def test_the_venues_clock_is_read_in_seconds(scripted: Script) -> None:
    client, _ = scripted(
        {"/time": {"iso": "2026-04-07T00:28:59Z", "epochSeconds": "1", "epochMillis": "1775521739662"}}
    )

    assert coinbase.get_time(client) == 1775521739.662


def test_a_venue_that_has_no_clock_to_show_cannot_tell(scripted: Script) -> None:
    client, _ = scripted({})

    assert coinbase.get_time(client) is None


# --- a venue that does not answer as it should


@pytest.mark.parametrize(
    "reply", [Reply(b"[]"), Reply(b"null"), Reply(b'"ok"'), Reply(b""), Reply(b"<html>"), Reply(b"{")]
)
def test_c05_an_answer_that_is_no_object_is_no_fact(scripted: Script, reply: Reply) -> None:
    client, _ = scripted({"/time": reply})

    with pytest.raises(BrokerError):
        coinbase.get_time(client)


def test_c14_a_venue_that_is_asked_too_often_is_to_be_left_alone(scripted: Script) -> None:
    page = Reply(b"<html>slow down</html>", 429, "text/html", {"Retry-After": "7"})
    client, server = scripted({"/time": page})

    with pytest.raises(RateLimited) as raised:
        coinbase.get_time(client)

    assert raised.value.seconds == 7
    assert len(server.requests()) == 1


@pytest.mark.parametrize("after", ["", "-1", "999999999999", "soon", "86400"])
def test_c14_a_venue_cannot_ask_to_be_left_alone_for_ever(scripted: Script, after: str) -> None:
    client, _ = scripted({"/time": Reply(b"{}", 429, headers={"Retry-After": after})})

    with pytest.raises(RateLimited) as raised:
        coinbase.get_time(client)

    assert 0 < raised.value.seconds <= 60


def test_a_good_token_that_is_refused_once_is_asked_with_anew(scripted: Script) -> None:
    refusals = iter([Reply(b"Unauthorized\n", 401, "text/plain")])
    client, server = scripted({"/time": lambda _: next(refusals, {"epochMillis": "1000"})})

    assert coinbase.get_time(client) == 1.0
    tokens = [request.headers["authorization"] for request in server.requests()]
    assert len(set(tokens)) == 2, "the second question carries a token of its own"


def test_a_token_that_is_refused_twice_is_not_asked_with_again(scripted: Script) -> None:
    client, server = scripted({"/time": Reply(b"Unauthorized\n", 401, "text/plain")})

    with pytest.raises(BrokerError, match="401"):
        coinbase.get_time(client)
    assert len(server.requests()) == 2


def test_symbols_cannot_lead_elsewhere(scripted: Script) -> None:
    client, server = scripted({})

    with pytest.raises(BrokerError):
        coinbase.get_market(client, "../accounts")
    assert server.requests() == ()


def test_questions_are_answered_exactly(scripted: Script) -> None:
    """What a float would lose is kept to the last digit, in the exact arithmetic that the gate calls brokers in."""
    client, _ = scripted(account_of(wallet("SHIB", "123456789012345678.123456789012345678")))

    with exact():
        (held,) = coinbase.get_account(client).holdings

    assert str(held.available) == "123456789012345678.123456789012345678"


def test_the_answers_of_a_venue_are_not_remembered(scripted: Script) -> None:
    answers = iter([account_of(wallet("BTC", "1")), account_of(wallet("BTC", "2"))])
    client, _ = scripted(account_of(**{"/accounts": lambda _: next(answers)["/accounts"]}))

    assert [coinbase.get_account(client).holdings[0].available for _ in range(2)] == [Decimal(1), Decimal(2)]


def test_the_order_list_is_asked_as_the_venue_allows(scripted: Script) -> None:
    """OPEN stands alone: together with another status Coinbase refuses the question."""
    client, server = scripted(account_of())

    coinbase.get_account(client)

    asked = [one.query["order_status"] for one in server.requests() if one.path.endswith("/batch")]
    assert ["OPEN"] in asked
    assert {status for statuses in asked for status in statuses} == {"OPEN", "PENDING", "QUEUED", "CANCEL_QUEUED"}
    assert all(statuses == ["OPEN"] for statuses in asked if "OPEN" in statuses)


def test_what_failed_is_told_without_a_private_name(venue: CoinbaseRehearsal, client: coinbase.Client) -> None:
    venue.fail("http", on="account", status=503)

    with pytest.raises(BrokerError) as told:
        coinbase.get_account(client)

    assert type(told.value).__name__ in coinbase.__all__
    assert "503" in str(told.value)
