"""Goal 1: what judging costs beside five rules written out by hand, with everything at hand and nothing on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from attrs import evolve, frozen

from ordergate.amounts import exact
from ordergate.bench.case import Case, Effort, Row, Way
from ordergate.bench.floor import Aggregates, floor
from ordergate.bench.given import ACCOUNT, SMALL, gate, inputs_of
from ordergate.bench.measure import CLOCK, Sample, timed
from ordergate.calls import attempt, within
from ordergate.executor import Executor
from ordergate.judge import Inputs, judge
from ordergate.models import Account
from ordergate.panel import Panel
from ordergate.valuation import merge

__all__ = ["CASES", "Snapshot"]

_MANY: Final = 40
_PATIENCE: Final = 5.0  # seconds


@frozen(kw_only=True)
class Snapshot:
    """One order with all that the rules see of it, once as the gate keeps it and once in plain dicts."""

    inputs: Inputs
    values: Mapping[str, Any]
    plain: Mapping[str, Any]
    panel: Panel

    @classmethod
    def of(cls, executor: Executor, *, spend: str) -> Snapshot:
        inputs, panel = inputs_of(executor, spend=spend), executor.setup.panel
        judgement = judge(inputs, panel, find_smallest=False)
        if judgement.sized is None:
            raise ValueError("the order could not be valued")
        valuation = inputs.valuation
        account = merge(ACCOUNT, valuation, valuation.claims(inputs.reservations), inputs.gate)
        values = {
            "order": judgement.sized.purchase,
            "market": valuation.market,
            "account": account,
            "tier": next(tier for tier in inputs.tiers if tier.name == judgement.summary.tier),
            "broker": inputs.profile,
            "history": inputs.history,
        }
        return cls(inputs=inputs, values=values, plain={**values, "account": _in_dicts(account)}, panel=panel)

    def floor(self) -> Callable[[], str]:
        """The hand-written rules on this order."""
        settings = {rule.name: rule.settings for rule in self.panel.rules}
        account: Account = self.plain["account"]
        return partial(
            floor,
            self.plain["order"],
            self.plain["market"],
            account,
            self.plain["tier"],
            self.plain["broker"],
            Aggregates.of(account),
            settings["dust"].exit_buffer,
            settings["average_position"].multiple,
        )

    def direct(self) -> list[Callable[[], Any]]:
        """The five rule functions, with their arguments."""
        return [
            partial(rule.validate.function, *(self._argument(rule.settings, name) for name in rule.validate.arguments))
            for rule in self.panel.rules
        ]

    def guarded(self) -> None:
        """Every rule called as the panel calls it, and nothing else."""
        for rule in self.panel.rules:
            attempt(rule.validate.call, {**self.values, "settings": rule.settings})

    def _argument(self, settings: Any, name: str) -> Any:
        return settings if name == "settings" else self.plain[name]


@contextmanager
def _ways(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with gate(effort.memory) as executor, exact():
        passing, failing = Snapshot.of(executor, spend="8000"), Snapshot.of(executor, spend=SMALL)
        panel, share = executor.setup.panel, effort.share
        six, forty = _wider(panel, 6), _wider(panel, _MANY)
        yield {
            "floor": partial(timed, passing.floor(), share),
            "floor, refused": partial(timed, failing.floor(), share),
            "direct": partial(timed, partial(_call_each, passing.direct()), share),
            "guarded": partial(timed, passing.guarded, share),
            "a call under a deadline": partial(timed, partial(within, _PATIENCE, int), share),
            "panel": partial(timed, partial(panel.ask, passing.values), share),
            "judge": partial(timed, partial(judge, passing.inputs, panel), share),
            "judge, numbers read": partial(timed, partial(_read, passing.inputs, panel), share),
            "one more of six": partial(_one_more, passing.inputs, panel, six, share),
            "one more of forty": partial(_one_more, passing.inputs, panel, forty, share),
            "refused": partial(timed, partial(judge, failing.inputs, panel, find_smallest=False), share),
            "refused, searched": partial(timed, partial(judge, failing.inputs, panel), share),
        }


def _call_each(functions: list[Callable[[], Any]]) -> None:
    for function in functions:
        function()


def _read(inputs: Inputs, panel: Panel) -> None:
    for verdict in judge(inputs, panel).verdicts:
        _ = verdict.observed, verdict.limit


def _wider(panel: Panel, count: int) -> Panel:
    """The same panel with copies of one of its rules, up to so many rules."""
    one = next(rule for rule in panel.rules if rule.name == "min_position")
    more = [evolve(one, name=f"min_position_{number}") for number in range(count - len(panel.rules))]
    return Panel([*panel.rules, *more], _PATIENCE, CLOCK)


def _one_more(inputs: Inputs, panel: Panel, wider: Panel, share: float) -> Sample:
    """What each rule more than five has cost."""
    few, many = (timed(partial(judge, inputs, one), share / 2)["call"] for one in (panel, wider))
    return {"call": (many - few) / (len(wider.rules) - len(panel.rules))}


def _in_dicts(account: Account) -> Account:
    return evolve(account, positions=dict(account.positions), holdings=dict(account.holdings))


CASES: Final = (
    Case(
        name="judging",
        goal=1,
        says="A decision in memory: five rules and the gate's own five checks, the facts at hand and valued.",
        ways=_ways,
        rows=(
            Row(
                says="Judging, every verdict given",
                of="judge",
                against="floor",
                limit=3.2,
                bound="every rule is guarded, watched, and handed what no other rule can reach, which is "
                "compared afterwards; the order is sized, and the gate's own five checks are judged too.",
            ),
            Row(
                says="The same, every number of every verdict read",
                of="judge, numbers read",
                against="floor",
                limit=6.5,
                bound="as above; the rules work out their numbers when they answer.",
            ),
            Row(
                says="Judging, beside the same five rules called directly",
                of="judge",
                against="direct",
                limit=1.2,
                bound="called directly the rules have no guard, nobody compares what they were handed, and none "
                "of the gate's own checks is made.",
            ),
            Row(says="The five rules called directly", of="direct", against="floor"),
            Row(says="The five rules, each in its guard", of="guarded", against="floor"),
            Row(says="The panel: guards, copies, comparison, deadline", of="panel", against="floor"),
            Row(says="Waking a thread for a deadline, and its answer", of="a call under a deadline", against="floor"),
            Row(
                says="One more rule, of six",
                of="one more of six",
                against="floor",
                limit=0.5,
                bound="a rule of ours called bare takes about one floor, since it builds a verdict with two "
                "numbers; the difference of two larger figures spreads widely.",
            ),
            Row(
                says="One more rule, of forty",
                of="one more of forty",
                against="floor",
                limit=0.5,
                bound="a rule of ours called bare takes about one floor, since it builds a verdict with two numbers.",
            ),
            Row(
                says="A refusal",
                of="refused",
                against="floor",
                limit=5,
                bound="what bounds judging, and each rule that refuses writes its sentence with both numbers in it.",
            ),
            Row(says="A refusal with the smallest size that passes", of="refused, searched", against="floor"),
        ),
    ),
)
