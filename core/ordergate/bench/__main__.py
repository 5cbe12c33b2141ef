"""`python -m ordergate.bench`: every case, or those that are named, in a bounded time, with progress on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from ordergate.bench import crowds, durable, flat, memory, postgres, startup, whole
from ordergate.bench.case import Case, Effort, Result, run_case
from ordergate.bench.measure import CLOCK
from ordergate.bench.report import Report, read_report, told, write_page, write_plots, write_report
from ordergate.bench.surroundings import folders, surroundings
from ordergate.charts import check_drawable
from ordergate.clock import iso
from ordergate.errors import InputError

__all__ = ["CASES", "main"]

CASES: Final[tuple[Case, ...]] = (
    *memory.CASES,
    *whole.CASES,
    *flat.CASES,
    *durable.CASES,
    *crowds.CASES,
    *postgres.CASES,
    *startup.CASES,
)
_ROUNDS: Final = 15
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="python -m ordergate.bench")
@click.option("--case", "names", multiple=True, help="Run this case; may be given again. All, if not given.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=_ROUNDS, show_default=True, help="Rounds at most.")
@click.option("--quick", is_flag=True, help="Two short rounds with small crowds: does it run, and roughly how fast.")
@click.option("--full", is_flag=True, help="With a journal of 5,000,000 rows, which takes minutes to write.")
@click.option("--folder", type=_FOLDER, help="Measure the disk on which this folder is.")
@click.option("--json", "file", type=_FILE, help="Keep the result in this file.")
@click.option("--from", "source", type=_FILE, help="Measure nothing: take the result from this file.")
@click.option("--page", type=_FILE, help="Write the tables into this page.")
@click.option("--plots", type=_FOLDER, help="Draw the result into this folder.")
@click.option("--list", "listed", is_flag=True, help="List the cases and end.")
def main(
    *,
    names: tuple[str, ...],
    rounds: int,
    quick: bool,
    full: bool,
    folder: Path | None,
    file: Path | None,
    source: Path | None,
    page: Path | None,
    plots: Path | None,
    listed: bool,
) -> None:
    """Time what decisions cost, each case side by side with its floor, and hold the ratios against the goals."""
    try:
        cases = _chosen(names)
        if plots is not None:
            check_drawable(plots / "bench-1.svg", "plots")
        _check_folder(file, "json")
        _check_folder(page, "page")
        if listed:
            for case in cases:
                click.echo(f"{case.name:<14} {case.says}")
            return
        report = read_report(source) if source else _measured(cases, rounds, folder, quick=quick, full=full)
        if file is not None:
            write_report(report, file)
        if page is not None:
            write_page(report, page)
        if plots is not None:
            write_plots(report, plots)
    except InputError as error:
        raise click.UsageError(str(error)) from error


def _check_folder(file: Path | None, field: str) -> None:
    """Before minutes of measuring, not after them."""
    if file is not None and not file.absolute().parent.is_dir():
        raise InputError(field, str(file), "its folder does not exist; make it first")


def _chosen(names: tuple[str, ...]) -> tuple[Case, ...]:
    known = {case.name: case for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError("case", unknown[0], f"use {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names)) or CASES


def _measured(cases: tuple[Case, ...], rounds: int, folder: Path | None, *, quick: bool, full: bool) -> Report:
    results: list[Result] = []
    with folders(folder) as (disk, in_memory):
        on = surroundings(disk, in_memory)
        for name, what in on.items():
            click.echo(f"{name:<14} {what}")
        effort = Effort(
            rounds=2 if quick else rounds,
            share=0.02 if quick else 0.1,
            case=1.0 if quick else 16.0,
            disk=disk,
            memory=in_memory,
            small=quick,
            full=full,
        )
        for case in cases:
            with _progress() as tell:
                results.append(run_case(case, effort, tell))
            click.echo("\n".join(told(results[-1])))
    size = "a small run, for a look" if quick else "a full run" if full else "a run of the usual size"
    at = iso(CLOCK.now())
    return Report(
        at=at.partition("T")[0],
        effort=f"{size}, at most {effort.rounds} rounds",
        surroundings=on,
        results=tuple(results),
    )


@contextmanager
def _progress() -> Iterator[_Teller]:
    """A line on the terminal that says what is being done; nothing where nobody looks."""
    shown = sys.stderr.isatty()
    try:
        yield _Teller(shown=shown)
    finally:
        if shown:
            click.echo("\r\033[K", err=True, nl=False)


class _Teller:
    def __init__(self, *, shown: bool) -> None:
        self._shown = shown

    def __call__(self, what: str) -> None:
        if self._shown:
            click.echo(f"\r\033[K{what}", err=True, nl=False)


if __name__ == "__main__":
    main()
