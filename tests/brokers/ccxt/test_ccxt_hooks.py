"""Every hook on the three exchanges whose promises are proven, over HTTP, through ccxt itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ordergate_ccxt as broker
from ordergate import BrokerError, MarketStatus, OrderStatus, RateLimited, Side, VenueOrder
from ordergate.clock import SystemClock

Made = Callable[..., VenueOrder]


def money(venue: Any) -> str:
    return str(venue.symbol.split("-")[1])


def test_the_account_is_what_the_venue_says(venue: Any, client: broker.Client) -> None:
    report = broker.get_account(client)
    assert {one.currency: one.available for one in report.holdings} == {
        "BTC": Decimal("0.01"),
        money(venue): Decimal(1000),
    }
    assert report.open_orders == ()


def test_the_identity_stays_the_same_and_is_not_the_key(
    venue: Any, client: broker.Client, connect: Callable[..., broker.Client]
) -> None:
    identity = broker.get_account(client).identity
    assert identity == broker.get_account(connect(venue.settings)).identity
    assert not any(secret in identity for secret in client.keys.values())


def test_prices_of_what_is_known_and_nothing_else(venue: Any, client: broker.Client) -> None:
    prices = broker.get_prices(client, [venue.symbol, f"ETH-{money(venue)}", f"NOSUCH-{money(venue)}"])
    assert {price.symbol: (price.bid, price.ask) for price in prices} == {
        venue.symbol: (Decimal(50000), Decimal(50000)),
        f"ETH-{money(venue)}": (Decimal(2500), Decimal(2500)),
    }
    assert broker.get_prices(client, []) == []


@pytest.mark.parametrize(
    ("name", "steps", "least"),
    [
        ("kraken", ("0.00000001", "0.00001", "0.1"), ("0.00005", "0.5")),
        ("coinbase", ("0.00000001", "0.01", "0.01"), ("0.00000001", "1")),
        ("binance", ("0.00001", "0.00000001", "0.01"), ("0.00001", "5")),
    ],
)
def test_steps_and_minimums_are_the_venues_own(
    venue: Any, client: broker.Client, steps: tuple[str, ...], least: tuple[str, ...]
) -> None:
    market = broker.get_market(client, venue.symbol)
    assert market is not None
    assert (market.amount_step, market.spend_step, market.price_step) == tuple(map(Decimal, steps))
    assert (market.min_amount, market.min_spend) == tuple(map(Decimal, least))
    assert market.status is MarketStatus.ONLINE
    assert broker.get_market(client, f"NOSUCH-{money(venue)}") is None


@pytest.mark.parametrize("name", ["coinbase"])
def test_a_market_that_only_takes_cancels_says_so(venue: Any, client: broker.Client) -> None:
    venue.dialect.product_flags["BTC-USD"] = {"cancel_only": True}
    market = broker.get_market(client, "BTC-USD")
    assert market is not None
    assert market.status is MarketStatus.CANCEL_ONLY


@pytest.mark.parametrize("name", ["kraken"])
@pytest.mark.parametrize("status", ["limit_only", "post_only", "cancel_only", "reduce_only"])
def test_what_is_held_in_a_market_that_is_not_wholly_open_still_has_a_price(
    venue: Any, client: broker.Client, status: str
) -> None:
    venue.dialect.statuses["ETH-USD"] = status
    prices = {price.symbol: price.bid for price in broker.get_prices(client, ["BTC-USD", "ETH-USD"])}
    assert prices == {"BTC-USD": Decimal(50000), "ETH-USD": Decimal(2500)}
    market = broker.get_market(client, "ETH-USD")
    assert market is not None
    assert market.status is not MarketStatus.ONLINE


def test_a_market_that_is_closed_says_so_on_an_exchange_nobody_looked_at() -> None:
    exchange = importlib.import_module("ccxt").poloniex()
    found = {"precision": {"amount": "0.1", "price": "0.1"}, "limits": {}, "active": True, "stated": False}
    assert broker._market(exchange, "BTC-USD", found).status is MarketStatus.OFFLINE
    assert broker._market(exchange, "BTC-USD", {**found, "stated": None}).status is MarketStatus.ONLINE


@pytest.mark.parametrize("name", ["coinbase"])
def test_a_coin_that_is_delisted_has_no_market(venue: Any, client: broker.Client) -> None:
    venue.dialect.product_flags["ETH-USD"] = {"status": "delisted", "trading_disabled": True}
    assert broker.get_market(client, "ETH-USD") is None
    assert broker.get_market(client, "BTC-USD") is not None


@pytest.mark.parametrize("name", ["coinbase"])
def test_an_open_order_for_a_future_is_none_of_the_gates(
    venue: Any, client: broker.Client, order: Made, edited: Callable[..., None]
) -> None:
    broker.place_order(client, order(venue, amount="0.001", limit="40000"))
    future = {"order_id": "f", "product_id": "BIT-26DEC25-CDE", "product_type": "FUTURE", "status": "OPEN"}
    edited(venue, "/historical/batch", lambda told: told["orders"].append({**told["orders"][0], **future}))
    (resting,) = broker.get_account(client).open_orders
    assert resting.symbol == "BTC-USD"
    assert [one.symbol for one in broker.list_orders(client, SystemClock().now() - 60)] == ["BTC-USD"]


@pytest.mark.parametrize("name", ["kraken"])
def test_an_open_order_in_a_pair_that_is_gone_is_told_in_words(
    venue: Any, client: broker.Client, order: Made, edited: Callable[..., None]
) -> None:
    broker.place_order(client, order(venue, amount="0.001", limit="40000"))

    def gone(told: Any) -> None:
        for row in told["result"]["open"].values():
            row["descr"]["pair"] = "GONEUSD"

    edited(venue, "/OpenOrders", gone)
    with pytest.raises(BrokerError, match=r"kraken.*GONEUSD"):
        broker.get_account(client)


@pytest.mark.parametrize("name", ["kraken"])
def test_fees_that_are_not_told_are_missed_in_words(
    venue: Any, client: broker.Client, edited: Callable[..., None]
) -> None:
    edited(venue, "/TradeVolume", lambda told: told["result"].pop("fees_maker"))
    with pytest.raises(BrokerError, match=r"kraken does not tell .* fees .*BTC-USD"):
        broker.get_fees(client, "BTC-USD")


@pytest.mark.parametrize("name", ["coinbase"])
def test_fees_of_a_market_nobody_knows_are_missed_in_words(client: broker.Client) -> None:
    with pytest.raises(BrokerError, match=r"coinbase does not tell .* fees .*NOPE-USD"):
        broker.get_fees(client, "NOPE-USD")


def test_fees_are_the_accounts_own(name: str, client: broker.Client, venue: Any) -> None:
    maker, taker = broker.get_fees(client, venue.symbol)
    profile = broker.venue_of(name).profile(name)
    assert (maker.value, taker.value) == (profile.maker_fee.value, profile.taker_fee.value)
    assert name in taker.source


def test_the_venues_clock_is_read(client: broker.Client) -> None:
    told = broker.get_time(client)
    assert told is not None
    assert abs(told - SystemClock().now()) < 2


@pytest.mark.parametrize(
    ("name", "excess"),
    [
        ("kraken", "withdraw"),
        ("kraken", "transfer"),
        ("coinbase", "transfer"),
        ("binance", "withdraw"),
        ("binance", "transfer"),
    ],
)
def test_g08_over_powered_keys_are_seen(
    rehearse: Callable[..., Any], connect: Callable[..., broker.Client], name: str, excess: str
) -> None:
    plain = rehearse(name)
    assert broker.get_permissions(connect(plain.settings)) == ["view", "trade"]
    plain.close()
    Path(plain.settings["key_file"]).unlink()  # the next one is made with the rights it is told
    strong = rehearse(name, permissions=("view", "trade", excess))
    assert excess in (broker.get_permissions(connect(strong.settings)) or [])


LOOKS = ["query-funds", "query-open-trades", "query-closed-trades"]


@pytest.mark.parametrize(
    ("told", "allowed"),
    [
        ([*LOOKS, "modify-trades"], ["view", "trade"]),
        ([*LOOKS[:2], "modify-trades"], []),
        ([*LOOKS[1:], "modify-trades"], ["trade"]),
        ([*LOOKS, "modify-trades", "earn-funds"], ["view", "trade", "transfer"]),
        ([*LOOKS, "modify-trades", "subaccount-Transfer"], ["view", "trade", "transfer"]),
        ([*LOOKS, "modify-trades", "withdraw-funds"], ["view", "trade", "withdraw"]),
        ([*LOOKS, "modify-trades", "add-withdraw-address"], ["view", "trade", "withdraw"]),
        (["novel"], ["trade"]),
    ],
)
def test_g08_a_key_that_cannot_look_orders_up_may_not_trade(told: list[str], allowed: list[str]) -> None:
    class Exchange:
        def privatePostGetApiKeyInfo(self) -> Any:  # noqa: N802 - ccxt's own name
            return {"result": {"permissions": told}}

    permissions = broker.VENUES["kraken"].permissions
    assert permissions is not None
    assert permissions(Exchange()) == allowed


@pytest.mark.parametrize("name", ["kraken"])
def test_staked_coins_are_worth_something_and_not_for_sale(
    rehearse: Callable[..., Any], connect: Callable[..., broker.Client], name: str
) -> None:
    venue = rehearse(name, locked={"BTC": "0.005"})
    holdings = {one.currency: one for one in broker.get_account(connect(venue.settings)).holdings}
    assert set(holdings) == {"BTC", "USD"}
    assert (holdings["BTC"].available, holdings["BTC"].locked) == (Decimal("0.01"), Decimal("0.005"))


# ----------------------------------------------------------------------------------------------------------- orders


def test_a_buy_spends_exactly_what_it_was_told(venue: Any, client: broker.Client, order: Made) -> None:
    sent = order(venue, spend="20.05")
    receipt = broker.place_order(client, sent)
    (taken,) = venue.orders()
    assert (receipt.status, receipt.spend) == (OrderStatus.FILLED, Decimal("20.05"))
    assert taken.spend == Decimal("20.05")
    assert taken.client_order_id == sent.client_order_id
    assert (receipt.filled_amount, receipt.filled_value) == (taken.filled_amount, taken.filled_value)


def test_a_receipt_says_the_same_when_the_order_is_found_later(venue: Any, client: broker.Client, order: Made) -> None:
    sent = order(venue, spend="30")
    receipt = broker.place_order(client, sent)
    assert broker.find_order(client, sent) == receipt
    assert receipt.fees > 0


def test_a_sell_is_exactly_the_amount(venue: Any, client: broker.Client, order: Made) -> None:
    receipt = broker.place_order(client, order(venue, "sell", amount="0.00123"))
    assert (receipt.status, receipt.side, receipt.amount) == (OrderStatus.FILLED, Side.SELL, Decimal("0.00123"))
    assert receipt.filled_amount == Decimal("0.00123")


def test_a_limit_order_rests_is_shown_and_is_cancelled_once(venue: Any, client: broker.Client, order: Made) -> None:
    sent = order(venue, amount="0.00123", limit="40000.1")
    receipt = broker.place_order(client, sent)
    assert (receipt.status, receipt.amount, receipt.limit) == (OrderStatus.OPEN, sent.amount, sent.limit)
    report = broker.get_account(client)
    (resting,) = report.open_orders
    assert (resting.client_order_id, resting.amount_left, resting.limit) == (
        sent.client_order_id,
        sent.amount,
        sent.limit,
    )
    held = {one.currency: one.hold for one in report.holdings}
    assert held[money(venue)] >= Decimal("49.2")
    assert broker.cancel_order(client, sent).status is OrderStatus.CANCELLED
    assert broker.cancel_order(client, sent).status is OrderStatus.CANCELLED
    assert broker.get_account(client).open_orders == ()


def test_an_order_that_fills_while_it_rests_is_learnt(venue: Any, client: broker.Client, order: Made) -> None:
    sent = order(venue, amount="0.001", limit="40000")
    broker.place_order(client, sent)
    venue.set_price(venue.symbol, "39000")
    found = broker.find_order(client, sent)
    assert found is not None
    assert (found.status, found.filled_amount, found.filled_value) == (
        OrderStatus.FILLED,
        Decimal("0.001"),
        Decimal(40),
    )


def test_nothing_is_found_under_an_id_that_was_never_used(venue: Any, client: broker.Client, order: Made) -> None:
    broker.place_order(client, order(venue, spend="20"))
    assert broker.find_order(client, order(venue, spend="20")) is None


def test_an_order_that_is_not_there_cannot_be_cancelled(venue: Any, client: broker.Client, order: Made) -> None:
    with pytest.raises(BrokerError):
        broker.cancel_order(client, order(venue, amount="0.001", limit="40000"))


def test_an_order_whose_size_is_forgotten_can_be_cancelled(venue: Any, client: broker.Client, order: Made) -> None:
    sent = order(venue, amount="0.001", limit="40000")
    broker.place_order(client, sent)
    named = order(venue, id=sent.client_order_id, send_by=0.0)
    assert broker.cancel_order(client, named).status is OrderStatus.CANCELLED


def test_all_orders_since_then_and_none_before(venue: Any, client: broker.Client, order: Made) -> None:
    broker.place_order(client, order(venue, spend="20"))
    resting = order(venue, amount="0.001", limit="40000")
    broker.place_order(client, resting)
    listed = broker.list_orders(client, SystemClock().now() - 60)
    assert len(listed) == 2
    assert resting.client_order_id in {one.client_order_id for one in listed}
    assert broker.list_orders(client, SystemClock().now() + 60) == []


def test_a_venue_that_is_asked_too_often_is_left_alone(name: str, venue: Any, client: broker.Client) -> None:
    broker.get_account(client)
    texts = {"kraken": "EAPI:Rate limit exceeded"}
    if name == "kraken":
        venue.fail("error", on="account", text=texts[name])
    else:
        venue.fail("http", on="account", status=429)
    with pytest.raises(RateLimited) as limited:
        broker.get_account(client)
    assert limited.value.seconds > 0


@pytest.mark.parametrize("fault", ["cut", "html", "empty", "empty_object", "cut_body"])
def test_f02_no_balance_is_an_error_and_never_an_empty_account(venue: Any, client: broker.Client, fault: str) -> None:
    broker.get_account(client)
    venue.fail(fault, on="account")
    with pytest.raises((BrokerError, LookupError, TypeError)):
        broker.get_account(client)


def test_markets_are_loaded_once_and_no_order_waits_for_a_reload(
    venue: Any, connect: Callable[..., broker.Client], order: Made
) -> None:
    clock = _Ahead()
    client = connect(venue.settings, clock=clock)
    broker.get_market(client, venue.symbol)
    loaded = venue.server.count("market")
    broker.get_market(client, venue.symbol)
    clock.ahead = 7200
    broker.get_account(client)
    broker.place_order(client, order(venue, "sell", amount="0.001"))
    assert venue.server.count("market") == loaded
    broker.get_market(client, venue.symbol)
    assert venue.server.count("market") > loaded


class _Ahead(SystemClock):
    """A clock whose monotonic side is moved by hand."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead
