"""Halts in the worst moment: while orders are being judged, while they fly, while the ledger is down."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from ordergate import Decision, Executor, InputError, Order, OrderStatus

if TYPE_CHECKING:
    from tests.faults.conftest import Stage

COINS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH", "III", "JJJ")
WIDE = [{"name": "WIDE", "equity": "50", "max_positions": 99, "min_position": "10"}]


def values(stage: Stage) -> dict[str, Any]:
    return stage.values(cash="5000.00") | {"tiers": WIDE}


@pytest.mark.parametrize("account", ["main", None], ids=["one account", "all accounts"])
def test_h01_halt_between_judging_and_the_insert_keeps_the_order_from_landing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, account: str | None
) -> None:
    executor = stage.executor(values(stage))
    record = Executor._record
    halts: list[int] = []

    def halted_first(self: Executor, *arguments: Any) -> Any:
        if not halts:
            halts.append(1)
            other = stage.executor(values(stage))
            other.halt(by="Ann", reason="drill", account=account)
        return record(self, *arguments)

    monkeypatch.setattr(Executor, "_record", halted_first)
    answer = executor.submit(Order.buy("BTC-USD", spend="300"))
    assert answer.status is OrderStatus.REFUSED
    assert [verdict.code for verdict in answer.refusals] == ["exits_only"]
    assert stage.sent() == 0


def test_h01_halt_while_many_orders_queue_none_is_recorded_after_it(stage: Stage) -> None:
    executor = stage.executor(values(stage))
    some_are_through, halted = threading.Event(), threading.Event()
    answers: list[Any] = []

    def buy(coin: str) -> None:
        for number in range(6):
            answers.append(executor.submit(Order.buy(f"{coin}-USD", spend="300", client_order_id=f"{coin}-{number}")))
            if len(answers) > 5:
                some_are_through.set()
            if number == 4:
                halted.wait(30)

    threads = [threading.Thread(target=buy, args=(coin,), daemon=True) for coin in COINS]
    for thread in threads:
        thread.start()
    assert some_are_through.wait(30)
    executor.halt(by="Ann", reason="drill", account="main")
    halted.set()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 60
    ledger = executor.desk.ledger()
    rows = list(ledger.entries("main"))
    (halt,) = [entry.seq for entry in rows if entry.kind == "trading"]
    after = [entry for entry in rows if entry.kind == "decision" and entry.seq > halt]
    assert len(after) >= 10, "every thread asked once more"
    assert all('"status":"refused"' in entry.body for entry in after)
    assert stage.count() == sum(answer.status is OrderStatus.FILLED for answer in answers)
    assert ledger.verify() is None


def test_h01_halt_by_file_stops_buys_and_not_exits_and_cancels(stage: Stage) -> None:
    executor = stage.executor()
    resting = executor.submit(Order.sell("ETH-USD", amount="0.005", limit="9000", client_order_id="resting"))
    (stage.folder / "ordergate.halt").touch()
    refused = executor.submit(Order.buy("BTC-USD", spend="50"))
    assert [verdict.code for verdict in refused.refusals] == ["halt_file"]
    assert executor.submit(Order.sell("ETH-USD", amount="0.001")).status is OrderStatus.FILLED
    assert executor.cancel(str(resting.order.client_order_id)).status is OrderStatus.CANCELLED
    with pytest.raises(InputError, match="remove this file first"):
        executor.resume(by="Ann", reason="over")
    (stage.folder / "ordergate.halt").unlink()
    assert executor.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.FILLED


def test_h01_halt_outlives_the_process_and_reaches_the_others(stage: Stage) -> None:
    running = stage.executor()
    other = stage.executor()
    other.halt(by="Ann", reason="drill")
    assert running.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.REFUSED
    stage.close()
    after = stage.executor()
    assert "drill (Ann)" in after.submit(Order.buy("BTC-USD", spend="50")).message
    after.resume(by="Ann", reason="over")
    assert after.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.FILLED


def test_h01_halt_that_died_right_after_its_row_is_a_halt(stage: Stage) -> None:
    """A killed halt has set the state before it cancels anything."""
    executor = stage.executor()
    executor.submit(Order.buy("BTC-USD", spend="50", limit="100", client_order_id="resting"))

    def dying(account: str, client_id: str) -> Decision:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        executor.trading.halt("main", by="Ann", reason="drill", keep_open=False, cancel=dying)
    assert stage.executor().submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.REFUSED


def test_h03_kill_cancels_open_buys_and_lists_what_was_not_acknowledged(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = stage.executor()
    assert (
        executor.submit(Order.buy("BTC-USD", spend="50", limit="100", client_order_id="a")).status is OrderStatus.OPEN
    )
    stage.fault("no_answer_before")
    assert executor.submit(Order.buy("AAA-USD", spend="50", client_order_id="b")).status is OrderStatus.UNKNOWN
    sell = Order.sell("ETH-USD", amount="0.005", limit="9000", client_order_id="c")
    assert executor.submit(sell).status is OrderStatus.OPEN
    halted = executor.halt(by="Ann", reason="drill")
    assert set(halted.acknowledged) == {"a"}
    assert set(halted.unacknowledged) == {"b"}
    assert executor.submit(sell).status is OrderStatus.OPEN, "exits keep resting"


def test_h02_broken_kill_switch_the_ledger_cannot_take_it_a_file_does(stage: Stage) -> None:
    executor = stage.executor()
    executor.desk.ledger()._connection.execute("PRAGMA query_only = 1")  # type: ignore[attr-defined]
    halted = executor.halt(by="Ann", reason="drill")
    assert halted.warning is not None
    assert "ordergate.halt holds it for all accounts" in halted.warning
    for each in (executor, stage.executor()):
        refused = each.submit(Order.buy("BTC-USD", spend="50"))
        assert [verdict.code for verdict in refused.refusals] == ["halt_file"]
    (stage.folder / "ordergate.halt").unlink()
    assert executor.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.FILLED


def test_h02_broken_kill_switch_nothing_can_hold_the_halt_this_process_is_halted_anyway(stage: Stage) -> None:
    """Neither the ledger nor a file takes it. The caller is told loudly, and nothing is bought here from now on."""
    executor = stage.executor(gate={"halt_file": "no/such/folder/halt"})
    executor.desk.ledger()._connection.execute("PRAGMA query_only = 1")  # type: ignore[attr-defined]
    try:
        told = executor.halt(by="Ann", reason="drill").warning or ""
    except OSError as error:
        told = str(error)
    assert "halt" in told
    assert executor.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.REFUSED
    assert stage.sent() == 0
    executor.resume(by="Ann", reason="the disk is free again")
    assert executor.submit(Order.buy("BTC-USD", spend="50")).status is OrderStatus.FILLED
