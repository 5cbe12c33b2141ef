"""The broker behind the gate and its command line: buys, refusals, exits, cancels, and outcomes that are settled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner

import ordergate_kraken as broker
from ordergate import Executor, Order, OrderStatus, hookimpl
from ordergate.cli import commands
from ordergate.clock import SystemClock
from ordergate.testing.kraken import KrakenRehearsal, rehearsal

FIVE = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]


class MovedClock(SystemClock):
    """The real clock, which tests move, and on which sleeping takes no time at all."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += seconds


@pytest.fixture
def gate(kraken: KrakenRehearsal, tmp_path: Path) -> Iterator[Callable[..., Executor]]:
    """An executor with one account on the rehearsal venue; called again, another one on the same ledger."""
    with ExitStack() as stack:

        def built(*, clock: SystemClock | None = None, **settings: Any) -> Executor:
            values = {
                "gate": {"rules": FIVE, **settings},
                "accounts": {"main": {"broker": "kraken", "kraken": dict(kraken.settings)}},
            }
            return stack.enter_context(Executor.from_values(values, folder=tmp_path, clock=clock))

        yield built


def test_a_buy_that_every_rule_approves_reaches_the_venue(
    gate: Callable[..., Executor], kraken: KrakenRehearsal
) -> None:
    decision = gate().submit(Order.buy("BTC-USD", spend="75", client_order_id="first"))

    assert decision.status is OrderStatus.FILLED
    (known,) = kraken.orders()
    assert decision.venue_order is not None
    assert known.client_order_id == decision.venue_order.client_order_id
    assert decision.receipt is not None
    assert (decision.receipt.filled_value, decision.receipt.order_id) == (known.filled_value, known.order_id)


def test_a_buy_that_a_rule_refuses_does_not(gate: Callable[..., Executor], kraken: KrakenRehearsal) -> None:
    decision = gate().submit(Order.buy("BTC-USD", spend="12"))

    assert decision.status is OrderStatus.REFUSED
    assert {"min_allocation", "min_position"} <= {one.rule for one in decision.refusals}
    assert kraken.requests() == 0


def test_s01_wrong_venue_threshold_the_rule_gets_krakens_own(tmp_path: Path) -> None:
    """Ten dollars, so that 12 USD, enough for another venue's average, are not enough here."""
    with rehearsal(tmp_path / "venue", cash="100", positions={}) as venue:
        account = {"broker": "kraken", "kraken": dict(venue.settings)}
        values = {"gate": {"rules": ["average_position"]}, "accounts": {"main": account}}
        with Executor.from_values(values, folder=tmp_path) as executor:
            (verdict,) = executor.check(Order.buy("BTC-USD", spend="12")).refusals

    assert (verdict.rule, str(verdict.limit)) == ("average_position", "15.0")


@pytest.mark.parametrize("taken", [True, False])
def test_c01_took_it_no_reply_and_c02_never_arrived_are_both_settled(
    gate: Callable[..., Executor], kraken: KrakenRehearsal, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    clock = MovedClock()

    @hookimpl
    def get_time(client: object) -> float:
        return clock.now()  # deadlines run out by the venue's clock, so it moves along

    monkeypatch.setattr(broker, "get_time", get_time)
    executor = gate(clock=clock)
    kraken.fail("cut", taken=taken)

    decision = executor.submit(Order.buy("BTC-USD", spend="75", client_order_id="first"))
    assert decision.status is OrderStatus.UNKNOWN
    (early,) = executor.reconcile("main")["main"]
    assert early.status is (OrderStatus.FILLED if taken else None)  # what is not found may still arrive

    clock.ahead += 5 + broker.broker_profile().honoured + 2.1
    late = executor.reconcile("main")["main"]

    assert [one.status for one in late] == ([] if taken else [OrderStatus.EXPIRED])
    assert len(kraken.orders()) == int(taken)
    assert kraken.requests() == 1


def test_c12_blind_lookups_an_order_that_shows_only_in_the_trades_is_filled_and_nothing_is_free(
    gate: Callable[..., Executor], kraken: KrakenRehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = MovedClock()

    @hookimpl
    def get_time(client: object) -> float:
        return clock.now()

    monkeypatch.setattr(broker, "get_time", get_time)
    kraken.fail("cut")
    assert gate(clock=clock).submit(Order.buy("BTC-USD", spend="75", client_order_id="first")).status == "unknown"
    kraken.dialect.unlisted = True
    clock.ahead += 60

    (settled,) = gate(clock=clock).reconcile("main")["main"]

    assert settled.status is OrderStatus.FILLED
    assert (len(kraken.orders()), kraken.requests()) == (1, 1)


def test_a_rejection_tells_the_venues_reason_once(gate: Callable[..., Executor], kraken: KrakenRehearsal) -> None:
    kraken.fail("error", on="place", text="EOrder:Insufficient funds", taken=False)

    decision = gate().submit(Order.buy("BTC-USD", spend="75"))

    assert decision.message == "Rejected by the venue: EOrder:Insufficient funds."


def test_g08_over_powered_key_buys_nothing_and_still_sells(tmp_path: Path) -> None:
    with rehearsal(tmp_path / "venue", permissions=("view", "trade", "withdraw")) as venue:
        account = {"broker": "kraken", "kraken": dict(venue.settings)}
        values = {"gate": {"rules": FIVE}, "accounts": {"main": account}}
        with Executor.from_values(values, folder=tmp_path) as executor:
            refused = executor.submit(Order.buy("BTC-USD", spend="75"))
            sold = executor.submit(Order.sell("BTC-USD", amount="0.001"))

    assert "key_too_powerful" in {one.code for one in refused.refusals}
    assert sold.status is OrderStatus.FILLED


def test_d08_clock_that_is_off_buys_nothing_and_still_sells(tmp_path: Path) -> None:
    with rehearsal(tmp_path / "venue", clock_ahead=3600) as venue:
        account = {"broker": "kraken", "kraken": dict(venue.settings)}
        values = {"gate": {"rules": FIVE}, "accounts": {"main": account}}
        with Executor.from_values(values, folder=tmp_path) as executor:
            refused = executor.submit(Order.buy("BTC-USD", spend="75"))
            sold = executor.submit(Order.sell("BTC-USD", amount="0.001"))

    assert "clock_skew" in {one.code for one in refused.refusals}
    assert sold.status is OrderStatus.FILLED


def test_an_exit_goes_while_no_facts_can_be_had(gate: Callable[..., Executor], kraken: KrakenRehearsal) -> None:
    for action in ("account", "market", "prices", "permissions", "time", "fees", "find"):
        kraken.fail("http", on=action, times=None)

    decision = gate().submit(Order.sell("BTC-USD", amount="0.001"))

    assert decision.status in (OrderStatus.FILLED, OrderStatus.OPEN)
    assert [one.status for one in kraken.orders()] == [OrderStatus.FILLED]


def test_staked_coins_fill_a_place_and_are_not_sold(tmp_path: Path) -> None:
    locked: Mapping[str, str] = {"ETH": "0.1"}
    with rehearsal(tmp_path / "venue", locked=locked) as venue:
        account = {"broker": "kraken", "kraken": dict(venue.settings)}
        values = {"gate": {"rules": FIVE}, "accounts": {"main": account}}
        with Executor.from_values(values, folder=tmp_path) as executor:
            sold = executor.submit(Order.sell("ETH-USD", all=True))
            report = executor.setup.brokers["main"].get_account()

    assert sold.status is OrderStatus.REFUSED
    assert {one.currency: str(one.locked) for one in report.holdings}["ETH"].startswith("0.1")
    assert venue.orders() == []


# ---------------------------------------------------------------------------------------------------- command line


@frozen
class Ran:
    code: int
    out: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def ordergate(kraken: KrakenRehearsal, tmp_path: Path) -> Callable[..., Ran]:
    """ordergate("check", "buy", …) runs a command on a config that names the rehearsal venue."""
    config = tmp_path / "ordergate.toml"
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in kraken.settings.items())
    config.write_text(
        f'[gate]\nrules = {json.dumps(FIVE)}\n\n[accounts.main]\nbroker = "kraken"\n\n[accounts.main.kraken]\n{table}\n'
    )

    def run(*words: str) -> Ran:
        done = CliRunner().invoke(commands, ["--config", str(config), *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ran(done.exit_code, done.stdout)

    return run


def test_the_command_line_buys_refuses_sells_and_cancels(
    ordergate: Callable[..., Ran], kraken: KrakenRehearsal
) -> None:
    bought = ordergate("buy", "BTC-USD", "--spend", "75", "--id", "first", "--json")
    refused = ordergate("buy", "BTC-USD", "--spend", "12", "--json")
    rests = ordergate("buy", "ETH-USD", "--amount", "0.04", "--limit", "2000", "--id", "rests", "--json")
    cancelled = ordergate("cancel", "rests", "--json")
    sold = ordergate("sell", "BTC-USD", "--all", "--json")

    assert [one.code for one in (bought, refused, rests, cancelled, sold)] == [0, 3, 0, 0, 0]
    assert [one.data["status"] for one in (bought, rests, cancelled, sold)] == [
        "filled",
        "open",
        "cancelled",
        "filled",
    ]
    assert [one.status for one in kraken.orders()] == [
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.FILLED,
    ]


def test_the_command_line_says_unknown_and_settles(ordergate: Callable[..., Ran], kraken: KrakenRehearsal) -> None:
    kraken.fail("cut")

    unknown = ordergate("buy", "BTC-USD", "--spend", "75", "--id", "first", "--json")
    settled = ordergate("reconcile", "--json")
    told = ordergate("explain", "first", "--json")

    assert (unknown.code, unknown.data["status"]) == (4, "unknown")
    assert settled.code == 0
    assert '"filled"' in told.out
    assert len(kraken.orders()) == kraken.requests() == 1


def test_the_command_line_shows_no_secret(ordergate: Callable[..., Ran], kraken: KrakenRehearsal) -> None:
    lines = Path(str(kraken.settings["key_file"])).read_text().split()

    shown = "".join(ordergate(*words).out for words in (("doctor",), ("positions",), ("status",), ("limits",)))

    assert "kraken" in shown
    for line in lines:
        assert line not in shown
