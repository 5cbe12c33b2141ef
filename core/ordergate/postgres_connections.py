"""Connections to a PostgreSQL server: few, bounded in time, and never trusted after they failed.

A database that is away must end in an error within about two seconds, whatever became of the packets, because an order
waits. This module knows nothing of ledgers, and never decides whether a statement may be sent a second time.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ordergate.clock import Clock
from ordergate.errors import LedgerBusy, LedgerError

__all__ = ["ANSWER", "PATIENCE", "Connections", "Lost", "Row", "Unreachable", "one_line"]

T = TypeVar("T")
Row = tuple[Any, ...]

ANSWER: Final = 2.0
"""Seconds for the answer to one statement of the order path; a healthy server needs a hundredth of it."""

PATIENCE: Final = 2.0
"""Seconds of retries before a locked row counts as busy, and of waiting for one of our own connections."""

_MOST: Final = 8  # connections of one ledger: more threads than this wait for each other, not for the server
_OPTIONS: Final = (
    "-c synchronous_commit=on "  # an intent is durable before the first byte is sent, whatever the server's default
    "-c lock_timeout=500ms "  # a row is locked for a millisecond; then another try is better than a longer wait
    "-c statement_timeout=60s "  # nobody waits that long; it ends what was left behind
    "-c idle_in_transaction_session_timeout=10s"
)
_DEFAULTS: Final = {
    "application_name": "ordergate",
    "connect_timeout": "2",  # seconds, for each host; psycopg takes no less
    "tcp_user_timeout": "2000",  # milliseconds until unacknowledged data counts as a broken line
    "keepalives_idle": "10",  # seconds
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "target_session_attrs": "read-write",  # of several hosts the one that can write: after a fail-over, the new one
}


class Unreachable(LedgerError):
    """No connection could be made: certainly nothing was asked."""


class Lost(LedgerError):
    """The connection broke, or no answer came in time: what was asked may have been done or not."""


class _NoAnswer(psycopg.OperationalError):
    pass


class _Connection(psycopg.Connection[Row]):
    """A connection whose every wait ends: psycopg itself would wait for an answer for ever."""

    overdue: Callable[[], bool] = staticmethod(lambda: False)
    silent = False

    def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
        return super().wait(self._bounded(gen), *arguments, **named)

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and self.overdue():
                    self.silent = True
                    raise _NoAnswer("no answer came in time")
                wanted = gen.send(ready)
        except StopIteration as done:
            answer: T = done.value
            return answer


class Connections:
    """Shared by the threads of one ledger; each statement has a connection to itself."""

    def __init__(self, url: str, clock: Clock, greet: Callable[[psycopg.Connection[Row]], None]) -> None:
        """`greet` looks at every new connection before it is used, and raises if it leads to the wrong place."""
        self._clock, self._greet = clock, greet
        asked = conninfo_to_dict(url)
        if asked.get("password") or asked.get("sslpassword"):
            fix = "take it out; PostgreSQL's own ~/.pgpass, PGPASSFILE or PGSERVICEFILE hold it"
            raise LedgerError(f"the URL of {_place(asked)} holds a password (gate.ledger): {fix}")
        options = f"{_OPTIONS} {asked.get('options') or ''}".rstrip()
        self._conninfo = make_conninfo("", **{**_DEFAULTS, **asked, "options": options})
        self.place = _place(asked)
        self._free: list[_Connection] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST)
        self._closed = False

    def run(self, work: Callable[[psycopg.Connection[Row]], T], *, seconds: float = ANSWER) -> T:
        """What `work` makes of a connection, within so many seconds.

        Raises Unreachable, Lost, LedgerBusy when all connections stay in use, and psycopg's errors for what the server
        itself refused; then nothing was done.
        """
        if not self._places.acquire(timeout=PATIENCE):
            raise LedgerBusy(f"all {_MOST} connections to the ledger stayed in use for {PATIENCE:g} s; try again")
        try:
            connection = self._taken()
            try:
                return self._within(seconds, connection, lambda: work(connection))
            finally:
                self._give_back(connection)
        finally:
            self._places.release()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._drop_free()

    def _taken(self) -> _Connection:
        while True:
            with self._lock:
                if self._closed:
                    raise LedgerError("the ledger cannot be used: it was closed")
                connection = self._free.pop() if self._free else None
            if connection is None:
                return self._connected()
            if _is_quiet(connection):
                return connection
            connection.close()  # the server ended it while nobody looked

    def _connected(self) -> _Connection:
        try:
            connection = _Connection.connect(self._conninfo, autocommit=True)
        except psycopg.OperationalError as error:
            raise Unreachable(one_line(error)) from error
        sound = False
        try:
            self._within(ANSWER, connection, lambda: self._greet(connection))
            sound = True
        except Lost as error:
            raise Unreachable(str(error)) from error
        finally:
            if not sound:
                connection.close()
        return connection

    def _within(self, seconds: float, connection: _Connection, work: Callable[[], T]) -> T:
        ends = self._clock.monotonic() + seconds
        connection.overdue = lambda: self._clock.monotonic() >= ends
        try:
            return work()
        except psycopg.OperationalError as error:
            if connection.silent:
                connection.close()
                self._drop_free()  # they lead to the same silence
                raise Lost(f"no answer came within {seconds:g} s") from error
            if connection.closed:
                raise Lost(one_line(error)) from error
            raise
        except psycopg.errors.ReadOnlySqlTransaction as error:  # after a fail-over the old server may only be read
            connection.close()
            raise Unreachable(one_line(error)) from error

    def _give_back(self, connection: _Connection) -> None:
        idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with self._lock:
            if idle and not self._closed:
                self._free.append(connection)
                return
        connection.close()

    def _drop_free(self) -> None:
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()


def _place(asked: Mapping[str, Any]) -> str:
    """What messages call the database: where it is and its name, never who asks or with what."""
    host = asked.get("host") or asked.get("hostaddr") or asked.get("service") or "the local socket"
    return f"the ledger {asked.get('dbname') or 'in the default database'} at {host}"


def one_line(error: BaseException) -> str:
    """What a driver's error says, without line breaks; it names hosts and users, never a password."""
    return " ".join(str(error).split())


def _is_quiet(connection: _Connection) -> bool:
    """False when the server has something to say to an idle connection: that is how it says goodbye."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
