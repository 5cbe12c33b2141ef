"""A gate on a paper venue of its own, a clock that tests move on instead of waiting, and the venue's own view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

import ordergate_paper as paper
from ordergate import Executor
from ordergate.clock import Clock, SystemClock

FIVE = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
PRICES = {"BTC-USD": "68925.98", "ETH-USD": "3500.00", "SOL-USD": "150.00"}


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
def gate(tmp_path: Path) -> Iterator[Callable[..., Executor]]:
    """gate(cash="100") is an executor with one account, main, on the paper broker; the keys are those of its table.

    `rules` and `settings` go to `[gate]`, `tables` to the top of the config, `accounts` maps further names to their
    paper tables. Called again it is another executor on the same ledger and the same venue, as after a restart.
    """
    with ExitStack() as stack:

        def built(
            *,
            rules: tuple[str, ...] = FIVE,
            settings: Mapping[str, object] | None = None,
            tables: Mapping[str, object] | None = None,
            accounts: Mapping[str, Mapping[str, object]] | None = None,
            clock: Clock | None = None,
            **main: object,
        ) -> Executor:
            books = {"main": {"cash": "1000.00", **main}, **(accounts or {})}
            values = {
                "gate": {"rules": list(rules), **(settings or {})},
                "accounts": {
                    name: {"broker": "paper", "paper": {"prices": PRICES, **table}} for name, table in books.items()
                },
                **(tables or {}),
            }
            return stack.enter_context(Executor.from_values(values, folder=tmp_path, clock=clock))

        yield built


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
