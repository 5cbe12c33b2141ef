"""What the checks that this began as got wrong, each tried on the gate that took their place."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from inspect import signature

import pytest

import ordergate_paper as paper
from ordergate import Decision, Executor, InputError, Order, OrderStatus

Gate = Callable[..., Executor]
Requests = Callable[[], int]
Rule = Callable[..., str]


def refusing(decision: Decision) -> set[str]:
    return {verdict.rule for verdict in decision.refusals}


def test_s01_wrong_venue_threshold_each_account_has_its_own(gate: Gate, requests: Requests) -> None:
    """12 USD passes Coinbase's 7.50 and not Kraken's 15.00, whichever account was asked first."""
    kraken = {"venue": "kraken", "cash": "100.00"}
    executor = gate(cash="100.00", accounts={"other": kraken})
    for first, second in (("main", "other"), ("other", "main")):
        answers = {
            name: executor.check(Order.buy("BTC-USD", spend="12", account=name)) for name in (first, second, first)
        }
        assert refusing(answers["main"]) == set()
        assert refusing(answers["other"]) == {"average_position"}
        limits = {
            name: next(verdict.limit for verdict in answer.verdicts if verdict.rule == "average_position")
            for name, answer in answers.items()
        }
        assert limits == {"main": Decimal("7.50"), "other": Decimal("15.00")}
    executor.submit(Order.buy("BTC-USD", spend="12", account="other"))
    assert requests() == 0


def test_s02_forced_buy_cannot_be_written(gate: Gate, requests: Requests) -> None:
    executor = gate(cash="0.01")
    with pytest.raises(InputError, match="sells only"):
        Order.buy("BTC-USD", spend="1000000000", force_liquidate=True, reason="now")
    forged = Order.buy("BTC-USD", spend="1000000000")
    object.__setattr__(forged, "force_liquidate", True)
    object.__setattr__(forged, "reason", "now")
    with pytest.raises(InputError, match="force_liquidate"):
        executor.submit(forged)
    assert requests() == 0


@pytest.mark.parametrize(
    "side", ["LONG", "BUY_TO_OPEN", " buy", "short", "", "BUY", "Buy", "buy\n", None, True, ["buy"]]
)
def test_s03_unknown_side_is_an_error(gate: Gate, requests: Requests, side: object) -> None:
    executor = gate()
    with pytest.raises(InputError, match="side"):
        Order.from_mapping({"symbol": "BTC-USD", "side": side, "spend": "60"})
    forged = Order.buy("BTC-USD", spend="60")
    object.__setattr__(forged, "side", side)
    with pytest.raises(InputError, match="side"):
        executor.submit(forged)
    assert requests() == 0


@pytest.mark.parametrize(
    "above", ["import a_module_that_is_not_there", "raise RuntimeError('while being built')", "1 +"]
)
def test_s04_import_error_opens_nothing_and_status_says_so(
    gate: Gate, requests: Requests, rule: Rule, above: str
) -> None:
    executor = gate(rules=("position_cap", rule("broken", "return Verdict.approve()", above=above)))
    decision = executor.submit(Order.buy("BTC-USD", spend="60"))
    assert (decision.status, "gate.state" in refusing(decision)) == (OrderStatus.REFUSED, True)
    assert "broken" in decision.message
    status = executor.status()
    assert status["trading"] == "exits_only"
    assert [refused["code"] for refused in status["plugins_refused"]] == ["plugin_import_failed"]
    assert requests() == 0


def test_s05_first_caller_wins_nothing(gate: Gate, requests: Requests) -> None:
    """A gate with one rule, built and used first, leaves the next one in the same process as strict as ever."""
    lax = gate(rules=("position_cap",), accounts={"side": {"cash": "1000.00"}})
    assert lax.check(Order.buy("BTC-USD", spend="2", account="side")).approved
    strict = gate(accounts={"side": {"cash": "1000.00"}})
    decision = strict.submit(Order.buy("BTC-USD", spend="2", account="side"))
    assert {"min_allocation", "min_position", "average_position"} <= refusing(decision)
    assert requests() == 0


@pytest.mark.parametrize(
    "size", ["NaN", "sNaN", "Infinity", "-Infinity", Decimal("NaN"), Decimal("Infinity"), float("nan")]
)
def test_s06_nan_and_infinite_sizes(gate: Gate, requests: Requests, size: object) -> None:
    executor = gate(cash="60.00")
    with pytest.raises(InputError, match="spend"):
        Order.from_mapping({"symbol": "BTC-USD", "side": "buy", "spend": size})
    forged = Order.buy("BTC-USD", spend="60")
    object.__setattr__(forged, "spend", size)
    with pytest.raises(InputError, match="spend"):
        executor.submit(forged)
    assert requests() == 0


def test_s07_scale_in_opens_no_position(gate: Gate, requests: Requests) -> None:
    executor = gate(cash="100.00", positions={"ETH-USD": "0.0100"})
    assert executor.submit(Order.buy("ETH-USD", spend="20")).status is OrderStatus.FILLED
    assert refusing(executor.submit(Order.buy("BTC-USD", spend="20"))) == {"position_cap"}
    assert requests() == 1


def test_s08_dust_fills_no_cap(gate: Gate) -> None:
    crumbs = {"ETH-USD": "0.00000571", "SOL-USD": "0.00013333", "BTC-USD": "0.00000029"}  # 0.02 USD each
    decision = gate(cash="300.00", positions=crumbs).submit(Order.buy("BTC-USD", spend="60"))
    assert decision.status is OrderStatus.FILLED
    assert decision.facts is not None
    assert not decision.facts.positions


@pytest.mark.parametrize(("dust", "passes"), [("1", False), ("40", True)])
def test_s09_ignored_setting_the_dust_threshold_moves_facts_and_rule(gate: Gate, dust: str, passes: bool) -> None:
    executor = gate(cash="100.00", positions={"ETH-USD": "0.0100"}, settings={"dust": dust})  # 35 USD of ETH
    large = executor.check(Order.buy("BTC-USD", spend="41"))
    small = executor.check(Order.buy("BTC-USD", spend="39.99"))
    assert ("position_cap" not in refusing(large)) is passes
    assert ("dust" in refusing(small)) is passes


def test_s10_two_threads_pass_a_cap_of_one_once(gate: Gate, requests: Requests) -> None:
    executor = gate(cash="200.00")
    orders = [Order.buy(symbol, spend="50") for symbol in PAIRS * 4]
    with ThreadPoolExecutor(len(orders)) as pool:
        decisions = list(pool.map(executor.submit, orders))
    sent = {decision.order.symbol for decision in decisions if decision.approved}
    assert len(sent) == 1
    assert requests() == sum(decision.approved for decision in decisions)


PAIRS = ["BTC-USD", "ETH-USD", "SOL-USD"]


@pytest.mark.parametrize("spend", ["1000000000", "240.01"])
def test_s11_no_funds(gate: Gate, requests: Requests, spend: str) -> None:
    decision = gate(cash="240.00").submit(Order.buy("BTC-USD", spend=spend))
    assert refusing(decision) == {"gate.funds"} | ({"gate.market"} if spend == "1000000000" else set())
    assert decision.error == "HARDENING_ENFORCEMENT"
    assert requests() == 0


@pytest.mark.parametrize("cash", ["0", "0.01", "49.99"])
def test_s12_below_tiers_nothing_is_bought(gate: Gate, requests: Requests, cash: str) -> None:
    decision = gate(cash=cash).submit(Order.buy("BTC-USD", spend="10"))
    assert "gate.tier" in refusing(decision)
    assert decision.smallest_passing is None
    assert decision.facts is not None
    assert decision.facts.tier is None
    assert requests() == 0


def test_s12_below_tiers_begins_exactly_at_fifty(gate: Gate) -> None:
    decision = gate(cash="50.00").check(Order.buy("BTC-USD", spend="10"))
    assert decision.approved
    assert decision.facts is not None
    assert decision.facts.tier == "STARTER"


def test_s13_averages_count_no_worthless_position(gate: Gate, requests: Requests) -> None:
    """Two dollars of ETH are a position and pull the average down; a cent's worth is none and does not."""
    held = gate(cash="300.00", positions={"ETH-USD": "0.00057143"}).submit(Order.buy("BTC-USD", spend="20"))
    assert held.approved  # (20 + 2) / 2 = 11 is above 7.50
    average = next(verdict for verdict in held.verdicts if verdict.rule == "average_position")
    assert average.observed == Decimal("11.00")
    assert requests() == 1


def test_s13_averages_of_positions_under_the_minimum_refuse(gate: Gate, requests: Requests) -> None:
    positions = {"ETH-USD": "0.00057143", "SOL-USD": "0.01333334"}  # 2 USD each
    decision = gate(cash="1100.00", positions=positions, fee_threshold="15").submit(Order.buy("BTC-USD", spend="60"))
    assert refusing(decision) == {"average_position"}  # (60 + 4) / 3 = 21.33 is under 22.50
    assert requests() == 0


def test_s14_callers_facts_have_no_way_in(gate: Gate, requests: Requests) -> None:
    executor = gate(cash="60.00", positions={"ETH-USD": "0.0100"})
    for field in ("balance", "equity", "positions", "cash", "facts", "tier", "price"):
        with pytest.raises(InputError, match="no such field"):
            Order.from_mapping({"symbol": "BTC-USD", "side": "buy", "spend": "20", field: "100000"})
    assert list(signature(Executor.submit).parameters) == ["self", "order"]
    assert "position_cap" in refusing(executor.submit(Order.buy("BTC-USD", spend="20")))
    assert requests() == 0


def test_s14_callers_facts_in_an_order_of_another_class(gate: Gate, requests: Requests) -> None:
    class Trusted(Order):
        equity = Decimal(10**9)

    with pytest.raises(InputError, match="order"):
        gate(cash="60.00").submit(Trusted.buy("BTC-USD", spend="20"))
    assert requests() == 0


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('broken')",
        "return order.size / 0",
        "raise AssertionError",
        "return order.nothing",
        "raise MemoryError",
    ],
)
def test_s15_crash_passes_nothing(gate: Gate, requests: Requests, rule: Rule, body: str) -> None:
    executor = gate(rules=("position_cap", rule("crashes", body)))
    decision = executor.submit(Order.buy("BTC-USD", spend="60"))
    assert (decision.status, refusing(decision)) == (OrderStatus.REFUSED, {"crashes"})
    assert decision.refusals[0].code == "rule_failed"
    assert requests() == 0


@pytest.mark.parametrize("fault", ["accounts_down", "prices_down", "stale_prices"])
def test_s15_crash_passes_nothing_when_the_venue_cannot_be_asked(gate: Gate, requests: Requests, fault: str) -> None:
    executor = gate()
    client = executor.setup.brokers["main"].client(5.0)
    paper.set_fault(client, fault, times=None)
    decision = executor.submit(Order.buy("BTC-USD", spend="60"))
    assert "gate.facts" in refusing(decision)
    assert requests() == 0
