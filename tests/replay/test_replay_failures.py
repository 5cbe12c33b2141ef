"""What cannot be judged again is named with its reason, and a ledger that is not what was written is not believed."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ordergate import (
    ConfigError,
    Executor,
    InputError,
    LedgerDamaged,
    LedgerVersion,
    Order,
    PluginError,
)
from ordergate import replay as replay_module
from ordergate.clock import SystemClock
from ordergate.ledger import open_ledger
from ordergate.replay import Chosen, replay
from ordergate.replay_report import Report

Gate = Callable[..., Executor]
Under = Callable[..., Report]
Install = Callable[..., Path]


@pytest.fixture
def recorded(gate: Gate) -> Executor:
    executor = gate(rules=("dust", "min_position"))
    for name, spend in (("a", "60"), ("b", "3"), ("c", "70")):
        executor.submit(Order.buy("BTC-USD", spend=spend, client_order_id=name))
    return executor


def meddled(executor: Executor, *statements: str) -> Executor:
    """Somebody with the file open, and without the triggers that keep it."""
    with closing(sqlite3.connect(executor.config.folder / "ordergate.db")) as file:
        for (trigger,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            file.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            file.execute(statement)
        file.commit()
    return executor


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET body = replace(body, '\"60\"', '\"61\"') WHERE key = 'order:a'",
        "UPDATE journal SET at = at + 1 WHERE key = 'order:b'",
        "DELETE FROM journal WHERE key = 'order:b'",
        "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)",
    ],
    ids=["another body", "another moment", "a row gone", "the tail cut"],
)
def test_tampered_rows_are_noticed(recorded: Executor, under: Under, statement: str, check: bool) -> None:
    with pytest.raises(LedgerDamaged, match=r"row \d+ of account main is missing or was changed.*audit verify"):
        under(meddled(recorded, statement), check=check)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM content", "lost the recorded facts"),
        ("UPDATE content SET body = replace(body, '\"bid\"', '\"bud\"')", "were changed"),
        ("UPDATE content SET body = replace(body, '\"tiers\"', '\"tears\"')", "were changed"),
    ],
)
def test_lost_and_tampered_facts_are_noticed(
    recorded: Executor, under: Under, statement: str, what: str, check: bool
) -> None:
    with pytest.raises(LedgerDamaged, match=what):
        under(meddled(recorded, statement), check=check)


def test_a_ledger_of_another_schema(recorded: Executor) -> None:
    meddled(recorded, "PRAGMA user_version = 99").close()
    with pytest.raises(LedgerVersion, match="schema 99, newer"):
        open_ledger("sqlite:///ordergate.db", recorded.config.folder, SystemClock(), to_inspect=True)


def test_decisions_in_another_form_are_named_not_guessed(recorded: Executor, under: Under) -> None:
    """Rows and contents whose hashes hold, but of which this version can make nothing."""
    ledger = recorded.desk.ledger()
    (*_, last) = [entry for entry in ledger.entries("main") if entry.key == "order:c"]
    body = json.loads(last.body)
    older = {**body, "client_order_id": "old", "venue_order": None, "reservation": None}
    del older["judged_on"]
    ledger.append("main", "decision", older, at=1.0, key="order:old")
    strange = {**older, "client_order_id": "odd", "judged_on": body["judged_on"], "facts": ledger.keep("main", "[1]")}
    ledger.append("main", "decision", strange, at=1.0, key="order:odd")
    report = under(recorded, check=True)

    assert {reason: (one.decisions, one.first) for reason, one in report.skipped.items()} == {
        "recorded in a form that this version cannot judge": (2, "old")
    }
    assert (report.total.decisions, report.changed, report.unchecked) == (3, 0, 2)


def test_a_row_that_says_it_was_judged_on_a_later_one(recorded: Executor, under: Under) -> None:
    ledger = recorded.desk.ledger()
    (body,) = [json.loads(entry.body) for entry in ledger.entries("main") if entry.key == "order:b"]
    late = {**body, "client_order_id": "late", "judged_on": {**body["judged_on"], "seq": 999}}
    ledger.append("main", "decision", late, at=1.0, key="order:late")

    with pytest.raises(LedgerDamaged, match="judged on row 999"):
        under(recorded)


def test_an_empty_ledger(gate: Gate, under: Under) -> None:
    report = under(gate())

    assert (report.total.decisions, report.changes, report.skipped) == (0, [], {})


def test_a_config_that_could_not_trade_either(recorded: Executor, other: Gate, under: Under) -> None:
    with pytest.raises(ConfigError, match="no installed distribution provides it"):
        under(recorded, other(rules=("dust", "not_installed")))
    with pytest.raises(ConfigError, match="exit_buffer"):
        under(recorded, other(rules=("dust",), tables={"rules": {"dust": {"exit_buffer": "7"}}}))
    with pytest.raises(ConfigError, match="no rule is active"):
        under(recorded, other(rules=()))


def test_an_account_that_the_ledger_does_not_know(recorded: Executor, under: Under) -> None:
    with pytest.raises(InputError, match="account: 'spare' is not usable: the ledger has main"):
        under(recorded, None, Chosen(account="spare"))


def rule(text: str) -> dict[str, str]:
    return {
        "fakerule.py": f"from ordergate import Verdict, hookimpl\n\n@hookimpl\ndef validate_order(order):\n    {text}\n"
    }


def test_a_rule_that_fails_is_named(recorded: Executor, other: Gate, under: Under, install: Install) -> None:
    install(entries={"broken": "fakerule"}, modules=rule("raise ValueError('no such thing')"))
    report = under(recorded, other(rules=("dust", "broken")))

    assert report.failing == {
        "broken": (3, "It failed with ValueError: no such thing; what cannot be judged is refused.")
    }
    assert report.by_rule["broken"].newly == 3


def test_a_rule_that_hangs_ends_the_replay(
    recorded: Executor, other: Gate, under: Under, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(entries={"hangs": "fakerule"}, modules=rule("__import__('threading').Event().wait(5)"))
    monkeypatch.setattr(replay_module, "_BUDGET", 0.2)

    with pytest.raises(PluginError, match=r"did not answer within 0\.2 s about order a") as error:
        under(recorded, other(rules=("hangs",)))
    assert error.value.code == "rule_overran"


# -------------------------------------------------------------------------------------------------------------- check


def test_check_notices_another_rule_under_the_same_name(
    gate: Gate, under: Under, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code was changed since: the verdicts that come out otherwise are listed, and so are the versions."""
    install(entries={"mine": "fakerule"}, modules=rule("return Verdict.approve(observed=order.size)"))
    first = gate(rules=("mine", "dust"))
    first.submit(Order.buy("BTC-USD", spend="60", client_order_id="a"))
    first.close()
    before = first.config.folder / "site-ordergate-fake-1.0"
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(before)])
    del sys.modules["fakerule"]
    install(
        entries={"mine": "fakerule"}, modules=rule("return Verdict.approve(observed=order.cost + 1)"), version="1.1"
    )
    later = gate(rules=("mine", "dust"))
    report = under(later, check=True)

    (change,) = report.changes
    assert (change.client_order_id, change.approved_then, change.approved_now) == ("a", True, True)
    assert [(verdict.rule, verdict.observed) for verdict in change.then] == [("mine", Decimal(60))]
    assert [(verdict.rule, verdict.observed) for verdict in change.now] == [("mine", Decimal(61))]
    assert report.versions == {("mine", "1.0", "1.1")}


def test_check_without_a_rule_of_then_says_which(recorded: Executor, other: Gate, under: Under) -> None:
    report = under(recorded, other(rules=("dust",)), check=True)

    assert [(reason, one.decisions) for reason, one in report.skipped.items()] == [
        ("rule min_position is not active in the config: name it in gate.rules to check these", 3)
    ]
    assert (report.total.decisions, report.unchecked) == (0, 3)


def test_check_takes_the_settings_of_then(gate: Gate, other: Gate, under: Under) -> None:
    """Tiers, thresholds, dust and a rule's own numbers are those of each decision, whatever the config says now."""
    gate(fee_threshold="10", tables={"rules": {"average_position": {"multiple": "2"}}}).submit(
        Order.buy("BTC-USD", spend="60", client_order_id="a")
    )
    later = gate(
        fee_threshold="90",
        settings={"dust": "50", "max_positions": 1},
        tables={"tiers": [{"name": "X", "equity": "1", "max_positions": 1, "min_position": "1"}]},
    )
    later.submit(Order.buy("ETH-USD", spend="61", client_order_id="b"))

    assert (under(later, check=True).changed, under(later, check=True).total.decisions) == (0, 2)
    assert under(later).changed > 0


def test_check_cannot_show_that_a_rule_was_slow(recorded: Executor, under: Under) -> None:
    ledger = recorded.desk.ledger()
    (body,) = [json.loads(entry.body) for entry in ledger.entries("main") if entry.key == "order:b"]
    verdicts = [{**one, "code": "rule_overran"} if one["rule"] == "dust" else one for one in body["verdicts"]]
    slow: dict[str, Any] = {**body, "client_order_id": "slow", "verdicts": verdicts}
    ledger.append("main", "decision", slow, at=1.0, key="order:slow")
    report = under(recorded, check=True)

    assert [one.first for one in report.skipped.values()] == ["slow"]
    assert (report.changed, report.unchecked) == (0, 1)


def test_rows_written_meanwhile_are_left_for_the_next_time(recorded: Executor) -> None:
    ledger = recorded.desk.ledger()
    told: list[str] = []
    rows = ledger.heads()["main"][0]

    def write(text: str) -> None:
        told.append(text)
        ledger.append("main", "note", {"text": text}, at=1.0)

    report = replay(ledger, recorded.setup, recorded.clock, check=True, tell=write)

    assert (report.total.decisions, report.changed) == (3, 0)
    assert told == [f"Judging again: account main, row 1 of {rows}"]
