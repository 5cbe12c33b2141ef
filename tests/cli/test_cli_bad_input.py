"""Bad input through the program: exit code 2, the field, the value and the fix named, nothing sent, nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

NUMBERS = {
    "nan": "NaN",
    "signalling_nan": "sNaN",
    "infinity": "Infinity",
    "minus_infinity": "-inf",
    "zero": "0",
    "signed_zero": "-0",
    "negative": "-5",
    "boolean": "true",
    "underscore": "1_000",
    "full_width": "１２",
    "exponent": "1e3",
    "digits_400": "9" * 400,
    "drift": "0.1000000000000000055511151231257827",
    "blank": " 5",
    "empty": "",
    "hexadecimal": "0x10",
    "comma": "1,5",
    "plus": "+5",
    "no_whole": ".5",
}
SYMBOLS = [
    "",
    "BTC",
    "btc-usd",
    "BTC/USD",
    "ВTC-USD",
    "BTC-USD ",
    "BTC-BTC",
    "BTC-USD-EUR",
    "ＢTC-USD",
    "BTC\u200b-USD",
]


def refused_as_input(program: Any, field: str, value: str | None, *words: str) -> None:
    ran = program.json(*words)
    assert ran.code == 2
    assert ran.data["status"] is None
    assert ran.data["field"] == field
    assert ran.data["fix"]
    if value is not None:
        assert ran.data["value"].startswith(value[:100])
    told = program(*words)
    assert told.code == 2
    assert told.out == ""
    assert told.err.startswith(f"error: {field}: ")
    assert ran.data["fix"] in told.err
    assert program.requests() == 0
    assert program.json("log").data["orders"] == []


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
def test_a01_a02_a03_a04_numbers_that_are_none(program: Any, value: str) -> None:
    refused_as_input(program, "spend", value, "buy", "BTC-USD", "--spend", value)
    refused_as_input(program, "limit", value, "buy", "BTC-USD", "--amount", "1", "--limit", value)
    refused_as_input(program, "amount", value, "sell", "ETH-USD", "--amount", value)
    refused_as_input(program, "limit", value, "limits", "BTC-USD", "--limit", value)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a06_symbols_that_are_none(program: Any, symbol: str) -> None:
    refused_as_input(program, "symbol", symbol, "buy", symbol, "--spend", "25")
    refused_as_input(program, "symbol", symbol, "limits", symbol)


def test_a06_a_symbol_the_venue_does_not_have_is_refused_and_not_sent(program: Any) -> None:
    ran = program.json("buy", "NOPE-USD", "--spend", "25")
    assert (ran.code, ran.data["status"]) == (3, "refused")
    assert "the venue has no market NOPE-USD" in ran.data["message"]
    assert program.requests() == 0


@pytest.mark.parametrize("side", ["LONG", "BUY_TO_OPEN", " buy", "short", "", "BUY"])
def test_s03_unknown_sides(program: Any, side: str) -> None:
    refused_as_input(program, "side", side, "check", "BTC-USD", "--side", side, "--spend", "25")


def test_unknown_accounts(program: Any) -> None:
    for words in (("buy", "BTC-USD", "--spend", "25"), ("positions",), ("limits", "BTC-USD"), ("reconcile",)):
        refused_as_input(program, "account", "mian", *words, "--account", "mian")
    assert "did you mean main?" in program("positions", "--account", "mian").err


@pytest.mark.parametrize(
    "words",
    [
        ("buy", "BTC-USD"),
        ("buy", "BTC-USD", "--spend", "25", "--amount", "1", "--limit", "5"),
        ("sell", "ETH-USD"),
        ("sell", "ETH-USD", "--amount", "1", "--all"),
        ("check", "BTC-USD", "--spend", "25", "--all"),
    ],
)
def test_both_sizes_or_none(program: Any, words: tuple[str, ...]) -> None:
    refused_as_input(program, "size", None, *words)


def test_ids_that_cannot_be_used(program: Any) -> None:
    for value in ("", "x" * 65, "a b", "ünï", "a\x1b[31m"):
        refused_as_input(program, "client_order_id", value, "buy", "BTC-USD", "--spend", "25", "--id", value)


def test_a_repeated_id_with_other_content(program: Any) -> None:
    program("buy", "BTC-USD", "--spend", "25", "--id", "first")
    ran = program.json("buy", "BTC-USD", "--spend", "26", "--id", "first")
    assert (ran.code, ran.data["error"], ran.data["field"]) == (2, "ID_CONFLICT", "client_order_id")
    assert "use a new id" in ran.data["fix"]
    assert program.requests() == 1


@pytest.mark.parametrize(
    ("old", "new", "where", "fix"),
    [
        ("rules = [", "ruels = [", "gate.ruels", "Did you mean rules?"),
        ("rules = [", "dust = true\nrules = [", "gate.dust", ""),
        ('"300.00"', "nan", "accounts.main.paper.cash", ""),
        ('"300.00"', '"-1"', "accounts.main.paper.cash", ""),
        ('fee_threshold = "10"', 'fee_threshold = "1"', "accounts.main.paper.fee_threshold", "only tighten"),
        ("[accounts.main]", "[gate.extra]\nx = 1\n[accounts.main]", "gate.extra", ""),
    ],
)
def test_config_keys_that_are_wrong_let_no_buy_pass(program: Any, old: str, new: str, where: str, fix: str) -> None:
    program.rewrite(old, new)
    ran = program.json("buy", "BTC-USD", "--spend", "25")
    assert (ran.code, ran.data["error"]) == (2, "INVALID_CONFIG")
    problems = [problem for problem in ran.data["problems"] if problem["where"] == where]
    assert problems
    assert fix in problems[0]["fix"]
    assert where in program("buy", "BTC-USD", "--spend", "25").err
    assert program.requests() == 0


def test_a_config_that_is_wrong_outside_its_account_lets_a_sell_pass(program: Any) -> None:
    program.rewrite("rules = [", "ruels = [")
    ran = program.json("sell", "ETH-USD", "--all")
    assert (ran.code, ran.data["status"]) == (0, "filled")


def test_a_config_that_cannot_be_read_at_all(program: Any) -> None:
    original = program.config.read_bytes()
    for content, words in (
        (original + b"[gate]\n", "Every table and every key stands once"),
        (b"\xff\xfe", "not UTF-8"),
        (b"gate = [", "not TOML"),
    ):
        program.config.write_bytes(content)
        for command in (("buy", "BTC-USD", "--spend", "25"), ("sell", "ETH-USD", "--all"), ("status",), ("doctor",)):
            ran = program.json(*command)
            assert (ran.code, ran.data["error"]) == (2, "INVALID_CONFIG")
            assert words in ran.data["message"]
    program.config.unlink()
    assert "ordergate init" in program("status").err
    program.config.mkdir()
    assert "it is a folder" in program("status").err


@pytest.mark.parametrize("content", [b"", b"this is no database, but long enough to look like something" * 40])
def test_d05_a_ledger_that_is_no_database(program: Any, content: bytes) -> None:
    ledger = program.folder / "ordergate.db"
    ledger.write_bytes(content)
    ran = program.json("buy", "BTC-USD", "--spend", "25")
    if not content:  # an empty file is a ledger that is still to be made
        assert ran.data["status"] == "filled"
        return
    assert (ran.code, ran.data["status"]) == (3, "refused")
    assert "is no ledger" in ran.data["message"]
    assert ledger.read_bytes() == content
    assert program.requests() == 0
    for command in (("log",), ("audit", "verify"), ("explain", "x")):
        failed = program.json(*command)
        assert (failed.code, failed.data["error"]) == (1, "LEDGER_DAMAGED")
    assert program.json("sell", "ETH-USD", "--all").data["status"] == "filled"
    assert program("doctor").code == 1


@pytest.mark.parametrize(
    ("version", "words", "error"),
    [
        (0, "does not say its schema", "LEDGER_DAMAGED"),
        (1, "ordergate ledger migrate", "LEDGER_VERSION"),
        (99, "newer", "LEDGER_VERSION"),
    ],
)
def test_a_ledger_of_another_schema(program: Any, version: int, words: str, error: str) -> None:
    program("buy", "BTC-USD", "--spend", "25")
    with closing(sqlite3.connect(program.folder / "ordergate.db")) as db:
        db.execute(f"PRAGMA user_version = {version}")
    ran = program.json("buy", "BTC-USD", "--spend", "25")
    assert (ran.code, ran.data["status"]) == (3, "refused")
    assert words in ran.data["message"]
    assert program.json("log").data["error"] == error
    assert program.requests() == 1


def test_files_the_user_names_that_cannot_be_used(program: Any, tmp_path: Path) -> None:
    there = tmp_path / "a file"
    there.write_text("not heads", encoding="utf-8")
    for words in (
        ("audit", "verify", "--against", str(tmp_path / "nowhere")),
        ("audit", "verify", "--against", str(there)),
        ("audit", "head", "--out", str(tmp_path / "nowhere" / "heads")),
        ("init", str(there)),
        ("init", str(there / "inside")),
    ):
        ran = program.json(*words)
        assert (ran.code, ran.data["error"]) == (2, "INVALID_INPUT")


@pytest.mark.parametrize("words", [("halt",), ("halt", "--by", "alice"), ("resume", "--reason", "x"), ("explain",)])
def test_what_is_missing_is_named(program: Any, words: tuple[str, ...]) -> None:
    ran = program.json(*words)
    assert (ran.code, ran.data["error"]) == (2, "USAGE")
    assert "Missing" in ran.data["message"]


def test_words_that_cannot_be_shown_are_no_reasons(program: Any) -> None:
    for value in ("", "  ", "a\x1b[31mb", "x" * 501, "line\nbreak"):
        ran = program.json("halt", "--by", "alice", "--reason", value)
        assert (ran.code, ran.data["field"]) == (2, "reason")
    assert program.json("status").data["trading"] == "active"


def test_unknown_commands_and_options_have_suggestions(program: Any) -> None:
    assert "Did you mean check?" in program("chek", "BTC-USD").err
    assert "--spend" in program("buy", "BTC-USD", "--spent", "3").err
    assert program("serve").code == 2
