"""The trading state: halting, resuming, and saying how things stand.

A halt holds even where the ledger cannot take it: then a file beside the config does. It outlives every process
and ends only when a person, with a name and a reason, resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from ordergate.clock import iso
from ordergate.decision import Decision, StateChange
from ordergate.desk import Desk
from ordergate.errors import ConfigError, InputError, LedgerError
from ordergate.ledger import EVERY_ACCOUNT
from ordergate.models import TradingState
from ordergate.records import to_plain
from ordergate.settlement import is_doubtful

__all__ = ["Halted", "Trading", "check_words"]


@frozen(kw_only=True)
class Halted:
    """What a halt did. `acknowledged` and `unacknowledged` name open buys by client order id, with the venue's
    answer. `held` is false when neither the ledger nor the halt file took it, so that it ends with this process.
    """

    change: StateChange
    acknowledged: Mapping[str, str]
    unacknowledged: Mapping[str, str]
    warning: str | None = None
    held: bool = True


def check_words(field: str, text: object) -> None:
    """Who and why must be said in words that can be shown. Raises InputError."""
    if not isinstance(text, str) or not text.strip() or not text.isprintable() or len(text) > 500:
        raise InputError(field, text, "say it in 1 to 500 printable characters")


class Trading:
    """Sets and reports the trading state of one account or of all."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def halt(
        self,
        account: str | None,
        *,
        by: str,
        reason: str,
        keep_open: bool,
        cancel: Callable[[str, str], Decision],
    ) -> Halted:
        """Exits only from now on. The state is set before anything is cancelled."""
        scope = self._scope(account)
        change = self._change("halted", scope, by, reason)
        warning: str | None = None
        held = True
        try:
            self._append(scope, TradingState.EXITS_ONLY, change)
        except LedgerError as error:
            self._desk.store.drop()
            file = self._desk.alarms.halt_file
            held_by = f"the file {file} holds it for all accounts"
            try:
                self._desk.alarms.halt_by_file(f"{scope}: {reason} ({by})")
            except OSError as failed:
                held = False
                held_by = f"nor could the halt file {file} ({failed.strerror}): ONLY THIS PROCESS halts"
            warning = f"The ledger could not record the halt ({error}); {held_by}."
        self._desk.alarms.tell(change)
        done: dict[str, str] = {}
        open_still: dict[str, str] = {}
        for name in [] if keep_open else self._names(account):
            self._cancel_buys(name, cancel, done, open_still)
        return Halted(change=change, acknowledged=done, unacknowledged=open_still, warning=warning, held=held)

    def resume(self, account: str | None, *, by: str, reason: str) -> StateChange:
        """Active again. Raises InputError while something else than this state still forbids buying here."""
        scope = self._scope(account)
        change = self._change("resumed", scope, by, reason)
        if self._desk.alarms.halted_by_file():
            file = self._desk.alarms.halt_file.name
            raise InputError("halt file", file, "remove this file first; it halts all accounts")
        if self._desk.alarms.halted_here and account is not None:
            raise InputError("account", account, "this process is halted for all accounts; resume without an account")
        self._append(scope, TradingState.ACTIVE, change)
        self._desk.alarms.halted_here = ""
        self._desk.alarms.tell(change)
        return change

    def status(self) -> Mapping[str, Any]:
        desk, setup = self._desk, self._desk.setup
        ledger_error: str | None = None
        trading: Mapping[str, tuple[TradingState, str]] = {}
        unfinished: list[dict[str, Any]] = []
        try:
            ledger = desk.ledger()
            trading = ledger.trading()
            now = desk.clock.now()
            for name in ledger.accounts():
                unfinished += [
                    {
                        "account": name,
                        "client_order_id": one.client_order_id,
                        "symbol": one.symbol,
                        "status": "unknown" if is_doubtful(one, now) else one.status,
                        "since": iso(one.at),
                    }
                    for one in ledger.unfinished(name)
                ]
        except LedgerError as error:
            ledger_error = str(error)
        every = trading.get(EVERY_ACCOUNT, (TradingState.ACTIVE, ""))
        halted_by_file = desk.alarms.halted_by_file()
        broken = setup.problems or setup.refusals or ledger_error
        closed = bool(broken or halted_by_file or desk.alarms.halted_here or not setup.panel.rules)
        accounts = {}
        for name in setup.config.accounts:
            own, why = trading.get(name, (TradingState.ACTIVE, ""))
            exits_only = closed or name in setup.broken or TradingState.EXITS_ONLY in (own, every[0])
            accounts[name] = {
                "trading": (TradingState.EXITS_ONLY if exits_only else TradingState.ACTIVE).value,
                "why": why or every[1],
                "broker": setup.config.accounts[name].broker,
                "usable": name in setup.brokers,
            }
        return {
            "trading": (TradingState.EXITS_ONLY if closed else every[0]).value,
            "why": every[1] or desk.alarms.halted_here,
            "halt_file": str(desk.alarms.halt_file) if halted_by_file else None,
            "ledger": {"url": setup.config.gate.ledger, "error": ledger_error},
            "fallback_waiting": desk.store.fallback.waiting(),
            "accounts": accounts,
            "rules": [rule.name for rule in setup.panel.rules],
            "problems": [str(problem) for problem in setup.problems],
            "plugins_refused": [{"code": code, "message": message} for code, message in setup.refusals],
            "unfinished": unfinished,
        }

    # ------------------------------------------------------------------------------------------------------ inside

    def _scope(self, account: str | None) -> str:
        if account is None:
            return EVERY_ACCOUNT
        if account not in self._desk.setup.config.accounts:
            raise InputError("account", account, f"the config has {', '.join(self._desk.setup.config.accounts)}")
        return account

    def _names(self, account: str | None) -> list[str]:
        return [account] if account else list(self._desk.setup.brokers)

    def _change(self, kind: str, scope: str, by: str, reason: str) -> StateChange:
        for field, text in (("by", by), ("reason", reason)):
            check_words(field, text)
        account = None if scope == EVERY_ACCOUNT else scope
        return StateChange(kind=kind, account=account, code=kind, message=reason, by=by, at=self._desk.clock.now())

    def _append(self, scope: str, trading: TradingState, change: StateChange) -> None:
        body = {**to_plain(change), "trading": trading.value, "by": change.by, "reason": change.message}
        self._desk.ledger().append(scope, "trading", body, at=change.at)

    def _cancel_buys(
        self, account: str, cancel: Callable[[str, str], Decision], done: dict[str, str], open_still: dict[str, str]
    ) -> None:
        try:
            unfinished = self._desk.ledger().unfinished(account)
        except LedgerError as error:
            open_still[f"(account {account})"] = f"its open buys cannot be listed: {error}"
            return
        for recorded in unfinished:
            if recorded.is_exit:
                continue  # all else acquires something, a sell of ETH-BTC too
            try:
                decision = cancel(account, recorded.client_order_id)
            except (InputError, ConfigError, LedgerError) as error:
                open_still[recorded.client_order_id] = str(error)
                continue
            settled = decision.receipt is not None and decision.status.is_final
            (done if settled else open_still)[recorded.client_order_id] = decision.message
