"""Reading `ordergate.toml`: every problem found at once, and whatever is sound kept usable.

A config that cannot be read at all raises `ConfigError`. Everything else that is wrong becomes a `Problem`
with the dotted key, what is wrong with the value, and the fix; the key then has its default. A config with
problems lets no buy pass, and exits go on: that is the executor's business, this module only says what it
found. Turning one table into one settings class is `ordergate.binding`'s.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import attrs
from attrs import frozen

from ordergate.amounts import parse_number, plain
from ordergate.binding import Table, WrittenNumber, bind, is_under, refused
from ordergate.errors import ConfigError, InputError, Problem
from ordergate.models import REPORTING_CURRENCY, Tier
from ordergate.phrases import dotted, nearest, quoted, sentence, shown
from ordergate.pins import Pin
from ordergate.settings import DEFAULT_TIERS, Gate, check_tier

__all__ = ["AccountConfig", "Config", "Owned", "config_from_values", "read_config"]

_MOST_BYTES: Final = 1_000_000
_SECTIONS: Final = ("gate", "tiers", "accounts", "rules", "observers", "pins")
_ACCOUNT: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_BROKER: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PIN_KINDS: Final = ("rules", "brokers", "observers")


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
class Owned:
    """Who answers for the limits of a rule, and why they are what they are, as `[rules.NAME]` says it."""

    owner: str | None = None
    reason: str | None = None


@frozen(kw_only=True)
class Config:
    """What the file says, or the defaults where it says nothing or nothing usable; `problems` has the latter.

    `path` and `folder` are those of the real file behind any link; relative paths count from `folder`.
    `rules` and `observers` are the raw tables of plugins, for `bind`; `owned` is what was taken out of those of rules,
    for the rules that say it. `digest` is the SHA-256 of all that
    takes effect, wherever the file stands. `origins` says of each key: from `file`, or `default`.
    """

    path: Path | None
    folder: Path
    gate: Gate
    tiers: tuple[Tier, ...]
    accounts: Mapping[str, AccountConfig]
    rules: Mapping[str, Table]
    owned: Mapping[str, Owned]
    observers: Mapping[str, Table]
    pins: Mapping[str, Pin]
    problems: tuple[Problem, ...]
    digest: str
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
    where = str(path) if str(path).isprintable() else quoted(str(path))
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
    rules, owned = _owned(_plugin_tables(values, "rules", gate.rules, found), found)
    observers = _plugin_tables(values, "observers", gate.observers, found)
    pins = _pins(_table(values, "pins", "", found), folder, found)
    _check_pinned(pins, gate, accounts, found)
    _find_contradictions(gate, path, folder, found)
    parts: dict[str, Any] = {
        "gate": gate,
        "tiers": tiers,
        "accounts": MappingProxyType(accounts),
        "rules": MappingProxyType(rules),
        "owned": MappingProxyType(owned),
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
        sound = {key: value for key, value in table.items() if not is_under(dotted("gate", key), broken)}
        bound = bind(Gate, sound, "gate", folder)
    origins.update(bound.origins)
    gate = cast("Gate", bound.value)
    if not gate.rules and not is_under("gate.rules", tuple(problem.where for problem in found)):
        fix = 'Name the rules, such as rules = ["position_cap", "min_position"].'
        found.append(Problem("gate.rules", "no rule is active, and an empty set of rules approves nothing", fix))
    return gate


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
    found += [refused(dotted(where, fault.field), fault.value, fault) for fault in faults]
    return None if faults else bound.value


def _check_order(before: Sequence[Tier], tier: Tier, where: str, found: list[Problem]) -> None:
    if any(tier.name == other.name for other in before):
        found.append(Problem(f"{where}.name", f"{shown(tier.name)} stands twice", "Give each tier its own name."))
    if before and tier.equity <= before[-1].equity:
        what = f"{plain(tier.equity)} is not above {plain(before[-1].equity)}, where the tier before it begins"
        found.append(Problem(f"{where}.equity", what, "Order the tiers by equity, each above the one before."))


def _accounts(table: Table, found: list[Problem], origins: dict[str, str]) -> dict[str, AccountConfig]:
    accounts: dict[str, AccountConfig] = {}
    for name, section in table.items():
        where = dotted("accounts", name)
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
    if isinstance(broker, str) and _BROKER.fullmatch(broker) and broker != "broker":
        return broker
    named = [key for key, value in section.items() if isinstance(value, Mapping)]
    what = "it is missing" if broker is None else f"{shown(broker)} is no name of a broker"
    found.append(Problem(f"{where}.broker", what, f'Write broker = "{named[0] if named else "paper"}".'))
    return None


def _refuse_other_keys(section: Table, broker: str | None, where: str, found: list[Problem]) -> None:
    """An account has its broker's name and that broker's table; the table of another is most often a slip."""
    for key, value in section.items():
        if key in ("broker", broker):
            continue
        if not isinstance(value, Mapping):
            fix = f"What the broker needs stands in [{where}.{broker or 'BROKER'}]."
            found.append(Problem(dotted(where, key), "there is no such key", nearest(key, ["broker"], otherwise=fix)))
        elif broker is not None:
            fix = f"Rename it to [{where}.{broker}], take it out, or name the other broker."
            found.append(Problem(dotted(where, key), f"the broker of this account is {broker}", fix))


def _fee_threshold(table: Table, where: str, found: list[Problem], origins: dict[str, str]) -> Decimal | None:
    if "fee_threshold" not in table:
        origins[f"{where}.fee_threshold"] = "default"
        return None
    value = table["fee_threshold"]
    try:
        threshold = parse_number(value.text if isinstance(value, WrittenNumber) else value, "fee_threshold")
    except InputError as error:
        what = f"{shown(value)} is not usable"
        found.append(Problem(f"{where}.fee_threshold", what, sentence(error.fix)))
        return None
    if threshold < 0:
        what = f"{shown(value)} is not usable"
        found.append(Problem(f"{where}.fee_threshold", what, "Give an amount in USD, zero or above."))
        return None
    origins[f"{where}.fee_threshold"] = "file"
    return threshold


def _plugin_tables(values: Table, kind: str, active: Sequence[str], found: list[Problem]) -> dict[str, Table]:
    """The raw tables of plugins; a table for one that is not active contradicts the list of active ones."""
    # When the list itself is broken, nothing can be said about what it should have held.
    known = not is_under(f"gate.{kind}", tuple(problem.where for problem in found)) or bool(active)
    tables: dict[str, Table] = {}
    for name, table in _table(values, kind, "", found).items():
        where = dotted(kind, name)
        if not isinstance(table, Mapping):
            found.append(_not_a_table(where, table))
            continue
        tables[name] = table
        if known and name not in active:
            what = f"{where} is configured but not active"
            fix = f"Add {quoted(name)} to gate.{kind}, or take the table out."
            found.append(Problem(where, what, nearest(name, active, otherwise=fix)))
    return tables


def _owned(tables: Table, found: list[Problem]) -> tuple[dict[str, Table], dict[str, Owned]]:
    """The tables of rules without what the gate reads itself: who answers for each, and why."""
    rest: dict[str, Table] = {}
    owned: dict[str, Owned] = {}
    for name, table in cast("Mapping[str, Table]", tables).items():
        words = {key: table[key] for key in ("owner", "reason") if key in table}
        rest[name] = MappingProxyType({key: value for key, value in table.items() if key not in words})
        fix = "Write 1 to 200 printable characters in quotes."
        unfit = [key for key, text in words.items() if not _is_sentence(text)]
        found += [
            Problem(dotted(dotted("rules", name), key), f"{shown(words[key])} is not usable", fix) for key in unfit
        ]
        fit = {key: str(text) for key, text in words.items() if key not in unfit}
        if fit:
            owned[name] = Owned(**fit)
    return rest, owned


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip()) and len(value) <= 200


def _pins(table: Table, folder: Path, found: list[Problem]) -> dict[str, Pin]:
    pins: dict[str, Pin] = {}
    for key, entry in table.items():
        where = dotted("pins", key)
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
                found.append(Problem(f"{where}.sha256", f"{shown(pin.value.sha256)} is no hash", fix))
            elif pin.value is not None:
                pins[key] = pin.value
    return pins


def _check_pinned(
    pins: Mapping[str, Pin], gate: Gate, accounts: Mapping[str, AccountConfig], found: list[Problem]
) -> None:
    """A pin that pins nothing is most often a misspelt one, and what it should guard would run unguarded."""
    if is_under("gate", tuple(problem.where for problem in found)):
        return
    active = [f"rules.{name}" for name in gate.rules]
    active += [f"observers.{name}" for name in gate.observers]
    active += sorted({f"brokers.{account.broker}" for account in accounts.values() if account.broker})
    for key in pins:
        if key not in active:
            fix = nearest(key, active, otherwise="Take the pin out, or make the plugin active.")
            found.append(Problem(dotted("pins", key), "it pins a plugin that is not active", fix))


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
    _check_lease(gate, found)
    _check_paths_differ(gate, path, folder, found)


def _check_not_above(gate: Gate, low: str, high: str, found: list[Problem]) -> None:
    small, large = getattr(gate, low), getattr(gate, high)
    if small > large:
        what = f"{small:g} s is more than gate.{high}, {large:g} s"
        found.append(Problem(f"gate.{low}", what, f"Give at most {large:g}, or raise gate.{high}."))


def _check_lease(gate: Gate, found: list[Problem]) -> None:
    """A sender that was stopped and wakes up must find its decisions expired before anybody else may send."""
    least = gate.send_within + gate.deadline
    if gate.sender_lease < least and not gate.ledger.startswith("sqlite:"):
        what = f"{gate.sender_lease:g} s is less than gate.send_within and gate.deadline together, {least:g} s"
        found.append(Problem("gate.sender_lease", what, f"Give at least {least:g}."))


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


# --------------------------------------------------------------------------------------------- small parts


def _table(values: Table, key: str, where: str, found: list[Problem]) -> Table:
    table = values.get(key, {})
    if isinstance(table, Mapping):
        return table
    found.append(_not_a_table(dotted(where, key), table))
    return {}


def _not_a_table(where: str, value: object) -> Problem:
    hint = f" The list of active ones is gate.{where}." if where in ("rules", "observers") else ""
    return Problem(where, f"{shown(value)} is not a table", f"Write it as a table in brackets.{hint}")


def _refuse_unknown(values: Table, known: Sequence[str], where: str, found: list[Problem]) -> None:
    found += [
        Problem(dotted(where, key), "there is no such key", nearest(key, known)) for key in values if key not in known
    ]


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
