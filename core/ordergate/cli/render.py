"""Drawing on a terminal: panels, tables and progress. The only module that imports rich, and imported only to draw.

Texts reach rich as `Text`, never as markup: `[red]` in somebody's reason is printed as it stands.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel as RichPanel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable
from rich.text import Text

from ordergate.cli.page import Block, Cell, Line, Pairs, Panel, Table, Tone, clean, words

__all__ = ["draw", "progress"]

_STYLES: Final[dict[Tone, str]] = {
    "": "",
    "good": "green",
    "bad": "red",
    "warn": "yellow",
    "dim": "dim",
    "strong": "bold",
}


def draw(page: Iterable[Block], stream: IO[str]) -> None:
    """Print the blocks on a terminal; without any escape code where NO_COLOR is set or the terminal has none."""
    console = _console(stream)
    for block in page:
        console.print(_drawn(block))


@contextmanager
def progress(stream: IO[str], what: str) -> Iterator[Callable[[str], None]]:
    """Show that something takes its time, and what it is at; leaves nothing behind."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=_console(stream), transient=True) as shown:
        task = shown.add_task(clean(what), total=None)
        yield lambda text: shown.update(task, description=clean(text))


def _console(stream: IO[str]) -> Console:
    colours = None if os.environ.get("NO_COLOR") else "auto"
    return Console(file=stream, color_system=colours, markup=False, emoji=False, highlight=False)  # type: ignore[arg-type]


def _drawn(block: Block) -> RenderableType:
    if isinstance(block, Line):
        return Text(clean(block.text), style=_STYLES[block.tone])
    if isinstance(block, Pairs):
        return _pairs(block)
    if isinstance(block, Table):
        return _table(block)
    return _panel(block)


def _panel(panel: Panel) -> RenderableType:
    return RichPanel(
        Group(*map(_drawn, panel.blocks)),
        title=Text(clean(panel.title), style="bold"),
        title_align="left",
        border_style=_STYLES[panel.tone] or "dim",
        box=box.ROUNDED,
        padding=(0, 1),
    )


def _pairs(pairs: Pairs) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, cell in pairs.rows:
        grid.add_row(Text(clean(name), style="dim"), _text(cell))
    return grid


def _table(table: Table) -> RenderableType:
    drawn = RichTable(
        box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", header_style="bold", pad_edge=False
    )
    drawn.title = Text(clean(table.title)) if table.title else None
    for name in table.columns:
        drawn.add_column(Text(clean(name)), justify="right" if name in table.right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(_text, row))
    return drawn


def _text(cell: Cell) -> Text:
    return Text(words(cell), style=_STYLES["" if isinstance(cell, str) else cell.tone])
