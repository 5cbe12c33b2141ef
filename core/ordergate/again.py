"""Judging a recorded decision again, on what was recorded: its facts, its stops, and the journal as it then stood.

The one place that reads a decision's record back into what was judged. `explain` asks about one decision under the
set-up it was made with; `ordergate.replay` about all of them, under that set-up or another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeVar, cast

from attrs import evolve

from ordergate.clock import Clock
from ordergate.decision import FactsSummary
from ordergate.facts import Facts
from ordergate.fitness import Stop
from ordergate.journal import Entry
from ordergate.judge import Inputs, judge
from ordergate.ledger import Ledger, Recorded
from ordergate.models import BrokerProfile, History, Holding, Market, Price, Tier, Verdict
from ordergate.order import Order
from ordergate.panel import ActiveRule, Panel, refusal
from ordergate.past import Past
from ordergate.records import from_plain
from ordergate.settings import Gate
from ordergate.valuation import Valuation, value

__all__ = ["Terms", "inputs_of", "judge_again", "past_at", "recorded_profile", "recorded_terms"]

T = TypeVar("T")

_SNAPSHOTS: Final = 64  # that are kept valued: those of the markets which are traded in turn


class Terms:
    """What a decision is judged under: the gate's numbers, the tiers, the broker's profile, and rules with settings."""

    def __init__(self, gate: Gate, tiers: Sequence[Tier], profile: BrokerProfile, panel: Panel) -> None:
        self.gate, self.tiers, self.profile, self.panel = gate, tuple(tiers), profile, panel
        self._valued: dict[str, Valuation] = {}
        self._known: dict[tuple[type, str | None], tuple[dict[str, Any], Any]] = {}

    def valued(self, name: str, read: Callable[[str], str]) -> Valuation:
        """The recorded facts of this name, valued by these terms; decisions share them. `read` gives the text."""
        if name not in self._valued:
            if len(self._valued) == _SNAPSHOTS:
                del self._valued[next(iter(self._valued))]
            self._valued[name] = value(self._facts(json.loads(read(name))), self.gate, self.profile)
        return self._valued[name]

    def _facts(self, data: dict[str, Any]) -> Facts:
        """Most balances, limits and prices are those of the facts before, and need not be read again."""
        report: dict[str, Any] | None = data["report"]
        rest = {**data, "markets": [], "prices": [], "report": report and {**report, "holdings": []}}
        facts = from_plain(rest, Facts)
        if report is not None and facts.report is not None:
            facts = evolve(facts, report=evolve(facts.report, holdings=self._read(report["holdings"], Holding)))
        return evolve(facts, markets=self._read(data["markets"], Market), prices=self._read(data["prices"], Price))

    def _read(self, listed: list[dict[str, Any]], cls: type[T]) -> tuple[T, ...]:
        return tuple(self._read_one(data, cls) for data in listed)

    def _read_one(self, data: dict[str, Any], cls: type[T]) -> T:
        place = cls, data.get("symbol") or data.get("currency")
        known = self._known.get(place)
        if known is None or known[0] != data:
            known = self._known[place] = data, from_plain(data, cls)
        return cast("T", known[1])


def judge_again(
    recorded: Recorded, ledger: Ledger, rules: Sequence[ActiveRule], budget: float, clock: Clock
) -> tuple[tuple[Verdict, ...], FactsSummary | None]:
    """The verdicts on a recorded decision by the code of `rules` with the settings it was made with, and the account as
    they saw it; None where no rule was asked.
    """
    body = json.loads(recorded.decision)
    on = body["judged_on"]
    if on is None:  # an exit: no rule was asked, so there is nothing to ask again
        return tuple(from_plain(one, Verdict) for one in body["verdicts"]), None
    made = json.loads(ledger.kept(recorded.account, body["setup"]))
    terms = recorded_terms(made, rules, lambda active: Panel(active, budget, clock))
    stops = [(code, sentence) for code, sentence in on["stops"]]
    past = past_at(ledger, recorded.account, on["seq"])
    order = from_plain(body["order"], Order)
    inputs = inputs_of(body, order, recorded, terms, partial(ledger.kept, recorded.account), past, stops)
    judgement = judge(inputs, terms.panel, find_smallest=False)
    return (*judgement.verdicts, *_missing(made["rules"], judgement.verdicts)), judgement.summary


def inputs_of(
    body: Mapping[str, Any],
    order: Order,
    row: Recorded | Entry,
    terms: Terms,
    read: Callable[[str], str],
    past: Past,
    stops: Sequence[Stop],
) -> Inputs:
    """What the decision of a journal's row was judged on, under these terms: its recorded facts and the past of then.

    `read` gives the text that was kept under a name. Raises LedgerDamaged for facts that cannot be read. Run inside
    `amounts.exact()`.
    """
    on = body["judged_on"]
    return Inputs(
        account=row.account,
        order=order,
        gate=terms.gate,
        tiers=terms.tiers,
        profile=terms.profile,
        valuation=terms.valued(body["facts"], read),
        age=on["age"],
        seq=on["seq"],
        reservations=past.reservations(),
        stops=tuple(stops),
        # Where no rule then looked back, nobody wrote down the moment: that of the row is the nearest.
        history=past.history(on["now"] or row.at) if terms.panel.wants_history else History(),
    )


def past_at(ledger: Ledger, account: str, seq: int) -> Past:
    """The past of an account as of its row `seq`, folded from the first."""
    past = Past()
    for entry in ledger.entries(account):
        if entry.seq > seq:
            break
        past.take(entry)
    return past


# ------------------------------------------------------------------------------------------ the set-up it was made with


def recorded_terms(
    made: Mapping[str, Any], rules: Sequence[ActiveRule], panel: Callable[[Sequence[ActiveRule]], Panel]
) -> Terms:
    """The recorded set-up `made`, with the code of those of its rules that are among `rules`, asked by a `panel`."""
    tiers = [from_plain(tier, Tier) for tier in made["tiers"]]
    return Terms(_gate(made), tiers, recorded_profile(made), panel(_rules(made["rules"], rules)))


def recorded_profile(made: Mapping[str, Any]) -> BrokerProfile:
    """The broker's profile in a recorded set-up."""
    return from_plain(made["profile"], BrokerProfile)


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


def _rules(made: Sequence[Mapping[str, Any]], rules: Sequence[ActiveRule]) -> list[ActiveRule]:
    active = {rule.name: rule for rule in rules}
    return [_as_then(active[one["name"]], one) for one in made if one["name"] in active]


def _as_then(rule: ActiveRule, made: Mapping[str, Any]) -> ActiveRule:
    settings = made["settings"]
    if settings is not None:
        rule = evolve(rule, settings=from_plain(settings, type(rule.settings)))
    return evolve(rule, owner=made.get("owner"), reason=made.get("reason"))


def _missing(rules: Sequence[Mapping[str, Any]], verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    asked = {verdict.rule for verdict in verdicts}
    return tuple(
        refusal(made["name"], "rule_not_active", "This rule is not active now.")
        for made in rules
        if made["name"] not in asked
    )
