"""Refuses a buy of a principal that has used up its budget, or has none."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from attrs import Attribute, field, frozen

from ordergate import History, InputError, Purchase, Verdict, hookimpl
from ordergate.amounts import money
from ordergate.settings import Pattern, Within
from ordergate_rules.bounds import LONGEST, amounts
from ordergate_rules.lately import buys_after

_NAME = Pattern(form=r"[A-Za-z0-9_.-]{1,64}", fix="use 1 to 64 ASCII letters, digits, '_', '.' or '-'")


def _somebody(_: object, attribute: Attribute[Mapping[str, Decimal]], value: Mapping[str, Decimal]) -> None:
    if not value:
        raise InputError(attribute.name, "nothing", 'name at least one, such as { grid-bot = "500" }')


@frozen
class Settings:
    """What each principal may spend."""

    principals: Mapping[str, Decimal] = field(
        validator=[_somebody, amounts(_NAME)],
        metadata={"help": "Principal to USD that it may spend, fees included, such as grid-bot = 500."},
    )
    days: int = field(
        default=1,
        validator=Within(low=Decimal(1), high=Decimal(LONGEST)),
        metadata={"help": "For how many times 24 hours what was spent counts; up to 31.", "unit": "days"},
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, history: History, settings: Settings) -> Verdict:
    """Add this order to what its principal's buys of the last days have taken, or can still take."""
    budget = settings.principals.get(order.principal or "")
    if budget is None:
        who = "It does not say who asks" if order.principal is None else f"{order.principal} has no budget"
        return Verdict.refuse("no_budget", f"{who}; budgets are for {', '.join(settings.principals)}.")
    past = buys_after(history, history.now - settings.days * 86_400)
    spent = sum((one.cost for one in past if one.principal == order.principal), order.cost)
    if spent <= budget:
        return Verdict.approve(observed=spent, limit=budget)
    return Verdict.refuse(
        "over_budget",
        f"{order.principal} would have spent {money(spent)} USD in {settings.days} x 24 hours, over its budget of "
        f"{money(budget)} USD.",
        observed=spent,
        limit=budget,
    )
