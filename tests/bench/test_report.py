"""What a run is kept as, told as and drawn as: with made-up figures, so that every word can be checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner

from ordergate.bench.__main__ import main
from ordergate.bench.case import Case, Effort, NotHere, Row, Way, run_case
from ordergate.bench.measure import Sample, gathered, quantile, spread, timed
from ordergate.bench.report import Report, page_of, read_report, tables, told, write_plots, write_report
from ordergate.errors import InputError

ROOT = Path(__file__).parents[2]


def case_of(rows: tuple[Row, ...], **ways: list[Sample]) -> Case:
    """A case whose ways give the samples in turn; the first warms up."""

    @contextmanager
    def opened(_: Effort) -> Iterator[Mapping[str, Way]]:
        rounds = {name: iter(samples) for name, samples in ways.items()}
        yield {name: lambda name=name: next(rounds[name]) for name in ways}  # type: ignore[misc]

    return Case(name="made-up", goal=1, says="A made-up case.", ways=opened, rows=rows)


@pytest.fixture
def effort(tmp_path: Path) -> Effort:
    for name in ("disk", "memory"):
        (tmp_path / name).mkdir()
    return Effort(rounds=3, share=1.0, case=60.0, disk=tmp_path / "disk", memory=tmp_path / "memory")


@pytest.fixture
def report(effort: Effort) -> Report:
    ours: list[Sample] = [{"call": seconds, "p50": seconds, "p99": 2 * seconds} for seconds in (9.0, 2e-6, 4e-6, 9e-6)]
    floor: list[Sample] = [{"call": seconds, "p50": seconds, "p99": 2 * seconds} for seconds in (1.0, 1e-6, 1e-6, 3e-6)]
    rows = (
        Row(says="Within the goal", of="ours", against="floor", limit=3.2),
        Row(says="Over the goal", of="ours", against="floor", limit=2, bound="Nothing in it can be left out."),
        Row(says="At least so much", of="ours", against="floor", limit=3, least=True),
        Row(says="Without a goal", of="floor", figure="p99", unit="s"),
        Row(says="A peer that is not installed", of="ours", against="peer", limit=1),
    )
    result = run_case(case_of(rows, ours=ours, floor=floor), effort)
    return Report(
        at="2026-11-23",
        effort="a made-up run",
        surroundings={"machine": "2 CPUs", "attrs": "26.1.0"},
        results=(result,),
    )


def test_each_round_has_its_own_ratio_and_the_median_counts(report: Report) -> None:
    lines = report.results[0].lines

    assert lines[0].value is not None
    assert [lines[0].value.median, lines[0].value.low, lines[0].value.high] == pytest.approx([3.0, 2.0, 4.0])
    assert [line.met for line in lines] == [True, False, True, None, None]
    assert report.results[0].ways["ours"]["p50"] == pytest.approx(4e-6)


def test_a_run_is_read_back_as_it_was_written(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path / "run.json")

    again = read_report(tmp_path / "run.json")
    assert again == report
    assert list(tables(again)) == list(tables(report)), "in the same order, too"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"at": 1}'])
def test_what_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)

    with pytest.raises(InputError, match="it is no result of a run"):
        read_report(tmp_path / "run.json")


def test_the_text_says_goal_spread_and_whether_it_is_met(report: Report) -> None:
    text = "\n".join(told(report.results[0]))

    assert "Within the goal" in text
    assert "3.00 ×  2.00 to 4.00          ≤ 3.2  met" in text
    assert "≥ 3  met" in text
    assert "not there" in text


def test_the_page_has_tables_and_what_bounds_a_figure(report: Report) -> None:
    text = "\n".join(tables(report))

    assert "| machine | 2 CPUs |" in text
    assert "| Within the goal | 3.00 × | 2.00 to 4.00 | ≤ 3.2 | met |" in text
    assert "- Over the goal: Nothing in it can be left out." in text
    assert "p50 / p99 in µs: ours 4.00 / 8.00; floor 1.00 / 2.00." in text


def test_a_case_that_cannot_run_says_why(effort: Effort, report: Report) -> None:
    @contextmanager
    def nothing(_: Effort) -> Iterator[Mapping[str, Way]]:
        raise NotHere("psycopg is not installed")
        yield {}  # what makes it a generator

    case = Case(name="absent", goal=6, says="Absent.", ways=nothing, rows=(Row(says="A row", of="way"),))
    result = run_case(case, effort)

    assert "  not run: psycopg is not installed" in told(result)
    assert "Not run: psycopg is not installed." in list(tables(evolve(report, results=(result,))))


def test_only_what_stands_between_the_marks_is_written_anew(report: Report) -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    once = page_of(page, report)

    assert once != page
    assert page_of(once, report) == once
    assert once.split("<!-- measured", 1)[0] == page.split("<!-- measured", 1)[0]
    assert once.rpartition("<!-- measured: end -->")[2] == page.rpartition("<!-- measured: end -->")[2]
    with pytest.raises(InputError, match="it needs the two lines"):
        page_of("a page without marks", report)


def test_a_picture_is_drawn_for_each_goal(report: Report, tmp_path: Path) -> None:
    write_plots(report, tmp_path)

    assert [file.name for file in tmp_path.glob("*.svg")] == ["bench-1.svg"]
    assert "Over the goal" in (tmp_path / "bench-1.svg").read_text(encoding="utf-8")


def test_the_page_shows_the_run_that_is_kept() -> None:
    """Whoever measures anew writes the page with the same command; nobody edits figures by hand."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    kept = sorted((ROOT / "docs" / "benchmarks").glob("*.json"))

    assert kept, "the page shows a run that is not kept"
    assert page_of(page, read_report(kept[-1])) == page


# ----------------------------------------------------------------------------------------------------------- measuring


def test_quantile_and_spread_give_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 11)]

    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.5)) == (6.0, 10.0, 7.0)
    assert (spread(values).median, spread([1.0, 2.0, 9.0]).median) == (5.5, 2.0)
    assert (spread(values).low, spread(values).high) == (2.0, 10.0)


def test_timing_calls_as_often_as_it_says() -> None:
    calls = count()

    assert timed(lambda: next(calls), 1.0, most=1).keys() == {"call", "p50", "p99"}
    assert next(calls) < 100
    assert gathered(lambda: 0.25, 0.0)["p50"] == 0.25


# ------------------------------------------------------------------------------------------------------------- command


def test_the_command_lists_its_cases() -> None:
    done = CliRunner().invoke(main, ["--list"])

    assert done.exit_code == 0
    assert "judging" in done.output
    assert "startup" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--case", "speed"], "use judging, whole, positions"),
        (["--from", "missing.json"], "it cannot be read: No such file"),
        (["--rounds", "0"], "Invalid value for '--rounds'"),
        (["--plots", "missing"], "does not exist"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_says_what_can(words: list[str], said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, words)

    assert done.exit_code == 2
    assert said in done.output


def test_the_command_measures_keeps_and_draws(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    done = CliRunner().invoke(main, ["--quick", "--case", "calls", "--json", str(file), "--folder", str(tmp_path)])

    assert done.exit_code == 0, done.output
    assert "Calls until the broker has the order" in done.output
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["surroundings"]["python"].startswith("CPython")
    assert not list(tmp_path.glob("ordergate-bench-*")), "what was measured on is gone"
    again = CliRunner().invoke(main, ["--from", str(file), "--plots", str(tmp_path)])
    assert again.exit_code == 0, again.output
    assert (tmp_path / "bench-4.svg").exists()
