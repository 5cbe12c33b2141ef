"""The truth: what the simulated venue holds, whatever it may say. Balances, orders, fills, and what is on its way.

Nothing here knows of the gate. Time is the venue's own: seconds since the run began.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from attrs import define, evolve, field, frozen

from ordergate.amounts import ZERO, round_down
from ordergate.models import (
    AccountReport,
    Holding,
    IdPromise,
    Market,
    OpenOrder,
    OrderStatus,
    Price,
    Receipt,
    Side,
    VenueOrder,
)
from ordergate.testing.simulation.steps import SYMBOLS, Promise

__all__ = ["CENT", "DUST", "FEE", "IDENTITY", "STEP", "Exchange", "Moment", "Taken", "Travelling"]

IDENTITY: Final = "funds-1"
FEE: Final = Decimal("0.001")
STEP: Final = Decimal("0.0001")
CENT: Final = Decimal("0.01")
DUST: Final = Decimal(1)
SPREAD: Final = Decimal("0.01")


@define(kw_only=True)
class Taken:
    """An order that the venue took."""

    order_id: str
    wire_id: str | None
    symbol: str
    side: Side
    spend: Decimal | None
    amount: Decimal | None
    limit: Decimal | None
    worst: Decimal
    """The price at which money is bound for it."""
    at: float
    status: OrderStatus = OrderStatus.OPEN
    final_at: float | None = None
    left: Decimal = ZERO
    filled: Decimal = ZERO
    value: Decimal = ZERO
    fees: Decimal = ZERO

    def receipt(self) -> Receipt:
        return Receipt(
            client_order_id=str(self.wire_id),
            symbol=self.symbol,
            side=self.side,
            status=self.status,
            order_id=self.order_id,
            filled_amount=self.filled,
            filled_value=self.value,
            fees=self.fees,
            spend=self.spend,
            amount=self.amount,
            limit=self.limit,
        )


@frozen
class Travelling:
    """An order that left the gate and will reach the venue at a moment, unless the venue refuses it by then."""

    arrives: float
    order: VenueOrder


@frozen
class Moment:
    """How things stood from a moment on."""

    at: float
    report: AccountReport
    bids: dict[str, Decimal]

    def held(self) -> frozenset[str]:
        """Currencies that are positions."""
        return frozenset(
            held.currency
            for held in self.report.holdings
            if held.currency in self.bids and held.total * self.bids[held.currency] >= DUST
        )

    def bid_for_by_hand(self) -> frozenset[str]:
        """Currencies that a person has a resting buy for."""
        theirs = [one for one in self.report.open_orders if one.client_order_id is None and one.side is Side.BUY]
        return frozenset(one.symbol.split("-")[0] for one in theirs)

    def equity(self) -> Decimal:
        return sum((held.total * self.bids.get(held.currency, Decimal(1)) for held in self.report.holdings), ZERO)

    def free(self, currency: str) -> Decimal:
        return next((held.available for held in self.report.holdings if held.currency == currency), ZERO)


@define
class Exchange:
    """One account at one venue."""

    promise: Promise
    begins: float
    """What the venue's clock says at the beginning of the run, seconds since the epoch."""
    cash: Decimal
    holds: Decimal
    """Of the first currency, when the run begins."""
    orders: list[Taken] = field(factory=list)
    travelling: list[Travelling] = field(factory=list)
    history: list[Moment] = field(factory=list)
    out_of_funds: list[str] = field(factory=list)
    """Ids on the wire of orders that were turned away because the money was not there."""
    foreign_at: float = -1.0
    """When a person last moved money here."""
    prices: dict[str, Decimal] = field(factory=lambda: dict.fromkeys(SYMBOLS, Decimal(10)))
    free: dict[str, Decimal] = field(factory=dict)
    hold: dict[str, Decimal] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.free["USD"] = self.cash
        if self.holds:
            self.free[SYMBOLS[0].split("-")[0]] = self.holds
        self.remember(0.0)

    # ------------------------------------------------------------------------------------------------------- markets

    def market(self, symbol: str) -> Market | None:
        if symbol not in self.prices:
            return None
        base, quote = symbol.split("-")
        return Market(
            symbol=symbol,
            base=base,
            quote=quote,
            amount_step=STEP,
            spend_step=CENT,
            price_step=CENT,
            min_amount=STEP,
            min_spend=DUST,
        )

    def price(self, symbol: str) -> Price:
        bid = self.prices[symbol]
        return Price(symbol=symbol, bid=bid, ask=bid + SPREAD)

    def move(self, symbol: str, factor: Decimal, now: float) -> None:
        """Another price; what rests is filled as far as it is reached, the first time by half."""
        self.prices[symbol] = max(CENT, round_down(self.prices[symbol] * factor, CENT))
        price = self.price(symbol)
        for order in self.resting():
            if order.symbol == symbol and order.limit is not None:
                reached = price.ask <= order.limit if order.side is Side.BUY else price.bid >= order.limit
                if reached:
                    half = round_down(order.left / 2, STEP)
                    self._fill(order, order.left if order.filled or not half else half, order.limit, now)
        self.remember(now)

    # -------------------------------------------------------------------------------------------------------- orders

    def resting(self) -> Iterator[Taken]:
        return (order for order in tuple(self.orders) if not order.status.is_final)

    def of(self, wire_id: str) -> list[Taken]:
        """Every order that was taken under an id: more than one where the id was used again."""
        return [order for order in self.orders if order.wire_id == wire_id]

    def arrives_in_time(self, order: VenueOrder, at: float) -> bool:
        return self.begins + at <= order.send_by + self.promise.honoured

    def take(self, order: VenueOrder, now: float, share: Decimal) -> Taken | str:
        """Take an order that has arrived; a word says why it was not taken. `share`: of what is reached, fill so much.

        A repeated id is answered with the first order where the venue promises that.
        """
        known = self.of(order.client_order_id)
        if known and (
            self.promise.ids is IdPromise.ALWAYS_UNIQUE
            or (self.promise.ids is IdPromise.UNIQUE_WHILE_OPEN and not known[-1].status.is_final)
        ):
            return known[-1]
        if not self.arrives_in_time(order, now):
            return "deadline"
        return self._accept(order, order.client_order_id, now, share)

    def by_hand(self, order: VenueOrder, now: float) -> Taken | str:
        """The same for a person at the venue's own page: no id, and nothing that the gate knows of."""
        self.foreign_at = now
        return self._accept(order, None, now, Decimal(1))

    def _accept(self, order: VenueOrder, wire_id: str | None, now: float, share: Decimal) -> Taken | str:
        base, quote = order.symbol.split("-")
        price = self.price(order.symbol)
        buys = order.side is Side.BUY
        at = price.ask if buys else price.bid
        amount = order.amount if order.amount is not None else round_down((order.spend or ZERO) / at, STEP)
        worst = order.limit if order.limit is not None else at
        needs = amount * worst * (1 + FEE) if buys else amount
        if amount <= 0 or needs > self.free.get(quote if buys else base, ZERO):
            if wire_id is not None and buys:
                self.out_of_funds.append(wire_id)
            return "funds"
        taken = Taken(
            order_id=f"V{len(self.orders) + 1}",
            wire_id=wire_id,
            symbol=order.symbol,
            side=order.side,
            spend=order.spend,
            amount=order.amount,
            limit=order.limit,
            worst=worst,
            at=now,
            left=amount,
        )
        self.orders.append(taken)
        self._bind(taken)
        reached = order.limit is None or (order.limit >= price.ask if buys else order.limit <= price.bid)
        if reached:
            self._fill(taken, max(STEP, round_down(amount * share, STEP)), at, now)
            if order.limit is None and taken.left:
                self._end(taken, OrderStatus.CANCELLED, now)
        self.remember(now)
        return taken

    def cancel(self, wire_id: str, now: float) -> Taken | None:
        """Cancel what is left of the newest order under the id."""
        found = self.of(wire_id)
        if not found:
            return None
        if not found[-1].status.is_final:
            self._end(found[-1], OrderStatus.CANCELLED, now)
            self.remember(now)
        return found[-1]

    def cancel_by_hand(self, order: Taken, now: float) -> None:
        self._end(order, OrderStatus.CANCELLED, now)
        self.remember(now)

    def cross(self, wire_id: str, now: float) -> None:
        """Fill whatever rests under the id at its own limit: somebody wanted it just then."""
        for order in self.of(wire_id):
            if not order.status.is_final and order.limit is not None:
                self._fill(order, order.left, order.limit, now)
        self.remember(now)

    # --------------------------------------------------------------------------------------------------------- books

    def _bound(self, order: Taken) -> tuple[str, Decimal]:
        base, quote = order.symbol.split("-")
        return (quote, order.left * order.worst * (1 + FEE)) if order.side is Side.BUY else (base, order.left)

    def _bind(self, order: Taken) -> None:
        currency, amount = self._bound(order)
        self.free[currency] = self.free.get(currency, ZERO) - amount
        self.hold[currency] = self.hold.get(currency, ZERO) + amount

    def _release(self, order: Taken) -> None:
        currency, amount = self._bound(order)
        self.free[currency] += amount
        self.hold[currency] -= amount

    def _fill(self, order: Taken, amount: Decimal, price: Decimal, now: float) -> None:
        self._release(order)
        amount = min(amount, order.left)
        value = amount * price
        base, quote = order.symbol.split("-")
        sign = 1 if order.side is Side.BUY else -1
        self.free[base] = self.free.get(base, ZERO) + sign * amount
        self.free[quote] = self.free.get(quote, ZERO) - sign * value - value * FEE
        order.left -= amount
        order.filled += amount
        order.value += value
        order.fees += value * FEE
        order.status = OrderStatus.PARTLY_FILLED
        self._bind(order)
        if not order.left:
            order.status, order.final_at = OrderStatus.FILLED, now

    def _end(self, order: Taken, status: OrderStatus, now: float) -> None:
        self._release(order)
        order.left = ZERO
        order.status, order.final_at = status, now

    # -------------------------------------------------------------------------------------------------------- history

    def remember(self, now: float) -> None:
        self.history.append(Moment(now, self._report(), {one.split("-")[0]: bid for one, bid in self.prices.items()}))

    def moment(self, at: float) -> Moment:
        """How things stood then."""
        return next((moment for moment in reversed(self.history) if moment.at <= at), self.history[0])

    def between(self, begin: float, end: float) -> list[Moment]:
        """Everything that was true at some time between the two."""
        later = [moment for moment in self.history if begin < moment.at <= end]
        return [self.moment(begin), *later]

    def _report(self) -> AccountReport:
        names = {**self.free, **self.hold}
        holdings = tuple(
            Holding(currency=name, available=self.free.get(name, ZERO), hold=self.hold.get(name, ZERO))
            for name in names
        )
        resting = tuple(
            OpenOrder(
                order_id=order.order_id,
                symbol=order.symbol,
                side=order.side,
                amount_left=order.left,
                limit=order.limit,
                client_order_id=order.wire_id,
            )
            for order in self.resting()
        )
        return AccountReport(identity=IDENTITY, holdings=holdings, open_orders=resting)

    def hidden(self, report: AccountReport) -> AccountReport:
        """A list of open orders from which the gate's own are missing."""
        return evolve(report, open_orders=tuple(one for one in report.open_orders if one.client_order_id is None))

    # ------------------------------------------------------------------------------------------------------ on the way

    def send(self, order: VenueOrder, arrives: float) -> None:
        self.travelling.append(Travelling(arrives, order))

    def deliver(self, now: float) -> None:
        """Let everything arrive that is due."""
        for one in sorted((one for one in self.travelling if one.arrives <= now), key=lambda one: one.arrives):
            self.travelling.remove(one)
            self.take(one.order, one.arrives, Decimal(1))

    def may_arrive(self, wire_id: str) -> bool:
        return any(
            one.order.client_order_id == wire_id and self.arrives_in_time(one.order, one.arrives)
            for one in self.travelling
        )
