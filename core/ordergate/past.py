"""The past of an account, folded from its journal: what stateful rules look back on, and what was reserved at any row.

Pure and deterministic: the same rows give the same past, in the process that wrote them, after a restart, and when a
recorded decision is judged again. A process that trades reads each row once, and what changed since is built once.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort_right
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, frozen

from ordergate.amounts import ZERO, exact
from ordergate.clock import iso
from ordergate.journal import Entry
from ordergate.ledger import SENDING, Reservation
from ordergate.models import Basis, History, OrderStatus, PastOrder, Side
from ordergate.records import from_plain

__all__ = ["Past"]

_KEPT: Final = 31 * 86_400.0  # seconds for which an order is looked back on after the last word of it
_DAYS: Final = 366  # days for which the highest equity is looked back on
_SWEEP: Final = 256  # orders at least between two sweeps of those that nobody looks back on any more
_SMALLEST: Final = Decimal("1e-18")  # what divisions are rounded to: an average has no end of digits, a journal has one


@frozen
class _Book:
    """What of a market's base currency was bought here and not sold since; its cost in quote currency and in USD."""

    amount: Decimal
    quote: Decimal
    usd: Decimal


class _Window:
    """Orders that are looked back on, oldest first. Moving on in time costs what falls out, and nothing more."""

    def __init__(self, orders: Iterable[PastOrder], now: float) -> None:
        self._line: list[PastOrder] = []
        self._ages: list[tuple[float, float, str]] = []  # a heap of those that are over: last word, moment sent, name
        self._newest_out = float("-inf")
        self._shown: tuple[PastOrder, ...] | None = None
        for order in orders:
            self.put(order, new=True)
        self.move_on(now)

    def reaches(self, now: float) -> bool:
        """False when something that fell out is looked back on again, because the clock was set back."""
        return self._newest_out <= now - _KEPT

    def put(self, order: PastOrder, *, new: bool) -> None:
        self._shown = None
        if new:
            insort_right(self._line, order, key=_sent_at)
        else:
            self._line[self._place(order.at, order.client_order_id)] = order
        if order.status.is_final:
            heappush(self._ages, (_last_word(order), order.at, order.client_order_id))

    def move_on(self, now: float) -> None:
        while self._ages and self._ages[0][0] <= now - _KEPT:
            last_word, at, name = heappop(self._ages)
            self._newest_out = max(self._newest_out, last_word)
            del self._line[self._place(at, name)]
            self._shown = None

    def newest_first(self) -> tuple[PastOrder, ...]:
        if self._shown is None:
            self._shown = tuple(reversed(self._line))
        return self._shown

    def _place(self, at: float, name: str) -> int:
        place = bisect_left(self._line, at, key=_sent_at)
        while self._line[place].client_order_id != name:
            place += 1
        return place


class Past:
    """Of one account. `take` its rows in order, from the first; `seq` is the last one taken."""

    def __init__(self) -> None:
        self.seq = 0
        self._orders: dict[str, PastOrder] = {}
        self._needs: dict[str, Decimal] = {}  # of buys that are not over: the most they take, as their cost counts it
        self._worth: dict[str, Decimal] = {}  # of sells that are not over: USD per unit of what they last brought in
        self._reserved: dict[str, Reservation] = {}
        self._books: dict[str, _Book] = {}
        self._peaks: dict[str, Decimal] = {}
        self._sent, self._sweep_at, self._earliest = 0, _SWEEP, float("inf")
        self._window: _Window | None = None
        self._costs: Mapping[str, Basis] | None = None
        self._tops: tuple[str, Mapping[str, Decimal]] | None = None

    def take(self, entry: Entry, body: Mapping[str, Any] | None = None) -> None:
        """Fold in the next row; `body` is its content where the caller has read it already."""
        self.seq = entry.seq
        if entry.kind not in ("decision", "receipt", "settled"):
            return
        told: Mapping[str, Any] = json.loads(entry.body) if body is None else body
        with exact():
            if entry.kind == "decision":
                self._decided(told, entry.at)
            elif entry.kind == "receipt":
                self._heard(told, entry.at)
            else:
                for name in told["gone"]:
                    self._reserved.pop(name, None)

    def reservations(self) -> tuple[Reservation, ...]:
        """Those that still count, as the ledger's state lists them."""
        return tuple(self._reserved.values())

    def history(self, now: float) -> History:
        """What rules see at the moment `now`: it depends on the rows taken and on `now`, and on nothing else."""
        if self._window is None or not self._window.reaches(now):
            self._window = _Window(self._orders.values(), now)
        self._window.move_on(now)
        if self._costs is None:
            books = self._books.items()
            self._costs = MappingProxyType({name: Basis(amount=book.amount, cost=book.usd) for name, book in books})
        first = (date.fromisoformat(_day(now)) - timedelta(days=_DAYS - 1)).isoformat()
        if self._tops is None or self._tops[0] != first:
            # Days after `now` are looked back on too: a clock that was set back forgets nothing.
            self._tops = first, MappingProxyType({day: top for day, top in self._peaks.items() if day >= first})
        return History(now=now, orders=self._window.newest_first(), costs=self._costs, peaks=self._tops[1])

    # ----------------------------------------------------------------------------------------------------------- rows

    def _decided(self, body: Mapping[str, Any], at: float) -> None:
        self._peak(body, at)
        sent, bought, reserved = body["venue_order"], body["purchase"], body["reservation"]
        if sent is None:
            return
        name = body["client_order_id"]
        if reserved is not None:
            reservation = from_plain(reserved, Reservation)
            self._reserved[name] = evolve(reservation, status=SENDING)
            self._needs[name] = reservation.needs
        order = PastOrder(
            client_order_id=name,
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
        self._keep(order, new=True)
        self._sweep(at)

    def _heard(self, body: Mapping[str, Any], at: float) -> None:
        name, status, receipt = body["client_order_id"], OrderStatus(body["status"]), body["receipt"]
        order = self._orders.get(name)
        if order is None or order.status.is_final:  # what comes after the last word changes nothing, in the ledger too
            return
        if name in self._reserved:
            self._reserved[name] = evolve(self._reserved[name], status=status.value, receipt_at=at)
        if receipt is not None:
            order = self._filled(
                order, *(Decimal(receipt[field]) for field in ("filled_amount", "filled_value", "fees"))
            )
        order = order._replace(status=status, heard_at=at)
        if status.is_final:
            order = order._replace(cost=self._taken(order))
            self._needs.pop(name, None)
            self._worth.pop(name, None)
        self._keep(order, new=False)

    def _keep(self, order: PastOrder, *, new: bool) -> None:
        self._orders[order.client_order_id] = order
        if self._window is not None:
            self._window.put(order, new=new)

    # ---------------------------------------------------------------------------------------------------------- fills

    def _filled(self, order: PastOrder, amount: Decimal, value: Decimal, fees: Decimal) -> PastOrder:
        """The order with what it filled since the last word of it booked. What was filled does not unfill."""
        more, worth, paid = amount - order.filled_amount, value - order.filled_value, fees - order.fees
        if more < 0:
            return order
        realised = order.realised
        if order.side is Side.BUY:
            self._add(order, more, worth + paid)
        else:
            realised = self._remove(order, more, worth - paid)
        return order._replace(filled_amount=amount, filled_value=value, fees=fees, realised=realised)

    def _add(self, order: PastOrder, amount: Decimal, paid: Decimal) -> None:
        """Book what a buy got, at the worth of the quote currency that it was judged at."""
        book = self._books.get(order.symbol, _Book(ZERO, ZERO, ZERO))
        needs = self._needs.get(order.client_order_id)
        if not needs or not book.amount + amount:
            return
        usd = paid * order.cost / needs
        self._books[order.symbol] = _Book(book.amount + amount, book.quote + paid, book.usd + usd)
        self._costs = None

    def _remove(self, order: PastOrder, amount: Decimal, brought: Decimal) -> Decimal | None:
        """Take what a sell sold out of the book at its average cost; USD won by the whole order so far."""
        name, book = order.client_order_id, self._books.get(order.symbol)
        if not amount:  # a fee that became known later
            worth = self._worth.get(name)
            return order.realised if worth is None else (order.realised or ZERO) + _rounded(brought * worth)
        if book is None or book.quote <= 0:
            self._worth.pop(name, None)
            return order.realised
        # What was sold beyond the book was not bought here: its cost is not known, and its proceeds do not count.
        sold = min(amount, book.amount)
        quote, usd = _part(book.quote, sold, book.amount), _part(book.usd, sold, book.amount)
        self._worth[name] = sold * book.usd / (amount * book.quote)
        if sold == book.amount:
            del self._books[order.symbol]
        else:
            self._books[order.symbol] = _Book(book.amount - sold, book.quote - quote, book.usd - usd)
        self._costs = None
        return (order.realised or ZERO) + _rounded(brought * self._worth[name]) - usd

    def _taken(self, order: PastOrder) -> Decimal:
        """USD that an order which is over has taken, fees included."""
        if order.status is OrderStatus.FILLED and not order.filled_amount:
            return order.cost  # somebody's word that it filled, without saying for how much
        needs = self._needs.get(order.client_order_id)
        paid = order.filled_value + order.fees if order.side is Side.BUY else order.filled_amount
        return paid * order.cost / needs if needs else ZERO

    # ------------------------------------------------------------------------------------------------------- the rest

    def _peak(self, body: Mapping[str, Any], at: float) -> None:
        equity = (body["summary"] or {}).get("equity")
        doubtful = any(one["rule"] == "gate.facts" and not one["approved"] for one in body["verdicts"])
        if equity is None or doubtful:  # a price that cannot be trusted makes no peak
            return
        day, value = _day(at), Decimal(equity)
        if value > self._peaks.get(day, Decimal("-Infinity")):
            self._peaks[day] = value
            self._tops = None

    def _sweep(self, at: float) -> None:
        """Forget, once in a while, orders that are over and that nobody looks back on.

        Counted from the earliest of the latest orders: one clock that ran ahead for a moment forgets nothing.
        """
        self._sent, self._earliest = self._sent + 1, min(self._earliest, at)
        if self._sent >= self._sweep_at:
            since = self._earliest - _KEPT
            self._orders = {name: order for name, order in self._orders.items() if _last_word(order) > since}
            self._window, self._earliest = None, float("inf")
            self._sweep_at = self._sent + max(_SWEEP, len(self._orders))  # a sweep looks at each of them


def _sent_at(order: PastOrder) -> float:
    return order.at


def _last_word(order: PastOrder) -> float:
    """When an order last mattered; one that is not over matters now."""
    return max(order.at, order.heard_at or order.at) if order.status.is_final else float("inf")


def _day(moment: float) -> str:
    return iso(moment)[:10]


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(_SMALLEST)


def _part(total: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The part's share of a total. All of it is all of the total, so parts never sum to more or less."""
    return total if part == whole else _rounded(total * part / whole)
