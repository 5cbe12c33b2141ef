"""The server that venues on loopback stand on: every fault, as it looks on the wire, and clients that misbehave."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ordergate import InputError
from ordergate.testing.loopback import ACTIONS, FAULTS, LIES, Loopback, Reply, Request

Talk = Callable[..., bytes]
Connect = Callable[..., http.client.HTTPConnection]
ORDER = b"POST /place HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
ANSWER = b'{"taken":"a fairly long answer, so that half of it is something"}'


class Shop:
    """The plainest dialect: the path names the action, and what was asked is kept."""

    lies = frozenset({"other_id", "error", "half"})

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def action(self, request: Request) -> str:
        name = request.path.lstrip("/")
        return name if name in ACTIONS else "other"

    def answer(self, request: Request) -> Reply:
        if request.path == "/broken":
            raise KeyError("a flaw of the dialect")
        self.taken.append(request.body)
        return Reply(ANSWER)

    def twisted(self, lie: str, text: str, request: Request, reply: Reply) -> Reply:
        return Reply(json.dumps([lie, text, request.path, reply.body.decode()]).encode())


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback(Shop()) as made:
        yield made


def shop(server: Loopback) -> Shop:
    assert isinstance(server.dialect, Shop)
    return server.dialect


def test_a_request_is_answered_counted_and_kept(server: Loopback, connect: Connect) -> None:
    client = connect(server.port)
    client.request("POST", "/place?a=1&a=2&b=", b"one", {"X-Key": "k"})
    answer = client.getresponse()

    assert (answer.status, answer.read(), answer.headers["Content-Type"]) == (200, ANSWER, "application/json")
    (request,) = server.requests()
    assert (request.method, request.path, request.body) == ("POST", "/place", b"one")
    assert (request.query, request.headers["x-key"]) == ({"a": ["1", "2"], "b": [""]}, "k")
    assert (server.count("place"), server.count("find"), server.counts()) == (1, 0, {"place": 1})
    assert server.address == f"127.0.0.1:{server.port}"


def test_one_connection_serves_many_requests(server: Loopback, connect: Connect) -> None:
    client = connect(server.port)
    for _ in range(3):
        client.request("GET", "/find")
        client.getresponse().read()

    assert server.count("find") == 3


# --- faults, as they look on the wire

ENDS: dict[str, Callable[[bytes], bool]] = {
    "cut": lambda got: got == b"",
    "cut_headers": lambda got: got.startswith(b"HTTP/1.1 200") and b"\r\n\r\n" not in got,
    "cut_body": lambda got: got.endswith(ANSWER[: len(ANSWER) // 2]) and str(len(ANSWER)).encode() in got,
    "http": lambda got: got.startswith(b"HTTP/1.1 503") and b"<html>" in got,
    "html": lambda got: got.startswith(b"HTTP/1.1 200") and b"<html>" in got,
    "empty": lambda got: got.endswith(b"Content-Length: 0\r\n\r\n"),
    "empty_object": lambda got: got.endswith(b"\r\n\r\n{}"),
    "reset": lambda got: got == b"reset",
    "hang": lambda got: got == b"",
    "stalled_body": lambda got: got.endswith(ANSWER[: len(ANSWER) // 2]),
    "late": lambda got: got == b"",
}


def exchanged(port: int, sent: bytes) -> bytes:
    with closing(socket.create_connection(("127.0.0.1", port), 20)) as connection:
        connection.sendall(sent)
        try:
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionResetError:
            return b"reset"


def test_every_fault_is_looked_at() -> None:
    assert ENDS.keys() == FAULTS.keys()


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - {"hang", "stalled_body", "late"}))
@pytest.mark.parametrize("taken", [True, False])
def test_c04_wire_cuts_look_the_same_whether_the_venue_took_it_or_not(
    server: Loopback, connect: Connect, name: str, taken: bool
) -> None:
    server.fail(name, taken=taken, status=503)
    closing_order = ORDER.replace(b"Host: x", b"Host: x\r\nConnection: close")

    got = exchanged(server.port, closing_order)

    assert ENDS[name](got) or (not taken and name == "cut_body" and got.endswith(b"{")), got
    assert shop(server).taken == ([b"one"] if taken else [])
    assert server.count("place") == 1
    client = connect(server.port)
    client.request("POST", "/place", b"two")
    assert client.getresponse().read() == ANSWER, "the fault is used up"


@pytest.mark.parametrize("name", ["hang", "stalled_body"])
@pytest.mark.parametrize("taken", [True, False])
def test_c15_a_hang_lasts_until_it_is_let_go(server: Loopback, name: str, taken: bool) -> None:
    server.fail(name, taken=taken)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(exchanged(server.port, ORDER)))
    thread.start()
    arrived(server, 1)
    thread.join(0.05)
    assert thread.is_alive()

    server.release()
    thread.join(20)

    assert len(got) == 1
    assert ENDS[name](got[0]) or not taken
    assert shop(server).taken == ([b"one"] if taken else [])


def test_c03_late_arrival_reaches_the_venue_only_when_it_is_told_to_go_on(server: Loopback) -> None:
    server.fail("late")

    assert exchanged(server.port, ORDER) == b""
    assert (server.count("place"), shop(server).taken) == (1, [])
    server.release()

    assert shop(server).taken == [b"one"]


def test_c03_what_was_to_come_late_never_comes_to_a_venue_that_is_closed() -> None:
    with Loopback(Shop()) as server:
        server.fail("late")
        exchanged(server.port, ORDER)

    assert shop(server).taken == []


def arrived(server: Loopback, count: int) -> None:
    """Until so many orders have arrived; what hangs answers nobody, so it has to be looked for."""
    waiting = threading.Event()
    for _ in range(4000):
        if server.count("place") == count:
            return
        waiting.wait(0.005)
    raise AssertionError(f"{server.count('place')} of {count} arrived")


@pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 307, 400, 403, 404, 429, 500, 502, 504, 520])
def test_c06_every_status_is_answered_and_leaves_the_connection_usable(
    server: Loopback, connect: Connect, status: int
) -> None:
    server.fail("http", status=status)
    client = connect(server.port)
    client.request("POST", "/place", b"one")
    answer = client.getresponse()
    answer.read()

    assert answer.status == status
    assert answer.headers.get("Location") == ("/elsewhere" if 300 <= status < 400 else None)
    client.request("GET", "/find")
    assert client.getresponse().read() == ANSWER


def test_c06_a_redirect_leads_to_an_answer_that_is_no_order(server: Loopback, connect: Connect) -> None:
    client = connect(server.port)
    client.request("GET", "/elsewhere")
    answer = client.getresponse()

    assert (answer.status, answer.read()) == (200, b"{}")
    (followed,) = server.requests()  # so that a client that follows is seen
    assert followed.path == "/elsewhere"


def test_lies_are_the_dialects(server: Loopback, connect: Connect) -> None:
    client = connect(server.port)
    server.fail("error", text="EOrder:Insufficient funds", taken=False)
    client.request("POST", "/place", b"one")
    error = json.loads(client.getresponse().read())
    server.fail("other_id", on="find")
    client.request("GET", "/find")
    other = json.loads(client.getresponse().read())

    assert error == ["error", "EOrder:Insufficient funds", "/place", "{}"]
    assert other == ["other_id", "", "/find", ANSWER.decode()]
    assert shop(server).taken == [b""]


def test_faults_are_used_up_one_by_one_oldest_first_and_only_by_their_action(
    server: Loopback, connect: Connect
) -> None:
    server.fail("http", times=2, status=500)
    server.fail("http", status=501)
    server.fail("http", on="cancel", times=None, status=502)
    client = connect(server.port)

    def status(path: str) -> int:
        client.request("POST", path, b"")
        answer = client.getresponse()
        answer.read()
        return answer.status

    assert [status("/place") for _ in range(4)] == [500, 500, 501, 200]
    assert [status("/cancel") for _ in range(3)] == [502, 502, 502]
    assert [fault.status for fault in server.faults()] == [502]
    server.clear()
    assert status("/cancel") == 200


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"name": "nonsense"}, "cut"),
        ({"name": "no_id"}, "cut"),
        ({"name": "cut", "on": "buy"}, "place"),
        ({"name": "cut", "times": 0}, "times"),
        ({"name": "cut", "times": True}, "times"),
        ({"name": "cut", "taken": "yes"}, "taken"),
        ({"name": "http", "status": 99}, "status"),
        ({"name": "http", "status": "502"}, "status"),
        ({"name": "half", "taken": False}, "has to be asked"),
    ],
)
def test_a_fault_that_makes_no_sense_is_an_error(server: Loopback, fields: dict[str, Any], names: str) -> None:
    with pytest.raises(InputError, match=names):
        server.fail(**fields)
    assert server.faults() == ()


def test_the_lies_have_names_of_their_own() -> None:
    assert not LIES.keys() & FAULTS.keys()
    assert len(ACTIONS) == len(set(ACTIONS))


# --- clients that misbehave


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /place HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST /place HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /place HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\none", b"400"),
        (b"POST /place HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"400"),
        (b"POST /place HTTP/1.1\r\nContent-Length: 1000001\r\n\r\n", b"413"),
        (
            b"POST /place HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\none\r\n0\r\n\r\n",
            b"400",
        ),
        (b"POST http://[ HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"400"),
        (b"GET /place?" + b"a=1&" * 1001 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"POST /place HTTP/1.1\r\n\r\n", b"411"),
        (b"BREW /place HTTP/1.1\r\n\r\n", b"501"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_a10_bad_requests_are_turned_away_and_others_are_served(
    server: Loopback, connect: Connect, talk: Talk, sent: bytes, status: bytes
) -> None:
    got = talk(server.port, sent)

    assert status in got.partition(b"\r\n")[0] or (status == b"400" and b"400" in got), got[:200]
    assert server.requests() == ()
    client = connect(server.port)
    client.request("POST", "/place", b"one")
    assert client.getresponse().read() == ANSWER


@pytest.mark.parametrize("sent", [b"", b"POST /pla", ORDER[:-1], ORDER[:30], b"\x16\x03\x01\x02\x00garbage\n"])
def test_a_request_that_is_cut_on_its_way_never_reaches_the_venue(server: Loopback, talk: Talk, sent: bytes) -> None:
    talk(server.port, sent)

    assert (server.requests(), shop(server).taken) == ((), [])


def test_a10_a_client_that_says_nothing_keeps_nobody_waiting_and_ends_with_the_server(connect: Connect) -> None:
    with Loopback(Shop()) as server, closing(socket.create_connection(("127.0.0.1", server.port), 20)) as silent:
        silent.sendall(ORDER[:-1])
        client = connect(server.port)
        client.request("POST", "/place", b"one")
        assert client.getresponse().read() == ANSWER
        client.close()
        server.close()

        assert silent.recv(1) == b""
        assert shop(server).taken == [b"one"]


def test_closing_ends_what_hangs_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    server = Loopback(Shop())
    server.fail("hang")
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(exchanged(server.port, ORDER)))
    thread.start()
    arrived(server, 1)

    server.close()
    thread.join(20)
    server.close()

    assert got == [b""]
    assert set(threading.enumerate()) <= before


def test_many_connections_at_once_are_all_answered(server: Loopback, crowd: Callable[..., list[Any]]) -> None:
    closing_order = ORDER.replace(b"Host: x", b"Host: x\r\nConnection: close")

    answers = crowd(24, lambda _: exchanged(server.port, closing_order))

    assert all(answer.endswith(ANSWER) for answer in answers)
    assert server.count("place") == 24


def test_a_flaw_of_the_dialect_comes_up_when_the_server_is_closed(talk: Talk) -> None:
    server = Loopback(Shop())

    assert talk(server.port, b"GET /broken HTTP/1.1\r\n\r\n") == b""
    with pytest.raises(KeyError, match="a flaw of the dialect"):
        server.close()


# --- TLS


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's side."""
    import trustme

    authority = trustme.CA()
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    theirs = ssl.create_default_context()
    authority.configure_trust(theirs)
    return ours, theirs


@pytest.mark.parametrize("name", ["cut", "reset", "hang", "cut_body", "stalled_body", "late", "html"])
def test_faults_work_under_tls_as_well(tls: tuple[ssl.SSLContext, ssl.SSLContext], name: str) -> None:
    ours, theirs = tls
    with Loopback(Shop(), tls=ours) as server:
        server.fail(name)
        server.release()
        client = http.client.HTTPSConnection("127.0.0.1", server.port, context=theirs, timeout=20)
        with closing(client):
            client.request("POST", "/place", b"one")
            if name == "html":
                assert b"<html>" in client.getresponse().read()
            else:
                with pytest.raises((OSError, http.client.HTTPException)):
                    client.getresponse().read()
        assert server.count("place") == 1
        server.release()
        assert shop(server).taken == [b"one"]


def test_c16_a_client_without_tls_or_without_the_authority_gets_nothing(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], talk: Talk
) -> None:
    ours, theirs = tls
    with Loopback(Shop(), tls=ours) as server:
        assert b"HTTP" not in talk(server.port, ORDER)
        stranger = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20)
        with closing(stranger), pytest.raises(ssl.SSLCertVerificationError):
            stranger.request("POST", "/place", b"one")
        with closing(socket.create_connection(("127.0.0.1", server.port), 20)):  # never shakes hands
            client = http.client.HTTPSConnection("127.0.0.1", server.port, context=theirs, timeout=20)
            with closing(client):
                client.request("POST", "/place", b"two")
                assert client.getresponse().read() == ANSWER

        assert shop(server).taken == [b"two"]
