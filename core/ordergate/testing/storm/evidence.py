"""What is left of a storm: the histories of its callers, the journals, and the venues' own records.

Gathered after the storm, once by one process alone; nothing here judges it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import frozen

import ordergate_paper as paper
from ordergate.clock import SystemClock
from ordergate.executor import Executor
from ordergate.journal import Entry
from ordergate.ledger import EVERY_ACCOUNT, Ledger, open_ledger
from ordergate.testing.storm.caller import HISTORY
from ordergate.testing.storm.history import Call, read_history
from ordergate.testing.storm.plan import RULES, Plan

__all__ = ["Evidence", "Taken", "gather", "journals_of", "settle"]


@frozen(kw_only=True)
class Taken:
    """A venue's own record: the orders it took, oldest first, and how often one was sent to it."""

    orders: tuple[paper.Placed, ...]
    requests: int


@frozen(kw_only=True)
class Evidence:
    """All that the checker is told."""

    calls: tuple[Call, ...]
    journals: Mapping[str, tuple[Entry, ...]]
    """Rows per account in their order; those of all accounts together under `*`."""
    kept: Mapping[tuple[str, str], Any]
    """What decisions were made on, by account and name, read from its JSON."""
    venues: Mapping[str, Taken]
    settled: bool = True
    """Every order was settled after the last call: the journal has the venue's last word on each."""
    damage: str = ""
    """What `Ledger.verify` found; empty when the chain holds and the tables equal it."""
    not_reproduced: tuple[str, ...] = ()
    """Decisions that get other verdicts when they are judged again on what was recorded."""
    owed: Mapping[int, int] | None = None
    """How many answers each caller must have got; None where it went on until the storm was over."""
    least_share: float | None = None
    """Callers went on until so many answers were given in all, so the least served must have got this share of what the
    most served got.
    """
    rules: Sequence[str] = RULES
    imported: frozenset[str] = frozenset()
    """Orders that were written beside the ledger and came home later: where they stand says nothing of when."""
    threads: int = 1
    """Callers of each process: caller 5 of 4 threads each belongs to process 1."""
    lease: float | None = None
    """Seconds for which the ledger lends an account to one process; None where it lends nothing."""


class _Later(SystemClock):
    """The machine's clock, ahead by some seconds, in which sleeping takes no time."""

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    def now(self) -> float:
        return super().now() + self._ahead

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        self._ahead += seconds


def settle(plan: Plan, folder: Path, *, ahead: float = 0.0) -> None:
    """Have every order settled, by a gateway whose clock says that all send-by times have passed.

    `ahead` is by how many seconds the clock of the callers was ahead of this machine's.
    """
    clock = _Later(ahead + plan.send_within + 10)
    with Executor.from_values(plan.values(), folder=folder, clock=clock) as executor:
        ledger = executor.desk.ledger()
        executor.reconcile(plan.names[0])  # whatever the account, it brings home what exits wrote beside the ledger
        for name in plan.names:
            if ledger.unfinished(name):
                executor.reconcile(name)


def gather(plan: Plan, folder: Path, *, again: int = 20) -> Evidence:
    """Read everything. `again` is how many decisions of the first account are judged again."""
    with closing(open_ledger(plan.ledger, folder, SystemClock())) as ledger:
        journals, kept = journals_of(ledger)
        broken = ledger.verify()
    venues = {}
    for name in plan.names:
        file = folder / f"paper-{name}.db"
        venues[name] = (
            Taken(orders=tuple(paper.placed_orders(file)), requests=paper.count_requests(file))
            if file.exists()
            else Taken(orders=(), requests=0)
        )
    return Evidence(
        calls=tuple(call for caller in range(plan.callers) for call in read_history(folder / HISTORY, caller)),
        journals=journals,
        kept=kept,
        venues=venues,
        damage=str(broken or ""),
        not_reproduced=tuple(_not_reproduced(plan, folder, journals.get(plan.names[0], ()), again)),
        owed=None if plan.served is not None else dict.fromkeys(_bound(plan), plan.intents),
        least_share=None if plan.served is None else plan.least_share,
        imported=frozenset(_imported(folder)),
        threads=plan.threads,
        lease=plan.lease if plan.ledger.startswith("postgres") else None,
    )


def journals_of(ledger: Ledger) -> tuple[dict[str, tuple[Entry, ...]], dict[tuple[str, str], Any]]:
    """All journals, and what their decisions were made on."""
    journals: dict[str, tuple[Entry, ...]] = {}
    kept: dict[tuple[str, str], Any] = {}
    for account in (*ledger.accounts(), EVERY_ACCOUNT):
        journals[account] = tuple(ledger.entries(account))
        for entry in journals[account]:
            if entry.kind != "decision":
                continue
            body = json.loads(entry.body)
            for name in (body["facts"], body["setup"]):
                if name is not None and (account, name) not in kept:
                    kept[account, name] = json.loads(ledger.kept(account, name))
    return journals, kept


def _imported(folder: Path) -> Iterator[str]:
    for file in (folder / "ordergate-fallback").glob("imported-*.jsonl"):
        for line in file.read_text(encoding="utf-8").splitlines():
            yield str(json.loads(line)["body"].get("client_order_id"))


def _bound(plan: Plan) -> Iterator[int]:
    """Callers that have so many intents and no more."""
    return iter(range(plan.threads if plan.noisy else 0, plan.callers))


def _not_reproduced(plan: Plan, folder: Path, journal: Sequence[Entry], most: int) -> Iterator[str]:
    names = [json.loads(entry.body)["client_order_id"] for entry in journal if entry.kind == "decision"]
    if not names or not most:
        return
    with Executor.from_values(plan.values(), folder=folder) as executor:
        for name in names[:: max(1, len(names) // most)]:
            if not executor.explain(name, account=plan.names[0]).same:
                yield name
