"""What a process remembers of an account's state is what another one reads: after its own rows and after others'."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, rule, run_state_machine_as_test
from test_ledger_model import NAMES, LedgerMachine

from ordergate.clock import SystemClock
from ordergate.sqlite_ledger import SqliteLedger

AT = 1_800_000_000.0


class TwoProcesses(LedgerMachine):
    """Both go on with the same accounts, and a third that knows nothing yet looks at what they say."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda: SqliteLedger(path, SystemClock()))
        self.path = path
        self.other = self.opened()

    @rule()
    def go_on_in_the_other_process(self) -> None:
        self.ledger, self.other = self.other, self.ledger

    @invariant()
    def what_is_remembered_is_what_is_read(self) -> None:
        with closing(SqliteLedger(self.path, SystemClock())) as fresh:
            for name in NAMES:
                assert self.ledger.state(name) == fresh.state(name)
                assert self.other.state(name) == fresh.state(name)

    def teardown(self) -> None:
        super().teardown()
        self.other.close()


def test_states_that_were_followed_are_those_read_anew(tmp_path: Path) -> None:
    numbers = itertools.count()

    def machine() -> TwoProcesses:
        return TwoProcesses(tmp_path / f"ledger-{next(numbers)}.db")

    run_state_machine_as_test(
        cast("type[TwoProcesses]", machine),
        settings=settings(
            max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )


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
