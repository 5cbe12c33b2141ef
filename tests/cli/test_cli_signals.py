"""SIGINT and SIGTERM at real processes: while an order is judged, while it is sent, and a second time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ordergate_paper

SLOW = str(Path(__file__).parent / "slow_venue.py")
BUY = ("buy", "BTC-USD", "--spend", "25", "--id", "cut")
SELL = ("sell", "ETH-USD", "--amount", "0.001", "--id", "cut")
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(program: Any) -> Iterator[Start]:
    """start("place_order", *BUY) is a process that is just waiting for that answer."""
    started: list[subprocess.Popen[str]] = []

    def begin(hook: str, *words: str, ignoring: bool = False) -> subprocess.Popen[str]:
        # A background job of a shell ignores Ctrl-C, and hands that on: most tests are of a program that hears it.
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN if ignoring else signal.SIG_DFL)
        try:
            process = subprocess.Popen(
                [sys.executable, SLOW, hook, *words],
                cwd=program.folder,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        finally:
            signal.signal(signal.SIGINT, heard)
        started.append(process)
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        return process

    yield begin
    for process in started:
        with process:
            process.kill()


def signalled(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """What it says to a signal."""
    process.send_signal(number)
    assert process.stderr is not None
    return process.stderr.readline()


def answer(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Let the venue answer; what the process still said."""
    return process.communicate("\n", timeout=60)


def status_of(program: Any, name: str) -> str:
    recorded = {one["client_order_id"]: one["status"] for one in program.json("log").data["orders"]}
    return str(recorded.get(name, "not recorded"))


@BOTH
def test_d06_first_signal_mid_send_waits_for_the_answer(program: Any, start: Start, number: signal.Signals) -> None:
    process = start("place_order", *BUY, "--json")
    assert signalled(process, number).startswith("finishing: waiting until the outcome of cut is known")
    out, err = answer(process)
    assert (process.returncode, err, json.loads(out)["status"]) == (0, "", "filled")
    assert status_of(program, "cut") == "filled"
    assert program.requests() == 1


def test_d06_first_signal_mid_send_and_the_venue_rejects(
    program: Any, start: Start, fault: Callable[..., None]
) -> None:
    fault("reject")
    process = start("place_order", *BUY)
    signalled(process, signal.SIGTERM)
    out, _ = answer(process)
    assert (process.returncode, out.startswith("REJECTED: buy BTC-USD")) == (5, True)


def test_d06_first_signal_mid_send_and_no_answer_within_the_deadline(program: Any, start: Start) -> None:
    program.rewrite("rules = [", "deadline = 2\nexit_facts = 1\nrules = [")
    process = start("place_order", *BUY, "--json")
    signalled(process, signal.SIGTERM)
    assert process.wait(60) == 4
    out, _ = process.communicate()
    told = json.loads(out)
    assert (told["status"], told["error"]) == ("unknown", "OUTCOME_UNKNOWN")
    assert "ordergate reconcile" in told["advice"]
    assert status_of(program, "cut") == "unknown"


@BOTH
@pytest.mark.parametrize("words", [BUY, SELL], ids=["buy", "sell"])
def test_d06_second_signal_gives_up_at_once(
    program: Any, start: Start, number: signal.Signals, words: tuple[str, ...]
) -> None:
    program.rewrite("rules = [", "deadline = 120\nrules = [")
    process = start("place_order", *words, "--json")
    signalled(process, number)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (4, "")
    told = json.loads(out)
    assert (told["status"], told["error"], told["order"]["client_order_id"]) == ("unknown", "OUTCOME_UNKNOWN", "cut")
    assert "ordergate reconcile" in told["advice"]
    # The venue had it: the next look finds that out, and nothing is sent again.
    again = program.json(*words)
    assert again.data["replayed"]
    program("reconcile")
    assert program.requests() == 1


def test_d06_giving_up_is_told_to_people_too(program: Any, start: Start) -> None:
    process = start("place_order", *BUY)
    signalled(process, signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "UNKNOWN: buy BTC-USD for 25.00 USD" in out
    assert "ordergate reconcile" in out


def test_d06_an_id_that_was_not_named_is_told_with_the_outcome(program: Any, start: Start) -> None:
    process = start("place_order", *BUY[:4], "--json")
    said = signalled(process, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    name = json.loads(out)["order"]["client_order_id"]
    assert name.startswith("og-")
    assert name in said
    assert status_of(program, name) in ("sending", "unknown")


@pytest.mark.parametrize("words", [BUY, SELL], ids=["buy", "sell"])
def test_d06_sigint_before_the_record_ends_at_once_and_nothing_is_sent(
    program: Any, start: Start, words: tuple[str, ...]
) -> None:
    process = start("get_account", *words, "--json")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err, json.loads(out)["error"]) == (130, "", "INTERRUPTED")
    assert status_of(program, "cut") == "not recorded"
    assert program.requests() == 0


def test_d06_sigterm_before_the_record_is_what_it_is_to_any_program(program: Any, start: Start) -> None:
    process = start("get_account", *BUY)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (-signal.SIGTERM, "", "")
    assert status_of(program, "cut") == "not recorded"
    assert program.requests() == 0


@BOTH
def test_d06_first_signal_while_a_cancel_is_sent_waits_for_it(
    program: Any, start: Start, number: signal.Signals
) -> None:
    assert program(*BUY[:2], "--amount", "0.001", "--limit", "50000", "--id", "cut").code == 0
    process = start("cancel_order", "cancel", "cut", "--json")
    assert signalled(process, number).startswith("finishing:")
    out, _ = answer(process)
    assert (process.returncode, json.loads(out)["status"]) == (0, "cancelled")


def test_d06_second_signal_while_a_cancel_is_sent_leaves_its_outcome_open(program: Any, start: Start) -> None:
    assert program(*BUY[:2], "--amount", "0.001", "--limit", "50000", "--id", "cut").code == 0
    process = start("cancel_order", "cancel", "cut", "--json")
    signalled(process, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    told = json.loads(out)
    assert (process.returncode, told["status"]) == (4, "unknown")
    assert "cancel" in told["message"]
    assert program("reconcile").code == 0
    assert status_of(program, "cut") == "cancelled", "the venue had done it"


def test_d06_signal_during_a_forced_liquidation_waits_from_its_beginning(program: Any, start: Start) -> None:
    """It cancels before it records, so there is no moment at which ending would leave the venue as it was."""
    process = start("get_account", *SELL, "--force-liquidate", "--reason", "all must go")
    signalled(process, signal.SIGINT)
    answer(process)
    assert process.returncode == 0
    assert program.requests() == 1


def test_d06_a_signal_that_the_caller_ignores_stays_ignored(program: Any, start: Start) -> None:
    process = start("place_order", *BUY, "--json", ignoring=True)
    process.send_signal(signal.SIGINT)
    out, err = answer(process)
    assert (process.returncode, err, json.loads(out)["status"]) == (0, "", "filled")


def test_d06_with_the_ledger_down_a_sell_in_the_fallback_is_waited_for(program: Any, start: Start) -> None:
    program("status")
    (program.folder / "ordergate.db").unlink(missing_ok=True)
    (program.folder / "ordergate.db").write_text("no ledger at all, and long enough to be looked at " * 30)
    process = start("place_order", *SELL, "--json")
    assert signalled(process, signal.SIGTERM).startswith("finishing:")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    told = json.loads(out)
    assert (process.returncode, told["status"], told["error"]) == (4, "unknown", "OUTCOME_UNKNOWN")
    assert ordergate_paper.count_orders(program.venue) == 1
    assert "cut" in (program.folder / "ordergate-fallback" / "fallback.jsonl").read_text()
