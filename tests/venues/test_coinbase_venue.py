"""The rehearsed Coinbase: the real SDK and ccxt work against it, and what Coinbase refuses, it refuses too."""

from __future__ import annotations

import base64
import http.client
import json
import math
import re
import ssl
import stat
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import ordergate_paper as paper
from ordergate import InputError, OrderStatus, Side, VenueOrder
from ordergate.clock import SystemClock
from ordergate.testing.coinbase import CoinbaseRehearsal, rehearsal, serve

API = "/api/v3/brokerage"
RECORDED = Path(__file__).parents[1] / "recorded"


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[CoinbaseRehearsal]:
    with rehearsal(tmp_path / "venue") as started:
        yield started


def stored_key(venue: CoinbaseRehearsal) -> tuple[str, str]:
    stored = json.loads(Path(str(venue.settings["key_file"])).read_text(encoding="utf-8"))
    return stored.get("name") or stored["id"], stored["privateKey"]


@pytest.fixture
def sdk() -> Iterator[Callable[[CoinbaseRehearsal], Any]]:
    """sdk(venue) is the real client with the venue's key."""
    opened: list[Any] = []

    def connected(venue: CoinbaseRehearsal) -> Any:
        from coinbase.rest import RESTClient  # type: ignore[import-untyped]  # it ships no types

        name, secret = stored_key(venue)
        client = RESTClient(api_key=name, api_secret=secret, base_url=venue.settings["base_url"], timeout=10)
        client.session.trust_env = False
        client.session.verify = venue.settings["ca_file"]
        opened.append(client)
        return client

    yield connected
    for client in opened:
        client.session.close()


def token(venue: CoinbaseRehearsal, method: str, path: str, *, key: Any = None, kid: str = "", **claims: Any) -> str:
    """A token as the SDK makes it, but for the claims that are named; None leaves one out."""
    name, secret = stored_key(venue)
    now = int(SystemClock().now())
    told = {
        "sub": name,
        "iss": "cdp",
        "nbf": now,
        "exp": now + 120,
        "uri": f"{method} {venue.settings['base_url']}{path}",
        **claims,
    }
    told = {claim: value for claim, value in told.items() if value is not None}
    return jwt.encode(told, key or secret, algorithm="ES256", headers={"kid": kid or name, "nonce": "1"})


def ask(
    venue: CoinbaseRehearsal, method: str, target: str, body: object = None, authorization: str | None = None
) -> tuple[int, str]:
    """Send one request, with a good token unless told another; the status and the text of the answer."""
    if authorization is None:
        authorization = f"Bearer {token(venue, method, target.partition('?')[0])}"
    context = ssl.create_default_context(cafile=str(venue.settings["ca_file"]))
    connection = http.client.HTTPSConnection("127.0.0.1", venue.server.port, timeout=10, context=context)
    try:
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        connection.request(method, target, data, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def get(venue: CoinbaseRehearsal, target: str) -> Any:
    status, text = ask(venue, "GET", f"{API}/{target}")
    assert status == 200, text
    return json.loads(text)


def market_buy(size: object = "100", client_order_id: object = "one", product: str = "BTC-USD") -> dict[str, Any]:
    return {
        "client_order_id": client_order_id,
        "product_id": product,
        "side": "BUY",
        "order_configuration": {"market_market_ioc": {"quote_size": size}},
    }


def limit_order(
    amount: str = "0.001", price: str = "40000", client_order_id: str = "one", side: str = "BUY", **more: object
) -> dict[str, Any]:
    return {
        "client_order_id": client_order_id,
        "product_id": "BTC-USD",
        "side": side,
        "order_configuration": {"limit_limit_gtc": {"base_size": amount, "limit_price": price, **more}},
    }


def place(venue: CoinbaseRehearsal, body: object) -> dict[str, Any]:
    status, text = ask(venue, "POST", f"{API}/orders", body)
    assert status == 200, text
    answer: dict[str, Any] = json.loads(text)
    return answer


def placed_id(venue: CoinbaseRehearsal, body: object) -> str:
    return str(place(venue, body)["success_response"]["order_id"])


# --- real clients


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_the_real_sdk_does_all_that_a_broker_needs(
    tmp_path: Path, sdk: Callable[[CoinbaseRehearsal], Any], algorithm: str
) -> None:
    with rehearsal(tmp_path, algorithm=algorithm) as venue:
        client = sdk(venue)
        assert client.get_api_key_permissions().can_trade is True
        rows = {row["currency"]: row for row in client.get_accounts(limit=250).to_dict()["accounts"]}
        assert rows["USD"]["available_balance"]["value"] == "1000"
        assert rows["BTC"]["available_balance"]["value"] == "0.01"
        books = client.get_best_bid_ask(product_ids=["BTC-USD", "ETH-USD"]).to_dict()["pricebooks"]
        assert [book["asks"][0]["price"] for book in books] == ["50000", "2500"]
        assert client.get_product("BTC-USD").quote_min_size == "1"

        bought = client.market_order_buy("first", "BTC-USD", quote_size="100")
        assert bought.success is True
        found = client.get_order(bought.success_response["order_id"]).to_dict()["order"]
        assert found["client_order_id"] == "first"
        assert found["status"] == "FILLED"
        assert Decimal(found["total_value_after_fees"]) <= 100

        resting = client.limit_order_gtc_buy("second", "BTC-USD", base_size="0.001", limit_price="40000")
        order_id = resting.success_response["order_id"]
        assert [row["order_id"] for row in client.list_orders(order_status=["OPEN"]).to_dict()["orders"]] == [order_id]
        assert client.cancel_orders([order_id]).to_dict()["results"][0]["success"] is True
        assert client.get_order(order_id).to_dict()["order"]["status"] == "CANCELLED"
        assert client.get_transaction_summary(product_type="SPOT").to_dict()["fee_tier"]["taker_fee_rate"] == "0.009"
        assert abs(int(client.get_unix_time().epoch_seconds) - SystemClock().now()) < 60
        assert venue.requests() == 2
        assert [receipt.client_order_id for receipt in venue.orders()] == ["first", "second"]


def test_ccxt_works_with_the_same_settings(venue: CoinbaseRehearsal) -> None:
    import ccxt  # type: ignore[import-untyped]  # it ships no types that mypy reads

    name, secret = stored_key(venue)
    url = f"https://{venue.settings['base_url']}"
    exchange = ccxt.coinbase({"apiKey": name, "secret": secret, "urls": {"api": {"rest": url}}})
    exchange.number, exchange.enableRateLimit = str, False
    exchange.validateServerSsl = venue.settings["ca_file"]
    try:
        exchange.load_markets()
        assert exchange.market("BTC/USD")["limits"]["cost"]["min"] == "1"
        place_it = exchange.create_order("BTC/USD", "limit", "buy", "0.001", "40000", {"client_order_id": "by-ccxt"})
        assert exchange.fetch_balance({"v3": True})["used"]["USD"] == "40.2"
        assert [order["clientOrderId"] for order in exchange.fetch_open_orders()] == ["by-ccxt"]
        exchange.cancel_order(place_it["id"])
        assert exchange.fetch_order(place_it["id"])["status"] == "canceled"
        assert exchange.fetch_trading_fees()["BTC/USD"]["taker"] == "0.009"
        with pytest.raises(ccxt.InsufficientFunds):
            exchange.create_order("BTC/USD", "market", "buy", None, None, {"cost": "5000", "client_order_id": "two"})
    finally:
        exchange.session.close()


def test_e01_eight_at_once_with_one_id_make_one_order(
    venue: CoinbaseRehearsal, crowd: Callable[[int, Callable[[int], Any]], list[Any]]
) -> None:
    made = crowd(8, lambda _: placed_id(venue, market_buy()))
    assert len(set(made)) == 1
    assert (venue.requests(), len(venue.orders())) == (8, 1)


# --- who may ask


def stranger() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "change",
    [
        {"key": stranger()},
        {"uri": f"GET 127.0.0.1{API}/orders"},
        {"uri": f"POST api.coinbase.com{API}/orders"},
        {"uri": None},
        {"uri": None, "uris": []},
        {"sub": "organizations/other/apiKeys/other"},
        {"kid": "organizations/other/apiKeys/other"},
        {"iss": "somebody"},
        {"iss": "coinbase-cloud"},
        {"aud": ["retail_rest_api_proxy"]},
    ],
    ids=lambda change: "-".join(f"{name}" for name in change),
)
def test_a_token_that_is_not_for_this_request_or_not_by_this_key_is_refused(
    venue: CoinbaseRehearsal, change: dict[str, Any]
) -> None:
    told = f"Bearer {token(venue, 'POST', f'{API}/orders', **change)}"
    assert ask(venue, "POST", f"{API}/orders", market_buy(), told) == (401, "Unauthorized\n")
    assert venue.requests() == 1
    assert venue.orders() == []


@pytest.mark.parametrize(
    ("begins", "ends"),
    [(-120, -60), (60, 120), (0, 3_600), (-3_600, 60), (0, -1), (0, 0), (None, 60), (-1, None), (0, "soon"), (0, 60.5)],
)
def test_a_token_that_is_not_of_now_or_lives_too_long_is_refused(
    venue: CoinbaseRehearsal, begins: Any, ends: Any
) -> None:
    now = int(SystemClock().now())
    times: dict[str, Any] = {
        name: now + told if isinstance(told, int | float) else told for name, told in (("nbf", begins), ("exp", ends))
    }
    told = f"Bearer {token(venue, 'POST', f'{API}/orders', **times)}"
    assert ask(venue, "POST", f"{API}/orders", market_buy(), told) == (401, "Unauthorized\n")
    assert venue.orders() == []


def test_a_token_for_another_path_or_method_is_refused(venue: CoinbaseRehearsal) -> None:
    for method, path in (("GET", f"{API}/orders"), ("POST", f"{API}/orders/preview"), ("POST", f"{API}/orders?a=1")):
        told = f"Bearer {token(venue, method, path)}"
        assert ask(venue, "POST", f"{API}/orders", market_buy(), told)[0] == 401
    assert venue.orders() == []


@pytest.mark.parametrize("told", ["", "Bearer", "Bearer x.y.z", "Basic YTpi", "Bearer " + "a" * 3000])
def test_what_is_no_token_is_refused(venue: CoinbaseRehearsal, told: str) -> None:
    assert ask(venue, "GET", f"{API}/accounts", None, told) == (401, "Unauthorized\n")


def test_an_unsigned_token_is_refused(venue: CoinbaseRehearsal) -> None:
    name, _ = stored_key(venue)
    claims = jwt.decode(token(venue, "GET", f"{API}/accounts"), options={"verify_signature": False})
    told = jwt.encode(claims, "", algorithm="none", headers={"kid": name})
    assert ask(venue, "GET", f"{API}/accounts", None, f"Bearer {told}")[0] == 401


def test_the_query_is_not_signed_and_a_good_token_may_come_again(venue: CoinbaseRehearsal) -> None:
    told = f"Bearer {token(venue, 'GET', f'{API}/accounts')}"
    assert ask(venue, "GET", f"{API}/accounts", None, told)[0] == 200
    assert ask(venue, "GET", f"{API}/accounts?limit=2", None, told)[0] == 200


def test_a_key_may_do_what_its_permissions_say(tmp_path: Path, sdk: Callable[[CoinbaseRehearsal], Any]) -> None:
    with rehearsal(tmp_path, permissions=["view", "transfer"]) as venue:
        client = sdk(venue)
        assert client.get_api_key_permissions().can_transfer is True
        status, text = ask(venue, "POST", f"{API}/orders", market_buy())
        assert status == 403
        assert '"error_details":"Missing required scopes"' in text
        with pytest.raises(OSError, match="Missing Required Scopes"):
            client.market_order_buy("first", "BTC-USD", quote_size="100")
        assert venue.orders() == []


def test_a_clock_that_differs_by_more_than_a_few_seconds_is_refused_and_told(tmp_path: Path) -> None:
    with rehearsal(tmp_path / "near", clock_ahead=3) as venue:
        assert ask(venue, "GET", f"{API}/accounts")[0] == 200
    for name, ahead in (("ahead", 300), ("behind", -300)):
        with rehearsal(tmp_path / name, clock_ahead=ahead) as venue:
            assert ask(venue, "GET", f"{API}/accounts")[0] == 401
            told = float(get_public(venue, "time")["epochSeconds"])
            assert abs(told - SystemClock().now() - ahead) < 60


def get_public(venue: CoinbaseRehearsal, target: str) -> Any:
    return json.loads(ask(venue, "GET", f"{API}/{target}", None, "")[1])


def test_anybody_may_ask_for_the_time_and_the_products(venue: CoinbaseRehearsal) -> None:
    assert set(get_public(venue, "time")) == {"iso", "epochSeconds", "epochMillis"}
    assert get_public(venue, "market/products/BTC-USD")["base_increment"] == "0.00000001"
    assert get_public(venue, "market/products?product_type=FUTURE")["products"] == []


# --- orders


def test_c11_a_repeated_id_is_answered_with_the_first_order_and_the_terms_of_the_second(
    venue: CoinbaseRehearsal,
) -> None:
    first = place(venue, market_buy("100"))
    again = place(venue, market_buy("50"))
    assert again["success"] is True
    assert again["success_response"]["order_id"] == first["success_response"]["order_id"]
    assert again["order_configuration"] == {"market_market_ioc": {"quote_size": "50"}}
    assert len(venue.orders()) == 1
    found = get(venue, f"orders/historical/{first['success_response']['order_id']}")["order"]
    assert found["order_configuration"] == {"market_market_ioc": {"quote_size": "100"}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        market_buy(100),
        market_buy(100.5),
        market_buy("-1"),
        market_buy("1e2"),
        market_buy("NaN"),
        market_buy(""),
        market_buy(None),
        market_buy(client_order_id=""),
        market_buy(client_order_id=None),
        market_buy(client_order_id=7),
        market_buy(product=""),
        {**market_buy(), "side": "HOLD"},
        {**market_buy(), "attached_order_configuration": {}},
        {**market_buy(), "order_configuration": {}},
        {**market_buy(), "order_configuration": None},
        {**market_buy(), "order_configuration": {"market_market_ioc": {"quote_size": "1"}, "limit_limit_gtc": {}}},
        {**market_buy(), "order_configuration": {"market_market_ioc": {"quote_size": "10", "reduce_only": True}}},
        {**limit_order(), "order_configuration": {"limit_limit_gtc": {"base_size": "0.01"}}},
        limit_order(post_only="yes"),
    ],
)
def test_a_malformed_order_is_an_http_400_and_no_order(venue: CoinbaseRehearsal, body: object) -> None:
    status, text = ask(venue, "POST", f"{API}/orders", body)
    assert status == 400
    assert json.loads(text)["error"] == "INVALID_ARGUMENT"
    assert venue.requests() == 1
    assert venue.orders() == []


@pytest.mark.parametrize(
    ("body", "error", "reason"),
    [
        (market_buy("5000"), "INSUFFICIENT_FUND", "PREVIEW_INSUFFICIENT_FUND"),
        (market_buy("0.99"), "UNKNOWN_FAILURE_REASON", "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL"),
        (market_buy("10.005"), "UNKNOWN_FAILURE_REASON", "PREVIEW_INVALID_QUOTE_SIZE_PRECISION"),
        (market_buy(product="NO-USD"), "UNKNOWN_FAILURE_REASON", "PREVIEW_INVALID_PRODUCT_ID"),
        (limit_order("0.0010000001"), "INVALID_SIZE_PRECISION", "INVALID_SIZE_PRECISION"),
        (limit_order(price="40000.001"), "INVALID_PRICE_PRECISION", "INVALID_PRICE_PRECISION"),
        (limit_order(price="60000", post_only=True), "INVALID_LIMIT_PRICE_POST_ONLY", "INVALID_LIMIT_PRICE_POST_ONLY"),
        (
            {**market_buy(), "order_configuration": {"sor_limit_ioc": {"base_size": "1", "limit_price": "1"}}},
            "UNSUPPORTED_ORDER_CONFIGURATION",
            "UNSUPPORTED_ORDER_CONFIGURATION",
        ),
    ],
)
def test_an_order_that_is_not_taken_is_a_200_that_says_why(
    venue: CoinbaseRehearsal, body: object, error: str, reason: str
) -> None:
    answer = place(venue, body)
    assert answer["success"] is False
    assert answer["error_response"]["error"] == error
    assert reason in answer["error_response"].values()
    assert "success_response" not in answer
    assert venue.orders() == []


def test_a_post_only_order_that_rests_is_shown_as_one(venue: CoinbaseRehearsal) -> None:
    order_id = placed_id(venue, limit_order(post_only=True))
    shown = get(venue, f"orders/historical/{order_id}")["order"]["order_configuration"]
    assert shown == {"limit_limit_gtc": {"base_size": "0.001", "limit_price": "40000", "post_only": True}}


def test_a_price_that_reaches_a_resting_order_fills_it_and_its_hold_goes(venue: CoinbaseRehearsal) -> None:
    order_id = placed_id(venue, limit_order())
    assert usd(venue)["hold"]["value"] == "40.2"
    venue.set_price("BTC-USD", "39000")
    order = get(venue, f"orders/historical/{order_id}")["order"]
    assert (order["status"], order["filled_size"], order["filled_value"], order["total_fees"]) == (
        "FILLED",
        "0.001",
        "40",
        "0.2",
    )
    assert usd(venue)["hold"]["value"] == "0"
    assert usd(venue)["available_balance"]["value"] == "959.8"
    (fill,) = get(venue, f"orders/historical/fills?order_ids={order_id}")["fills"]
    assert (fill["size"], fill["price"], fill["commission"]) == ("0.001", "40000", "0.2")
    assert fill["liquidity_indicator"] == "MAKER"


def usd(venue: CoinbaseRehearsal) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in get(venue, "accounts")["accounts"] if row["currency"] == "USD")
    return row


def test_a_product_that_is_closed_takes_no_orders(venue: CoinbaseRehearsal) -> None:
    venue.dialect.product_flags["BTC-USD"] = {"limit_only": True}
    assert place(venue, market_buy())["error_response"]["error"] == "ORDER_ENTRY_DISABLED"
    assert place(venue, limit_order())["success"] is True
    venue.dialect.product_flags["BTC-USD"] = {"trading_disabled": True}
    assert place(venue, limit_order(client_order_id="two"))["error_response"]["error"] == "ORDER_ENTRY_DISABLED"
    assert get(venue, "products/BTC-USD")["trading_disabled"] is True


def test_a_preview_says_what_would_go_wrong_and_places_nothing(venue: CoinbaseRehearsal) -> None:
    def preview(body: dict[str, Any]) -> dict[str, Any]:
        body = {name: value for name, value in body.items() if name != "client_order_id"}
        status, text = ask(venue, "POST", f"{API}/orders/preview", body)
        assert status == 200, text
        answer: dict[str, Any] = json.loads(text)
        return answer

    good = preview(market_buy())
    assert (good["errs"], good["order_total"], good["best_ask"]) == ([], "100", "50000")
    assert Decimal("0.85") < Decimal(good["commission_total"]) < Decimal("0.9")
    assert preview(market_buy("5000"))["errs"] == ["PREVIEW_INSUFFICIENT_FUND"]
    assert preview(market_buy("10.005"))["errs"] == ["PREVIEW_INVALID_QUOTE_SIZE_PRECISION"]
    assert venue.requests() == 0
    assert venue.orders() == []


def test_a_cancel_says_of_each_order_what_became_of_it(venue: CoinbaseRehearsal) -> None:
    resting, done = placed_id(venue, limit_order()), placed_id(venue, market_buy(client_order_id="two"))

    def cancel(ids: object) -> tuple[int, Any]:
        status, text = ask(venue, "POST", f"{API}/orders/batch_cancel", {"order_ids": ids})
        return status, json.loads(text)

    status, answer = cancel([resting, resting, done, "nothing"])
    assert status == 200
    assert [(row["success"], row["failure_reason"]) for row in answer["results"]] == [
        (True, "UNKNOWN_CANCEL_FAILURE_REASON"),
        (False, "DUPLICATE_CANCEL_REQUEST"),
        (False, "UNKNOWN_CANCEL_ORDER"),
        (False, "UNKNOWN_CANCEL_ORDER"),
    ]
    assert cancel([resting])[1]["results"][0]["failure_reason"] == "UNKNOWN_CANCEL_ORDER"
    assert [cancel(ids)[0] for ids in ([], "x", [7], ["x"] * 101)] == [400, 400, 400, 400]


# --- listings


def test_pages_are_walked_to_the_end_and_no_row_comes_twice(venue: CoinbaseRehearsal) -> None:
    venue.dialect.page_size = 3
    rows, cursor = [], ""
    while True:
        page = get(venue, f"accounts?limit=250&cursor={cursor}")
        assert len(page["accounts"]) == page["size"] <= 3
        rows += [row["uuid"] for row in page["accounts"]]
        cursor = page["cursor"]
        if not page["has_next"]:
            break
    assert cursor == ""
    assert len(rows) == len(set(rows)) > 6
    assert ask(venue, "GET", f"{API}/accounts?cursor=nowhere")[0] == 400
    assert ask(venue, "GET", f"{API}/accounts?limit=many")[0] == 400
    assert get(venue, f"accounts/{rows[0]}")["account"]["uuid"] == rows[0]
    assert ask(venue, "GET", f"{API}/accounts/nothing")[0] == 404


def test_what_is_locked_stands_in_a_vault_and_further_wallets_can_be_shown(tmp_path: Path) -> None:
    with rehearsal(tmp_path, locked={"ETH": "0.5"}) as venue:
        venue.dialect.wallets.append({"uuid": "more", "currency": "EUR", "ready": False})
        rows = get(venue, "accounts")["accounts"]
        vaults = [row for row in rows if row.get("type") == "ACCOUNT_TYPE_VAULT"]
        assert [(row["currency"], row["available_balance"]["value"]) for row in vaults] == [("ETH", "0.5")]
        assert rows[-1]["uuid"] == "more"


def test_c12_open_stands_alone_in_a_listing_and_hides_what_is_pending(venue: CoinbaseRehearsal) -> None:
    resting = placed_id(venue, limit_order())
    pending = placed_id(venue, limit_order(client_order_id="two"))
    done = placed_id(venue, market_buy(client_order_id="three"))
    venue.dialect.shown_statuses[pending] = "PENDING"

    def listed(query: str) -> list[str]:
        return [row["order_id"] for row in get(venue, f"orders/historical/batch?{query}")["orders"]]

    assert listed("") == [done, pending, resting]  # newest first
    assert listed("order_status=OPEN") == [resting]
    assert listed("order_status=PENDING&order_status=QUEUED") == [pending]
    assert listed("product_ids=ETH-USD") == []
    assert listed("product_ids=ETH-USD&product_ids=BTC-USD&order_side=SELL") == []
    assert listed(f"order_ids={done}") == [done]
    assert listed("start_date=2999-01-01T00:00:00Z") == []
    assert listed("end_date=2999-01-01T00:00:00.000Z") == [done, pending, resting]
    first = get(venue, "orders/historical/batch?limit=2")
    assert first["has_next"] is True
    assert listed(f"limit=2&cursor={first['cursor']}") == [resting]
    for bad in (
        "order_status=OPEN&order_status=FILLED",
        "order_status=SOLD",
        "start_date=today",
        "start_date=2026-01-01",
    ):
        assert ask(venue, "GET", f"{API}/orders/historical/batch?{bad}")[0] == 400


def test_an_order_without_a_client_order_id_is_shown_without_one(venue: CoinbaseRehearsal) -> None:
    order = VenueOrder(
        account="",
        symbol="BTC-USD",
        side=Side.BUY,
        spend=None,
        amount=Decimal("0.001"),
        limit=Decimal(40_000),
        client_order_id=f"{paper.UNNAMED}1",
        send_by=math.inf,
    )
    assert paper.place_order(venue.dialect.paper, order).status is OrderStatus.OPEN
    (row,) = get(venue, "orders/historical/batch")["orders"]
    assert row["client_order_id"] == ""
    assert ask(venue, "POST", f"{API}/orders/batch_cancel", {"order_ids": [row["order_id"]]})[0] == 200
    assert venue.orders()[0].status is OrderStatus.CANCELLED


# --- lies


def test_c08_the_id_can_be_missing_moved_or_another(venue: CoinbaseRehearsal) -> None:
    venue.fail("no_id")
    assert "order_id" not in place(venue, market_buy(client_order_id="a"))["success_response"]
    venue.fail("moved_id")
    moved = place(venue, market_buy(client_order_id="b"))
    assert "order_id" not in moved["success_response"]
    venue.fail("other_id")
    other = place(venue, market_buy(client_order_id="c"))["success_response"]
    taken = {receipt.client_order_id: receipt.order_id for receipt in venue.orders()}
    assert set(taken) == {"a", "b", "c"}
    assert moved["order_id"] == taken["b"]
    assert other["order_id"] not in taken.values()
    assert other["client_order_id"] != "c"


def test_c05_an_order_that_is_looked_up_can_have_another_size_or_none(venue: CoinbaseRehearsal) -> None:
    order_id = placed_id(venue, limit_order())
    for target, rows in ((order_id, "order"), ("batch", "orders")):
        venue.fail("other_size", on="find")
        answer = get(venue, f"orders/historical/{target}")[rows]
        found = answer if rows == "order" else answer[0]
        assert found["order_configuration"]["limit_limit_gtc"]["base_size"] == "0.002"
    venue.fail("hidden", on="find", times=3)
    assert ask(venue, "GET", f"{API}/orders/historical/{order_id}")[0] == 404
    assert get(venue, "orders/historical/batch")["orders"] == []
    assert get(venue, "orders/historical/fills")["fills"] == []
    assert get(venue, f"orders/historical/{order_id}")["order"]["order_id"] == order_id


def test_c12_an_order_can_show_in_its_fills_alone(venue: CoinbaseRehearsal) -> None:
    order_id = placed_id(venue, market_buy(client_order_id="a"))
    venue.dialect.unlisted = True

    assert get(venue, "orders/historical/batch")["orders"] == []
    assert get(venue, "orders/historical/batch?order_status=OPEN")["orders"] == []
    (fill,) = get(venue, "orders/historical/fills")["fills"]
    assert fill["order_id"] == order_id
    assert get(venue, f"orders/historical/{order_id}")["order"]["client_order_id"] == "a"


def test_c12_half_a_listing_says_that_there_is_more(venue: CoinbaseRehearsal) -> None:
    whole = get(venue, "accounts")["accounts"]
    venue.fail("half", on="account")
    half = get(venue, "accounts")
    assert half["accounts"] == whole[: len(whole) // 2]
    assert (half["has_next"], half["cursor"]) == (True, "")


@pytest.mark.parametrize(
    ("text", "status", "word"),
    [
        ("INTERNAL", 500, "error"),
        ("RESOURCE_EXHAUSTED", 429, "error"),
        ("UNAVAILABLE", 503, "error"),
        ("INVALID_ARGUMENT", 400, "error"),
        ("PREVIEW_STOP_PRICE_BELOW", 200, "preview_failure_reason"),
        ("INSUFFICIENT_FUND", 200, "error"),
        ("SOMETHING_NEW", 200, "new_order_failure_reason"),
    ],
)
def test_c06_any_error_can_be_told(venue: CoinbaseRehearsal, text: str, status: int, word: str) -> None:
    venue.fail("error", taken=False, text=text)
    got, answer = ask(venue, "POST", f"{API}/orders", market_buy())
    told = json.loads(answer)
    assert got == status
    assert told.get("error_response", told)[word] == text
    assert venue.orders() == []


def test_an_error_of_a_question_has_a_status_and_a_401_no_json(venue: CoinbaseRehearsal) -> None:
    venue.fail("error", on="account", text="SOMETHING")
    assert ask(venue, "GET", f"{API}/accounts")[0] == 400
    venue.fail("error", on="account", text="UNAUTHENTICATED")
    assert ask(venue, "GET", f"{API}/accounts") == (401, "Unauthorized\n")


def test_a_lie_about_a_refusal_leaves_it_as_it_is(venue: CoinbaseRehearsal) -> None:
    venue.fail("no_id")
    assert place(venue, market_buy("5000"))["success"] is False
    venue.fail("other_id")
    assert ask(venue, "POST", f"{API}/orders", market_buy(), "") == (401, "Unauthorized\n")


@pytest.mark.parametrize("path", ["orders/edit", "orders/close_position", "convert/quote", "orders"])
def test_whatever_could_create_an_order_counts_as_one(venue: CoinbaseRehearsal, path: str) -> None:
    status, _ = ask(venue, "PUT" if path == "orders" else "POST", f"{API}/{path}", {})
    assert status == 404
    assert venue.requests() == 1


# --- shapes


def same_shape(recorded: Any, ours: Any, where: str) -> None:
    """Everything that was recorded is there, and of the same kind. What is null or empty there may be anything."""
    if recorded is None or recorded in ("", []):
        return
    assert type(recorded) is type(ours), where
    if isinstance(recorded, dict):
        assert set(recorded) <= set(ours), where
        for name, value in recorded.items():
            same_shape(value, ours[name], f"{where}.{name}")
    if isinstance(recorded, list):
        for value in recorded:
            same_shape(value, ours[0], f"{where}[]")


def test_the_answers_have_the_shape_that_was_recorded(venue: CoinbaseRehearsal) -> None:
    resting = placed_id(venue, limit_order("0.01", "50000"))  # filled, so that it has fills
    asked = {
        "accounts": "accounts",
        "fills": "orders/historical/fills",
        "order": f"orders/historical/{resting}",
        "product": "products/BTC-USD",
        "product_book": "product_book?product_id=BTC-USD",
        "products": "products?product_ids=BTC-USD",
        "ticker": "products/BTC-USD/ticker",
    }
    for name, target in asked.items():
        recorded = json.loads((RECORDED / f"coinbase_http_{name}.json").read_text(encoding="utf-8"))
        same_shape(recorded, get(venue, target), name)


def test_the_listed_orders_have_the_shape_that_was_recorded(venue: CoinbaseRehearsal) -> None:
    recorded = json.loads((RECORDED / "coinbase_http_orders_list.json").read_text(encoding="utf-8"))
    placed_id(venue, limit_order())
    placed_id(venue, market_buy(client_order_id="two"))
    market, limit = get(venue, "orders/historical/batch")["orders"]
    same_shape(recorded["orders"][0], limit, "limit")
    same_shape(recorded["orders"][1], market, "market")
    assert {name for name in recorded if name != "orders"} <= set(get(venue, "orders/historical/batch"))


# --- files


def test_the_key_file_is_in_the_form_coinbase_issues_and_only_its_owners(tmp_path: Path) -> None:
    for algorithm in ("ES256", "EdDSA"):
        with rehearsal(tmp_path / algorithm, algorithm=algorithm) as venue:
            path = Path(str(venue.settings["key_file"]))
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            name, secret = stored_key(venue)
        if algorithm == "ES256":
            assert re.fullmatch(r"organizations/[0-9a-f-]{36}/apiKeys/[0-9a-f-]{36}", name)
            assert secret.startswith("-----BEGIN EC PRIVATE KEY-----\n")
        else:
            assert len(base64.b64decode(secret)) == 64


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_venue_that_is_started_again_knows_its_key_and_its_orders(tmp_path: Path, algorithm: str) -> None:
    with rehearsal(tmp_path, algorithm=algorithm) as venue:
        name, secret = stored_key(venue)
        paper.set_price(venue.dialect.paper, "BTC-USD", "51000")
    with serve(tmp_path, 0) as venue:
        assert stored_key(venue) == (name, secret)
        assert venue.dialect.key.algorithm == algorithm
        assert get_public(venue, "market/products/BTC-USD/ticker")["best_ask"] == "51000"


@pytest.mark.parametrize("stored", ["", "[]", "{}", '{"name": "a", "privateKey": "b"}', '{"name": "a"}'])
def test_a_key_file_without_a_key_is_said_to_be_none(tmp_path: Path, stored: str) -> None:
    path = tmp_path / "coinbase-key.json"
    path.write_text(stored, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(InputError, match="holds no key"):
        rehearsal(tmp_path)


def test_what_makes_no_sense_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="use view, trade and transfer"):
        rehearsal(tmp_path, permissions=["withdraw"])
    with pytest.raises(InputError, match="use ES256 or EdDSA"):
        rehearsal(tmp_path, algorithm="HS256")
    monkeypatch.setattr("ordergate.testing.coinbase_keys.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ordergate\[rehearse\]'"):
        rehearsal(tmp_path)
