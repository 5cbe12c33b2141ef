"""Refuses buys for a while after a loss."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from attrs import field, frozen

from ordergate import History, Purchase, Verdict, hookimpl
from ordergate.amounts import ZERO, money
from ordergate.settings import Within
from ordergate_rules.bounds import AMOUNT, LONGEST
from ordergate_rules.lately import results_after

_MOST = Decimal(LONGEST * 24 * 60)


@frozen
class Settings:
    """After which loss nothing is bought, for how long, and where."""

    loss: Decimal = field(
        validator=AMOUNT, metadata={"help": "The loss, realised by sells, after which to wait.", "unit": "USD"}
    )
    minutes: int = field(
        validator=Within(low=Decimal(1), high=_MOST),
        metadata={"help": "How long a loss counts; up to 31 days.", "unit": "minutes"},
    )
    scope: Literal["account", "market"] = field(
        default="account",
        metadata={"help": "account: any loss stops all buys; market: only those in the market that lost."},
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, history: History, settings: Settings) -> Verdict:
    """Add up the sells of the last minutes that lost: a loss taken in ten small sells is the same loss."""
    results = results_after(history, history.now - settings.minutes * 60)
    lost = -sum(
        (won for past, won in results if won < 0 and (settings.scope == "account" or past.symbol == order.symbol)), ZERO
    )
    if lost < settings.loss:
        return Verdict.approve(observed=lost, limit=settings.loss)
    where = "" if settings.scope == "account" else f" in {order.symbol}"
    return Verdict.refuse(
        "cooling_down",
        f"Sells{where} have lost {money(lost)} USD in the last {settings.minutes} minutes; buys wait from a loss of "
        f"{money(settings.loss)} USD on.",
        observed=lost,
        limit=settings.loss,
    )
