"""Judged again under its own set-up every decision gets its very verdicts, whatever the session was like."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

import ordergate_paper as paper
from ordergate import Executor, Order
from ordergate.amounts import exact
from ordergate.clock import SystemClock
from ordergate.ledger import open_ledger
from ordergate.past import Past
from ordergate.replay import replay, with_its_past
from ordergate.replay_report import Report
from ordergate.setup import set_up
from ordergate.testing.simulation import simulated
from ordergate.testing.simulation.steps import draw_scenario, draw_steps
from ordergate.testing.simulation.world import World

Gate = Callable[..., Executor]
Under = Callable[..., Report]
Crowd = Callable[[int, Callable[[int], Any]], list[Any]]
Draw = random.Random

SEEDS = 24
CHUNK = 6

# Approves, and says all that it was shown: whatever of it comes out otherwise later is another verdict. Numbers are
# said without the zeros at their end, as they are recorded.
MEMORY = """
    import attrs
    from decimal import Decimal
    from ordergate import Verdict, hookimpl
    from ordergate.amounts import plain

    def told(value):
        if isinstance(value, Decimal):
            return plain(value)
        if isinstance(value, tuple | list):
            return [told(one) for one in value]
        return told(attrs.astuple(value)) if attrs.has(type(value)) else repr(value)

    @hookimpl
    def validate_order(order, account, history):
        claimed = sorted((name, one.value, one.claimed) for name, one in account.positions.items())
        books, peaks = sorted(history.costs.items()), sorted(history.peaks.items())
        shown = (order, account.position_total, account.open_orders, claimed, history.now, history.orders, books, peaks)
        return Verdict(approved=True, code="approved", message=repr(told(shown)))
"""


@pytest.fixture(autouse=True)
def memory(install: Callable[..., Path]) -> None:
    install(entries={"memory": "fakememory"}, modules={"fakememory.py": MEMORY})


def agrees(report: Report) -> bool:
    return (report.changes, report.changed, report.unchecked) == ([], 0, 0)


# ---------------------------------------------------------------------------------------------------------- simulated


@pytest.fixture
def root(memory: None) -> Iterator[Path]:
    with simulated() as folder:
        yield folder


class Remembering(World):
    """A world whose rules look back."""

    def _values(self) -> dict[str, Any]:
        values = super()._values()
        values["gate"]["rules"].append("memory")
        return values


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_simulated_sessions_agree(root: Path, first: int) -> None:
    """Two processes that die anywhere, unknown outcomes, halts, limits, clocks that are set, disks that fail."""
    decisions = 0
    for seed in range(first, first + CHUNK):
        folder = root / "world"
        folder.mkdir()
        world = Remembering("world", draw_scenario(seed, apart=False), folder)
        try:
            world.run(draw_steps(seed, 40))
            with closing(open_ledger("sqlite:///ordergate.db", folder, SystemClock())) as ledger:
                report = replay(ledger, set_up(world._config, SystemClock()), SystemClock(), check=True)
        finally:
            world.close()
            rmtree(folder)
        assert agrees(report), (seed, report)
        decisions += report.total.decisions
    assert decisions > 10


# -------------------------------------------------------------------------------------------------------------- real


def random_order(draw: Draw, name: str) -> Order:
    symbol = draw.choice(["BTC-USD", "ETH-USD", "SOL-USD", "ETH-BTC", "NONE-USD"])
    if draw.randrange(10) < 3:
        return Order.sell(symbol, amount=f"0.{draw.randrange(1, 999):05}", client_order_id=name)
    if draw.randrange(10) < 4:
        limit = str(draw.choice([100, 3400, 70000]))
        return Order.buy(symbol, amount=f"0.{draw.randrange(1, 999):05}", limit=limit, client_order_id=name)
    size = draw.choice([1, 60, 70, 200, 5000])
    return Order.buy(symbol, spend=f"{size}.{draw.randrange(100):02}", client_order_id=name, principal=name[:1])


def test_threads_of_several_executors_agree(gate: Gate, under: Under, crowd: Crowd) -> None:
    """They write between each other's reading and writing, so decisions are judged on other rows than the last."""
    shape: dict[str, Any] = {
        "cash": "3000.00",
        "prices": {"BTC-USD": "68925.98", "ETH-USD": "3500.00", "SOL-USD": "150.00", "ETH-BTC": "0.05"},
        "positions": {"ETH-USD": "0.2000"},
        "rules": ("position_cap", "min_position", "dust", "average_position", "memory"),
        "settings": {"rule_budget": 10},
    }
    executors = [gate(**shape) for _ in range(2)]
    venue = executors[0].setup.brokers["main"].client(5.0)

    def trade(number: int) -> None:
        draw = random.Random(number)  # noqa: S311 - the same orders in every run
        for count in range(25):
            if number == 0 and count % 5 == 4:
                paper.set_price(venue, "BTC-USD", str(draw.randrange(50_000, 90_000)))
            if number == 0 and count in (6, 18):
                paper.set_fault(venue, "no_answer_after" if count == 6 else "prices_down")
            if number == 1 and count == 12:
                executors[1].halt(by="test", reason="a look", keep_open=True)
                executors[1].resume(by="test", reason="seen")
            executors[number % 2].submit(random_order(draw, f"{number}-{count}"))

    crowd(4, trade)
    report = under(executors[0], check=True)
    lagging = sum(
        entry.seq - body["judged_on"]["seq"] > 1
        for entry, body, past in with_its_past(executors[0].desk.ledger().entries("main"), no_late_one)
        if past is not None
    )

    assert agrees(report), report
    assert report.total.decisions > 50
    assert report.total.approved_then > 5
    assert lagging > 5


def no_late_one(seq: int) -> Past:
    raise AssertionError(f"nothing here is so late as row {seq}")


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_a_decision_further_behind_than_is_read_ahead_sees_the_same_past(gate: Gate, crowd: Crowd, ahead: int) -> None:
    """The bound is for memory alone: what lies beyond it is folded anew."""
    executor = gate(cash="3000.00", rules=("min_position", "memory"), settings={"rule_budget": 10})
    crowd(4, lambda number: [executor.submit(Order.buy("BTC-USD", spend=size)) for size in ("3", "60", "61")])
    ledger = executor.desk.ledger()
    late = []

    def fold_anew(seq: int) -> Past:
        late.append(seq)
        past = Past()
        for entry in ledger.entries("main"):
            if entry.seq <= seq:
                past.take(entry)
        return past

    with exact():
        for entry, body, past in with_its_past(ledger.entries("main"), fold_anew, ahead):
            if past is not None:
                assert past.seq == body["judged_on"]["seq"], entry.seq
    assert late or ahead


def test_every_decision_comes_once_and_sees_the_row_it_was_judged_on(gate: Gate) -> None:
    executor = gate(rules=("min_position", "memory"))
    for size in ("3", "60", "61", "62"):
        executor.submit(Order.buy("ETH-USD", spend=size, client_order_id=f"for-{size}"))
    executor.submit(Order.sell("ETH-USD", all=True, client_order_id="out"))
    found = [
        (body["client_order_id"], None if past is None else past.seq == body["judged_on"]["seq"])
        for _, body, past in with_its_past(executor.desk.ledger().entries("main"), no_late_one)
    ]

    assert sorted(found) == [("for-3", True), ("for-60", True), ("for-61", True), ("for-62", True), ("out", None)]
