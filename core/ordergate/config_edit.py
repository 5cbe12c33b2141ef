"""Edits of the config file that commands make: plugins in and out, and pins. Comments and layout stay.

Every edit is read back before anything is written: the new text must mean exactly what the old one meant, and
the change. It then replaces the file in one step: a reader finds the old one or the new one, never a half.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import attrs
from attrs import frozen

from ordergate.errors import ConfigError, InputError, Problem
from ordergate.hookspecs import BROKER, Kind
from ordergate.pins import Pin

__all__ = ["Edit", "disable", "enable", "write_pin"]

_BOM: Final = "\ufeff"


@frozen
class Edit:
    """What an edit did; where nothing had to change, the file was not touched. `warning` is what to know."""

    changed: bool
    warning: str | None = None


@frozen
class _File:
    """`text` is without the byte order mark that some editors put first; `mark` keeps it."""

    path: Path
    mark: str
    text: str
    values: dict[str, Any]


def enable(path: Path, kind: Kind, name: str) -> Edit:
    """Make a rule or an observer active: add it at the end of its list in `[gate]`. Imports nothing of it.

    Raises InputError for a broker, PluginError when not exactly one installed distribution provides the name,
    and ConfigError when the file cannot be read, edited or written.
    """
    from ordergate.plugins import find_provider

    key = _list_key(kind, name)
    find_provider(kind, name)
    file = _read(path)
    if name in _active(file, key):
        return Edit(changed=False, warning=f"{name} is active already.")

    def add(values: Any) -> None:
        values.setdefault("gate", {}).setdefault(key, []).append(name)

    listed = key in file.values.get("gate", {})
    _replace(file, _through_tomlkit(file, add) if listed else _with_new_list(file, key, name), add)
    return Edit(changed=True)


def disable(path: Path, kind: Kind, name: str) -> Edit:
    """Take a rule or an observer out of its list in `[gate]`.

    Its own table and its pin are commented out with it: left standing, they would contradict the list. Raises
    InputError for a broker, and ConfigError when the file cannot be read, edited or written.
    """
    key = _list_key(kind, name)
    file = _read(path)
    active = _active(file, key)
    if name not in active:
        nearest = get_close_matches(name, active, n=1)
        question = f"; did you mean {nearest[0]}?" if nearest else "."
        return Edit(changed=False, warning=f"{name} is not active{question}")

    def take_out(values: Any) -> None:
        while name in values["gate"][key]:
            values["gate"][key].remove(name)

    def take_out_all(values: Any) -> None:
        take_out(values)
        values.get(key, {}).pop(name, None)
        values.get("pins", {}).pop(f"{key}.{name}", None)

    text = _through_tomlkit(file, take_out)
    for table in ((key, name), ("pins", f"{key}.{name}")):
        text = _with_table_commented_out(text, *table)
    _replace(file, text, take_out_all)
    if key == "rules" and set(active) == {name}:
        return Edit(changed=True, warning="No rule is active now: an empty set approves no buy at all.")
    return Edit(changed=True)


def write_pin(path: Path, kind: Kind, name: str, pin: Pin) -> Edit:
    """Write the pin of an active plugin, in place of an older one or at the end of the file.

    Raises InputError when the plugin is not active (a pin that pins nothing is a mistake), and ConfigError
    when the file cannot be read, edited or written.
    """
    file = _read(path)
    if name not in (_brokers(file) if kind is BROKER else _active(file, _list_key(kind, name))):
        raise InputError("name", name, f"it is no active {kind.name}; make it active, then pin it")
    key = f"{kind.name}s.{name}"
    fields: dict[str, str] = attrs.asdict(pin)

    def pin_it(values: Any) -> None:
        entry = values.setdefault("pins", {}).setdefault(key, {})
        for field, value in fields.items():
            entry[field] = value

    pins = file.values.get("pins", {})
    if not isinstance(pins, dict) or not isinstance(pins.get(key, {}), dict):
        raise _problem(path, "pins is not a table of tables", f'Write [pins."{key}"] as a section of its own.')
    if key not in pins:
        lines = [
            f"[pins.{_quoted(key)}]",
            *(f"{field} = {_quoted(value)}" for field, value in fields.items()),
        ]
        text = _with_lines_at_end(file, lines)
    elif pins[key].items() >= fields.items():
        return Edit(changed=False)
    else:
        text = _through_tomlkit(file, pin_it)
    _replace(file, text, pin_it)
    return Edit(changed=True)


# --------------------------------------------------------------------------------------------- what is active


def _list_key(kind: Kind, name: str) -> str:
    if kind is BROKER:
        raise InputError(
            "name",
            name,
            f'a broker is active where an account names it: broker = "{name}" under [accounts.NAME]',
        )
    return f"{kind.name}s"


def _active(file: _File, key: str) -> list[str]:
    gate = file.values.get("gate", {})
    names = gate.get(key, []) if isinstance(gate, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _problem(file.path, f"gate.{key} is not a list of names", f'Write {key} = ["NAME"] under [gate].')
    return names


def _brokers(file: _File) -> list[object]:
    accounts = file.values.get("accounts", {})
    sections = accounts.values() if isinstance(accounts, dict) else ()
    return [section.get("broker") for section in sections if isinstance(section, dict)]


# ----------------------------------------------------------------------------------------------- the new text


def _through_tomlkit(file: _File, change: Callable[[Any], None]) -> str:
    """Change lists and values that are there: tomlkit keeps everything around them."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(file.text)
        change(document)
        return tomlkit.dumps(document)
    except (TOMLKitError, TypeError, ValueError) as error:
        raise _not_editable(file.path) from error


# What is new is put in as lines: tomlkit would put it between a section and the comment above that section.


def _with_new_list(file: _File, key: str, name: str) -> str:
    line = f"{key} = [{_quoted(name)}]"
    if "gate" not in file.values:
        return _with_lines_at_end(file, ["[gate]", line])
    header = re.search(r"^[ \t]*\[[ \t]*gate[ \t]*\][^\n]*\n?", file.text, re.MULTILINE)
    if header is None:
        raise _not_editable(file.path)
    above = file.text[: header.end()]
    return above + ("" if above.endswith("\n") else "\n") + line + "\n" + file.text[header.end() :]


def _with_lines_at_end(file: _File, lines: list[str]) -> str:
    above = file.text if not file.text or file.text.endswith("\n") else file.text + "\n"
    gap = "" if not above.strip() or above.endswith(("\n\n", "\n\r\n")) else "\n"
    return above + gap + "\n".join(lines) + "\n"


def _with_table_commented_out(text: str, section: str, name: str) -> str:
    """Put `# ` before each line of `[section.name]` and of the tables in it, save blank ones and comments."""
    written = [
        f'"{re.escape(name)}"',
        f"'{re.escape(name)}'",
        *([name] if re.fullmatch(r"[\w-]+", name, re.ASCII) else ()),
    ]
    own = re.compile(rf"\[\s*{section}\s*\.\s*(?:{'|'.join(written)})\s*[.\]]")
    inside = False
    lines = text.split("\n")
    for number, line in enumerate(lines):
        content = line.strip()
        if content.startswith("["):
            inside = own.match(content) is not None
        if inside and content and not content.startswith("#"):
            lines[number] = f"# {line}"
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# --------------------------------------------------------------------------------------------------- the file


def _read(path: Path) -> _File:
    try:
        with path.open(encoding="utf-8", newline="") as opened:
            text = opened.read()
        mark = _BOM if text.startswith(_BOM) else ""
        text = text.removeprefix(_BOM)
        return _File(path, mark, text, _parsed(text))
    except FileNotFoundError as error:
        raise _problem(path, "there is no such file", "Run `ordergate init` to write one.") from error
    except OSError as error:
        raise _problem(path, f"it cannot be read: {error.strerror}", "Name a file that can be read.") from error
    except UnicodeDecodeError as error:
        raise _problem(path, "it is not UTF-8 text", "Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise _problem(path, f"it is not TOML: {error}", "Correct the line named.") from error


def _parsed(text: str) -> dict[str, Any]:
    # Fractions stay text: exact, and a NaN equals itself when the edit is read back.
    return tomllib.loads(text, parse_float=str)


def _replace(file: _File, text: str, change: Callable[[Any], None]) -> None:
    """Put the text in the file's place, if it means what it should and nobody changed the file meanwhile."""
    if "\r\n" in file.text:
        text = re.sub(r"(?<!\r)\n", "\r\n", text)
    meant = copy.deepcopy(file.values)
    change(meant)
    try:
        got = _parsed(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_editable(file.path) from error
    if _without_empty_tables(got) != _without_empty_tables(meant):
        raise _not_editable(file.path)
    if _read(file.path).text != file.text:
        raise _problem(file.path, "it was changed by someone else just now", "Run the command again.")
    try:
        _write(file.path.resolve(), file.mark + text)
    except OSError as error:
        raise _problem(file.path, f"it cannot be written: {error.strerror}", "Give this user the right.") from error


def _write(target: Path, text: str) -> None:
    """Replace the file itself, not a link to it; keep its mode, and its owner where that is allowed."""
    before = target.stat()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
            opened.write(text)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            opened.flush()
            os.fsync(descriptor)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # so that the new name, too, survives a loss of power
    finally:
        os.close(folder)


def _without_empty_tables(values: dict[str, Any]) -> dict[str, Any]:
    """Commenting the only table of a section out takes the section with it; that is meant."""
    return {key: value for key, value in values.items() if value != {}}


def _problem(path: Path, what: str, fix: str) -> ConfigError:
    return ConfigError([Problem(str(path), what, fix)])


def _not_editable(path: Path) -> ConfigError:
    return _problem(
        path, "it is laid out in a way that this edit would disturb", "Nothing was changed; edit it by hand."
    )
