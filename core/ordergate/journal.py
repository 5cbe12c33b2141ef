"""The chain that makes the journal tamper-evident: each row's hash covers the row and the hash before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from attrs import frozen

from ordergate.errors import LedgerDamaged

__all__ = ["Break", "DoesNotFollow", "Entry", "first_break", "link", "sound"]


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


class DoesNotFollow(LedgerDamaged):
    """A row `at` which a journal stops being what was written."""

    def __init__(self, at: Break) -> None:
        super().__init__(f"the journal does not hold: {at}")
        self.at = at


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
    try:
        for entry in sound(entries):
            last[entry.account] = (entry.seq, entry.hash)
    except DoesNotFollow as found:
        return found.at
    for account, seq, hashed in heads:
        at, ended = last.get(account, (0, ""))
        if (at, ended) != (seq, hashed):
            return Break(account, at + 1, f"the ledger remembers {seq} rows, the journal ends at {at}")
    return None


def sound(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same rows as long as each follows from the one before. Raises DoesNotFollow at the first that does not."""
    account, seq, hashed = "", 0, ""
    for entry in entries:
        if entry.account != account:
            account, seq, hashed = entry.account, 0, ""
        if entry.seq != seq + 1:
            raise DoesNotFollow(Break(account, seq + 1, f"it is missing; the next row there is {entry.seq}"))
        if link(hashed, account, entry.seq, entry.kind, entry.at, entry.key, entry.body) != entry.hash:
            raise DoesNotFollow(Break(account, entry.seq, f"its content or its hash was changed ({entry.kind})"))
        seq, hashed = entry.seq, entry.hash
        yield entry
