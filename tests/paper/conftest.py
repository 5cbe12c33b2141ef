"""A venue per test in a folder of its own, and short ways to write orders."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import ordergate_paper as paper
from ordergate import Side, VenueOrder
from ordergate.amounts import parse_number
from ordergate.clock import SystemClock

NOW = 1_800_000_000.0


class HeldClock(SystemClock):
    """The real clock, except that now is always the same moment."""

    def now(self) -> float:
        return NOW


@pytest.fixture
def connect(tmp_path: Path) -> Callable[..., paper.PaperVenue]:
    """connect(cash="300") gives a client of the test's one venue file, whose clock stands at NOW."""

    def connected(**settings: Any) -> paper.PaperVenue:
        settings.setdefault("state", tmp_path / "paper.db")
        return evolve(paper.connect(paper.Settings(**settings)), clock=HeldClock())

    return connected


@pytest.fixture
def order() -> Callable[..., VenueOrder]:
    """order("buy", "BTC-USD", spend="20"), each with a new id unless one is named."""
    numbers = itertools.count(1)

    def made(side: str, symbol: str, **fields: Any) -> VenueOrder:
        amounts = {
            name: None if fields.get(name) is None else parse_number(fields[name], name)
            for name in ("spend", "amount", "limit")
        }
        return VenueOrder(
            account="main",
            symbol=symbol,
            side=Side(side),
            client_order_id=fields.get("id", f"order-{next(numbers)}"),
            send_by=fields.get("send_by", NOW + 5),
            **amounts,
        )

    return made


@pytest.fixture
def balances() -> Callable[[paper.PaperVenue], dict[str, tuple[str, str]]]:
    """balances(client) gives each currency's (available, hold) as text."""

    def shown(client: paper.PaperVenue) -> dict[str, tuple[str, str]]:
        return {
            holding.currency: (str(holding.available.normalize()), str(holding.hold.normalize()))
            for holding in paper.get_account(client).holdings
        }

    return shown
