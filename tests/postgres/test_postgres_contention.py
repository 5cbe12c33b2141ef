"""E08: lock time-outs, deadlocks and serialization failures, provoked for real: bounded retries, then an error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ordergate import Executor, LedgerBusy, Order, OrderStatus
from ordergate.ledger import EVERY_ACCOUNT
from ordergate.postgres_ledger import PostgresLedger

if TYPE_CHECKING:
    from tests.postgres.conftest import PatientClock

Opened = Callable[..., PostgresLedger]
Crowd = Callable[[int, Callable[[int], Any]], list[Any]]

AT = 1_800_000_000.0
HALT = {"trading": "exits_only", "by": "Ann", "reason": "drill"}
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s AND pid <> pg_backend_pid()"
)


def note(ledger: PostgresLedger, account: str = "main") -> int | None:
    return ledger.append(account, "note", {}, at=AT)


def lock(connection: psycopg.Connection[Any], account: str) -> None:
    connection.execute("SELECT * FROM account WHERE name = %s FOR UPDATE", (account,))


@contextmanager
def meanwhile(run: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(30)
    assert not thread.is_alive()


def wait_until_waiting(place: str, query: str) -> None:
    """Until somebody waits for a row with such a query; ten seconds at most."""
    with psycopg.connect(place, autocommit=True) as other:
        for _ in range(1000):
            if other.execute(WAITING, (query,)).fetchone() != (0,):
                return
            other.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits")


def test_e08_lock_timeout_is_retried(opened: Opened, place: str, clock: PatientClock) -> None:
    ledger = opened(place)
    note(ledger)
    pauses: list[int] = []
    with psycopg.connect(place) as other:
        lock(other, "main")

        def third_time() -> None:
            pauses.append(1)
            if len(pauses) == 2:
                other.rollback()

        clock.on_sleep = third_time
        assert note(ledger) == 2
    assert len(pauses) == 2


def test_e08_lock_that_is_never_given_up_ends_in_busy(opened: Opened, place: str, clock: PatientClock) -> None:
    ledger = opened(place)
    note(ledger)
    clock.on_sleep = lambda: clock.skip(1.0)
    with psycopg.connect(place) as other:
        lock(other, "main")
        with pytest.raises(LedgerBusy, match="stayed locked by others for 2 s"):
            note(ledger)
        assert ledger.state("main").seq == 1, "reading goes on"
    clock.on_sleep = None
    assert note(ledger) == 2


def test_e08_deadlock_is_retried_and_both_sides_finish(opened: Opened, place: str, clock: PatientClock) -> None:
    """A halt of everything holds its own row and wants each account's; a client holds one of those and wants the first.

    Whoever closes the circle finds it: the halt is kept at another row until the client waits.
    """
    ledger = opened(place)
    for account in (EVERY_ACCOUNT, "first", "main"):
        note(ledger, account)
    retries: list[int] = []
    clock.on_sleep = lambda: retries.append(1)
    with psycopg.connect(place) as client, psycopg.connect(place) as another:
        client.execute("SET deadlock_timeout = '30s'")
        lock(client, "main")
        lock(another, "first")

        def want_the_other() -> None:
            wait_until_waiting(place, "%ledger_append%")
            lock(client, EVERY_ACCOUNT)
            client.rollback()

        def let_it_go_on() -> None:
            wait_until_waiting(place, "%FOR UPDATE%")
            another.rollback()

        with meanwhile(want_the_other), meanwhile(let_it_go_on):
            assert ledger.append(EVERY_ACCOUNT, "trading", HALT, at=AT) == 2
    assert retries
    assert ledger.verify() is None


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_e08_serialization_failure_is_retried(opened: Opened, place: str, clock: PatientClock, level: str) -> None:
    """A database may be set to a stricter isolation than its default."""
    ledger = opened(f"{place}%20-cdefault_transaction_isolation%3D{level.replace(' ', '%5C%20')}")
    note(ledger)
    retries: list[int] = []
    clock.on_sleep = lambda: retries.append(1)
    with psycopg.connect(place) as other:
        other.execute("UPDATE account SET trading_seq = NULL WHERE name = 'main'")

        def finish() -> None:
            wait_until_waiting(place, "%ledger_append%")
            other.commit()

        with meanwhile(finish):
            assert note(ledger) == 2
    assert len(retries) == 1
    assert ledger.verify() is None


@pytest.mark.parametrize("level", ["read committed", "serializable"])
def test_e08_storm_of_halts_and_orders_ends_in_one_unbroken_chain(
    opened: Opened, place: str, crowd: Crowd, level: str
) -> None:
    url = f"{place}%20-cdefault_transaction_isolation%3D{level.replace(' ', '%5C%20')}"

    def run(number: int) -> int:
        ledger = opened(url)
        landed = 0
        for row in range(15):
            account = ("main", "other", EVERY_ACCOUNT)[(number + row) % 3]
            body: dict[str, object] = {**HALT} if account == EVERY_ACCOUNT else {"gone": []}
            kind = "trading" if account == EVERY_ACCOUNT else "settled"
            for _ in range(50):
                try:
                    landed += ledger.append(account, kind, body, at=AT, key=f"{number}:{row}") is not None
                    break
                except LedgerBusy:
                    continue
        return landed

    assert sum(crowd(4, run)) == 60
    assert opened(place).verify() is None


def test_e08_a_buy_on_a_contended_account_is_refused_and_binds_nothing(
    gate: Callable[..., Executor], requests: Callable[[], int], place: str, clock: PatientClock
) -> None:
    executor = gate(settings={"ledger": place}, clock=clock)
    order = Order.buy("BTC-USD", spend="100.00", client_order_id="a")
    assert executor.check(order).approved
    executor.desk.ledger().keep("main", "text")
    with psycopg.connect(place) as other:
        lock(other, "main")
        clock.on_sleep = lambda: clock.skip(1.0)
        refused = executor.submit(order)
        clock.on_sleep = None
    assert refused.status is OrderStatus.REFUSED
    assert "ledger_busy" in [verdict.code for verdict in refused.verdicts]
    assert requests() == 0
    assert executor.submit(order).status is OrderStatus.FILLED
