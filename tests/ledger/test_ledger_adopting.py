"""A journal taken over whole by an empty ledger: the same rows, the same chain, the tables folded anew, or nothing."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ordergate import LedgerDamaged, LedgerError
from ordergate.clock import SystemClock
from ordergate.journal import Entry, link
from ordergate.ledger import EVERY_ACCOUNT, Content
from ordergate.records import digest
from ordergate.sqlite_ledger import SqliteLedger

AT = 1_800_000_000.0


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], SqliteLedger]]:
    ledgers: list[SqliteLedger] = []

    def open_one(name: str) -> SqliteLedger:
        ledgers.append(SqliteLedger(tmp_path / name, SystemClock()))
        return ledgers[-1]

    yield open_one
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def source(opened: Callable[[str], SqliteLedger]) -> SqliteLedger:
    """A bound account with an open order, a halted one, a halt of everything that has ended."""
    ledger = opened("source.db")
    ledger.append("main", "bound", {"identity": "portfolio"}, at=AT, key="bound:portfolio")
    facts = ledger.keep("main", "facts")
    for number, name in enumerate("abc"):
        ledger.append("main", "decision", buy(name, facts), at=AT + number, key=f"order:{name}")
    ledger.append("main", "receipt", {"client_order_id": "a", "status": "filled"}, at=AT + 4)
    ledger.append("main", "settled", {"gone": ["a"]}, at=AT + 5)
    for scope in (EVERY_ACCOUNT, "other"):
        ledger.append(scope, "trading", {"trading": "exits_only", "by": "Ann", "reason": "drill"}, at=AT + 6)
    ledger.append(EVERY_ACCOUNT, "trading", {"trading": "active", "by": "Ann", "reason": "over"}, at=AT + 7)
    return ledger


def buy(name: str, facts: str) -> dict[str, Any]:
    reservation = {
        "client_order_id": name,
        "wire_id": f"wire-{name}",
        "symbol": "BTC-USD",
        "gives": "USD",
        "takes": "BTC",
        "needs": Decimal(25),
        "size": Decimal(25),
    }
    return {
        "client_order_id": name,
        "digest": name,
        "symbol": "BTC-USD",
        "is_exit": False,
        "venue_order": {"client_order_id": f"wire-{name}", "send_by": AT + 5},
        "reservation": reservation,
        "facts": facts,
        "setup": None,
    }


def test_rows_chain_contents_and_what_follows_from_them_are_the_same(
    source: SqliteLedger, opened: Callable[[str], SqliteLedger]
) -> None:
    target = opened("target.db")
    target.adopt(source.entries(), source.contents())
    assert list(target.entries()) == list(source.entries())
    assert list(target.contents()) == list(source.contents()) != []
    assert (target.heads(), target.accounts(), target.trading()) == (
        source.heads(),
        source.accounts(),
        source.trading(),
    )
    assert target.recent(None, 0.0, 99) == source.recent(None, 0.0, 99)
    state, was = target.state("main"), source.state("main")
    assert (state.reservations, state.unfinished, state.seq) == (was.reservations, was.unfinished, was.seq)
    assert target.verify() is None
    assert target.append("main", "note", {}, at=AT + 8) == was.seq + 1, "and it goes on from there"


def test_only_an_empty_ledger_adopts(source: SqliteLedger, opened: Callable[[str], SqliteLedger]) -> None:
    before = list(source.entries())
    with pytest.raises(LedgerError, match="is not empty"):
        source.adopt([], [])
    holding_a_text = opened("kept.db")
    body = {**buy("a", holding_a_text.keep("main", "facts")), "venue_order": None, "reservation": None}
    holding_a_text.append("main", "decision", body, at=AT)
    with pytest.raises(LedgerError, match="is not empty"):
        holding_a_text.adopt([], [])
    assert list(source.entries()) == before


def cut(rows: list[Entry]) -> list[Entry]:
    return [row for row in rows if (row.account, row.seq) != ("main", 3)]


def changed(rows: list[Entry]) -> list[Entry]:
    return [evolve(row, at=row.at + 1) if row.seq == 4 else row for row in rows]


def hashed_again(rows: list[Entry]) -> list[Entry]:
    """A row swapped for another with a hash of its own; the next one no longer follows."""
    other = evolve(rows[3], body="{}", hash=link(rows[2].hash, "main", rows[3].seq, rows[3].kind, AT, None, "{}"))
    return [*rows[:3], other, *rows[4:]]


@pytest.mark.parametrize("attack", [cut, changed, hashed_again])
def test_h05_audit_tamper_a_journal_that_does_not_hold_is_not_taken_over(
    source: SqliteLedger, opened: Callable[[str], SqliteLedger], attack: Callable[[list[Entry]], list[Entry]]
) -> None:
    target = opened("target.db")
    with pytest.raises(LedgerDamaged, match="does not hold"):
        target.adopt(attack(list(source.entries())), source.contents())
    assert (list(target.entries()), list(target.contents()), target.heads()) == ([], [], {})
    target.adopt(source.entries(), source.contents())
    assert target.verify() is None


def test_the_same_key_twice_contradicts_the_journal(opened: Callable[[str], SqliteLedger]) -> None:
    first = link("", "main", 1, "note", AT, "once", "{}")
    rows = [
        Entry("main", 1, "note", AT, "once", "{}", first),
        Entry("main", 2, "note", AT, "once", "{}", link(first, "main", 2, "note", AT, "once", "{}")),
    ]
    with pytest.raises(LedgerDamaged, match="contradicts itself"):
        opened("target.db").adopt(rows, [])


def test_a_text_that_is_not_what_its_name_says_is_not_taken_over(
    source: SqliteLedger, opened: Callable[[str], SqliteLedger]
) -> None:
    target = opened("target.db")
    with pytest.raises(LedgerDamaged, match="were changed"):
        target.adopt(source.entries(), [Content("main", one.name, "other facts") for one in source.contents()])
    assert target.heads() == {}


def test_a_source_that_fails_half_way_leaves_the_target_empty(
    source: SqliteLedger, opened: Callable[[str], SqliteLedger]
) -> None:
    def failing() -> Iterator[Entry]:
        yield from itertools.islice(source.entries(), 3)
        raise LedgerError("the disk failed")

    target = opened("target.db")
    with pytest.raises(LedgerError, match="the disk failed"):
        target.adopt(failing(), [])
    assert target.heads() == {}
    with closing(SqliteLedger(target.path, SystemClock())) as other:
        assert other.append("main", "note", {}, at=AT) == 1, "and nothing is left locked"


def test_many_contents_are_read_in_pages_without_a_gap(opened: Callable[[str], SqliteLedger]) -> None:
    ledger, target = opened("source.db"), opened("target.db")
    with closing(sqlite3.connect(ledger.path)) as other:
        ledger.state("main")
        names = sorted(digest(f"facts {number}") for number in range(1003))
        rows = [("main", digest(f"facts {number}"), f"facts {number}") for number in range(1003)]
        other.executemany("INSERT INTO content VALUES (?, ?, ?)", rows)
        other.commit()
    assert [one.name for one in ledger.contents()] == names
    target.adopt([], ledger.contents())
    assert [one.name for one in target.contents()] == names
