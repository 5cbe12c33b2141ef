"""Refuses a buy whose size is under the tier's share of equity."""

from __future__ import annotations

from attrs import frozen

from ordergate import Account, Purchase, Tier, Verdict, hookimpl
from ordergate.amounts import money, plain


@frozen
class Settings:
    """Nothing to set: the share is `min_allocation` of the account's tier, 5 to 10 % of equity."""


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, account: Account, tier: Tier) -> Verdict:
    """Compare the size of this order, also of one that adds to a position: fees are paid per order."""
    minimum = tier.min_allocation * account.equity
    if order.size >= minimum:
        return Verdict.approve(observed=order.size, limit=minimum)
    return Verdict.refuse(
        "under_allocation",
        f"The size, {money(order.size)} USD, is under {plain(tier.min_allocation * 100)} % of the equity of "
        f"{money(account.equity)} USD, which is {money(minimum)} USD.",
        observed=order.size,
        limit=minimum,
    )
