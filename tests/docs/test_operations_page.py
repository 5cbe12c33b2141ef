"""What the pages for operators promise, tried."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import ordergate_paper
from ordergate import Decision, Executor, InputError, Order, OrderStatus
from ordergate.cli import face
from ordergate.cli.answer import exit_code
from ordergate.settings import Gate

DOCS = Path(__file__).parents[2] / "docs"
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
CODES = (DOCS / "error-codes.md").read_text(encoding="utf-8")
EXITS = {face.DONE, face.FAILED, face.USAGE, face.REFUSED, face.UNKNOWN, face.REJECTED}
CONFIG: dict[str, Any] = {
    "gate": {"rules": ["min_position"]},
    "accounts": {"main": {"broker": "paper", "paper": {"prices": {"SOL-USD": "150"}}}},
}


def numbers(page: str, after: str) -> set[int]:
    table = page[page.index(after) :].split("\n\n")[1]
    return {int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}


def test_every_exit_code_is_explained() -> None:
    assert numbers(OPERATIONS, "## Exit codes") == EXITS
    assert numbers(CODES, "## Exit codes") == EXITS | {face.INTERRUPTED}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (OrderStatus.APPROVED, 0),
        (OrderStatus.OPEN, 0),
        (OrderStatus.PARTLY_FILLED, 0),
        (OrderStatus.FILLED, 0),
        (OrderStatus.CANCELLED, 0),
        (OrderStatus.EXPIRED, 1),
        (OrderStatus.REFUSED, 3),
        (OrderStatus.UNKNOWN, 4),
        (OrderStatus.REJECTED, 5),
    ],
)
def test_a_decision_ends_a_command_with_the_code_that_is_documented(status: OrderStatus, code: int) -> None:
    decision = Decision(status=OrderStatus.APPROVED, order=Order.buy("BTC-USD", spend="20"))

    assert exit_code(evolve(decision, status=status)) == code


def test_the_times_have_the_defaults_that_stand_there() -> None:
    table = OPERATIONS[OPERATIONS.index("## Times") :].split("\n\n")[2]
    shown = {key: float(default) for key, default in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", table, re.MULTILINE)}

    assert len(shown) == 8
    assert {key: getattr(Gate(), key) for key in shown} == shown


def test_nobody_can_call_an_order_absent_while_it_may_still_arrive(tmp_path: Path) -> None:
    with Executor.from_values(CONFIG, folder=tmp_path) as executor:
        executor.check(Order.buy("SOL-USD", spend="60"))
        ordergate_paper.set_fault(tmp_path / "paper-main.db", "no_answer_before")
        lost = executor.submit(Order.buy("SOL-USD", spend="60", client_order_id="s1"))
        assert lost.status is OrderStatus.UNKNOWN

        with pytest.raises(InputError, match="may still arrive"):
            executor.settle_by_hand("s1", OrderStatus.EXPIRED, by="ann", reason="not in the history")
