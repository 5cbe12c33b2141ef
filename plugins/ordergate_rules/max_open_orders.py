"""Refuses a buy while too many orders are open."""

from __future__ import annotations

from decimal import Decimal

from attrs import field, frozen

from ordergate import Account, Verdict, hookimpl
from ordergate_rules.bounds import COUNT


@frozen
class Settings:
    """How many orders of an account may be open at once."""

    orders: int = field(validator=COUNT, metadata={"help": "The most orders open at once, this one included."})


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(account: Account, settings: Settings) -> Verdict:
    """Count this order, those open at the venue whoever sent them, and approved buys that it does not show yet."""
    after, most = Decimal(account.open_orders + 1), Decimal(settings.orders)
    if after <= most:
        return Verdict.approve(observed=after, limit=most)
    return Verdict.refuse(
        "too_many_open",
        f"It would be open order number {after}, over the {most} allowed.",
        observed=after,
        limit=most,
    )
