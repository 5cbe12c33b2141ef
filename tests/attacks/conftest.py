"""A gate on a paper venue of its own, and rules from fake distributions to attack it with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent, indent

import pytest

import ordergate_paper as paper
from ordergate import Executor

FIVE = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
PRICES = {"BTC-USD": "68925.98", "ETH-USD": "3500.00", "SOL-USD": "150.00"}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Callable[..., Executor]]:
    """gate(cash="100") is an executor with one account, main, on the paper broker; the keys are those of its table.

    `rules` and `settings` go to `[gate]`, `tables` to the top of the config, `accounts` maps further names to their
    paper tables.
    """
    with ExitStack() as stack:

        def built(
            *,
            rules: tuple[str, ...] = FIVE,
            settings: Mapping[str, object] | None = None,
            tables: Mapping[str, object] | None = None,
            accounts: Mapping[str, Mapping[str, object]] | None = None,
            **main: object,
        ) -> Executor:
            books = {"main": {"cash": "1000.00", **main}, **(accounts or {})}
            values = {
                "gate": {"rules": list(rules), **(settings or {})},
                "accounts": {
                    name: {"broker": "paper", "paper": {"prices": PRICES, **table}} for name, table in books.items()
                },
                **(tables or {}),
            }
            return stack.enter_context(Executor.from_values(values, folder=tmp_path))

        yield built


@pytest.fixture
def requests(tmp_path: Path) -> Callable[[], int]:
    """How many orders have been sent to the paper venues of this test, all accounts together."""

    def counted() -> int:
        return sum(paper.count_requests(file) for file in tmp_path.glob("paper-*.db"))

    return counted


@pytest.fixture
def rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """rule("odd", "return None") installs a rule whose validate_order has this body, and gives back its name.

    `takes` are its arguments; `above` stands at the top of its module.
    """
    installed: list[str] = []

    def put(name: str, body: str, *, takes: str = "order", above: str = "") -> str:
        site = tmp_path / f"site-{name}"
        info = site / f"fake_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ordergate.rules]\n{name} = fake_{name}\n")
        head = f"from ordergate import Verdict, hookimpl\n{dedent(above)}\n\n@hookimpl\ndef validate_order({takes}):\n"
        (site / f"fake_{name}.py").write_text(head + indent(dedent(body).strip(), "    ") + "\n")
        monkeypatch.syspath_prepend(site)
        installed.append(f"fake_{name}")
        return name

    yield put
    for module in installed:
        sys.modules.pop(module, None)
