"""An HTTP server on 127.0.0.1 that answers as a venue does, counts what reached it, and fails when told to.

A dialect speaks for one venue: it names what a request asks for, answers it, and knows how that venue's answers can
be twisted. Everything that can go wrong on the wire is done here, the same for every venue.

    with Loopback(dialect) as server:
        server.fail("cut", on="place")      # the next order is taken, and nobody hears of it
        ...
        assert server.count("place") == 1

A request counts as arrived only when all of its body is here: one that is cut on its way is never answered, and never
reaches the venue.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast
from urllib.parse import parse_qs, urlsplit

from attrs import define, field, frozen

from ordergate.errors import InputError

__all__ = ["ACTIONS", "FAULTS", "HANG_SECONDS", "LIES", "Dialect", "Fault", "Loopback", "Reply", "Request"]

HANG_SECONDS: Final = 60.0
"""How long a told hang lasts at most: longer than the gate waits, short enough to end by itself."""

_LONGEST_BODY: Final = 1_000_000
_PATIENCE: Final = 10.0
_ELSEWHERE: Final = "/elsewhere"

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
    """What arrived. `query` has each parameter's values in the order they came, `query_text` is the query as it was
    written; header names are lower-case.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    query_text: str
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
        self.control: Callable[[Request], Reply] | None = None
        """Answers `/rehearsal`, for a person who drives the venue from outside; None: there is no such page."""
        self._faults: list[Fault] = []
        self._counts: Counter[str] = Counter()
        self._seen: list[Request] = []
        self._problems: list[BaseException] = []
        self._late = 0
        self._lock = threading.Condition()
        self._released = threading.Event()
        self._closed = False
        self._server = _Server(self, port)
        if tls is not None:
            # Hands are shaken in the thread of each connection: a client that never does keeps nobody else waiting.
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
        if not isinstance(taken, bool):
            raise InputError("taken", taken, "use true or false")
        if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
            raise InputError("status", status, "use an HTTP status from 200 to 599")
        if not taken and name in LIES and name != "error":
            raise InputError("taken", taken, f"{name} twists what the venue answers; it has to be asked")
        with self._lock:
            self._released.clear()
            self._faults.append(Fault(name, on, times, taken, status, str(text)))

    def clear(self) -> None:
        """Behave again, and let go whatever hangs."""
        with self._lock:
            self._faults.clear()
        self.release()

    def release(self) -> None:
        """Let go whatever hangs, and let the venue have what was to come late: when this returns, it has it."""
        self._released.set()
        with self._lock:
            self._lock.wait_for(lambda: not self._late, _PATIENCE)

    def count(self, action: str) -> int:
        with self._lock:
            return self._counts[action]

    def counts(self) -> dict[str, int]:
        """How many requests of each action arrived, as far as any did."""
        with self._lock:
            return dict(self._counts)

    def faults(self) -> tuple[Fault, ...]:
        """What it is still told to fail in, oldest first."""
        with self._lock:
            return tuple(self._faults)

    def requests(self) -> tuple[Request, ...]:
        """Everything that arrived, oldest first."""
        with self._lock:
            return tuple(self._seen)

    def close(self) -> None:
        """Stop, and end every connection. What was to come late never comes.

        Raises what the dialect raised while it answered: that is a flaw of the dialect, not a fault that was told.
        """
        self._closed = True
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        self._server.server_close()
        if self._problems:
            raise self._problems.pop(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------- for the handler

    def note(self, request: Request) -> Fault | None:
        """Count the request; the fault it meets."""
        action = self.dialect.action(request)
        with self._lock:
            self._counts[action] += 1
            self._seen.append(request)
            found = next((one for one in self._faults if one.on == action), None)
            if found is not None and found.times is not None:
                found.times -= 1
                if not found.times:
                    self._faults.remove(found)
            self._late += found is not None and found.name == "late"
        return found

    def note_problem(self, error: BaseException) -> None:
        with self._lock:
            self._problems.append(error)

    def wait(self) -> None:
        self._released.wait(HANG_SECONDS)

    def answer_late(self, request: Request) -> None:
        """Give the venue what its sender has long given up, unless the server was closed before."""
        try:
            self.wait()
            if not self._closed:
                self.dialect.answer(request)
        finally:
            with self._lock:
                self._late -= 1
                self._lock.notify_all()


class _Server(ThreadingHTTPServer):
    """A thread per connection, all of which end when it is closed, whatever their clients do."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, loopback: Loopback, port: int) -> None:
        self.loopback = loopback
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._lock:
            self._connections[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]

    def end_connections(self) -> None:
        with self._lock:
            found = dict(self._connections)
        for thread, connection in found.items():
            with suppress(OSError):  # it ended by itself
                # Not the TLS way, which would change what the other thread is reading from.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            thread.join(_PATIENCE)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a flaw, and comes up when the server is closed."""
        del request, client_address
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.loopback.note_problem(error)


class _Handler(BaseHTTPRequestHandler):
    """Reads requests and answers them, or fails to."""

    protocol_version = "HTTP/1.1"
    timeout = HANG_SECONDS

    @property
    def loopback(self) -> Loopback:
        return cast("_Server", self.server).loopback

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has there
        """Nothing is logged: requests carry keys."""

    def handle_any(self) -> None:
        request = self.read()
        if request is None:
            return
        loopback = self.loopback
        if loopback.control is not None and request.path == "/rehearsal":
            self.reply(loopback.control(request))
        elif request.path == _ELSEWHERE:
            loopback.note(request)
            self.reply(Reply(b"{}"))
        else:
            fault = loopback.note(request)
            if fault is None:
                self.reply(loopback.dialect.answer(request))
            else:
                self.misbehave(fault, request)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the names it has there

    def read(self) -> Request | None:
        """The request, all of it; None when there is no such, and then the connection is over."""
        lengths = self.headers.get_all("Content-Length") or ["0"]
        if self.command in ("POST", "PUT") and "Content-Length" not in self.headers:
            self.turn_away(411)  # its headers may have been cut
            return None
        length = int(lengths[0]) if lengths[0].isascii() and lengths[0].isdigit() and len(lengths[0]) < 12 else -1
        if length < 0 or len(lengths) > 1 or "Transfer-Encoding" in self.headers:
            self.turn_away(400)
            return None
        if length > _LONGEST_BODY:
            self.turn_away(413)
            return None
        try:
            target = urlsplit(self.path)
            query = parse_qs(target.query, keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            self.turn_away(400)
            return None
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return None
        return Request(
            method=self.command,
            path=target.path,
            query=query,
            query_text=target.query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )

    def turn_away(self, status: int) -> None:
        self.close_connection = True
        page = _page(status)
        self.reply(Reply(page.body, status, page.content_type, {"Connection": "close"}))

    def reply(self, reply: Reply) -> None:
        self.wfile.write(_head(reply) + reply.body)

    def misbehave(self, fault: Fault, request: Request) -> None:
        loopback = self.loopback
        if fault.name == "late":
            self.hang_up()
            loopback.answer_late(request)
            return
        reply = loopback.dialect.answer(request) if fault.taken else Reply(b"{}")
        if fault.name in _ACTS:
            _ACTS[fault.name](self, fault, reply)
        else:
            self.reply(loopback.dialect.twisted(fault.name, fault.text, request, reply))

    def hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client was faster
            self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()  # for good when the handler is done with it; that is when the reset goes out

    def stall(self, sent: bytes) -> None:
        """Nothing more until it is told to go on, and then the end."""
        self.wfile.write(sent)
        self.loopback.wait()
        self.hang_up()

    def break_off(self, sent: bytes) -> None:
        self.wfile.write(sent)
        self.hang_up()


_ACTS: Final[Mapping[str, Callable[[_Handler, Fault, Reply], None]]] = {
    "cut": lambda handler, _fault, _reply: handler.hang_up(),
    "reset": lambda handler, _fault, _reply: handler.reset(),
    "hang": lambda handler, _fault, _reply: handler.stall(b""),
    "http": lambda handler, fault, _reply: handler.reply(_page(fault.status)),
    "cut_headers": lambda handler, _fault, reply: handler.break_off(_head(reply)[:40]),
    "cut_body": lambda handler, _fault, reply: handler.break_off(_head(reply) + _half(reply.body)),
    "stalled_body": lambda handler, _fault, reply: handler.stall(_head(reply) + _half(reply.body)),
    "html": lambda handler, _fault, _reply: handler.reply(_page(200)),
    "empty": lambda handler, _fault, _reply: handler.reply(Reply(b"")),
    "empty_object": lambda handler, _fault, _reply: handler.reply(Reply(b"{}")),
}
"""What each fault but `late` does once the venue has been asked, or has not."""


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


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
    # These two never have a body; a client would take one for the beginning of the next answer.
    body = b"" if status in (204, 304) else body
    return Reply(body, status, "text/html", {"Location": _ELSEWHERE} if 300 <= status < 400 else {})
