"""A process of its own for the tests of the PostgreSQL ledger.

    python child.py '{"notes": "postgresql://..."}'

records a note under each key that it reads, line by line, and answers with the row number or the error.

    python child.py '{"folder": "/somewhere", "values": {...}, "buy": ["a", "b"]}'

submits buys in this order, stops itself between the intent of the first and its send, and when it is woken up goes on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from ordergate import Executor, LedgerError, Order
from ordergate.broker import Broker
from ordergate.clock import SystemClock
from ordergate.desk import Desk
from ordergate.postgres_ledger import PostgresLedger


class RestedClock(SystemClock):
    rested = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.rested


def say(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def notes(url: str) -> None:
    clock = RestedClock()
    ledger = PostgresLedger(url, clock)
    for line in sys.stdin:
        *rested, key = line.split()
        clock.rested += 9.0 * len(rested)
        try:
            say(ledger.append("main", "note", {}, at=0.0, key=key))
        except LedgerError as error:
            say(str(error))
    ledger.close()


def buys(told: dict[str, Any]) -> None:
    real = Desk.place
    stopped: list[bool] = []

    def place(self: Desk, decision: Any, broker: Broker) -> Any:
        if not stopped:
            stopped.append(True)
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(self, decision, broker)

    setattr(Desk, "place", place)  # noqa: B010 - a method in its place
    with Executor.from_values(told["values"], folder=told["folder"]) as executor:
        for client_id in told["buy"]:
            decision = executor.submit(Order.buy("BTC-USD", spend="100.00", client_order_id=client_id))
            codes = [verdict.code for verdict in decision.verdicts if not verdict.approved]
            say({"status": decision.status, "message": decision.message, "codes": codes})


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if "notes" in given:
        notes(given["notes"])
    else:
        buys(given)
