"""The broker on its real SDK, in front of the rehearsal venue, or of one that says what a test has it say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kraken_script import (  # type: ignore[import-not-found]  # this folder is on the path of its tests alone
    KEY,
    SECRET,
    Scripted,
    connected,
)

import ordergate_kraken as broker
from ordergate.testing.kraken import KrakenRehearsal, rehearsal
from ordergate.testing.loopback import Loopback


@pytest.fixture
def kraken(tmp_path: Path) -> Iterator[KrakenRehearsal]:
    with rehearsal(tmp_path / "venue") as venue:
        yield venue


@pytest.fixture
def client(kraken: KrakenRehearsal) -> broker.Client:
    made: broker.Client = connected(kraken.settings)
    return made


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def server(scripted: Scripted) -> Iterator[Loopback]:
    with Loopback(scripted) as made:
        yield made


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "kraken.key"
    path.write_text(f"{KEY}\n{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def spoken(server: Loopback, key_file: Path) -> broker.Client:
    """A client of the scripted venue."""
    made: broker.Client = connected({"key_file": key_file, "base_url": f"http://{server.address}"})
    return made
