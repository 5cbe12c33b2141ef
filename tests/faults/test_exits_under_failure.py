"""Exits while something is broken: the ledger, every rule, the config, the facts. A sell passes, and is sent once."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ordergate_paper as paper
from ordergate import ConfigError, Executor, IdConflict, LedgerError, Order, OrderStatus, Verdict, hookimpl
from ordergate import sqlite_ledger as store
from ordergate.broker import Broker
from ordergate.clock import SystemClock

if TYPE_CHECKING:
    from tests.faults.conftest import MovedClock, Stage

RULES = ("position_cap", "min_allocation", "min_position", "dust", "average_position")


def sell(amount: str = "0.0040", client_id: str | None = "out", **more: Any) -> Order:
    return Order.sell("ETH-USD", amount=amount, client_order_id=client_id, **more)


# ------------------------------------------------------------------------------------------------- a ledger that fails


class Breaker:
    """Breaks the stage's ledger in one way, and heals it again."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage, self.monkeypatch = stage, monkeypatch
        self.locker: sqlite3.Connection | None = None
        self.backup = b""

    def read_only(self) -> None:
        self._every_connection("PRAGMA query_only = 1")

    def full(self) -> None:
        """Filled to the last byte of the pages it has; the real SQLITE_FULL."""
        with closing(store.SqliteLedger(self.stage.ledger_path, SystemClock())) as ledger:
            ledger._connection.execute("PRAGMA max_page_count = 60")
            for size in (3000, 300, 30, 0):
                try:
                    while True:
                        ledger.append("main", "note", {"filling": "x" * size}, at=0.0)
                except LedgerError:
                    continue
        self._every_connection("PRAGMA max_page_count = 60")

    def locked(self) -> None:
        self.locker = sqlite3.connect(self.stage.ledger_path, isolation_level=None, check_same_thread=False)
        self.locker.execute("BEGIN IMMEDIATE")

    def garbage(self) -> None:
        self._replace(lambda path: path.write_bytes(b"\x00garbage" * 4096))

    def no_database(self) -> None:
        self._replace(lambda path: path.write_text("my shopping list\n" * 100))

    def cut(self) -> None:
        self._replace(lambda path: os.truncate(path, 5000))

    def folder(self) -> None:
        def change(path: Path) -> None:
            path.unlink()
            path.mkdir()

        self._replace(change)

    def newer(self) -> None:
        def change(path: Path) -> None:
            with closing(sqlite3.connect(path)) as other:
                other.execute("PRAGMA user_version = 99")

        self._replace(change)

    def heal(self) -> None:
        self.monkeypatch.undo()
        if self.locker:
            self.locker.close()
        if self.backup:
            self.stage.close()
            path = self.stage.ledger_path
            if path.is_dir():
                path.rmdir()
            for rest in ("-wal", "-shm"):
                Path(f"{path}{rest}").unlink(missing_ok=True)
            path.write_bytes(self.backup)

    def _every_connection(self, pragma: str) -> None:
        real = store._connect

        def connect(path: Path) -> sqlite3.Connection:
            connection = real(path)
            connection.execute(pragma)
            return connection

        self.monkeypatch.setattr(store, "_connect", connect)

    def _replace(self, change: Callable[[Path], object]) -> None:
        self.backup = self.stage.ledger_path.read_bytes()
        change(self.stage.ledger_path)


WAYS = ("read_only", "full", "locked", "garbage", "no_database", "cut", "folder", "newer")


@pytest.fixture(params=WAYS)
def broken(
    request: pytest.FixtureRequest, stage: Stage, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Breaker]:
    """A ledger that was in use (a buy of BTC, a resting sell of ETH named `resting`) and is broken now."""
    with Executor.from_values(stage.values(), folder=stage.folder, clock=SystemClock()) as before:
        assert before.submit(Order.buy("BTC-USD", spend="50", client_order_id="before")).status is OrderStatus.FILLED
        resting = Order.sell("ETH-USD", amount="0.0050", limit="9000", client_order_id="resting")
        assert before.submit(resting).status is OrderStatus.OPEN
    stage.new_clock = type(clock)  # nobody else runs here, so patience need not take time
    breaker = Breaker(stage, monkeypatch)
    getattr(breaker, request.param)()
    yield breaker
    breaker.heal()


def test_a_sell_passes_once_and_waits_in_the_fallback(stage: Stage, broken: Breaker) -> None:
    executor = stage.executor()
    before = stage.sent()
    answer = executor.submit(sell())
    assert answer.status is OrderStatus.FILLED
    assert any("The ledger could not record it" in warning for warning in answer.warnings), answer.warnings
    assert stage.sent() == before + 1
    assert [(line["kind"], line["key"]) for line in stage.waiting()] == [
        ("decision", "order:out"),
        ("receipt", "receipt:out:sent"),
    ]
    again = executor.submit(sell())
    assert (again.replayed, again.status) == (True, OrderStatus.FILLED)
    with pytest.raises(IdConflict):
        executor.submit(sell("0.0041"))
    assert stage.sent() == before + 1


def test_a_buy_is_refused_and_sends_nothing(stage: Stage, broken: Breaker) -> None:
    executor = stage.executor()
    before = stage.sent()
    answer = executor.submit(Order.buy("AAA-USD", spend="50", client_order_id="in"))
    assert answer.status is OrderStatus.REFUSED
    assert {verdict.rule for verdict in answer.refusals} == {"gate.state"}, "the rules still speak"
    assert answer.refusals[0].code in ("ledger_unavailable", "ledger_busy")
    assert "ordergate.db" in answer.message
    assert stage.sent() == before


def test_a_forced_liquidation_passes(stage: Stage, broken: Breaker) -> None:
    executor = stage.executor()
    answer = executor.submit(sell(force_liquidate=True, reason="drill"))
    assert answer.status is OrderStatus.FILLED
    assert any("Forced liquidation: drill" in warning for warning in answer.warnings)
    assert [line["key"] for line in stage.waiting()][-2:] == ["order:out", "receipt:out:sent"]


def test_a_resting_order_can_be_cancelled(stage: Stage, broken: Breaker) -> None:
    executor = stage.executor()
    assert executor.cancel("resting").status is OrderStatus.CANCELLED
    (report,) = [one for one in stage.at_venue() if one.symbol == "ETH-USD"]
    assert report.status is OrderStatus.CANCELLED
    assert [line["key"] for line in stage.waiting()] == ["receipt:resting:cancel:cancelled"]


def test_an_order_of_the_fallback_can_be_cancelled(stage: Stage, broken: Breaker) -> None:
    executor = stage.executor()
    assert executor.submit(sell(limit="9000")).status is OrderStatus.OPEN
    assert executor.cancel("out").status is OrderStatus.CANCELLED
    other = stage.executor()
    assert other.submit(sell(limit="9000")).status is OrderStatus.CANCELLED, "another process reads what became of it"


def test_a_second_process_does_not_send_it_again(stage: Stage, broken: Breaker) -> None:
    stage.executor().submit(sell())
    sent = stage.sent()
    again = stage.executor().submit(sell())
    assert (again.replayed, again.status) == (True, OrderStatus.FILLED)
    with pytest.raises(IdConflict):
        stage.executor().submit(sell("0.0041"))
    assert stage.sent() == sent


def test_when_it_heals_the_fallback_comes_home_once_before_the_next_buy(stage: Stage, broken: Breaker) -> None:
    assert stage.executor().submit(sell()).status is OrderStatus.FILLED
    broken.heal()
    executor = stage.executor()
    count = stage.count()
    for number in range(2):
        answer = executor.submit(Order.buy("AAA-USD", spend="50", client_order_id=f"after-{number}"))
        assert answer.status is OrderStatus.FILLED, answer.message
    assert stage.count() == count + 2
    journal = stage.journal()
    assert journal.count(("decision", "order:out")) == journal.count(("receipt", "receipt:out:sent")) == 1
    assert journal.index(("receipt", "receipt:out:sent")) < journal.index(("decision", "order:after-0"))
    assert stage.waiting() == []
    assert len(list(stage.fallback.glob("imported-*.jsonl"))) == 1, "what was imported is put aside, not thrown away"
    assert executor.submit(sell()).replayed


def test_halting_works(stage: Stage, broken: Breaker) -> None:
    executor = stage.executor()
    halted = executor.halt(by="Ann", reason="drill")
    assert halted.warning is not None
    assert (stage.folder / "ordergate.halt").exists()
    broken.heal()
    refused = stage.executor().submit(Order.buy("AAA-USD", spend="50"))
    assert {verdict.code for verdict in refused.refusals} == {"halt_file"}
    assert stage.executor().submit(sell()).status is OrderStatus.FILLED


def test_an_id_that_only_the_venue_and_the_broken_ledger_know_is_not_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kraken takes the id of a finished order again, so only asking the venue first keeps this one order."""
    values = stage.values(venue="kraken", positions={"ETH-USD": "1"})
    first = stage.executor(values)
    assert first.submit(sell("0.01")).status is OrderStatus.FILLED
    stage.close()
    Breaker(stage, monkeypatch).garbage()
    second = stage.executor(values)
    again = second.submit(sell("0.01"))
    assert stage.sent() == 1
    assert (again.replayed, again.status) == (True, OrderStatus.FILLED)


@pytest.mark.parametrize("venue", ["coinbase", "kraken"])
def test_an_emergency_repeated_without_the_ledger_is_not_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, venue: str
) -> None:
    values = stage.values(venue=venue, positions={"ETH-USD": "1"})
    order = sell("0.01", force_liquidate=True, reason="drill")
    assert stage.executor(values).submit(order).status is OrderStatus.FILLED
    stage.close()
    Breaker(stage, monkeypatch).garbage()
    again = stage.executor(values).submit(order)
    assert stage.count() == 1
    assert again.replayed


def test_d05_damaged_ledger_deleted_while_in_use_is_never_replaced_by_a_blank_one(stage: Stage) -> None:
    """A blank ledger would have forgotten the halt, every reservation and every id."""
    executor = stage.executor()
    executor.halt(by="Ann", reason="drill", account="main")
    for rest in ("", "-wal", "-shm"):
        Path(f"{stage.ledger_path}{rest}").unlink()
    assert executor.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.REFUSED
    assert executor.submit(sell()).status is OrderStatus.FILLED
    refused = executor.submit(Order.buy("BTC-USD", spend="50"))
    assert refused.status is OrderStatus.REFUSED
    assert stage.count() == 1
    assert not stage.ledger_path.exists()


def test_d05_damaged_ledger_garbage_over_the_open_file_does_not_stop_a_sell(stage: Stage) -> None:
    executor = stage.executor()
    assert executor.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.FILLED
    size = stage.ledger_path.stat().st_size
    with stage.ledger_path.open("r+b") as file:
        file.write(b"\x00garbage" * (size // 8))
    Path(f"{stage.ledger_path}-wal").write_bytes(b"garbage" * 1000)
    assert executor.submit(sell()).status is OrderStatus.FILLED
    assert stage.count() == 2


def test_d05_damaged_record_of_an_unknown_sell_does_not_stop_the_next(stage: Stage, clock: MovedClock) -> None:
    executor = stage.executor(clock=clock)
    executor.desk.ledger()
    stage.fault("no_answer_before")
    assert executor.submit(sell(client_id="lost")).status is OrderStatus.UNKNOWN
    with closing(sqlite3.connect(stage.ledger_path, isolation_level=None)) as other:
        other.execute("DROP TRIGGER journal_keeps")
        other.execute("""UPDATE journal SET body = replace(body, '"venue_order":{', '"venue_order":{"odd":1,')""")
    clock.ahead = 60
    assert executor.submit(sell(client_id="next")).status is OrderStatus.FILLED
    forced = sell(client_id="forced", force_liquidate=True, reason="drill")
    assert executor.submit(forced).status is OrderStatus.FILLED
    assert stage.count() == 2


# ------------------------------------------------------------------------------------------------- rules and the config


@pytest.fixture
def every_rule(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """every_rule(function) makes it the verdict of all five rules, for executors made after."""

    def replace(function: Any) -> None:
        for name in RULES:
            monkeypatch.setattr(f"ordergate_rules.{name}.validate_order", hookimpl(function))

    return replace


def test_every_rule_crashing_stops_buys_and_not_exits(stage: Stage, every_rule: Callable[[Any], None]) -> None:
    def validate_order(order: Any) -> Verdict:
        raise RuntimeError("broken")

    every_rule(validate_order)
    executor = stage.executor()
    refused = executor.submit(Order.buy("BTC-USD", spend="50"))
    assert [verdict.code for verdict in refused.refusals] == ["rule_failed"] * 5
    assert executor.submit(sell()).status is OrderStatus.FILLED
    assert executor.submit(sell("0.001", "forced", force_liquidate=True, reason="drill")).status is OrderStatus.FILLED
    assert stage.sent() == 2


def test_every_rule_hanging_delays_no_sell(stage: Stage, every_rule: Callable[[Any], None]) -> None:
    """The sell is answered while the buy still waits for its first rule."""
    entered, release = threading.Event(), threading.Event()

    def validate_order(order: Any) -> Verdict:
        entered.set()
        release.wait(60)
        return Verdict.approve()

    every_rule(validate_order)
    executor = stage.executor(gate={"rule_budget": 30})
    bought = threading.Event()

    def buy() -> None:
        executor.submit(Order.buy("BTC-USD", spend="50"))
        bought.set()

    thread = threading.Thread(target=buy, daemon=True)
    thread.start()
    try:
        assert entered.wait(30)
        resting = executor.submit(sell("0.001", "resting", limit="9000"))
        assert resting.status is OrderStatus.OPEN
        assert executor.submit(sell()).status is OrderStatus.FILLED
        assert executor.cancel("resting").status is OrderStatus.CANCELLED
        assert executor.submit(sell("0.001", "forced", force_liquidate=True, reason="x")).status is OrderStatus.FILLED
        assert not bought.is_set()
    finally:
        release.set()
        thread.join(60)
    assert bought.is_set()


def bought(executor: Executor) -> bool:
    """Whether a buy passes. A flaw may be said as a refusal or as a ConfigError."""
    try:
        answer = executor.submit(Order.buy("BTC-USD", spend="50"))
    except ConfigError:
        return False
    return answer.status is not OrderStatus.REFUSED


@pytest.mark.parametrize("rules", [[], ["not_installed"], [*RULES, "not_installed"]])
def test_missing_rules_stop_buys_and_not_exits(stage: Stage, rules: list[str]) -> None:
    executor = stage.executor(gate={"rules": rules})
    assert not bought(executor)
    assert stage.sent() == 0
    assert executor.submit(sell()).status is OrderStatus.FILLED
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    "flaw",
    [
        {"gate": {"rules": list(RULES), "max_positons": 3}},
        {"gate": {"rules": list(RULES), "facts_age": "soon"}},
        {"rules": {"dust": {"exit_bufer": "0.1"}}},
        {"tiers": [{"name": "ONE", "equity": "50"}]},
        {"surprise": {"key": 1}},
        {"gate": {"rules": list(RULES), "observers": ["not_installed"]}},
    ],
)
def test_a_config_with_flaws_stops_buys_and_not_exits(stage: Stage, flaw: dict[str, Any]) -> None:
    executor = stage.executor(stage.values() | flaw)
    assert not bought(executor)
    assert stage.sent() == 0
    assert executor.submit(sell()).status is OrderStatus.FILLED
    assert executor.cancel("out").status is OrderStatus.FILLED


def test_another_accounts_broken_section_stops_no_sell(stage: Stage) -> None:
    values = stage.values()
    values["accounts"]["other"] = {"broker": "paper", "paper": {"cash": "many"}}
    executor = stage.executor(values)
    answer = executor.submit(sell(account="main"))
    assert answer.status is OrderStatus.FILLED
    with pytest.raises(ConfigError, match="other"):
        executor.submit(sell(account="other"))


def test_the_orders_own_broken_account_is_what_stops_a_sell(stage: Stage) -> None:
    executor = stage.executor(stage.values(cash="many"))
    with pytest.raises(ConfigError, match="cash"):
        executor.submit(sell())


# ---------------------------------------------------------------------------------------------------------------- facts


def test_without_balances_a_sell_goes_as_asked_and_all_is_refused(stage: Stage) -> None:
    executor = stage.executor()
    stage.fault("accounts_down", times=None)
    answer = executor.submit(sell())
    assert answer.status is OrderStatus.FILLED
    assert answer.receipt is not None
    assert answer.receipt.filled_amount == Decimal("0.0040")
    assert any("balances could not be read" in warning for warning in answer.warnings)
    for more in ({}, {"force_liquidate": True, "reason": "drill"}):
        refused = executor.submit(Order.sell("ETH-USD", all=True, **more))
        assert refused.status is OrderStatus.REFUSED
        assert [verdict.code for verdict in refused.refusals] == ["no_balance"]
    assert stage.sent() == 1


def test_without_balances_the_venue_judges_an_oversell(stage: Stage) -> None:
    executor = stage.executor()
    stage.fault("accounts_down", times=None)
    assert executor.submit(sell("5")).status is OrderStatus.REJECTED
    stage.calm()
    assert Decimal(stage.held("ETH")) == Decimal("0.01")


def test_without_prices_a_sell_is_not_even_warned_about(stage: Stage) -> None:
    executor = stage.executor()
    stage.fault("prices_down", times=None)
    answer = executor.submit(sell())
    assert (answer.status, answer.warnings) == (OrderStatus.FILLED, ())
    assert executor.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.REFUSED


def test_everything_broken_at_once_a_forced_liquidation_still_passes(
    stage: Stage, every_rule: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def validate_order(order: Any) -> Verdict:
        raise SystemExit

    stage.executor().reconcile()
    stage.close()
    Breaker(stage, monkeypatch).garbage()
    stage.fallback.write_text("a file where the folder should be")
    every_rule(validate_order)
    executor = stage.executor(stage.values() | {"surprise": {}})
    stage.fault("accounts_down", times=None)
    stage.fault("prices_down", times=None)
    answer = executor.submit(sell(force_liquidate=True, reason="everything is on fire"))
    assert answer.status is OrderStatus.FILLED
    assert stage.sent() == 1
    assert capsys.readouterr().err.count("ordergate fallback: ") == 2


# ---------------------------------------------------------------------------------------------------------- the amount


def test_a09_oversell_is_cut_to_the_holding_with_a_warning(stage: Stage) -> None:
    answer = stage.executor().submit(sell("5"))
    assert answer.status is OrderStatus.FILLED
    assert answer.receipt is not None
    assert answer.receipt.filled_amount == Decimal("0.0100")
    assert any("cut from 5 to 0.01" in warning for warning in answer.warnings), answer.warnings
    assert stage.held("ETH") == "0"


def test_a09_oversell_leaves_what_rests_in_other_orders_alone(stage: Stage) -> None:
    executor = stage.executor()
    assert executor.submit(sell("0.0070", "resting", limit="9000")).status is OrderStatus.OPEN
    answer = executor.submit(sell("0.0100"))
    assert answer.receipt is not None
    assert answer.receipt.filled_amount == Decimal("0.0030")


def test_an_amount_off_the_step_is_cut_down_never_up(stage: Stage) -> None:
    executor = stage.executor(positions={"DOGE-USD": "500.07"})
    answer = executor.submit(Order.sell("DOGE-USD", amount="123.4567"))
    assert answer.receipt is not None
    assert answer.receipt.filled_amount == Decimal("123.4")
    assert answer.warnings
    rest = executor.submit(Order.sell("DOGE-USD", all=True))
    assert rest.receipt is not None
    assert rest.receipt.filled_amount == Decimal("376.6")
    assert stage.held("DOGE") == "0.07"


@pytest.mark.parametrize("more", [{}, {"force_liquidate": True, "reason": "drill"}], ids=["plain", "forced"])
def test_nothing_at_all_is_refused(stage: Stage, more: dict[str, Any]) -> None:
    executor = stage.executor(positions={"DOGE-USD": "0.07"})
    orders = [Order.sell("DOGE-USD", all=True, **more), Order.sell("DOGE-USD", amount="0.09", **more)]
    for order in orders:
        answer = executor.submit(order)
        assert answer.status is OrderStatus.REFUSED
        assert answer.error == "HARDENING_ENFORCEMENT"
        assert [verdict.code for verdict in answer.refusals] == ["nothing_to_sell"]
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.REFUSED
    assert stage.sent() == 0


# ---------------------------------------------------------------------------------------------- an earlier unknown sell


def test_an_unknown_earlier_sell_is_settled_first(stage: Stage) -> None:
    executor = stage.executor()
    stage.fault("no_answer_after")
    assert executor.submit(sell("0.0060", "first")).status is OrderStatus.UNKNOWN
    second = executor.submit(sell("0.0100", "second"))
    assert second.receipt is not None
    assert second.receipt.filled_amount == Decimal("0.0040")
    assert not any("unknown outcome" in warning for warning in second.warnings)
    assert executor.submit(sell("0.0060", "first")).status is OrderStatus.FILLED
    assert stage.sent() == 2


def test_an_earlier_sell_that_stays_unknown_caps_the_new_one_with_a_warning(stage: Stage, clock: MovedClock) -> None:
    executor = stage.executor(clock=clock, gate={"send_within": 60})
    stage.fault("no_answer_after")
    stage.fault("late_visibility", times=None)
    assert executor.submit(sell("0.0060", "first")).status is OrderStatus.UNKNOWN
    second = executor.submit(sell("0.0100", "second"))
    assert second.status is OrderStatus.FILLED
    assert second.receipt is not None
    assert second.receipt.filled_amount == Decimal("0.0040"), "what the first took is not there to be sold again"
    assert any("unknown outcome (first)" in warning for warning in second.warnings), second.warnings
    assert 2 <= clock.slept < 10, "it was waited for as long as gate.exit_settle says"


def test_an_unknown_sell_of_another_symbol_is_not_waited_for(stage: Stage, clock: MovedClock) -> None:
    executor = stage.executor(clock=clock, positions={"ETH-USD": "0.01", "AAA-USD": "5"}, gate={"send_within": 60})
    stage.fault("no_answer_before")
    assert executor.submit(sell()).status is OrderStatus.UNKNOWN
    assert executor.submit(Order.sell("AAA-USD", all=True)).status is OrderStatus.FILLED
    assert clock.slept == 0


def test_an_emergency_waits_for_nothing(stage: Stage, clock: MovedClock) -> None:
    executor = stage.executor(clock=clock, gate={"send_within": 60})
    stage.fault("no_answer_before")
    assert executor.submit(sell()).status is OrderStatus.UNKNOWN
    forced = sell("0.0100", "forced", force_liquidate=True, reason="drill")
    assert executor.submit(forced).status is OrderStatus.FILLED
    assert clock.slept == 0


def test_an_emergency_cancels_the_symbols_resting_orders_first(stage: Stage) -> None:
    executor = stage.executor()
    assert executor.submit(sell("0.0070", "resting", limit="9000")).status is OrderStatus.OPEN
    forced = executor.submit(sell("0.0100", "forced", force_liquidate=True, reason="drill"))
    assert forced.receipt is not None
    assert forced.receipt.filled_amount == Decimal("0.0100")
    assert executor.submit(sell("0.0070", "resting", limit="9000")).status is OrderStatus.CANCELLED


# ------------------------------------------------------------------------------------------- nothing else in the way


def test_a_sell_does_not_wait_behind_a_buy_that_is_connecting(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buys that wait for a venue to let them in must not make an exit wait for their turns too."""
    stage.executor()
    stage.close()
    executor = Executor.from_values(stage.values(gate={"deadline": 60}), folder=stage.folder)
    stage.opened.append(executor)
    connecting, release = threading.Event(), threading.Event()
    connect = paper.connect

    def slow(settings: paper.Settings) -> paper.PaperVenue:
        if threading.current_thread().name == "ordergate-call" and not connecting.is_set():
            connecting.set()
            release.wait(60)
        return connect(settings)

    hook = executor.setup.brokers["main"].plugin.hooks["connect"]
    monkeypatch.setattr(type(hook), "call", _calling(hook, slow, type(hook).call))
    done = threading.Event()
    answers = []

    def exit_now() -> None:
        answers.append(executor.submit(sell()))
        done.set()

    buyer = threading.Thread(target=lambda: executor.submit(Order.buy("BTC-USD", spend="50")), daemon=True)
    seller = threading.Thread(target=exit_now, daemon=True)
    buyer.start()
    try:
        assert connecting.wait(30)
        seller.start()
        assert done.wait(10), "the sell waits for the buy"
        assert answers[0].status is OrderStatus.FILLED
    finally:
        release.set()
        buyer.join(60)
        seller.join(60)


def _calling(hook: Any, instead: Callable[[Any], Any], real: Any) -> Any:
    def call(self: Any, values: Any) -> Any:
        return instead(values["settings"]) if self is hook else real(self, values)

    return call


def test_the_line_in_the_fallback_is_synced_before_the_order_is_sent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.executor().reconcile()
    stage.close()
    Breaker(stage, monkeypatch).garbage()
    executor = stage.executor()
    events: list[str] = []
    fsync, place = os.fsync, Broker.place_order

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").samefile(stage.fallback / "fallback.jsonl"):
            events.append(f"synced {len(stage.waiting())}")

    def placed(self: Broker, *arguments: Any) -> Any:
        events.append("sent")
        return place(self, *arguments)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Broker, "place_order", placed)
    assert executor.submit(sell()).status is OrderStatus.FILLED
    assert events == ["synced 1", "sent", "synced 2"]
