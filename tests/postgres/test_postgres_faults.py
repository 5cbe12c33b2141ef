"""D07: the server killed, answers lost, silence on the line. Nothing twice, nothing lost, nothing that hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ordergate import Executor, LedgerBusy, LedgerDamaged, LedgerError, Order, OrderStatus
from ordergate.ledger import AlreadyRecorded
from ordergate.postgres_ledger import PostgresLedger

if TYPE_CHECKING:
    from tests.conftest import PostgresServer
    from tests.postgres.conftest import Line, PatientClock

Opened = Callable[..., PostgresLedger]
Over = Callable[["Line", str], str]
Gate = Callable[..., Executor]
Crowd = Callable[[int, Callable[[int], Any]], list[Any]]

AT = 1_800_000_000.0
REST = 9.0  # seconds after which a server that kept silent is asked again
CHILD = Path(__file__).parent / "child.py"


def note(ledger: PostgresLedger, key: str | None = None) -> int | None:
    return ledger.append("main", "note", {"text": "x"}, at=AT, key=key)


# ------------------------------------------------------------------------------------------------ answers that are lost


@pytest.mark.parametrize("key", ["a key", None])
def test_d07_answer_lost_after_commit_is_found_again(
    opened: Opened, place: str, line: Line, over: Over, key: str | None
) -> None:
    ledger = opened(over(line, place))
    assert note(ledger, "before") == 1
    line.swallow_answer_to(b"note")
    assert note(ledger, key) == 2
    assert line.swallowed == 1
    assert [entry.seq for entry in ledger.entries()] == [1, 2], "one row, not two"
    assert ledger.verify() is None


def test_d07_answer_lost_to_somebody_elses_key_is_not_taken_for_ours(
    opened: Opened, place: str, line: Line, over: Over
) -> None:
    """The row under the key says the very same, and was written by another: only one of the two may send."""
    note(opened(place), "same")
    ledger = opened(over(line, place))
    line.swallow_answer_to(b"note")
    with pytest.raises(AlreadyRecorded):
        note(ledger, "same")
    assert line.swallowed == 1


def test_d07_answer_lost_to_a_stale_decision_stays_stale(opened: Opened, place: str, line: Line, over: Over) -> None:
    ledger = opened(over(line, place))
    judged_on = ledger.state("main")
    ledger.append("main", "settled", {"gone": []}, at=AT)
    line.swallow_answer_to(b"note")
    assert ledger.append("main", "note", {}, at=AT, judged_on=judged_on) is None
    assert line.swallowed == 1


@pytest.mark.parametrize("word", [b"FROM account", b"FROM journal", b"content"])
def test_d07_answer_lost_to_a_question_is_asked_again(
    opened: Opened, place: str, line: Line, over: Over, word: bytes
) -> None:
    ledger = opened(over(line, place))
    note(ledger)
    line.swallow_answer_to(word)
    assert ledger.state("main").seq == 1
    assert len(list(ledger.entries())) == 1
    assert ledger.kept("main", ledger.keep("main", "facts")) == "facts"
    assert line.swallowed == 1


def test_d07_every_answer_lost_ends_in_an_error_and_one_row(
    opened: Opened, place: str, line: Line, over: Over, clock: PatientClock
) -> None:
    ledger = opened(over(line, place))

    def once_more() -> None:
        line.swallow_answer_to(b"note")
        clock.skip(0.2)

    clock.on_sleep = once_more
    line.swallow_answer_to(b"note")
    with pytest.raises(LedgerError, match="cannot be used"):
        note(ledger, "a key")
    clock.on_sleep = None
    clock.skip(REST)
    line.swallow_answer_to(b"nothing of the kind")
    with pytest.raises(AlreadyRecorded):
        note(ledger, "a key")
    assert len(list(ledger.entries())) == 1


# -------------------------------------------------------------------------------------------------------------- silence


def test_d07_silence_on_the_line_is_an_error_and_not_asked_again_at_once(
    opened: Opened, place: str, line: Line, over: Over, clock: PatientClock
) -> None:
    """A dropped packet must not hang an order, nor an exit that asks the ledger five times wait five times."""
    ledger = opened(over(line, place))
    note(ledger)
    line.fall_silent()
    with pytest.raises(LedgerError, match="no answer came within 2 s"):
        note(ledger, "a key")
    calls = line.accepted
    for ask in (lambda: note(ledger), lambda: ledger.state("main"), lambda: opened(over(line, place))):
        with pytest.raises(LedgerError, match="was out of reach a moment ago"):
            ask()
    ledger.close()
    assert line.accepted == calls, "nobody called while it rests"
    line.mend()
    clock.skip(REST)
    again = opened(over(line, place))
    assert note(again, "another key") in (2, 3), "the one that got no answer may have landed"
    assert again.verify() is None


def test_d07_silence_while_connecting_is_an_error(opened: Opened, place: str, line: Line, over: Over) -> None:
    line.fall_silent()
    with pytest.raises(LedgerError, match="timeout"):
        opened(over(line, place))


def in_a_namespace(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True, timeout=10)


@pytest.fixture
def namespace(postgres: PostgresServer, new_line: Callable[[str], Line]) -> Iterator[tuple[str, Line]]:
    """A network namespace of its own, joined to ours by a cable, and a line to the server at our end of it."""
    name = f"og{postgres.folder.name[-6:]}"
    try:
        in_a_namespace("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    try:
        in_a_namespace("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        in_a_namespace("addr", "add", "10.213.7.1/30", "dev", f"{name}a")
        in_a_namespace("link", "set", f"{name}a", "up")
        in_a_namespace("-n", name, "addr", "add", "10.213.7.2/30", "dev", f"{name}b")
        in_a_namespace("-n", name, "link", "set", f"{name}b", "up")
        yield name, new_line("10.213.7.1")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no virtual cable here: {error.stderr.decode()}")
    finally:
        with suppress(subprocess.CalledProcessError):
            in_a_namespace("link", "del", f"{name}a")
        in_a_namespace("netns", "del", name)


def test_d07_network_pulled_is_an_error_and_comes_back(
    namespace: tuple[str, Line], place: str, opened: Opened, over: Over
) -> None:
    """A real cable: nothing is answered and nothing hung up, in a process whose system sees the packets vanish."""
    name, line = namespace
    url = over(line, place).replace("127.0.0.1", "10.213.7.1")
    command = ["ip", "netns", "exec", name, sys.executable, str(CHILD), json.dumps({"notes": url})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def asked(word: str) -> Any:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(f"{word}\n")
            child.stdin.flush()
            return json.loads(child.stdout.readline())

        assert asked("first") == 1
        in_a_namespace("link", "set", f"{name}a", "down")
        assert "cannot be used" in asked("second")
        in_a_namespace("link", "set", f"{name}a", "up")
        assert asked("rested third") in (2, 3)
        child.stdin.close()
        assert child.wait(20) == 0
    ledger = opened(place)
    assert {entry.key for entry in ledger.entries()} >= {"first", "third"}
    assert ledger.verify() is None


# --------------------------------------------------------------------------------------------------- a server that dies


def test_d07_server_killed_and_restarted(opened: Opened, own_server: PostgresServer, clock: PatientClock) -> None:
    ledger = opened(own_server.new_place())
    note(ledger, "before")
    own_server.kill()
    for ask in (lambda: note(ledger, "during"), lambda: ledger.state("main"), lambda: list(ledger.entries())):
        with pytest.raises(LedgerError, match=r"cannot be used|was out of reach"):
            ask()
    own_server.start()
    clock.skip(REST)
    assert note(ledger, "after") == 2
    assert ledger.state("main").seq == 2
    assert ledger.verify() is None


def test_d07_connections_ended_by_the_server_are_not_an_error(opened: Opened, place: str, crowd: Crowd) -> None:
    """An administrator, or a restart that nobody noticed: what lies idle is looked at before it is used."""
    ledger = opened(place)
    crowd(4, lambda number: note(ledger, f"first {number}"))
    with psycopg.connect(place, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'ordergate'"
        )
    crowd(4, lambda number: note(ledger, f"second {number}"))
    assert len(list(ledger.entries())) == 8


def test_d07_server_killed_under_many_writers_keeps_every_row_it_confirmed(
    opened: Opened, own_server: PostgresServer, crowd: Crowd, clock: PatientClock
) -> None:
    place = own_server.new_place()
    ledger = opened(place)
    confirmed: list[str] = []

    def write(number: int) -> None:
        if number == 0:
            while len(confirmed) < 20:
                pass
            own_server.kill()
            own_server.start()
            return
        for row in range(200):
            with suppress(LedgerError):
                if note(ledger, f"{number}:{row}"):
                    confirmed.append(f"{number}:{row}")

    crowd(4, write)
    clock.skip(REST)
    assert {entry.key for entry in ledger.entries()} >= set(confirmed)
    assert ledger.verify() is None


def test_d05_older_backup_restored_under_a_running_process_is_not_decided_on(
    opened: Opened, own_server: PostgresServer, clock: PatientClock
) -> None:
    place = own_server.new_place()
    ledger = opened(place)
    note(ledger)
    own_server.stop()
    own_server.keep_backup()
    own_server.start()
    note(ledger)
    own_server.stop()
    own_server.restore_backup()
    own_server.start()
    clock.skip(REST)
    for ask in (lambda: ledger.state("main"), lambda: note(ledger), lambda: opened(place).state("main")):
        with pytest.raises(LedgerDamaged, match="lost rows"):
            ask()


def test_a_row_of_which_another_process_heard_first_raises_no_false_alarm(opened: Opened, place: str) -> None:
    one, other = opened(place), opened(place)
    for _ in range(3):
        note(one)
        assert note(other) == other.state("main").seq == one.state("main").seq


# --------------------------------------------------------------------------------------------------------- many threads


def test_more_threads_than_connections_wait_for_each_other(opened: Opened, place: str, crowd: Crowd) -> None:
    ledger = opened(place)
    crowd(16, lambda number: [note(ledger, f"{number}:{row}") for row in range(3)])
    with psycopg.connect(place) as other:
        found = other.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%ledger_append%'").fetchone()
    assert found is not None
    assert found[0] <= 8 + 1
    assert ledger.state("main").seq == 48


def test_one_slow_answer_holds_nobody_else_up(opened: Opened, place: str) -> None:
    """The row of one account is locked by a client that went to lunch; another account's order passes meanwhile."""
    ledger = opened(place)
    for account in ("main", "other"):
        ledger.append(account, "note", {}, at=AT)
    with psycopg.connect(place) as lunch:
        lunch.execute("SELECT * FROM account WHERE name = 'main' FOR UPDATE")
        assert ledger.append("other", "note", {}, at=AT) == 2
        with pytest.raises(LedgerBusy):
            note(ledger)


# ----------------------------------------------------------------------------------------------- through the whole gate


def buy(client_id: str, symbol: str = "BTC-USD") -> Order:
    return Order.buy(symbol, spend="100.00", client_order_id=client_id)


@pytest.mark.parametrize("word", [b"order:a", b"receipt:a", b"content"])
def test_d07_buy_whose_answers_are_lost_is_sent_once(
    gate: Gate, requests: Callable[[], int], place: str, line: Line, over: Over, word: bytes
) -> None:
    executor = gate(settings={"ledger": over(line, place)})
    assert executor.check(buy("a")).approved
    line.swallow_answer_to(word)
    decision = executor.submit(buy("a"))
    assert decision.status is OrderStatus.FILLED
    assert line.swallowed == 1
    assert requests() == 1
    assert executor.submit(buy("a")).replayed
    assert requests() == 1


def test_d07_buys_are_refused_while_the_server_is_down_and_exits_pass_and_come_home(
    gate: Gate, requests: Callable[[], int], own_server: PostgresServer, clock: PatientClock
) -> None:
    place = own_server.new_place()
    executor = gate(settings={"ledger": place}, positions={"ETH-USD": "0.1"}, clock=clock)
    assert executor.submit(buy("first")).status is OrderStatus.FILLED
    own_server.kill()
    refused = executor.submit(buy("second"))
    assert (refused.status, [verdict.code for verdict in refused.verdicts if not verdict.approved]) == (
        OrderStatus.REFUSED,
        ["ledger_unavailable"],
    )
    assert requests() == 1
    sold = executor.submit(Order.sell("ETH-USD", amount="0.05", client_order_id="out"))
    assert sold.status is OrderStatus.FILLED
    assert any("The ledger could not record it" in warning for warning in sold.warnings)
    assert requests() == 2
    own_server.start()
    clock.skip(REST)
    second = executor.submit(buy("second"))
    assert second.status is OrderStatus.FILLED, second.message
    found = executor.desk.ledger().find("main", "out")
    assert found is not None
    assert (found.is_exit, found.status) == (True, "filled")
    again = executor.submit(Order.sell("ETH-USD", amount="0.05", client_order_id="out"))
    assert again.replayed
    assert requests() == 3
    assert executor.desk.ledger().verify() is None


def test_d07_silence_refuses_buys_and_lets_exits_pass(
    gate: Gate, requests: Callable[[], int], place: str, line: Line, over: Over, clock: PatientClock
) -> None:
    executor = gate(settings={"ledger": over(line, place)}, positions={"ETH-USD": "0.1"}, clock=clock)
    assert executor.submit(buy("first")).status is OrderStatus.FILLED
    line.fall_silent()
    assert executor.submit(buy("second")).status is OrderStatus.REFUSED
    sold = executor.submit(Order.sell("ETH-USD", amount="0.05", client_order_id="out"))
    assert sold.status is OrderStatus.FILLED
    assert requests() == 2
    line.mend()
    clock.skip(REST)
    assert executor.submit(buy("third")).status is OrderStatus.FILLED
    found = executor.desk.ledger().find("main", "out")
    assert found is not None
    assert found.status == "filled"
