"""The past of an account, folded from its journal: what stateful rules look back on, and what was reserved at any row.

Pure and deterministic: the same rows give the same past, in the process that wrote them, after a restart, and when a
recorded decision is judged again. A process that trades reads each row once.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from attrs import evolve

from ordergate.amounts import ZERO
from ordergate.journal import Entry
from ordergate.ledger import SENDING, Reservation
from ordergate.models import History, OrderStatus, PastOrder, Side
from ordergate.records import from_plain

__all__ = ["Past"]

_KEPT: Final = 31 * 86_400.0  # seconds for which an order is looked back on


class Past:
    """Of one account. `take` its rows in order; `seq` is the last one taken."""

    def __init__(self) -> None:
        self.seq = 0
        self._orders: dict[str, PastOrder] = {}
        self._reserved: dict[str, Reservation] = {}

    def take(self, entry: Entry) -> None:
        """Fold in the next row."""
        self.seq = entry.seq
        if entry.kind in ("decision", "receipt", "settled"):
            body = json.loads(entry.body)
            {"decision": self._decided, "receipt": self._heard, "settled": self._settled}[entry.kind](body, entry.at)

    def reservations(self) -> tuple[Reservation, ...]:
        """Those that still count, as the ledger's state lists them."""
        return tuple(self._reserved.values())

    def history(self, now: float) -> History:
        """What rules see at the moment `now`."""
        orders = [order for order in self._orders.values() if order.at > now - _KEPT]
        return History(now=now, orders=tuple(reversed(orders)))

    def _decided(self, body: dict[str, Any], at: float) -> None:
        sent = body["venue_order"]
        if sent is None:
            return
        bought = body["purchase"]
        if body["reservation"] is not None:
            reservation = from_plain(body["reservation"], Reservation)
            self._reserved[reservation.client_order_id] = evolve(reservation, status=SENDING)
        order = PastOrder(
            client_order_id=body["client_order_id"],
            symbol=sent["symbol"],
            side=Side(sent["side"]),
            size=Decimal(bought["size"]) if bought else ZERO,
            status=OrderStatus.UNKNOWN,
            at=at,
            cost=Decimal(bought["cost"]) if bought else ZERO,
            spend=_amount(sent["spend"]),
            amount=_amount(sent["amount"]),
            limit=_amount(sent["limit"]),
            is_exit=body["is_exit"],
            principal=body["order"].get("principal"),
        )
        self._orders[order.client_order_id] = order

    def _heard(self, body: dict[str, Any], at: float) -> None:
        name, status = body["client_order_id"], OrderStatus(body["status"])
        reserved = self._reserved.get(name)
        if reserved is not None:
            self._reserved[name] = evolve(reserved, status=status.value, receipt_at=at)
        order, receipt = self._orders.get(name), body["receipt"]
        if order is not None:
            self._orders[name] = evolve(
                order,
                status=status,
                heard_at=at,
                filled_amount=Decimal(receipt["filled_amount"]) if receipt else order.filled_amount,
                filled_value=Decimal(receipt["filled_value"]) if receipt else order.filled_value,
                fees=Decimal(receipt["fees"]) if receipt else order.fees,
            )

    def _settled(self, body: dict[str, Any], _: float) -> None:
        for name in body["gone"]:
            self._reserved.pop(name, None)


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
