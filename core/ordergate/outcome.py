"""Decisions in words and on record: building them from verdicts and receipts, writing them down, reading them back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

from attrs import evolve, frozen

from ordergate.amounts import money, plain
from ordergate.decision import Decision, FactsSummary
from ordergate.errors import IdConflict, LedgerDamaged
from ordergate.judge import Inputs, Judgement
from ordergate.ledger import SENDING, Recorded, Reservation
from ordergate.models import Figure, OrderStatus, Purchase, Receipt, VenueOrder, Verdict
from ordergate.order import Order
from ordergate.records import canonical, digest, from_plain, to_plain

__all__ = [
    "CONTENDED",
    "ERRORS",
    "LEDGER_DOWN",
    "REFUSED",
    "Outcome",
    "as_recorded",
    "digest_of",
    "judged",
    "replay",
    "sent",
]

REFUSED: Final = "HARDENING_ENFORCEMENT"
LEDGER_DOWN: Final = "ledger_unavailable"
CONTENDED: Final = "ledger_busy"

ERRORS: Final[Mapping[str, str]] = {
    REFUSED: "The gate refused the order. The verdicts say why; nothing was sent.",
    "VENUE_REJECTED": "The venue rejected the order. The receipt has its own code and words.",
    "OUTCOME_UNKNOWN": "The order may or may not be at the venue. Nothing is sent again; `ordergate reconcile` asks.",
    "NOT_SENT": "The order was approved and not sent, because its send-by time had passed. Use a new id.",
}
"""Every value of `Decision.error`, and what it means."""


@frozen(kw_only=True)
class Outcome:
    """What is known after a send or a cancel. `receipt` is None while nothing is known for certain."""

    status: OrderStatus
    receipt: Receipt | None
    message: str
    warnings: tuple[str, ...] = ()


def judged(order: Order, inputs: Inputs, judgement: Judgement, at: float, *, checked_only: bool = False) -> Decision:
    """The decision on a buy, before anything is sent."""
    refusals = [verdict for verdict in judgement.verdicts if verdict.approved is not True]
    sized = judgement.sized
    decision = Decision(
        status=OrderStatus.APPROVED if judgement.approved else OrderStatus.REFUSED,
        order=order,
        verdicts=judgement.verdicts,
        facts=judgement.summary,
        purchase=sized.purchase if sized else None,
        at=at,
        checked_only=checked_only,
        fee_threshold=inputs.profile.fee_threshold,
        taker_fee=inputs.facts.taker,
    )
    if judgement.approved:
        return evolve(
            decision, message="Every active rule approves it." if checked_only else "Approved by every active rule."
        )
    least = judgement.smallest
    return evolve(
        decision,
        error=REFUSED,
        message=" ".join(f"{verdict.rule}: {verdict.message}" for verdict in refusals),
        smallest_passing=least,
        smallest_passing_in=judgement.smallest_in if least is not None else None,
        advice=_advice(judgement, refusals),
    )


def _advice(judgement: Judgement, refusals: list[Verdict]) -> str:
    if judgement.smallest is not None:
        return f"The smallest size that passes now is {money(judgement.smallest)} {judgement.smallest_in}."
    names = {verdict.rule for verdict in refusals}
    if "gate.state" in names:
        return "No size passes in this state; `ordergate status` and `ordergate doctor` say what to do."
    if "gate.facts" in names:
        return "No size passes until the venue's facts can be trusted; try again when it answers."
    if "gate.tier" in names:
        return "No size passes with this equity; add funds, or change the tiers."
    if "position_cap" in names:
        return "No size passes: sell a position first, or add to one that is held."
    return (
        "The rules answer too slowly to be asked about every size; another size may pass."
        if judgement.unsearched
        else "No size passes with the funds and limits there are now; `ordergate limits` shows the bounds."
    )


def sent(decision: Decision, outcome: Outcome) -> Decision:
    """The decision after its send."""
    error = {
        OrderStatus.REJECTED: "VENUE_REJECTED",
        OrderStatus.UNKNOWN: "OUTCOME_UNKNOWN",
        OrderStatus.EXPIRED: "NOT_SENT" if outcome.receipt and outcome.receipt.code == "not_sent" else None,
    }.get(outcome.status)
    advice = (
        "Nothing is sent again on a guess; `ordergate reconcile` asks the venue."
        if error == "OUTCOME_UNKNOWN"
        else None
    )
    return evolve(
        decision,
        status=outcome.status,
        receipt=outcome.receipt,
        message=outcome.message,
        error=error,
        advice=advice,
        warnings=tuple(dict.fromkeys((*decision.warnings, *outcome.warnings))),  # the same of intent and receipt is one
    )


def told(receipt: Receipt) -> str:
    """A receipt in one sentence."""
    base, quote = receipt.symbol.split("-")
    got = f"{plain(receipt.filled_amount)} {base} for {money(receipt.filled_value)} {quote}"
    filled = f"{got}, fees {money(receipt.fees)} {quote}"
    reason = " ".join(dict.fromkeys(filter(None, (receipt.code, receipt.message))))
    sentences = {
        OrderStatus.FILLED: f"Filled: {filled}.",
        OrderStatus.PARTLY_FILLED: f"Partly filled: {filled}; the rest is open.",
        OrderStatus.OPEN: "Open at the venue.",
        OrderStatus.CANCELLED: f"Cancelled; filled before that: {filled}.",
        OrderStatus.EXPIRED: f"Expired: {receipt.message or filled}.",
        OrderStatus.REJECTED: f"Rejected by the venue: {reason or 'it gave no reason'}.",
    }
    return sentences.get(receipt.status, "Its outcome is unknown.")


# -------------------------------------------------------------------------------------------------------------- record


def digest_of(order: Order) -> str:
    """What makes two orders the same order: everything asked for but the id."""
    return digest(canonical({**to_plain(order), "client_order_id": None}))


def as_recorded(
    decision: Decision, inputs: Inputs | None, reservation: Reservation | None, *, facts: str | None, setup: str | None
) -> dict[str, object]:
    """The journal row of a decision: the intent, the reservation, and all that is needed to judge it again."""
    order = decision.order
    return {
        "client_order_id": order.client_order_id,
        "digest": digest_of(order),
        "symbol": order.symbol,
        "is_exit": decision.is_exit,
        "order": to_plain(order),
        "venue_order": None if decision.venue_order is None else to_plain(decision.venue_order),
        "reservation": None if reservation is None else to_plain(reservation),
        "purchase": None if decision.purchase is None else to_plain(decision.purchase),
        "status": decision.status.value,
        "error": decision.error,
        "message": decision.message,
        "advice": decision.advice,
        "warnings": to_plain(decision.warnings),
        "verdicts": to_plain(decision.verdicts),
        "smallest_passing": to_plain(decision.smallest_passing),
        "smallest_passing_in": decision.smallest_passing_in,
        "summary": None if decision.facts is None else to_plain(evolve(decision.facts, positions=())),
        "fee_threshold": None if decision.fee_threshold is None else to_plain(decision.fee_threshold),
        "taker_fee": None if decision.taker_fee is None else to_plain(decision.taker_fee),
        "facts": facts,
        "setup": setup,
        "judged_on": None
        if inputs is None
        else {
            "seq": inputs.seq,
            "now": inputs.history.now,
            "age": inputs.age,
            "stops": [list(stop) for stop in inputs.stops],
        },
    }


def replay(recorded: Recorded, asked: str | None = None) -> Decision:
    """The decision as it was recorded, with what became of it since.

    `asked` is the digest of an order that came again under this id: IdConflict when it is another order.
    """
    with _record_of(recorded.client_order_id):
        body = json.loads(recorded.decision)
        heard = None if recorded.receipt is None else json.loads(recorded.receipt)["receipt"]
        receipt = None if heard is None else from_plain(heard, Receipt)
        first = {name: value for name, value in body["order"].items() if value and name != "client_order_id"}
    if asked is not None and asked != recorded.digest:
        shown = ", ".join(f"{name} {value}" for name, value in first.items())
        raise IdConflict(
            "client_order_id", recorded.client_order_id, f"it was used for another order ({shown}); use a new id"
        )
    decision = decision_of(body, recorded.at)
    if decision.approved:
        status = OrderStatus.UNKNOWN if recorded.status == SENDING else OrderStatus(recorded.status)
        message = told(receipt) if receipt else "The order was recorded to be sent; its outcome is not known."
        decision = sent(decision, Outcome(status=status, receipt=receipt, message=message))
    if asked is None:
        return decision
    return evolve(
        decision,
        replayed=True,
        advice=f"This id was used before; use a new id for a new order. {decision.advice or ''}".strip(),
    )


def decision_of(body: Mapping[str, Any], at: float) -> Decision:
    """A decision from the body of its journal row. Raises LedgerDamaged."""

    def read(name: str, cls: type[Any]) -> Any:
        return None if body[name] is None else from_plain(body[name], cls)

    with _record_of(str(body.get("client_order_id"))):
        return Decision(
            status=OrderStatus(body["status"]),
            order=from_plain(body["order"], Order),
            verdicts=tuple(from_plain(verdict, Verdict) for verdict in body["verdicts"]),
            error=body["error"],
            message=body["message"],
            advice=body["advice"],
            smallest_passing=None if body["smallest_passing"] is None else Decimal(body["smallest_passing"]),
            smallest_passing_in=body["smallest_passing_in"],
            facts=read("summary", FactsSummary),
            venue_order=read("venue_order", VenueOrder),
            purchase=read("purchase", Purchase),
            is_exit=body["is_exit"],
            warnings=tuple(body["warnings"]),
            at=at,
            fee_threshold=read("fee_threshold", Figure),
            taker_fee=read("taker_fee", Figure),
        )


@contextmanager
def _record_of(client_order_id: str) -> Iterator[None]:
    """What cannot be read back as it was written is damage, whatever way of reading it failed."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise LedgerDamaged(f"the record of order {client_order_id} cannot be read: {error!r}") from error
