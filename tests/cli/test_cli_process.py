"""The program as a process of its own: exit codes, where options may stand, and what is not loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

HEAVY = {"rich", "tomlkit", "structlog"}
PROBE = """
import json, sys
from ordergate.cli import commands
try:
    commands({words!r}, prog_name="ordergate")
except SystemExit as ended:
    sys.stderr.write(json.dumps([ended.code, sorted(name.split(".")[0] for name in sys.modules)]))
"""


def test_exit_codes_of_real_processes(program: Any, fault: Callable[..., None]) -> None:
    assert program.process("check", "BTC-USD", "--spend", "25").code == 0
    assert program.process("check", "BTC-USD", "--spend", "3").code == 3
    assert program.process("check", "BTC-USD", "--spend", "NaN").code == 2
    assert program.process("nope").code == 2
    assert program.process("--config", "nope.toml", "status").code == 2
    fault("reject")
    assert program.process("buy", "BTC-USD", "--spend", "25").code == 5
    fault("no_answer_after")
    assert program.process("buy", "BTC-USD", "--spend", "25").code == 4
    (program.folder / "ordergate.halt").touch()
    assert program.process("doctor").code == 1


def test_options_may_stand_before_or_after_the_command(program: Any) -> None:
    other = program.folder / "other.toml"
    other.write_text(program.config.read_text(encoding="utf-8").replace("300.00", "1000.00"), encoding="utf-8")
    for words in (
        ("--config", "other.toml", "--json", "positions"),
        ("positions", "--config", "other.toml", "--json"),
        ("--config", "ordergate.toml", "positions", "--json", "--config", "other.toml"),
    ):
        assert json.loads(program.process(*words).out)["cash"] == "1000.00"
        for file in program.folder.glob("*.db*"):
            file.unlink()
    ran = program.process("positions", "--json", ORDERGATE_CONFIG=str(other))
    assert json.loads(ran.out)["cash"] == "1000.00"
    for file in program.folder.glob("*.db*"):
        file.unlink()
    ran = program.process("--config", "ordergate.toml", "positions", "--json", ORDERGATE_CONFIG=str(other))
    assert json.loads(ran.out)["cash"] == "300.00"


def test_errors_are_one_object_on_stdout_with_json_and_words_on_stderr_without(program: Any) -> None:
    ran = program.process("buy", "BTC-USD", "--json")
    assert (ran.code, ran.err, json.loads(ran.out)["field"]) == (2, "", "size")
    ran = program.process("--json", "nope")
    assert (ran.code, ran.err, json.loads(ran.out)["error"]) == (2, "", "USAGE")
    ran = program.process("buy", "BTC-USD")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: size: ")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["buy", "--help"],
        ["--version"],
        ["check", "BTC-USD", "--spend", "3", "--json"],
        ["buy", "BTC-USD", "--spend", "25", "--json"],
        ["positions", "--json"],
        ["limits", "BTC-USD", "--json"],
        ["status", "--json"],
        ["doctor", "--json"],
        ["audit", "verify", "--json"],
        ["dust", "--sell", "--json"],
        ["reconcile", "--json"],
        ["plugins", "--json"],
        ["venue", "paper", "--json"],
        ["init", "new", "--json"],
        ["schema"],
        ["buy", "BTC-USD", "--json"],
    ],
    ids=" ".join,
)
def test_programs_pay_for_no_terminal_library(program: Any, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(words=words)],
        cwd=program.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    code, loaded = json.loads(done.stderr)
    assert code in (0, 2, 3, None)
    assert HEAVY & set(loaded) == set()


def test_help_imports_no_command(program: Any) -> None:
    probe = PROBE.format(words=["--help"]).replace('.split(".")[0]', "")
    done = subprocess.run([sys.executable, "-c", probe], cwd=program.folder, capture_output=True, text=True, check=True)
    _, loaded = json.loads(done.stderr)
    ours = {name for name in loaded if name.startswith("ordergate.cli.")}
    assert ours == {"ordergate.cli.face", "ordergate.cli.page"}
    assert "Judge a buy" in done.stdout


def test_the_installed_program_is_the_same(program: Any) -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="ordergate")
    assert script.value == "ordergate.cli:main"
    assert program.process("--version").out == f"ordergate, version {__import__('ordergate').__version__}\n"
    assert program.process().out == program.process("--help").out
