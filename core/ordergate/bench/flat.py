"""Goal 3: the ten-thousandth position, reservation, account and journal row must cost a decision nothing."""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from ordergate.amounts import exact
from ordergate.bench.at_hand import resting_names
from ordergate.bench.case import Case, Effort, Row, Way
from ordergate.bench.durable import reserved
from ordergate.bench.given import (
    ACCOUNT,
    Body,
    buy,
    chained,
    decision_body,
    gate,
    inputs_of,
    ledger_in,
    reservation,
)
from ordergate.bench.measure import CLOCK, Sample, gathered, timed
from ordergate.executor import Executor
from ordergate.judge import judge
from ordergate.ledger import Ledger
from ordergate.models import OrderStatus
from ordergate.records import canonical

__all__ = ["CASES"]

_KEPT: Final = {"facts_age": 300, "facts_cache": 300}
_MANY: Final = 10_000
_STRANGERS: Final = 10_000
"""Accounts in one ledger that other gates trade."""
_ACCOUNTS: Final = 1_000_000
_ROWS: Final = 200_000
_ROWS_FULL: Final = 5_000_000
_GROWTH: Final = 300


def _number(effort: Effort, many: int) -> int:
    return many // 50 if effort.small else many


def _rows(effort: Effort) -> int:
    return _number(effort, _ROWS_FULL if effort.full else _ROWS)


# ---------------------------------------------------------------------------------------------------------- positions


@contextmanager
def _positions(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with ExitStack() as stack:
        one, many = (
            stack.enter_context(gate(_folder(effort, f"{held}-positions"), positions=held, **_KEPT))
            for held in (1, _number(effort, _MANY))
        )
        share = effort.share
        for executor in (one, many):
            executor.submit(buy(name="first"))  # binds the account to its funds
        yield {
            "judge, one": partial(_judged, one, share),
            "judge, many": partial(_judged, many, share),
            "check, one": partial(timed, lambda: one.check(buy()), share),
            "check, many": partial(timed, lambda: many.check(buy()), share),
        }


def _judged(executor: Executor, share: float, *, claims: int = 0) -> Sample:
    with exact():
        reservations = tuple(map(reservation, resting_names(claims)))
        inputs = inputs_of(executor, reservations=reservations)
        return timed(partial(judge, inputs, executor.setup.panel), share)


# ------------------------------------------------------------------------------------------------------- reservations


@contextmanager
def _reservations(effort: Effort) -> Iterator[Mapping[str, Way]]:
    claims, share = _number(effort, _MANY), effort.share
    none, many = _folder(effort, "no-claims"), _folder(effort, "many-claims")
    with ExitStack() as stack:
        free = stack.enter_context(gate(none, **_KEPT))
        claimed = stack.enter_context(gate(many, open_orders=claims, **_KEPT))
        body = decision_body(free)
        _reserve(claimed.desk.ledger(), body, resting_names(claims))
        names = map("order-{}".format, count())
        yield {
            "judge, none": partial(_judged, free, share),
            "judge, many": partial(_judged, free, share, claims=claims),
            "reserve, none": partial(gathered, reserved(free.desk.ledger(), body, names), share),
            "reserve, many": partial(gathered, reserved(claimed.desk.ledger(), body, names), share),
            "check, none": partial(timed, lambda: free.check(buy()), share),
            "check, many": partial(timed, lambda: claimed.check(buy()), share),
        }


def _reserve(ledger: Ledger, body: Body, names: list[str]) -> None:
    """Approved buys, all open at the venue."""

    def rows() -> Iterator[tuple[str, str, float, str | None, str]]:
        at = CLOCK.now()
        yield ACCOUNT, "bound", at, "bound:at-hand", '{"identity":"at-hand"}'
        for name in names:
            yield ACCOUNT, "decision", at, f"order:{name}", body.text(name)
            yield ACCOUNT, "receipt", at, f"receipt:{name}:sent", canonical(body.receipt(name, OrderStatus.OPEN))

    ledger.adopt(chained(rows()), ())


# ------------------------------------------------------------------------------------------------ accounts and journal


@contextmanager
def _accounts(effort: Effort) -> Iterator[Mapping[str, Way]]:
    accounts, strangers, share = _number(effort, _ACCOUNTS), _number(effort, _STRANGERS), effort.share
    alone, crowded = _folder(effort, "alone"), _folder(effort, "crowded")
    with ExitStack() as stack:
        one = stack.enter_context(ledger_in(_folder(effort, "one-account")))
        many = stack.enter_context(ledger_in(_folder(effort, "many-accounts")))
        _name_accounts(_folder(effort, "many-accounts") / "ledger.db", accounts)
        first, second = stack.enter_context(gate(alone, **_KEPT)), stack.enter_context(gate(crowded, **_KEPT))
        body, names = decision_body(first), map("order-{}".format, count())
        for executor in (first, second):
            executor.submit(buy(name="first"))  # makes the ledger and binds the account to its funds
        _name_accounts(crowded / "ordergate.db", strangers)
        yield {
            "reserve, one": partial(gathered, _anywhere(one, body, names, 1), share),
            "reserve, many": partial(gathered, _anywhere(many, body, names, accounts), share),
            "check, alone": partial(timed, lambda: first.check(buy()), share),
            "check, among many": partial(timed, lambda: second.check(buy()), share),
        }


def _anywhere(ledger: Ledger, body: Body, names: Iterator[str], accounts: int) -> Callable[[], float]:
    """One decision of some account, recorded on the state that was read for it."""
    numbers = count(1)

    def one() -> float:
        account, name = f"account-{next(numbers) * 7919 % accounts}", next(names)
        values = body.named(name, reserves=False)
        began = CLOCK.monotonic()
        state = ledger.state(account)
        ledger.append(account, "decision", values, at=CLOCK.now(), key=f"order:{name}", judged_on=state)
        return CLOCK.monotonic() - began

    return one


def _name_accounts(file: Path, number: int) -> None:
    """So many accounts that nobody has traded yet, written at once: one by one would take an hour."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
            "INSERT INTO account (name) SELECT 'account-' || i FROM n",
            (number,),
        )


@contextmanager
def _journal(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with ExitStack() as stack:
        helping = stack.enter_context(gate(_folder(effort, "helping")))
        body, names = decision_body(helping), map("order-{}".format, count())
        short = stack.enter_context(ledger_in(_folder(effort, "short")))
        long = stack.enter_context(ledger_in(_folder(effort, "long")))
        long.adopt(chained(_past(_rows(effort))), ())
        share = effort.share
        yield {
            "reserve, short": partial(gathered, reserved(short, body, names), share),
            "reserve, long": partial(gathered, reserved(long, body, names), share),
        }


def _past(rows: int) -> Iterator[tuple[str, str, float, str | None, str]]:
    text = '{"code":"note","message":"' + "one row of a long past " * 8 + '"}'
    at = CLOCK.now()
    return ((ACCOUNT, "note", at, f"note:{number}", text) for number in range(rows))


# ------------------------------------------------------------------------------------------------------------- memory


@contextmanager
def _memory(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with gate(_folder(effort, "memory"), **_KEPT) as executor:
        names = map("order-{}".format, count())
        buys = _GROWTH // 10 if effort.small else _GROWTH
        _growth(executor, names, buys)  # opens and fills what is filled once
        for number in range(_number(effort, _MANY)):  # what a ledger keeps in mind of texts has a bound: up to it
            executor.desk.ledger().keep(ACCOUNT, f'"text {number}"')
        yield {"buys": partial(_growth, executor, names, buys)}


def _growth(executor: Executor, names: Iterator[str], buys: int) -> Sample:
    gc.collect()
    before = _resident()
    for _ in range(buys):
        executor.submit(buy(name=next(names)))
    gc.collect()
    return {"growth": (_resident() - before) / buys, "resident": _resident() / 1024}


def _resident() -> float:
    """Memory of this process that is in use, kB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def _folder(effort: Effort, name: str) -> Path:
    folder = effort.memory / name
    folder.mkdir(exist_ok=True)
    return folder


CASES: Final = (
    Case(
        name="positions",
        goal=3,
        says="A decision with 10,000 positions beside one with one, on the same facts.",
        ways=_positions,
        rows=(
            Row(says="Judging", of="judge, many", against="judge, one", limit=1.1),
            Row(says="A whole check", of="check, many", against="check, one", limit=1.1),
        ),
    ),
    Case(
        name="reservations",
        goal=3,
        says="A decision with 10,000 open reservations beside one with none; their orders rest at the venue.",
        ways=_reservations,
        rows=(
            Row(
                says="Judging",
                of="judge, many",
                against="judge, none",
                limit=1.1,
                bound="the reservations are compared with those of the last decision, object by object.",
            ),
            Row(
                says="State read, and one more reserved",
                of="reserve, many",
                against="reserve, none",
                limit=1.1,
                bound="the remembered state is a tuple of reservations, which is copied when one is added.",
            ),
            Row(
                says="A whole check",
                of="check, many",
                against="check, none",
                limit=1.1,
                bound="as above, for the open orders too.",
            ),
        ),
    ),
    Case(
        name="accounts",
        goal=3,
        says="A decision in a ledger with a million accounts beside one with one; nothing is flushed.",
        ways=_accounts,
        rows=(
            Row(
                says="State read and decision recorded, a million accounts",
                of="reserve, many",
                against="reserve, one",
                limit=1.6,
            ),
            Row(
                says="A whole check, 10,000 accounts of others in the ledger",
                of="check, among many",
                against="check, alone",
                limit=1.6,
            ),
        ),
    ),
    Case(
        name="journal",
        goal=3,
        says="A decision in a ledger with a long journal beside an empty one: 200,000 rows, 5,000,000 with --full.",
        ways=_journal,
        rows=(
            Row(
                says="State read, and a reservation",
                of="reserve, long",
                against="reserve, short",
                limit=1.5,
            ),
        ),
    ),
    Case(
        name="memory",
        goal=3,
        says="What a process keeps of each buy it has made.",
        ways=_memory,
        rows=(
            Row(says="Growth per buy", of="buys", figure="growth", limit=0.1, unit="kB"),
            Row(says="The whole process, the benchmarks in it", of="buys", figure="resident", unit="MB"),
        ),
    ),
)
