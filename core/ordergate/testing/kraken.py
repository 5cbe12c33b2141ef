"""Kraken Spot on loopback: its REST API in front of a paper venue, which is the exchange behind it.

This module translates, authenticates and knows Kraken's words; balances, holds, fills, minimums and ids are the paper
venue's. Every figure and every order is read from there anew, so other programs may use the same venue file.

    with rehearsal(folder) as kraken:
        kraken.fail("cut", on="place")      # the next order is taken, and nobody hears of it

Not imitated, and refused where asked for: order types but market and limit, `timeinforce` but GTC, the order flags
`post`, `fcib` and `nompp`, conditional closes, leverage, batches, edits, deposits and withdrawals. An order's fills are
shown as one trade. `start` and `end` of listings are moments, not ids.

Top to bottom: the rehearsal, keys and signatures, the venue, names, what is asked of it, orders, lies.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from attrs import define, evolve, field, frozen

import ordergate_paper as paper
from ordergate.amounts import ZERO, exact, parse_amount, plain
from ordergate.clock import SystemClock
from ordergate.errors import BrokerError, InputError
from ordergate.keys import read_key_file
from ordergate.models import Market, OrderStatus, Receipt, Side, VenueOrder
from ordergate.testing.loopback import FAULTS, Loopback, Reply, Request
from ordergate.testing.rehearsal import Rehearsal
from ordergate.testing.stage import as_sent, seeded, write_key_file

__all__ = ["Budget", "Key", "KrakenRehearsal", "KrakenVenue", "rehearsal", "serve", "signature"]


# --- the rehearsal


@frozen(kw_only=True)
class KrakenRehearsal(Rehearsal):
    """A rehearsal with what tests of the Kraken broker further want to turn."""

    dialect: KrakenVenue
    server: Loopback


def rehearsal(
    folder: Path,
    *,
    permissions: Collection[str] = ("view", "trade"),
    cash: str = "1000",
    clock_ahead: float = 0.0,
    port: int = 0,
    **seed: Any,
) -> KrakenRehearsal:
    """Start the venue; its files are kept in the folder, and used again where they are there already.

    `permissions` are words of view, trade, transfer and withdraw, or Kraken's own, such as `export-data`. `cash` is in
    USD. `clock_ahead` is by how many seconds the venue's clock is ahead of this machine's. `seed` are further settings
    of the paper venue, such as `locked` or `spread`. Raises InputError for what makes no sense.
    """
    granted = _granted(permissions)
    venue = seeded(folder / "kraken.db", paper.Imitated.KRAKEN, cash=cash, clock_ahead=clock_ahead, seed=seed)
    key_file = folder / "kraken.key"
    dialect = KrakenVenue(venue, [_key(key_file, granted)])
    server = Loopback(dialect, port=port)
    return KrakenRehearsal(
        settings={"key_file": str(key_file), "base_url": f"http://{server.address}"},
        orders=lambda: [_on_the_wire(receipt) for receipt in paper.list_orders(venue, 0.0)],
        requests=lambda: server.count("place"),
        count=server.count,
        fail=server.fail,
        clear=server.clear,
        set_price=lambda symbol, price: paper.set_price(venue, symbol, price),
        close=server.close,
        faults=frozenset(FAULTS) | dialect.lies,
        dialect=dialect,
        server=server,
    )


def serve(folder: Path, port: int) -> KrakenRehearsal:
    """The venue on a port of its own, for a person to try a bot against."""
    return rehearsal(folder, port=port)


# --- keys and signatures

_RIGHTS: Final[Mapping[str, tuple[str, ...]]] = {
    "view": ("query-funds", "query-open-trades", "query-closed-trades"),
    "trade": ("modify-trades", "close-trades"),
    "transfer": ("add-funds", "earn-funds"),
    "withdraw": ("withdraw-funds",),
}
_ALL_RIGHTS: Final = frozenset(right for rights in _RIGHTS.values() for right in rights) | {
    "query-ledger",
    "export-data",
    "create-ws-token",
    "add-withdraw-address",
    "update-withdraw-address",
}
"""Kraken's names of what a key may do, as GetApiKeyInfo lists them (API reference, read 2026-11-22)."""


def _granted(permissions: Collection[str]) -> tuple[str, ...]:
    unknown = set(permissions) - {*_RIGHTS, *_ALL_RIGHTS}
    if unknown:
        raise InputError("permissions", ", ".join(sorted(unknown)), f"use {', '.join(_RIGHTS)}, or Kraken's own names")
    return tuple(right for word in permissions for right in _RIGHTS.get(word, (word,)))


@frozen
class Key:
    """An API key, its secret as Kraken hands it out (base64), and what it may do in Kraken's words."""

    key: str
    secret: str = field(repr=False)
    rights: tuple[str, ...]


def signature(secret: str, path: str, nonce: str, body: bytes) -> str:
    """`API-Sign` of a request: the path from `/0/` on, the nonce as it stands in the body, the body as it is sent."""
    message = path.encode() + hashlib.sha256(nonce.encode("utf-8", "replace") + body).digest()
    return base64.b64encode(hmac.new(base64.b64decode(secret), message, hashlib.sha512).digest()).decode("ascii")


def _key(path: Path, rights: tuple[str, ...]) -> Key:
    """The key in the file, which is made where there is none: the key in the first line, its secret in the second."""
    if not path.exists():
        key, secret = (base64.b64encode(_fresh_bytes(count)).decode("ascii") for count in (42, 64))
        write_key_file(path, f"{key}\n{secret}\n")
    lines = read_key_file(path).split()
    if len(lines) != 2:
        raise InputError("key_file", str(path), "it holds no key and secret; move it away to have one made")
    return Key(lines[0], lines[1], rights)


def _fresh_bytes(count: int) -> bytes:
    return hashlib.shake_256(SystemClock().new_id().encode()).digest(count)


@define
class Budget:
    """The counter of private requests under one key: each adds 1, listings of orders and trades 2, orders and cancels
    none; what is over `most` is refused. It falls by `decay` each second. Kraken's Starter tier: 15 and 0.33 (guide to
    REST rate limits, read 2026-10-01).
    """

    most: float = 15.0
    decay: float = 0.33
    spent: float = 0.0
    at: float = 0.0

    def spend(self, cost: float, now: float) -> bool:
        """Whether there was enough left."""
        self.spent = max(0.0, self.spent - self.decay * (now - self.at)) + cost
        self.at = now
        return self.spent <= self.most


# --- the venue

_OPEN: Final = frozenset({OrderStatus.OPEN, OrderStatus.PARTLY_FILLED})
_LONGEST_NONCE: Final = 2**64


class _Refused(Exception):
    """What Kraken answers in `error`. Never leaves this module."""


@frozen
class _Asked:
    """A request's fields as text, and the moment it is answered at by the venue's clock."""

    fields: Mapping[str, str]
    key: Key | None
    now: float

    def text(self, name: str) -> str:
        return self.fields.get(name, "")

    def is_true(self, name: str) -> bool:
        return self.text(name).lower() in ("true", "1")


class KrakenVenue:
    """The dialect. Tests may turn what its attributes say while it runs."""

    lies: frozenset[str] = frozenset({"no_id", "moved_id", "other_id", "other_size", "error", "hidden", "half"})

    def __init__(self, venue: paper.PaperVenue, keys: Collection[Key]) -> None:
        self.venue = venue
        self.wallets: dict[str, str] = {}
        """Further balances by Kraken's code of the asset, such as `{"XBT.F": "0.5", "KFEE": "12"}`."""
        self.statuses: dict[str, str] = {}
        """The status of a pair by symbol, where it is not `online`."""
        self.unlisted = False
        """Whether no order is listed, open or closed, while trades are, and each order is shown to who has its id."""
        self.budget: Budget | None = None
        """Limits the private requests of all keys together; None: as many as there come."""
        self._keys = {key.key: key for key in keys}
        self._nonces: dict[str, int] = {}
        self._lock = threading.Lock()

    def action(self, request: Request) -> str:
        name = _name(request)
        call = _CALLS.get(name)
        if call is None:
            return "place" if name in _COULD_PLACE else "other"
        if name == "AddOrder" and _fields(request).get("validate", "").lower() in ("true", "1"):
            return "other"
        if name == "OpenOrders" and "cl_ord_id" in _fields(request):
            return "find"
        return call.action

    def answer(self, request: Request) -> Reply:
        if not request.path.startswith("/0/"):
            return Reply(b"<html><body>404 Not Found</body></html>", 404, "text/html")
        try:
            with exact():
                result = self._result(request)
        except _Refused as refused:
            return _json({"error": [str(refused)]})
        except BrokerError:
            return _json({"error": ["EService:Unavailable"]})
        return _json({"error": [], "result": result})

    def twisted(self, lie: str, text: str, request: Request, reply: Reply) -> Reply:
        if lie == "error":
            return _json({"error": [text or "EService:Unavailable"]})
        answer = json.loads(reply.body)
        result = answer.get("result")
        if isinstance(result, dict):
            answer["result"] = _LIES[lie](result, _name(request))
        return _json(answer)

    def _result(self, request: Request) -> Any:
        call = _CALLS.get(_name(request))
        kind = request.path.split("/")[2:-1]
        if call is None or kind != ["public" if call.rights is None else "private"]:
            raise _Refused("EGeneral:Unknown method")
        now = self.venue.clock.now()
        if call.rights is None:
            return call.run(self, _Asked(_fields(request), None, now))
        if request.method != "POST":
            raise _Refused("EGeneral:Unknown method")
        key = self._authenticated(request)
        if call.rights and not set(call.rights) & set(key.rights):
            raise _Refused("EGeneral:Permission denied")
        with self._lock:
            if self.budget is not None and not self.budget.spend(call.cost, now):
                raise _Refused("EAPI:Rate limit exceeded")
        return call.run(self, _Asked(_fields(request), key, now))

    def _authenticated(self, request: Request) -> Key:
        key = self._keys.get(request.headers.get("api-key", ""))
        if key is None:
            raise _Refused("EAPI:Invalid key")
        nonce = _fields(request).get("nonce", "")
        expected = signature(key.secret, request.path, nonce, request.body)
        if not hmac.compare_digest(expected.encode(), request.headers.get("api-sign", "").encode()):
            raise _Refused("EAPI:Invalid signature")
        with self._lock:
            number = int(nonce) if nonce.isascii() and nonce.isdigit() and len(nonce) <= 20 else -1
            if not self._nonces.get(key.key, -1) < number < _LONGEST_NONCE:
                raise _Refused("EAPI:Invalid nonce")
            self._nonces[key.key] = number
        return key


def _name(request: Request) -> str:
    return request.path.rpartition("/")[2]


def _fields(request: Request) -> dict[str, str]:
    """The fields of the query and of the body, form-encoded or JSON, all as text."""
    fields = {name: values[-1] for name, values in request.query.items()}
    kind = request.headers.get("content-type", "")
    try:
        body = request.body.decode("utf-8")
        given = (
            json.loads(body, parse_float=Decimal)
            if "json" in kind and body
            else dict(parse_qsl(body, keep_blank_values=True))
        )
    except (ValueError, RecursionError):
        return fields
    if isinstance(given, dict):
        fields |= {str(name): _as_text(value) for name, value in given.items() if value is not None}
    return fields


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else ""
    return value if isinstance(value, str) else json.dumps(value)


def _json(answer: object) -> Reply:
    return Reply(json.dumps(answer, separators=(",", ":")).encode("utf-8"))


# --- names

_LEGACY: Final[Mapping[str, tuple[str, str]]] = {
    "BTC": ("XXBT", "XBT"),
    "DOGE": ("XXDG", "XDG"),
    "ETH": ("XETH", "ETH"),
    "LTC": ("XLTC", "LTC"),
    "XRP": ("XXRP", "XRP"),
    "USD": ("ZUSD", "USD"),
    "EUR": ("ZEUR", "EUR"),
    "GBP": ("ZGBP", "GBP"),
}
"""Currency to Kraken's code and alternative name, where they are not the currency's own."""
_ODD_PAIRS: Final = {"USDT-USD": "USDTZUSD", "DOGE-USD": "XDGUSD"}
"""Pairs whose id is made from codes and names by no rule."""


def _code(currency: str) -> str:
    return _LEGACY.get(currency, (currency, currency))[0]


def _altname(currency: str) -> str:
    return _LEGACY.get(currency, (currency, currency))[1]


@frozen
class _Pair:
    """A market under Kraken's names."""

    market: Market
    id: str
    altname: str
    wsname: str

    @property
    def decimals(self) -> tuple[int, int, int]:
        """Of prices, of base amounts, of quote amounts."""
        market = self.market
        return _decimals(market.price_step), _decimals(market.amount_step), _decimals(market.spend_step)


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _pairs(venue: KrakenVenue) -> list[_Pair]:
    symbols = sorted({*paper.PRODUCTS[paper.Imitated.KRAKEN], *venue.venue.settings.prices})
    markets = [paper.get_market(venue.venue, symbol) for symbol in symbols]
    return [_pair_of(market) for market in markets if market is not None]


def _pair_of(market: Market) -> _Pair:
    base, quote = market.base, market.quote
    altname = _altname(base) + _altname(quote)
    both = base in _LEGACY and quote in _LEGACY
    found = _ODD_PAIRS.get(market.symbol) or (_code(base) + _code(quote) if both else altname)
    return _Pair(market, found, altname, f"{_altname(base)}/{_altname(quote)}")


def _pair(venue: KrakenVenue, name: str) -> _Pair:
    for pair in _pairs(venue):
        if name in (pair.id, pair.altname, pair.wsname):
            return pair
    raise _Refused("EQuery:Unknown asset pair")


def _named_pairs(venue: KrakenVenue, asked: _Asked) -> list[_Pair]:
    """Those that were asked for by any of their names, or all. One unknown name fails the whole call."""
    names = asked.text("pair")
    return [_pair(venue, name) for name in names.split(",")] if names else _pairs(venue)


def _fixed(value: Decimal, decimals: int) -> str:
    return format(value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN), "f")


# --- what is asked of it


def _time(_venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    return {"unixtime": int(asked.now), "rfc1123": formatdate(asked.now, usegmt=True)}


def _system_status(_venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    moment = datetime.fromtimestamp(asked.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"status": "online", "timestamp": moment}


def _assets(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    pairs = _pairs(venue)
    named = {name for pair in pairs for name in (pair.market.base, pair.market.quote)}
    codes = {_code(name): _altname(name) for name in named} | {code: code for code in _wallets(venue)}
    wanted = asked.text("asset").split(",") if asked.text("asset") else list(codes)
    found = {code: name for code, name in codes.items() if code in wanted or name in wanted}
    if len(found) < len(wanted):
        raise _Refused("EQuery:Unknown asset")
    return {
        code: {
            "aclass": "currency",
            "altname": name,
            "decimals": 4 if code in ("ZUSD", "ZEUR", "ZGBP") else 10,
            "display_decimals": 2 if code in ("ZUSD", "ZEUR", "ZGBP") else 5,
            "status": "enabled",
        }
        for code, name in sorted(found.items())
    }


def _asset_pairs(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    return {pair.id: _pair_row(venue, pair) for pair in _named_pairs(venue, asked)}


def _pair_row(venue: KrakenVenue, pair: _Pair) -> dict[str, Any]:
    market = pair.market
    prices, amounts, spends = pair.decimals
    return {
        "altname": pair.altname,
        "wsname": pair.wsname,
        "aclass_base": "currency",
        "base": _code(market.base),
        "aclass_quote": "currency",
        "quote": _code(market.quote),
        "lot": "unit",
        "cost_decimals": spends,
        "pair_decimals": prices,
        "lot_decimals": amounts,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.8]],
        "fees_maker": [[0, 0.4]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": plain(market.min_amount),
        "costmin": plain(market.min_spend),
        "tick_size": plain(market.price_step),
        "status": venue.statuses.get(market.symbol, "online"),
    }


def _ticker(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    pairs = _named_pairs(venue, asked)
    prices = {price.symbol: price for price in paper.get_prices(venue.venue, [pair.market.symbol for pair in pairs])}
    return {
        pair.id: _ticker_row(pair, prices[pair.market.symbol].bid, prices[pair.market.symbol].ask)
        for pair in pairs
        if pair.market.symbol in prices
    }


def _ticker_row(pair: _Pair, bid: Decimal, ask: Decimal) -> dict[str, Any]:
    decimals = max(5, pair.decimals[0])
    low, high = _fixed(bid, decimals), _fixed(ask, decimals)
    return {
        "a": [high, "1", "1.000"],
        "b": [low, "1", "1.000"],
        "c": [low, "0.00100000"],
        "v": ["1.00000000", "24.00000000"],
        "p": [low, low],
        "t": [1, 24],
        "l": [low, low],
        "h": [high, high],
        "o": low,
    }


def _wallets(venue: KrakenVenue) -> dict[str, str]:
    """Balances that no order can use: what is staked, and what a test added."""
    staked = {f"{_altname(name)}.S": _fixed(amount, 10) for name, amount in venue.venue.settings.locked.items()}
    return {**staked, **venue.wallets}


def _balances(venue: KrakenVenue, _asked: _Asked) -> dict[str, Any]:
    return {code: row["balance"] for code, row in _balances_ex(venue, _asked).items()}


def _balances_ex(venue: KrakenVenue, _asked: _Asked) -> dict[str, Any]:
    held = {
        _code(one.currency): {
            "balance": _fixed(one.available + one.hold, 10),
            "hold_trade": _fixed(one.hold, 10),
        }
        for one in paper.get_account(venue.venue).holdings
        if one.available + one.hold
    }
    return held | {code: {"balance": text, "hold_trade": "0.0000000000"} for code, text in _wallets(venue).items()}


def _trade_balance(venue: KrakenVenue, _asked: _Asked) -> dict[str, Any]:
    """What all plain balances are worth in USD, at the bid where there is a market."""
    holdings = {one.currency: one.available + one.hold for one in paper.get_account(venue.venue).holdings}
    symbols = [f"{name}-USD" for name in holdings if paper.get_market(venue.venue, f"{name}-USD") is not None]
    bids = {price.symbol: price.bid for price in paper.get_prices(venue.venue, symbols)}
    worth = sum((total * bids.get(f"{name}-USD", ZERO) for name, total in holdings.items()), ZERO)
    total = _fixed(worth + holdings.get("USD", ZERO), 4)
    none = "0.0000"
    return {"eb": total, "tb": total, "m": none, "n": none, "c": none, "v": none, "e": total, "mf": total}


def _trade_volume(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    answer: dict[str, Any] = {"currency": "ZUSD", "volume": "0.0000"}
    if not asked.text("pair"):
        return answer
    profile = paper.broker_profile(venue.venue.settings)
    for name, rate in (("fees", profile.taker_fee.value), ("fees_maker", profile.maker_fee.value)):
        percent = _fixed(rate * 100, 4)
        answer[name] = {
            pair.id: {
                "fee": percent,
                "minfee": "0.0000",
                "maxfee": percent,
                "nextfee": None,
                "tiervolume": "0.0000",
                "nextvolume": None,
            }
            for pair in _named_pairs(venue, asked)
        }
    return answer


def _api_key_info(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    key = asked.key
    if key is None:
        raise _Refused("EAPI:Invalid key")
    account = hashlib.sha256(paper.get_account(venue.venue).identity.encode()).hexdigest().upper()
    return {
        "apiKeyName": "rehearsal",
        "apiKey": key.key,
        "nonce": asked.text("nonce"),
        "nonceWindow": 0,
        "permissions": list(key.rights),
        "iban": f"AA{int(account[:4], 16) % 90 + 10} {account[4:8]} {account[8:12]} {account[12:16]}",
        "validUntil": "0",
        "queryFrom": "0",
        "queryTo": "0",
        "createdTime": "1772542900",
        "modifiedTime": "1772542900",
        "ipAllowlist": [],
        "lastUsed": str(int(asked.now)),
    }


# --- looking orders up

_PAGE: Final = 50
_MOST_IDS: Final = 50


def _orders(venue: KrakenVenue) -> list[paper.Placed]:
    """Newest first, as Kraken lists them."""
    return paper.placed_orders(venue.venue)[::-1]


def _listed(venue: KrakenVenue) -> list[paper.Placed]:
    return [] if venue.unlisted else _orders(venue)


def _open_orders(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    found = [one for one in _listed(venue) if one.status in _OPEN and _is_asked_for(one, asked)]
    return {"open": {_txid(one): _order_row(venue, one, asked) for one in found}}


def _closed_orders(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    found = [
        one
        for one in _listed(venue)
        if one.status not in _OPEN and _is_asked_for(one, asked) and _is_within(one.placed_at, asked)
    ]
    page = _paged(found, asked)
    return {"closed": {_txid(one): _order_row(venue, one, asked) for one in page}, "count": len(found)}


def _query_orders(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    ids = _ids(asked, "txid", _MOST_IDS)
    placed = {_txid(one): one for one in _orders(venue)}
    if any(txid not in placed for txid in ids):
        raise _Refused("EOrder:Invalid order")
    found = [placed[txid] for txid in ids if _is_asked_for(placed[txid], asked)]
    return {_txid(one): _order_row(venue, one, asked) for one in found}


def _trades_history(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    found = [one for one in _orders(venue) if one.filled and _is_within(one.placed_at, asked)]
    return {"trades": {_trade_id(one): _trade_row(one) for one in _paged(found, asked)}, "count": len(found)}


def _query_trades(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    trades = {_trade_id(one): one for one in _orders(venue) if one.filled}
    ids = _ids(asked, "txid", 20)
    if any(name not in trades for name in ids):
        raise _Refused("EOrder:Invalid order")
    return {name: _trade_row(trades[name]) for name in ids}


def _ids(asked: _Asked, name: str, most: int) -> list[str]:
    ids = [text for text in asked.text(name).split(",") if text]
    if not 0 < len(ids) <= most:
        raise _Refused(f"EGeneral:Invalid arguments:{name}")
    return ids


def _is_asked_for(placed: paper.Placed, asked: _Asked) -> bool:
    by_id, by_number = asked.text("cl_ord_id"), asked.text("userref")
    return (not by_id or placed.client_order_id == by_id) and (not by_number or _userref(placed) == by_number)


def _is_within(moment: float, asked: _Asked) -> bool:
    return _moment(asked, "start", 0.0) < moment <= _moment(asked, "end", asked.now + 1)


def _moment(asked: _Asked, name: str, default: float) -> float:
    text = asked.text(name)
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text, re.ASCII):
        raise _Refused(f"EGeneral:Invalid arguments:{name}")
    return float(text)


def _paged(found: Sequence[paper.Placed], asked: _Asked) -> Sequence[paper.Placed]:
    offset = int(_moment(asked, "ofs", 0.0))
    return found[offset : offset + _PAGE]


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _shaped(first: str, seed: str) -> str:
    """An id as Kraken writes them, always the same for the same seed: `OXXXXX-XXXXX-XXXXXX`."""
    letters = [_LETTERS[byte % 32] for byte in hashlib.sha256(f"{first} {seed}".encode()).digest()[:16]]
    text = "".join(letters)
    return f"{first}{text[:5]}-{text[5:10]}-{text[10:]}"


def _txid(placed: paper.Placed) -> str:
    return _shaped("O", placed.order_id)


def _trade_id(placed: paper.Placed) -> str:
    return _shaped("T", placed.order_id)


def _on_the_wire(receipt: Receipt) -> Receipt:
    return evolve(receipt, order_id=_shaped("O", receipt.order_id or ""))


def _userref(placed: paper.Placed) -> str:
    """Kept in the id that an order without one of its own is given: `app-REFERENCE-…`."""
    found = re.match(rf"{paper.UNNAMED}(-?[0-9]+)-", placed.client_order_id)
    return found[1] if found else "0"


_STATUSES: Final = {
    OrderStatus.OPEN: "open",
    OrderStatus.PARTLY_FILLED: "open",
    OrderStatus.FILLED: "closed",
    OrderStatus.CANCELLED: "canceled",
    OrderStatus.EXPIRED: "expired",
}


def _order_row(venue: KrakenVenue, placed: paper.Placed, asked: _Asked) -> dict[str, Any]:
    pair = _pair_of_order(venue, placed)
    receipt = placed.receipt()
    row: dict[str, Any] = {
        "refid": None,
        "userref": int(_userref(placed)),
        "status": _STATUSES[placed.status],
        "opentm": round(placed.placed_at, 4),
        "starttm": 0,
        "expiretm": 0,
        "descr": {
            "pair": pair.altname,
            "type": placed.side.value,
            "ordertype": "market" if placed.limit is None else "limit",
            "price": "0" if placed.limit is None else _fixed(placed.limit, pair.decimals[0]),
            "price2": "0",
            "leverage": "none",
            "order": _described(pair, placed.side, placed.spend or placed.amount or ZERO, placed.limit),
            "close": "",
        },
        "vol": _fixed(placed.spend or placed.amount or ZERO, 8),
        "vol_exec": _fixed(placed.filled, 8),
        "cost": _fixed(receipt.filled_value, 5),
        "fee": _fixed(receipt.fees, 5),
        "price": _fixed(placed.value / placed.filled, max(5, pair.decimals[0])) if placed.filled else "0.00000",
        "stopprice": "0.00000",
        "limitprice": "0.00000",
        "misc": "",
        "oflags": "fciq" if placed.spend is None else "fciq,viqc",
    }
    if not placed.client_order_id.startswith(paper.UNNAMED):
        row["cl_ord_id"] = placed.client_order_id
    if placed.status not in _OPEN:
        # The paper venue keeps no moment of its end, so every order seems to end when it began.
        row |= {"closetm": round(placed.placed_at, 4), "reason": _reason(placed)}
    if asked.is_true("trades") and placed.filled:
        row["trades"] = [_trade_id(placed)]
    return row


def _reason(placed: paper.Placed) -> str | None:
    if placed.status is not OrderStatus.CANCELLED:
        return None
    return "User requested" if placed.limit is not None else "Insufficient liquidity"


def _pair_of_order(venue: KrakenVenue, placed: paper.Placed) -> _Pair:
    market = paper.get_market(venue.venue, placed.symbol)
    if market is None:
        raise _Refused("EQuery:Unknown asset pair")
    return _pair_of(market)


def _described(pair: _Pair, side: Side, volume: Decimal, limit: Decimal | None) -> str:
    how = "market" if limit is None else f"limit {_fixed(limit, pair.decimals[0])}"
    return f"{side} {_fixed(volume, 8)} {pair.altname} @ {how}"


def _trade_row(placed: paper.Placed) -> dict[str, Any]:
    """All fills of an order as one trade."""
    receipt = placed.receipt()
    base, quote = placed.symbol.split("-")
    market = Market(symbol=placed.symbol, base=base, quote=quote, amount_step=ZERO, spend_step=ZERO, price_step=ZERO)
    return {
        "ordertxid": _txid(placed),
        "postxid": _shaped("T", f"position {placed.order_id}"),
        "pair": _pair_of(market).id,
        "time": round(placed.placed_at, 4),
        "type": placed.side.value,
        "ordertype": "market" if placed.limit is None else "limit",
        "price": _fixed(placed.value / placed.filled, 5),
        "cost": _fixed(receipt.filled_value, 5),
        "fee": _fixed(receipt.fees, 5),
        "vol": _fixed(placed.filled, 8),
        "margin": "0.00000",
        "misc": "",
        "trade_id": placed.number,
        "maker": placed.fees == placed.value * placed.maker_fee,
        "ledgers": [_shaped("L", placed.order_id)],
    }


# --- placing and cancelling

_NOT_IMITATED: Final = ("close[ordertype]", "leverage", "starttm", "expiretm", "displayvol", "trigger", "stptype")
_ORDER_FLAGS: Final = frozenset({"fciq", "viqc"})
_CLIENT_ID: Final = re.compile(
    r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}|[0-9A-Za-z_.-]{1,18}"
)
_SOONEST: Final = 2.0
_LATEST: Final = 60.0
"""Seconds from now between which a deadline may lie (API reference of AddOrder)."""


def _add_order(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    pair = _pair(venue, asked.text("pair"))
    order = _read_order(venue, pair, asked)
    described = {"order": _described(pair, order.side, order.spend or order.amount or ZERO, order.limit)}
    status = venue.statuses.get(pair.market.symbol, "online")
    if status in ("cancel_only", "post_only") or (status == "limit_only" and order.limit is None):
        raise _Refused(f"EService:Market in {status} mode")
    if asked.is_true("validate"):
        if order.amount is not None and order.amount < pair.market.min_amount:
            raise _Refused("EOrder:Order minimum not met")
        return {"descr": described}
    receipt = paper.place_order(venue.venue, order)
    if receipt.order_id is None:
        code = receipt.code or ""
        raise _Refused("EService:Deadline elapsed" if code == "deadline_elapsed" else code)
    return {"descr": described, "txid": [_shaped("O", receipt.order_id)]}


def _read_order(venue: KrakenVenue, pair: _Pair, asked: _Asked) -> VenueOrder:
    for name in _NOT_IMITATED:
        if asked.text(name) not in ("", "0", "none"):
            raise _Refused(f"EGeneral:Invalid arguments:{name}")
    if asked.text("type") not in ("buy", "sell"):
        raise _Refused("EGeneral:Invalid arguments:type")
    if asked.text("ordertype") not in ("market", "limit"):
        raise _Refused("EGeneral:Invalid arguments:ordertype")
    if asked.text("timeinforce").upper() not in ("", "GTC"):
        raise _Refused("EGeneral:Invalid arguments:timeinforce")
    flags = {flag for flag in asked.text("oflags").split(",") if flag}
    if flags - _ORDER_FLAGS:
        raise _Refused("EGeneral:Invalid arguments:oflags")
    side, by_market = Side(asked.text("type")), asked.text("ordertype") == "market"
    in_quote = "viqc" in flags
    if in_quote and not (by_market and side is Side.BUY):
        raise _Refused("EGeneral:Invalid arguments:viqc")
    volume = _amount(asked, "volume")
    return VenueOrder(
        account="",
        symbol=pair.market.symbol,
        side=side,
        spend=volume if in_quote else None,
        amount=None if in_quote else volume,
        limit=None if by_market else _limit(pair, asked),
        client_order_id=_client_order_id(venue, asked),
        send_by=_deadline(asked),
    )


def _amount(asked: _Asked, name: str) -> Decimal:
    try:
        return parse_amount(asked.text(name), name)
    except InputError:
        raise _Refused(f"EGeneral:Invalid arguments:{name}") from None


def _limit(pair: _Pair, asked: _Asked) -> Decimal:
    limit = _amount(asked, "price")
    if _decimals(limit) > pair.decimals[0]:
        raise _Refused(
            f"EOrder:Invalid price:{pair.wsname} price can only be specified up to {pair.decimals[0]} decimals."
        )
    return limit


def _client_order_id(venue: KrakenVenue, asked: _Asked) -> str:
    given, number = asked.text("cl_ord_id"), asked.text("userref")
    if given and number:
        raise _Refused("EGeneral:Invalid arguments:cl_ord_id")
    if given:
        if not _CLIENT_ID.fullmatch(given) or given.startswith(paper.UNNAMED):
            raise _Refused("EGeneral:Invalid arguments:cl_ord_id")
        return given
    if number and not (re.fullmatch(r"-?[0-9]{1,10}", number, re.ASCII) and -(2**31) <= int(number) < 2**31):
        raise _Refused("EGeneral:Invalid arguments:userref")
    return f"{paper.UNNAMED}{int(number or 0)}-{venue.venue.clock.new_id()}"


def _deadline(asked: _Asked) -> float:
    """The moment after which the order is not matched any more: as told, or a minute from now."""
    text = asked.text("deadline")
    if not text:
        return asked.now + _LATEST
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _Refused("EGeneral:Invalid arguments:deadline") from None
    if moment.tzinfo is None:
        raise _Refused("EGeneral:Invalid arguments:deadline")
    left = moment.timestamp() - asked.now
    if left < 0:
        raise _Refused("EService:Deadline elapsed")
    if not _SOONEST <= left <= _LATEST:
        raise _Refused("EGeneral:Invalid arguments:deadline")
    return moment.timestamp()


def _cancel_order(venue: KrakenVenue, asked: _Asked) -> dict[str, Any]:
    by_id, name = asked.text("cl_ord_id"), asked.text("txid")
    number = asked.text("userref") or (name if re.fullmatch(r"-?[0-9]+", name, re.ASCII) else "")
    if not (by_id or name or number):
        raise _Refused("EGeneral:Invalid arguments:txid")
    placed = [
        one
        for one in _orders(venue)
        if (one.client_order_id == by_id if by_id else _userref(one) == number if number else _txid(one) == name)
    ]
    resting = [one for one in placed if one.status in _OPEN]
    if not resting:
        raise _Refused("EOrder:Unknown order" if placed or by_id or number else "EOrder:Invalid order")
    for one in resting:
        paper.cancel_order(venue.venue, as_sent(one))
    return {"count": len(resting), "pending": False}


# --- the calls


@frozen
class _Call:
    """A method: what it is about, what a key needs one of (None: it is public), what it costs, and who answers it."""

    action: str
    rights: tuple[str, ...] | None
    run: Callable[[KrakenVenue, _Asked], Any]
    cost: float = 1.0


_FUNDS: Final = ("query-funds",)
_OPEN_TRADES: Final = ("query-open-trades",)
_CLOSED_TRADES: Final = ("query-closed-trades",)

_CALLS: Final[Mapping[str, _Call]] = {
    "Time": _Call("time", None, _time),
    "SystemStatus": _Call("other", None, _system_status),
    "Assets": _Call("market", None, _assets),
    "AssetPairs": _Call("market", None, _asset_pairs),
    "Ticker": _Call("prices", None, _ticker),
    "Balance": _Call("account", _FUNDS, _balances),
    "BalanceEx": _Call("account", _FUNDS, _balances_ex),
    "TradeBalance": _Call("account", _FUNDS, _trade_balance),
    "TradeVolume": _Call("fees", _FUNDS, _trade_volume),
    "GetApiKeyInfo": _Call("permissions", (), _api_key_info),
    "OpenOrders": _Call("account", _OPEN_TRADES, _open_orders),
    "ClosedOrders": _Call("find", _CLOSED_TRADES, _closed_orders),
    "QueryOrders": _Call("find", _OPEN_TRADES + _CLOSED_TRADES, _query_orders),
    "TradesHistory": _Call("find", _OPEN_TRADES + _CLOSED_TRADES, _trades_history, 2.0),
    "QueryTrades": _Call("find", _OPEN_TRADES + _CLOSED_TRADES, _query_trades),
    "AddOrder": _Call("place", ("modify-trades",), _add_order, 0.0),
    "CancelOrder": _Call("cancel", ("modify-trades", "close-trades"), _cancel_order, 0.0),
}
"""`OpenOrders` that names an order's id is a look-up."""
_COULD_PLACE: Final = frozenset({"AddOrderBatch", "EditOrder", "AmendOrder"})


# --- lies


def _places(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The tables of orders or trades by id in an answer."""
    for name in ("open", "closed", "trades"):
        if isinstance(result.get(name), dict):
            yield result[name]
    if result and all(isinstance(row, dict) and ("descr" in row or "ordertxid" in row) for row in result.values()):
        yield result


def _without_id(result: dict[str, Any], _name: str) -> dict[str, Any]:
    result.pop("txid", None)
    return result


def _with_moved_id(result: dict[str, Any], _name: str) -> dict[str, Any]:
    return {"order": result} if "txid" in result else {"orders": result}


def _of_another_order(result: dict[str, Any], _name: str) -> dict[str, Any]:
    if "txid" in result:
        result["txid"] = [_shaped("O", f"another {txid}") for txid in result["txid"]]
    for table in list(_places(result)):
        rows = list(table.values())
        table.clear()
        for number, row in enumerate(rows):
            if "cl_ord_id" in row:
                row["cl_ord_id"] = f"another-{number}"
            table[_shaped("O", f"another {number}")] = row
    return result


def _of_another_size(result: dict[str, Any], _name: str) -> dict[str, Any]:
    rows = [row for table in _places(result) for row in table.values()]
    for row in rows:
        row["vol"] = _fixed(Decimal(row["vol"]) * 2, 8)
    for row in [*rows, result]:
        if isinstance(row.get("descr"), dict):
            side, volume, rest = row["descr"]["order"].split(" ", 2)
            row["descr"]["order"] = f"{side} {_fixed(Decimal(volume) * 2, 8)} {rest}"
    return result


def _without_orders(result: dict[str, Any], _name: str) -> dict[str, Any]:
    for table in list(_places(result)):
        table.clear()
    return {**result, "count": 0} if "count" in result else result


def _by_half(result: dict[str, Any], _name: str) -> dict[str, Any]:
    """`count` stays as it was; where there is none, nothing in the answer tells."""
    for table in list(_places(result)) or [result]:
        for name in list(table)[len(table) // 2 :]:
            del table[name]
    return result


_LIES: Final[Mapping[str, Callable[[dict[str, Any], str], dict[str, Any]]]] = {
    "no_id": _without_id,
    "moved_id": _with_moved_id,
    "other_id": _of_another_order,
    "other_size": _of_another_size,
    "hidden": _without_orders,
    "half": _by_half,
}
