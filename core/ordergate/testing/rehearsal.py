"""A venue on loopback that a broker can be checked against: what the checks need of it, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from attrs import field, frozen

from ordergate.models import Receipt

__all__ = ["Rehearsal"]


@frozen(kw_only=True)
class Rehearsal(AbstractContextManager["Rehearsal"]):
    """What `rehearse` of a broker answers with. The venue begins with 1,000 USD and 0.01 BTC, BTC-USD at 50,000 USD
    and ETH-USD at 2,500 USD, unless it says otherwise in `notes`.
    """

    settings: Mapping[str, object]
    """The account's table for this broker, as it would stand under `[accounts.NAME.BROKER]`."""
    orders: Callable[[], Sequence[Receipt]]
    """Every order the venue took, oldest first, with the ids on the wire."""
    requests: Callable[[], int]
    """How many requests that could create an order have reached the venue, whatever became of them."""
    fail: Callable[..., None]
    """`fail(name, on=..., times=..., taken=..., status=..., text=...)`, as `Loopback.fail`; raises InputError for what
    this venue cannot act out.
    """
    clear: Callable[[], None]
    """Behave again, and let go whatever hangs."""
    set_price: Callable[[str, str], object]
    """`set_price("BTC-USD", "51000")`: what it reaches is filled."""
    close: Callable[[], None]
    faults: frozenset[str] = frozenset()
    """The names `fail` knows."""
    count: Callable[[str], int] | None = None
    """`count("other")`: how many requests of an action have arrived, as `Loopback.count`; None where nobody counts."""
    at_par: tuple[str, ...] = ()
    """What a config on this venue must name in `gate.at_par`."""
    symbol: str = "BTC-USD"
    """The market that orders of the checks are made in."""
    gate: Mapping[str, Any] = field(factory=dict)
    """Further keys of `[gate]` that this venue needs."""
    notes: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
