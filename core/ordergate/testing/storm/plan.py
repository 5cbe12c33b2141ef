"""What a storm is: its size, its limits, and every intent of every caller, drawn from the seed.

Callers are threads, numbered through all processes. What a caller asks does not depend on what it was answered, so a
process that was killed can go on where it stopped.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import asdict, frozen

from ordergate.order import Order
from ordergate.testing.simulation.draw import Draw

__all__ = ["RULES", "Intent", "Plan", "draw_intent", "read_plan", "write_plan"]

RULES: Final = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
_FILE: Final = "plan.json"
_PRICE: Final = Decimal(10)


@frozen(kw_only=True)
class Plan:
    """One storm. Every account has a paper venue of its own that starts with `cash` USD, and with so many `coins` at
    10 USD each.
    """

    seed: int = 0
    ledger: str = "sqlite:///ordergate.db"
    processes: int = 4
    threads: int = 2
    intents: int = 12
    """Of each caller."""
    accounts: int = 1
    coins: int = 8
    cash: str = "1000.00"
    cap: int = 3
    """The most positions an account may have."""
    mix: str = "mixed"
    """`mixed`; `burst`: one buy per caller, each in a market of its own; `one_id`: the same order from everybody."""
    hot: bool = False
    """Nine of ten intents go to the first account."""
    noisy: bool = False
    """The first process floods the first account until the callers of all others are through; those leave it alone."""
    kills: int = 0
    """How many times a process is killed with SIGKILL, and started again."""
    halt: bool = False
    """The last caller halts the first account half-way, and resumes it after three quarters of its intents."""
    lower: bool = False
    """Half-way each process goes on with a config whose cap is 1."""
    served: int | None = None
    """Go on until so many calls have been answered in all, instead of `intents` each."""
    least_share: float = 0.5
    """Then the least served caller must get this share of what the most served one gets. Who is given the processors is
    for the operating system to say: where they are busy with something else, less has to do.
    """
    lease: float = 90.0
    """Seconds for which a PostgreSQL ledger lends an account to one gateway, that is to one process."""
    send_within: float = 5.0
    venue: str = "kraken"
    deadline: float = 60.0
    """Seconds for one call to the venue. A machine that is busy with the storm must not look like a silent venue."""

    @property
    def callers(self) -> int:
        return self.processes * self.threads

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"a{number:04d}" for number in range(self.accounts))

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(f"C{number:03d}-USD" for number in range(self.coins))

    def values(self, *, lowered: bool = False) -> dict[str, Any]:
        """The config of every process."""
        prices = {symbol: str(_PRICE) for symbol in self.symbols}
        book = {"venue": self.venue, "cash": self.cash, "prices": prices}
        return {
            "gate": {
                "rules": list(RULES),
                "ledger": self.ledger,
                "sender_lease": Decimal(str(self.lease)),
                "send_within": Decimal(str(self.send_within)),
                "deadline": Decimal(str(self.deadline)),
                "exit_facts": Decimal(str(min(self.deadline, 3.0))),
                "rule_budget": 30,  # nor like a rule that hangs,
                "facts_age": 60,  # nor like old facts
                **({"max_positions": 1} if lowered else {}),
            },
            "tiers": [{"name": "STORM", "equity": "50", "max_positions": self.cap, "min_position": "10"}],
            "accounts": {name: {"broker": "paper", "paper": book} for name in self.names},
        }


@frozen(kw_only=True)
class Intent:
    """One call of one caller. `order` is set for submits, `reference` names the order that a cancel means."""

    do: str
    account: str
    order: Order | None = None
    reference: str = ""


def write_plan(plan: Plan, folder: Path) -> None:
    (folder / _FILE).write_text(json.dumps(asdict(plan), sort_keys=True), encoding="utf-8")


def read_plan(folder: Path) -> Plan:
    return Plan(**json.loads((folder / _FILE).read_text(encoding="utf-8")))


def draw_intent(plan: Plan, caller: int, number: int) -> Intent:
    """The intent of a caller under its own number. Two calls with the same arguments draw the same."""
    draw = Draw("storm", plan.seed, caller, number)
    account = _account(plan, caller, draw)
    if plan.halt and caller == plan.callers - 1 and number in (plan.intents // 2, plan.intents * 3 // 4):
        return Intent(do="halt" if number == plan.intents // 2 else "resume", account=plan.names[0])
    if plan.mix == "burst":
        symbol = plan.symbols[caller % plan.coins]
        order = Order.buy(symbol, spend="100", account=account, client_order_id=_name(caller, number))
        return Intent(do="submit", account=account, order=order)
    if plan.mix == "one_id":
        return Intent(do="submit", account=account, order=_shared(plan, account, number))
    return _mixed(plan, caller, number, account, draw)


def _account(plan: Plan, caller: int, draw: Draw) -> str:
    if plan.noisy:
        loud = caller < plan.threads
        return plan.names[0] if loud else plan.names[1 + draw.below(plan.accounts - 1)]
    if plan.hot and draw.below(10):
        return plan.names[0]
    return draw.choice(plan.names)


def _mixed(plan: Plan, caller: int, number: int, account: str, draw: Draw) -> Intent:
    kind, name = draw.below(100), _name(caller, number)
    symbol = draw.choice(plan.symbols)
    if kind < 45:
        order = Order.buy(symbol, spend=str(60 + draw.below(60)), account=account, client_order_id=name)
    elif kind < 55:  # rests: the price never falls to it
        order = Order.buy(symbol, amount=str(8 + draw.below(6)), limit="9.00", account=account, client_order_id=name)
    elif kind < 72:
        order = Order.sell(symbol, all=True, account=account, client_order_id=name)
    elif kind < 77:
        order = Order.sell(symbol, amount=str(1 + draw.below(5)), account=account, client_order_id=name)
    elif kind < 85:
        order = _shared(plan, account, draw.below(6))
    elif kind < 88:
        other = str(121 + caller)
        order = Order.buy(symbol, spend=other, account=account, client_order_id=f"shared-{draw.below(6)}")
    else:
        earlier = draw_intent(plan, caller, draw.below(number)) if number else None
        if earlier is None or earlier.order is None:
            order = Order.buy(symbol, spend="100", account=account, client_order_id=name)
        elif kind < 93:
            return earlier
        else:
            reference = str(earlier.order.client_order_id)
            return Intent(do="cancel", account=earlier.account, reference=reference)
    return Intent(do="submit", account=account, order=order)


def _shared(plan: Plan, account: str, number: int) -> Order:
    symbol = plan.symbols[number % plan.coins]
    return Order.buy(symbol, spend=str(70 + number), account=account, client_order_id=f"shared-{number}")


def _name(caller: int, number: int) -> str:
    return f"c{caller}-{number}"
