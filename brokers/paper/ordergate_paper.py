"""The paper broker: a believable venue in an SQLite file of its own, for trying, testing and rehearsing.

It imitates Coinbase Advanced, Kraken Spot or Binance Spot in what the gate must cope with: products, steps, minimums,
fees, the promise about client order ids, the words of a rejection, and, when told to, the ways venues fail.
It never speaks to a network, and it trusts nothing of the gate: funds, sizes, ids and deadlines are checked
here again.

Top to bottom: settings, the hooks the gate calls, the face for commands and tests (`set_price`, `replay`,
`reset`, `set_fault`, `clear_faults`, `count_orders`, `count_requests`, `placed_orders`), the products, the words of
rejections, how orders are taken and filled, faults, the file.

All roundings go against the customer, so that none ever creates money: base amounts go down to the product's
step; what a buy pays goes up, and what a sell earns goes down, to the market's quote step, once per order
over all its fills.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import astuple, evolve, field, frozen
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
    OpenOrder,
    OrderStatus,
    Price,
    Receipt,
    Side,
    VenueOrder,
    hookimpl,
)
from ordergate.amounts import CENT, ZERO, exact, parse_amount, parse_number, plain, round_down
from ordergate.clock import Clock, SystemClock
from ordergate.order import parse_symbol

if TYPE_CHECKING:
    from ordergate.testing.rehearsal import Rehearsal

__all__ = [
    "HANG_SECONDS",
    "PRODUCTS",
    "UNNAMED",
    "Fault",
    "Imitated",
    "PaperVenue",
    "Placed",
    "Product",
    "Settings",
    "clear_faults",
    "count_orders",
    "count_requests",
    "placed_orders",
    "replay",
    "reset",
    "set_fault",
    "set_price",
]

HANG_SECONDS: Final = 60.0
"""How long a rehearsed hang blocks at most: longer than the gate waits, short enough to end by itself."""

UNNAMED: Final = "app-"
"""How the ids begin that stand-ins of venues give to orders that came with none; they are not shown to anybody."""

_STALE_SECONDS: Final = 3600.0
_LOOK_SECONDS: Final = 0.05


class Imitated(StrEnum):
    """Whose products, fees and promises the venue imitates."""

    COINBASE = "coinbase"
    KRAKEN = "kraken"
    BINANCE = "binance"


# --- settings


def _not_negative(value: object, name: str) -> Decimal:
    number = parse_number(value, name)
    if number < 0:
        raise InputError(name, plain(number), "it must not be below zero")
    return number


def _spread(value: object) -> Decimal:
    number = _not_negative(value, "spread")
    if number >= 1:
        raise InputError("spread", plain(number), "give a fraction below 1, such as 0.001 for 0.1 %")
    return number


def _cash(value: object) -> Decimal:
    return _not_negative(value, "cash")


def _positions(values: Mapping[str, object]) -> dict[str, Decimal]:
    return {parse_symbol(symbol): _not_negative(value, f"positions.{symbol}") for symbol, value in values.items()}


def _locked(values: Mapping[str, object]) -> dict[str, Decimal]:
    return {
        parse_symbol(f"{currency}-USD").split("-")[0]: _not_negative(value, f"locked.{currency}")
        for currency, value in values.items()
    }


def _prices(values: Mapping[str, object]) -> dict[str, Decimal]:
    return {parse_symbol(symbol): parse_amount(value, f"prices.{symbol}") for symbol, value in values.items()}


@frozen(kw_only=True)
class Settings:
    """`[accounts.NAME.paper]`. Amounts may be given as text, int or Decimal; a bad one raises InputError."""

    venue: Imitated = field(
        default=Imitated.COINBASE,
        converter=Imitated,
        metadata={"help": "Whose products, fees and id promise are imitated: coinbase, kraken or binance."},
    )
    state: Path = field(
        default=Path("paper-{account}.db"),
        converter=Path,
        metadata={"help": "The venue's own file; {account} becomes the account's name. Accounts must not share one."},
    )
    cash: Decimal = field(
        default=Decimal("1000.00"),
        converter=_cash,
        metadata={
            "help": "USD (binance: USDT) that a new file starts with. Changing it later changes nothing until a reset."
        },
    )
    positions: Mapping[str, Decimal] = field(
        factory=dict,
        converter=_positions,
        metadata={"help": "Symbol to amount: base currency that a new file starts with, such as ETH-USD = 0.01."},
    )
    locked: Mapping[str, Decimal] = field(
        factory=dict,
        converter=_locked,
        metadata={"help": "Currency to amount: staked, so part of the account and not to be sold, such as ETH = 0.5."},
    )
    prices: Mapping[str, Decimal] = field(
        factory=dict,
        converter=_prices,
        metadata={"help": "Symbol to last price, in quote currency. Applied when changed since it was last applied."},
    )
    spread: Decimal = field(
        default=ZERO,
        converter=_spread,
        metadata={"help": "Distance of ask and bid as a fraction of the price; 0 makes both equal to the price."},
    )


@frozen(kw_only=True, eq=False)
class PaperVenue:
    """The client: where the file is and by which settings to run it. Any thread may use it."""

    path: Path
    settings: Settings
    clock: Clock = field(factory=SystemClock)
    released: threading.Event = field(factory=threading.Event)
    """Set it to let rehearsed hangs of this client go before `HANG_SECONDS` have passed."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know before trusting it: a changed seed, a changed venue, faults."""
        with _transaction(self.path) as db:
            return (*_seed_notices(db, self), *_fault_notices(db, self))


# --- hooks

_THRESHOLD_SOURCE: Final = "ordergate's own choice: under it this venue's fees eat a position"
_RESTS_ON: Final = (
    "the venue's own file: an order is in it or was never taken, and one that comes after its send-by time is rejected "
    "there (written and tested by this project)"
)
_PROFILES: Final = {
    Imitated.COINBASE: BrokerProfile(
        venue="paper (coinbase)",
        fee_threshold=Figure(Decimal(5), _THRESHOLD_SOURCE, "2026-11-22"),
        maker_fee=Figure(Decimal("0.005"), "Coinbase Advanced fee tiers, 'Intro'", "2026-09-17"),
        taker_fee=Figure(Decimal("0.009"), "Coinbase Advanced fee tiers, 'Intro'", "2026-09-17"),
        fees_from=FeesFrom.INSIDE,
        id_promise=IdPromise.ALWAYS_UNIQUE,
        absence=Absence.LOOKUP,
        rests_on=_RESTS_ON,
    ),
    Imitated.KRAKEN: BrokerProfile(
        venue="paper (kraken)",
        fee_threshold=Figure(Decimal(10), _THRESHOLD_SOURCE, "2026-11-22"),
        maker_fee=Figure(Decimal("0.004"), "Kraken Pro spot fee schedule, lowest tier", "2026-10-01"),
        taker_fee=Figure(Decimal("0.008"), "Kraken Pro spot fee schedule, lowest tier", "2026-10-01"),
        fees_from=FeesFrom.ON_TOP,
        id_promise=IdPromise.UNIQUE_WHILE_OPEN,
        absence=Absence.LOOKUP,
        rests_on=_RESTS_ON,
    ),
    Imitated.BINANCE: BrokerProfile(
        venue="paper (binance)",
        fee_threshold=Figure(Decimal(5), _THRESHOLD_SOURCE, "2026-11-22"),
        maker_fee=Figure(Decimal("0.001"), "Binance spot fee schedule, regular users, no discount", "2026-10-01"),
        taker_fee=Figure(Decimal("0.001"), "Binance spot fee schedule, regular users, no discount", "2026-10-01"),
        fees_from=FeesFrom.INSIDE,
        id_promise=IdPromise.UNIQUE_WHILE_OPEN,
        absence=Absence.LOOKUP,
        rests_on=_RESTS_ON,
    ),
}
_BUYS_BY_AMOUNT: Final = frozenset({Imitated.KRAKEN, Imitated.BINANCE})
"""Whose market buys may also name the amount to be bought. The gate never sends such."""
_CASH: Final = {Imitated.COINBASE: "USD", Imitated.KRAKEN: "USD", Imitated.BINANCE: "USDT"}
"""The currency that `cash` is given in."""


@hookimpl
def broker_settings() -> type:
    return Settings


@hookimpl
def broker_profile(settings: Settings) -> BrokerProfile:
    return _PROFILES[settings.venue]


@hookimpl
def connect(settings: Settings) -> PaperVenue:
    """Make the venue's file where there is none, and apply prices that changed in the config."""
    client = PaperVenue(path=settings.state, settings=settings)
    if not client.path.exists():
        _create_file(client)
    with _transaction(client.path) as db:
        _apply_config_prices(db, client)
    return client


@hookimpl
def get_account(client: PaperVenue) -> AccountReport:
    with _transaction(client.path) as db:
        fault = _take_fault(db, {Fault.ACCOUNTS_DOWN}, ())
        holds = _holds(db)
        totals = _totals(db)
        open_orders = _orders(db, _OPEN)
        identity = _meta(db, "identity")
    if fault is not None:
        raise BrokerError("paper venue: balances are not available (rehearsed fault accounts_down)")
    locked = client.settings.locked
    holdings = [
        Holding(
            currency=currency,
            available=totals.get(currency, ZERO) - holds.get(currency, ZERO),
            hold=holds.get(currency, ZERO),
            locked=locked.get(currency, ZERO),
        )
        for currency in sorted({*totals, *locked})
    ]
    return AccountReport(
        identity=identity,
        holdings=tuple(holding for holding in holdings if holding.total),
        open_orders=tuple(
            OpenOrder(
                order_id=placed.order_id,
                symbol=placed.symbol,
                side=placed.side,
                amount_left=placed.left,
                limit=placed.limit,
                client_order_id=placed.client_order_id,
            )
            for placed in open_orders
        ),
    )


@hookimpl
def get_prices(client: PaperVenue, symbols: Sequence[str]) -> list[Price]:
    with _transaction(client.path) as db:
        fault = _take_fault(db, {Fault.PRICES_DOWN, Fault.STALE_PRICES}, symbols)
        found = [_price(db, client, symbol) for symbol in symbols]
    if fault is not None and fault.name is Fault.PRICES_DOWN:
        raise BrokerError("paper venue: prices are not available (rehearsed fault prices_down)")
    prices = [price for price in found if price is not None]
    if fault is None:
        return prices
    long_ago = client.clock.now() - _STALE_SECONDS
    return [evolve(price, at=long_ago) if fault.fits(price.symbol) else price for price in prices]


@hookimpl
def get_market(client: PaperVenue, symbol: str) -> Market | None:
    return _market(client.settings, symbol)


@hookimpl
def place_order(client: PaperVenue, order: VenueOrder) -> Receipt:
    receipt: Receipt | None = None
    with _transaction(client.path) as db:
        db.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'requests'")
        fault = _take_fault(db, _SENDING_FAULTS, (order.symbol,))
        calmed = _calmed(db)
        if fault is None or fault.name not in _NOT_TAKEN:
            receipt = _take_order(db, client, order)
    if fault is None and receipt is not None:
        return receipt
    if fault is not None and fault.name in (Fault.HANG_BEFORE, Fault.HANG_AFTER):
        _hang(client, calmed)
    misleading: Receipt = _misbehave(client, order, fault, receipt)
    return misleading


@hookimpl
def find_order(client: PaperVenue, order: VenueOrder) -> Receipt | None:
    with _transaction(client.path) as db:
        if _take_fault(db, {Fault.LATE_VISIBILITY}, (order.symbol,)) is not None:
            return None
        placed = _newest(db, order.client_order_id)
    return None if placed is None else placed.receipt()


@hookimpl
def cancel_order(client: PaperVenue, order: VenueOrder) -> Receipt:
    with _transaction(client.path) as db:
        placed = _newest(db, order.client_order_id)
        if placed is None:
            raise BrokerError(f"paper venue: there is no order with the id {order.client_order_id} to cancel")
        if not placed.status.is_final:
            placed = evolve(placed, status=OrderStatus.CANCELLED, hold=ZERO)
            _store(db, placed)
    return placed.receipt()


@hookimpl
def get_fees(client: PaperVenue) -> list[Figure]:
    profile = _PROFILES[client.settings.venue]
    return [profile.maker_fee, profile.taker_fee]


@hookimpl
def get_permissions() -> list[str]:
    return ["view", "trade"]


# There is no get_time: the venue's clock is this machine's own, so there is nothing to compare.


@hookimpl
def list_orders(client: PaperVenue, since: float) -> list[Receipt]:
    """Every order the venue took, oldest first; rejected requests are none."""
    with _transaction(client.path) as db:
        return [placed.receipt() for placed in _orders(db, _SINCE, since)]


@hookimpl
def rehearse(folder: Path) -> Rehearsal:
    """A venue in the folder that fails by itself, without a network in between."""
    from ordergate.testing.rehearsal import Rehearsal  # only those who check a broker need it

    settings: dict[str, Any] = {
        "state": str(folder / "paper.db"),
        "cash": "1000",
        "positions": {"BTC-USD": "0.01"},
        "prices": {"BTC-USD": "50000", "ETH-USD": "2500"},
    }
    client = connect(Settings(**settings))

    def fail(
        name: str,
        *,
        on: str = "place",
        times: int | None = 1,
        taken: bool = True,
        status: int = 502,
        text: str = "",
    ) -> None:
        del status  # there is no wire that it could be seen on
        fault = _REHEARSED.get((name, on, taken)) or _REHEARSED.get((name, on, None))
        if fault is None:
            raise InputError("fault", f"{name} on {on}, taken={taken}", "the paper venue cannot act that out")
        set_fault(client, fault, times=times, code=text or None if fault is Fault.REJECT else None)

    return Rehearsal(
        settings=settings,
        orders=lambda: list_orders(client, 0.0),
        requests=lambda: count_requests(client),
        fail=fail,
        clear=lambda: clear_faults(client),
        set_price=lambda symbol, price: set_price(client, symbol, price),
        close=lambda: clear_faults(client),
        faults=frozenset(name for name, _, _ in _REHEARSED),
        notes=("There is no wire: faults of connections and of HTTP cannot be acted out.",),
    )


# --- the face below the hooks: commands and tests


class Fault(StrEnum):
    """The ways this venue can be told to fail. What each one does stands in docs/paper.md."""

    NO_ANSWER_BEFORE = "no_answer_before"
    NO_ANSWER_AFTER = "no_answer_after"
    HANG_BEFORE = "hang_before"
    HANG_AFTER = "hang_after"
    REJECT = "reject"
    NONSENSE_TYPE = "nonsense_type"
    NONSENSE_ERROR = "nonsense_error"
    NONSENSE_OTHER_ORDER = "nonsense_other_order"
    NONSENSE_OTHER_SIZE = "nonsense_other_size"
    LATE_VISIBILITY = "late_visibility"
    ACCOUNTS_DOWN = "accounts_down"
    PRICES_DOWN = "prices_down"
    STALE_PRICES = "stale_prices"


_NOT_TAKEN: Final = frozenset({Fault.NO_ANSWER_BEFORE, Fault.HANG_BEFORE, Fault.REJECT})
_SENDING_FAULTS: Final = _NOT_TAKEN | {
    Fault.NO_ANSWER_AFTER,
    Fault.HANG_AFTER,
    Fault.NONSENSE_TYPE,
    Fault.NONSENSE_ERROR,
    Fault.NONSENSE_OTHER_ORDER,
    Fault.NONSENSE_OTHER_SIZE,
}

_REHEARSED: Final[Mapping[tuple[str, str, bool | None], Fault]] = {
    ("cut", "place", True): Fault.NO_ANSWER_AFTER,
    ("cut", "place", False): Fault.NO_ANSWER_BEFORE,
    ("hang", "place", True): Fault.HANG_AFTER,
    ("hang", "place", False): Fault.HANG_BEFORE,
    ("empty_object", "place", True): Fault.NONSENSE_TYPE,
    ("other_id", "place", True): Fault.NONSENSE_OTHER_ORDER,
    ("other_size", "place", True): Fault.NONSENSE_OTHER_SIZE,
    ("error", "place", None): Fault.REJECT,
    ("hidden", "find", None): Fault.LATE_VISIBILITY,
    ("cut", "account", None): Fault.ACCOUNTS_DOWN,
    ("cut", "prices", None): Fault.PRICES_DOWN,
}
"""What venues on a wire are told, on which action and whether taken (None: either way), and what it is here."""


def set_price(client: PaperVenue, symbol: str, price: object, *, liquidity: object = None) -> tuple[Receipt, ...]:
    """Tell the venue a new last price (quote per base unit); returns the resting orders that this filled.

    `liquidity` is how much base amount can be bought or sold until the next price is told; None means any
    amount. Raises InputError for a market the venue does not have and for a price that is no amount.
    """
    with _transaction(client.path) as db:
        return _tell_price(db, client, symbol, price, liquidity)


def replay(client: PaperVenue, rows: Iterable[tuple[float, str, object]]) -> tuple[Receipt, ...]:
    """Tell a path of (moment in seconds since the epoch, symbol, price), all of it or nothing.

    Returns every change of a resting order in the order it happened. Moments must not go back: InputError.
    """
    changed: list[Receipt] = []
    last: float | None = None
    with _transaction(client.path) as db:
        for moment, symbol, price in rows:
            if last is not None and moment < last:
                raise InputError("moment", moment, f"the path goes back in time; it must not come after {last}")
            last = moment
            changed += _tell_price(db, client, symbol, price, None)
    return tuple(changed)


def reset(client: PaperVenue) -> None:
    """Seed the file anew from the settings. The identity stays; orders, counts, faults and told prices go."""
    with _transaction(client.path) as db:
        _seed(db, client)


def set_fault(
    venue: PaperVenue | Path,
    name: str,
    *,
    times: int | None = 1,
    symbol: str | None = None,
    code: str | None = None,
) -> None:
    """Tell the venue to fail: `name` is a `Fault`, for the next `times` uses (None: until cleared).

    `symbol` limits it to one market; `code` is what `reject` answers with. The same fault in the same market,
    told again, replaces the first. Raises InputError for what makes no sense.
    """
    if name not in list(Fault):
        raise InputError("fault", name, f"use one of {', '.join(Fault)}")
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise InputError("times", times, "use a whole number from 1, or None for a fault that stays")
    if symbol is not None and name == Fault.ACCOUNTS_DOWN:
        raise InputError("symbol", symbol, "balances belong to no symbol; leave it out")
    if code is not None and name != Fault.REJECT:
        raise InputError("code", code, "only the fault reject answers with a code")
    where = None if symbol is None else parse_symbol(symbol)
    with _transaction(_path(venue)) as db:
        db.execute("DELETE FROM faults WHERE name = ? AND symbol IS ?", (name, where))
        db.execute("INSERT INTO faults (name, symbol, times, code) VALUES (?, ?, ?, ?)", (name, where, times, code))


def clear_faults(venue: PaperVenue | Path) -> None:
    """Let the venue behave again, and let go what hangs."""
    with _transaction(_path(venue)) as db:
        db.execute("DELETE FROM faults")
        db.execute("INSERT OR REPLACE INTO meta VALUES ('calmed', ?)", (SystemClock().new_id(),))


def count_orders(venue: PaperVenue | Path) -> int:
    """How many orders the venue took since it was made or reset, whatever became of them."""
    with _transaction(_path(venue)) as db:
        return int(db.execute("SELECT count(*) FROM orders").fetchone()[0])


def count_requests(venue: PaperVenue | Path) -> int:
    """How many times an order was sent to the venue, rejected, repeated and lost ones included."""
    with _transaction(_path(venue)) as db:
        return int(_meta(db, "requests"))


def placed_orders(venue: PaperVenue | Path, since: float = 0.0) -> list[Placed]:
    """Every order the venue took since a moment (seconds since the epoch), oldest first, in all it knows of them."""
    with _transaction(_path(venue)) as db:
        return _orders(db, _SINCE, since)


def _path(venue: PaperVenue | Path) -> Path:
    return venue if isinstance(venue, Path) else venue.path


# --- products


@frozen(kw_only=True)
class Product:
    """One market's figures, in the terms of `Market`, and where and when they were read."""

    amount_step: str
    spend_step: str
    price_step: str
    min_amount: str
    min_spend: str
    max_amount: str | None = None
    max_spend: str | None = None
    source: str
    as_of: str

    def market(self, symbol: str) -> Market:
        base, quote = symbol.split("-")
        return Market(
            symbol=symbol,
            base=base,
            quote=quote,
            amount_step=Decimal(self.amount_step),
            spend_step=Decimal(self.spend_step),
            price_step=Decimal(self.price_step),
            min_amount=Decimal(self.min_amount),
            min_spend=Decimal(self.min_spend),
            max_amount=None if self.max_amount is None else Decimal(self.max_amount),
            max_spend=None if self.max_spend is None else Decimal(self.max_spend),
        )


_COINBASE_BTC: Final = Product(
    amount_step="0.00000001",
    spend_step="0.01",
    price_step="0.01",
    min_amount="0.00000001",
    min_spend="1",
    max_amount="3400",
    max_spend="150000000",
    source="recorded answer of Coinbase Advanced GET /products",
    as_of="2026-04-07",
)
_COINBASE_OTHER: Final = evolve(
    _COINBASE_BTC,
    max_amount=None,
    max_spend=None,
    source="minimum spend: Coinbase Advanced products; everything else assumed to be as for BTC-USD",
    as_of="2026-10-01",
)
_KRAKEN_BTC_USDT: Final = Product(
    amount_step="0.00000001",  # lot_decimals 8
    spend_step="0.00001",  # cost_decimals 5
    price_step="0.1",
    min_amount="0.00005",
    min_spend="0.5",
    source="recorded answer of Kraken AssetPairs for BTC/USDT, of the same set as the candles of that day",
    as_of="2025-11-10",
)
_KRAKEN_OTHER: Final = evolve(_KRAKEN_BTC_USDT, as_of="2026-10-01")
_BINANCE_SOURCE: Final = "minimum spend and steps: tables of public client libraries, read from Binance exchangeInfo"
_BINANCE_BTC: Final = Product(
    amount_step="0.00001",
    spend_step="0.01",
    price_step="0.01",
    min_amount="0.00001",
    min_spend="5",
    max_amount="9000",
    max_spend="9000000",
    source=_BINANCE_SOURCE,
    as_of="2026-10-01",
)

PRODUCTS: Final[Mapping[Imitated, Mapping[str, Product]]] = {
    Imitated.COINBASE: {
        "BTC-USD": _COINBASE_BTC,
        "BTC-USDC": _COINBASE_BTC,
        "ETH-USD": _COINBASE_OTHER,
        "SOL-USD": _COINBASE_OTHER,
        "DOGE-USD": evolve(
            _COINBASE_OTHER,
            amount_step="0.1",
            min_amount="0.1",
            price_step="0.00001",
            source="minimum spend, base increment: Coinbase Advanced products; the rest assumed",
        ),
        "SHIB-USD": evolve(
            _COINBASE_OTHER,
            amount_step="1",
            min_amount="1",
            price_step="0.00000001",
            source="minimum spend, base increment: Coinbase Advanced products; the rest assumed",
        ),
    },
    Imitated.KRAKEN: {
        "BTC-USDT": _KRAKEN_BTC_USDT,
        "BTC-USD": evolve(
            _KRAKEN_OTHER,
            source="minimums, price decimals: Kraken's own texts; other steps assumed as for BTC-USDT",
        ),
        "BTC-USDC": evolve(_KRAKEN_OTHER, source="assumed: all figures as for BTC-USDT"),
        "ETH-USD": evolve(
            _KRAKEN_OTHER,
            price_step="0.01",
            min_amount="0.001",
            source="minimums: Kraken's own texts; price step assumed; other steps as for BTC-USDT",
        ),
        "SOL-USD": evolve(
            _KRAKEN_OTHER,
            price_step="0.01",
            min_amount="0.02",
            source="cost minimum: Kraken's own texts; the rest assumed",
        ),
        "DOGE-USD": evolve(
            _KRAKEN_OTHER,
            price_step="0.0000001",
            min_amount="20",
            source="cost minimum: Kraken's own texts; the rest assumed",
        ),
        "USDT-USD": evolve(
            _KRAKEN_OTHER,
            price_step="0.0001",
            min_amount="5",
            source="cost minimum: Kraken's own texts; the rest assumed",
        ),
    },
    Imitated.BINANCE: {
        "BTC-USDT": _BINANCE_BTC,
        "ETH-USDT": evolve(_BINANCE_BTC, amount_step="0.0001", min_amount="0.0001", source=_BINANCE_SOURCE),
        "SOL-USDT": evolve(_BINANCE_BTC, amount_step="0.001", min_amount="0.001", source=_BINANCE_SOURCE),
    },
}

_FINEST_DIGIT: Final = -18
_MONEY: Final = frozenset({"USD", "USDC", "USDT", "EUR", "GBP"})


def _market(settings: Settings, symbol: str) -> Market | None:
    product = PRODUCTS[settings.venue].get(symbol)
    if product is not None:
        return product.market(symbol)
    price = settings.prices.get(symbol)
    return None if price is None else _coinbase_like(symbol, price)


def _coinbase_like(symbol: str, price: Decimal) -> Market:
    """Assumed limits for a market that only the config names.

    The price step is a cent, or as fine as six digits of the price, or as the price's own last digit. A
    market quoted in another coin counts in units of 0.00000001 and has a minimum spend of 0.00001.
    """
    base, quote = symbol.split("-")
    exponent = price.as_tuple().exponent
    last_digit = exponent if isinstance(exponent, int) else 0
    finest = max(_FINEST_DIGIT, min(-2, price.adjusted() - 5, last_digit))
    in_money = quote in _MONEY
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        amount_step=Decimal("0.00000001"),
        spend_step=CENT if in_money else Decimal("0.00000001"),
        price_step=Decimal(1).scaleb(finest),
        min_amount=Decimal("0.00000001"),
        min_spend=Decimal(1) if in_money else Decimal("0.00001"),
    )


# --- rejections, in their words


@frozen
class _Words:
    """How each venue says no, as far as it is known, and what it means."""

    coinbase: str
    kraken: str
    binance: str
    meaning: str


_MALFORMED: Final = _Words(
    "INVALID_ARGUMENT",
    "EGeneral:Invalid arguments",
    "-1102 A mandatory parameter was not sent, was empty/null, or malformed.",
    "a field is missing or is no positive number",
)
_UNSUPPORTED: Final = _Words(
    "UNSUPPORTED_ORDER_CONFIGURATION",
    "EGeneral:Invalid arguments:viqc",
    "-1014 Unsupported order combination.",
    "a market buy names a spend; a limit order and a sell name an amount",
)
_NO_MARKET: Final = _Words(
    "PREVIEW_INVALID_PRODUCT_ID", "EQuery:Unknown asset pair", "-1121 Invalid symbol.", "there is no such market"
)
_NO_PRICE: Final = _Words(
    "ORDER_ENTRY_DISABLED",
    "EService:Market in limit_only mode",
    "-1013 Market is closed.",
    "the market has no price, so nothing to fill against",
)
_AMOUNT_STEP: Final = _Words(
    "INVALID_SIZE_PRECISION",
    "EGeneral:Invalid arguments:volume",
    "-1013 Filter failure: LOT_SIZE",
    "too many decimals in order amount",
)
_SPEND_STEP: Final = _Words(
    "PREVIEW_INVALID_QUOTE_SIZE_PRECISION",
    "EGeneral:Invalid arguments:volume",
    "-1111 Precision is over the maximum defined for this asset.",
    "too many decimals in order spend",
)
_PRICE_STEP: Final = _Words(
    "INVALID_PRICE_PRECISION",
    "EOrder:Tick size check failed",
    "-1013 Filter failure: PRICE_FILTER",
    "too many decimals in the limit",
)
_AMOUNT_LOW: Final = _Words(
    "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL",
    "EOrder:Order minimum not met",
    "-1013 Filter failure: LOT_SIZE",
    "the amount is under the minimum",
)
_SPEND_LOW: Final = _Words(
    "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
    "EOrder:Cost minimum not met",
    "-1013 Filter failure: NOTIONAL",
    "the value is under the minimum",
)
_AMOUNT_HIGH: Final = _Words(
    "PREVIEW_INVALID_BASE_SIZE_TOO_LARGE",
    "EGeneral:Invalid arguments:volume",
    "-1013 Filter failure: LOT_SIZE",
    "the amount is over the maximum",
)
_SPEND_HIGH: Final = _Words(
    "PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE",
    "EGeneral:Invalid arguments:volume",
    "-1013 Filter failure: NOTIONAL",
    "the value is over the maximum",
)
_FUNDS: Final = _Words(
    "INSUFFICIENT_FUND",
    "EOrder:Insufficient funds",
    "-2010 Account has insufficient balance for requested action.",
    "the available balance does not cover it",
)
_ID_OPEN: Final = _Words(
    "DUPLICATE_CLIENT_ORDER_ID",
    "EGeneral:Invalid arguments:cl_ord_id not unique",
    "-2010 Duplicate order sent.",
    "an open order has this client order id",
)
# One code for all: Coinbase has no such deadline, and the gate's tests need one name for it.
_LATE: Final = _Words("deadline_elapsed", "deadline_elapsed", "deadline_elapsed", "it came after its send-by time")


class _Rejected(Exception):
    """The venue does not take the order. Never leaves this module."""

    def __init__(self, words: _Words, detail: str) -> None:
        self.words, self.detail = words, detail
        super().__init__(detail)


def _rejection(order: VenueOrder, code: str, message: str) -> Receipt:
    return Receipt(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        status=OrderStatus.REJECTED,
        spend=order.spend,
        amount=order.amount,
        limit=order.limit,
        code=code,
        message=message,
    )


# --- how orders are taken


@frozen
class Placed:
    """An order the venue took; its fields, in this order, are the columns of the table `orders`.

    `value` and `fees` are exact sums over its fills; only what they move is rounded. `wanted` is the base
    amount to fill, `hold` what is bound for its rest (quote currency of a buy, base currency of a sell).
    Quote step and maker fee are those it was taken under, whatever the settings say later.
    """

    number: int
    order_id: str
    client_order_id: str
    symbol: str
    side: Side = field(converter=Side)
    spend: Decimal | None = field(converter=optional(Decimal))
    amount: Decimal | None = field(converter=optional(Decimal))
    limit: Decimal | None = field(converter=optional(Decimal))
    wanted: Decimal = field(converter=Decimal)
    quote_step: Decimal = field(converter=Decimal)
    maker_fee: Decimal = field(converter=Decimal)
    placed_at: float
    status: OrderStatus = field(default=OrderStatus.OPEN, converter=OrderStatus)
    filled: Decimal = field(default=ZERO, converter=Decimal)
    value: Decimal = field(default=ZERO, converter=Decimal)
    fees: Decimal = field(default=ZERO, converter=Decimal)
    hold: Decimal = field(default=ZERO, converter=Decimal)

    @property
    def left(self) -> Decimal:
        return self.wanted - self.filled

    @property
    def moved(self) -> Decimal:
        """Quote currency paid (buy) or earned (sell) so far, fees included."""
        if self.side is Side.BUY:
            return _up(self.value + self.fees, self.quote_step)
        return _down(self.value - self.fees, self.quote_step)

    def receipt(self) -> Receipt:
        value = _up(self.value, self.quote_step) if self.side is Side.BUY else _down(self.value, self.quote_step)
        return Receipt(
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            status=self.status,
            order_id=self.order_id,
            filled_amount=self.filled,
            filled_value=value,
            fees=abs(self.moved - value),
            spend=self.spend,
            amount=self.amount,
            limit=self.limit,
        )


def _up(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(rounding=ROUND_CEILING) * step


def _down(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(rounding=ROUND_FLOOR) * step


def _take_order(db: sqlite3.Connection, client: PaperVenue, order: VenueOrder) -> Receipt:
    """Take the order and fill what can be filled at once, or reject it in the imitated venue's words."""
    try:
        return _repeated(db, client, order) or _accepted(db, client, order).receipt()
    except _Rejected as rejected:
        words = rejected.words
        code: str = getattr(words, client.settings.venue)
        return _rejection(order, code, f"{words.meaning}: {rejected.detail}")


def _repeated(db: sqlite3.Connection, client: PaperVenue, order: VenueOrder) -> Receipt | None:
    """Coinbase answers a known id with the original order. The others reject it only while the first is open."""
    first = _newest(db, order.client_order_id)
    if first is None:
        return None
    if client.settings.venue is Imitated.COINBASE:
        return first.receipt()
    if not first.status.is_final:
        raise _Rejected(_ID_OPEN, order.client_order_id)
    return None


def _accepted(db: sqlite3.Connection, client: PaperVenue, order: VenueOrder) -> Placed:
    # The moment is taken inside the transaction: an order that had to wait for the file may be late by now.
    now = client.clock.now()
    if not now <= order.send_by:
        raise _Rejected(_LATE, f"{now - order.send_by:.3f} s late")
    market = _market(client.settings, order.symbol)
    if market is None:
        raise _Rejected(_NO_MARKET, str(order.symbol))
    _check_form(order, market, client.settings.venue)
    price = _price(db, client, order.symbol)
    if price is None and order.limit is None:
        raise _Rejected(_NO_PRICE, order.symbol)
    profile = _PROFILES[client.settings.venue]
    taker, maker = profile.taker_fee.value, profile.maker_fee.value
    wanted = _wanted(order, market, price, taker if profile.fees_from is FeesFrom.INSIDE else ZERO)
    _check_size(order, market, price, wanted)
    _check_funds(db, order, market, price, taker, profile.fees_from)
    placed = Placed(
        number=_next_number(db),
        order_id=client.clock.new_id(),
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        spend=order.spend,
        amount=order.amount,
        limit=order.limit,
        wanted=wanted,
        quote_step=market.spend_step,
        maker_fee=maker,
        placed_at=now,
    )
    if price is not None and _crosses(placed, price):
        book = price.ask if order.side is Side.BUY else price.bid
        placed = _filled(db, placed, market, book, taker)
    # What a market order cannot fill at once is cancelled; what a limit order cannot fill rests.
    if order.limit is None and not placed.status.is_final:
        placed = evolve(placed, status=OrderStatus.CANCELLED)
    placed = _held(placed)
    _store(db, placed)
    return placed


def _check_form(order: VenueOrder, market: Market, venue: Imitated) -> None:
    """Shape and steps of the order, as if nobody had looked at it before."""
    if not isinstance(order.client_order_id, str) or not order.client_order_id:
        raise _Rejected(_MALFORMED, "client order id")
    if order.side not in (Side.BUY, Side.SELL):
        raise _Rejected(_MALFORMED, "side")
    for name, value in (("spend", order.spend), ("amount", order.amount), ("limit", order.limit)):
        if value is not None and (not isinstance(value, Decimal) or not _is_amount(value, name)):
            raise _Rejected(_MALFORMED, name)
    by_spend = order.side is Side.BUY and order.limit is None
    if by_spend and order.spend is None:
        by_spend = venue not in _BUYS_BY_AMOUNT
    if (order.spend is None) is by_spend or (order.amount is None) is not by_spend:
        raise _Rejected(_UNSUPPORTED, f"{order.side} with {'a' if order.limit is not None else 'no'} limit")
    if order.spend is not None and order.spend % market.spend_step:
        raise _Rejected(_SPEND_STEP, f"{plain(order.spend)} is not a multiple of {plain(market.spend_step)}")
    if order.amount is not None and order.amount % market.amount_step:
        raise _Rejected(_AMOUNT_STEP, f"{plain(order.amount)} is not a multiple of {plain(market.amount_step)}")
    if order.limit is not None and order.limit % market.price_step:
        raise _Rejected(_PRICE_STEP, f"{plain(order.limit)} is not a multiple of {plain(market.price_step)}")


def _is_amount(value: Decimal, name: str) -> bool:
    try:
        parse_amount(value, name)
    except InputError:
        return False
    return True


def _wanted(order: VenueOrder, market: Market, price: Price | None, fee_inside: Decimal) -> Decimal:
    """The base amount to fill: as named, or what the spend buys at the ask, down to the step."""
    if order.amount is not None:
        return order.amount
    if order.spend is None or price is None:
        raise _Rejected(_UNSUPPORTED, "a market buy needs a spend and a price")
    return round_down(order.spend / (price.ask * (1 + fee_inside)), market.amount_step)


def _check_size(order: VenueOrder, market: Market, price: Price | None, wanted: Decimal) -> None:
    if order.spend is not None:
        value = order.spend
    elif order.limit is not None:
        value = wanted * order.limit
    elif price is not None:
        value = wanted * (price.ask if order.side is Side.BUY else price.bid)
    else:
        raise _Rejected(_NO_PRICE, order.symbol)
    if value < market.min_spend:
        raise _Rejected(_SPEND_LOW, f"{plain(value)} is under {plain(market.min_spend)} {market.quote}")
    if wanted <= 0 or wanted < market.min_amount:
        raise _Rejected(_AMOUNT_LOW, f"{plain(wanted)} is under {plain(market.min_amount)} {market.base}")
    if market.max_spend is not None and value > market.max_spend:
        raise _Rejected(_SPEND_HIGH, f"{plain(value)} is over {plain(market.max_spend)} {market.quote}")
    if market.max_amount is not None and wanted > market.max_amount:
        raise _Rejected(_AMOUNT_HIGH, f"{plain(wanted)} is over {plain(market.max_amount)} {market.base}")


def _check_funds(
    db: sqlite3.Connection, order: VenueOrder, market: Market, price: Price | None, taker: Decimal, fees: FeesFrom
) -> None:
    """The most the order can take must be available now; the taker fee counts, paid or not."""
    if order.side is Side.SELL:
        currency, needed = market.base, order.amount or ZERO
    elif order.spend is not None:
        currency, needed = market.quote, order.spend if fees is FeesFrom.INSIDE else order.spend * (1 + taker)
    else:
        each = order.limit or (ZERO if price is None else price.ask)
        currency, needed = market.quote, (order.amount or ZERO) * each * (1 + taker)
    if order.side is Side.BUY:
        needed = _up(needed, market.spend_step)
    available = _totals(db).get(currency, ZERO) - _holds(db).get(currency, ZERO)
    if needed > available:
        raise _Rejected(_FUNDS, f"it needs {plain(needed)} {currency} and {plain(available)} is available")


def _crosses(placed: Placed, price: Price) -> bool:
    if placed.limit is None:
        return True
    return placed.limit >= price.ask if placed.side is Side.BUY else placed.limit <= price.bid


def _filled(db: sqlite3.Connection, placed: Placed, market: Market, price: Decimal, rate: Decimal) -> Placed:
    """Fill as much as there is liquidity for, and move the money. The caller stores the order."""
    amount = _draw_liquidity(db, placed.symbol, placed.left, market.amount_step)
    if not amount:
        return placed
    value = amount * price
    after = evolve(placed, filled=placed.filled + amount, value=placed.value + value, fees=placed.fees + value * rate)
    after = evolve(after, status=OrderStatus.PARTLY_FILLED if after.left else OrderStatus.FILLED)
    paid = after.moved - placed.moved
    buys = placed.side is Side.BUY
    _move(db, market.quote, -paid if buys else paid)
    _move(db, market.base, amount if buys else -amount)
    return after


def _held(placed: Placed) -> Placed:
    """Bind funds for what rests: the base amount of a sell; of a buy, its limit and the maker fee."""
    if placed.status.is_final or placed.limit is None:
        return evolve(placed, hold=ZERO)
    if placed.side is Side.SELL:
        return evolve(placed, hold=placed.left)
    at_worst = placed.value + placed.fees + placed.left * placed.limit * (1 + placed.maker_fee)
    return evolve(placed, hold=_up(at_worst, placed.quote_step) - placed.moved)


def _tell_price(
    db: sqlite3.Connection, client: PaperVenue, symbol: str, price: object, liquidity: object
) -> tuple[Receipt, ...]:
    """Set the price, then fill what it reaches: best limit first, then oldest, each at its own limit."""
    market = _market(client.settings, symbol)
    if market is None:
        raise InputError("symbol", symbol, "this venue has no such market; name it in the prices of the config")
    told = parse_amount(price, "price")
    depth = None if liquidity is None else plain(_not_negative(liquidity, "liquidity"))
    db.execute(
        "INSERT INTO prices (symbol, price, liquidity) VALUES (?, ?, ?)"
        " ON CONFLICT (symbol) DO UPDATE SET price = excluded.price, liquidity = excluded.liquidity",
        (symbol, plain(told), depth),
    )
    now = _price(db, client, symbol)
    changed = []
    for placed in sorted(_orders(db, _OPEN_IN, symbol), key=_priority):
        if now is None or placed.limit is None or not _crosses(placed, now):
            continue
        after = _filled(db, placed, market, placed.limit, placed.maker_fee)
        if after is not placed:
            after = _held(after)
            _store(db, after)
            changed.append(after.receipt())
    return tuple(changed)


def _priority(placed: Placed) -> tuple[Decimal, int]:
    limit = placed.limit or ZERO
    return (-limit if placed.side is Side.BUY else limit, placed.number)


# --- faults


@frozen
class _SetFault:
    name: Fault
    symbol: str | None
    code: str | None

    def fits(self, symbol: str) -> bool:
        return self.symbol is None or self.symbol == symbol


def _take_fault(db: sqlite3.Connection, names: Collection[Fault], symbols: Collection[str]) -> _SetFault | None:
    """The oldest fault of these names that concerns one of the symbols, one use of it spent."""
    rows = db.execute("SELECT number, name, symbol, times, code FROM faults ORDER BY number").fetchall()
    for number, name, symbol, times, code in rows:
        if Fault(name) not in names or (symbol is not None and symbol not in symbols):
            continue
        if times == 1:
            db.execute("DELETE FROM faults WHERE number = ?", (number,))
        elif times is not None:
            db.execute("UPDATE faults SET times = times - 1 WHERE number = ?", (number,))
        return _SetFault(Fault(name), symbol, code)
    return None


def _hang(client: PaperVenue, calmed: str) -> None:
    """Until this client is let go, or somebody clears the faults, in whatever process, or it has lasted long enough."""
    ends = client.clock.monotonic() + HANG_SECONDS
    while client.clock.monotonic() < ends and not client.released.wait(_LOOK_SECONDS):
        with _transaction(client.path) as db:
            if _calmed(db) != calmed:
                return


def _calmed(db: sqlite3.Connection) -> str:
    """Another text each time that the faults have been cleared."""
    row = db.execute("SELECT value FROM meta WHERE name = 'calmed'").fetchone()
    return "" if row is None else str(row[0])


def _misbehave(client: PaperVenue, order: VenueOrder, fault: _SetFault | None, receipt: Receipt | None) -> Any:
    """Answer as the fault says; by now the order has been taken, or has not been, for good."""
    name = None if fault is None else fault.name
    if fault is not None and name is Fault.REJECT:
        return _rejection(order, fault.code or "REHEARSED_REJECTION", "rejected because the venue was told to")
    if name is Fault.NONSENSE_TYPE:
        return {"success": True}
    if name is Fault.NONSENSE_ERROR:
        raise TypeError("paper venue: the answer could not be read (rehearsed fault nonsense_error)")
    if receipt is not None and name is Fault.NONSENSE_OTHER_ORDER:
        return evolve(receipt, client_order_id=client.clock.new_id(), order_id=client.clock.new_id())
    if receipt is not None and name is Fault.NONSENSE_OTHER_SIZE:
        return evolve(
            receipt,
            spend=None if receipt.spend is None else receipt.spend * 2,
            amount=None if receipt.amount is None else receipt.amount * 2,
        )
    raise TimeoutError(f"paper venue: no answer (rehearsed fault {name})")


# --- the file

_APPLICATION: Final = 0x4F475056  # "OGPV" in the file's header: what tells a venue from any other database
_SCHEMA_VERSION: Final = 1
_LOCK_SECONDS: Final = 5.0
_SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE holdings (currency TEXT PRIMARY KEY, total TEXT NOT NULL) STRICT",
    "CREATE TABLE prices (symbol TEXT PRIMARY KEY, price TEXT NOT NULL, liquidity TEXT) STRICT",
    (
        "CREATE TABLE faults (number INTEGER PRIMARY KEY, name TEXT NOT NULL, symbol TEXT, times INTEGER,"
        " code TEXT) STRICT"
    ),
    (
        "CREATE TABLE orders (number INTEGER PRIMARY KEY, order_id TEXT NOT NULL,"
        " client_order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,"
        " spend TEXT, amount TEXT, price_limit TEXT,"
        " wanted TEXT NOT NULL, quote_step TEXT NOT NULL, maker_fee TEXT NOT NULL, placed_at REAL NOT NULL,"
        " status TEXT NOT NULL, filled TEXT NOT NULL, value TEXT NOT NULL, fees TEXT NOT NULL,"
        " hold TEXT NOT NULL"
        ") STRICT"
    ),
    "CREATE INDEX orders_by_id ON orders (client_order_id)",
    "CREATE INDEX orders_open ON orders (symbol) WHERE status IN ('open', 'partly_filled')",
)
_ALL: Final = "SELECT * FROM orders"
_OPEN: Final = f"{_ALL} WHERE status IN ('open', 'partly_filled') ORDER BY number"
_OPEN_IN: Final = f"{_ALL} WHERE symbol = ? AND status IN ('open', 'partly_filled') ORDER BY number"
_SINCE: Final = f"{_ALL} WHERE placed_at >= ? ORDER BY number"
_NEWEST: Final = f"{_ALL} WHERE client_order_id = ? ORDER BY number DESC LIMIT 1"


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """One locked, durable step at the venue, on a connection of its own; whatever is raised inside undoes it.

    A connection per step costs about a millisecond and makes the client safe in every thread and process.
    Raises BrokerError, naming the file and the fix, when the file cannot be used.
    """
    try:
        # mode=rw: a file that has vanished is an error, never silently a new venue with fresh funds.
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=_LOCK_SECONDS
        )
        with exact(), closing(db):
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            _check_file(db, path)
            yield db
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise _file_error(path, error) from error


def _check_file(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise BrokerError(f"paper venue file {path}: it is not a paper venue. {_OTHER_FILE}")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != _SCHEMA_VERSION:
        raise BrokerError(f"paper venue file {path}: its format is {version}, not {_SCHEMA_VERSION}. {_OTHER_FILE}")


_OTHER_FILE: Final = "Name another file in the setting 'state', or move this one away to have a new one seeded"
_FIXES: Final = {
    sqlite3.SQLITE_NOTADB: _OTHER_FILE,
    sqlite3.SQLITE_CORRUPT: _OTHER_FILE,
    sqlite3.SQLITE_CANTOPEN: "It must be a file in a folder that can be written; connecting makes a new one",
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable",
    sqlite3.SQLITE_FULL: "Free some space on its disk",
    sqlite3.SQLITE_BUSY: "Another process kept it locked; try again",
}


def _file_error(path: Path, error: sqlite3.Error) -> BrokerError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the family of the error
    return BrokerError(f"paper venue file {path}: {error}. {_FIXES.get(code, _OTHER_FILE)}")


def _create_file(client: PaperVenue) -> None:
    """Make the file complete under another name, then give it its own: nobody ever sees half a venue.

    Of several processes that do so at once, one wins and the others use its file.
    """
    path = client.path
    fresh = path.with_name(f".{path.name}.{client.clock.new_id()}")
    try:
        with exact(), closing(sqlite3.connect(fresh, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            db.execute("INSERT INTO meta VALUES ('identity', ?)", (client.clock.new_id(),))
            _seed(db, client)
            db.execute("COMMIT")
        os.link(fresh, path)
    except FileExistsError:
        return
    except sqlite3.Error as error:
        raise _file_error(path, error) from error
    except OSError as error:
        raise BrokerError(
            f"paper venue file {path}: {error}. Name a file on a disk with hard links in 'state'"
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


def _seed(db: sqlite3.Connection, client: PaperVenue) -> None:
    settings = client.settings
    db.execute("DELETE FROM meta WHERE name <> 'identity'")
    for statement in (
        "DELETE FROM holdings",
        "DELETE FROM prices",
        "DELETE FROM faults",
        "DELETE FROM orders",
    ):
        db.execute(statement)
    values = {
        "venue": settings.venue.value,
        "seed": _seed_text(settings),
        "requests": "0",
        "config_prices": "{}",
    }
    db.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
    _move(db, _CASH[settings.venue], settings.cash)
    for symbol, amount in settings.positions.items():
        _move(db, symbol.split("-")[0], amount)
    _apply_config_prices(db, client)


def _seed_text(settings: Settings) -> str:
    held = [f"{symbol} {plain(amount)}" for symbol, amount in sorted(settings.positions.items()) if amount]
    return ", ".join([f"cash {plain(settings.cash)}", *held])


def _seed_notices(db: sqlite3.Connection, client: PaperVenue) -> list[str]:
    notices = []
    seed, venue, settings = _meta(db, "seed"), _meta(db, "venue"), client.settings
    if seed != _seed_text(settings):
        notices.append(
            f"{client.path} was seeded with {seed}; the config now says {_seed_text(settings)}."
            " The file stands as it is until the venue is reset."
        )
    if venue != settings.venue:
        notices.append(
            f"{client.path} was made to imitate {venue}; the config now says {settings.venue}."
            " New orders follow the config, holdings and old orders stay."
        )
    return notices


def _fault_notices(db: sqlite3.Connection, client: PaperVenue) -> list[str]:
    rows = db.execute("SELECT name, symbol, times FROM faults ORDER BY number").fetchall()
    return [
        f"{client.path} is told to fail: {name} in {symbol or 'every symbol'}, "
        + ("until cleared." if times is None else f"{times} more times.")
        for name, symbol, times in rows
    ]


def _apply_config_prices(db: sqlite3.Connection, client: PaperVenue) -> None:
    """Tell the prices that the config changed since they were last applied; others stay as they are."""
    applied = json.loads(_meta(db, "config_prices"))
    wanted = {symbol: plain(price) for symbol, price in client.settings.prices.items()}
    if wanted == applied:
        return
    for symbol, price in wanted.items():
        if applied.get(symbol) != price:
            _tell_price(db, client, symbol, price, None)
    db.execute("UPDATE meta SET value = ? WHERE name = 'config_prices'", (json.dumps(wanted, sort_keys=True),))


def _meta(db: sqlite3.Connection, name: str) -> str:
    return str(db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])


def _price(db: sqlite3.Connection, client: PaperVenue, symbol: str) -> Price | None:
    """Bid and ask: the last price itself, or a spread around it, rounded apart to the price step."""
    market = _market(client.settings, symbol)
    row = db.execute("SELECT price FROM prices WHERE symbol = ?", (symbol,)).fetchone()
    if market is None or row is None:
        return None
    last, half = Decimal(row[0]), client.settings.spread / 2
    if not half:
        return Price(symbol=symbol, bid=last, ask=last)
    # A bid never falls to nothing, also where the step is coarse for the price.
    bid = max(min(last, market.price_step), _down(last * (1 - half), market.price_step))
    return Price(symbol=symbol, bid=bid, ask=_up(last * (1 + half), market.price_step))


def _draw_liquidity(db: sqlite3.Connection, symbol: str, wanted: Decimal, step: Decimal) -> Decimal:
    """As much of the wanted base amount as there is at this price, taken out of it."""
    row = db.execute("SELECT liquidity FROM prices WHERE symbol = ?", (symbol,)).fetchone()
    if row is None or row[0] is None:
        return wanted
    depth = Decimal(row[0])
    amount = min(wanted, round_down(depth, step))
    db.execute("UPDATE prices SET liquidity = ? WHERE symbol = ?", (plain(depth - amount), symbol))
    return amount


def _totals(db: sqlite3.Connection) -> dict[str, Decimal]:
    rows = db.execute("SELECT currency, total FROM holdings ORDER BY currency").fetchall()
    return {currency: Decimal(total) for currency, total in rows}


def _holds(db: sqlite3.Connection) -> dict[str, Decimal]:
    holds: dict[str, Decimal] = {}
    for placed in _orders(db, _OPEN):
        base, quote = placed.symbol.split("-")
        currency = quote if placed.side is Side.BUY else base
        holds[currency] = holds.get(currency, ZERO) + placed.hold
    return holds


def _move(db: sqlite3.Connection, currency: str, change: Decimal) -> None:
    """Add to a holding. Nothing may ever take one below zero: if a fill would, the whole step is undone."""
    total = _totals(db).get(currency, ZERO) + change
    if total < 0:
        raise BrokerError(f"paper venue: {currency} would fall to {plain(total)}; nothing was changed")
    db.execute(
        "INSERT INTO holdings VALUES (?, ?) ON CONFLICT (currency) DO UPDATE SET total = excluded.total",
        (currency, plain(total)),
    )


def _next_number(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(number), 0) + 1 FROM orders").fetchone()[0])


def _newest(db: sqlite3.Connection, client_order_id: str) -> Placed | None:
    return next(iter(_orders(db, _NEWEST, client_order_id)), None)


def _orders(db: sqlite3.Connection, query: str, *arguments: object) -> list[Placed]:
    return [Placed(*row) for row in db.execute(query, arguments).fetchall()]


def _store(db: sqlite3.Connection, placed: Placed) -> None:
    row = [plain(value) if isinstance(value, Decimal) else value for value in astuple(placed)]
    db.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
