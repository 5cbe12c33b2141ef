"""The chain that makes the journal tamper-evident: each row's hash covers the row and the hash before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from attrs import frozen

__all__ = ["Break", "Entry", "first_break", "link"]


@frozen
class Entry:
    """One row of the journal. `body` is canonical JSON; `at` is seconds since the epoch."""

    account: str
    seq: int
    kind: str
    at: float
    key: str | None
    body: str
    hash: str


@frozen
class Break:
    """The first row at which a journal stops being what was written."""

    account: str
    seq: int
    what: str

    def __str__(self) -> str:
        return f"account {self.account}, row {self.seq}: {self.what}"


def link(previous: str, account: str, seq: int, kind: str, at: float, key: str | None, body: str) -> str:
    """The hash of a row that follows the row with hash `previous` (empty for the first)."""
    # Lengths before texts: no two different rows can look the same to the hash.
    parts = [previous, account, str(seq), kind, repr(at), key or "", body]
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()


def first_break(entries: Iterable[Entry], heads: Iterator[tuple[str, int, str]]) -> Break | None:
    """Walk one journal in the order (account, seq) and name the first row that does not follow from the one before.

    `heads` are the (account, seq, hash) that the ledger remembers as last: a cut tail shows there.
    """
    last: dict[str, tuple[int, str]] = {}
    for entry in entries:
        seq, hashed = last.get(entry.account, (0, ""))
        if entry.seq != seq + 1:
            return Break(entry.account, seq + 1, f"it is missing; the next row there is {entry.seq}")
        if link(hashed, entry.account, entry.seq, entry.kind, entry.at, entry.key, entry.body) != entry.hash:
            return Break(entry.account, entry.seq, f"its content or its hash was changed ({entry.kind})")
        last[entry.account] = (entry.seq, entry.hash)
    for account, seq, hashed in heads:
        at, found = last.get(account, (0, ""))
        if (at, found) != (seq, hashed):
            return Break(account, at + 1, f"the ledger remembers {seq} rows, the journal ends at {at}")
    return None
