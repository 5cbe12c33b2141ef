"""Coinbase Advanced, spot, on Coinbase's own SDK.

The gate decides; this module translates. It sends an order once and never again, and calls an order rejected only
where Coinbase's answer is on the list of answers that certainly mean so. Whatever else happens once the first byte
has left is raised, and the outcome is then unknown until the order is found, or can no longer arrive.

Top to bottom: settings, the profile, the hooks the gate calls, what refusals mean, how orders and rows are read, and
the wire: one session without retries, redirects, proxies or surroundings, which knows whether an order has begun to
leave this machine.

The SDK signs and sends; its typed answers are not used. They drop what is missing, keep inner objects as they came,
and make up an id where an order has none. So answers are read here, field by field: every figure must be text.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from attrs.converters import optional

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
from ordergate.amounts import ZERO, plain
from ordergate.calls import Failed, attempt
from ordergate.clock import Clock, SystemClock, iso
from ordergate.keys import read_key_file

__all__ = ["Client", "CoinbaseError", "Settings"]

_API: Final = "/api/v3/brokerage"
_ORDERS: Final = f"{_API}/orders"
_HISTORY: Final = f"{_ORDERS}/historical/batch"
_FILLS: Final = f"{_ORDERS}/historical/fills"

_SECONDS: Final = 8  # for a connection, and for each read of an answer: under the gate's own deadline of 10
_QUICK: Final = 2.0  # for the look at an order that Coinbase has just accepted
_PAGE: Final = 250  # rows of a listing; Coinbase gives accounts no more at once
_MOST_PAGES: Final = 100
_MOST_SYMBOLS: Final = 100  # per question for prices, so that its address stays short
_LOOKS: Final = 5  # at an order that was just taken, or cancelled, until it stands still
_PAUSE: Final = 0.2
_BEFORE: Final = 600.0  # seconds before its send-by time from which on an order is looked for


# --- settings


def _host(value: str | None) -> str | None:
    """A host, with a port where it has one. The SDK puts https:// in front of it itself."""
    if value is None:
        return None
    named = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::([0-9]{1,5}))?", value, re.ASCII)
    if named and int(named[1] or 0) < 65536:
        return value
    raise InputError("base_url", value, "name host and port alone, as in 127.0.0.1:8443; it is always https")


@frozen(kw_only=True)
class Settings:
    """`[accounts.NAME.coinbase]`."""

    key_file: Path = field(
        converter=Path,
        metadata={
            "help": "The JSON file that Coinbase issues with an API key, with mode 0600.",
            "example": "coinbase-key.json",
        },
    )
    base_url: str | None = field(
        default=None,
        converter=_host,
        metadata={
            "help": "HOST or HOST:PORT, always reached over https; not set, Coinbase itself.",
            "example": "127.0.0.1:8443",
        },
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata={
            "help": "File of certificates to trust in place of the usual ones, for a rehearsal or a proxy.",
            "example": "ca.pem",
        },
    )


@hookimpl
def broker_settings() -> type[Settings]:
    return Settings


def _key(path: Path) -> tuple[str, str]:
    """Name and secret out of Coinbase's own file. Raises InputError, which shows nothing of what stands in it."""
    try:
        told = json.loads(read_key_file(path))
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        name, secret = told.get("name") or told.get("id"), told.get("privateKey")
        if isinstance(name, str) and name and isinstance(secret, str) and secret:
            return name, secret
    fix = "it is no JSON file with a name (or id) and a privateKey; use the one that Coinbase let you download"
    raise InputError("key_file", str(path), fix)


# --- the profile

_TIER: Final = "Coinbase Advanced fee tiers, 'Intro', as accounts read them"


@hookimpl
def broker_profile() -> BrokerProfile:
    return BrokerProfile(
        venue="coinbase",
        fee_threshold=Figure(
            Decimal(5), "ordergate's own choice: under it this venue's fees eat a position", "2026-11-22"
        ),
        maker_fee=Figure(Decimal("0.005"), _TIER, "2026-09-17"),
        taker_fee=Figure(Decimal("0.009"), _TIER, "2026-09-17"),
        fees_from=FeesFrom.INSIDE,
        id_promise=IdPromise.ALWAYS_UNIQUE,
        absence=Absence.LOOKUP,
        # A request can be taken for the 120 s of its token's life, and the token is made before the send-by time is
        # looked at for the last time. Ten seconds more are for a venue that is lenient about it.
        honoured=130.0,
        balance_lag=3.0,
        absence_looks=3,
        absence_pause=1.0,
        rests_on=(
            "Documented: an order is signed with a token that Coinbase takes for 120 s, so none arrives later. "
            "Inferred: ten seconds later its listings of orders and fills are complete. Nothing was measured at "
            "Coinbase itself."
        ),
        facts_every=0.0,  # 30 requests a second per user; a decision makes about five
    )


# --- what the gate calls


@frozen(kw_only=True, eq=False)
class Client:
    """What the gate keeps and hands back. Any thread may use it. It shows nothing of the key."""

    sdk: Any = field(repr=False)
    wire: _Wire = field(repr=False)
    clock: Clock = field(repr=False)
    portfolio: list[str] = field(factory=list)
    """The id of the portfolio the key is bound to, once it was asked for; a key never changes it."""


@hookimpl
def connect(settings: Settings) -> Client:
    """Read the key and make the SDK's client; asks Coinbase nothing. Raises InputError for a key that cannot sign."""
    # The SDK has no types of its own.
    from coinbase.constants import BASE_URL  # type: ignore[import-untyped]
    from coinbase.jwt_generator import build_rest_jwt  # type: ignore[import-untyped]
    from coinbase.rest import RESTClient  # type: ignore[import-untyped]

    # It writes every answer it dislikes to stderr, through a logger that it sets up when it is imported.
    logging.getLogger("coinbase.RESTClient").disabled = True
    name, secret = _key(settings.key_file)
    try:
        attempt(build_rest_jwt, f"GET {BASE_URL}", name, secret)
    except Failed:
        fix = "its privateKey is no key that Coinbase takes; make one of the kind Ed25519 or ECDSA"
        raise InputError("key_file", str(settings.key_file), fix) from None
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise InputError("ca_file", str(settings.ca_file), "there is no such file; leave it out for Coinbase itself")
    clock = SystemClock()
    wire = _Wire()
    # Given by name, the key is never looked for in the surroundings.
    sdk = RESTClient(api_key=name, api_secret=secret, base_url=settings.base_url or BASE_URL, timeout=_SECONDS)
    _harden(sdk.session, wire, clock, settings.ca_file)
    return Client(sdk=sdk, wire=wire, clock=clock)


@hookimpl
def get_account(client: Client) -> AccountReport:
    """All wallets of the key's portfolio, one holding per currency, and all resting spot orders.

    What is in a vault, staked, or in a wallet that is not ready, counts as locked.
    """
    rows = [*_pages(client, f"{_API}/accounts", "accounts", {"limit": _PAGE})]
    return AccountReport(
        identity=_portfolio(client),
        holdings=_holdings(rows),
        open_orders=tuple(_open_order(row) for row in _open_rows(client)),
    )


@hookimpl
def get_prices(client: Client, symbols: Sequence[str]) -> list[Price]:
    prices: list[Price] = []
    for start in range(0, len(symbols), _MOST_SYMBOLS):
        wanted = list(symbols[start : start + _MOST_SYMBOLS])
        books = _rows(_get(client, f"{_API}/best_bid_ask", {"product_ids": wanted}), "pricebooks")
        prices += [price for book in books if (price := _price(book)) is not None and price.symbol in wanted]
    if len({price.symbol for price in prices}) != len(prices):
        raise BrokerError("Coinbase quoted one market twice")
    return prices


@hookimpl
def get_market(client: Client, symbol: str) -> Market | None:
    """Limits and steps. None where Coinbase says that it has no such product, or has it no more."""
    try:
        row = _get(client, f"{_API}/products/{_path_part(symbol)}")
    except CoinbaseError as refused:
        if refused.status == 404 and refused.code == "NOT_FOUND" and "product" in refused.text:
            return None
        raise
    told = (row.get("product_id"), row.get("base_currency_id"), row.get("quote_currency_id"))
    if told != (symbol, *symbol.split("-")) or not _is_spot(row):
        raise BrokerError(
            f"asked for the spot market {symbol}, Coinbase spoke of {told[0]!r} ({told[1]!r}-{told[2]!r})"
        )
    if row.get("status") == "delisted":
        return None
    return Market(
        symbol=symbol,
        base=str(told[1]),
        quote=str(told[2]),
        amount_step=_figure(row, "base_increment"),
        spend_step=_figure(row, "quote_increment"),
        price_step=_figure(row, "price_increment"),
        min_amount=_figure(row, "base_min_size"),
        min_spend=_figure(row, "quote_min_size"),
        max_amount=_figure_or_zero(row, "base_max_size") or None,
        max_spend=_figure_or_zero(row, "quote_max_size") or None,
        status=_market_status(row),
    )


@hookimpl
def place_order(client: Client, order: VenueOrder) -> Receipt:
    """Send it once. Raises NotSent where no byte of it left, and something else where nobody can know."""
    try:
        answer = _send(client, order)
    except CoinbaseError as refused:
        if not refused.is_definite:
            raise _to_raise(refused) from None
        return _rejection(order, refused.code or f"HTTP_{refused.status}", refused.words)
    if answer.get("success") is False:
        return _rejection(order, *_reason(answer))
    if answer.get("success") is not True:
        raise BrokerError("Coinbase's answer to the order does not say whether it was taken")
    told = _part(answer, "success_response")
    spend, amount, limit = (None, None, None) if answer.get("order_configuration") is None else _terms(answer)
    accepted = Receipt(
        client_order_id=_text(told, "client_order_id"),
        symbol=_text(told, "product_id"),
        side=_side(told),
        status=OrderStatus.OPEN,
        order_id=_path_part(_text(told, "order_id")),
        spend=spend,
        amount=amount,
        limit=limit,
    )
    return _followed(client, order, accepted)


@hookimpl
def find_order(client: Client, order: VenueOrder) -> Receipt | None:
    """Look through all pages of orders and fills of the market and the time in question. Reads only.

    Coinbase cannot be asked for a client order id. An order without a date was found resting, and is looked for there.
    """
    # Not by market: BTC-USD and BTC-USDC share one book, and which of the names a listing goes by is written nowhere.
    resting = _open_rows(client)
    if order.send_by <= 0:
        found = _with_id(resting, order)
    else:
        since = iso(max(0.0, order.send_by - _BEFORE))
        listed = _pages(client, _HISTORY, "orders", {"start_date": since, "limit": _PAGE})
        rows = [*listed, *resting]
        found = _with_id(rows, order) or _with_id(_rows_of_fills(client, since, rows), order)
    if found is None:
        return None
    return _order(client, _path_part(_text(found, "order_id"))) or _receipt(found)


@hookimpl
def cancel_order(client: Client, order: VenueOrder) -> Receipt:
    found = find_order(client, order)
    if found is None or found.order_id is None:
        raise BrokerError(f"Coinbase shows no order {order.client_order_id} now; nothing was cancelled")
    if found.status.is_final:
        return found
    data = {"order_ids": [found.order_id]}
    answer = _call(client, "the cancel", client.sdk.post, f"{_ORDERS}/batch_cancel", data=data)
    told = [row for row in _rows(answer, "results") if row.get("order_id") == found.order_id]
    taken = bool(told) and all(row.get("success") is True for row in told)
    for look in range(_LOOKS):
        if look:
            client.clock.sleep(_PAUSE)
        found = _order(client, str(found.order_id)) or found
        if found.status.is_final:
            return found
    if not taken:
        why = told[0].get("failure_reason") if told else "it was not answered about"
        raise BrokerError(f"Coinbase did not cancel order {found.order_id}, which is {found.status}: {why}")
    return found


@hookimpl
def get_fees(client: Client) -> list[Figure]:
    """The account's own rates, without a promotion that may end between two looks."""
    answer = _get(client, f"{_API}/transaction_summary", {"product_type": "SPOT"})
    tiers = [_part(answer, "fee_tier")]
    tiers += [_part(answer, name) for name in ("fee_tier_without_promotion",) if isinstance(answer.get(name), dict)]
    day = iso(client.clock.now())[:10]
    rates = []
    for name in ("maker_fee_rate", "taker_fee_rate"):
        rate = max(_figure(tier, name) for tier in tiers)
        if rate >= Decimal("0.05"):
            raise BrokerError(f"Coinbase's {name} is {rate}, which is no fraction that a fee can be")
        rates.append(Figure(rate, f"the account's fee tier at Coinbase, {name}", day))
    return rates


@hookimpl
def get_permissions(client: Client) -> list[str]:
    answer = _get(client, f"{_API}/key_permissions")
    return [word for word in ("view", "trade", "transfer") if _flag(answer, f"can_{word}")]


@hookimpl
def get_time(client: Client) -> float | None:
    """None where there is no such page: a clock that is wrong then shows in tokens that are refused."""
    try:
        return float(_figure(_get(client, f"{_API}/time"), "epochMillis")) / 1000
    except CoinbaseError as refused:
        if refused.status == 404:
            return None
        raise


@hookimpl
def list_orders(client: Client, since: float) -> list[Receipt]:
    """Every spot order since then, whoever sent it; one that was given no id by its sender has an empty one."""
    rows = _pages(client, _HISTORY, "orders", {"start_date": iso(max(0.0, since)), "limit": _PAGE})
    return [_receipt(row) for row in rows if _is_spot(row)]


@hookimpl
def rehearse(folder: Path) -> Any:
    from ordergate.testing.coinbase import rehearsal

    return rehearsal(folder)


# --- what refusals mean

_NOTHING: Final = frozenset({"", "UNKNOWN_FAILURE_REASON", "UNKNOWN_PREVIEW_FAILURE_REASON"})
"""Reasons that say nothing; Coinbase puts them beside the real one, and beside success."""

_DEFINITE: Final = frozenset(
    """
    UNSUPPORTED_ORDER_CONFIGURATION INVALID_SIDE INVALID_PRODUCT_ID INVALID_SIZE_PRECISION INVALID_PRICE_PRECISION
    INSUFFICIENT_FUND INSUFFICIENT_FUNDS INVALID_LEDGER_BALANCE ORDER_ENTRY_DISABLED INELIGIBLE_PAIR
    INVALID_LIMIT_PRICE_POST_ONLY INVALID_LIMIT_PRICE INVALID_NO_LIQUIDITY UNTRADABLE_PRODUCT GEOFENCING_RESTRICTION
    LIMIT_PRICE_TOO_FAR_FROM_MARKET LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_BUY
    LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_SELL QUOTE_ORDERS_NOT_ALLOWED_FOR_PRODUCT PRODUCT_TRADING_HALTED
    TRADING_DISABLED
    PREVIEW_MISSING_COMMISSION_RATE PREVIEW_INVALID_SIDE PREVIEW_INVALID_ORDER_CONFIG PREVIEW_INVALID_PRODUCT_ID
    PREVIEW_INVALID_SIZE_PRECISION PREVIEW_INVALID_PRICE_PRECISION PREVIEW_INVALID_LIMIT_PRICE_PRECISION
    PREVIEW_MISSING_PRODUCT_PRICE_BOOK PREVIEW_INVALID_LEDGER_BALANCE PREVIEW_INSUFFICIENT_LEDGER_BALANCE
    PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY PREVIEW_INVALID_LIMIT_PRICE PREVIEW_INVALID_NO_LIQUIDITY
    PREVIEW_INSUFFICIENT_FUND PREVIEW_INVALID_BASE_SIZE_TOO_LARGE PREVIEW_INVALID_BASE_SIZE_TOO_SMALL
    PREVIEW_INVALID_QUOTE_SIZE_PRECISION PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL
    PREVIEW_INVALID_PRICE_TOO_LARGE PREVIEW_BREACHED_PRICE_LIMIT PREVIEW_UNTRADABLE_PRODUCT
    PREVIEW_NOT_ALLOWED_BY_MARKET_STATE PREVIEW_GEOFENCING_RESTRICTION PREVIEW_LIMIT_PRICE_TOO_FAR_FROM_MARKET
    PREVIEW_NON_NUMERIC_ORDER_SIZE PREVIEW_COMPLIANCE_PURCHASE_LIMIT_EXCEEDED
    PREVIEW_LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_BUY PREVIEW_LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_SELL
    PREVIEW_QUOTE_ORDERS_NOT_ALLOWED_FOR_PRODUCT PREVIEW_PRODUCT_TRADING_HALTED PREVIEW_TRADING_DISABLED
    """.split()
)
"""Reasons of Coinbase's published lists that are found before an order is made. What is not here is no rejection:
`DUPLICATE_CLIENT_ORDER_ID` least of all, which says that there is an order.
"""

_DEFINITE_STATUS: Final[Mapping[int, frozenset[str]]] = {
    400: frozenset({"INVALID_ARGUMENT"}),
    403: frozenset({"PERMISSION_DENIED"}),
    429: frozenset({"RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "rate_limit_exceeded"}),
}
"""HTTP statuses with the word of Coinbase's own JSON that goes with them. A page with the same status may come from
anything between here and there, after the order was taken.
"""


class CoinbaseError(BrokerError):
    """An HTTP status that is no success. Only what Coinbase's own JSON says is repeated: a page may echo a request."""

    def __init__(self, what: str, status: int, said: Mapping[str, object], *, unauthorized: bool, pause: float) -> None:
        words = [word for name in ("error", "message", "error_details") if isinstance(word := said.get(name), str)]
        self.words = tuple(words)
        self.status, self.code = status, words[0] if "error" in said and words else ""
        self.text = _joined(words)
        self.pause = pause
        self.is_definite = (
            unauthorized
            or self.code in _DEFINITE_STATUS.get(status, ())
            or (status == 403 and "Missing required scopes" in words)
        )
        super().__init__(f"{what}: Coinbase answered {status}: {self.text or 'a text that is not its own JSON'}")


def _joined(words: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(words))[:300]


def _to_raise(refused: CoinbaseError) -> BrokerError:
    return RateLimited(refused.pause, str(refused)) if refused.status == 429 else refused


def _refusal(what: str, response: Any) -> CoinbaseError:
    token = response.request.headers["Authorization"].removeprefix("Bearer ")
    try:
        said = json.loads(response.text.replace(token, "(the token)"))
    except (ValueError, RecursionError):
        said = None
    after = response.headers.get("Retry-After", "")
    return CoinbaseError(
        what,
        response.status_code,
        said if isinstance(said, dict) else {},
        unauthorized=response.status_code == 401 and response.text.strip() == "Unauthorized",
        pause=min(60.0, float(after)) if re.fullmatch(r"[0-9]{1,6}", after, re.ASCII) else 1.0,
    )


def _reason(answer: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Code and words of a refusal, the most specific reason first. Raises BrokerError unless all of it is definite."""
    if isinstance(answer.get("success_response"), dict) and answer["success_response"].get("order_id"):
        raise BrokerError("Coinbase's answer to the order says no and names an order all the same")
    said = _part(answer, "error_response")
    names = ("new_order_failure_reason", "preview_failure_reason", "error")
    reasons = [reason for name in names if (reason := said.get(name)) not in (None, *_NOTHING)]
    if not reasons or not all(isinstance(reason, str) and reason in _DEFINITE for reason in reasons):
        shown = ", ".join(map(str, reasons))[:200] or "no reason"
        raise BrokerError(f"Coinbase did not take the order, with {shown}: that proves nothing")
    return str(reasons[0]), [
        word for name in ("message", "error_details") if isinstance(word := said.get(name), str) and word
    ]


def _rejection(order: VenueOrder, code: str, words: Iterable[str]) -> Receipt:
    """Its message is what the venue says beyond the code, and None where that is nothing."""
    return Receipt(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        status=OrderStatus.REJECTED,
        code=code,
        message=_joined(word for word in words if word not in ("", code)) or None,
    )


# --- orders


def _body(order: VenueOrder) -> dict[str, Any]:
    """The order as it goes out, sizes as text. Raises NotSent for what Coinbase has no form for here."""
    if not order.client_order_id:
        raise NotSent("an order without an id could never be found again")
    configuration: dict[str, Any]
    if order.limit is not None and order.amount is not None:
        terms = {"base_size": plain(order.amount), "limit_price": plain(order.limit), "post_only": False}
        configuration = {"limit_limit_gtc": terms}
    elif order.limit is None and order.amount is not None and order.side is Side.SELL:
        configuration = {"market_market_ioc": {"base_size": plain(order.amount)}}
    elif order.limit is None and order.spend is not None and order.side is Side.BUY:
        configuration = {"market_market_ioc": {"quote_size": plain(order.spend)}}
    else:
        raise NotSent("a market buy names a spend, a market sell an amount, and a limit order an amount")
    return {
        "client_order_id": order.client_order_id,
        "product_id": order.symbol,
        "side": order.side.value.upper(),
        "order_configuration": configuration,
    }


def _send(client: Client, order: VenueOrder) -> dict[str, Any]:
    """The one request that makes an order. What fails before its first byte is NotSent, by the wire's own word."""
    body = _body(order)
    wire = client.wire
    wire.send_by, wire.begun = order.send_by, False
    try:
        return _call(client, "the order", client.sdk.post, _ORDERS, data=body)
    except (BrokerError, OSError) as error:
        if wire.begun or isinstance(error, NotSent):
            raise
        raise NotSent(str(error)) from error
    finally:
        wire.send_by = math.inf


def _followed(client: Client, order: VenueOrder, accepted: Receipt) -> Receipt:
    """How an accepted order stands: under a known id Coinbase answers with the first order, echoing the new terms.

    So what it says of the order itself is what counts, and the gate compares it with what was sent. A new order may
    not be there to be read for a moment. Whatever goes wrong here, it is accepted.
    """
    known = accepted
    terms = ("client_order_id", "symbol", "side", "spend", "amount", "limit")
    if any(getattr(accepted, name) not in (None, getattr(order, name)) for name in terms):
        return known
    client.wire.seconds = _QUICK
    try:
        for look in range(_LOOKS):
            if look:
                client.clock.sleep(_PAUSE)
            known = attempt(_order, client, str(accepted.order_id)) or known
            if known.status.is_final or (known is not accepted and order.limit is not None):
                break
    except Failed:
        return known
    finally:
        client.wire.seconds = _SECONDS
    return known


def _order(client: Client, order_id: str) -> Receipt | None:
    """The order by Coinbase's own id; None while Coinbase does not know it."""
    try:
        row = _part(_get(client, f"{_ORDERS}/historical/{order_id}"), "order")
    except CoinbaseError as refused:
        if refused.status == 404 and refused.code == "NOT_FOUND":
            return None
        raise
    if row.get("order_id") != order_id:
        raise BrokerError(f"asked for order {order_id}, Coinbase spoke of another one")
    return _receipt(row)


def _open_rows(client: Client) -> list[Mapping[str, Any]]:
    """Spot orders that can still fill. Coinbase gives the open ones and those on their way in or out separately."""
    rows: dict[str, Mapping[str, Any]] = {}
    for statuses in (["OPEN"], ["PENDING", "QUEUED", "CANCEL_QUEUED"]):
        for row in _pages(client, _HISTORY, "orders", {"order_status": statuses, "limit": _PAGE}):
            if _is_spot(row):
                rows[_text(row, "order_id")] = row
    return list(rows.values())


def _rows_of_fills(client: Client, since: str, known: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Orders that only their fills speak of: a fill does not name the sender's id, so each is read."""
    seen = {row.get("order_id") for row in known}
    params = {"start_sequence_timestamp": since, "limit": _PAGE}
    for fill in _pages(client, _FILLS, "fills", params, says_more=False):
        order_id = _text(fill, "order_id")
        if order_id not in seen:
            seen.add(order_id)
            yield _part(_get(client, f"{_ORDERS}/historical/{_path_part(order_id)}"), "order")


def _with_id(rows: Iterable[Mapping[str, Any]], order: VenueOrder) -> Mapping[str, Any] | None:
    """The one order among the rows that has this id from its sender."""
    found = {_text(row, "order_id"): row for row in rows if row.get("client_order_id") == order.client_order_id}
    if len(found) > 1:
        raise BrokerError(
            f"Coinbase shows {len(found)} orders under the id {order.client_order_id}: {', '.join(found)}"
        )
    return next(iter(found.values()), None)


_STATUS: Final = {
    "PENDING": OrderStatus.OPEN,
    "QUEUED": OrderStatus.OPEN,
    "OPEN": OrderStatus.OPEN,
    "CANCEL_QUEUED": OrderStatus.OPEN,
    "FILLED": OrderStatus.FILLED,
    "CANCELLED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.EXPIRED,
    "FAILED": OrderStatus.REJECTED,
}


_FAILED: Final = "Coinbase took the order and then failed it"


def _receipt(row: Mapping[str, Any]) -> Receipt:
    """What Coinbase says of an order. Raises BrokerError for what cannot be read, or cannot be."""
    filled = _figure_or_zero(row, "filled_size")
    word = row.get("status")
    status = _STATUS.get(word) if isinstance(word, str) else None
    if status is None or (status is OrderStatus.FILLED and not filled):
        raise BrokerError(f"Coinbase says that an order is {word!r}, with {plain(filled)} of it filled")
    if filled and status is OrderStatus.OPEN:
        status = OrderStatus.PARTLY_FILLED
    elif filled and status is OrderStatus.REJECTED:
        status = OrderStatus.CANCELLED  # it failed with a part done: that part is there
    spend, amount, limit = _terms(row)
    rejected = status is OrderStatus.REJECTED
    code = str(row.get("reject_reason") or word) if rejected else None
    message = row.get("reject_message")
    return Receipt(
        client_order_id=_text(row, "client_order_id", empty=True),
        symbol=_text(row, "product_id"),
        side=_side(row),
        status=status,
        order_id=_text(row, "order_id"),
        filled_amount=filled,
        filled_value=_figure_or_zero(row, "filled_value"),
        fees=_figure_or_zero(row, "total_fees"),
        spend=spend,
        amount=amount,
        limit=limit,
        code=code,
        message=str(message if message not in (None, "", code) else _FAILED) if rejected else None,
    )


def _terms(row: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """Spend, amount and limit of an order, None where it has none: of whatever kind it is, it has one configuration."""
    kinds = [one for one in _part(row, "order_configuration").values() if isinstance(one, dict)]
    if len(kinds) != 1:
        raise BrokerError(f"Coinbase tells {len(kinds)} configurations of an order, not one")
    spend, amount, limit = (
        None if kinds[0].get(name) in (None, "") else _figure(kinds[0], name)
        for name in ("quote_size", "base_size", "limit_price")
    )
    return spend, amount, limit


def _open_order(row: Mapping[str, Any]) -> OpenOrder:
    """A resting order. One that spends a quote amount has no base amount to name: it is on its way, and done soon."""
    _, amount, limit = _terms(row)
    return OpenOrder(
        order_id=_text(row, "order_id"),
        symbol=_text(row, "product_id"),
        side=_side(row),
        amount_left=max(ZERO, (amount or ZERO) - _figure_or_zero(row, "filled_size")),
        limit=limit,
        client_order_id=_text(row, "client_order_id", empty=True) or None,
    )


def _is_spot(row: Mapping[str, Any]) -> bool:
    return bool(row.get("product_type", "SPOT") == "SPOT")


# --- accounts and markets

_TRADABLE: Final = frozenset({"ACCOUNT_TYPE_CRYPTO", "ACCOUNT_TYPE_FIAT", "CRYPTO", "FIAT"})
_SPOT_PLATFORMS: Final = frozenset({None, "ACCOUNT_PLATFORM_UNSPECIFIED", "ACCOUNT_PLATFORM_CONSUMER"})


def _portfolio(client: Client) -> str:
    if not client.portfolio:
        client.portfolio[:] = [_text(_get(client, f"{_API}/key_permissions"), "portfolio_uuid")]
    return client.portfolio[0]


def _holdings(rows: Iterable[Mapping[str, Any]]) -> tuple[Holding, ...]:
    """Wallets summed per currency; USD and USDC are two, though they share their markets. Empty ones are left out."""
    sums: dict[str, list[Decimal]] = {}
    for row in rows:
        available, hold = (_figure(_part(row, name), "value") for name in ("available_balance", "hold"))
        total = sums.setdefault(_text(row, "currency"), [ZERO, ZERO, ZERO])
        tradable = (
            row.get("type") in _TRADABLE
            and row.get("platform") in _SPOT_PLATFORMS
            and _flag(row, "ready")
            and row.get("active") is not False
        )
        moved = (available, hold, ZERO) if tradable else (ZERO, ZERO, available + hold)
        total[:] = [one + more for one, more in zip(total, moved, strict=True)]
    return tuple(
        Holding(currency=currency, available=available, hold=hold, locked=locked)
        for currency, (available, hold, locked) in sums.items()
        if available or hold or locked
    )


def _price(book: Mapping[str, Any]) -> Price | None:
    bids, asks = _rows(book, "bids"), _rows(book, "asks")
    if not bids or not asks:
        return None
    return Price(
        symbol=_text(book, "product_id"),
        bid=_figure(bids[0], "price"),
        ask=_figure(asks[0], "price"),
        at=_moment(book, "time"),
    )


def _market_status(row: Mapping[str, Any]) -> MarketStatus:
    if row.get("status") != "online" or any(_flag(row, name) for name in ("is_disabled", "trading_disabled")):
        return MarketStatus.OFFLINE
    if _flag(row, "view_only"):
        return MarketStatus.OFFLINE
    if _flag(row, "cancel_only"):
        return MarketStatus.CANCEL_ONLY
    if _flag(row, "post_only"):
        return MarketStatus.POST_ONLY
    # In an auction limit orders are collected, and nothing fills at once. Not every answer speaks of auctions.
    auction = row.get("auction_mode", False) is not False
    return MarketStatus.LIMIT_ONLY if auction or _flag(row, "limit_only") else MarketStatus.ONLINE


# --- reading answers: what is not exactly as it must be is a BrokerError


def _part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = row.get(name)
    if not isinstance(part, dict):
        raise BrokerError(f"Coinbase's answer has no {name}")
    return part


def _rows(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = answer.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BrokerError(f"Coinbase's answer has no list of {name}")
    return rows


def _text(row: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not (value or empty):
        raise BrokerError(f"Coinbase's answer has no {name}")
    return value


def _flag(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name)
    if not isinstance(value, bool):
        raise BrokerError(f"Coinbase's answer does not say whether it is {name}")
    return value


def _figure(row: Mapping[str, Any], name: str) -> Decimal:
    """A number at or above zero that came as text: what came as a JSON number has been through a float."""
    value = row.get(name)
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,30}(?:\.[0-9]{1,60})?", value, re.ASCII):
        raise BrokerError(f"Coinbase's {name} is {str(value)[:60]!r}, not digits as text")
    return Decimal(value)


def _figure_or_zero(row: Mapping[str, Any], name: str) -> Decimal:
    return ZERO if row.get(name) == "" else _figure(row, name)


def _side(row: Mapping[str, Any]) -> Side:
    word = _text(row, "side")
    if word not in ("BUY", "SELL"):
        raise BrokerError(f"Coinbase's side is {word[:60]!r}")
    return Side(word.lower())


def _moment(row: Mapping[str, Any], name: str) -> float:
    text = _text(row, name)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BrokerError(f"Coinbase's {name} is {text[:60]!r}, no moment") from None
    if moment.tzinfo is None:
        raise BrokerError(f"Coinbase's {name} is {text[:60]!r}, of no time zone")
    return moment.timestamp()


def _path_part(text: str) -> str:
    """An id that can stand in an address without becoming another one."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", text, re.ASCII):
        raise BrokerError(f"{text[:60]!r} is no id of Coinbase's")
    return text


def _pages(
    client: Client, path: str, name: str, params: Mapping[str, Any], *, says_more: bool = True
) -> Iterator[dict[str, Any]]:
    """All rows of a listing. Raises BrokerError for one that says there is more and does not say where.

    `says_more` is false for the one listing that has no word for it: it ends with an empty cursor, or an empty page.
    """
    cursor, seen = "", set[str]()
    for _ in range(_MOST_PAGES):
        answer = _get(client, path, {**params, "cursor": cursor or None})
        rows = _rows(answer, name)
        yield from rows
        cursor = "" if answer.get("cursor") is None else _text(answer, "cursor", empty=True)
        if not (_flag(answer, "has_next") if says_more else cursor and rows):
            return
        if not cursor or cursor in seen:
            raise BrokerError(f"Coinbase's list of {name} says that there is more, and does not say where")
        seen.add(cursor)
    raise BrokerError(f"Coinbase's list of {name} has more than {_MOST_PAGES} pages")


# --- the wire


def _get(client: Client, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Ask a question. A good token is refused now and then, so a question is asked once more, with a new one."""
    ask = client.sdk.get
    try:
        return _call(client, path, ask, path, params=dict(params or {}))
    except CoinbaseError as refused:
        if refused.status != 401:
            raise _to_raise(refused) from None
    try:
        return _call(client, path, ask, path, params=dict(params or {}))
    except CoinbaseError as refused:
        raise _to_raise(refused) from None


def _call(client: Client, what: str, call: Callable[..., Any], path: str, **named: Any) -> dict[str, Any]:
    """One request through the SDK. Raises `CoinbaseError` for an HTTP status, BrokerError for what else went wrong.

    What the SDK raises is not handed on: it carries the request, and with it a token that is good for two minutes.
    """
    from requests.exceptions import HTTPError, RequestException

    refusal: CoinbaseError | None = None
    answer: Any = None
    try:
        answer = call(path, **named)
    except HTTPError as error:
        refusal = _refusal(what, error.response)
    except RequestException as error:
        raise BrokerError(f"{what}: {_told(error)}") from None
    if not client.wire.begun:
        # No BrokerError: that would be taken for the wire's word that nothing was sent.
        raise RuntimeError(
            "urllib3 wrote a request past the watch on its first byte; install the one this was tested with"
        )
    if refusal is not None:
        raise refusal
    if not isinstance(answer, dict):
        raise BrokerError(f"{what}: Coinbase's answer is no object")
    return answer


def _told(error: Exception) -> str:
    """What went wrong underneath, in the words of whoever noticed it first."""
    reason: Exception = error
    while isinstance(inner := getattr(reason, "reason", None) or next(iter(reason.args), None), Exception):
        reason = inner
    return f"{type(error).__name__}: {reason}"[:300]


class _Wire(threading.local):
    """What the request that a thread is just making must keep to, and whether its first byte may have left."""

    send_by: float = math.inf
    seconds: float = _SECONDS
    begun: bool = False

    def begin(self, now: float) -> None:
        """Called with the connection made and the certificate checked, before anything of a request is written."""
        if now > self.send_by:
            raise NotSent("its send-by time passed before it could be sent")
        self.begun = True


def _harden(session: Any, wire: _Wire, clock: Clock, ca_file: Path | None) -> None:
    """Let a session reach one venue over https and nothing else, and ask nothing of its surroundings."""
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPSConnection
    from urllib3.connectionpool import HTTPSConnectionPool

    class Connection(HTTPSConnection):
        def request(self, *arguments: Any, **named: Any) -> None:
            wire.begin(clock.now())
            super().request(*arguments, **named)

    class Pool(HTTPSConnectionPool):
        ConnectionCls: Any = Connection

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
            super().init_poolmanager(*arguments, **named)
            pools: dict[str, Any] = {"https": Pool}
            self.poolmanager.pool_classes_by_scheme = pools

        def send(self, request: Any, *arguments: Any, **named: Any) -> Any:
            return super().send(request, *arguments, **{**named, "timeout": wire.seconds})

    session.trust_env = False  # no proxies, no .netrc in place of the token, no other certificates
    session.verify = True if ca_file is None else str(ca_file)
    session.max_redirects = 0  # a redirected order would arrive as a question
    session.adapters.clear()
    session.mount("https://", Adapter(max_retries=0, pool_maxsize=32))
