"""Orders at the venue that the gate never sent, or took for absent: noticed, told of, and where the config says so, a
stop.

Open ones show in the facts of every decision. Finished ones of the last day are looked for once per process and
account, before its first buy: a ledger that was lost, or restored from a backup, leaves such orders behind.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from ordergate.alarms import Alarms
from ordergate.broker import Broker
from ordergate.clock import Clock
from ordergate.errors import BrokerError
from ordergate.facts import Facts
from ordergate.fitness import Stop
from ordergate.ledger import Ledger
from ordergate.models import Receipt
from ordergate.settings import Gate
from ordergate.store import Store

__all__ = ["Strangers"]

_DAY: Final = 86_400.0


class Strangers:
    """One per executor. Safe to share between threads."""

    def __init__(self, store: Store, alarms: Alarms, gate: Gate, clock: Clock) -> None:
        self._store, self._alarms, self._gate, self._clock = store, alarms, gate, clock
        self._left_behind: dict[str, set[str]] = {}
        self._counted: dict[str, tuple[Facts, int]] = {}
        self._looked_back: set[str] = set()
        self._looking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def stops(self, broker: Broker, facts: Facts) -> list[Stop]:
        """Alarms for open orders the gate never sent, each once, and the stop that the config may ask for."""
        open_orders = facts.report.open_orders if facts.report else ()
        if not open_orders:
            return []
        known, foreign = self._counted.get(broker.account, (None, 0))
        if known is not facts:  # further decisions on the same facts see the same orders
            seen = {order.order_id: (order.client_order_id, f"{order.side} {order.symbol}") for order in open_orders}
            foreign = self._report(broker.account, seen, alive=True)
            self._counted[broker.account] = (facts, foreign)
        if not foreign or self._gate.foreign_orders == "alarm":
            return []
        return [("foreign_orders", f"The venue shows {foreign} open order(s) that the gate never sent.")]

    def look_back_once(self, broker: Broker) -> None:
        """Look back, unless this process already has."""
        with self._looking[broker.account]:  # nobody goes on before the first has seen what is there
            if broker.account not in self._looked_back and self.look_back(broker):
                self._looked_back.add(broker.account)

    def look_back(self, broker: Broker) -> bool:
        """Alarms for the orders of the last day, finished ones too, since the account was bound to this ledger. False
        when that could not be seen.
        """
        ledger, account = self._store.ledger(), broker.account
        bound = next((entry.at for entry in ledger.entries(account) if entry.kind == "bound"), None)
        if bound is None:
            return False
        day = self._clock.now() - _DAY
        try:
            receipts = broker.list_orders(day) or ()
            # What was there before this ledger knew the account is no news; without any it need not be told apart.
            if self._remember(ledger, account, receipts) and bound > day:
                receipts = broker.list_orders(bound) or ()
        except BrokerError:
            # What is still open was looked at with the facts; for the rest the next buy asks again.
            return False
        seen = {str(one.order_id): (one.client_order_id, f"{one.side} {one.symbol}") for one in receipts}
        self._report(account, seen)
        return True

    def left_behind(self, account: str) -> bool:
        """Whether the venue has orders that the ledger knows nothing of; `left_behind_as` tells of one."""
        return bool(self._left_behind.get(account))

    def left_behind_as(self, account: str, on_wire: str) -> bool:
        """Whether the venue already has an order with this id on the wire that the ledger knows nothing of."""
        return on_wire in self._left_behind.get(account, ())

    def _remember(self, ledger: Ledger, account: str, receipts: Iterable[Receipt]) -> bool:
        """Keep the ids on the wire that the venue has and the ledger does not know: they must not be sent again. False
        when there are none.
        """
        there = {one.client_order_id for one in receipts}
        self._left_behind[account] = there - ledger.known_wire_ids(account, tuple(filter(None, there)))
        return bool(self._left_behind[account])

    def _report(self, account: str, seen: Mapping[str, tuple[str | None, str]], *, alive: bool = False) -> int:
        """Alarm for each venue order whose id on the wire the ledger does not know; how many there are.

        `alive`: they are open now, so the ledger must not say that they never arrived either.
        """
        wires = tuple(wire for wire, _ in seen.values() if wire)
        ours = self._store.ledger().known_wire_ids(account, wires, alive=alive)
        foreign = {order_id: what for order_id, (wire, what) in seen.items() if wire not in ours}
        for order_id, what in foreign.items():
            if self._alarms.first(("foreign", account, order_id)):
                text = f"the venue shows an order the gate never sent, or took for absent: {what}, order {order_id}"
                self._alarms.raise_one(account, "foreign_order", text, key=f"foreign:{order_id}")
        return len(foreign)
