"""Storms of several gateways on one PostgreSQL ledger: on one machine, and on several with a network between them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from ordergate.testing.storm import Plan, Result, check, run_storm

if TYPE_CHECKING:
    from tests.conftest import PostgresServer

HERE: tuple[str, ...] = ()
TWO = (HERE, HERE)
"""Two machines as far as processes go: both are this one."""


def storm(folder: Path, machines: tuple[tuple[str, ...], ...] = TWO, **plan: Any) -> Result:
    result = run_storm(Plan(**plan), folder, machines=machines)
    assert [str(violation) for violation in result.violations] == []
    return result


def test_e01_cap_storm_of_two_gateways_each_account_with_one_sender(tmp_path: Path, postgres: PostgresServer) -> None:
    result = storm(tmp_path, seed=41, ledger=postgres.new_place(), processes=2, threads=6, intents=6, accounts=2)
    assert result.refusals["over_cap"] > 0, "it came to the cap"
    assert result.refusals["another_sender"] > 0, "and the other gateway was told whose the account is"
    assert result.answers["filled"] > 0


def test_e01_cap_storm_of_two_gateways_that_are_killed(tmp_path: Path, postgres: PostgresServer) -> None:
    brief: dict[str, Any] = {"lease": 2.0, "deadline": 1.0, "send_within": 1.0}
    place = postgres.new_place()
    result = storm(
        tmp_path,
        seed=42,
        ledger=place,
        processes=2,
        threads=4,
        intents=14,
        accounts=2,
        kills=1,
        coins=12,
        cap=8,
        **brief,
    )
    assert any(call.returned is None for call in result.evidence.calls) or len(result.evidence.calls) == 64


def test_e04_same_key_at_two_gateways_is_one_decision(tmp_path: Path, postgres: PostgresServer) -> None:
    """Whichever gateway decides it first, refusals included: everybody hears the same."""
    result = storm(tmp_path, seed=43, ledger=postgres.new_place(), processes=2, threads=16, intents=1, mix="one_id")
    rows = [entry for entry in result.evidence.journals["a0000"] if entry.key == "order:shared-0"]
    answers = [call.answer for call in result.evidence.calls if call.answer is not None]
    assert len(rows) == 1
    assert Counter(answer["replayed"] for answer in answers) == {True: 31, False: 1}
    assert result.evidence.venues["a0000"].requests <= 1


def test_e06_alert_burst_at_one_gateway(tmp_path: Path, postgres: PostgresServer) -> None:
    burst = {"threads": 40, "intents": 1, "coins": 40, "cap": 2, "cash": "1500.00", "mix": "burst"}
    result = storm(tmp_path, (HERE,), seed=44, ledger=postgres.new_place(), processes=1, **burst)
    assert result.answers == {"filled": 2, "refused": 38}
    assert result.refusals == {"over_cap": 38}


def test_two_gateways_that_buy_for_one_account_at_a_time_are_found(tmp_path: Path, postgres: PostgresServer) -> None:
    """The checker's own proof: the same storm, with each caller taken for a gateway of its own."""
    result = storm(tmp_path, seed=45, ledger=postgres.new_place(), processes=2, threads=4, intents=8)
    assert "sender" in {violation.name for violation in check(evolve(result.evidence, threads=1))}


# ---------------------------------------------------------------------------------------------- machines of their own


def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True)


@pytest.fixture
def machines(request: pytest.FixtureRequest) -> Iterator[Callable[[int], tuple[tuple[str, ...], ...]]]:
    """machines(2) are two network namespaces, each with a line of its own to this one, which is 10.77.0.1 to both."""
    with ExitStack() as stack:

        def made(count: int) -> tuple[tuple[str, ...], ...]:
            try:
                return tuple(one(number) for number in range(count))
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"network namespaces cannot be made here: {error}")

        def one(number: int) -> tuple[str, ...]:
            name, here, there = (f"{kind}{os.getpid()}-{number}" for kind in ("og", "oh", "ot"))
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
            ip("addr", "add", f"10.77.{number}.1/24", "dev", here)
            ip("link", "set", here, "up")
            ip("-n", name, "addr", "add", f"10.77.{number}.2/24", "dev", there)
            ip("-n", name, "link", "set", there, "up")
            ip("-n", name, "route", "add", "default", "via", f"10.77.{number}.1")
            return ("ip", "netns", "exec", name)

        yield made


@pytest.fixture
def networked(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that listens on the network, too."""
    folder = Path(tempfile.mkdtemp(prefix="ordergate-postgres-"))
    server = type(postgres)(folder)
    server._settings += " -c listen_addresses=10.77.0.1"
    with (folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/16 trust\n")
    try:
        yield server
    finally:
        shutil.rmtree(folder)


def test_e01_cap_storm_of_machines_that_share_a_database_over_the_network(
    tmp_path: Path,
    machines: Callable[[int], tuple[tuple[str, ...], ...]],
    networked: PostgresServer,
) -> None:
    hosts = machines(2)
    networked.start()
    try:
        place = re.sub(r"host=[^&]+", "host=10.77.0.1", networked.new_place())
        result = storm(tmp_path, hosts, seed=46, ledger=place, processes=2, threads=4, intents=6, accounts=2)
        assert result.refusals["another_sender"] > 0
        assert result.answers["filled"] > 0
    finally:
        networked.stop()
