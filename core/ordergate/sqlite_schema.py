"""The tables of an SQLite ledger: made by numbered scripts, for a new file and for one of an older ordergate alike.

Each script brings a file from the schema before it to its own. This module says which file is a ledger and runs the
scripts it lacks; it never decides to change a ledger that is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

from ordergate.errors import LedgerDamaged, LedgerVersion

__all__ = ["SCHEMA", "changing", "create", "run_scripts", "schema_of"]

SCHEMA: Final = 2
_APPLICATION: Final = 0x6F726467  # "ordg": tells a ledger from any other SQLite file


def schema_of(connection: sqlite3.Connection, path: Path) -> int | None:
    """The schema of the ledger that the file holds, None when it is empty.

    Raises LedgerDamaged for a file of another program, LedgerVersion for a schema that only a newer ordergate knows.
    """
    if not _tables(connection):
        return None
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise LedgerDamaged(f"{path} is an SQLite file but no ledger; name another file in gate.ledger")
    if version < 1:
        raise LedgerDamaged(f"the ledger {path} does not say its schema; restore a backup")
    if version > SCHEMA:
        raise LedgerVersion(
            f"the ledger {path} has schema {version}, newer than the {SCHEMA} this ordergate writes; update ordergate"
        )
    return version


def create(connection: sqlite3.Connection, ledger_id: str) -> None:
    """All or nothing: a process that dies half-way leaves an empty file, and of two that start at once one creates."""
    with changing(connection):
        if not _tables(connection):
            run_scripts(connection, after=0)
            connection.execute("INSERT INTO ledger VALUES (?)", (ledger_id,))
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")


def run_scripts(connection: sqlite3.Connection, *, after: int) -> None:
    """Run those that follow on schema `after`, inside `changing`."""
    for number in range(after + 1, SCHEMA + 1):
        script = files("ordergate").joinpath("migrations", f"sqlite_{number:04}.sql").read_text(encoding="utf-8")
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


@contextmanager
def changing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction in which tables may be renamed and dropped, as SQLite's manual asks: without foreign keys."""
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA legacy_alter_table = ON")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA legacy_alter_table = OFF")
        connection.execute("PRAGMA foreign_keys = ON")


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: running it whole would commit between them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _tables(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
