"""What every scene works with: a real executor, the paper venues under it, and the recorded path of their prices."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import ordergate_paper as paper
from ordergate.clock import Clock
from ordergate.decision import Decision
from ordergate.demo.folder import CONFIG_NAME
from ordergate.demo.path import Minute, clock_time, read_path
from ordergate.demo.show import AccountLine, Show
from ordergate.errors import InputError, OrdergateError
from ordergate.executor import Executor
from ordergate.models import Receipt
from ordergate.order import Order

__all__ = ["Rehearsal"]

_PATIENCE: Final = 60.0  # seconds for another process to start, or for an order to be settled, before the demo gives up
_LOOK_AGAIN: Final = 0.02


class Rehearsal:
    """One run of the demo. `sound` turns False when something is not as it must be."""

    def __init__(self, folder: Path, show: Show, clock: Clock) -> None:
        self.show, self.clock, self.sound = show, clock, True
        self._config = folder / CONFIG_NAME
        self.executor = Executor.from_config(self._config, clock=clock)
        self.venues = {name: paper.connect(one.settings) for name, one in self.executor.setup.brokers.items()}
        self._path = read_path()
        self._told = dict.fromkeys(self.venues, 0)
        self._now = 0

    def close(self) -> None:
        self.executor.close()

    def restart(self) -> None:
        """A new executor on what is written down, as after a crash."""
        self.executor.close()
        self.executor = Executor.from_config(self._config, clock=self.clock)

    # --------------------------------------------------------------------------------------------------------- prices

    @property
    def time(self) -> str:
        return clock_time(self._path[self._now].moment)

    def walk_to(self, time: str) -> None:
        """Tell every venue the path up to this minute of the recorded day."""
        self._now = next(number for number, minute in enumerate(self._path) if clock_time(minute.moment) == time)
        for account in self.venues:
            self._tell(account, self._path[self._told[account] : self._now + 1])

    def walk_to_the_end(self) -> None:
        self.walk_to(clock_time(self._path[-1].moment))

    def walk_until_a_fill(self, account: str) -> tuple[Receipt, ...]:
        """Tell one venue the path minute by minute until it fills something that rested; empty when it never does."""
        for number in range(self._told[account], len(self._path)):
            self._now = number
            filled = self._tell(account, self._path[number : number + 1])
            if filled:
                return filled
        return ()

    def _tell(self, account: str, minutes: tuple[Minute, ...]) -> tuple[Receipt, ...]:
        venue = self.venues[account]
        symbols = [symbol for symbol in ("BTC-USD", "BTC-USDT") if symbol in venue.settings.prices]
        self._told[account] += len(minutes)
        return paper.replay(venue, [(minute.moment, symbol, minute.close) for minute in minutes for symbol in symbols])

    # --------------------------------------------------------------------------------------------------------- orders

    def buy(self, account: str, symbol: str, client_order_id: str, **sized: str) -> Decision:
        return self.submit(Order.buy(symbol, account=account, client_order_id=client_order_id, **sized))

    def sell_all(self, account: str, symbol: str, client_order_id: str) -> Decision:
        return self.submit(Order.sell(symbol, all=True, account=account, client_order_id=client_order_id))

    def submit(self, order: Order) -> Decision:
        decision = self.executor.submit(order)
        self.show.decision(self.time, decision)
        return decision

    def submit_at_once(self, orders: Iterable[Order]) -> list[Decision]:
        """All of them at the same time, each in a thread of its own; shown in the order in which they are decided."""
        orders = list(orders)
        with ThreadPoolExecutor(len(orders)) as threads:
            running = [threads.submit(self.executor.submit, order) for order in orders]
            decisions = []
            for done in as_completed(running):
                decisions.append(done.result())
                self.show.decision(self.time, decisions[-1])
        return decisions

    def submit_wrong(self, order: Order) -> InputError | None:
        """An order that must be an error, not a decision."""
        try:
            self.submit(order)
        except InputError as error:
            self.show.error(self.time, order, error)
            return error
        return None

    # ------------------------------------------------------------------------------------------------ what is looked up

    def finding(self, text: str, *, holds: bool) -> None:
        self.sound = self.sound and holds
        self.show.finding(text, holds=holds)

    def orders_at(self, account: str) -> int:
        return paper.count_orders(self.venues[account])

    def orders_at_venues(self) -> int:
        return sum(map(self.orders_at, self.venues))

    def recorded_status(self, account: str, client_order_id: str) -> str:
        """What the ledger says of an order: a status, `sending`, or nothing at all."""
        recorded = self.executor.desk.ledger().find(account, client_order_id)
        return "" if recorded is None else recorded.status

    def account_line(self, account: str) -> AccountLine:
        broker = self.executor.setup.brokers[account]
        limits = self.executor.limits("BTC-USDT" if broker.settings.venue == "kraken" else "BTC-USD", account=account)
        summary, band = limits.judgement.summary, limits.band
        if summary.equity is None or summary.tier is None:
            raise OrdergateError(f"the account {account} of the demo has no equity or no tier; run the demo again")
        tier = next(tier for tier in self.executor.config.tiers if tier.name == summary.tier)
        return AccountLine(
            name=account,
            venue=str(broker.settings.venue),
            tier=tier.name,
            equity=summary.equity,
            fee_threshold=broker.profile.fee_threshold.value,
            taker_fee=broker.profile.taker_fee.value,
            positions=len(summary.positions),
            max_positions=tier.max_positions,
            buys_from=band.least * limits.unit if band else None,
            because=tuple(sorted(band.below)) if band else (),
        )

    # ------------------------------------------------------------------------------------------------- other processes

    @contextmanager
    def buying_elsewhere(
        self, account: str, symbol: str, client_order_id: str, spend: str
    ) -> Iterator[Callable[[], None]]:
        """Another process that sends a buy; gives the function that kills it. It never outlives the block."""
        words = [str(self._config), account, symbol, spend, client_order_id]
        process = subprocess.Popen(  # noqa: S603 - our own module, with arguments from this file's callers alone
            [sys.executable, "-P", "-m", "ordergate.demo.buyer", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

        def kill() -> None:
            process.kill()  # SIGKILL: it cannot say goodbye, flush or clean up
            process.wait()

        try:
            before = self.orders_at(account)
            with self.show.waiting("another process is sending an order ..."):
                self.wait_until(lambda: self.orders_at(account) > before or process.poll() is not None)
            if process.poll() is not None:
                errors = process.communicate()[1].decode(errors="replace").strip().splitlines()
                raise OrdergateError(f"the demo's second process ended early: {errors[-1] if errors else 'no message'}")
            yield kill
        finally:
            kill()
            if process.stderr is not None:
                process.stderr.close()

    def wait_until(self, done: Callable[[], bool]) -> bool:
        """Look again and again until it is so; False when it is not within a minute."""
        deadline = self.clock.monotonic() + _PATIENCE
        while not done():
            if self.clock.monotonic() > deadline:
                return False
            self.clock.sleep(_LOOK_AGAIN)
        return True
