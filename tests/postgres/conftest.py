"""What the tests of the PostgreSQL ledger stand on: places, a line that can be cut, a clock that need not wait."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordergate import postgres_ledger
from ordergate.clock import SystemClock
from ordergate.postgres_ledger import PostgresLedger

if TYPE_CHECKING:
    from tests.conftest import PostgresServer


class Line:
    """A line to the server over TCP, on which answers can be lost and silence can fall."""

    def __init__(self, target: Path, host: str) -> None:
        self._target, self._lock = target, threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._silent = False
        self._swallow = b""
        self.swallowed = 0
        self.accepted = 0
        self._server = socket.create_server((host, 0))
        self.port = int(self._server.getsockname()[1])
        self._start(self._accept)

    def fall_silent(self) -> None:
        """From now on nothing passes in either direction, and nobody hangs up."""
        self._silent = True

    def mend(self) -> None:
        """Hang up on everybody; who calls now gets through."""
        self._silent = False
        self.hang_up()

    def hang_up(self) -> None:
        with self._lock:
            sockets, self._open = self._open, []
        for one in sockets:
            _end(one)

    def swallow_answer_to(self, word: bytes) -> None:
        """The next statement that holds the word reaches the server and is done; its answer is lost, the line dead."""
        self._swallow = word

    def close(self) -> None:
        _end(self._server)
        self.hang_up()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._target))
            except OSError:
                caller.close()
                continue
            with self._lock:
                self._open += [caller, server]
            cut = threading.Event()
            self._start(self._to_server, caller, server, cut)
            self._start(self._to_caller, caller, server, cut)

    def _to_server(self, caller: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        while data := _received(caller):
            if self._swallow and self._swallow in data:
                self._swallow = b""
                cut.set()
            if not self._silent:
                _sent(server, data)
        _end(server)

    def _to_caller(self, caller: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        while data := _received(server):
            if cut.is_set():
                self.swallowed += 1
                break
            if not self._silent:
                _sent(caller, data)
        _end(caller)
        _end(server)


def _received(one: socket.socket) -> bytes:
    try:
        return one.recv(65536)
    except OSError:
        return b""


def _sent(one: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        one.sendall(data)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


class PatientClock(SystemClock):
    """The real clock; `skip` lets time pass for who measures it, `on_sleep` is called instead of sleeping."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.on_sleep: Callable[[], object] | None = None

    def skip(self, seconds: float) -> None:
        self.skipped += seconds

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped

    def sleep(self, seconds: float) -> None:
        if self.on_sleep is None:
            super().sleep(seconds)
        else:
            self.on_sleep()


@pytest.fixture
def clock() -> PatientClock:
    return PatientClock()


@pytest.fixture
def place(postgres: PostgresServer) -> str:
    """The URL of an empty place for a ledger."""
    return postgres.new_place()


@pytest.fixture
def opened(clock: PatientClock) -> Iterator[Callable[..., PostgresLedger]]:
    """opened(url) is a ledger there, closed at the end of the test."""
    with ExitStack() as stack:

        def open_one(url: str, **more: Any) -> PostgresLedger:
            ledger = PostgresLedger(url, clock, **more)
            stack.callback(ledger.close)
            return ledger

        yield open_one


@pytest.fixture
def new_line(postgres: PostgresServer) -> Iterator[Callable[[str], Line]]:
    """new_line("127.0.0.1") is a line of our own to the server that begins there."""
    made: list[Line] = []

    def begin(host: str) -> Line:
        made.append(Line(postgres.socket, host))
        return made[-1]

    yield begin
    for line in made:
        line.close()


@pytest.fixture
def line(new_line: Callable[[str], Line]) -> Line:
    """A line to the server; `over(line, url)` is the URL that leads over it."""
    return new_line("127.0.0.1")


@pytest.fixture
def over() -> Callable[[Line, str], str]:
    def moved(line: Line, url: str) -> str:
        return f"{url}&host=127.0.0.1&port={line.port}"

    return moved


@pytest.fixture
def another_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """another_process("B"): ledgers opened from now on take themselves for those of a process of this name."""

    def become(name: str) -> None:
        monkeypatch.setattr(postgres_ledger, "_this_process", lambda _: name)
        monkeypatch.setattr(postgres_ledger, "_MEMORIES", {})

    return become


@pytest.fixture(scope="module")
def own_server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A second server, for those who kill it."""
    folder = Path(tempfile.mkdtemp(prefix="ordergate-postgres-"))
    try:
        server = type(postgres)(folder)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
