"""Opening a ledger in a database: what is created, what is refused, and that no password is ever written or shown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest

from ordergate import InputError, LedgerDamaged, LedgerError
from ordergate.clock import SystemClock
from ordergate.errors import LedgerVersion
from ordergate.ledger import open_ledger
from ordergate.postgres_connections import Connections
from ordergate.postgres_ledger import PostgresLedger

if TYPE_CHECKING:
    from tests.conftest import PostgresServer

Opened = Callable[..., PostgresLedger]

AT = 1_800_000_000.0


def open_url(url: str) -> None:
    open_ledger(url, Path(), SystemClock()).close()


def test_processes_that_create_the_same_ledger_all_get_it(
    opened: Opened, place: str, crowd: Callable[[int, Callable[[int], Any]], list[Any]]
) -> None:
    marks = crowd(6, lambda _: opened(place).mark)
    assert len(set(marks)) == 1
    assert len(marks[0]) == 32


def test_a_ledger_that_was_replaced_while_in_use_is_not_gone_on_with(opened: Opened, place: str) -> None:
    ledger = opened(place)
    with psycopg.connect(place) as other:
        other.execute("UPDATE ledger SET id = 'another'")
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(LedgerDamaged, match="was replaced while it was in use"):
        ledger.state("main")
    with pytest.raises(LedgerDamaged, match="was replaced while it was in use"):
        opened(place, same_as=ledger.mark)


def test_a_ledger_that_vanished_does_not_come_back_empty(opened: Opened, place: str) -> None:
    mark = opened(place).mark
    with psycopg.connect(place) as other:
        other.execute("DROP TABLE ledger, account, funds, lease, journal, content, orders")
    with pytest.raises(LedgerDamaged):
        opened(place, same_as=mark)


def test_tables_of_another_program_are_left_alone(opened: Opened, place: str) -> None:
    with psycopg.connect(place) as other:
        other.execute("CREATE TABLE ledger (amount numeric)")
    with pytest.raises(LedgerDamaged, match="has other tables than a ledger has"):
        opened(place)


def test_tables_that_stand_in_the_way_are_named(opened: Opened, place: str) -> None:
    with psycopg.connect(place) as other:
        other.execute("CREATE TABLE orders (amount numeric)")
    with pytest.raises(LedgerDamaged, match="has other tables than a ledger has"):
        opened(place)


def test_tables_that_vanish_under_an_open_ledger_are_damage(opened: Opened, place: str) -> None:
    ledger = opened(place)
    with psycopg.connect(place) as other:
        other.execute("DROP TABLE journal")
    with pytest.raises(LedgerDamaged, match="has other tables than a ledger has"):
        ledger.append("main", "note", {}, at=AT)


@pytest.mark.parametrize(("schema", "fix"), [(2, "update ordergate"), (0, "restore a backup")])
def test_h09_a_schema_of_another_version_is_refused(opened: Opened, place: str, schema: int, fix: str) -> None:
    opened(place).close()
    with psycopg.connect(place) as other:
        other.execute("UPDATE ledger SET schema = %s", (schema,))
    with pytest.raises(LedgerVersion, match=fix):
        opened(place)


def test_a_database_that_counts_bytes_is_refused(opened: Opened, postgres: PostgresServer) -> None:
    """There a hash over characters would be another one than Python's."""
    postgres.execute("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0 STRATEGY file_copy")
    with pytest.raises(LedgerError, match="has the encoding SQL_ASCII; create a database with ENCODING 'UTF8'"):
        opened(postgres.url("bytes"))


def test_a_role_that_may_not_create_tables_is_told_so(opened: Opened, postgres: PostgresServer) -> None:
    postgres.execute("CREATE ROLE guest LOGIN")
    place = postgres.new_place()
    postgres.execute(f"GRANT USAGE ON SCHEMA {place.rpartition('%3D')[2]} TO guest")
    with pytest.raises(LedgerError, match="permission denied"):
        opened(place.replace("user=postgres", "user=guest"))


def test_a_role_with_no_more_rights_than_the_page_names_trades_and_verifies(
    opened: Opened, postgres: PostgresServer
) -> None:
    postgres.execute("CREATE ROLE trader LOGIN")
    place = postgres.new_place()
    schema = place.rpartition("%3D")[2]
    opened(place).close()
    postgres.execute(f"GRANT USAGE ON SCHEMA {schema} TO trader")
    postgres.execute(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO trader")
    ledger = opened(place.replace("user=postgres", "user=trader"))
    ledger.append("main", "bound", {"identity": "portfolio"}, at=AT)
    ledger.append("main", "settled", {"gone": []}, at=AT)
    ledger.append("*", "trading", {"trading": "exits_only"}, at=AT)
    ledger.keep("main", "facts")
    assert ledger.state("main").seq == 2
    assert ledger.verify() is None


def test_a_server_that_may_only_be_read_takes_nothing(opened: Opened, place: str) -> None:
    """What is left of a primary after a fail-over: the connection is not used again."""
    ledger = opened(place)
    ledger.append("main", "note", {}, at=AT)
    with psycopg.connect(place, autocommit=True) as other:
        other.execute("ALTER ROLE postgres SET default_transaction_read_only = on")
        try:
            with pytest.raises(LedgerError, match="cannot be used"):
                opened(place)
        finally:
            other.execute("SET default_transaction_read_only = off")
            other.execute("ALTER ROLE postgres RESET default_transaction_read_only")
    assert ledger.append("main", "note", {}, at=AT) == 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gate:hunter2@localhost/db",
        "postgresql://gate:a/hunter2@localhost/db",
        "postgresql://gate@localhost/db?password=hunter2",
        "postgresql://gate@localhost/db?pass%77ord=hunter2",
        "postgresql://gate@localhost/db?sslpassword=hunter2",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises((InputError, LedgerError), match=r"gate.ledger.*take (it|the password) out") as caught:
        open_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_url_of_nonsense_is_refused_without_showing_it() -> None:
    with pytest.raises(LedgerError, match="is no URL of a PostgreSQL database") as caught:
        open_url("postgresql://gate@localhost/db?colour=hunter2")
    assert "hunter2" not in str(caught.value)


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(InputError, match="postgresql://USER@HOST/NAME"):
        open_url("mysql://localhost/db")


def test_a_missing_driver_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in ("ordergate.postgres_ledger", "ordergate.postgres_connections"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(LedgerError, match=r'pip install "ordergate\[postgres\]"'):
        open_url("postgresql://localhost/db")


def test_nobody_listening_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=f"the ledger db at {tmp_path} cannot be used") as caught:
        open_url(f"postgresql:///db?host={tmp_path}")
    assert "\n" not in str(caught.value)


def test_each_step_of_an_order_is_one_round_trip(opened: Opened, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = opened(place)
    state = ledger.state("main")
    asked: list[str] = []
    real = Connections.run

    def run(self: Connections, work: Callable[[Any], Any], **more: Any) -> Any:
        asked.append("one")
        return real(self, lambda connection: work(Counted(connection, asked)), **more)

    monkeypatch.setattr(Connections, "run", run)
    steps: list[Callable[[], object]] = [
        lambda: ledger.state("main"),
        lambda: ledger.append("main", "note", {}, at=AT, judged_on=state),
        lambda: ledger.keep("main", "facts"),
        lambda: ledger.find("main", "a"),
    ]
    for step in steps:
        asked.clear()
        step()
        assert asked == ["one", "statement"]
    asked.clear()
    ledger.keep("main", "facts")
    assert asked == [], "this process knows that it is kept"


class Counted:
    """A connection whose statements are counted."""

    def __init__(self, connection: Any, asked: list[str]) -> None:
        self._connection, self._asked = connection, asked

    def execute(self, *arguments: Any) -> Any:
        self._asked.append("statement")
        return self._connection.execute(*arguments)

    def cursor(self, **named: Any) -> Any:
        return Counted(self._connection.cursor(**named), self._asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def test_a_closed_ledger_says_so(opened: Opened, place: str) -> None:
    ledger = opened(place)
    ledger.close()
    with pytest.raises(LedgerError, match="it was closed"):
        ledger.state("main")


def test_who_only_looks_makes_no_ledger(postgres: PostgresServer) -> None:
    url = postgres.new_place()
    with pytest.raises(LedgerError, match="is not there"):
        open_ledger(url, Path(), SystemClock(), to_inspect=True)
    with pytest.raises(LedgerError, match="is not there"):
        open_ledger(url, Path(), SystemClock(), to_inspect=True)
