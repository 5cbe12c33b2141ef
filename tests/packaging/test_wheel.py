"""The wheel and the sdist hold what they must, under names that collide with nobody's."""

from __future__ import annotations

import configparser
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import ordergate

PACKAGES = {"ordergate", "ordergate_observers", "ordergate_rules"}
MODULES = {"ordergate_paper.py"}


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def _metadata(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(f"ordergate-{ordergate.__version__}.dist-info/{name}").decode()


def test_wheel_holds_our_packages_and_nothing_called_core_plugins_or_brokers(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}

    assert top == PACKAGES | MODULES | {f"ordergate-{ordergate.__version__}.dist-info"}


def test_wheel_says_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel.namelist())


def test_wheel_holds_every_file_of_the_sources(wheel: zipfile.ZipFile, root: Path) -> None:
    sources = {
        str(path.relative_to(folder))
        for folder in (root / "core", root / "plugins", root / "brokers/paper")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == sources


def test_wheel_names_its_plugins_and_every_plugin_is_in_it(wheel: zipfile.ZipFile, pyproject: dict[str, Any]) -> None:
    written = configparser.ConfigParser(delimiters=("=",))
    written.read_string(_metadata(wheel, "entry_points.txt"))

    groups = pyproject["project"]["entry-points"]
    assert {group: dict(written[group]) for group in groups} == groups
    assert dict(written["console_scripts"]) == {"ordergate": "ordergate.cli:main"}
    modules = {module.replace(".", "/") + ".py" for plugins in groups.values() for module in plugins.values()}
    assert modules <= set(wheel.namelist())


def test_wheel_carries_the_licence_and_no_dependency_on_an_exchange_sdk(wheel: zipfile.ZipFile) -> None:
    metadata = _metadata(wheel, "METADATA")

    assert "License-Expression: Apache-2.0" in metadata
    wanted = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    needed = {line.split()[1].split(">")[0] for line in wanted if "extra ==" not in line}
    assert needed == {"attrs", "cattrs", "click", "pluggy", "rich", "structlog", "tomlkit"}
    extras = {(line.split("'")[1], line.split()[1].split(">")[0]) for line in wanted if "extra ==" in line}
    assert extras == {
        ("plot", "matplotlib"),
        ("postgres", "psycopg[binary]"),
        ("rehearse", "pyjwt[crypto]"),
        ("rehearse", "trustme"),
    }


def test_sdist_holds_the_tests_the_docs_and_no_build_leftovers(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    assert {"pyproject.toml", "LICENSE", "CHANGELOG.md", "tests/packaging/test_wheel.py", ".ci/run"} <= names
    assert not {name for name in names if name.endswith((".pyc", ".lock", ".db")) or ".venv" in name}
