"""Refuses a buy that would leave positions too small, on average, for the broker's fees."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from attrs import Attribute, field, frozen

from ordergate import Account, BrokerProfile, InputError, Purchase, Verdict, hookimpl
from ordergate.amounts import CENT, money, plain

_LEAST = Decimal("1.5")


def _tightened(_: object, attribute: Attribute[Decimal], value: Decimal) -> None:
    if not isinstance(value, Decimal) or not value.is_finite() or value < _LEAST:
        raise InputError(attribute.name, value, f"use a decimal from {_LEAST} up: it may be tightened only")


@frozen
class Settings:
    """How far above the broker's fee threshold the average must be."""

    multiple: Decimal = field(
        default=_LEAST,
        validator=_tightened,
        metadata={"help": "The average must reach this many fee thresholds of the broker; 1.5 or more."},
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, account: Account, broker: BrokerProfile, settings: Settings) -> Verdict:
    """Judge the average value of all positions as it would be after the order."""
    if order.takes in account.cash_currencies:
        return Verdict.approve()  # cash is no position, so no average changes
    count = len(account.positions) + (order.takes not in account.positions)
    # Where more is easier, a buy that the balances may show already must not count twice: so the least they can be.
    total = order.size + account.position_floor
    minimum = settings.multiple * broker.fee_threshold.value
    # Shown, never compared: cut at a cent or at the minimum's own last digit, whichever is finer, so that
    # what is shown stands on the same side of the minimum as the average itself.
    average = (total / count).quantize(minimum + CENT, rounding=ROUND_DOWN)
    if total >= minimum * count:
        return Verdict.approve(observed=average, limit=minimum)
    return Verdict.refuse(
        "low_average",
        f"The average position after it, {money(average)} USD, is under {plain(settings.multiple)} times the "
        f"broker's fee threshold of {money(broker.fee_threshold.value)} USD, which is {money(minimum)} USD.",
        observed=average,
        limit=minimum,
    )
