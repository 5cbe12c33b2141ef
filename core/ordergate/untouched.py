"""Whether what foreign code was given is still what it was.

Python freezes nothing against those who mean it: `object.__setattr__` changes any value. So rules get copies, and the
copies are compared afterwards, by exact type first: no comparison of a planted object is ever asked for its opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, TypeAlias

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
    fields = _fields_of(type(value))
    if fields is not None:
        names, read = fields
        return type(value)(**dict(zip(names, map(copied, read(value)), strict=True)))
    return value.again() if type(value) is Copies else value


def same(one: Any, other: Any) -> bool:
    """True when both have the same types and values all the way down."""
    if one is other:  # what is in both, as most of a copy and its original is
        return True
    if type(one) is not type(other):
        return False
    fields = _fields_of(type(one))
    if fields is not None:
        read = fields[1]
        try:
            return all(map(same, read(one), read(other)))
        except AttributeError:  # a field was deleted
            return False
    if type(one) is Copies:
        return one.shares(other)
    return type(one) in _ASKED and one == other


# Of these an equal one is as good; everything else that is shared must be the very same.
_ASKED: Final = frozenset({bool, int, float, str, Decimal, frozenset})

_Fields: TypeAlias = tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]
_KNOWN: Final[dict[type, _Fields | None]] = {}


def _fields_of(cls: type) -> _Fields | None:
    """The names of an attrs class's fields and what reads them all; None for any other class. Asked for every value of
    every decision, so kept.
    """
    if cls not in _KNOWN:
        names = tuple(attrs.fields_dict(cls)) if attrs.has(cls) else ()
        _KNOWN[cls] = (names, _reader(names)) if names else None
    return _KNOWN[cls]


def _reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:  # for one name, attrgetter gives the value and no tuple
        return lambda value: (getattr(value, names[0]),)
    return attrgetter(*names)
