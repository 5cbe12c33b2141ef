"""What a case is: ways to do something, timed in turn, and rows that hold one against another and against a goal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from attrs import Factory, evolve, frozen

from ordergate.bench.measure import CLOCK, Sample, Spread, spread

__all__ = ["Case", "Effort", "Line", "NotHere", "Result", "Row", "run_case"]

_LEAST: Final = 3  # rounds, however long they take


class NotHere(Exception):
    """A case cannot be run here, and why: a library or a program is not installed."""


@frozen(kw_only=True)
class Effort:
    """How much may be spent on a run, and where.

    `share` is the seconds that one way has in one round, `case` those that one case has for all its rounds; the round
    in which they are over is the last, but for three, which are always made.
    """

    rounds: int
    share: float
    case: float
    disk: Path
    """A folder on the file system that is measured."""
    memory: Path
    """A folder where a flush costs nothing, if the machine has one."""
    small: bool = False
    """Smaller crowds and ledgers, for a quick look: what they show is not held against the goals."""
    full: bool = False
    """The largest ones too, which take minutes to build."""


Way = Callable[[], Sample]
"""One round of one way of doing something."""


@frozen(kw_only=True)
class Row:
    """One line of the table: a figure of the way `of`, as a multiple of that of `against` where there is one.

    `limit` is the goal: the most it may be, or with `least` the least. `bound` says, for a goal that is not met, what
    bounds the figure.
    """

    says: str
    of: str
    against: str | None = None
    figure: str = "call"
    limit: float | None = None
    least: bool = False
    unit: str = "×"  # noqa: RUF001 - the sign that people read as "times"
    bound: str = ""


@frozen(kw_only=True)
class Case:
    """`ways` opens what the case needs and gives its ways by name. A way that is left out leaves its rows out."""

    name: str
    goal: int
    says: str
    ways: Callable[[Effort], AbstractContextManager[Mapping[str, Way]]]
    rows: tuple[Row, ...]


@frozen(kw_only=True)
class Line:
    """A row with what was measured. `value` is None where the way was not there to be measured."""

    says: str
    unit: str
    value: Spread | None
    limit: float | None
    least: bool
    met: bool | None
    bound: str


@frozen(kw_only=True)
class Result:
    """What one case came to. `ways` has the median over the rounds of each figure of each way, in seconds or per
    second.
    """

    name: str
    goal: int
    says: str
    rounds: int
    seconds: float
    lines: tuple[Line, ...]
    ways: Mapping[str, Mapping[str, float]] = Factory(dict)
    absent: str = ""
    """Why it was not run; empty when it was."""


def run_case(case: Case, effort: Effort, tell: Callable[[str], object] = str) -> Result:
    """All rounds of one case, after one to warm up. `tell` hears of the progress."""
    began = CLOCK.monotonic()
    tell(f"{case.name}: preparing")
    try:
        with case.ways(_apart(effort, case.name)) as ways:
            rounds = _rounds(case.name, ways, effort, tell)
    except NotHere as absent:
        lines = tuple(_line(row, [], small=effort.small) for row in case.rows)
        return Result(
            name=case.name, goal=case.goal, says=case.says, rounds=0, seconds=0.0, lines=lines, absent=str(absent)
        )
    medians = {
        way: {figure: spread([one[way][figure] for one in rounds]).median for figure in rounds[0][way]}
        for way in rounds[0]
    }
    return Result(
        name=case.name,
        goal=case.goal,
        says=case.says,
        rounds=len(rounds),
        seconds=CLOCK.monotonic() - began,
        lines=tuple(_line(row, rounds, small=effort.small) for row in case.rows),
        ways=medians,
    )


def _apart(effort: Effort, name: str) -> Effort:
    """The same with folders for this case alone."""
    disk, memory = effort.disk / name, effort.memory / name
    for folder in (disk, memory):
        folder.mkdir()
    return evolve(effort, disk=disk, memory=memory)


def _rounds(
    name: str, ways: Mapping[str, Way], effort: Effort, tell: Callable[[str], object]
) -> list[dict[str, Sample]]:
    """Every way in turn, again and again: whatever the machine does meanwhile, it does to all of them."""
    rounds: list[dict[str, Sample]] = []
    until = CLOCK.monotonic() + effort.case
    for number in range(effort.rounds + 1):
        if number > _LEAST and CLOCK.monotonic() > until:
            break
        one: dict[str, Sample] = {}
        for way, run in ways.items():
            tell(f"{name}: {way}, round {number} of {effort.rounds}" if number else f"{name}: {way}, warming up")
            one[way] = run()
        rounds.append(one)
    return rounds[1:]


def _line(row: Row, rounds: list[dict[str, Sample]], *, small: bool) -> Line:
    values = [number for one in rounds if (number := _value(row, one)) is not None]
    value = spread(values) if values else None
    met: bool | None = None
    if value is not None and row.limit is not None and not small:
        met = value.median >= row.limit if row.least else value.median <= row.limit
    return Line(says=row.says, unit=row.unit, value=value, limit=row.limit, least=row.least, met=met, bound=row.bound)


def _value(row: Row, one: Mapping[str, Sample]) -> float | None:
    of: Any = one.get(row.of)
    if row.against is None:
        return None if of is None else of[row.figure]
    against = one.get(row.against)
    return None if of is None or against is None else of[row.figure] / against[row.figure]
