"""Binding a table to a settings class: every key checked, every fault a `Problem`, and where each value came from.

The same for the gate's own settings and for any plugin's: strict amounts, paths counted from the config's folder, and
whatever a settings class itself refuses told with the key it refuses.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, get_args, get_origin

import attrs
from attrs import frozen

from ordergate.amounts import parse_number
from ordergate.calls import Failed, attempt
from ordergate.errors import InputError, Problem
from ordergate.phrases import dotted, nearest, sentence, shown

if TYPE_CHECKING:
    import cattrs

__all__ = ["Bound", "Table", "WrittenNumber", "bind", "is_under", "refused"]

T = TypeVar("T")
Table = Mapping[str, object]


@frozen
class WrittenNumber:
    """A number with a point or an exponent, kept exactly as it stands in the file until its key is known."""

    text: str

    def __str__(self) -> str:
        return self.text


@frozen(kw_only=True)
class Bound(Generic[T]):
    """A table bound to its settings class: `value` is None exactly when there are problems."""

    value: T | None
    problems: tuple[Problem, ...]
    origins: Mapping[str, str]


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
    origins = {dotted(where, name): "file" if name in table else "default" for name in fields}
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
    raise _Unusable(value, nearest(str(value), names, otherwise=f"Use one of: {', '.join(names)}."))


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
        return refused(dotted(where, refusal.field), refusal.value, refusal)
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
                yield Problem(dotted(where, note.name), "it is missing and has no default", fix)
            else:
                yield from _told(inner, dotted(where, note.name), _fields_of(note.type))
        for refusal in refusals:
            if isinstance(refusal, ForbiddenExtraKeysError):
                for name in sorted(map(str, refusal.extra_fields)):
                    yield Problem(dotted(where, name), "there is no such key", nearest(name, fields))
    elif isinstance(error, IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            under = f"{where}[{place.index + 1}]" if isinstance(place.index, int) else dotted(where, place.index)
            yield from _told(inner, under, _fields_of(place.type))
    elif isinstance(error, _Unusable):
        yield Problem(where, f"{shown(error.value)} is not usable", sentence(error.fix))
    else:
        yield Problem(where, f"it is not usable: {error}", "Correct it.")


def _fields_of(cls: object) -> Fields:
    return _fields(cls) if isinstance(cls, type) and attrs.has(cls) else {}


def _help(fields: Fields, name: str) -> str:
    text = fields[name].metadata.get("help") if name in fields else None
    return sentence(str(text)) if text else ""


def _outside_bounds(cls: type, fields: Fields, values: Table, where: str, broken: Sequence[str]) -> Iterator[Problem]:
    """What the class's own validators say of each sound field: its constructor stops at the first."""
    draft: object = object.__new__(cls)  # validators may look at the other fields, as they do in a constructor
    complete = True
    sound: dict[str, object] = {}
    for name, field in fields.items():
        if name in values and not is_under(dotted(where, name), broken):
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
                yield refused(_place(where, name, failed.cause), value, failed.cause, _help(fields, name))


def _place(where: str, name: str, cause: BaseException) -> str:
    """The key that was refused; a plugin may name one inside its field, such as `prices.BTC-USD`."""
    if isinstance(cause, InputError) and cause.field.startswith(f"{name}."):
        return f"{where}.{cause.field}"
    return dotted(where, name)


def _check_field(draft: object, field: attrs.Attribute[Any], value: object) -> None:
    """Run one field's own converter and validator. Raises Failed with whatever they raise."""
    if isinstance(field.converter, attrs.Converter):
        return  # it may want the half-made instance; what it refuses is told of the whole table
    if field.converter is not None:
        value = attempt(field.converter, value)
    if field.validator is not None:
        attempt(field.validator, draft, field, value)


def refused(where: str, value: object, cause: BaseException, help_text: str = "") -> Problem:
    if isinstance(cause, InputError):
        return Problem(where, f"{shown(cause.value)} is not usable", sentence(cause.fix))
    return Problem(where, f"{shown(value)} is not usable: {cause}", help_text or "Give another value.")


def is_under(where: str, broken: Sequence[str]) -> bool:
    return any(place == where or place.startswith((f"{where}.", f"{where}[")) for place in broken)
