"""The stores that a ledger can stand in: the same tests are run on each."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ordergate.clock import SystemClock
from ordergate.ledger import Ledger, open_ledger


class SqliteStore:
    def __init__(self, path: Path) -> None:
        self.place, self._path = str(path), path

    def open(self) -> Ledger:
        """The ledger, opened once more."""
        return open_ledger(f"sqlite:///{self._path.name}", self._path.parent, SystemClock())

    def run(self, *statements: str, guarded: bool = True) -> int:
        """Run them behind the ledger's back, without its guards if told so; how many rows the last one changed."""
        changed = 0
        with closing(sqlite3.connect(self._path, isolation_level=None)) as other:
            query = "SELECT name, sql FROM sqlite_schema WHERE name IN ('journal_keeps', 'journal_stays')"
            guards = [] if guarded else other.execute(query).fetchall()
            for name, _ in guards:
                other.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                changed = other.execute(statement).rowcount
                assert changed != 0, statement
            for _, sql in guards:
                other.execute(sql)
        return changed


class PostgresStore:
    def __init__(self, url: str) -> None:
        self.place, self._url = "the ledger postgres at", url

    def open(self) -> Ledger:
        return open_ledger(self._url, Path(), SystemClock())

    def run(self, *statements: str, guarded: bool = True) -> int:
        changed = 0
        with psycopg.connect(self._url) as other:
            if not guarded:
                other.execute("ALTER TABLE journal DISABLE TRIGGER USER")
            for statement in statements:
                changed = other.execute(statement).rowcount
                assert changed != 0, statement
            if not guarded:
                other.execute("ALTER TABLE journal ENABLE TRIGGER USER")
        return changed


Store = SqliteStore | PostgresStore


@pytest.fixture(params=["sqlite", "postgres"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Makes empty stores. `open()` of one is a ledger on it, `run(...)` somebody with a client of the database."""
    if request.param == "sqlite":
        numbers = itertools.count()
        return lambda: SqliteStore(tmp_path / f"ledger-{next(numbers)}.db")
    postgres: Any = request.getfixturevalue("postgres")
    return lambda: PostgresStore(postgres.new_place())


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Store:
    return new_store()


@pytest.fixture
def ledger(store: Store) -> Iterator[Ledger]:
    with closing(store.open()) as opened:
        yield opened
