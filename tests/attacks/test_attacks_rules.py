"""Rules that misbehave while they judge: whatever they answer or do, no buy passes that the others did not approve."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from decimal import Decimal
from itertools import permutations

import pytest

import ordergate_paper as paper
from ordergate import ConfigError, Decision, Executor, Order, OrderStatus
from ordergate.settings import DEFAULT_TIERS

Gate = Callable[..., Executor]
Requests = Callable[[], int]
Rule = Callable[..., str]

BUY = Order.buy("BTC-USD", spend="60")
QUICK = {"rule_budget": 0.2}


def refusing(decision: Decision) -> set[str]:
    return {verdict.rule for verdict in decision.refusals}


def codes(decision: Decision) -> dict[str, str]:
    return {verdict.rule: verdict.code for verdict in decision.refusals}


def calls_still_running() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "ordergate-call"}


def closed_by(executor: Executor, account: str = "main") -> str:
    """Why the account is exits only; empty while it is active."""
    told = executor.status()["accounts"][account]
    return str(told["why"]) if told["trading"] == "exits_only" else ""


# ----------------------------------------------------------------------------------------------------------- B01, B02


def test_b01_no_rules_approve_nothing(gate: Gate, requests: Requests) -> None:
    executor = gate(rules=(), positions={"ETH-USD": "0.01"})
    with pytest.raises(ConfigError, match="no rule is active"):
        executor.submit(BUY)
    with pytest.raises(ConfigError, match="no rule is active"):
        executor.check(BUY)
    assert requests() == 0
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED


def test_b01_no_rules_left_because_none_could_be_admitted(gate: Gate, requests: Requests) -> None:
    decision = gate(rules=("nobody_made_this_rule",)).submit(BUY)
    assert codes(decision)["gate.state"] == "plugin_missing"
    assert "No rule is active" in decision.message
    assert requests() == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("raise ValueError('odd')", "rule_failed"),
        ("return None", "bad_verdict"),
        ("pass", "bad_verdict"),
        ("return True", "bad_verdict"),
        ("return 1", "bad_verdict"),
        ("return 'ok'", "bad_verdict"),
        ("return [Verdict.approve()]", "bad_verdict"),
        ("return Verdict", "bad_verdict"),
        ("return Verdict.approve", "bad_verdict"),
        ("return NotImplemented", "bad_verdict"),
        ("from unittest.mock import MagicMock\nreturn MagicMock()", "bad_verdict"),
        ("from unittest.mock import MagicMock\nreturn MagicMock(spec=Verdict, approved=True)", "bad_verdict"),
        ("return type('Mine', (Verdict,), {})(approved=True, code='approved', message='')", "bad_verdict"),
        ("return Verdict(approved=1, code='approved', message='')", "bad_verdict"),
        ("return Verdict(approved='yes', code='approved', message='')", "bad_verdict"),
        ("return Verdict(approved=None, code='approved', message='')", "bad_verdict"),
        ("return Verdict(approved=True, code=None, message='')", "bad_verdict"),
        ("return Verdict(approved=True, code='approved', message=b'')", "bad_verdict"),
        ("return Verdict.approve(observed='many')", "bad_verdict"),
        ("return Verdict.approve(limit=object())", "bad_verdict"),
    ],
)
def test_b02_bad_verdict(gate: Gate, requests: Requests, rule: Rule, body: str, code: str) -> None:
    executor = gate(rules=("position_cap", rule("odd", body)))
    decision = executor.submit(BUY)
    assert (decision.status, codes(decision)) == (OrderStatus.REFUSED, {"odd": code})
    assert decision.smallest_passing is None
    assert requests() == 0


@pytest.mark.parametrize(
    "number", ["Decimal('NaN')", "Decimal('sNaN')", "Decimal('Infinity')", "Decimal('1E+999')", "1.5"]
)
def test_b02_bad_verdict_with_numbers_that_cannot_be_recorded(
    gate: Gate, requests: Requests, rule: Rule, number: str
) -> None:
    body = f"return Verdict.approve(observed={number})"
    decision = gate(rules=("position_cap", rule("odd", body, above="from decimal import Decimal"))).submit(BUY)
    assert (decision.status, codes(decision)) == (OrderStatus.REFUSED, {"odd": "bad_verdict"})
    assert requests() == 0


def test_b02_bad_verdict_in_the_name_of_another_rule(gate: Gate, requests: Requests, rule: Rule) -> None:
    """A verdict that says it is the cap's own does not speak for the cap, and the forger still counts as itself."""
    forged = "return Verdict(approved=True, code='approved', message='', rule='position_cap')"
    executor = gate(cash="100.00", positions={"ETH-USD": "0.01"}, rules=(rule("forger", forged), "position_cap"))
    decision = executor.submit(Order.buy("BTC-USD", spend="20"))
    assert refusing(decision) == {"position_cap"}
    assert [verdict.rule for verdict in decision.verdicts][-2:] == ["forger", "position_cap"]
    assert requests() == 0


def test_b02_bad_verdict_whose_words_cannot_be_shown(gate: Gate, requests: Requests, rule: Rule) -> None:
    body = """
    class Unspeakable(Exception):
        def __str__(self):
            raise SystemExit(3)
    raise Unspeakable
    """
    decision = gate(rules=("position_cap", rule("odd", body))).submit(BUY)
    assert codes(decision) == {"odd": "rule_failed"}
    assert requests() == 0


# ---------------------------------------------------------------------------------------------------------- B03, B04

HANGS = "sys.modules[__name__].never.wait()\nreturn Verdict.approve()"
NEVER = "import sys, threading\nnever = threading.Event()"


@pytest.fixture
def hanging(rule: Rule) -> Callable[[], str]:
    """Installs a rule that waits for an event nobody sets while the test runs."""
    return lambda: rule("hangs", HANGS, above=NEVER)


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    """After each test, what waits is let go, so that no thread outlives it."""
    yield
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        never = getattr(sys.modules[name], "never", None)
        if never is not None:
            never.set()


def test_b03_hanging_rule_is_refused_and_closes_the_account(
    gate: Gate, requests: Requests, hanging: Callable[[], str]
) -> None:
    executor = gate(rules=("position_cap", hanging()), settings=QUICK, positions={"ETH-USD": "0.01"})
    decision = executor.submit(BUY)
    assert codes(decision)["hangs"] == "rule_overran"
    assert "hangs" in closed_by(executor)
    assert requests() == 0
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED


def test_b03_hanging_rule_leaves_the_other_rules_their_say(
    gate: Gate, requests: Requests, hanging: Callable[[], str]
) -> None:
    executor = gate(rules=(hanging(), "position_cap", "min_position"), settings=QUICK)
    decision = executor.submit(Order.buy("BTC-USD", spend="3"))
    named = {verdict.rule: verdict.code for verdict in decision.verdicts}
    assert (named["position_cap"], named["min_position"]) == ("approved", "under_minimum")
    assert requests() == 0


def test_b03_hanging_rule_leaves_one_thread_and_no_second(gate: Gate, hanging: Callable[[], str]) -> None:
    executor = gate(rules=("position_cap", hanging()), settings=QUICK)
    before = calls_still_running()
    executor.submit(BUY)
    assert len(calls_still_running() - before) == 1
    for _ in range(3):
        assert codes(executor.submit(BUY))["hangs"] == "rule_overran"
    assert len(calls_still_running() - before) == 1


def test_b03_hanging_rule_is_not_asked_again_after_a_resume(
    gate: Gate, requests: Requests, hanging: Callable[[], str]
) -> None:
    executor = gate(rules=("position_cap", hanging()), settings=QUICK)
    executor.submit(BUY)
    before = calls_still_running()
    executor.resume(by="ann", reason="to see whether it hangs again", account="main")
    assert codes(executor.submit(BUY))["hangs"] == "rule_overran"
    assert calls_still_running() <= before
    assert requests() == 0


def test_b03_hanging_rule_and_the_band_of_sizes(gate: Gate, hanging: Callable[[], str]) -> None:
    """Asking for the limits is answered too: no size passes, and who is to blame."""
    limits = gate(rules=("position_cap", hanging()), settings=QUICK).limits("BTC-USD")
    assert limits.band is None
    assert {verdict.rule for verdict in limits.judgement.verdicts if not verdict.approved} == {"hangs"}


def test_b03_hanging_rule_that_hangs_for_other_sizes_than_the_one_asked(
    gate: Gate, requests: Requests, rule: Rule
) -> None:
    """It answers the order and hangs while the smallest that passes is looked for: one thread is lost, not one each."""
    body = "if order.size > 100:\n    sys.modules[__name__].never.wait()\nreturn Verdict.approve()"
    executor = gate(rules=("min_position", rule("hangs", body, above=NEVER)), settings=QUICK)
    before = calls_still_running()
    for _ in range(4):
        decision = executor.submit(Order.buy("BTC-USD", spend="3"))
        assert codes(decision)["min_position"] == "under_minimum"
        assert decision.smallest_passing is None
    assert len(calls_still_running() - before) <= 1
    assert requests() == 0


def test_b03_hanging_rule_on_a_check_closes_the_account_too(
    gate: Gate, requests: Requests, hanging: Callable[[], str]
) -> None:
    executor = gate(rules=("position_cap", hanging()), settings=QUICK)
    assert codes(executor.check(BUY))["hangs"] == "rule_overran"
    assert closed_by(executor)
    assert requests() == 0


def test_b03_hanging_rule_does_not_hold_up_other_accounts_or_gates(
    gate: Gate, requests: Requests, hanging: Callable[[], str]
) -> None:
    gate(rules=("position_cap", hanging()), settings=QUICK).submit(BUY)
    other = gate(rules=("position_cap",), accounts={"side": {"cash": "1000.00"}})
    assert other.submit(Order.buy("BTC-USD", spend="60", account="side")).status is OrderStatus.FILLED
    assert requests() == 1


@pytest.mark.parametrize(
    "body",
    [
        "import sys\nsys.exit(0)",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "raise BaseException('all of it')",
        "raise type('Mine', (BaseException,), {})()",
        "import _thread\n_thread.exit()",
        "raise StopIteration(Verdict.approve())",
        "return validate_order(order)",
    ],
)
def test_b04_dying_rule(gate: Gate, requests: Requests, rule: Rule, body: str) -> None:
    executor = gate(rules=("position_cap", rule("dies", body)))
    for _ in range(2):
        assert codes(executor.submit(BUY)) == {"dies": "rule_failed"}
    assert requests() == 0


# ---------------------------------------------------------------------------------------------------------------- B05


@pytest.fixture(autouse=True)
def _own_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test meddles with copies of what the process shares: the default tiers, and the venues' profiles."""
    monkeypatch.setattr("ordergate.config.DEFAULT_TIERS", deepcopy(DEFAULT_TIERS))
    monkeypatch.setattr(paper, "_PROFILES", deepcopy(paper._PROFILES))


MEDDLERS = {
    "the size": "object.__setattr__(order, 'size', Decimal(10) ** 6)",
    "the symbol": "object.__setattr__(order, 'symbol', 'ETH-USD')",
    "the spend": "object.__setattr__(order, 'spend', Decimal(900))",
    "the equity": "object.__setattr__(account, 'equity', Decimal(10) ** 6)",
    "the positions": "object.__setattr__(account, 'positions', {})",
    "the market": "object.__setattr__(market, 'min_spend', Decimal(0))",
    "the price": "object.__setattr__(market.price, 'ask', Decimal(1))",
    "the tier": "object.__setattr__(tier, 'max_positions', 99)",
    "the fee threshold": "object.__setattr__(broker.fee_threshold, 'value', Decimal(0))",
    "the profile": "object.__setattr__(broker, 'venue', 'elsewhere')",
}


@pytest.mark.parametrize("what", MEDDLERS)
def test_b05_meddling_rule_changes_what_it_was_given(gate: Gate, requests: Requests, rule: Rule, what: str) -> None:
    """Changing a frozen value is noticed: the buy is refused, and the account closed until a person looked."""
    name = rule(
        "meddles",
        f"{MEDDLERS[what]}\nreturn Verdict.approve()",
        takes="order, account, market, tier, broker",
        above="from decimal import Decimal",
    )
    executor = gate(rules=(name, "position_cap"), positions={"ETH-USD": "0.01"})
    decision = executor.submit(BUY)
    assert codes(decision)["gate.state"] in ("rule_meddled", "exits_only")
    assert "changed what it was given" in closed_by(executor)
    assert requests() == 0
    rows = [entry.kind for entry in executor.desk.ledger().entries("main")]
    assert sorted(rows) == ["alarm", "bound", "decision", "trading"]  # closed once, and the refusal is recorded


@pytest.mark.parametrize(
    ("mapping", "field"), [("positions", "value"), ("holdings", "value"), ("holdings", "sellable")]
)
def test_b05_meddling_rule_changes_a_position_for_nobody_but_itself(
    gate: Gate, requests: Requests, rule: Rule, mapping: str, field: str
) -> None:
    body = f"object.__setattr__(account.{mapping}['ETH'], '{field}', Decimal(10) ** 6)\nreturn Verdict.approve()"
    name = rule("meddles", body, takes="account", above="from decimal import Decimal")
    executor = gate(cash="100.00", rules=(name, "average_position"), positions={"ETH-USD": "0.01"}, fee_threshold="20")
    decision = executor.submit(Order.buy("BTC-USD", spend="12", client_order_id="one"))
    verdict = next(verdict for verdict in decision.verdicts if verdict.rule == "average_position")
    assert (verdict.code, verdict.observed) == ("low_average", Decimal("23.50"))  # (35 + 12) / 2
    recorded = executor.explain("one").decision
    assert recorded.facts is not None
    assert [held.value for held in recorded.facts.positions] == [35]
    assert requests() == 0


def test_b05_meddling_rule_cannot_lower_the_threshold_for_those_after_it(
    gate: Gate, requests: Requests, rule: Rule
) -> None:
    body = "object.__setattr__(broker.fee_threshold, 'value', Decimal(0))\nreturn Verdict.approve()"
    name = rule("meddles", body, takes="broker", above="from decimal import Decimal")
    executor = gate(rules=(name, "average_position"), cash="100.00", venue="kraken")
    decision = executor.submit(Order.buy("BTC-USD", spend="12"))  # under 1.5 times Kraken's 10
    assert decision.status is OrderStatus.REFUSED
    assert requests() == 0


LASTING = {
    "tier": ("position_cap", "object.__setattr__(tier, 'max_positions', 99)", Decimal(5)),
    "broker": ("average_position", "object.__setattr__(broker.fee_threshold, 'value', Decimal(0))", Decimal("7.5")),
}


@pytest.mark.parametrize("what", LASTING)
def test_b05_meddling_rule_leaves_nothing_behind_for_later_orders(gate: Gate, rule: Rule, what: str) -> None:
    """It meddles once and then behaves: after a person resumed, orders are judged by the true numbers again."""
    victim, change, limit = LASTING[what]
    body = f"if not done:\n    done.append(1)\n    {change}\nreturn Verdict.approve()"
    name = rule("meddles", body, takes="order, tier, broker", above="from decimal import Decimal\ndone = []")
    executor = gate(rules=(victim, name))
    executor.check(BUY)
    executor.resume(by="ann", reason="the rule has been mended", account="main")
    decision = executor.check(BUY)
    assert next(verdict.limit for verdict in decision.verdicts if verdict.rule == victim) == limit


EVIL = """
class Evil:
    __hash__ = None
    def __eq__(self, other):
        raise SystemExit(3)
    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__
    def __add__(self, other):
        raise SystemExit(3)
    __radd__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __add__
"""


@pytest.mark.parametrize(
    "planted",
    [
        "(order, 'size')",
        "(market, 'min_spend')",
        "(market.price, 'ask')",
        "(account, 'equity')",
        "(tier, 'min_position')",
    ],
)
def test_b05_meddling_rule_that_plants_what_cannot_be_compared(
    gate: Gate, requests: Requests, rule: Rule, planted: str
) -> None:
    """Looking whether something was changed must not itself run what was planted there."""
    body = f"object.__setattr__(*{planted}, Evil())\nreturn Verdict.approve()"
    name = rule("plants", body, takes="order, account, market, tier", above=EVIL)
    executor = gate(rules=(name, "position_cap"))
    assert executor.submit(BUY).status is OrderStatus.REFUSED
    assert "changed what it was given" in closed_by(executor)
    assert requests() == 0


@pytest.mark.parametrize(
    "planted", ["order, 'size'", "account.positions['ETH'], 'value'", "broker.fee_threshold, 'value'"]
)
def test_b05_meddling_rule_that_plants_what_cannot_be_recorded(
    gate: Gate, requests: Requests, rule: Rule, planted: str
) -> None:
    """The refusal is recorded with the numbers that were true, not with those the rule put in their place."""
    body = f"object.__setattr__({planted}, Decimal('NaN'))\nreturn Verdict.approve()"
    name = rule("plants", body, takes="order, account, broker", above="from decimal import Decimal")
    executor = gate(cash="100.00", rules=(name, "position_cap"), positions={"ETH-USD": "0.01"})
    order = Order.buy("BTC-USD", spend="60", client_order_id="planted")
    assert executor.submit(order).status is OrderStatus.REFUSED  # by the cap, where what was changed is a copy
    recorded = executor.explain("planted").decision
    assert recorded.purchase is not None
    assert recorded.purchase.size == 60
    assert recorded.facts is not None
    assert [held.value for held in recorded.facts.positions] == [35]
    assert recorded.fee_threshold is not None
    assert recorded.fee_threshold.value == 5
    assert requests() == 0


def test_b05_meddling_rule_cannot_write_into_the_mappings(gate: Gate, requests: Requests, rule: Rule) -> None:
    name = rule("meddles", "account.positions['BTC'] = None\nreturn Verdict.approve()", takes="account")
    assert codes(gate(rules=("position_cap", name)).submit(BUY)) == {"meddles": "rule_failed"}
    assert requests() == 0


def test_b05_meddling_rule_empties_the_positions(gate: Gate, requests: Requests, rule: Rule) -> None:
    """Emptied behind the mapping's back: the cap, asked after it, would count no position and let another one in."""
    body = "object.__setattr__(account.positions, '_positions', {})\nreturn Verdict.approve()"
    name = rule("empties", body, takes="account")
    executor = gate(rules=(name, "position_cap"), cash="100.00", positions={"ETH-USD": "0.01"})
    decision = executor.submit(BUY)
    refused = codes(decision)
    assert (refused["gate.state"], refused["empties"]) == ("rule_meddled", "rule_meddled")
    cap = next(verdict for verdict in decision.verdicts if verdict.rule == "position_cap")
    assert cap.approved is False, "it is asked about the positions that there are"
    assert "changed what it was given" in closed_by(executor)
    assert requests() == 0


def test_b05_meddling_rule_that_keeps_references_finds_them_dead(gate: Gate, rule: Rule) -> None:
    """What it kept from the first order and changes during the second is not what the second is judged or sent by."""
    body = """
    for old in kept:
        object.__setattr__(old, 'size', Decimal(1))
        object.__setattr__(old, 'spend', Decimal(1))
    kept.append(order)
    return Verdict.approve()
    """
    name = rule("keeps", body, above="from decimal import Decimal\nkept = []")
    executor = gate(rules=(name, "position_cap"))
    for spend in ("60", "70"):
        decision = executor.submit(Order.buy("BTC-USD", spend=spend))
        assert decision.status is OrderStatus.FILLED
        assert decision.venue_order is not None
        assert decision.venue_order.spend == Decimal(spend)


def test_b05_meddling_rule_that_replaces_another_rules_function(gate: Gate, requests: Requests, rule: Rule) -> None:
    """The functions that are called were taken at admission; what stands in the module later does not exist."""
    above = "import ordergate_rules.position_cap as victim"
    body = "victim.validate_order = lambda order: Verdict.approve()\nreturn Verdict.approve()"
    import ordergate_rules.position_cap as victim

    original = victim.validate_order
    try:
        executor = gate(
            cash="100.00",
            positions={"ETH-USD": "0.01"},
            rules=(rule("meddles", body, above=above), "position_cap"),
        )
        for _ in range(2):
            assert "position_cap" in refusing(executor.submit(Order.buy("BTC-USD", spend="20")))
    finally:
        victim.validate_order = original
    assert requests() == 0


def test_b05_meddling_rule_that_replaces_the_executor_class(gate: Gate, requests: Requests, rule: Rule) -> None:
    import ordergate.executor

    original = ordergate.executor.Executor
    body = "ordergate.executor.Executor = None\nreturn Verdict.approve()"
    executor = gate(
        cash="100.00",
        positions={"ETH-USD": "0.01"},
        rules=(rule("meddles", body, above="import ordergate.executor"), "position_cap"),
    )
    try:
        for _ in range(2):
            assert refusing(executor.submit(Order.buy("BTC-USD", spend="20"))) == {"position_cap"}
    finally:
        ordergate.executor.Executor = original  # type: ignore[misc]  # puts back what the rule took away
    assert requests() == 0


def test_b05_meddling_rule_that_registers_and_unregisters(gate: Gate, requests: Requests, rule: Rule) -> None:
    """There is no shared plugin manager to register with, and none from which a rule could be taken out."""
    body = """
    import gc
    managers = [each for each in gc.get_objects() if isinstance(each, pluggy.PluginManager)]
    for manager in [each for each in managers if each.project_name == 'ordergate']:
        for plugin in list(manager.get_plugins()):
            manager.unregister(plugin)
    return Verdict.approve()
    """
    executor = gate(
        cash="100.00",
        positions={"ETH-USD": "0.01"},
        rules=(rule("meddles", body, above="import pluggy"), "position_cap"),
        settings={"rule_budget": 10},
    )
    for _ in range(2):
        assert refusing(executor.submit(Order.buy("BTC-USD", spend="20"))) == {"position_cap"}
    assert requests() == 0


def test_b05_meddling_rule_gets_no_client_no_key_and_no_executor(gate: Gate, rule: Rule) -> None:
    """Everything a rule can ask for, walked through: values only."""
    takes = "order, market, account, tier, broker, history, settings"
    body = """
    seen.extend([order, market, account, tier, broker, history, settings])
    return Verdict.approve()
    """
    executor = gate(rules=("position_cap", rule("looks", body, takes=takes, above="seen = []")))
    assert executor.submit(BUY).approved
    import fake_looks  # type: ignore[import-not-found]  # installed by this test

    modules = {type(value).__module__ for value in fake_looks.seen}
    assert modules == {"ordergate.models", "builtins"}  # the settings of a rule without any are None
    assert fake_looks.seen[-1] is None


# --------------------------------------------------------------------------------------------------------- B06 to B12


@pytest.mark.parametrize(
    ("above", "name", "code"),
    [
        ("", "missing_rule", "plugin_missing"),
        ("import a_module_that_is_not_there", "broken", "plugin_import_failed"),
        ("from ordergate import NoSuchName", "older", "plugin_import_failed"),
    ],
)
def test_b06_missing_rule_starts_exits_only_and_says_what_to_do(
    gate: Gate, requests: Requests, rule: Rule, above: str, name: str, code: str
) -> None:
    if above:
        rule(name, "return Verdict.approve()", above=above)
    executor = gate(rules=("position_cap", name), positions={"ETH-USD": "0.01"})
    decision = executor.submit(BUY)
    assert codes(decision) == {"gate.state": code}
    assert executor.status()["trading"] == "exits_only"
    assert name in decision.message
    assert decision.smallest_passing is None
    assert requests() == 0
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED


def test_b08_not_allow_listed_is_never_imported(gate: Gate, rule: Rule) -> None:
    rule("uninvited", "return Verdict.approve()", above="raise RuntimeError('imported')")
    assert gate(rules=("position_cap",)).submit(BUY).status is OrderStatus.FILLED
    assert "fake_uninvited" not in sys.modules


def test_b11_order_free_whatever_the_permutation(gate: Gate, requests: Requests, rule: Rule) -> None:
    """Four rules, one of which crashes and one answers nonsense: 24 orders of asking, one set of reasons."""
    names = ("position_cap", "min_position", rule("crashes", "raise OSError"), rule("nonsense", "return 7"))
    reasons = set()
    for order in permutations(names):
        decision = gate(rules=order, cash="1000.00").check(Order.buy("BTC-USD", spend="3"))
        reasons.add(frozenset((verdict.rule, verdict.code, verdict.message) for verdict in decision.verdicts))
        assert [verdict.rule for verdict in decision.verdicts][-4:] == list(order)
    assert len(reasons) == 1
    assert requests() == 0


def test_b12_disable_rule_by_changing_the_running_gate(gate: Gate, requests: Requests) -> None:
    """The set of rules is frozen when the gate is built: neither its config nor its panel can be made smaller."""
    executor = gate()
    tampered = (
        (executor.config, "gate"),
        (executor.config.gate, "rules"),
        (executor.setup, "panel"),
        (executor.setup.panel.rules[0], "validate"),
    )
    for holder, field in tampered:
        with pytest.raises(AttributeError):
            setattr(holder, field, ())
    assert len(refusing(executor.submit(Order.buy("BTC-USD", spend="3")))) == 3
    assert requests() == 0


@pytest.mark.parametrize("name", ["ORDERGATE_RULES", "ORDERGATE_DISABLE", "ORDERGATE_GATE_RULES", "ORDERGATE_BYPASS"])
def test_b12_disable_rule_by_environment(
    gate: Gate, requests: Requests, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for value in ("", "0", "position_cap", "all"):
        monkeypatch.setenv(name, value)
        assert "min_position" in refusing(gate().submit(Order.buy("BTC-USD", spend="3")))
    assert requests() == 0


@pytest.mark.parametrize(
    ("settings", "tables"),
    [
        ({"disabled": ["min_position"]}, {}),
        ({"enforce": False}, {}),
        ({"dry_run": True}, {}),
        ({}, {"rules": {"min_position": {"enabled": False}}}),
        ({}, {"rules": {"dust": {"exit_buffer": "-5"}}}),
        ({}, {"rules": {"average_position": {"multiple": "0"}}}),
        ({}, {"rules": {"min_position": "off"}}),
        ({}, {"bypass": True}),
    ],
)
def test_b12_disable_rule_by_a_key_of_the_config(
    gate: Gate, requests: Requests, settings: dict[str, object], tables: dict[str, object]
) -> None:
    executor = gate(settings=settings, tables=tables, positions={"ETH-USD": "0.01"})
    with pytest.raises(ConfigError):
        executor.submit(BUY)
    assert requests() == 0
    assert executor.submit(Order.sell("ETH-USD", all=True)).status is OrderStatus.FILLED


def test_b12_disable_rule_by_loosening_the_brokers_threshold(gate: Gate, requests: Requests) -> None:
    with pytest.raises(ConfigError, match="only tighten"):
        gate(fee_threshold="4.99").submit(BUY)
    assert requests() == 0
