"""The JSON Schema says what the reader says, as far as a schema can, and its kept copy is current."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import field, frozen

from ordergate import Tier
from ordergate.schema import build, build_own
from ordergate.settings import Gate

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = build_own()


def faults(schema: Mapping[str, Any], value: Any, where: str = "") -> Iterator[str]:
    """What the schema's words that we use say against a value: a reading of our own, so that no validator is needed."""
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
    }
    wanted = schema.get("type", list(kinds))
    wanted = [wanted] if isinstance(wanted, str) else wanted
    is_flag = isinstance(value, bool)
    if not any(isinstance(value, kinds[kind]) and (not is_flag or kind == "boolean") for kind in wanted):
        yield f"{where}: type"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: enum"
    if "anyOf" in schema and all(list(faults(each, value)) for each in schema["anyOf"]):
        yield f"{where}: anyOf"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{where}: pattern"
    if isinstance(value, int | float) and not is_flag:
        yield from (f"{where}: {name}" for name in _outside(schema, value))
    if isinstance(value, list):
        yield from _list_faults(schema, value, where)
    if isinstance(value, dict):
        yield from _table_faults(schema, value, where)


def _outside(schema: Mapping[str, Any], value: float) -> Iterator[str]:
    if value < schema.get("minimum", value):
        yield "minimum"
    if value > schema.get("maximum", value):
        yield "maximum"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield "exclusiveMinimum"


def _list_faults(schema: Mapping[str, Any], value: list[Any], where: str) -> Iterator[str]:
    if len(value) < schema.get("minItems", 0):
        yield f"{where}: minItems"
    if schema.get("uniqueItems") and len(value) != len(set(map(str, value))):
        yield f"{where}: uniqueItems"
    for entry in value:
        yield from faults(schema.get("items", {}), entry, f"{where}[]")


def _table_faults(schema: Mapping[str, Any], value: dict[str, Any], where: str) -> Iterator[str]:
    yield from (f"{where}.{name}: required" for name in schema.get("required", ()) if name not in value)
    if len(value) < schema.get("minProperties", 0):
        yield f"{where}: minProperties"
    for name, entry in value.items():
        yield from faults(schema.get("propertyNames", {}), name, f"{where}.{name}")
        rest = schema.get("additionalProperties", {})
        inner = schema.get("properties", {}).get(name, rest)
        if inner is False:
            yield f"{where}.{name}: unknown"
        else:
            yield from faults(inner, entry, f"{where}.{name}")


def test_the_kept_copy_is_current() -> None:
    kept = (DOCS / "ordergate.schema.json").read_text("utf-8")
    assert json.loads(kept) == SCHEMA, "write it anew: python -m ordergate.schema > docs/ordergate.schema.json"


def test_the_module_prints_what_is_kept() -> None:
    printed = subprocess.run([sys.executable, "-m", "ordergate.schema"], capture_output=True, check=True)
    assert printed.stderr == b""
    assert printed.stdout == (DOCS / "ordergate.schema.json").read_bytes()


def test_the_documented_example_fits() -> None:
    example = re.search(r"```toml\n(.*?)```", (DOCS / "configure.md").read_text("utf-8"), re.DOTALL)
    assert example is not None
    assert list(faults(SCHEMA, tomllib.loads(example[1]))) == []


GOOD: dict[str, Any] = {
    "gate": {"rules": ["dust"]},
    "accounts": {"main": {"broker": "paper", "paper": {"cash": "300.00", "fee_threshold": 10}}},
}


def test_the_smallest_config_fits() -> None:
    assert list(faults(SCHEMA, GOOD)) == []


@pytest.mark.parametrize(
    "gate",
    [
        {},
        {"rules": []},
        {"rules": ["dust"], "rulse": []},
        {"rules": ["dust", "dust"]},
        {"rules": "dust"},
        {"rules": ["dust"], "dust": "1e3"},
        {"rules": ["dust"], "dust": 0},
        {"rules": ["dust"], "dust": True},
        {"rules": ["dust"], "facts_age": "10"},
        {"rules": ["dust"], "facts_age": 301},
        {"rules": ["dust"], "max_positions": -1},
        {"rules": ["dust"], "max_positions": 2.5},
        {"rules": ["dust"], "foreign_orders": "alram"},
        {"rules": ["dust"], "ledger": "ordergate.db"},
        {"rules": ["dust"], "ledger": "sqlite:///:memory:"},
        {"rules": ["dust"], "cash": ["usd"]},
    ],
)
def test_what_the_reader_refuses_in_the_gate_does_not_fit(gate: dict[str, Any]) -> None:
    assert list(faults(SCHEMA, GOOD | {"gate": gate}))


@pytest.mark.parametrize(
    "change",
    [
        {"gates": {}},
        {"accounts": {}},
        {"accounts": {"Main": {"broker": "paper"}}},
        {"accounts": {"main": {"paper": {}}}},
        {"accounts": {"main": {"broker": "paper", "cash": "1"}}},
        {"accounts": {"main": {"broker": "paper", "paper": {"cahs": "1"}}}},
        {"accounts": {"main": {"broker": "paper", "paper": {"fee_threshold": -1}}}},
        {"accounts": {"main": {"broker": "paper", "paper": {"venue": "krakn"}}}},
        {"tiers": []},
        {"tiers": [{"name": "A", "equity": 1, "max_positions": 1}]},
        {"rules": {"dust": {"exit_bufer": "0.1"}}},
        {"rules": {"dust": 1}},
        {"pins": {"dust": {"distribution": "x", "version": "1", "sha256": "x"}}},
        {"pins": {"rules.dust": {"distribution": "x", "version": "1"}}},
    ],
)
def test_what_the_reader_refuses_elsewhere_does_not_fit(change: dict[str, Any]) -> None:
    assert list(faults(SCHEMA, GOOD | change))


def test_tables_of_plugins_from_elsewhere_stay_open() -> None:
    config = GOOD | {
        "gate": {"rules": ["weekday"]},
        "accounts": {"main": {"broker": "tiny", "tiny": {"anything": 1}}},
        "rules": {"weekday": {"days": ["mon"]}},
    }
    assert list(faults(SCHEMA, config)) == []


def test_every_key_is_explained() -> None:
    for name, cls in (("gate", Gate), ("tiers", Tier)):
        part = SCHEMA["properties"][name]
        properties = part.get("items", part)["properties"]
        assert set(properties) == {each.name for each in attrs.fields(cls)}
        assert all(form["description"] for form in properties.values())
        assert part.get("items", part)["additionalProperties"] is False


@frozen
class Leg:
    symbol: str


@frozen
class Wide:
    needed: int
    legs: tuple[Leg, ...] = ()
    prices: dict[str, Decimal] = field(factory=dict, metadata={"help": "Prices.", "unit": "USD"})
    mode: Literal["a", "b"] = "a"
    spare: Path | None = None
    free: Any = None


@frozen
class Odd:
    value: int | str = 1


def test_settings_of_any_plugin_become_a_schema() -> None:
    form = build(rule_settings={"wide": Wide})["properties"]["rules"]["properties"]["wide"]
    assert form["required"] == ["needed"]
    assert form["properties"]["legs"]["items"]["required"] == ["symbol"]
    assert form["properties"]["prices"]["description"] == "Prices. (USD)"
    assert form["properties"]["prices"]["default"] == {}
    assert form["properties"]["mode"] == {"enum": ["a", "b"], "default": "a"}
    assert form["properties"]["spare"] == {"type": "string"}
    assert form["properties"]["free"] == {}


def test_a_field_that_no_config_can_express_is_an_error() -> None:
    with pytest.raises(TypeError, match="cannot express"):
        build(rule_settings={"odd": Odd})
