"""Reading `ordergate.toml`: every problem found at once, and whatever is sound kept usable.

A config that cannot be read at all raises `ConfigError`. Everything else that is wrong becomes a `Problem`
with the dotted key, what is wrong with the value, and the fix; the key then has its default. A config with
problems lets no buy pass, and exits go on: that is the executor's business, this module only says what it
found.

`bind` turns one table into one settings class, the gate's own and those of plugins alike.
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
import stat
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, cast, get_args, get_origin

import attrs
from attrs import frozen

from ordergate.amounts import parse_number, plain
from ordergate.calls import Failed, attempt
from ordergate.errors import ConfigError, InputError, Problem
from ordergate.models import REPORTING_CURRENCY, Tier
from ordergate.pins import Pin
from ordergate.settings import DEFAULT_TIERS, Gate, check_tier

if TYPE_CHECKING:
    import cattrs

__all__ = ["AccountConfig", "Bound", "Config", "WrittenNumber", "bind", "config_from_values", "read_config"]

T = TypeVar("T")
Table = Mapping[str, object]

_MOST_BYTES: Final = 1_000_000
_SECTIONS: Final = ("gate", "tiers", "accounts", "rules", "observers", "pins")
_ACCOUNT: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PIN_KINDS: Final = ("rules", "brokers", "observers")


@frozen
class WrittenNumber:
    """A number with a point or an exponent, kept exactly as it stands in the file until its key is known."""

    text: str

    def __str__(self) -> str:
        return self.text


@frozen(kw_only=True)
class AccountConfig:
    """One `[accounts.NAME]`. `table` is for its broker's settings; `fee_threshold` (USD) is taken out of it.

    `broker` is None when the section does not say it usably. `problems` are those of this account alone.
    """

    name: str
    broker: str | None
    table: Table
    fee_threshold: Decimal | None
    problems: tuple[Problem, ...]


@frozen(kw_only=True)
class Config:
    """What the file says, or the defaults where it says nothing or nothing usable; `problems` has the latter.

    `path` and `folder` are those of the real file behind any link; relative paths count from `folder`.
    `rules` and `observers` are the raw tables of plugins, for `bind`. `digest` is the SHA-256 of all that
    takes effect, wherever the file stands. `origins` says of each key: from `file`, or `default`.
    """

    path: Path | None
    folder: Path
    gate: Gate
    tiers: tuple[Tier, ...]
    accounts: Mapping[str, AccountConfig]
    rules: Mapping[str, Table]
    observers: Mapping[str, Table]
    pins: Mapping[str, Pin]
    problems: tuple[Problem, ...]
    digest: str
    origins: Mapping[str, str]


@frozen(kw_only=True)
class Bound(Generic[T]):
    """A table bound to its settings class: `value` is None exactly when there are problems."""

    value: T | None
    problems: tuple[Problem, ...]
    origins: Mapping[str, str]


# ------------------------------------------------------------------------------------------------ the file


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a config file. Raises ConfigError only when nothing can be known: no file, no text, no TOML."""
    written = Path(path)
    text = _read_text(written)
    # One file must mean one ledger, whichever link leads to it: paths count from the real file's folder.
    real = written.resolve()
    return _config(_parse(text, written), real, real.parent)


def config_from_values(values: Table, folder: str | os.PathLike[str]) -> Config:
    """The same from values: nested mappings, lists, text, ints, `Decimal`, bools and paths."""
    return _config(values, None, Path(folder).absolute())


def _read_text(path: Path) -> str:
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise _unreadable(path, "it is a folder", "Name the file in it, such as ordergate.toml.")
        if not stat.S_ISREG(kind):
            raise _unreadable(path, "it is not a regular file", "Name a file that can be read twice.")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        fix = "Run `ordergate init` to write one, or name yours with --config."
        raise _unreadable(path, "there is no such file", fix) from error
    except PermissionError as error:
        raise _unreadable(path, "it may not be read", "Give this user the right to read it.") from error
    except OSError as error:
        raise _unreadable(path, f"it cannot be read: {error.strerror}", "Name another file.") from error
    except ValueError as error:  # a NUL in the name
        raise _unreadable(path, f"it is no file name: {error}", "Name another file.") from error
    if len(data) > _MOST_BYTES:
        raise _unreadable(path, "it is larger than 1 MB", "Name a config file.")
    try:
        return data.decode("utf-8-sig")  # editors on Windows begin a file with a byte-order mark
    except UnicodeDecodeError as error:
        what = f"it is not UTF-8 text (byte {error.start + 1})"
        raise _unreadable(path, what, "Save it as UTF-8.") from error


def _parse(text: str, path: Path) -> Table:
    try:
        return tomllib.loads(text, parse_float=WrittenNumber)
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, f"it is not TOML: {error}", _toml_fix(str(error))) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
        raise _unreadable(path, f"it is not TOML: {error}", "Write a plain value there.") from error


def _toml_fix(message: str) -> str:
    if any(sign in message for sign in ("twice", "overwrite", "Duplicate", "mutate")):
        return "Every table and every key stands once: keep one of the two."
    return "Correct that line; text stands in quotes."


def _unreadable(path: Path, what: str, fix: str) -> ConfigError:
    where = str(path) if str(path).isprintable() else _quoted(str(path))
    return ConfigError([Problem(where, what, fix)])


# ------------------------------------------------------------------------------------------------ sections


def _config(values: Table, path: Path | None, folder: Path) -> Config:
    values = cast("Table", _kept(values))
    found: list[Problem] = []
    origins: dict[str, str] = {}
    _refuse_unknown(values, _SECTIONS, "", found)
    gate = _gate(_table(values, "gate", "", found), folder, found, origins)
    tiers = _tiers(values.get("tiers"), folder, found, origins)
    accounts = _accounts(_table(values, "accounts", "", found), found, origins)
    rules = _plugin_tables(values, "rules", gate.rules, found)
    observers = _plugin_tables(values, "observers", gate.observers, found)
    pins = _pins(_table(values, "pins", "", found), folder, found)
    _check_pinned(pins, gate, accounts, found)
    _find_contradictions(gate, path, folder, found)
    parts: dict[str, Any] = {
        "gate": gate,
        "tiers": tiers,
        "accounts": MappingProxyType(accounts),
        "rules": MappingProxyType(rules),
        "observers": MappingProxyType(observers),
        "pins": MappingProxyType(pins),
    }
    return Config(
        path=path,
        folder=folder,
        **parts,
        problems=tuple(found),
        digest=_digest(folder, parts),
        origins=MappingProxyType(origins),
    )


def _gate(table: Table, folder: Path, found: list[Problem], origins: dict[str, str]) -> Gate:
    bound = bind(Gate, table, "gate", folder)
    found += bound.problems
    if bound.value is None:
        broken = tuple(problem.where for problem in bound.problems)
        sound = {key: value for key, value in table.items() if not _is_under(_join("gate", key), broken)}
        bound = bind(Gate, sound, "gate", folder)
    origins.update(bound.origins)
    gate = cast("Gate", bound.value)
    if not gate.rules and not _is_under("gate.rules", tuple(problem.where for problem in found)):
        fix = 'Name the rules, such as rules = ["position_cap", "min_position"].'
        found.append(Problem("gate.rules", "no rule is active, and an empty set of rules approves nothing", fix))
    return gate


def _is_under(where: str, broken: Sequence[str]) -> bool:
    return any(place == where or place.startswith((f"{where}.", f"{where}[")) for place in broken)


def _tiers(value: object, folder: Path, found: list[Problem], origins: dict[str, str]) -> tuple[Tier, ...]:
    origins["tiers"] = "default"
    if value is None:
        return DEFAULT_TIERS
    if not isinstance(value, list | tuple) or not value:
        fix = "Write one [[tiers]] per tier, or none for the default table."
        found.append(Problem("tiers", "it is not a list of tables with at least one in it", fix))
        return DEFAULT_TIERS
    tiers: list[Tier] = []
    before = len(found)
    for number, entry in enumerate(value, 1):
        tier = _one_tier(entry, f"tiers[{number}]", folder, found)
        if tier is not None:
            _check_order(tiers, tier, f"tiers[{number}]", found)
            tiers.append(tier)
    if len(found) > before:
        return DEFAULT_TIERS
    origins["tiers"] = "file"
    return tuple(tiers)


def _one_tier(entry: object, where: str, folder: Path, found: list[Problem]) -> Tier | None:
    if not isinstance(entry, Mapping):
        found.append(_not_a_table(where, entry))
        return None
    bound = bind(Tier, entry, where, folder)
    found += bound.problems
    if bound.value is None:
        return None
    faults = check_tier(bound.value)
    found += [_refused(_join(where, fault.field), fault.value, fault) for fault in faults]
    return None if faults else bound.value


def _check_order(before: Sequence[Tier], tier: Tier, where: str, found: list[Problem]) -> None:
    if any(tier.name == other.name for other in before):
        found.append(Problem(f"{where}.name", f"{_shown(tier.name)} stands twice", "Give each tier its own name."))
    if before and tier.equity <= before[-1].equity:
        what = f"{plain(tier.equity)} is not above {plain(before[-1].equity)}, where the tier before it begins"
        found.append(Problem(f"{where}.equity", what, "Order the tiers by equity, each above the one before."))


def _accounts(table: Table, found: list[Problem], origins: dict[str, str]) -> dict[str, AccountConfig]:
    accounts: dict[str, AccountConfig] = {}
    for name, section in table.items():
        where = _join("accounts", name)
        if not _ACCOUNT.fullmatch(name):
            fix = "Use 1 to 32 of a-z, 0-9, '_' and '-', beginning with a letter."
            found.append(Problem(where, "the name cannot be used for an account", fix))
            continue
        account = _account(name, where, section, origins)
        found += account.problems
        accounts[name] = account
    if not table:
        fix = 'Add [accounts.main] with broker = "paper", or the broker you use.'
        found.append(Problem("accounts", "there is no account", fix))
    return accounts


def _account(name: str, where: str, section: object, origins: dict[str, str]) -> AccountConfig:
    found: list[Problem] = []
    broker: str | None = None
    table: Table = {}
    threshold: Decimal | None = None
    if isinstance(section, Mapping):
        broker = _broker(section, where, found)
        _refuse_other_keys(section, broker, where, found)
    else:
        found.append(_not_a_table(where, section))
    if broker is not None and isinstance(section, Mapping):
        origins[f"{where}.broker"] = "file"
        table = _table(section, broker, where, found)
        threshold = _fee_threshold(table, f"{where}.{broker}", found, origins)
    rest = {key: value for key, value in table.items() if key != "fee_threshold"}
    return AccountConfig(
        name=name,
        broker=broker,
        table=MappingProxyType(rest),
        fee_threshold=threshold,
        problems=tuple(found),
    )


def _broker(section: Table, where: str, found: list[Problem]) -> str | None:
    broker = section.get("broker")
    if isinstance(broker, str) and _BARE_KEY.fullmatch(broker) and broker != "broker":
        return broker
    named = [key for key, value in section.items() if isinstance(value, Mapping)]
    what = "it is missing" if broker is None else f"{_shown(broker)} is no name of a broker"
    found.append(Problem(f"{where}.broker", what, f'Write broker = "{named[0] if named else "paper"}".'))
    return None


def _refuse_other_keys(section: Table, broker: str | None, where: str, found: list[Problem]) -> None:
    """An account has its broker's name and that broker's table; the table of another is most often a slip."""
    for key, value in section.items():
        if key in ("broker", broker):
            continue
        if not isinstance(value, Mapping):
            fix = f"What the broker needs stands in [{where}.{broker or 'BROKER'}]."
            found.append(Problem(_join(where, key), "there is no such key", _nearest(key, ["broker"], otherwise=fix)))
        elif broker is not None:
            fix = f"Rename it to [{where}.{broker}], take it out, or name the other broker."
            found.append(Problem(_join(where, key), f"the broker of this account is {broker}", fix))


def _fee_threshold(table: Table, where: str, found: list[Problem], origins: dict[str, str]) -> Decimal | None:
    if "fee_threshold" not in table:
        origins[f"{where}.fee_threshold"] = "default"
        return None
    value = table["fee_threshold"]
    try:
        threshold = parse_number(value.text if isinstance(value, WrittenNumber) else value, "fee_threshold")
    except InputError as error:
        what = f"{_shown(value)} is not usable"
        found.append(Problem(f"{where}.fee_threshold", what, _sentence(error.fix)))
        return None
    if threshold < 0:
        what = f"{_shown(value)} is not usable"
        found.append(Problem(f"{where}.fee_threshold", what, "Give an amount in USD, zero or above."))
        return None
    origins[f"{where}.fee_threshold"] = "file"
    return threshold


def _plugin_tables(values: Table, kind: str, active: Sequence[str], found: list[Problem]) -> dict[str, Table]:
    """The raw tables of plugins; a table for one that is not active contradicts the list of active ones."""
    # When the list itself is broken, nothing can be said about what it should have held.
    known = not _is_under(f"gate.{kind}", tuple(problem.where for problem in found)) or bool(active)
    tables: dict[str, Table] = {}
    for name, table in _table(values, kind, "", found).items():
        where = _join(kind, name)
        if not isinstance(table, Mapping):
            found.append(_not_a_table(where, table))
            continue
        tables[name] = table
        if known and name not in active:
            what = f"{where} is configured but not active"
            fix = f"Add {_quoted(name)} to gate.{kind}, or take the table out."
            found.append(Problem(where, what, _nearest(name, active, otherwise=fix)))
    return tables


def _pins(table: Table, folder: Path, found: list[Problem]) -> dict[str, Pin]:
    pins: dict[str, Pin] = {}
    for key, entry in table.items():
        where = _join("pins", key)
        kind, _, name = key.partition(".")
        if kind not in _PIN_KINDS or not name:
            fix = f'Write [pins."KIND.NAME"], KIND being one of {", ".join(_PIN_KINDS)}.'
            found.append(Problem(where, "it does not name a plugin", fix))
        elif not isinstance(entry, Mapping):
            found.append(_not_a_table(where, entry))
        else:
            pin = bind(Pin, entry, where, folder)
            found += pin.problems
            if pin.value is not None and not re.fullmatch(r"[0-9a-f]{64}", pin.value.sha256, re.ASCII):
                fix = "Write it with `ordergate plugins pin`; it has 64 digits of 0-9 and a-f."
                found.append(Problem(f"{where}.sha256", f"{_shown(pin.value.sha256)} is no hash", fix))
            elif pin.value is not None:
                pins[key] = pin.value
    return pins


def _check_pinned(
    pins: Mapping[str, Pin], gate: Gate, accounts: Mapping[str, AccountConfig], found: list[Problem]
) -> None:
    """A pin that pins nothing is most often a misspelt one, and what it should guard would run unguarded."""
    if _is_under("gate", tuple(problem.where for problem in found)):
        return
    active = [f"rules.{name}" for name in gate.rules]
    active += [f"observers.{name}" for name in gate.observers]
    active += sorted({f"brokers.{account.broker}" for account in accounts.values() if account.broker})
    for key in pins:
        if key not in active:
            fix = _nearest(key, active, otherwise="Take the pin out, or make the plugin active.")
            found.append(Problem(_join("pins", key), "it pins a plugin that is not active", fix))


# ------------------------------------------------------------------------------------------ contradictions


def _find_contradictions(gate: Gate, path: Path | None, folder: Path, found: list[Problem]) -> None:
    if REPORTING_CURRENCY not in gate.cash:
        what = f"{REPORTING_CURRENCY} is not among them, and everything is counted in it"
        found.append(Problem("gate.cash", what, f'Add "{REPORTING_CURRENCY}".'))
    for currency in gate.at_par:
        if currency not in gate.cash:
            fix = f'Add "{currency}" to gate.cash, or take it out here.'
            found.append(Problem("gate.at_par", f"{currency} is not in gate.cash", fix))
    _check_not_above(gate, "facts_cache", "facts_age", found)
    _check_not_above(gate, "exit_facts", "deadline", found)
    _check_paths_differ(gate, path, folder, found)


def _check_not_above(gate: Gate, low: str, high: str, found: list[Problem]) -> None:
    small, large = getattr(gate, low), getattr(gate, high)
    if small > large:
        what = f"{small:g} s is more than gate.{high}, {large:g} s"
        found.append(Problem(f"gate.{low}", what, f"Give at most {large:g}, or raise gate.{high}."))


def _check_paths_differ(gate: Gate, path: Path | None, folder: Path, found: list[Problem]) -> None:
    """A ledger that is also the halt file would halt the gate by existing; nothing may share a path."""
    places: dict[str, Path] = {"gate.halt_file": gate.halt_file, "gate.fallback": gate.fallback}
    if gate.ledger.startswith("sqlite:///"):
        places["gate.ledger"] = folder / gate.ledger.removeprefix("sqlite:///")
    if path is not None:
        places["the config file"] = path
    seen: dict[str, str] = {}
    for key, place in places.items():
        normal = os.path.normpath(place)
        if normal in seen:
            what = f"it is the same path as {seen[normal]}"
            found.append(Problem(key, what, "Give each a path of its own."))
        seen.setdefault(normal, key)


# ------------------------------------------------------------------------------------------------- binding


def bind(cls: type[T], table: Table, where: str, folder: Path, *, account: str | None = None) -> Bound[T]:
    """Bind one table to one attrs class; all that is wrong with it is found at once, nothing is raised.

    `where` is the table's dotted key. Paths count from `folder`; `{account}` in them becomes the account's
    name. Fields may be bool, int, str, Decimal, float (seconds), Path, StrEnum, Literal, attrs classes,
    lists, tuples and mappings of these, and any of them or None.
    """
    try:
        fields = _fields(cls)
    except Failed as failed:
        return _unbound([_class_fault(where, failed)])
    values = _with_paths(fields, table, folder, account)
    try:
        value = attempt(_converter().structure, values, cls)
    except Failed as failed:
        return _unbound(_explain(cls, fields, values, where, failed))
    origins = {_join(where, name): "file" if name in table else "default" for name in fields}
    return Bound(value=value, problems=(), origins=MappingProxyType(origins))


def _unbound(problems: Iterable[Problem]) -> Bound[Any]:
    return Bound(value=None, problems=tuple(problems), origins=MappingProxyType({}))


Fields = Mapping[str, "attrs.Attribute[Any]"]


def _fields(cls: type) -> Fields:
    """The class's fields with their real types. Raises Failed for no attrs class, and for unknown types."""
    attempt(attrs.resolve_types, cls)
    return {field.name: field for field in attrs.fields(cast("Any", cls)) if field.init}


def _with_paths(fields: Fields, table: Table, folder: Path, account: str | None) -> dict[str, object]:
    """The table with every path in its place in the file system, those that are defaults included."""
    values = dict(table)
    for name, field in fields.items():
        value = table.get(name, field.default)
        is_path = isinstance(value, Path) or (isinstance(value, str) and _takes_path(field.type))
        if is_path and not _path_fault(str(value)):
            text = str(value) if account is None else str(value).replace("{account}", account)
            values[name] = folder / text
    return values


def _takes_path(cls: object) -> bool:
    return cls is Path or Path in get_args(cls)


def _path_fault(text: str) -> str | None:
    if text.startswith("~"):
        return "write the path in full or relative to the config; ~ is not expanded"
    if not text or "\0" in text:
        return "write a path, in full or relative to the config"
    return None


class _Unusable(ValueError):
    """A value that does not fit its key; the fix is for people."""

    def __init__(self, value: object, fix: str) -> None:
        self.value, self.fix = value, fix
        super().__init__(fix)


def _read_amount(value: object, _: object) -> Decimal:
    try:
        return parse_number(value.text if isinstance(value, WrittenNumber) else value, "value")
    except InputError as error:
        raise _Unusable(value, error.fix) from error


def _read_seconds(value: object, cls: object) -> float:
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, str):
        raise _Unusable(value, "write a number without quotes, such as 2.5")
    return float(_read_amount(value, cls))


def _read_whole(value: object, _: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _Unusable(value, "write a whole number without quotes, such as 5")


def _read_flag(value: object, _: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _Unusable(value, "write true or false, without quotes")


def _read_string(value: object, _: object) -> str:
    if isinstance(value, str):
        return value
    raise _Unusable(value, "write text in quotes")


def _read_member(value: object, cls: type[Enum]) -> Enum:
    return value if isinstance(value, cls) else cls(_choice(value, [member.value for member in cls]))


def _read_path(value: object, _: object) -> Path:
    if isinstance(value, Path):
        return value
    fix = _path_fault(value) if isinstance(value, str) else None
    raise _Unusable(value, fix or "write a path in quotes")


def _read_choice(value: object, cls: object) -> object:
    return _choice(value, get_args(cls))


def _choice(value: object, allowed: Sequence[object]) -> object:
    for option in allowed:
        if type(value) is type(option) and value == option:
            return option
    names = [str(option) for option in allowed]
    raise _Unusable(value, _nearest(str(value), names, otherwise=f"Use one of: {', '.join(names)}."))


def _read_anything(value: object, cls: object) -> object:
    if isinstance(value, WrittenNumber):
        return _read_amount(value, cls)
    if isinstance(value, Mapping):
        return {key: _read_anything(entry, cls) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_read_anything(entry, cls) for entry in value]
    return value


Reader = Callable[[Any, Any], Any]


def _list_reader(cls: Any, converter: cattrs.BaseConverter) -> Reader:
    from cattrs.cols import list_structure_factory

    kind: Any = get_origin(cls)
    read: Reader = list_structure_factory(cast("Any", types.GenericAlias(list, get_args(cls)[:1])), converter)

    def read_list(value: object, _: object) -> Any:
        if not isinstance(value, list | tuple):
            raise _Unusable(value, "write a list in brackets")
        return kind(read(value, list))

    return read_list


def _mapping_reader(cls: Any, converter: cattrs.BaseConverter) -> Reader:
    from cattrs.gen import make_mapping_structure_fn

    read: Reader = make_mapping_structure_fn(cast("Any", types.GenericAlias(dict, get_args(cls))), converter)

    def read_mapping(value: object, _: object) -> Any:
        if not isinstance(value, Mapping):
            raise _Unusable(value, 'write a table, such as { "BTC-USD" = "1.5" }')
        return MappingProxyType(read(value, dict))

    return read_mapping


def _class_reader(cls: Any, converter: cattrs.Converter) -> Reader:
    from cattrs.gen import make_dict_structure_fn

    read: Reader = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)

    def read_table(value: object, _: object) -> Any:
        if not isinstance(value, Mapping):
            raise _Unusable(value, "write a table")
        return read(value, cls)

    return read_table


def _comes_from(*origins: object) -> Callable[[Any], bool]:
    return lambda cls: get_origin(cls) in origins


@functools.cache
def _converter() -> cattrs.Converter:
    import cattrs

    converter = cattrs.Converter()
    converter.register_structure_hook(Decimal, _read_amount)
    converter.register_structure_hook(float, _read_seconds)
    converter.register_structure_hook(int, _read_whole)
    converter.register_structure_hook(bool, _read_flag)
    converter.register_structure_hook(str, _read_string)
    for kind in (Enum, IntEnum, StrEnum):  # each, or the hooks of int and str would come first
        converter.register_structure_hook(kind, _read_member)
    converter.register_structure_hook(Path, _read_path)
    converter.register_structure_hook_func(lambda cls: cls in (Any, object, None), _read_anything)
    converter.register_structure_hook_func(_comes_from(Literal), _read_choice)
    converter.register_structure_hook_factory(_comes_from(list, tuple), _list_reader)
    converter.register_structure_hook_factory(_comes_from(dict, Mapping), _mapping_reader)
    converter.register_structure_hook_factory(attrs.has, _class_reader)
    return converter


# --------------------------------------------------------------------------------- from errors to problems


def _explain(cls: type, fields: Fields, values: Table, where: str, failed: Failed) -> list[Problem]:
    """The problems behind a table that could not be bound."""
    from cattrs import ClassValidationError

    cause = failed.cause
    if not isinstance(cause, ClassValidationError):
        return [_class_fault(where, failed)]
    found = list(_told(cause, where, fields))
    found += _outside_bounds(cls, fields, values, where, tuple(problem.where for problem in found))
    if not found:  # no single field is at fault: the class refused them together
        found = [_refused_together(where, fields, refusal) for refusal in cause.group_exceptions()[1]]
    return found


def _refused_together(where: str, fields: Fields, refusal: BaseException) -> Problem:
    if isinstance(refusal, InputError) and refusal.field in fields:
        return _refused(_join(where, refusal.field), refusal.value, refusal)
    return Problem(where, f"it is not usable: {refusal}", "Correct these keys.")


def _class_fault(where: str, failed: Failed) -> Problem:
    fix = "Its settings class is at fault, not the file: ask whoever provides it."
    return Problem(where, f"it cannot be bound: {failed}", fix)


def _told(error: BaseException, where: str, fields: Fields) -> Iterator[Problem]:
    """The tree of errors of cattrs as problems; what the outermost class said is left to `_explain`."""
    from cattrs import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

    if isinstance(error, ClassValidationError):
        noted, refusals = error.group_exceptions()
        for inner, note in noted:
            if isinstance(inner, KeyError):
                fix = _help(fields, note.name) or "Add it."
                yield Problem(_join(where, note.name), "it is missing and has no default", fix)
            else:
                yield from _told(inner, _join(where, note.name), _fields_of(note.type))
        for refusal in refusals:
            if isinstance(refusal, ForbiddenExtraKeysError):
                for name in sorted(map(str, refusal.extra_fields)):
                    yield Problem(_join(where, name), "there is no such key", _nearest(name, fields))
    elif isinstance(error, IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            under = f"{where}[{place.index + 1}]" if isinstance(place.index, int) else _join(where, place.index)
            yield from _told(inner, under, _fields_of(place.type))
    elif isinstance(error, _Unusable):
        yield Problem(where, f"{_shown(error.value)} is not usable", _sentence(error.fix))
    else:
        yield Problem(where, f"it is not usable: {error}", "Correct it.")


def _fields_of(cls: object) -> Fields:
    return _fields(cls) if isinstance(cls, type) and attrs.has(cls) else {}


def _help(fields: Fields, name: str) -> str:
    text = fields[name].metadata.get("help") if name in fields else None
    return _sentence(str(text)) if text else ""


def _outside_bounds(cls: type, fields: Fields, values: Table, where: str, broken: Sequence[str]) -> Iterator[Problem]:
    """What the class's own validators say of each sound field: its constructor stops at the first."""
    draft: object = object.__new__(cls)  # validators may look at the other fields, as they do in a constructor
    complete = True
    sound: dict[str, object] = {}
    for name, field in fields.items():
        if name in values and not _is_under(_join(where, name), broken):
            sound[name] = _converter().structure(values[name], cast("type", field.type))
            object.__setattr__(draft, name, sound[name])
        elif isinstance(field.default, cast("type", attrs.Factory)) or field.default is attrs.NOTHING:
            complete = False
        else:
            object.__setattr__(draft, name, field.default)
    for name, value in sound.items():
        try:
            _check_field(draft, fields[name], value)
        except Failed as failed:
            if complete or not isinstance(failed.cause, AttributeError):
                yield _refused(_place(where, name, failed.cause), value, failed.cause, _help(fields, name))


def _place(where: str, name: str, cause: BaseException) -> str:
    """The key that was refused; a plugin may name one inside its field, such as `prices.BTC-USD`."""
    if isinstance(cause, InputError) and cause.field.startswith(f"{name}."):
        return f"{where}.{cause.field}"
    return _join(where, name)


def _check_field(draft: object, field: attrs.Attribute[Any], value: object) -> None:
    """Run one field's own converter and validator. Raises Failed with whatever they raise."""
    if isinstance(field.converter, attrs.Converter):
        return  # it may want the half-made instance; what it refuses is told of the whole table
    if field.converter is not None:
        value = attempt(field.converter, value)
    if field.validator is not None:
        attempt(field.validator, draft, field, value)


def _refused(where: str, value: object, cause: BaseException, help_text: str = "") -> Problem:
    if isinstance(cause, InputError):
        return Problem(where, f"{_shown(cause.value)} is not usable", _sentence(cause.fix))
    return Problem(where, f"{_shown(value)} is not usable: {cause}", help_text or "Give another value.")


# --------------------------------------------------------------------------------------------- small parts


def _table(values: Table, key: str, where: str, found: list[Problem]) -> Table:
    table = values.get(key, {})
    if isinstance(table, Mapping):
        return table
    found.append(_not_a_table(_join(where, key), table))
    return {}


def _not_a_table(where: str, value: object) -> Problem:
    hint = f" The list of active ones is gate.{where}." if where in ("rules", "observers") else ""
    return Problem(where, f"{_shown(value)} is not a table", f"Write it as a table in brackets.{hint}")


def _refuse_unknown(values: Table, known: Sequence[str], where: str, found: list[Problem]) -> None:
    found += [
        Problem(_join(where, key), "there is no such key", _nearest(key, known)) for key in values if key not in known
    ]


def _nearest(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    names = {entry.lower(): entry for entry in known}
    near = difflib.get_close_matches(name[:100].lower(), names, 1)
    if near:
        return f"Did you mean {names[near[0]]}?"
    if otherwise:
        return otherwise
    return f"Known are {', '.join(names.values())}." if names else "Nothing can be set here; take it out."


def _join(where: str, key: str) -> str:
    """A dotted key as TOML writes it; quoting also unmasks blanks, controls and look-alike letters."""
    part = key if _BARE_KEY.fullmatch(key) else _quoted(key)
    return f"{where}.{part}" if where else part


def _quoted(text: str) -> str:
    return json.dumps(text)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    text = _quoted(value) if isinstance(value, str) else str(value)
    text = text.lower() if isinstance(value, bool) else text
    return text if len(text) <= 60 else f"{text[:48]}… ({len(text)} characters)"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def _kept(value: object) -> object:
    """A copy that nobody can change, with every number in a form that can be shown."""
    if isinstance(value, Mapping):
        return MappingProxyType({str(key): _kept(entry) for key, entry in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_kept(entry) for entry in value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        # No setting is that large, and Python refuses to print what has thousands of digits.
        return WrittenNumber(str(value) if abs(value) < 10**60 else hex(value))
    return value


def _digest(folder: Path, parts: Table) -> str:
    from ordergate.records import canonical, digest

    return digest(canonical(_effective(parts, folder)))


def _effective(value: object, folder: Path) -> object:
    """A value as it counts toward the digest: paths from the folder, numbers as their digits."""
    if isinstance(value, Mapping):
        return {key: _effective(entry, folder) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_effective(entry, folder) for entry in value]
    if attrs.has(type(value)) and not isinstance(value, WrittenNumber):
        return _effective(attrs.asdict(cast("Any", value), recurse=False), folder)
    if isinstance(value, Path):
        return str(value.relative_to(folder) if value.is_relative_to(folder) else value)
    if isinstance(value, Decimal):
        return plain(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
