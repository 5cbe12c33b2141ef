"""Judging every recorded decision on a buy again, under another set-up or under its own, and adding up what changes.

Reads the ledger once, row by row; writes nothing and asks no venue. Each decision is judged by itself, on its recorded
facts and on the journal as it then stood. Consequences are not played through: an order that would not have been sent
would have changed what came after it, and nobody can say how.
"""

from __future__ import annotations

import json
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

from attrs import evolve, frozen

from ordergate.again import Terms, inputs_of, past_at, recorded_profile, recorded_terms
from ordergate.amounts import exact
from ordergate.calls import Failed, Overran, within
from ordergate.clock import Clock, iso
from ordergate.errors import ConfigError, InputError, LedgerDamaged, PluginError, Problem
from ordergate.journal import Entry, link
from ordergate.judge import Inputs, Judgement, judge
from ordergate.ledger import EVERY_ACCOUNT, Ledger
from ordergate.models import Purchase, Side, Verdict
from ordergate.order import Order
from ordergate.panel import ActiveRule, Asked, Panel
from ordergate.past import Past
from ordergate.records import from_plain, to_plain
from ordergate.replay_report import Change, Report, RuleTally, Skipped, Tally, Worth
from ordergate.setup import Setup
from ordergate.sizing import is_exit

__all__ = ["Chosen", "replay", "with_its_past"]

_AHEAD: Final = (
    2000  # rows that are read before the first of them is folded: decisions lag behind what they were judged on
)
_TOGETHER: Final = 50  # decisions that are judged under one deadline: waking a thread costs more than judging one
_BUDGET: Final = 30.0  # seconds for them, and for each rule: nothing waits here, and a busy machine is no verdict
_TOLD: Final = 1000  # rows between two words of progress
_BROKEN: Final = frozenset({"rule_failed", "bad_verdict", "rule_meddled"})
_OF_THE_SETUP: Final = (
    "plugin_",
    "pin_",
)  # how the codes of stops begin that came from the config then, not from a state
_OTHER_FORM: Final = "recorded in a form that this version cannot judge"

Placed = tuple[Entry, Mapping[str, Any], Past | None]
"""A decision's row, its body, and the past it was judged on; None where the row does not say which, as for an exit."""


@frozen(kw_only=True)
class Chosen:
    """Which decisions: of one account, in one symbol, made at `since` or later and before `until` (seconds since the
    epoch).
    """

    account: str | None = None
    symbol: str | None = None
    since: float = float("-inf")
    until: float = float("inf")


def replay(
    ledger: Ledger,
    setup: Setup,
    clock: Clock,
    chosen: Chosen | None = None,
    *,
    check: bool = False,
    listed: int = 20,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Judge the chosen decisions again under `setup`, or with `check` each under the set-up that it was made with.

    Lists at most `listed` changes. Raises ConfigError for a set-up that could not trade either, PluginError for a rule
    that does not answer, InputError for an account that the ledger does not know, LedgerError for what cannot be read,
    LedgerDamaged for a row that does not follow from the one before, or facts that are gone.
    """
    _refuse_unusable(setup)
    chosen = chosen or Chosen()
    heads = {name: head for name, head in ledger.heads().items() if name != EVERY_ACCOUNT}
    if chosen.account is not None and chosen.account not in heads:
        raise InputError("account", chosen.account, f"the ledger has {', '.join(heads) or 'none'}")
    again = _Replay(ledger, _Recorded(setup, clock) if check else _Other(setup, clock), listed)
    for name in heads if chosen.account is None else [chosen.account]:
        rows = _told(_chained(ledger, name, heads[name]), name, heads[name][0], tell)
        with exact():
            for entry, body, past in with_its_past(rows, partial(past_at, ledger, name)):
                if chosen.since <= entry.at < chosen.until and chosen.symbol in (None, body["symbol"]):
                    again.take(entry, body, past)
            again.judge_waiting()
    return again.report


def with_its_past(entries: Iterable[Entry], fold_anew: Callable[[int], Past], ahead: int = _AHEAD) -> Iterator[Placed]:
    """Each decision of one account's journal with the past it was judged on, which is that of an earlier row.

    Others may have written between the two, so the rows are folded `ahead` rows behind where they are read. The past is
    only true until the next is asked for. For a decision that is further behind, `fold_anew` gives the past.
    """
    past = Past()
    waiting: deque[tuple[Entry, Mapping[str, Any] | None]] = deque()
    due: dict[int, list[tuple[Entry, Mapping[str, Any]]]] = {}

    def fold_one() -> Iterator[Placed]:
        yield from ((entry, body, past) for entry, body in due.pop(past.seq, ()))
        past.take(*waiting.popleft())

    for entry in entries:
        body = json.loads(entry.body) if entry.kind == "decision" else None
        waiting.append((entry, body))
        if body is not None:
            seq = (body.get("judged_on") or {}).get("seq")
            if seq is None:
                yield entry, body, None
            elif seq >= entry.seq:
                raise LedgerDamaged(f"account {entry.account}, row {entry.seq} says that it was judged on row {seq}")
            elif seq < past.seq:
                yield entry, body, fold_anew(seq)
            else:
                due.setdefault(seq, []).append((entry, body))
        if len(waiting) > ahead:
            yield from fold_one()
    while waiting:
        yield from fold_one()


def _refuse_unusable(setup: Setup) -> None:
    problems = [*setup.problems, *(problem for found in setup.broken.values() for problem in found)]
    problems += [Problem("plugins", sentence.rstrip("."), f"({code})") for code, sentence in setup.refusals]
    if problems:
        raise ConfigError(dict.fromkeys(problems))


def _chained(ledger: Ledger, account: str, head: tuple[int, str]) -> Iterator[Entry]:
    """An account's rows up to its head, each of which follows from the one before."""
    last, hashed = 0, ""
    for entry in ledger.entries(account):
        if last == head[0]:  # what was written meanwhile
            break
        found = link(hashed, account, entry.seq, entry.kind, entry.at, entry.key, entry.body)
        if entry.seq != last + 1 or found != entry.hash:
            break
        last, hashed = entry.seq, entry.hash
        yield entry
    if (last, hashed) != head:
        what = f"row {last + 1} of account {account} is missing or was changed"
        raise LedgerDamaged(f"the ledger is damaged: {what}; run `ordergate audit verify`")


def _told(entries: Iterable[Entry], account: str, rows: int, tell: Callable[[str], None]) -> Iterator[Entry]:
    for entry in entries:
        if entry.seq % _TOLD == 1:
            tell(f"Judging again: account {account}, row {entry.seq:,} of {rows:,}")
        yield entry


# ---------------------------------------------------------------------------------------------------------- the set-ups


class _Docket(Panel):
    """Asks the rules in the thread it is called in: many decisions are judged under one deadline."""

    def __init__(self, rules: Sequence[ActiveRule], clock: Clock) -> None:
        super().__init__(rules, _BUDGET, clock)
        self._answered: list[Verdict] = []

    def ask(self, values: Mapping[str, Any]) -> Asked:
        self._answered = []
        meddlers: set[str] = set()
        self._ask_each(values, self.rules, self._answered, meddlers)
        return Asked(tuple(self._answered), frozenset(meddlers))

    @property
    def asking(self) -> str:
        """The rule that has been asked and has not answered."""
        return self.rules[len(self._answered)].name if len(self._answered) < len(self.rules) else "rules"


class _Other:
    """Another config's rules, tiers, gate settings and fee thresholds. What the venue is like stays as recorded."""

    check = False

    def __init__(self, setup: Setup, clock: Clock) -> None:
        self._setup, self._panel = setup, _Docket(setup.panel.rules, clock)

    def terms(self, account: str, made: Mapping[str, Any], report: Report) -> Terms | str:
        profile, broker = recorded_profile(made), self._setup.brokers.get(account)
        if broker is None:
            report.absent.add(account)
        else:
            profile = evolve(profile, fee_threshold=broker.profile.fee_threshold)
        return Terms(self._setup.config.gate, self._setup.config.tiers, profile, self._panel)

    def stops(self, on: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Halts, unknown outcomes and the like were so whatever the config said; plugins it did not admit were not."""
        return [(code, sentence) for code, sentence in on["stops"] if not code.startswith(_OF_THE_SETUP)]


class _Recorded:
    """The set-up that a decision was made with; only the rules' code is that of now."""

    check = True

    def __init__(self, setup: Setup, clock: Clock) -> None:
        self._rules, self._clock = {rule.name: rule for rule in setup.panel.rules}, clock

    def terms(self, account: str, made: Mapping[str, Any], report: Report) -> Terms | str:
        del account
        missing = [one["name"] for one in made["rules"] if one["name"] not in self._rules]
        if missing:
            return f"rule {missing[0]} is not active in the config: name it in gate.rules to check these"
        for one in made["rules"]:
            rule: ActiveRule = self._rules[one["name"]]
            if rule.version != one["version"]:
                report.versions.add((rule.name, one["version"], rule.version))
        return recorded_terms(made, tuple(self._rules.values()), lambda active: _Docket(active, self._clock))

    def stops(self, on: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [(code, sentence) for code, sentence in on["stops"]]


# ---------------------------------------------------------------------------------------------------------- adding up


@frozen
class _Case:
    """A decision that is ready to be judged again."""

    entry: Entry
    body: Mapping[str, Any]
    inputs: Inputs
    panel: Panel


class _Replay:
    """Reads each decision back as it comes, judges some of them together, and counts."""

    def __init__(self, ledger: Ledger, setups: _Other | _Recorded, listed: int) -> None:
        self.report = Report()
        self._ledger, self._setups, self._listed = ledger, setups, listed
        self._terms: dict[tuple[str, str], Terms | str] = {}
        self._waiting: list[_Case] = []
        self._judged: list[Judgement | InputError] = []

    def take(self, entry: Entry, body: Mapping[str, Any], past: Past | None) -> None:
        """Take one decision in, or count why it cannot be judged again."""
        if body["is_exit"]:
            self._skip(body, "exits: no rule is asked about them", is_exit=True)
        elif self._setups.check and any(verdict["code"] == "rule_overran" for verdict in body["verdicts"]):
            self._skip(body, "a rule did not answer in time then, which facts cannot show")
        else:
            case = _OTHER_FORM if past is None else self._case(entry, body, past)
            if isinstance(case, str):
                self._skip(body, case)
            else:
                self._waiting.append(case)
                if len(self._waiting) == _TOGETHER:
                    self.judge_waiting()

    def judge_waiting(self) -> None:
        """Judge those that were taken in and count what comes of them. Raises PluginError for a rule that hangs."""
        waiting, self._waiting, self._judged = self._waiting, [], []
        if not waiting:
            return
        try:
            within(_BUDGET, self._judge, waiting)
        except Overran:
            case = waiting[min(len(self._judged), len(waiting) - 1)]
            raise _hangs(case.panel.asking if isinstance(case.panel, _Docket) else "rules", case) from None
        except Failed as failed:
            raise failed.cause from None
        for case, judgement in zip(waiting, self._judged, strict=True):
            for name in case.panel.overran:
                raise _hangs(name, case)
            if isinstance(judgement, InputError):
                self._skip(case.body, f"these settings do not let them be judged: {judgement}")
            elif self._setups.check:
                self._compare(case.entry, case.body, judgement)
            else:
                self._count(case.entry, case.body, judgement)

    def _judge(self, waiting: Sequence[_Case]) -> None:
        for case in waiting:
            try:
                judgement: Judgement | InputError = judge(case.inputs, case.panel, find_smallest=False)
            except InputError as error:
                judgement = error
            self._judged.append(judgement)

    def _case(self, entry: Entry, body: Mapping[str, Any], past: Past) -> _Case | str:
        """The decision as it is to be judged, or why it is not."""
        read = partial(self._ledger.kept, entry.account)
        try:
            terms = self._terms_of(entry.account, body["setup"], read)
            if isinstance(terms, str):
                return terms
            order = from_plain(body["order"], Order)
            if is_exit(order, terms.gate.cash):
                return "exits under this config: no rule is asked about them"
            stops = self._setups.stops(body["judged_on"])
            return _Case(entry, body, inputs_of(body, order, entry, terms, read, past, stops), terms.panel)
        except (LedgerDamaged, AttributeError, LookupError, TypeError, ValueError):
            for name in ("facts", "setup"):
                read(body[name])  # raises where these are gone or were changed; what is whole was written like this
            return _OTHER_FORM

    def _terms_of(self, account: str, name: str, read: Callable[[str], str]) -> Terms | str:
        if (account, name) not in self._terms:
            self._terms[account, name] = self._setups.terms(account, json.loads(read(name)), self.report)
        return self._terms[account, name]

    def _skip(self, body: Mapping[str, Any], reason: str, *, is_exit: bool = False) -> None:
        known = self.report.skipped.setdefault(reason, Skipped(decisions=0, first=body["client_order_id"]))
        known.decisions += 1
        self.report.unchecked += not is_exit

    def _compare(self, entry: Entry, body: Mapping[str, Any], judgement: Judgement) -> None:
        """Bit for bit: every verdict with its code, its numbers and its message."""
        now = to_plain(judgement.verdicts)
        approved = body["status"] == "approved"
        self._tally(entry, body, approved, judgement.approved)
        if now != body["verdicts"] or approved != judgement.approved or not _as_sized(body, judgement):
            differ = [one for one in body["verdicts"] if one not in now]
            verdicts = tuple(verdict for verdict in judgement.verdicts if to_plain(verdict) not in body["verdicts"])
            self._list(entry, body, judgement, tuple(from_plain(one, Verdict) for one in differ), verdicts, None)

    def _count(self, entry: Entry, body: Mapping[str, Any], judgement: Judgement) -> None:
        report, approved = self.report, body["status"] == "approved"
        tallies = self._tally(entry, body, approved, judgement.approved)
        then = {verdict["rule"] for verdict in body["verdicts"] if verdict["approved"] is not True}
        refusing = tuple(verdict for verdict in judgement.verdicts if verdict.approved is not True)
        now = {verdict.rule for verdict in refusing}
        for rule in then | now:
            tally = report.by_rule.setdefault(rule, RuleTally())
            tally.then += rule in then
            tally.now += rule in now
            tally.no_longer += rule in then - now
            tally.newly += rule in now - then
        for verdict in refusing:
            if verdict.code in _BROKEN:
                count, message = report.failing.get(verdict.rule, (0, verdict.message))
                report.failing[verdict.rule] = (count + 1, message)
        if approved == judgement.approved:
            for one in tallies:
                one.refused_otherwise += then != now
            return
        worth = _worth_then(body) if approved else _worth_now(judgement, body)
        if approved:
            report.not_sent += worth
            for one in tallies:
                one.fees_not_paid += worth.fees
        else:
            report.newly_sent += worth
        refused = tuple(from_plain(one, Verdict) for one in body["verdicts"] if one["rule"] in then)
        self._list(entry, body, judgement, refused, refusing, worth)

    def _tally(self, entry: Entry, body: Mapping[str, Any], then: bool, now: bool) -> tuple[Tally, ...]:  # noqa: FBT001 - the two answers
        report, day = self.report, iso(entry.at)[:10]
        tallies = (
            report.total,
            report.by_symbol.setdefault(body["symbol"], Tally()),
            report.by_day.setdefault(day, Tally()),
        )
        for tally in tallies:
            tally.decisions += 1
            tally.approved_then += then
            tally.approved_now += now
            tally.now_refused += then and not now
            tally.now_approved += now and not then
        return tallies

    def _list(
        self,
        entry: Entry,
        body: Mapping[str, Any],
        judgement: Judgement,
        then: tuple[Verdict, ...],
        now: tuple[Verdict, ...],
        worth: Worth | None,
    ) -> None:
        changes = self.report.changes
        self.report.changed += 1
        place = (entry.account, entry.seq)
        if len(changes) == self._listed and (not changes or changes[-1].place < place):
            return
        change = Change(
            account=entry.account,
            client_order_id=body["client_order_id"],
            seq=entry.seq,
            at=entry.at,
            order=from_plain(body["order"], Order),
            approved_then=body["status"] == "approved",
            approved_now=judgement.approved,
            then=then,
            now=now,
            worth=worth,
        )
        insort(changes, change, key=lambda one: one.place)
        del changes[self._listed :]


def _as_sized(body: Mapping[str, Any], judgement: Judgement) -> bool:
    """Whether what was to be sent, and reserved, is what this judgement comes to."""
    sent, reserved, sized = body["venue_order"], body["reservation"], judgement.sized
    if sent is None or sized is None:
        return sent is None and reserved is None
    terms = (to_plain(sized.spend), to_plain(sized.amount), to_plain(sized.limit))
    claimed = (to_plain(sized.needs), to_plain(sized.purchase.size))
    return (sent["spend"], sent["amount"], sent["limit"]) == terms and (reserved["needs"], reserved["size"]) == claimed


def _hangs(rule: str, case: _Case) -> PluginError:
    what = f"it did not answer within {_BUDGET:g} s about order {case.body['client_order_id']}"
    return PluginError(rule, "rule_overran", what, "Mend it, or take it out of gate.rules.")


def _worth_then(body: Mapping[str, Any]) -> Worth:
    return _worth(from_plain(body["purchase"], Purchase), Decimal(body["taker_fee"]["value"]))


def _worth_now(judgement: Judgement, body: Mapping[str, Any]) -> Worth:
    if judgement.sized is None:
        raise ValueError("an approved order was sized")
    return _worth(judgement.sized.purchase, Decimal(body["taker_fee"]["value"]))


def _worth(purchase: Purchase, taker: Decimal) -> Worth:
    """The fee is in the cost of a buy; a sell that is judged (of ETH for BTC) pays it out of what it brings in."""
    fees = purchase.size * taker if purchase.side is Side.SELL else purchase.cost - purchase.cost / (1 + taker)
    return Worth(orders=1, size=purchase.size, cost=purchase.cost, fees=fees)
