"""The whole gate in front of Coinbase: from a caller's order, or a command, to the venue's books and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import ordergate_paper as paper
from ordergate import Decision, Executor, Order, OrderStatus, VenueOrder
from ordergate.broker import wire_id
from ordergate.cli import commands
from ordergate.clock import SystemClock
from ordergate.testing.coinbase import CoinbaseRehearsal, rehearsal
from ordergate.testing.loopback import Reply, Request

Gate = Callable[..., Executor]


class MovedClock(SystemClock):
    """The real clock, which a test moves, and on which sleeping takes no time."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += seconds


def buy(**fields: Any) -> Order:
    return Order.buy("BTC-USD", **{"spend": "100", "account": "main", "client_order_id": "first", **fields})


def codes(decision: Decision) -> set[str]:
    return {verdict.code for verdict in decision.verdicts if not verdict.approved}


def test_a_buy_goes_through_and_the_books_agree(gate: Gate, venue: CoinbaseRehearsal) -> None:
    decision = gate().submit(buy())

    assert decision.status is OrderStatus.FILLED
    (taken,) = venue.orders()
    assert (taken.client_order_id, taken.spend) == (wire_id(venue.dialect.portfolio, "first"), Decimal(100))
    assert decision.receipt is not None
    assert decision.receipt.order_id == taken.order_id


def test_a_buy_that_is_too_small_is_refused_and_not_sent(gate: Gate, venue: CoinbaseRehearsal) -> None:
    decision = gate().submit(buy(spend="3"))

    refusing = {verdict.rule for verdict in decision.verdicts if not verdict.approved}
    assert decision.status is OrderStatus.REFUSED
    assert refusing == {"min_allocation", "min_position"}
    assert venue.requests() == 0


def test_a_holding_is_sold_whole(gate: Gate, venue: CoinbaseRehearsal) -> None:
    decision = gate().submit(Order.sell("BTC-USD", all=True, account="main"))

    assert decision.status is OrderStatus.FILLED
    assert venue.orders()[0].amount == Decimal("0.01")


def test_an_order_that_rests_is_cancelled_by_its_callers_id(gate: Gate, venue: CoinbaseRehearsal) -> None:
    executor = gate()
    placed = executor.submit(buy(spend=None, amount="0.004", limit="40000"))

    cancelled = executor.cancel("first", account="main")

    assert (placed.status, cancelled.status) == (OrderStatus.OPEN, OrderStatus.CANCELLED)
    assert venue.orders()[0].status is OrderStatus.CANCELLED


def test_c01_took_it_no_reply_is_unknown_and_adopted(gate: Gate, venue: CoinbaseRehearsal) -> None:
    executor = gate()
    venue.fail("cut")
    unknown = executor.submit(buy())

    (adopted,) = executor.reconcile("main")["main"]
    again = executor.submit(buy())

    assert (unknown.status, adopted.status) == (OrderStatus.UNKNOWN, OrderStatus.FILLED)
    assert (again.status, again.replayed) == (OrderStatus.FILLED, True)
    assert [one.client_order_id for one in venue.orders()] == [wire_id(venue.dialect.portfolio, "first")]


def test_c12_an_order_that_shows_only_in_its_fills_is_adopted(gate: Gate, venue: CoinbaseRehearsal) -> None:
    venue.fail("cut")
    unknown = gate().submit(buy())
    venue.dialect.unlisted = True

    (adopted,) = gate().reconcile("main")["main"]

    assert (unknown.status, adopted.status) == (OrderStatus.UNKNOWN, OrderStatus.FILLED)
    assert (len(venue.orders()), venue.requests()) == (1, 1)


def test_facts_that_cannot_be_had_are_told_without_private_names(gate: Gate, venue: CoinbaseRehearsal) -> None:
    venue.fail("http", on="account", status=503, times=None)

    refused = gate().submit(buy())

    assert "get_account of coinbase failed: CoinbaseError: " in refused.message
    assert "_" not in refused.message.split("failed: ")[1].split(":")[0]
    assert venue.requests() == 0


def test_c01_an_unknown_buy_holds_back_others_of_its_market(gate: Gate, venue: CoinbaseRehearsal) -> None:
    executor = gate()
    venue.fail("cut", taken=False)
    executor.submit(buy())

    held = executor.submit(buy(client_order_id="second"))

    assert "outcome_unknown" in codes(held)
    assert venue.requests() == 1


def test_c02_c03_never_arrived_is_absent_only_when_its_token_is_dead(
    gate: Gate, venue: CoinbaseRehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = MovedClock()
    answer = venue.dialect.answer

    def later(request: Request) -> Reply:
        """The venue's clock goes with this one; tokens are still of the moment at which they are really made."""
        if not request.path.endswith("/time"):
            return answer(request)
        return Reply(json.dumps({"epochMillis": str(int(clock.now() * 1000))}).encode())

    monkeypatch.setattr(venue.dialect, "answer", later)
    executor = gate(clock=clock)
    venue.fail("cut", taken=False)
    assert executor.submit(buy()).status is OrderStatus.UNKNOWN

    clock.ahead += 120
    (early,) = executor.reconcile("main")["main"]
    clock.ahead += 120
    (late,) = executor.reconcile("main")["main"]

    assert early.status is None, "a token may be good for a little longer"
    assert late.status is OrderStatus.EXPIRED
    assert (venue.requests(), len(venue.orders())) == (1, 0)


def test_c03_an_order_that_lands_late_is_adopted(gate: Gate, venue: CoinbaseRehearsal) -> None:
    executor = gate()
    venue.fail("late")
    assert executor.submit(buy()).status is OrderStatus.UNKNOWN
    (open_still,) = executor.reconcile("main")["main"]
    assert open_still.status is None

    arrived = len(venue.orders())
    venue.clear()
    for _ in range(500):
        if venue.orders():
            break
        SystemClock().sleep(0.01)
    (adopted,) = executor.reconcile("main")["main"]

    assert arrived == 0
    assert adopted.status is OrderStatus.FILLED
    assert len(venue.orders()) == 1


def test_c05_another_size_at_the_venue_closes_the_account(gate: Gate, venue: CoinbaseRehearsal) -> None:
    executor = gate()
    venue.fail("other_size", on="find", times=None)

    decision = executor.submit(buy())

    assert decision.status is OrderStatus.UNKNOWN
    assert "exits_only" in codes(executor.submit(buy(client_order_id="second")))


def test_c11_an_id_that_the_venue_knows_from_a_lost_ledger_closes_the_account(
    tmp_path: Path, gate: Gate, venue: CoinbaseRehearsal
) -> None:
    """Coinbase answers with the first order and echoes the second: only the order itself tells."""
    gate().submit(buy())
    venue.dialect.unlisted = True  # otherwise the gate sees that the id is used, and does not send it
    without_memory = gate(folder=tmp_path / "elsewhere")

    decision = without_memory.submit(buy(spend="120"))

    assert decision.status is OrderStatus.UNKNOWN
    assert "spend is 100" in decision.message
    assert [one.spend for one in venue.orders()] == [Decimal(100)]
    assert "exits_only" in codes(without_memory.submit(buy(client_order_id="second")))


def test_f03_an_order_by_hand_raises_an_alarm(
    gate: Gate, venue: CoinbaseRehearsal, order: Callable[..., VenueOrder]
) -> None:
    executor = gate()
    executor.submit(buy())
    paper.place_order(venue.dialect.paper, order(client_order_id="by-hand", spend=Decimal(30)))

    executor.reconcile("main")

    alarms = [entry for entry in executor.desk.ledger().entries("main") if entry.kind == "alarm"]
    assert len(alarms) == 1
    assert "an order the gate never sent" in str(alarms[0].body)


def test_g08_a_key_that_can_move_money_buys_nothing_and_sells(
    tmp_path: Path, gate: Gate, venue: CoinbaseRehearsal
) -> None:
    venue.close()
    with rehearsal(tmp_path / "venue", permissions=("view", "trade", "transfer"), port=venue.server.port) as strong:
        executor = gate()

        refused = executor.submit(buy())
        sold = executor.submit(Order.sell("BTC-USD", all=True, account="main"))

        assert "key_too_powerful" in codes(refused)
        assert sold.status is OrderStatus.FILLED
        assert strong.requests() == 1


def test_d08_a_clock_that_is_wrong_buys_nothing(tmp_path: Path, gate: Gate, venue: CoinbaseRehearsal) -> None:
    venue.close()
    with rehearsal(tmp_path / "venue", clock_ahead=4.0, port=venue.server.port) as ahead:
        refused = gate().submit(buy())

        assert "clock_skew" in codes(refused)
        assert ahead.requests() == 0


def test_c14_a_venue_that_wants_to_be_left_alone_is(gate: Gate, venue: CoinbaseRehearsal) -> None:
    executor = gate()
    venue.fail("error", text="RESOURCE_EXHAUSTED", on="account")

    refused = executor.submit(buy())
    asked = len(venue.server.requests())
    again = executor.submit(buy(client_order_id="second"))

    assert (refused.status, again.status) == (OrderStatus.REFUSED, OrderStatus.REFUSED)
    assert len(venue.server.requests()) == asked, "nothing is asked within that second"


@pytest.mark.parametrize("on", ["account", "prices", "market", "fees"])
def test_f02_facts_that_are_down_hold_a_buy_and_let_a_sell_go(gate: Gate, venue: CoinbaseRehearsal, on: str) -> None:
    executor = gate()
    venue.fail("http", status=503, on=on, times=None)

    refused = executor.submit(buy())
    sold = executor.submit(Order.sell("BTC-USD", amount="0.002", account="main"))

    assert refused.status is OrderStatus.REFUSED
    assert sold.status is OrderStatus.FILLED


# --- by command


@pytest.fixture
def command(tmp_path: Path, venue: CoinbaseRehearsal) -> Callable[..., tuple[int, Any]]:
    """command("buy", …) runs it on a config whose account is at the rehearsal venue: exit code and its JSON."""
    lines = ["[gate]", 'rules = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]', ""]
    lines += ["[accounts.main]", 'broker = "coinbase"', "", "[accounts.main.coinbase]"]
    lines += [f'{name} = "{value}"' for name, value in venue.settings.items()]
    (tmp_path / "ordergate.toml").write_text("\n".join(lines) + "\n")

    def run(*words: str) -> tuple[int, Any]:
        result = CliRunner().invoke(commands, ["--config", str(tmp_path / "ordergate.toml"), *words, "--json"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, json.loads(result.stdout)

    return run


def test_by_command_it_buys_refuses_sells_and_cancels(
    command: Callable[..., tuple[int, Any]], venue: CoinbaseRehearsal
) -> None:
    assert command("buy", "BTC-USD", "--spend", "100")[0] == 0
    code, refused = command("buy", "BTC-USD", "--spend", "3")
    assert (code, refused["status"], refused["error"]) == (3, "refused", "HARDENING_ENFORCEMENT")
    code, resting = command("buy", "BTC-USD", "--amount", "0.003", "--limit", "40000")
    assert (code, resting["status"]) == (0, "open")
    code, cancelled = command("cancel", resting["order"]["client_order_id"])
    assert (code, cancelled["status"]) == (0, "cancelled")
    code, sold = command("sell", "BTC-USD", "--all")
    assert (code, sold["status"]) == (0, "filled")

    assert [one.status for one in venue.orders()] == ["filled", "cancelled", "filled"]
    assert venue.requests() == 3


def test_by_command_an_unknown_outcome_is_said_and_settled(
    command: Callable[..., tuple[int, Any]], venue: CoinbaseRehearsal
) -> None:
    venue.fail("cut")
    code, unknown = command("buy", "BTC-USD", "--spend", "100")
    assert (code, unknown["status"]) == (4, "unknown")

    assert command("reconcile")[0] == 0
    assert command("log")[0] == 0
    assert len(venue.orders()) == 1


def test_by_command_a_rejection_is_said(command: Callable[..., tuple[int, Any]], venue: CoinbaseRehearsal) -> None:
    venue.fail("error", text="UNTRADABLE_PRODUCT", taken=False)

    code, rejected = command("buy", "BTC-USD", "--spend", "100")

    assert (code, rejected["status"]) == (5, "rejected")
    assert rejected["receipt"]["code"] == "UNTRADABLE_PRODUCT"


def test_by_command_a_venue_that_is_not_there_got_nothing(
    command: Callable[..., tuple[int, Any]], venue: CoinbaseRehearsal
) -> None:
    venue.close()

    code, answer = command("sell", "BTC-USD", "--amount", "0.001")

    assert code != 0
    assert answer["status"] != "unknown", "nothing left this machine, and that is known"
