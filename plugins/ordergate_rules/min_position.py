"""Refuses a buy whose size is under the tier's absolute minimum."""

from __future__ import annotations

from attrs import frozen

from ordergate import Purchase, Tier, Verdict, hookimpl
from ordergate.amounts import money


@frozen
class Settings:
    """Nothing to set: the minimum is `min_position` of the account's tier, in USD."""


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, tier: Tier) -> Verdict:
    """Compare the size of this order, also of one that adds to a position: fees are paid per order."""
    if order.size >= tier.min_position:
        return Verdict.approve(observed=order.size, limit=tier.min_position)
    return Verdict.refuse(
        "under_minimum",
        f"The size, {money(order.size)} USD, is under the minimum of tier {tier.name}, {money(tier.min_position)} USD.",
        observed=order.size,
        limit=tier.min_position,
    )
