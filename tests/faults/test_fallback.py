"""Where exits are written while the ledger is down: torn, unwritable, shared, and brought home exactly once."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordergate import LedgerError, Order, OrderStatus
from ordergate.desk import Desk
from ordergate.exits import Exits
from ordergate.sqlite_ledger import SqliteLedger

if TYPE_CHECKING:
    from tests.faults.conftest import MovedClock, Stage

SELL = {"symbol": "ETH-USD", "side": "sell", "amount": "0.0040", "client_order_id": "out"}
BUY = {"symbol": "BTC-USD", "side": "buy", "spend": "50", "client_order_id": "in"}
SHOPPING_LIST = b"my shopping list\n" * 300


def sell(client_id: str = "out", amount: str = "0.0040") -> Order:
    return Order.sell("ETH-USD", amount=amount, client_order_id=client_id)


class Broken:
    """The stage's ledger with something else written over it while nobody has it open."""

    def __init__(self, stage: Stage) -> None:
        self.path = stage.ledger_path
        stage.executor().reconcile()
        stage.close()
        self.backup = self.path.read_bytes()
        self.path.write_bytes(SHOPPING_LIST)

    def heal(self) -> None:
        self.path.write_bytes(self.backup)


@pytest.fixture
def broken(stage: Stage) -> Broken:
    return Broken(stage)


def test_a_kill_after_the_line_and_before_the_send_sends_nothing_later(stage: Stage, broken: Broken) -> None:
    stage.killed(do=[["submit", SELL]], die="after_fallback")
    assert [line["key"] for line in stage.waiting()] == ["order:out"]
    again = stage.executor().submit(sell())
    assert (again.replayed, again.status) == (True, OrderStatus.UNKNOWN)
    assert stage.sent() == 0


def test_a_kill_in_the_middle_of_a_line_sends_nothing_and_spoils_nothing_after_it(stage: Stage, broken: Broken) -> None:
    """The half line was never synced, so its order was never sent. What is written after it must still be readable."""
    stage.killed(do=[["submit", SELL]], die="in_fallback")
    assert stage.sent() == 0
    assert not (stage.fallback / "fallback.jsonl").read_bytes().endswith(b"\n")
    assert stage.executor().submit(sell("next", "0.0010")).status is OrderStatus.FILLED
    again = stage.executor().submit(sell("next", "0.0010"))
    assert again.replayed, "another process finds it"
    assert stage.sent() == 1
    broken.heal()
    answer = stage.executor().submit(Order.buy("BTC-USD", spend="50"))
    assert answer.status is OrderStatus.FILLED, answer.message
    assert ("decision", "order:next") in stage.journal()


def test_a_line_cut_short_by_a_full_disk_spoils_nothing_after_it(
    stage: Stage, broken: Broken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """write(2) on a nearly full disk takes a part of the line and reports success for that part."""
    executor = stage.executor()
    write = os.write

    def short(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:40])

    monkeypatch.setattr(os, "write", short)
    answer = executor.submit(sell())
    assert answer.status is OrderStatus.FILLED
    assert "ordergate fallback: " in capsys.readouterr().err, "what did not fit goes to standard error"
    monkeypatch.setattr(os, "write", write)
    assert stage.executor().submit(sell("next", "0.0010")).status is OrderStatus.FILLED
    broken.heal()
    answer = stage.executor().submit(Order.buy("BTC-USD", spend="50"))
    assert answer.status is OrderStatus.FILLED, answer.message
    assert ("decision", "order:next") in stage.journal()


@pytest.mark.parametrize("death", ["first_row", "second_row", "before_put_aside"])
def test_killed_during_the_import_it_still_comes_home_exactly_once(stage: Stage, broken: Broken, death: str) -> None:
    stage.executor().submit(sell())
    broken.heal()
    for _ in range(2 if death == "before_put_aside" else 1):
        stage.killed(do=[["submit", BUY]], die=death)
    answer = stage.executor().submit(Order.from_mapping(BUY))
    assert answer.status is OrderStatus.FILLED
    journal = stage.journal()
    assert journal.count(("decision", "order:out")) == journal.count(("receipt", "receipt:out:sent")) == 1
    assert stage.waiting() == []
    assert stage.count() == 2


def test_many_processes_that_find_the_ledger_healed_import_it_once(stage: Stage, broken: Broken) -> None:
    stage.executor().submit(sell())
    broken.heal()
    order = {"side": "buy", "spend": "50"}
    told = [[["submit", {**order, "symbol": f"{coin}-USD", "client_order_id": coin}]] for coin in ("AAA", "BBB", "CCC")]
    answers = [answer for (answer,) in stage.child(crowd=told)]
    assert all(answer.get("status") in ("filled", "refused") for answer in answers), answers
    journal = stage.journal()
    assert journal.count(("decision", "order:out")) == journal.count(("receipt", "receipt:out:sent")) == 1
    assert len(list(stage.fallback.glob("imported-*.jsonl"))) == 1


def test_a_damaged_fallback_stops_buys_and_not_exits(stage: Stage) -> None:
    stage.fallback.mkdir()
    file = stage.fallback / "fallback.jsonl"
    for damage in ("this is no JSON\n", '{"account": "main"}\n', "[1, 2]\n"):
        file.write_text(damage)
        executor = stage.executor()
        refused = executor.submit(Order.buy("BTC-USD", spend="50"))
        assert refused.status is OrderStatus.REFUSED
        assert "fallback.jsonl, line 1" in refused.message
        assert executor.submit(Order.sell("ETH-USD", amount="0.0010")).status is OrderStatus.FILLED
        assert file.read_text() == damage, "it is for a person to mend"


def test_two_processes_with_one_id_and_no_ledger_send_one_sell(
    stage: Stage, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the id new before either has written it down; Kraken would take both."""
    values = stage.values(venue="kraken", positions={"ETH-USD": "1"})
    stage.venue.unlink()
    executors = [stage.executor(values), stage.executor(values)]
    both_have_looked = threading.Barrier(2)
    look = Exits._look

    def looked(*arguments: Any) -> Any:
        seen = look(*arguments)
        both_have_looked.wait(30)
        return seen

    monkeypatch.setattr(Exits, "_look", looked)
    answers: list[Any] = []
    order = Order.sell("ETH-USD", amount="0.01", client_order_id="the-one")
    threads = [threading.Thread(target=lambda one=one: answers.append(one.submit(order))) for one in executors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answer.replayed for answer in answers) == [False, True]
    assert stage.sent() == 1


def test_a_fallback_that_another_process_holds_delays_an_exit_by_little_and_stops_buys(
    stage: Stage, broken: Broken, clock: MovedClock
) -> None:
    executor = stage.executor(clock=clock)
    stage.fallback.mkdir()
    with (stage.fallback / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert executor.submit(sell()).status is OrderStatus.FILLED
        assert [line["key"] for line in stage.waiting()] == ["order:out", "receipt:out:sent"]
        assert clock.slept < 10
        broken.heal()
        refused = executor.submit(Order.buy("BTC-USD", spend="50"))
        assert {verdict.code for verdict in refused.refusals} == {"ledger_busy"}
    assert executor.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.FILLED
    assert stage.journal().count(("decision", "order:out")) == 1


# ----------------------------------------------------------------------------------------- nowhere to write at all


def test_an_unwritable_fallback_reaches_standard_error_and_the_order_is_sent_once(
    stage: Stage, broken: Broken, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.fallback.write_text("a file where the folder should be")
    executor = stage.executor()
    answer = executor.submit(sell())
    assert answer.status is OrderStatus.FILLED
    assert any("it is on standard error only" in warning for warning in answer.warnings)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ordergate fallback: ")]
    kinds = [json.loads(line.removeprefix("ordergate fallback: "))["kind"] for line in lines]
    assert kinds == ["decision", "receipt"]
    again = executor.submit(sell())
    assert (again.replayed, again.status) == (True, OrderStatus.FILLED), "this process remembers"
    assert stage.sent() == 1


def test_what_only_memory_holds_comes_home_before_the_next_buy_of_that_process(stage: Stage, broken: Broken) -> None:
    stage.fallback.write_text("a file where the folder should be")
    executor = stage.executor()
    assert executor.submit(sell()).status is OrderStatus.FILLED
    broken.heal()
    assert executor.submit(Order.buy("BTC-USD", spend="50", client_order_id="in")).status is OrderStatus.FILLED
    journal = stage.journal()
    assert journal.index(("receipt", "receipt:out:sent")) < journal.index(("decision", "order:in"))
    assert journal.count(("decision", "order:out")) == journal.count(("receipt", "receipt:out:sent")) == 1


@pytest.mark.parametrize("fallback", ["writable", "read-only"])
def test_a_read_only_folder_lets_a_sell_through_once(stage: Stage, fallback: str) -> None:
    """Real file modes: the ledger's file cannot be written, and in one case neither can the fallback."""
    stage.executor().reconcile()
    stage.close()
    stage.fallback.mkdir()
    for rest in ("-wal", "-shm"):
        Path(f"{stage.ledger_path}{rest}").unlink(missing_ok=True)
    stage.ledger_path.chmod(0o400)
    if fallback == "read-only":
        stage.fallback.chmod(0o500)
    first, again, buy = stage.child(no_rights=True, do=[["submit", SELL], ["submit", SELL], ["submit", BUY]])
    assert first["status"] == "filled"
    assert again["replayed"]
    assert buy["status"] == "refused"
    assert stage.sent() == 1
    assert len(stage.waiting()) == (2 if fallback == "writable" else 0)
    lost = any("standard error only" in warning for warning in first["warnings"])
    assert lost == (fallback == "read-only")


def test_d03_disk_full_refuses_buys_passes_sells_and_resumes_when_freed(stage: Stage) -> None:
    """A real limit on the size of files: the ledger's log is at it, everything else is far below."""
    other = {**BUY, "client_order_id": "full"}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("full_disk", {}),
        ("submit", other),
        ("submit", SELL),
        ("submit", SELL),
        ("disk_freed", {}),
        ("submit", other),
    ]
    _, refused, sold, again, _, bought = stage.child(do=steps)
    assert (refused["status"], refused["refused_by"]) == ("refused", {"gate.state": "ledger_unavailable"})
    assert (sold["status"], sold["replayed"]) == ("filled", False)
    assert (again["status"], again["replayed"]) == ("filled", True)
    assert (bought["status"], bought["replayed"]) == ("filled", False), "nothing was bound while it was full"
    assert stage.count() == stage.sent() == 2
    journal = stage.journal()
    assert journal.count(("decision", "order:out")) == 1
    assert stage.waiting() == []


# -------------------------------------------------------------------------------------- the ledger fails half-way


def test_a_ledger_that_fails_right_after_the_insert_still_tells_the_truth(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The approval is recorded, then giving up an older reservation fails: the answer must be what is recorded."""
    executor = stage.executor()
    assert executor.submit(Order.buy("AAA-USD", spend="50")).status is OrderStatus.FILLED
    append = SqliteLedger.append

    def failing(self: SqliteLedger, account: str, kind: str, *arguments: Any, **more: Any) -> int | None:
        if kind == "settled":
            raise LedgerError("disk I/O error")
        return append(self, account, kind, *arguments, **more)

    monkeypatch.setattr(SqliteLedger, "append", failing)
    answer = executor.submit(Order.buy("BTC-USD", spend="50", client_order_id="in"))
    monkeypatch.setattr(SqliteLedger, "append", append)
    recorded = executor.desk.ledger().find("main", "in")
    if answer.status is OrderStatus.REFUSED:
        assert recorded is None, "it says refused, and the ledger has an approved intent with a reservation"
    else:
        assert recorded is not None
        assert recorded.status == answer.status
    assert stage.sent() == (1 if answer.status is OrderStatus.REFUSED else 2)


def test_a_receipt_that_the_ledger_cannot_take_waits_in_the_fallback(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The buy is at the venue; the ledger breaks before its receipt is written."""
    executor = stage.executor()
    append = SqliteLedger.append

    def failing(self: SqliteLedger, account: str, kind: str, *arguments: Any, **more: Any) -> int | None:
        if kind == "receipt":
            raise LedgerError("disk I/O error")
        return append(self, account, kind, *arguments, **more)

    monkeypatch.setattr(SqliteLedger, "append", failing)
    answer = executor.submit(Order.buy("BTC-USD", spend="50", client_order_id="in"))
    assert answer.status is OrderStatus.FILLED
    assert any("could not record" in warning for warning in answer.warnings)
    assert [line["key"] for line in stage.waiting()] == ["receipt:in:sent"]
    monkeypatch.setattr(SqliteLedger, "append", append)
    assert executor.submit(Order.buy("AAA-USD", spend="50")).status is OrderStatus.FILLED
    found = executor.desk.ledger().find("main", "in")
    assert found is not None
    assert found.status == "filled"
    assert stage.sent() == 2


def test_a_venue_that_contradicts_while_nothing_can_be_written_still_gets_an_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm, the ledger, the fallback and the halt file all fail after a send: the answer is still `unknown`."""
    stage.executor().reconcile()
    stage.close()
    stage.ledger_path.write_bytes(SHOPPING_LIST)
    stage.fallback.write_text("a file where the folder should be")
    executor = stage.executor(gate={"halt_file": "no/such/folder/halt"})
    stage.fault("nonsense_other_order")
    answer = executor.submit(sell())
    assert answer.status is OrderStatus.UNKNOWN
    assert stage.sent() == 1


def test_the_ledger_comes_back_by_itself_when_others_let_go_of_it(stage: Stage) -> None:
    desk: Desk = stage.executor().desk
    first = desk.ledger()
    desk.store.drop()
    assert desk.ledger() is not first
    assert desk.ledger().verify() is None
