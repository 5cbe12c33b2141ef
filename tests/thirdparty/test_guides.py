"""The guides show the examples as they are, and what they say of configs and tests holds."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ordergate.hookspecs import BROKER, RULE

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "name"),
    [("write-a-rule.md", "ordergate_concentration"), ("write-a-broker.md", "ordergate_tinyvenue")],
)
def test_the_code_shown_is_the_code_that_is_tested(page: str, name: str) -> None:
    folder = DOCS / "examples" / name.replace("_", "-")
    assert (folder / "pyproject.toml").read_text(encoding="utf-8") in blocks(page, "toml")
    assert (folder / f"{name}.py").read_text(encoding="utf-8") in blocks(page, "python")


def test_the_tests_shown_pass(example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ordergate_concentration", example("ordergate_concentration"))
    (shown,) = [text for text in blocks("write-a-rule.md", "python") if "import ordergate_concentration" in text]
    scope: dict[str, Callable[[], None]] = {}
    exec(compile(shown, "write-a-rule.md", "exec"), scope)  # noqa: S102 - the page's own example
    tests = [name for name in scope if name.startswith("test_")]
    assert len(tests) == 2
    for name in tests:
        scope[name]()


def test_the_config_shown_has_the_keys_of_the_settings(example: Callable[[str], ModuleType]) -> None:
    (rule_table,) = [tomllib.loads(text)["rules"] for text in blocks("write-a-rule.md", "toml") if "[rules." in text]
    assert set(rule_table) == {"concentration"}
    assert set(rule_table["concentration"]) <= set(example("ordergate_concentration").Settings.__annotations__)
    (account,) = [
        tomllib.loads(text)["accounts"]["main"] for text in blocks("write-a-broker.md", "toml") if "[accounts." in text
    ]
    assert account["broker"] == "tinyvenue"
    assert set(account["tinyvenue"]) <= set(example("ordergate_tinyvenue").Settings.__annotations__)


def test_every_hook_and_argument_is_named() -> None:
    broker_page = (DOCS / "write-a-broker.md").read_text(encoding="utf-8")
    assert all(f"`{hook}`" in broker_page for hook in BROKER.hooks)
    rule_page = (DOCS / "write-a-rule.md").read_text(encoding="utf-8")
    arguments = set(RULE.specs.validate_order.__annotations__) - {"return"}  # type: ignore[attr-defined]
    assert all(f"| `{argument}` |" in rule_page for argument in arguments)
