"""Binance Spot on loopback, for rehearsing: as much of its REST interface as ccxt speaks, before a paper venue.

The paper venue is the exchange: funds, holds, fills, filters, and the promise that a client order id is unique among
open orders, and no further. This module only authenticates and translates. It never speaks to a network.

    with rehearsal(folder) as venue:
        client = ccxt.binance({"apiKey": ..., "urls": ...})

What differs from the real one: the commission of a buy is in the quote currency (Binance takes it out of what was
bought, or in BNB), a market buy names what it spends and a market sell what it sells, and each order has one fill.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from attrs import evolve, frozen

import ordergate_paper as paper
from ordergate.amounts import ZERO, exact, parse_amount, plain, round_down
from ordergate.clock import SystemClock
from ordergate.errors import InputError
from ordergate.keys import read_key_file
from ordergate.models import Market, OrderStatus, Receipt, Side, VenueOrder
from ordergate.testing.loopback import FAULTS, LIES, Loopback, Reply, Request
from ordergate.testing.rehearsal import Rehearsal
from ordergate.testing.stage import as_sent, seeded, write_key_file

__all__ = ["BinanceRehearsal", "BinanceVenue", "Key", "rehearsal", "serve", "signature"]

_FIRST_ID: Final = 30_000_000_000
_WINDOW: Final = 5_000
_LONGEST_WINDOW: Final = 60_000
_AHEAD: Final = 1_000
_DIGITS: Final = Decimal("0.00000001")
_MOST_ROWS: Final = 1_000
_DAY: Final = 86_400_000


@frozen(kw_only=True)
class Key:
    """An API key as Binance knows it."""

    name: str
    secret: str
    permissions: frozenset[str]


@frozen(kw_only=True)
class BinanceRehearsal(Rehearsal):
    """A rehearsal whose venue can also be shown in odd states: see the attributes of `BinanceVenue`."""

    dialect: BinanceVenue
    server: Loopback


def rehearsal(
    folder: Path,
    *,
    permissions: Collection[str] = ("view", "trade"),
    cash: str = "1000",
    clock_ahead: float = 0.0,
    port: int = 0,
    **seed: Any,
) -> BinanceRehearsal:
    """Start the venue; its files are kept in the folder, and used again where they are there already.

    `permissions` are words of view, trade, withdraw and transfer. `cash` is in USDT. `clock_ahead` is by how many
    seconds the venue's clock is ahead of this machine's. `seed` are further settings of the paper venue. Raises
    InputError for what makes no sense.
    """
    unknown = set(permissions) - {"view", "trade", "withdraw", "transfer"}
    if unknown:
        raise InputError("permissions", ", ".join(sorted(unknown)), "use view, trade, withdraw and transfer")
    venue = seeded(folder / "binance.db", paper.Imitated.BINANCE, cash=cash, clock_ahead=clock_ahead, seed=seed)
    key_file = folder / "binance-key.txt"
    dialect = BinanceVenue(venue, _key(key_file, frozenset(permissions)))
    server = Loopback(dialect, port=port)
    return BinanceRehearsal(
        settings={"key_file": str(key_file), "base_url": f"http://{server.address}"},
        orders=lambda: [_on_the_wire(placed) for placed in paper.placed_orders(venue)],
        requests=lambda: server.count("place"),
        count=server.count,
        fail=server.fail,
        clear=server.clear,
        set_price=lambda symbol, price: paper.set_price(venue, symbol, price),
        close=server.close,
        faults=frozenset(FAULTS) | dialect.lies,
        at_par=("USDT",),
        symbol="BTC-USDT",
        notes=("it begins with 1,000 USDT and 0.01 BTC", "fees are in the quote currency"),
        dialect=dialect,
        server=server,
    )


def serve(folder: Path, port: int) -> BinanceRehearsal:
    """The venue on a port of its own, for a person to try a bot against."""
    return rehearsal(folder, port=port)


def _key(path: Path, permissions: frozenset[str]) -> Key:
    """The key in the file: its name on the first line, its secret on the second. Made where there is none."""
    if not path.exists():
        clock = SystemClock()
        write_key_file(path, "".join(f"{clock.new_id()}{clock.new_id()}\n" for _ in range(2)))
    lines = read_key_file(path).split()
    if len(lines) != 2:
        raise InputError("key_file", str(path), "it holds no key of this venue; move it away")
    return Key(name=lines[0], secret=lines[1], permissions=permissions)


# --- the dialect


class _Failure(Exception):
    """An answer that is an error, in Binance's own number and words. Never leaves this module."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


_STATUS_OF: Final = {-1000: 503, -1001: 503, -1003: 429, -1006: 503, -1007: 408, -1008: 503, -2014: 401, -2015: 401}
"""The HTTP status of an error; 400 where it is not named."""


class BinanceVenue:
    """Binance Spot in front of a paper venue. What tests may change stands in its two public attributes.

    It cannot tell the lie `half`: its listings do not say whether there is more.
    """

    lies: frozenset[str] = frozenset(LIES) - {"half"}

    def __init__(self, venue: paper.PaperVenue, key: Key) -> None:
        self.paper, self.key = venue, key
        self.page_size = _MOST_ROWS
        """No listing has more rows, whatever a request asks for."""
        self.statuses: dict[str, str] = {}
        """Symbol, such as BTCUSDT, to a status other than TRADING, such as BREAK."""

    def action(self, request: Request) -> str:
        route = _ROUTES.get((request.method, request.path))
        if route is not None:
            return route.action
        if request.method in ("POST", "PUT") and request.path.startswith("/api/"):
            return "place"  # lists of orders, replacements, amendments: none of them is rehearsed
        return "other"

    def answer(self, request: Request) -> Reply:
        try:
            with exact():
                return _json(self._answered(request))
        except _Failure as failure:
            return _failed(failure.code, failure.message)

    def _answered(self, request: Request) -> object:
        route = _ROUTES.get((request.method, request.path))
        if route is None:
            raise _Failure(-1020, "This operation is not supported.")
        values = dict(_pairs(request))
        if route.scope is not None:
            self._check_key(request, values, route.scope)
        return route.answer(self, values)

    def twisted(self, lie: str, text: str, request: Request, reply: Reply) -> Reply:
        if lie == "error":
            code, _, message = text.partition(" ")
            known = re.fullmatch(r"-[0-9]{4}", code) is not None
            return _failed(int(code), message) if known else _failed(-1000, text)
        if lie == "hidden":
            return _failed(-2013, "Order does not exist.") if request.path == "/api/v3/order" else _json([])
        try:
            answer = json.loads(reply.body)
        except ValueError:
            return reply
        for order in answer if isinstance(answer, list) else [answer]:
            _TWISTS[lie](order)
        return evolve(reply, body=_json(answer).body)

    def now(self) -> int:
        return int(self.paper.clock.now() * 1000)

    def _check_key(self, request: Request, values: Mapping[str, str], scope: str) -> None:
        name = request.headers.get("x-mbx-apikey", "")
        if not name:
            raise _Failure(-2014, "API-key format invalid.")
        if name != self.key.name:
            raise _Failure(-2015, "Invalid API-key, IP, or permissions for action.")
        self._check_time(values)
        told = values.get("signature", "")
        if not told:
            raise _Failure(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
        right = signature(self.key.secret, _signed_text(request))
        if not hmac.compare_digest(right.encode(), told.encode()):
            raise _Failure(-1022, "Signature for this request is not valid.")
        if scope not in self.key.permissions:
            raise _Failure(-2015, "Invalid API-key, IP, or permissions for action.")

    def _check_time(self, values: Mapping[str, str]) -> None:
        timestamp, window = _whole(values, "timestamp", None), _whole(values, "recvWindow", _WINDOW)
        if window > _LONGEST_WINDOW:
            raise _Failure(-1131, "recvWindow must be less than 60000")
        if timestamp >= self.now() + _AHEAD:
            raise _Failure(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if self.now() - timestamp > window:
            raise _Failure(-1021, "Timestamp for this request is outside of the recvWindow.")


def signature(secret: str, text: str) -> str:
    """What belongs to a request: `text` is its query and then its body, with nothing between them."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


# --- questions anybody may ask


def _ping(_venue: BinanceVenue, _values: Mapping[str, str]) -> dict[str, Any]:
    return {}


def _time(venue: BinanceVenue, _values: Mapping[str, str]) -> dict[str, Any]:
    return {"serverTime": venue.now()}


def _symbols() -> dict[str, str]:
    """Binance's name of a symbol to ours."""
    return {symbol.replace("-", ""): symbol for symbol in sorted(paper.PRODUCTS[paper.Imitated.BINANCE])}


def _symbol(values: Mapping[str, str]) -> str:
    if "symbol" not in values:
        raise _Failure(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    found = _symbols().get(values["symbol"])
    if found is None:
        raise _Failure(-1121, "Invalid symbol.")
    return found


def _asked_symbols(values: Mapping[str, str]) -> list[str]:
    if "symbols" in values:
        try:
            names = json.loads(values["symbols"])
        except ValueError:
            names = None
        if not isinstance(names, list):
            raise _Failure(-1100, "Illegal characters found in parameter 'symbols'.")
        return [_symbol({"symbol": str(name)}) for name in names]
    return [_symbol(values)] if "symbol" in values else list(_symbols().values())


def _exchange_info(venue: BinanceVenue, values: Mapping[str, str]) -> dict[str, Any]:
    return {
        "timezone": "UTC",
        "serverTime": venue.now(),
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        ],
        "exchangeFilters": [],
        "symbols": [_market_row(venue, symbol) for symbol in _asked_symbols(values)],
    }


def _market_row(venue: BinanceVenue, symbol: str) -> dict[str, Any]:
    market: Market = paper.PRODUCTS[paper.Imitated.BINANCE][symbol].market(symbol)
    name = symbol.replace("-", "")
    most, largest = market.max_amount or Decimal(9000), market.max_spend or Decimal(9_000_000)
    lot = {"minQty": _fixed(market.min_amount), "maxQty": _fixed(most), "stepSize": _fixed(market.amount_step)}
    return {
        "symbol": name,
        "status": venue.statuses.get(name, "TRADING"),
        "baseAsset": market.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": _fixed(market.price_step),
                "maxPrice": "1000000.00000000",
                "tickSize": _fixed(market.price_step),
            },
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot, "minQty": _fixed(ZERO), "stepSize": _fixed(ZERO)},
            {
                "filterType": "NOTIONAL",
                "minNotional": _fixed(market.min_spend),
                "applyMinToMarket": True,
                "maxNotional": _fixed(largest),
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_MAKER"],
    }


def _tickers(venue: BinanceVenue, values: Mapping[str, str]) -> object:
    """Best bid and ask, with the last price; one row alone where one symbol was named."""
    rows = [
        {
            "symbol": price.symbol.replace("-", ""),
            "lastPrice": _fixed(price.bid),
            "price": _fixed(price.bid),
            "bidPrice": _fixed(price.bid),
            "bidQty": _fixed(Decimal(1)),
            "askPrice": _fixed(price.ask),
            "askQty": _fixed(Decimal(1)),
        }
        for price in paper.get_prices(venue.paper, _asked_symbols(values))
    ]
    return rows[0] if "symbol" in values and rows else rows


# --- questions of the account


def _account(venue: BinanceVenue, _values: Mapping[str, str]) -> dict[str, Any]:
    report = paper.get_account(venue.paper)
    maker, taker = (_fixed(figure.value) for figure in paper.get_fees(venue.paper))
    balances = [
        {"asset": holding.currency, "free": _fixed(holding.available), "locked": _fixed(holding.hold)}
        for holding in report.holdings
        if holding.available or holding.hold
    ]
    # What is lent out stands among the balances too, under a name of its own.
    lent = [
        {"asset": f"LD{holding.currency}", "free": _fixed(holding.locked), "locked": _fixed(ZERO)}
        for holding in report.holdings
        if holding.locked
    ]
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": maker, "taker": taker, "buyer": _fixed(ZERO), "seller": _fixed(ZERO)},
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": venue.now(),
        "accountType": "SPOT",
        "balances": balances + lent,
        "permissions": ["SPOT"],
        "uid": int(report.identity[:8], 16),
    }


def _restrictions(venue: BinanceVenue, _values: Mapping[str, str]) -> dict[str, Any]:
    may = venue.key.permissions
    return {
        "ipRestrict": False,
        "createTime": 1_700_000_000_000,
        "enableReading": "view" in may,
        "enableSpotAndMarginTrading": "trade" in may,
        "enableWithdrawals": "withdraw" in may,
        "enableInternalTransfer": "transfer" in may,
        "permitsUniversalTransfer": "transfer" in may,
        "enableMargin": False,
        "enableFutures": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enablePortfolioMarginTrading": False,
    }


def _trade_fees(venue: BinanceVenue, values: Mapping[str, str]) -> list[dict[str, Any]]:
    maker, taker = (plain(figure.value) for figure in paper.get_fees(venue.paper))
    return [
        {"symbol": symbol.replace("-", ""), "makerCommission": maker, "takerCommission": taker}
        for symbol in _asked_symbols(values)
    ]


def _coins(_venue: BinanceVenue, _values: Mapping[str, str]) -> list[dict[str, Any]]:
    codes = sorted({code for symbol in _symbols().values() for code in symbol.split("-")})
    return [
        {
            "coin": code,
            "name": code,
            "depositAllEnable": True,
            "withdrawAllEnable": True,
            "free": "0",
            "locked": "0",
            "freeze": "0",
            "withdrawing": "0",
            "ipoing": "0",
            "ipoable": "0",
            "storage": "0",
            "isLegalMoney": False,
            "trading": True,
            "networkList": [],
        }
        for code in codes
    ]


def _none(_venue: BinanceVenue, _values: Mapping[str, str]) -> list[dict[str, Any]]:
    return []


# --- orders

_STATUSES: Final = {
    OrderStatus.OPEN: "NEW",
    OrderStatus.PARTLY_FILLED: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.CANCELLED: "CANCELED",
    OrderStatus.EXPIRED: "EXPIRED",
}
_ORDER_FIELDS: Final = frozenset(
    {
        "symbol",
        "side",
        "type",
        "timeInForce",
        "quantity",
        "quoteOrderQty",
        "price",
        "newClientOrderId",
        "newOrderRespType",
        "recvWindow",
        "timestamp",
        "signature",
    }
)
_LEGAL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,36}", re.ASCII)


def _order_id(placed: paper.Placed) -> int:
    return _FIRST_ID + placed.number


def _client_order_id(placed: paper.Placed) -> str:
    """An order that came with none is shown with one of Binance's own."""
    own = placed.client_order_id.startswith(paper.UNNAMED)
    return f"web_{placed.order_id}" if own else placed.client_order_id


def _on_the_wire(placed: paper.Placed) -> Receipt:
    return evolve(placed.receipt(), order_id=str(_order_id(placed)))


def _order_row(placed: paper.Placed) -> dict[str, Any]:
    # Binance says of the rest of a market order that it expired.
    is_market = placed.limit is None
    status = "EXPIRED" if is_market and placed.status is OrderStatus.CANCELLED else _STATUSES[placed.status]
    at = int(placed.placed_at * 1000)
    return {
        "symbol": placed.symbol.replace("-", ""),
        "orderId": _order_id(placed),
        "orderListId": -1,
        "clientOrderId": _client_order_id(placed),
        "price": _fixed(placed.limit or ZERO),
        "origQty": _fixed(placed.wanted),
        "executedQty": _fixed(placed.filled),
        "origQuoteOrderQty": _fixed(placed.spend or ZERO),
        "cummulativeQuoteQty": _fixed(placed.receipt().filled_value),
        "status": status,
        "timeInForce": "GTC",
        "type": "MARKET" if is_market else "LIMIT",
        "side": placed.side.upper(),
        "stopPrice": _fixed(ZERO),
        "icebergQty": _fixed(ZERO),
        "time": at,
        "updateTime": at,
        "isWorking": True,
        "workingTime": at,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def _trade_rows(placed: paper.Placed) -> list[dict[str, Any]]:
    if not placed.filled:
        return []
    return [
        {
            "symbol": placed.symbol.replace("-", ""),
            "id": _order_id(placed),
            "orderId": _order_id(placed),
            "orderListId": -1,
            "price": _fixed(round_down(placed.value / placed.filled, _DIGITS)),
            "qty": _fixed(placed.filled),
            "quoteQty": _fixed(placed.receipt().filled_value),
            "commission": _fixed(placed.receipt().fees),
            "commissionAsset": placed.symbol.split("-")[1],
            "time": int(placed.placed_at * 1000),
            "isBuyer": placed.side is Side.BUY,
            "isMaker": placed.fees == placed.value * placed.maker_fee,
            "isBestMatch": True,
        }
    ]


def _place(venue: BinanceVenue, values: Mapping[str, str]) -> dict[str, Any]:
    order = _read_order(venue, values)
    receipt = paper.place_order(venue.paper, order)
    if receipt.order_id is None:
        code, _, message = (receipt.code or "").partition(" ")
        raise _Failure(int(code), message)
    placed = next(one for one in paper.placed_orders(venue.paper) if one.order_id == receipt.order_id)
    row = _order_row(placed)
    ack = {name: row[name] for name in ("symbol", "orderId", "orderListId", "clientOrderId")}
    answer = {**ack, "transactTime": row["time"]}
    kind = values.get("newOrderRespType", "FULL")
    if kind != "ACK":
        answer.update({name: value for name, value in row.items() if name not in _ONLY_WHEN_ASKED})
    if kind == "FULL":
        names = {"price", "qty", "commission", "commissionAsset"}
        answer["fills"] = [
            {"tradeId": trade["id"], **{name: value for name, value in trade.items() if name in names}}
            for trade in _trade_rows(placed)
        ]
    return answer


_ONLY_WHEN_ASKED: Final = frozenset({"time", "updateTime", "isWorking", "stopPrice", "icebergQty"})


def _test_order(venue: BinanceVenue, values: Mapping[str, str]) -> dict[str, Any]:
    _read_order(venue, values)
    return {}


def _read_order(venue: BinanceVenue, values: Mapping[str, str]) -> VenueOrder:
    unread = set(values) - _ORDER_FIELDS
    if unread:
        read = len(values) - len(unread)
        raise _Failure(
            -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(values)}'."
        )
    symbol = _symbol(values)
    if venue.statuses.get(values["symbol"], "TRADING") != "TRADING":
        raise _Failure(-1013, "Market is closed.")
    side = values.get("side")
    if side not in ("BUY", "SELL"):
        raise _Failure(-1117, "Invalid side.")
    client_order_id = values.get("newClientOrderId", "")
    if "newClientOrderId" in values and not _LEGAL_ID.fullmatch(client_order_id):
        raise _Failure(
            -1100,
            "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'.",
        )
    _check_type(values)
    order = VenueOrder(
        account="",
        symbol=symbol,
        side=Side(side.lower()),
        spend=_amount(values, "quoteOrderQty"),
        amount=_amount(values, "quantity"),
        limit=_amount(values, "price"),
        client_order_id=client_order_id or f"{paper.UNNAMED}{venue.paper.clock.new_id()}",
        send_by=math.inf,  # `timestamp` and `recvWindow` were looked at when the request arrived
    )
    if values["type"] == "LIMIT_MAKER" and order.limit is not None:
        for price in paper.get_prices(venue.paper, [symbol]):
            if order.limit >= price.ask if order.side is Side.BUY else order.limit <= price.bid:
                raise _Failure(-2010, "Order would immediately match and take.")
    return order


_NEEDS: Final[Mapping[str, frozenset[str]]] = {
    "LIMIT": frozenset({"timeInForce", "quantity", "price"}),
    "LIMIT_MAKER": frozenset({"quantity", "price"}),
    "MARKET": frozenset(),
}
_TERMS: Final = frozenset({"timeInForce", "quantity", "quoteOrderQty", "price"})


def _check_type(values: Mapping[str, str]) -> None:
    kind = values.get("type", "")
    if kind not in _NEEDS:
        raise _Failure(-1116, "Invalid orderType.")
    given = _TERMS & set(values)
    needs = _NEEDS[kind]
    if kind == "MARKET":
        sizes = given & {"quantity", "quoteOrderQty"}
        if len(sizes) != 1:
            raise _Failure(-1102, "Either 'quantity' or 'quoteOrderQty' must be sent, and not both.")
        needs = frozenset(sizes)
    for name in sorted(needs - given):
        raise _Failure(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    for name in sorted(given - needs):
        raise _Failure(-1106, f"Parameter '{name}' sent when not required.")
    if values.get("timeInForce", "GTC") != "GTC":
        raise _Failure(-1115, "Invalid timeInForce.")


def _found(venue: BinanceVenue, values: Mapping[str, str], code: int, message: str) -> paper.Placed:
    """The order of that id, or the newest with that client order id, in the symbol."""
    symbol = _symbol(values)
    if not {"orderId", "origClientOrderId"} & set(values):
        raise _Failure(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    for placed in reversed(paper.placed_orders(venue.paper)):
        fits = values.get("orderId", str(_order_id(placed))) == str(_order_id(placed))
        named = values.get("origClientOrderId", _client_order_id(placed)) == _client_order_id(placed)
        if placed.symbol == symbol and fits and named:
            return placed
    raise _Failure(code, message)


def _order(venue: BinanceVenue, values: Mapping[str, str]) -> dict[str, Any]:
    return _order_row(_found(venue, values, -2013, "Order does not exist."))


def _cancel(venue: BinanceVenue, values: Mapping[str, str]) -> dict[str, Any]:
    placed = _found(venue, values, -2011, "Unknown order sent.")
    if placed.status.is_final:
        raise _Failure(-2011, "Unknown order sent.")
    paper.cancel_order(venue.paper, as_sent(placed))
    row = _order_row(_found(venue, {"symbol": values["symbol"], "orderId": str(_order_id(placed))}, -2011, ""))
    return {
        **{name: value for name, value in row.items() if name not in _ONLY_WHEN_ASKED},
        "origClientOrderId": row["clientOrderId"],
        "clientOrderId": values.get("newClientOrderId", venue.paper.clock.new_id()),
        "transactTime": venue.now(),
    }


def _open_orders(venue: BinanceVenue, values: Mapping[str, str]) -> list[dict[str, Any]]:
    symbols = _asked_symbols(values)
    return [
        _order_row(placed)
        for placed in paper.placed_orders(venue.paper)
        if placed.symbol in symbols and not placed.status.is_final
    ]


def _all_orders(venue: BinanceVenue, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Oldest first: from where the request says, or else the last ones."""
    symbol, size = _symbol(values), min(_whole(values, "limit", 500), venue.page_size)
    begin, end = _whole(values, "startTime", 0), _whole(values, "endTime", venue.now() + _DAY)
    if {"startTime", "endTime"} <= set(values) and end - begin > _DAY:
        raise _Failure(-1127, "More than 24 hours between startTime and endTime.")
    first = _whole(values, "orderId", 0)
    rows = [_order_row(placed) for placed in paper.placed_orders(venue.paper) if placed.symbol == symbol]
    rows = [row for row in rows if begin <= row["time"] <= end and row["orderId"] >= first]
    return rows[:size] if {"startTime", "orderId"} & set(values) else rows[-size:]


def _my_trades(venue: BinanceVenue, values: Mapping[str, str]) -> list[dict[str, Any]]:
    symbol, size = _symbol(values), min(_whole(values, "limit", 500), venue.page_size)
    begin = _whole(values, "startTime", 0)
    rows = [
        trade
        for placed in paper.placed_orders(venue.paper)
        for trade in _trade_rows(placed)
        if placed.symbol == symbol and values.get("orderId", str(_order_id(placed))) == str(_order_id(placed))
    ]
    return [row for row in rows if row["time"] >= begin][-size:]


# --- reading requests


def _pairs(request: Request) -> list[tuple[str, str]]:
    """Every parameter, of the query and of the body. One that comes twice is an error, as at Binance."""
    pairs = [(name, value) for name, values in request.query.items() for value in values]
    try:
        pairs += parse_qsl(request.body.decode("ascii"), keep_blank_values=True)
    except UnicodeDecodeError:
        raise _Failure(-1100, "Illegal characters found in a parameter.") from None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise _Failure(-1101, "Duplicate values for a parameter detected.")
    return pairs


def _signed_text(request: Request) -> str:
    """What a signature is over: the query and then the body, as they were written, without the signature itself."""
    return re.sub(r"&?signature=[^&]*", "", request.query_text + request.body.decode("ascii"))


def _whole(values: Mapping[str, str], name: str, default: int | None) -> int:
    text = values.get(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _Failure(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return int(text)


def _amount(values: Mapping[str, str], name: str) -> Decimal | None:
    if name not in values:
        return None
    try:
        return parse_amount(values[name], name)
    except InputError:
        raise _Failure(-1100, f"Illegal characters found in parameter '{name}'.") from None


# --- writing answers


def _fixed(value: Decimal) -> str:
    return format(value.quantize(_DIGITS), "f")


def _json(answer: object, status: int = 200) -> Reply:
    return Reply(json.dumps(answer, separators=(",", ":")).encode("utf-8"), status)


def _failed(code: int, message: str) -> Reply:
    return _json({"code": code, "msg": message}, _STATUS_OF.get(code, 400))


# --- how answers are twisted


def _without_id(order: dict[str, Any]) -> None:
    order.pop("orderId", None)


def _with_moved_id(order: dict[str, Any]) -> None:
    order["order"] = {"orderId": order.pop("orderId", None)}


def _of_another_order(order: dict[str, Any]) -> None:
    if "orderId" in order:
        order.update({"orderId": order["orderId"] + 7, "clientOrderId": "x-another-order"})


def _of_another_size(order: dict[str, Any]) -> None:
    for name in ("origQty", "origQuoteOrderQty"):
        if name in order:
            order[name] = _fixed(Decimal(order[name]) * 2)


_TWISTS: Final[Mapping[str, Callable[[dict[str, Any]], None]]] = {
    "no_id": _without_id,
    "moved_id": _with_moved_id,
    "other_id": _of_another_order,
    "other_size": _of_another_size,
}


# --- what there is to ask


@frozen
class _Route:
    """`scope` is the permission a key needs; None lets anybody ask."""

    action: str
    scope: str | None
    answer: Callable[[BinanceVenue, Mapping[str, str]], object]


_ROUTES: Final[Mapping[tuple[str, str], _Route]] = {
    ("GET", "/api/v3/ping"): _Route("time", None, _ping),
    ("GET", "/api/v3/time"): _Route("time", None, _time),
    ("GET", "/api/v3/exchangeInfo"): _Route("market", None, _exchange_info),
    ("GET", "/api/v3/ticker/bookTicker"): _Route("prices", None, _tickers),
    ("GET", "/api/v3/ticker/price"): _Route("prices", None, _tickers),
    ("GET", "/api/v3/ticker/24hr"): _Route("prices", None, _tickers),
    ("GET", "/api/v3/account"): _Route("account", "view", _account),
    ("GET", "/api/v3/openOrders"): _Route("find", "view", _open_orders),
    ("GET", "/api/v3/allOrders"): _Route("find", "view", _all_orders),
    ("GET", "/api/v3/myTrades"): _Route("find", "view", _my_trades),
    ("GET", "/api/v3/order"): _Route("find", "view", _order),
    ("POST", "/api/v3/order"): _Route("place", "trade", _place),
    ("POST", "/api/v3/order/test"): _Route("other", "trade", _test_order),
    ("DELETE", "/api/v3/order"): _Route("cancel", "trade", _cancel),
    ("GET", "/sapi/v1/account/apiRestrictions"): _Route("permissions", "view", _restrictions),
    ("GET", "/sapi/v1/asset/tradeFee"): _Route("fees", "view", _trade_fees),
    ("GET", "/sapi/v1/capital/config/getall"): _Route("market", "view", _coins),
    ("GET", "/sapi/v1/margin/allPairs"): _Route("market", "view", _none),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): _Route("market", "view", _none),
}
