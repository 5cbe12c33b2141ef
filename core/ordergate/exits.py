"""Exits and cancels: the path that nothing may block.

No rule is asked and nothing is waited for longer than a few seconds. Facts make an exit better, cut to the step and to
what is there; without them it goes as asked. The ledger records it where it can, else the fallback does. It is still
sent at most once: an id that is recorded anywhere, or found at the venue, is never sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

from attrs import evolve, frozen

from ordergate.broker import Broker, Mismatch, NothingSent, wire_id
from ordergate.calls import Failed
from ordergate.decision import Decision, FactsSummary
from ordergate.desk import Desk
from ordergate.errors import BrokerError, ConfigError, IdConflict, InputError, LedgerError
from ordergate.ledger import SENDING, AlreadyRecorded, Recorded
from ordergate.models import AccountReport, Market, OpenOrder, OrderStatus, Receipt, Side, VenueOrder, Verdict
from ordergate.order import Order
from ordergate.outcome import REFUSED, Outcome, as_recorded, decision_of, digest_of, replay, sent, told
from ordergate.panel import refusal
from ordergate.records import from_plain
from ordergate.settlement import is_doubtful, settle_one, venue_order_of
from ordergate.sizing import round_exit

__all__ = ["Exits"]

_RESTING = (OrderStatus.OPEN, OrderStatus.PARTLY_FILLED)
_QUICK = 1.0  # seconds an emergency waits for a step it would like to know


@frozen(kw_only=True)
class _Seen:
    """What could be had of the facts in time."""

    report: AccountReport | None
    market: Market | None

    def available(self, currency: str) -> Decimal | None:
        if self.report is None:
            return None
        return next((held.available for held in self.report.holdings if held.currency == currency), Decimal(0))


class Exits:
    """Sells into cash, and cancels, for every account whose own section and broker are sound."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._identities: dict[str, str] = {}

    def check(self, order: Order) -> Decision:
        """What would be sent now. Exits meet no rules, so there is nothing to refuse but a zero size."""
        broker = self._broker(order)
        return self._decided(order, broker, self._look(order, broker), [], checked_only=True)

    def submit(self, order: Order) -> Decision:
        broker = self._broker(order)
        known = self._known(order, broker)
        if known is not None:
            return known
        order = order if order.client_order_id else evolve(order, client_order_id=self._desk.new_id())
        # Without a client nothing can be asked or sent. Its time is not the facts' time, nor the order's own.
        with suppress(NothingSent):
            broker.client(self._desk.setup.config.gate.deadline)
        warnings = self._cancel_resting(order, broker) if order.force_liquidate else self._settle_first(order, broker)
        seen = self._look(order, broker)
        warnings = [*warnings, *self._of_other_funds(broker, seen), *self._beside_another(broker)]
        decision = self._decided(order, broker, seen, warnings)
        try:
            warning = self._write(decision, broker)
        except AlreadyRecorded:
            # Somebody else was first with this id, in this moment: it is theirs to send.
            return self._known(order, broker) or _sent_by_another(decision)
        # Another process may have written this id down in the other place meanwhile: whoever wrote looks there too.
        if warning is None:
            known = self._in_fallback(order, broker)
        else:
            with suppress(LedgerError):  # it may only have been locked for writing
                known = self._in_ledger(order, broker)
        if known is not None:
            return known
        decision = evolve(decision, warnings=(*decision.warnings, *([warning] if warning else ())))
        self._desk.tell_decision(decision)
        if not decision.approved:
            return decision
        final = sent(decision, self._desk.place(decision, broker))
        self._desk.tell_order(final)
        return final

    def cancel(self, account: str, client_order_id: str) -> Decision:
        """Cancel what is left of an order, found in the ledger, the fallback or at the venue. Raises InputError."""
        broker = self._broker_of(account)
        decision = self._decision_of(account, client_order_id)
        if decision is not None and decision.status is OrderStatus.REFUSED:
            raise InputError("client_order_id", client_order_id, "the gate refused this order; nothing was ever sent")
        if decision is not None and decision.status.is_final:
            return decision
        if decision is None or decision.venue_order is None:
            decision = self._open_at_venue(broker, client_order_id)
        order = decision.venue_order
        if order is None:
            raise InputError("client_order_id", client_order_id, f"account {account} knows no order under this id")
        seconds = self._desk.setup.config.gate.deadline
        try:
            receipt = broker.cancel_order(order, seconds)
            outcome = Outcome(status=receipt.status, receipt=receipt, message=told(receipt))
        except Failed as failed:
            message = f"The venue did not acknowledge the cancel: {failed}."
            outcome = Outcome(status=OrderStatus.UNKNOWN, receipt=None, message=message)
        if outcome.receipt is not None:
            why = "cancelled on request"
            word = f"cancel:{outcome.status}"
            warning = self._desk.hear(account, client_order_id, outcome.status, outcome.receipt, why, word=word)
            outcome = evolve(outcome, warnings=(warning,) if warning else ())
        self._desk.forget(account)
        final = sent(decision, outcome)
        self._desk.tell_order(final)
        return final

    # ------------------------------------------------------------------------------------------------------ the steps

    def _broker(self, order: Order) -> Broker:
        return self._broker_of(str(order.account))

    def _broker_of(self, account: str) -> Broker:
        setup = self._desk.setup
        if account in setup.broken:
            raise ConfigError(setup.broken[account])
        return setup.brokers[account]

    def _look(self, order: Order, broker: Broker) -> _Seen:
        """Facts under a short deadline. An emergency asks only for what it cannot do without."""
        gate = self._desk.setup.config.gate
        report: AccountReport | None = None
        market: Market | None = None
        if order.all or not order.force_liquidate:
            try:
                report = broker.get_account(gate.exit_facts)
                self._identities[broker.account] = report.identity
            except BrokerError:
                report = None
        try:
            seconds = _QUICK if order.force_liquidate else gate.exit_facts
            market = self._desk.reader(broker.account).market(order.symbol, seconds=seconds)
        except BrokerError:
            market = None
        return _Seen(report=report, market=market)

    def _decided(
        self, order: Order, broker: Broker, seen: _Seen, warnings: list[str], *, checked_only: bool = False
    ) -> Decision:
        """The exit as it would be sent: cut to what is there and to the step. Only nothing at all is refused."""
        base = order.symbol.split("-")[0]
        amount, limit = round_exit(order, seen.market, seen.available(base))
        now = self._desk.clock.now()
        decision = Decision(
            status=OrderStatus.APPROVED,
            order=order,
            is_exit=True,
            checked_only=checked_only,
            message="An exit always passes.",
            at=now,
            facts=_summary(seen),
        )
        verdict: Verdict | None = None
        if amount is None:
            verdict = refusal(
                "gate.exit", "no_balance", "How much `all` is cannot be read from the venue now; name an amount."
            )
        elif amount <= 0:
            verdict = refusal(
                "gate.exit",
                "nothing_to_sell",
                f"There is no {base} to sell in this account, or less than one step of {order.symbol}.",
                observed=Decimal(0),
                limit=seen.market.amount_step if seen.market else None,
            )
        if verdict is not None:
            return evolve(
                decision,
                status=OrderStatus.REFUSED,
                error=REFUSED,
                message=verdict.message,
                verdicts=(verdict,),
                warnings=tuple(warnings),
            )
        if order.amount is not None and amount is not None and amount < order.amount:
            warnings = [
                *warnings,
                f"The amount was cut from {order.amount} to {amount} {base}: more is not there, or not in whole steps.",
            ]
        if seen.report is None and not order.force_liquidate:
            warnings = [*warnings, "The venue's balances could not be read in time; the amount goes as asked."]
        venue_order = VenueOrder(
            account=broker.account,
            symbol=order.symbol,
            side=Side.SELL,
            spend=None,
            amount=amount,
            limit=limit,
            client_order_id=wire_id(self._identity(broker), str(order.client_order_id)),
            send_by=now + self._desk.setup.config.gate.send_within,
        )
        return evolve(decision, venue_order=venue_order, warnings=tuple(warnings))

    def _write(self, decision: Decision, broker: Broker) -> str | None:
        body = as_recorded(decision, None, None, facts=None, setup=None)
        key = f"order:{decision.order.client_order_id}"
        return self._desk.store.write_first(broker.account, "decision", body, key=key)

    def _identity(self, broker: Broker) -> str:
        """The venue's name for the funds, from whoever can still say it."""
        if broker.account not in self._identities:
            try:
                known = self._desk.ledger().accounts().get(broker.account)
            except LedgerError:
                known = None
            if known is None:
                # Neither venue nor ledger can say it. The id is then unique to the account's name, which serves as
                # well.
                return f"account:{broker.account}"
            self._identities[broker.account] = known
        return self._identities[broker.account]

    def _of_other_funds(self, broker: Broker, seen: _Seen) -> list[str]:
        """A person must hear that a key sells out of another account than the one that was bought for."""
        if seen.report is None:
            return []
        try:
            bound = self._desk.ledger().accounts().get(broker.account)
        except LedgerError:
            return []
        if bound in (None, seen.report.identity):
            return []
        return [f"The account was bound to the funds {bound}; this sells out of {seen.report.identity}."]

    def _beside_another(self, broker: Broker) -> list[str]:
        """Nothing keeps an exit from being sent, so a person must hear when somebody else may be sending too."""
        unfenced = "this exit goes unfenced, and another gateway may be sending for the account too"
        try:
            sender = self._desk.ledger().state(broker.account).sender
        except LedgerError:
            alone = self._desk.setup.config.gate.ledger.startswith("sqlite:")
            return [] if alone else [f"Who may send for the account cannot be read: {unfenced}."]
        return [f"Buys of this account are sent by {sender}: {unfenced}."] if sender else []

    # --------------------------------------------------------------------------------------------------- already known?

    def _known(self, order: Order, broker: Broker) -> Decision | None:
        """The outcome recorded under this id, wherever it stands; None when it is new."""
        if order.client_order_id is None:
            return None
        try:
            return self._in_ledger(order, broker) or self._in_fallback(order, broker)
        except LedgerError:
            self._desk.store.drop()
            return self._known_elsewhere(order, broker)

    def _in_ledger(self, order: Order, broker: Broker) -> Decision | None:
        recorded = self._desk.store.find(broker.account, str(order.client_order_id))
        return None if recorded is None else replay(recorded, digest_of(order))

    def _known_elsewhere(self, order: Order, broker: Broker) -> Decision | None:
        """With the ledger out of reach: the fallback, then the venue itself."""
        found = self._in_fallback(order, broker)
        if found is not None:
            return found
        if broker.account not in self._identities:
            # The id on the wire follows from the venue's name for the funds; with another one nothing would be found.
            with suppress(BrokerError):
                report = broker.get_account(self._desk.setup.config.gate.exit_facts)
                self._identities[broker.account] = report.identity
        seen = _Seen(report=None, market=None)
        asked = self._decided(evolve(order, all=False, amount=order.amount or Decimal(1)), broker, seen, []).venue_order
        if asked is None:
            return None
        # An emergency may have been sent before anybody could say what the venue calls these funds.
        for identity in dict.fromkeys((self._identity(broker), f"account:{broker.account}")):
            on_wire = wire_id(identity, str(order.client_order_id))
            looked_up = evolve(asked, spend=None, amount=None, client_order_id=on_wire)
            try:
                receipt = broker.find_order(looked_up, self._desk.setup.config.gate.exit_facts)
            except Mismatch as mismatch:
                raise IdConflict(
                    "client_order_id", order.client_order_id, f"the venue has another order under it: {mismatch}"
                ) from mismatch
            except BrokerError:
                return None
            if receipt is not None:
                return _found_at_venue(order, looked_up, receipt)
        return None

    def _in_fallback(self, order: Order, broker: Broker) -> Decision | None:
        decision = self._from_fallback(broker.account, str(order.client_order_id))
        if decision is None:
            return None
        if digest_of(decision.order) != digest_of(order):
            raise IdConflict("client_order_id", order.client_order_id, "it was used for another order; use a new id")
        return evolve(decision, replayed=True, advice="This id was used before; use a new id for a new order.")

    def _from_fallback(self, account: str, client_order_id: str) -> Decision | None:
        lines = self._desk.store.fallback.find(account, client_order_id)
        first = next((line for line in lines if line["kind"] == "decision"), None)
        if first is None:
            return None
        decision = decision_of(first, 0.0)
        if not decision.approved:
            return decision
        heard = [line for line in lines if line["kind"] == "receipt"]
        if not heard:
            return sent(
                decision, Outcome(status=OrderStatus.UNKNOWN, receipt=None, message="Its outcome is not known.")
            )
        receipt = None if heard[-1]["receipt"] is None else from_plain(heard[-1]["receipt"], Receipt)
        message = told(receipt) if receipt else "Its outcome is not known."
        return sent(decision, Outcome(status=OrderStatus(heard[-1]["status"]), receipt=receipt, message=message))

    def _decision_of(self, account: str, client_order_id: str) -> Decision | None:
        try:
            recorded = self._desk.ledger().find(account, client_order_id)
        except LedgerError:
            self._desk.store.drop()
            return self._from_fallback(account, client_order_id)
        return replay(recorded) if recorded else self._from_fallback(account, client_order_id)

    def _open_at_venue(self, broker: Broker, client_order_id: str) -> Decision:
        """An order that is recorded nowhere, looked for among the venue's open ones by the id it would have there."""
        try:
            report = broker.get_account(self._desk.setup.config.gate.exit_facts)
        except BrokerError as error:
            raise InputError(
                "client_order_id", client_order_id, f"it is recorded nowhere, and the venue could not be asked: {error}"
            ) from error
        on_wire = wire_id(report.identity, client_order_id)
        for resting in report.open_orders:
            if resting.client_order_id in (on_wire, client_order_id):
                order = Order(
                    symbol=resting.symbol,
                    side=resting.side,
                    amount=resting.amount_left,
                    limit=resting.limit or Decimal(1),
                )
                return Decision(status=OrderStatus.OPEN, order=order, venue_order=_as_sent(resting, broker.account))
        raise InputError("client_order_id", client_order_id, f"account {broker.account} knows no order under this id")

    # --------------------------------------------------------------------------------------------------- before a sell

    def _unfinished(self, order: Order, broker: Broker, wanted: Callable[[Recorded], bool]) -> list[Recorded]:
        try:
            found = self._desk.ledger().unfinished(broker.account)
        except LedgerError:
            return []
        return [one for one in found if one.symbol == order.symbol and wanted(one)]

    def _settle_first(self, order: Order, broker: Broker) -> list[str]:
        """While an earlier sell of the symbol is of unknown outcome, settle it, for a few seconds."""
        clock = self._desk.clock
        deadline = clock.monotonic() + self._desk.setup.config.gate.exit_settle

        def in_doubt(one: Recorded) -> bool:
            return one.is_exit and (one.status == SENDING or is_doubtful(one, clock.now()))

        while True:
            doubtful = self._unfinished(order, broker, in_doubt)
            if not doubtful:
                return []
            for recorded in doubtful:
                try:
                    settled = settle_one(recorded, broker, clock, max(0.1, deadline - clock.monotonic()))
                except LedgerError:
                    continue  # its record is damaged; that is no reason to keep anybody in
                if settled.status is not None or settled.mismatch:
                    self._desk.take_in(settled)
            if clock.monotonic() >= deadline:
                break
            clock.sleep(0.05)
        names = ", ".join(one.client_order_id for one in self._unfinished(order, broker, in_doubt))
        if not names:
            return []
        return [f"An earlier sell is of unknown outcome ({names}); this one is capped at what is available now."]

    def _cancel_resting(self, order: Order, broker: Broker) -> list[str]:
        """An emergency first takes its own symbol's resting orders out of the way; what is not acknowledged is named.

        They are those of the ledger, and, where the venue answers at once, all that it shows.
        """
        resting: dict[str, tuple[str | None, VenueOrder]] = {}
        warnings = [f"Forced liquidation: {order.reason}."]
        for recorded in self._unfinished(order, broker, lambda one: one.status in _RESTING):
            with suppress(LedgerError):  # a damaged record is no reason to keep anybody in
                resting[str(recorded.wire_id)] = (recorded.client_order_id, venue_order_of(recorded))
        with suppress(BrokerError):
            for found in broker.get_account(_QUICK).open_orders:
                if found.symbol != order.symbol:
                    continue
                if found.client_order_id is None:
                    why = "has no id from its sender; cancel it at the venue, what it holds is not sold"
                    warnings.append(f"The venue's order {found.order_id} {why}.")
                else:
                    resting.setdefault(found.client_order_id, (None, _as_sent(found, broker.account)))
        clock = self._desk.clock
        deadline = clock.monotonic() + self._desk.setup.config.gate.exit_facts  # for all of them together
        for client_order_id, sent_order in resting.values():
            name = client_order_id or sent_order.client_order_id
            left = deadline - clock.monotonic()
            if left <= 0:
                warnings.append(f"The cancel of {name} was not asked for: the ones before it took too long.")
                continue
            try:
                receipt = broker.cancel_order(sent_order, left)
            except Failed as failed:
                warnings.append(f"The cancel of {name} was not acknowledged: {failed}.")
                continue
            if client_order_id is not None:
                why = "cancelled by a forced liquidation"
                word = f"cancel:{receipt.status}"
                self._desk.hear(broker.account, client_order_id, receipt.status, receipt, why, word=word)
        return warnings


def _as_sent(found: OpenOrder, account: str) -> VenueOrder:
    """An order the venue shows, as it can be named in a cancel. What it was sized in is not known any more."""
    return VenueOrder(
        account=account,
        symbol=found.symbol,
        side=found.side,
        spend=None,
        amount=None,
        limit=None,
        client_order_id=str(found.client_order_id),
        send_by=0.0,
    )


def _summary(seen: _Seen) -> FactsSummary | None:
    if seen.report is None:
        return None
    return FactsSummary(equity=None, cash=None, positions=(), tier=None, ages={"account": 0.0})


def _sent_by_another(decision: Decision) -> Decision:
    message = "Another process recorded this id in this moment; what became of it is not known here."
    return evolve(sent(decision, Outcome(status=OrderStatus.UNKNOWN, receipt=None, message=message)), replayed=True)


def _found_at_venue(order: Order, asked: VenueOrder, receipt: Receipt) -> Decision:
    decision = Decision(status=OrderStatus.APPROVED, order=order, is_exit=True, venue_order=asked, replayed=True)
    return sent(decision, Outcome(status=receipt.status, receipt=receipt, message=told(receipt)))
