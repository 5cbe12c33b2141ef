"""The active rules, asked one by one: each is called in its own guard, so none can silence, outvote or outlast another.

The set of rules is frozen when it is made. What is registered, patched or renamed later does not exist for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

from attrs import evolve, frozen

from ordergate.calls import Failed, Overran, attempt, within
from ordergate.clock import Clock
from ordergate.models import Verdict
from ordergate.plugins import Admitted, Hook
from ordergate.untouched import same

__all__ = ["ActiveRule", "Asked", "Panel", "refusal"]

T = TypeVar("T")

_DIGITS: Final = 60  # no amount, price or product of them is longer before or after the point


def refusal(rule: str, code: str, message: str, **numbers: Any) -> Verdict:
    """A refusing verdict that the gate itself speaks in a rule's name, or in its own."""
    return evolve(Verdict.refuse(code, message, **numbers), rule=rule)


@frozen
class ActiveRule:
    """One admitted rule with its bound settings. `name` is the entry point's."""

    name: str
    distribution: str
    version: str
    validate: Hook
    settings: Any

    @classmethod
    def of(cls, plugin: Admitted, settings: Any) -> ActiveRule:
        return cls(plugin.name, plugin.distribution, plugin.version, plugin.hooks["validate_order"], settings)


@frozen
class Asked:
    """Every rule's verdict, in the order of the config, and the names of rules that changed what they were given."""

    verdicts: tuple[Verdict, ...]
    meddlers: frozenset[str]


class Panel:
    """All active rules. `budget` is the time one rule may take for one order, in seconds."""

    def __init__(self, rules: Sequence[ActiveRule], budget: float, clock: Clock) -> None:
        self.rules = tuple(rules)
        self.names = frozenset(rule.name for rule in rules)
        self.wants_history = any("history" in rule.validate.arguments for rule in rules)
        self._budget, self._clock = budget, clock
        self._overran: set[str] = set()

    @property
    def overran(self) -> frozenset[str]:
        """Rules that did not answer in time; they are not asked again by this process and refuse everything."""
        return frozenset(self._overran)

    def ask(self, make: Callable[[], Mapping[str, Any]]) -> Asked:
        """Ask every rule, each under its time budget. `make` gives fresh copies of what they judge."""
        verdicts: dict[str, Verdict] = {}
        meddlers: set[str] = set()
        waiting = [rule for rule in self.rules if rule.name not in self._overran]
        while waiting:
            answered: list[Verdict] = []
            try:
                # One call for all of them: the thread is made once, and only a rule that hangs costs another.
                within(self._budget * len(waiting), self._ask_each, make, waiting, answered, meddlers)
            except Overran:
                answered = answered[:]
                self._overran |= {rule.name for rule in waiting[len(answered) :][:1]}
            except Failed as failed:  # not a rule's doing: each rule has a guard of its own
                answered = [refusal(rule.name, "rule_failed", f"It could not be asked: {failed}.") for rule in waiting]
            verdicts.update((verdict.rule, verdict) for verdict in answered)
            waiting = [rule for rule in waiting if rule.name not in verdicts and rule.name not in self._overran]
        found = tuple(verdicts.get(rule.name) or self._too_slow(rule.name) for rule in self.rules)
        return Asked(found, frozenset(meddlers))

    def search(self, run: Callable[[Callable[[Mapping[str, Any]], frozenset[str]]], T]) -> T:
        """Run something that asks about many sizes, through the function it is given: values to the names that refuse.

        Raises `Failed`, also when it takes longer than the rules may for one order.
        """
        watch = _Watch()

        def refusing(values: Mapping[str, Any]) -> frozenset[str]:
            return frozenset(name for name in self.names if self._refuses(name, values, watch))

        try:
            return within(self._budget * max(1, len(self.rules)), run, refusing)
        except Overran:
            watch.stopped = True
            if watch.rule and self._clock.monotonic() - watch.since > self._budget:
                self._overran.add(watch.rule)
            raise

    def _ask_each(
        self,
        make: Callable[[], Mapping[str, Any]],
        rules: Sequence[ActiveRule],
        answered: list[Verdict],
        meddlers: set[str],
    ) -> None:
        given, pristine = make(), make()
        for rule in rules:
            begun = self._clock.monotonic()
            verdict = _verdict(rule, given)
            if self._clock.monotonic() - begun > self._budget:
                self._overran.add(rule.name)
                verdict = self._too_slow(rule.name)
            if not all(same(given[name], pristine[name]) for name in pristine):
                meddlers.add(rule.name)
                verdict = refusal(
                    rule.name, "rule_meddled", "It changed what it was given to judge; that is a refusal."
                )
                given = make()
            answered.append(verdict)

    def _refuses(self, name: str, values: Mapping[str, Any], watch: _Watch) -> bool:
        if watch.stopped:
            raise TimeoutError("nobody waits for this any more")
        if name in self._overran:
            return True
        watch.rule, watch.since = name, self._clock.monotonic()
        rule = next(rule for rule in self.rules if rule.name == name)
        refuses = _verdict(rule, values).approved is not True
        watch.rule = ""
        return refuses

    def _too_slow(self, name: str) -> Verdict:
        return refusal(
            name,
            "rule_overran",
            f"It did not answer within {self._budget:g} s and is not asked again until a restart.",
        )


class _Watch:
    """Which rule a search is asking, and since when; set from outside once nobody waits for it."""

    def __init__(self) -> None:
        self.rule, self.since, self.stopped = "", 0.0, False


def _verdict(rule: ActiveRule, values: Mapping[str, Any]) -> Verdict:
    try:
        verdict = attempt(rule.validate.call, {**values, "settings": rule.settings})
    except Failed as failed:
        return refusal(rule.name, "rule_failed", f"It failed with {failed}; what cannot be judged is refused.")
    if type(verdict) is not Verdict or type(verdict.approved) is not bool:
        kind = type(verdict).__name__ if type(verdict) is not Verdict else "a Verdict that neither approves nor refuses"
        return refusal(rule.name, "bad_verdict", f"It answered {kind}, which is no verdict; that is a refusal.")
    if not all(isinstance(text, str) for text in (verdict.code, verdict.message)):
        return refusal(rule.name, "bad_verdict", "Its verdict has no code and message in words; that is a refusal.")
    numbers = [number for number in (verdict.observed, verdict.limit) if number is not None]
    if not all(
        type(number) is Decimal and number.is_finite() and abs(number.adjusted()) < _DIGITS for number in numbers
    ):
        return refusal(
            rule.name, "bad_verdict", "The numbers of its verdict are not finite decimals; that is a refusal."
        )
    return evolve(verdict, rule=rule.name)
