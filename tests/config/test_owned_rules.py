"""Who answers for a rule's limits, and why: read by the gate, recorded with decisions, shown beside verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ordergate import Executor, Order
from ordergate.cli import commands
from ordergate.config import Owned, config_from_values
from ordergate.schema import build_own

Gate = Callable[..., Executor]

OWNED = {"owner": "risk desk", "reason": "half a month's income"}
CONFIG = """
[gate]
rules = ["max_notional", "position_cap"]

[accounts.main]
broker = "paper"

[accounts.main.paper]
cash = "1000"
prices = { "BTC-USD" = "68925.98" }

[rules.max_notional]
usd = "50"
owner = "risk desk"
reason = "half a month's income"

[rules.position_cap]
owner = "Ada"
"""


def read(**tables: Any) -> Any:
    values = {"gate": {"rules": ["dust", "position_cap"]}, "accounts": {"main": {"broker": "paper"}}, "rules": tables}
    return config_from_values(values, Path())


def test_both_are_taken_out_before_the_rule_sees_its_table() -> None:
    config = read(dust={"exit_buffer": "0.2", **OWNED}, position_cap={"owner": "Ada"})
    assert config.problems == ()
    assert config.rules == {"dust": {"exit_buffer": "0.2"}, "position_cap": {}}
    assert config.owned == {"dust": Owned(**OWNED), "position_cap": Owned(owner="Ada")}
    assert read(dust={"exit_buffer": "0.2"}).owned == {}


def test_the_digest_of_a_config_tells_owners_apart() -> None:
    assert read(dust={"owner": "Ada"}).digest != read(dust={"owner": "Bob"}).digest


@pytest.mark.parametrize("value", ["", "  ", "x" * 201, "two\nlines", "\x1b[31mred", 5, True, ["Ada"]])
@pytest.mark.parametrize("key", ["owner", "reason"])
def test_what_is_no_short_line_of_text_is_refused(key: str, value: object) -> None:
    config = read(dust={key: value})
    (problem,) = config.problems
    assert problem.where == f"rules.dust.{key}"
    assert problem.fix == "Write 1 to 200 printable characters in quotes."
    assert config.owned == {}


def test_the_longest_text_is_taken() -> None:
    assert read(dust={"owner": "x" * 200}).owned["dust"].owner == "x" * 200


def test_a_verdict_has_them_and_so_has_its_record(gate: Gate) -> None:
    setup: dict[str, Any] = {
        "rules": ("max_notional", "dust"),
        "tables": {"rules": {"max_notional": {"usd": "50", **OWNED}}},
    }
    executor = gate(**setup)
    for decision in (
        executor.submit(Order.buy("BTC-USD", spend="60", client_order_id="a")),
        executor.submit(Order.buy("BTC-USD", spend="20", client_order_id="b")),
        gate(rules=("dust",)).submit(Order.buy("BTC-USD", spend="60", client_order_id="a")),
        gate(**setup).explain("b").decision,
    ):
        owned = {verdict.rule: (verdict.owner, verdict.reason) for verdict in decision.verdicts}
        assert owned["max_notional"] == ("risk desk", "half a month's income")
        assert owned["dust"] == owned["gate.state"] == (None, None)
    row = next(entry for entry in executor.desk.ledger().entries("main") if entry.kind == "decision")
    made = json.loads(executor.desk.ledger().kept("main", json.loads(row.body)["setup"]))
    assert [(rule["name"], rule["owner"], rule["reason"]) for rule in made["rules"]] == [
        ("max_notional", "risk desk", "half a month's income"),
        ("dust", None, None),
    ]


def test_an_order_is_explained_with_the_owner_it_had(gate: Gate) -> None:
    tables = [{"rules": {"dust": {"owner": name}}} for name in ("Ada", "Bob")]
    gate(rules=("dust",), tables=tables[0]).submit(Order.buy("BTC-USD", spend="20", client_order_id="a"))
    assert gate(rules=("dust",), tables=tables[1]).explain("a").same


def test_a_rule_without_settings_may_have_an_owner_all_the_same(gate: Gate, install: Callable[..., Path]) -> None:
    source = """
        from ordergate import Verdict, hookimpl

        @hookimpl
        def validate_order(order):
            return Verdict.approve()
    """
    install(entries={"plain": "fake_plain"}, modules={"fake_plain.py": source})
    decision = gate(rules=("plain",), tables={"rules": {"plain": {"owner": "Ada"}}}).check(
        Order.buy("BTC-USD", spend="20")
    )
    assert [verdict.owner for verdict in decision.verdicts if verdict.rule == "plain"] == ["Ada"]
    with gate(rules=("plain",), tables={"rules": {"plain": {"owner": "Ada", "limit": 5}}}) as executor:
        assert [str(problem) for problem in executor.setup.problems] == [
            "rules.plain: the plugin has no settings. take the table out"
        ]


def run(folder: Path, *words: str) -> str:
    (folder / "ordergate.toml").write_text(CONFIG, "utf-8")
    result = CliRunner().invoke(commands, [*words, "--config", str(folder / "ordergate.toml")])
    return " ".join(result.output.replace("│", " ").split())


def test_people_see_them_beside_the_verdict(tmp_path: Path) -> None:
    refused = run(tmp_path, "check", "BTC-USD", "--spend", "60", "--principal", "grid-bot")
    assert "over the 50.00 USD allowed in BTC-USD. (owner: risk desk; half a month's income)" in refused
    assert "asked by" in refused
    assert "grid-bot" in refused
    assert "Ada" in run(tmp_path, "check", "BTC-USD", "--spend", "20")
    assert "bounded by max_notional (owner: risk desk)" in run(tmp_path, "limits", "BTC-USD")
    listed = run(tmp_path, "plugins")
    assert "rules.max_notional.owner risk desk file" in listed
    assert "rules.position_cap.owner Ada file" in listed


def test_programs_see_them_too(tmp_path: Path) -> None:
    answer = json.loads(run(tmp_path, "buy", "BTC-USD", "--spend", "60", "--principal", "grid-bot", "--json"))
    assert answer["order"]["principal"] == "grid-bot"
    (verdict,) = [one for one in answer["verdicts"] if one["rule"] == "max_notional"]
    assert (verdict["owner"], verdict["reason"]) == ("risk desk", "half a month's income")


@pytest.mark.parametrize("command", ["buy", "check", "sell"])
def test_a_principal_is_read_strictly(tmp_path: Path, command: str) -> None:
    size = ("--all",) if command == "sell" else ("--spend", "20")
    assert "principal" in run(tmp_path, command, "BTC-USD", *size, "--principal", "grid bot")
    assert "give --principal once" in run(tmp_path, command, "BTC-USD", *size, "--principal", "a", "--principal", "b")


def test_editors_are_offered_both_for_every_rule() -> None:
    tables = build_own()["properties"]["rules"]
    assert all({"owner", "reason"} <= table["properties"].keys() for table in tables["properties"].values())
    assert {"owner", "reason"} == tables["additionalProperties"]["properties"].keys()
