"""Streams that are closed or full, ids and files that are odd, and a halt that nothing can hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = """
[gate]
rules = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]

[accounts.main]
broker = "paper"

[accounts.main.paper]
cash = "300.00"
prices = { "BTC-USD" = "68925.98" }
"""


def shell(folder: Path, rest: str) -> subprocess.CompletedProcess[bytes]:
    """`ordergate` with the rest of a shell line, redirections included."""
    (folder / "ordergate.toml").write_text(EXAMPLE, encoding="utf-8")
    line = f'"$0" -m ordergate {rest}'
    return subprocess.run(["sh", "-c", line, sys.executable], cwd=folder, capture_output=True, check=False, timeout=60)


def test_a_closed_stdout_loses_the_answer_and_not_the_exit_code(tmp_path: Path) -> None:
    done = shell(tmp_path, "buy BTC-USD --spend 25 --id one >&-")
    assert (done.returncode, done.stderr) == (0, b"")
    assert shell(tmp_path, "buy BTC-USD --spend 3 >&-").returncode == 3
    assert b'"filled"' in shell(tmp_path, "explain one --json").stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("form", ["", "--json"])
def test_an_answer_that_fits_nowhere_says_where_it_stands(tmp_path: Path, form: str) -> None:
    done = shell(tmp_path, f"buy BTC-USD --spend 25 {form} >/dev/full")
    assert done.returncode == 1
    assert b"`ordergate log` says what was done" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["explain", "cancel"])
def test_an_id_that_is_no_text_is_bad_input(tmp_path: Path, command: str) -> None:
    done = shell(tmp_path, f"{command} \"$(printf 'x\\377')\"")
    assert done.returncode == 2
    assert b"client_order_id" in done.stderr


@pytest.mark.parametrize("target", ["/nowhere/at/all", "ordergate.halt"])
def test_a_halt_file_that_is_a_broken_link_halts(tmp_path: Path, target: str) -> None:
    (tmp_path / "ordergate.halt").symlink_to(target)
    done = shell(tmp_path, "buy BTC-USD --spend 25")
    assert done.returncode == 3
    assert b"ordergate.halt" in done.stdout


def test_a_halt_that_nothing_holds_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "ordergate.db").mkdir()
    (tmp_path / "ordergate.halt").mkdir()
    done = shell(tmp_path, "halt --by ann --reason odd --keep-open")
    assert done.returncode == 1
    assert b"NOT HALTED" in done.stdout


def test_an_empty_variable_names_no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERGATE_CONFIG", "")
    assert shell(tmp_path, "status").returncode == 0
