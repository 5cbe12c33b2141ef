"""The active rules, asked one by one: each is called in its own guard, so none can silence, outvote or outlast another.

The set of rules is frozen when it is made. What is registered, patched or renamed later does not exist for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

from attrs import evolve, frozen

from ordergate.calls import Failed, Overran, attempt, within
from ordergate.clock import Clock
from ordergate.models import Verdict
from ordergate.plugins import Admitted, Hook
from ordergate.untouched import Copy

__all__ = ["ActiveRule", "Asked", "Panel", "refusal"]

T = TypeVar("T")

_DIGITS: Final = 60  # no amount, price or product of them is longer before or after the point


def refusal(rule: str, code: str, message: str, **numbers: Any) -> Verdict:
    """A refusing verdict that the gate itself speaks in a rule's name, or in its own."""
    return evolve(Verdict.refuse(code, message, **numbers), rule=rule)


@frozen
class ActiveRule:
    """One admitted rule with its bound settings. `name` is the entry point's.

    `owner` answers for its limits and `reason` says why they are what they are, where the config says so.
    """

    name: str
    distribution: str
    version: str
    validate: Hook
    settings: Any
    owner: str | None = None
    reason: str | None = None

    @classmethod
    def of(cls, plugin: Admitted, settings: Any, owner: str | None = None, reason: str | None = None) -> ActiveRule:
        validate = plugin.hooks["validate_order"]
        return cls(plugin.name, plugin.distribution, plugin.version, validate, settings, owner, reason)


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
        # What any of them takes; nothing else is copied for them.
        self._taken = frozenset(name for rule in rules for name in rule.validate.arguments) - {"settings"}
        self.wants_history = "history" in self._taken
        self._budget, self._clock = budget, clock
        self._overran: set[str] = set()
        self._kept = threading.local()

    @property
    def overran(self) -> frozenset[str]:
        """Rules that did not answer in time; they are not asked again by this process and refuse everything."""
        return frozenset(self._overran)

    def ask(self, values: Mapping[str, Any]) -> Asked:
        """Ask every rule, each under its time budget and each with copies of the values that nothing has changed."""
        verdicts: dict[str, Verdict] = {}
        meddlers: set[str] = set()
        waiting = [rule for rule in self.rules if rule.name not in self._overran]
        while waiting:
            answered: list[Verdict] = []
            try:
                # One call for all of them: only a rule that hangs costs another.
                within(self._budget * len(waiting), self._ask_each, values, waiting, answered, meddlers)
            except Overran:
                answered = answered[:]
                self._overran |= {rule.name for rule in waiting[len(answered) :][:1]}
            except Failed as failed:  # not a rule's doing: each rule has a guard of its own
                answered = [refusal(rule.name, "rule_failed", f"It could not be asked: {failed}.") for rule in waiting]
            verdicts.update((verdict.rule, verdict) for verdict in answered)
            waiting = [rule for rule in waiting if rule.name not in verdicts and rule.name not in self._overran]
        found = tuple(verdicts.get(rule.name) or self._too_slow(rule) for rule in self.rules)
        return Asked(found, frozenset(meddlers))

    def search(self, run: Callable[[Callable[[Mapping[str, Any]], frozenset[str]]], T]) -> T:
        """Run something that asks about many sizes, through the function it is given: values to the names that refuse.

        Raises `Failed`, also when it takes longer than the rules may for one order.
        """
        watch = _Watch()
        given: dict[str, Any] = {}

        def refusing(values: Mapping[str, Any]) -> frozenset[str]:
            # Another size changes the order alone; the rest is what the rules have already been seen to leave alone.
            if not given:
                given.update({name: copy.value for name, copy in self._copies(values).items()})
            given["order"] = Copy(values["order"]).value
            return frozenset(rule.name for rule in self.rules if self._refuses(rule, given, watch))

        try:
            return within(self._budget * max(1, len(self.rules)), run, refusing)
        except Overran:
            watch.stopped = True
            if watch.rule and self._clock.monotonic() - watch.since > self._budget:
                self._overran.add(watch.rule)
            raise

    def _ask_each(
        self,
        values: Mapping[str, Any],
        rules: Sequence[ActiveRule],
        answered: list[Verdict],
        meddlers: set[str],
    ) -> None:
        copies = self._copies(values)
        given = {name: copy.value for name, copy in copies.items()}
        monotonic = self._clock.monotonic
        begun = monotonic()
        for rule in rules:
            verdict = _verdict(rule, given)
            now = monotonic()
            if now - begun > self._budget:
                self._overran.add(rule.name)
                verdict = self._too_slow(rule)
            begun = now
            # Only what it was handed can it have changed; the others shall not judge that.
            if not all(copies[name].is_untouched() for name in rule.validate.arguments if name in copies):
                meddlers.add(rule.name)
                message = "It changed what it was given to judge; that is a refusal."
                verdict = _refused(rule, "rule_meddled", message)
                copies = self._copies(values)
                given = {name: copy.value for name, copy in copies.items()}
            answered.append(verdict)

    def _copies(self, values: Mapping[str, Any]) -> dict[str, Copy]:
        """Copies of what the rules take. This thread's last ones serve again where the values are the same: the tier,
        the profile and the market seldom change.
        """
        kept: dict[str, Copy] = vars(self._kept)
        for name in self._taken:
            copy = kept.get(name)
            if copy is None or copy.original is not values[name] or not copy.is_untouched():
                kept[name] = Copy(values[name])
        return dict(kept)

    def _refuses(self, rule: ActiveRule, values: dict[str, Any], watch: _Watch) -> bool:
        if watch.stopped:
            raise TimeoutError("nobody waits for this any more")
        if rule.name in self._overran:
            return True
        watch.rule, watch.since = rule.name, self._clock.monotonic()
        refuses = _verdict(rule, values).approved is not True
        watch.rule = ""
        return refuses

    def _too_slow(self, rule: ActiveRule) -> Verdict:
        message = f"It did not answer within {self._budget:g} s and is not asked again until a restart."
        return _refused(rule, "rule_overran", message)


class _Watch:
    """Which rule a search is asking, and since when; set from outside once nobody waits for it."""

    def __init__(self) -> None:
        self.rule, self.since, self.stopped = "", 0.0, False


def _refused(rule: ActiveRule, code: str, message: str) -> Verdict:
    """A refusal that the gate itself speaks in a rule's name."""
    return Verdict(approved=False, code=code, message=message, rule=rule.name, owner=rule.owner, reason=rule.reason)


def _verdict(rule: ActiveRule, given: dict[str, Any]) -> Verdict:
    """The rule's answer, if it is one; whatever else it does is a refusal."""
    given["settings"] = rule.settings
    try:
        verdict = attempt(rule.validate.call, given)
    except Failed as failed:
        return _refused(rule, "rule_failed", f"It failed with {failed}; what cannot be judged is refused.")
    if type(verdict) is not Verdict or type(verdict.approved) is not bool:
        kind = type(verdict).__name__ if type(verdict) is not Verdict else "a Verdict that neither approves nor refuses"
        return _refused(rule, "bad_verdict", f"It answered {kind}, which is no verdict; that is a refusal.")
    if not isinstance(verdict.code, str) or not isinstance(verdict.message, str):
        return _refused(rule, "bad_verdict", "Its verdict has no code and message in words; that is a refusal.")
    if not (_is_number(verdict.observed) and _is_number(verdict.limit)):
        return _refused(rule, "bad_verdict", "The numbers of its verdict are not finite decimals; that is a refusal.")
    return Verdict(
        approved=verdict.approved,
        code=verdict.code,
        message=verdict.message,
        observed=verdict.observed,
        limit=verdict.limit,
        rule=rule.name,
        owner=rule.owner,
        reason=rule.reason,
    )


def _is_number(value: object) -> bool:
    return value is None or (type(value) is Decimal and value.is_finite() and abs(value.adjusted()) < _DIGITS)
