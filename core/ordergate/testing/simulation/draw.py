"""Numbers that follow from a seed and nothing else, the same on every machine and in every version of Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Draw"]

T = TypeVar("T")


class Draw:
    """A sequence of choices. Two with the same key make the same ones."""

    def __init__(self, *key: object) -> None:
        self._key, self._count = repr(key), 0

    def below(self, bound: int) -> int:
        """A whole number from 0 to under `bound`."""
        self._count += 1
        digest = hashlib.sha256(f"{self._key}/{self._count}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % bound

    def choice(self, among: Sequence[T]) -> T:
        return among[self.below(len(among))]

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent
