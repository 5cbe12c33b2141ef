"""The program in a folder of its own: in this process for breadth, as a real process where that is the point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner

import ordergate_paper
from ordergate.cli import commands

EXAMPLE = (Path(__file__).parents[1] / "example.toml").read_text(encoding="utf-8")


@frozen
class Ran:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@frozen
class Program:
    """`ordergate` with the config of one folder."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "ordergate.toml"

    @property
    def venue(self) -> Path:
        return self.folder / "paper-main.db"

    def __call__(self, *words: str) -> Ran:
        result = CliRunner().invoke(commands, ["--config", str(self.config), *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def json(self, *words: str) -> Ran:
        return self(*words, "--json")

    def process(self, *words: str, **environment: str) -> Ran:
        """The same as a process of its own, whose output goes through a pipe."""
        done = subprocess.run(
            [sys.executable, "-m", "ordergate", *words],
            cwd=self.folder,
            env=os.environ | environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def requests(self) -> int:
        """How many times an order was sent to the venue."""
        return ordergate_paper.count_requests(self.venue) if self.venue.exists() else 0

    def rewrite(self, old: str, new: str) -> None:
        text = self.config.read_text(encoding="utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The program with the example config."""
    monkeypatch.delenv("ORDERGATE_CONFIG", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    (tmp_path / "ordergate.toml").write_text(EXAMPLE, encoding="utf-8")
    return Program(tmp_path)


@pytest.fixture
def fault(program: Program) -> Callable[..., None]:
    """fault("reject") tells the venue to fail once."""

    def told(name: str, **options: Any) -> None:
        assert program("venue", "paper").code == 0  # makes the venue's file
        ordergate_paper.set_fault(program.venue, name, **options)

    return told
