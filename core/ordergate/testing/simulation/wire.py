"""The way to the simulated venue, as a broker plugin: what it loses, holds up, garbles and invents on the step's order.

It keeps the promises that `broker_profile` makes, and no others. `broken` says which question fails in this step.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from ordergate.errors import NotSent, RateLimited
from ordergate.hookspecs import hookimpl
from ordergate.models import (
    AccountReport,
    BrokerProfile,
    FeesFrom,
    Figure,
    Market,
    OrderStatus,
    Price,
    Receipt,
    VenueOrder,
)
from ordergate.testing.simulation.exchange import FEE, Taken

if TYPE_CHECKING:
    from ordergate.testing.simulation.world import World

__all__ = ["NAME", "WORLDS", "Settings", "Wire"]

NAME: Final = "simulated"
WORLDS: Final[dict[str, World]] = {}
"""Running simulations by name: a plugin gets settings, and settings are words."""

_FAST, _SLOW, _HANG = 0.05, 2.5, 11.0  # seconds; the last is over every deadline of the gate


@frozen
class Settings:
    """Which running simulation is meant."""

    world: str = ""


class Wire:
    """What `connect` gives: one process's connection."""

    def __init__(self, world: World) -> None:
        self._world = world

    # ----------------------------------------------------------------------------------------------------- questions

    def _ask(self, question: str) -> str:
        """One question's way there and back. Returns how its answer is bent, or raises where there is none."""
        world = self._world
        world.point("venue")
        asked, _, how = world.frame.step.asked.partition(":")
        how = how if asked in (question, "all") else ""
        if world.venue_gone or how == "down":
            world.advance(_FAST)
            raise ConnectionError("the venue is not there")
        world.advance({"slow": _SLOW, "hang": _HANG}.get(how, _FAST))
        world.point("venue")
        return how

    def account(self) -> AccountReport:
        world = self._world
        how = self._ask("account")
        ago = world.scenario.promise.balance_lag * world.frame.step.lag / 2
        report = world.exchange.moment(world.elapsed - ago).report
        if how == "half":
            return evolve(report, holdings=(*report.holdings[:1], *report.holdings[:1]))
        return world.exchange.hidden(report) if how == "hidden" else report

    def prices(self, symbols: Sequence[str]) -> list[Price]:
        how = self._ask("prices")
        known = [self._world.exchange.price(symbol) for symbol in symbols if symbol in self._world.exchange.prices]
        return [evolve(price, bid=price.ask * 2) for price in known] if how == "odd" else known

    def market(self, symbol: str) -> Market | None:
        self._ask("market")
        return self._world.exchange.market(symbol)

    def find(self, order: VenueOrder) -> Receipt | None:
        how = self._ask("find")
        world = self._world
        found = world.exchange.of(order.client_order_id)
        if found and world.frame.blind_now():
            return None
        if found and how == "other":
            return evolve(found[-1].receipt(), symbol="ZZZ-USD")
        return found[-1].receipt() if found else None

    def time(self) -> float:
        self._ask("time")
        return self._world.venue_now()

    def orders(self, since: float) -> list[Receipt]:
        self._ask("list")
        begins = self._world.exchange.begins
        shown = [order for order in self._world.exchange.orders if begins + order.at >= since]
        return [order.receipt() for order in shown]

    # -------------------------------------------------------------------------------------------------------- actions

    def place(self, order: VenueOrder) -> Receipt:
        """Send once. What the step says of the wire happens to the first order of the step."""
        world = self._world
        how = world.frame.wire_now("place")
        world.point("venue")
        obstacle = self._obstacle(order, how)
        if obstacle:
            world.watch.sees_refusal(order)
            raise NotSent(obstacle)
        world.watch.sees_sending(order)
        if how in ("late", "never", "hang_never", "limited", "reject"):
            return self._not_taken(order, how)
        world.advance(_FAST / 2)
        taken = world.exchange.take(order, world.elapsed, Decimal("0.5") if how == "partial" else Decimal(1))
        world.point("venue")
        world.advance(_SLOW if how == "slow" else _HANG if how == "hang_taken" else _FAST / 2)
        if how == "lost":
            raise ConnectionResetError("the connection was reset")
        if isinstance(taken, str):
            world.watch.sees_refusal(order)
            return _rejected(order, taken)
        return self._told(taken, how)

    def _obstacle(self, order: VenueOrder, how: str) -> str:
        """Why nothing leaves this machine."""
        if self._world.venue_gone:
            return "no route to the venue"
        if how == "not_sent":
            return "the certificate is not the venue's"
        return "its send-by time is over" if self._world.clock.now() > order.send_by else ""

    def _not_taken(self, order: VenueOrder, how: str) -> Receipt:
        """Bytes left, and the venue has no order of it now."""
        world = self._world
        if how == "reject":
            world.watch.sees_refusal(order)
            return _rejected(order, "closed")
        if how == "limited":
            raise RateLimited(5.0, "asked too often")
        if how == "late":
            world.exchange.send(order, world.elapsed + world.frame.step.seconds)
        world.advance(_HANG if how == "hang_never" else _FAST)
        raise TimeoutError("no answer")

    def cancel(self, order: VenueOrder) -> Receipt:
        world = self._world
        how = world.frame.wire_now("cancel")
        world.point("venue")
        if world.venue_gone:
            raise ConnectionError("the venue is not there")
        world.watch.sees_cancel(order)
        if how == "never":
            world.advance(_FAST)
            raise ConnectionResetError("the connection was reset")
        if how == "crossing":
            world.exchange.cross(order.client_order_id, world.elapsed)
        found = world.exchange.cancel(order.client_order_id, world.elapsed)
        world.point("venue")
        world.advance(_HANG if how == "hang_taken" else _FAST)
        if how == "lost":
            raise ConnectionResetError("the connection was reset")
        if found is None:
            raise LookupError("the venue knows no such order")
        return self._told(found, how)

    def _told(self, taken: Taken, how: str) -> Receipt:
        receipt = taken.receipt()
        if how == "other_id":
            return evolve(receipt, client_order_id="00000000-0000-0000-0000-000000000000")
        if how == "other_size":
            return evolve(receipt, amount=Decimal(77), spend=Decimal(77))
        if how == "garbage":
            raise KeyError("order_id")
        return receipt


def _rejected(order: VenueOrder, code: str) -> Receipt:
    return Receipt(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        status=OrderStatus.REJECTED,
        code=code,
        message="not taken",
    )


# ------------------------------------------------------------------------------------------------- what the gate calls


@hookimpl
def broker_settings() -> type[Settings]:
    return Settings


@hookimpl
def broker_profile(settings: Settings) -> BrokerProfile:
    promise = WORLDS[settings.world].scenario.promise
    fee = Figure(FEE, "the simulation", "2026-11-22")
    return BrokerProfile(
        venue=NAME,
        fee_threshold=Figure(Decimal(5), "the simulation", "2026-11-22"),
        maker_fee=fee,
        taker_fee=fee,
        fees_from=FeesFrom.ON_TOP,
        id_promise=promise.ids,
        absence=promise.absence,
        honoured=promise.honoured,
        balance_lag=promise.balance_lag,
        absence_looks=promise.absence_looks,
        rests_on="the simulation keeps what it promises",
    )


@hookimpl
def connect(settings: Settings) -> Wire:
    world = WORLDS[settings.world]
    world.point("venue")
    if world.frame.step.asked == "connect:down":
        raise ConnectionError("no client could be made")
    return Wire(world)


@hookimpl
def get_account(client: Wire) -> AccountReport:
    return client.account()


@hookimpl
def get_prices(client: Wire, symbols: Sequence[str]) -> list[Price]:
    return client.prices(symbols)


@hookimpl
def get_market(client: Wire, symbol: str) -> Market | None:
    return client.market(symbol)


@hookimpl
def get_time(client: Wire) -> float:
    return client.time()


@hookimpl
def place_order(client: Wire, order: VenueOrder) -> Receipt:
    return client.place(order)


@hookimpl
def find_order(client: Wire, order: VenueOrder) -> Receipt | None:
    return client.find(order)


@hookimpl
def cancel_order(client: Wire, order: VenueOrder) -> Receipt:
    return client.cancel(order)


@hookimpl
def list_orders(client: Wire, since: float) -> list[Receipt]:
    return client.orders(since)
