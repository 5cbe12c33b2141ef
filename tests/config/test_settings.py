"""The gate's settings guard their own bounds, also when a program makes them without a file."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from ordergate import InputError, Tier
from ordergate.settings import DEFAULT_TIERS, Gate, check_tier


def test_the_defaults_are_within_their_own_bounds() -> None:
    assert Gate() == Gate(**attrs.asdict(Gate()))
    assert [check_tier(tier) for tier in DEFAULT_TIERS] == [()] * 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dust", Decimal("NaN")),
        ("dust", Decimal("sNaN")),
        ("dust", Decimal("Infinity")),
        ("dust", Decimal(0)),
        ("facts_age", float("nan")),
        ("facts_age", float("inf")),
        ("facts_age", 0.0),
        ("facts_cache", -0.1),
        ("max_positions", -1),
        ("rules", ("dust", "dust")),
        ("rules", ("",)),
        ("cash", ("USD", "usd")),
        ("ledger", "ordergate.db"),
    ],
)
def test_a01_a_value_out_of_bounds_names_its_field(name: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Gate(**{name: value})
    assert caught.value.field == name


@pytest.mark.parametrize(
    "name", ["facts_age", "market_age", "deadline", "send_within", "exit_facts", "exit_settle", "rule_budget"]
)
def test_no_time_is_zero_or_endless(name: str) -> None:
    values: list[Any] = [0.0, 10.0**7]
    for value in values:
        with pytest.raises(InputError, match=name):
            Gate(**{name: value})


def test_every_fault_of_a_tier_is_found() -> None:
    tier = Tier(
        name="",
        equity=Decimal(-1),
        max_positions=0,
        min_position=Decimal(0),
        min_allocation=Decimal("0.11"),
    )
    assert [error.field for error in check_tier(tier)] == [field.name for field in attrs.fields(Tier)]


@pytest.mark.parametrize("share", ["0.05", "0.10"])
def test_the_ends_of_the_allocation_are_included(share: str) -> None:
    assert check_tier(attrs.evolve(DEFAULT_TIERS[0], min_allocation=Decimal(share))) == ()


def test_reading_settings_stays_light(tmp_path: Path) -> None:
    program = (
        "import sys, ordergate.settings, ordergate.config\n"
        "print(sorted({'cattrs', 'sqlite3', 'rich', 'click', 'tomlkit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
