"""What a process that remembers an account's state still asks of SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from ordergate.clock import SystemClock
from ordergate.sqlite_ledger import SqliteLedger

AT = 1_800_000_000.0


def test_nothing_is_read_again_while_nothing_changed(tmp_path: Path) -> None:
    """One look at whether others wrote, and one insert: all that a decision asks of SQLite."""
    with closing(SqliteLedger(tmp_path / "ledger.db", SystemClock())) as ledger:
        ledger.append("main", "note", {}, at=AT)
        judged_on = ledger.state("main")
        asked = Asked(ledger._connection)
        ledger._connection = cast("sqlite3.Connection", asked)
        assert ledger.state("main") is judged_on
        assert ledger.append("main", "decision", refused("a"), at=AT, judged_on=judged_on) == 2
        assert ledger.state("main").seq == 2
        assert asked.words == ["PRAGMA", "INSERT", "PRAGMA"]


class Asked:
    """A connection, and the first words of what was executed on it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.words: list[str] = []

    def execute(self, statement: str, *values: Any) -> Any:
        self.words.append(statement.split(maxsplit=1)[0])
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def refused(client_id: str) -> dict[str, Any]:
    nothing = {"venue_order": None, "reservation": None}
    return {"client_order_id": client_id, "digest": client_id, "symbol": "BTC-USD", "is_exit": False, **nothing}


def test_a_decision_brings_the_texts_it_names_in_its_one_statement(tmp_path: Path) -> None:
    with closing(SqliteLedger(tmp_path / "ledger.db", SystemClock())) as ledger:
        ledger.append("main", "note", {}, at=AT)
        ledger.state("main")
        asked = Asked(ledger._connection)
        ledger._connection = cast("sqlite3.Connection", asked)
        facts, setup = ledger.keep("main", "facts"), ledger.keep("main", "setup")
        ledger.append("main", "decision", {**refused("a"), "facts": facts, "setup": setup}, at=AT)
        later = ledger.keep("main", "later facts")
        ledger.append(
            "main", "decision", {**refused("b"), "facts": later, "setup": ledger.keep("main", "setup")}, at=AT
        )
        assert asked.words == ["INSERT", "INSERT"]
        assert [one.body for one in sorted(ledger.contents(), key=lambda one: one.body)] == [
            "facts",
            "later facts",
            "setup",
        ]
        assert ledger.verify() is None


def test_a_text_waits_for_the_decision_that_names_it(tmp_path: Path) -> None:
    """A stale judgement writes nothing, and the text is still there for whoever decides on it next."""
    with closing(SqliteLedger(tmp_path / "ledger.db", SystemClock())) as ledger:
        judged_on = ledger.state("main")
        ledger.append("main", "trading", {"trading": "active", "by": "Ann", "reason": "drill"}, at=AT)
        body = {**refused("a"), "facts": ledger.keep("main", "facts"), "setup": None}
        assert ledger.append("main", "decision", body, at=AT, judged_on=judged_on) is None
        assert list(ledger.contents()) == []
        assert ledger.kept("main", body["facts"]) == "facts"
        assert ledger.append("main", "decision", body, at=AT, judged_on=ledger.state("main")) == 2
        assert [one.body for one in ledger.contents()] == ["facts"]
        assert ledger.verify() is None
