"""One small storm for all tests of the checker: two processes of three threads, one of them killed on the way."""

from __future__ import annotations

import pytest

from ordergate.testing.storm import Evidence, Plan, Result, run_storm


@pytest.fixture(scope="session")
def small_storm(tmp_path_factory: pytest.TempPathFactory) -> Result:
    plan = Plan(seed=5, processes=2, threads=3, intents=16, cap=3, coins=5, kills=1)
    return run_storm(plan, tmp_path_factory.mktemp("storm"))


@pytest.fixture(scope="session")
def sound(small_storm: Result) -> Evidence:
    """Evidence in which nothing is wrong."""
    assert [str(one) for one in small_storm.violations] == []
    return small_storm.evidence
