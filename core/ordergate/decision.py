"""What the gate answers: all verdicts on one order and what came of it; and what changed beside the orders."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from attrs import Factory, frozen

from ordergate.models import Figure, OrderStatus, Position, Purchase, Receipt, VenueOrder, Verdict
from ordergate.order import Order

__all__ = ["Decision", "FactsSummary", "StateChange"]


@frozen(kw_only=True)
class FactsSummary:
    """What a decision was made on, in short. Amounts in USD, ages in seconds at the time of judging."""

    equity: Decimal | None
    cash: Decimal | None
    positions: Collection[Position]
    """Empty in a decision that is read back: they follow from the facts and the journal, `explain` values them anew."""
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
