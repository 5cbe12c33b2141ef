"""The values that travel through the gate. All frozen; amounts are `Decimal`, moments are seconds since the epoch
(UTC).

What the caller wants is an `Order`. What a broker reports are `Market`, `Price` and `AccountReport`. What rules see are
`Purchase`, `Market`, `Account`, `Tier`, `BrokerProfile` and `History`; they answer with a `Verdict`. What is sent is a
`VenueOrder`; what the venue said of it is a `Receipt`. All verdicts and the outcome together are a `Decision`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

from attrs import Factory, field, frozen

from ordergate.amounts import ZERO, parse_amount
from ordergate.errors import InputError

__all__ = [
    "REPORTING_CURRENCY",
    "Absence",
    "Account",
    "AccountReport",
    "BrokerProfile",
    "Decision",
    "FactsSummary",
    "FeesFrom",
    "Figure",
    "History",
    "Holding",
    "IdPromise",
    "Market",
    "MarketStatus",
    "OpenOrder",
    "Order",
    "OrderStatus",
    "PastOrder",
    "Position",
    "Price",
    "Purchase",
    "Receipt",
    "Side",
    "StateChange",
    "Tier",
    "TradingState",
    "VenueOrder",
    "Verdict",
]

REPORTING_CURRENCY: Final = "USD"
"""Equity, tiers, sizes and thresholds are all in this currency."""

_SYMBOL = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}", re.ASCII)
_CLIENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderStatus(StrEnum):
    """What became of an order. Refused is what the gate does, rejected is what a venue does."""

    APPROVED = "approved"
    REFUSED = "refused"
    OPEN = "open"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    UNKNOWN = "unknown"

    @property
    def is_final(self) -> bool:
        """True when the venue will not change this order any more."""
        return self in _FINAL


_FINAL = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED})


class TradingState(StrEnum):
    ACTIVE = "active"
    EXITS_ONLY = "exits_only"


class MarketStatus(StrEnum):
    """What a venue lets be done in a market now."""

    ONLINE = "online"
    LIMIT_ONLY = "limit_only"
    POST_ONLY = "post_only"
    CANCEL_ONLY = "cancel_only"
    REDUCE_ONLY = "reduce_only"
    OFFLINE = "offline"


class FeesFrom(StrEnum):
    """Where a venue takes the fee of a buy that names a quote amount."""

    ON_TOP = "on_top"
    INSIDE = "inside"


class IdPromise(StrEnum):
    """What a venue promises of a client order id it has seen before."""

    ALWAYS_UNIQUE = "always_unique"
    """A second order with the id is never created."""
    UNIQUE_WHILE_OPEN = "unique_while_open"
    """The id may be used again once the first order is done: a repeat is a second order."""
    NONE = "none"


class Absence(StrEnum):
    """How it is proved that an order never reached a venue."""

    LOOKUP = "lookup"
    """Not found by id after the send-by time plus what the venue honours: it is not there and cannot arrive."""
    PERSON = "person"
    """Only a person who has looked can say so."""


# ----------------------------------------------------------------------------------------------- what the caller wants


def _text(value: object, name: str, fix: str) -> str:
    if not isinstance(value, str):
        raise InputError(name, value, fix)
    return value


def parse_symbol(value: object) -> str:
    """Take a market's name: BASE-QUOTE in capital ASCII letters and digits, such as BTC-USD."""
    fix = "write BASE-QUOTE in capital ASCII letters and digits, such as BTC-USD"
    text = _text(value, "symbol", fix)
    if not _SYMBOL.fullmatch(text):
        guess = text.strip().upper().replace("/", "-").replace("_", "-")
        raise InputError("symbol", text, f"did you mean {guess}?" if _SYMBOL.fullmatch(guess) else fix)
    if text.split("-")[0] == text.split("-")[1]:
        raise InputError("symbol", text, "base and quote must differ")
    return text


def parse_client_order_id(value: object) -> str:
    """Take a caller's id: 1 to 64 of letters, digits, `_`, `.` and `-`."""
    fix = "use 1 to 64 ASCII letters, digits, '_', '.' or '-'"
    text = _text(value, "client_order_id", fix)
    if not _CLIENT_ID.fullmatch(text):
        raise InputError("client_order_id", text, fix)
    return text


def _side(value: object) -> Side:
    if value not in ("buy", "sell") or not isinstance(value, str):
        raise InputError("side", value, "use exactly 'buy' or 'sell'")
    return Side(value)


def _optional_amount(name: str, value: object) -> Decimal | None:
    return None if value is None else parse_amount(value, name)


def _spend(value: object) -> Decimal | None:
    return _optional_amount("spend", value)


def _amount(value: object) -> Decimal | None:
    return _optional_amount("amount", value)


def _limit(value: object) -> Decimal | None:
    return _optional_amount("limit", value)


def _optional_account(value: object) -> str | None:
    fix = "use the name of an account in the config"
    if value is None:
        return None
    text = _text(value, "account", fix)
    if not text:
        raise InputError("account", text, fix)
    return text


def _optional_id(value: object) -> str | None:
    return None if value is None else parse_client_order_id(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError(name, value, "use true or false")
    return value


def _all(value: object) -> bool:
    return _flag("all", value)


def _force_liquidate(value: object) -> bool:
    return _flag("force_liquidate", value)


def _reason(value: object) -> str | None:
    if value is None:
        return None
    text = _text(value, "reason", "say why in a few words")
    if not text.strip() or len(text) > 500 or not text.isprintable():
        raise InputError("reason", text, "say why in 1 to 500 printable characters")
    return text


@frozen(kw_only=True)
class Order:
    """What the caller wants. Every field is parsed strictly; a bad one raises `InputError` that names it and the fix.

    A buy names `spend` (quote amount; a market buy, or with `limit` the most it may take before fees), or `amount`
    (base amount) together with `limit`. A sell names `amount` or `all`, with or without `limit`.
    `force_liquidate` is the emergency form of a sell and needs a `reason`.
    """

    symbol: str = field(converter=parse_symbol)
    side: Side = field(converter=_side)
    spend: Decimal | None = field(default=None, converter=_spend)
    amount: Decimal | None = field(default=None, converter=_amount)
    all: bool = field(default=False, converter=_all)
    limit: Decimal | None = field(default=None, converter=_limit)
    account: str | None = field(default=None, converter=_optional_account)
    client_order_id: str | None = field(default=None, converter=_optional_id)
    force_liquidate: bool = field(default=False, converter=_force_liquidate)
    reason: str | None = field(default=None, converter=_reason)

    def __attrs_post_init__(self) -> None:
        named = [name for name in ("spend", "amount") if getattr(self, name) is not None]
        named += ["all"] if self.all else []
        if len(named) != 1:
            raise InputError(
                "size", " and ".join(named) or "nothing", "give exactly one of spend, amount and, for a sell, all"
            )
        if self.side is Side.BUY:
            self._check_buy()
        elif self.spend is not None:
            raise InputError("spend", str(self.spend), "a sell takes amount (of the base currency) or all")
        if self.force_liquidate and self.reason is None:
            raise InputError("reason", None, "a forced liquidation needs a reason")

    def _check_buy(self) -> None:
        if self.force_liquidate:
            raise InputError("force_liquidate", True, "it exists for sells only; no buy skips the rules")
        if self.all:
            raise InputError("all", True, "it exists for sells only; a buy names spend or amount")
        if self.amount is not None and self.limit is None:
            raise InputError("amount", str(self.amount), "a market buy names spend; with amount give a limit too")

    @classmethod
    def buy(cls, symbol: str, **fields: Any) -> Self:
        """`Order.buy("BTC-USD", spend="25", account="main")`"""
        return cls(symbol=symbol, side=Side.BUY, **fields)

    @classmethod
    def sell(cls, symbol: str, **fields: Any) -> Self:
        """`Order.sell("BTC-USD", amount="0.001")` or `Order.sell("BTC-USD", all=True)`"""
        return cls(symbol=symbol, side=Side.SELL, **fields)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """Take an order from outside: unknown and missing fields are errors, not defaults."""
        known = {attribute.name for attribute in cls.__attrs_attrs__}
        for name in values:
            if name not in known:
                raise InputError(
                    str(name), values[name], f"there is no such field; an order has {', '.join(sorted(known))}"
                )
        for name in ("symbol", "side"):
            if name not in values:
                raise InputError(name, None, "every order needs it")
        return cls(**dict(values))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Take an order from JSON text. Repeated keys, unknown fields and `NaN` are errors; numbers keep every
        digit.
        """
        try:
            values = json.loads(text, object_pairs_hook=_no_repeats, parse_float=_exact, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:  # also integers of thousands of digits, and nesting without end
            raise InputError("order", "the text", f"it is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise InputError("order", values, "send one JSON object")
        return cls.from_mapping(values)


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in pairs:
        if name in values:
            raise InputError(name, value, "the field stands twice; send it once")
        values[name] = value
    return values


def _exact(text: str) -> Decimal:
    """Every digit of a JSON number. One too large for any Decimal is told of where its field is known."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("Infinity")


def _no_constant(text: str) -> object:
    raise InputError("order", text, "numbers must be finite")


# ---------------------------------------------------------------------------------------------- what a broker reports


@frozen(kw_only=True)
class Price:
    """The best bid and ask of a market, quote currency per base unit.

    `at` is when the venue says they held; None when it does not say, then the moment of asking counts.
    """

    symbol: str
    bid: Decimal
    ask: Decimal
    at: float | None = None


@frozen(kw_only=True)
class Market:
    """A venue's limits and steps for one symbol.

    Amounts are in the base currency, spends in the quote currency, prices in quote per base. `price` is None as a
    broker reports it; what rules get always carries the price the gate fetched.
    """

    symbol: str
    base: str
    quote: str
    amount_step: Decimal
    spend_step: Decimal
    price_step: Decimal
    min_amount: Decimal = ZERO
    min_spend: Decimal = ZERO
    max_amount: Decimal | None = None
    max_spend: Decimal | None = None
    status: MarketStatus = MarketStatus.ONLINE
    price: Price | None = None

    @property
    def bid(self) -> Decimal:
        if self.price is None:
            raise LookupError(f"{self.symbol} carries no price")
        return self.price.bid

    @property
    def ask(self) -> Decimal:
        if self.price is None:
            raise LookupError(f"{self.symbol} carries no price")
        return self.price.ask


@frozen(kw_only=True)
class Holding:
    """What an account holds of one currency: `available` can be used now, `hold` is bound in open orders, `locked` is
    staked or otherwise not tradable.
    """

    currency: str
    available: Decimal
    hold: Decimal = ZERO
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.available + self.hold + self.locked


@frozen(kw_only=True)
class OpenOrder:
    """An order resting at the venue. `amount_left` is the base amount not yet filled; `limit` is None where it has
    none.

    `client_order_id` is the id on the wire, None for orders that were given none.
    """

    order_id: str
    symbol: str
    side: Side
    amount_left: Decimal
    limit: Decimal | None = None
    client_order_id: str | None = None


@frozen(kw_only=True)
class AccountReport:
    """What a venue says of an account. `identity` names the funds themselves: a portfolio id, or a key's
    fingerprint.
    """

    identity: str
    holdings: tuple[Holding, ...]
    open_orders: tuple[OpenOrder, ...] = ()


@frozen
class Figure:
    """A number with where it comes from and when it was read there."""

    value: Decimal
    source: str
    as_of: str
    """ISO date of the reading."""


@frozen(kw_only=True)
class BrokerProfile:
    """What a broker declares of its venue. Rates are fractions (0.008 is 0.8 %); lags and windows are seconds."""

    venue: str
    fee_threshold: Figure
    """USD: the size under which the venue's fees make a position pointless. Config may raise it, never lower it."""
    maker_fee: Figure
    taker_fee: Figure
    fees_from: FeesFrom
    id_promise: IdPromise
    absence: Absence
    honoured: float = 0.0
    """How long after an order's send-by time the venue may still accept it."""
    balance_lag: float = 0.0
    """How long after a receipt the venue's balances may still show the old state."""
    absence_looks: int = 3
    """How many look-ups in a row must find nothing before an order counts as absent: a new order can be late to
    show.
    """
    absence_pause: float = 0.2
    """Seconds between those look-ups."""


# ------------------------------------------------------------------------------------------------------ what rules see


@frozen(kw_only=True)
class Purchase:
    """The order a rule judges: what it acquires, already rounded down to the venue's steps.

    A rule never sees an exit. `takes` is the currency acquired, `gives` the one paid with. `size` is what minimums and
    averages compare (USD, fees not added); `cost` is the most it can take (USD, fees included). `acquires` is the base
    amount that will be held of `takes` at the worst, fees taken where the venue takes them.
    """

    symbol: str
    side: Side
    takes: str
    gives: str
    size: Decimal
    cost: Decimal
    acquires: Decimal
    spend: Decimal | None
    amount: Decimal | None
    limit: Decimal | None


@frozen(kw_only=True)
class Tier:
    """A step of the table that an account's equity falls into. `equity` is where it begins, in USD."""

    name: str
    equity: Decimal
    max_positions: int
    min_position: Decimal
    min_allocation: Decimal = Decimal("0.05")
    """Fraction of equity that every buy must reach at least."""


@frozen(kw_only=True)
class Position:
    """A holding that counts: `amount` in its own currency, `value` in USD at the bid.

    `sellable` is the part that is not locked. `claimed` is the USD value of approved buys not yet seen in the facts;
    `value` includes it. A currency with claims alone is a position too.
    """

    currency: str
    amount: Decimal
    sellable: Decimal
    value: Decimal
    claimed: Decimal = ZERO


@frozen(kw_only=True)
class Account:
    """One account as all rules see it: the venue's facts with the ledger's reservations merged in. Amounts in USD.

    `positions` maps a currency to its position; dust and cash currencies are not in it. `position_total` is the sum of
    their values. `holdings` also has what is dust.
    """

    name: str
    equity: Decimal
    cash: Decimal
    dust: Decimal
    """The USD value under which a holding is dust (`gate.dust`)."""
    positions: Mapping[str, Position]
    position_total: Decimal
    holdings: Mapping[str, Position]
    cash_currencies: frozenset[str]


@frozen(kw_only=True)
class PastOrder:
    """An order the ledger remembers. `size` in USD."""

    client_order_id: str
    symbol: str
    side: Side
    size: Decimal
    status: OrderStatus
    at: float


@frozen(kw_only=True)
class History:
    """Orders of the account in the last 24 hours that were sent, newest first. Fetched only when a rule asks for it."""

    orders: tuple[PastOrder, ...] = ()


@frozen(kw_only=True)
class Verdict:
    """One rule's answer. `observed` and `limit` are the two numbers it compared, where there are such.

    Rules build it with `Verdict.approve` and `Verdict.refuse`; the gate fills in `rule`.
    """

    approved: bool
    code: str
    message: str
    observed: Decimal | None = None
    limit: Decimal | None = None
    rule: str = ""

    @classmethod
    def approve(cls, *, observed: Decimal | None = None, limit: Decimal | None = None) -> Self:
        return cls(approved=True, code="approved", message="", observed=observed, limit=limit)

    @classmethod
    def refuse(cls, code: str, message: str, *, observed: Decimal | None = None, limit: Decimal | None = None) -> Self:
        """`message` is one sentence with both numbers in it; `code` is a stable word for programs."""
        return cls(approved=False, code=code, message=message, observed=observed, limit=limit)


# ----------------------------------------------------------------------------------------------- what is sent, and said


@frozen(kw_only=True)
class VenueOrder:
    """Exactly what is sent, and only by the executor. `client_order_id` is the id on the wire, a UUID.

    One of `spend` and `amount` is set. `send_by`: seconds since the epoch after which it must not be sent, nor accepted
    where the venue can be told so.
    """

    account: str
    symbol: str
    side: Side
    spend: Decimal | None
    amount: Decimal | None
    limit: Decimal | None
    client_order_id: str
    send_by: float


@frozen(kw_only=True)
class Receipt:
    """What the venue said of an order. Amounts are what is filled so far: base, quote value, fees in quote currency.

    `rejected` is only for answers that prove the order was not taken, with the venue's own `code` and `message`.
    Whatever else goes wrong, raise: the gate then treats the outcome as unknown and looks the order up by its id.
    `spend`, `amount` and `limit` repeat the venue's terms where it tells them; they must equal what was sent.
    """

    client_order_id: str
    symbol: str
    side: Side
    status: OrderStatus
    order_id: str | None = None
    filled_amount: Decimal = ZERO
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO
    spend: Decimal | None = None
    amount: Decimal | None = None
    limit: Decimal | None = None
    code: str | None = None
    message: str | None = None


@frozen(kw_only=True)
class FactsSummary:
    """What a decision was made on, in short. Amounts in USD, ages in seconds at the time of judging."""

    equity: Decimal | None
    cash: Decimal | None
    positions: tuple[Position, ...]
    tier: str | None
    ages: Mapping[str, float]
    unvalued: tuple[str, ...] = ()
    """Currencies held that have no market at the venue: counted as nothing."""


@frozen(kw_only=True)
class Decision:
    """All verdicts on one order, and what came of it. `error` is null unless it was refused, rejected or is unknown."""

    status: OrderStatus
    order: Order
    verdicts: tuple[Verdict, ...] = ()
    error: str | None = None
    message: str = ""
    advice: str | None = None
    smallest_passing: Decimal | None = None
    """The smallest size that every rule would approve now, in the unit the order was sized in; None when no size
    would.
    """
    smallest_passing_in: str | None = None
    facts: FactsSummary | None = None
    receipt: Receipt | None = None
    venue_order: VenueOrder | None = None
    purchase: Purchase | None = None
    is_exit: bool = False
    checked_only: bool = False
    replayed: bool = False
    warnings: tuple[str, ...] = ()
    at: float = 0.0
    fee_threshold: Figure | None = None
    taker_fee: Figure | None = None

    @property
    def approved(self) -> bool:
        """True unless the gate refused it."""
        return self.status is not OrderStatus.REFUSED

    @property
    def refusals(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.approved is not True)


@frozen(kw_only=True)
class StateChange:
    """Something that changed beside the orders: a halt, a resume, an alarm."""

    kind: str
    """`halted`, `resumed` or `alarm`."""
    account: str | None
    code: str
    message: str
    by: str | None = None
    at: float = 0.0
    details: Mapping[str, str] = Factory(dict)
