"""A storm over a gate that was broken on purpose must not come out clean."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import pytest

from ordergate.testing.storm import Plan, StormFailed, run_storm

BROKEN: Final = Path(__file__).parent / "broken_gate.py"


@pytest.mark.parametrize(
    ("how", "name", "plan"),
    [
        ("forgets_reservations", "I2", {"threads": 16, "intents": 1, "coins": 32, "mix": "burst", "cap": 2}),
        ("sends_twice", "I1", {"intents": 6}),
        ("forgets_ids", "I4", {"intents": 8}),
    ],
)
def test_a_broken_gate_is_found(tmp_path: Path, how: str, name: str, plan: dict[str, Any]) -> None:
    machine = (sys.executable, str(BROKEN), how)
    result = run_storm(Plan(**{"seed": 1, "processes": 2, **plan}), tmp_path, machines=(machine,))
    assert name in {violation.name for violation in result.violations}


def test_a_machine_that_fails_is_no_quiet_storm(tmp_path: Path) -> None:
    with pytest.raises(StormFailed, match="did not get ready"):
        run_storm(Plan(seed=1, processes=1), tmp_path, machines=(("false",),))
