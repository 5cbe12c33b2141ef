"""Runs a module of ours on a gate that is broken on purpose: `broken_gate.py HOW PYTHON -m MODULE ARGUMENTS...`.

Put before a command as the machine it is to run on.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

from attrs import evolve

from ordergate.broker import Broker
from ordergate.exits import Exits
from ordergate.sqlite_ledger import SqliteLedger


def forgets_reservations() -> None:
    """Nobody sees what others have reserved, and no insert is ever stale."""
    state, append = SqliteLedger.state, SqliteLedger.append

    def blind(self: SqliteLedger, account: str) -> Any:
        return evolve(state(self, account), reservations=())

    def never_stale(self: SqliteLedger, *arguments: Any, **named: Any) -> Any:
        return append(self, *arguments, **{**named, "judged_on": None})

    SqliteLedger.state, SqliteLedger.append = blind, never_stale  # type: ignore[method-assign]


def sends_twice() -> None:
    """Every order goes out two times."""
    place = Broker.place_order

    def twice(self: Broker, *arguments: Any) -> Any:
        place(self, *arguments)
        return place(self, *arguments)

    Broker.place_order = twice  # type: ignore[method-assign, assignment]


def forgets_ids() -> None:
    """A repeated sell is taken for a new one, under another id."""
    submit = Exits.submit

    def anew(self: Exits, order: Any) -> Any:
        return submit(self, evolve(order, client_order_id=None))

    Exits.submit = anew  # type: ignore[method-assign]


if __name__ == "__main__":
    how, _, _, module, *arguments = sys.argv[1:]
    {"forgets_reservations": forgets_reservations, "sends_twice": sends_twice, "forgets_ids": forgets_ids}[how]()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")
