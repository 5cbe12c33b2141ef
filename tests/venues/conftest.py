"""Talking to a venue on loopback as bluntly as possible: whole connections, raw bytes."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

PATIENCE = 20
"""Seconds after which a socket of a test gives up: never reached unless something is wrong."""


@pytest.fixture
def talk() -> Callable[..., bytes]:
    """talk(port, b"GET / …") sends bytes on a connection of its own and gives all that comes until it ends."""

    def exchanged(port: int, sent: bytes) -> bytes:
        with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            parts = iter(lambda: connection.recv(65536), b"")
            return b"".join(parts)

    return exchanged


@pytest.fixture
def connect() -> Iterator[Callable[..., http.client.HTTPConnection]]:
    """connect(port) is an HTTP connection that is closed when the test ends."""
    with ExitStack() as stack:

        def connected(port: int) -> http.client.HTTPConnection:
            return stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)))

        yield connected
