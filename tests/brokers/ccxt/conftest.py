"""ccxt itself in front of the rehearsal venues: one venue per test, and clients whose connections are closed again."""

from __future__ import annotations

import importlib
import json
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import ordergate_ccxt as broker
from ordergate import Side, VenueOrder
from ordergate.clock import Clock, SystemClock
from ordergate.testing.rehearsal import Rehearsal

PROVEN = ("kraken", "coinbase", "binance")


@pytest.fixture(scope="session", autouse=True)
def _imported() -> None:
    """A machine that is busy with many tests takes long to import ccxt: that is not what they measure."""
    importlib.import_module("ccxt")


@pytest.fixture(params=PROVEN)
def name(request: pytest.FixtureRequest) -> str:
    """Each exchange whose promises are proven; a test may name its own."""
    return str(request.param)


@pytest.fixture
def rehearse(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """rehearse("kraken") starts a venue; its settings are those of this broker."""
    venues: list[Rehearsal] = []

    def started(exchange: str, **seed: Any) -> Any:
        venue = importlib.import_module(f"ordergate.testing.{exchange}").rehearsal(tmp_path / exchange, **seed)
        venues.append(venue)
        settings = {**venue.settings, "exchange": exchange}
        return evolve(venue, settings=settings)

    yield started
    for venue in venues:
        venue.close()


@pytest.fixture
def venue(rehearse: Callable[..., Any], name: str) -> Any:
    return rehearse(name)


@pytest.fixture
def connect() -> Iterator[Callable[..., broker.Client]]:
    """connect(settings) is a client; its connections are closed when the test ends."""
    clients: list[broker.Client] = []

    def connected(settings: Any, clock: Clock | None = None) -> broker.Client:
        client: broker.Client = broker.connect(broker.Settings(**settings))
        client = evolve(client, clock=clock or SystemClock())
        clients.append(client)
        return client

    yield connected
    for client in clients:
        client.close()


@pytest.fixture
def client(venue: Any, connect: Callable[..., broker.Client]) -> broker.Client:
    return connect(venue.settings)


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """edited(venue, "/Ticker", change): the venue's answers at that end of a path are changed before they leave."""

    def edit_answers(venue: Any, path: str, change: Callable[[Any], Any]) -> None:
        answer = venue.dialect.answer

        def changed(request: Any) -> Any:
            reply = answer(request)
            if not request.path.endswith(path):
                return reply
            told = json.loads(reply.body)
            change(told)
            return evolve(reply, body=json.dumps(told).encode())

        monkeypatch.setattr(venue.dialect, "answer", changed)

    return edit_answers


@pytest.fixture
def order() -> Callable[..., VenueOrder]:
    """order(venue, spend="20") is a buy, unless the side says otherwise; each has a new id."""

    def made(venue: Any, side: str = "buy", **terms: Any) -> VenueOrder:
        amounts = {
            word: None if terms.get(word) is None else Decimal(terms[word]) for word in ("spend", "amount", "limit")
        }
        return VenueOrder(
            account="main",
            symbol=terms.get("symbol", venue.symbol),
            side=Side(side),
            client_order_id=terms.get("id", str(uuid.uuid4())),
            send_by=terms.get("send_by", SystemClock().now() + 30),
            **amounts,
        )

    return made
