"""The reference of the config says what the classes say, and its examples work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from ordergate import Tier
from ordergate.binding import bind
from ordergate.config import read_config
from ordergate.hookspecs import BROKER, OBSERVER, RULE, Kind
from ordergate.pins import Pin
from ordergate.plugins import admit, discover
from ordergate.settings import DEFAULT_TIERS, TIER_HELP, Gate

DOC = (Path(__file__).parents[2] / "docs" / "configure.md").read_text("utf-8")
EXAMPLE = re.search(r"```toml\n(.*?)```", DOC, re.DOTALL)
OWN = [(each.kind, each.name) for each in discover() if each.distribution == "ordergate"]


def section(title: str) -> str:
    return DOC.split(f"## {title}")[1].split("\n## ")[0]


def settings_of(kind: Kind, name: str) -> Any:
    return admit(kind, name).settings_class


def test_the_complete_example_is_read_without_problems(tmp_path: Path) -> None:
    assert EXAMPLE is not None
    path = tmp_path / "ordergate.toml"
    path.write_text(EXAMPLE[1], "utf-8")
    config = read_config(path)
    assert config.problems == ()
    for name, rule in config.rules.items():
        assert bind(settings_of(RULE, name), rule, f"rules.{name}", config.folder).problems == ()
    for name, observer in config.observers.items():
        assert bind(settings_of(OBSERVER, name), observer, f"observers.{name}", config.folder).problems == ()
    for account in config.accounts.values():
        assert account.broker is not None
        settings = settings_of(BROKER, account.broker)
        assert bind(settings, account.table, "account", config.folder, account=account.name).problems == ()


def test_the_complete_example_names_every_key(tmp_path: Path) -> None:
    assert EXAMPLE is not None
    shown = set(re.findall(r"^(\w+) = ", EXAMPLE[1], re.MULTILINE))
    keys = {field.name for cls in (Gate, Tier) for field in attrs.fields(cls)} | {"broker", "fee_threshold"}
    for kind, name in OWN:
        keys |= {field.name for field in attrs.fields(settings_of(kind, name) or Pin)} - {"version", "sha256"}
    assert keys - {"distribution"} <= shown


@pytest.mark.parametrize("field", attrs.fields(Gate), ids=lambda field: field.name)
def test_every_gate_key_is_documented_with_default_unit_and_reason(field: attrs.Attribute[Any]) -> None:
    told = field.metadata
    assert told["help"]
    assert told["why"]
    default = "required" if field.name == "rules" else shown(field.default)
    row = f"| `{field.name}` | {default} | {told['unit']} | {told['help']} {told['why']} |"
    assert row in section("`[gate]`").splitlines()


@pytest.mark.parametrize("field", attrs.fields(Tier), ids=lambda field: field.name)
def test_every_tier_key_is_documented(field: attrs.Attribute[Any]) -> None:
    unit, told = TIER_HELP[field.name]
    assert f"| `{field.name}` | {shown(field.default)} | {unit} | {told} |" in section("`[[tiers]]`").splitlines()


def test_the_default_tiers_are_documented() -> None:
    for tier in DEFAULT_TIERS:
        row = f"| {tier.name} | {tier.equity} | {tier.max_positions} | {tier.min_position} |"
        assert row in section("`[[tiers]]`").splitlines()


@pytest.mark.parametrize(("kind", "name"), OWN, ids=[f"{kind.name}-{name}" for kind, name in OWN])
def test_every_key_of_our_own_plugins_is_documented(kind: Kind, name: str) -> None:
    settings = settings_of(kind, name)
    fields = attrs.fields(settings) if settings else ()
    text = section("`[rules.NAME]`, `[accounts.NAME.BROKER]`, `[observers.NAME]`")
    table = f"accounts.NAME.{name}" if kind is BROKER else f"{kind.name}s.{name}"
    for field in fields:
        assert (
            f"| `[{table}]` | `{field.name}` | {shown(field.default)} | {field.metadata['help']} |" in text.splitlines()
        )
    if not fields:
        assert f"`{name}`" in text


def test_every_key_of_a_pin_is_documented() -> None:
    for field in attrs.fields(Pin):
        assert f"| `{field.name}` | required |" in section('`[pins."KIND.NAME"]`')


def test_the_problems_that_are_shown_are_real(tmp_path: Path) -> None:
    path = tmp_path / "ordergate.toml"
    path.write_text(
        "[gate]\nrules = ['dust']\nrulse = []\ndust = 1e3\n[accounts.main]\nbroker = 'paper'\n[accounts.main.kraken]\n"
    )
    block = re.search(r"```text\n(.*?)```", section("When something is wrong"), re.DOTALL)
    assert block is not None
    assert sorted(block[1].splitlines()) == sorted(map(str, read_config(path).problems))


def shown(default: object) -> str:
    from ordergate.schema import plain_default

    if default is attrs.NOTHING:
        return "required"
    text = plain_default(default)
    return "not set" if text is None else f"`{json.dumps(text)}`"
