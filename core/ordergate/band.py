"""Which sizes would pass: the smallest, the largest, and who bounds them. Sizes are counted in whole steps.

It asks instead of computing, so it is true for any rule that is, for a fixed market, a minimum in size, a maximum, or
indifferent to size.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

__all__ = ["Band", "find_band", "smallest"]

Refusing = Callable[[int], frozenset[str]]
"""Names of those who refuse a size of so many steps."""


@frozen
class Band:
    """From `least` to `most` steps everything passes. The sets name who refuses one step outside."""

    least: int
    most: int
    below: frozenset[str]
    above: frozenset[str]


def smallest(refusing: Refusing, top: int) -> int | None:
    """The fewest steps, from 1 to `top`, that nobody refuses; None when there is no such size."""
    if top < 1:
        return None
    at_one = refusing(1)
    if not at_one:
        return 1
    # Whoever refuses the top is a maximum, or refuses every size: going up never wins them over.
    at_top = refusing(top)
    if at_one & at_top:
        return None
    low, high = 1, top
    while high - low > 1:
        middle = (low + high) // 2
        if refusing(middle) - at_top:
            low = middle
        else:
            high = middle
    return high if not refusing(high) else None


def find_band(refusing: Refusing, top: int) -> Band | None:
    """The whole band, or None when no size passes."""
    least = smallest(refusing, top)
    if least is None:
        return None
    low, high = least, top + 1
    while high - low > 1:
        middle = (low + high) // 2
        if refusing(middle):
            high = middle
        else:
            low = middle
    below = refusing(least - 1) if least > 1 else frozenset()
    above = refusing(low + 1) if low < top else frozenset()
    return Band(least, low, below, above)
