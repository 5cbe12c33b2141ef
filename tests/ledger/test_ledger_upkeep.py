"""Ledgers of an older ordergate brought up to date, and backups: whole, verified, never at another file's cost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ordergate import LedgerDamaged, LedgerError, LedgerVersion, TradingState
from ordergate.clock import SystemClock
from ordergate.journal import link
from ordergate.ledger import EVERY_ACCOUNT
from ordergate.records import canonical, digest
from ordergate.sqlite_ledger import SqliteLedger
from ordergate.sqlite_upkeep import back_up, migrate

AT = 1_800_000_000.0


def said(_: str) -> None:
    """Nobody watches."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def old(path: Path) -> Path:
    """What an ordergate of schema 1 left: two accounts, one of them bound and halted, an open order, kept facts."""
    script = files("ordergate").joinpath("migrations", "sqlite_0001.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(path, isolation_level=None)) as first:
        first.executescript(script)
        first.executescript(
            "INSERT INTO ledger VALUES ('mark'); PRAGMA application_id = 0x6F726467; PRAGMA user_version = 1;"
        )
        first.execute("PRAGMA journal_mode = WAL")
        first.create_function("link", 7, link, deterministic=True)
        for name in ("main", "other", EVERY_ACCOUNT):
            first.execute("INSERT INTO account (name) VALUES (?)", (name,))
        first.execute("INSERT INTO content VALUES ('main', ?, 'facts')", (digest("facts"),))
        for number, (account, kind, body) in enumerate(rows()):
            values = {"account": account, "kind": kind, "at": AT + number, "key": str(number), "body": canonical(body)}
            first.execute(
                """INSERT INTO journal (account, seq, kind, at, key, body, hash)
                   SELECT name, seq + 1, :kind, :at, :key, :body, link(head, name, seq + 1, :kind, :at, :key, :body)
                   FROM account WHERE name = :account""",
                values,
            )
    return path


def rows() -> list[tuple[str, str, dict[str, Any]]]:
    halt = {"trading": "exits_only", "by": "Ann", "reason": "drill"}
    return [
        ("main", "bound", {"identity": "portfolio"}),
        ("main", "decision", buy("a")),
        ("other", "note", {}),
        (EVERY_ACCOUNT, "trading", halt),
        ("main", "receipt", {"client_order_id": "a", "status": "open", "receipt": None}),
        ("main", "decision", buy("b")),
        (EVERY_ACCOUNT, "trading", {**halt, "trading": "active"}),
        ("main", "receipt", {"client_order_id": "b", "status": "filled", "receipt": None}),
        ("main", "settled", {"gone": ["b"]}),
        ("main", "trading", halt),
    ]


def buy(name: str) -> dict[str, Any]:
    reservation = {"client_order_id": name, "wire_id": f"wire-{name}", "symbol": "BTC-USD", "gives": "USD"}
    return {
        "client_order_id": name,
        "digest": name,
        "symbol": "BTC-USD",
        "is_exit": False,
        "venue_order": {"client_order_id": f"wire-{name}", "send_by": AT + 5},
        "reservation": {**reservation, "takes": "BTC", "needs": "25", "size": "25"},
        "facts": digest("facts"),
        "setup": None,
    }


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of every table."""
    with closing(sqlite3.connect(path)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr)  # noqa: S608 - names from the schema
            for name in tables
        }


# -------------------------------------------------------------------------------------------------------- migrating


def test_an_older_ledger_is_brought_up_to_date_with_its_journal_as_it_was(old: Path, tmp_path: Path) -> None:
    before = content(old)
    backup = tmp_path / "backup.db"
    with pytest.raises(LedgerVersion, match="run `ordergate ledger migrate`"):
        SqliteLedger(old, SystemClock())
    assert migrate(old, backup, said) == 1
    assert content(backup) == before, "as it was, in a file of its own"
    after = content(old)
    for table in ("journal", "content", "orders", "ledger"):
        assert after[table] == before[table]
    with closing(SqliteLedger(old, SystemClock())) as ledger:
        assert ledger.verify() is None
        state = ledger.state("main")
        assert (state.identity, state.trading, state.settlement) == ("portfolio", TradingState.EXITS_ONLY, 1)
        assert [(one.client_order_id, one.status) for one in state.reservations] == [("a", "open")]
        assert ledger.append("main", "note", {}, at=AT) == 8
    assert migrate(old, backup, said) == 2, "and again there is nothing to do"


def test_h08_mixed_versions_nothing_judged_before_the_migration_lands_after_it(old: Path, tmp_path: Path) -> None:
    """Versions are only compared, so they may jump, but none may ever come again."""
    versions = {name: version for name, _, version, *_ in content(old)["account"]}
    migrate(old, tmp_path / "backup.db", said)
    with closing(SqliteLedger(old, SystemClock())) as ledger:
        assert all(ledger.state(name).version > version for name, version in versions.items())


def test_h08_mixed_versions_a_process_of_the_older_ordergate_goes_on_without_harm(old: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as older:
        older.create_function("link", 7, link, deterministic=True)
        insert = """INSERT INTO journal (account, seq, kind, at, key, body, hash)
                    SELECT name, seq + 1, 'note', 1.0, NULL, '{}', link(head, name, seq + 1, 'note', 1.0, NULL, '{}')
                    FROM account WHERE name = 'main' RETURNING seq"""
        assert older.execute(insert).fetchall() == [(8,)]
        migrate(old, tmp_path / "backup.db", said)
        assert older.execute(insert).fetchall() == [(9,)]
    with closing(SqliteLedger(old, SystemClock())) as ledger:
        assert ledger.verify() is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET body = replace(body, '25', '26') WHERE account = 'main' AND seq = 2",
        "DELETE FROM journal WHERE account = 'main' AND seq = 3",
        "DELETE FROM content",
    ],
)
def test_h05_audit_tamper_of_an_older_ledger_is_not_folded_into_a_new_one(
    old: Path, tmp_path: Path, statement: str
) -> None:
    with closing(sqlite3.connect(old)) as db:
        db.execute("DROP TRIGGER journal_keeps")
        db.execute("DROP TRIGGER journal_stays")
        db.execute(statement)
        db.execute("CREATE TRIGGER journal_keeps BEFORE UPDATE ON journal BEGIN SELECT 1; END")
        db.execute("CREATE TRIGGER journal_stays BEFORE DELETE ON journal BEGIN SELECT 1; END")
        db.commit()
    before = content(old)
    with pytest.raises(LedgerDamaged, match="stays as it was: account main, row"):
        migrate(old, tmp_path / "backup.db", said)
    assert content(old) == before


def test_a_backup_that_is_there_is_not_written_over(old: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    backup.write_text("mine")
    before = content(old)
    with pytest.raises(LedgerError, match="exists already and is not written over"):
        migrate(old, backup, said)
    assert (backup.read_text(), content(old)) == ("mine", before)


@pytest.mark.parametrize("made", ["nothing", "empty", "other program", "text"])
def test_what_is_no_ledger_is_not_migrated(path: Path, tmp_path: Path, made: str) -> None:
    if made == "empty":
        path.touch()
    elif made == "text":
        path.write_text("my shopping list\n" * 100)
    elif made == "other program":
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(LedgerError) as caught:
        migrate(path, tmp_path / "backup.db", said)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.exists() else None) == before
    assert not (tmp_path / "backup.db").exists()


@pytest.mark.parametrize(
    "statement", ["DROP TABLE orders", "INSERT INTO journal SELECT", "DROP TABLE account_1", "COMMIT"]
)
def test_h09_migration_killed_leaves_the_ledger_as_it_was(old: Path, tmp_path: Path, statement: str) -> None:
    """Nothing of it was there before its commit: it can be migrated again."""
    before = content(old)
    told = {"path": str(old), "backup": str(tmp_path / "first.db"), "statement": statement}
    killed = subprocess.run([sys.executable, "-c", KILLED, json.dumps(told)], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert content(old) == before
    assert migrate(old, tmp_path / "second.db", said) == 1
    with closing(SqliteLedger(old, SystemClock())) as ledger:
        assert ledger.verify() is None


KILLED = """
import json, os, signal, sys
from pathlib import Path
from ordergate import sqlite_upkeep

told = json.loads(sys.argv[1])
real = sqlite_upkeep._connected

def connected(path):
    connection = real(path)
    kill = lambda sql: os.kill(os.getpid(), signal.SIGKILL) if told["statement"] in sql else None
    connection.set_trace_callback(kill if path == Path(told["path"]) else None)
    return connection

sqlite_upkeep._connected = connected
sqlite_upkeep.migrate(Path(told["path"]), Path(told["backup"]), print)
"""


# --------------------------------------------------------------------------------------------------------- backing up


@pytest.fixture
def ledger_in_use(path: Path) -> Any:
    with closing(SqliteLedger(path, SystemClock())) as ledger:
        for number in range(20):
            ledger.append("main", "note", {"text": "x" * 2000}, at=AT + number)
        yield ledger


def test_a_backup_is_one_file_with_all_that_was_committed(ledger_in_use: SqliteLedger, tmp_path: Path) -> None:
    target = tmp_path / "backup" / "copy.db"
    target.parent.mkdir()
    back_up(ledger_in_use.path, target)
    assert os.listdir(target.parent) == ["copy.db"]  # noqa: PTH208 - names alone are wanted
    assert ledger_in_use.append("main", "note", {}, at=AT) == 21, "and the ledger goes on"
    with closing(SqliteLedger(target, SystemClock())) as copy:
        assert copy.verify() is None
        assert [entry.seq for entry in copy.entries()] == list(range(1, 21))


def test_a_backup_never_writes_over_a_file(ledger_in_use: SqliteLedger, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("mine")
    with pytest.raises(LedgerError, match="is not written over"):
        back_up(ledger_in_use.path, target)
    assert target.read_text() == "mine"
    with pytest.raises(LedgerError, match="name another file"):
        back_up(ledger_in_use.path, tmp_path / "nowhere" / "copy.db")


def test_a_backup_that_fails_leaves_no_file(path: Path, tmp_path: Path) -> None:
    path.write_text("my shopping list\n" * 100)
    with pytest.raises(LedgerError, match="cannot be used"):
        back_up(path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
