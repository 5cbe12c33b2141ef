"""What the gate asks of a ledger: durable intents, reservations and decisions, and their journal.

A ledger is its journal plus the tables folded from it. Every change is one `append`; it is durable when the call
returns. A buy's append names the version and the settlement number it was judged on and is not taken when either has
moved: that one insert is what keeps a cap true across threads, processes and machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from ordergate.errors import InputError, LedgerError, OrdergateError
from ordergate.models import TradingState
from ordergate.settings import refuse_password

if TYPE_CHECKING:
    from ordergate.clock import Clock
    from ordergate.journal import Break, Entry

__all__ = [
    "EVERY_ACCOUNT",
    "SENDING",
    "AccountState",
    "AlreadyRecorded",
    "Content",
    "Ledger",
    "Recorded",
    "Reservation",
    "Unfinished",
    "open_ledger",
]

EVERY_ACCOUNT = "*"
"""The name under which the trading state of all accounts together is kept."""

SENDING = "sending"
"""Status of an order between its intent and the first word of its outcome."""


class AlreadyRecorded(OrdergateError):
    """An entry with this key stands in the journal; for an order: somebody else recorded its id first."""

    code = "ALREADY_RECORDED"


@frozen(kw_only=True)
class Reservation:
    """An approved buy's claim on its account.

    `needs` is the most it can take of the currency `gives`; `size` is what it adds to the position in `takes`, in USD.
    """

    client_order_id: str
    wire_id: str
    symbol: str
    gives: str
    takes: str
    needs: Decimal
    size: Decimal
    status: str = SENDING
    receipt_at: float | None = None


@frozen(kw_only=True)
class Recorded:
    """An order as the ledger knows it. `decision` and `receipt` are the bodies of their journal rows, JSON text."""

    account: str
    client_order_id: str
    seq: int
    at: float
    digest: str
    is_exit: bool
    symbol: str
    wire_id: str | None
    send_by: float | None
    status: str
    final: bool
    decision: str
    receipt: str | None


@frozen(kw_only=True)
class Unfinished:
    """An order that was to be sent and whose last word is not final. `send_by`: seconds since the epoch."""

    client_order_id: str
    symbol: str
    wire_id: str
    status: str
    send_by: float


@frozen(kw_only=True)
class AccountState:
    """What a buy is judged on beside the facts, all as of the journal's row `seq`."""

    name: str
    identity: str | None
    version: int
    settlement: int
    trading: TradingState
    trading_by: str
    """Why it is not active, in words; empty when it is."""
    reservations: tuple[Reservation, ...]
    unfinished: tuple[Unfinished, ...]
    seq: int
    sender: str = ""
    """Who else may send for this account now, and until when, in words; empty when this process may."""
    epoch: int = 0
    """Counts the senders that the account has had; a buy judged under another one is not taken."""


@frozen
class Content:
    """A text that decisions were made on. `name` is its hash, as `keep` returned it."""

    account: str
    name: str
    body: str


class Ledger(Protocol):
    """One store. Every method raises `LedgerError` or a kind of it when the store cannot be used.

    `mark` tells this store from any other that may later stand in its place.
    """

    mark: str

    def state(self, account: str) -> AccountState: ...

    def find(self, account: str, client_order_id: str) -> Recorded | None: ...

    def unfinished(self, account: str) -> tuple[Recorded, ...]:
        """Orders that were to be sent and whose last word is not final, oldest first."""
        ...

    def recent(self, account: str | None, since: float, limit: int) -> tuple[Recorded, ...]:
        """Recorded orders, newest first."""
        ...

    def known_wire_ids(self, account: str, wire_ids: tuple[str, ...], *, alive: bool = False) -> frozenset[str]:
        """Those of the ids that orders of the account have; with `alive` not those that expired or were rejected."""
        ...

    def append(
        self,
        account: str,
        kind: str,
        body: Mapping[str, object],
        *,
        at: float,
        key: str | None = None,
        judged_on: AccountState | None = None,
    ) -> int | None:
        """Add one row and return its number; None when `judged_on` is no longer true. Raises `AlreadyRecorded`.

        `judged_on` is true while version, settlement number and sender are as it says.
        """
        ...

    def keep(self, account: str, body: str) -> str:
        """Store a text once and return the name, its hash, under which `kept` gives it back.

        It is durable, at the latest, with the decision of the account that names it as its `facts` or its `setup`.
        """
        ...

    def kept(self, account: str, name: str) -> str: ...

    def accounts(self) -> Mapping[str, str | None]:
        """Names the ledger knows and the identities they are bound to."""
        ...

    def busy_accounts(self) -> frozenset[str]:
        """Names of the accounts that have unfinished orders."""
        ...

    def trading(self) -> Mapping[str, tuple[TradingState, str]]:
        """Trading state and reason per account name, and of all together under `EVERY_ACCOUNT`."""
        ...

    def entries(self, account: str | None = None, *, after: int = 0, newest: int | None = None) -> Iterator[Entry]:
        """Journal rows in the order (account, seq), of one account those after row `after`; with `newest` only the last
        so many, in the order of time.
        """
        ...

    def contents(self) -> Iterator[Content]:
        """Every text that was kept, in the order (account, name)."""
        ...

    def adopt(self, entries: Iterable[Entry], contents: Iterable[Content]) -> None:
        """Take a whole journal over into an empty ledger: each row exactly as it is, the tables folded from it.

        The rows come as `entries` gives them. All or nothing: raises LedgerError when the ledger is not empty, when a
        row does not follow from the one before, and when a text is not what its name says.
        """
        ...

    def heads(self) -> Mapping[str, tuple[int, str]]:
        """Last row number and hash of each account's journal: what to keep outside to notice a cut tail."""
        ...

    def verify(self) -> Break | None:
        """Fold the whole journal again and name the first row that does not hold, or None."""
        ...

    def close(self) -> None: ...


def open_ledger(
    url: str,
    folder: Path,
    clock: Clock,
    *,
    same_as: str | None = None,
    to_inspect: bool = False,
    sender_lease: float = 30.0,
) -> Ledger:
    """Open the ledger a URL names; a relative path counts from `folder`. Creates an SQLite file that is not there, and
    the tables in a PostgreSQL database that has none.

    With the mark of a ledger that was open before, only that very one is opened: a ledger that vanishes while it is in
    use must not come back empty. `to_inspect` opens it also when its last rows do not hold, for `verify` and for
    reading; nothing may be decided on it. `sender_lease`: for how many seconds a buy makes this process the only one
    that sends for the account, where several machines share a ledger. Raises InputError for a URL it does not know,
    LedgerError for all else.
    """
    scheme, separator, path = url.partition("://")
    if scheme == "sqlite" and separator and path.startswith("/") and len(path) > 1:
        from ordergate.sqlite_ledger import SqliteLedger  # the driver is loaded when a ledger is opened, not before

        return SqliteLedger(folder / path[1:], clock, same_as=same_as, to_inspect=to_inspect)
    if scheme in ("postgresql", "postgres") and separator:
        refuse_password("gate.ledger", url)
        try:
            from ordergate.postgres_ledger import PostgresLedger
        except ImportError as error:
            fix = 'install it with `pip install "ordergate[postgres]"`'
            raise LedgerError(f"gate.ledger names a PostgreSQL database and its driver is missing; {fix}") from error

        return PostgresLedger(url, clock, lease=sender_lease, same_as=same_as, to_inspect=to_inspect)
    fix = "use sqlite:///FILE (relative to the config), sqlite:////ABSOLUTE/FILE or postgresql://USER@HOST/NAME"
    raise InputError("gate.ledger", url, fix)
