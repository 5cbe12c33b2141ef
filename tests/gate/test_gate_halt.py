"""Halting, by call and by file: no buy after it, exits and cancels always, open buys taken back, a person to end it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

import ordergate_paper as paper
from ordergate import Decision, Executor, InputError, Order, OrderStatus, Side

Gate = Callable[..., Executor]
Venue = Callable[..., paper.PaperVenue]

RESTING = Order.buy("BTC-USD", amount="0.001", limit="60000", client_order_id="resting")


def codes(decision: Decision) -> dict[str, str]:
    return {verdict.rule: verdict.code for verdict in decision.refusals}


def test_a_halt_refuses_buys_and_lets_exits_pass(gate: Gate, venue: Venue) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"})
    executor.halt(by="ann", reason="the news")
    decision = executor.submit(Order.buy("BTC-USD", spend="60"))
    assert codes(decision) == {"gate.state": "exits_only"}
    assert "the news" in decision.message
    assert decision.smallest_passing is None
    assert executor.submit(Order.sell("ETH-USD", amount="0.01")).status is OrderStatus.FILLED
    forced = Order.sell("ETH-USD", all=True, force_liquidate=True, reason="out")
    assert executor.submit(forced).status is OrderStatus.FILLED
    assert paper.count_requests(venue(executor)) == 2


def test_a_halt_outlives_the_process_and_ends_with_a_name_and_a_reason(gate: Gate) -> None:
    first = gate()
    first.halt(by="ann", reason="the news")
    first.close()
    restarted = gate()
    assert codes(restarted.submit(Order.buy("BTC-USD", spend="60")))["gate.state"] == "exits_only"
    for by, reason in (("", "over"), ("ann", ""), ("ann", " "), ("ann", "a\nb"), ("x" * 501, "over")):
        with pytest.raises(InputError):
            restarted.resume(by=by, reason=reason)
    assert restarted.status()["trading"] == "exits_only"
    restarted.resume(by="ann", reason="over")
    assert restarted.submit(Order.buy("BTC-USD", spend="60")).status is OrderStatus.FILLED


def test_a_halt_of_one_account_leaves_the_others(gate: Gate) -> None:
    executor = gate(accounts={"side": {"cash": "1000.00"}})
    executor.halt(by="ann", reason="the news", account="main")
    assert not executor.submit(Order.buy("BTC-USD", spend="60", account="main")).approved
    assert executor.submit(Order.buy("BTC-USD", spend="60", account="side")).status is OrderStatus.FILLED
    executor.resume(by="ann", reason="a resume of all does not end the halt of one")
    assert not executor.submit(Order.buy("BTC-USD", spend="60", account="main")).approved


@pytest.mark.parametrize("moment", ["get_account", "get_prices"])
def test_h01_halt_in_the_middle_of_a_first_buy_is_not_missed(gate: Gate, venue: Venue, moment: str) -> None:
    """The first buy of an account reads the ledger twice, around binding it; a halt between the two must count."""
    executor = gate()
    broker = executor.setup.brokers["main"]
    hook = broker.plugin.hooks[moment]
    halted: list[str] = []

    def answer(*arguments: object, **values: object) -> object:
        if not halted:
            halted.append(executor.halt(by="ann", reason="the news").change.kind)
        return hook.function(*arguments, **values)

    hooks = {**broker.plugin.hooks, moment: attrs.evolve(hook, function=answer)}
    object.__setattr__(broker, "plugin", attrs.evolve(broker.plugin, hooks=hooks))
    assert codes(executor.submit(Order.buy("BTC-USD", spend="60"))) == {"gate.state": "exits_only"}
    assert paper.count_requests(venue(executor)) == 0


@pytest.mark.parametrize(("by", "reason"), [("", "why"), ("ann", ""), ("ann", "\x1b[2J")])
def test_a_halt_without_words_is_an_error_and_no_halt(gate: Gate, by: str, reason: str) -> None:
    executor = gate()
    with pytest.raises(InputError):
        executor.halt(by=by, reason=reason)
    assert executor.status()["trading"] == "active"


def test_a_halt_cancels_open_buys_and_no_sells(gate: Gate, venue: Venue) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"}, accounts={"side": {"cash": "1000.00"}})
    orders = [
        Order.buy("BTC-USD", amount="0.001", limit="60000", account="main", client_order_id="resting"),
        Order.buy("BTC-USD", amount="0.001", limit="60000", account="side", client_order_id="aside"),
        Order.sell("ETH-USD", amount="0.01", limit="9000", account="main", client_order_id="target"),
    ]
    assert [executor.submit(order).status for order in orders] == [OrderStatus.OPEN] * 3
    halted = executor.halt(by="ann", reason="the news")
    assert set(halted.acknowledged) == {"resting", "aside"}
    assert halted.unacknowledged == {}
    left = [order.side for order in paper.get_account(venue(executor)).open_orders]
    assert left == [Side.SELL]
    assert executor.explain("resting", account="main").decision.status is OrderStatus.CANCELLED


def test_a_halt_can_keep_open_buys(gate: Gate, venue: Venue) -> None:
    executor = gate()
    executor.submit(RESTING)
    halted = executor.halt(by="ann", reason="the news", keep_open=True)
    assert (halted.acknowledged, halted.unacknowledged) == ({}, {})
    assert len(paper.get_account(venue(executor)).open_orders) == 1


def test_h03_kill_cancels_lists_what_was_not_acknowledged(
    gate: Gate, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ordergate import hookimpl

    @hookimpl
    def cancel_order(client: paper.PaperVenue, order: object) -> object:
        raise TimeoutError("no answer")

    monkeypatch.setattr(paper, "cancel_order", cancel_order)
    executor = gate()
    executor.submit(RESTING)
    halted = executor.halt(by="ann", reason="the news")
    assert set(halted.unacknowledged) == {"resting"}
    assert executor.status()["trading"] == "exits_only"
    assert len(paper.get_account(venue(executor)).open_orders) == 1


def test_cancels_pass_in_every_state(gate: Gate, tmp_path: Path) -> None:
    executor = gate()
    executor.submit(RESTING)
    executor.halt(by="ann", reason="the news", keep_open=True)
    (tmp_path / "ordergate.halt").touch()
    assert executor.cancel("resting").status is OrderStatus.CANCELLED
    assert executor.cancel("resting").status is OrderStatus.CANCELLED  # finished already: no error


def test_a_cancel_of_nothing_is_an_error(gate: Gate) -> None:
    with pytest.raises(InputError, match="knows no order"):
        gate().cancel("never-was")


def test_a_halt_file_refuses_buys_while_it_is_there(gate: Gate, venue: Venue, tmp_path: Path) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"})
    (tmp_path / "ordergate.halt").touch()
    assert codes(executor.submit(Order.buy("BTC-USD", spend="60"))) == {"gate.state": "halt_file"}
    assert executor.status()["trading"] == "exits_only"
    with pytest.raises(InputError, match="remove this file"):
        executor.resume(by="ann", reason="over")
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED
    assert paper.count_requests(venue(executor)) == 1
    (tmp_path / "ordergate.halt").unlink()
    assert executor.submit(Order.buy("BTC-USD", spend="60")).status is OrderStatus.FILLED


@pytest.mark.parametrize("scope", [None, "main"])
def test_h01_halt_while_orders_queue(gate: Gate, venue: Venue, scope: str | None) -> None:
    """Threads keep buying while a halt falls: once it is written down, no further approval is."""
    executor = gate(cash="24000.00", settings={"rule_budget": 10})
    answered, stop = threading.Semaphore(0), threading.Event()
    results: list[Decision] = []

    def buy() -> None:
        while not stop.is_set():
            results.append(executor.submit(Order.buy("BTC-USD", spend="1200")))
            answered.release()

    def approvals() -> list[int]:
        entries = executor.desk.ledger().entries("main")
        decisions = [(entry.seq, json.loads(entry.body)) for entry in entries if entry.kind == "decision"]
        return [seq for seq, body in decisions if body["status"] == "approved"]

    threads = [threading.Thread(target=buy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        assert answered.acquire(timeout=30)
    executor.halt(by="ann", reason="enough", account=scope)
    before = approvals()
    for _ in range(4 + 4 * 3):  # those that were under way, and then some
        assert answered.acquire(timeout=30)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert before
    assert approvals() == before
    assert paper.count_requests(venue(executor)) == len(before)
    assert {codes(decision).get("gate.state") for decision in results[-4:]} == {"exits_only"}


def test_h02_broken_kill_switch_halts_by_file_when_the_ledger_cannot(gate: Gate, tmp_path: Path) -> None:
    executor = gate(positions={"ETH-USD": "0.0200"})
    executor.submit(Order.buy("BTC-USD", spend="60"))
    executor.close()
    for file in tmp_path.glob("ordergate.db*"):
        file.unlink()
    (tmp_path / "ordergate.db").write_bytes(b"no database at all, and longer than a header would be" * 40)
    broken = gate(positions={"ETH-USD": "0.0200"})
    halted = broken.halt(by="ann", reason="the news")
    assert halted.warning is not None
    assert (tmp_path / "ordergate.halt").exists()
    assert not broken.submit(Order.buy("BTC-USD", spend="60")).approved
    assert broken.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED
    broken.close()
    (tmp_path / "ordergate.db").unlink()
    mended = gate(positions={"ETH-USD": "0.0200"})
    assert codes(mended.submit(Order.buy("BTC-USD", spend="60")))["gate.state"] == "halt_file"


def test_h05_audit_tamper_of_a_recorded_refusal_is_named(gate: Gate, tmp_path: Path) -> None:
    """A refusal turned into an approval in the file does not verify, and names its row."""
    import sqlite3
    from contextlib import closing

    executor = gate()
    for spend in ("3", "60", "4"):
        executor.submit(Order.buy("BTC-USD", spend=spend))
    assert executor.desk.ledger().verify() is None
    executor.close()
    with closing(sqlite3.connect(tmp_path / "ordergate.db")) as db:
        seq = db.execute("SELECT min(seq) FROM journal WHERE kind = 'decision'").fetchone()[0]
        db.execute("DROP TRIGGER journal_keeps")
        db.execute(
            'UPDATE journal SET body = replace(body, \'"status":"refused"\', \'"status":"filled"\') WHERE seq = ?',
            (seq,),
        )
        db.commit()
    found = gate().desk.ledger().verify()
    assert found is not None
    assert (found.account, found.seq) == ("main", seq)
