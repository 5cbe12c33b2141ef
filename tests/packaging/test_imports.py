"""Imports that break a promise: SDKs at module level; time, randomness or ids from anywhere but the clock."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SDKS = {"ccxt", "coinbase", "krakenex"}
CLOCK_MODULES = {"random", "secrets", "time"}
CLOCK_CALLS = {
    "date.today",
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "os.urandom",
    "uuid.uuid1",
    "uuid.uuid4",
}
CLOCK = "core/ordergate/clock.py"
ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("core", "plugins", "brokers") for path in (ROOT / folder).rglob("*.py"))


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _run_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs on import: all but the bodies of functions and of `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            continue
        yield node
        yield from _run_on_import(node)


def sdk_imports(tree: ast.AST) -> list[str]:
    """Exchange SDKs that importing the module would load: ccxt alone costs half a second and 67 MB."""
    return [name for node in _run_on_import(tree) for name in _imported(node) if name.split(".")[0] in SDKS]


def clock_uses(tree: ast.AST) -> list[str]:
    """Where the module asks the machine for the time, for randomness or for a new id."""
    nodes = list(ast.walk(tree))
    imported = [name for node in nodes for name in _imported(node)]
    used = [".".join(ast.unparse(node).split(".")[-2:]) for node in nodes if isinstance(node, ast.Attribute)]
    return [name for name in imported if name.split(".")[0] in CLOCK_MODULES] + [
        name for name in imported + used if name in CLOCK_CALLS
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_loads_no_sdk_and_asks_only_the_clock(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))

    assert sdk_imports(tree) == []
    if path != ROOT / CLOCK:
        assert clock_uses(tree) == [], "take a Clock and ask it"


@pytest.mark.parametrize(
    "source",
    [
        "import ccxt",
        "import os, ccxt.pro",
        "from coinbase.rest import RESTClient",
        "try:\n    import krakenex\nexcept ImportError:\n    krakenex = None",
        "class Client:\n    import ccxt",
        "if True:\n    from ccxt import kraken",
    ],
)
def test_the_lint_sees_an_sdk_at_module_level(source: str) -> None:
    assert sdk_imports(ast.parse(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "def connect(settings):\n    import ccxt",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ccxt",
        "import ordergate_ccxt",
        "from . import ccxt",
    ],
)
def test_the_lint_lets_an_sdk_be_imported_late(source: str) -> None:
    assert sdk_imports(ast.parse(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "def age():\n    import time",
        "from random import uniform",
        "import uuid\nuuid.uuid4()",
        "from uuid import uuid4",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "from datetime import datetime\nnow = datetime.now",
        "import secrets",
        "import os\nos.urandom(8)",
    ],
)
def test_the_lint_sees_whoever_asks_the_machine(source: str) -> None:
    assert clock_uses(ast.parse(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "import uuid\nuuid.uuid5(uuid.NAMESPACE_URL, 'x')",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "def age(clock):\n    return clock.now()",
        "clock.time",
    ],
)
def test_the_lint_lets_pure_functions_be_used(source: str) -> None:
    assert clock_uses(ast.parse(source)) == []
