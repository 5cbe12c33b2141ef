"""Halting, resuming, settling, looking at an account, and the doctor, through the program."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import ordergate_paper
from ordergate import Absence, BrokerError, ConfigError, Executor, hookimpl
from ordergate.clock import SystemClock


def level(program: Any, subject: str) -> set[str]:
    """The levels of the doctor's findings about something."""
    findings = program.json("doctor").data["findings"]
    return {finding["level"] for finding in findings if finding["subject"] == subject}


def test_an_unknown_order_is_named_as_the_venue_knows_it(program: Any, fault: Callable[..., None]) -> None:
    """Who must look it up at the venue needs the id it has there."""
    fault("no_answer_after")
    bought = program.json("buy", "BTC-USD", "--spend", "25", "--id", "mine")
    (there,) = ordergate_paper.placed_orders(program.venue)
    assert bought.data["wire_id"] == there.client_order_id
    fault("late_visibility", times=None)
    assert there.client_order_id in program("explain", "mine").out
    ran = program("reconcile")
    assert ran.code == 4
    assert f"at the venue {there.client_order_id}" in ran.out
    assert program.json("reconcile").data["accounts"]["main"][0]["wire_id"] == there.client_order_id
    assert program.json("check", "BTC-USD", "--spend", "25").data["wire_id"] is None


# ------------------------------------------------------------------------------------------------------ the switch


def test_a_halt_stops_buys_cancels_open_ones_and_ends_with_a_resume(program: Any) -> None:
    program("buy", "BTC-USD", "--amount", "0.0005", "--limit", "60000", "--id", "resting")
    ran = program.json("halt", "--by", "alice", "--reason", "drill")
    assert (ran.code, ran.data["status"], ran.data["by"], ran.data["reason"]) == (0, "halted", "alice", "drill")
    assert list(ran.data["cancelled"]) == ["resting"]
    refused = program.json("buy", "BTC-USD", "--spend", "25")
    assert (refused.code, refused.data["verdicts"][0]["code"]) == (3, "exits_only")
    assert program.json("status").data["accounts"]["main"]["trading"] == "exits_only"
    assert program.json("sell", "ETH-USD", "--amount", "0.001").code == 0
    resumed = program.json("resume", "--by", "bob", "--reason", "drill is over")
    assert (resumed.code, resumed.data["still_exits_only"]) == (0, [])
    assert program.json("check", "BTC-USD", "--spend", "25").code == 0


def test_keep_open_leaves_open_buys_alone(program: Any) -> None:
    program("buy", "BTC-USD", "--amount", "0.0005", "--limit", "60000")
    assert program.json("halt", "--by", "alice", "--reason", "drill", "--keep-open").data["cancelled"] == {}
    assert len(program.json("positions").data["open_orders"]) == 1


def test_a_cancel_that_is_not_acknowledged_is_listed_and_exit_code_4(program: Any) -> None:
    program("buy", "BTC-USD", "--amount", "0.0005", "--limit", "60000", "--id", "resting")
    for file in program.folder.glob("paper-main.db*"):
        file.unlink()  # the venue knows nothing of the order any more
    ran = program.json("halt", "--by", "alice", "--reason", "drill")
    assert (ran.code, list(ran.data["not_acknowledged"])) == (4, ["resting"])
    assert "NOT ACKNOWLEDGED resting" in program("halt", "--by", "alice", "--reason", "drill").out


def test_resuming_all_says_which_account_still_takes_exits_only(program: Any) -> None:
    program("halt", "--by", "alice", "--reason", "one", "--account", "main")
    program("halt", "--by", "alice", "--reason", "all")
    ran = program.json("resume", "--by", "bob", "--reason", "over")
    assert (ran.code, ran.data["still_exits_only"]) == (0, ["main"])
    ran = program.json("resume", "--by", "bob", "--reason", "over", "--account", "main")
    assert (ran.code, ran.data["still_exits_only"]) == (0, [])


def test_the_halt_file_halts_and_is_named(program: Any) -> None:
    (program.folder / "ordergate.halt").touch()
    assert program.json("buy", "BTC-USD", "--spend", "25").code == 3
    assert "ordergate.halt" in program("status").out
    ran = program.json("resume", "--by", "bob", "--reason", "over")
    assert (ran.code, ran.data["fix"]) == (2, "remove this file first; it halts all accounts")


# -------------------------------------------------------------------------------------------------------- settling


def test_reconcile_finds_an_order_whose_answer_was_lost(program: Any, fault: Callable[..., None]) -> None:
    fault("no_answer_after")
    assert program.json("buy", "BTC-USD", "--spend", "25", "--id", "lost").code == 4
    ran = program.json("reconcile")
    assert (ran.code, ran.data["unknown"]) == (0, [])
    assert [(one["client_order_id"], one["status"]) for one in ran.data["accounts"]["main"]] == [("lost", "filled")]
    assert program("reconcile").out == "No order needed settling.\n"
    assert program.requests() == 1


def test_reconcile_exits_4_while_an_outcome_stays_unknown(
    program: Any, fault: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    program.rewrite("rules = [", "send_within = 300\nrules = [")
    fault("no_answer_before")
    program("buy", "BTC-USD", "--spend", "25", "--id", "lost")
    ran = program.json("reconcile")
    assert (ran.code, ran.data["unknown"]) == (4, ["lost"])
    assert re.search(r"lost \(at the venue [0-9a-f-]{36}, main, BTC-USD", program("reconcile").out)
    assert level(program, "account main") >= {"stop"}
    by_hand = ("reconcile", "--settle", "lost", "--as", "expired", "--by", "alice", "--reason", "not in its history")
    early = program.json(*by_hand)
    assert (early.code, early.data["field"]) == (2, "as")
    assert "may still arrive" in early.data["fix"]
    monkeypatch.setattr(SystemClock, "now", lambda _: time.time() + 1000)
    settled = program.json(*by_hand)
    assert (settled.code, settled.data["status"]) == (0, "expired")
    assert program.json("reconcile").code == 0
    assert program.json("explain", "lost").data["receipt"]["message"] == "not in its history (alice)"
    assert program.requests() == 1


def test_settling_by_hand_takes_only_what_makes_sense(program: Any) -> None:
    program("buy", "BTC-USD", "--spend", "25", "--id", "known")
    words = ("--by", "alice", "--reason", "because")
    assert program.json("reconcile", "--settle", "known", "--as", "expired", *words).data["field"] == "client_order_id"
    assert program.json("reconcile", "--settle", "known", "--as", "gone", *words).data["field"] == "as"
    assert program.json("reconcile", "--settle", "known", "--as", "expired").data["field"] == "by"
    assert program.json("reconcile", *words).data["field"] == "by"
    assert program.json("log").data["orders"][0]["status"] == "filled"


def test_an_account_that_is_broken_is_an_error_by_name_and_named_otherwise(program: Any) -> None:
    program.rewrite("[accounts.main]", '[accounts.other]\nbroker = "nope"\n\n[accounts.main]')
    for words in (("reconcile",), ("positions",), ("dust",), ("venue", "paper"), ("sell", "ETH-USD", "--all")):
        ran = program.json(*words, "--account", "other")
        assert (ran.code, ran.data["error"]) == (2, "INVALID_CONFIG")
    ran = program.json("reconcile")
    assert (ran.code, ran.data["not_asked"]) == (0, ["other"])


# ------------------------------------------------------------------------------------------------------- an account


def test_positions_marks_dust_locked_and_what_has_no_market(program: Any) -> None:
    program.rewrite('"ETH-USD" = "0.0100"', '"ETH-USD" = "0.0100", "SOL-USD" = "0.0001", "NOPE-USD" = "5"')
    program.rewrite('"ETH-USD" = "3500.00"', '"ETH-USD" = "3500.00", "SOL-USD" = "100"')
    data = program.json("positions").data
    assert (data["equity"], data["cash"], data["tier"], data["max_positions"]) == ("335.01", "300.00", "INVESTOR", 3)
    assert {one["currency"]: one["kind"] for one in data["holdings"]} == {
        "ETH": "position",
        "NOPE": "no market",
        "SOL": "dust",
        "USD": "cash",
    }
    assert [one["currency"] for one in data["positions"]] == ["ETH"]


def test_positions_shows_what_an_approved_buy_claims(program: Any, fault: Callable[..., None]) -> None:
    fault("no_answer_before")
    program("buy", "BTC-USD", "--spend", "25")
    claimed = {one["currency"]: one["claimed"] for one in program.json("positions").data["positions"]}
    assert claimed == {"BTC": "25.00", "ETH": "0.00"}
    assert "approved buy" in program("positions").out


def test_positions_says_when_the_venue_cannot_be_asked(program: Any, fault: Callable[..., None]) -> None:
    fault("accounts_down", times=None)
    ran = program.json("positions")
    assert (ran.code, ran.data["equity"]) == (1, None)
    assert "accounts_down" in ran.data["warnings"][0]
    assert program("dust").code == 1


def dusty(program: Any) -> None:
    """ETH is a position, SOL is dust that can be sold, DOGE is under the venue's step of sale, XX has no market."""
    program.rewrite(
        '"ETH-USD" = "0.0100"', '"ETH-USD" = "0.0100", "SOL-USD" = "0.0105", "DOGE-USD" = "1", "XX-USD" = "5"'
    )
    program.rewrite('"ETH-USD" = "3500.00"', '"ETH-USD" = "3500.00", "SOL-USD" = "100", "DOGE-USD" = "0.1"')
    program.rewrite("rules = [", "dust = 2\nrules = [")


def test_dust_names_what_is_too_small_and_sells_what_can_be_sold(program: Any) -> None:
    dusty(program)
    rows = {one["currency"]: one for one in program.json("dust").data["dust"]}
    assert {currency: one["sellable"] for currency, one in rows.items()} == {"DOGE": False, "SOL": True, "XX": False}
    assert "minimum of 1 USD" in rows["DOGE"]["obstacle"]
    assert "under 2.00 USD" in rows["SOL"]["why"]
    assert program.requests() == 0
    ran = program.json("dust", "--sell")
    assert ran.code == 0
    assert {currency: one["status"] for currency, one in ran.data["sold"].items()} == {"SOL": "filled"}
    assert program.requests() == 1
    told = program("dust", "--sell")
    assert "no: under the venue's minimum of 1 USD" in told.out
    assert "SOL" not in told.out
    assert program.requests() == 1


def test_dust_sells_during_a_halt_and_reports_a_rejection(program: Any, fault: Callable[..., None]) -> None:
    dusty(program)
    program("halt", "--by", "alice", "--reason", "drill")
    fault("reject")
    assert program.json("dust", "--sell").code == 5
    assert program.json("dust", "--sell").code == 0


def test_no_dust(program: Any) -> None:
    assert program("dust").out == "No dust.\n"


# ------------------------------------------------------------------------------------------------------- the doctor


def test_the_example_is_safe_to_arm(program: Any) -> None:
    ran = program.json("doctor")
    assert (ran.code, ran.data["safe"], ran.data["stops"]) == (0, True, 0)
    told = program("doctor")
    assert "It is a paper venue: a rehearsal, no money moves." in told.out
    assert "Not pinned" in told.out
    assert "335.00 USD" in told.out
    assert "Its key may view, trade, and neither withdraw nor transfer." in told.out


def no_rules(program: Any) -> None:
    program.rewrite('["position_cap", "min_allocation", "min_position", "dust", "average_position"]', "[]")


def rule_missing(program: Any) -> None:
    program.rewrite('"dust", ', '"dusty", ')


def broken_account(program: Any) -> None:
    program.rewrite('cash = "300.00"', 'cash = "x"')


def poor(program: Any) -> None:
    program.rewrite('"300.00"', '"3.00"')


def no_price(program: Any) -> None:
    program.rewrite('"ETH-USD" = "0.0100"', '"ETH-USD" = "0.0100", "SOL-USD" = "5"')


def halted(program: Any) -> None:
    program("halt", "--by", "alice", "--reason", "drill")


def halt_file(program: Any) -> None:
    (program.folder / "ordergate.halt").touch()


def no_ledger(program: Any) -> None:
    (program.folder / "ordergate.db").mkdir()


def changed_row(program: Any) -> None:
    program("buy", "BTC-USD", "--spend", "25")
    with closing(sqlite3.connect(program.folder / "ordergate.db")) as db:
        db.execute("DROP TRIGGER journal_keeps")
        db.execute("UPDATE journal SET at = at - 1 WHERE seq = 1")
        db.commit()


def fallback_is_a_file(program: Any) -> None:
    (program.folder / "ordergate-fallback").write_text("", encoding="utf-8")


def other_funds(program: Any) -> None:
    program("buy", "BTC-USD", "--spend", "25")
    for file in program.folder.glob("paper-main.db*"):
        file.unlink()


def venue_down(program: Any) -> None:
    program("venue", "paper", "--fault", "accounts_down", "--times", "always")


@pytest.mark.parametrize(
    ("spoil", "subject"),
    [
        (no_rules, "rules"),
        (rule_missing, "plugins"),
        (broken_account, "account main"),
        (poor, "account main"),
        (no_price, "account main"),
        (halted, "trading"),
        (halt_file, "halt file"),
        (no_ledger, "ledger"),
        (changed_row, "ledger"),
        (fallback_is_a_file, "fallback"),
        (other_funds, "account main"),
        (venue_down, "account main"),
    ],
)
def test_the_doctor_stops(program: Any, spoil: Callable[[Any], None], subject: str) -> None:
    spoil(program)
    ran = program.json("doctor")
    assert (ran.code, ran.data["safe"]) == (1, False)
    stops = [
        finding for finding in ran.data["findings"] if finding["level"] == "stop" and finding["subject"] == subject
    ]
    assert stops
    assert "Do not arm it yet" in program("doctor").out


def test_the_doctor_warns_of_a_changed_seed_and_of_faults(program: Any, fault: Callable[..., None]) -> None:
    fault("stale_prices", symbol="XX-USD")
    program.rewrite('"300.00"', '"400.00"')
    ran = program.json("doctor")
    assert ran.code == 0
    warnings = [
        one["text"] for one in ran.data["findings"] if one["level"] == "warning" and one["subject"] == "account main"
    ]
    assert any("was seeded with cash 300" in text for text in warnings)
    assert any("told to fail" in text for text in warnings)


def test_the_doctor_changes_nothing(program: Any, fault: Callable[..., None]) -> None:
    fault("no_answer_before")
    program("buy", "BTC-USD", "--spend", "25")
    before = program("audit", "export").out
    assert program("doctor").code == 1
    assert program("audit", "export").out == before


def test_a_key_that_may_withdraw_is_a_stop(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ordergate.broker.Broker.get_permissions", lambda broker: ("view", "trade", "withdraw"), raising=True
    )
    ran = program("doctor")
    assert ran.code == 1
    assert "Its key may withdraw." in ran.out


@pytest.mark.parametrize(
    ("behind", "level", "words"),
    [(0.0, "ok", "0.0 s"), (3600.0, "stop", "3600.0 s ahead of"), (-3600.0, "stop", "3600.0 s behind")],
)
def test_the_doctor_holds_the_clock_against_the_venues(
    program: Any, monkeypatch: pytest.MonkeyPatch, behind: float, level: str, words: str
) -> None:
    now = SystemClock().now
    monkeypatch.setattr("ordergate.broker.Broker.get_time", lambda broker: now() - behind)
    ran = program.json("doctor")
    (told,) = [one for one in ran.data["findings"] if "clock is" in one["text"]]
    assert (told["level"], told["subject"]) == (level, "account main")
    assert words in told["text"]
    assert ran.code == (1 if level == "stop" else 0)


@pytest.mark.parametrize(
    ("absence", "level", "words"),
    [
        (Absence.LOOKUP, "ok", "counts as absent when it is not found 9 s after"),
        (Absence.PERSON, "warning", "by a person"),
    ],
)
def test_the_doctor_says_what_becomes_of_an_unknown_order(
    program: Any, monkeypatch: pytest.MonkeyPatch, absence: Absence, level: str, words: str
) -> None:
    real = ordergate_paper.broker_profile
    changed: dict[str, Any] = {"absence": absence, "honoured": 7.0, "rests_on": "the deadline is documented"}
    monkeypatch.setattr(ordergate_paper, "broker_profile", hookimpl(lambda settings: evolve(real(settings), **changed)))
    findings = program.json("doctor").data["findings"]
    (told,) = [one for one in findings if "unknown outcome" in one["text"]]
    assert told["level"] == level
    assert words in told["text"]
    assert told["text"].endswith(" The deadline is documented.")


def test_a_clock_of_the_venue_that_cannot_be_read_is_a_stop(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(broker: object) -> float:
        raise BrokerError("no answer")

    monkeypatch.setattr("ordergate.broker.Broker.get_time", fail)
    ran = program("doctor")
    assert ran.code == 1
    assert "The venue's clock could not be read: no answer." in ran.out


# -------------------------------------------------------------------------------------------------- the paper venue


def test_the_paper_venue_is_told_prices_all_or_none(program: Any) -> None:
    program("buy", "BTC-USD", "--amount", "0.0005", "--limit", "60000", "--id", "resting")
    ran = program.json("venue", "paper", "--price", "BTC-USD=59000", "--price", "NOPE-USD=1")
    assert (ran.code, ran.data["field"]) == (2, "symbol")
    assert program.json("venue", "paper").data["changed"] == []
    ran = program.json("venue", "paper", "--price", "BTC-USD=59000", "--price", "ETH-USD=3000")
    assert [one["status"] for one in ran.data["changed"]] == ["filled"]
    assert program.json("reconcile").data["accounts"]["main"][0]["status"] == "filled"


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("--price", "BTC-USD"), "price"),
        (("--price", "BTC-USD=nan"), "price"),
        (("--fault", "nope"), "fault"),
        (("--fault", "reject", "--times", "0"), "times"),
        (("--fault", "reject", "--times", "x"), "times"),
        (("--times", "2"), "times"),
    ],
)
def test_what_the_paper_venue_cannot_be_told(program: Any, words: tuple[str, ...], field: str) -> None:
    ran = program.json("venue", "paper", *words)
    assert (ran.code, ran.data["field"]) == (2, field)


def test_faults_come_go_and_a_reset_seeds_anew(program: Any) -> None:
    program("venue", "paper", "--fault", "reject", "--times", "always")
    assert [program.json("buy", "BTC-USD", "--spend", "25").code for _ in range(2)] == [5, 5]
    assert program.json("venue", "paper", "--clear-faults").data["notices"] == []
    assert program.json("buy", "BTC-USD", "--spend", "25").code == 0
    listed = program.json("venue", "paper", "--orders").data
    assert (len(listed["orders"]), listed["orders_taken"], listed["requests"]) == (1, 1, 3)
    assert program.json("venue", "paper", "--reset", "--orders").data["orders"] == []
    assert program.json("positions").data["equity"] == "335.00"


def test_an_account_on_its_own_file(program: Any, tmp_path: Path) -> None:
    program.rewrite('cash = "300.00"', 'state = "somewhere.db"\ncash = "300.00"')
    assert program.json("venue", "paper").data["file"] == str(tmp_path / "somewhere.db")
    assert ordergate_paper.count_orders(tmp_path / "somewhere.db") == 0


def test_reconciling_a_broken_account_in_python_names_what_is_wrong(program: Any) -> None:
    program.rewrite("[accounts.main]", '[accounts.other]\nbroker = "nope"\n\n[accounts.main]')
    with Executor.from_config(program.config) as executor, pytest.raises(ConfigError, match="nope"):
        executor.reconcile("other")
