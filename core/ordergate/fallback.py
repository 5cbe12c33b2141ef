"""Where exits are written down while the ledger cannot take them: a folder of its own, then standard error.

Each line is what would have been a journal row. It is synced before the order is sent, and imported into the journal
before the next buy. Losing the line never stops an exit.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any, Final

from ordergate.clock import Clock
from ordergate.errors import LedgerBusy, LedgerDamaged, LedgerError
from ordergate.ledger import AlreadyRecorded, Ledger
from ordergate.records import canonical

__all__ = ["Fallback"]

_NAME: Final = "fallback.jsonl"
_PATIENCE: Final = 1.0  # seconds to wait for another process that writes or imports


class Fallback:
    """The file of lines that wait for the ledger. Safe for several processes; nothing here raises but `bring_home`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.path, self._clock = folder, folder / _NAME, clock
        self._memory: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def write(self, account: str, kind: str, body: dict[str, object], *, at: float, key: str) -> str | None:
        """Append one line and sync it. Returns what went wrong, in words, when it only reached standard error.

        Raises AlreadyRecorded when a line of this account under this key waits already.
        """
        line = canonical({"account": account, "kind": kind, "body": body, "at": at, "key": key})
        with self._lock:
            _must_be_new(self._memory, account, key)
            self._memory.append(json.loads(line))
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked() as locked:
                _must_be_new(self._readable(), account, key)
                self._append(line.encode() + b"\n", mend=locked)
            if not locked:
                sys.stderr.write(f"ordergate fallback: {line}\n")
        except OSError as error:
            sys.stderr.write(f"ordergate fallback: {line}\n")
            return f"it could not be written to {self.path} either ({error.strerror}); it is on standard error only"
        return None

    def find(self, account: str, client_order_id: str) -> list[dict[str, Any]]:
        """Bodies of the lines about one order, oldest first, with their kinds under `kind`."""
        lines = {line["key"]: line for line in [*self._memory, *self._readable()]}
        return [
            {**line["body"], "kind": line["kind"]}
            for line in lines.values()
            if line["account"] == account and line["body"].get("client_order_id") == client_order_id
        ]

    def waiting(self) -> int:
        """How many lines wait for the ledger."""
        return sum(1 for _ in self._readable())

    def bring_home(self, ledger: Ledger) -> int:
        """Append every waiting line to the journal, once, and put the file aside. Returns how many were new.

        Raises LedgerError when the ledger cannot take them, or when the file holds what nobody wrote there.
        """
        if not self.path.exists() and not self._memory:
            return 0
        try:
            with self._locked() if self.path.exists() else nullcontext(True) as locked:
                if not locked:
                    raise LedgerBusy(f"another process is busy with the fallback {self.path}; try again")
                lines = {line["key"]: line for line in [*self._memory, *self._strict()]}
                taken = sum(_import(ledger, line) for line in lines.values())
                if self.path.exists():
                    self._put_aside()
        except OSError as error:
            raise LedgerError(f"the fallback {self.path} cannot be imported: {error}") from error
        self._memory.clear()
        return taken

    # ------------------------------------------------------------------------------------------------------ inside

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Whether the folder is ours alone: False when another process kept it for too long. An exit never queues."""
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = self._clock.monotonic() + _PATIENCE
        try:
            while not (locked := _try_lock(descriptor)) and self._clock.monotonic() < deadline:
                self._clock.sleep(0.01)
            yield locked
        finally:
            os.close(descriptor)

    def _append(self, line: bytes, *, mend: bool) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if mend:
                # What follows the last line break is a line whose writer died, or found the disk full, in its middle.
                os.ftruncate(descriptor, self.path.read_bytes().rfind(b"\n") + 1)
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _readable(self) -> Iterator[dict[str, Any]]:
        try:
            yield from self._strict()
        except (OSError, LedgerDamaged):
            return

    def _strict(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        *whole, _ = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(whole, 1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise LedgerDamaged(f"{self.path}, line {number}, is damaged; mend or move the file") from error
            if not isinstance(entry, dict) or {"account", "kind", "body", "at", "key"} - entry.keys():
                raise LedgerDamaged(f"{self.path}, line {number}, is no ledger entry; mend or move the file")
            yield entry

    def _put_aside(self) -> None:
        # Never over an older one: what was imported once may be all that is left of it.
        numbers = (self.folder / f"imported-{number:06d}.jsonl" for number in count(1))
        self.path.replace(next(path for path in numbers if not path.exists()))


def _must_be_new(lines: Iterable[dict[str, Any]], account: str, key: str) -> None:
    if any((line["account"], line["key"]) == (account, key) for line in lines):
        raise AlreadyRecorded(f"{key} of account {account} waits for the ledger already")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _import(ledger: Ledger, line: dict[str, Any]) -> bool:
    try:
        ledger.append(line["account"], line["kind"], line["body"], at=line["at"], key=line["key"])
    except AlreadyRecorded:
        return False
    return True
