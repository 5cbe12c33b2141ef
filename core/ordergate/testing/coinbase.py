"""Coinbase Advanced on loopback, for rehearsing: its REST interface in front of a paper venue.

The paper venue is the exchange: funds, holds, fills, minimums, and the promise that a client order id is never used
twice. This module only authenticates and translates. It speaks TLS with a certificate of its own, and checks the token
of every request as Coinbase does. It never speaks to a network.

    with rehearsal(folder) as venue:
        client = RESTClient(base_url=venue.settings["base_url"], ...)

Not imitated, and refused where asked for: order types but `market_market_ioc` and `limit_limit_gtc`, edits, attached
orders, converting, other portfolios. An order's fills are shown as one. It needs `pip install 'ordergate[rehearse]'`.

Top to bottom: the rehearsal, the dialect, accounts, products and prices, orders, the older interface, reading requests
and writing answers, lies, routes.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

import ordergate_paper as paper
from ordergate.amounts import CENT, ZERO, exact, parse_amount, plain, round_down
from ordergate.clock import iso
from ordergate.errors import InputError
from ordergate.models import Market, OrderStatus, Receipt, Side, VenueOrder
from ordergate.testing.coinbase_keys import Key, certificate, check_extra, is_authentic, key_in
from ordergate.testing.loopback import FAULTS, LIES, Loopback, Reply, Request
from ordergate.testing.rehearsal import Rehearsal
from ordergate.testing.stage import as_sent, seeded

__all__ = ["CoinbaseRehearsal", "CoinbaseVenue", "Key", "rehearsal", "serve"]

_MOST_CANCELS: Final = 100
_PREFIX: Final = "/api/v3/brokerage"


@frozen(kw_only=True)
class CoinbaseRehearsal(Rehearsal):
    """A rehearsal whose venue can also be shown in odd states: see the attributes of `CoinbaseVenue`."""

    dialect: CoinbaseVenue
    server: Loopback


def rehearsal(
    folder: Path,
    *,
    permissions: Collection[str] = ("view", "trade"),
    cash: str = "1000",
    clock_ahead: float = 0.0,
    port: int = 0,
    algorithm: str = "ES256",
    **seed: Any,
) -> CoinbaseRehearsal:
    """Start the venue; its files are kept in the folder, and used again where they are there already.

    `permissions` are words of view, trade and transfer. `cash` is in USD. `clock_ahead` is by how many seconds the
    venue's clock is ahead of this machine's. `algorithm` is ES256 or EdDSA, for a key that is not there yet. `seed` are
    further settings of the paper venue, such as `locked` or `spread`. Raises InputError for what makes no sense.
    """
    check_extra()
    unknown = set(permissions) - {"view", "trade", "transfer"}
    if unknown:
        raise InputError("permissions", ", ".join(sorted(unknown)), "use view, trade and transfer")
    venue = seeded(folder / "coinbase.db", paper.Imitated.COINBASE, cash=cash, clock_ahead=clock_ahead, seed=seed)
    key_file, ca_file = folder / "coinbase-key.json", folder / "coinbase-ca.pem"
    dialect = CoinbaseVenue(venue, key_in(key_file, algorithm, frozenset(permissions)))
    server = Loopback(dialect, port=port, tls=certificate(ca_file))
    return CoinbaseRehearsal(
        settings={"key_file": str(key_file), "base_url": server.address, "ca_file": str(ca_file)},
        orders=lambda: [_on_the_wire(receipt) for receipt in paper.list_orders(venue, 0.0)],
        requests=lambda: server.count("place"),
        count=server.count,
        fail=server.fail,
        clear=server.clear,
        set_price=lambda symbol, price: paper.set_price(venue, symbol, price),
        close=server.close,
        faults=frozenset(FAULTS) | dialect.lies,
        notes=("a cancel of an order that is done is answered like one of an order that never was",),
        dialect=dialect,
        server=server,
    )


def serve(folder: Path, port: int) -> CoinbaseRehearsal:
    """The venue on a port of its own, for a person to try a bot against."""
    return rehearsal(folder, port=port)


# --- the dialect


class _Failure(Exception):
    """An answer with another status than 200. Never leaves this module."""

    def __init__(self, error: str, details: str) -> None:
        self.error, self.details = error, details
        super().__init__(details)


class _Rejected(Exception):
    """An order that is not taken, in Coinbase's own word. Never leaves this module."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


_STATUS_OF: Final = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The HTTP status that comes with an error of the interface itself."""


class CoinbaseVenue:
    """Coinbase Advanced in front of a paper venue. What tests may change stands in its public attributes."""

    lies: frozenset[str] = frozenset(LIES)

    def __init__(self, venue: paper.PaperVenue, key: Key) -> None:
        self.paper, self.key = venue, key
        self.page_size = 250
        """No page has more rows, whatever a request asks for."""
        self.product_flags: dict[str, dict[str, object]] = {}
        """Product to fields of it that differ, such as `{"trading_disabled": True}`."""
        self.shown_statuses: dict[str, str] = {}
        """Order id to the status it is shown with, such as PENDING, QUEUED, CANCEL_QUEUED or FAILED."""
        self.unlisted = False
        """Whether no order is listed, while fills are, and each order is shown to who has its id."""
        self.wallets: list[dict[str, Any]] = []
        """Further rows of the list of accounts."""
        self.post_only: set[str] = set()
        self.portfolio = str(uuid.UUID(paper.get_account(venue).identity))

    def action(self, request: Request) -> str:
        route = _route_of(request)
        if route is not None:
            return route.action
        if request.method != "GET" and request.path.startswith((f"{_PREFIX}/orders", f"{_PREFIX}/convert")):
            return "place"
        return "other"

    def answer(self, request: Request) -> Reply:
        try:
            with exact():
                return self._answered(request, _route_of(request))
        except _Failure as failure:
            return _failed(failure.error, failure.details)

    def _answered(self, request: Request, route: _Route | None) -> Reply:
        if route is None:
            raise _Failure("NOT_FOUND", f"no route {request.path}")
        if route.scope is not None:
            if not is_authentic(request, self.key, self.paper.clock.now()):
                return _UNAUTHORIZED
            if route.scope not in self.key.permissions:
                raise _Failure("PERMISSION_DENIED", "Missing required scopes")
        found = route.path.fullmatch(request.path)
        name = found["name"] if found is not None and "name" in route.path.groupindex else ""
        return _json(route.answer(self, request, name))

    def twisted(self, lie: str, text: str, request: Request, reply: Reply) -> Reply:
        if lie == "error":
            return _told_error(text, self.action(request))
        if lie == "hidden" and "/historical/" in request.path and not request.path.endswith(("/batch", "/fills")):
            return _failed("NOT_FOUND", "order not found")
        try:
            answer = json.loads(reply.body)
        except ValueError:
            return reply  # it was no answer to begin with, such as a 401
        _TWISTS[lie](answer)
        return evolve(reply, body=_json(answer).body)


# --- what is asked, and what is answered


def _orders(venue: CoinbaseVenue) -> list[paper.Placed]:
    """Every order, newest first, as Coinbase lists them."""
    return paper.placed_orders(venue.paper)[::-1]


def _time(venue: CoinbaseVenue, _request: Request, _name: str) -> dict[str, Any]:
    now = venue.paper.clock.now()
    return {"iso": iso(now), "epochSeconds": str(int(now)), "epochMillis": str(int(now * 1000))}


def _permissions(venue: CoinbaseVenue, _request: Request, _name: str) -> dict[str, Any]:
    return {
        **{f"can_{word}": word in venue.key.permissions for word in ("view", "trade", "transfer")},
        "portfolio_uuid": venue.portfolio,
        "portfolio_type": "DEFAULT",
    }


def _fees(venue: CoinbaseVenue, _request: Request, _name: str) -> dict[str, Any]:
    maker, taker = paper.get_fees(venue.paper)
    return {
        "total_volume": 0,
        "total_fees": 0,
        "fee_tier": {
            "pricing_tier": "Intro",
            "usd_from": "0",
            "usd_to": "10000",
            "taker_fee_rate": plain(taker.value),
            "maker_fee_rate": plain(maker.value),
            "aop_from": "",
            "aop_to": "",
        },
        "margin_rate": None,
        "goods_and_services_tax": None,
        "advanced_trade_only_volume": 0,
        "advanced_trade_only_fees": 0,
        "coinbase_pro_volume": 0,
        "coinbase_pro_fees": 0,
        "total_balance": "",
        "has_promo_fee": False,
    }


# ------------------------------------------------------------------------------------------------------------ accounts


def _account_rows(venue: CoinbaseVenue) -> list[dict[str, Any]]:
    """A wallet per currency there is a product for, empty ones too, then the vaults of what is locked."""
    held = {holding.currency: holding for holding in paper.get_account(venue.paper).holdings}
    traded = {currency for symbol in _symbols(venue) for currency in symbol.split("-")}
    rows = []
    for currency in sorted(traded | set(held)):
        holding = held.get(currency)
        available, hold = (ZERO, ZERO) if holding is None else (holding.available, holding.hold)
        kind = "FIAT" if currency in _FIAT else "CRYPTO"
        rows.append(_account_row(venue, currency, f"{currency} Wallet", f"ACCOUNT_TYPE_{kind}", available, hold))
    for currency, holding in held.items():
        if holding.locked:
            rows.append(_account_row(venue, currency, f"{currency} Vault", "ACCOUNT_TYPE_VAULT", holding.locked, ZERO))
    return [*rows, *venue.wallets]


_FIAT: Final = {"USD": "US Dollar", "EUR": "Euro", "GBP": "British Pound"}


def _account_row(
    venue: CoinbaseVenue, currency: str, name: str, kind: str, available: Decimal, hold: Decimal
) -> dict[str, Any]:
    return {
        "uuid": str(uuid.uuid5(uuid.UUID(venue.portfolio), name)),
        "name": name,
        "currency": currency,
        "available_balance": {"value": plain(available), "currency": currency},
        "default": kind != "ACCOUNT_TYPE_VAULT",
        "active": True,
        "created_at": "2021-05-31T09:59:59Z",
        "updated_at": "2024-01-15T10:30:00Z",
        "deleted_at": None,
        "type": kind,
        "ready": True,
        "hold": {"value": plain(hold), "currency": currency},
        "retail_portfolio_id": venue.portfolio,
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
    }


def _accounts(venue: CoinbaseVenue, request: Request, _name: str) -> dict[str, Any]:
    rows, has_next, cursor = _page(venue, request, _account_rows(venue), "uuid", 49)
    return {"accounts": rows, "has_next": has_next, "cursor": cursor, "size": len(rows)}


def _account(venue: CoinbaseVenue, _request: Request, name: str) -> dict[str, Any]:
    for row in _account_rows(venue):
        if row["uuid"] == name:
            return {"account": row}
    raise _Failure("NOT_FOUND", "account not found")


# ------------------------------------------------------------------------------------------------- products and prices


def _symbols(venue: CoinbaseVenue) -> list[str]:
    return sorted({*paper.PRODUCTS[paper.Imitated.COINBASE], *venue.paper.settings.prices})


def _market_of(venue: CoinbaseVenue, product_id: str) -> Market:
    market: Market | None = paper.get_market(venue.paper, product_id) if product_id in _symbols(venue) else None
    if market is None:
        raise _Failure("NOT_FOUND", f"product {product_id!r} not found")
    return market


def _product_row(venue: CoinbaseVenue, product_id: str) -> dict[str, Any]:
    market = _market_of(venue, product_id)
    prices = paper.get_prices(venue.paper, [product_id])
    twin = product_id.removesuffix("-USDC") + "-USD"
    is_alias = product_id.endswith("-USDC") and twin in _symbols(venue)
    aliased = f"{market.base}-USDC" if market.quote == "USD" else ""
    return {
        "product_id": product_id,
        "price": plain(prices[0].bid) if prices else "",
        "price_percentage_change_24h": "0",
        "volume_24h": "0",
        "volume_percentage_change_24h": "0",
        "base_increment": plain(market.amount_step),
        "quote_increment": plain(market.spend_step),
        "quote_min_size": plain(market.min_spend),
        "quote_max_size": plain(market.max_spend or _NO_MAXIMUM),
        "base_min_size": plain(market.min_amount),
        "base_max_size": plain(market.max_amount or _NO_MAXIMUM),
        "base_name": market.base,
        "quote_name": _FIAT.get(market.quote, market.quote),
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": market.quote,
        "base_currency_id": market.base,
        "fcm_trading_session_details": None,
        "mid_market_price": "",
        "alias": twin if is_alias else "",
        "alias_to": [aliased] if aliased in _symbols(venue) else [],
        "base_display_symbol": market.base,
        "quote_display_symbol": "USD" if is_alias else market.quote,
        "view_only": False,
        "price_increment": plain(market.price_step),
        "display_name": product_id,
        "product_venue": "CBE",
        "approximate_quote_24h_volume": "0",
        "new_at": "2023-01-01T00:00:00Z",
        "is_alpha_testing": False,
        **dict.fromkeys(_EMPTY_FIELDS, ""),
        **venue.product_flags.get(product_id, {}),
    }


_EMPTY_FIELDS: Final = (
    "market_cap",
    "base_cbrn",
    "quote_cbrn",
    "product_cbrn",
    "icon_color",
    "icon_url",
    "display_name_overwrite",
    "about_description",
    "best_bid_price",
    "best_ask_price",
)
_NO_MAXIMUM: Final = Decimal(10_000_000_000)


def _products(venue: CoinbaseVenue, request: Request, _name: str) -> dict[str, Any]:
    wanted = request.query.get("product_ids") or _symbols(venue)
    is_spot = _one(request, "product_type") in ("", "SPOT")
    rows = [_product_row(venue, symbol) for symbol in wanted if symbol in _symbols(venue)] if is_spot else []
    start = _whole(request, "offset", 0)
    rows = rows[start : start + _whole(request, "limit", len(rows))]
    return {"products": rows, "num_products": len(rows), "pagination": None}


def _product(venue: CoinbaseVenue, _request: Request, name: str) -> dict[str, Any]:
    return _product_row(venue, name)


def _book(venue: CoinbaseVenue, product_id: str) -> dict[str, Any]:
    _market_of(venue, product_id)
    prices = paper.get_prices(venue.paper, [product_id])
    now = venue.paper.clock.now()
    sides = [(price.bid, price.ask) for price in prices]
    return {
        "product_id": product_id,
        "bids": [{"price": plain(bid), "size": "1"} for bid, _ in sides],
        "asks": [{"price": plain(ask), "size": "1"} for _, ask in sides],
        "time": iso(prices[0].at or now) if prices else iso(now),
    }


def _best_bid_ask(venue: CoinbaseVenue, request: Request, _name: str) -> dict[str, Any]:
    wanted = request.query.get("product_ids") or _symbols(venue)
    return {"pricebooks": [_book(venue, product_id) for product_id in wanted]}


def _product_book(venue: CoinbaseVenue, request: Request, _name: str) -> dict[str, Any]:
    book = _book(venue, _one(request, "product_id"))
    best = [Decimal(row["price"]) for side in ("bids", "asks") for row in book[side]]
    middle = plain(sum(best, ZERO) / len(best)) if best else ""
    apart = best[-1] - best[0] if best else ZERO
    return {
        "pricebook": book,
        "last": middle,
        "mid_market": middle,
        "spread_bps": plain(round_down(apart / best[0] * 10_000, _FINE)) if best else "",
        "spread_absolute": plain(apart) if best else "",
    }


def _ticker(venue: CoinbaseVenue, _request: Request, name: str) -> dict[str, Any]:
    book = _book(venue, name)
    trades = [
        {
            "trade_id": "1",
            "product_id": name,
            "price": bid["price"],
            "size": bid["size"],
            "time": book["time"],
            "side": "SELL",
            "bid": "",
            "ask": "",
            "exchange": "coinbase",
        }
        for bid in book["bids"]
    ]
    best = {side: book[side][0]["price"] if book[side] else "" for side in ("bids", "asks")}
    return {"trades": trades, "best_bid": best["bids"], "best_ask": best["asks"]}


# -------------------------------------------------------------------------------------------------------------- orders

_STATUSES: Final = {
    OrderStatus.OPEN: "OPEN",
    OrderStatus.PARTLY_FILLED: "OPEN",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.CANCELLED: "CANCELLED",
    OrderStatus.EXPIRED: "EXPIRED",
}
_ALL_STATUSES: Final = {*_STATUSES.values(), "PENDING", "FAILED", "QUEUED", "CANCEL_QUEUED", "UNKNOWN_ORDER_STATUS"}
_FINE: Final = Decimal("0.0000000001")


def _id(order_id: str) -> str:
    return str(uuid.UUID(order_id))


def _on_the_wire(receipt: Receipt) -> Receipt:
    return evolve(receipt, order_id=None if receipt.order_id is None else _id(receipt.order_id))


def _configuration(venue: CoinbaseVenue, placed: paper.Placed) -> dict[str, Any]:
    if placed.spend is not None:
        return {"market_market_ioc": {"quote_size": plain(placed.spend)}}
    amount = plain(placed.amount or placed.wanted)
    if placed.limit is None:
        return {"market_market_ioc": {"base_size": amount}}
    post_only = placed.order_id in venue.post_only
    return {"limit_limit_gtc": {"base_size": amount, "limit_price": plain(placed.limit), "post_only": post_only}}


def _shown_client_order_id(placed: paper.Placed) -> str:
    return "" if placed.client_order_id.startswith(paper.UNNAMED) else placed.client_order_id


def _order_row(venue: CoinbaseVenue, placed: paper.Placed) -> dict[str, Any]:
    receipt, order_id = placed.receipt(), _id(placed.order_id)
    is_buy, by_spend, is_done = placed.side is Side.BUY, placed.spend is not None, placed.status.is_final
    value, fees = receipt.filled_value, receipt.fees
    price = round_down(placed.value / placed.filled, _FINE) if placed.filled else ZERO
    at = iso(placed.placed_at)
    return {
        "order_id": order_id,
        "product_id": placed.symbol,
        "user_id": venue.portfolio,
        "order_configuration": _configuration(venue, placed),
        "side": placed.side.upper(),
        "client_order_id": _shown_client_order_id(placed),
        "status": venue.shown_statuses.get(order_id, _STATUSES[placed.status]),
        "time_in_force": "IMMEDIATE_OR_CANCEL" if placed.limit is None else "GOOD_UNTIL_CANCELLED",
        "created_time": at,
        "completion_percentage": plain(round_down(placed.filled / placed.wanted * 100, CENT)),
        "filled_size": plain(placed.filled),
        "average_filled_price": plain(price),
        "fee": "",
        "number_of_fills": "1" if placed.filled else "0",
        "filled_value": plain(value),
        "pending_cancel": False,
        "size_in_quote": by_spend,
        "total_fees": plain(fees),
        "size_inclusive_of_fees": by_spend,
        "total_value_after_fees": plain(value + fees if is_buy else value - fees),
        "trigger_status": "INVALID_ORDER_TYPE",
        "order_type": "MARKET" if placed.limit is None else "LIMIT",
        "reject_reason": "REJECT_REASON_UNSPECIFIED",
        "settled": is_done,
        "product_type": "SPOT",
        "reject_message": "",
        "cancel_message": "User requested cancel" if placed.status is OrderStatus.CANCELLED else "",
        "order_placement_source": "RETAIL_ADVANCED",
        "outstanding_hold_amount": plain(placed.hold),
        "is_liquidation": False,
        "last_fill_time": at if placed.filled else None,
        "edit_history": [],
        "leverage": "",
        "margin_type": "UNKNOWN_MARGIN_TYPE",
        "retail_portfolio_id": venue.portfolio,
        "originating_order_id": "",
        "attached_order_id": "",
    }


def _order(venue: CoinbaseVenue, _request: Request, name: str) -> dict[str, Any]:
    for placed in _orders(venue):
        if _id(placed.order_id) == name:
            return {"order": _order_row(venue, placed)}
    raise _Failure("NOT_FOUND", "order not found")


def _order_list(venue: CoinbaseVenue, request: Request, _name: str) -> dict[str, Any]:
    statuses = set(request.query.get("order_status", ()))
    if statuses - _ALL_STATUSES:
        raise _Failure("INVALID_ARGUMENT", f"unknown order_status {sorted(statuses - _ALL_STATUSES)}")
    if "OPEN" in statuses and len(statuses) > 1:
        raise _Failure("INVALID_ARGUMENT", "order_status OPEN can not be used together with other statuses")
    begin, end = _moment(request, "start_date", 0.0), _moment(request, "end_date", math.inf)
    products = {*request.query.get("product_ids", ()), *request.query.get("product_id", ())}
    ids = set(request.query.get("order_ids", ()))
    side = _one(request, "order_side")
    listed = [] if venue.unlisted else _orders(venue)
    rows = [_order_row(venue, placed) for placed in listed if begin <= placed.placed_at < end]
    rows = [
        row
        for row in rows
        if (not statuses or row["status"] in statuses)
        and (not products or row["product_id"] in products)
        and (not ids or row["order_id"] in ids)
        and side in ("", row["side"])
    ]
    rows, has_next, cursor = _page(venue, request, rows, "order_id", 100)
    return {"orders": rows, "sequence": "0", "has_next": has_next, "cursor": cursor}


def _fills(venue: CoinbaseVenue, request: Request, _name: str) -> dict[str, Any]:
    """One fill for each order that has any, over all of it."""
    ids = {*request.query.get("order_ids", ()), *request.query.get("order_id", ())}
    products = {*request.query.get("product_ids", ()), *request.query.get("product_id", ())}
    rows = [
        _fill_row(venue, placed)
        for placed in _orders(venue)
        if placed.filled and (not ids or _id(placed.order_id) in ids) and (not products or placed.symbol in products)
    ]
    rows, _, cursor = _page(venue, request, rows, "entry_id", 100)
    return {"fills": rows, "cursor": cursor}


def _fill_row(venue: CoinbaseVenue, placed: paper.Placed) -> dict[str, Any]:
    order, order_id = _order_row(venue, placed), _id(placed.order_id)
    return {
        "entry_id": str(uuid.uuid5(uuid.UUID(order_id), "entry")),
        "trade_id": str(uuid.uuid5(uuid.UUID(order_id), "trade")),
        "order_id": order_id,
        "trade_time": order["created_time"],
        "trade_type": "FILL",
        "price": order["average_filled_price"],
        "size": order["filled_size"],
        "commission": order["total_fees"],
        "product_id": placed.symbol,
        "sequence_timestamp": order["created_time"],
        "liquidity_indicator": "MAKER" if placed.fees == placed.value * placed.maker_fee else "TAKER",
        "size_in_quote": False,
        "user_id": venue.portfolio,
        "side": order["side"],
        "retail_portfolio_id": venue.portfolio,
    }


_FIELDS: Final = frozenset({"product_id", "side", "order_configuration", "retail_portfolio_id"})
_CONFIGURATIONS: Final = {
    "market_market_ioc": frozenset({"quote_size", "base_size"}),
    "limit_limit_gtc": frozenset({"base_size", "limit_price", "post_only"}),
}


def _place(venue: CoinbaseVenue, request: Request, _name: str) -> dict[str, Any]:
    body = _body(request, _FIELDS | {"client_order_id", "preview_id", "self_trade_prevention_id"})
    client_order_id = _text(body, "client_order_id")
    configuration = _mapping(body, "order_configuration")
    try:
        order, order_id = _taken(venue, body, client_order_id)
    except _Rejected as rejected:
        if rejected.code == "INVALID_ARGUMENT":
            raise _Failure(rejected.code, rejected.message) from None
        return _refusal(rejected, configuration)
    # A repeated id is answered with the first order's id, but with the terms of this request: as Coinbase does.
    return {
        "success": True,
        "failure_reason": "UNKNOWN_FAILURE_REASON",
        "success_response": {
            "order_id": _id(order_id),
            "product_id": order.symbol,
            "side": order.side.upper(),
            "client_order_id": client_order_id,
        },
        "order_configuration": configuration,
    }


def _taken(venue: CoinbaseVenue, body: Mapping[str, Any], client_order_id: str) -> tuple[VenueOrder, str]:
    """The order as it was asked for, and the id of the order that the venue now has under its client order id."""
    order, post_only = _read_order(venue, body, client_order_id)
    _check_product(venue, order, post_only=post_only)
    receipt: Receipt = paper.place_order(venue.paper, order)
    if receipt.order_id is None:
        raise _Rejected(receipt.code or "UNKNOWN_FAILURE_REASON", receipt.message or "")
    if post_only:
        venue.post_only.add(receipt.order_id)
    return order, receipt.order_id


def _refusal(rejected: _Rejected, configuration: object) -> dict[str, Any]:
    """What went wrong stands in one of three places, and often only the last of them says anything."""
    is_preview = rejected.code.startswith("PREVIEW_")
    reason = {"preview_failure_reason": rejected.code} if is_preview else {"new_order_failure_reason": rejected.code}
    if rejected.code == "INSUFFICIENT_FUND":
        reason = {"preview_failure_reason": "PREVIEW_INSUFFICIENT_FUND"}
    return {
        "success": False,
        "failure_reason": "UNKNOWN_FAILURE_REASON",
        "order_id": "",
        "error_response": {
            "error": "UNKNOWN_FAILURE_REASON" if is_preview else rejected.code,
            "message": "" if is_preview else rejected.message,
            "error_details": "" if is_preview else rejected.message,
            **reason,
        },
        "order_configuration": configuration,
    }


def _read_order(venue: CoinbaseVenue, body: Mapping[str, Any], client_order_id: str) -> tuple[VenueOrder, bool]:
    """The order, and whether it is to rest or not to be. Sizes that are no text are malformed, as at Coinbase."""
    side = _text(body, "side")
    if side not in ("BUY", "SELL"):
        raise _Failure("INVALID_ARGUMENT", "side must be BUY or SELL")
    if body.get("retail_portfolio_id", venue.portfolio) != venue.portfolio:
        raise _Failure("PERMISSION_DENIED", "the key belongs to another portfolio")
    configuration = _mapping(body, "order_configuration")
    if len(configuration) != 1:
        raise _Failure("INVALID_ARGUMENT", "exactly one order configuration must be given")
    kind = next(iter(configuration))
    if kind not in _CONFIGURATIONS:
        raise _Rejected("UNSUPPORTED_ORDER_CONFIGURATION", f"{kind} is not rehearsed here")
    terms = _mapping(configuration, kind)
    unknown = set(terms) - _CONFIGURATIONS[kind]
    if unknown:
        raise _Failure("INVALID_ARGUMENT", f"unknown field {min(unknown)!r} in {kind}")
    post_only = terms.get("post_only", False)
    if not isinstance(post_only, bool):
        raise _Failure("INVALID_ARGUMENT", "post_only must be true or false")
    if kind == "limit_limit_gtc" and set(terms) < {"base_size", "limit_price"}:
        raise _Failure("INVALID_ARGUMENT", "base_size and limit_price are required")
    order = VenueOrder(
        account="",
        symbol=_text(body, "product_id"),
        side=Side(side.lower()),
        spend=_amount(terms, "quote_size"),
        amount=_amount(terms, "base_size"),
        limit=_amount(terms, "limit_price"),
        client_order_id=client_order_id,
        send_by=math.inf,  # Coinbase cannot be told a moment; the token's own end is all there is
    )
    return order, post_only


def _check_product(venue: CoinbaseVenue, order: VenueOrder, *, post_only: bool) -> None:
    flags = venue.product_flags.get(order.symbol, {})
    if any(flags.get(name) for name in ("trading_disabled", "is_disabled", "cancel_only", "view_only")):
        raise _Rejected("ORDER_ENTRY_DISABLED", "order entry is disabled for this product")
    if flags.get("limit_only") and order.limit is None:
        raise _Rejected("ORDER_ENTRY_DISABLED", "only limit orders are taken for this product")
    if not post_only or order.limit is None:
        return
    for price in paper.get_prices(venue.paper, [order.symbol]):
        if order.limit >= price.ask if order.side is Side.BUY else order.limit <= price.bid:
            raise _Rejected("INVALID_LIMIT_PRICE_POST_ONLY", "the limit price would cross the book")


def _preview(venue: CoinbaseVenue, request: Request, _name: str) -> dict[str, Any]:
    """What an order would come to, and why it would not be taken; nothing is placed."""
    body = _body(request, _FIELDS)
    errors = []
    order: VenueOrder | None = None
    try:
        order, post_only = _read_order(venue, body, "preview")
        _check_product(venue, order, post_only=post_only)
        _check_terms(venue, order)
    except _Rejected as rejected:
        errors = [rejected.code if rejected.code.startswith("PREVIEW_") else f"PREVIEW_{rejected.code}"]
    prices = [] if order is None else paper.get_prices(venue.paper, [order.symbol])
    rate = paper.get_fees(venue.paper)[1].value
    total = fee = ZERO
    if order is not None and prices:
        value = (order.amount or ZERO) * (order.limit or prices[0].bid)
        value = value if order.spend is None else order.spend / (1 + rate)
        fee = round_down(value * rate, _FINE)
        total = order.spend or (value + fee if order.side is Side.BUY else value - fee)
    return {
        "order_total": plain(total),
        "commission_total": plain(fee),
        "errs": errors,
        "warning": [],
        "quote_size": plain(order.spend) if order is not None and order.spend is not None else "",
        "base_size": plain(order.amount) if order is not None and order.amount is not None else "",
        "best_bid": plain(prices[0].bid) if prices else "",
        "best_ask": plain(prices[0].ask) if prices else "",
        "is_max": False,
        "preview_id": str(uuid.UUID(venue.paper.clock.new_id())),
    }


def _check_terms(venue: CoinbaseVenue, order: VenueOrder) -> None:
    market: Market | None = paper.get_market(venue.paper, order.symbol)
    if market is None:
        raise _Rejected("PREVIEW_INVALID_PRODUCT_ID", order.symbol)
    held = {holding.currency: holding.available for holding in paper.get_account(venue.paper).holdings}
    currency, needed = market.base, order.amount or ZERO
    if order.side is Side.BUY:
        currency, needed = market.quote, order.spend or needed * (order.limit or ZERO)
    for code, is_wrong in {
        "PREVIEW_INVALID_QUOTE_SIZE_PRECISION": order.spend is not None and order.spend % market.spend_step,
        "PREVIEW_INVALID_BASE_SIZE_PRECISION": order.amount is not None and order.amount % market.amount_step,
        "PREVIEW_INVALID_PRICE_PRECISION": order.limit is not None and order.limit % market.price_step,
        "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL": order.spend is not None and order.spend < market.min_spend,
        "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL": order.amount is not None and order.amount < market.min_amount,
        "PREVIEW_INSUFFICIENT_FUND": needed > held.get(currency, ZERO),
    }.items():
        if is_wrong:
            raise _Rejected(code, "")


def _cancel(venue: CoinbaseVenue, request: Request, _name: str) -> dict[str, Any]:
    ids = _body(request, frozenset({"order_ids"})).get("order_ids")
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
        raise _Failure("INVALID_ARGUMENT", "order_ids must be a list of texts")
    if len(ids) > _MOST_CANCELS:
        raise _Failure("INVALID_ARGUMENT", f"at most {_MOST_CANCELS} orders are cancelled at once")
    known = {_id(placed.order_id): placed for placed in _orders(venue)}
    return {
        "results": [_cancelled(venue, one, known.get(one), again=one in ids[:index]) for index, one in enumerate(ids)]
    }


def _cancelled(venue: CoinbaseVenue, order_id: str, placed: paper.Placed | None, *, again: bool) -> dict[str, Any]:
    reason = "UNKNOWN_CANCEL_FAILURE_REASON"
    if again:
        reason = "DUPLICATE_CANCEL_REQUEST"
    elif placed is None or placed.status.is_final:
        reason = "UNKNOWN_CANCEL_ORDER"
    else:
        paper.cancel_order(venue.paper, as_sent(placed))
    success = reason == "UNKNOWN_CANCEL_FAILURE_REASON"
    return {"success": success, "failure_reason": reason, "order_id": order_id}


# ----------------------------------------------------------------------------- the older interface, as far as ccxt asks


def _time_v2(venue: CoinbaseVenue, _request: Request, _name: str) -> dict[str, Any]:
    now = venue.paper.clock.now()
    return {"data": {"iso": iso(now), "epoch": int(now)}}


def _fiat_v2(_venue: CoinbaseVenue, _request: Request, _name: str) -> dict[str, Any]:
    return {"data": [{"id": code, "name": name, "min_size": "0.01"} for code, name in _FIAT.items()]}


def _crypto_v2(venue: CoinbaseVenue, _request: Request, _name: str) -> dict[str, Any]:
    codes = sorted({currency for symbol in _symbols(venue) for currency in symbol.split("-")} - set(_FIAT))
    return {
        "data": [
            {
                "asset_id": str(uuid.uuid5(uuid.UUID(venue.portfolio), code)),
                "code": code,
                "name": code,
                "color": "#000000",
                "sort_index": index,
                "exponent": 8,
                "type": "crypto",
                "address_regex": "",
            }
            for index, code in enumerate(codes)
        ]
    }


def _rates_v2(venue: CoinbaseVenue, _request: Request, _name: str) -> dict[str, Any]:
    prices = paper.get_prices(venue.paper, [symbol for symbol in _symbols(venue) if symbol.endswith("-USD")])
    rates = {price.symbol.removesuffix("-USD"): plain(round_down(1 / price.bid, _FINE)) for price in prices}
    return {"data": {"currency": "USD", "rates": {"USD": "1", **rates}}}


# --- reading requests


def _one(request: Request, name: str) -> str:
    return request.query.get(name, [""])[-1]


def _whole(request: Request, name: str, default: int) -> int:
    text = _one(request, name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _Failure("INVALID_ARGUMENT", f"{name} must be a whole number")
    return int(text)


def _moment(request: Request, name: str, default: float) -> float:
    text = _one(request, name)
    if not text:
        return default
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _Failure("INVALID_ARGUMENT", f"{name} must be a RFC 3339 timestamp") from None
    if moment.tzinfo is None:
        raise _Failure("INVALID_ARGUMENT", f"{name} must be a RFC 3339 timestamp with a time zone")
    return moment.timestamp()


def _page(
    venue: CoinbaseVenue, request: Request, rows: list[dict[str, Any]], name: str, default: int
) -> tuple[list[dict[str, Any]], bool, str]:
    """A page of the rows, whether there are more, and where the next page begins: behind the row of that id."""
    size = min(_whole(request, "limit", default) or default, venue.page_size)
    cursor, start = _one(request, "cursor"), 0
    if cursor:
        ids = [row[name] for row in rows]
        if cursor not in ids:
            raise _Failure("INVALID_ARGUMENT", "invalid cursor")
        start = ids.index(cursor) + 1
    page, has_next = rows[start : start + size], start + size < len(rows)
    return page, has_next, page[-1][name] if has_next else ""


def _body(request: Request, known: Collection[str]) -> dict[str, Any]:
    try:
        body = json.loads(request.body, parse_float=Decimal)
    except ValueError:
        raise _Failure("INVALID_ARGUMENT", "the body is not JSON") from None
    if not isinstance(body, dict):
        raise _Failure("INVALID_ARGUMENT", "the body is no JSON object")
    unknown = set(body) - set(known)
    if unknown:
        raise _Failure("INVALID_ARGUMENT", f"unknown field {min(unknown)!r}")
    return body


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise _Failure("INVALID_ARGUMENT", f"{name} is required, as text")
    return value


def _mapping(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name)
    if not isinstance(value, dict):
        raise _Failure("INVALID_ARGUMENT", f"{name} is required, as an object")
    return value


def _amount(values: Mapping[str, Any], name: str) -> Decimal | None:
    if name not in values:
        return None
    try:
        return parse_amount(_text(values, name), name)
    except InputError:
        raise _Failure("INVALID_ARGUMENT", f"{name} must be a positive number") from None


# --- writing answers

_UNAUTHORIZED: Final = Reply(b"Unauthorized\n", 401, "text/plain")


def _json(answer: object, status: int = 200) -> Reply:
    # Compact: clients look for the text '"error_details":"Missing required scopes"' in it.
    return Reply(json.dumps(answer, separators=(",", ":")).encode("utf-8"), status)


def _failed(error: str, details: str) -> Reply:
    return _json({"error": error, "error_details": details, "message": details}, _STATUS_OF.get(error, 400))


def _told_error(text: str, action: str) -> Reply:
    """An error of the interface with its HTTP status, or else the word of a rejected order."""
    if text == "UNAUTHENTICATED":
        return _UNAUTHORIZED
    if action == "place" and text not in _STATUS_OF:
        return _json(_refusal(_Rejected(text, text), {}))
    return _failed(text, text)


# --- how answers are twisted

_LISTS: Final = ("orders", "fills", "accounts", "products", "pricebooks", "results")


def _parts(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Whatever in an answer speaks of an order."""
    parts = [answer.get("success_response"), answer.get("order"), *answer.get("orders", ()), *answer.get("fills", ())]
    return [part for part in parts if isinstance(part, dict)]


def _without_id(answer: dict[str, Any]) -> None:
    for part in _parts(answer):
        part.pop("order_id", None)


def _with_moved_id(answer: dict[str, Any]) -> None:
    """Back to where it stood until 2024-09-03: beside `success_response`, not in it."""
    for part in _parts(answer):
        answer["order_id"] = part.pop("order_id", None)


def _of_another_order(answer: dict[str, Any]) -> None:
    for part in _parts(answer):
        for name in ("order_id", "client_order_id"):
            if name in part:
                part[name] = str(uuid.uuid5(uuid.NAMESPACE_OID, str(part[name])))


def _of_another_size(answer: dict[str, Any]) -> None:
    for part in [answer, *_parts(answer)]:
        for terms in (part.get("order_configuration") or {}).values():
            for name in ("quote_size", "base_size"):
                if name in terms:
                    terms[name] = plain(Decimal(terms[name]) * 2)


def _without_orders(answer: dict[str, Any]) -> None:
    for name in ("orders", "fills"):
        if name in answer:
            answer.update({name: [], "cursor": ""})
    if "has_next" in answer:
        answer["has_next"] = False


def _by_half(answer: dict[str, Any]) -> None:
    for name in _LISTS:
        if name in answer:
            answer[name] = answer[name][: len(answer[name]) // 2]
    if "has_next" in answer:
        answer.update({"has_next": True, "cursor": ""})


_TWISTS: Final[Mapping[str, Callable[[dict[str, Any]], None]]] = {
    "no_id": _without_id,
    "moved_id": _with_moved_id,
    "other_id": _of_another_order,
    "other_size": _of_another_size,
    "hidden": _without_orders,
    "half": _by_half,
}


# --- what there is to ask


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


@frozen
class _Route:
    """`scope` is the permission a key needs; None lets anybody ask."""

    method: str
    path: re.Pattern[str] = field(converter=_pattern)
    action: str
    scope: str | None
    answer: Callable[[CoinbaseVenue, Request, str], dict[str, Any]]


_ROUTES: Final[Sequence[_Route]] = (
    _Route("POST", f"{_PREFIX}/orders", "place", "trade", _place),
    _Route("POST", f"{_PREFIX}/orders/batch_cancel", "cancel", "trade", _cancel),
    _Route("POST", f"{_PREFIX}/orders/preview", "other", "view", _preview),
    _Route("GET", f"{_PREFIX}/orders/historical/batch", "find", "view", _order_list),
    _Route("GET", f"{_PREFIX}/orders/historical/fills", "find", "view", _fills),
    _Route("GET", f"{_PREFIX}/orders/historical/(?P<name>[^/]+)", "find", "view", _order),
    _Route("GET", f"{_PREFIX}/accounts", "account", "view", _accounts),
    _Route("GET", f"{_PREFIX}/accounts/(?P<name>[^/]+)", "account", "view", _account),
    _Route("GET", f"{_PREFIX}/best_bid_ask", "prices", "view", _best_bid_ask),
    _Route("GET", f"{_PREFIX}/product_book", "prices", "view", _product_book),
    _Route("GET", f"{_PREFIX}/products", "market", "view", _products),
    _Route("GET", f"{_PREFIX}/products/(?P<name>[^/]+)", "market", "view", _product),
    _Route("GET", f"{_PREFIX}/products/(?P<name>[^/]+)/ticker", "prices", "view", _ticker),
    _Route("GET", f"{_PREFIX}/transaction_summary", "fees", "view", _fees),
    _Route("GET", f"{_PREFIX}/key_permissions", "permissions", "view", _permissions),
    _Route("GET", f"{_PREFIX}/time", "time", None, _time),
    _Route("GET", f"{_PREFIX}/market/product_book", "prices", None, _product_book),
    _Route("GET", f"{_PREFIX}/market/products", "market", None, _products),
    _Route("GET", f"{_PREFIX}/market/products/(?P<name>[^/]+)", "market", None, _product),
    _Route("GET", f"{_PREFIX}/market/products/(?P<name>[^/]+)/ticker", "prices", None, _ticker),
    _Route("GET", "/v2/time", "time", None, _time_v2),
    _Route("GET", "/v2/currencies", "market", None, _fiat_v2),
    _Route("GET", "/v2/currencies/crypto", "market", None, _crypto_v2),
    _Route("GET", "/v2/exchange-rates", "prices", None, _rates_v2),
)


def _route_of(request: Request) -> _Route | None:
    for route in _ROUTES:
        if route.method == request.method and route.path.fullmatch(request.path):
            return route
    return None
