"""Alarms, and closing an account for buys where the gate itself sees that something is wrong.

A halt holds even where the ledger cannot take it: then a file beside the config does, and where not even that can be
made, this process alone.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from ordergate.clock import Clock, iso
from ordergate.decision import StateChange
from ordergate.errors import LedgerError
from ordergate.models import TradingState
from ordergate.observers import Observers
from ordergate.records import to_plain
from ordergate.store import Store

__all__ = ["Alarms"]


class Alarms:
    """One per executor. Safe to share between threads."""

    def __init__(self, store: Store, observers: Observers, halt_file: Path, clock: Clock) -> None:
        self.halt_file = halt_file
        self.halted_here = ""
        """Why buys are stopped in this process alone; empty when they are not."""
        self._store, self._observers, self._clock = store, observers, clock
        self._told: set[Hashable] = set()

    def first(self, what: Hashable) -> bool:
        """True for the first who asks about this in this process: the same alarm is raised once."""
        new = what not in self._told
        self._told.add(what)
        return new

    def raise_one(self, account: str, code: str, message: str, *, key: str | None = None) -> None:
        """Record the alarm, once per key, and tell the observers."""
        change = StateChange(kind="alarm", account=account, code=code, message=message, at=self._clock.now())
        self._store.write(account, "alarm", to_plain(change), key=key or f"alarm:{self._clock.new_id()}")
        self.tell(change)

    def tell(self, change: StateChange) -> None:
        self._observers.tell("on_state", change=change)

    def freeze(self, account: str, code: str, message: str) -> None:
        """Close an account for buys until a person resumes it, and raise an alarm."""
        body = {"trading": TradingState.EXITS_ONLY.value, "by": "ordergate", "reason": message, "code": code}
        try:
            self._store.ledger().append(account, "trading", body, at=self._clock.now())
        except LedgerError:
            try:
                self.halt_by_file(f"{account}: {message}")
            except OSError as error:
                message = f"{message}; no file could be made either ({error.strerror}): only this process is halted"
        self.raise_one(account, code, message)

    def halt_by_file(self, reason: str) -> None:
        """Halt where the ledger cannot hold it. Raises OSError when not even a file can be made; then at least this
        process is halted, until somebody resumes it.
        """
        try:
            with self.halt_file.open("a", encoding="utf-8") as file:
                file.write(f"{iso(self._clock.now())} {reason}\n")
        except OSError:
            self.halted_here = reason
            raise

    def halted_by_file(self) -> bool:
        """True while anything of the halt file's name exists, a link to nowhere too, or nobody can tell."""
        try:
            self.halt_file.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True
