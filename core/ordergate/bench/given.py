"""What the cases share: a gate with the five rules on a broker at hand, the inputs of one decision, its record.

Every account has 150,000 USD, 100,000 of them in positions, and buys BTC, which it holds, for 8,000: every rule
approves it with numbers to compare.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from importlib import invalidate_caches
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from ordergate.amounts import exact
from ordergate.bench.at_hand import NAME, Venue
from ordergate.bench.measure import CLOCK
from ordergate.broker import wire_id
from ordergate.executor import Executor
from ordergate.facts import FactsReader
from ordergate.hookspecs import BROKER
from ordergate.journal import Entry, link
from ordergate.judge import Inputs, judge
from ordergate.ledger import Ledger, Reservation, open_ledger
from ordergate.models import OrderStatus, Receipt, Side, VenueOrder
from ordergate.order import Order
from ordergate.outcome import as_recorded, judged
from ordergate.records import canonical, to_plain
from ordergate.settlement import receipt_body
from ordergate.valuation import value

__all__ = [
    "ACCOUNT",
    "SMALL",
    "SPEND",
    "Body",
    "buy",
    "chained",
    "decision_body",
    "gate",
    "inputs_of",
    "ledger_in",
    "reservation",
    "venue",
]

ACCOUNT: Final = "main"
ONE: Final = Decimal(1)
SYMBOL: Final = "BTC-USD"
FIVE: Final = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
SPEND: Final = "8000"
SMALL: Final = "8"
"""USD: a size that all minimums refuse."""

_MODULE: Final = "ordergate.bench.at_hand"


@contextmanager
def offered(folder: Path) -> Iterator[None]:
    """Let the gate find the broker at hand among what is installed, as long as the block runs."""
    info = folder / "ordergate_at_hand-0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ordergate-at-hand\nVersion: 0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{BROKER.group}]\n{NAME} = {_MODULE}\n", encoding="utf-8")
    sys.path.insert(0, str(folder))
    invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def gate(folder: Path, *, positions: int = 8, open_orders: int = 0, **settings: object) -> Iterator[Executor]:
    """An executor with an empty ledger in the folder; `settings` are keys of `[gate]`."""
    values = {
        "gate": {"rules": list(FIVE), **settings},
        "accounts": {ACCOUNT: {"broker": NAME, NAME: {"positions": positions, "open_orders": open_orders}}},
    }
    with offered(folder):
        made = Executor.from_values(values, folder=folder)
    with made as executor:
        setup = executor.setup
        wrong = [*setup.problems, *setup.refusals, *setup.broken.get(ACCOUNT, ())]
        if wrong:
            raise ValueError("; ".join(map(str, wrong)))
        yield executor


def buy(*, spend: str = SPEND, name: str | None = None) -> Order:
    """The order that is judged, from words, as callers send it."""
    return Order.from_mapping({"symbol": SYMBOL, "side": "buy", "spend": spend, "client_order_id": name})


def inputs_of(executor: Executor, *, spend: str = SPEND, reservations: tuple[Reservation, ...] = ()) -> Inputs:
    """One decision's inputs: everything that judging needs, at hand."""
    broker = executor.setup.brokers[ACCOUNT]
    with exact():
        facts = FactsReader(broker, executor.config.gate, CLOCK).read(SYMBOL)
        valuation = value(facts, executor.config.gate, broker.profile)
    return Inputs(
        account=ACCOUNT,
        order=evolve(buy(spend=spend), account=ACCOUNT),
        gate=executor.config.gate,
        tiers=executor.config.tiers,
        profile=broker.profile,
        valuation=valuation,
        age=0.0,
        reservations=reservations,
    )


def reservation(name: str) -> Reservation:
    """A claim of one dollar on the currency that is bought."""
    return Reservation(
        client_order_id=name,
        wire_id=wire_id("at-hand", name),
        symbol=SYMBOL,
        gives="USD",
        takes="BTC",
        needs=ONE,
        size=ONE,
    )


def venue(executor: Executor) -> Venue:
    """The venue behind the gate."""
    client: Venue = executor.setup.brokers[ACCOUNT].client(1.0)
    return client


@contextmanager
def ledger_in(folder: Path, name: str = "ledger.db") -> Iterator[Ledger]:
    """An empty ledger in the folder."""
    ledger = open_ledger(f"sqlite:///{name}", folder, CLOCK)
    try:
        yield ledger
    finally:
        ledger.close()


def chained(rows: Iterable[tuple[str, str, float, str | None, str]]) -> Iterator[Entry]:
    """Journal rows from (account, kind, at, key, body), numbered and chained; the rows of an account in a row."""
    account, seq, head = "", 0, ""
    for name, kind, at, key, body in rows:
        if name != account:
            account, seq, head = name, 0, ""
        seq += 1
        head = link(head, name, seq, kind, at, key, body)
        yield Entry(name, seq, kind, at, key, body, head)


@frozen
class Body:
    """The body of a decision's journal row, for any id; all else is as the executor records it."""

    values: Mapping[str, Any]
    order: Mapping[str, Any]
    venue_order: Mapping[str, Any]

    def named(self, name: str, *, reserves: bool = True) -> dict[str, object]:
        sent = {**self.venue_order, "client_order_id": wire_id("at-hand", name)} if reserves else None
        claim = to_plain(reservation(name)) if reserves else None
        order = {**self.order, "client_order_id": name}
        return {**self.values, "client_order_id": name, "order": order, "venue_order": sent, "reservation": claim}

    def receipt(self, name: str, status: OrderStatus) -> dict[str, object]:
        """What the venue said of it, as the executor records it."""
        heard = Receipt(client_order_id=wire_id("at-hand", name), symbol=SYMBOL, side=Side.BUY, status=status)
        return receipt_body(name, status, heard, why="")

    def text(self, name: str) -> str:
        return canonical(self.named(name))


def decision_body(executor: Executor) -> Body:
    """What the executor would record of the buy."""
    inputs = inputs_of(executor)
    with exact():
        judgement = judge(inputs, executor.setup.panel)
        decision = judged(inputs.order, inputs, judgement, CLOCK.now())
    if judgement.sized is None or not judgement.approved:
        raise ValueError(f"the buy was to be approved: {decision.message}")
    sent = VenueOrder(
        account=ACCOUNT,
        symbol=SYMBOL,
        side=inputs.order.side,
        spend=judgement.sized.spend,
        amount=judgement.sized.amount,
        limit=judgement.sized.limit,
        client_order_id="",
        send_by=CLOCK.now() + 3600,
    )
    with exact():
        values = as_recorded(decision, inputs, None, facts="0" * 64, setup="0" * 64)
    return Body(values=values, order=to_plain(inputs.order), venue_order=to_plain(sent))
