"""The broker on its real SDK, before two kinds of venue: the rehearsal venue, and one that says what it is told."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trustme

import ordergate_coinbase as coinbase
from ordergate import Executor, Side, VenueOrder
from ordergate.clock import Clock, SystemClock
from ordergate.testing.coinbase import CoinbaseRehearsal, rehearsal
from ordergate.testing.loopback import Loopback, Reply, Request

WIRE_ID = "0f0e0d0c-0b0a-4908-8706-050403020100"
FIVE = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]


class Scripted:
    """A dialect that says what it is told: path (or METHOD path) to an answer, a reply, a function of the request, or
    a status with Coinbase's word and text for it.
    """

    lies: frozenset[str] = frozenset()

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)

    def action(self, request: Request) -> str:
        if request.method == "POST":
            return "place" if request.path.endswith("/orders") else "cancel"
        return "find" if "/orders/" in request.path else "other"

    def answer(self, request: Request) -> Reply:
        path = request.path.removeprefix("/api/v3/brokerage")
        found = self.answers.get(f"{request.method} {path}", self.answers.get(path))
        if callable(found):
            found = found(request)
        if found is None:
            found = 404, "NOT_FOUND", f"nothing was scripted for {path}"
        if isinstance(found, tuple):
            status, error, details = found
            return Reply(json.dumps({"error": error, "error_details": details, "message": details}).encode(), status)
        return found if isinstance(found, Reply) else Reply(json.dumps(found).encode())

    def twisted(self, lie: str, text: str, request: Request, reply: Reply) -> Reply:
        raise NotImplementedError


class Server(Loopback):
    """A scripted venue."""

    def orders(self) -> list[Any]:
        """The bodies of all requests that could make an order, oldest first."""
        return [json.loads(one.body) for one in self.requests() if self.dialect.action(one) == "place"]


@pytest.fixture
def order() -> Callable[..., VenueOrder]:
    """order() is a market buy for 20 USD of BTC-USD, unless told otherwise."""

    def made(**changes: Any) -> VenueOrder:
        values: dict[str, Any] = {
            "account": "main",
            "symbol": "BTC-USD",
            "side": Side.BUY,
            "spend": Decimal(20),
            "amount": None,
            "limit": None,
            "client_order_id": WIRE_ID,
            "send_by": SystemClock().now() + 5,
        }
        return VenueOrder(**{**values, **changes})

    return made


@pytest.fixture
def resting(order: Callable[..., VenueOrder]) -> Callable[..., VenueOrder]:
    """resting() is a buy that rests: 0.001 BTC at 40,000 USD."""

    def made(**changes: Any) -> VenueOrder:
        return order(**{"spend": None, "amount": Decimal("0.001"), "limit": Decimal(40000), **changes})

    return made


def tls(authority: trustme.CA, *names: str, **dates: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",)), **dates).configure_cert(context)
    return context


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def venue(tmp_path: Path, closing: ExitStack) -> CoinbaseRehearsal:
    started = rehearsal(tmp_path / "venue")
    closing.enter_context(started)
    return started


@pytest.fixture
def connected(closing: ExitStack) -> Callable[..., coinbase.Client]:
    """connected(settings) is a client whose connections are closed when the test ends."""

    def made(settings: Mapping[str, Any], **changes: Any) -> coinbase.Client:
        client: coinbase.Client = coinbase.connect(coinbase.Settings(**{**settings, **changes}))
        closing.callback(client.sdk.session.close)
        return client

    return made


@pytest.fixture
def client(venue: CoinbaseRehearsal, connected: Callable[..., coinbase.Client]) -> coinbase.Client:
    return connected(venue.settings)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def key_file(tmp_path: Path) -> Callable[..., Path]:
    """key_file(text) puts a text into a file of mode 0600, as Coinbase's own file would stand there."""

    def put(text: str, *, mode: int = 0o600) -> Path:
        file = tmp_path / "key.json"
        with suppress(FileNotFoundError):
            file.unlink()
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, mode), "w") as opened:
            opened.write(text)
        file.chmod(mode)
        return file

    return put


@pytest.fixture
def scripted(
    tmp_path: Path,
    closing: ExitStack,
    authority: trustme.CA,
    connected: Callable[..., coinbase.Client],
    key_file: Callable[..., Path],
) -> Callable[..., tuple[coinbase.Client, Server]]:
    """scripted(answers) is a client of a venue that says what it is told, and that venue's server."""

    def served(answers: Mapping[str, Any]) -> tuple[coinbase.Client, Server]:
        server = closing.enter_context(Server(Scripted(answers), tls=tls(authority)))
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        settings = {"key_file": key_file(KEY), "base_url": server.address, "ca_file": tmp_path / "ca.pem"}
        return connected(settings), server

    return served


KEY = json.dumps({"id": "a-key", "privateKey": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="})
"""An Ed25519 key that anybody can see is none: the bytes 0 to 31."""


@pytest.fixture
def gate(tmp_path: Path, venue: CoinbaseRehearsal, closing: ExitStack) -> Callable[..., Executor]:
    """gate() is an executor with one account, main, on the rehearsal venue; again, it is one as after a restart."""

    def built(*, clock: Clock | None = None, folder: Path = tmp_path, **settings: Any) -> Executor:
        folder.mkdir(exist_ok=True)
        values = {
            "gate": {"rules": FIVE, **settings},
            "accounts": {"main": {"broker": "coinbase", "coinbase": dict(venue.settings)}},
        }
        executor = closing.enter_context(Executor.from_values(values, folder=folder, clock=clock))
        closing.callback(lambda: [one.sdk.session.close() for one in executor.setup.brokers["main"]._client])
        return executor

    return built
