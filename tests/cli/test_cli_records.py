"""`log`, `explain` and `audit` through the program: the record, read and checked."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from ordergate import Executor, Order


@pytest.fixture
def traded(program: Any) -> Any:
    """A refused buy, a filled one, a resting one, and a sell."""
    program("buy", "BTC-USD", "--spend", "3", "--id", "small")
    program("buy", "BTC-USD", "--spend", "25", "--id", "good")
    program("buy", "BTC-USD", "--amount", "0.0005", "--limit", "60000", "--id", "resting")
    program("sell", "ETH-USD", "--amount", "0.001", "--id", "out")
    return program


def change(program: Any, *statements: str) -> None:
    """Write into the ledger behind the gate's back."""
    with closing(sqlite3.connect(program.folder / "ordergate.db")) as db:
        db.execute("DROP TRIGGER journal_keeps")
        db.execute("DROP TRIGGER journal_stays")
        for statement in statements:
            db.execute(statement)
        db.commit()


def test_the_log_has_every_order_newest_last(traded: Any) -> None:
    orders = traded.json("log").data["orders"]
    assert [(one["client_order_id"], one["status"]) for one in orders] == [
        ("small", "refused"),
        ("good", "filled"),
        ("resting", "open"),
        ("out", "filled"),
    ]
    assert orders[0]["refused_by"] == ["min_allocation", "min_position"]
    assert [one["client_order_id"] for one in traded.json("log", "-n", "2").data["orders"]] == ["resting", "out"]
    lines = traded("log", "--account", "main").out.splitlines()
    assert len(lines) == 5
    assert "buy BTC-USD for 3.00 USD" in lines[1]
    assert lines[1].endswith("min_allocation, min_position")


def test_an_empty_log(program: Any) -> None:
    assert program("log").out == "No order was recorded yet.\n"


@pytest.mark.parametrize(("name", "status"), [("small", "refused"), ("good", "filled"), ("resting", "open")])
def test_explain_gets_the_same_verdicts_again(traded: Any, name: str, status: str) -> None:
    ran = traded.json("explain", name)
    assert (ran.code, ran.data["status"], ran.data["judged_again"]["same"]) == (0, status, True)
    assert ran.data["judged_again"]["verdicts"] == ran.data["verdicts"]
    assert "the same verdicts" in traded("explain", name).out


def test_explain_exits_1_when_the_verdicts_differ(traded: Any) -> None:
    traded.rewrite('"min_position", ', "")
    ran = traded.json("explain", "small")
    assert (ran.code, ran.data["judged_again"]["same"]) == (1, False)
    told = traded("explain", "small")
    assert "the verdicts differ" in told.out
    assert "rule_not_active" in told.out


def test_explain_of_exits_has_nothing_to_judge_again(traded: Any) -> None:
    traded("sell", "SOL-USD", "--all", "--id", "nothing")
    for name, status in (("out", "filled"), ("nothing", "refused")):
        ran = traded.json("explain", name)
        assert (ran.code, ran.data["status"], ran.data["judged_again"]) == (0, status, None)
    assert traded.json("explain", "nobody").code == 2


def test_the_audit_verifies_what_was_written(traded: Any) -> None:
    ran = traded.json("audit", "verify")
    assert (ran.code, ran.data["holds"], ran.data["break"]) == (0, True, None)
    assert ran.data["rows"] == len(traded("audit", "export").out.splitlines())


def test_the_audit_names_the_first_changed_row(traded: Any) -> None:
    change(traded, "UPDATE journal SET body = replace(body, 'small', 'large') WHERE seq = 2")
    ran = traded.json("audit", "verify")
    assert (ran.code, ran.data["holds"]) == (1, False)
    assert ran.data["break"].startswith("account main, row 2: ")
    assert "account main, row 2" in traded("audit", "verify").out


def test_the_audit_names_a_missing_row(traded: Any) -> None:
    change(traded, "DELETE FROM journal WHERE seq = 3")
    ran = traded.json("audit", "verify")
    assert (ran.code, ran.data["break"].split(":")[0]) == (1, "account main, row 3")


def test_the_audit_names_tables_that_say_something_else(traded: Any) -> None:
    with closing(sqlite3.connect(traded.folder / "ordergate.db")) as db:
        db.execute("UPDATE orders SET status = 'cancelled', final = 1 WHERE client_order_id = 'resting'")
        db.commit()
    ran = traded.json("audit", "verify")
    assert (ran.code, ran.data["holds"]) == (1, False)


def test_heads_kept_outside_show_a_ledger_that_was_replaced(traded: Any) -> None:
    heads = traded.folder / "heads.json"
    ran = traded.json("audit", "head", "--out", str(heads))
    assert json.loads(heads.read_text(encoding="utf-8")) == ran.data
    traded("buy", "BTC-USD", "--spend", "26", "--id", "later")
    ran = traded.json("audit", "verify", "--against", str(heads))
    assert (ran.code, ran.data["compared"]) == (0, True)

    other = json.loads(heads.read_text(encoding="utf-8"))
    other["heads"]["main"]["hash"] = "0" * 64
    heads.with_name("other.json").write_text(json.dumps(other), encoding="utf-8")
    ran = traded.json("audit", "verify", "--against", str(heads.with_name("other.json")))
    assert (ran.code, "another row" in ran.data["break"]) == (1, True)

    for file in traded.folder.glob("ordergate.db*"):
        file.unlink()
    assert traded.json("audit", "verify").code == 0  # by itself, an empty journal is a sound one
    ran = traded.json("audit", "verify", "--against", str(heads))
    assert (ran.code, "row 1: it is missing" in ran.data["break"]) == (1, True)


def test_the_export_is_one_json_object_per_line(traded: Any) -> None:
    rows = [json.loads(line) for line in traded("audit", "export", "--account", "main").out.splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(set(row) == {"account", "seq", "kind", "at", "key", "body", "hash"} for row in rows)
    assert {"bound", "decision", "receipt"} <= {row["kind"] for row in rows}
    assert traded("audit", "export", "--json").out == traded("audit", "export").out


def test_an_exit_that_was_refused_is_explained_without_a_difference(program: Any) -> None:
    with Executor.from_config(program.config) as executor:
        executor.submit(Order.sell("SOL-USD", all=True, client_order_id="nothing"))
        assert executor.explain("nothing").same
