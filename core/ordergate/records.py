"""Durable records: how values become JSON and come back exactly as they were.

What is written here is read again by later versions, by `explain`, and by whoever checks the journal, so there
is one way to write each value: amounts are strings of digits, members of an enum their value, tuples and sets
lists, keys of objects sorted. Reading is strict: what this module would not have written is `LedgerDamaged`,
never a guess.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, ValuesView
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from ordergate.amounts import plain
from ordergate.errors import LedgerDamaged

__all__ = ["canonical", "digest", "from_plain", "to_plain"]

T = TypeVar("T")

# Products of three parsed amounts have up to 108 digits; what is far beyond came from no order and no venue.
_MOST_DIGITS: Final = 400
_WRITTEN: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)


def to_plain(value: object) -> Any:
    """The value as dicts, lists, strings, ints, floats, bools and None; only trailing zeros are lost.

    Raises ValueError for numbers that are not finite or absurdly long, TypeError for keys that are no text.
    """
    return _CONVERTER.unstructure(value)


def from_plain(data: object, cls: type[T]) -> T:
    """The exact inverse: `from_plain(to_plain(x), type(x)) == x` for every class of `ordergate.models`.

    Raises LedgerDamaged, naming the class and every field, when the data is not a record of the class: a field
    unknown or missing, a number that is no number, a value that the class itself refuses.
    """
    try:
        return _CONVERTER.structure(data, cls)
    except cattrs.BaseValidationError as error:
        told = cattrs.transform_error(error, "record", format_exception=_told)
        raise LedgerDamaged(_no_record(cls, "; ".join(told))) from error
    except ValueError as error:
        raise LedgerDamaged(_no_record(cls, str(error))) from error


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no blanks, ASCII only. Equal values give equal text.

    Raises ValueError for numbers that are not finite and TypeError for what has no JSON form. The keys of plain dicts
    must be texts.
    """
    # What JSON has a form of is written as it is; `to_plain` is asked for the rest, once for each.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=to_plain)


def digest(text: str) -> str:
    """SHA-256 of the text in UTF-8, 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _told(error: BaseException, _: type | None) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _no_record(cls: object, why: str) -> str:
    return f"this is not the record of a {getattr(cls, '__name__', cls)}: {why}"


# ---------------------------------------------------------------------------------------------------- writing


def _write_amount(value: Decimal) -> str:
    if not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"{value} cannot be recorded: only finite numbers of a sane length can")
    return plain(value)


def _write_mapping(value: Mapping[object, object]) -> dict[str, Any]:
    written = {}
    for key, entry in value.items():
        if not isinstance(key, str):
            raise TypeError(f"the key {key!r} cannot be recorded: keys are strings")
        written[str(key)] = to_plain(entry)
    return written


def _write_set(value: frozenset[object]) -> list[Any]:
    return sorted(to_plain(entry) for entry in value)


def _write_collection(value: Iterable[object]) -> list[Any]:
    return [to_plain(entry) for entry in value]


def _write_seconds(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be recorded: only finite numbers can")
    return value


# ---------------------------------------------------------------------------------------------------- reading


def _read_amount(data: object, _: type) -> Decimal:
    if isinstance(data, str) and _WRITTEN.fullmatch(data):
        return Decimal(data)
    raise ValueError(f"{data!r} is no amount")


def _read_text(data: object, cls: type[str]) -> str:
    if isinstance(data, str):
        return cls(data)
    raise ValueError(f"{data!r} is no text")


def _read_flag(data: object, _: type) -> bool:
    if isinstance(data, bool):
        return data
    raise ValueError(f"{data!r} is neither true nor false")


def _read_whole(data: object, _: type) -> int:
    if isinstance(data, int) and not isinstance(data, bool):
        return data
    raise ValueError(f"{data!r} is no whole number")


def _read_seconds(data: object, _: type) -> float:
    if isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data):
        return float(data)
    raise ValueError(f"{data!r} is no finite number")


def _read_list(data: object, cls: Any) -> Any:
    if isinstance(data, list):
        return get_origin(cls)(_CONVERTER.structure(entry, get_args(cls)[0]) for entry in data)
    raise ValueError(f"{data!r} is no list")


def _read_collection(data: object, cls: Any) -> Any:
    if isinstance(data, list):
        return tuple(_CONVERTER.structure(entry, get_args(cls)[0]) for entry in data)
    raise ValueError(f"{data!r} is no list")


def _read_mapping(data: object, cls: Any) -> dict[str, Any]:
    if isinstance(data, dict):
        return {key: _CONVERTER.structure(entry, get_args(cls)[1]) for key, entry in data.items()}
    raise ValueError(f"{data!r} is no object")


def _class_reader(cls: type, converter: cattrs.Converter) -> Callable[[object, Any], Any]:
    read: Callable[..., Any] = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)

    def read_object(data: object, _: type) -> Any:
        if isinstance(data, dict):
            return read(data, cls)
        raise ValueError(f"{data!r} is no object")

    return read_object


# -------------------------------------------------------------------------------------------------- converter


def _is_list(cls: Any) -> bool:
    return get_origin(cls) in (tuple, frozenset)


def _is_collection(cls: Any) -> bool:
    return get_origin(cls) is Collection or (isinstance(cls, type) and issubclass(cls, ValuesView))


def _is_set(cls: Any) -> bool:
    return cls is frozenset or get_origin(cls) is frozenset


def _is_mapping(cls: Any) -> bool:
    origin = get_origin(cls) or cls
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Decimal, _write_amount)
    converter.register_unstructure_hook(float, _write_seconds)
    converter.register_unstructure_hook(StrEnum, lambda member: member.value)
    converter.register_unstructure_hook_func(_is_mapping, _write_mapping)
    converter.register_unstructure_hook_func(_is_set, _write_set)
    converter.register_unstructure_hook_func(_is_collection, _write_collection)
    converter.register_structure_hook(Decimal, _read_amount)
    converter.register_structure_hook(float, _read_seconds)
    converter.register_structure_hook(int, _read_whole)
    converter.register_structure_hook(bool, _read_flag)
    converter.register_structure_hook(str, _read_text)  # and every StrEnum
    converter.register_structure_hook_func(_is_list, _read_list)
    converter.register_structure_hook_func(_is_collection, _read_collection)
    converter.register_structure_hook_func(_is_mapping, _read_mapping)
    converter.register_structure_hook_factory(attrs.has, _class_reader)
    return converter


_CONVERTER: Final = _converter()
