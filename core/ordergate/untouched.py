"""Whether what foreign code was given is still what it was.

Python freezes nothing against those who mean it: `object.__setattr__` changes any value. So rules get copies, and the
copies are compared afterwards, by exact type first: no comparison of a planted object is ever asked for its opinion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from ordergate.models import Position

__all__ = ["Copies", "copied", "same"]

_KNOWN: Final[dict[type, tuple[str, ...]]] = {}


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
    """A copy of a frozen value, its nested values included. What is no attrs value is shared."""
    names = _names(type(value))
    if names:
        return type(value)(**{name: copied(getattr(value, name)) for name in names})
    if type(value) is Copies:
        return value.again()
    return tuple(map(copied, value)) if type(value) is tuple else value


def same(one: Any, other: Any) -> bool:
    """True when both have the same types and values all the way down."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if type(one) is Copies:
        return one.shares(other)
    names = _names(type(one))
    if names:
        return all(same(getattr(one, name, None), getattr(other, name, None)) for name in names)
    if type(one) is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _names(cls: type) -> tuple[str, ...]:
    """The fields of an attrs class, empty for any other: asked for every value of every decision, so kept."""
    if cls not in _KNOWN:
        _KNOWN[cls] = tuple(attrs.fields_dict(cls)) if attrs.has(cls) else ()
    return _KNOWN[cls]
