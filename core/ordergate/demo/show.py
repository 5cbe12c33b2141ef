"""Showing the demo as plain lines, or as one JSON object per line. `ordergate.demo.terminal` is the form in colour."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Protocol, TextIO

from attrs import frozen

from ordergate.amounts import money
from ordergate.cli.answer import decision_data
from ordergate.decision import Decision
from ordergate.demo.summary import RECKONED, Summary
from ordergate.demo.words import brief, detail, size
from ordergate.errors import InputError
from ordergate.order import Order
from ordergate.records import to_plain

__all__ = ["AccountLine", "JsonShow", "PlainShow", "Show"]


@frozen(kw_only=True)
class AccountLine:
    """An account as the gate sees it before the first order. `venue` is the one imitated; amounts are USD.

    `buys_from`, in the market's own currency, is the smallest BTC buy that passes; None: no size does.
    """

    name: str
    venue: str
    tier: str
    equity: Decimal
    fee_threshold: Decimal
    taker_fee: Decimal
    positions: int
    max_positions: int
    buys_from: Decimal | None
    because: tuple[str, ...]
    """Who would refuse one step less."""


class Show(Protocol):
    """Where the demo's events go. `time` is the recorded day's clock, such as `14:52`."""

    def opening(self, recorded: str, assumed: Sequence[str], accounts: Sequence[AccountLine]) -> None: ...

    def scene(self, title: str, says: str) -> None: ...

    def decision(self, time: str, decision: Decision) -> None: ...

    def error(self, time: str, order: Order, error: InputError) -> None: ...

    def finding(self, text: str, *, holds: bool) -> None:
        """Something that was looked up at the venue or in the ledger; `holds`: it is as it must be."""
        ...

    def waiting(self, text: str) -> Any:
        """A context manager around work that takes a while."""
        ...

    def ending(self, summary: Summary, commands: Sequence[str]) -> None: ...


class PlainShow:
    """Aligned lines without colour: for pipes and files."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def opening(self, recorded: str, assumed: Sequence[str], accounts: Sequence[AccountLine]) -> None:
        self._line(f"Recorded: {recorded}")
        for text in assumed:
            self._line(f"Assumed:  {text}")
        self._line("")
        self._line("account   venue     tier      equity    threshold  held    a BTC buy passes from")
        for one in accounts:
            self._line(
                f"{one.name:<9} {one.venue:<9} {one.tier:<9} {brief(one.equity):<9} {money(one.fee_threshold):<10} "
                f"{f'{one.positions} of {one.max_positions}':<7} {bound(one)}"
            )

    def scene(self, title: str, says: str) -> None:
        self._line(f"\n== {title}: {says}")

    def decision(self, time: str, decision: Decision) -> None:
        order = decision.order
        self._row(time, order, decision.status.value, detail(decision))

    def error(self, time: str, order: Order, error: InputError) -> None:
        self._row(time, order, "error", f"{error.code}: {error.fix}")

    def finding(self, text: str, *, holds: bool) -> None:
        self._line(f"{'   ok' if holds else 'WRONG'}  {text}")

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        del text
        yield

    def ending(self, summary: Summary, commands: Sequence[str]) -> None:
        self._line("\n== Summary")
        for name, text in ending_lines(summary):
            self._line(f"{name:<11} {text}")
        self._line("\nWhere to look next")
        for command in commands:
            self._line(f"  {command}")

    def _row(self, time: str, order: Order, status: str, text: str) -> None:
        asked = f"{order.account or '':<9} {order.side.value:<4} {order.symbol:<9} {size(order):<24}"
        self._line(f"{time}  {asked} {status:<9} {text}")

    def _line(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()  # each line as it falls, also through a pipe


class JsonShow:
    """One object per line, named by its `event`; decisions are as `ordergate buy --json` has them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def opening(self, recorded: str, assumed: Sequence[str], accounts: Sequence[AccountLine]) -> None:
        self._put("opening", recorded=recorded, assumed=assumed, accounts=to_plain(tuple(accounts)))

    def scene(self, title: str, says: str) -> None:
        self._put("scene", title=title, says=says)

    def decision(self, time: str, decision: Decision) -> None:
        self._put("decision", time=time, **decision_data(decision))

    def error(self, time: str, order: Order, error: InputError) -> None:
        self._put("error", time=time, error=error.code, message=str(error), order=to_plain(order))

    def finding(self, text: str, *, holds: bool) -> None:
        self._put("finding", text=text, holds=holds)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        del text
        yield

    def ending(self, summary: Summary, commands: Sequence[str]) -> None:
        self._put(
            "summary",
            sent=summary.sent,
            sent_by_status=summary.sent_by_status,
            orders_at_venues=summary.at_venues,
            refused=summary.refused,
            refused_by=summary.refused_by,
            fees_not_burnt=money(summary.fees),
            fees_of=summary.fees_of,
            fees_reckoned=RECKONED,
            journal={"rows": summary.rows, "verified": summary.flaw is None, "flaw": summary.flaw},
            next=list(commands),
        )

    def _put(self, event: str, **fields: object) -> None:
        self._out.write(json.dumps({"event": event, **fields}) + "\n")
        self._out.flush()


def bound(account: AccountLine) -> str:
    """`20.00 (min_position)`: the smallest buy that passes, and whose minimum that is."""
    if account.buys_from is None:
        return "no size"
    return f"{money(account.buys_from)} ({', '.join(account.because)})"


def ending_lines(summary: Summary) -> tuple[tuple[str, str], ...]:
    """The summary as named sentences."""
    return (
        ("sent", f"{summary.sent} orders ({_counts(summary.sent_by_status)}); the venues hold {summary.at_venues}"),
        ("refused", f"{summary.refused} orders, by"),
        *(("", f"{name:<17} {count:>2}") for name, count in summary.refused_by.items()),
        ("not burnt", f"{money(summary.fees)} USD of fees in {summary.fees_of} of them: {RECKONED}"),
        ("journal", f"{summary.rows} rows in {summary.heads} chains, {summary.flaw or 'verified'}"),
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
