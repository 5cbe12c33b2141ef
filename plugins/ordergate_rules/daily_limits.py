"""Refuses further buys of a day on which enough was bought, spent or lost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from math import nextafter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import Attribute, field, frozen

from ordergate import Account, Basis, History, InputError, Purchase, Verdict, hookimpl
from ordergate.amounts import ZERO, money
from ordergate_rules.bounds import AMOUNT, COUNT
from ordergate_rules.lately import buys_after, results_after


def _known(_: object, attribute: Attribute[str], value: str) -> None:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        fix = (
            "use a name of the IANA time zone database, such as Europe/Berlin; where this machine knows none, "
            "`pip install tzdata` brings them"
        )
        raise InputError(attribute.name, value, fix) from error


@frozen
class Settings:
    """What may happen on one day; at least one of the four limits must be set."""

    zone: str = field(
        default="UTC", validator=_known, metadata={"help": "IANA time zone whose midnights begin the days."}
    )
    orders: int | None = field(default=None, validator=COUNT, metadata={"help": "The most buys sent on one day."})
    spend: Decimal | None = field(
        default=None, validator=AMOUNT, metadata={"help": "The most spent on one day, fees included.", "unit": "USD"}
    )
    loss: Decimal | None = field(
        default=None,
        validator=AMOUNT,
        metadata={"help": "The most that the sells of one day may have lost together.", "unit": "USD"},
    )
    total_loss: Decimal | None = field(
        default=None,
        validator=AMOUNT,
        metadata={"help": "The same, with what open positions are worth less than they cost.", "unit": "USD"},
    )

    def __attrs_post_init__(self) -> None:
        if (self.orders, self.spend, self.loss, self.total_loss) == (None,) * 4:
            raise InputError("orders", "nothing", "set at least one of orders, spend, loss and total_loss")


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, account: Account, history: History, settings: Settings) -> Verdict:
    """Compare each limit that is set with the day so far, and this order where it adds to it."""
    before = nextafter(_midnight(history.now, settings.zone), 0)  # what happens at midnight is of the new day
    buys = list(buys_after(history, before))
    spent = sum((one.cost for one in buys), order.cost)
    lost = -sum((won for _, won in results_after(history, before)), ZERO)
    total = ZERO if settings.total_loss is None else lost - _unrealised(account, history)
    count, most = Decimal(len(buys) + 1), None if settings.orders is None else Decimal(settings.orders)
    verdicts = (
        _compared("too_many_today", f"It would be buy number {count} of the day", count, most, ""),
        _compared("over_daily_spend", f"{money(spent)} USD would be spent today", spent, settings.spend),
        _compared("over_daily_loss", f"The sells of the day have lost {money(lost)} USD", lost, settings.loss),
        _compared(
            "over_daily_total_loss",
            f"The sells of the day and what is open have lost {money(total)} USD",
            total,
            settings.total_loss,
        ),
    )
    asked = [verdict for verdict in verdicts if verdict is not None]
    return next((verdict for verdict in asked if not verdict.approved), asked[0])


def _compared(code: str, told: str, observed: Decimal, limit: Decimal | None, unit: str = " USD") -> Verdict | None:
    if limit is None:
        return None
    if observed <= limit:
        return Verdict.approve(observed=observed, limit=limit)
    allowed = f"{money(limit)}{unit}" if unit else str(limit)
    return Verdict.refuse(code, f"{told}, over the {allowed} allowed.", observed=observed, limit=limit)


def _midnight(now: float, zone: str) -> float:
    """The moment at which the day began. Days on which clocks change have 23 or 25 hours."""
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()


def _unrealised(account: Account, history: History) -> Decimal:
    """USD that what was bought here, and is still held, is worth more than it cost; below zero, less."""
    together: dict[str, Basis] = {}
    for symbol, basis in history.costs.items():
        base = symbol.split("-")[0]
        other = together.get(base, Basis(amount=ZERO, cost=ZERO))
        together[base] = Basis(amount=basis.amount + other.amount, cost=basis.cost + other.cost)
    more = ZERO
    for currency, basis in together.items():
        held = account.holdings.get(currency)
        if held is None or not held.amount or not basis.amount:
            continue  # it was moved elsewhere, and what it brought there is not known
        part = min(basis.amount, held.amount)
        more += (held.value - held.claimed) * part / held.amount - basis.cost * part / basis.amount
    return more
