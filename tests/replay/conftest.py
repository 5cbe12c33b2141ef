"""Ledgers to replay: what a gate on a paper venue recorded, and the command that judges it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner

from ordergate import Executor
from ordergate.amounts import exact
from ordergate.cli import commands
from ordergate.replay import Chosen, replay
from ordergate.replay_report import Report


@frozen
class Told:
    """What the command printed, and its exit code."""

    code: int
    out: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def command() -> Callable[..., Told]:
    """command("ordergate.db", "--check") runs `ordergate replay` in this process."""

    def run(*words: object) -> Told:
        done = CliRunner().invoke(commands, ["replay", *map(str, words)], prog_name="ordergate")
        return Told(done.exit_code, done.output)

    return run


@pytest.fixture
def other(gate: Callable[..., Executor], tmp_path: Path) -> Callable[..., Executor]:
    """other(...) is a gate as `gate` makes it, whose own ledger and venue are elsewhere: only its set-up counts."""

    def made(*, settings: Mapping[str, object] | None = None, **rest: Any) -> Executor:
        return gate(settings={"ledger": "sqlite:///elsewhere.db", **(settings or {})}, **rest)

    return made


@pytest.fixture
def under() -> Callable[..., Report]:
    """under(recorded, setup) replays what an executor recorded under the set-up of another, or its own."""

    def run(recorded: Executor, setup: Executor | None = None, chosen: Chosen | None = None, **named: Any) -> Report:
        with exact():
            return replay(recorded.desk.ledger(), (setup or recorded).setup, recorded.clock, chosen, **named)

    return run
