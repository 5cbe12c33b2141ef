"""Distributions of strangers, built, installed into a clean environment, and used through the same door as our own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

Run = Callable[..., Any]

CONFIG = """\
[gate]
rules = ["concentration", "min_position"]

[rules.concentration]
share = "0.6"

[accounts.main]
broker = "tinyvenue"

[accounts.main.tinyvenue]
cash = "100.00"
prices = { "BTC-USD" = "50000", "ETH-USD" = "2500" }
"""


@pytest.fixture
def python(installed_bin: Path, tmp_path: Path) -> Run:
    """Run a script in the clean environment; give what it prints as JSON."""

    def run(script: str) -> Any:
        done = _call(installed_bin / "python", "-I", "-c", dedent(script), folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def _call(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_strangers_are_discovered_beside_our_own(python: Run) -> None:
    found = python("""
        import json
        from ordergate.plugins import discover
        print(json.dumps([[each.kind.name, each.name, each.distribution, each.version] for each in discover()]))
    """)
    assert ["rule", "concentration", "ordergate-concentration", "1.0.0"] in found
    assert ["broker", "tinyvenue", "ordergate-tinyvenue", "1.0.0"] in found
    assert ["rule", "moved_min_position", "ordergate-moved", "1.0.0"] in found
    assert any(each[:3] == ["rule", "min_position", "ordergate"] for each in found)


def test_admission_through_a_real_entry_point(python: Run) -> None:
    answer = python("""
        import json, sys
        from ordergate.hookspecs import BROKER, RULE
        from ordergate.plugins import admit
        rule = admit(RULE, "concentration")
        print(json.dumps({
            "hooks": sorted(rule.hooks),
            "arguments": rule.hooks["validate_order"].arguments,
            "settings": rule.settings_class.__module__,
            "broker imported": "ordergate_tinyvenue" in sys.modules,
            "broker hooks": sorted(admit(BROKER, "tinyvenue").hooks),
        }))
    """)
    assert answer == {
        "hooks": ["rule_settings", "validate_order"],
        "arguments": ["order", "account", "settings"],
        "settings": "ordergate_concentration",
        "broker imported": False,
        "broker hooks": sorted(
            "broker_profile broker_settings cancel_order connect find_order get_account get_market get_prices "
            "place_order rehearse".split()
        ),
    }


def test_one_of_our_own_rules_moved_out_answers_the_same(python: Run) -> None:
    answer = python("""
        import json
        from ordergate import testing
        from ordergate.hookspecs import RULE
        from ordergate.plugins import admit
        ours, moved = (admit(RULE, name) for name in ("min_position", "moved_min_position"))
        assert ours.hooks["validate_order"].function is not moved.hooks["validate_order"].function
        verdicts = []
        for size in ("1", "9.99", "10", "10.01", "20", "100000"):
            for minimum in ("10", "20", "100"):
                facts = {"order": testing.purchase(size), "tier": testing.tier(min_position=minimum)}
                first, second = (each.hooks["validate_order"](**facts) for each in (ours, moved))
                assert first == second, (first, second)
                verdicts.append(first.approved)
        print(json.dumps([ours.distribution, moved.distribution, verdicts.count(True), verdicts.count(False)]))
    """)
    assert answer == ["ordergate", "ordergate-moved", 7, 11]


def test_pins_of_real_installations(python: Run) -> None:
    answer = python("""
        import json, pathlib
        from ordergate.errors import PluginError
        from ordergate.hookspecs import BROKER, RULE
        from ordergate.pins import measure
        from ordergate.plugins import admit
        pins = {name: measure(name) for name in ("ordergate", "ordergate-tinyvenue")}
        answers = [admit(RULE, "dust", pin=pins["ordergate"]).pinned]
        answers.append(admit(BROKER, "tinyvenue", pin=pins["ordergate-tinyvenue"]).pinned)
        try:
            admit(RULE, "dust", pin=pins["ordergate-tinyvenue"])
        except PluginError as error:
            answers.append(error.code)
        print(json.dumps(answers))
    """)
    assert answer == [True, True, "pin_mismatch"]


def test_a_rule_and_a_broker_of_strangers_decide_real_orders(python: Run, tmp_path: Path) -> None:
    (tmp_path / "ordergate.toml").write_text(CONFIG)
    answer = python("""
        import json
        from ordergate import Executor, Order

        def told(decision):
            refused = sorted(verdict.rule for verdict in decision.refusals)
            receipt = decision.receipt
            return [decision.status, decision.error, refused, receipt and str(receipt.filled_value)]

        with Executor.from_config("ordergate.toml") as executor:
            answers = [
                told(executor.check(Order.buy("BTC-USD", spend="60.01"))),
                told(executor.check(Order.buy("BTC-USD", spend="60.00"))),
                told(executor.submit(Order.buy("BTC-USD", spend="40.00", client_order_id="first"))),
                told(executor.submit(Order.buy("BTC-USD", spend="40.00", client_order_id="first"))),
                told(executor.submit(Order.buy("BTC-USD", spend="25.00"))),
                told(executor.submit(Order.sell("BTC-USD", all=True))),
            ]
        books = json.load(open("tinyvenue-main.json"))
        print(json.dumps([*answers, len(books["orders"]), books["balances"]]))
    """)
    refused = ["refused", "HARDENING_ENFORCEMENT", ["concentration"], None]
    bought: list[Any] = ["filled", None, [], "40"]
    assert answer == [
        refused,
        ["approved", None, [], None],
        bought,
        bought,
        refused,
        ["filled", None, [], "40"],
        2,
        {"USD": "99.84", "BTC": "0"},
    ]


def test_the_command_line_with_a_rule_and_a_broker_of_strangers(installed_bin: Path, tmp_path: Path) -> None:
    (tmp_path / "ordergate.toml").write_text(CONFIG)

    def check(spend: str) -> tuple[int, Any]:
        command = ("--config", "ordergate.toml", "check", "BTC-USD", "--spend", spend, "--account", "main", "--json")
        done = _call(installed_bin / "ordergate", *command, folder=tmp_path)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    code, refused = check("70")
    assert (code, refused["status"], refused["error"]) == (3, "refused", "HARDENING_ENFORCEMENT")
    assert [each["code"] for each in refused["verdicts"] if each["rule"] == "concentration"] == ["too_concentrated"]
    code, approved = check("20")
    assert (code, approved["status"], approved["error"]) == (0, "approved", None)
