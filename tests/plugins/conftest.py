"""Fake installations: a metadata folder and a module in a folder of their own, put on the path for one test."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    """Every test imports its fake plugins anew; their modules are all called fake-something."""
    yield
    for name in [name for name in sys.modules if name.startswith("fake")]:
        del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a fake distribution; give it its folder.

    `modules` maps file names to sources. `record=True` lists the files as an installer does. `site` shares a folder.
    """

    def put(
        distribution: str = "ordergate-fake",
        *,
        version: str = "1.0",
        entries: dict[str, str] | None = None,
        group: str = "ordergate.rules",
        modules: dict[str, str] | None = None,
        record: bool = False,
        direct_url: str | None = None,
        site: str | None = None,
    ) -> Path:
        folder = tmp_path / (site or f"site-{distribution}-{version}")
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        for name, source in (modules or {}).items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(source))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"[{group}]", *(f"{name} = {module}" for name, module in (entries or {}).items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (info / "INSTALLER").write_text("pip\n")
        if direct_url is not None:
            (info / "direct_url.json").write_text(direct_url)
        if record:
            names = [*(modules or {}), *(f"{info.name}/{file.name}" for file in sorted(info.iterdir()))]
            (info / "RECORD").write_text(
                "".join(f"{name},{_hash(folder / name)}\n" for name in names) + f"{info.name}/RECORD,,\n"
            )
        monkeypatch.syspath_prepend(folder)
        return folder

    return put


def _hash(file: Path) -> str:
    data = file.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(data)}"
