"""Refuses buys while the account's equity is too far under its highest of late."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from attrs import Attribute, field, frozen

from ordergate import Account, History, InputError, Verdict, hookimpl
from ordergate.amounts import money, plain
from ordergate.settings import Within
from ordergate_rules.bounds import FRACTION


def _date(_: object, attribute: Attribute[str | None], value: str | None) -> None:
    try:
        usable = value is None or date.fromisoformat(value).isoformat() == value
    except ValueError:
        usable = False
    if not usable:
        raise InputError(attribute.name, value, 'write a date in quotes, such as "2026-11-22"')


@frozen
class Settings:
    """How far equity may fall, and from which peak."""

    fall: Decimal = field(
        validator=FRACTION, metadata={"help": "How far equity may be under its peak, as a fraction of the peak."}
    )
    days: int = field(
        default=30,
        validator=Within(low=Decimal(1), high=Decimal(366)),
        metadata={"help": "How many days, today included, the peak is looked for; days of UTC.", "unit": "days"},
    )
    since: str | None = field(
        default=None,
        validator=_date,
        metadata={"help": "Days before this date do not count, such as those before money was taken out."},
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(account: Account, history: History, settings: Settings) -> Verdict:
    """Compare equity with the highest that a decision of these days saw, the refused ones included."""
    today = datetime.fromtimestamp(history.now, UTC).date()
    first = max((today - timedelta(days=settings.days - 1)).isoformat(), settings.since or "")
    peak = max((top for day, top in history.peaks.items() if day >= first), default=account.equity)
    least = peak * (1 - settings.fall)
    if account.equity >= least:
        return Verdict.approve(observed=account.equity, limit=least)
    return Verdict.refuse(
        "in_drawdown",
        f"The equity of {money(account.equity)} USD is under {money(least)} USD, {plain(settings.fall * 100)} % below "
        f"the peak of {money(peak)} USD since {first}.",
        observed=account.equity,
        limit=least,
    )
