"""The ledger in one SQLite file: write-ahead log, full synchronisation, shared by threads and processes.

Each append is a single statement; what follows from it is done by triggers in the same transaction. Threads that want
to append while another one commits share the next commit. SQLite's own busy time-out starves waiting processes, so a
locked file is retried here, with jitter and for a bounded time.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from attrs import astuple, define

from ordergate.clock import Clock
from ordergate.errors import LedgerBusy, LedgerDamaged, LedgerError, LedgerVersion, OrdergateError
from ordergate.journal import Break, Entry, link, sound
from ordergate.ledger import EVERY_ACCOUNT, AccountState, AlreadyRecorded, Content, Recorded, Unfinished
from ordergate.models import TradingState
from ordergate.next_state import following, reservation_of
from ordergate.records import canonical, digest
from ordergate.sqlite_check import ENTRIES, first_flaw
from ordergate.sqlite_schema import SCHEMA, create, schema_of
from ordergate.turns import Turns

__all__ = ["SqliteLedger"]

_PATIENCE: Final = 2.0  # seconds of retries before a locked ledger counts as out of reach
_PAUSE: Final = (0.0001, 0.0006)  # between first retries; longer ones cost fairness, shorter ones throughput
_HALVED: Final = 0.005  # seconds of waiting that halve the pause
_SHORTEST: Final = 0.025  # and after which it gets no shorter
_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables
_TEXTS: Final = ("facts", "setup")  # what a decision names that is kept beside it
_PAGE: Final = 5000  # rows read at once
_LOOKED_AT: Final = 1000  # rows and accounts whose end is checked when the ledger is opened
_REMEMBERED: Final = 10_000  # accounts whose last row, and texts whose name, one process keeps in mind
_UNKEPT: Final = 1000  # texts that wait for the decision that names them; one that is judged again leaves one behind

_BUSY: Final = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED"})
_DAMAGE: Final = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})

_IF_TRUE: Final = """
    FROM account
    WHERE name = :account AND seq = :seq AND head = :head
      AND (:version IS NULL OR (version = :version AND settlement = :settlement))
"""
_APPEND: Final = f"""
    INSERT INTO journal (account, seq, kind, at, key, body, hash)
    SELECT name, seq + 1, :kind, :at, :key, :body, :hash
    {_IF_TRUE}
"""
_APPEND_WITH_TEXTS: Final = f"""
    INSERT INTO decision (account, seq, kind, at, key, body, hash, facts, setup)
    SELECT name, seq + 1, :kind, :at, :key, :body, :hash, :facts, :setup
    {_IF_TRUE}
"""
_NAME_ACCOUNT: Final = "INSERT OR IGNORE INTO account (name) VALUES (?)"
_STATE: Final = """
    SELECT a.name, a.identity, a.version, a.settlement, a.trading, a.seq, a.head, o.live, o.reservation, o.status,
           o.receipt_at, o.final, o.client_order_id, o.symbol, o.wire_id, o.send_by
    FROM account AS a LEFT JOIN orders AS o ON o.account = a.name AND (o.live = 1 OR o.final = 0)
    WHERE a.name IN (?, ?)
    ORDER BY o.seq
"""
_COLUMNS: Final = """
    SELECT o.account, o.client_order_id, o.seq, o.at, o.digest, o.is_exit, o.symbol, o.wire_id, o.send_by, o.status,
           o.final, d.body, r.body
"""
_RECORDED: Final = f"""
    {_COLUMNS}
    FROM orders AS o
    JOIN journal AS d ON d.account = o.account AND d.seq = o.seq
    LEFT JOIN journal AS r ON r.account = o.account AND r.seq = o.receipt_seq
"""
# CROSS: the journal from its end, not the orders from their beginning.
_RECENT: Final = f"""
    {_COLUMNS}
    FROM journal AS d
    CROSS JOIN orders AS o ON o.account = d.account AND o.client_order_id = json_extract(d.body, '$.client_order_id')
    LEFT JOIN journal AS r ON r.account = o.account AND r.seq = o.receipt_seq
"""

_CUT_OFF: Final = LedgerError("the commit was interrupted: whether the row was written is not known; look it up")

K = TypeVar("K")
T = TypeVar("T")


class _Last(NamedTuple):
    """An account's last row as this process knows it, and the state after it where that is known too."""

    seq: int
    head: str
    state: AccountState | None


@define
class _Row:
    """A row that a thread wants in the journal, and what became of it."""

    account: str
    kind: str
    at: float
    key: str | None
    body: Mapping[str, object]
    text: str
    judged_on: AccountState | None
    texts: Mapping[str, str]
    """Names of the texts that it was made on, by what they are to it."""
    seq: int | None = None
    error: OrdergateError | None = _CUT_OFF

    def answer(self) -> int | None:
        if self.error is not None:
            raise type(self.error)(*self.error.args) from self.error
        return self.seq


class SqliteLedger:
    """See `ordergate.ledger.Ledger`.

    One connection writes, handed from thread to thread under `_lock`. A reader takes it too when it is free, because
    its cache is warm, and a second one while a commit waits for the disk.
    """

    def __init__(self, path: Path, clock: Clock, *, same_as: str | None = None, to_inspect: bool = False) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise LedgerVersion(f"SQLite {sqlite3.sqlite_version} is too old for a ledger; 3.37 or newer is needed")
        self.path, self._clock = path, clock
        self._lock, self._reader_lock = threading.Lock(), threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._turns = Turns(self._write_all)
        self._last: dict[str, _Last] = {}
        self._changes = -1
        self._unkept: dict[tuple[str, str], str] = {}
        self._kept: dict[tuple[str, str], None] = {}
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
        texts = {use: str(body[use]) for use in _TEXTS if kind == "decision" and body.get(use)}
        row = _Row(account, kind, float(at), key, body, canonical(body), judged_on, texts)
        f"{account}{key}".encode()  # what has no UTF-8 form fails here, not among others' rows
        self._check_file(self.mark)
        self._turns.do(row)
        return row.answer()

    def keep(self, account: str, body: str) -> str:
        """It is written with the decision that names it, in one statement: nothing else can ask for it before."""
        name = digest(body)
        if (account, name) not in self._kept:
            _remember(self._unkept, (account, name), body, _UNKEPT)
        return name

    def _write_all(self, rows: Sequence[_Row]) -> None:
        """Write them in one commit and leave with each what became of it."""
        failed: OrdergateError | None = _CUT_OFF  # unless the commit is seen to end, one way or the other
        try:
            with self._lock:
                self._guarded(lambda: self._write(rows))
            failed = None
        except LedgerError as error:
            failed = error
        finally:  # also when Ctrl-C ends the thread that writes for the others
            for row in rows if failed is not None else ():
                row.error = failed

    def _write(self, rows: Sequence[_Row]) -> None:
        """One commit: a lone row is one statement, and that is its transaction."""
        changes, self._changes = self._changes, -1  # until all is done, what is remembered is not to be believed
        last = self._last.get(rows[0].account) if len(rows) == 1 else None
        if last is None or not self._insert(rows[0], last):
            with self._connection:  # commits, and rolls back whatever happens
                self._connection.execute("BEGIN IMMEDIATE")
                for row in rows:
                    self._insert_somehow(row)
        self._changes = changes
        for row in rows:
            for name in row.texts.values() if row.seq is not None else ():
                self._unkept.pop((row.account, name), None)
                _remember(self._kept, (row.account, name), None, _REMEMBERED)

    def _insert_somehow(self, row: _Row) -> None:
        """Insert it after the account's last row, whichever that is now; not at all when its judgement is stale."""
        row.seq = row.error = None
        last = self._last.get(row.account)
        if last is not None and self._insert(row, last):
            return
        query = "SELECT version, settlement, seq, head FROM account WHERE name = ?"
        found = self._connection.execute(query, (row.account,)).fetchone()
        if row.judged_on is not None and (
            found is None or found[:2] != (row.judged_on.version, row.judged_on.settlement)
        ):
            return
        if found is None:
            self._connection.execute(_NAME_ACCOUNT, (row.account,))
        self._insert(row, _Last(found[2], found[3], None) if found else _Last(0, "", None))

    def _insert(self, row: _Row, last: _Last) -> bool:
        """Insert it after that very row. False, and nothing was done, when that is not the last one or it is stale."""
        account, seq = row.account, last.seq + 1
        hashed = link(last.head, account, seq, row.kind, row.at, row.key, row.text)
        texts = {use: self._unkept.get((account, row.texts.get(use, ""))) for use in _TEXTS}
        values = {
            "account": account,
            "seq": last.seq,
            "head": last.head,
            "kind": row.kind,
            "at": row.at,
            "key": row.key,
            "body": row.text,
            "hash": hashed,
            "version": row.judged_on.version if row.judged_on else None,
            "settlement": row.judged_on.settlement if row.judged_on else None,
            **texts,
        }
        before = self._connection.total_changes
        try:
            self._connection.execute(_APPEND_WITH_TEXTS if any(texts.values()) else _APPEND, values)
        except sqlite3.IntegrityError as error:
            row.error = self._standing(error)
            return True
        if self._connection.total_changes == before:
            return False
        row.seq, row.error = seq, None
        if row.kind == "trading" and account == EVERY_ACCOUNT:
            self._last.clear()  # it moves every account
        state = last.state and following(last.state, seq, row.kind, row.at, row.body)
        _remember(self._last, account, _Last(seq, hashed, state), _REMEMBERED)
        return True

    def adopt(self, entries: Iterable[Entry], contents: Iterable[Content]) -> None:
        with self._lock:
            self._last.clear()
            try:
                with self._connection:
                    self._guarded(lambda: self._connection.execute("BEGIN IMMEDIATE"))
                    self._adopt(entries, contents)
            except sqlite3.IntegrityError as error:
                raise LedgerDamaged(f"the journal contradicts itself: {error}") from error
            except sqlite3.Error as error:
                self._raise(error, getattr(error, "sqlite_errorname", "") or "")

    def _adopt(self, entries: Iterable[Entry], contents: Iterable[Content]) -> None:
        connection = self._connection
        if connection.execute("SELECT 1 FROM journal UNION ALL SELECT 1 FROM content LIMIT 1").fetchone():
            raise LedgerError(f"the ledger {self.path} is not empty; name a file that is not there yet")
        # They come account by account and are written in the order of time, as they first were.
        connection.execute("CREATE TEMP TABLE adopted (moment, account, seq, kind, at, key, body, hash)")
        named, moment = "", 0.0
        for entry in sound(entries):
            if entry.account != named:
                named, moment = entry.account, entry.at
                connection.execute(_NAME_ACCOUNT, (named,))
            moment = max(moment, entry.at)  # a clock that was set back does not turn an account's rows round
            connection.execute("INSERT INTO adopted VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (moment, *astuple(entry)))
        connection.execute(
            """INSERT INTO journal SELECT account, seq, kind, at, key, body, hash FROM adopted
               ORDER BY moment, account, seq"""
        )
        connection.execute("DROP TABLE adopted")
        for one in contents:
            if digest(one.body) != one.name:
                raise LedgerDamaged(f"the recorded facts {one.name[:12]}… of account {one.account} were changed")
            connection.execute(_NAME_ACCOUNT, (one.account,))
            connection.execute("INSERT INTO content VALUES (?, ?, ?)", astuple(one))

    # ------------------------------------------------------------------------------------------------------- reading

    def state(self, account: str) -> AccountState:
        self._check_file(self.mark)
        found = self._guarded(lambda: self._state(account))
        if found is None:
            with self._lock:
                self._guarded(lambda: self._connection.execute(_NAME_ACCOUNT, (account,)))
            return self.state(account)
        return found

    def _state(self, account: str) -> AccountState | None:
        with self._free_connection() as connection:
            if connection is not self._connection:
                last = self._read_state(connection, account)
                return last and last.state
            (changes,) = connection.execute("PRAGMA data_version").fetchone()
            if changes != self._changes:  # another connection wrote: what is remembered may be over
                self._last.clear()
                self._changes = changes
            last = self._last.get(account)
            if last is None or last.state is None:
                last = self._read_state(connection, account)
                if last is not None:
                    _remember(self._last, account, last, _REMEMBERED)
            return last and last.state

    def _read_state(self, connection: sqlite3.Connection, account: str) -> _Last | None:
        # One statement, one snapshot: version and reservations always belong together.
        rows = connection.execute(_STATE, (account, EVERY_ACCOUNT)).fetchall()
        own = [row for row in rows if row[0] == account]
        if not own:
            return None
        name, identity, version, settlement, _, seq, head, *_ = own[0]
        halted = [row[0] for row in rows if row[4] == TradingState.EXITS_ONLY]
        state = AccountState(
            name=name,
            identity=identity,
            version=version,
            settlement=settlement,
            trading=TradingState.EXITS_ONLY if halted else TradingState.ACTIVE,
            trading_by=self._why(connection, halted[0]) if halted else "",
            reservations=tuple(reservation_of(json.loads(row[8]), *row[9:11]) for row in own if row[7] == 1),
            unfinished=tuple(_unfinished(*row[9:]) for row in own if row[11] == 0),
            seq=seq,
        )
        return _Last(seq, head, state)

    def find(self, account: str, client_order_id: str) -> Recorded | None:
        row = self._one(_RECORDED + "WHERE o.account = ? AND o.client_order_id = ?", (account, client_order_id))
        return _recorded(row) if row else None

    def unfinished(self, account: str) -> tuple[Recorded, ...]:
        rows = self._all(_RECORDED + "WHERE o.account = ? AND o.final = 0 ORDER BY o.seq", (account,))
        return tuple(map(_recorded, rows))

    def recent(self, account: str | None, since: float, limit: int) -> tuple[Recorded, ...]:
        own, order = ("d.account = :account", "d.seq") if account is not None else ("1", "d.rowid")
        query = f"{_RECENT} WHERE {own} AND d.kind = 'decision' AND d.at >= :since ORDER BY {order} DESC LIMIT :limit"
        rows = self._all(query, {"account": account, "since": since, "limit": limit})
        return tuple(map(_recorded, rows))

    def known_wire_ids(self, account: str, wire_ids: tuple[str, ...], *, alive: bool = False) -> frozenset[str]:
        rows = self._all(
            """SELECT wire_id FROM orders WHERE account = ? AND wire_id IN (SELECT value FROM json_each(?))
               AND NOT (? AND status IN ('expired', 'rejected'))""",
            (account, json.dumps(wire_ids), alive),
        )
        return frozenset(row[0] for row in rows)

    def kept(self, account: str, name: str) -> str:
        body = self._unkept.get((account, name))
        if body is None:
            row = self._one("SELECT body FROM content WHERE account = ? AND hash = ?", (account, name))
            body = row and row[0]
        if body is None:
            raise LedgerDamaged(f"the ledger {self.path} lost the recorded facts {name[:12]}… of account {account}")
        if digest(body) != name:
            raise LedgerDamaged(f"the recorded facts {name[:12]}… of account {account} in {self.path} were changed")
        return str(body)

    def accounts(self) -> Mapping[str, str | None]:
        rows = self._all("SELECT name, identity FROM account WHERE name <> ? ORDER BY name", (EVERY_ACCOUNT,))
        return {row[0]: row[1] for row in rows}

    def busy_accounts(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._all("SELECT DISTINCT account FROM orders WHERE final = 0", ()))

    def trading(self) -> Mapping[str, tuple[TradingState, str]]:
        with self._free_connection() as connection:
            rows = self._guarded(
                lambda: connection.execute("SELECT name, trading FROM account ORDER BY name").fetchall()
            )
            return {
                name: (TradingState(trading), self._why(connection, name) if trading != "active" else "")
                for name, trading in rows
            }

    def entries(self, account: str | None = None, *, after: int = 0, newest: int | None = None) -> Iterator[Entry]:
        own, order = ("account = :account", "seq") if account is not None else ("1", "rowid")
        values = {"account": account or "", "after": after, "limit": newest}
        if newest is not None:
            rows = self._all(f"{ENTRIES} WHERE {own} ORDER BY {order} DESC LIMIT :limit", values)
            yield from (Entry(*row) for row in reversed(rows))
            return
        own = "account = :account AND seq > :after" if account is not None else "(account, seq) > (:account, :after)"
        values["limit"] = _PAGE
        while True:  # in pages, so that a long journal is neither held in memory nor read under one lock
            rows = self._all(f"{ENTRIES} WHERE {own} ORDER BY account, seq LIMIT :limit", values)
            yield from (Entry(*row) for row in rows)
            if len(rows) < _PAGE:
                return
            values["account"], values["after"] = rows[-1][:2]

    def contents(self) -> Iterator[Content]:
        last = ("", "")
        query = (
            "SELECT account, hash, body FROM content WHERE (account, hash) > (?, ?) ORDER BY account, hash LIMIT 500"
        )
        while True:
            rows = self._all(query, last)
            yield from (Content(*row) for row in rows)
            if len(rows) < 500:
                return
            last = rows[-1][:2]

    def heads(self) -> Mapping[str, tuple[int, str]]:
        rows = self._all("SELECT name, seq, head FROM account ORDER BY name", ())
        return {name: (seq, head) for name, seq, head in rows}

    def verify(self) -> Break | None:
        with closing(self._guarded(lambda: _connect(self.path))) as connection:
            self._guarded(lambda: connection.execute("BEGIN"))
            return self._guarded(lambda: first_flaw(connection))

    def close(self) -> None:
        with self._lock, self._reader_lock:
            self._connection.close()
            if self._reader is not None:
                self._reader.close()

    # ------------------------------------------------------------------------------------------------------ inside

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("BEGIN")  # one snapshot: another process may be creating it in this moment
        try:
            version = schema_of(connection, self.path)
        finally:
            connection.execute("ROLLBACK")
        if version is None:
            create(connection, self._clock.new_id())
        elif version < SCHEMA:
            raise LedgerVersion(
                f"the ledger {self.path} has schema {version}, older than the {SCHEMA} this ordergate writes; stop "
                "what trades on it and run `ordergate ledger migrate`"
            )
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise LedgerError(
                f"the file system of {self.path} cannot hold a write-ahead log; put the ledger on a local disk"
            )

    def _check_tail(self) -> None:
        """The last row of an account must hash to what the account remembers; the whole chain is `verify`'s work.

        Of a ledger with very many accounts those are looked at that were written last, and as many others.
        """
        rows = self._connection.execute(
            """SELECT a.name, a.seq, a.head, j.hash, j.kind, j.at, j.key, j.body,
                      (SELECT p.hash FROM journal AS p WHERE p.account = a.name AND p.seq = a.seq - 1)
               FROM account AS a LEFT JOIN journal AS j ON j.account = a.name AND j.seq = a.seq
               WHERE a.seq > 0 AND (
                   a.name IN (SELECT account FROM journal ORDER BY rowid DESC LIMIT :most)
                   OR a.name IN (SELECT name FROM account LIMIT :most))""",
            {"most": _LOOKED_AT},
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

    def _why(self, connection: sqlite3.Connection, account: str) -> str:
        row = connection.execute(
            "SELECT body FROM journal WHERE account = ? AND kind = 'trading' ORDER BY seq DESC LIMIT 1", (account,)
        ).fetchone()
        body = json.loads(row[0]) if row else {}
        scope = "all accounts" if account == EVERY_ACCOUNT else f"account {account}"
        return f"{scope}: {body.get('reason', 'no reason was recorded')} ({body.get('by', 'unknown')})"

    def _one(self, query: str, values: tuple[Any, ...]) -> Any:
        rows = self._all(query, values)
        return rows[0] if rows else None

    def _all(self, query: str, values: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
        def run() -> list[Any]:
            with self._free_connection() as connection:
                return connection.execute(query, values).fetchall()

        return self._guarded(run)

    @contextmanager
    def _free_connection(self) -> Iterator[sqlite3.Connection]:
        """The connection that writes, while it does not; its cache is the warm one."""
        if not self._lock.locked():
            with self._lock:
                yield self._connection
            return
        with self._reader_lock:
            if self._reader is None:
                self._check_file(self.mark)
                self._reader = _connect(self.path)
            yield self._reader

    def _guarded(self, run: Callable[[], T]) -> T:
        """Run against the file, retrying while it is locked, and turn SQLite's errors into ours.

        Who has waited longer asks more often: that is all the queue there is, and it evens out who gets the lock.
        """
        began = self._clock.monotonic()
        while True:
            try:
                return run()
            except sqlite3.Error as error:
                name = getattr(error, "sqlite_errorname", "") or ""
                if not any(name.startswith(busy) for busy in _BUSY):
                    self._raise(error, name)
                waited = self._clock.monotonic() - began
                if waited >= _PATIENCE:
                    raise LedgerBusy(
                        f"the ledger {self.path} stayed locked by another process for {_PATIENCE:g} s; try again"
                    ) from error
            self._clock.sleep(self._clock.jitter(*_PAUSE) / (1 + min(waited, _SHORTEST) / _HALVED))

    def _raise(self, error: sqlite3.Error, name: str) -> NoReturn:
        if name.startswith("SQLITE_CONSTRAINT"):
            raise self._standing(error) from error
        if any(name.startswith(damage) for damage in _DAMAGE):
            raise LedgerDamaged(f"{self.path} is no ledger, or a damaged one ({error}); restore a backup") from error
        raise LedgerError(f"the ledger {self.path} cannot be used: {error} ({name or type(error).__name__})") from error

    def _standing(self, error: sqlite3.Error) -> AlreadyRecorded:
        if "account.identity" in str(error):
            return AlreadyRecorded("these funds are bound to another account name")
        return AlreadyRecorded(f"this entry stands in the journal of {self.path} already")


def _connect(path: Path) -> sqlite3.Connection:
    # Handed from thread to thread under a lock; autocommit, because each append is one statement.
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _place(path: Path) -> str:
    status = path.stat()
    return f"{status.st_dev}:{status.st_ino}"


def _remember(known: dict[K, T], name: K, value: T, most: int) -> None:
    """As the newest; beyond a bound the oldest is forgotten."""
    known.pop(name, None)
    known[name] = value
    if len(known) > most:
        del known[next(iter(known))]


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
