"""What every path of the executor shares: the facts, held against the ledger; sending once; and writing down what is
learnt.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Final

from attrs import frozen

from ordergate.alarms import Alarms
from ordergate.amounts import ZERO, plain
from ordergate.broker import Broker, Mismatch, NothingSent
from ordergate.calls import Failed
from ordergate.clock import Clock, iso
from ordergate.decision import Decision
from ordergate.errors import LedgerError
from ordergate.facts import Facts, FactsReader
from ordergate.fitness import Fitness, Stop
from ordergate.ledger import SENDING, AccountState, AlreadyRecorded, Ledger, Recorded, Unfinished
from ordergate.models import OrderStatus, Receipt, TradingState
from ordergate.outcome import Outcome, replay, told
from ordergate.records import canonical
from ordergate.settlement import (
    Settled,
    is_doubtful,
    needs_look,
    receipt_body,
    settle_all,
    venue_now,
    venue_order_of,
)
from ordergate.setup import Setup
from ordergate.store import Store
from ordergate.strangers import Strangers
from ordergate.valuation import Valuation, value

__all__ = ["Desk", "Snapshot", "Stop"]

_ACCOUNTS_AGE: Final = 60.0  # seconds for which the ledger's accounts are known not to miss any of the config


@frozen(eq=False, slots=False)
class Snapshot:
    """Facts, valued; when they were begun on the monotonic clock; and the settlement number read before that."""

    valuation: Valuation
    begun: float
    settlement: int

    @property
    def facts(self) -> Facts:
        return self.valuation.facts

    @cached_property
    def text(self) -> str:
        """The facts as the ledger keeps them."""
        return canonical(self.facts)


class Desk:
    """One per executor. Safe to share between threads."""

    def __init__(self, setup: Setup, clock: Clock) -> None:
        self.setup, self.clock = setup, clock
        config, gate = setup.config, setup.config.gate
        self.store = Store(config, clock)
        self.alarms = Alarms(self.store, setup.observers, config.folder / gate.halt_file, clock)
        self.strangers = Strangers(self.store, self.alarms, gate, clock)
        self._readers = {name: FactsReader(broker, gate, clock) for name, broker in setup.brokers.items()}
        self._fitness = {name: Fitness(broker, gate, clock) for name, broker in setup.brokers.items()}
        self._snapshots: dict[tuple[str, str], Snapshot] = {}
        self._settings: dict[str, str] = {}
        self._at_rest: dict[str, tuple[frozenset[str | None], tuple[Unfinished, ...], float]] = {}
        self._gone: tuple[float, list[Stop]] | None = None

    def ledger(self) -> Ledger:
        """The ledger. Raises LedgerError."""
        return self.store.ledger()

    def close(self) -> None:
        self.setup.observers.close()
        self.store.close()

    def new_id(self) -> str:
        return f"og-{self.clock.new_id()}"

    # -------------------------------------------------------------------------------------------------------- snapshot

    def stops(self, state: AccountState) -> list[Stop]:
        """What in the ledger's state of the account, or beside it, forbids buying."""
        stops: list[Stop] = []
        if state.trading is TradingState.EXITS_ONLY:
            why = f"Only exits pass since a halt of {state.trading_by}; `ordergate resume` ends it."
            stops.append(("exits_only", why))
        if self.alarms.halted_by_file():
            why = f"Only exits pass while the file {self.alarms.halt_file.name} exists; remove it to end the halt."
            stops.append(("halt_file", why))
        if self.alarms.halted_here:
            stops.append(("exits_only", f"Only exits pass in this process: {self.alarms.halted_here}."))
        if state.sender:
            stops.append(("another_sender", f"Buys of account {state.name} are sent by {state.sender}."))
        return [*stops, *self._accounts_gone()]

    def _accounts_gone(self) -> list[Stop]:
        """Accounts that the config no longer names and that have unfinished orders. The config never changes while
        this process lives, so it is enough to look now and then, and always while there are any.
        """
        now = self.clock.monotonic()
        if self._gone is None or self._gone[1] or now - self._gone[0] > _ACCOUNTS_AGE:
            gone = sorted(self.ledger().busy_accounts() - self.setup.config.accounts.keys())
            why = "Account {} is gone from the config but has unfinished orders; put it back."
            self._gone = (now, [("account_gone", why.format(name)) for name in gone])
        return self._gone[1]

    def facts(self, broker: Broker, symbol: str, state: AccountState | None, previous: Snapshot | None) -> Snapshot:
        """Facts that are true for this state: fresh ones, or ones young enough on which nothing was given up since."""
        settlement = state.settlement if state else -1
        gate = self.setup.config.gate
        young = max(gate.facts_cache, min(broker.profile.facts_every, gate.facts_age), 1.0 if previous else 0.0)
        kept = previous or self._snapshots.get((broker.account, symbol))
        if kept is not None and kept.settlement == settlement and self.clock.monotonic() - kept.begun <= young:
            return kept
        begun = self.clock.monotonic()
        facts = self._readers[broker.account].read(symbol)
        snapshot = Snapshot(value(facts, gate, broker.profile), begun, settlement)
        if not facts.failures:  # what was not answered is asked again
            self._snapshots[broker.account, symbol] = snapshot
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
        clash = self._identity_clash(ledger, state, report.identity)
        if not clash and bind and state.identity is None:
            self._bind(ledger, broker.account, report.identity)
            state = ledger.state(broker.account)
            # Somebody else may have bound this name, or these funds, in the same moment.
            clash = self._identity_clash(ledger, state, report.identity)
        if clash:
            return snapshot, state, [("identity_conflict", clash)]
        listed = snapshot.valuation.listed
        if not self._is_at_rest(state, listed):
            moved = [one for one in self._settle(broker, listed) if one.status is not None]
            state = ledger.state(broker.account)
            if moved:
                # What was just learnt is newer than these facts: fetch them again before judging on them.
                self.forget(broker.account)
                snapshot = self.facts(broker, symbol, state, None)
            stops += self._doubts(state, symbol)
        if bind:
            stops += self.strangers.stops(broker, snapshot.facts)
            self.strangers.look_back_once(broker)
        return snapshot, state, stops

    def forget(self, account: str) -> None:
        """Drop kept facts of an account: something of ours has changed at the venue."""
        for key in [key for key in tuple(self._snapshots) if key[0] == account]:
            self._snapshots.pop(key, None)

    def reader(self, account: str) -> FactsReader:
        return self._readers[account]

    def keep(self, ledger: Ledger, account: str, snapshot: Snapshot) -> tuple[str, str]:
        """Keep what a decision is made on; gives the names of the facts and of the settings. Raises LedgerError."""
        if account not in self._settings:
            self._settings[account] = canonical(self.setup.recorded(account))
        return ledger.keep(account, snapshot.text), ledger.keep(account, self._settings[account])

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
                self.alarms.freeze(broker.account, "order_mismatch", f"order {client_id}: {why}")
            except Failed as failed:
                why = str(failed)
        status = OrderStatus.UNKNOWN if receipt is None else receipt.status
        warning = self.hear(broker.account, client_id, status, receipt, why, word="sent")
        if status is OrderStatus.UNKNOWN:  # a venue that moved a field of its answers begins like this
            told_of = f"order {client_id}: {why}"
            self.alarms.raise_one(broker.account, "outcome_unknown", told_of, key=f"unknown:{client_id}")
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
        return self.store.write(account, "receipt", body, key=f"receipt:{client_order_id}:{word}")

    # ------------------------------------------------------------------------------------------------------ settlement

    def reconcile(self, account: str) -> tuple[Settled, ...]:
        """Import the fallback, settle every unfinished order, and look for orders the gate never sent."""
        broker = self.setup.brokers[account]
        self.store.bring_home()
        settled = self._settle(broker, frozenset())
        self.strangers.stops(broker, self._readers[account].read(None))
        self.strangers.look_back(broker)
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

    def _is_at_rest(self, state: AccountState, listed: frozenset[str | None]) -> bool:
        """Whether the ledger knows all that the venue may say of every unfinished order; then none is doubtful either.

        Most often they are those of the last decision and one more: only that one is looked at.
        """
        now, account, unfinished = self.clock.now(), state.name, state.unfinished
        there, known, until = self._at_rest.get(account, (None, (), math.inf))
        if there is not listed or now > until or unfinished[: len(known)] != known:
            known, until = (), math.inf
        for one in unfinished[len(known) :]:
            if needs_look(one, listed, now):
                return False
            if one.status == SENDING:
                until = min(until, one.send_by)
        self._at_rest[account] = (listed, unfinished, until)
        return True

    def _settle(self, broker: Broker, resting: frozenset[str | None]) -> tuple[Settled, ...]:
        unfinished = self.ledger().unfinished(broker.account)
        return settle_all(unfinished, broker, self.clock, resting, self.take_in)

    def take_in(self, outcome: Settled) -> None:
        """Write down what a look at the venue brought, tell the observers, and close the account if it contradicts."""
        recorded = outcome.recorded
        account, name = recorded.account, recorded.client_order_id
        if outcome.mismatch:
            if self.alarms.first(("mismatch", account, name)):
                self.alarms.freeze(account, "order_mismatch", f"order {name}: {outcome.message}")
            return
        status = outcome.status or OrderStatus.UNKNOWN
        filled = outcome.receipt.filled_amount if outcome.receipt else ZERO
        word = f"{recorded.status}:{status}:{plain(filled)}"
        self.hear(account, name, status, outcome.receipt, outcome.message, word=word)
        self._tell_again(recorded)

    def _doubts(self, state: AccountState, symbol: str) -> list[Stop]:
        now = self.clock.now()
        doubtful = [one for one in state.unfinished if one.symbol == symbol and is_doubtful(one, now)]
        return [("outcome_unknown", _doubt(one)) for one in doubtful]

    # -------------------------------------------------------------------------------------------------------- identity

    def _identity_clash(self, ledger: Ledger, state: AccountState, identity: str) -> str:
        if state.identity == identity:
            return ""  # and no other name can be bound to it
        if state.identity is not None:
            return (
                f"Account {state.name} was bound to the funds {state.identity} and the broker now speaks of "
                f"{identity}; give other funds another account name."
            )
        for name, bound in ledger.accounts().items():
            if bound == identity and name != state.name:
                return f"Accounts {name} and {state.name} are the same funds at the venue; keep one of the two names."
        return ""

    def _bind(self, ledger: Ledger, account: str, identity: str) -> None:
        try:
            ledger.append(account, "bound", {"identity": identity}, at=self.clock.now(), key=f"bound:{identity}")
        except AlreadyRecorded:
            return  # another process bound it in this moment; the next look at the state says to what

    # --------------------------------------------------------------------------------------------------------- the rest

    def tell_decision(self, decision: Decision) -> None:
        self.setup.observers.tell("on_decision", decision=decision)

    def tell_order(self, decision: Decision) -> None:
        self.setup.observers.tell("on_order", order=decision.order, receipt=decision.receipt, status=decision.status)


def _doubt(one: Unfinished) -> str:
    return (
        f"Order {one.client_order_id} in {one.symbol} is of unknown outcome (it was to be sent by "
        f"{iso(one.send_by)}); it must be settled first (`ordergate reconcile`)."
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
