"""A clock that tests move on instead of waiting, and the venue's own view."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import ordergate_paper as paper
from ordergate import Executor
from ordergate.clock import SystemClock


class MovedClock(SystemClock):
    """The machine's clock and `ahead` seconds more. Sleeping moves it on at once."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += seconds


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def venue() -> Iterator[Callable[..., paper.PaperVenue]]:
    """venue(executor) is the paper client of its account main, or of another. What hangs there is let go at the end."""
    clients: list[paper.PaperVenue] = []

    def of(executor: Executor, account: str = "main") -> paper.PaperVenue:
        client = executor.setup.brokers[account].client(5.0)
        assert isinstance(client, paper.PaperVenue)
        clients.append(client)
        return client

    yield of
    for client in clients:
        client.released.set()
