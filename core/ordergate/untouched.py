"""Whether what foreign code was given is still what it was.

Python freezes nothing against those who mean it: `object.__setattr__` changes any value. So rules get copies, and the
copies are compared afterwards, by exact type first: no comparison of a planted object is ever asked for its opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from operator import attrgetter
from types import MappingProxyType, NoneType
from typing import Any, Final

import attrs

from ordergate.models import Position

__all__ = ["Copies", "copied", "same"]


class Copies(Mapping[str, Position]):
    """Positions by currency for rules to read. Each look gives a copy, and what they are copied from cannot be written
    through it: nothing done to one reaches the others, and no copy of them all has to be made for each rule.
    """

    __slots__ = ("_positions",)

    def __init__(self, positions: Mapping[str, Position]) -> None:
        self._positions = positions if type(positions) is MappingProxyType else MappingProxyType(positions)

    def __getitem__(self, currency: str) -> Position:
        return attrs.evolve(self._positions[currency])

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, currency: object) -> bool:
        return currency in self._positions

    def again(self) -> Copies:
        return Copies(self._positions)

    def shares(self, other: Copies) -> bool:
        return self._positions is other._positions


def copied(value: Any) -> Any:
    """A copy of a frozen value, its nested values included.

    What is no attrs value is shared: numbers, texts, named tuples and tuples of them, which nobody can change.
    """
    fields = _KNOWN[type(value)]
    if fields is None:
        return value.again() if type(value) is Copies else value
    parts = zip(fields.names, fields.read(value), strict=True)
    return type(value)(**{name: part if type(part) in _PLAIN else copied(part) for name, part in parts})


def same(one: Any, other: Any) -> bool:
    """True when both have the same types and values all the way down."""
    if type(one) is not type(other):
        return False
    fields = _KNOWN[type(one)]
    if fields is None:
        return one.shares(other) if type(one) is Copies else type(one) in _PLAIN and one == other
    try:
        pairs = zip(fields.read(one), fields.read(other), strict=True)
        # Most of what is in a copy is in its original too.
        return all(mine is theirs or same(mine, theirs) for mine, theirs in pairs)
    except AttributeError:  # a field was deleted
        return False


# Nothing is nested in these, and their own comparison is to be trusted.
_PLAIN: Final = frozenset({bool, int, float, str, Decimal, frozenset, NoneType})


@attrs.frozen
class _Fields:
    """The names of an attrs class's fields, and what reads them all."""

    names: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]


class _Known(dict[type, _Fields | None]):
    """The fields of each attrs class, None for any other class; asked for every value of every decision, so kept."""

    def __missing__(self, cls: type) -> _Fields | None:
        names = tuple(attrs.fields_dict(cls)) if attrs.has(cls) else ()
        self[cls] = _Fields(names, _reader(names)) if names else None
        return self[cls]


def _reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:  # for a single name attrgetter gives the value itself, no tuple
        return lambda value: (getattr(value, names[0]),)
    return attrgetter(*names)


_KNOWN: Final = _Known()
