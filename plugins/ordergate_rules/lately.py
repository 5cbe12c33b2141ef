"""What of an account's past counts in a window of time: for the rules that look back.

A moment after `now` is always inside: a clock that was set back makes nothing forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import takewhile

from ordergate import History, PastOrder
from ordergate.amounts import ZERO

__all__ = ["buys_after", "heard", "results_after"]


def buys_after(history: History, moment: float) -> Iterator[PastOrder]:
    """Orders sent after a moment, newest first, exits left out: they use up nothing."""
    sent = takewhile(lambda order: order.at > moment, history.orders)
    return (order for order in sent if not order.is_exit)


def results_after(history: History, moment: float) -> Iterator[tuple[PastOrder, Decimal]]:
    """What sells won or, below zero, lost in USD, where the last word of the sell came after a moment.

    An order may rest for long before it fills, so all orders are looked at.
    """
    for order in history.orders:
        if order.realised is not None and heard(order) > moment:
            yield order, order.realised or ZERO


def heard(order: PastOrder) -> float:
    """When the last word of an order was recorded, seconds since the epoch."""
    return order.at if order.heard_at is None else order.heard_at
