"""`ledger` through the program: migrated, copied into either store, backed up and verified."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from ordergate.clock import SystemClock
from ordergate.ledger import open_ledger
from ordergate.postgres_ledger import PostgresLedger
from ordergate.sqlite_ledger import SqliteLedger


@pytest.fixture
def traded(program: Any) -> Any:
    """A refused buy, a filled one and a resting one, with more rows of their own than an export has lines of."""
    program("buy", "BTC-USD", "--spend", "3", "--id", "small")
    program("buy", "BTC-USD", "--spend", "25", "--id", "good")
    program("buy", "BTC-USD", "--amount", "0.0005", "--limit", "60000", "--id", "resting")
    return program


@pytest.fixture
def older(traded: Any) -> Any:
    """The same, and its ledger says that it has schema 1. What it has is of schema 2, which a fold does not mind."""
    with closing(sqlite3.connect(traded.folder / "ordergate.db", isolation_level=None)) as db:
        db.execute("CREATE INDEX journal_at ON journal (at)")
        db.execute("DROP TRIGGER orders_reserve")
        db.execute("DROP VIEW decision")
        db.execute("PRAGMA user_version = 1")
    return traded


def journal(program: Any) -> list[str]:
    lines: list[str] = program("audit", "export").out.splitlines()
    return lines


def change(program: Any, statement: str) -> None:
    """Write into the ledger behind the gate's back."""
    with closing(sqlite3.connect(program.folder / "ordergate.db")) as db:
        db.execute("DROP TRIGGER journal_keeps")
        db.execute("DROP TRIGGER journal_stays")
        db.execute(statement)
        db.commit()


# -------------------------------------------------------------------------------------------------------- migrating


def test_an_older_ledger_refuses_buys_and_names_the_command_that_helps(older: Any) -> None:
    ran = older.json("buy", "BTC-USD", "--spend", "25", "--id", "refused")
    assert ran.code == 3
    assert "run `ordergate ledger migrate`" in ran.out
    sold = older.json("sell", "ETH-USD", "--amount", "0.001", "--id", "out")
    assert (sold.code, sold.data["status"]) == (0, "filled"), "an exit passes, and waits in the fallback"

    ran = older.json("ledger", "migrate")
    kept = older.folder / "ordergate.db.before-migration"
    assert (ran.code, ran.data) == (0, {"migrated": True, "schema": 2, "had": 1, "backup": str(kept)})
    assert older.json("audit", "verify").data["holds"]
    assert older.json("buy", "BTC-USD", "--spend", "25", "--id", "then").code == 0
    assert [one["client_order_id"] for one in older.json("log").data["orders"]].count("out") == 1

    assert "Nothing to do: the ledger has schema 2 already" in older("ledger", "migrate").out
    assert older.json("ledger", "migrate").data["migrated"] is False


def test_the_backup_of_a_migration_is_not_written_over(older: Any) -> None:
    kept = older.folder / "mine.db"
    kept.write_text("mine", encoding="utf-8")
    ran = older.json("ledger", "migrate", "--backup", str(kept))
    assert (ran.code, ran.data["error"]) == (1, "LEDGER_UNAVAILABLE")
    assert "is not written over" in ran.data["message"]
    assert kept.read_text(encoding="utf-8") == "mine"
    other = older.folder / "other.db"
    assert "as it was, it lies in" in older("ledger", "migrate", "--backup", str(other)).out
    assert other.exists()


def test_a_migration_needs_a_ledger(program: Any) -> None:
    ran = program.json("ledger", "migrate")
    assert (ran.code, "there is no ledger" in ran.data["message"]) == (1, True)
    assert not (program.folder / "ordergate.db").exists()


def test_a_postgres_ledger_needs_no_migration(program: Any) -> None:
    program.rewrite('ledger = "sqlite:///ordergate.db"', 'ledger = "postgresql://nobody@127.0.0.1:1/none"')
    assert program.json("ledger", "migrate").data["migrated"] is False
    assert "when it is opened" in program("ledger", "migrate").out


# ---------------------------------------------------------------------------------------------------------- copying


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return "sqlite:///copy.db"
    postgres: Any = request.getfixturevalue("postgres")
    url: str = postgres.new_place()
    return url


def test_a_copy_has_the_same_rows_in_the_same_chain_and_can_be_traded_on(traded: Any, new_url: str) -> None:
    before, heads = journal(traded), traded.json("audit", "head").data["heads"]
    ran = traded.json("ledger", "copy", new_url)
    assert (ran.code, ran.data["copied"], ran.data["rows"]) == (0, True, len(before))
    traded.rewrite("sqlite:///ordergate.db", new_url)
    assert journal(traded) == before
    assert traded.json("audit", "head").data["heads"] == heads
    assert traded.json("explain", "small").data["judged_again"]["same"] is True
    assert traded.json("buy", "BTC-USD", "--spend", "25", "--id", "then").code == 0
    assert traded.json("ledger", "verify").data["holds"]


def test_a_ledger_goes_to_postgres_and_back_whole(traded: Any, postgres: Any) -> None:
    before, url = journal(traded), postgres.new_place()
    assert traded("ledger", "copy", url).code == 0
    traded.rewrite("sqlite:///ordergate.db", url)
    backup = traded.folder / "backup.db"
    ran = traded.json("ledger", "backup", str(backup))
    assert (ran.code, ran.data["rows"]) == (0, len(before))
    assert traded.json("ledger", "verify", str(backup)).data == traded.json("ledger", "verify").data
    traded.rewrite(url, "sqlite:///backup.db")
    assert journal(traded) == before


def test_only_an_empty_ledger_is_copied_into(traded: Any, new_url: str) -> None:
    assert traded("ledger", "copy", new_url).code == 0
    ran = traded.json("ledger", "copy", new_url)
    assert (ran.code, "is not empty" in ran.data["message"]) == (1, True)
    ran = traded.json("ledger", "copy", "sqlite:///ordergate.db")
    assert (ran.code, "is not empty" in ran.data["message"]) == (1, True), "nor into itself"


def test_a_ledger_that_moves_while_it_is_copied_is_not_copied(
    traded: Any, new_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = SqliteLedger.contents

    def moving(self: SqliteLedger) -> Any:
        monkeypatch.undo()
        with closing(open_ledger("sqlite:///ordergate.db", traded.folder, SystemClock())) as bot:
            bot.append("main", "note", {}, at=1_800_000_000.0)
        return contents(self)

    monkeypatch.setattr(SqliteLedger, "contents", moving)
    ran = traded.json("ledger", "copy", new_url)
    assert (ran.code, "moved while it was copied" in ran.data["message"]) == (1, True)
    assert traded("ledger", "copy", new_url).code == 0, "the target is empty still"


def test_h05_audit_tamper_a_journal_that_does_not_hold_is_not_copied(traded: Any, new_url: str) -> None:
    change(traded, "UPDATE journal SET body = replace(body, 'small', 'large') WHERE seq = 2")
    ran = traded.json("ledger", "copy", new_url)
    assert (ran.code, ran.data["error"]) == (1, "LEDGER_DAMAGED")
    assert "account main, row 2" in ran.data["message"]


@pytest.mark.parametrize("url", ["mysql://here/there", "copy.db", "sqlite://copy.db", "postgresql://me:secret@db/x"])
def test_a_copy_needs_a_url(traded: Any, url: str) -> None:
    ran = traded.json("ledger", "copy", url)
    assert (ran.code, ran.data["field"]) == (2, "url"), "not gate.ledger, which is as it should be"


# ----------------------------------------------------------------------------------------------------- backing up


def test_a_backup_is_a_ledger_by_itself(traded: Any) -> None:
    before, backup = journal(traded), traded.folder / "kept" / "backup.db"
    backup.parent.mkdir()
    ran = traded.json("ledger", "backup", str(backup))
    assert (ran.code, ran.data) == (0, {"file": str(backup), "rows": len(before), "accounts": 1})
    assert [file.name for file in backup.parent.iterdir()] == ["backup.db"]
    alone = shutil.copy(backup, traded.folder / "alone.db")
    assert traded.json("ledger", "verify", str(alone)).data["rows"] == len(before)
    assert "Backed up to" in traded("ledger", "backup", str(backup.with_name("second.db"))).out


def test_a_backup_never_writes_over_a_file(traded: Any) -> None:
    mine = traded.folder / "mine.txt"
    mine.write_text("mine", encoding="utf-8")
    ran = traded.json("ledger", "backup", str(mine))
    assert (ran.code, "is not written over" in ran.data["message"]) == (1, True)
    assert mine.read_text(encoding="utf-8") == "mine"


def test_a_backup_of_a_ledger_that_does_not_hold_says_so(traded: Any) -> None:
    change(traded, "UPDATE journal SET body = replace(body, 'small', 'large') WHERE seq = 2")
    ran = traded.json("ledger", "backup", str(traded.folder / "backup.db"))
    assert (ran.code, "does not hold: account main, row 2" in ran.data["message"]) == (1, True)


def test_a_backup_that_fails_on_the_way_leaves_no_empty_ledger_behind(
    traded: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_place()
    assert traded("ledger", "copy", url).code == 0
    traded.rewrite("sqlite:///ordergate.db", url)
    contents = PostgresLedger.contents

    def moving(self: PostgresLedger) -> Any:
        monkeypatch.undo()
        self.append("main", "note", {}, at=1_800_000_000.0)
        return contents(self)

    monkeypatch.setattr(PostgresLedger, "contents", moving)
    ran = traded.json("ledger", "backup", str(traded.folder / "backup.db"))
    assert (ran.code, "moved while it was copied" in ran.data["message"]) == (1, True)
    assert list(traded.folder.glob("backup.db*")) == []
    assert traded("ledger", "backup", str(traded.folder / "backup.db")).code == 0, "once nothing moves"


def test_there_is_no_backup_and_no_copy_of_nothing(program: Any) -> None:
    for words in (("backup", "backup.db"), ("copy", "sqlite:///copy.db")):
        ran = program.json("ledger", *words)
        assert (ran.code, "there is no ledger" in ran.data["message"]) == (1, True)
    assert list(program.folder.glob("*.db")) == []


# ------------------------------------------------------------------------------------------------------- verifying


def test_verifying_says_what_the_audit_says(traded: Any) -> None:
    heads = traded.folder / "heads.json"
    traded("audit", "head", "--out", str(heads))
    for words in ((), ("--against", str(heads))):
        assert traded.json("ledger", "verify", *words).data == traded.json("audit", "verify", *words).data
        assert traded("ledger", "verify", *words).out == traded("audit", "verify", *words).out
    change(traded, "DELETE FROM journal WHERE seq = 3")
    ran = traded.json("ledger", "verify")
    assert (ran.code, ran.data) == (1, traded.json("audit", "verify").data)
    assert traded("ledger", "verify").out.startswith("The journal does not hold: account main, row 3")


def test_heads_kept_outside_show_a_backup_that_is_older(traded: Any) -> None:
    backup, heads = traded.folder / "backup.db", traded.folder / "heads.json"
    traded("ledger", "backup", str(backup))
    traded("buy", "BTC-USD", "--spend", "26", "--id", "later")
    traded("audit", "head", "--out", str(heads))
    assert traded.json("ledger", "verify", str(backup)).code == 0
    ran = traded.json("ledger", "verify", str(backup), "--against", str(heads))
    assert (ran.code, "it is missing" in ran.data["break"]) == (1, True)


@pytest.mark.parametrize("name", ["nothing.db", "sqlite:////nowhere/nothing.db", "mysql://here/there", "."])
def test_what_is_not_there_is_not_verified(traded: Any, name: str) -> None:
    ran = traded.json("ledger", "verify", name)
    assert (ran.code, ran.data["field"]) == (2, "ledger")


def test_progress_is_shown_on_a_terminal_alone(
    traded: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del capsys
    told: list[str] = []

    class Watched:
        def __enter__(self) -> Callable[[str], None]:
            return told.append

        def __exit__(self, *_: object) -> None:
            return

    monkeypatch.setattr("ordergate.cli.face.Face.progress", lambda *_: Watched())
    rows = len(journal(traded))
    assert traded("ledger", "copy", "sqlite:///copy.db").code == 0
    assert re.fullmatch(rf"Copying ─{{30}} 0 of {rows} rows", told[0])
    assert told[-1] == "Verifying the copy"


@pytest.mark.parametrize("words", ["verify", "backup b.db", "copy sqlite:///c.db", "migrate"])
def test_every_answer_is_json(traded: Any, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.chdir(traded.folder)
    ran = traded("ledger", *words.split(), "--json")
    assert (ran.code, ran.err) == (0, "")
    assert isinstance(json.loads(ran.out), dict)
