"""Rules that look back, through the real executor: they hold across restarts, processes and clocks that are set."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import ordergate_paper as paper
from ordergate import Decision, Executor, History, InputError, Order, OrderStatus
from ordergate.clock import SystemClock
from ordergate.past import Past

Gate = Callable[..., Executor]
Venue = Callable[..., paper.PaperVenue]

DAY = 86_400.0


class Wall:
    """The wall clock of this machine, the gate's and the venue's, as a test sets it. Their other clocks go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
        monkeypatch.setattr(SystemClock, "now", lambda _: self.moment)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


def settled(decision: Decision) -> list[str]:
    """Codes of what refused the order; empty when it was sent."""
    return [verdict.code for verdict in decision.refusals]


def looked_back(executor: Executor) -> History:
    past = Past()
    for entry in executor.desk.ledger().entries("main"):
        past.take(entry)
    return past.history(executor.clock.now())


def rules(**tables: Mapping[str, object]) -> dict[str, Any]:
    return {"rules": tuple(tables), "tables": {"rules": {name: dict(table) for name, table in tables.items()}}}


def buy(executor: Executor, spend: str = "10", symbol: str = "BTC-USD", **fields: Any) -> list[str]:
    return settled(executor.submit(Order.buy(symbol, spend=spend, **fields)))


def move(venue: Venue, executor: Executor, symbol: str, price: str) -> None:
    paper.set_price(venue(executor), symbol, price)


# -------------------------------------------------------------------------------------------------- restarts, clocks


def test_a_rate_holds_over_restarts_and_for_exactly_its_window(gate: Gate, clock: Wall) -> None:
    setup = rules(order_rate={"orders": 2, "seconds": 60})
    assert [buy(gate(**setup)) for _ in range(3)] == [[], [], ["too_many_orders"]]

    clock.moment += 59.9
    assert buy(gate(**setup)) == ["too_many_orders"]
    clock.moment += 0.1
    assert buy(gate(**setup)) == []


def test_attack_a_clock_that_is_set_back_begins_nothing_again(gate: Gate, clock: Wall) -> None:
    setup = rules(
        order_rate={"orders": 1, "seconds": 60}, daily_limits={"orders": 1}, budget={"principals": {"a": "15"}}
    )
    executor = gate(**setup)
    assert buy(executor, principal="a") == []
    for back in (61.0, 13 * 3600.0, 40 * DAY):
        clock.moment -= back
        assert buy(executor, principal="a") == ["too_many_orders", "too_many_today", "over_budget"]
        assert buy(gate(**setup), principal="a") == ["too_many_orders", "too_many_today", "over_budget"]


def test_attack_a_clock_that_runs_ahead_for_a_moment_makes_nothing_forgotten(gate: Gate, clock: Wall) -> None:
    setup = rules(daily_limits={"spend": "25"})
    assert buy(gate(**setup), "20") == []
    clock.moment += 90 * DAY
    assert buy(gate(**setup), "20") == []
    clock.moment -= 90 * DAY
    assert buy(gate(**setup)) == ["over_daily_spend"]


def test_a_day_ends_at_midnight_in_its_zone(gate: Gate, clock: Wall) -> None:
    setup = rules(daily_limits={"orders": 1, "zone": "America/New_York"})
    executor = gate(**setup)
    assert buy(executor) == []
    clock.moment += timedelta(hours=16).total_seconds()  # four in the morning in UTC, eleven in the evening there
    assert buy(executor) == ["too_many_today"]
    clock.moment += timedelta(hours=1).total_seconds()
    assert buy(executor) == []


def test_a_limit_that_was_tightened_counts_what_was_there_before(gate: Gate, clock: Wall) -> None:
    assert buy(gate(**rules(daily_limits={"spend": "100"})), "40") == []
    assert buy(gate(**rules(daily_limits={"spend": "45"}))) == ["over_daily_spend"]
    assert buy(gate(**rules(daily_limits={"spend": "50"}))) == []


# ------------------------------------------------------------------------------------------------------------ losses


def test_a_loss_stops_buys_for_as_long_as_it_counts_and_never_an_exit(gate: Gate, venue: Venue, clock: Wall) -> None:
    setup = rules(cooldown={"loss": "10", "minutes": 30}, daily_limits={"loss": "9.99"})
    executor = gate(**setup)
    assert buy(executor, "100") == []
    assert buy(executor, "100", "ETH-USD") == []
    move(venue, executor, "BTC-USD", "62033.38")  # a tenth less
    assert executor.submit(Order.sell("BTC-USD", all=True)).status is OrderStatus.FILLED

    # Bought for 100.00; brings 89.20 before and 88.39 after fees.
    sold = looked_back(executor).orders[0]
    assert sold.realised == sold.filled_value - sold.fees - 100
    for _ in range(2):
        assert buy(executor, symbol="SOL-USD") == ["cooling_down", "over_daily_loss"]
        executor = gate(**setup)
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED
    clock.moment += 1801
    assert buy(executor, symbol="SOL-USD") == ["over_daily_loss"]
    clock.moment += DAY
    assert buy(executor, symbol="SOL-USD") == []


def test_attack_an_exit_in_many_pieces_loses_as_much_as_in_one(gate: Gate, venue: Venue, clock: Wall) -> None:
    executor = gate(**rules(cooldown={"loss": "10", "minutes": 30}))
    assert buy(executor, "200") == []
    move(venue, executor, "BTC-USD", "62033.38")
    for _ in range(3):
        assert buy(executor, "1") == []
        executor.submit(Order.sell("BTC-USD", amount="0.0005"))
    assert buy(executor, "1") == ["cooling_down"]


def test_what_open_positions_lost_counts_before_they_are_sold(gate: Gate, venue: Venue, clock: Wall) -> None:
    executor = gate(**rules(daily_limits={"total_loss": "20"}))
    assert buy(executor, "100") == []
    assert buy(executor) == []
    move(venue, executor, "BTC-USD", "51694.48")  # a quarter less
    assert buy(executor) == ["over_daily_total_loss"]
    move(venue, executor, "BTC-USD", "68925.98")
    assert buy(executor) == []


def test_equity_far_under_its_peak_stops_buys_also_when_only_refused_orders_saw_the_peak(
    gate: Gate, venue: Venue, clock: Wall
) -> None:
    setup = rules(drawdown={"fall": "0.10", "days": 7})
    executor = gate(**setup, cash="100", positions={"ETH-USD": "1"})
    assert buy(executor, "1000000") == ["not_enough_funds"]
    move(venue, executor, "ETH-USD", "3000")
    clock.moment += 6 * DAY
    assert buy(executor) == ["in_drawdown"]
    assert buy(gate(**setup)) == ["in_drawdown"]
    clock.moment += DAY
    assert buy(executor) == []  # six days ago is now seven days ago


# ---------------------------------------------------------------------------------------------- repeats, open orders


def test_a_repeat_is_refused_while_the_first_is_of_unknown_outcome(gate: Gate, venue: Venue, clock: Wall) -> None:
    setup = rules(duplicate_order={"seconds": 5})
    executor = gate(**setup)
    paper.set_fault(venue(executor), paper.Fault.NO_ANSWER_AFTER)
    paper.set_fault(venue(executor), paper.Fault.LATE_VISIBILITY, times=99)
    assert executor.submit(Order.buy("BTC-USD", spend="10")).status is OrderStatus.UNKNOWN
    clock.moment += 6
    assert buy(executor) == ["outcome_unknown", "duplicate"]
    paper.clear_faults(venue(executor))
    assert buy(executor) == []  # it is settled on the way, and was sent long enough ago


def test_attack_a_repeat_with_another_size_or_id_is_a_repeat(gate: Gate, clock: Wall) -> None:
    executor = gate(**rules(duplicate_order={"seconds": 60}))
    assert buy(executor, "50", client_order_id="one") == []
    assert buy(executor, "50", client_order_id="two") == ["duplicate"]
    assert buy(executor, "50.01") == ["duplicate"]
    assert buy(executor, "50", "ETH-USD") == []
    assert buy(executor, "50", client_order_id="one") == []  # the same order again: answered, not sent


def test_open_orders_count_whoever_is_asked(gate: Gate, clock: Wall) -> None:
    setup = rules(max_open_orders={"orders": 2})
    limits = [Order.buy("BTC-USD", amount="0.001", limit=limit) for limit in ("60000", "59000", "58000")]
    codes = [settled(gate(**setup).submit(order)) for order in limits]
    assert codes == [[], [], ["too_many_open"]]
    executor = gate(**setup)
    first = executor.desk.ledger().unfinished("main")[0]
    executor.cancel(first.client_order_id)
    assert settled(executor.submit(limits[2])) == []


# ----------------------------------------------------------------------------------------- sizes, prices, markets


def test_what_would_pass_is_found_under_a_maximum_and_a_budget(gate: Gate, clock: Wall) -> None:
    setup = rules(
        min_position={}, max_notional={"usd": "40"}, budget={"principals": {"bot": "55"}}, daily_limits={"spend": "100"}
    )
    executor = gate(**setup, cash="100")
    refused = executor.submit(Order.buy("BTC-USD", spend="60", principal="bot"))
    assert settled(refused) == ["over_notional", "over_budget"]
    assert refused.smallest_passing == 10
    assert executor.submit(Order.buy("BTC-USD", spend="40", principal="bot")).approved
    assert executor.submit(Order.buy("BTC-USD", spend="16", principal="bot")).smallest_passing == 10
    assert executor.submit(Order.buy("BTC-USD", spend="15", principal="bot")).approved
    nothing = executor.submit(Order.buy("BTC-USD", spend="10", principal="bot"))
    assert (settled(nothing), nothing.smallest_passing) == (["over_budget"], None)


@pytest.mark.parametrize("symbol", ["btc-usd", "Btc-USD", "BTC/USD", "BTC-USD ", "ВTC-USD"])
def test_attack_another_spelling_of_a_market_is_no_market(gate: Gate, symbol: str) -> None:
    executor = gate(**rules(symbol_list={"deny": ["BTC-*"]}, max_notional={"usd": "50", "symbols": {"BTC-USD": "5"}}))
    with pytest.raises(InputError, match="symbol"):
        buy(executor, symbol=symbol)
    assert buy(executor) == ["symbol_denied", "over_notional"]


def test_a_price_far_from_the_middle_is_refused(gate: Gate) -> None:
    executor = gate(**rules(price_collar={"away": "0.01", "spread": "0.0021"}), spread="0.002")
    assert settled(executor.check(Order.buy("BTC-USD", amount="0.001", limit="69615.00"))) == []
    assert settled(executor.check(Order.buy("BTC-USD", amount="0.001", limit="69616.00"))) == ["above_collar"]
    wide = gate(**rules(price_collar={"spread": "0.0019"}), spread="0.002")
    assert settled(wide.check(Order.buy("BTC-USD", spend="10"))) == ["wide_spread"]


# ------------------------------------------------------------------------------------------- crowds and processes


def test_a_crowd_of_threads_and_executors_spends_no_more_than_the_day_allows(
    gate: Gate, crowd: Callable[[int, Callable[[int], Any]], list[Any]]
) -> None:
    executors = [gate(**rules(daily_limits={"spend": "55"}, order_rate={"orders": 9, "seconds": 60})) for _ in range(2)]
    answers = crowd(8, lambda number: buy(executors[number % 2]))
    assert sorted(map(len, answers)) == [0] * 5 + [1] * 3


ELSEWHERE = """
import json, sys
from ordergate import Executor, Order
with Executor.from_values(json.loads(sys.argv[1]), folder=sys.argv[2]) as executor:
    sys.stdin.readline()
    print(sum(executor.submit(Order.buy("BTC-USD", spend="10", principal="bot")).approved for _ in range(4)))
"""


def test_two_processes_share_one_budget_and_one_rate(gate: Gate, tmp_path: Path) -> None:
    setup = rules(order_rate={"orders": 6, "seconds": 3600}, budget={"principals": {"bot": "55"}})
    here = gate(**setup)
    assert buy(here, principal="bot") == []
    values = {
        "gate": {"rules": list(setup["rules"])},
        "accounts": {"main": {"broker": "paper", "paper": {"cash": "1000.00", "prices": {"BTC-USD": "68925.98"}}}},
        **setup["tables"],
    }
    command = [sys.executable, "-c", ELSEWHERE, json.dumps(values), str(tmp_path)]
    others = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for other in others:
        assert other.stdin is not None
        other.stdin.write("go\n")
        other.stdin.flush()
    passed = [int(other.communicate(timeout=60)[0]) for other in others]
    assert sum(passed) == 4
    assert buy(here, principal="bot") == ["over_budget"]
    assert paper.count_requests(tmp_path / "paper-main.db") == 5


# -------------------------------------------------------------------------------------------------- explain, owners


def test_what_was_decided_on_a_past_is_explained_on_that_past(gate: Gate, venue: Venue, clock: Wall) -> None:
    setup = rules(
        order_rate={"orders": 5, "seconds": 60},
        duplicate_order={"seconds": 5},
        daily_limits={"orders": 4, "spend": "100", "loss": "50", "total_loss": "50", "zone": "Europe/Berlin"},
        cooldown={"loss": "1", "minutes": 1, "scope": "market"},
        drawdown={"fall": "0.5", "since": "2026-11-01"},
        budget={"principals": {"bot": "90"}},
        max_notional={"usd": "80", "symbols": {"ETH-USD": "70"}},
        price_collar={},
        symbol_list={"deny": ["*-USDT"]},
        max_open_orders={"orders": 3},
    )
    setup["tables"]["rules"]["budget"] |= {"owner": "risk desk", "reason": "a week's income"}
    executor = gate(**setup)
    for number, spend in enumerate(["40", "40", "15", "5"]):
        executor.submit(Order.buy("BTC-USD", spend=spend, principal="bot", client_order_id=f"b{number}"))
        clock.moment += 10
    move(venue, executor, "BTC-USD", "62033.38")
    executor.submit(Order.sell("BTC-USD", amount="0.001"))
    executor.submit(Order.buy("BTC-USD", spend="1", principal="bot", client_order_id="b4"))
    clock.moment += 5 * DAY

    again = gate(**setup)
    assert [again.explain(f"b{number}").same for number in range(5)] == [True] * 5
    explained = again.explain("b4")
    (owned,) = [verdict for verdict in explained.decision.verdicts if verdict.rule == "budget"]
    assert (owned.owner, owned.reason) == ("risk desk", "a week's income")
    last = [verdict.code for verdict in explained.decision.refusals]
    assert last == ["cooling_down"]


def test_the_past_of_one_account_is_not_that_of_another(gate: Gate, clock: Wall) -> None:
    executor = gate(**rules(daily_limits={"orders": 1}), accounts={"second": {"cash": "100"}})
    assert buy(executor, account="main") == []
    assert buy(executor, account="main") == ["too_many_today"]
    assert buy(executor, account="second") == []


def test_reservations_fold_from_the_journal_as_the_ledger_keeps_them(gate: Gate, venue: Venue, clock: Wall) -> None:
    executor = gate(rules=("min_position",))
    client = venue(executor)
    executor.submit(Order.buy("BTC-USD", spend="20"))
    executor.submit(Order.buy("BTC-USD", amount="0.002", limit="60000"))
    paper.set_price(client, "BTC-USD", "60000", liquidity="0.0005")
    executor.reconcile("main")
    paper.set_fault(client, paper.Fault.NO_ANSWER_AFTER)
    executor.submit(Order.buy("ETH-USD", spend="20"))
    clock.moment += 1

    for _ in range(3):
        ledger = executor.desk.ledger()
        past = Past()
        for entry in ledger.entries("main"):
            past.take(entry)
        kept = {one.client_order_id: one for one in ledger.state("main").reservations}
        assert {one.client_order_id: one for one in past.reservations()} == kept
        assert kept
        clock.moment += 1
        executor.submit(Order.buy("SOL-USD", spend="20"))
