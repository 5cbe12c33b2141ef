"""A clean environment with ordergate and third-party distributions, installed from wheels; one per run."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"

# One of our own rules, moved out: its file unchanged, in a distribution and under a name of its own.
MOVED = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "ordergate-moved"
version = "1.0.0"
dependencies = ["ordergate"]

[project.entry-points."ordergate.rules"]
moved_min_position = "ordergate_moved"

[tool.hatch.build.targets.wheel]
only-include = ["ordergate_moved.py"]
"""


@pytest.fixture
def example() -> Callable[[str], ModuleType]:
    """Import an example's module from its folder, without installing it."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / name.replace("_", "-") / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def installed_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of the clean environment. Built by the first worker that asks; the others wait for it."""
    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    place = shared / "thirdparty"
    with (shared / "thirdparty.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "done").exists():
            _install_all(place)
            (place / "done").touch()
    return place / "venv" / "bin"


def _install_all(place: Path) -> None:
    moved = place / "ordergate-moved"
    moved.mkdir(parents=True)
    (moved / "pyproject.toml").write_text(MOVED)
    shutil.copy(ROOT / "plugins/ordergate_rules/min_position.py", moved / "ordergate_moved.py")
    for folder in EXAMPLES.iterdir():
        # Outside of the repository, where nothing but the two files can help the build.
        shutil.copytree(folder, place / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    sources = [ROOT, moved, *(place / folder.name for folder in EXAMPLES.iterdir())]
    wheels = _build(sources, place / "wheels")
    assert len(wheels) == len(sources), wheels
    _install(place / "venv", wheels)


@pytest.fixture
def add_broker(installed_bin: Path) -> Callable[[Path, Path], Path]:
    """add_broker(folder, place) builds the broker in the folder and installs it, its SDK and ordergate into a clean
    environment in the place; gives its folder of programs.
    """

    def added(folder: Path, place: Path) -> Path:
        ordergate = sorted((installed_bin.parents[1] / "wheels").glob("ordergate-[0-9]*.whl"))
        _install(place / "venv", [*ordergate, *_build([folder], place / "wheels")])
        return place / "venv" / "bin"

    return added


def _build(sources: Sequence[Path], wheels: Path) -> list[Path]:
    uv = _uv()
    for source in sources:
        if uv:
            _run(uv, "build", "--quiet", "--wheel", "--out-dir", wheels, source)
        else:
            _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, source)
    return sorted(wheels.glob("*.whl"))


def _install(venv: Path, wheels: Sequence[Path]) -> None:
    uv = _uv()
    if uv:
        _run(uv, "venv", "--quiet", "--python", sys.executable, venv)
        _run(uv, "pip", "install", "--quiet", "--python", venv, *wheels)
    else:
        _run(sys.executable, "-m", "venv", venv)
        _run(venv / "bin/python", "-m", "pip", "install", "--quiet", *wheels)


def _uv() -> str | None:
    """uv as `uv run` names it, on PATH, where the README puts it, or beside this Python; else None, and pip must do."""
    beside = Path(sys.executable).with_name("uv")
    for place in (os.environ.get("UV"), shutil.which("uv"), ROOT / ".uv/bin/uv", beside):
        if place and Path(place).is_file():
            return str(place)
    return None


def _run(*command: str | Path) -> None:
    own = ("PYTHON", "PYTEST", "VIRTUAL_ENV", "UV_RUN", "UV_PROJECT")
    environment = {name: value for name, value in os.environ.items() if name != "UV" and not name.startswith(own)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
