"""Refuses a buy when too many were sent a moment ago."""

from __future__ import annotations

from decimal import Decimal

from attrs import field, frozen

from ordergate import History, Verdict, hookimpl
from ordergate_rules.bounds import COUNT, SECONDS
from ordergate_rules.lately import buys_after


@frozen
class Settings:
    """How many buys of an account may be sent in how many seconds."""

    orders: int = field(validator=COUNT, metadata={"help": "The most buys that may be sent in the window."})
    seconds: int = field(
        validator=SECONDS, metadata={"help": "How long the window is; up to 31 days.", "unit": "seconds"}
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(history: History, settings: Settings) -> Verdict:
    """Count this order and those sent less than a window ago, whatever became of them."""
    sent = sum(1 for _ in buys_after(history, history.now - settings.seconds))
    after, most = Decimal(sent + 1), Decimal(settings.orders)
    if after <= most:
        return Verdict.approve(observed=after, limit=most)
    return Verdict.refuse(
        "too_many_orders",
        f"It would be buy number {after} within {settings.seconds} s, over the {most} allowed.",
        observed=after,
        limit=most,
    )
