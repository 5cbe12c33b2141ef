"""Ways past the rules: there is none for a buy, in no argument, no environment variable and no config key."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import FunctionType

import attrs
import pytest

import ordergate
import ordergate_paper
import ordergate_rules
from ordergate import Executor, InputError, Order
from ordergate.settings import Gate as GateSettings

Gate = Callable[..., Executor]
Requests = Callable[[], int]

PACKAGES = (Path(ordergate.__file__).parent, Path(ordergate_rules.__file__).parent, Path(ordergate_paper.__file__))
ROOT = Path(ordergate.__file__).parents[2]
FACES = {"bench", "cli", "demo", "__main__.py"}
SMALL = {"symbol": "BTC-USD", "side": "buy", "spend": "3"}


def sources() -> list[Path]:
    return [file for root in PACKAGES for file in ([root] if root.is_file() else sorted(root.rglob("*.py")))]


def test_every_field_of_an_order_is_known_here() -> None:
    """A new field must be thought about: can it let a buy skip a rule? Then add it to the values tried below."""
    assert {field.name for field in attrs.fields(Order)} == {*SMALL, *TRIED}


TRIED: dict[str, list[object]] = {
    "amount": ["0.00001"],
    "all": [True, False],
    "limit": ["1", "68925.98", "999999999"],
    "account": ["main"],
    "client_order_id": ["force", "bypass"],
    "force_liquidate": [True, False],
    "reason": ["emergency", "approved by the operator"],
    "principal": ["admin", "ordergate"],
}


@pytest.mark.parametrize("name", TRIED)
def test_no_field_of_an_order_lets_a_buy_skip_a_rule(gate: Gate, requests: Requests, name: str) -> None:
    """Three dollars are too small for this account; with any value in any other field they stay so, or are an error."""
    executor = gate()
    for value in TRIED[name]:
        try:
            decision = executor.submit(Order.from_mapping({**SMALL, name: value}))
        except InputError:
            continue
        refusing = {verdict.rule for verdict in decision.refusals}
        assert {"min_allocation", "min_position"} <= refusing, (name, value)
        assert {verdict.rule for verdict in decision.verdicts} >= executor.setup.panel.names
    assert requests() == 0


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("submit", ["self", "order"]), ("check", ["self", "order"]), ("cancel", ["self", "client_order_id", "account"])],
)
def test_no_argument_of_the_executor_lets_a_buy_skip_a_rule(method: str, arguments: list[str]) -> None:
    assert list(inspect.signature(getattr(Executor, method)).parameters) == arguments


def test_every_public_method_of_the_executor_is_known_here() -> None:
    """Only `submit` can send an order, and only `cancel` and `halt` can take one back."""
    public = {name for name, value in vars(Executor).items() if not name.startswith("_") and callable(value)}
    public |= {name for name, value in vars(Executor).items() if isinstance(value, classmethod)}
    assert public == {
        "account_name",
        "cancel",
        "check",
        "close",
        "explain",
        "from_config",
        "from_values",
        "halt",
        "limits",
        "reconcile",
        "resume",
        "settle_by_hand",
        "status",
        "submit",
    }


def test_no_environment_variable_is_read_on_the_order_path() -> None:
    """The gate's own modules ask the environment for nothing. What faces people (the CLI) may: it decides nothing."""
    found = [
        f"{file.name}:{node.lineno}"
        for file in sources()
        if FACES.isdisjoint(file.relative_to(ROOT).parts)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"})
        or (isinstance(node, ast.Name) and node.id in {"environ", "getenv"})
    ]
    assert found == []


def test_every_variable_of_our_own_name_is_known_here() -> None:
    """None of them may switch a rule off. One that is added must be added here, with what it does."""
    known = {"ORDERGATE_CONFIG"}  # which config file the CLI reads, as --config does
    found = {
        node.value
        for file in sources()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("ORDERGATE_")
    }
    assert found == known


def test_every_key_of_the_gate_is_known_here() -> None:
    """A key that could widen the gate would have to be named here first."""
    assert {field.name for field in attrs.fields(GateSettings)} == {
        "at_par",
        "cash",
        "clock_skew",
        "deadline",
        "dust",
        "exit_facts",
        "exit_settle",
        "facts_age",
        "facts_cache",
        "fallback",
        "foreign_orders",
        "halt_file",
        "ledger",
        "market_age",
        "max_positions",
        "observers",
        "rule_budget",
        "rules",
        "send_within",
        "sender_lease",
    }


def test_place_order_is_called_from_one_place_only() -> None:
    """The desk alone sends; whoever else named the hook would be a second path to the venue."""
    callers = {
        file.name
        for file in sources()
        if file.parent.name != "testing"  # rehearsals, on venues of their own
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "place_order"
    }
    assert callers == {"desk.py"}


def test_the_desk_sends_only_what_was_recorded(gate: Gate, requests: Requests) -> None:
    executor = gate()
    checked = executor.check(Order.buy("BTC-USD", spend="60", client_order_id="only-checked"))
    assert checked.approved
    with pytest.raises(ValueError, match="nothing was recorded"):
        executor.desk.place(checked, executor.setup.brokers["main"])
    assert requests() == 0


def test_rules_are_plain_functions_without_a_switch() -> None:
    """No rule of ours takes an argument beside the facts: there is nothing by which to tell it to look away."""
    ours = [entry for entry in entry_points(group="ordergate.rules") if entry.dist and entry.dist.name == "ordergate"]
    assert len(ours) >= 15
    for entry in ours:
        module = entry.load()
        assert isinstance(module.validate_order, FunctionType)
        assert set(inspect.signature(module.validate_order).parameters) <= {
            "order", "market", "account", "tier", "broker", "history", "settings",
        }  # fmt: skip
