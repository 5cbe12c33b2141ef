"""Settling: asking the venue what became of orders whose last word is not final, and writing down its answer.

Nothing is ever sent again. An order is adopted only when its terms are those that were recorded; it counts as
absent only when its profile lets absence be proved, and only after the time in which it could still arrive has passed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from typing import Final

from attrs import evolve, frozen

from ordergate.broker import Broker, Mismatch, wire_id
from ordergate.clock import Clock
from ordergate.errors import BrokerError, LedgerDamaged
from ordergate.ledger import SENDING, Recorded, Unfinished
from ordergate.models import Absence, OrderStatus, Receipt, VenueOrder
from ordergate.records import from_plain, to_plain

__all__ = [
    "Settled",
    "is_doubtful",
    "needs_look",
    "receipt_body",
    "settle_all",
    "settle_one",
    "venue_now",
    "venue_order_of",
]

NEVER_ARRIVED: Final = "never_arrived"


@frozen(kw_only=True)
class Settled:
    """What settling one order came to. `status` is None while it is as open as before."""

    recorded: Recorded
    status: OrderStatus | None
    receipt: Receipt | None
    message: str
    mismatch: bool = False


def is_doubtful(recorded: Recorded | Unfinished, now: float) -> bool:
    """True when nobody knows whether the venue has it: the outcome was unknown, or its sender never came back."""
    if recorded.status == SENDING:
        return recorded.send_by is not None and now > recorded.send_by
    return recorded.status == OrderStatus.UNKNOWN


def needs_look(one: Recorded | Unfinished, resting: Collection[str | None], now: float) -> bool:
    """Whether the venue may have more to say of an unfinished order than the ledger knows: it does not while the order
    rests there, nor while another caller is just sending it. `resting`: ids on the wire of the venue's open orders.
    """
    if is_doubtful(one, now):
        return True
    return one.status != SENDING and one.wire_id not in resting


def settle_one(recorded: Recorded, broker: Broker, clock: Clock, seconds: float | None = None) -> Settled:
    """Look one unfinished order up, for at most `seconds` in all. Reads only; the caller writes down what it learns."""
    deadline = math.inf if seconds is None else clock.monotonic() + seconds
    order = venue_order_of(recorded)
    doubtful = is_doubtful(recorded, clock.now())
    try:
        now = venue_now(broker, clock, seconds) if doubtful else clock.now()
        arrives_for = order.send_by + broker.profile.honoured - now
        looks = broker.profile.absence_looks if doubtful and arrives_for < 0 else 1
        receipt = _looked_up(order, broker, clock, looks, deadline)
        if receipt is not None:
            return Settled(recorded=recorded, status=receipt.status, receipt=receipt, message="found at the venue")
        if not (doubtful and arrives_for < 0 and broker.profile.absence is Absence.LOOKUP):
            return _open(recorded, _why_open(doubtful, arrives_for))
        its_own = _are_its_funds(recorded, broker, _left(deadline, clock))
    except Mismatch as mismatch:
        return _open(recorded, f"the venue holds another order under this id: {mismatch}", mismatch=True)
    except BrokerError as error:
        return _open(recorded, f"the venue could not be asked: {error}")
    if not its_own:
        return _open(recorded, "the broker now speaks of other funds than it was sent for; they prove nothing")
    return _absent(recorded, order, looks, broker.profile.rests_on)


def _looked_up(order: VenueOrder, broker: Broker, clock: Clock, looks: int, deadline: float) -> Receipt | None:
    """The order, if one of the looks shows it. Raises BrokerError, also when there is no time for all of them."""
    for look in range(looks):
        if look:
            if deadline - clock.monotonic() <= broker.profile.absence_pause:
                raise BrokerError("there was no time to look as often as a proof needs")
            clock.sleep(broker.profile.absence_pause)
        receipt = broker.find_order(order, _left(deadline, clock))
        if receipt is not None:
            return receipt
    return None


def _left(deadline: float, clock: Clock) -> float | None:
    """Seconds for one question; None for as many as the gate gives any."""
    return None if deadline == math.inf else max(0.1, deadline - clock.monotonic())


def _are_its_funds(recorded: Recorded, broker: Broker, seconds: float | None) -> bool:
    """Whether the key in use is still one of the account that the order was sent for: at another one it is never found.

    Its id on the wire follows from the identity of the funds; that of an exit may have been made without it.
    """
    names = (broker.get_account(seconds).identity, f"account:{recorded.account}")
    return recorded.wire_id in [wire_id(name, recorded.client_order_id) for name in names]


def venue_now(broker: Broker, clock: Clock, seconds: float | None = None) -> float:
    """The venue's clock, as far behind this machine's as it may be: deadlines and tokens run out by the venue's.

    Raises BrokerError when the venue does not answer.
    """
    here, there = clock.now() - broker.clock_skew, broker.get_time(seconds)
    return here if there is None else min(here, there)


def _why_open(doubtful: bool, arrives_for: float) -> str:  # noqa: FBT001 - two plain facts about one order
    if not doubtful:
        return "the venue does not show it now"
    if arrives_for >= 0:
        return f"not found, but it may still arrive for {arrives_for:.0f} s"
    return "not found; at this venue only a person can say that it is not there"


def venue_order_of(recorded: Recorded) -> VenueOrder:
    """The exact payload that was recorded before the send."""
    try:
        return from_plain(json.loads(recorded.decision)["venue_order"], VenueOrder)
    except (ValueError, LookupError, TypeError) as error:
        raise LedgerDamaged(f"the record of order {recorded.client_order_id} cannot be read: {error}") from error


def receipt_body(
    client_order_id: str, status: OrderStatus, receipt: Receipt | None, **more: object
) -> dict[str, object]:
    """The journal row that says what is now known of an order."""
    return {
        "client_order_id": client_order_id,
        "status": status.value,
        "receipt": None if receipt is None else to_plain(receipt),
        **more,
    }


def settle_all(
    unfinished: Collection[Recorded],
    broker: Broker,
    clock: Clock,
    resting: Collection[str | None],
    write: Callable[[Settled], None],
) -> tuple[Settled, ...]:
    """Settle every order that needs it. What still rests at the venue, and what another process is just sending,
    does not.

    `resting` are ids on the wire of the venue's open orders; `write` is called for each order that moved.
    """
    settled = []
    for recorded in unfinished:
        if not needs_look(recorded, resting, clock.now()):
            continue
        outcome = settle_one(recorded, broker, clock)
        if outcome.mismatch or _is_news(outcome):
            write(outcome)
        elif outcome.status is not None:
            outcome = evolve(outcome, status=None)
        settled.append(outcome)
    return tuple(settled)


def _is_news(outcome: Settled) -> bool:
    """True when the venue says something that is not written down yet: another status, or more filled."""
    if outcome.receipt is None or outcome.status is None:
        return False
    if outcome.status != outcome.recorded.status or outcome.recorded.receipt is None:
        return True
    known = json.loads(outcome.recorded.receipt).get("receipt")
    return known is None or known["filled_amount"] != to_plain(outcome.receipt.filled_amount)


def _absent(recorded: Recorded, order: VenueOrder, looks: int, rests_on: str) -> Settled:
    proof = f"not found in {looks} look-ups after its send-by time and what the venue honours had passed"
    if rests_on:
        proof = f"{proof} ({rests_on})"
    receipt = Receipt(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        status=OrderStatus.EXPIRED,
        code=NEVER_ARRIVED,
        message=proof,
    )
    return Settled(recorded=recorded, status=OrderStatus.EXPIRED, receipt=receipt, message=proof)


def _open(recorded: Recorded, message: str, *, mismatch: bool = False) -> Settled:
    return Settled(recorded=recorded, status=None, receipt=None, message=message, mismatch=mismatch)
