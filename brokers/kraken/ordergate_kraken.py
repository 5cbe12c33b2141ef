"""An ordergate broker: Kraken Spot.

It turns the gate's questions into Kraken's requests and Kraken's answers into the gate's values; it decides nothing,
remembers nothing but names and clocks, and never sends an order twice. Top to bottom: Kraken's words and figures,
settings, the hooks the gate calls, how answers are read, names, the wire.

Three things are odd at Kraken, and shape this module:

- A client order id is unique only among open orders, so a repeat may be a second order. What proves that an order is
  not there is its `deadline`, after which the venue's engine does not take it any more.
- Requests under one key must arrive in the order of their nonces, so one is in flight at a time, whichever process
  sends it. Nobody waits for that turn for long: an exit overtakes a request that hangs.
- The client SDK keeps the last answer, asks for no timeout and makes nonces that collide. Here each request is
  signed and sent by a copy of its own, with a nonce and a body made here.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from attrs import Attribute, define, field, frozen

from ordergate import (
    Absence,
    AccountReport,
    BrokerError,
    BrokerProfile,
    FeesFrom,
    Figure,
    Holding,
    IdPromise,
    InputError,
    Market,
    MarketStatus,
    NotSent,
    OpenOrder,
    OrderStatus,
    Price,
    RateLimited,
    Receipt,
    Side,
    VenueOrder,
    hookimpl,
)
from ordergate.amounts import ZERO, parse_number, plain, round_down
from ordergate.clock import Clock, SystemClock, iso
from ordergate.keys import read_key_file
from ordergate.nonces import Nonces
from ordergate.order import parse_symbol

__all__ = ["Client", "Settings", "UnknownMarket"]


# --- Kraken's words and figures

_URL: Final = "https://api.kraken.com"

_OWN_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}
"""Kraken's short name of an asset (its `altname`) to everybody else's. All other short names are everybody's."""
_THEIR_NAMES: Final = {ours: theirs for theirs, ours in _OWN_NAMES.items()}

_FLEXIBLE: Final = "F"
"""The ending of balances that earn and can be spent at any time. Those under every other ending (S staked, B and M
bonded, T tokenised, HOLD not yet credited, and whatever comes next) are counted and never sold.
"""
_NO_MONEY: Final = frozenset({"KFEE"})
"""Credits for fees: they stand among the balances and are worth nothing elsewhere."""

_ORDER_STATUS: Final[Mapping[str, OrderStatus]] = {
    "pending": OrderStatus.OPEN,
    "open": OrderStatus.OPEN,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELLED,
    "expired": OrderStatus.EXPIRED,
}
_MARKET_STATUS: Final[Mapping[str, MarketStatus]] = {
    "online": MarketStatus.ONLINE,
    "limit_only": MarketStatus.LIMIT_ONLY,
    "post_only": MarketStatus.POST_ONLY,
    "cancel_only": MarketStatus.CANCEL_ONLY,
    "reduce_only": MarketStatus.REDUCE_ONLY,
}  # every other word counts as offline
_LIMIT_IN: Final = {"limit": "price", "iceberg": "price", "stop-loss-limit": "price2", "take-profit-limit": "price2"}
"""Where an order's description has its limit, by type. Orders of all other types have none."""

_ECHO: Final = re.compile(r"(buy|sell) ([0-9.]+) (\S+) @ (?:market|limit ([0-9.]+))", re.ASCII)
"""An order in Kraken's words: `buy 0.00100000 XBTUSD @ limit 29500.0`."""

_NOT_TAKEN: Final = frozenset(
    {
        "EAPI:Invalid key",
        "EAPI:Invalid nonce",  # of an order that is sent once it can only mean that one
        "EAPI:Invalid signature",
        "EAPI:Rate limit exceeded",
        "EGeneral:Invalid arguments",
        "EGeneral:Permission denied",
        "EGeneral:Temporary lockout",
        "EOrder:Cost minimum not met",
        "EOrder:Insufficient funds",
        "EOrder:Order minimum not met",
        "EOrder:Orders limit exceeded",
        "EOrder:Rate limit exceeded",
        "EOrder:Tick size check failed",
        "EQuery:Unknown asset pair",
        "EService:Deadline elapsed",
        "EService:Market in cancel_only mode",
        "EService:Market in limit_only mode",
        "EService:Market in post_only mode",
    }
)
"""Answers that prove an order was not taken. What is not here, or below with details behind it, proves nothing:
EService:Busy, EService:Unavailable and EGeneral:Internal error were seen with the order executed.
"""
_NOT_TAKEN_BECAUSE: Final = (
    "EAccount:Invalid permissions:",
    "EGeneral:Invalid arguments:",
    "EOrder:Invalid price:",
    "EService: Throttled:",
)
_ID_IN_USE: Final = "cl_ord_id"
"""In a complaint about arguments: an open order may have this very id, so this one may be there already."""

_SLOW_DOWN: Final[Mapping[str, float]] = {
    "EAPI:Rate limit exceeded": 30.0,  # a starter's counter then has room for 10 more: a decision, or two looks
    "EAuth:Rate limit exceeded": 60.0,
    "EAuth:Too many requests": 60.0,
    "EGeneral:Temporary lockout": 180.0,  # "a few minutes"
    "EGeneral:Too many requests": 10.0,
}
"""Seconds for which the venue is left alone."""
_THROTTLED: Final = "EService: Throttled:"  # with the moment it ends, in seconds since the epoch
_LONGEST_THROTTLE: Final = 900.0
_TOO_MANY: Final = 429  # the HTTP status that says the same

_GONE: Final = frozenset({"EOrder:Unknown order", "EOrder:Invalid order"})
"""Answers to a cancel of what is finished, or was never there: how it stands is then looked up."""

_TRADES: Final = frozenset({"modify-trades", "query-open-trades", "query-closed-trades"})
"""What a key needs to trade: one that could send, and not look up what became of it, is not fit to."""
_VIEWS: Final = frozenset({"query-funds", "query-open-trades"})
_RIGHTS: Final = _TRADES | _VIEWS | {"close-trades", "query-ledger", "export-data", "create-ws-token"}
"""Kraken's words for what does not move money out of the account."""

# Seconds. The gate gives one call 10 and an exit's facts 3, so all of these are well below.
_CONNECT, _ANSWER = 3.0, 6.0
_TURN: Final = 1.5  # for the request before this one; then it is overtaken, and refused if it comes later
_QUICK: Final = 0.8  # for what may fail: the time before an order, and a look at what an accepted one came to
_NAMES_FOR: Final = 3600.0  # venues announce new markets, steps and limits days ahead
_CLOCK_FOR: Final = 3600.0
_KEY_FOR: Final = 30.0
_STEP: Final = 0.5  # by which the wall clock may leave the monotonic one before it counts as having been set

# The `deadline` of an order must be 2 to 60 s ahead when it arrives. Kraken tells its time in whole seconds, so half
# a second of each bound may be error, and half a second is for the way.
_SOONEST, _LATEST = 3.5, 55.0

_FINEST: Final = 10  # decimals of the finest amounts at Kraken
_PAGE: Final = 50
_MOST_PAGES: Final = 40
_MOST_IDS: Final = 50  # in one question for orders by Kraken's own ids
_BEFORE: Final = 600.0  # seconds before an order's send-by time from which on its trades are looked for


# --- settings


def _a_web_address(_: object, attribute: Attribute[str | None], value: str | None) -> None:
    if value is None:
        return
    fix = "write https://HOST, or http://127.0.0.1:PORT for a rehearsal on this machine"
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError where it is none
    except ValueError:
        raise InputError(attribute.name, value, fix) from None
    # What parsers read differently, or would take for a password, is no address.
    bare = parts.hostname and not (parts.path.strip("/") or any(mark in value for mark in "@?#\\"))
    if not bare or parts.scheme not in ("http", "https"):
        raise InputError(attribute.name, value, fix)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise InputError(attribute.name, value, f"orders do not travel unencrypted; {fix}")


@frozen(kw_only=True)
class Settings:
    """`[accounts.NAME.kraken]`."""

    key_file: Path = field(
        metadata={
            "help": "File with the API key in its first line and the private key in its second, mode 0600.",
            "example": "kraken.key",
        }
    )
    base_url: str | None = field(
        default=None,
        validator=_a_web_address,
        metadata={
            "help": f"Where the venue is, for rehearsals; {_URL} when not set.",
            "example": "http://127.0.0.1:8080",
        },
    )
    ca_file: Path | None = field(
        default=None,
        metadata={
            "help": "Certificates to trust instead of the usual ones, for rehearsals with TLS.",
            "example": "ca.pem",
        },
    )
    count_flexible: bool = field(
        default=False,
        metadata={"help": "Whether balances that earn flexibly (their names end in .F) may be sold too."},
    )


# --- the hooks


@hookimpl
def broker_settings() -> type[Settings]:
    return Settings


@hookimpl
def broker_profile() -> BrokerProfile:
    fees = "Kraken Pro spot fee schedule, lowest tier"
    return BrokerProfile(
        venue="kraken",
        fee_threshold=Figure(
            Decimal(10), "ordergate's own choice: under it this venue's fees eat a position", "2026-11-22"
        ),
        maker_fee=Figure(Decimal("0.004"), fees, "2026-10-01"),
        taker_fee=Figure(Decimal("0.008"), fees, "2026-10-01"),
        fees_from=FeesFrom.ON_TOP,
        id_promise=IdPromise.UNIQUE_WHILE_OPEN,
        absence=Absence.LOOKUP,
        honoured=6.0,  # a deadline is at most 3.5 s after the send-by time, told by a clock that may be 2 s off
        balance_lag=2.0,
        # One look counts 4 of the 15 that a starter's key has, and 5 where something else traded: two can be afforded.
        absence_looks=2,
        absence_pause=2.0,
        rests_on=(
            "Every order carries a deadline in the venue's own time, after which its engine refuses it (documented). "
            "Open and closed orders are then looked up by the id on the wire (documented), and every order that traded "
            "in its market since is read, twice over two seconds; that one of the three shows it by then is inferred."
        ),
        facts_every=6.0,  # balances and open orders are 2 calls, and a starter's counter falls by 0.33 per second
    )


@hookimpl
def connect(settings: Settings) -> Client:
    """Read the key and set up the SDK; no I/O but that. Raises InputError for a key file that cannot be used."""
    import krakenex  # type: ignore[import-untyped]  # it ships no types

    key, secret = _key_of(settings.key_file)
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise InputError("ca_file", str(settings.ca_file), "there is no such file; leave it out for Kraken itself")
    api = krakenex.API(key, secret)
    api.uri = (settings.base_url or _URL).rstrip("/")
    # Figures stay exact, and a literal NaN is no number.
    api.json_options(parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_no_repeats)
    session = api.session
    session.trust_env = False  # no proxy, certificate or password out of the environment
    session.max_redirects = 0  # an order that is sent on elsewhere arrives as a question
    session.verify = str(settings.ca_file) if settings.ca_file else True
    # Its adapters retry nothing: that is what they come with, and a test holds them to it.
    return Client(
        api=api,
        key=key,
        nonces=Nonces(settings.key_file.with_name(settings.key_file.name + ".nonce")),
        count_flexible=settings.count_flexible,
    )


@hookimpl
def get_account(client: Client) -> AccountReport:
    identity = _identity(client)
    names = _names(client)
    balances = _private(client, "BalanceEx")
    opened = _private(client, "OpenOrders")
    with _reading("BalanceEx"):
        holdings = _holdings(names, balances, count_flexible=client.count_flexible)
    with _reading("OpenOrders"):
        if any(str(info["descr"]["pair"]) not in names.symbols for info in opened["open"].values()):
            client.names = None  # a market younger than the tables
            names = _names(client)
        open_orders = tuple(_open_order(names, txid, info) for txid, info in opened["open"].items())
    return AccountReport(identity=identity, holdings=holdings, open_orders=open_orders)


@hookimpl
def get_prices(client: Client, symbols: Sequence[str]) -> list[Price]:
    try:
        return _prices(client, symbols)
    except UnknownMarket:
        # A market that is gone fails the question for all others: ask again for those that are left.
        client.names = None
        return _prices(client, symbols)


@hookimpl
def get_market(client: Client, symbol: str) -> Market | None:
    names = _names(client)
    if symbol in names.twice:
        raise BrokerError(f"Kraken has two markets that are {symbol}; neither is used")
    pair = names.pairs.get(symbol)
    with _reading("AssetPairs"):
        return None if pair is None else _market(symbol, pair)


@hookimpl
def place_order(client: Client, order: VenueOrder) -> Receipt:
    """Send it once. Raises NotSent when its body certainly never left this machine; whatever else is raised leaves the
    outcome unknown.
    """
    _keep_time(client)
    fields = _order_fields(client, order)
    errors, result = _asked(client, "AddOrder", fields, send_by=order.send_by)
    if errors:
        return _rejected(order, errors, result)
    txid = _txid(result, fields)
    return _last_look(client, order, txid) or Receipt(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        status=OrderStatus.OPEN,
        order_id=txid,
    )


@hookimpl
def find_order(client: Client, order: VenueOrder) -> Receipt | None:
    """Look among open and closed orders, then among those that traded. An order without a date was found resting, and
    is looked for where it would be listed.
    """
    names = _names(client)
    found = _found(client, names, order)
    if found is None and order.send_by > 0:
        found = _found_by_trades(client, names, order)
    return found


@hookimpl
def cancel_order(client: Client, order: VenueOrder) -> Receipt:
    errors, result = _asked(client, "CancelOrder", {"cl_ord_id": order.client_order_id})
    if not (errors and _GONE.issuperset(errors)):
        _result("CancelOrder", errors, result, client)
    receipt = find_order(client, order)
    if receipt is None:
        raise BrokerError(f"Kraken does not show the order {order.client_order_id} that was to be cancelled")
    return receipt


@hookimpl
def get_fees(client: Client, symbol: str) -> list[Figure]:
    pair = _names(client).pairs.get(symbol)
    if pair is None:
        raise BrokerError(f"Kraken has no market {symbol}")
    volume = _private(client, "TradeVolume", pair=pair["altname"])
    today = iso(client.clock.now())[:10]
    with _reading("TradeVolume"):
        taker = volume["fees"][pair["id"]]
        maker = (volume.get("fees_maker") or volume["fees"])[pair["id"]]
        return [
            Figure(_number(one["fee"]) / 100, "the account's own rate, TradeVolume", today) for one in (maker, taker)
        ]


@hookimpl
def get_permissions(client: Client) -> list[str]:
    """In the gate's words; Kraken's own words where the gate has none for them."""
    info = _key_info(client)
    with _reading("GetApiKeyInfo"):
        if not isinstance(info["permissions"], list):
            raise TypeError("its permissions are no list")
        allowed = frozenset(info["permissions"])
        words = {_permission(word) for word in allowed - _TRADES - _VIEWS}
    # Where not one word is known, Kraken has other words now. That it may not trade then shows at the first order; that
    # it may withdraw is read out of the words themselves.
    renamed = bool(allowed) and not allowed & _RIGHTS
    words |= {"view"} if renamed or allowed >= _VIEWS else set()
    words |= {"trade"} if renamed or allowed >= _TRADES else set()
    return sorted(words)


@hookimpl
def get_time(client: Client) -> float:
    """Kraken tells whole seconds; the middle of that second is least wrong."""
    return _measured(client, (_CONNECT, _ANSWER))


@hookimpl
def list_orders(client: Client, since: float) -> list[Receipt]:
    """Orders without a client order id carry Kraken's own id in its place."""
    names = _names(client)
    opened = _private(client, "OpenOrders")
    closed = _listed(client, "ClosedOrders", "closed", start=str(max(0, int(since) - 1)))
    with _reading("OpenOrders and ClosedOrders"):
        found = {**opened["open"], **closed}
        made = {txid: info for txid, info in found.items() if info["opentm"] >= since}
        return [
            _receipt(names, txid, info, _own_id(info) or txid, names.symbols.get(pair := info["descr"]["pair"], pair))
            for txid, info in sorted(made.items(), key=lambda one: one[1]["opentm"])
        ]


@hookimpl
def rehearse(folder: Path) -> Any:
    from ordergate.testing.kraken import rehearsal

    return rehearsal(folder)


# --- what is sent, and what is answered to it


def _order_fields(client: Client, order: VenueOrder) -> dict[str, str]:
    """A buy for a spend is a market order in the quote currency (`viqc`); everything else names a base amount."""
    fields = {
        "pair": _wire_pair(client, order.symbol),
        "type": order.side.value,
        "ordertype": "market" if order.limit is None else "limit",
        "cl_ord_id": order.client_order_id,
    }
    if order.side is Side.SELL:
        fields["oflags"] = "fciq"  # fees in the quote currency, as they are for buys without being asked for
    if order.limit is not None:
        fields["price"] = plain(order.limit)
    if order.amount is not None and order.spend is None:
        return {**fields, "volume": plain(order.amount)}
    if order.spend is not None and order.amount is None and order.side is Side.BUY and order.limit is None:
        return {**fields, "volume": plain(order.spend), "oflags": "viqc"}
    raise NotSent("Kraken takes a spend for market buys only, and an amount for everything else")


def _rejected(order: VenueOrder, errors: Sequence[str], result: object) -> Receipt:
    """The receipt of an order that certainly was not taken. Raises for every answer that does not prove it."""
    if result or not all(map(_proves_absence, errors)):
        raise BrokerError(f"Kraken says of the order: {'; '.join(errors)}")
    return Receipt(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        status=OrderStatus.REJECTED,
        code=errors[0],
        message="; ".join(errors[1:]) or None,
    )


def _proves_absence(error: str) -> bool:
    return error in _NOT_TAKEN or (error.startswith(_NOT_TAKEN_BECAUSE) and _ID_IN_USE not in error)


def _txid(result: Any, fields: Mapping[str, str]) -> str:
    """Kraken's id of the order it took. An answer without exactly one, or about another order, is none."""
    with _reading("AddOrder"):
        [txid] = result["txid"]
        if not isinstance(txid, str) or not txid:
            raise TypeError("its txid is no text")
        told = _ECHO.fullmatch(str(result.get("descr", {}).get("order", "")))
        if told and not _is_about(fields, *told.groups()):
            raise ValueError(f"it speaks of another order: {told[0]}")
        return txid


def _is_about(fields: Mapping[str, str], side: str, volume: str, pair: str, limit: str | None) -> bool:
    """Whether these words are about the order that was sent. Kraken may shorten its numbers."""
    numbers = [(volume, fields["volume"]), *([(limit, fields["price"])] if limit and "price" in fields else [])]
    same = [
        abs(Decimal(told) - Decimal(sent)) < Decimal(1).scaleb(-len(told.partition(".")[2])) for told, sent in numbers
    ]
    return (side, pair, limit is not None) == (fields["type"], fields["pair"], "price" in fields) and all(same)


def _last_look(client: Client, order: VenueOrder, txid: str) -> Receipt | None:
    """What an accepted order came to so far: its acceptance does not say. None when that cannot be had at once, which
    changes nothing about its having been taken. Raises BrokerError when the order turns out to be another one.
    """
    names, quick = client.names, (_QUICK, _QUICK)
    if names is None:
        return None
    try:
        errors, result = _asked(client, "QueryOrders", {"txid": txid}, timeout=quick)
        with _reading("QueryOrders"):
            if not errors and txid in result:
                info = result[txid]
                same = _plain_id(info["cl_ord_id"]) == _plain_id(order.client_order_id)
                # Another id than the one that was sent is for the gate to see.
                name = order.client_order_id if same else info["cl_ord_id"]
                return _receipt(names, txid, info, name, _symbol(names, txid, info))
        found = _found(client, names, order, timeout=quick)
    except BrokerError:
        return None
    if found is not None and found.order_id != txid:
        raise BrokerError(f"Kraken speaks of the order as {txid}, and shows it as {found.order_id}")
    return found  # None: it is late to show


def _found(
    client: Client, names: _Names, order: VenueOrder, *, timeout: tuple[float, float] = (_CONNECT, _ANSWER)
) -> Receipt | None:
    """The order by its id on the wire. Raises BrokerError when there are several, or others than were asked for."""
    # Open ones first: an order that is finished between the two questions is then seen by the second.
    opened = _private(client, "OpenOrders", timeout=timeout, cl_ord_id=order.client_order_id)
    closed = _listed(client, "ClosedOrders", "closed", timeout=timeout, cl_ord_id=order.client_order_id)
    with _reading("a look-up by cl_ord_id"):
        found = {**opened["open"], **closed}
        wanted = _plain_id(order.client_order_id)
        others = [txid for txid, info in found.items() if _plain_id(info["cl_ord_id"]) != wanted]
        if others:
            raise ValueError(f"it shows {', '.join(others)}, which were not asked for")
        return _the_one(names, order, found)


def _found_by_trades(client: Client, names: _Names, order: VenueOrder) -> Receipt | None:
    """The order by what it traded: the trades are a witness of their own where no listing shows it.

    A trade does not name the id on the wire, so every order that traded in this market since is read by Kraken's own
    id. Raises BrokerError where one cannot be read: it might be this one.
    """
    # An exit also goes by a clock that is ahead of Kraken's: it traded before its send-by time by that much more.
    ahead = max(0.0, client.clock.now() - _time_there(client))
    start = max(0, int(order.send_by - ahead - _BEFORE))
    trades = _listed(client, "TradesHistory", "trades", start=str(start))
    with _reading("TradesHistory"):
        here = [trade for trade in trades.values() if names.symbols.get(trade["pair"], order.symbol) == order.symbol]
        traded = sorted({_id_of(trade["ordertxid"]) for trade in here})
    shown: dict[str, Any] = {}
    for first in range(0, len(traded), _MOST_IDS):
        shown |= _private(client, "QueryOrders", txid=",".join(traded[first : first + _MOST_IDS]))
    with _reading("QueryOrders"):
        unread = [txid for txid in traded if txid not in shown]
        if unread:
            raise ValueError(f"it does not show {', '.join(unread)}, which traded")
        wanted = _plain_id(order.client_order_id)
        found = {txid: shown[txid] for txid in traded if _plain_id(_own_id(shown[txid]) or "") == wanted}
        return _the_one(names, order, found)


def _the_one(names: _Names, order: VenueOrder, found: Mapping[str, Mapping[str, Any]]) -> Receipt | None:
    """The receipt of the one order that has this id, by Kraken's own ids."""
    if len(found) > 1:
        raise ValueError(f"{len(found)} orders have the id {order.client_order_id}: {', '.join(found)}")
    for txid, info in found.items():
        return _receipt(names, txid, info, order.client_order_id, _symbol(names, txid, info))
    return None


# --- how answers are read


class UnknownMarket(BrokerError):
    """A market that was asked for is gone."""


@contextmanager
def _reading(method: str) -> Iterator[None]:
    """Whatever is missing, of another type or out of place in an answer makes it unusable, all of it."""
    try:
        yield
    except (ArithmeticError, AttributeError, InputError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise BrokerError(f"Kraken's answer to {method} cannot be read: {type(error).__name__}: {error}") from error


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name stands twice in it")
    return values


def _number(value: object) -> Decimal:
    number = parse_number(value, "figure")
    if number < 0:
        raise ValueError(f"{plain(number)} is below zero")
    return number


def _holdings(names: _Names, balances: Mapping[str, Any], *, count_flexible: bool) -> tuple[Holding, ...]:
    """One holding per currency, whatever names its parts stand under."""
    found: dict[str, Holding] = {}
    for code, balance in balances.items():
        if code in _NO_MONEY:
            continue
        total, hold = _balance(code, balance["balance"]), _number(balance["hold_trade"])
        currency, ending = names.currency(code)
        before = found.get(currency, Holding(currency=currency, available=ZERO))
        if ending == "" or (ending == _FLEXIBLE and count_flexible):
            credit = _number(balance.get("credit", "0")) - _number(balance.get("credit_used", "0"))
            # What orders hold may be more than there is, for a moment or on credit; the rest stays readable for that.
            there = max(ZERO, total + credit)
            parts = there - min(hold, there), min(hold, there), ZERO
        else:
            parts = ZERO, ZERO, total
        found[currency] = Holding(
            currency=currency,
            available=before.available + parts[0],
            hold=before.hold + parts[1],
            locked=before.locked + parts[2],
        )
    return tuple(one for one in found.values() if one.available or one.hold or one.locked)


def _balance(code: str, value: object) -> Decimal:
    total = parse_number(value, "figure")
    if total < 0:
        raise BrokerError(
            f"Kraken shows a balance of {plain(total)} {code}, which is below zero, so what the account is worth "
            "cannot be known; settle it at Kraken"
        )
    return total


def _open_order(names: _Names, txid: str, info: Mapping[str, Any]) -> OpenOrder:
    volume, done = _number(info["vol"]), _number(info["vol_exec"])
    # What a market order in the quote currency will still acquire is not known before it is filled, a moment later.
    left = ZERO if _in_quote(info) else volume - done
    return OpenOrder(
        order_id=txid,
        symbol=_symbol(names, txid, info),
        side=Side(info["descr"]["type"]),
        amount_left=left,
        limit=_limit(info),
        client_order_id=_own_id(info),
    )


def _receipt(names: _Names, txid: str, info: Mapping[str, Any], client_order_id: str, symbol: str) -> Receipt:
    """An order as Kraken keeps it, with its terms, so that the gate can compare them with what was sent."""
    status = _ORDER_STATUS[info["status"]]
    value, fee = _number(info["cost"]), _number(info["fee"])
    price = _number(info["price"])
    filled = _filled(info, names.amount_step(symbol))
    if status is OrderStatus.OPEN and filled:
        status = OrderStatus.PARTLY_FILLED
    volume = _number(info["vol"])
    return Receipt(
        client_order_id=client_order_id,
        symbol=symbol,
        side=Side(info["descr"]["type"]),
        status=status,
        order_id=txid,
        filled_amount=filled,
        filled_value=value,
        fees=fee * price if "fcib" in info["oflags"].split(",") else fee,
        spend=volume if _in_quote(info) else None,
        amount=None if _in_quote(info) else volume,
        limit=_limit(info),
        message=None if info.get("reason") is None else str(info["reason"]),
    )


def _symbol(names: _Names, txid: str, info: Mapping[str, Any]) -> str:
    pair = str(info["descr"]["pair"])
    if pair not in names.symbols:
        raise BrokerError(
            f"Kraken shows the order {txid} in {pair}, a market that is not in its tables, so what it amounts to "
            "cannot be known; if it is open, cancel it at Kraken"
        )
    return names.symbols[pair]


def _own_id(info: Mapping[str, Any]) -> str | None:
    """The client order id; None for orders that were given none."""
    found = info.get("cl_ord_id")
    if found is not None and not isinstance(found, str):
        raise TypeError("a cl_ord_id is no text")
    return found or None


def _in_quote(info: Mapping[str, Any]) -> bool:
    return "viqc" in info["oflags"].split(",")


def _limit(info: Mapping[str, Any]) -> Decimal | None:
    where = _LIMIT_IN.get(info["descr"]["ordertype"])
    return None if where is None else _number(info["descr"][where])


def _filled(info: Mapping[str, Any], step: Decimal) -> Decimal:
    """The base amount filled so far.

    Of an order in the quote currency `vol_exec` was seen in either currency: it is believed to be base only where the
    cost and the average price say so, and else reckoned from those two.
    """
    done, cost, price = _number(info["vol_exec"]), _number(info["cost"]), _number(info["price"])
    if not _in_quote(info) or not done:
        return done
    if abs(done * price - cost) <= abs(done - cost):
        return done
    return round_down(cost / price, step)


def _plain_id(value: object) -> str:
    """An id on the wire, with or without the dashes of a UUID."""
    if not isinstance(value, str):
        raise TypeError("an order shows no cl_ord_id")
    return value.replace("-", "").lower()


def _id_of(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a trade does not say which order it is of")
    return value


def _listed(
    client: Client, method: str, table: str, *, timeout: tuple[float, float] = (_CONNECT, _ANSWER), **wanted: str
) -> dict[str, Any]:
    """All that is wanted of a listing, page by page. What is added meanwhile only moves the rest to later pages."""
    found: dict[str, Any] = {}
    for page in range(_MOST_PAGES):
        answer = _private(client, method, timeout=timeout, **wanted, **({"ofs": str(page * _PAGE)} if page else {}))
        with _reading(method):
            count = answer["count"]
            if type(count) is not int or not isinstance(answer[table], dict):
                raise TypeError(f"it is no page of {table}")
            found.update(answer[table])
            if len(found) >= count:
                return found
            if not answer[table]:
                raise ValueError(f"it shows {len(found)} of {count}")
    raise BrokerError(
        f"Kraken has more than {_MOST_PAGES * _PAGE} rows of {method} to show; that is more than are read"
    )


def _prices(client: Client, symbols: Sequence[str]) -> list[Price]:
    pairs = {symbol: pair for symbol in symbols if (pair := _names(client).pairs.get(symbol))}
    if not pairs:
        return []
    answer = _public(client, "Ticker", pair=",".join(pair["altname"] for pair in pairs.values()))
    with _reading("Ticker"):
        prices = [
            Price(symbol=symbol, bid=_number(answer[pair["id"]]["b"][0]), ask=_number(answer[pair["id"]]["a"][0]))
            for symbol, pair in pairs.items()
            if pair["id"] in answer
        ]
    return [price for price in prices if price.bid and price.ask]


def _market(symbol: str, pair: Mapping[str, Any]) -> Market:
    base, quote = symbol.split("-")
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        amount_step=Decimal(1).scaleb(-int(pair["lot_decimals"])),
        spend_step=Decimal(1).scaleb(-int(pair["cost_decimals"])),
        price_step=_number(pair["tick_size"]),
        min_amount=_number(pair["ordermin"]),
        min_spend=_number(pair["costmin"]),
        status=_MARKET_STATUS.get(pair["status"], MarketStatus.OFFLINE),
    )


def _permission(word: str) -> str:
    """The gate's word for what it must know of: money leaving the account, or being moved within it."""
    said = word.lower()
    if "withdraw" in said:  # withdraw-funds, add-withdraw-address, and whatever comes next
        return "withdraw"
    return "transfer" if "transfer" in said or said.endswith("-funds") else word  # add-funds, earn-funds


def _identity(client: Client) -> str:
    """The fingerprint of the account's own number, which all of its keys share; of the key where Kraken tells none."""
    if client.identity is None:
        info = _key_info(client)
        with _reading("GetApiKeyInfo"):
            number: Any = info.get("iban")
            named = isinstance(number, str) and number
            client.identity = f"kraken-account-{_print(number)}" if named else f"kraken-key-{_print(client.key)}"
    return client.identity


def _key_info(client: Client) -> Mapping[str, Any]:
    """What Kraken says of the key. Whose it is and what it may do are asked one after the other: one request does."""
    now = client.clock.monotonic()
    if client.key_info is None or now - client.key_info[0] > _KEY_FOR:
        client.key_info = now, _private(client, "GetApiKeyInfo")
    return client.key_info[1]


def _print(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:32]


# --- names: one market has one name


@frozen
class _Names:
    """Kraken's tables of assets and markets, in our words."""

    assets: Mapping[str, str]
    """Any of Kraken's names of an asset to the currency it is."""
    pairs: Mapping[str, Mapping[str, Any]]
    """Symbol to what Kraken says of the market, with its id."""
    symbols: Mapping[str, str]
    """Any of Kraken's names of a market to its symbol."""
    twice: frozenset[str]
    """Symbols that two markets claim."""
    until: float

    def currency(self, code: str) -> tuple[str, str]:
        """The currency of a balance and the ending of its name: `XBT.F` is BTC, `F`; a plain one has none.

        What Kraken's tables do not know keeps its name, and an ending, so that it is never sold.
        """
        if code in self.assets and "." not in code:
            return self.assets[code], ""
        stem, _, ending = code.partition(".")
        # A staked balance may name its bond in days: DOT28.S.
        known = self.assets.get(stem) or self.assets.get(stem.rstrip("0123456789"))
        return (known, ending) if known and ending else (code, ending or "?")

    def amount_step(self, symbol: str) -> Decimal:
        """Of a market; as fine as any where it is not known."""
        pair = self.pairs.get(symbol, {})
        return Decimal(1).scaleb(-int(pair.get("lot_decimals", _FINEST)))


def _names(client: Client) -> _Names:
    kept = client.names
    now = client.clock.monotonic()
    if kept is None or now > kept.until:
        assets, pairs = _public(client, "Assets"), _public(client, "AssetPairs")
        with _reading("Assets and AssetPairs"):
            kept = _tabled(assets, pairs, now + _NAMES_FOR)
        client.names = kept
    return kept


def _tabled(assets: Mapping[str, Any], pairs: Mapping[str, Any], until: float) -> _Names:
    currencies: dict[str, str] = {}
    for code, asset in assets.items():
        short = str(asset["altname"])
        currencies[code] = currencies[short] = _OWN_NAMES.get(short, short)
    found: dict[str, Mapping[str, Any]] = {}
    symbols: dict[str, str] = {}
    twice: set[str] = set()
    for code, pair in pairs.items():
        if code.endswith(".d"):
            continue  # the dark pool of a market, not the market
        base, quote = (currencies.get(pair[side], pair[side]) for side in ("base", "quote"))
        try:
            symbol = parse_symbol(f"{base}-{quote}")
        except InputError:
            continue  # a market that has no name here cannot be traded here
        if symbol in found:
            twice.add(symbol)
        found[symbol] = {**pair, "id": code}
        symbols.update(dict.fromkeys((code, pair["altname"], pair.get("wsname", code)), symbol))
    for symbol in twice:
        del found[symbol]
    return _Names(currencies, found, symbols, frozenset(twice), until)


def _wire_pair(client: Client, symbol: str) -> str:
    """What Kraken calls a market, without asking for it: an exit goes also when the tables cannot be had."""
    pair = client.names.pairs.get(symbol) if client.names else None
    if pair is not None:
        return str(pair["altname"])
    return "".join(_THEIR_NAMES.get(currency, currency) for currency in symbol.split("-"))


# --- the wire


@define(eq=False, repr=False)
class Client:
    """What the gate keeps and hands back. Any thread may use it; what it remembers is replaced whole."""

    api: Any
    """The SDK with the key in it, copied for every request; the copies share its connections."""
    key: str
    nonces: Nonces
    count_flexible: bool
    clock: Clock = field(factory=SystemClock)
    identity: str | None = None
    key_info: tuple[float, Mapping[str, Any]] | None = None
    names: _Names | None = None
    ahead: _Ahead | None = None

    def __repr__(self) -> str:
        return f"<Kraken client, key {_print(self.key)[:12]}>"


def _key_of(path: Path) -> tuple[str, str]:
    """Key and private key. InputError, which shows neither, when the file does not hold just these two."""
    lines = [line.strip() for line in read_key_file(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    fix = "put the API key in its first line and the private key in its second, as Kraken shows them, and nothing else"
    if len(lines) != 2 or not all(line and line.isascii() and line.isprintable() for line in lines):
        raise InputError("key_file", str(path), fix)
    try:
        base64.b64decode(lines[1], validate=True)
    except ValueError:
        raise InputError("key_file", str(path), f"its second line is no private key of Kraken; {fix}") from None
    return lines[0], lines[1]


class _Body(io.BytesIO):
    """The body of a request. It is first read when the connection stands, certificate and all, so one that was never
    read never left this machine, and one that is an order can still be held back then.
    """

    def __init__(self, data: bytes, clock: Clock, send_by: float | None) -> None:
        super().__init__(data)
        self._clock, self._send_by = clock, send_by
        self.left = False
        """Whether any of it may have left this machine."""

    def check(self) -> None:
        if self._send_by is not None and not self._clock.now() <= self._send_by:
            raise NotSent("its send-by time passed while it was waiting for its turn, or for the connection")

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.left:
            self.check()
            self.left = True
        return super().read(size)


def _private(client: Client, method: str, *, timeout: tuple[float, float] = (_CONNECT, _ANSWER), **fields: str) -> Any:
    """The result of a question about the account. Raises BrokerError, RateLimited among them."""
    errors, result = _asked(client, method, fields, timeout=timeout)
    return _result(method, errors, result, client)


def _asked(
    client: Client,
    method: str,
    fields: Mapping[str, str],
    *,
    send_by: float | None = None,
    timeout: tuple[float, float] = (_CONNECT, _ANSWER),
    turn: float = _TURN,
) -> tuple[list[str], Any]:
    """Send one signed request, once, in turn. Answers with Kraken's errors and result as they are.

    A request with a send-by time is an order: it carries a deadline, and NotSent is raised where it did not leave.
    """
    path = f"/0/private/{method}"
    with client.nonces.turn(turn) as nonce:
        # The nonce goes first and as text: what is signed is then exactly what is sent.
        sent = {"nonce": str(nonce), **fields}
        if send_by is not None:
            sent["deadline"] = iso(_deadline(client, send_by))
        body = _Body(urlencode(sent).encode("ascii"), client.clock, send_by)
        api = copy.copy(client.api)
        headers = {
            "API-Key": api.key,
            "API-Sign": api._sign(sent, path),  # noqa: SLF001 - its own way of asking makes nonces too
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body.check()
        try:
            return _answer(api, path, body, headers, timeout)
        except NotSent:
            raise
        except BrokerError as error:
            if send_by is None:
                raise
            if not body.left:
                raise NotSent(f"no connection to Kraken: {error}") from error
            # Also where it is asked too often: what became of an order is looked up at once.
            raise BrokerError(f"no answer to the order: {error}") from error


def _public(client: Client, method: str, *, timeout: tuple[float, float] = (_CONNECT, _ANSWER), **fields: str) -> Any:
    errors, result = _answer(copy.copy(client.api), f"/0/public/{method}", fields, {}, timeout)
    return _result(method, errors, result, client)


def _answer(
    api: Any, path: str, data: object, headers: Mapping[str, str], timeout: tuple[float, float]
) -> tuple[list[str], Any]:
    """Ask through the SDK; whatever is no answer in Kraken's form raises BrokerError."""
    with _reading(path):
        try:
            answer = api._query(path, data, headers, timeout)  # noqa: SLF001 - the one way to send a body made here
        except OSError as error:  # the base of everything that requests raises
            if getattr(getattr(error, "response", None), "status_code", None) == _TOO_MANY:
                raise RateLimited(_SLOW_DOWN["EAPI:Rate limit exceeded"], "Kraken answered with status 429") from error
            raise BrokerError(f"{path}: {type(error).__name__}: {error}") from error
        if api.response.status_code != 200:
            raise ValueError(f"it has HTTP status {api.response.status_code}")
        errors = answer["error"]
        if not isinstance(errors, list) or not all(isinstance(error, str) for error in errors):
            raise TypeError("its errors are no list of texts")
        return errors, answer.get("result")


def _result(method: str, errors: Sequence[str], result: Any, client: Client) -> Any:
    """The result of a question, which is always a table."""
    for error in errors:
        if error in _SLOW_DOWN:
            raise RateLimited(_SLOW_DOWN[error], f"Kraken says: {error}; try again in {_SLOW_DOWN[error]:g} s")
        if error.startswith(_THROTTLED):
            raise RateLimited(_throttled_for(error, client), f"Kraken says: {error}")
        if error.startswith("EQuery:Unknown asset pair"):
            raise UnknownMarket(f"Kraken says: {error}")
    if errors:
        raise BrokerError(f"Kraken says to {method}: {'; '.join(errors)}")
    if not isinstance(result, dict):
        raise BrokerError(f"Kraken's answer to {method} has no result")
    return result


def _throttled_for(error: str, client: Client) -> float:
    until = error.removeprefix(_THROTTLED).strip()
    seconds = float(until) - _time_there(client) if until.isascii() and until.isdigit() else 0.0
    return min(max(seconds, 1.0), _LONGEST_THROTTLE)


# --- two clocks


@frozen
class _Ahead:
    """How far Kraken's time is ahead of this machine's monotonic clock, as measured once."""

    seconds: float
    at: float
    """On the monotonic clock."""
    apart: float
    """How far the wall clock was ahead of the monotonic one: another figure says that the machine slept, or that its
    clock was set.
    """


def _measured(client: Client, timeout: tuple[float, float]) -> float:
    clock = client.clock
    asked = clock.monotonic()
    answer = _public(client, "Time", timeout=timeout)
    heard = clock.monotonic()
    with _reading("Time"):
        there = float(_number(answer["unixtime"])) + 0.5
    client.ahead = _Ahead(there - (asked + heard) / 2, heard, clock.now() - heard)
    return there


def _keep_time(client: Client) -> None:
    """Measure Kraken's clock, if that is long ago. Deadlines are told in its time, so that an exit also goes when this
    machine's clock is wrong.
    """
    kept, now = client.ahead, client.clock.monotonic()
    steady = kept is not None and abs(client.clock.now() - now - kept.apart) < _STEP
    if kept is not None and steady and now - kept.at <= _CLOCK_FOR:
        return
    try:
        _measured(client, (_QUICK, _QUICK))
    except BrokerError:
        if not steady:
            client.ahead = None  # this machine's own clock will have to do


def _time_there(client: Client) -> float:
    kept = client.ahead
    return client.clock.now() if kept is None else client.clock.monotonic() + kept.seconds


def _deadline(client: Client, send_by: float) -> float:
    """Until when Kraken may take an order, in its time: as long as is left of its send-by time, within its bounds."""
    # By both clocks: this machine's may have been set back since the send-by time was told.
    there = _time_there(client)
    left = send_by - max(client.clock.now(), there)
    return there + min(max(left, _SOONEST), _LATEST)
