"""Refuses a buy after which more than a share of the account's equity would be held in one currency."""

from __future__ import annotations

from decimal import Decimal

from attrs import Attribute, field, frozen

from ordergate import Account, InputError, Purchase, Verdict, hookimpl
from ordergate.amounts import ZERO, money


def _share(_: object, attribute: Attribute[Decimal], value: Decimal) -> None:
    if not 0 < value <= 1:
        raise InputError(attribute.name, str(value), "use a fraction above 0 and up to 1, such as 0.5 for 50 %")


@frozen
class Settings:
    """How much may be held in one currency."""

    share: Decimal = field(
        default=Decimal("0.5"),
        validator=_share,
        metadata={"help": "The most that may be held in one currency, as a fraction of the account's equity."},
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, account: Account, settings: Settings) -> Verdict:
    """Compare what would be held of the currency bought, approved buys that are not yet filled included."""
    if order.takes in account.cash_currencies:
        return Verdict.approve()
    held = account.holdings.get(order.takes)
    after = (held.value if held else ZERO) + order.size
    limit = account.equity * settings.share
    if after <= limit:
        return Verdict.approve(observed=after, limit=limit)
    return Verdict.refuse(
        "too_concentrated",
        f"{money(after)} USD would be held in {order.takes}, more than the {money(limit)} USD allowed for one.",
        observed=after,
        limit=limit,
    )
