"""An HTTP server on 127.0.0.1 that answers as a venue does, counts what reached it, and fails when told to.

A dialect speaks for one venue: it names what a request asks for, answers it, and knows how that venue's answers can
be twisted. Everything that can go wrong on the wire is done here, the same for every venue.

    with Loopback(dialect) as server:
        server.fail("cut", on="place")      # the next order is taken, and nobody hears of it
        ...
        assert server.count("place") == 1
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Protocol, Self
from urllib.parse import parse_qs, urlsplit

from attrs import define, field, frozen

from ordergate.errors import InputError

__all__ = ["ACTIONS", "FAULTS", "HANG_SECONDS", "LIES", "Dialect", "Fault", "Loopback", "Reply", "Request"]

HANG_SECONDS: Final = 60.0
"""How long a told hang lasts at most: longer than the gate waits, short enough to end by itself."""

_LONGEST_BODY: Final = 1_000_000

ACTIONS: Final = ("place", "find", "cancel", "account", "prices", "market", "fees", "permissions", "time", "other")
"""What a request can be about, the same words for every venue. `find` is every way to look orders or fills up."""

FAULTS: Final[Mapping[str, str]] = {
    "cut": "the connection is closed without an answer",
    "reset": "the connection is reset without an answer",
    "hang": "no answer comes until the venue is told to go on",
    "late": "the connection is closed at once, and the request reaches the venue only when it is told to go on",
    "http": "an HTML page with the HTTP status that was named, as proxies answer; a 3xx one names another place",
    "cut_headers": "the answer ends within its headers",
    "cut_body": "the answer ends within its body",
    "stalled_body": "the answer stops within its body, and the connection stays open",
    "html": "an HTML page with status 200",
    "empty": "nothing at all, with status 200",
    "empty_object": "`{}`, with status 200",
}
"""What can go wrong on any wire."""

LIES: Final[Mapping[str, str]] = {
    "no_id": "the answer to an order lacks the order's id",
    "moved_id": "the order's id stands in another place of the answer",
    "other_id": "the answer speaks of another order",
    "other_size": "the order that was looked up has another size",
    "error": "the venue's own form of an error, with the text that was named",
    "hidden": "orders and fills that were asked for are not shown",
    "half": "a listing lacks its second half, and says that there is more",
}
"""What a dialect twists in an answer; one that cannot says so by raising InputError when it is told."""


@frozen
class Request:
    """What arrived. `query` has each parameter's values in the order they came; header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@frozen
class Reply:
    """What goes back."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(factory=dict)


class Dialect(Protocol):
    """How one venue speaks."""

    lies: frozenset[str]
    """The names of `LIES` that it knows how to tell."""

    def action(self, request: Request) -> str:
        """Which of `ACTIONS` the request is about. Anything that could create an order is `place`."""
        ...

    def answer(self, request: Request) -> Reply:
        """Do what is asked, if the request is good, and say so in the venue's own words."""
        ...

    def twisted(self, lie: str, text: str, request: Request, reply: Reply) -> Reply:
        """The reply, twisted as `lie` says; `text` is what `fail` was told."""
        ...


@define
class Fault:
    """One way to fail, told by `Loopback.fail`."""

    name: str
    on: str
    times: int | None
    taken: bool
    status: int
    text: str


class Loopback:
    """A server in a thread of its own. `count` says how many requests of an action arrived, answered or not."""

    def __init__(self, dialect: Dialect, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.dialect = dialect
        self._faults: list[Fault] = []
        self._counts: Counter[str] = Counter()
        self._seen: list[Request] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", port), _handler_of(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="loopback", daemon=True)
        self._thread.start()

    def fail(
        self,
        name: str,
        *,
        on: str = "place",
        times: int | None = 1,
        taken: bool = True,
        status: int = 502,
        text: str = "",
    ) -> None:
        """Fail like this at the next `times` requests of an action (None: until cleared).

        `name` is one of `FAULTS` or of the dialect's `LIES`. With `taken` the venue does what it was asked before it
        fails to say so; without, it never hears of it. Raises InputError for what makes no sense.
        """
        known = {*FAULTS, *self.dialect.lies}
        if name not in known:
            raise InputError("fault", name, f"use one of {', '.join(sorted(known))}")
        if on not in ACTIONS:
            raise InputError("on", on, f"use one of {', '.join(ACTIONS)}")
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise InputError("times", times, "use a whole number from 1, or None for a fault that stays")
        if not 200 <= status <= 599:
            raise InputError("status", status, "use an HTTP status from 200 to 599")
        with self._lock:
            self._released.clear()
            self._faults.append(Fault(name, on, times, taken, status, text))

    def clear(self) -> None:
        """Behave again, and let go whatever hangs."""
        with self._lock:
            self._faults.clear()
        self.release()

    def release(self) -> None:
        """Let go whatever hangs, and let the venue have what was to come late."""
        self._released.set()

    def count(self, action: str) -> int:
        with self._lock:
            return self._counts[action]

    def requests(self) -> tuple[Request, ...]:
        """Everything that arrived, oldest first."""
        with self._lock:
            return tuple(self._seen)

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------- for the handler

    def note(self, request: Request) -> tuple[str, Fault | None]:
        """Count the request; what it is about, and the fault it meets."""
        action = self.dialect.action(request)
        with self._lock:
            self._counts[action] += 1
            self._seen.append(request)
            found = next((one for one in self._faults if one.on == action), None)
            if found is not None and found.times is not None:
                found.times -= 1
                if not found.times:
                    self._faults.remove(found)
        return action, found

    def wait(self) -> None:
        self._released.wait(HANG_SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def _handler_of(loopback: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = HANG_SECONDS

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has there
            """Nothing is logged: requests carry keys."""

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= _LONGEST_BODY:
                self.close_connection = True
                return
            target = urlsplit(self.path)
            request = Request(
                method=self.command,
                path=target.path,
                query=parse_qs(target.query, keep_blank_values=True),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length),
            )
            _, fault = loopback.note(request)
            if fault is None:
                self.send(loopback.dialect.answer(request))
            else:
                self.misbehave(fault, request)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the names it has there

        def send(self, reply: Reply) -> None:
            self.wfile.write(_head(reply) + reply.body)

        def misbehave(self, fault: Fault, request: Request) -> None:
            if fault.name == "late":
                self.hang_up()
                loopback.wait()
                loopback.dialect.answer(request)
                return
            if fault.name == "hang" and not fault.taken:
                loopback.wait()
            reply = loopback.dialect.answer(request) if fault.taken else Reply(b"{}")
            match fault.name:
                case "cut":
                    self.hang_up()
                case "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.hang_up(gently=False)
                case "hang":
                    loopback.wait()
                    self.hang_up()
                case "http":
                    self.send(_page(fault.status))
                case "cut_headers":
                    self.wfile.write(_head(reply)[:40])
                    self.hang_up()
                case "cut_body":
                    self.wfile.write(_head(reply) + reply.body[: len(reply.body) // 2])
                    self.hang_up()
                case "stalled_body":
                    self.wfile.write(_head(reply) + reply.body[: len(reply.body) // 2])
                    loopback.wait()
                    self.hang_up()
                case "html":
                    self.send(_page(200))
                case "empty":
                    self.send(Reply(b""))
                case "empty_object":
                    self.send(Reply(b"{}"))
                case _:
                    self.send(loopback.dialect.twisted(fault.name, fault.text, request, reply))

        def hang_up(self, *, gently: bool = True) -> None:
            self.close_connection = True
            self.wfile.flush()
            if gently and isinstance(self.connection, socket.socket):
                self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()

    return Handler


def _head(reply: Reply) -> bytes:
    lines = [
        f"HTTP/1.1 {reply.status} {'OK' if reply.status == 200 else 'Status'}",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body)}",
        *(f"{name}: {value}" for name, value in reply.headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _page(status: int) -> Reply:
    """What a proxy in front of a venue answers. A redirect names a place on the same server that answers anything."""
    body = f"<html><head><title>{status}</title></head><body>{status}</body></html>".encode("ascii")
    return Reply(body, status, "text/html", {"Location": "/elsewhere"} if 300 <= status < 400 else {})
