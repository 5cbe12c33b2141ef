"""What is done to an SQLite ledger as a whole: a backup of it, and bringing one of an older ordergate up to date.

Both leave the ledger as it was when they fail, and neither ever writes over a file that is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from ordergate.errors import LedgerDamaged, LedgerError
from ordergate.sqlite_check import first_flaw
from ordergate.sqlite_schema import SCHEMA, changing, run_scripts, schema_of

__all__ = ["back_up", "migrate"]

_PATIENCE: Final = 5.0  # seconds for which a ledger that others are writing is waited for


def back_up(path: Path, target: Path) -> None:
    """Copy the ledger as it stands, while others go on using it, into one file that needs no other.

    Raises LedgerError when the target exists already or either file cannot be used; then no target is left.
    """
    with _new_file(target), _errors(path), closing(_connected(path)) as source, closing(_connected(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # what was copied says that it has a log beside it


def migrate(path: Path, backup: Path, tell: Callable[[str], None]) -> int:
    """Bring the ledger to this ordergate's schema: back it up, fold its tables anew from the journal, and verify it.

    Nobody else can write meanwhile. Returns the schema it had; when that is this one already, nothing was done. Raises
    LedgerError when there is no ledger, the backup exists already, or the journal does not hold.
    """
    if not path.is_file():
        raise LedgerError(f"there is no ledger {path} to migrate (gate.ledger)")
    with _errors(path), closing(_connected(path)) as connection, changing(connection):
        version = schema_of(connection, path)
        if version is None:
            raise LedgerError(f"{path} is empty: there is nothing to migrate")
        if version == SCHEMA:
            return version
        tell("Backing the ledger up")
        back_up(path, backup)
        tell("Folding its tables from the journal")
        run_scripts(connection, after=version)
        tell("Verifying it")
        flaw = first_flaw(connection)
        if flaw is not None:
            raise LedgerDamaged(f"the ledger {path} does not hold and stays as it was: {flaw}; restore a backup")
    return version


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)


@contextmanager
def _new_file(path: Path) -> Iterator[None]:
    """A file that did not exist; it is removed again when what is to fill it fails."""
    try:
        path.open("x").close()
    except FileExistsError as error:
        raise LedgerError(f"{path} exists already and is not written over; move it away or name another") from error
    except OSError as error:
        raise LedgerError(f"{path} cannot be written: {error.strerror}; name another file") from error
    filled = False
    try:
        yield
        filled = True
    finally:
        if not filled:
            path.unlink()


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"the ledger {path} cannot be used: {error}; nothing was changed") from error
