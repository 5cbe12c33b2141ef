"""Whether what foreign code was given is still what it was.

Python freezes nothing against those who mean it: `object.__setattr__` changes any value. So rules get copies, and the
copies are compared afterwards, by exact type first: no comparison of a planted object is ever asked for its opinion.
"""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["copied", "same"]


def copied(value: Any) -> Any:
    """A copy of a frozen value, its nested values included. What is no attrs value is shared."""
    if attrs.has(type(value)):
        return type(value)(**{field.name: copied(getattr(value, field.name)) for field in attrs.fields(type(value))})
    if type(value) is tuple:
        return tuple(copied(part) for part in value)
    return value


def same(one: Any, other: Any) -> bool:
    """True when both have the same types and values all the way down."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if attrs.has(type(one)):
        names = [field.name for field in attrs.fields(type(one))]
        return all(same(getattr(one, name, None), getattr(other, name, None)) for name in names)
    if type(one) is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
