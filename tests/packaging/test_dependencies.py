"""What pyproject.toml promises about versions: floors with reasons for pip, one complete set for uv."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import ordergate

PIN = re.compile(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)(?: ; .+)?", re.ASCII)
# Our own distributions come from the workspace, so they have a reason but no floor.
FLOOR_AND_REASON = re.compile(r'    "([A-Za-z0-9-]+(\[[a-z]+\])?>=[0-9.]+|ordergate(-[a-z]+|\[[a-z]+\]))",\s+# \S.*')


def _pins(lines: list[str]) -> dict[str, str]:
    parsed = [PIN.fullmatch(line) for line in lines]
    assert all(parsed), [line for line, pin in zip(lines, parsed, strict=True) if pin is None]
    pins = {pin[1]: pin[2] for pin in parsed if pin}
    assert len(pins) == len(lines), "a release is pinned twice"
    return pins


def _members(pyproject: dict[str, Any], root: Path) -> list[Path]:
    workspace = pyproject["tool"]["uv"]["workspace"]
    left_out = {root / name for name in workspace["exclude"]}
    found = [path for pattern in workspace["members"] for path in root.glob(pattern + "/pyproject.toml")]
    return [path for path in found if path.parent not in left_out]


def test_version_is_the_same_everywhere(pyproject: dict[str, Any]) -> None:
    assert pyproject["project"]["version"] == ordergate.__version__ == version("ordergate")


def test_every_dependency_has_a_floor_and_a_reason(root: Path, pyproject: dict[str, Any]) -> None:
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    for table, count in (
        ("dependencies", len(pyproject["project"]["dependencies"])),
        ("rehearse", len(pyproject["project"]["optional-dependencies"]["rehearse"])),
        ("dev", len(pyproject["dependency-groups"]["dev"])),
    ):
        found = re.search(rf"^{table} = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
        assert found, table
        lines = found[1].splitlines()
        assert len(lines) == count
        assert [line for line in lines if not FLOOR_AND_REASON.fullmatch(line)] == []


def test_no_exchange_sdk_and_no_broker_can_come_with_the_root(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    wanted = list(chain(project["dependencies"], *project.get("optional-dependencies", {}).values()))

    assert [line for line in wanted if re.match(r"ccxt|coinbase|kraken|ordergate", line)] == []


def test_no_index_is_written_down(pyproject: dict[str, Any]) -> None:
    settings = pyproject["tool"]["uv"]

    assert {name for name in settings if "index" in name or "links" in name} == set()
    assert all(source == {"workspace": True} for source in settings["sources"].values())


def test_every_member_comes_from_the_workspace_and_is_tested(root: Path, pyproject: dict[str, Any]) -> None:
    members = {tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"] for path in _members(pyproject, root)}

    assert members == {"ordergate-ccxt", "ordergate-coinbase", "ordergate-kraken"}
    assert set(pyproject["tool"]["uv"]["sources"]) == {"ordergate", *members}
    assert members <= set(pyproject["dependency-groups"]["dev"])


def test_constraints_are_the_whole_closure(
    root: Path, pyproject: dict[str, Any], uv: str, clean_environment: dict[str, str], tmp_path: Path
) -> None:
    """uv resolves the workspace for every platform and Python; what it takes is pinned, and nothing else."""
    copied = [root / "pyproject.toml", *_members(pyproject, root)]
    for path in copied:
        copy = tmp_path / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    subprocess.run([uv, "lock", "--quiet"], cwd=tmp_path, env=clean_environment, check=True)

    locked = tomllib.loads((tmp_path / "uv.lock").read_text(encoding="utf-8"))["package"]
    closure = {package["name"]: package["version"] for package in locked if "registry" in package["source"]}
    assert _pins(pyproject["tool"]["uv"]["constraint-dependencies"]) == closure


def test_build_constraints_are_the_whole_closure(
    pyproject: dict[str, Any], uv: str, clean_environment: dict[str, str], tmp_path: Path
) -> None:
    pinned = _pins(pyproject["tool"]["uv"]["build-constraint-dependencies"])
    (tmp_path / "pins").write_text("\n".join(f"{name}=={number}" for name, number in pinned.items()))
    # hatchling asks for `editables` itself when it makes an editable install
    (tmp_path / "wanted").write_text("\n".join([*pyproject["build-system"]["requires"], "editables"]))
    options = "--quiet --universal --python-version 3.11 --no-header --no-annotate".split()
    compiled = subprocess.run(
        [uv, "pip", "compile", *options, "--constraint", "pins", "wanted"],
        cwd=tmp_path,
        env=clean_environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert pinned == _pins(compiled.stdout.splitlines())
