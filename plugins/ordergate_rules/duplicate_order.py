"""Refuses a buy that repeats one of a moment ago, or one that nobody knows the outcome of."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain

from attrs import field, frozen

from ordergate import History, OrderStatus, PastOrder, Purchase, Verdict, hookimpl
from ordergate.amounts import plain
from ordergate_rules.bounds import SECONDS
from ordergate_rules.lately import buys_after


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
    recent = (past for past in buys_after(history, history.now - settings.seconds) if not _got_nothing(past))
    unknown = (past for past in history.orders if past.status is OrderStatus.UNKNOWN)  # it may still be there
    for past in chain(recent, unknown):
        if (past.symbol, past.side, past.limit) != (order.symbol, order.side, order.limit) or past.is_exit:
            continue
        ago = Decimal(str(round(max(0.0, history.now - past.at), 3)))
        known = "of unknown outcome" if past.status is OrderStatus.UNKNOWN else past.status.replace("_", " ")
        return Verdict.refuse(
            "duplicate",
            f"Order {past.client_order_id} of {plain(ago)} s ago, {known}, has the same market, side and limit; "
            f"a repeat is allowed after {settings.seconds} s.",
            observed=ago,
            limit=Decimal(settings.seconds),
        )
    return Verdict.approve(limit=Decimal(settings.seconds))


def _got_nothing(past: PastOrder) -> bool:
    """An order that is over without any fill is repeated by nobody."""
    return past.status.is_final and past.status is not OrderStatus.FILLED and not past.filled_amount
