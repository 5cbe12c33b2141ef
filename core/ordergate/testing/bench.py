"""A gate on a rehearsal venue, with a clock that is moved where a check would otherwise have to wait.

The gate is the real one: executor, ledger, settlement and the broker's own hooks. Each `Stage` has a ledger and a
client of its own; all stages of one bench stand before the same venue.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field

from ordergate.broker import Broker
from ordergate.clock import SystemClock
from ordergate.decision import Decision
from ordergate.errors import ConfigError, InputError
from ordergate.executor import Executor
from ordergate.models import OrderStatus, Receipt, VenueOrder
from ordergate.order import Order
from ordergate.plugins import Hook
from ordergate.records import canonical
from ordergate.testing.rehearsal import Rehearsal

__all__ = ["ACCOUNT", "LONG", "SEND_WITHIN", "SHORT", "SPEND", "Bench", "MovedClock", "NotTried", "Stage", "expect"]

ACCOUNT: Final = "main"
SPEND: Final = Decimal("11.37")
"""What the checks buy for: over every venue's minimum, small enough for a hundred of them, and in odd cents."""
LONG: Final = Decimal(20)
"""Seconds a call may take where nothing is told to hang: a busy machine must not look like a silent venue."""
SHORT: Final = Decimal("2.5")
"""Seconds a call may take where something is told to hang."""
SEND_WITHIN: Final = 30
_PATIENCE: Final = 5.0
_LOOKS: Final = 100


class NotTried(Exception):
    """A check that says nothing here, and why: the venue cannot act it out, or has no such thing."""


def expect(holds: bool, why: str) -> None:  # noqa: FBT001 - reads as the assertion that it is
    """Raise AssertionError unless it holds; `why` says what was seen instead."""
    if not holds:
        raise AssertionError(why)


class MovedClock(SystemClock):
    """The machine's own clock, `ahead` by some seconds; sleeping moves it and takes no time."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += seconds


@define(eq=False)
class Bench:
    """One broker before one rehearsal venue. `said` is all that broker and gate were heard to say, for the search for
    secrets.
    """

    name: str
    rehearsal: Rehearsal
    folder: Path
    said: list[str] = field(factory=list)
    _stages: list[Stage] = field(factory=list)
    _made: int = 0

    def stage(self, *, deadline: Decimal = LONG) -> Stage:
        """A gate with an empty ledger and a client of its own, which is connected already."""
        self._made += 1
        folder = self.folder / f"stage-{self._made}"
        folder.mkdir()
        gate = {
            "rules": ["position_cap"],
            "deadline": deadline,
            "exit_facts": deadline,
            "send_within": SEND_WITHIN,
            "facts_age": 60,
            "at_par": list(self.rehearsal.at_par),
            **self.rehearsal.gate,
        }
        account = {"broker": self.name, self.name: dict(self.rehearsal.settings)}
        clock = MovedClock()
        executor = Executor.from_values({"gate": gate, "accounts": {ACCOUNT: account}}, folder=folder, clock=clock)
        if ACCOUNT in executor.setup.broken:
            raise ConfigError(executor.setup.broken[ACCOUNT])
        if executor.setup.problems:
            raise ConfigError(executor.setup.problems)
        _move_along(executor.setup.brokers[ACCOUNT], clock)
        stage = Stage(bench=self, executor=executor, clock=clock, broker=executor.setup.brokers[ACCOUNT])
        self._stages.append(stage)
        stage.broker.client(60.0)  # importing an SDK takes its time, which is no part of any call
        return stage

    def fail(self, name: str, *, on: str, **told: Any) -> None:
        """Tell the venue to fail. Raises NotTried where it cannot act that out."""
        if name not in self.rehearsal.faults:
            raise NotTried(f"the rehearsal venue does not know {name}")
        try:
            self.rehearsal.fail(name, on=on, **told)
        except InputError as error:
            raise NotTried(error.fix) from error

    def sends(self) -> int:
        """How many requests that could make an order have reached the venue."""
        return self.rehearsal.requests()

    def theirs(self, client_order_id: str) -> list[Receipt]:
        """The venue's orders under an id on the wire."""
        return [order for order in self.rehearsal.orders() if order.client_order_id == client_order_id]

    def calm(self) -> None:
        """Let the venue behave, and let every call that was abandoned come to its end."""
        self.rehearsal.clear()
        for thread in threading.enumerate():
            if thread.name == "ordergate-call":
                thread.join(_PATIENCE)

    def close(self) -> None:
        """Close all stages as they stand."""
        self.calm()
        for stage in self._stages:
            stage.executor.close()
        self._stages.clear()

    def end(self) -> None:
        """What a check leaves behind: nothing that rests, and what was said."""
        self.calm()
        for stage in self._stages:
            for recorded in stage.executor.desk.ledger().unfinished(ACCOUNT):
                stage.executor.cancel(recorded.client_order_id)
            self.said += [entry.body for entry in stage.executor.desk.ledger().entries()]
            self.said.append(repr(stage.broker.client(60.0)))
        self.close()


def _move_along(broker: Broker, clock: MovedClock) -> None:
    """Let the venue's clock, as the broker tells it, go ahead with the gate's: time passes for both alike.

    The venue itself stays in the present, where what the broker signs is good.
    """
    hook = broker.plugin.hooks.get("get_time")
    if hook is None:
        return

    def get_time(**values: Any) -> Any:
        told = hook.call(values)
        return told + clock.ahead if isinstance(told, int | float) else told

    moved = Hook(hook.name, get_time, hook.arguments)
    plugin = evolve(broker.plugin, hooks={**broker.plugin.hooks, hook.name: moved})
    object.__setattr__(broker, "plugin", plugin)  # frozen for everybody but this stand-in for the passing of time


@define(eq=False)
class Stage:
    """One gate on the bench's venue."""

    bench: Bench
    executor: Executor
    clock: MovedClock
    broker: Broker

    @property
    def symbol(self) -> str:
        return self.bench.rehearsal.symbol

    def buy(self, spend: Decimal | None = SPEND, **terms: Any) -> Decision:
        """Submit a buy; of SPEND at the market unless told otherwise."""
        return self.submit(Order.buy(self.symbol, spend=spend, **terms))

    def sell(self, **terms: Any) -> Decision:
        return self.submit(Order.sell(self.symbol, **terms))

    def submit(self, order: Order) -> Decision:
        decision = self.executor.submit(order)
        self.bench.said.append(canonical(decision))
        return decision

    def reconcile(self) -> None:
        """Have everything open settled, as `ordergate reconcile` does."""
        settled = self.executor.reconcile(ACCOUNT)[ACCOUNT]
        self.bench.said += [one.message for one in settled]

    def again(self, decision: Decision) -> Decision:
        """What is recorded of an order now. Repeating it must never send it: the gate answers from its ledger."""
        repeated = self.executor.submit(decision.order)
        expect(repeated.replayed, "the gate took a repeated order for a new one")
        return repeated

    def pass_arrival(self) -> None:
        """Move the clock past the moment up to which anything sent now could still arrive."""
        self.clock.ahead += SEND_WITHIN + self.broker.profile.honoured + self.executor.config.gate.clock_skew + 2

    def venue_order(self, **terms: Any) -> VenueOrder:
        """An order as the executor would hand it to the broker, for calls that go past the gate's own checks."""
        new_id = self.clock.new_id()
        groups = (new_id[:8], new_id[8:12], new_id[12:16], new_id[16:20], new_id[20:])
        given: dict[str, Any] = {
            "account": ACCOUNT,
            "symbol": self.symbol,
            "spend": None,
            "amount": None,
            "limit": None,
            "client_order_id": "-".join(groups),
            "send_by": self.clock.now() + SEND_WITHIN,
            **terms,
        }
        return VenueOrder(**given)

    def alarms(self) -> Sequence[str]:
        """The alarms in the journal, as they stand there."""
        return [entry.body for entry in self.executor.desk.ledger().entries(ACCOUNT) if entry.kind == "alarm"]

    def wait_for(self, client_order_id: str, status: OrderStatus | None = None) -> list[Receipt]:
        """The venue's orders under an id, as soon as there is one: what is let go arrives in a thread of the venue."""
        pause = threading.Event()
        for _ in range(_LOOKS):
            found = self.bench.theirs(client_order_id)
            if found and (status is None or found[-1].status is status):
                return found
            pause.wait(0.01)
        return self.bench.theirs(client_order_id)
