"""Goal 7: how long a process takes to start, beside one that only imports the same libraries."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import ordergate
from ordergate.bench.case import Case, Effort, Row, Way
from ordergate.bench.measure import CLOCK, Sample, sample_of

__all__ = ["CASES"]

_TIMES: Final = 3
_CONFIG: Final = """
[gate]
rules = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]

[accounts.main]
broker = "paper"

[accounts.main.paper]
cash = "1000.00"
prices = { "BTC-USD" = "68925.98" }
"""
_LIBRARIES: Final = "import pluggy, attrs, decimal, sqlite3"
_CHECK: Final = ("check", "BTC-USD", "--spend", "60", "--json")
_LOADED: Final = f"""
import sys
sys.argv = ["ordergate", *{list(_CHECK)}]
from ordergate.cli import main
try:
    main()
finally:
    print()
    print(__import__("json").dumps([name for name in sys.modules if getattr(sys.modules[name], "__spec__", None)]))
"""
_OURS: Final = ("ordergate", "__main__", "sitecustomize")


@contextmanager
def _ways(effort: Effort) -> Iterator[Mapping[str, Way]]:
    compileall.compile_dir(str(Path(ordergate.__file__).parent), quiet=2)
    folder, times = effort.disk, 1 if effort.small else _TIMES
    (folder / "ordergate.toml").write_text(_CONFIG, encoding="utf-8")
    yield {
        "python": partial(_started, folder, times, "pass"),
        "libraries": partial(_started, folder, times, _LIBRARIES),
        "import": partial(_started, folder, times, "import ordergate"),
        "same": partial(_started, folder, times, _same_imports(folder)),
        "check": partial(_started, folder, times, "from ordergate.cli import main; main()", *_CHECK),
    }


def _same_imports(folder: Path) -> str:
    """A program that imports every module that a check loads and that is not ours, and scans the entry points."""
    done = _python(folder, _LOADED)
    loaded = json.loads(done.stdout.splitlines()[-1])
    others = [name for name in loaded if not name.startswith(_OURS)]
    lines = [f"import {name}" for name in others if name.replace(".", "").isidentifier()]
    scan = "from importlib.metadata import distributions\nfor one in distributions(): one.read_text('entry_points.txt')"
    return "\n".join([*lines, scan])


def _started(folder: Path, count: int, program: str, *words: str) -> Sample:
    """The seconds that whole processes take, one after the other."""
    times = []
    for _ in range(count):
        began = CLOCK.monotonic()
        _python(folder, program, *words)
        times.append(CLOCK.monotonic() - began)
    return sample_of(times)


def _python(folder: Path, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(  # noqa: S603 - our own programs
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise RuntimeError(f"a process that was to be timed ended with {done.returncode}: {done.stderr[-500:]}")
    return done


CASES: Final = (
    Case(
        name="startup",
        goal=7,
        says="Whole processes, byte-compiled, files in the cache.",
        ways=_ways,
        rows=(
            Row(
                says="`ordergate check --json`, beside importing the same libraries and scanning the entry points",
                of="check",
                against="same",
                limit=1.3,
                bound="at each start attrs writes the code of our own classes, and cattrs what reads the config.",
            ),
            Row(
                says="`import ordergate`, beside importing pluggy, attrs, decimal and sqlite3",
                of="import",
                against="libraries",
                limit=1.5,
            ),
            Row(says="`ordergate check --json`, beside an empty Python", of="check", against="python"),
        ),
    ),
)
