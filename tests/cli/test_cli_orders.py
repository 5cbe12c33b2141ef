"""Judging, buying, selling and cancelling through the program: what it answers, and with which exit code."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

RULES = {"position_cap", "min_allocation", "min_position", "dust", "average_position"}
CHECKS = {"gate.state", "gate.facts", "gate.tier", "gate.market", "gate.funds"}


def test_the_example_config_answers_as_promised(program: Any) -> None:
    ran = program.json("check", "BTC-USD", "--spend", "3", "--account", "main")
    data = ran.data
    assert ran.code == 3
    assert (data["status"], data["error"]) == ("refused", "HARDENING_ENFORCEMENT")
    refused = {verdict["rule"]: verdict for verdict in data["verdicts"] if not verdict["approved"]}
    assert {rule: (one["observed"], Decimal(one["limit"])) for rule, one in refused.items()} == {
        "min_allocation": ("3", Decimal("16.75")),
        "min_position": ("3", Decimal(20)),
    }
    assert {verdict["rule"] for verdict in data["verdicts"]} == RULES | CHECKS
    names = {"rule", "approved", "code", "message", "observed", "limit", "owner", "reason"}
    assert all(set(verdict) == names for verdict in data["verdicts"])
    assert (data["smallest_passing"], data["smallest_passing_in"]) == ("20.00", "USD")
    assert (data["facts"]["equity"], data["facts"]["cash"], data["facts"]["tier"]) == ("335.00", "300.00", "INVESTOR")
    assert data["facts"]["positions"][0]["currency"] == "ETH"
    assert set(data["facts"]["ages"]) == {"account", "prices"}
    assert data["fee_threshold"]["value"] == "10"
    assert data["cost"]["taker_fee"] == {
        "value": "0.009",
        "source": data["cost"]["taker_fee"]["source"],
        "as_of": "2026-09-17",
    }
    assert data["receipt"] is None
    assert "16.75" in data["message"]
    assert "20.00" in data["message"]
    assert program.requests() == 0


def test_a_hundred_in_cash_leaves_no_size_that_passes(program: Any) -> None:
    program.rewrite('"300.00"', '"100.00"')
    data = program.json("check", "BTC-USD", "--spend", "3").data
    assert data["smallest_passing"] is None
    assert "position_cap" in {verdict["rule"] for verdict in data["verdicts"] if not verdict["approved"]}
    ran = program("limits", "BTC-USD")
    assert ran.code == 3
    assert "No size of BTC-USD passes now." in ran.out
    assert "position_cap" in ran.out


def test_buy_answers_as_check_does_with_the_receipt_added(program: Any) -> None:
    checked = program.json("check", "BTC-USD", "--spend", "25").data
    ran = program.json("buy", "BTC-USD", "--spend", "25", "--id", "first")
    bought = ran.data
    assert ran.code == 0
    assert (checked["status"], bought["status"]) == ("approved", "filled")
    assert set(checked) == set(bought)
    assert checked["cost"] == bought["cost"]
    assert bought["order"]["client_order_id"] == "first"
    assert bought["receipt"]["status"] == "filled"
    assert Decimal(bought["receipt"]["filled_value"]) + Decimal(bought["receipt"]["fees"]) == 25
    assert program.requests() == 1


def test_a_repeated_id_is_sent_once(program: Any) -> None:
    program("buy", "BTC-USD", "--spend", "25", "--id", "first")
    ran = program.json("buy", "BTC-USD", "--spend", "25", "--id", "first")
    assert (ran.code, ran.data["status"], ran.data["replayed"]) == (0, "filled", True)
    assert "nothing was sent now" in program("buy", "BTC-USD", "--spend", "25", "--id", "first").out
    assert program.requests() == 1


def test_a_refused_buy_says_everything_to_a_person(program: Any) -> None:
    ran = program("buy", "BTC-USD", "--spend", "3")
    assert ran.code == 3
    for words in (
        "REFUSED",
        "BTC-USD",
        "side           buy",
        "size           3.00 USD",
        "equity         335.00 USD, tier INVESTOR",
        "positions      1: ETH 35.00 USD",
        "min_allocation: The size, 3.00 USD, is under 5 % of the equity of 335.00 USD, which is 16.75 USD.",
        "min_position: The size, 3.00 USD, is under the minimum of tier INVESTOR, 20.00 USD.",
        "The smallest size that passes now is 20.00 USD.",
    ):
        assert words in ran.out
    assert ran.err == ""


def test_an_approval_is_short_and_has_the_verdicts(program: Any) -> None:
    ran = program("check", "BTC-USD", "--spend", "25")
    assert ran.out.splitlines()[0] == "approved (checked only, nothing was sent): buy BTC-USD for 25.00 USD"
    assert {line.split()[0] for line in ran.out.splitlines() if line.split()[1:2] == ["yes"]} == RULES | CHECKS


def test_limit_buys_by_amount_and_by_spend_rest_and_are_cancelled(program: Any) -> None:
    by_amount = program.json("buy", "BTC-USD", "--amount", "0.0005", "--limit", "60000", "--id", "a").data
    by_spend = program.json("buy", "BTC-USD", "--spend", "30", "--limit", "60000", "--id", "b").data
    assert (by_amount["status"], by_spend["status"]) == ("open", "open")
    assert by_spend["receipt"]["amount"] == "0.0005"
    assert len(program.json("positions").data["open_orders"]) == 2
    ran = program.json("cancel", "a")
    assert (ran.code, ran.data["status"]) == (0, "cancelled")
    assert len(program.json("positions").data["open_orders"]) == 1
    assert program.json("cancel", "nobody").code == 2


def test_sells_by_amount_and_all(program: Any) -> None:
    ran = program.json("sell", "ETH-USD", "--amount", "0.004")
    assert (ran.code, ran.data["status"], ran.data["is_exit"]) == (0, "filled", True)
    ran = program.json("sell", "ETH-USD", "--all")
    assert (ran.code, ran.data["receipt"]["filled_amount"]) == (0, "0.006")
    ran = program.json("sell", "ETH-USD", "--all")
    assert (ran.code, ran.data["status"], ran.data["error"]) == (3, "refused", "HARDENING_ENFORCEMENT")


def test_check_judges_sells_too(program: Any) -> None:
    ran = program.json("check", "ETH-USD", "--side", "sell", "--all")
    assert (ran.code, ran.data["status"], ran.data["is_exit"], ran.data["checked_only"]) == (0, "approved", True, True)
    assert program.requests() == 0


def test_a_forced_liquidation_needs_a_reason_and_passes_during_a_halt(program: Any) -> None:
    ran = program.json("sell", "ETH-USD", "--all", "--force-liquidate")
    assert (ran.code, ran.data["field"]) == (2, "reason")
    assert program.requests() == 0
    program("halt", "--by", "alice", "--reason", "drill")
    ran = program.json("sell", "ETH-USD", "--all", "--force-liquidate", "--reason", "drill [red]now[/red]")
    assert (ran.code, ran.data["status"]) == (0, "filled")
    assert any("drill [red]now[/red]" in warning for warning in ran.data["warnings"])


def test_no_option_skips_the_rules_for_a_buy(program: Any) -> None:
    for option in ("--force-liquidate", "--force", "--without=dust", "--no-rules", "--all"):
        ran = program.json("buy", "BTC-USD", "--spend", "3", option)
        assert (ran.code, ran.data["error"]) == (2, "USAGE")
    assert program.requests() == 0


@pytest.mark.parametrize(
    ("name", "code", "status"),
    [("reject", 5, "rejected"), ("no_answer_after", 4, "unknown"), ("nonsense_type", 4, "unknown")],
)
def test_the_venues_word_is_the_exit_code(
    program: Any, fault: Callable[..., None], name: str, code: int, status: str
) -> None:
    fault(name)
    ran = program.json("buy", "BTC-USD", "--spend", "25", "--id", "x")
    assert (ran.code, ran.data["status"]) == (code, status)
    assert program.requests() == 1
    assert program("explain", "x").out.count(status.upper()) == 1


def test_limits_names_the_band_and_its_bounds(program: Any) -> None:
    data = program.json("limits", "BTC-USD").data
    assert (data["passes"], data["least"], data["most"], data["in"], data["step"]) == (
        True,
        "20.00",
        "300.00",
        "USD",
        "0.01",
    )
    assert (data["bounded_below_by"], data["bounded_above_by"]) == (["min_position"], ["gate.funds"])
    assert program.json("check", "BTC-USD", "--spend", data["least"]).code == 0
    assert program.json("check", "BTC-USD", "--spend", "19.99").code == 3
    assert program.json("check", "BTC-USD", "--spend", data["most"]).code == 0
    assert program.json("check", "BTC-USD", "--spend", "300.01").code == 3


def test_limits_of_a_limit_order_are_in_the_base_currency(program: Any) -> None:
    data = program.json("limits", "BTC-USD", "--limit", "60000").data
    assert data["in"] == "BTC"
    assert program.json("check", "BTC-USD", "--amount", data["least"], "--limit", "60000").code == 0
    assert "What an order of 1 BTC meets" not in program("limits", "BTC-USD", "--limit", "60000").out


def test_limits_during_a_halt_names_the_halt_alone(program: Any) -> None:
    program("halt", "--by", "alice", "--reason", "drill")
    ran = program("limits", "BTC-USD")
    assert ran.code == 3
    assert "gate.state" in ran.out
    assert "min_position" not in ran.out


def test_cancelling_what_the_venue_rejected_says_that_it_was_rejected(program: Any, fault: Callable[..., None]) -> None:
    fault("reject")
    program("buy", "BTC-USD", "--spend", "25", "--id", "x")
    ran = program.json("cancel", "x")
    assert (ran.code, ran.data["status"]) == (5, "rejected")


@pytest.mark.parametrize("option", ["--spend", "--amount", "--limit", "--account", "--id"])
def test_an_option_that_is_given_twice_is_refused_and_nothing_is_sent(program: Any, option: str) -> None:
    ran = program.json("buy", "BTC-USD", option, "25", option, "60")

    assert ran.code == 2
    assert (ran.data["value"], ran.data["fix"]) == ("25, 60", f"give {option} once")
    assert program.requests() == 0
