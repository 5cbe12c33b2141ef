"""What the packaging tests share: the repository, uv, a clean environment, one build of all per run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def uv() -> str:
    """uv's path: as `uv run` tells it, on PATH, where the README's commands put it, or beside this Python."""
    beside = Path(sys.executable).with_name("uv")
    for place in (os.environ.get("UV"), shutil.which("uv"), ROOT / ".uv/bin/uv", beside):
        if place and Path(place).is_file():
            return str(place)
    pytest.fail("uv is not there; the README's commands put it into .uv/bin")


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """The environment without what this run's own Python and uv put into it."""
    own = ("PYTHON", "PYTEST", "VIRTUAL_ENV", "UV_RUN", "UV_PROJECT", "COV")
    return {name: value for name, value in os.environ.items() if name != "UV" and not name.startswith(own)}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, uv: str, clean_environment: dict[str, str]) -> Path:
    """A folder with the sdist, and the wheel that was built from it; one for all workers of a run."""
    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    out = shared / "built"
    with (shared / "built.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first worker builds, the others wait for it and find the wheel
        if not list(out.glob("*.whl")):
            subprocess.run(
                [uv, "build", "--quiet", "--out-dir", str(out), str(ROOT)], check=True, env=clean_environment
            )
    return out
