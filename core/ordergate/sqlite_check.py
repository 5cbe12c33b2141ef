"""Whether an SQLite ledger holds: its chain, the tables beside the journal, and what decisions were made on.

Everything is read in one transaction of the caller's, row by row: others may go on writing, and a long journal needs no
more memory than a short one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from typing import Final

from ordergate.journal import Break, Entry, first_break
from ordergate.records import digest
from ordergate.sqlite_schema import create

__all__ = ["ENTRIES", "first_flaw"]

ENTRIES: Final = "SELECT account, seq, kind, at, key, body, hash FROM journal "

# Tables that must equal what their journal folds to. Versions are left out: a halt of everything moves them at a moment
# that the order within one account does not keep.
_FOLDED: Final = (
    ("account", "name, seq, identity, settlement, trading, head", "name"),
    ("orders", "account, seq, *", "account, seq"),
)


def first_flaw(connection: sqlite3.Connection) -> Break | None:
    """The first row at which the ledger is not what was written, or None. Call it inside a transaction."""
    heads = connection.execute("SELECT name, seq, head FROM account ORDER BY name")
    return first_break(_entries(connection), heads) or _first_difference(connection) or _first_lost_content(connection)


def _entries(connection: sqlite3.Connection) -> Iterator[Entry]:
    return (Entry(*row) for row in connection.execute(ENTRIES + "ORDER BY account, seq"))


def _first_difference(connection: sqlite3.Connection) -> Break | None:
    """Fold the journal into an empty ledger and compare the tables: they must hold nothing the journal does not say."""
    with closing(sqlite3.connect("", isolation_level=None)) as fresh:  # a file of its own that vanishes with it
        fresh.execute("PRAGMA journal_mode = OFF")
        create(fresh, "")
        fresh.execute("BEGIN")
        names = connection.execute("SELECT name FROM account")
        fresh.executemany("INSERT INTO account (name) VALUES (?)", names)
        rows = connection.execute(ENTRIES + "ORDER BY account, seq")
        fresh.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        for table, columns, order in _FOLDED:
            query = f"SELECT {columns} FROM {table} ORDER BY {order}"  # noqa: S608 - all three are constants
            for one, other in zip_longest(connection.execute(query), fresh.execute(query)):
                if one != other:
                    name, row = (one or other)[:2]
                    return Break(name, row, f"table {table} does not say what the journal says")
    return None


def _first_lost_content(connection: sqlite3.Connection) -> Break | None:
    """What decisions were made on must be there, and be what its name says."""
    named = connection.execute(
        """SELECT j.account, j.seq, n.value, c.body FROM journal AS j
           JOIN json_each(json_array(json_extract(j.body, '$.facts'), json_extract(j.body, '$.setup'))) AS n
           LEFT JOIN content AS c ON c.account = j.account AND c.hash = n.value
           WHERE j.kind = 'decision' AND n.value IS NOT NULL ORDER BY j.account, j.seq"""
    )
    for account, seq, name, body in named:
        if body is None or digest(body) != name:
            return Break(account, seq, "the facts or settings it was made on are gone or were changed")
    return None
