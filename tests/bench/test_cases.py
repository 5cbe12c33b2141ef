"""Every case runs, measures what its rows name, and says what it measured. How fast anything is, no test says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ordergate.bench.__main__ import CASES
from ordergate.bench.case import Case, Effort, run_case

PEERS = ("nautilus", "vnpy")
"""Ways that are there only where somebody else's gate is installed."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_measures_every_row(case: Case, tmp_path: Path) -> None:
    disk, memory = tmp_path / "disk", tmp_path / "memory"
    disk.mkdir()
    memory.mkdir()
    heard: list[str] = []

    result = run_case(case, Effort(rounds=1, share=0.001, case=1.0, disk=disk, memory=memory, small=True), heard.append)

    if result.absent:
        pytest.skip(result.absent)
    there = [
        line
        for line, row in zip(result.lines, case.rows, strict=True)
        if not any(str(way).startswith(PEERS) for way in (row.of, row.against))
    ]
    assert [line.says for line in there if line.value is None] == []
    assert [line.says for line in result.lines if line.met is not None] == [], "a small run proves no goal"
    assert heard[0] == f"{case.name}: preparing"
    assert result.rounds == 1


def test_cases_have_names_of_their_own_and_a_goal() -> None:
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)
    assert {case.goal for case in CASES} == set(range(1, 8))


def test_rows_name_ways_or_peers() -> None:
    """A row that is measured has two figures of one kind; each goal of the issue has a row with its limit."""
    limits = {(case.name, row.limit) for case in CASES for row in case.rows if row.limit is not None}

    assert {
        ("judging", 3.2),
        ("judging", 6.5),
        ("judging", 1.2),
        ("judging", 0.5),
        ("judging", 5),
        ("whole", 8),
        ("whole", 0.85),
        ("whole", 0.25),
        ("whole", 1.6),
        ("positions", 1.1),
        ("reservations", 1.1),
        ("accounts", 1.6),
        ("journal", 1.5),
        ("durable", 1.15),
        ("calls", 1),
        ("busy", 1.3),
        ("threads", 8),
        ("threads", 1.2),
        ("processes", 0.25),
        ("processes", 0.5),
        ("postgres", 2.1),
        ("postgres", 2.7),
        ("startup", 1.3),
        ("startup", 1.5),
    } <= limits
