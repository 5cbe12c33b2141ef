"""What every rehearsed venue stands on: a paper venue with a clock of its own, a key file, an order as it was sent."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

import ordergate_paper as paper
from ordergate.clock import SystemClock
from ordergate.models import VenueOrder

__all__ = ["Ahead", "as_sent", "seeded", "write_key_file"]


class Ahead(SystemClock):
    """The clock of a venue that is ahead of this machine by so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return super().now() + self._seconds


def seeded(
    file: Path, venue: paper.Imitated, *, cash: str, clock_ahead: float, seed: Mapping[str, Any]
) -> paper.PaperVenue:
    """The venue whose file this is, made with `cash` and 0.01 BTC where there is none.

    BTC is at 50,000 and ETH at 2,500. `seed` are settings of the paper venue that differ.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    quote = "USDT" if venue is paper.Imitated.BINANCE else "USD"
    begin = {
        "positions": {f"BTC-{quote}": "0.01"},
        "prices": {f"BTC-{quote}": "50000", f"ETH-{quote}": "2500"},
        **seed,
    }
    settings = paper.Settings(venue=venue, state=file, cash=cash, **begin)
    client: paper.PaperVenue = paper.connect(settings)
    return evolve(client, clock=Ahead(clock_ahead))


def write_key_file(path: Path, text: str) -> None:
    """A file that only its owner can read, as the gate demands. It must not be there yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def as_sent(placed: paper.Placed) -> VenueOrder:
    """An order the venue took, in the form it was sent in; no venue here can be told a moment to send it by."""
    return VenueOrder(
        account="",
        symbol=placed.symbol,
        side=placed.side,
        spend=placed.spend,
        amount=placed.amount,
        limit=placed.limit,
        client_order_id=placed.client_order_id,
        send_by=math.inf,
    )
