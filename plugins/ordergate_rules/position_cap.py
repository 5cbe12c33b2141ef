"""Refuses a buy that would open one more position than the tier's cap allows."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen

from ordergate import Account, Purchase, Tier, Verdict, hookimpl


@frozen
class Settings:
    """Nothing to set: the cap is the tier's `max_positions`, or `gate.max_positions` where that is lower."""


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, account: Account, tier: Tier) -> Verdict:
    """Count the positions after the order. Adding to one opens none; acquiring a cash currency opens none."""
    # Approved buys not yet seen are in `positions` too: two buys of one currency open one position.
    opens = order.takes not in account.positions and order.takes not in account.cash_currencies
    after, cap = Decimal(len(account.positions) + opens), Decimal(tier.max_positions)
    # An order that opens none passes even where a lowered cap is already exceeded.
    if not opens or after <= cap:
        return Verdict.approve(observed=after, limit=cap)
    return Verdict.refuse(
        "over_cap",
        f"It would open position number {after}, over the cap of {cap} (tier {tier.name}).",
        observed=after,
        limit=cap,
    )
