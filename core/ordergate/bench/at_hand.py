"""A broker whose facts are at hand: it answers at once, always the same, and takes every order. For measuring alone.

What an order costs through it is what the gate costs, and nothing of a venue's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from attrs import field, frozen

from ordergate.bench.measure import CLOCK
from ordergate.broker import wire_id
from ordergate.hookspecs import hookimpl
from ordergate.models import (
    Absence,
    AccountReport,
    BrokerProfile,
    FeesFrom,
    Figure,
    Holding,
    IdPromise,
    Market,
    OpenOrder,
    OrderStatus,
    Price,
    Receipt,
    Side,
    VenueOrder,
)

__all__ = ["NAME", "PRICE", "WORTH", "Settings", "Venue", "currencies", "resting_names"]

NAME: Final = "at_hand"
PRICE: Final = Decimal("68925.98")
"""Bid of every market, USD; the ask is a cent more."""
WORTH: Final = Decimal(100_000)
"""USD in all positions together, however many they are, so that every account is in the same tier."""

_CASH: Final = Decimal(50_000)
_STEP: Final = Decimal("0.00000001")


@frozen
class Settings:
    """What the account holds."""

    positions: int = field(default=8, metadata={"help": "How many positions the account has."})
    open_orders: int = field(default=0, metadata={"help": "How many buys of the gate's rest at the venue."})
    identity: str = field(default="at-hand", metadata={"help": "What the venue calls these funds."})


class Venue:
    """The facts, made once. `placed` is what `watch` said when the last order was handed over: the monotonic clock."""

    def __init__(self, settings: Settings) -> None:
        amount = (WORTH / settings.positions / PRICE).quantize(_STEP)
        held = [Holding(currency=name, available=amount) for name in currencies(settings.positions)]
        self.report = AccountReport(
            identity=settings.identity,
            holdings=(Holding(currency="USD", available=_CASH), *held),
            open_orders=tuple(_resting(settings.identity, name) for name in resting_names(settings.open_orders)),
        )
        self.prices = {
            f"{name}-USD": Price(symbol=f"{name}-USD", bid=PRICE, ask=PRICE + Decimal("0.01"))
            for name in currencies(settings.positions)
        }
        self.placed = 0.0
        self.watch: Callable[[], float] = CLOCK.monotonic


def currencies(count: int) -> list[str]:
    """The names of so many positions, the one that is bought first."""
    return ["BTC", *(f"C{number}" for number in range(1, count))]


def resting_names(count: int) -> list[str]:
    """The caller's ids of so many buys that rest at the venue."""
    return [f"resting-{number}" for number in range(count)]


def _resting(identity: str, name: str) -> OpenOrder:
    wire = wire_id(identity, name)
    return OpenOrder(
        order_id=wire, symbol="BTC-USD", side=Side.BUY, amount_left=_STEP * 1000, limit=PRICE, client_order_id=wire
    )


@hookimpl
def broker_settings() -> type[Settings]:
    return Settings


@hookimpl
def broker_profile() -> BrokerProfile:
    """Fees and threshold of a usual venue; made up for measuring."""

    def figure(value: str) -> Figure:
        return Figure(Decimal(value), "made up for measuring", "2026-11-23")

    return BrokerProfile(
        venue="at hand",
        fee_threshold=figure("5"),
        maker_fee=figure("0.006"),
        taker_fee=figure("0.012"),
        fees_from=FeesFrom.ON_TOP,
        id_promise=IdPromise.ALWAYS_UNIQUE,
        absence=Absence.LOOKUP,
    )


@hookimpl
def connect(settings: Settings) -> Venue:
    return Venue(settings)


@hookimpl
def get_account(client: Venue) -> AccountReport:
    return client.report


@hookimpl
def get_prices(client: Venue, symbols: Sequence[str]) -> list[Price]:
    return [client.prices[symbol] for symbol in symbols if symbol in client.prices]


@hookimpl
def get_market(client: Venue, symbol: str) -> Market | None:
    if symbol not in client.prices:
        return None
    base, quote = symbol.split("-")
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        amount_step=_STEP,
        spend_step=Decimal("0.01"),
        price_step=Decimal("0.01"),
        min_amount=_STEP,
        min_spend=Decimal(1),
    )


@hookimpl
def place_order(client: Venue, order: VenueOrder) -> Receipt:
    client.placed = client.watch()
    return Receipt(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        status=OrderStatus.CANCELLED,
        order_id=order.client_order_id,
    )


@hookimpl
def find_order() -> Receipt | None:
    return None


@hookimpl
def cancel_order(order: VenueOrder) -> Receipt:
    return Receipt(
        client_order_id=order.client_order_id, symbol=order.symbol, side=order.side, status=OrderStatus.CANCELLED
    )
