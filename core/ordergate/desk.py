"""What every path of the executor shares: the ledger while it can be had, the facts, sending once, and writing down.

Buys need the ledger for everything they do here; exits use it where it is to be had and the fallback where it is not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import frozen

from ordergate.amounts import ZERO, plain
from ordergate.broker import Broker, Mismatch, NothingSent
from ordergate.calls import Failed
from ordergate.clock import Clock, iso
from ordergate.decision import Decision, StateChange
from ordergate.errors import BrokerError, InputError, LedgerBusy, LedgerError
from ordergate.facts import Facts, FactsReader
from ordergate.fallback import Fallback
from ordergate.fitness import Fitness, Stop
from ordergate.ledger import SENDING, AccountState, AlreadyRecorded, Ledger, Recorded, open_ledger
from ordergate.models import History, OrderStatus, Receipt, TradingState
from ordergate.outcome import Outcome, replay, told
from ordergate.past import Past
from ordergate.records import to_plain
from ordergate.settlement import Settled, is_doubtful, receipt_body, settle_all, venue_now, venue_order_of
from ordergate.setup import Setup
from ordergate.valuation import Valuation, value

__all__ = ["Desk", "Snapshot", "Stop"]

_DAY: Final = 86_400.0
_REST: Final = 1.0  # seconds in which a ledger that just stayed locked is not waited for again


@frozen(eq=False)
class Snapshot:
    """Facts, valued; when they were begun on the monotonic clock; and the settlement number read before that."""

    valuation: Valuation
    begun: float
    settlement: int

    @property
    def facts(self) -> Facts:
        return self.valuation.facts


class Desk:
    """One per executor. Safe to share between threads."""

    def __init__(self, setup: Setup, clock: Clock) -> None:
        self.setup, self.clock = setup, clock
        gate = setup.config.gate
        folder = setup.config.folder
        self.halt_file = folder / gate.halt_file
        self.fallback = Fallback(folder / gate.fallback, clock)
        self._readers = {name: FactsReader(broker, gate, clock) for name, broker in setup.brokers.items()}
        self._fitness = {name: Fitness(broker, gate, clock) for name, broker in setup.brokers.items()}
        self._kept: dict[tuple[str, str], Snapshot] = {}
        self._left_behind: dict[str, set[str]] = {}
        self._ledger: Ledger | None = None
        self._known_ledger: str | None = None
        self._locked_until = 0.0
        self.halted_here = ""
        self._lock = threading.Lock()
        self._reported: set[str] = set()
        self._past: dict[str, Past] = {}
        self._past_lock = threading.Lock()

    # ------------------------------------------------------------------------------------------------------ the ledger

    def ledger(self) -> Ledger:
        """The ledger, opened on first use and again after it failed. Raises LedgerError."""
        with self._lock:
            if self._ledger is None:
                self._ledger = self._opened()
                self._known_ledger = self._ledger.mark
            return self._ledger

    def _opened(self) -> Ledger:
        """The ledger, opened. One that stayed locked is waited for once, not once by each who asks for it in a row."""
        config = self.setup.config
        if self.clock.monotonic() < self._locked_until:
            raise LedgerBusy(f"the ledger {config.gate.ledger} was locked by another process a moment ago; try again")
        try:
            return open_ledger(config.gate.ledger, config.folder, self.clock, same_as=self._known_ledger)
        except LedgerBusy:
            self._locked_until = self.clock.monotonic() + _REST
            raise
        except InputError as error:  # a URL this version has no ledger for keeps nobody in
            raise LedgerError(str(error)) from error

    def ledger_to_inspect(self) -> Ledger:
        """The ledger for looking at, also when it is damaged; the caller closes it. Raises LedgerError."""
        config = self.setup.config
        return open_ledger(config.gate.ledger, config.folder, self.clock, to_inspect=True)

    def drop_ledger(self) -> None:
        """Forget a ledger that failed, so that the next use opens it anew."""
        with self._lock:
            ledger, self._ledger = self._ledger, None
            self._past.clear()
        if ledger is not None:
            ledger.close()

    def find(self, ledger: Ledger, account: str, client_order_id: str) -> Recorded | None:
        """The recorded order. One that is being sent in this moment is waited for: its outcome is the answer."""
        deadline = self.clock.monotonic() + self.setup.config.gate.send_within
        while True:
            recorded = ledger.find(account, client_order_id)
            if recorded is None or recorded.status != SENDING or is_doubtful(recorded, self.clock.now()):
                return recorded
            if self.clock.monotonic() >= deadline:
                return recorded
            self.clock.sleep(0.01)

    def bring_home(self, ledger: Ledger) -> None:
        """Import what exits had to write elsewhere. Raises LedgerError: no buy before it is home."""
        self.fallback.bring_home(ledger)

    def write(self, account: str, kind: str, body: Mapping[str, object], *, key: str) -> str | None:
        """Record where it can be recorded. Returns a warning when that is not the ledger, or nowhere at all."""
        try:
            return self.write_first(account, kind, body, key=key)
        except AlreadyRecorded:
            return None

    def write_first(self, account: str, kind: str, body: Mapping[str, object], *, key: str) -> str | None:
        """The same, and `AlreadyRecorded` for all but the first who writes under this key."""
        at = self.clock.now()
        try:
            self.ledger().append(account, kind, body, at=at, key=key)
        except LedgerError as error:
            self.drop_ledger()
            lost = self.fallback.write(account, kind, dict(body), at=at, key=key)
            return f"The ledger could not record it ({error}); {lost or f'it waits in {self.fallback.path}'}."
        return None

    def close(self) -> None:
        self.setup.observers.close()
        with self._lock:
            if self._ledger is not None:
                self._ledger.close()
                self._ledger = None

    # -------------------------------------------------------------------------------------------------------- snapshot

    def halted_by_file(self) -> bool:
        """True while anything of the halt file's name exists, a link to nowhere too, or nobody can tell."""
        try:
            self.halt_file.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def stops(self, state: AccountState) -> list[Stop]:
        """What in the ledger's state of the account, or beside it, forbids buying."""
        stops: list[Stop] = []
        if state.trading is TradingState.EXITS_ONLY:
            why = f"Only exits pass since a halt of {state.trading_by}; `ordergate resume` ends it."
            stops.append(("exits_only", why))
        if self.halted_by_file():
            why = f"Only exits pass while the file {self.halt_file.name} exists; remove it to end the halt."
            stops.append(("halt_file", why))
        if self.halted_here:
            stops.append(("exits_only", f"Only exits pass in this process: {self.halted_here}."))
        ledger = self.ledger()
        gone = [name for name in ledger.accounts() if name not in self.setup.config.accounts]
        stops += [
            ("account_gone", f"Account {name} is gone from the config but has unfinished orders; put it back.")
            for name in gone
            if ledger.unfinished(name)
        ]
        return stops

    def facts(self, broker: Broker, symbol: str, state: AccountState | None, previous: Snapshot | None) -> Snapshot:
        """Facts that are true for this state: fresh ones, or ones young enough on which nothing was given up since."""
        settlement = state.settlement if state else -1
        gate = self.setup.config.gate
        young = max(gate.facts_cache, min(broker.profile.facts_every, gate.facts_age), 1.0 if previous else 0.0)
        kept = previous or self._kept.get((broker.account, symbol))
        if kept is not None and kept.settlement == settlement and self.clock.monotonic() - kept.begun <= young:
            return kept
        begun = self.clock.monotonic()
        facts = self._readers[broker.account].read(symbol)
        snapshot = Snapshot(value(facts, gate, broker.profile), begun, settlement)
        if not snapshot.facts.failures:  # what was not answered is asked again
            self._kept[broker.account, symbol] = snapshot
        return snapshot

    def agree(
        self, broker: Broker, symbol: str, snapshot: Snapshot, state: AccountState, *, bind: bool
    ) -> tuple[Snapshot, AccountState, list[Stop]]:
        """Hold facts and ledger against each other: identity, unfinished orders, orders the gate never sent."""
        report = snapshot.facts.report
        if report is None:
            return snapshot, state, []
        stops: list[Stop] = self._fitness[broker.account].stops()
        ledger = self.ledger()
        clash = self._identity_clash(ledger, broker, state, report.identity)
        if clash:
            return snapshot, state, [("identity_conflict", clash)]
        if bind and state.identity is None:
            self._bind(ledger, broker.account, report.identity)
            state = ledger.state(broker.account)
            # Somebody else may have bound this name, or these funds, in the same moment.
            clash = self._identity_clash(ledger, broker, state, report.identity)
            if clash:
                return snapshot, state, [("identity_conflict", clash)]
        unfinished = ledger.unfinished(broker.account)
        if unfinished:
            resting = {order.client_order_id for order in report.open_orders if order.client_order_id}
            moved = [one for one in self._settle(broker, unfinished, resting) if one.status is not None]
            if moved:
                # What was just learnt is newer than these facts: fetch them again before judging on them.
                state = ledger.state(broker.account)
                self.forget(broker.account)
                snapshot = self.facts(broker, symbol, state, None)
            stops += self._doubts(ledger, broker.account, symbol)
        if bind:
            stops += self._foreign(broker, snapshot.facts)
            if self.newly(frozenset({_looked_back(broker.account)})):
                self._look_back(ledger, broker)
        return snapshot, state, stops

    def forget(self, account: str) -> None:
        """Drop kept facts of an account: something of ours has changed at the venue."""
        for key in [key for key in tuple(self._kept) if key[0] == account]:
            self._kept.pop(key, None)

    def reader(self, account: str) -> FactsReader:
        return self._readers[account]

    # --------------------------------------------------------------------------------------------------------- sending

    def place(self, decision: Decision, broker: Broker) -> Outcome:
        """Send the recorded order once, and write down what is known. Never raises for what the venue or plugin
        does.
        """
        order = decision.venue_order
        if order is None:
            raise ValueError("nothing was recorded to be sent")
        client_id = str(decision.order.client_order_id)
        seconds = self.setup.config.gate.deadline
        why = ""
        receipt: Receipt | None = None
        if self.clock.now() > order.send_by:
            receipt = _not_sent(decision, "its send-by time had passed before it could be sent")
        else:
            try:
                receipt = broker.place_order(order, seconds)
            except NothingSent as failed:
                receipt = _not_sent(decision, f"nothing left this machine: {failed}")
            except Mismatch as mismatch:
                why = f"the venue answered about another order: {mismatch}"
                self.freeze(broker.account, "order_mismatch", f"order {client_id}: {why}")
            except Failed as failed:
                why = str(failed)
        status = OrderStatus.UNKNOWN if receipt is None else receipt.status
        warning = self.hear(broker.account, client_id, status, receipt, why, word="sent")
        if status is OrderStatus.UNKNOWN:  # a venue that moved a field of its answers begins like this
            self.alarm(broker.account, "outcome_unknown", f"order {client_id}: {why}", key=f"unknown:{client_id}")
        message = told(receipt) if receipt else f"It is not known whether the venue has it: {why}."
        return Outcome(status=status, receipt=receipt, message=message, warnings=(warning,) if warning else ())

    def hear(
        self,
        account: str,
        client_order_id: str,
        status: OrderStatus,
        receipt: Receipt | None,
        why: str,
        *,
        word: str,
    ) -> str | None:
        """Write down what is now known of an order; the same `word` twice is one row. Returns a warning, as `write`."""
        body = receipt_body(client_order_id, status, receipt, why=why)
        self.forget(account)
        return self.write(account, "receipt", body, key=f"receipt:{client_order_id}:{word}")

    # ------------------------------------------------------------------------------------------------------ settlement

    def reconcile(self, account: str) -> tuple[Settled, ...]:
        """Import the fallback, settle every unfinished order, and look for orders the gate never sent."""
        ledger, broker = self.ledger(), self.setup.brokers[account]
        self.bring_home(ledger)
        settled = self._settle(broker, ledger.unfinished(account), frozenset())
        facts = self._readers[account].read(None)
        self._foreign(broker, facts)
        self._look_back(ledger, broker)
        return settled

    def settle_by_hand(self, recorded: Recorded, status: OrderStatus, *, by: str, reason: str) -> None:
        """Write down a person's word on an order of unknown outcome."""
        order = venue_order_of(recorded)
        receipt = Receipt(
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            status=status,
            code="settled_by_person",
            message=f"{reason} ({by})",
        )
        body = receipt_body(recorded.client_order_id, status, receipt, why=reason, by=by)
        self.ledger().append(recorded.account, "receipt", body, at=self.clock.now())
        self.forget(recorded.account)
        self._tell_again(recorded)

    def arrives_for(self, recorded: Recorded) -> float:
        """For how many seconds more the order may still arrive at the venue; below zero when it no longer can.

        Raises BrokerError when the venue does not tell its time now.
        """
        broker = self.setup.brokers.get(recorded.account)
        if broker is None:
            return (recorded.send_by or 0.0) - self.clock.now()
        return (recorded.send_by or 0.0) + broker.profile.honoured - venue_now(broker, self.clock)

    def _tell_again(self, recorded: Recorded) -> None:
        """Observers hear what was written down of an order after its send; that they can is worth no exit's time."""
        try:
            found = self.ledger().find(recorded.account, recorded.client_order_id)
            if found is not None:
                self.tell_order(replay(found))
        except LedgerError:
            return

    def _settle(
        self, broker: Broker, unfinished: tuple[Recorded, ...], resting: frozenset[str] | set[str]
    ) -> tuple[Settled, ...]:
        return settle_all(unfinished, broker, self.clock, resting, self.take_in)

    def take_in(self, outcome: Settled) -> None:
        """Write down what a look at the venue brought, tell the observers, and close the account if it contradicts."""
        recorded = outcome.recorded
        account, name = recorded.account, recorded.client_order_id
        if outcome.mismatch:
            if self.newly(frozenset({f"mismatch {account}/{name}"})):
                self.freeze(account, "order_mismatch", f"order {name}: {outcome.message}")
            return
        status = outcome.status or OrderStatus.UNKNOWN
        filled = outcome.receipt.filled_amount if outcome.receipt else ZERO
        word = f"{recorded.status}:{status}:{plain(filled)}"
        self.hear(account, name, status, outcome.receipt, outcome.message, word=word)
        self._tell_again(recorded)

    def _doubts(self, ledger: Ledger, account: str, symbol: str) -> list[Stop]:
        now = self.clock.now()
        doubtful = [one for one in ledger.unfinished(account) if one.symbol == symbol and is_doubtful(one, now)]
        return [("outcome_unknown", _doubt(one)) for one in doubtful]

    # ---------------------------------------------------------------------------------------------------------- alarms

    def freeze(self, account: str, code: str, message: str) -> None:
        """Close an account for buys until a person resumes it, and raise an alarm."""
        body = {"trading": TradingState.EXITS_ONLY.value, "by": "ordergate", "reason": message, "code": code}
        try:
            self.ledger().append(account, "trading", body, at=self.clock.now())
        except LedgerError:
            try:
                self.halt_by_file(f"{account}: {message}")
            except OSError as error:
                message = f"{message}; no file could be made either ({error.strerror}): only this process is halted"
        self.alarm(account, code, message)

    def halt_by_file(self, reason: str) -> None:
        """Halt where the ledger cannot hold it. Raises OSError when not even a file can be made; then at least this
        process is halted, until somebody resumes it.
        """
        try:
            with self.halt_file.open("a", encoding="utf-8") as file:
                file.write(f"{iso(self.clock.now())} {reason}\n")
        except OSError:
            self.halted_here = reason
            raise

    def alarm(self, account: str, code: str, message: str, *, key: str | None = None) -> None:
        change = StateChange(kind="alarm", account=account, code=code, message=message, at=self.clock.now())
        self.write(account, "alarm", to_plain(change), key=key or f"alarm:{self.clock.new_id()}")
        self.tell_state(change)

    def newly(self, names: frozenset[str]) -> frozenset[str]:
        """Those of the names that this process has not reported yet."""
        new = names - self._reported
        self._reported |= new
        return new

    def _foreign(self, broker: Broker, facts: Facts) -> list[Stop]:
        """Alarms for open orders the gate never sent, each once, and the stop that the config may ask for."""
        open_orders = facts.report.open_orders if facts.report else ()
        seen = {order.order_id: (order.client_order_id, f"{order.side} {order.symbol}") for order in open_orders}
        foreign = self._report_foreign(broker.account, seen, alive=True)
        if not foreign or self.setup.config.gate.foreign_orders == "alarm":
            return []
        return [("foreign_orders", f"The venue shows {foreign} open order(s) that the gate never sent.")]

    def _look_back(self, ledger: Ledger, broker: Broker) -> None:
        """The same for the orders of the last day, finished ones too, since the account was bound to this ledger."""
        bound = next((entry.at for entry in ledger.entries(broker.account) if entry.kind == "bound"), None)
        if bound is None:
            return
        day = self.clock.now() - _DAY
        try:
            receipts = broker.list_orders(day) or ()
            # What was there before this ledger knew the account is no news; without any it need not be told apart.
            if self._remember(ledger, broker.account, receipts) and bound > day:
                receipts = broker.list_orders(bound) or ()
        except BrokerError:
            # What is still open was looked at with the facts; for the rest the next buy asks again.
            self._reported.discard(_looked_back(broker.account))
            return
        seen = {str(one.order_id): (one.client_order_id, f"{one.side} {one.symbol}") for one in receipts}
        self._report_foreign(broker.account, seen)

    def _remember(self, ledger: Ledger, account: str, receipts: Iterable[Receipt]) -> bool:
        """Keep the ids on the wire that the venue has and the ledger does not know; False when there are none.

        A lost ledger, or one restored from a backup, leaves such orders behind, and their ids must not be sent again.
        """
        there = {one.client_order_id for one in receipts}
        self._left_behind[account] = there - ledger.known_wire_ids(account, tuple(filter(None, there)))
        return bool(self._left_behind[account])

    def left_behind(self, account: str, on_wire: str) -> bool:
        """Whether the venue already has an order with this id on the wire that the ledger knows nothing of."""
        return on_wire in self._left_behind.get(account, ())

    def _report_foreign(self, account: str, seen: Mapping[str, tuple[str | None, str]], *, alive: bool = False) -> int:
        """Alarm for each venue order whose id on the wire the ledger does not know; how many there are.

        `alive`: they are open now, so the ledger must not say that they never arrived either.
        """
        ours = self.ledger().known_wire_ids(account, tuple(wire for wire, _ in seen.values() if wire), alive=alive)
        foreign = {order_id: what for order_id, (wire, what) in seen.items() if wire not in ours}
        for order_id, what in foreign.items():
            if self.newly(frozenset({f"{account}/{order_id}"})):
                text = f"the venue shows an order the gate never sent, or took for absent: {what}, order {order_id}"
                self.alarm(account, "foreign_order", text, key=f"foreign:{order_id}")
        return len(foreign)

    # -------------------------------------------------------------------------------------------------------- identity

    def _identity_clash(self, ledger: Ledger, broker: Broker, state: AccountState, identity: str) -> str:
        if state.identity is not None and state.identity != identity:
            return (
                f"Account {broker.account} was bound to the funds {state.identity} and the broker now speaks of "
                f"{identity}; give other funds another account name."
            )
        for name, bound in ledger.accounts().items():
            if bound == identity and name != broker.account:
                return (
                    f"Accounts {name} and {broker.account} are the same funds at the venue; keep one of the two names."
                )
        return ""

    def _bind(self, ledger: Ledger, account: str, identity: str) -> None:
        try:
            ledger.append(account, "bound", {"identity": identity}, at=self.clock.now(), key=f"bound:{identity}")
        except AlreadyRecorded:
            return  # another process bound it in this moment; the next look at the state says to what

    # --------------------------------------------------------------------------------------------------------- the rest

    def new_id(self) -> str:
        return f"og-{self.clock.new_id()}"

    def tell_decision(self, decision: Decision) -> None:
        self.setup.observers.tell("on_decision", decision=decision)

    def tell_order(self, decision: Decision) -> None:
        self.setup.observers.tell("on_order", order=decision.order, receipt=decision.receipt, status=decision.status)

    def tell_state(self, change: StateChange) -> None:
        self.setup.observers.tell("on_state", change=change)

    def history(self, account: str, state: AccountState) -> History:
        """What the account's journal tells up to the row that the state was read at."""
        with self._past_lock:
            past = self._past.setdefault(account, Past())
            if past.seq < state.seq:
                for entry in self.ledger().entries(account, after=past.seq):
                    if entry.seq > state.seq:
                        break
                    past.take(entry)
            return past.history(self.clock.now())


def _looked_back(account: str) -> str:
    return f"looked back {account}"


def _doubt(one: Recorded) -> str:
    return (
        f"Order {one.client_order_id} in {one.symbol} is of unknown outcome since {iso(one.at)}; it must be settled "
        "first (`ordergate reconcile`)."
    )


def _not_sent(decision: Decision, why: str) -> Receipt:
    return Receipt(
        client_order_id=decision.venue_order.client_order_id if decision.venue_order else "",
        symbol=decision.order.symbol,
        side=decision.order.side,
        status=OrderStatus.EXPIRED,
        code="not_sent",
        message=why,
    )
