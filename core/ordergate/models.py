"""The values that travel through the gate. All frozen; amounts are `Decimal`, moments are seconds since the epoch, UTC.

What the caller wants is an `Order` (`ordergate.order`). What a broker reports are `Market`, `Price` and
`AccountReport`. What rules see are `Purchase`, `Market`, `Account`, `Tier`, `BrokerProfile` and `History`; they answer
with a `Verdict`. What is sent is a `VenueOrder`; what the venue said of it is a `Receipt`. All verdicts and the outcome
together are a `Decision` (`ordergate.decision`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple, Self

from attrs import Factory, frozen

from ordergate.amounts import ZERO

__all__ = [
    "REPORTING_CURRENCY",
    "Absence",
    "Account",
    "AccountReport",
    "Basis",
    "BrokerProfile",
    "FeesFrom",
    "Figure",
    "History",
    "Holding",
    "IdPromise",
    "Market",
    "MarketStatus",
    "OpenOrder",
    "OrderStatus",
    "PastOrder",
    "Position",
    "Price",
    "Purchase",
    "Receipt",
    "Side",
    "Tier",
    "TradingState",
    "VenueOrder",
    "Verdict",
]

REPORTING_CURRENCY: Final = "USD"
"""Equity, tiers, sizes and thresholds are all in this currency."""


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
    rests_on: str = ""
    """What the proof of absence rests on, in words, and how far that is documented, measured or inferred."""
    facts_every: float = 0.0
    """Seconds that facts serve further orders so that the venue's budget of requests holds; `gate.facts_cache` may say
    more, and no facts serve longer than `gate.facts_age`.
    """


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
    principal: str | None = None
    """Who asks, in the caller's words: a strategy, a bot, a person. Nobody has checked it."""


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
    position_floor: Decimal
    """The least they can be together. Of a buy that was approved a moment ago the balances may show the position
    already: each counts what is held or what is claimed, whichever is more.
    """
    holdings: Mapping[str, Position]
    cash_currencies: frozenset[str]
    open_orders: int = 0
    """Orders that can still fill: those open at the venue, and approved buys that it does not show yet."""


class PastOrder(NamedTuple):
    """An order of the account that was recorded to be sent. `size` and `cost` in USD, zero for an exit.

    A named tuple, as `Basis` is: of these there may be thousands, so rules are handed them and not copies of them.

    `cost` is the most it has taken or can still take: of an order that is over, what it took. `spend`, `amount` and
    `limit` are as they were sent. `filled_amount`, `filled_value` and `fees` are what the last
    word of it said, in base and quote currency; `heard_at` is when that was recorded.
    """

    client_order_id: str
    symbol: str
    side: Side
    size: Decimal
    status: OrderStatus
    at: float
    cost: Decimal = ZERO
    spend: Decimal | None = None
    amount: Decimal | None = None
    limit: Decimal | None = None
    is_exit: bool = False
    principal: str | None = None
    filled_amount: Decimal = ZERO
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO
    heard_at: float | None = None
    realised: Decimal | None = None
    """USD won (or, below zero, lost) by what this sell has filled, against the average cost of what was bought through
    the gate in the same market, fees included. None where nothing was sold, or its cost is not known.
    """


class Basis(NamedTuple):
    """What of a market's base currency was bought through the gate and not sold since, and its cost in USD, fees
    included, at the average.
    """

    amount: Decimal
    cost: Decimal


@frozen(kw_only=True)
class History:
    """What the account's journal tells, as of the moment `now` of judging. Read only when a rule asks for it.

    `orders` are those of which the last word came in the last 31 days, and all that are not over; newest first, by the
    moment they were sent. `costs` has the basis of each market that was bought in.
    `peaks` is the highest equity (USD) that decisions of each day saw, by ISO date in UTC, for the last 366 days.
    """

    now: float = 0.0
    orders: tuple[PastOrder, ...] = ()
    costs: Mapping[str, Basis] = Factory(dict)
    peaks: Mapping[str, Decimal] = Factory(dict)


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
    owner: str | None = None
    """Who answers for this limit, and below why it is what it is: `owner` and `reason` in `[rules.NAME]`."""
    reason: str | None = None

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
