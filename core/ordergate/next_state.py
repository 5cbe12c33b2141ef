"""What an account's state is after one more row: the same as a ledger would read it anew, without reading it.

Pure. It knows the rows that orders bring, which are nearly all; after any other the state has to be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from attrs import evolve

from ordergate.ledger import SENDING, AccountState, Reservation, Unfinished

__all__ = ["following", "reservation_of"]

_FINAL: Final = frozenset({"filled", "cancelled", "expired", "rejected"})


def following(state: AccountState, seq: int, kind: str, at: float, body: Mapping[str, Any]) -> AccountState | None:
    """The state after the account's row `seq`, its next one. None: read it."""
    try:
        match kind:
            case "decision":
                return _decided(state, seq, body)
            case "receipt":
                return _heard(state, seq, at, body)
            case "settled":
                return _settled(state, seq, body)
            case "alarm" | "note":
                return evolve(state, seq=seq)
            case _:
                return None
    except (KeyError, TypeError, ArithmeticError):  # no row of the gate's: whoever reads the state will say so
        return None


def reservation_of(values: Mapping[str, Any], status: str, receipt_at: float | None) -> Reservation:
    """A decision's reservation as its journal row has it, with what was heard of the order since."""
    return Reservation(
        client_order_id=values["client_order_id"],
        wire_id=values["wire_id"],
        symbol=values["symbol"],
        gives=values["gives"],
        takes=values["takes"],
        needs=Decimal(values["needs"]),
        size=Decimal(values["size"]),
        status=status,
        receipt_at=receipt_at,
    )


def _decided(state: AccountState, seq: int, body: Mapping[str, Any]) -> AccountState:
    sent, reserves = body["venue_order"], body["reservation"]
    if sent is None:
        return evolve(state, seq=seq)
    waiting = Unfinished(
        client_order_id=body["client_order_id"],
        symbol=body["symbol"],
        wire_id=sent["client_order_id"],
        status=SENDING,
        send_by=sent["send_by"],
    )
    reserved = () if reserves is None else (reservation_of(reserves, SENDING, None),)
    return evolve(
        state,
        seq=seq,
        version=state.version + len(reserved),
        unfinished=state.unfinished + (waiting,),  # noqa: RUF005 - copied once; unpacked, ten thousand are copied twice
        reservations=state.reservations + reserved,
    )


def _heard(state: AccountState, seq: int, at: float, body: Mapping[str, Any]) -> AccountState:
    name, status = body["client_order_id"], str(body["status"])
    version = state.version + (status == "unknown")
    unfinished, reservations = state.unfinished, state.reservations
    place = _place(unfinished, name)
    if place is not None:  # else its last word was final, and stays the last
        still = () if status in _FINAL else (evolve(unfinished[place], status=status),)
        unfinished = (*unfinished[:place], *still, *unfinished[place + 1 :])
        reserved = _place(reservations, name)
        if reserved is not None:
            heard = evolve(reservations[reserved], status=status, receipt_at=at)
            reservations = (*reservations[:reserved], heard, *reservations[reserved + 1 :])
    return evolve(state, seq=seq, version=version, unfinished=unfinished, reservations=reservations)


def _settled(state: AccountState, seq: int, body: Mapping[str, Any]) -> AccountState:
    gone = frozenset(body["gone"])
    return evolve(
        state,
        seq=seq,
        version=state.version + 1,
        settlement=state.settlement + 1,
        reservations=tuple(one for one in state.reservations if one.client_order_id not in gone),
    )


def _place(orders: tuple[Reservation, ...] | tuple[Unfinished, ...], name: str) -> int | None:
    """Where the order stands. From the end: what is heard of is mostly what was sent last."""
    for place in range(len(orders) - 1, -1, -1):
        if orders[place].client_order_id == name:
            return place
    return None
