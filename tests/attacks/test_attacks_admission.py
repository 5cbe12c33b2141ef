"""Plugins that must not be let in, each beside the five rules: no buy passes, nothing is sent, and exits still go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import asdict, evolve

from ordergate import ConfigError, Decision, Executor, Order, OrderStatus, __version__
from ordergate.pins import Pin, measure

Gate = Callable[..., Executor]
Install = Callable[..., Path]
Requests = Callable[[], int]
Rule = Callable[..., str]

FIVE = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
BUY = Order.buy("BTC-USD", spend="60")
TOO_SMALL = Order.buy("BTC-USD", spend="3")
SELL = Order.sell("ETH-USD", all=True)
HELD = {"ETH-USD": "0.01"}

# Every module says that it ran, also when it is thrown out of memory again.
HEAD = """\
import functools
from pathlib import Path
from ordergate import Verdict, hookimpl
Path(__file__).with_suffix(".ran").touch()

"""
APPROVES = "def validate_order(order):\n    return Verdict.approve()\n"
HOOK = "@hookimpl\n" + APPROVES


@pytest.fixture
def ran(tmp_path: Path) -> Callable[[], set[str]]:
    """The names of the fake modules whose code has run."""
    return lambda: {file.stem for file in tmp_path.rglob("*.ran")}


@pytest.fixture
def put(install: Install) -> Callable[..., Path]:
    """put(source) installs a rule called fake whose module begins with HEAD and goes on with the source."""

    def installed(source: str = HOOK, *, name: str = "fake", **how: object) -> Path:
        return install(**{"entries": {name: "fake_plugin"}, "modules": {"fake_plugin.py": HEAD + source}, **how})

    return installed


def codes(decision: Decision) -> dict[str, str]:
    return {verdict.rule: verdict.code for verdict in decision.refusals}


def approving(decision: Decision) -> set[str]:
    return {verdict.rule for verdict in decision.verdicts if verdict.approved}


def assert_shut(executor: Executor, requests: Requests, code: str, *named: str, good: tuple[str, ...] = FIVE) -> None:
    """A buy that all the good rules approve is refused, and nothing is sent; the sell that comes after it is."""
    for decision in (executor.check(BUY), executor.submit(BUY)):
        assert (decision.status, decision.error) == (OrderStatus.REFUSED, "HARDENING_ENFORCEMENT")
        assert codes(decision) == {"gate.state": code}, "the plugin alone is why"
        assert approving(decision) >= set(good)
        assert all(name in decision.refusals[0].message for name in named), decision.refusals[0].message
        assert decision.smallest_passing is None
    assert requests() == 0
    status = executor.status()
    assert (status["trading"], status["accounts"]["main"]["trading"]) == ("exits_only", "exits_only")
    assert [refused["code"] for refused in status["plugins_refused"]] == [code]
    assert executor.submit(SELL).status is OrderStatus.FILLED
    assert requests() == 1


def test_the_same_buy_passes_beside_a_rule_that_is_admitted(
    gate: Gate, requests: Requests, put: Install, ran: Callable[[], set[str]]
) -> None:
    """So what refuses it in the other tests is what they change, and nothing else."""
    put(record=True)
    executor = gate(rules=(*FIVE, "fake"), positions=HELD, tables=pinned(measure("ordergate-fake")))
    assert ran() == {"fake_plugin"}
    assert executor.status()["trading"] == "active"
    decision = executor.submit(BUY)
    assert (decision.status, codes(decision)) == (OrderStatus.FILLED, {})
    assert approving(decision) >= {*FIVE, "fake"}
    assert requests() == 1


# ------------------------------------------------------------------------------------------------------------ B01, B02


@pytest.mark.parametrize("source", ["", "@hookimpl\ndef validate_ordre(order):\n    pass\n", APPROVES])
def test_b01_no_rules_because_none_has_a_hook_to_call_and_all_of_nothing_is_true(
    gate: Gate, requests: Requests, put: Install, source: str
) -> None:
    """The one active rule has no function that could be called: nobody refuses, and that approves nothing."""
    put(source)
    decision = gate(rules=("fake",)).submit(BUY)
    assert (decision.status, codes(decision)) == (OrderStatus.REFUSED, {"gate.state": "plugin_malformed"})
    assert requests() == 0


def test_b02_bad_verdict_none_does_not_vanish_from_the_results(gate: Gate, requests: Requests, put: Install) -> None:
    put("@hookimpl\ndef validate_order(order):\n    return None\n")
    decision = gate(rules=(*FIVE, "fake")).submit(BUY)
    assert codes(decision) == {"fake": "bad_verdict"}
    assert approving(decision) >= set(FIVE)
    assert requests() == 0


# ----------------------------------------------------------------------------------------------------------------- B06


def test_b06_missing_rule_that_nobody_installed(gate: Gate, requests: Requests) -> None:
    executor = gate(rules=(*FIVE, "nobody_made_this"), positions=HELD)
    assert_shut(executor, requests, "plugin_missing", "nobody_made_this", "pip install")


@pytest.mark.parametrize("line", ["import fake_dependency", "from ordergate import SomethingNewer", "1 / 0", "exit(0)"])
def test_b06_missing_rule_whose_import_fails(gate: Gate, requests: Requests, put: Install, line: str) -> None:
    put(f"{line}\n{HOOK}")
    assert_shut(gate(rules=(*FIVE, "fake"), positions=HELD), requests, "plugin_import_failed", "ordergate-fake 1.0")


def test_b06_missing_rule_that_asks_for_an_argument_of_a_newer_ordergate(
    gate: Gate, requests: Requests, put: Install
) -> None:
    put(HOOK.replace("(order)", "(order, volatility)"))
    executor = gate(rules=(*FIVE, "fake"), positions=HELD)
    assert_shut(executor, requests, "plugin_malformed", "ordergate-fake 1.0", "needs a newer ordergate")


@pytest.mark.parametrize(
    ("source", "code"), [("1 / 0", "plugin_import_failed"), ("", "plugin_malformed"), (None, "plugin_missing")]
)
def test_b06_missing_observer_shuts_the_gate_as_well(
    gate: Gate, requests: Requests, put: Install, source: str | None, code: str
) -> None:
    if source is not None:
        put(source, group="ordergate.observers")
    assert_shut(gate(settings={"observers": ["fake"]}, positions=HELD), requests, code, "fake")


# ----------------------------------------------------------------------------------------------------------------- B07


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")], ids=" before ".join)
def test_b07_shadowing_two_distributions_one_name(
    gate: Gate, requests: Requests, install: Install, ran: Callable[[], set[str]], order: tuple[str, str]
) -> None:
    """The second of two equal names is not dropped: neither is loaded, whichever comes first on the path."""
    for which in reversed(order):
        modules = {f"fake_{which}.py": HEAD + HOOK}
        install(f"ordergate-{which}", entries={"fake": f"fake_{which}"}, modules=modules)
    executor = gate(rules=(*FIVE, "fake"), positions=HELD)
    assert_shut(executor, requests, "plugin_provided_twice", "ordergate-first 1.0", "ordergate-second 1.0")
    assert ran() == set()


@pytest.mark.parametrize("victim", FIVE)
def test_b07_shadowing_a_stranger_under_the_name_of_one_of_our_own_rules(
    gate: Gate, requests: Requests, put: Install, ran: Callable[[], set[str]], victim: str
) -> None:
    put(name=victim)
    executor = gate(positions=HELD)
    good = tuple(name for name in FIVE if name != victim)
    assert_shut(
        executor, requests, "plugin_provided_twice", "ordergate-fake 1.0", f"ordergate {__version__}", good=good
    )
    assert ran() == set()


@pytest.mark.parametrize("versions", [("1.0", "1.0"), ("1.0", "2.0"), ("2.0", "1.0")], ids="-".join)
def test_b07_shadowing_one_distribution_in_two_places(
    gate: Gate, requests: Requests, put: Install, ran: Callable[[], set[str]], versions: tuple[str, str]
) -> None:
    places = [put(version=version, site=f"site-{number}") for number, version in enumerate(versions)]
    executor = gate(rules=(*FIVE, "fake"), positions=HELD)
    assert_shut(executor, requests, "plugin_provided_twice", *(f"{place}/ordergate_fake" for place in places))
    assert ran() == set()


@pytest.mark.parametrize("with_pin", [True, False], ids=["pinned", "unpinned"])
def test_b07_shadowing_a_module_in_front_of_the_one_that_its_distribution_brings(
    gate: Gate, requests: Requests, put: Install, ran: Callable[[], set[str]], with_pin: bool
) -> None:
    put(record=True)
    tables = pinned(measure("ordergate-fake")) if with_pin else None
    put(distribution="ordergate-front", entries={})
    executor = gate(rules=(*FIVE, "fake"), positions=HELD, tables=tables)
    assert_shut(executor, requests, "plugin_shadowed", "ordergate-fake 1.0", "site-ordergate-front-1.0/fake_plugin.py")
    assert ran() == set()


# ----------------------------------------------------------------------------------------------------------------- B09


def pinned(pin: Pin, kind: str = "rules") -> dict[str, object]:
    return {"pins": {f"{kind}.fake": asdict(pin)}}


@pytest.mark.parametrize(
    "change",
    [{"version": "0.9"}, {"distribution": "ordergate-original"}, {"sha256": "0" * 64}],
    ids=lambda each: next(iter(each)),
)
def test_b09_pin_mismatch(
    gate: Gate, requests: Requests, put: Install, ran: Callable[[], set[str]], change: dict[str, str]
) -> None:
    put(record=True)
    pin = evolve(measure("ordergate-fake"), **change)
    executor = gate(rules=(*FIVE, "fake"), positions=HELD, tables=pinned(pin))
    assert_shut(executor, requests, "pin_mismatch", "ordergate-fake", *change.values())
    assert ran() == set()


def test_b09_pin_mismatch_of_a_file_that_was_edited_after_pinning(
    gate: Gate, requests: Requests, put: Install, ran: Callable[[], set[str]]
) -> None:
    folder = put(record=True)
    pin = measure("ordergate-fake")
    with (folder / "fake_plugin.py").open("a") as file:
        file.write("# edited\n")
    executor = gate(rules=(*FIVE, "fake"), positions=HELD, tables=pinned(pin))
    assert_shut(executor, requests, "pin_mismatch", "ordergate-fake 1.0", pin.sha256)
    assert ran() == set()


def test_b09_pin_mismatch_of_an_editable_install(
    gate: Gate, requests: Requests, put: Install, ran: Callable[[], set[str]]
) -> None:
    put(record=True, direct_url=json.dumps({"url": "file:///somewhere", "dir_info": {"editable": True}}))
    pin = Pin("ordergate-fake", "1.0", "0" * 64)
    executor = gate(rules=(*FIVE, "fake"), positions=HELD, tables=pinned(pin))
    assert_shut(executor, requests, "pin_editable", "ordergate-fake", "editable")
    assert ran() == set()


BROKER = """
from ordergate_paper import broker_profile, broker_settings, cancel_order, connect, find_order, get_account
from ordergate_paper import get_fees, get_market, get_permissions, get_prices, list_orders, place_order
"""


@pytest.mark.parametrize(
    ("change", "direct_url", "code"),
    [
        ({"version": "0.9"}, None, "pin_mismatch"),
        ({"distribution": "ordergate-original"}, None, "pin_mismatch"),
        ({"sha256": "0" * 64}, None, "pin_mismatch"),
        ({}, '{"dir_info": {"editable": true}}', "pin_editable"),
    ],
)
def test_b09_pin_mismatch_of_a_broker(
    gate: Gate,
    requests: Requests,
    put: Install,
    ran: Callable[[], set[str]],
    change: dict[str, str],
    direct_url: str | None,
    code: str,
) -> None:
    """Its own account cannot trade at all, as nobody may speak to its venue; the others are left with their exits."""
    put(BROKER, group="ordergate.brokers", record=True, direct_url=direct_url)
    pin = evolve(Pin("ordergate-fake", "1.0", "0" * 64) if direct_url else measure("ordergate-fake"), **change)
    executor = with_broker(gate, pin)
    for order in (BUY, SELL):
        with pytest.raises(ConfigError, match=code):
            executor.submit(evolve(order, account="other"))
    assert not executor.status()["accounts"]["other"]["usable"]
    assert requests() == 0
    main = {"account": "main"}
    decision = executor.submit(evolve(BUY, **main))
    assert codes(decision) == {"gate.state": code}
    assert "ordergate-fake" in decision.message
    assert requests() == 0
    assert executor.status()["trading"] == "exits_only"
    assert executor.submit(evolve(SELL, **main)).status is OrderStatus.FILLED
    assert requests() == 1
    assert ran() == set()


def test_b09_pin_that_holds_lets_the_same_broker_trade(
    gate: Gate, requests: Requests, put: Install, ran: Callable[[], set[str]]
) -> None:
    put(BROKER, group="ordergate.brokers", record=True)
    executor = with_broker(gate, measure("ordergate-fake"))
    assert executor.submit(evolve(BUY, account="other")).status is OrderStatus.FILLED
    assert requests() == 1
    assert ran() == {"fake_plugin"}


def with_broker(gate: Gate, pin: Pin) -> Executor:
    """Account main on the paper broker, and other, with the same book, on the one called fake."""
    book = {"cash": "1000.00", "positions": HELD, "prices": {"BTC-USD": "68925.98", "ETH-USD": "3500.00"}}
    accounts = {"main": {"broker": "paper", "paper": book}, "other": {"broker": "fake", "fake": book}}
    return gate(tables={"accounts": accounts, **pinned(pin, "brokers")})


# ----------------------------------------------------------------------------------------------------------------- B10

ABUSES = {
    "wrapper": "@hookimpl(wrapper=True)\ndef validate_order(order):\n    yield\n    return Verdict.approve()\n",
    "hookwrapper": "@hookimpl(hookwrapper=True)\n"
    "def validate_order(order):\n    (yield).force_result(Verdict.approve())\n",
    "wrapper beside a hook": HOOK + "@hookimpl(wrapper=True, specname='validate_order')\n"
    "def wraps(order):\n    yield\n    return Verdict.approve()\n",
    "tryfirst": "@hookimpl(tryfirst=True)\n" + APPROVES,
    "trylast": "@hookimpl(trylast=True)\n" + APPROVES,
    "optionalhook": "@hookimpl(optionalhook=True)\n" + APPROVES,
    "specname": HOOK + "@hookimpl(specname='validate_order')\ndef also(order):\n    return Verdict.approve()\n",
    "misspelt hook": "@hookimpl\n" + APPROVES.replace("order(", "ordre("),
    "misspelt beside a hook": HOOK + "@hookimpl\n" + APPROVES.replace("order(", "ordre("),
    "unmarked hook": APPROVES,
    "two implementations": HOOK + HOOK,
    "an alias": HOOK + "also = validate_order\n",
    "async": "@hookimpl\nasync " + APPROVES,
    "async generator": "@hookimpl\nasync " + APPROVES.replace("return", "yield"),
    "generator": "@hookimpl\n" + APPROVES.replace("return", "yield"),
    "default": HOOK.replace("(order)", "(order=None)"),
    "keyword default": HOOK.replace("(order)", "(*, order=None)"),
    "any arguments": HOOK.replace("(order)", "(*order)"),
    "any keywords": HOOK.replace("(order)", "(order, **rest)"),
    "behind a decorator": "def shout(function):\n    @functools.wraps(function)\n"
    "    def call(*args, **kwargs):\n        return function(*args, **kwargs)\n    return call\n@shout\n" + HOOK,
    "zero hooks": "",
    "a class of functions": "class Rule:\n    @hookimpl\n    def validate_order(self, order):\n        pass\n",
    "a class as the function": "@hookimpl\nclass validate_order:\n    pass\n",
    "an object of a class": "class Rule:\n    def __call__(self, order):\n        return Verdict.approve()\n"
    "validate_order = hookimpl(Rule())\n",
    "a method": "class Rule:\n    @hookimpl\n    def check(self, order):\n        return Verdict.approve()\n"
    "validate_order = Rule().check\n",
}


@pytest.mark.parametrize("abuse", ABUSES)
def test_b10_hook_abuse(gate: Gate, requests: Requests, put: Install, abuse: str) -> None:
    put(ABUSES[abuse])
    executor = gate(rules=(*FIVE, "fake"), positions=HELD)
    assert_shut(executor, requests, "plugin_malformed", "ordergate-fake 1.0")


@pytest.mark.parametrize("abuse", [name for name in ABUSES if "wrapper" in name])
@pytest.mark.parametrize("first", [True, False], ids=["before the others", "after the others"])
def test_b10_hook_abuse_wrapper_does_not_turn_a_refusal_into_an_approval(
    gate: Gate, requests: Requests, put: Install, abuse: str, first: bool
) -> None:
    put(ABUSES[abuse])
    decision = gate(rules=("fake", *FIVE) if first else (*FIVE, "fake")).submit(TOO_SMALL)
    assert decision.status is OrderStatus.REFUSED
    assert codes(decision).keys() >= {"gate.state", "min_allocation", "min_position"}
    assert requests() == 0


@pytest.mark.parametrize("abuse", ["misspelt hook", "unmarked hook"])
def test_b10_hook_abuse_a_hook_that_would_never_be_called_is_not_silently_ignored(
    gate: Gate, requests: Requests, put: Install, abuse: str
) -> None:
    """Its author believes that it refuses everything; beside the five it would have had no say."""
    put(ABUSES[abuse].replace("Verdict.approve()", "Verdict.refuse('never', 'Nothing passes.')"))
    executor = gate(rules=(*FIVE, "fake"), positions=HELD)
    assert_shut(executor, requests, "plugin_malformed", "ordergate-fake 1.0", "validate_order")
