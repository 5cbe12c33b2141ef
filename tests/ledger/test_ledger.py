"""The ledger, in every store: what an append does, what it refuses, and what verifying notices."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from ordergate import LedgerDamaged, TradingState
from ordergate.journal import Break, Entry, link
from ordergate.ledger import EVERY_ACCOUNT, AlreadyRecorded, Ledger

Crowd = Callable[[int, Callable[[int], None]], list[None]]
Store = Any  # see conftest.py

AT = 1_800_000_000.0


def buy(client_id: str, *, approved: bool = True, is_exit: bool = False, symbol: str = "BTC-USD") -> dict[str, Any]:
    """The body of a decision: as much of it as the ledger itself reads."""
    reservation = {
        "client_order_id": client_id,
        "wire_id": f"wire-{client_id}",
        "symbol": symbol,
        "gives": "USD",
        "takes": "BTC",
        "needs": Decimal("25.00"),
        "size": Decimal(25),
    }
    return {
        "client_order_id": client_id,
        "digest": f"digest of {client_id}",
        "symbol": symbol,
        "is_exit": is_exit,
        "venue_order": {"client_order_id": f"wire-{client_id}", "send_by": AT + 5} if approved else None,
        "reservation": reservation if approved and not is_exit else None,
    }


def receipt(client_id: str, status: str) -> dict[str, Any]:
    return {"client_order_id": client_id, "status": status, "receipt": None, "why": ""}


def decide(ledger: Ledger, client_id: str, **more: Any) -> int | None:
    return ledger.append("main", "decision", buy(client_id, **more), at=AT, key=f"order:{client_id}")


def hear(ledger: Ledger, client_id: str, status: str, at: float = AT + 1) -> None:
    ledger.append("main", "receipt", receipt(client_id, status), at=at)


# ------------------------------------------------------------------------------------------------------- appending


def test_a_buy_is_recorded_with_its_reservation_and_waits_for_its_outcome(ledger: Ledger) -> None:
    assert decide(ledger, "a") == 1
    state, found = ledger.state("main"), ledger.find("main", "a")
    assert found is not None
    assert (found.status, found.final, found.wire_id, found.send_by) == ("sending", False, "wire-a", AT + 5)
    assert [(one.client_order_id, one.needs, one.status) for one in state.reservations] == [
        ("a", Decimal(25), "sending")
    ]
    assert [one.client_order_id for one in ledger.unfinished("main")] == ["a"]
    assert (state.version, state.settlement) == (1, 0)


def test_a_refused_buy_binds_its_id_and_claims_nothing(ledger: Ledger) -> None:
    decide(ledger, "a", approved=False)
    found = ledger.find("main", "a")
    assert found is not None
    assert (found.status, found.final, found.wire_id) == ("refused", True, None)
    assert ledger.unfinished("main") == ()
    assert ledger.state("main").version == 0, "nothing that a buy is judged on has moved"
    with pytest.raises(AlreadyRecorded):
        decide(ledger, "a")


def test_an_exit_reserves_nothing_and_still_waits_for_its_outcome(ledger: Ledger) -> None:
    decide(ledger, "a", is_exit=True)
    state = ledger.state("main")
    assert (state.reservations, state.version) == ((), 0)
    assert [one.is_exit for one in ledger.unfinished("main")] == [True]


@pytest.mark.parametrize("status", ["filled", "cancelled", "expired", "rejected"])
def test_a_last_word_ends_an_order_but_not_yet_its_reservation(ledger: Ledger, status: str) -> None:
    decide(ledger, "a")
    hear(ledger, "a", status)
    assert ledger.unfinished("main") == ()
    assert [(one.status, one.receipt_at) for one in ledger.state("main").reservations] == [(status, AT + 1)]
    hear(ledger, "a", "open", at=AT + 2)
    found = ledger.find("main", "a")
    assert found is not None
    assert found.status == status, "the last word stays the last"


def test_giving_up_a_reservation_moves_version_and_settlement(ledger: Ledger) -> None:
    decide(ledger, "a")
    decide(ledger, "b")
    before = ledger.state("main")
    ledger.append("main", "settled", {"gone": ["a"]}, at=AT)
    after = ledger.state("main")
    assert [one.client_order_id for one in after.reservations] == ["b"]
    assert (after.version, after.settlement) == (before.version + 1, before.settlement + 1)


def test_an_unknown_outcome_moves_the_version_a_known_one_does_not(ledger: Ledger) -> None:
    decide(ledger, "a")
    hear(ledger, "a", "open")
    assert ledger.state("main").version == 1
    hear(ledger, "a", "unknown")
    assert ledger.state("main").version == 2


def test_stale_version_is_not_taken(ledger: Ledger) -> None:
    judged_on = ledger.state("main")
    decide(ledger, "first")
    body = buy("late")
    assert ledger.append("main", "decision", body, at=AT, key="order:late", judged_on=judged_on) is None
    assert ledger.find("main", "late") is None
    assert ledger.append("main", "decision", body, at=AT, key="order:late", judged_on=ledger.state("main")) == 2


def test_stale_settlement_is_not_taken(ledger: Ledger) -> None:
    judged_on = ledger.state("main")
    ledger.append("main", "settled", {"gone": []}, at=AT)
    assert ledger.append("main", "decision", buy("late"), at=AT, judged_on=judged_on) is None


def test_refusals_and_alarms_do_not_make_a_decision_stale(ledger: Ledger) -> None:
    judged_on = ledger.state("main")
    decide(ledger, "refused", approved=False)
    ledger.append("main", "alarm", {"code": "x"}, at=AT)
    ledger.append("main", "note", {}, at=AT)
    assert ledger.append("main", "decision", buy("a"), at=AT, judged_on=judged_on) is not None


@pytest.mark.parametrize("scope", ["main", EVERY_ACCOUNT])
def test_a_halt_makes_what_was_judged_before_it_stale(ledger: Ledger, scope: str) -> None:
    judged_on = ledger.state("main")
    ledger.append(scope, "trading", {"trading": "exits_only", "by": "Ann", "reason": "drill"}, at=AT)
    assert ledger.append("main", "decision", buy("a"), at=AT, judged_on=judged_on) is None
    state = ledger.state("main")
    assert state.trading is TradingState.EXITS_ONLY
    assert "drill (Ann)" in state.trading_by
    ledger.append(scope, "trading", {"trading": "active", "by": "Ann", "reason": "over"}, at=AT)
    assert ledger.state("main").trading is TradingState.ACTIVE


def test_one_accounts_halt_leaves_the_other_alone(ledger: Ledger) -> None:
    other = ledger.state("other")
    ledger.append("main", "trading", {"trading": "exits_only", "by": "Ann", "reason": "drill"}, at=AT)
    assert ledger.state("other") == other


def test_funds_are_bound_to_one_name(ledger: Ledger) -> None:
    ledger.append("main", "bound", {"identity": "portfolio"}, at=AT)
    with pytest.raises(AlreadyRecorded, match="bound to another account"):
        ledger.append("other", "bound", {"identity": "portfolio"}, at=AT)
    accounts = ledger.accounts()
    assert (accounts["main"], accounts.get("other")) == ("portfolio", None)
    assert ledger.verify() is None


def test_a_name_is_bound_to_funds_once(ledger: Ledger) -> None:
    ledger.append("main", "bound", {"identity": "portfolio"}, at=AT, key="bound:portfolio")
    with pytest.raises(AlreadyRecorded):
        ledger.append("main", "bound", {"identity": "another"}, at=AT, key="bound:another")
    assert ledger.accounts() == {"main": "portfolio"}
    ledger.append("other", "bound", {"identity": "another"}, at=AT)
    assert ledger.verify() is None


def test_a_key_is_recorded_once_per_account(ledger: Ledger) -> None:
    decide(ledger, "a")
    with pytest.raises(AlreadyRecorded):
        decide(ledger, "a")
    ledger.append("other", "note", {}, at=AT, key="order:a")
    assert [entry.key for entry in ledger.entries()] == ["order:a", "order:a"]
    assert ledger.verify() is None


@pytest.mark.parametrize(
    "statement", ["UPDATE journal SET body = '{}'", "UPDATE journal SET seq = 9", "DELETE FROM journal"]
)
def test_the_journal_is_append_only(ledger: Ledger, store: Store, statement: str) -> None:
    decide(ledger, "a")
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.RaiseException), match="the journal is append-only"):
        store.run(statement)
    assert ledger.verify() is None


def test_bodies_are_stored_in_their_one_canonical_form(ledger: Ledger) -> None:
    ledger.append("main", "note", {"b": Decimal("1.50"), "a": ("ü", None)}, at=AT)
    ledger.append("main", "note", {"a": ["ü", None], "b": Decimal("1.5")}, at=AT)
    one, other = (entry.body for entry in ledger.entries("main"))
    assert one == other == r'{"a":["\u00fc",null],"b":"1.5"}'


def test_a_body_that_cannot_be_recorded_leaves_no_row(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="finite"):
        ledger.append("main", "note", {"amount": Decimal("NaN")}, at=AT)
    assert list(ledger.entries()) == []


def test_each_row_is_linked_to_the_one_before_it(ledger: Ledger) -> None:
    for number in range(3):
        ledger.append("main", "note", {"number": number}, at=AT + number, key=f"note:{number}")
    previous = ""
    for entry in ledger.entries("main"):
        previous = link(previous, "main", entry.seq, entry.kind, entry.at, entry.key, entry.body)
        assert entry.hash == previous
    assert ledger.heads() == {"main": (3, previous)}
    assert ledger.heads()["main"][1] == previous


def test_what_decisions_were_made_on_is_stored_once(ledger: Ledger, store: Store) -> None:
    assert ledger.keep("main", "facts") == ledger.keep("main", "facts")
    assert ledger.kept("main", ledger.keep("main", "facts")) == "facts"
    for name in "ab":
        ledger.append("main", "decision", {**buy(name), "facts": ledger.keep("main", "facts")}, at=AT)
    assert ledger.kept("main", ledger.keep("main", "facts")) == "facts"
    assert store.run("UPDATE content SET hash = hash") == 1


def test_recent_orders_come_newest_first_and_bounded(ledger: Ledger) -> None:
    for number in range(4):
        ledger.append("main", "decision", buy(str(number)), at=AT + number)
    assert [one.client_order_id for one in ledger.recent("main", AT + 1, 2)] == ["3", "2"]
    assert [one.client_order_id for one in ledger.recent(None, AT + 2, 9)] == ["3", "2"]
    assert ledger.known_wire_ids("main", ("wire-1", "wire-9")) == {"wire-1"}


def test_a_long_journal_is_read_in_pages_without_a_gap(ledger: Ledger) -> None:
    rows: list[Entry] = []
    for seq in range(1, 5003):
        hashed = link(rows[-1].hash if rows else "", "main", seq, "note", AT, None, "{}")
        rows.append(Entry("main", seq, "note", AT, None, "{}", hashed))
    ledger.adopt(rows, [])
    assert [entry.seq for entry in ledger.entries()] == list(range(1, 5003))
    assert [entry.seq for entry in ledger.entries(newest=2)] == [5001, 5002]
    assert ledger.verify() is None


# ------------------------------------------------------------------------------------------------------- concurrency


@pytest.mark.parametrize("shared", [True, False], ids=["one connection", "a connection each"])
def test_e01_cap_storm_of_threads_on_the_ledger_alone(ledger: Ledger, store: Store, crowd: Crowd, shared: bool) -> None:
    cap = 3

    def reserve(number: int) -> None:
        own = ledger if shared else store.open()
        try:
            while len((state := own.state("main")).reservations) < cap:
                body = buy(f"order-{number}")
                own.append("main", "decision", body, at=AT, key=f"order:{number}:{state.version}", judged_on=state)
                if own.find("main", f"order-{number}"):
                    return
        finally:
            if not shared:
                own.close()

    crowd(8, reserve)
    assert len(ledger.state("main").reservations) == cap
    assert ledger.verify() is None


def test_rows_of_concurrent_threads_all_land_in_one_unbroken_chain(ledger: Ledger, store: Store, crowd: Crowd) -> None:
    def write(number: int) -> None:
        with closing(store.open()) as own:
            for row in range(10):
                own.append("main", "note", {}, at=AT, key=f"{number}:{row}")

    crowd(4, write)
    assert len({entry.key for entry in ledger.entries("main")}) == 40
    assert ledger.verify() is None


def test_e04_same_key_from_many_threads_is_one_row(ledger: Ledger, crowd: Crowd) -> None:
    refused: list[int] = []

    def write(number: int) -> None:
        try:
            decide(ledger, "same")
        except AlreadyRecorded:
            refused.append(number)

    crowd(16, write)
    assert len(refused) == 15
    assert len(list(ledger.entries())) == 1


# --------------------------------------------------------------------------------------------------------- tampering


@pytest.fixture
def tamper(ledger: Ledger, store: Store) -> Callable[..., None]:
    """A journal of five rows, and somebody who takes the guards off and runs statements on it."""
    decide(ledger, "a")
    hear(ledger, "a", "filled")
    ledger.append("main", "settled", {"gone": ["a"]}, at=AT)
    decide(ledger, "b")
    ledger.append("main", "note", {"n": 5}, at=AT)
    assert ledger.verify() is None

    def run(*statements: str) -> None:
        store.run(*statements, guarded=False)

    return run


@pytest.mark.parametrize(
    ("statement", "row", "what"),
    [
        ("UPDATE journal SET body = replace(body, '25', '24') WHERE seq = 1", 1, "content or its hash"),
        ("UPDATE journal SET at = at - 86400 WHERE seq = 3", 3, "content or its hash"),
        ("UPDATE journal SET key = 'order:z' WHERE seq = 4", 4, "content or its hash"),
        ("UPDATE journal SET kind = 'alarm' WHERE seq = 5", 5, "content or its hash"),
        ("UPDATE journal SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 2", 2, "content or its hash"),
        ("DELETE FROM journal WHERE seq = 3", 3, "missing; the next row there is 4"),
        ("DELETE FROM journal WHERE seq = 1", 1, "missing; the next row there is 2"),
        ("DELETE FROM journal WHERE seq = 5", 5, "remembers 5 rows, the journal ends at 4"),
        ("DELETE FROM journal WHERE seq > 2", 3, "remembers 5 rows, the journal ends at 2"),
    ],
)
def test_h05_audit_tamper_names_the_first_bad_row(
    ledger: Ledger, tamper: Callable[..., None], statement: str, row: int, what: str
) -> None:
    tamper(statement)
    found = ledger.verify()
    assert isinstance(found, Break)
    assert (found.account, found.seq) == ("main", row)
    assert what in found.what


def test_h05_audit_tamper_swapped_rows(ledger: Ledger, tamper: Callable[..., None]) -> None:
    tamper(
        "UPDATE journal SET seq = 99 WHERE seq = 2",
        "UPDATE journal SET seq = 2 WHERE seq = 3",
        "UPDATE journal SET seq = 3 WHERE seq = 99",
    )
    found = ledger.verify()
    assert found is not None
    assert found.seq == 2


def test_h05_audit_tamper_of_two_rows_names_the_first(ledger: Ledger, tamper: Callable[..., None]) -> None:
    tamper("UPDATE journal SET body = '{}' WHERE seq IN (3, 5)")
    found = ledger.verify()
    assert found is not None
    assert found.seq == 3


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE orders SET live = true WHERE client_order_id = 'a'", "orders"),
        ("UPDATE orders SET final = true, status = 'filled' WHERE client_order_id = 'b'", "orders"),
        ("UPDATE orders SET reservation = replace(reservation, '25', '1') WHERE client_order_id = 'b'", "orders"),
        ("DELETE FROM orders WHERE client_order_id = 'b'", "orders"),
        ("UPDATE account SET settlement = settlement - 1", "account"),
        ("UPDATE account SET identity = 'somebody else'", "account"),
        ("UPDATE account SET trading = 'exits_only'", "account"),
        ("INSERT INTO account (name, trading) VALUES ('*', 'exits_only')", "account"),
    ],
)
def test_h05_audit_tamper_of_a_table_beside_the_journal(
    ledger: Ledger, tamper: Callable[..., None], statement: str, table: str
) -> None:
    tamper(statement)
    found = ledger.verify()
    assert found is not None
    assert found.what == f"table {table} does not say what the journal says"


def test_h05_audit_tamper_cut_tail_with_the_account_mended_shows_in_heads_kept_outside(
    ledger: Ledger, tamper: Callable[..., None]
) -> None:
    kept_outside = ledger.heads()["main"]
    tamper(
        "UPDATE account SET seq = 3, head = (SELECT hash FROM journal WHERE seq = 3), version = 2",
        "DELETE FROM journal WHERE seq > 3",
        "DELETE FROM orders WHERE client_order_id = 'b'",
    )
    assert ledger.verify() is None, "a chain alone cannot know that it was longer"
    seq, hashed = kept_outside
    assert {entry.seq: entry.hash for entry in ledger.entries("main")}.get(seq) != hashed
    assert ledger.heads()["main"] != kept_outside


@pytest.mark.parametrize(
    ("statement", "told"),
    [("UPDATE content SET body = 'other facts'", "were changed"), ("DELETE FROM content", "lost the recorded facts")],
)
def test_changed_or_lost_facts_of_a_decision_are_noticed(
    ledger: Ledger, tamper: Callable[..., None], statement: str, told: str
) -> None:
    name = ledger.keep("main", "facts")
    ledger.append("main", "decision", {**buy("c"), "facts": name}, at=AT)
    tamper(statement)
    with pytest.raises(LedgerDamaged, match=told):
        ledger.kept("main", name)


@pytest.mark.parametrize("statement", ["UPDATE content SET body = 'other facts'", "DELETE FROM content"])
def test_h05_audit_tamper_of_what_a_decision_was_made_on(
    ledger: Ledger, tamper: Callable[..., None], statement: str
) -> None:
    body = {**buy("c"), "facts": ledger.keep("main", "facts"), "setup": None}
    ledger.append("main", "decision", body, at=AT)
    assert ledger.verify() is None
    tamper(statement)
    found = ledger.verify()
    assert found is not None
    assert (found.account, found.seq) == ("main", 6)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET body = '{}' WHERE seq = 5",
        "DELETE FROM journal WHERE seq = 5",
        "UPDATE account SET head = 'x'",
        "UPDATE account SET seq = 4",
    ],
)
def test_d05_damaged_tail_is_noticed_when_the_ledger_is_opened(
    store: Store, tamper: Callable[..., None], statement: str
) -> None:
    tamper(statement)
    with pytest.raises(LedgerDamaged, match=r"damaged at row . of account main") as caught:
        store.open()
    assert store.place in str(caught.value)


def test_an_order_of_many_rows_reads_back_what_was_recorded(ledger: Ledger) -> None:
    decide(ledger, "a")
    hear(ledger, "a", "open")
    hear(ledger, "a", "partly_filled", at=AT + 2)
    found = ledger.find("main", "a")
    assert found is not None
    assert json.loads(found.decision)["client_order_id"] == "a"
    assert json.loads(str(found.receipt))["status"] == "partly_filled"
    assert ledger.find("other", "a") is None
