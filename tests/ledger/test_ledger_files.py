"""Files that are no ledger, cannot be one, or stop being one: the right error, the file's name and what to do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ordergate_paper as paper
from ordergate import InputError, LedgerBusy, LedgerDamaged, LedgerError, LedgerVersion, sqlite_schema
from ordergate import sqlite_ledger as store
from ordergate.clock import SystemClock
from ordergate.ledger import open_ledger
from ordergate.sqlite_ledger import SqliteLedger

AT = 1_800_000_000.0
CHILD = Path(__file__).parents[1] / "faults" / "child.py"


class ImpatientClock(SystemClock):
    """Sleeping takes no time, and passes all the same."""

    def __init__(self) -> None:
        self.slept = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def written(path: Path) -> Path:
    """A ledger with a few rows, closed."""
    with closing(SqliteLedger(path, SystemClock())) as ledger:
        for number in range(20):
            ledger.append("main", "note", {"text": "x" * 2000}, at=AT + number)
    return path


@pytest.fixture
def ledger(written: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(written, ImpatientClock())) as opened:
        yield opened


def note(ledger: SqliteLedger, key: str | None = None) -> int | None:
    return ledger.append("main", "note", {}, at=AT, key=key)


def refuses(path: Path, kind: type[LedgerError], fix: str) -> None:
    """Opening names the file and the fix, by exactly this error."""
    with pytest.raises(LedgerError) as caught:
        SqliteLedger(path, ImpatientClock())
    assert type(caught.value) is kind
    assert str(path) in str(caught.value)
    assert fix in str(caught.value)


# ------------------------------------------------------------------------------------------------ not a ledger at all


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_text("my shopping list\n" * 100)
    refuses(path, LedgerDamaged, "restore a backup")
    assert path.read_text() == "my shopping list\n" * 100


@pytest.mark.parametrize("make", ["other program", "paper venue"])
def test_a_database_of_something_else_stays_untouched(path: Path, make: str) -> None:
    if make == "paper venue":
        paper.connect(paper.Settings(state=path))
    else:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    refuses(path, LedgerDamaged, "name another file in gate.ledger")
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.touch()
    with closing(SqliteLedger(path, SystemClock())) as ledger:
        assert note(ledger) == 1


@pytest.mark.parametrize(
    ("version", "kind", "told"),
    [
        (0, LedgerDamaged, "restore a backup"),
        (1, LedgerVersion, "has schema 1, older than the 2 this ordergate writes"),
        (1, LedgerVersion, "run `ordergate ledger migrate`"),
        (3, LedgerVersion, "schema 3, newer than the 2 this ordergate writes; update ordergate"),
        (99, LedgerVersion, "update ordergate"),
    ],
)
def test_h08_mixed_versions_other_schema(written: Path, version: int, kind: type[LedgerError], told: str) -> None:
    with closing(sqlite3.connect(written)) as other:
        other.execute(f"PRAGMA user_version = {version}")
    refuses(written, kind, told)


def test_a_folder_in_place_of_the_ledger(path: Path) -> None:
    path.mkdir()
    refuses(path, LedgerError, "name a file in a folder that exists (gate.ledger)")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    refuses(tmp_path / "nowhere" / "ledger.db", LedgerError, "name a file in a folder that exists (gate.ledger)")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("url", ["sqlite://ledger.db", "sqlite:///", "mysql://here/there", "ledger.db", ""])
def test_a_url_that_names_no_ledger(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="sqlite:///FILE"):
        open_ledger(url, tmp_path, SystemClock())


# -------------------------------------------------------------------------------------------------- damage to the file


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_d05_damaged_ledger_cut_file(written: Path, part: float) -> None:
    size = written.stat().st_size
    os.truncate(written, int(size * part))
    with pytest.raises(LedgerDamaged) as caught, closing(SqliteLedger(written, SystemClock())) as ledger:
        ledger.verify()
    assert str(written) in str(caught.value)


def test_d05_damaged_ledger_every_page_overwritten_in_turn(written: Path, tmp_path: Path) -> None:
    """Whatever page is lost, it is noticed when the ledger is opened or, at the latest, when it is verified."""
    whole = written.read_bytes()
    copy = tmp_path / "copy.db"
    unnoticed = []
    for page in range(len(whole) // 4096):
        copy.write_bytes(whole[: page * 4096] + b"\xa5" * 4096 + whole[(page + 1) * 4096 :])
        try:
            with closing(SqliteLedger(copy, SystemClock())) as ledger:
                if ledger.verify() is None:
                    unnoticed.append(page + 1)
        except LedgerError:
            continue
    with closing(sqlite3.connect(f"{written.as_uri()}?mode=ro", uri=True)) as other:
        rows = other.execute("SELECT type, name, rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall()
    not_read_yet = {root for kind, name, root in rows if kind == "index" or name in ("orders", "content")}
    assert set(unnoticed) <= not_read_yet, "only indexes and empty tables may go unnoticed until they are used"


def test_d05_damaged_ledger_garbage_over_an_open_one_is_noticed_by_the_next_process(ledger: SqliteLedger) -> None:
    ledger.close()
    ledger.path.write_bytes(b"\x00garbage" * 4096)
    refuses(ledger.path, LedgerDamaged, "restore a backup")


def test_d05_damaged_ledger_deleted_while_in_use(ledger: SqliteLedger) -> None:
    ledger.path.unlink()
    for use in (lambda: note(ledger), lambda: ledger.state("main")):
        with pytest.raises(LedgerError, match="is gone") as caught:
            use()
        assert str(ledger.path) in str(caught.value)
    assert not ledger.path.exists(), "nobody makes a blank one in its place"


def test_d05_damaged_ledger_replaced_by_an_older_backup_while_in_use(ledger: SqliteLedger, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    shutil.copy(ledger.path, backup)
    note(ledger)
    backup.replace(ledger.path)
    for use in (lambda: note(ledger), lambda: ledger.state("main")):
        with pytest.raises(LedgerDamaged, match="was replaced while it was in use; start again"):
            use()


# -------------------------------------------------------------------------------------------- cannot be written or read


def test_read_only_connection_takes_nothing_and_says_so(ledger: SqliteLedger) -> None:
    ledger._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(LedgerError, match="SQLITE_READONLY") as caught:
        note(ledger)
    assert str(ledger.path) in str(caught.value)
    ledger._connection.execute("PRAGMA query_only = 0")
    assert note(ledger) == 21


def test_d03_disk_full_takes_nothing_says_so_and_resumes_when_freed(ledger: SqliteLedger) -> None:
    """The real SQLITE_FULL of a file that may not grow, on the connection itself."""
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerError, match="SQLITE_FULL") as caught:
        ledger.append("main", "note", {"text": "x" * 50_000}, at=AT)
    assert str(ledger.path) in str(caught.value)
    assert ledger.verify() is None
    ledger._connection.execute(f"PRAGMA max_page_count = {pages + 100}")
    assert ledger.append("main", "note", {"text": "x" * 50_000}, at=AT) == 21
    assert ledger.verify() is None


class Shim:
    """A connection whose statements fail as told, once armed."""

    def __init__(self, connection: sqlite3.Connection, error: sqlite3.Error) -> None:
        self._connection, self._error, self.armed = connection, error, True

    def execute(self, *arguments: Any) -> Any:
        if self.armed and "INSERT INTO journal" in arguments[0]:
            raise self._error
        return self._connection.execute(*arguments)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection.__enter__()

    def __exit__(self, *ended: object) -> Any:
        return self._connection.__exit__(*ended)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SQLITE_IOERR_FSYNC", LedgerError),
        ("SQLITE_IOERR_WRITE", LedgerError),
        ("SQLITE_CANTOPEN", LedgerError),
        ("SQLITE_CORRUPT_VTAB", LedgerDamaged),
        ("SQLITE_NOTADB", LedgerDamaged),
        ("SQLITE_BUSY", LedgerBusy),
        ("SQLITE_BUSY_SNAPSHOT", LedgerBusy),
        ("SQLITE_LOCKED", LedgerBusy),
    ],
)
def test_d04_eio_fsync_and_others_stop_and_never_go_on_anyway(
    ledger: SqliteLedger, name: str, kind: type[LedgerError]
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    shim = Shim(ledger._connection, error)
    ledger._connection = shim  # type: ignore[assignment]
    with pytest.raises(LedgerError) as caught:
        note(ledger)
    assert type(caught.value) is kind
    assert str(ledger.path) in str(caught.value)
    shim.armed = False
    assert note(ledger) == 21, "the row that failed is not there"


def test_a_locked_ledger_is_waited_for_and_then_busy(ledger: SqliteLedger) -> None:
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy, match="stayed locked by another process"):
            note(ledger)
        assert ledger.state("main").version == 0, "reading goes on"
        other.execute("ROLLBACK")
    assert note(ledger) == 21


def test_a_folder_in_place_of_the_log(written: Path) -> None:
    Path(f"{written}-wal").mkdir()
    with pytest.raises(LedgerError) as caught:
        SqliteLedger(written, SystemClock())
    assert str(written) in str(caught.value)


def test_a_closed_ledger_says_so(ledger: SqliteLedger) -> None:
    ledger.close()
    with pytest.raises(LedgerError, match="cannot be used"):
        note(ledger)


# ------------------------------------------------------------------------------------------------------ being created


def run_child(**told: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHILD), json.dumps(told)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "statement",
    ["BEGIN EXCLUSIVE", "CREATE TABLE orders", "CREATE TRIGGER journal_halts", "PRAGMA user_version = ", "COMMIT"],
)
def test_h09_migration_killed_leaves_something_that_opens(path: Path, statement: str) -> None:
    killed = run_child(folder=str(path.parent), open_ledger=path.name, die_while_creating=statement)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with closing(SqliteLedger(path, SystemClock())) as ledger:
        assert note(ledger) == 1
        assert ledger.verify() is None


def test_h09_migration_killed_before_the_log_was_turned_on(path: Path) -> None:
    killed = run_child(folder=str(path.parent), open_ledger=path.name, die_while_creating="PRAGMA journal_mode")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with closing(SqliteLedger(path, SystemClock())) as ledger:
        assert note(ledger) == 1
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_two_processes_that_create_the_same_ledger_both_get_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One looks, the other creates it, and only then does the first go on to create it."""
    create = sqlite_schema.create

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(store, "create", create)
        with closing(SqliteLedger(path, SystemClock())) as first:
            note(first, key="first")
        create(*arguments)

    monkeypatch.setattr(store, "create", late)
    with closing(SqliteLedger(path, SystemClock())) as second:
        assert note(second, key="second") == 2
        assert second.verify() is None
