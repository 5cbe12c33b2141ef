"""One sender per account: who may send, until when, and E03: a gateway that was stopped and wakes up sends nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

import ordergate_paper as paper
from ordergate import Executor, Order, OrderStatus
from ordergate.postgres_ledger import PostgresLedger

Opened = Callable[..., PostgresLedger]
Become = Callable[[str], None]

AT = 1_800_000_000.0
CHILD = Path(__file__).parent / "child.py"


def decide(ledger: PostgresLedger, client_id: str, *, sent: bool = True, is_exit: bool = False) -> int | None:
    body = {
        "client_order_id": client_id,
        "digest": client_id,
        "symbol": "BTC-USD",
        "is_exit": is_exit,
        "venue_order": {"client_order_id": f"wire-{client_id}", "send_by": AT} if sent else None,
        "reservation": None,
    }
    judged_on = None if is_exit else ledger.state("main")
    return ledger.append("main", "decision", body, at=AT, key=f"order:{client_id}", judged_on=judged_on)


def hear(ledger: PostgresLedger, client_id: str) -> None:
    ledger.append("main", "receipt", {"client_order_id": client_id, "status": "filled"}, at=AT)


def run_out(place: str) -> None:
    """Time passes for the lease."""
    with psycopg.connect(place) as other:
        other.execute("UPDATE lease SET until = clock_timestamp() - interval '1 second'")


@pytest.fixture
def two(opened: Opened, place: str, another_process: Become) -> tuple[PostgresLedger, PostgresLedger]:
    """The ledgers of two processes, A and B, on one place."""
    another_process("A")
    first = opened(place)
    another_process("B")
    return first, opened(place)


def test_nobody_is_a_sender_before_the_first_order(two: tuple[PostgresLedger, PostgresLedger]) -> None:
    for ledger in two:
        state = ledger.state("main")
        assert (state.sender, state.epoch) == ("", 0)


def test_who_sends_first_is_the_sender_and_others_hear_of_it(two: tuple[PostgresLedger, PostgresLedger]) -> None:
    one, other = two
    assert decide(one, "a") == 1
    assert (one.state("main").sender, one.state("main").epoch) == ("", 1)
    assert other.state("main").sender.startswith("A until 20")
    assert other.state("other").sender == "", "each account has its own"
    assert decide(other, "b") is None
    assert decide(one, "b") == 2


def test_what_is_not_sent_is_recorded_by_anybody(two: tuple[PostgresLedger, PostgresLedger]) -> None:
    one, other = two
    decide(one, "a")
    assert decide(other, "refused", sent=False) == 2
    assert decide(other, "exit", is_exit=True) == 3
    hear(other, "a")
    assert one.state("main").epoch == 1


def test_e03_lease_that_ran_out_is_taken_over_and_the_old_senders_decisions_are_stale(
    two: tuple[PostgresLedger, PostgresLedger], place: str
) -> None:
    one, other = two
    decide(one, "a")
    judged_by_the_old = one.state("main")
    run_out(place)
    assert other.state("main").sender == ""
    assert decide(other, "b") == 2
    assert other.state("main").epoch == 2
    body = {"client_order_id": "c", "venue_order": {"client_order_id": "wire-c", "send_by": AT}, "reservation": None}
    assert one.append("main", "decision", body, at=AT, judged_on=judged_by_the_old) is None
    assert one.state("main").sender.startswith("B until")
    assert decide(one, "c") is None


def test_a_lease_that_ran_out_and_that_nobody_took_goes_on(
    two: tuple[PostgresLedger, PostgresLedger], place: str
) -> None:
    one, _ = two
    decide(one, "a")
    run_out(place)
    assert decide(one, "b") == 2
    assert one.state("main").epoch == 1


def test_of_two_who_find_it_run_out_one_takes_it(two: tuple[PostgresLedger, PostgresLedger], place: str) -> None:
    one, other = two
    decide(one, "a")
    run_out(place)
    seen = {ledger: ledger.state("main") for ledger in two}
    body = {
        "client_order_id": "b",
        "digest": "",
        "symbol": "BTC-USD",
        "is_exit": False,
        "venue_order": {"client_order_id": "wire-b", "send_by": AT},
        "reservation": None,
    }
    assert other.append("main", "decision", body, at=AT, judged_on=seen[other]) == 2
    assert one.append("main", "decision", {**body, "client_order_id": "c"}, at=AT, judged_on=seen[one]) is None


def test_closing_gives_the_lease_up(two: tuple[PostgresLedger, PostgresLedger]) -> None:
    one, other = two
    decide(one, "a")
    hear(one, "a")
    one.close()
    assert other.state("main").sender == ""
    assert decide(other, "b") == 3


def test_closing_while_an_order_is_on_its_way_lets_it_run_out(two: tuple[PostgresLedger, PostgresLedger]) -> None:
    """It may still be sent by another thread; the next sender must find it expired or know its outcome."""
    one, other = two
    decide(one, "a")
    one.close()
    assert other.state("main").sender.startswith("A until")


def test_a_ledger_opened_again_in_the_same_process_is_the_same_sender(opened: Opened, place: str) -> None:
    """The executor drops a ledger that failed and opens it anew: it must not shut itself out."""
    decide(opened(place), "a")
    again = opened(place)
    assert again.state("main").sender == ""
    assert decide(again, "b") == 2


def test_e03_zombie_leader(
    gate: Callable[..., Executor], requests: Callable[[], int], place: str, tmp_path: Path
) -> None:
    """A gateway is stopped right after its intent, another takes over, the first wakes up: its send is fenced."""
    rules = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]
    settings = {"ledger": place, "send_within": 1.5, "deadline": 1.5, "exit_facts": 1, "sender_lease": 3}
    executor = gate(settings=settings)
    table: Any = executor.config.accounts["main"].table
    accounts = {"main": {"broker": "paper", "paper": {**table, "prices": dict(table["prices"])}}}
    values = {"gate": {"rules": rules, **settings}, "accounts": accounts}
    told = json.dumps({"folder": str(tmp_path), "values": values, "buy": ["zombie", "next"]})
    with subprocess.Popen([sys.executable, str(CHILD), told], stdout=subprocess.PIPE, text=True) as child:
        assert os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT) is not None, (
            "it stopped itself after its intent"
        )
        early = executor.submit(Order.buy("ETH-USD", spend="100.00", client_order_id="early"))
        assert early.status is OrderStatus.REFUSED
        assert "another_sender" in [verdict.code for verdict in early.verdicts]
        assert f"process {child.pid} on" in early.message
        with psycopg.connect(place) as other:
            other.execute("SELECT pg_sleep_until(until) FROM lease")
        taken = executor.submit(Order.buy("ETH-USD", spend="100.00", client_order_id="taken"))
        assert taken.status is OrderStatus.FILLED, taken.message
        os.kill(child.pid, signal.SIGCONT)
        assert child.stdout is not None
        zombie, after = (json.loads(child.stdout.readline()) for _ in range(2))
        assert child.wait(30) == 0
    assert zombie["status"] == "expired"
    assert "its send-by time had passed" in zombie["message"]
    assert after["status"] == "refused"
    assert after["codes"] == ["another_sender"]
    assert f"process {os.getpid()} on" in after["message"]
    assert requests() == 1
    symbols = [order.symbol for order in paper.placed_orders(tmp_path / "paper-main.db")]
    assert symbols == ["ETH-USD"]
    assert executor.desk.ledger().verify() is None
