"""Refuses a buy that repeats one of a moment ago, or one that nobody knows the outcome of."""

from __future__ import annotations

from decimal import Decimal

from attrs import field, frozen

from ordergate import History, OrderStatus, PastOrder, Purchase, Verdict, hookimpl
from ordergate_rules.bounds import SECONDS


@frozen
class Settings:
    """For how long a buy counts as a repeat of another."""

    seconds: int = field(
        default=60,
        validator=SECONDS,
        metadata={"help": "How long after a buy the same one again is a repeat; up to 31 days.", "unit": "seconds"},
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, history: History, settings: Settings) -> Verdict:
    """Look for a buy in the same market, on the same side and at the same limit, whatever its size.

    The size is left out on purpose: a cent more, or two halves, would be the same order again.
    """
    since = history.now - settings.seconds
    for past in history.orders:
        same = (past.symbol, past.side, past.limit) == (order.symbol, order.side, order.limit)
        if not same or past.is_exit or not _counts(past, since):
            continue
        ago = Decimal(str(round(max(0.0, history.now - past.at), 3)))
        known = "of unknown outcome" if past.status is OrderStatus.UNKNOWN else past.status.replace("_", " ")
        return Verdict.refuse(
            "duplicate",
            f"Order {past.client_order_id} of {ago} s ago, {known}, has the same market, side and limit; a repeat is "
            f"allowed after {settings.seconds} s.",
            observed=ago,
            limit=Decimal(settings.seconds),
        )
    return Verdict.approve(limit=Decimal(settings.seconds))


def _counts(past: PastOrder, since: float) -> bool:
    """An order that is over and got nothing is repeated by nobody; one of unknown outcome may still be there."""
    if past.status is OrderStatus.UNKNOWN:
        return True
    nothing = past.status.is_final and past.status is not OrderStatus.FILLED and not past.filled_amount
    return past.at > since and not nothing
