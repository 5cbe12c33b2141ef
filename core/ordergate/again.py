"""Judging a recorded decision again, on what was recorded: its facts, its settings, the journal as it then stood."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from attrs import evolve

from ordergate.clock import Clock
from ordergate.facts import Facts
from ordergate.judge import Inputs, judge
from ordergate.ledger import Ledger, Recorded
from ordergate.models import BrokerProfile, Tier, Verdict
from ordergate.order import Order
from ordergate.panel import ActiveRule, Panel, refusal
from ordergate.past import Past
from ordergate.records import from_plain
from ordergate.settings import Gate

__all__ = ["judge_again"]


def judge_again(
    recorded: Recorded, ledger: Ledger, rules: Sequence[ActiveRule], budget: float, clock: Clock
) -> tuple[Verdict, ...]:
    """The verdicts on a recorded decision by the code of `rules`, with the settings it was made with."""
    body = json.loads(recorded.decision)
    on = body["judged_on"]
    if on is None:  # an exit: no rule was asked, so there is nothing to ask again
        return tuple(from_plain(one, Verdict) for one in body["verdicts"])
    made = json.loads(ledger.kept(recorded.account, body["setup"]))
    past = Past()
    for entry in ledger.entries(recorded.account):
        if entry.seq > on["seq"]:
            break
        past.take(entry)
    inputs = Inputs(
        account=recorded.account,
        order=from_plain(body["order"], Order),
        gate=_gate(made),
        tiers=tuple(from_plain(tier, Tier) for tier in made["tiers"]),
        profile=from_plain(made["profile"], BrokerProfile),
        facts=from_plain(json.loads(ledger.kept(recorded.account, body["facts"])), Facts),
        age=on["age"],
        reservations=past.reservations(),
        stops=tuple((code, sentence) for code, sentence in on["stops"]),
        history=past.history(on["now"]),
    )
    verdicts = judge(inputs, _panel(made["rules"], rules, budget, clock), find_smallest=False).verdicts
    return (*verdicts, *_missing(made["rules"], verdicts))


def _gate(made: Mapping[str, Any]) -> Gate:
    gate = made["gate"]
    return Gate(
        rules=tuple(rule["name"] for rule in made["rules"]),
        cash=tuple(gate["cash"]),
        at_par=tuple(gate["at_par"]),
        dust=Decimal(gate["dust"]),
        max_positions=gate["max_positions"],
        facts_age=gate["facts_age"],
        clock_skew=gate["clock_skew"],
    )


def _panel(made: Sequence[Mapping[str, Any]], rules: Sequence[ActiveRule], budget: float, clock: Clock) -> Panel:
    active = {rule.name: rule for rule in rules}
    return Panel(
        [_with_settings(active[one["name"]], one["settings"]) for one in made if one["name"] in active], budget, clock
    )


def _missing(rules: Sequence[Mapping[str, Any]], verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    asked = {verdict.rule for verdict in verdicts}
    return tuple(
        refusal(made["name"], "rule_not_active", "This rule is not active now.")
        for made in rules
        if made["name"] not in asked
    )


def _with_settings(rule: ActiveRule, settings: Any) -> ActiveRule:
    return rule if settings is None else evolve(rule, settings=from_plain(settings, type(rule.settings)))
