"""The ledger in a PostgreSQL database, for accounts that several machines trade.

The same promises as the file's: each append is one call of one function in the database, which locks the account's row
first and does the rest in the same transaction. A lost answer is asked for again by the token of the call, so nothing
is written twice and nothing that was written is taken for lost.
"""

from __future__ import annotations

import json
import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib.resources import files
from typing import Final, NoReturn, TypeVar

import psycopg
from attrs import define, field
from psycopg import errors
from psycopg.rows import class_row

from ordergate.clock import Clock, iso
from ordergate.errors import LedgerBusy, LedgerDamaged, LedgerError, LedgerVersion
from ordergate.journal import Break, Entry, first_break, link, sound
from ordergate.ledger import (
    EVERY_ACCOUNT,
    AccountState,
    AlreadyRecorded,
    Content,
    Recorded,
    Unfinished,
)
from ordergate.models import TradingState
from ordergate.next_state import reservation_of
from ordergate.postgres_connections import ANSWER, PATIENCE, Connections, Lost, Row, Unreachable, one_line
from ordergate.records import canonical, digest

__all__ = ["PostgresLedger"]

_SCHEMA: Final = 1
_OLDEST_SERVER: Final = 140_000  # PostgreSQL 14, the oldest that is still mended
_BULK: Final = 60.0  # seconds for one page of a long journal
_WHOLE: Final = 3600.0  # seconds for verifying everything
_PAGE: Final = 5000
_PAUSE: Final = (0.0005, 0.005)  # seconds between retries of what the server asked to be repeated
_AGAIN: Final = (0.02, 0.1)  # and between attempts to reach it after an answer was lost
_SLOW: Final = (
    1.0  # seconds of one try: then it was silence and not a refusal; and of all tries after an answer was lost
)
_REST: Final = 8.0  # seconds for which a silent server is not asked: an exit asks more than once, and venues between
_MOST_KEPT: Final = 10_000  # names of texts that this process knows to be stored

# The transaction was undone whole, and the server says that it may be repeated.
_REPEAT: Final = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)
_SHORTER: Final = "OG001"  # raised by ledger_append

_APPEND: Final = "SELECT ledger_append(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_STATE: Final = """
    SELECT a.name, a.identity, a.version, a.settlement, a.trading, t.body, a.seq,
           l.epoch, l.holder, extract(epoch FROM l.until)::double precision, l.until > clock_timestamp(),
           o.live, o.reservation, o.status, o.receipt_at, o.final, o.client_order_id, o.symbol, o.wire_id, o.send_by
    FROM account AS a
    LEFT JOIN orders AS o ON o.account = a.name AND (o.live OR NOT o.final)
    LEFT JOIN lease AS l ON l.account = a.name
    LEFT JOIN journal AS t ON t.account = a.name AND t.seq = a.trading_seq
    WHERE a.name = ANY(%s) ORDER BY o.seq
"""
_RECORDED: Final = """
    SELECT o.account, o.client_order_id, o.seq, o.at, o.digest, o.is_exit, o.symbol, o.wire_id, o.send_by, o.status,
           o.final, d.body AS decision, r.body AS receipt
    FROM orders AS o
    JOIN journal AS d ON d.account = o.account AND d.seq = o.seq
    LEFT JOIN journal AS r ON r.account = o.account AND r.seq = o.receipt_seq
"""
# Not while an order is on its way: the next sender must find it expired, or its outcome known.
_RELEASE: Final = """
    UPDATE lease AS l SET until = clock_timestamp() WHERE l.account = ANY(%s) AND l.holder = %s
    AND NOT EXISTS (SELECT 1 FROM orders AS o WHERE o.account = l.account AND NOT o.final AND o.status = 'sending')
"""
_ENTRY: Final = "SELECT account, seq, kind, at, key, body, hash FROM journal WHERE (%s::text IS NULL OR account = %s) "

# The journal folded once more, by the same function, into empty tables that hide the real ones from it.
_FOLDED: Final = ("account", "funds", "lease", "orders", "journal")
_FOLD: Final = """
    SELECT count(ledger_append(account, kind, at, '', key, body, seq::text, 0, false, NULL, NULL, NULL, NULL, NULL))
    FROM (SELECT * FROM {real}.journal ORDER BY account, seq) AS whole
"""
# Versions are left out, because a halt of everything moves them at a moment that the order within one account does not
# keep; hashes, because they were looked at before.
_COMPARED: Final = (
    ("account", "name, seq, identity, settlement, trading, trading_seq"),
    ("orders", "account, seq, orders::text"),
    ("funds", "account, 0, identity"),
)
_DIFFERENCE: Final = """
    (SELECT {columns} FROM {real}.{table} EXCEPT SELECT {columns} FROM pg_temp.{table})
    UNION ALL (SELECT {columns} FROM pg_temp.{table} EXCEPT SELECT {columns} FROM {real}.{table})
    ORDER BY 1, 2 LIMIT 1
"""
_LOST_CONTENT: Final = """
    SELECT j.account, j.seq FROM journal AS j
    CROSS JOIN LATERAL json_to_record(journal_json(j.body)) AS d (facts text, setup text)
    CROSS JOIN LATERAL unnest(ARRAY[d.facts, d.setup]) AS n (name)
    LEFT JOIN content AS c ON c.account = j.account AND c.hash = n.name
    WHERE j.kind = 'decision' AND n.name IS NOT NULL
      AND encode(sha256(convert_to(c.body, 'UTF8')), 'hex') IS DISTINCT FROM n.name
    ORDER BY j.account, j.seq LIMIT 1
"""

T = TypeVar("T")


class _OtherTables(LedgerDamaged):
    pass


@define
class _Memory:
    """What this process knows of a database, also after its ledger was closed and opened again."""

    mark: str = ""
    seen: dict[str, int] = field(factory=dict)
    kept: set[tuple[str, str]] = field(factory=set)
    leased: set[str] = field(factory=set)
    away_until: float = 0.0


_MEMORIES: Final[dict[str, _Memory]] = {}


class PostgresLedger:
    """See `ordergate.ledger.Ledger`. `lease` is for how many seconds a buy makes this process the account's sender."""

    def __init__(
        self, url: str, clock: Clock, *, lease: float = 30.0, same_as: str | None = None, to_inspect: bool = False
    ) -> None:
        self.mark = same_as or ""
        self._clock, self._lease, self._sender = clock, lease, _this_process(clock)
        self._memory = _MEMORIES.setdefault(url, _Memory())
        self._lock = threading.Lock()
        try:
            self._connections = Connections(url, clock, self._greet)
        except psycopg.Error:  # what it says may show what was written in the place of a password
            fix = "write postgresql://USER@HOST/NAME"
            raise LedgerError(f"gate.ledger is no URL of a PostgreSQL database; {fix}") from None
        self.place = self._connections.place
        opened = False
        try:
            self.mark = self._prepare(to_inspect=to_inspect)
            if same_as not in (None, self.mark):
                raise LedgerDamaged(f"{self.place} was replaced while it was in use; start again")
            if self._memory.mark != self.mark:
                self._memory = _MEMORIES[url] = _Memory(self.mark)
            if not to_inspect:
                self._check_tail()
            opened = True
        finally:
            if not opened:
                self._connections.close()

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
        seen, token = self._seen(account), self._clock.new_id()
        fenced = judged_on is not None and kind == "decision" and body.get("venue_order") is not None
        written = (account, kind, at, repr(at), key, canonical(body), token, seen)
        judged = (
            judged_on.version if judged_on else None,
            judged_on.settlement if judged_on else None,
            judged_on.epoch if judged_on and fenced else None,
            self._sender,
            self._lease,
        )
        row = self._asked(lambda connection, lost: _one(connection, _APPEND, (*written, lost > 0, *judged)))
        if row[0] is None:
            return None
        if fenced:
            self._memory.leased.add(account)
        self._have_seen(account, row[0])
        return int(row[0])

    def keep(self, account: str, body: str) -> str:
        name = digest(body)
        if (account, name) not in self._memory.kept:
            self._do("INSERT INTO content VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (account, name, body))
            if len(self._memory.kept) >= _MOST_KEPT:
                self._memory.kept = set()
            self._memory.kept.add((account, name))
        return name

    def adopt(self, entries: Iterable[Entry], contents: Iterable[Content]) -> None:
        def run(connection: psycopg.Connection[Row], _: int) -> None:
            with connection.transaction():
                connection.execute("LOCK TABLE account, journal, content IN EXCLUSIVE MODE")
                if _all(connection, "SELECT 1 FROM journal UNION ALL SELECT 1 FROM content LIMIT 1", ()):
                    raise LedgerError(f"{self.place} is not empty; name a database that is")
                self._adopt(connection, sound(entries), contents)

        self._asked(run, seconds=_BULK, repeat=False)

    def _adopt(
        self, connection: psycopg.Connection[Row], entries: Iterable[Entry], contents: Iterable[Content]
    ) -> None:
        heads: dict[str, str] = {}

        def rows() -> Iterator[tuple[object, ...]]:
            for one in entries:
                heads[one.account] = one.hash
                told = (one.account, one.kind, one.at, repr(one.at), one.key, one.body)
                yield (*told, self._clock.new_id(), one.seq - 1, False, None, None, None, None, None)

        def texts() -> Iterator[tuple[str, str, str]]:
            for one in contents:
                if digest(one.body) != one.name:
                    raise LedgerDamaged(f"the recorded facts {one.name[:12]}… of account {one.account} were changed")
                yield one.account, one.name, one.body

        with connection.cursor() as cursor:
            try:
                cursor.executemany(_APPEND, rows())
                cursor.executemany("INSERT INTO content VALUES (%s, %s, %s)", texts())
            except errors.UniqueViolation as error:
                raise LedgerDamaged(f"the journal contradicts itself: {one_line(error)}") from error
        found: dict[str, str] = dict(_all(connection, "SELECT name, head FROM account WHERE seq > 0", ()))
        if found != heads:
            raise LedgerDamaged("the rows did not come out of the database as they went in")

    # ------------------------------------------------------------------------------------------------------- reading

    def state(self, account: str) -> AccountState:
        seen = self._seen(account)
        # One statement, one snapshot: version and reservations always belong together.
        rows = self._all(_STATE, ([account, EVERY_ACCOUNT],))
        own = [row for row in rows if row[0] == account]
        if not own and not seen:
            self._do("INSERT INTO account (name) VALUES (%s) ON CONFLICT DO NOTHING", (account,))
            return self.state(account)
        if not own or own[0][6] < seen:
            raise LedgerDamaged(self._shorter(account, seen))
        name, identity, version, settlement, _, _, seq, epoch, holder, until, alive, *_ = own[0]
        self._have_seen(account, seq)
        halted = [_why(row[0], row[5]) for row in rows if row[4] == TradingState.EXITS_ONLY]
        other = alive and holder != self._sender
        return AccountState(
            name=name,
            identity=identity,
            version=version,
            settlement=settlement,
            trading=TradingState.EXITS_ONLY if halted else TradingState.ACTIVE,
            trading_by=halted[0] if halted else "",
            reservations=tuple(reservation_of(json.loads(row[12]), *row[13:15]) for row in own if row[11]),
            unfinished=tuple(_unfinished(*row[13:]) for row in own if row[15] is False),
            seq=seq,
            sender=f"{holder} until {iso(until)} by the database's clock" if other else "",
            epoch=epoch or 0,
        )

    def find(self, account: str, client_order_id: str) -> Recorded | None:
        where = "WHERE o.account = %s AND o.client_order_id = %s"
        return next(iter(self._recorded(where, (account, client_order_id))), None)

    def unfinished(self, account: str) -> tuple[Recorded, ...]:
        return self._recorded("WHERE o.account = %s AND NOT o.final ORDER BY o.seq", (account,))

    def recent(self, account: str | None, since: float, limit: int) -> tuple[Recorded, ...]:
        where = "WHERE (%s::text IS NULL OR o.account = %s) AND o.at >= %s ORDER BY o.at DESC, o.seq DESC LIMIT %s"
        return self._recorded(where, (account, account, since, limit))

    def known_wire_ids(self, account: str, wire_ids: tuple[str, ...], *, alive: bool = False) -> frozenset[str]:
        rows = self._all(
            """SELECT wire_id FROM orders WHERE account = %s AND wire_id = ANY(%s)
               AND NOT (%s AND status IN ('expired', 'rejected'))""",
            (account, list(wire_ids), alive),
        )
        return frozenset(row[0] for row in rows)

    def kept(self, account: str, name: str) -> str:
        rows = self._all("SELECT body FROM content WHERE account = %s AND hash = %s", (account, name))
        if not rows:
            raise LedgerDamaged(f"{self.place} lost the recorded facts {name[:12]}… of account {account}")
        if digest(rows[0][0]) != name:
            raise LedgerDamaged(f"the recorded facts {name[:12]}… of account {account} in {self.place} were changed")
        return str(rows[0][0])

    def accounts(self) -> Mapping[str, str | None]:
        rows = self._all("SELECT name, identity FROM account WHERE name <> %s ORDER BY name", (EVERY_ACCOUNT,))
        return {row[0]: row[1] for row in rows}

    def busy_accounts(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._all("SELECT DISTINCT account FROM orders WHERE NOT final", ()))

    def trading(self) -> Mapping[str, tuple[TradingState, str]]:
        rows = self._all(
            """SELECT a.name, a.trading, t.body FROM account AS a
               LEFT JOIN journal AS t ON t.account = a.name AND t.seq = a.trading_seq ORDER BY a.name""",
            (),
        )
        return {
            name: (TradingState(trading), _why(name, body) if trading != TradingState.ACTIVE else "")
            for name, trading, body in rows
        }

    def entries(self, account: str | None = None, *, after: int = 0, newest: int | None = None) -> Iterator[Entry]:
        if newest is None:
            yield from _in_pages(lambda query, values: self._all(query, values, seconds=_BULK), account, after)
            return
        query = _ENTRY + "ORDER BY at DESC, seq DESC LIMIT %s"
        yield from (Entry(*row) for row in reversed(self._all(query, (account, account, newest), seconds=_BULK)))

    def contents(self) -> Iterator[Content]:
        query = (
            "SELECT account, hash, body FROM content WHERE (account, hash) > (%s, %s) ORDER BY account, hash LIMIT 500"
        )
        last = ("", "")
        while rows := self._all(query, last, seconds=_BULK):
            yield from (Content(*row) for row in rows)
            last = (rows[-1][0], rows[-1][1])

    def heads(self) -> Mapping[str, tuple[int, str]]:
        rows = self._all("SELECT name, seq, head FROM account ORDER BY name", ())
        return {name: (seq, head) for name, seq, head in rows}

    def verify(self) -> Break | None:
        return self._asked(lambda connection, _: self._first_break(connection), seconds=_WHOLE)

    def close(self) -> None:
        """Give up every connection, and what this process may send alone. Waits for no server that is away."""
        if self._memory.leased and self._clock.monotonic() >= self._memory.away_until:
            with suppress(LedgerError):  # then it runs out by itself
                self._do(_RELEASE, (sorted(self._memory.leased), self._sender))
                self._memory.leased = set()
        self._connections.close()

    # ------------------------------------------------------------------------------------------------------ opening

    def _prepare(self, *, to_inspect: bool) -> str:
        """The ledger's mark; it is created where there is none, unless it was there before or is only to be read."""
        if self._all("SELECT to_regclass('ledger')", ())[0][0] is None:
            if self.mark:
                raise LedgerDamaged(f"{self.place} is gone from its database; put it back, or start again")
            if to_inspect:
                raise LedgerError(f"{self.place} is not there: the database has no such tables; name one that has")
            self._create()
        rows = self._all("SELECT id, schema FROM ledger", ())
        if len(rows) != 1:
            raise LedgerDamaged(f"{self.place} does not say which ledger it is; restore a backup")
        mark, schema = rows[0]
        if schema != _SCHEMA:
            fix = "update ordergate" if schema > _SCHEMA else "restore a backup or start a new ledger"
            raise LedgerVersion(f"{self.place} has schema {schema}, this ordergate writes {_SCHEMA}; {fix}")
        return str(mark)

    def _create(self) -> None:
        """All or nothing, and of two processes that start at once one creates."""
        script = files("ordergate").joinpath("migrations", "postgres_0001.sql").read_text(encoding="utf-8")

        def run(connection: psycopg.Connection[Row], _: int) -> None:
            with connection.transaction():
                _run(connection, script)
                connection.execute("INSERT INTO ledger (id, schema) VALUES (%s, %s)", (self._clock.new_id(), _SCHEMA))

        with suppress(_OtherTables, AlreadyRecorded):  # the other one was faster
            self._asked(run)

    def _greet(self, connection: psycopg.Connection[Row]) -> None:
        """Look at a new connection: the database must be able to hold a ledger, and be the one that was open before."""
        if connection.info.server_version < _OLDEST_SERVER:
            raise LedgerVersion(
                f"{self.place} is on PostgreSQL {connection.info.server_version // 10_000}; 14 or newer"
            )
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise LedgerError(f"{self.place} has the encoding {encoding}; create a database with ENCODING 'UTF8'")
        if self.mark:
            try:
                found = _all(connection, "SELECT id FROM ledger", ())
            except errors.UndefinedTable:
                found = []
            if found != [(self.mark,)]:
                raise LedgerDamaged(f"{self.place} was replaced while it was in use; start again")

    def _check_tail(self) -> None:
        """The last row of every account must hash to what the account remembers; the whole chain is `verify`'s work."""
        rows = self._all(
            """SELECT a.name, a.seq, a.head, j.hash, j.kind, j.at, j.key, j.body, p.hash FROM account AS a
               LEFT JOIN journal AS j ON j.account = a.name AND j.seq = a.seq
               LEFT JOIN journal AS p ON p.account = a.name AND p.seq = a.seq - 1 WHERE a.seq > 0""",
            (),
        )
        for name, seq, head, hashed, kind, at, key, body, previous in rows:
            if hashed is None or hashed != head or link(previous or "", name, seq, kind, at, key, body) != head:
                raise LedgerDamaged(
                    f"{self.place} is damaged at row {seq} of account {name}; run `ordergate audit verify`"
                )

    # ----------------------------------------------------------------------------------------------------- verifying

    def _first_break(self, connection: psycopg.Connection[Row]) -> Break | None:
        with connection.transaction(force_rollback=True):
            # One snapshot, whatever others append meanwhile.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SET LOCAL statement_timeout = 0")
            heads = _all(connection, "SELECT name, seq, head FROM account ORDER BY name", ())
            entries = _in_pages(lambda query, values: _all(connection, query, values), None, 0)
            return first_break(entries, iter(heads)) or _first_difference(connection) or _first_lost_content(connection)

    # ------------------------------------------------------------------------------------------------------- asking

    def _seen(self, account: str) -> int:
        return self._memory.seen.get(account, 0)

    def _have_seen(self, account: str, seq: int) -> None:
        with self._lock:
            self._memory.seen[account] = max(seq, self._seen(account))

    def _shorter(self, account: str, seen: int) -> str:
        return (
            f"{self.place} lost rows: row {seen} of account {account} was there and is not any more; it is an older "
            "backup or a server that had not received everything. Restore what is missing, or start again"
        )

    def _recorded(self, where: str, values: tuple[object, ...]) -> tuple[Recorded, ...]:
        def run(connection: psycopg.Connection[Row], _: int) -> tuple[Recorded, ...]:
            with connection.cursor(row_factory=class_row(Recorded)) as cursor:
                return tuple(cursor.execute((_RECORDED + where).encode(), values).fetchall())

        return self._asked(run)

    def _all(self, query: str, values: tuple[object, ...], *, seconds: float = ANSWER) -> list[Row]:
        return self._asked(lambda connection, _: _all(connection, query, values), seconds=seconds)

    def _do(self, query: str, values: tuple[object, ...]) -> None:
        self._asked(lambda connection, _: _run(connection, query, values))

    def _asked(
        self,
        work: Callable[[psycopg.Connection[Row], int], T],
        *,
        seconds: float = ANSWER,
        repeat: bool = True,
    ) -> T:
        """Do the work on a connection, again where the server asks for it or its answer was lost, for a bounded time.

        `work` is told how many answers were lost before: what it does may have been done, and must come to the same.
        """
        begun = self._clock.monotonic()
        if begun < self._memory.away_until:
            raise LedgerError(f"{self.place} was out of reach a moment ago; try again in {_REST:g} s")
        lost = 0
        while True:
            pause, tried = _PAUSE, self._clock.monotonic()
            try:
                return self._connections.run(partial(_told, work, lost), seconds=seconds)
            except (Lost, Unreachable) as error:
                lost, pause = lost + isinstance(error, Lost), _AGAIN
                now = self._clock.monotonic()
                self._memory.kept = set()  # the server that follows a failed one may not have all that was confirmed
                if now - tried >= _SLOW:
                    self._memory.away_until = now + _REST
                if not lost or not repeat or now - begun >= _SLOW:
                    raise LedgerError(f"{self.place} cannot be used: {error}") from error
            except _REPEAT as error:
                if not repeat or self._clock.monotonic() - begun >= PATIENCE:
                    raise LedgerBusy(f"{self.place} stayed locked by others for {PATIENCE:g} s; try again") from error
            except psycopg.Error as error:
                self._raise(error)
            self._clock.sleep(self._clock.jitter(*pause))

    def _raise(self, error: psycopg.Error) -> NoReturn:
        if isinstance(error, errors.UniqueViolation) and error.diag.constraint_name == "funds_pkey":
            raise AlreadyRecorded("these funds are bound to another account name") from error
        if isinstance(error, errors.UniqueViolation):
            raise AlreadyRecorded(f"this entry stands in the journal of {self.place} already") from error
        if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.DuplicateTable):
            fix = "name a database of its own in gate.ledger, or restore a backup"
            raise _OtherTables(f"{self.place} has other tables than a ledger has; {fix}") from error
        if error.sqlstate == _SHORTER:
            raise LedgerDamaged(f"{self.place} lost rows: {error.diag.message_primary}") from error
        if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
            raise LedgerDamaged(f"{self.place} is damaged ({one_line(error)}); restore a backup") from error
        what = f"{one_line(error)} ({error.sqlstate or type(error).__name__})"
        raise LedgerError(f"{self.place} cannot be used: {what}") from error


def _this_process(clock: Clock) -> str:
    """What other processes call this one; the same for all its ledgers."""
    pid = os.getpid()
    if pid not in _NAMES:
        _NAMES[pid] = f"process {pid} on {platform.node()} ({clock.new_id()[:12]})"
    return _NAMES[pid]


_NAMES: Final[dict[int, str]] = {}


def _told(work: Callable[[psycopg.Connection[Row], int], T], lost: int, connection: psycopg.Connection[Row]) -> T:
    return work(connection, lost)


def _run(connection: psycopg.Connection[Row], query: str, values: tuple[object, ...] = ()) -> psycopg.Cursor[Row]:
    # As bytes: the driver's types want every text to be a literal, and some are put together of several here.
    return connection.execute(query.encode(), values or None)


def _one(connection: psycopg.Connection[Row], query: str, values: tuple[object, ...]) -> Row:
    return _run(connection, query, values).fetchall()[0]


def _all(connection: psycopg.Connection[Row], query: str, values: tuple[object, ...]) -> list[Row]:
    return _run(connection, query, values).fetchall()


def _in_pages(read: Callable[[str, tuple[object, ...]], list[Row]], account: str | None, after: int) -> Iterator[Entry]:
    """Journal rows in order, so many at a time that a long journal is never held in memory."""
    query = _ENTRY + f"AND (account, seq) > (%s, %s) ORDER BY account, seq LIMIT {_PAGE}"
    last = (account or "", after)
    while True:
        rows = read(query, (account, account, *last))
        yield from (Entry(*row) for row in rows)
        if len(rows) < _PAGE:
            return
        last = (rows[-1][0], rows[-1][1])


def _first_difference(connection: psycopg.Connection[Row]) -> Break | None:
    """The tables must hold nothing that the journal does not say."""
    real = _one(connection, "SELECT quote_ident(current_schema())", ())[0]
    for table in _FOLDED:
        _run(connection, f"CREATE TEMPORARY TABLE {table} (LIKE {real}.{table} INCLUDING ALL) ON COMMIT DROP")
    connection.execute("DISCARD PLANS")  # those of the function still mean the real ones
    _run(connection, f"INSERT INTO account (name) SELECT name FROM {real}.account")  # noqa: S608 - it quoted itself
    try:
        _run(connection, _FOLD.format(real=real))
    except psycopg.Error as error:
        return Break("", 0, f"the journal cannot be folded: {one_line(error)}")
    for table, columns in _COMPARED:
        for row in _all(connection, _DIFFERENCE.format(real=real, table=table, columns=columns), ()):
            return Break(row[0], row[1], f"table {table} does not say what the journal says")
    return None


def _first_lost_content(connection: psycopg.Connection[Row]) -> Break | None:
    """What decisions were made on must be there, and be what its name says."""
    for account, seq in _all(connection, _LOST_CONTENT, ()):
        return Break(account, seq, "the facts or settings it was made on are gone or were changed")
    return None


def _why(account: str, trading: str | None) -> str:
    body = json.loads(trading) if trading else {}
    scope = "all accounts" if account == EVERY_ACCOUNT else f"account {account}"
    return f"{scope}: {body.get('reason', 'no reason was recorded')} ({body.get('by', 'unknown')})"


def _unfinished(
    status: str, _at: float | None, _final: object, client_order_id: str, symbol: str, wire_id: str, send_by: float
) -> Unfinished:
    return Unfinished(client_order_id=client_order_id, symbol=symbol, wire_id=wire_id, status=status, send_by=send_by)
