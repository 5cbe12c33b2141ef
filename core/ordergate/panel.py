"""The active rules, asked one by one: each is called in its own guard, so none can silence, outvote or outlast another.

The set of rules is frozen when it is made. What is registered, patched or renamed later does not exist for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from attrs import evolve, frozen

from ordergate.calls import Failed, Overran, attempt, within
from ordergate.clock import Clock
from ordergate.models import Verdict
from ordergate.plugins import Admitted, Hook

__all__ = ["ActiveRule", "Panel", "refusal"]

T = TypeVar("T")


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

    def ask(self, values: Mapping[str, Any]) -> tuple[Verdict, ...]:
        """Every rule's verdict, each under its time budget, in the order of the config."""
        verdicts: dict[str, Verdict] = {}
        waiting = [rule for rule in self.rules if rule.name not in self._overran]
        while waiting:
            answered: list[Verdict] = []
            try:
                within(self._budget * len(waiting), self.ask_here, values, answered, waiting)
            except Overran:
                self._overran.add(waiting[len(answered[:])].name)
            except Failed as failed:  # not a rule's doing: each rule has a guard of its own
                answered = [refusal(rule.name, "rule_failed", f"It could not be asked: {failed}.") for rule in waiting]
            verdicts.update((verdict.rule, verdict) for verdict in answered)
            waiting = [rule for rule in waiting if rule.name not in verdicts and rule.name not in self._overran]
        return tuple(verdicts.get(rule.name) or self._too_slow(rule.name) for rule in self.rules)

    def ask_here(
        self, values: Mapping[str, Any], answered: list[Verdict], rules: Sequence[ActiveRule] | None = None
    ) -> None:
        """Ask in the calling thread, appending each verdict as it falls."""
        for rule in self.rules if rules is None else rules:
            begun = self._clock.monotonic()
            verdict = _verdict(rule, values)
            if self._clock.monotonic() - begun > self._budget:
                self._overran.add(rule.name)
                verdict = self._too_slow(rule.name)
            answered.append(verdict)

    def search(self, run: Callable[[], T]) -> T:
        """Run something that asks many times; raises `Failed`, also when it takes longer than the rules may."""
        return within(self._budget * max(1, len(self.rules)), run)

    def _too_slow(self, name: str) -> Verdict:
        return refusal(
            name,
            "rule_overran",
            f"It did not answer within {self._budget:g} s and is not asked again until a restart.",
        )


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
    if not all(type(number) is Decimal and number.is_finite() for number in numbers):
        return refusal(
            rule.name, "bad_verdict", "The numbers of its verdict are not finite decimals; that is a refusal."
        )
    return evolve(verdict, rule=rule.name)
