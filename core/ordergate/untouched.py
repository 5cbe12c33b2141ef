"""Whether what foreign code was given is still what it was.

Python freezes nothing against those who mean it: `object.__setattr__` changes any value. So rules get copies, and
afterwards each part of a copy must be of the very class it was and hold the very objects it held: no planted object is
ever asked for its opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from operator import attrgetter, is_
from types import MappingProxyType, NoneType
from typing import Any, Final, TypeAlias

import attrs

from ordergate.models import Position

__all__ = ["Copies", "Copy"]


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


class Copy:
    """A copy of a frozen value, its nested values included, that can say whether anything in it was changed.

    What is no attrs value is shared with the original: numbers, texts, named tuples and tuples of them, which nobody
    can change.
    """

    __slots__ = ("_parts", "original", "value")

    def __init__(self, original: Any) -> None:
        self.original = original
        self._parts: list[tuple[object, type, _Read, tuple[Any, ...]]] = []
        self.value = self._copied(original)

    def is_untouched(self) -> bool:
        """True while every part is of the class it was, and holds the very values it held."""
        try:
            return all(
                type(part) is cls and all(map(is_, read(part), before)) for part, cls, read, before in self._parts
            )
        except AttributeError:  # a field was deleted
            return False

    def _copied(self, value: Any) -> Any:
        fields = _KNOWN[type(value)]
        if fields is None:
            return value
        before = tuple(part if type(part) in _PLAIN else self._copied(part) for part in fields.read(value))
        copy = (
            type(value)(*before)
            if type(value) is Copies
            else type(value)(**dict(zip(fields.names, before, strict=True)))
        )
        self._parts.append((copy, type(value), fields.read, before))
        return copy


# Nothing is nested in these.
_PLAIN: Final = frozenset({bool, int, float, str, Decimal, frozenset, NoneType})

_Read: TypeAlias = Callable[[Any], tuple[Any, ...]]


@attrs.frozen
class _Fields:
    """The names of a class's fields, and what reads them all."""

    names: tuple[str, ...]
    read: _Read


class _Known(dict[type, _Fields | None]):
    """The fields of each attrs class, None for any other class; asked for every value of every decision, so kept."""

    def __missing__(self, cls: type) -> _Fields | None:
        names = Copies.__slots__ if cls is Copies else tuple(attrs.fields_dict(cls)) if attrs.has(cls) else ()
        self[cls] = _Fields(names, _reader(names)) if names else None
        return self[cls]


def _reader(names: tuple[str, ...]) -> _Read:
    if len(names) == 1:  # for a single name attrgetter gives the value itself, no tuple
        return lambda value: (getattr(value, names[0]),)
    return attrgetter(*names)


_KNOWN: Final = _Known()
