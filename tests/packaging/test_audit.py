"""The dependency audit tells "nothing found" from "nothing looked at", whatever pip-audit's exit code is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAKE = """
import json, sys
pins = sys.stdin.read().split()
service = sys.argv[sys.argv.index("-s") + 1]
known = [{"id": "CVE-2018-18074"}]

def report(entries):
    print(json.dumps({"dependencies": entries, "fixes": []}))

def found(pin, vulns):
    name, _, version = pin.partition("==")
    return {"name": name, "version": version, "vulns": vulns}

def skipped(pin):
    return {"name": pin.partition("==")[0], "skip_reason": "Dependency not found"}

canary = pins == ["requests==2.19.0"]
"""
OFFLINE = 'sys.exit("requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded")'
BLOCKED = 'sys.exit("ERROR:pip_audit._cli:Tip: try. Try another service with `-s SERVICE`")'
MIRROR = "report([skipped(pin) for pin in pins])"
SAYS_NOTHING_OF_ANYTHING = "report([found(pin, []) for pin in pins])"
CLEAN = "report([found(pin, known if canary else []) for pin in pins])"
VULNERABLE = "report([found(pin, known if canary or pin == 'click==8.0' else []) for pin in pins])"
SKIPS_ONE = "report([found(pin, known if canary else []) if pin != 'click==8.0' else skipped(pin) for pin in pins])"
SKIPS_ALL_BUT_THE_KNOWN = "report([found(pin, known) if canary else skipped(pin) for pin in pins])"
BROKEN = "raise TypeError('pip-audit itself is broken')"
NOT_DONE = "dependency audit: NOT DONE, no advisory service answered"


PINS = '"click==8.0", "attrs==26.1.0"'


def _audit(root: Path, folder: Path, first: str, second: str = OFFLINE, pins: str = PINS) -> tuple[int, str]:
    fake = FAKE + f"if service == 'pypi':\n    {first}\nelse:\n    {second}\n"
    (folder / "pip_audit.py").write_text(fake)
    (folder / "pyproject.toml").write_text(
        f"[tool.uv]\nconstraint-dependencies = [{pins}]\nbuild-constraint-dependencies = []\n"
    )
    done = subprocess.run(
        [sys.executable, root / ".ci/audit.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_audit_passes_when_every_release_was_looked_up(root: Path, tmp_path: Path) -> None:
    code, said = _audit(root, tmp_path, CLEAN)

    assert (code, said) == (0, "dependency audit: 2 releases, no known vulnerability (pypi)\n")


def test_audit_fails_on_a_vulnerable_release(root: Path, tmp_path: Path) -> None:
    code, said = _audit(root, tmp_path, VULNERABLE)

    assert code == 1
    assert "click is vulnerable: CVE-2018-18074" in said


@pytest.mark.parametrize(("answer", "named"), [(SKIPS_ONE, "click==8.0"), (SKIPS_ALL_BUT_THE_KNOWN, "attrs==26.1.0")])
def test_audit_fails_on_a_release_that_was_not_looked_up(root: Path, tmp_path: Path, answer: str, named: str) -> None:
    code, said = _audit(root, tmp_path, answer)

    assert code == 1
    assert "did not look up" in said
    assert named in said


def test_audit_fails_when_there_is_nothing_to_audit(root: Path, tmp_path: Path) -> None:
    code, said = _audit(root, tmp_path, CLEAN, pins="")

    assert code == 1
    assert "nothing was audited" in said


@pytest.mark.parametrize("answer", [OFFLINE, BLOCKED, MIRROR, SAYS_NOTHING_OF_ANYTHING])
def test_audit_says_not_done_when_no_service_answers(root: Path, tmp_path: Path, answer: str) -> None:
    code, said = _audit(root, tmp_path, answer)

    assert code == 0
    assert said.splitlines()[-1] == NOT_DONE


def test_audit_asks_the_second_service_when_the_first_does_not_answer(root: Path, tmp_path: Path) -> None:
    code, said = _audit(root, tmp_path, MIRROR, CLEAN)

    assert code == 0
    assert said.splitlines()[-1] == "dependency audit: 2 releases, no known vulnerability (osv)"


def test_audit_fails_when_its_own_tool_is_broken(root: Path, tmp_path: Path) -> None:
    code, said = _audit(root, tmp_path, BROKEN)

    assert code == 1
    assert "pip-audit itself ended with 1: TypeError" in said
