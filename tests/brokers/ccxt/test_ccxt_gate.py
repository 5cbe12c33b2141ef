"""The whole program on this broker: commands, unknown outcomes, and what the gate makes of a key or a clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner

import ordergate_ccxt
from ordergate import Executor, Order, OrderStatus, Side, hookimpl
from ordergate.cli import commands
from ordergate.clock import SystemClock

FIVE = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]


class MovedClock(SystemClock):
    """The real clock, which tests move, and on which sleeping takes no time."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += seconds


def config(venue: Any) -> dict[str, Any]:
    table = {key: str(value) for key, value in venue.settings.items()}
    patient = dict.fromkeys(("deadline", "facts_age", "send_within", "exit_facts"), 30)  # busy machines are slow
    gate = {"rules": FIVE, "at_par": list(venue.at_par), **patient}
    return {"gate": gate, "accounts": {"main": {"broker": "ccxt", "ccxt": table}}}


@frozen
class Ran:
    code: int
    data: Any


@pytest.fixture
def program(venue: Any, tmp_path: Path) -> Callable[..., Ran]:
    """program("buy", ...) runs a command with `--json` on the rehearsal venue."""
    told = config(venue)
    lines = ["[gate]", *(f"{key} = {json.dumps(value)}" for key, value in told["gate"].items())]
    lines += ["[accounts.main]", 'broker = "ccxt"', "[accounts.main.ccxt]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in told["accounts"]["main"]["ccxt"].items()]
    file = tmp_path / "ordergate.toml"
    file.write_text("\n".join(lines))

    def run(*words: str) -> Ran:
        result = CliRunner().invoke(commands, ["--config", str(file), *words, "--json"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, json.loads(result.stdout))

    return run


def test_buy_refuse_sell_and_cancel_from_the_command_line(venue: Any, program: Callable[..., Ran]) -> None:
    refused = program("buy", venue.symbol, "--spend", "3")
    assert (refused.code, venue.requests()) == (3, 0)
    bought = program("buy", venue.symbol, "--spend", "80", "--id", "first")
    assert (bought.code, bought.data["status"]) == (0, "filled")
    assert program("buy", venue.symbol, "--spend", "80", "--id", "first").data["replayed"] is True
    rested = program("buy", venue.symbol, "--amount", "0.002", "--limit", "40000", "--id", "second")
    assert (rested.code, rested.data["status"]) == (0, "open")
    assert program("cancel", "second").data["status"] == "cancelled"
    sold = program("sell", venue.symbol, "--all")
    assert (sold.code, sold.data["status"]) == (0, "filled")
    assert venue.requests() == len(venue.orders()) == 3


def test_an_unknown_outcome_is_settled_from_the_command_line(venue: Any, program: Callable[..., Ran]) -> None:
    program("positions")
    venue.fail("cut")
    assert program("buy", venue.symbol, "--spend", "80", "--id", "lost").code == 4
    program("reconcile")
    assert program("explain", "lost").data["status"] == "filled"
    assert venue.requests() == len(venue.orders()) == 1


def test_an_order_that_never_arrived_is_let_go_when_it_no_longer_can(
    venue: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = MovedClock()

    @hookimpl
    def get_time(client: Any) -> float:
        return clock.now()  # deadlines run out by the venue's clock, so it moves along

    monkeypatch.setattr(ordergate_ccxt, "get_time", get_time)
    with Executor.from_values(config(venue), folder=tmp_path, clock=clock) as executor:
        venue.fail("cut", taken=False)
        order = Order.buy(venue.symbol, spend="80", client_order_id="never")
        assert executor.submit(order).status is OrderStatus.UNKNOWN
        executor.reconcile("main")
        assert executor.submit(order).status is OrderStatus.UNKNOWN
        blocked = executor.submit(Order.buy(venue.symbol, spend="80"))
        assert blocked.status is OrderStatus.REFUSED
        clock.ahead += 600
        executor.reconcile("main")
        assert executor.submit(order).status is OrderStatus.EXPIRED
    assert (venue.requests(), venue.orders()) == (1, [])


def test_an_exit_passes_while_the_outcome_of_a_buy_is_unknown(venue: Any, tmp_path: Path) -> None:
    with Executor.from_values(config(venue), folder=tmp_path) as executor:
        venue.fail("html")
        assert executor.submit(Order.buy(venue.symbol, spend="80")).status is OrderStatus.UNKNOWN
        sold = executor.submit(Order.sell(venue.symbol, amount="0.002"))
    assert sold.status is OrderStatus.FILLED
    assert venue.orders()[-1].side is Side.SELL


@pytest.mark.parametrize(
    ("name", "excess"), [("kraken", "withdraw"), ("coinbase", "transfer"), ("binance", "withdraw")]
)
def test_g08_over_powered_key_buys_nothing_and_sells(
    rehearse: Callable[..., Any], name: str, excess: str, tmp_path: Path
) -> None:
    venue = rehearse(name, permissions=("view", "trade", excess))
    with Executor.from_values(config(venue), folder=tmp_path) as executor:
        assert executor.submit(Order.buy(venue.symbol, spend="80")).status is OrderStatus.REFUSED
        assert executor.submit(Order.sell(venue.symbol, amount="0.002")).status is OrderStatus.FILLED


@pytest.mark.parametrize("name", ["kraken"])
def test_facts_serve_as_long_as_the_venues_budget_asks_for(venue: Any, tmp_path: Path) -> None:
    with Executor.from_values(config(venue), folder=tmp_path) as executor:
        executor.check(Order.buy(venue.symbol, spend="80"))
        asked = venue.server.count("account")
        for _ in range(5):
            executor.check(Order.buy(venue.symbol, spend="80"))
        assert venue.server.count("account") == asked
