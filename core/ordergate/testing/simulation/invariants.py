"""What must hold after every row and every step, reckoned from the venue's truth and the journal, not from the gate's
own sums. Where the truth allows two readings, the one that is kinder to the gate is taken: nothing here cries wolf.

    I0  an answer is a decision: nothing escapes but the documented errors
    I1  at most one venue order, and one send, per intent
    I2  what lives, is reserved or is unknown stays within the cap and within the cash, and nothing alive is given up
    I3  no venue order without an earlier committed approval; a buy's names every active rule
    I4  no committed row is lost
    I5  any doubt, no buy: an unknown outcome, a halt, facts that failed or are old, a clock that is wrong
    I6  exits and cancels reach the venue whenever it can be reached
    I7  the journal verifies and equals the tables folded from it
    I8  once everything has healed, every order is settled as the venue has it, and reservations are those of open buys
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from ordergate.amounts import ZERO
from ordergate.broker import wire_id
from ordergate.decision import Decision
from ordergate.ledger import SENDING
from ordergate.models import OrderStatus, VenueOrder
from ordergate.records import canonical, to_plain
from ordergate.settings import DEFAULT_TIERS
from ordergate.sqlite_ledger import SqliteLedger
from ordergate.testing.simulation.exchange import IDENTITY, STEP

if TYPE_CHECKING:
    from ordergate.testing.simulation.steps import Step
    from ordergate.testing.simulation.world import Frame, World

__all__ = ["ACCOUNT", "RULES", "Broken", "Watch"]

ACCOUNT: Final = "main"
RULES: Final = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
_CHECKS: Final = ("gate.state", "gate.facts", "gate.tier", "gate.market", "gate.funds")
_FINAL: Final = frozenset(status.value for status in OrderStatus if status.is_final)


@frozen
class Broken:
    """An invariant that did not hold, and what was seen."""

    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


@define(kw_only=True)
class Intent:
    """An approved order as it was committed."""

    wire: str
    symbol: str
    is_exit: bool
    needs: Decimal
    approved_at: float
    window: float
    """From when on the facts it was approved on may have been true, seconds since the run began."""
    send_by: float
    over_at: float | None = None
    """When the venue turned it away."""

    @property
    def base(self) -> str:
        return self.symbol.split("-")[0]


@define
class Watch:
    """Sees everything, and collects what is broken. Never raises: it is called from inside the code it watches."""

    world: World
    broken: list[Broken] = field(factory=list)
    _intents: dict[str, Intent] = field(factory=dict)
    _names: dict[str, str] = field(factory=dict)
    _sends: dict[str, int] = field(factory=dict)
    _repeated: set[str] = field(factory=set)
    """Exits that were rightly sent more than once."""
    _waited: set[tuple[str, str]] = field(factory=set)
    """Account and key of every line that was seen in the fallback."""
    _committed: list[tuple[str, int, str, str]] = field(factory=list)
    _texts: dict[str, str] = field(factory=dict)
    """What decisions name: given to the ledger before them, and there with them."""
    _reader: sqlite3.Connection | None = None
    _verifier: SqliteLedger | None = None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._verifier is not None:
            self._verifier.close()

    def say(self, name: str, what: str) -> None:
        self.broken.append(Broken(name, what))

    def knows(self, client_order_id: str) -> None:
        """An id that is going to be used: the intent behind either id it can have on the wire."""
        for identity in (IDENTITY, f"account:{ACCOUNT}"):
            self._names[wire_id(identity, client_order_id)] = client_order_id

    # -------------------------------------------------------------------------------------------------- seen at once

    def sees_text(self, name: str, text: str) -> None:
        self._texts[name] = text

    def sees_append(self, account: str, kind: str, body: Mapping[str, Any]) -> list[Broken]:
        """What would be broken if this row were taken, reckoned before it is."""
        if kind == "decision" and body["venue_order"] is not None and not body["is_exit"]:
            return [*self._doubts(body), *self._over(body)]
        if kind == "receipt" and body["status"] in _FINAL:
            return self._given_up(account, str(body["client_order_id"]), str(body["status"]))
        return []

    def sees_row(self, account: str, kind: str, body: Mapping[str, Any], row: int | None, found: list[Broken]) -> None:
        if row is None:
            return
        self.broken += found
        self._committed.append((account, row, kind, canonical(body)))
        if kind == "decision" and body["venue_order"] is not None:
            self._approved(body)

    def sees_sending(self, order: VenueOrder) -> None:
        """Called with the first byte of an order."""
        wire = order.client_order_id
        self.world.frame.reached.add(wire)
        intent = self._names.get(wire, wire)
        self._sends[intent] = self._sends.get(intent, 0) + 1
        if self._sends[intent] > 1 and not self._may_repeat(order, intent):
            self.say("I1", f"order {intent} was sent {self._sends[intent]} times")
        rows = self._rows(
            "SELECT j.body, o.status FROM orders AS o JOIN journal AS j ON j.account = o.account AND j.seq = o.seq "
            "WHERE o.wire_id = ?",
            wire,
        )
        waiting = [json.loads(line) for line in self.world.fallback_text().splitlines()]
        if order.side == "sell" and any(line["body"].get("venue_order") == to_plain(order) for line in waiting):
            return
        if not rows:
            self.say("I3", f"{order.side} {intent} was sent and is recorded nowhere")
        for body, status in rows:
            self._check_approval(json.loads(body), str(status), order, intent)

    def _may_repeat(self, order: VenueOrder, intent: str) -> bool:
        """An exit that comes again while nobody can read the ledger, and that the venue does not show, is sent again:
        keeping it in would be worse. Everything else is sent once.
        """
        frame, world = self.world.frame, self.world
        unread = world.ledger_gone or bool(frame.step.disk)
        wires = [wire for wire, name in self._names.items() if name == intent] or [order.client_order_id]
        asked = frame.step.asked.partition(":")[0]
        hidden = frame.step.blind > 0 or asked in ("find", "account", "all")
        shown = any(world.exchange.of(wire) for wire in wires)
        excused = order.side == "sell" and unread and (hidden or not shown)
        if excused:
            self._repeated.add(intent)
        return excused

    def sees_refusal(self, order: VenueOrder) -> None:
        """The venue has turned the order away."""
        intent = self._intents.get(order.client_order_id)
        if intent is not None:
            intent.over_at = self.world.elapsed

    def sees_cancel(self, order: VenueOrder) -> None:
        self.world.frame.reached.add(order.client_order_id)

    # --------------------------------------------------------------------------------------------- seen after a step

    def after_step(self, *, thoroughly: bool) -> None:
        exchange = self.world.exchange
        counts: dict[str, int] = {}
        for order in exchange.orders:
            if order.wire_id is not None:
                intent = self._names.get(order.wire_id, order.wire_id)
                counts[intent] = counts.get(intent, 0) + 1
        for intent, count in counts.items():
            if count > 1 and intent not in self._repeated:
                self.say("I1", f"the venue has {count} orders of {intent}")
        for wire in exchange.out_of_funds:
            found = self._intents.get(wire)
            if found is not None and not found.is_exit and exchange.foreign_at < found.window:
                self.say("I2", f"the venue had no money for buy {self._names.get(wire, wire)}")
        exchange.out_of_funds.clear()
        lines = [json.loads(line) for line in self.world.fallback_text().splitlines()]
        self._waited |= {(line["account"], line["key"]) for line in lines}
        self._check_rows()
        if thoroughly:
            self._check_journal()

    def after_exit(self, step: Step, frame: Frame, decision: Decision) -> None:
        """A sell came back from the gate: it must have reached the venue unless nothing was there to be sold."""
        world, how = self.world, step.asked
        blocked = world.venue_gone or frame.venue_was_gone or step.wire == "not_sent" or how == "connect:down"
        blind = step.size == "all" and how.partition(":")[0] in ("account", "all")
        if blocked or blind or decision.replayed or step.meanwhile is not None:
            return
        window = world.exchange.between(frame.begun - world.scenario.promise.balance_lag, world.elapsed)
        if min(moment.free(step.symbol.split("-")[0]) for moment in window) < STEP:
            return
        wire = decision.venue_order.client_order_id if decision.venue_order else ""
        if wire not in frame.reached:
            self.say("I6", f"a sell of {step.symbol} was held: {decision.status}, {decision.message}")

    def after_cancel(self, frame: Frame, client_order_id: str, *, open_before: bool, answer: str) -> None:
        """A cancel of an order that was open came back from the gate."""
        step, world = frame.step, self.world
        if not open_before or world.venue_gone or frame.venue_was_gone or step.asked == "connect:down":
            return
        if step.meanwhile is not None or world.ledger_gone or step.disk or step.asked.startswith(("account", "all")):
            return
        wires = {wire for wire, name in self._names.items() if name == client_order_id}
        if not wires & frame.reached:
            self.say("I6", f"the cancel of {client_order_id} was held: {answer}")

    def at_the_end(self) -> None:
        """Everything has healed and was settled; books and truth must agree."""
        exchange = self.world.exchange
        if self.world.fallback_text():
            self.say("I8", "lines still wait in the fallback")
        for account, key in sorted(self._waited):
            if not self._rows("SELECT 1 FROM journal WHERE account = ? AND key = ?", account, key):
                self.say("I4", f"{key} waited in the fallback and never came into the journal")
        rows = self._rows(
            "SELECT o.client_order_id, o.wire_id, o.status, o.is_exit, o.live, r.body FROM orders AS o "
            "LEFT JOIN journal AS r ON r.account = o.account AND r.seq = o.receipt_seq "
            "WHERE o.wire_id IS NOT NULL AND o.account = ?",
            ACCOUNT,
        )
        for name, wire, status, is_exit, live, heard in rows:
            if name in self._repeated:
                continue
            taken = exchange.of(wire)
            truth = taken[-1].status.value if taken else "never taken"
            agrees = status == truth if taken else status in ("expired", "rejected")
            if not agrees:
                self.say("I8", f"the ledger has {name} as {status}, the venue as {truth}")
            receipt = json.loads(heard)["receipt"] if heard else None
            by_hand = receipt is not None and receipt["code"] == "settled_by_person"
            if taken and receipt and not by_hand and Decimal(receipt["filled_amount"]) != taken[-1].filled:
                self.say("I8", f"the ledger has {receipt['filled_amount']} of {name}, the venue {taken[-1].filled}")
            rests = bool(taken) and not taken[-1].status.is_final
            if not is_exit and bool(live) != rests:
                self.say("I8", f"the reservation of {name} is {'kept' if live else 'gone'}, the order is {truth}")

    # ------------------------------------------------------------------------------------------------------ reckoning

    def _approved(self, body: Mapping[str, Any]) -> None:
        order = body["venue_order"]
        self._intents[order["client_order_id"]] = Intent(
            wire=order["client_order_id"],
            symbol=order["symbol"],
            is_exit=body["is_exit"],
            needs=Decimal(body["reservation"]["needs"]) if body["reservation"] else ZERO,
            approved_at=self.world.elapsed,
            window=self._window(body)[0],
            send_by=order["send_by"],
        )

    def _window(self, body: Mapping[str, Any]) -> tuple[float, Mapping[str, Any]]:
        """Since when the facts of a decision may be true, and the facts."""
        if body["facts"] is None:
            return self.world.elapsed, {}
        facts = json.loads(self._texts[body["facts"]])
        begun = self.world.clock.told.get(facts["begun"], self.world.elapsed)
        return begun - self.world.scenario.promise.balance_lag, facts

    def _alive(self, intent: Intent, at: float) -> bool:
        """Whether the order lived, or could still arrive, at a moment."""
        taken = self.world.exchange.of(intent.wire)
        if taken:
            return any(order.final_at is None or order.final_at > at for order in taken)
        if intent.over_at is not None:
            return intent.over_at > at
        return self.world.exchange.begins + at <= intent.send_by or self.world.exchange.may_arrive(intent.wire)

    def _over(self, body: Mapping[str, Any]) -> list[Broken]:
        """Caps: what was held all the while the facts may be of, and what every other approved buy may still become."""
        window, _ = self._window(body)
        world = self.world
        moments = world.exchange.between(window, world.elapsed)
        buys = [one for one in self._intents.values() if not one.is_exit]
        held = frozenset.intersection(*(moment.held() for moment in moments))
        counted = held | {one.base for one in buys if one.approved_at > window or self._alive(one, window)}
        caps = [tier.max_positions for moment in moments for tier in DEFAULT_TIERS if moment.equity() >= tier.equity]
        takes, found = body["reservation"]["takes"], list[Broken]()
        # What a person at the venue already bids for is theirs to open.
        theirs = frozenset[str]().union(*(moment.bid_for_by_hand() for moment in moments))
        name, cap = body["client_order_id"], max(caps, default=0)
        seen = frozenset[str]().union(*(moment.held() for moment in moments))
        # And a currency that an earlier buy still has a claim on is counted already, even if that buy is over.
        claims = self._rows("SELECT json_extract(reservation, '$.takes') FROM orders WHERE live = 1")
        known = counted | theirs | seen | {claim[0] for claim in claims}
        if takes not in known and len(counted) + 1 > cap:
            text = f"buy {name} opens {takes} beside {', '.join(sorted(counted))}: over the cap of {cap}"
            found.append(Broken("I2", text))
        free = max(moment.free("USD") for moment in moments)
        pending = [one for one in buys if not world.exchange.of(one.wire) and self._alive(one, world.elapsed)]
        needs = Decimal(body["reservation"]["needs"]) + sum((one.needs for one in pending), ZERO)
        if needs > free:
            found.append(Broken("I2", f"buy {name} and {len(pending)} on their way need {needs} USD of {free}"))
        return found

    def _doubts(self, body: Mapping[str, Any]) -> list[Broken]:
        world, name, found = self.world, body["client_order_id"], list[str]()
        _, facts = self._window(body)
        begun = facts["begun"]
        doubtful = self._rows(
            "SELECT client_order_id FROM orders WHERE symbol = ? "
            "AND (status = 'unknown' OR (status = ? AND send_by < ?))",
            body["symbol"],
            SENDING,
            begun,
        )
        found += [f"{one[0]} in {body['symbol']} is of unknown outcome" for one in doubtful]
        if self._rows("SELECT 1 FROM account WHERE name IN (?, '*') AND trading <> 'active'", ACCOUNT):
            found.append("trading is halted")
        if world.frame.halt_file_stood and world.halt_file.exists():
            found.append("the halt file stands")
        if facts["failures"] or facts["report"] is None:
            found.append(f"facts failed: {facts['failures']}")
        if world.clock_wrong_since(begun):
            found.append("the clock is wrong")
        return [Broken("I5", f"buy {name} was approved though {what}") for what in found]

    def _given_up(self, account: str, client_order_id: str, status: str) -> list[Broken]:
        """A last word about an order that is not over at the venue."""
        rows = self._rows(
            "SELECT wire_id FROM orders WHERE account = ? AND client_order_id = ? AND final = 0",
            account,
            client_order_id,
        )
        wires = [str(row[0]) for row in rows if row[0] is not None]
        exchange = self.world.exchange
        lives = [wire for wire in wires if any(not order.status.is_final for order in exchange.of(wire))]
        if lives:
            return [Broken("I2", f"{client_order_id} is written down as {status} and is open at the venue")]
        if any(exchange.may_arrive(wire) and not exchange.of(wire) for wire in wires):
            return [Broken("I2", f"{client_order_id} is written down as {status} and is still on its way")]
        return []

    def _check_approval(self, body: Mapping[str, Any], status: str, order: VenueOrder, intent: str) -> None:
        if body["venue_order"] != to_plain(order):
            self.say("I3", f"what was sent of {intent} is not what was recorded")
        if body["is_exit"]:
            return
        approving = {verdict["rule"] for verdict in body["verdicts"] if verdict["approved"] is True}
        missing = {*RULES, *_CHECKS} - approving
        if missing or body["reservation"] is None:
            self.say("I3", f"buy {intent} was sent without the approval of {', '.join(sorted(missing))}")
        if status != SENDING:
            self.say("I3", f"buy {intent} was sent when it was {status} already")
        self._check_age(body, intent)

    def _check_age(self, body: Mapping[str, Any], intent: str) -> None:
        gate = self.world.gate
        window, _ = self._window(body)
        begun = window + self.world.scenario.promise.balance_lag
        age = self.world.elapsed - begun
        if age > gate.facts_age + gate.send_within + 1 and self.world.clock_set_at < begun:
            self.say("I5", f"buy {intent} was sent on facts {age:.1f} s old")

    def _check_rows(self) -> None:
        for account, row, kind, body in self._committed:
            found = self._rows("SELECT kind, body FROM journal WHERE account = ? AND seq = ?", account, row)
            if found != [(kind, body)]:
                self.say("I4", f"row {row} of {account}, a {kind}, was committed and is not there")
        self._committed.clear()

    def _check_journal(self) -> None:
        path = self.world.ledger_path
        if self._verifier is None and path.exists():
            self._verifier = SqliteLedger(path, self.world.quiet_clock, to_inspect=True)
        found = self._verifier.verify() if self._verifier is not None else None
        if found is not None:
            self.say("I7", str(found))

    def rows_of(self, query: str, *values: Any) -> Sequence[Any]:
        """What the ledger's file says, read past the gate."""
        return self._rows(query, *values)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        if self._reader is None:
            with suppress(sqlite3.Error):
                self._reader = sqlite3.connect(f"file:{self.world.ledger_path}?mode=ro", uri=True, timeout=0)
        if self._reader is None:
            return []
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.OperationalError:  # the file is not a ledger yet
            return []
