"""The executor: the one path from an order to a broker.

    order → parse strictly → known id? replay → ledger state → facts → round down → checks and rules on one snapshot
          → one versioned insert (stale: again from the ledger state) → send once → receipt

Exits take their own path (`ordergate.exits`), which never waits for rules.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final, Self

from attrs import evolve, frozen

from ordergate.again import judge_again
from ordergate.amounts import exact
from ordergate.band import Band
from ordergate.broker import Broker, wire_id
from ordergate.clock import Clock, SystemClock
from ordergate.config import Config, config_from_values, read_config
from ordergate.decision import Decision, StateChange
from ordergate.desk import Desk, Snapshot, Stop
from ordergate.errors import BrokerError, ConfigError, InputError, LedgerBusy, LedgerError
from ordergate.exits import Exits
from ordergate.judge import Inputs, Judgement, band, judge
from ordergate.ledger import AccountState, AlreadyRecorded, Recorded, Reservation
from ordergate.models import History, OrderStatus, TradingState, VenueOrder, Verdict
from ordergate.order import Order, parse_client_order_id
from ordergate.outcome import CONTENDED, LEDGER_DOWN, as_recorded, digest_of, judged, replay, sent
from ordergate.records import to_plain
from ordergate.settlement import Settled, is_doubtful
from ordergate.setup import Setup, set_up
from ordergate.sizing import is_exit
from ordergate.trading import Halted, Trading, check_words

__all__ = ["Executor"]

_TRIES: Final = 200  # of the whole decision, while others keep changing the account
_PAUSE: Final = (0.0002, 0.002)
_PATIENCE: Final = 0.25  # seconds in a line whose first may be waiting for a venue


class Executor:
    """Judges orders and sends those that every active rule approves. Safe to share between threads.

    One executor serves every account of its config. Processes that trade the same accounts share the ledger, and
    nothing else.
    """

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        self.setup: Setup = set_up(config, self.clock)
        self.desk = Desk(self.setup, self.clock)
        self.trading = Trading(self.desk)
        self._turns = {name: threading.Lock() for name in self.setup.brokers}
        self._exits = Exits(self.desk)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str] = "ordergate.toml", *, clock: Clock | None = None) -> Self:
        """Read a config file. Raises ConfigError when it cannot be read at all; what else is wrong closes buys only."""
        return cls(read_config(path), clock=clock)

    @classmethod
    def from_values(
        cls, values: Mapping[str, object], *, folder: str | os.PathLike[str] = ".", clock: Clock | None = None
    ) -> Self:
        """The same from a mapping shaped like the config file; relative paths count from `folder`."""
        return cls(config_from_values(values, folder), clock=clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the observers finish and close the ledger."""
        self.desk.close()

    # ------------------------------------------------------------------------------------------------------- orders

    def check(self, order: Order) -> Decision:
        """What `submit` would decide now, by the same code. The order is not sent, recorded or bound.

        What it learns on the way is written down all the same: the outcome of earlier orders, and a rule that hung.

        Raises InputError for an order that cannot be taken, ConfigError when the set-up forbids it.
        """
        order = self._named(order)
        with exact():
            if is_exit(order, self.config.gate.cash):
                decision = self._exits.check(order)
            else:
                decision = self._buy(order, send=False)
        self.desk.tell_decision(decision)
        return decision

    def submit(self, order: Order) -> Decision:
        """Judge the order, record the decision, and send it if it may pass.

        The answer says what became of it: refused, rejected, open, filled, or unknown. A client order id that was
        recorded before gets the recorded outcome, marked `replayed`. Raises InputError for an order that cannot be
        taken (IdConflict: its id names another order), ConfigError when the set-up forbids it.
        """
        order = self._named(order)
        with exact():
            if is_exit(order, self.config.gate.cash):
                return self._exits.submit(order)
            return self._buy(order, send=True)

    def cancel(self, client_order_id: str, *, account: str | None = None) -> Decision:
        """Cancel what is left of an order. Works in every trading state, and without the ledger."""
        with exact():
            return self._exits.cancel(self.account_name(account), parse_client_order_id(client_order_id))

    def limits(
        self,
        symbol: str,
        *,
        account: str | None = None,
        limit: Decimal | str | None = None,
        principal: str | None = None,
    ) -> Limits:
        """The band of sizes that a buy could have now, and who bounds it. `limit`: of a limit order, sized in base."""
        order = Order.buy(
            symbol,
            account=self.account_name(account),
            limit=limit,
            principal=principal,
            **{"amount" if limit else "spend": "1"},
        )
        with exact():
            inputs, _, _ = self._inputs(order, self._broker(order), None, bind=False)
            judgement, found, unit, currency = band(inputs, self.setup.panel)
        return Limits(judgement=judgement, band=found, unit=unit, currency=currency)

    # ---------------------------------------------------------------------------------------------------- around them

    def account_name(self, name: str | None) -> str:
        """The account meant: by name, or the only one there is. Raises InputError."""
        accounts = list(self.config.accounts)
        if name is None and len(accounts) == 1:
            return accounts[0]
        if name is None:
            known = f"name one of {', '.join(accounts)}" if accounts else "the config has none; add [accounts.NAME]"
            raise InputError("account", None, known)
        if name not in self.config.accounts:
            close = get_close_matches(name, accounts, 1)
            raise InputError(
                "account", name, f"did you mean {close[0]}?" if close else f"the config has {', '.join(accounts)}"
            )
        return name

    def halt(self, *, by: str, reason: str, account: str | None = None, keep_open: bool = False) -> Halted:
        """Set exits only, for one account or all, and cancel open buys. Halts also where the ledger cannot say so."""
        with exact():
            return self.trading.halt(account, by=by, reason=reason, keep_open=keep_open, cancel=self._exits.cancel)

    def resume(self, *, by: str, reason: str, account: str | None = None) -> StateChange:
        """Set active again. Needs a name and a reason."""
        return self.trading.resume(account, by=by, reason=reason)

    def reconcile(self, account: str | None = None) -> Mapping[str, tuple[Settled, ...]]:
        """Settle every unfinished order of one account, or all; import the fallback; look for orders nobody sent
        here.
        """
        names = [self.account_name(account)] if account else list(self.setup.brokers)
        for name in names:
            if name in self.setup.broken:
                raise ConfigError(self.setup.broken[name])
        with exact():
            return {name: self.desk.reconcile(name) for name in names}

    def settle_by_hand(
        self, client_order_id: str, status: OrderStatus | str, *, by: str, reason: str, account: str | None = None
    ) -> Decision:
        """A person's word on an order whose outcome nobody else can tell: `expired` (it never was), `filled`,
        `cancelled`.

        Raises InputError for an order whose outcome is known, or may still change by itself.
        """
        name, client_order_id = self.account_name(account), parse_client_order_id(client_order_id)
        ledger = self.desk.ledger()
        recorded = ledger.find(name, client_order_id)
        allowed = (OrderStatus.EXPIRED, OrderStatus.FILLED, OrderStatus.CANCELLED)
        if status not in allowed:
            raise InputError("as", str(status), f"use {', '.join(allowed)}")
        if recorded is None:
            raise InputError("client_order_id", client_order_id, f"account {name} knows no order under this id")
        if not is_doubtful(recorded, self.clock.now()):
            raise InputError("client_order_id", client_order_id, "only an order of unknown outcome is settled by hand")
        if status == OrderStatus.EXPIRED:
            late = self._arrives_for(recorded)
            if late >= 0:
                raise InputError("as", str(status), f"it may still arrive for {late:.0f} s; wait, then look again")
        for field, text in (("by", by), ("reason", reason)):
            check_words(field, text)
        self.desk.settle_by_hand(recorded, OrderStatus(status), by=by, reason=reason)
        return replay(ledger.find(name, client_order_id) or recorded)

    def status(self) -> Mapping[str, Any]:
        """Trading state, set-up problems and unfinished orders, as plain values."""
        return self.trading.status()

    def explain(self, client_order_id: str, *, account: str | None = None) -> Explained:
        """Judge a recorded decision again from what was recorded, and say whether the verdicts are the same."""
        name, client_order_id = self.account_name(account), parse_client_order_id(client_order_id)
        recorded = self.desk.ledger().find(name, client_order_id)
        if recorded is None:
            raise InputError("client_order_id", client_order_id, f"account {name} has no decision under this id")
        with exact():
            panel = self.setup.panel
            again, summary = judge_again(
                recorded, self.desk.ledger(), panel.rules, self.config.gate.rule_budget, self.clock
            )
        decision = replay(recorded)
        return Explained(decision=decision if summary is None else evolve(decision, facts=summary), again=again)

    def _arrives_for(self, recorded: Recorded) -> float:
        try:
            return self.desk.arrives_for(recorded)
        except BrokerError as error:
            fix = f"whether it may still arrive goes by the venue's clock, which could not be read: {error}; try again"
            raise InputError("as", OrderStatus.EXPIRED.value, fix) from error

    # ------------------------------------------------------------------------------------------------------- the path

    def _named(self, order: Order) -> Order:
        if type(order) is not Order:
            raise InputError("order", order, "build it with Order.buy(...) or Order.sell(...)")
        return evolve(order, account=self.account_name(order.account))

    def _broker(self, order: Order) -> Broker:
        name = self.account_name(order.account)
        if self.setup.problems:
            raise ConfigError(self.setup.problems)
        if name in self.setup.broken:
            raise ConfigError(self.setup.broken[name])
        return self.setup.brokers[name]

    def _buy(self, order: Order, *, send: bool) -> Decision:
        broker = self._broker(order)
        try:
            return self._decide_and_send(order, broker) if send else self._decide(order, broker)
        except LedgerBusy as error:
            return self._unrecorded(order, broker, CONTENDED, str(error), send=send)
        except LedgerError as error:
            self.desk.store.drop()
            return self._unrecorded(order, broker, LEDGER_DOWN, str(error), send=send)

    def _decide(self, order: Order, broker: Broker) -> Decision:
        inputs, state, _ = self._inputs(order, broker, None, bind=False)
        judgement = judge(inputs, self.setup.panel)
        self._react(judgement, broker.account, state)
        return judged(order, inputs, judgement, self.clock.now(), checked_only=True)

    def _decide_and_send(self, order: Order, broker: Broker) -> Decision:
        desk = self.desk
        known = self._known(order)
        if known is not None:
            return known
        order = order if order.client_order_id else evolve(order, client_order_id=desk.new_id())
        desk.store.bring_home()
        with _Turn(self._turns[broker.account], self.clock) as turn:
            made = self._recorded_decision(order, broker, turn)
        if made is None:
            return self._known(order) or self._decide_and_send(order, broker)
        decision, judgement, inputs = made
        desk.tell_decision(decision)
        final = self._send(decision, broker) if decision.approved else decision
        self._give_up_gone(broker.account, judgement, inputs)
        return final

    def _recorded_decision(
        self, order: Order, broker: Broker, turn: _Turn
    ) -> tuple[Decision, Judgement, Inputs] | None:
        """The decision, recorded, and what it was made on; None when somebody else recorded the id meanwhile."""
        desk, snapshot = self.desk, None
        for _ in range(_TRIES):
            inputs, state, snapshot = self._inputs(order, broker, snapshot, bind=True)
            judgement = judge(inputs, self.setup.panel)
            self._react(judgement, broker.account, state)
            if judgement.approved and self._outdated(snapshot):
                desk.forget(broker.account)
                snapshot = None  # this process was stopped while it judged: what it approved is no longer known
                continue
            if judgement.approved and judgement.gone:
                # A place that these facts show to be free is given up for everybody before it is given to this order:
                # on older facts of another process both would count as taken already.
                body = _given_up(judgement, inputs)
                row = desk.ledger().append(broker.account, "settled", body, at=self.clock.now(), judged_on=state)
                if row is not None:  # the facts are true for the settlement that follows, too
                    snapshot = evolve(snapshot, settlement=state.settlement + 1)
                continue
            decision = self._record(order, broker, inputs, judgement, state, snapshot)
            if decision is not None:
                return decision, judgement, inputs
            if desk.ledger().find(broker.account, str(order.client_order_id)) is not None:
                return None
            turn.wait()
        raise LedgerBusy(f"account {broker.account} changed {_TRIES} times while the order was judged")

    def _inputs(
        self, order: Order, broker: Broker, snapshot: Snapshot | None, *, bind: bool
    ) -> tuple[Inputs, AccountState, Snapshot]:
        """The snapshot to judge on. The ledger is read before the facts are begun, and the insert must find it so.

        What forbids buying is read from the very state that the insert will name; its settlement number is the one that
        was true before the facts were begun, whatever was given up while they were fetched.
        """
        desk, name = self.desk, broker.account
        while True:
            state = desk.ledger().state(name)
            facts = desk.facts(broker, order.symbol, state, snapshot)
            snapshot, state, found = desk.agree(broker, order.symbol, facts, state, bind=bind)
            history = self._history(name, state)
            if history is not None:
                break
        stops = [*desk.stops(state), *found, *self._used_before(order, name, snapshot)]
        inputs = self._judged_on(order, broker, snapshot, stops, history, state)
        return inputs, evolve(state, settlement=snapshot.settlement), snapshot

    def _history(self, account: str, state: AccountState) -> History | None:
        """None when the state is older than what was already looked back on."""
        if self.setup.panel.wants_history:
            return self.desk.store.history(account, state)
        return History(now=self.clock.now())

    def _judged_on(
        self,
        order: Order,
        broker: Broker,
        snapshot: Snapshot,
        stops: Sequence[Stop],
        history: History,
        state: AccountState | None = None,
    ) -> Inputs:
        return Inputs(
            account=broker.account,
            order=order,
            gate=self.config.gate,
            tiers=self.config.tiers,
            profile=broker.profile,
            valuation=snapshot.valuation,
            age=self.clock.monotonic() - snapshot.begun,
            seq=state.seq if state else 0,
            reservations=state.reservations if state else (),
            stops=(*self.setup.refusals, *stops),
            history=history,
        )

    def _used_before(self, order: Order, account: str, snapshot: Snapshot) -> list[Stop]:
        """A stop where the venue has an order under the very id that this one would be sent with."""
        report, strangers = snapshot.facts.report, self.desk.strangers
        if order.client_order_id is None or report is None or not strangers.left_behind(account):
            return []
        if not strangers.left_behind_as(account, wire_id(report.identity, order.client_order_id)):
            return []
        why = f"The venue has an order under the id {order.client_order_id} that this ledger does not know."
        return [("id_at_venue", f"{why} Look at it, and use a new id.")]

    def _outdated(self, snapshot: Snapshot) -> bool:
        """Whether facts are too old by now. Asked of both clocks: a machine that sleeps may stop one of them."""
        ages = (self.clock.monotonic() - snapshot.begun, self.clock.now() - snapshot.facts.begun)
        return max(ages) > self.config.gate.facts_age

    def _record(
        self,
        order: Order,
        broker: Broker,
        inputs: Inputs,
        judgement: Judgement,
        state: AccountState,
        snapshot: Snapshot,
    ) -> Decision | None:
        """The one insert. None when the snapshot is stale, or the id was recorded by somebody else meanwhile."""
        now = self.clock.now()
        decision = judged(order, inputs, judgement, now)
        reservation: Reservation | None = None
        if judgement.approved and judgement.sized is not None and inputs.facts.report is not None:
            sized, client_id = judgement.sized, str(order.client_order_id)
            venue_order = VenueOrder(
                account=broker.account,
                symbol=order.symbol,
                side=order.side,
                spend=sized.spend,
                amount=sized.amount,
                limit=sized.limit,
                client_order_id=wire_id(inputs.facts.report.identity, client_id),
                send_by=now + self.config.gate.send_within,
            )
            decision = evolve(decision, venue_order=venue_order)
            reservation = Reservation(
                client_order_id=client_id,
                wire_id=venue_order.client_order_id,
                symbol=order.symbol,
                gives=sized.purchase.gives,
                takes=sized.purchase.takes,
                needs=sized.needs,
                size=sized.purchase.size,
            )
        ledger = self.desk.ledger()  # one and the same for the row and for what it names
        facts, settings = self.desk.keep(ledger, broker.account, snapshot)
        body = as_recorded(decision, inputs, reservation, facts=facts, setup=settings)
        key = f"order:{order.client_order_id}"
        try:
            row = ledger.append(broker.account, "decision", body, at=now, key=key, judged_on=state)
        except AlreadyRecorded:
            return None
        return decision if row is not None else None

    def _send(self, decision: Decision, broker: Broker) -> Decision:
        """Send what was recorded, once, and write down what is known of it."""
        outcome = self.desk.place(decision, broker)
        final = sent(decision, outcome)
        self.desk.tell_order(final)
        return final

    def _give_up_gone(self, account: str, judgement: Judgement, inputs: Inputs) -> None:
        """What the facts have outlived need not be read again. If this fails, the next decision does it."""
        if not judgement.gone:
            return
        try:
            self.desk.ledger().append(account, "settled", _given_up(judgement, inputs), at=self.clock.now())
        except LedgerError:
            self.desk.store.drop()

    def _known(self, order: Order) -> Decision | None:
        """The recorded outcome under this id. Raises IdConflict when it was recorded for another order."""
        if order.client_order_id is None:
            return None
        recorded = self.desk.store.find(str(order.account), order.client_order_id)
        return None if recorded is None else replay(recorded, digest_of(order))

    def _unrecorded(self, order: Order, broker: Broker, code: str, sentence: str, *, send: bool) -> Decision:
        """A refusal because the ledger cannot record an approval. Facts and rules still speak; nothing is bound."""
        stop = (code, f"{sentence.rstrip('.')}.")
        snapshot = self.desk.facts(broker, order.symbol, None, None)
        inputs = self._judged_on(order, broker, snapshot, [stop], History(now=self.clock.now()))
        judgement = judge(inputs, self.setup.panel, find_smallest=False)
        decision = judged(order, inputs, judgement, self.clock.now(), checked_only=not send)
        if send:
            self.desk.tell_decision(decision)
        return decision

    def _react(self, judgement: Judgement, account: str, state: AccountState) -> None:
        """A rule that hung or meddled closes the account until a person has looked."""
        closed = state.trading is TradingState.EXITS_ONLY
        alarms = self.desk.alarms
        for name in self.setup.panel.overran:
            if alarms.first(("overran", name)):
                alarms.freeze(account, "rule_overran", f"rule {name} did not answer in time")
        if judgement.meddled and not closed:
            alarms.freeze(account, "rule_meddled", "a rule changed what it was given to judge")


def _given_up(judgement: Judgement, inputs: Inputs) -> dict[str, object]:
    """The journal row that gives up the reservations which these facts have outlived."""
    return {"gone": judgement.gone, "facts_begun": inputs.facts.begun}


class _Turn:
    """Lets the threads of this process that were late line up, so that their next decision is not late again. Who comes
    in time waits for nobody, and nobody waits for long: what keeps a cap true is the insert alone.
    """

    def __init__(self, line: threading.Lock, clock: Clock) -> None:
        self._line, self._clock, self._mine = line, clock, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._mine:
            self._line.release()

    def wait(self) -> None:
        """Wait for this thread's turn; whose turn it is gives way to other processes for a moment."""
        if self._mine:
            self._clock.sleep(self._clock.jitter(*_PAUSE))
        else:
            self._mine = self._line.acquire(timeout=_PATIENCE)


@frozen(kw_only=True)
class Limits:
    """The sizes that would pass now. `band` counts in steps of `unit`, which is in `currency`; None: no size passes."""

    judgement: Judgement
    band: Band | None
    unit: Decimal
    currency: str


@frozen(kw_only=True)
class Explained:
    """A recorded decision and the verdicts that the same facts get now."""

    decision: Decision
    again: tuple[Verdict, ...]

    @property
    def same(self) -> bool:
        def seen(verdicts: tuple[Verdict, ...]) -> list[Any]:
            return [to_plain(verdict) for verdict in verdicts]

        return seen(self.decision.verdicts) == seen(self.again)
