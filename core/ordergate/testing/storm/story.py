"""The journal of one account, folded row by row, and what each row must bear out: the cap, the cash, every refusal.

The fold is this module's own: what the gate's code got wrong must not be found right here. Where the evidence allows
two readings, the one that is kinder to the gate counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from attrs import define, field, frozen

from ordergate.amounts import ZERO
from ordergate.journal import Entry
from ordergate.ledger import EVERY_ACCOUNT
from ordergate.models import OrderStatus
from ordergate.testing.storm.evidence import Evidence

__all__ = ["Row", "Story", "Violation"]

_CHECKS: Final = frozenset({"gate.state", "gate.facts", "gate.tier", "gate.market", "gate.funds"})
_FINAL: Final = frozenset(status.value for status in OrderStatus if status.is_final)
_NO_FUNDS: Final = frozenset({"EOrder:Insufficient funds", "INSUFFICIENT_FUND"})
_HANDOVER: Final = 5.0  # seconds by which the database's clock, and a slow answer, may move the end of a lease


@frozen
class Violation:
    """Something that must not be. `name` is the broken promise, as listed in `ordergate.testing.storm.checker`."""

    name: str
    account: str
    what: str

    def __str__(self) -> str:
        return f"{self.name}: account {self.account}: {self.what}"


@define
class Claim:
    """An approved buy, for as long as its reservation counts."""

    wire: str
    takes: str
    gives: str
    needs: Decimal
    status: str = "sending"
    heard_at: float | None = None

    def certainly_seen(self, begun: float) -> bool:
        """Whether facts that were begun then must already show what became of it."""
        return self.status in _FINAL and self.heard_at is not None and self.heard_at <= begun


@define
class Row:
    """A decision as the journal has it."""

    seq: int
    at: float
    body: Mapping[str, Any]
    statuses: set[str] = field(factory=set)
    """What the journal has ever said of it."""
    last: str = ""
    ended_at: int | None = None
    """The row with its final receipt."""
    doubted_at: int | None = None
    """The row that first said that its outcome is unknown."""

    @property
    def sent(self) -> Mapping[str, Any] | None:
        return self.body["venue_order"]  # type: ignore[no-any-return]  # it was read from JSON

    @property
    def name(self) -> str:
        return str(self.body["client_order_id"])


class Story:
    """The journal of one account, folded row by row."""

    def __init__(self, account: str, evidence: Evidence) -> None:
        self.account, self._evidence = account, evidence
        self.rows: dict[str, Row] = {}
        self.by_wire: dict[str, Row] = {}
        self.caps: list[int] = []
        self._claims: dict[str, Claim] = {}
        self._halts: list[tuple[int, bool]] = []
        self._everybody = [
            (entry.at, json.loads(entry.body)["trading"] == "exits_only")
            for entry in evidence.journals.get(EVERY_ACCOUNT, ())
            if entry.kind == "trading"
        ]

    def read(self, entries: Iterable[Entry]) -> Iterator[Violation]:
        for entry in entries:
            body = json.loads(entry.body)
            if entry.kind == "decision":
                yield from self._decided(entry, body)
            elif entry.kind == "receipt":
                yield from self._heard(entry, body)
            elif entry.kind == "settled":
                for name in body["gone"]:
                    self._claims.pop(name, None)
            elif entry.kind == "trading":
                self._halts.append((entry.seq, body["trading"] == "exits_only"))
            elif entry.kind == "alarm" and body["code"] == "foreign_order":
                yield self.broken("I1", f"row {entry.seq} says: {body['message']}")

    def halted(self, seq: int) -> bool:
        """Whether the account was halted just before that row."""
        before = [halted for at, halted in self._halts if at < seq]
        return bool(before) and before[-1]

    def broken(self, name: str, what: str) -> Violation:
        return Violation(name, self.account, what)

    def _decided(self, entry: Entry, body: dict[str, Any]) -> Iterator[Violation]:
        name = body["client_order_id"]
        row = Row(entry.seq, entry.at, body)
        if name in self.rows:
            yield self.broken(
                "I1", f"order {name} was decided twice, in the rows {self.rows[name].seq} and {entry.seq}"
            )
        self.rows[name] = row
        if row.sent is not None:
            self.by_wire[row.sent["client_order_id"]] = row
            row.last = "sending"
        if body["is_exit"]:
            return
        if row.sent is not None:
            yield from self._approved(entry, body, name)
        else:
            yield from self._refused(entry, body, name)

    def _approved(self, entry: Entry, body: dict[str, Any], name: str) -> Iterator[Violation]:
        verdicts = {verdict["rule"]: verdict["approved"] for verdict in body["verdicts"]}
        missing = {*self._evidence.rules, *_CHECKS} - {rule for rule, approved in verdicts.items() if approved is True}
        if missing:
            yield self.broken("I3", f"row {entry.seq} approves {name} without {', '.join(sorted(missing))}")
        if self.halted(entry.seq):
            yield self.broken("I5", f"row {entry.seq} approves {name} while only exits pass")
        facts, setup = self._facts(body), self._kept(body["setup"])
        reserved = body["reservation"]
        takes = reserved["takes"]
        there = self._positions(facts, kind=True) | {
            claim.takes for claim in self._claims.values() if not claim.certainly_seen(facts["begun"])
        }
        cap = _cap(setup, body["summary"]["tier"])
        self.caps.append(cap)
        if takes not in there and len(there) + 1 > cap:
            held = ", ".join(sorted(there))
            yield self.broken("I2", f"row {entry.seq} opens {takes} beside {held}: more than the cap of {cap}")
        free = _available(facts, reserved["gives"]) - self._unseen_needs(facts, reserved["gives"])
        if Decimal(reserved["needs"]) > free:
            yield self.broken("I2", f"row {entry.seq} needs {reserved['needs']} of the {free} {reserved['gives']} left")
        self._claims[name] = Claim(reserved["wire_id"], takes, reserved["gives"], Decimal(reserved["needs"]))

    def _refused(self, entry: Entry, body: dict[str, Any], name: str) -> Iterator[Violation]:
        refusals = [verdict for verdict in body["verdicts"] if verdict["approved"] is not True]
        if not refusals:
            yield self.broken("refusal", f"row {entry.seq} refuses {name} and says not why")
        for verdict in refusals:
            if not self._is_explained(verdict, entry, body):
                told = f"{verdict['code']} ({verdict['message']})"
                yield self.broken(
                    "refusal", f"row {entry.seq} refuses {name} by {told}, and nothing there bears it out"
                )

    def _heard(self, entry: Entry, body: dict[str, Any]) -> Iterator[Violation]:
        name, status, receipt = body["client_order_id"], body["status"], body["receipt"]
        row = self.rows.get(name)
        if row is None or row.sent is None:
            yield self.broken("I3", f"row {entry.seq} is about order {name}, which was never approved")
            return
        row.statuses.add(status)
        if receipt is not None and receipt["code"] in _NO_FUNDS and row.sent["side"] == "buy":
            yield self.broken("I2", f"the venue had no funds for {name}, which was approved in row {row.seq}")
        if row.ended_at is not None:
            return  # the first final word stands
        row.last = status
        if status in _FINAL:
            row.ended_at = entry.seq
        elif status == "unknown" and row.doubted_at is None:
            row.doubted_at = entry.seq
        claim = self._claims.get(name)
        if claim is not None:
            claim.status, claim.heard_at = status, entry.at

    def _unseen_needs(self, facts: Mapping[str, Any], gives: str) -> Decimal:
        """What earlier buys may still take out of the cash on these facts; for those that rest its hold tells."""
        resting = {order["client_order_id"] for order in facts["report"]["open_orders"]}
        unseen = [
            claim
            for claim in self._claims.values()
            if claim.gives == gives
            and claim.wire not in resting
            and (claim.heard_at is None or claim.heard_at > facts["begun"])
        ]
        return sum((claim.needs for claim in unseen), ZERO)

    # ---------------------------------------------------------------------------------------------- what was judged on

    def _facts(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._kept(body["facts"])

    def _kept(self, name: str) -> Mapping[str, Any]:
        return self._evidence.kept[self.account, name]  # type: ignore[no-any-return]  # it was read from JSON

    def _positions(self, facts: Mapping[str, Any], *, kind: bool) -> set[str]:
        """Currencies that count as positions on these facts, resting buys too: at least those, or at most those."""
        if facts["report"] is None:
            return set()
        bids = {price["symbol"]: Decimal(price["bid"]) for price in facts["prices"]}
        found = set()
        for holding in facts["report"]["holdings"]:
            currency = holding["currency"]
            amount = sum((Decimal(holding[name]) for name in ("available", "hold", "locked")), ZERO)
            worth = amount * bids.get(f"{currency}-USD", ZERO)
            if currency != "USD" and worth >= (2 if kind else 1):
                found.add(currency)
        for order in facts["report"]["open_orders"]:
            if order["side"] == "buy":
                found.add(order["symbol"].split("-")[0])
        return found

    # ---------------------------------------------------------------------------------------------- why it was refused

    def _is_explained(self, verdict: Mapping[str, Any], entry: Entry, body: Mapping[str, Any]) -> bool:
        why: Callable[[Mapping[str, Any], Entry, Mapping[str, Any]], bool] | None = {
            "over_cap": self._cap_was_reached,
            "not_enough_funds": self._funds_were_short,
            "exits_only": self._was_halted,
            "outcome_unknown": self._was_in_doubt,
            "no_trusted_facts": self._facts_were_bad,
            "not_judged": self._something_else_was_wrong,
            "no_tier": self._facts_were_bad,
            "another_sender": self._was_lent,
        }.get(verdict["code"])
        if why is not None:
            return why(verdict, entry, body)
        observed, limit = verdict["observed"], verdict["limit"]  # of the rules that look at one order alone
        return observed is not None and limit is not None and Decimal(observed) < Decimal(limit)

    def _cap_was_reached(self, _: Mapping[str, Any], __: Entry, body: Mapping[str, Any]) -> bool:
        there = self._positions(self._facts(body), kind=False) | {claim.takes for claim in self._claims.values()}
        cap = _cap(self._kept(body["setup"]), body["summary"]["tier"])
        return len(there - {body["purchase"]["takes"]}) >= cap

    def _funds_were_short(self, verdict: Mapping[str, Any], _: Entry, body: Mapping[str, Any]) -> bool:
        gives = body["purchase"]["gives"]
        there = _available(self._facts(body), gives)
        claimed = sum((claim.needs for claim in self._claims.values() if claim.gives == gives), ZERO)
        observed, limit = Decimal(verdict["observed"]), Decimal(verdict["limit"])
        return observed > limit and there - claimed <= limit <= there

    def _was_halted(self, _: Mapping[str, Any], entry: Entry, __: Mapping[str, Any]) -> bool:
        return self.halted(entry.seq) or any(halted and at <= entry.at for at, halted in self._everybody)

    def _was_in_doubt(self, _: Mapping[str, Any], entry: Entry, body: Mapping[str, Any]) -> bool:
        """Some order of the symbol was of unknown outcome at some moment of the judging."""
        begun = body["judged_on"]["seq"]
        for row in self.rows.values():
            if row.sent is None or row.sent["symbol"] != body["symbol"] or row.body is body:
                continue
            over = row.ended_at is not None and row.ended_at <= begun
            doubted = row.doubted_at is not None or row.sent["send_by"] < entry.at
            if doubted and not over:
                return True
        return False

    def _facts_were_bad(self, verdict: Mapping[str, Any], _: Entry, body: Mapping[str, Any]) -> bool:
        facts = self._facts(body)
        if facts["report"] is None or facts["failures"] or facts["no_market"]:
            return True
        observed, limit = verdict["observed"], verdict["limit"]
        return observed is not None and limit is not None and Decimal(observed) > Decimal(limit)

    def _something_else_was_wrong(self, _: Mapping[str, Any], __: Entry, body: Mapping[str, Any]) -> bool:
        return any(one["approved"] is not True and one["rule"] in _CHECKS for one in body["verdicts"])

    def _was_lent(self, _: Mapping[str, Any], entry: Entry, __: Mapping[str, Any]) -> bool:
        """Somebody bought so shortly before that the account was lent to them."""
        lease = self._evidence.lease
        bought = [row.at for row in self.rows.values() if row.sent is not None and not row.body["is_exit"]]
        return lease is not None and any(entry.at - at < lease + _HANDOVER for at in bought)


def _cap(setup: Mapping[str, Any], tier: str) -> int:
    cap = int(next(one["max_positions"] for one in setup["tiers"] if one["name"] == tier))
    ceiling = setup["gate"]["max_positions"]
    return cap if ceiling is None else min(cap, int(ceiling))


def _available(facts: Mapping[str, Any], currency: str) -> Decimal:
    holdings = facts["report"]["holdings"]
    return next((Decimal(one["available"]) for one in holdings if one["currency"] == currency), ZERO)
