"""Showing the demo on a terminal: aligned, in colour, at a speed that can be followed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ordergate.amounts import money, plain
from ordergate.clock import Clock
from ordergate.decision import Decision
from ordergate.demo.show import AccountLine, bound, ending_lines
from ordergate.demo.summary import Summary
from ordergate.demo.words import brief, detail, size
from ordergate.errors import InputError
from ordergate.order import Order

__all__ = ["TerminalShow"]

_PAUSE: Final = 0.08  # seconds after each decision: for the eye only, nothing waits for it
_WIDE: Final = 110  # columns from which an order and its reasons fit beside each other
_COLOURS: Final = {
    "filled": "green",
    "open": "cyan",
    "cancelled": "cyan",
    "refused": "red",
    "rejected": "red",
    "unknown": "magenta",
    "error": "yellow",
}


T = TypeVar("T")


class TerminalShow:
    """Draws on a rich console; `pause` is False where nobody watches."""

    def __init__(self, console: Console, clock: Clock, *, pause: bool = True) -> None:
        self._console, self._clock, self._pause = console, clock, pause

    def opening(self, recorded: str, assumed: Sequence[str], accounts: Sequence[AccountLine]) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text("recorded", style="bold"), Text(recorded))
        for number, text in enumerate(assumed):
            grid.add_row(Text("" if number else "assumed", style="bold"), Text(text))
        self._console.print(grid)
        # What does not fit in 80 columns is left out: a table with cut-off figures says less than a smaller one.
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
        for name in (
            "account",
            "venue",
            "tier",
            "equity",
            "threshold",
            *self._if_wide("taker"),
            "held",
            "BTC buy from",
        ):
            table.add_column(name, no_wrap=True)
        for one in accounts:
            table.add_row(
                Text(one.name, style="cyan"),
                one.venue,
                one.tier,
                brief(one.equity),
                money(one.fee_threshold),
                *self._if_wide(f"{plain(one.taker_fee * 100)} %"),
                f"{one.positions} of {one.max_positions}",
                bound(one),
            )
        self._console.print()
        self._console.print(table)

    def scene(self, title: str, says: str) -> None:
        self._console.print()
        self._console.print(Text.assemble((f"{title}  ", "bold"), (says, "dim")))

    def decision(self, time: str, decision: Decision) -> None:
        self._row(time, decision.order, decision.status.value, detail(decision), dim=decision.replayed)

    def error(self, time: str, order: Order, error: InputError) -> None:
        self._row(time, order, "error", f"{error.code}: {error.fix}")

    def finding(self, text: str, *, holds: bool) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=5, justify="right")
        grid.add_row(Text("ok", style="green") if holds else Text("WRONG", style="bold red"), Text(text))
        self._console.print(grid)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        if not self._pause:
            yield
            return
        with self._console.status(Text(text, style="dim"), spinner="line"):
            yield

    def ending(self, summary: Summary, commands: Sequence[str]) -> None:
        self.scene("Summary", "counted in the ledger that stays behind")
        grid = Table.grid(padding=(0, 1))
        for name, text in ending_lines(summary):
            grid.add_row(Text(name, style="bold"), Text(text))
        self._console.print(grid)
        self.scene("Where to look next", "")
        for command in commands:
            self._console.print(Text(f"  {command}", style="cyan"), soft_wrap=True)

    def _row(self, time: str, order: Order, status: str, text: str, *, dim: bool = False) -> None:
        grid = Table.grid(padding=(0, 1))
        for width in (5, 8, 4, 8, 22, 9):
            grid.add_column(width=width, no_wrap=True)
        grid.add_column()
        said = Text(text, style="dim" if dim else "")
        grid.add_row(
            Text(time, style="dim"),
            Text(order.account or "", style="cyan"),
            order.side.value,
            order.symbol,
            Text(size(order)),
            Text(status, style=f"bold {_COLOURS.get(status, '')}"),
            *self._if_wide(said),
        )
        self._console.print(grid)
        if not self._wide:
            self._console.print(Padding(said, (0, 0, 0, 6)))
        if self._pause:
            self._clock.sleep(_PAUSE)

    @property
    def _wide(self) -> bool:
        return self._console.width >= _WIDE

    def _if_wide(self, cell: T) -> tuple[T, ...]:
        return (cell,) if self._wide else ()
