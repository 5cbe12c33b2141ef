"""What a command has to say to a person, as blocks; and the blocks as plain text, without any terminal library.

A block holds words, not their looks: `ordergate.cli.render` draws the same blocks on a terminal. Whatever text comes
from outside (a reason, a symbol, a venue's words) is made harmless here, once, for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from attrs import frozen

__all__ = ["Block", "Cell", "Line", "Page", "Pairs", "Panel", "Table", "Tone", "Toned", "as_text", "clean"]

Tone = Literal["", "good", "bad", "warn", "dim", "strong"]


@frozen
class Toned:
    """Words with a meaning that a terminal shows by colour."""

    text: str
    tone: Tone


Cell = str | Toned


@frozen
class Line:
    """One sentence on a line of its own."""

    text: str
    tone: Tone = ""


@frozen
class Pairs:
    """Names and what stands under them, one pair per line."""

    rows: Sequence[tuple[str, Cell]]


@frozen
class Table:
    """Rows under headings. Columns named in `right` hold numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    right: frozenset[str] = frozenset()


@frozen
class Panel:
    """Blocks that belong together under one title."""

    title: str
    blocks: Sequence[Line | Pairs | Table]
    tone: Tone = ""


Block = Line | Pairs | Table | Panel
Page = Sequence[Block]


def clean(text: str) -> str:
    """The text with every character that could steer a terminal written out: control, format and broken ones."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )


def words(cell: Cell) -> str:
    """A cell's harmless text."""
    return clean(cell if isinstance(cell, str) else cell.text)


def as_text(page: Iterable[Block]) -> str:
    """The page as plain lines: no escape codes, no frames, nothing cut or wrapped, so that it can be searched."""
    return "".join(f"{line.rstrip()}\n" for block in page for line in _lines(block))


def _lines(block: Block) -> list[str]:
    if isinstance(block, Line):
        return [clean(block.text)]
    if isinstance(block, Pairs):
        width = max((len(clean(name)) for name, _ in block.rows), default=0)
        return [f"{clean(name).ljust(width)}  {words(cell)}" for name, cell in block.rows]
    if isinstance(block, Table):
        return _table_lines(block)
    return [clean(block.title), *(f"  {line}" for inner in block.blocks for line in _lines(inner))]


def _table_lines(table: Table) -> list[str]:
    rows = [[clean(name) for name in table.columns], *([words(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]

    def aligned(row: list[str]) -> str:
        return "  ".join(
            text.rjust(width) if name in table.right else text.ljust(width)
            for text, width, name in zip(row, widths, table.columns, strict=True)
        )

    return [*([clean(table.title)] if table.title else []), *map(aligned, rows)]
