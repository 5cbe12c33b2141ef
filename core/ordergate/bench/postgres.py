"""Goal 6: a reservation in PostgreSQL, beside SQLite on the same disk and beside six round trips written out by hand.

The server runs on the machine itself and is asked over 127.0.0.1: what a network would add is not in the figures, and
both share its CPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from itertools import count
from typing import Any, Final

from ordergate.bench.case import Case, Effort, Row, Way
from ordergate.bench.crowds import together
from ordergate.bench.durable import reserved
from ordergate.bench.given import ACCOUNT, Body, decision_body, gate, ledger_in
from ordergate.bench.measure import CLOCK, Sample, gathered, rates, timed
from ordergate.bench.server import server
from ordergate.ledger import Ledger, open_ledger
from ordergate.models import OrderStatus

__all__ = ["CASES"]

_CROWD: Final = 8
_EACH: Final = 15
_TABLES: Final = """
    CREATE TABLE six_account (name text PRIMARY KEY, version bigint NOT NULL, reserved numeric NOT NULL);
    CREATE TABLE six_journal (account text, seq bigint, body text NOT NULL, PRIMARY KEY (account, seq));
    CREATE TABLE six_orders (account text, name text, size numeric NOT NULL, PRIMARY KEY (account, name));
    INSERT INTO six_account VALUES ('main', 0, 0)
"""


@contextmanager
def _ways(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with ExitStack() as stack:
        url = stack.enter_context(server(effort.disk))
        executor = stack.enter_context(gate(effort.memory))
        sqlite = stack.enter_context(ledger_in(effort.disk))
        postgres = open_ledger(url, effort.disk, CLOCK)
        stack.callback(postgres.close)
        body, names, share = decision_body(executor), map("order-{}".format, count()), effort.share
        connections = [stack.enter_context(_connected(url)) for _ in range(_CROWD)]
        connections[0].execute(_TABLES)
        text = body.text("order-0")
        yield {
            "one statement": partial(timed, partial(connections[0].execute, "SELECT 1"), share),
            "sqlite": partial(gathered, reserved(sqlite, body, names, read=False), share),
            "sqlite, read": partial(gathered, reserved(sqlite, body, names), share),
            "postgres": partial(gathered, reserved(postgres, body, names, read=False), share),
            "postgres, read": partial(gathered, reserved(postgres, body, names), share),
            "six": partial(timed, partial(_six_trips, connections[0], text, names), share),
            "postgres, crowd": partial(_reserving_crowd, postgres, body, names),
            "six, crowd": partial(_crowd, lambda number: _six_trips(connections[number], text, names)),
        }


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    connection = import_module("psycopg").connect(url, autocommit=True)
    try:
        yield connection
    finally:
        connection.close()


def _six_trips(connection: Any, text: str, names: Iterator[str]) -> None:
    """What a gate does that locks the account, reads, decides in Python, and writes: six round trips."""
    connection.execute("BEGIN")
    row = connection.execute("SELECT version, reserved FROM six_account WHERE name = %s FOR UPDATE", (ACCOUNT,))
    (version, _) = row.fetchone()
    connection.execute("INSERT INTO six_journal VALUES (%s, %s, %s)", (ACCOUNT, version + 1, text))
    connection.execute("INSERT INTO six_orders VALUES (%s, %s, 1)", (ACCOUNT, next(names)))
    connection.execute(
        "UPDATE six_account SET version = version + 1, reserved = reserved + 1 WHERE name = %s", (ACCOUNT,)
    )
    connection.execute("COMMIT")


def _crowd(run: Callable[[int], None]) -> Sample:
    """The rate at which a crowd of threads reserves on the one account."""

    def each(number: int) -> None:
        for _ in range(_EACH):
            run(number)

    return rates(_CROWD * _EACH, together(_CROWD, each))


def _reserving_crowd(ledger: Ledger, body: Body, names: Iterator[str]) -> Sample:
    """The same through the ledger; afterwards, uncounted, every order is cancelled and its reservation given up."""
    made: list[str] = []
    sample = _crowd(lambda _: made.append(_reserve(ledger, body, next(names))))
    for name in made:
        ledger.append(ACCOUNT, "receipt", body.receipt(name, OrderStatus.CANCELLED), at=CLOCK.now())
    ledger.append(ACCOUNT, "settled", {"gone": made, "facts_begun": 0.0}, at=CLOCK.now())
    return sample


def _reserve(ledger: Ledger, body: Body, name: str) -> str:
    """One reservation while others make theirs: again from the state, until it was still true."""
    values = body.named(name)
    row = None
    while row is None:
        state = ledger.state(ACCOUNT)
        row = ledger.append(ACCOUNT, "decision", values, at=CLOCK.now(), key=f"order:{name}", judged_on=state)
    return name


CASES: Final = (
    Case(
        name="postgres",
        goal=6,
        says="A reservation in PostgreSQL on this machine, beside SQLite with full synchronisation on the same disk.",
        ways=_ways,
        rows=(
            Row(
                says="One reservation, beside SQLite",
                of="postgres",
                against="sqlite",
                limit=2.1,
                bound="the server hashes and parses the row of 3 kB, locks, folds and logs it; then comes the flush.",
            ),
            Row(
                says="The state read before it included, beside SQLite",
                of="postgres, read",
                against="sqlite, read",
            ),
            Row(
                says="Six round trips, beside one reservation",
                of="six",
                against="postgres",
                limit=2.7,
                least=True,
                bound="on one machine a round trip takes some 30 µs, so that six cost little; hashing and "
                "folding the row takes the server longer. Over a network the trips decide.",
            ),
            Row(
                says="Six round trips, beside one reservation and its state",
                of="six",
                against="postgres, read",
            ),
            Row(
                says="8 threads on one account, rate beside six round trips",
                of="postgres, crowd",
                against="six, crowd",
                figure="rate",
            ),
            Row(says="One reservation, beside `SELECT 1`", of="postgres", against="one statement"),
        ),
    ),
)
