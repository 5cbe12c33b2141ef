"""The ledger while it can be had, the fallback where it cannot, and what this process remembers of either.

Buys need the ledger for everything they do with it; exits use it where it is to be had and the fallback where it is
not.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from ordergate.clock import Clock
from ordergate.config import Config
from ordergate.errors import InputError, LedgerBusy, LedgerError
from ordergate.fallback import Fallback
from ordergate.ledger import SENDING, AccountState, AlreadyRecorded, Ledger, Recorded, open_ledger
from ordergate.models import History
from ordergate.past import Past
from ordergate.settlement import is_doubtful

__all__ = ["Store"]

_REST: Final = 1.0  # seconds in which a ledger that just stayed locked is not waited for again
_LOOK: Final = 0.01  # seconds between looks at an order that another caller is just sending


class Store:
    """One per executor. Safe to share between threads."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self.fallback = Fallback(config.folder / config.gate.fallback, clock)
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._known: str | None = None
        self._locked_until = 0.0
        self._pasts: dict[str, Past] = {}
        self._past_lock = threading.Lock()

    # ------------------------------------------------------------------------------------------------------ the ledger

    def ledger(self) -> Ledger:
        """The ledger, opened on first use and again after it failed. Raises LedgerError."""
        with self._lock:
            if self._ledger is None:
                self._ledger = self._opened()
                self._known = self._ledger.mark
            return self._ledger

    def _opened(self) -> Ledger:
        """The ledger, opened. One that stayed locked is waited for once, not once by each who asks for it in a row."""
        gate, folder = self._config.gate, self._config.folder
        if self._clock.monotonic() < self._locked_until:
            raise LedgerBusy(f"the ledger {gate.ledger} was locked by another process a moment ago; try again")
        try:
            return open_ledger(gate.ledger, folder, self._clock, same_as=self._known, sender_lease=gate.sender_lease)
        except LedgerBusy:
            self._locked_until = self._clock.monotonic() + _REST
            raise
        except InputError as error:  # a URL this version has no ledger for keeps nobody in
            raise LedgerError(str(error)) from error

    def ledger_to_inspect(self) -> Ledger:
        """The ledger for looking at, also when it is damaged; the caller closes it. Raises LedgerError."""
        return open_ledger(self._config.gate.ledger, self._config.folder, self._clock, to_inspect=True)

    def drop(self) -> None:
        """Forget a ledger that failed, so that the next use opens it anew."""
        with self._lock:
            ledger, self._ledger = self._ledger, None
        with self._past_lock:
            self._pasts.clear()
        if ledger is not None:
            ledger.close()

    close = drop

    # --------------------------------------------------------------------------------------------------------- reading

    def find(self, account: str, client_order_id: str) -> Recorded | None:
        """The recorded order. One that is being sent in this moment is waited for: its outcome is the answer."""
        ledger, deadline = self.ledger(), self._clock.monotonic() + self._config.gate.send_within
        while True:
            recorded = ledger.find(account, client_order_id)
            if recorded is None or recorded.status != SENDING or is_doubtful(recorded, self._clock.now()):
                return recorded
            if self._clock.monotonic() >= deadline:
                return recorded
            self._clock.sleep(_LOOK)

    def history(self, account: str, state: AccountState) -> History | None:
        """What the account's journal tells up to the row that the state was read at; None when another thread has
        looked further since, so that the state is an old one.
        """
        ledger = self.ledger()
        with self._past_lock:
            past = self._pasts.pop(account, None) or Past()  # what is folded in part is not kept
            if past.seq < state.seq:
                for entry in ledger.entries(account, after=past.seq):
                    if entry.seq > state.seq:
                        break
                    past.take(entry)
            self._pasts[account] = past
            return past.history(self._clock.now()) if past.seq <= state.seq else None

    # --------------------------------------------------------------------------------------------------------- writing

    def bring_home(self) -> None:
        """Import what exits had to write elsewhere. Raises LedgerError: no buy before it is home."""
        self.fallback.bring_home(self.ledger())

    def write(self, account: str, kind: str, body: Mapping[str, object], *, key: str) -> str | None:
        """Record where it can be recorded. Returns a warning when that is not the ledger, or nowhere at all."""
        try:
            return self.write_first(account, kind, body, key=key)
        except AlreadyRecorded:
            return None

    def write_first(self, account: str, kind: str, body: Mapping[str, object], *, key: str) -> str | None:
        """The same, and `AlreadyRecorded` for all but the first who writes under this key."""
        at = self._clock.now()
        try:
            self.ledger().append(account, kind, body, at=at, key=key)
        except LedgerError as error:
            self.drop()
            lost = self.fallback.write(account, kind, dict(body), at=at, key=key)
            return f"The ledger could not record it ({error}); {lost or f'it waits in {self.fallback.path}'}."
        return None
