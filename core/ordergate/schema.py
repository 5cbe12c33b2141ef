"""A JSON Schema of the config, made from the settings classes, so that editors complete keys and explain them.

`python -m ordergate.schema` prints it for the plugins that come with ordergate. The schema is a convenience: what
counts is `ordergate.config`, which also finds contradictions that no schema can express.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Union, cast, get_args, get_origin

import attrs

from ordergate.amounts import plain
from ordergate.models import Tier
from ordergate.pins import Pin
from ordergate.settings import TIER_HELP, Gate, Pattern, Within

if TYPE_CHECKING:
    from ordergate.hookspecs import Kind

__all__ = ["build", "build_own", "plain_default", "text"]

Schema = dict[str, Any]
Settings = Mapping[str, type]

_NONE: Final[Settings] = MappingProxyType({})
_FORMS: Final[Mapping[object, Schema]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Any: {},
    object: {},
    Path: {"type": "string"},
    # Quotes are optional and change nothing: the digits are read exactly as they stand.
    Decimal: {"type": ["string", "number"], "pattern": r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$"},
}
_OWNED: Final[Schema] = {
    name: {"type": "string", "pattern": r"^(?=.*\S).{1,200}$", "description": told}
    for name, told in (
        ("owner", "Who answers for this rule's limits; shown with its verdicts."),
        ("reason", "Why its limits are what they are; shown with its verdicts."),
    )
}
_FEE_THRESHOLD: Final[Schema] = _FORMS[Decimal] | {
    "minimum": 0,
    "description": "The size in USD under which fees make a position pointless. It may raise what the broker "
    "declares, never lower it.",
}


def build(
    rule_settings: Settings = _NONE, broker_settings: Settings = _NONE, observer_settings: Settings = _NONE
) -> Schema:
    """The schema (draft 2020-12) for plugins with these settings classes; other plugins' tables stay open.

    Raises TypeError for a settings class with a field that a config cannot express.
    """
    gate = _object(Gate)
    gate["required"] = ["rules"]
    gate["properties"]["rules"] |= {"minItems": 1}
    del gate["properties"]["rules"]["default"]  # an empty list is no default, it is a mistake
    _suggest(gate["properties"]["rules"]["items"], rule_settings)
    _suggest(gate["properties"]["observers"]["items"], observer_settings)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ordergate.toml",
        "type": "object",
        "required": ["gate", "accounts"],
        "additionalProperties": False,
        "properties": {
            "gate": gate | {"description": "What holds for every account."},
            "tiers": _tiers(),
            "accounts": _accounts(broker_settings),
            "rules": _rules(rule_settings),
            "observers": _plugins(observer_settings, "Settings of the active observers."),
            "pins": _pins(),
        },
    }


def build_own() -> Schema:
    """The schema for the plugins of the distribution ordergate. Raises PluginError when one cannot be admitted."""
    from ordergate.hookspecs import BROKER, OBSERVER, RULE

    return build(_own(RULE), _own(BROKER), _own(OBSERVER))


def _own(kind: Kind) -> Settings:
    from ordergate.plugins import admit, discover

    names = [each.name for each in discover([kind]) if each.distribution == "ordergate"]
    classes = {name: admit(kind, name).settings_class for name in names}
    return {name: cls for name, cls in classes.items() if cls is not None}


# ----------------------------------------------------------------------------------------------- sections


def _tiers() -> Schema:
    tier = _object(Tier)
    for name, (unit, told) in TIER_HELP.items():
        tier["properties"][name]["description"] = f"{told} ({unit})" if unit else told
    return {
        "type": "array",
        "minItems": 1,
        "description": "The table of tiers, ordered by equity; leave it out for the default one.",
        "items": tier,
    }


def _accounts(brokers: Settings) -> Schema:
    tables = {name: _object(cls) for name, cls in brokers.items()}
    for table in tables.values():
        table["properties"]["fee_threshold"] = _FEE_THRESHOLD
    broker: Schema = {"type": "string", "description": "The broker that holds this account."}
    _suggest(broker, brokers)
    return {
        "type": "object",
        "minProperties": 1,
        "description": "The accounts, each with its broker and a table named like the broker.",
        "propertyNames": {"pattern": "^[a-z][a-z0-9_-]{0,31}$"},
        "additionalProperties": {
            "type": "object",
            "required": ["broker"],
            "properties": {"broker": broker} | tables,
            "additionalProperties": {"type": "object"},
        },
    }


def _plugins(settings: Settings, told: str) -> Schema:
    return {
        "type": "object",
        "description": told,
        "properties": {name: _object(cls) for name, cls in settings.items()},
        "additionalProperties": {"type": "object"},
    }


def _rules(settings: Settings) -> Schema:
    """As those of any plugin, and what the gate itself reads in each: who answers for it, and why."""
    form = _plugins(settings, "Settings of the active rules.")
    for table in form["properties"].values():
        table["properties"] |= _OWNED
    return form | {"additionalProperties": {"type": "object", "properties": _OWNED}}


def _pins() -> Schema:
    return {
        "type": "object",
        "description": "Distribution, version and hash that a plugin must have; `ordergate plugins pin` writes it.",
        "propertyNames": {"pattern": r"^(rules|brokers|observers)\..+$"},
        "additionalProperties": _object(Pin),
    }


def _suggest(form: Schema, names: Iterable[str]) -> None:
    """Let an editor offer the known names without refusing those of plugins it cannot know."""
    if known := sorted(names):
        form["anyOf"] = [{"enum": known}, {"type": "string"}]


# ------------------------------------------------------------------------------------------------ classes


def _object(cls: type) -> Schema:
    attrs.resolve_types(cast("Any", cls))
    fields = [field for field in attrs.fields(cast("Any", cls)) if field.init]
    form: Schema = {
        "type": "object",
        "properties": {field.name: _property(field) for field in fields},
        "additionalProperties": False,
    }
    if required := [field.name for field in fields if field.default is attrs.NOTHING]:
        form["required"] = required
    return form


def _property(field: attrs.Attribute[Any]) -> Schema:
    form = dict(_form(field.type))
    told, why, unit = (field.metadata.get(key, "") for key in ("help", "why", "unit"))
    if told:
        form["description"] = " ".join(part for part in (told, f"({unit})" if unit else "", why) if part)
    if isinstance(field.validator, Within):
        form |= _bounds(field.validator)
    elif isinstance(field.validator, Pattern) and form["type"] == "array":
        form |= {"items": form["items"] | _pattern(field.validator), "uniqueItems": True}
    elif isinstance(field.validator, Pattern):
        form |= _pattern(field.validator)
    default = plain_default(field.default)
    return form if default is None else form | {"default": default}


def _bounds(within: Within) -> Schema:
    low = "exclusiveMinimum" if within.above else "minimum"
    return {low: _number(within.low), "maximum": _number(within.high)}


def _number(value: Decimal) -> float:
    return int(value) if value == int(value) else float(value)


def _pattern(pattern: Pattern) -> Schema:
    return {"pattern": f"^({pattern.form})$"}


def plain_default(value: object) -> object:
    """A default as TOML would write it, None where there is none."""
    if isinstance(value, cast("type", attrs.Factory)):
        factory = cast("Any", value)
        return None if factory.takes_self else plain_default(factory.factory())
    if value is attrs.NOTHING:
        return None
    if isinstance(value, Mapping):
        return {str(key): plain_default(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_default(entry) for entry in value]
    return _scalar(value)


def _scalar(value: object) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _form(cls: Any) -> Schema:
    if get_origin(cls) is not None:
        return _generic_form(get_origin(cls), get_args(cls))
    if cls in _FORMS:
        return _FORMS[cls]
    if isinstance(cls, type) and issubclass(cls, Enum):
        return {"enum": [member.value for member in cls]}
    if isinstance(cls, type) and attrs.has(cls):
        return _object(cls)
    raise TypeError(f"a config cannot express {cls}")


def _generic_form(origin: Any, arguments: tuple[Any, ...]) -> Schema:
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (list, tuple):
        return {"type": "array", "items": _form(arguments[0])}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _form(arguments[1])}
    if origin in (Union, UnionType) and arguments[1:] == (NoneType,):
        return _form(arguments[0])  # TOML has no null: a key that may be none is left out
    raise TypeError(f"a config cannot express {origin} of {arguments}")


def text(schema: Schema) -> str:
    """The schema as it is kept in a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text(build_own()))
