"""What the database does itself, held against Python: the hash of a row, and reading values out of any body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ordergate.journal import link
from ordergate.ledger import EVERY_ACCOUNT
from ordergate.postgres_ledger import PostgresLedger
from ordergate.records import canonical

Opened = Callable[..., PostgresLedger]

AT = 1_800_000_000.0

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
rows = st.tuples(
    texts,
    texts,
    st.integers(1, 2**62),
    st.sampled_from(["decision", "note"]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | texts,
    st.recursive(st.none() | st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists).map(canonical),
)


def test_the_database_links_rows_exactly_as_python_does(opened: Opened, place: str) -> None:
    opened(place)
    with psycopg.connect(place, autocommit=True) as connection:

        @settings(max_examples=150, deadline=None)
        @given(rows)
        def agree(row: tuple[str, str, int, str, float, str | None, str]) -> None:
            previous, account, seq, kind, at, key, body = row
            values = (previous, account, seq, kind, repr(at), key, body)
            found = connection.execute("SELECT journal_link(%s, %s, %s, %s, %s, %s, %s)", values).fetchone()
            assert found == (link(previous, account, seq, kind, at, key, body),)

        agree()


@pytest.mark.parametrize("at", [0.1, 1e16, 1e22, 5e-324, 1_800_000_000.123456, -0.0])
def test_moments_come_back_as_they_went_in(opened: Opened, place: str, at: float) -> None:
    ledger = opened(place)
    ledger.append("main", "note", {}, at=at)
    assert [repr(entry.at) for entry in ledger.entries()] == [repr(at)]
    assert ledger.verify() is None


@pytest.mark.parametrize("text", ["\0", "\ud800", "\udfff\ud83d", "\U0001f600", "\\u0000", 'a"\\', "\x7f\u2028"])
@pytest.mark.parametrize("kind", ["decision", "receipt", "settled", "trading"])
def test_a_body_with_any_character_is_recorded_and_read(opened: Opened, place: str, kind: str, text: str) -> None:
    """JSON may say what no text of the database can hold: a venue's message, a reason typed on a terminal."""
    ledger = opened(place)
    decision: dict[str, Any] = {
        "client_order_id": "a",
        "digest": "d",
        "symbol": "BTC-USD",
        "is_exit": True,
        "venue_order": {"client_order_id": "wire", "send_by": AT},
        "reservation": None,
    }
    if kind != "decision":
        ledger.append("main", "decision", decision, at=AT)
    body = {
        "decision": decision,
        "receipt": {"client_order_id": "a", "status": "filled"},
        "settled": {"gone": ["a"]},
        "trading": {"trading": "exits_only", "by": "Ann"},
    }[kind]
    ledger.append("main", kind, {**body, "reason": text}, at=AT)
    found = ledger.find("main", "a")
    assert found is not None
    assert found.status == ("filled" if kind == "receipt" else "sending")
    assert list(ledger.entries())[-1].body == canonical({**body, "reason": text})
    assert ledger.verify() is None


def test_names_are_sorted_by_their_bytes_whatever_the_databases_order(opened: Opened, place: str) -> None:
    ledger = opened(place)
    for name in ("b", EVERY_ACCOUNT, "a_b", "aB"):
        ledger.append(name, "note", {}, at=AT)
    assert [entry.account for entry in ledger.entries()] == sorted([EVERY_ACCOUNT, "aB", "a_b", "b"])


def test_verifying_folds_beside_the_real_tables_and_leaves_them_alone(opened: Opened, place: str) -> None:
    """Twice, with appends between, on one connection: neither may find the other's tables."""
    ledger = opened(place)
    for number in range(3):
        assert ledger.append("main", "settled", {"gone": []}, at=AT) == number + 1
        assert ledger.verify() is None
    assert len(list(ledger.entries())) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM funds",
        "UPDATE funds SET account = 'other'",
        "INSERT INTO funds VALUES ('more', 'main')",
        "UPDATE account SET trading_seq = 1",
    ],
)
def test_h05_audit_tamper_of_a_table_that_only_this_store_has(opened: Opened, place: str, statement: str) -> None:
    ledger = opened(place)
    ledger.append("main", "bound", {"identity": "portfolio"}, at=AT)
    assert ledger.verify() is None
    with psycopg.connect(place) as other:
        other.execute(statement.encode())
    found = ledger.verify()
    assert found is not None
    assert found.what.endswith("does not say what the journal says")


def test_verifying_while_others_append_sees_one_moment(
    opened: Opened, place: str, crowd: Callable[[int, Callable[[int], Any]], list[Any]]
) -> None:
    ledger = opened(place)

    def run(number: int) -> object:
        if number == 0:
            return [ledger.verify() for _ in range(5)]
        return [ledger.append("main", "note", {}, at=AT) for _ in range(30)]

    assert crowd(3, run)[0] == [None] * 5


def test_a_truncated_journal_is_refused_like_a_changed_one(opened: Opened, place: str) -> None:
    opened(place)
    with (
        psycopg.connect(place) as other,
        pytest.raises(psycopg.errors.RaiseException, match="the journal is append-only"),
    ):
        other.execute("TRUNCATE journal")
