"""The rehearsed Binance: ccxt works against it, and what Binance refuses, it refuses too."""

from __future__ import annotations

import http.client
import json
import math
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import ordergate_paper as paper
from ordergate import InputError, OrderStatus, Side, VenueOrder
from ordergate.clock import SystemClock
from ordergate.testing.binance import BinanceRehearsal, rehearsal, serve, signature
from ordergate.testing.loopback import LIES

API = "/api/v3"


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[BinanceRehearsal]:
    with rehearsal(tmp_path / "venue") as started:
        yield started


def stored_key(venue: BinanceRehearsal) -> list[str]:
    return Path(str(venue.settings["key_file"])).read_text(encoding="utf-8").split()


def signed(venue: BinanceRehearsal, values: dict[str, object], *, secret: str = "") -> str:
    text = urlencode({**values, "timestamp": values.get("timestamp", int(SystemClock().now() * 1000))})
    return f"{text}&signature={signature(secret or stored_key(venue)[1], text)}"


def ask(venue: BinanceRehearsal, method: str, path: str, text: str = "", *, key: str | None = None) -> tuple[int, Any]:
    """Send one request; a POST carries its parameters in the body. The status and what the answer says."""
    connection = http.client.HTTPConnection("127.0.0.1", venue.server.port, timeout=10)
    try:
        headers = {"X-MBX-APIKEY": stored_key(venue)[0] if key is None else key}
        if method == "POST":
            connection.request(method, path, text.encode(), headers)
        else:
            connection.request(method, f"{path}?{text}", headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def get(venue: BinanceRehearsal, path: str, **values: object) -> Any:
    status, answer = ask(venue, "GET", path, signed(venue, values))
    assert status == 200, answer
    return answer


def place(venue: BinanceRehearsal, **values: object) -> tuple[int, Any]:
    return ask(venue, "POST", f"{API}/order", signed(venue, values))


def market_buy(spend: str = "100", client_order_id: str = "one", **more: object) -> dict[str, object]:
    return {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "MARKET",
        "quoteOrderQty": spend,
        "newClientOrderId": client_order_id,
        **more,
    }


def limit_buy(
    amount: str = "0.001", price: str = "40000", client_order_id: str = "one", **more: object
) -> dict[str, object]:
    return {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": amount,
        "price": price,
        "newClientOrderId": client_order_id,
        **more,
    }


@pytest.fixture
def exchange(venue: BinanceRehearsal) -> Iterator[Any]:
    """The real ccxt class, turned to the venue: only the host of its addresses differs."""
    import ccxt  # type: ignore[import-untyped]  # it ships no types that mypy reads

    name, secret = stored_key(venue)
    client = ccxt.binance({"apiKey": name, "secret": secret, "options": {"fetchMarkets": ["spot"]}})
    client.number, client.enableRateLimit = str, False
    host = str(venue.settings["base_url"])
    client.urls["api"] = {
        kind: address.replace("https://api.binance.com", host)
        for kind, address in client.urls["api"].items()
        if isinstance(address, str)
    }
    yield client
    client.session.close()


# --- the real client


def test_ccxt_does_all_that_a_broker_needs(venue: BinanceRehearsal, exchange: Any) -> None:
    exchange.load_markets()
    market = exchange.market("BTC/USDT")
    assert (market["precision"]["amount"], market["limits"]["cost"]["min"]) == ("0.00001000", "5.00000000")
    assert exchange.fetch_balance()["free"]["USDT"] == "1000.00000000"
    assert exchange.fetch_bids_asks(["BTC/USDT", "ETH/USDT"])["ETH/USDT"]["ask"] == "2500.00000000"
    assert exchange.fetch_trading_fee("BTC/USDT")["taker"] == "0.001"
    assert exchange.fetch_trading_fees()["BTC/USDT"]["maker"] == "0.001"
    assert exchange.sapi_get_account_apirestrictions()["enableWithdrawals"] is False
    assert abs(exchange.fetch_time() / 1000 - SystemClock().now()) < 60

    bought = exchange.create_order("BTC/USDT", "market", "buy", None, None, {"clientOrderId": "a", "cost": "20.05"})
    assert (bought["status"], bought["clientOrderId"]) == ("closed", "a")
    assert exchange.fetch_order("", "BTC/USDT", {"origClientOrderId": "a"})["id"] == bought["id"]
    assert exchange.fetch_my_trades("BTC/USDT", params={"orderId": bought["id"]})[0]["fee"]["currency"] == "USDT"
    resting = exchange.create_order("BTC/USDT", "limit", "buy", "0.001", "40000", {"newClientOrderId": "b"})
    assert [order["clientOrderId"] for order in exchange.fetch_open_orders("BTC/USDT")] == ["b"]
    assert exchange.cancel_order(resting["id"], "BTC/USDT")["status"] == "canceled"
    assert exchange.fetch_open_orders("BTC/USDT") == []
    sold = exchange.create_order("BTC/USDT", "market", "sell", "0.001", None, {"clientOrderId": "c"})
    assert sold["cost"] == "50.00000000"
    listed = exchange.fetch_orders("BTC/USDT", since=int(SystemClock().now() * 1000) - 60_000)
    assert [(order["clientOrderId"], order["status"]) for order in listed] == [
        ("a", "closed"),
        ("b", "canceled"),
        ("c", "closed"),
    ]
    assert venue.requests() == 3
    assert [receipt.order_id for receipt in venue.orders()] == [bought["id"], resting["id"], sold["id"]]


def test_ccxt_knows_its_words(venue: BinanceRehearsal, exchange: Any) -> None:
    import ccxt

    def buy(cost: str) -> None:
        exchange.create_order("BTC/USDT", "market", "buy", None, None, {"clientOrderId": "a", "cost": cost})

    with pytest.raises(ccxt.InsufficientFunds):
        buy("5000")
    with pytest.raises(ccxt.BadRequest, match="NOTIONAL"):
        buy("4")
    with pytest.raises(ccxt.OrderNotFound):
        exchange.fetch_order("", "BTC/USDT", {"origClientOrderId": "nothing"})
    with pytest.raises(ccxt.OrderNotFound):
        exchange.cancel_order("7", "BTC/USDT")
    exchange.secret = "forged"
    with pytest.raises(ccxt.AuthenticationError):
        exchange.fetch_balance()
    assert venue.orders() == []


# --- who may ask


def test_a_forged_missing_or_foreign_signature_is_refused(venue: BinanceRehearsal) -> None:
    values = market_buy()
    name, _ = stored_key(venue)
    good = signed(venue, values)
    tampered = good.replace("quoteOrderQty=100", "quoteOrderQty=900")
    unsigned = good.partition("&signature=")[0]
    told = {
        "forged": (signed(venue, values, secret="another"), name),
        "tampered": (tampered, name),
        "unsigned": (unsigned, name),
        "no key": (good, ""),
        "other key": (good, "another"),
    }
    codes = {what: ask(venue, "POST", f"{API}/order", text, key=key) for what, (text, key) in told.items()}
    assert {what: (status, answer["code"]) for what, (status, answer) in codes.items()} == {
        "forged": (400, -1022),
        "tampered": (400, -1022),
        "unsigned": (400, -1102),
        "no key": (401, -2014),
        "other key": (401, -2015),
    }
    assert venue.requests() == 5
    assert venue.orders() == []


def test_signatures_are_those_of_the_published_example() -> None:
    # Binance's own documentation of signed requests prints this key, which opens nothing, and both signatures.
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    query = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
    body = "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    assert signature(secret, f"{query}&{body}") == "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    assert signature(secret, f"{query}{body}") == "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"


def test_a_signature_may_span_the_query_and_the_body(venue: BinanceRehearsal) -> None:
    values = limit_buy()
    query = urlencode({name: values.pop(name) for name in ("symbol", "side", "type")})
    body = urlencode({**values, "timestamp": int(SystemClock().now() * 1000)})
    right, wrong = (signature(stored_key(venue)[1], text) for text in (query + body, f"{query}&{body}"))
    path = f"{API}/order?{query}"
    assert ask(venue, "POST", path, f"{body}&signature={wrong}")[1]["code"] == -1022
    assert ask(venue, "POST", path, f"{body}&signature={right}")[0] == 200
    assert venue.orders()[0].amount == Decimal("0.001")


@pytest.mark.parametrize(
    ("off", "window", "code"),
    [(-6_000, None, -1021), (-6_000, 10_000, 200), (-61_000, 60_000, -1021), (2_000, None, -1021), (0, 60_001, -1131)],
)
def test_a_request_that_is_late_or_early_is_refused(
    venue: BinanceRehearsal, off: int, window: int | None, code: int
) -> None:
    values: dict[str, object] = {"timestamp": int(SystemClock().now() * 1000) + off}
    if window is not None:
        values["recvWindow"] = window
    status, answer = ask(venue, "GET", f"{API}/account", signed(venue, values))
    assert code == (200 if status == 200 else answer["code"])


def test_a_venue_whose_clock_is_ahead_refuses_and_says_so(tmp_path: Path) -> None:
    with rehearsal(tmp_path, clock_ahead=60) as venue:
        assert ask(venue, "GET", f"{API}/account", signed(venue, {}))[1]["code"] == -1021
        told = ask(venue, "GET", f"{API}/time")[1]["serverTime"] / 1000
        assert abs(told - 60 - SystemClock().now()) < 30


def test_a_key_may_do_what_its_permissions_say(tmp_path: Path) -> None:
    with rehearsal(tmp_path, permissions=["view", "withdraw", "transfer"]) as venue:
        status, answer = place(venue, **market_buy())
        assert (status, answer["code"]) == (401, -2015)
        told = get(venue, "/sapi/v1/account/apiRestrictions")
        assert [told[name] for name in ("enableReading", "enableSpotAndMarginTrading")] == [True, False]
        assert [told[name] for name in ("enableWithdrawals", "enableInternalTransfer")] == [True, True]
        assert venue.orders() == []


def test_a_timestamp_must_be_there_and_nothing_may_come_twice(venue: BinanceRehearsal) -> None:
    text = urlencode({"symbol": "BTCUSDT"})
    assert ask(venue, "GET", f"{API}/account", text)[1]["code"] == -1102
    assert ask(venue, "GET", f"{API}/exchangeInfo", "symbol=BTCUSDT&symbol=ETHUSDT")[1]["code"] == -1101


# --- orders


def test_c11_an_id_is_unique_while_its_order_is_open_and_no_longer(venue: BinanceRehearsal) -> None:
    _, first = place(venue, **limit_buy())
    status, again = place(venue, **limit_buy())
    assert (status, again) == (400, {"code": -2010, "msg": "Duplicate order sent."})
    ask(venue, "DELETE", f"{API}/order", signed(venue, {"symbol": "BTCUSDT", "orderId": first["orderId"]}))
    status, second = place(venue, **limit_buy())
    assert status == 200
    assert second["orderId"] > first["orderId"]
    assert len(venue.orders()) == 2
    found = get(venue, f"{API}/order", symbol="BTCUSDT", origClientOrderId="one")
    assert found["orderId"] == second["orderId"]  # the newest of that id


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (market_buy("5000"), -2010),
        (market_buy("4.99"), -1013),
        (market_buy("1e2"), -1100),
        (market_buy("-5"), -1100),
        (market_buy("0"), -1100),
        (market_buy(symbol="NOUSDT"), -1121),
        (market_buy(side="HOLD"), -1117),
        (market_buy(type="STOP_LOSS"), -1116),
        (market_buy(quantity="1"), -1102),
        (market_buy(price="1"), -1106),
        (market_buy(client_order_id="sp ace"), -1100),
        (market_buy(client_order_id=""), -1100),
        (market_buy(client_order_id="x" * 37), -1100),
        (market_buy(icebergQty="1"), -1104),
        (limit_buy("0.000001"), -1013),
        (limit_buy("0.001001"), -1013),
        (limit_buy(price="40000.001"), -1013),
        (limit_buy(price="60000", type="LIMIT_MAKER", timeInForce="GTC"), -1106),
        (limit_buy(timeInForce="IOC"), -1115),
        ({name: value for name, value in limit_buy().items() if name != "price"}, -1102),
        ({name: value for name, value in limit_buy().items() if name != "symbol"}, -1102),
        ({name: value for name, value in market_buy().items() if name != "quoteOrderQty"}, -1102),
    ],
)
def test_an_order_that_is_not_taken_says_why(venue: BinanceRehearsal, values: dict[str, object], code: int) -> None:
    status, answer = place(venue, **values)
    assert (status, answer["code"]) == (400, code)
    assert venue.requests() == 1
    assert venue.orders() == []


def test_an_order_that_must_rest_is_refused_where_it_would_not(venue: BinanceRehearsal) -> None:
    def maker(price: str) -> dict[str, object]:
        values = limit_buy(price=price, type="LIMIT_MAKER")
        return {name: value for name, value in values.items() if name != "timeInForce"}

    assert place(venue, **maker("50000"))[1]["msg"] == "Order would immediately match and take."
    assert place(venue, **maker("49000"))[1]["status"] == "NEW"


@pytest.mark.parametrize(
    ("kind", "has_status", "has_fills"), [("ACK", False, False), ("RESULT", True, False), ("FULL", True, True)]
)
def test_an_answer_says_as_much_as_was_asked_for(
    venue: BinanceRehearsal, kind: str, has_status: bool, has_fills: bool
) -> None:
    status, answer = place(venue, **market_buy(newOrderRespType=kind))
    assert status == 200
    assert ("status" in answer, "fills" in answer) == (has_status, has_fills)
    assert (answer["clientOrderId"], answer["symbol"]) == ("one", "BTCUSDT")


def test_a_price_that_reaches_a_resting_order_fills_it(venue: BinanceRehearsal) -> None:
    place(venue, **limit_buy())
    free = {row["asset"]: row for row in get(venue, f"{API}/account")["balances"]}
    assert Decimal(free["USDT"]["locked"]) >= 40
    venue.set_price("BTC-USDT", "39000")
    found = get(venue, f"{API}/order", symbol="BTCUSDT", origClientOrderId="one")
    assert (found["status"], found["executedQty"], found["cummulativeQuoteQty"]) == (
        "FILLED",
        "0.00100000",
        "40.00000000",
    )
    trade = get(venue, f"{API}/myTrades", symbol="BTCUSDT")[0]
    assert (trade["orderId"], trade["qty"], trade["isMaker"]) == (found["orderId"], "0.00100000", True)


def test_the_rest_of_a_market_order_expires(venue: BinanceRehearsal) -> None:
    paper.set_price(venue.dialect.paper, "BTC-USDT", "50000", liquidity="0.001")
    _, answer = place(venue, **market_buy())
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.00100000")


def test_a_cancel_has_an_id_of_its_own_and_what_is_gone_is_unknown(venue: BinanceRehearsal) -> None:
    place(venue, **limit_buy())

    def cancel() -> tuple[int, Any]:
        values: dict[str, object] = {"symbol": "BTCUSDT", "origClientOrderId": "one"}
        return ask(venue, "DELETE", f"{API}/order", signed(venue, values))

    status, answer = cancel()
    assert (status, answer["status"], answer["origClientOrderId"]) == (200, "CANCELED", "one")
    assert answer["clientOrderId"] != "one"
    assert cancel() == (400, {"code": -2011, "msg": "Unknown order sent."})


def test_a_market_on_a_break_takes_no_orders(venue: BinanceRehearsal) -> None:
    venue.dialect.statuses["BTCUSDT"] = "BREAK"
    assert place(venue, **market_buy())[1] == {"code": -1013, "msg": "Market is closed."}
    status, info = ask(venue, "GET", f"{API}/exchangeInfo", "symbol=BTCUSDT")
    assert (status, info["symbols"][0]["status"]) == (200, "BREAK")


def test_a_test_order_is_none(venue: BinanceRehearsal) -> None:
    assert ask(venue, "POST", f"{API}/order/test", signed(venue, market_buy())) == (200, {})
    assert (venue.requests(), venue.orders()) == (0, [])


@pytest.mark.parametrize("path", ["order/cancelReplace", "orderList/oco", "sor/order"])
def test_whatever_could_create_an_order_counts_as_one(venue: BinanceRehearsal, path: str) -> None:
    assert ask(venue, "POST", f"{API}/{path}", signed(venue, market_buy()))[1]["code"] == -1020
    assert venue.requests() == 1


# --- listings


def test_c12_listings_are_cut_at_their_limit(venue: BinanceRehearsal) -> None:
    for number in range(5):
        place(venue, **market_buy("10", f"id-{number}"))
    begin = int(SystemClock().now() * 1000) - 60_000

    def listed(**values: object) -> list[str]:
        return [row["clientOrderId"] for row in get(venue, f"{API}/allOrders", symbol="BTCUSDT", **values)]

    assert listed(limit=2) == ["id-3", "id-4"]  # the last ones
    assert listed(limit=2, startTime=begin) == ["id-0", "id-1"]  # from there on
    third = get(venue, f"{API}/order", symbol="BTCUSDT", origClientOrderId="id-2")["orderId"]
    assert listed(orderId=third) == ["id-2", "id-3", "id-4"]
    venue.dialect.page_size = 3
    assert listed(startTime=begin, limit=1000) == ["id-0", "id-1", "id-2"]
    assert get(venue, f"{API}/allOrders", symbol="ETHUSDT") == []
    many = {"symbol": "BTCUSDT", "startTime": 0, "endTime": begin}
    assert ask(venue, "GET", f"{API}/allOrders", signed(venue, many))[1]["code"] == -1127


def test_what_is_locked_is_a_balance_of_another_name(tmp_path: Path) -> None:
    with rehearsal(tmp_path, locked={"ETH": "0.5"}) as venue:
        rows = {row["asset"]: row["free"] for row in get(venue, f"{API}/account")["balances"]}
        assert rows == {"BTC": "0.01000000", "USDT": "1000.00000000", "LDETH": "0.50000000"}


def test_an_order_without_a_client_order_id_is_shown_with_one_of_the_venues(venue: BinanceRehearsal) -> None:
    values = {name: value for name, value in limit_buy().items() if name != "newClientOrderId"}
    assert place(venue, **values)[0] == 200
    order = VenueOrder(
        account="",
        symbol="BTC-USDT",
        side=Side.BUY,
        spend=None,
        amount=Decimal("0.001"),
        limit=Decimal(40_000),
        client_order_id=f"{paper.UNNAMED}1",
        send_by=math.inf,
    )
    assert paper.place_order(venue.dialect.paper, order).status is OrderStatus.OPEN
    shown = [row["clientOrderId"] for row in get(venue, f"{API}/openOrders")]
    assert len(set(shown)) == 2
    assert all(name.startswith("web_") for name in shown)


# --- lies


def test_c08_the_id_can_be_missing_moved_or_another(venue: BinanceRehearsal) -> None:
    venue.fail("no_id")
    assert "orderId" not in place(venue, **market_buy("10", "a"))[1]
    venue.fail("moved_id")
    moved = place(venue, **market_buy("10", "b"))[1]
    venue.fail("other_id")
    other = place(venue, **market_buy("10", "c"))[1]
    taken = {receipt.client_order_id: receipt.order_id for receipt in venue.orders()}
    assert "orderId" not in moved
    assert str(moved["order"]["orderId"]) == taken["b"]
    assert str(other["orderId"]) not in taken.values()
    assert other["clientOrderId"] != "c"


def test_c05_what_is_looked_up_can_have_another_size_or_be_hidden(venue: BinanceRehearsal) -> None:
    place(venue, **limit_buy())
    venue.fail("other_size", on="find")
    assert get(venue, f"{API}/order", symbol="BTCUSDT", origClientOrderId="one")["origQty"] == "0.00200000"
    venue.fail("other_size", on="find")
    assert get(venue, f"{API}/openOrders")[0]["origQty"] == "0.00200000"
    venue.fail("hidden", on="find", times=2)
    values: dict[str, object] = {"symbol": "BTCUSDT", "origClientOrderId": "one"}
    assert ask(venue, "GET", f"{API}/order", signed(venue, values))[1]["code"] == -2013
    assert get(venue, f"{API}/openOrders") == []
    assert len(get(venue, f"{API}/openOrders")) == 1


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("-2010 Account has insufficient balance for requested action.", 400, -2010),
        ("-1003 Too many requests.", 429, -1003),
        ("-1006 An unexpected response was received from the message bus. Execution status unknown.", 503, -1006),
        ("-1007 Timeout waiting for response from backend server.", 408, -1007),
        ("whatever", 503, -1000),
    ],
)
@pytest.mark.parametrize("taken", [True, False])
def test_c06_any_error_can_be_told(venue: BinanceRehearsal, text: str, status: int, code: int, taken: bool) -> None:
    venue.fail("error", text=text, taken=taken)
    got, answer = place(venue, **market_buy())
    assert (got, answer["code"]) == (status, code)
    assert len(venue.orders()) == taken


def test_a_lie_it_cannot_tell_is_refused(venue: BinanceRehearsal) -> None:
    assert venue.dialect.lies == frozenset(LIES) - {"half"}
    with pytest.raises(InputError, match="half"):
        venue.fail("half", on="find")


# --- files


def test_a_venue_that_is_started_again_knows_its_key_and_its_orders(tmp_path: Path) -> None:
    with rehearsal(tmp_path) as venue:
        path = Path(str(venue.settings["key_file"]))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        before = stored_key(venue)
        place(venue, **market_buy())
    with serve(tmp_path, 0) as venue:
        assert stored_key(venue) == before
        assert [receipt.client_order_id for receipt in venue.orders()] == ["one"]
        assert (venue.symbol, venue.at_par) == ("BTC-USDT", ("USDT",))
    (tmp_path / "binance-key.txt").write_text("only one line\n")
    with pytest.raises(InputError, match="move it away"):
        rehearsal(tmp_path)


def test_what_makes_no_sense_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use view, trade, withdraw and transfer"):
        rehearsal(tmp_path, permissions=["everything"])
