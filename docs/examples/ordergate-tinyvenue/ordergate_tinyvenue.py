"""A broker for TinyVenue, a venue in one JSON file: small enough to read whole, complete enough to copy from.

TinyVenue has fixed prices and no order book: an order fills at once, or is cancelled at once. It keeps three promises
that the gate builds on, and `broker_profile` says so:

- an id on the wire is used once, ever: a repeated order is answered with the first one;
- an order is never taken after its send-by time, so one that cannot be found afterwards was never there;
- balances show an order as soon as it is answered.

And one that every broker keeps: `place_order` answers `rejected` only where the order certainly was not taken. Whatever
else goes wrong is raised, and the gate then finds out by asking `find_order`. `rehearse` makes a venue that fails when
told to, so that `ordergate plugins check tinyvenue` can prove all of this.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import Attribute, field, frozen

from ordergate import (
    Absence,
    AccountReport,
    BrokerProfile,
    FeesFrom,
    Figure,
    Holding,
    IdPromise,
    InputError,
    Market,
    OrderStatus,
    Price,
    Receipt,
    Side,
    VenueOrder,
    hookimpl,
)
from ordergate.amounts import ZERO, plain, round_down
from ordergate.clock import SystemClock

AMOUNT_STEP, SPEND_STEP, MIN_SPEND = Decimal("0.000001"), Decimal("0.01"), Decimal(1)
FEE = Figure(Decimal("0.002"), "TinyVenue's own rules", "2026-11-22")
CLOCK = SystemClock()
FAULTS = {("cut", "place"), ("cut", "account"), ("hidden", "find")}


def _above_zero(_: object, attribute: Attribute[Mapping[str, Decimal]], prices: Mapping[str, Decimal]) -> None:
    for symbol, price in prices.items():
        if price <= 0:
            raise InputError(f"{attribute.name}.{symbol}", str(price), "a price is above zero")


@frozen(kw_only=True)
class Settings:
    """What stands under `[accounts.NAME.tinyvenue]`."""

    file: Path = field(default=Path("tinyvenue-{account}.json"), metadata={"help": "The venue's file."})
    cash: Decimal = field(default=Decimal(100), metadata={"help": "USD that a new venue file begins with."})
    prices: Mapping[str, Decimal] = field(
        factory=lambda: {"BTC-USD": Decimal(50000)},
        validator=_above_zero,
        metadata={"help": "The markets, each with its price, bid and ask alike."},
    )


@frozen
class Client:
    """What the gate keeps and hands back. Calls come from changing threads, so it holds nothing open."""

    file: Path
    prices: Mapping[str, Decimal]


# -------------------------------------------------------------------------------------------------- what the gate calls


@hookimpl
def broker_settings() -> type[Settings]:
    return Settings


@hookimpl
def broker_profile() -> BrokerProfile:
    return BrokerProfile(
        venue="tinyvenue",
        fee_threshold=Figure(Decimal(2), "0.2 % of less is under half a cent", "2026-11-22"),
        maker_fee=FEE,
        taker_fee=FEE,
        fees_from=FeesFrom.ON_TOP,
        id_promise=IdPromise.ALWAYS_UNIQUE,
        absence=Absence.LOOKUP,
        rests_on="The file has every order it ever took, and takes none after its send-by time: its own code.",
    )


@hookimpl
def connect(settings: Settings) -> Client:
    client = Client(settings.file, settings.prices)
    with _locked(client):
        if not client.file.exists():
            balances = {"USD": plain(settings.cash)}
            _write(
                client, {"identity": CLOCK.new_id(), "balances": balances, "orders": {}, "requests": 0, "faults": []}
            )
    return client


@hookimpl
def get_account(client: Client) -> AccountReport:
    with _locked(client):
        books = _read(client)
        if _fault(client, books, "account"):
            raise ConnectionError("TinyVenue: the connection was closed without an answer")
    holdings = [Holding(currency=name, available=Decimal(held)) for name, held in books["balances"].items()]
    return AccountReport(identity=books["identity"], holdings=tuple(holdings))


@hookimpl
def get_prices(client: Client, symbols: Sequence[str]) -> list[Price]:
    return [
        Price(symbol=symbol, bid=client.prices[symbol], ask=client.prices[symbol])
        for symbol in symbols
        if symbol in client.prices
    ]


@hookimpl
def get_market(client: Client, symbol: str) -> Market | None:
    if symbol not in client.prices:
        return None
    base, quote = symbol.split("-")
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        amount_step=AMOUNT_STEP,
        spend_step=SPEND_STEP,
        price_step=SPEND_STEP,
        min_amount=AMOUNT_STEP,
        min_spend=MIN_SPEND,
    )


@hookimpl
def place_order(client: Client, order: VenueOrder) -> Receipt:
    with _locked(client):
        books = _read(client)
        books["requests"] += 1
        fault = _fault(client, books, "place")
        receipt = None if fault and not fault["taken"] else _answer(client, books, order)
        _write(client, books)
    if receipt is None or fault:
        raise ConnectionError("TinyVenue: the connection was closed without an answer")
    return receipt


@hookimpl
def find_order(client: Client, order: VenueOrder) -> Receipt | None:
    with _locked(client):
        books = _read(client)
        hidden = _fault(client, books, "find")
    record = None if hidden else books["orders"].get(order.client_order_id)
    return _receipt(record) if record else None


@hookimpl
def cancel_order(client: Client, order: VenueOrder) -> Receipt:
    """Nothing ever rests here, so the order is finished: say how it stands."""
    receipt = find_order(client, order)
    if receipt is None:
        raise LookupError(f"TinyVenue has no order {order.client_order_id}")
    return receipt


@hookimpl
def rehearse(folder: Path) -> Any:
    """TinyVenue in the folder. `fail` and the rest are what `ordergate.testing.Rehearsal` says of them."""
    from ordergate.testing import Rehearsal  # only who checks the broker needs it

    prices = {"BTC-USD": Decimal(50000), "ETH-USD": Decimal(2500)}
    client = connect(Settings(file=folder / "tinyvenue.json", cash=Decimal(1000), prices=prices))
    _change(client, lambda books: books["balances"].update(BTC="0.01"))

    def fail(name: str, *, on: str = "place", times: int | None = 1, taken: bool = True, **_: object) -> None:
        if (name, on) not in FAULTS:
            raise InputError("fault", f"{name} on {on}", "TinyVenue cannot act that out")
        _change(client, lambda books: books["faults"].append({"on": on, "times": times, "taken": taken}))

    def set_price(symbol: str, price: str) -> None:
        raise InputError(symbol, price, "TinyVenue's prices are fixed")

    return Rehearsal(
        settings={"file": str(client.file), "prices": {symbol: plain(price) for symbol, price in prices.items()}},
        orders=lambda: [_receipt(record) for record in _read(client)["orders"].values()],
        requests=lambda: int(_read(client)["requests"]),
        fail=fail,
        clear=lambda: _change(client, lambda books: books["faults"].clear()),
        set_price=set_price,
        close=lambda: None,
        faults=frozenset(name for name, _ in FAULTS),
    )


# ----------------------------------------------------------------------------------------------------- the venue itself


def _answer(client: Client, books: Any, order: VenueOrder) -> Receipt:
    """Take the order, or say why not."""
    if order.client_order_id in books["orders"]:
        return _receipt(books["orders"][order.client_order_id])
    amount, value = _fill(client, order)
    reason = _why_not(client, books, order, amount, value)
    if reason:
        return Receipt(
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            status=OrderStatus.REJECTED,
            code=reason,
            message=f"TinyVenue says: {reason.replace('_', ' ')}",
        )
    return _receipt(_book(books, order, amount, value))


def _fault(client: Client, books: Any, on: str) -> Any:
    """The fault that this request meets, one use of it spent; None as a rule."""
    fault = next((one for one in books["faults"] if one["on"] == on), None)
    if fault and fault["times"] is not None:
        fault["times"] -= 1
        if not fault["times"]:
            books["faults"].remove(fault)
        _write(client, books)
    return fault


def _fill(client: Client, order: VenueOrder) -> tuple[Decimal, Decimal]:
    """Base amount and quote value that would fill now: nothing where the limit is not met, or there is no market."""
    price = client.prices.get(order.symbol)
    if price is None or (order.limit is not None and not _meets(price, order.limit, order.side)):
        return ZERO, ZERO
    amount = order.amount if order.amount is not None else round_down((order.spend or ZERO) / price, AMOUNT_STEP)
    return amount, amount * price


def _meets(price: Decimal, limit: Decimal, side: Side) -> bool:
    return price <= limit if side is Side.BUY else price >= limit


def _why_not(client: Client, books: Any, order: VenueOrder, amount: Decimal, value: Decimal) -> str | None:
    """Why the venue does not take the order; None when it does."""
    base, quote = order.symbol.split("-")
    if CLOCK.now() > order.send_by:
        return "too_late"
    if order.symbol not in client.prices:
        return "no_such_market"
    if (order.amount or ZERO) % AMOUNT_STEP or (order.spend or ZERO) % SPEND_STEP:
        return "too_many_decimals"
    if amount and value < MIN_SPEND:
        return "too_small"
    cost, currency = (value * (1 + FEE.value), quote) if order.side is Side.BUY else (amount, base)
    if cost > Decimal(books["balances"].get(currency, "0")):
        return "insufficient_funds"
    return None


def _book(books: Any, order: VenueOrder, amount: Decimal, value: Decimal) -> Mapping[str, Any]:
    """Move the money and keep the order, under its id, for ever."""
    base, quote = order.symbol.split("-")
    sign = 1 if order.side is Side.BUY else -1
    fees = value * FEE.value
    for currency, change in ((base, sign * amount), (quote, -sign * value - fees)):
        books["balances"][currency] = plain(Decimal(books["balances"].get(currency, "0")) + change)
    terms = {"spend": order.spend, "amount": order.amount, "limit": order.limit}
    figures = {"filled_amount": amount, "filled_value": value, "fees": fees, **terms}
    record = {
        "client_order_id": order.client_order_id,
        "order_id": f"tiny-{len(books['orders']) + 1}",
        "symbol": order.symbol,
        "side": order.side.value,
        "status": (OrderStatus.FILLED if amount else OrderStatus.CANCELLED).value,
        "figures": {name: plain(figure) for name, figure in figures.items() if figure is not None},
    }
    books["orders"][order.client_order_id] = record
    return record


def _receipt(record: Mapping[str, Any]) -> Receipt:
    figures = {name: Decimal(figure) for name, figure in record["figures"].items()}
    return Receipt(
        client_order_id=record["client_order_id"],
        symbol=record["symbol"],
        side=Side(record["side"]),
        status=OrderStatus(record["status"]),
        order_id=record["order_id"],
        filled_amount=figures["filled_amount"],
        filled_value=figures["filled_value"],
        fees=figures["fees"],
        spend=figures.get("spend"),
        amount=figures.get("amount"),
        limit=figures.get("limit"),
    )


@contextmanager
def _locked(client: Client) -> Iterator[None]:
    """One caller at a time, in this process and in all others."""
    with client.file.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(client: Client) -> Any:
    return json.loads(client.file.read_text(encoding="utf-8"))


def _change(client: Client, change: Callable[[Any], object]) -> None:
    with _locked(client):
        books = _read(client)
        change(books)
        _write(client, books)


def _write(client: Client, books: Mapping[str, Any]) -> None:
    fresh = client.file.with_suffix(".new")
    fresh.write_text(json.dumps(books, indent=1), encoding="utf-8")
    fresh.replace(client.file)
