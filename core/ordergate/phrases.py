"""How problems are worded: keys as TOML writes them, values as they stand, and the nearest valid name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from ordergate.errors import shortened

__all__ = ["dotted", "nearest", "quoted", "sentence", "shown"]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def nearest(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    names = {entry.lower(): entry for entry in known}
    near = difflib.get_close_matches(name[:100].lower(), names, 1)
    if near:
        return f"Did you mean {names[near[0]]}?"
    if otherwise:
        return otherwise
    return f"Known are {', '.join(names.values())}." if names else "Nothing can be set here; take it out."


def dotted(where: str, key: str) -> str:
    """A dotted key as TOML writes it; quoting also unmasks blanks, controls and look-alike letters."""
    part = key if _BARE_KEY.fullmatch(key) else quoted(key)
    return f"{where}.{part}" if where else part


def quoted(text: str) -> str:
    return json.dumps(text)


def shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    text = quoted(value) if isinstance(value, str) else str(value)
    text = text.lower() if isinstance(value, bool) else text
    return shortened(text)


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
