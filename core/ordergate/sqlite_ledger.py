"""The ledger in one SQLite file: write-ahead log, full synchronisation, shared by threads and processes.

Each append is a single statement; what follows from it is done by triggers in the same transaction. SQLite's own busy
time-out starves waiting processes, so a locked file is retried here, with jitter and for a bounded time.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from ordergate.clock import Clock
from ordergate.errors import LedgerBusy, LedgerDamaged, LedgerError, LedgerVersion
from ordergate.journal import Break, Entry, first_break, link, sound
from ordergate.ledger import (
    EVERY_ACCOUNT,
    AccountState,
    AlreadyRecorded,
    Content,
    Recorded,
    Reservation,
    Unfinished,
)
from ordergate.models import TradingState
from ordergate.records import canonical, digest

__all__ = ["SqliteLedger"]

_APPLICATION: Final = 0x6F726467  # "ordg": tells a ledger from any other SQLite file
_SCHEMA: Final = 1
_PATIENCE: Final = 2.0  # seconds of retries before a locked ledger counts as out of reach
_PAUSE: Final = (0.0001, 0.0006)  # between retries; longer ones cost fairness, shorter ones throughput
_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables

_BUSY: Final = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED"})
_DAMAGE: Final = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})

_APPEND: Final = """
    INSERT INTO journal (account, seq, kind, at, key, body, hash)
    SELECT name, seq + 1, :kind, :at, :key, :body, link(head, name, seq + 1, :kind, :at, :key, :body)
    FROM account
    WHERE name = :account AND (:version IS NULL OR (version = :version AND settlement = :settlement))
    RETURNING seq
"""
_RECORDED: Final = """
    SELECT o.account, o.client_order_id, o.seq, o.at, o.digest, o.is_exit, o.symbol, o.wire_id, o.send_by, o.status,
           o.final, d.body, r.body
    FROM orders AS o
    JOIN journal AS d ON d.account = o.account AND d.seq = o.seq
    LEFT JOIN journal AS r ON r.account = o.account AND r.seq = o.receipt_seq
"""

# Tables that must equal what their journal folds to. Versions are left out: a halt of everything moves them at a moment
# that the order within one account does not keep.
_FOLDED: Final = (
    ("account", "name, seq, identity, settlement, trading, head", "name"),
    ("orders", "account, seq, *", "account, seq"),
)

T = TypeVar("T")


class SqliteLedger:
    """See `ordergate.ledger.Ledger`."""

    def __init__(self, path: Path, clock: Clock, *, same_as: str | None = None, to_inspect: bool = False) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise LedgerVersion(f"SQLite {sqlite3.sqlite_version} is too old for a ledger; 3.37 or newer is needed")
        self.path, self._clock, self._lock = path, clock, threading.RLock()
        try:
            usable = path.parent.is_dir() and not path.is_dir()
        except OSError as error:
            raise LedgerError(f"the ledger {path} cannot be opened: {error.strerror} (gate.ledger)") from error
        if not usable:
            raise LedgerError(f"the ledger {path} cannot be opened: name a file in a folder that exists (gate.ledger)")
        if same_as is not None:
            self._check_file(same_as)
        self.mark = same_as or ""
        self._connection = self._guarded(lambda: _connect(path))
        opened = False
        try:
            self._guarded(self._prepare)
            if not to_inspect:
                self._guarded(self._check_tail)
            self.mark = self._found_mark(same_as)
            opened = True
        except OSError as error:
            raise LedgerError(f"the ledger {path} cannot be opened: {error.strerror}") from error
        finally:
            if not opened:
                self._connection.close()

    # ------------------------------------------------------------------------------------------------------- writing

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
        values = {
            "account": account,
            "kind": kind,
            "at": at,
            "key": key,
            "body": canonical(body),
            "version": judged_on.version if judged_on else None,
            "settlement": judged_on.settlement if judged_on else None,
        }

        self._check_file(self.mark)
        rows = self._all(_APPEND, values)
        if not rows and judged_on is None:
            self._name_account(account)
            rows = self._all(_APPEND, values)
        return int(rows[0][0]) if rows else None

    def keep(self, account: str, body: str) -> str:
        name = digest(body)
        if self._one("SELECT 1 FROM content WHERE account = ? AND hash = ?", (account, name)) is None:
            self._name_account(account)
            self._all("INSERT OR IGNORE INTO content VALUES (?, ?, ?)", (account, name, body))
        return name

    def adopt(self, entries: Iterable[Entry], contents: Iterable[Content]) -> None:
        self._guarded(lambda: self._connection.execute("BEGIN IMMEDIATE"))
        with self._lock:
            try:
                self._adopt(entries, contents)
                self._connection.execute("COMMIT")
            except sqlite3.IntegrityError as error:
                raise LedgerDamaged(f"the journal contradicts itself: {error}") from error
            except sqlite3.Error as error:
                self._raise(error, getattr(error, "sqlite_errorname", "") or "")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _adopt(self, entries: Iterable[Entry], contents: Iterable[Content]) -> None:
        connection = self._connection
        if connection.execute("SELECT 1 FROM journal UNION ALL SELECT 1 FROM content LIMIT 1").fetchone():
            raise LedgerError(f"the ledger {self.path} is not empty; name a file that is not there yet")
        name_account = "INSERT OR IGNORE INTO account (name) VALUES (?)"
        named = ""
        for entry in sound(entries):
            if entry.account != named:
                named = entry.account
                connection.execute(name_account, (named,))
            row = (entry.account, entry.seq, entry.kind, entry.at, entry.key, entry.body, entry.hash)
            connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        for one in contents:
            if digest(one.body) != one.name:
                raise LedgerDamaged(f"the recorded facts {one.name[:12]}… of account {one.account} were changed")
            connection.execute(name_account, (one.account,))
            connection.execute("INSERT INTO content VALUES (?, ?, ?)", (one.account, one.name, one.body))

    # ------------------------------------------------------------------------------------------------------- reading

    def state(self, account: str) -> AccountState:
        self._check_file(self.mark)
        # One statement, one snapshot: version and reservations always belong together.
        rows = self._all(
            """SELECT a.name, a.identity, a.version, a.settlement, a.trading, a.seq, o.live, o.reservation, o.status,
                      o.receipt_at, o.final, o.client_order_id, o.symbol, o.wire_id, o.send_by
               FROM account AS a LEFT JOIN orders AS o ON o.account = a.name AND (o.live = 1 OR o.final = 0)
               WHERE a.name IN (?, ?)""",
            (account, EVERY_ACCOUNT),
        )
        own = [row for row in rows if row[0] == account]
        halted = [row[0] for row in rows if row[4] == TradingState.EXITS_ONLY]
        if not own:
            self._name_account(account)
            return self.state(account)
        name, identity, version, settlement, _, seq, *_ = own[0]
        return AccountState(
            name=name,
            identity=identity,
            version=version,
            settlement=settlement,
            trading=TradingState.EXITS_ONLY if halted else TradingState.ACTIVE,
            trading_by=self._why(halted[0]) if halted else "",
            reservations=tuple(_reservation(*row[7:10]) for row in own if row[6] == 1),
            unfinished=tuple(_unfinished(*row[8:]) for row in own if row[10] == 0),
            seq=seq,
        )

    def find(self, account: str, client_order_id: str) -> Recorded | None:
        row = self._one(_RECORDED + "WHERE o.account = ? AND o.client_order_id = ?", (account, client_order_id))
        return _recorded(row) if row else None

    def unfinished(self, account: str) -> tuple[Recorded, ...]:
        rows = self._all(_RECORDED + "WHERE o.account = ? AND o.final = 0 ORDER BY o.seq", (account,))
        return tuple(map(_recorded, rows))

    def recent(self, account: str | None, since: float, limit: int) -> tuple[Recorded, ...]:
        where = "WHERE (? IS NULL OR o.account = ?) AND o.at >= ? ORDER BY o.at DESC, o.seq DESC LIMIT ?"
        return tuple(map(_recorded, self._all(_RECORDED + where, (account, account, since, limit))))

    def known_wire_ids(self, account: str, wire_ids: tuple[str, ...], *, alive: bool = False) -> frozenset[str]:
        rows = self._all(
            """SELECT wire_id FROM orders WHERE account = ? AND wire_id IN (SELECT value FROM json_each(?))
               AND NOT (? AND status IN ('expired', 'rejected'))""",
            (account, json.dumps(wire_ids), alive),
        )
        return frozenset(row[0] for row in rows)

    def kept(self, account: str, name: str) -> str:
        row = self._one("SELECT body FROM content WHERE account = ? AND hash = ?", (account, name))
        if row is None:
            raise LedgerDamaged(f"the ledger {self.path} lost the recorded facts {name[:12]}… of account {account}")
        if digest(row[0]) != name:
            raise LedgerDamaged(f"the recorded facts {name[:12]}… of account {account} in {self.path} were changed")
        return str(row[0])

    def accounts(self) -> Mapping[str, str | None]:
        rows = self._all("SELECT name, identity FROM account WHERE name <> ? ORDER BY name", (EVERY_ACCOUNT,))
        return {row[0]: row[1] for row in rows}

    def trading(self) -> Mapping[str, tuple[TradingState, str]]:
        rows = self._all("SELECT name, trading FROM account ORDER BY name", ())
        return {name: (TradingState(trading), self._why(name) if trading != "active" else "") for name, trading in rows}

    def entries(self, account: str | None = None, *, after: int = 0, newest: int | None = None) -> Iterator[Entry]:
        columns = "SELECT account, seq, kind, at, key, body, hash FROM journal WHERE (? IS NULL OR account = ?) "
        if newest is not None:
            rows = self._all(columns + "ORDER BY at DESC, seq DESC LIMIT ?", (account, account, newest))
            yield from (Entry(*row) for row in reversed(rows))
            return
        last = (account or "", after)
        while True:  # in pages, so that a long journal is neither held in memory nor read under one lock
            rows = self._all(
                columns + "AND (account, seq) > (?, ?) ORDER BY account, seq LIMIT 5000", (account, account, *last)
            )
            yield from (Entry(*row) for row in rows)
            if len(rows) < 5000:
                return
            last = (rows[-1][0], rows[-1][1])

    def contents(self) -> Iterator[Content]:
        last = ("", "")
        while True:
            rows = self._all(
                """SELECT account, hash, body FROM content WHERE (account, hash) > (?, ?)
                   ORDER BY account, hash LIMIT 500""",
                last,
            )
            yield from (Content(*row) for row in rows)
            if len(rows) < 500:
                return
            last = (rows[-1][0], rows[-1][1])

    def heads(self) -> Mapping[str, tuple[int, str]]:
        rows = self._all("SELECT name, seq, head FROM account ORDER BY name", ())
        return {name: (seq, head) for name, seq, head in rows}

    def verify(self) -> Break | None:
        heads = ((name, seq, head) for name, (seq, head) in self.heads().items())
        return first_break(self.entries(), heads) or self._first_difference() or self._first_lost_content()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # ------------------------------------------------------------------------------------------------------ inside

    def _prepare(self) -> None:
        connection = self._connection
        with _reading(connection):  # one snapshot: another process may be creating it in this moment
            tables = _tables(connection)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
        if tables and application != _APPLICATION:
            raise LedgerDamaged(f"{self.path} is an SQLite file but no ledger; name another file in gate.ledger")
        if tables and version != _SCHEMA:
            age, fix = (
                ("newer", "update ordergate")
                if version > _SCHEMA
                else ("older", "restore a backup or start a new ledger")
            )
            raise LedgerVersion(
                f"the ledger {self.path} has schema {version}, {age} than the {_SCHEMA} this ordergate writes; {fix}"
            )
        if not tables:
            _create(connection, self._clock.new_id())
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise LedgerError(
                f"the file system of {self.path} cannot hold a write-ahead log; put the ledger on a local disk"
            )

    def _check_tail(self) -> None:
        """The last row of every account must hash to what the account remembers; the whole chain is `verify`'s work."""
        rows = self._connection.execute(
            """SELECT a.name, a.seq, a.head, j.hash, j.kind, j.at, j.key, j.body,
                      (SELECT p.hash FROM journal AS p WHERE p.account = a.name AND p.seq = a.seq - 1)
               FROM account AS a LEFT JOIN journal AS j ON j.account = a.name AND j.seq = a.seq WHERE a.seq > 0"""
        ).fetchall()
        for name, seq, head, hashed, kind, at, key, body, previous in rows:
            if hashed is None or hashed != head or link(previous or "", name, seq, kind, at, key, body) != head:
                raise LedgerDamaged(
                    f"the ledger {self.path} is damaged at row {seq} of account {name}; run `ordergate audit verify`"
                )

    def _found_mark(self, same_as: str | None) -> str:
        (ledger_id,) = self._one("SELECT id FROM ledger", ())
        mark = f"{_place(self.path)} {ledger_id}"
        if same_as not in (None, mark):
            raise LedgerDamaged(f"the ledger {self.path} was replaced while it was in use; start again")
        return mark

    def _check_file(self, mark: str) -> None:
        """A ledger that was moved away or replaced under our feet would take intents nobody will ever read."""
        try:
            found = _place(self.path)
        except OSError as error:
            raise LedgerError(
                f"the ledger {self.path} is gone: {error.strerror}; put it back, or start again without it"
            ) from error
        if found != mark.split(maxsplit=1)[0]:
            raise LedgerDamaged(f"the ledger {self.path} was replaced while it was in use; start again")

    def _first_difference(self) -> Break | None:
        """Fold the journal into an empty ledger and compare the tables: they must hold nothing the journal does
        not say.
        """
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
            fresh.create_function("link", 7, link, deterministic=True)
            _create(fresh, "")
            fresh.executemany("INSERT INTO account (name) VALUES (?)", [(name,) for name in self.heads()])
            for entry in self.entries():
                fresh.execute(
                    "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (entry.account, entry.seq, entry.kind, entry.at, entry.key, entry.body, entry.hash),
                )
            for table, columns, order in _FOLDED:
                query = f"SELECT {columns} FROM {table} ORDER BY {order}"  # noqa: S608 - all three are constants
                ours, folded = self._all(query, ()), fresh.execute(query).fetchall()
                for one, other in zip_longest(ours, folded):
                    if one != other:
                        name, row = (one or other)[:2]
                        return Break(name, row, f"table {table} does not say what the journal says")
        return None

    def _first_lost_content(self) -> Break | None:
        """What decisions were made on must be there, and be what its name says."""
        named = self._all(
            """SELECT j.account, j.seq, n.value, c.body FROM journal AS j
               JOIN json_each(json_array(json_extract(j.body, '$.facts'), json_extract(j.body, '$.setup'))) AS n
               LEFT JOIN content AS c ON c.account = j.account AND c.hash = n.value
               WHERE j.kind = 'decision' AND n.value IS NOT NULL ORDER BY j.account, j.seq""",
            (),
        )
        sound: set[str] = set()
        for account, seq, name, body in named:
            if name not in sound:
                if body is None or digest(body) != name:
                    return Break(account, seq, "the facts or settings it was made on are gone or were changed")
                sound.add(name)
        return None

    def _name_account(self, account: str) -> None:
        self._all("INSERT OR IGNORE INTO account (name) VALUES (?)", (account,))

    def _why(self, account: str) -> str:
        row = self._one(
            "SELECT body FROM journal WHERE account = ? AND kind = 'trading' ORDER BY seq DESC LIMIT 1", (account,)
        )
        body = json.loads(row[0]) if row else {}
        scope = "all accounts" if account == EVERY_ACCOUNT else f"account {account}"
        return f"{scope}: {body.get('reason', 'no reason was recorded')} ({body.get('by', 'unknown')})"

    def _one(self, query: str, values: tuple[Any, ...]) -> Any:
        return self._guarded(lambda: self._connection.execute(query, values).fetchone())

    def _all(self, query: str, values: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
        return self._guarded(lambda: self._connection.execute(query, values).fetchall())

    def _guarded(self, run: Callable[[], T]) -> T:
        """Run against the file, retrying while it is locked, and turn SQLite's errors into ours."""
        deadline = self._clock.monotonic() + _PATIENCE
        while True:
            try:
                with self._lock:
                    return run()
            except sqlite3.Error as error:
                name = getattr(error, "sqlite_errorname", "") or ""
                if not any(name.startswith(busy) for busy in _BUSY):
                    self._raise(error, name)
                if self._clock.monotonic() >= deadline:
                    raise LedgerBusy(
                        f"the ledger {self.path} stayed locked by another process for {_PATIENCE:g} s; try again"
                    ) from error
            self._clock.sleep(self._clock.jitter(*_PAUSE))

    def _raise(self, error: sqlite3.Error, name: str) -> NoReturn:
        if name.startswith("SQLITE_CONSTRAINT") and "account.identity" in str(error):
            raise AlreadyRecorded("these funds are bound to another account name") from error
        if name.startswith("SQLITE_CONSTRAINT"):
            raise AlreadyRecorded(f"this entry stands in the journal of {self.path} already") from error
        if any(name.startswith(damage) for damage in _DAMAGE):
            raise LedgerDamaged(f"{self.path} is no ledger, or a damaged one ({error}); restore a backup") from error
        raise LedgerError(f"the ledger {self.path} cannot be used: {error} ({name or type(error).__name__})") from error


def _connect(path: Path) -> sqlite3.Connection:
    # One connection, handed from thread to thread under a lock; autocommit, because each append is one statement.
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.create_function("link", 7, link, deterministic=True)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _place(path: Path) -> str:
    status = path.stat()
    return f"{status.st_dev}:{status.st_ino}"


def _create(connection: sqlite3.Connection, ledger_id: str) -> None:
    """All or nothing: a process that dies half-way leaves an empty file, and of two that start at once one creates."""
    script = files("ordergate").joinpath("migrations", "sqlite_0001.sql").read_text(encoding="utf-8")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        if not _tables(connection):
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute("INSERT INTO ledger VALUES (?)", (ledger_id,))
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def _reading(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: running it whole would commit between them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _tables(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])


def _reservation(body: str, status: str, receipt_at: float | None) -> Reservation:
    values = json.loads(body)
    return Reservation(
        client_order_id=values["client_order_id"],
        wire_id=values["wire_id"],
        symbol=values["symbol"],
        gives=values["gives"],
        takes=values["takes"],
        needs=Decimal(values["needs"]),
        size=Decimal(values["size"]),
        status=status,
        receipt_at=receipt_at,
    )


def _unfinished(
    status: str, _at: float | None, _final: int, client_order_id: str, symbol: str, wire_id: str, send_by: float
) -> Unfinished:
    return Unfinished(client_order_id=client_order_id, symbol=symbol, wire_id=wire_id, status=status, send_by=send_by)


def _recorded(row: Any) -> Recorded:
    return Recorded(
        account=row[0],
        client_order_id=row[1],
        seq=row[2],
        at=row[3],
        digest=row[4],
        is_exit=bool(row[5]),
        symbol=row[6],
        wire_id=row[7],
        send_by=row[8],
        status=row[9],
        final=bool(row[10]),
        decision=row[11],
        receipt=row[12],
    )
