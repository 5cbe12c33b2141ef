"""What the demo says of a decision, in as few words as a line has room for. ASCII only: any terminal can show it."""

from __future__ import annotations

from decimal import Decimal

from ordergate.amounts import money, plain
from ordergate.decision import Decision
from ordergate.models import OrderStatus, Verdict
from ordergate.order import Order

__all__ = ["brief", "detail", "reason", "size"]


def size(order: Order) -> str:
    """`3.00 USD`, `0.005 BTC at 105000.00`, `all`."""
    base, quote = order.symbol.split("-")
    if order.all:
        return "all"
    text = f"{money(order.spend)} {quote}" if order.spend is not None else f"{plain(order.amount or Decimal(0))} {base}"
    return text if order.limit is None else f"{text} at {plain(order.limit)}"


def detail(decision: Decision) -> str:
    """Why it was refused, or what the venue made of it."""
    return f"replayed, nothing sent: {_detail(decision)}" if decision.replayed else _detail(decision)


def reason(verdict: Verdict) -> str:
    """The rule and its two numbers, `min_position 3.00 < 10.00`, or its code where there are no such numbers."""
    observed, limit = verdict.observed, verdict.limit
    if observed is None or limit is None or verdict.rule == "gate.state":
        return f"{verdict.rule} {verdict.code}"
    sign = "<" if observed < limit else ">"
    shown = plain if verdict.rule == "position_cap" else brief
    return f"{verdict.rule} {shown(observed)} {sign} {shown(limit)}"


def brief(number: Decimal) -> str:
    """Cents, or eight decimals for what is smaller than one and not in whole cents. `explain` shows every digit."""
    cents = number.quantize(Decimal("0.01"))
    return f"{cents:f}" if cents == number or abs(number) >= 1 else plain(number.quantize(Decimal("0.00000001")))


def _detail(decision: Decision) -> str:
    if decision.status is OrderStatus.REFUSED:
        return f"{', '.join(map(reason, decision.refusals))}; {_passes(decision)}"
    receipt = decision.receipt
    if receipt is None:
        return "the venue's answer is missing" if decision.status is OrderStatus.UNKNOWN else decision.message
    base, quote = receipt.symbol.split("-")
    if receipt.filled_amount:
        return (
            f"{plain(receipt.filled_amount)} {base} for {brief(receipt.filled_value)} {quote}, "
            f"fee {brief(receipt.fees)}"
        )
    return "rests at the venue" if decision.status is OrderStatus.OPEN else receipt.message or decision.status.value


def _passes(decision: Decision) -> str:
    if decision.smallest_passing is None:
        return "no size passes now"
    return f"passes from {money(decision.smallest_passing)} {decision.smallest_passing_in}"
