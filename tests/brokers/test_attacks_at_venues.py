"""Attacks on the money path over venues: keys of other accounts, clocks that are off, odd figures from plugins, answers
that say too much, orders that come too late. Each test is named after what is done to the gate.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import ordergate_ccxt as ccxt_broker
import ordergate_coinbase as coinbase_broker
import ordergate_kraken as broker
import ordergate_paper as paper
from ordergate import BrokerError, Executor, Order, OrderStatus, RateLimited, hookimpl, nonces, testing
from ordergate.amounts import exact
from ordergate.clock import SystemClock
from ordergate.errors import InputError
from ordergate.facts import Facts
from ordergate.ledger import Reservation
from ordergate.models import AccountReport, Figure, OpenOrder, Receipt, Side, VenueOrder
from ordergate.settings import Gate as GateSettings
from ordergate.testing.binance import rehearsal as binance
from ordergate.testing.coinbase import rehearsal as coinbase
from ordergate.testing.kraken import KrakenRehearsal, rehearsal
from ordergate.testing.loopback import Reply, Request
from ordergate.valuation import value

FIVE = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]
SOME = "0.001"
"""An amount of BTC that every venue takes: 50 USD."""


class MovedClock(SystemClock):
    """The machine's own clock, `ahead` by some seconds and set `back` by some; sleeping moves it and takes no time."""

    def __init__(self) -> None:
        self.ahead = self.back = 0.0

    def now(self) -> float:
        return super().now() + self.ahead - self.back

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    """A clock that the venues tell as well: deadlines run out by theirs, so it moves along."""
    moved = MovedClock()

    @hookimpl
    def get_time(client: object) -> float:
        return moved.now()

    for module in (broker, coinbase_broker):
        monkeypatch.setattr(module, "get_time", get_time)
    return moved


def config(table: Mapping[str, Any], name: str = "kraken", **gate: Any) -> dict[str, Any]:
    return {"gate": {"rules": FIVE, **gate}, "accounts": {"main": {"broker": name, name: dict(table)}}}


@contextmanager
def gate(folder: Path, values: Mapping[str, Any], clock: MovedClock | None = None) -> Iterator[Executor]:
    """An executor whose broker is connected already: importing an SDK takes its time, which is no part of any call."""
    with Executor.from_values(values, folder=folder, clock=clock) as executor:
        executor.setup.brokers["main"].client(60.0)
        yield executor


@contextmanager
def kraken_gate(folder: Path) -> Iterator[tuple[KrakenRehearsal, Executor]]:
    """Kraken's rehearsal venue and a gate with one account on it."""
    with rehearsal(folder / "venue") as venue, gate(folder, config(venue.settings)) as executor:
        yield venue, executor


def twisted(
    monkeypatch: pytest.MonkeyPatch, venue: KrakenRehearsal, name: str, change: Callable[[dict[str, Any]], bytes]
) -> None:
    """The venue answers `name` with what `change` makes of its answer."""
    true = venue.dialect.answer

    def answer(request: Request) -> Reply:
        reply = true(request)
        return Reply(change(json.loads(reply.body))) if request.path.endswith(f"/{name}") else reply

    monkeypatch.setattr(venue.dialect, "answer", answer)


def sell() -> Order:
    return Order.sell("BTC-USD", amount=SOME, client_order_id="x")


# ----------------------------------------------------------------------------------------------- keys of other accounts


def test_c02_a_key_of_another_account_proves_no_absence(tmp_path: Path, clock: MovedClock) -> None:
    """Took it, no reply; then the key file is that of another account, which truly has no such order."""
    with rehearsal(tmp_path / "one") as one, rehearsal(tmp_path / "two") as two:
        one.fail("cut", taken=True)
        with gate(tmp_path, config(one.settings), clock) as executor:
            bought = executor.submit(Order.buy("BTC-USD", spend="75", client_order_id="x"))
            assert bought.status is OrderStatus.UNKNOWN

        clock.ahead += 30
        with gate(tmp_path, config(two.settings), clock) as executor:
            assert [one.status for one in executor.reconcile("main")["main"]] == [None]

        with gate(tmp_path, config(one.settings), clock) as executor:
            assert [one.status for one in executor.reconcile("main")["main"]] == [OrderStatus.FILLED]
        assert len(one.orders()) == 1


def test_an_exit_by_another_accounts_key_says_so(tmp_path: Path) -> None:
    """`sell --all` under the key of another account sells what is there, but not without a word."""
    with rehearsal(tmp_path / "one") as one, rehearsal(tmp_path / "two") as two:
        with gate(tmp_path, config(one.settings)) as executor:
            assert executor.submit(Order.buy("BTC-USD", spend="75")).status is OrderStatus.FILLED
        with gate(tmp_path, config(two.settings)) as executor:
            sold = executor.submit(Order.sell("BTC-USD", all=True))
        assert sold.status is OrderStatus.REFUSED or any(
            "was bound to the funds" in warning for warning in sold.warnings
        )


# --------------------------------------------------------------------------------------------------------------- clocks


@pytest.mark.parametrize("ahead", [-3600, 30])
def test_d08_clock_that_is_off_traps_no_exit_through_ccxt(tmp_path: Path, ahead: float) -> None:
    """The deadline that Kraken is sent is one of Kraken's time, whoever writes the request."""
    with rehearsal(tmp_path / "venue", clock_ahead=ahead) as venue:
        table = {**venue.settings, "exchange": "kraken"}
        with gate(tmp_path, config(table, "ccxt")) as executor:
            decision = executor.submit(sell())
        assert decision.status is OrderStatus.FILLED, decision.message


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_d08_clock_that_is_off_traps_no_exit_at_binance(tmp_path: Path, ahead: float) -> None:
    """Binance refuses what is stamped a second ahead of its time, or seconds behind it."""
    with binance(tmp_path / "venue", clock_ahead=ahead) as venue:
        table = {**venue.settings, "exchange": "binance"}
        with gate(tmp_path, config(table, "ccxt", at_par=["USDT"])) as executor:
            decision = executor.submit(Order.sell("BTC-USDT", amount=SOME))
        assert decision.status is OrderStatus.FILLED, decision.message


def test_d08_a_clock_set_back_for_the_moment_of_a_send_lets_no_order_arrive_after_its_proof(
    tmp_path: Path, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadline told by a clock that is an hour behind would outlast the proof that the order never arrived."""
    connect_truly, place_truly = broker.connect, broker.place_order

    class Theirs(SystemClock):
        def now(self) -> float:
            return clock.now() + clock.back

    @hookimpl
    def connect(settings: broker.Settings) -> broker.Client:
        client = connect_truly(settings)
        client.clock = clock
        return client

    @hookimpl
    def place_order(client: broker.Client, order: VenueOrder) -> Receipt:
        clock.back = 3600
        try:
            return place_truly(client, order)
        finally:
            clock.back = 0

    monkeypatch.setattr(broker, "connect", connect)
    monkeypatch.setattr(broker, "place_order", place_order)
    with rehearsal(tmp_path / "venue") as venue:
        venue.dialect.venue = evolve(venue.dialect.venue, clock=Theirs())
        venue.fail("late", on="place")
        with gate(tmp_path, config(venue.settings), clock) as executor:
            assert executor.submit(sell()).status is OrderStatus.UNKNOWN
            clock.ahead += 14
            (settled,) = executor.reconcile("main")["main"]
            assert settled.status is OrderStatus.EXPIRED
            venue.dialect._nonces.clear()  # as for a key with a window, which takes nonces that come late
            venue.server.release()
            assert OrderStatus.FILLED not in [order.status for order in venue.orders()]


# --------------------------------------------------------------------------------------------- odd figures from plugins


@pytest.mark.parametrize("seconds", ["30", None, Decimal(3), float("nan"), 10**9])
def test_c14_odd_seconds_of_a_rate_limit_hold_up_no_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: Any
) -> None:
    """A plugin hands a header on as it came."""

    @hookimpl
    def get_account(client: object) -> None:
        raise RateLimited(seconds, "slow down")

    monkeypatch.setattr(broker, "get_account", get_account)
    with kraken_gate(tmp_path) as (_, executor):
        assert executor.submit(sell()).status is OrderStatus.FILLED


@pytest.mark.parametrize("seconds", ["30", None, Decimal(3)])
def test_c14_odd_seconds_of_a_rate_limit_after_a_send_lose_no_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: Any
) -> None:
    """The order is taken, and what the plugin then raises cannot be counted with."""
    place_truly = broker.place_order

    @hookimpl
    def place_order(client: broker.Client, order: VenueOrder) -> None:
        place_truly(client, order)
        raise RateLimited(seconds, "slow down")

    monkeypatch.setattr(broker, "place_order", place_order)
    with kraken_gate(tmp_path) as (venue, executor):
        decision = executor.submit(Order.buy("BTC-USD", spend="75", client_order_id="x"))
        assert decision.status is OrderStatus.UNKNOWN
        recorded = executor.desk.ledger().find("main", "x")
        assert recorded is not None
        assert recorded.status == OrderStatus.UNKNOWN
        assert len(venue.orders()) == 1


@pytest.mark.parametrize("seconds", [float("inf"), 1e9])
def test_c14_an_endless_rate_limit_ends(
    tmp_path: Path, clock: MovedClock, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Asked to leave the venue alone for ever, the gate asks again within the hour."""
    account_truly, limited = broker.get_account, [True]

    @hookimpl
    def get_account(client: broker.Client) -> AccountReport:
        if limited:
            raise RateLimited(seconds, "slow down")
        return account_truly(client)

    monkeypatch.setattr(broker, "get_account", get_account)
    buy = Order.buy("BTC-USD", spend="75")
    with (
        rehearsal(tmp_path / "venue") as venue,
        gate(tmp_path, config(venue.settings), clock) as executor,
    ):
        assert not executor.check(buy).approved
        limited.clear()
        assert not executor.check(buy).approved  # it is left alone
        clock.ahead += 3601
        assert executor.check(buy).approved


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("message", b"bytes"),
        ("order_id", object()),
        ("code", {1}),
        ("filled_amount", Decimal("1E+999999")),
        ("limit", float("nan")),
    ],
)
def test_c07_an_odd_receipt_is_an_unknown_outcome_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, odd: Any
) -> None:
    """The order is taken, and the receipt says so in a form that cannot be written down."""
    place_truly = broker.place_order

    @hookimpl
    def place_order(client: broker.Client, order: VenueOrder) -> Receipt:
        odd_one: Receipt = evolve(place_truly(client, order), **{name: odd})
        return odd_one

    monkeypatch.setattr(broker, "place_order", place_order)
    with kraken_gate(tmp_path) as (venue, executor):
        assert executor.submit(sell()).status is OrderStatus.UNKNOWN
        executor.submit(sell())
        assert len(venue.orders()) == venue.requests() == 1


@pytest.mark.parametrize("odd", [["a"], {"a": 1}, 5])
def test_an_id_of_a_resting_order_that_is_no_text_holds_up_no_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: Any
) -> None:
    """An emergency looks at what rests, and not every id can be looked up in a table."""
    account_truly = broker.get_account

    @hookimpl
    def get_account(client: broker.Client) -> AccountReport:
        resting = OpenOrder(
            order_id="x", symbol="BTC-USD", side=Side.BUY, amount_left=Decimal(1), limit=Decimal(1), client_order_id=odd
        )
        return evolve(account_truly(client), open_orders=(resting,))

    monkeypatch.setattr(broker, "get_account", get_account)
    with kraken_gate(tmp_path) as (_, executor):
        order = Order.sell("BTC-USD", amount=SOME, force_liquidate=True, reason="test")
        assert executor.submit(order).status is OrderStatus.FILLED


# -------------------------------------------------------------------------------------------------- files and addresses


def test_c17_a_stopped_process_that_holds_the_nonce_file_traps_no_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program was stopped in the microseconds in which it had the file."""
    monkeypatch.setattr(nonces, "_BRIEF", 0.0)
    with kraken_gate(tmp_path) as (venue, executor):
        executor.check(Order.buy("BTC-USD", spend="75"))
        with Path(f"{venue.settings['key_file']}.nonce").open("r+b") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            decision = executor.submit(sell())
        assert decision.status is OrderStatus.FILLED, decision.message


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo"])
@pytest.mark.parametrize("ending", [".nonce", ".nonce.turn"])
def test_c17_something_else_in_place_of_the_nonce_file(tmp_path: Path, kind: str, ending: str) -> None:
    """What cannot be written is gone without, and what a link leads to is not touched."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with kraken_gate(tmp_path) as (venue, executor):
        place = Path(f"{venue.settings['key_file']}{ending}")
        if kind == "directory":
            place.mkdir()
        elif kind == "symlink":
            place.symlink_to(victim)
        else:
            os.mkfifo(place)
        assert executor.submit(sell()).status is OrderStatus.FILLED
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("ccxt", "http://evil.example\\@127.0.0.1"),
        ("ccxt", "https://me:secret@api.kraken.com"),
        ("ccxt", "https://api.kraken.com?x=1"),
        ("ccxt", "https://api.kraken.com#"),
        ("kraken", "http://evil.example\\@127.0.0.1"),
        ("kraken", "https://api.kraken.com#"),
    ],
)
def test_c16_an_address_that_two_parsers_read_differently_is_refused(tmp_path: Path, name: str, address: str) -> None:
    """One parser sees this machine, where plain words are allowed, and the other one connects to a stranger."""
    settings = partial(ccxt_broker.Settings, exchange="kraken") if name == "ccxt" else broker.Settings
    with pytest.raises(InputError, match="base_url"):
        settings(key_file=tmp_path, base_url=address)


# --------------------------------------------------------------------------------------------------- answers of a venue


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_one_hiccup_of_the_last_look_makes_no_accepted_order_unknown(tmp_path: Path, side: Side) -> None:
    """The venue has taken the order and said so; then one question about it is answered with an error."""
    with kraken_gate(tmp_path) as (venue, executor):
        executor.check(Order.buy("BTC-USD", spend="75"))  # the tables of markets are there
        venue.fail("error", on="find", times=1, text="EService:Unavailable")
        decision = executor.submit(Order.buy("BTC-USD", spend="75") if side is Side.BUY else sell())
        assert len(venue.orders()) == 1
        assert decision.status is OrderStatus.FILLED, decision.message


def test_c05_an_answer_that_says_its_result_twice_rejects_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of two equal names wins in most parsers, and hides the id of an order that was taken."""

    def change(told: dict[str, Any]) -> bytes:
        refused = json.dumps({"error": ["EOrder:Insufficient funds"], "result": told["result"]})
        return refused[:-1].encode() + b', "result": null}'

    with kraken_gate(tmp_path) as (venue, executor):
        twisted(monkeypatch, venue, "AddOrder", change)
        decision = executor.submit(sell())
        assert len(venue.orders()) == 1
        assert decision.status is not OrderStatus.REJECTED


def test_a_balance_below_its_hold_traps_no_exit_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is held than there is, in a currency that the exit does not touch."""

    def change(told: dict[str, Any]) -> bytes:
        told["result"]["ZUSD"]["hold_trade"] = "2000.0"
        return json.dumps(told).encode()

    with kraken_gate(tmp_path) as (venue, executor):
        twisted(monkeypatch, venue, "BalanceEx", change)
        decision = executor.submit(Order.sell("BTC-USD", all=True))
        assert decision.status is OrderStatus.FILLED, decision.message


def test_f03_an_order_of_the_app_that_holds_everything_traps_no_emergency(tmp_path: Path) -> None:
    """A person's resting order holds all there is: the emergency cancels it, or names it."""
    with kraken_gate(tmp_path) as (venue, executor):
        by_hand = VenueOrder(
            account="",
            symbol="BTC-USD",
            side=Side.SELL,
            spend=None,
            amount=Decimal("0.01"),
            limit=Decimal(90000),
            client_order_id=f"{paper.UNNAMED}0-abc",
            send_by=9e9,
        )
        paper.place_order(venue.dialect.venue, by_hand)
        (resting,) = venue.orders()
        decision = executor.submit(Order.sell("BTC-USD", all=True, force_liquidate=True, reason="test"))
        named = any(str(resting.order_id) in warning for warning in decision.warnings)
        assert decision.status is OrderStatus.FILLED or named, decision


@pytest.mark.parametrize("other", ["DUPLICATE_CLIENT_ORDER_ID", "SOMETHING_NEW", "COMMANDER_REJECTED_NEW_ORDER"])
def test_c06_a_reason_that_proves_nothing_beside_one_that_does(other: str) -> None:
    """A rejection for several reasons is one only where each of them is on the list."""
    reasons = {
        "preview_failure_reason": "PREVIEW_INSUFFICIENT_FUND",
        "new_order_failure_reason": other,
        "error": "INSUFFICIENT_FUND",
    }
    refusal = ccxt_broker.venue_of("coinbase").refusal
    assert refusal(200, {"success": False, "error_response": reasons}) is None
    assert refusal(200, {"success": False, "error_response": {**reasons, "new_order_failure_reason": ""}}) is not None


@pytest.mark.parametrize(
    "odd", [{"platform": "ACCOUNT_PLATFORM_CFM_CONSUMER"}, {"active": False}], ids=["futures", "inactive"]
)
def test_money_that_spot_orders_cannot_use_is_not_available_through_ccxt(odd: dict[str, Any]) -> None:
    """Money of futures, or of a wallet that is shut, would fund a buy on paper alone."""
    row = {
        "currency": "USD",
        "type": "ACCOUNT_TYPE_FIAT",
        "ready": True,
        "active": True,
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
        "available_balance": {"value": "1000"},
        "hold": {"value": "0"},
    }

    class Exchange:
        def __init__(self, shown: dict[str, Any]) -> None:
            self.shown = shown

        def fetch_balance(self, params: object) -> Any:
            return {"info": {"accounts": [self.shown], "has_next": False}}

        def safe_currency_code(self, code: str) -> str:
            return code

    (usual,) = ccxt_broker._coinbase_holdings(Exchange(row))
    (held,) = ccxt_broker._coinbase_holdings(Exchange({**row, **odd}))
    assert (usual.available, usual.locked) == (Decimal(1000), Decimal(0))
    assert (held.available, held.locked) == (Decimal(0), Decimal(1000))


def test_a_portfolio_without_a_name_is_no_identity() -> None:
    """Every key whose portfolio is not told would have the same funds."""

    class Exchange:
        def v3PrivateGetBrokerageKeyPermissions(self) -> Any:  # noqa: N802 - ccxt's own name
            return {"portfolio_uuid": None}

    with pytest.raises(BrokerError, match="portfolio"):
        ccxt_broker._coinbase_identity(Exchange())


# ------------------------------------------------------------------------------------------- orders that cannot be seen


def test_c12_an_order_that_the_venue_files_under_its_unified_book_is_not_proved_absent(
    tmp_path: Path, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order in BTC-USDC is listed under BTC-USD, whose book it shares, and under that name alone."""
    prices = {"BTC-USD": "50000", "BTC-USDC": "50000", "USDC-USD": "1"}
    with coinbase(tmp_path / "venue", prices=prices, positions={"BTC-USD": "0.01"}) as venue:
        true = venue.dialect.answer

        def answer(request: Request) -> Reply:
            if "historical" not in request.path:
                return true(request)
            if request.query.get("product_ids") == ["BTC-USDC"]:
                request = evolve(request, query={**request.query, "product_ids": ["NOTHING-USD"]})
            reply = true(request)
            return evolve(reply, body=reply.body.replace(b'"BTC-USDC"', b'"BTC-USD"'))

        monkeypatch.setattr(venue.dialect, "answer", answer)
        venue.fail("cut", taken=True)
        values = config(venue.settings, "coinbase")
        with gate(tmp_path, values, clock) as executor:
            decision = executor.submit(Order.sell("BTC-USDC", amount=SOME, client_order_id="x"))
            assert decision.status is OrderStatus.UNKNOWN
            clock.ahead += 140
            (settled,) = executor.reconcile("main")["main"]
        assert len(venue.orders()) == 1
        assert settled.status is not OrderStatus.EXPIRED


def test_c03_an_order_that_shows_up_after_its_absence_was_proved_raises_an_alarm(
    tmp_path: Path, clock: MovedClock
) -> None:
    """A proof rests on what the venue promises; where that was broken, a person is told."""
    with rehearsal(tmp_path / "venue") as venue:
        venue.fail("late", on="place")
        with gate(tmp_path, config(venue.settings), clock) as executor:
            late = Order.buy("BTC-USD", amount="0.002", limit="40000", client_order_id="x")
            assert executor.submit(late).status is OrderStatus.UNKNOWN
            clock.ahead += 30
            (settled,) = executor.reconcile("main")["main"]
            assert settled.status is OrderStatus.EXPIRED
            venue.dialect._nonces.clear()  # as for a key with a window, which takes nonces that come late
            venue.server.release()  # in the venue's own time only a moment has passed
            assert [order.status for order in venue.orders()] == [OrderStatus.OPEN]

            executor.reconcile("main")
            executor.submit(Order.buy("ETH-USD", spend="75"))
            assert "alarm" in [entry.kind for entry in executor.desk.ledger().entries("main")]


def test_c13_a_market_order_that_is_slow_to_fill_keeps_its_reservation() -> None:
    """The venue lists it as open, without a limit, and shows no hold: what it will take must still be counted."""
    fee = Figure(Decimal("0.008"), "", "")
    listed = OpenOrder(order_id="O", symbol="SOL-USD", side=Side.BUY, amount_left=Decimal(0), client_order_id="w")
    facts = Facts(
        symbol="SOL-USD",
        begun=100.0,
        report=AccountReport(identity="i", holdings=(), open_orders=(listed,)),
        markets=(),
        no_market=(),
        prices=(),
        maker=fee,
        taker=fee,
    )
    reserved = Reservation(
        client_order_id="c",
        wire_id="w",
        symbol="SOL-USD",
        gives="USD",
        takes="SOL",
        needs=Decimal(75),
        size=Decimal(75),
        status="open",
        receipt_at=10.0,
    )
    profile = evolve(testing.broker("5"), balance_lag=2.0)
    with exact():
        claims = value(facts, GateSettings(), profile).claims((reserved,))
    assert claims.gone == ()
    assert (claims.sizes, claims.needs) == ({"SOL": Decimal(75)}, {"USD": Decimal(75)})
