"""What a run came to: kept as JSON, told as text, written into the page as a table, drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Final

from attrs import frozen

from ordergate.bench.case import Line, Result
from ordergate.charts import Bars, Series, draw
from ordergate.errors import InputError, LedgerDamaged
from ordergate.records import from_plain, to_plain

__all__ = ["GOALS", "Report", "page_of", "read_report", "tables", "told", "write_page", "write_plots", "write_report"]

GOALS: Final[Mapping[int, str]] = {
    1: "Judging in memory",
    2: "A whole decision from words",
    3: "However much there is",
    4: "On disk",
    5: "Many at once",
    6: "PostgreSQL",
    7: "Start-up",
}
"""The seven goals by number, in the words of the page."""

_BEGIN: Final = "<!-- measured: `python -m ordergate.bench --from FILE --page PAGE` writes what follows -->"
_END: Final = "<!-- measured: end -->"
_MICRO: Final = 1e6
_LABEL: Final = 52  # letters beside a bar, then a new line


@frozen(kw_only=True)
class Report:
    """One run. `at` is the day of it; `effort` says how many rounds and how large."""

    at: str
    effort: str
    surroundings: Mapping[str, str]
    results: tuple[Result, ...]


# --------------------------------------------------------------------------------------------------------------- JSON


def write_report(report: Report, file: Path) -> None:
    """Keep it. Raises InputError when the file cannot be written."""
    text = json.dumps(to_plain(report), indent=1) + "\n"
    _write(file, text, "json")


def read_report(file: Path) -> Report:
    """What `write_report` kept. Raises InputError when the file holds anything else."""
    try:
        return from_plain(json.loads(file.read_text(encoding="utf-8")), Report)
    except OSError as error:
        raise InputError("from", str(file), f"it cannot be read: {error.strerror}") from error
    except (ValueError, LedgerDamaged) as error:
        raise InputError("from", str(file), f"it is no result of a run ({error}); make one with --json") from error


# --------------------------------------------------------------------------------------------------------------- text


def told(result: Result) -> Iterator[str]:
    """One case, as lines for people."""
    yield f"{result.name}: {result.says}"
    if result.absent:
        yield f"  not run: {result.absent}"
        return
    for line in result.lines:
        yield f"  {line.says:<86} {_value(line):>9}  {_spread(line):<17} {_goal(line):>9}  {_met(line)}".rstrip()
    yield f"  {result.rounds} rounds in {result.seconds:.0f} s"


# ----------------------------------------------------------------------------------------------------------- the page


def write_page(report: Report, page: Path) -> None:
    """Put the tables into the page, between the two marks in it. Raises InputError when they are not there."""
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError("page", str(page), f"it cannot be read: {error.strerror}") from error
    _write(page, page_of(text, report), "page")


def page_of(text: str, report: Report) -> str:
    """The page with this report's tables in it."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise InputError("page", "its text", f"it needs the two lines\n{_BEGIN}\n{_END}")
    return "\n".join([before + _BEGIN, "", *tables(report), _END + after])


def tables(report: Report) -> Iterator[str]:
    """Machine, one table per goal, and for each goal that is not met what bounds it; Markdown."""
    yield f"Measured on {report.at}, {report.effort}."
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield from (f"| {name} | {value} |" for name, value in report.surroundings.items())
    yield ""
    for number, title in GOALS.items():
        results = [result for result in report.results if result.goal == number]
        if results:
            yield f"### {number}. {title}"
            yield ""
            if _drawable(results):
                yield f"![What was measured, as a share of what goal {number} allows](images/bench-{number}.svg)"
                yield ""
            yield from _tables_of(results)


def _drawable(results: list[Result]) -> list[Line]:
    """Lines with something to hold against a limit."""
    return [line for result in results for line in result.lines if line.value is not None and line.limit]


def _tables_of(results: list[Result]) -> Iterator[str]:
    for result in results:
        yield f"{result.says}"
        yield ""
        if result.absent:
            yield f"Not run: {result.absent}."
            yield ""
            continue
        yield "| | measured | spread | goal | |"
        yield "|---|---|---|---|---|"
        for line in result.lines:
            yield f"| {line.says} | {_value(line)} | {_spread(line)} | {_goal(line)} | {_met(line)} |"
        yield ""
        for line in result.lines:
            if line.met is False and line.bound:
                yield f"- {line.says}: {line.bound}"
        if any(line.met is False and line.bound for line in result.lines):
            yield ""
        yield f"{_scale(result)}"
        yield ""


def _scale(result: Result) -> str:
    """How long calls took, for scale: these wander with whatever else the machine does."""
    timed = [(name, figures) for name, figures in result.ways.items() if "p50" in figures]
    shown = [f"{name} {_micro(one['p50'])} / {_micro(one['p99'])}" for name, one in timed]
    counted = f"{result.rounds} rounds"
    return f"{counted}; p50 / p99 in µs: {'; '.join(shown)}." if shown else f"{counted}."


def _micro(seconds: float) -> str:
    return _short(seconds * _MICRO)


def _value(line: Line) -> str:
    return "not there" if line.value is None else f"{_short(line.value.median)} {line.unit}".strip()


def _spread(line: Line) -> str:
    return "" if line.value is None else f"{_short(line.value.low)} to {_short(line.value.high)}"


def _goal(line: Line) -> str:
    return "" if line.limit is None else f"{'≥' if line.least else '≤'} {line.limit:g}"


def _met(line: Line) -> str:
    return {None: "", True: "met", False: "not met"}[line.met]


def _short(value: float) -> str:
    """At most four digits, three of them meant."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


# -------------------------------------------------------------------------------------------------------------- plots


def write_plots(report: Report, folder: Path) -> None:
    """A picture for each goal with something to draw: what was measured, as a share of its limit."""
    for number, title in GOALS.items():
        lines = _drawable([result for result in report.results if result.goal == number])
        if lines:
            draw(folder / f"bench-{number}.svg", [_bars(f"{number}. {title}", lines)], field="plots")


def _bars(title: str, lines: list[Line]) -> Bars:
    """Shares of the limit: what is over the mark at 1 is not met, also where the goal is a least."""
    shares = [_share(line) for line in lines]
    return Bars(
        title=title,
        labels=[
            fill(f"{line.says} ({_goal(line).replace(' ', chr(0xA0))})".replace("`", ""), _LABEL) for line in lines
        ],
        series=[Series(name="measured", values=shares)],
        unit="share of what the goal allows",
        goals=[1.0 for _ in lines],
        lying=True,
    )


def _share(line: Line) -> float | None:
    if line.value is None or not line.limit or not line.value.median:
        return None
    return line.limit / line.value.median if line.least else line.value.median / line.limit


def _write(file: Path, text: str, field: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(field, str(file), f"it cannot be written: {error.strerror}") from error
