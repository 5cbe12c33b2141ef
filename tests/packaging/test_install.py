"""`pip install .` in a fresh environment, as a user without uv does it: dependencies come from the index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ordergate

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import ordergate, ordergate_observers, ordergate_rules, ordergate_paper

names = [ordergate_paper.__name__]
for package in (ordergate, ordergate_observers, ordergate_rules):
    assert package.__file__.startswith(sys.prefix), package.__file__
    names += [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
without = []
for name in names:
    if not name.endswith("__main__"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            assert error.name == "psycopg", error
            without.append(name)
assert without == ["ordergate.postgres_connections", "ordergate.postgres_ledger"], without  # of an extra
print(len(names))
"""


def test_plain_pip_install_gives_every_module_and_the_command(
    root: Path, tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=clean_environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", "fresh")
    fresh = tmp_path / "fresh/bin"
    run(fresh / "pip", "install", "--quiet", root)

    modules = len(list((root / "core/ordergate").glob("*.py"))) - 1
    assert int(run(fresh / "python", "-c", IMPORT_EVERYTHING)) > modules
    assert ordergate.__version__ in run(fresh / "pip", "show", "ordergate")
    assert "Usage: ordergate" in run(fresh / "ordergate", "--help")
