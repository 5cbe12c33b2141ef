"""The JSON form of what the gate decided. Amounts are strings of digits, seconds are numbers, moments are ISO text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ordergate.amounts import money
from ordergate.cli.face import DONE, FAILED, REFUSED, REJECTED, UNKNOWN, Answer
from ordergate.cli.page import Page
from ordergate.clock import iso
from ordergate.decision import Decision, FactsSummary
from ordergate.models import Figure, OrderStatus
from ordergate.records import to_plain

__all__ = ["answer_of", "decision_data", "exit_code", "money_or_none", "wire_id_of"]

_CODES = {
    OrderStatus.REFUSED: REFUSED,
    OrderStatus.UNKNOWN: UNKNOWN,
    OrderStatus.REJECTED: REJECTED,
    OrderStatus.EXPIRED: FAILED,
}


def answer_of(decision: Decision) -> Answer:
    """The decision for whoever asked. The page for people is only loaded when it is drawn."""

    def page() -> Page:
        from ordergate.cli.decision_page import decision_page

        return decision_page(decision)

    return Answer(data=decision_data(decision), page=page, code=exit_code(decision))


def exit_code(decision: Decision) -> int:
    """What the decision means to the shell: 0 when what was asked for was done, or would be."""
    return _CODES.get(decision.status, DONE)


def decision_data(decision: Decision) -> dict[str, object]:
    """Everything about a decision that a program may want to know."""
    return {
        "status": decision.status.value,
        "error": decision.error,
        "message": decision.message,
        "advice": decision.advice,
        "order": to_plain(decision.order),
        "verdicts": to_plain(decision.verdicts),
        "smallest_passing": money_or_none(decision.smallest_passing),
        "smallest_passing_in": decision.smallest_passing_in,
        "facts": None if decision.facts is None else _facts(decision.facts),
        "cost": _cost(decision),
        "fee_threshold": _figure(decision.fee_threshold),
        "wire_id": wire_id_of(decision),
        "receipt": None if decision.receipt is None else to_plain(decision.receipt),
        "is_exit": decision.is_exit,
        "checked_only": decision.checked_only,
        "replayed": decision.replayed,
        "warnings": list(decision.warnings),
        "at": iso(decision.at) if decision.at else None,
    }


def wire_id_of(decision: Decision) -> str | None:
    """The client order id as the venue knows it; None for what was not to be sent."""
    if decision.venue_order is None or decision.checked_only:
        return None
    return decision.venue_order.client_order_id


def money_or_none(value: Decimal | None) -> str | None:
    """An amount with at least two decimals."""
    return None if value is None else money(value)


def _facts(facts: FactsSummary) -> dict[str, object]:
    return {
        "equity": money_or_none(facts.equity),
        "cash": money_or_none(facts.cash),
        "positions": to_plain(facts.positions),
        "tier": facts.tier,
        "ages": dict(facts.ages),
        "unvalued": list(facts.unvalued),
    }


def _cost(decision: Decision) -> dict[str, object] | None:
    """The two numbers of a buy, in USD: its size, and the most it can take with the taker fee assumed."""
    purchase = decision.purchase
    if purchase is None:
        return None
    return {
        "size": money(purchase.size),
        "cost": money(purchase.cost),
        "acquires": money(purchase.acquires),
        "takes": purchase.takes,
        "gives": purchase.gives,
        "taker_fee": _figure(decision.taker_fee),
    }


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    return None if figure is None else dict(to_plain(figure))
