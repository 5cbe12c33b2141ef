"""Keys, nonces, connections and certificates: what must hold before anything is said to the venue."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import logging
import re
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from kraken_script import (  # type: ignore[import-not-found]  # this folder is on the path of its tests alone
    KEY,
    SECRET,
    Scripted,
    an_order,
    connected,
    said,
)

import ordergate_kraken as broker
from ordergate import BrokerError, InputError, NotSent, OrderStatus, Side
from ordergate.clock import SystemClock
from ordergate.nonces import Nonces
from ordergate.testing.kraken import KrakenRehearsal, signature
from ordergate.testing.loopback import Loopback, Reply, Request


def nonces_on(server: Loopback) -> list[int]:
    """The nonces in the order in which they arrived."""
    bodies = [one.body.decode() for one in server.requests() if "/private/" in one.path]
    return [int(parse_qs(body)["nonce"][0]) for body in bodies]


def rises(numbers: list[int]) -> bool:
    return all(before < after for before, after in itertools.pairwise(numbers))


# ---------------------------------------------------------------------------------------------------------- the key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        f"{KEY}\n",
        f"{KEY}\n\n{SECRET}\n",
        f"{KEY}\n{SECRET}\nmore\n",
        f"{KEY}\nnot base64!\n",
        f"ké\n{SECRET}\n",
    ],
)
def test_g07_key_file_of_another_shape_is_refused_and_never_shown(key_file: Path, text: str) -> None:
    key_file.write_text(text, encoding="utf-8")

    with pytest.raises(InputError) as refused:
        connected({"key_file": key_file})
    assert "key_file" in str(refused.value)
    for line in [line for line in text.split("\n") if line]:
        assert line not in "".join(traceback.format_exception(refused.value))


def test_g07_key_file_that_others_can_read_is_refused(key_file: Path) -> None:
    key_file.chmod(0o644)

    with pytest.raises(InputError, match="0644"):
        connected({"key_file": key_file})


@pytest.mark.parametrize(
    "address",
    [
        "ftp://api.kraken.com",
        "api.kraken.com",
        "https://",
        "https://user:word@api.kraken.com",
        "https://api.kraken.com/0/private",
        "https://api.kraken.com?x=1",
        "http://api.kraken.com",
        "http://10.0.0.1:80",
    ],
)
def test_an_address_that_is_none_or_not_encrypted_is_refused(key_file: Path, address: str) -> None:
    with pytest.raises(InputError, match="base_url"):
        broker.Settings(key_file=key_file, base_url=address)


def test_the_address_is_the_venues_own_where_none_is_set(key_file: Path) -> None:
    assert connected({"key_file": key_file}).api.uri == "https://api.kraken.com"


def test_g06_canary_secrets_are_in_nothing_that_is_shown(
    spoken: broker.Client, scripted: Scripted, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = [repr(spoken), str(spoken), repr(spoken.api), repr(spoken.nonces)]

    def attempt(run: Callable[[], object]) -> None:
        try:
            seen.append(repr(run()))
        except BrokerError as error:
            seen.append("".join(traceback.format_exception(error)))

    for answer in (said(None, "EAPI:Invalid key"), said(None, "EAPI:Invalid signature"), said([]), said({"txid": 1})):
        scripted.answers |= dict.fromkeys(("AddOrder", "BalanceEx", "QueryOrders", "CancelOrder"), answer)
        for run in (
            lambda: broker.get_account(spoken),
            lambda: broker.place_order(spoken, an_order()),
            lambda: broker.cancel_order(spoken, an_order()),
        ):
            attempt(run)
    spoken.api.uri = "http://127.0.0.1:1"
    attempt(lambda: broker.place_order(spoken, an_order()))
    attempt(lambda: broker.get_permissions(spoken))

    out = capfd.readouterr()
    shown = "\n".join([*seen, out.out, out.err, caplog.text])
    assert "Kraken" in shown
    for canary in (KEY, SECRET, base64.b64decode(SECRET).decode()):
        assert canary not in shown


def test_the_client_is_shown_by_the_fingerprint_of_its_key(spoken: broker.Client) -> None:
    assert re.fullmatch(r"<Kraken client, key [0-9a-f]{12}>", repr(spoken))


# --------------------------------------------------------------------------------------------------------- signatures


def test_what_is_sent_is_what_was_signed(spoken: broker.Client, scripted: Scripted, server: Loopback) -> None:
    scripted.answers["AddOrder"] = {"txid": ["O1"]}

    broker.place_order(spoken, an_order(symbol="A&B-C=D", amount="1"))

    (sent,) = [one for one in server.requests() if one.path.endswith("AddOrder")]
    nonce = parse_qs(sent.body.decode())["nonce"][0]
    assert sent.headers["api-key"] == KEY
    assert sent.headers["api-sign"] == signature(SECRET, sent.path, nonce, sent.body)
    assert sent.headers["content-length"] == str(len(sent.body))


# -------------------------------------------------------------------------------------------------------------- nonces


def test_c17_nonce_rises_on_the_wire_for_eight_threads_of_one_key(
    kraken: KrakenRehearsal, client: broker.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker._asked, "__kwdefaults__", {**(broker._asked.__kwdefaults__ or {}), "turn": 30.0})
    broker.get_account(client)

    with ThreadPoolExecutor(8) as crowd:
        reports = list(crowd.map(lambda _: broker.get_account(client), range(16)))

    assert len(reports) == 16
    assert rises(nonces_on(kraken.server))


CHILD = """
import sys
from pathlib import Path
import ordergate_kraken as broker
broker._asked.__kwdefaults__["turn"] = 30.0
client = broker.connect(broker.Settings(key_file=Path(sys.argv[1]), base_url=sys.argv[2]))
for _ in range(5):
    broker._private(client, "BalanceEx")
"""


def test_c17_nonce_rises_on_the_wire_for_four_processes_of_one_key(kraken: KrakenRehearsal) -> None:
    command = [sys.executable, "-c", CHILD, str(kraken.settings["key_file"]), str(kraken.settings["base_url"])]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]

    for child in children:
        _, problems = child.communicate(timeout=60)
        assert child.returncode == 0, problems
    numbers = nonces_on(kraken.server)
    assert len(numbers) == 20
    assert rises(numbers)


class Back(SystemClock):
    """Every look at this clock shows an earlier moment."""

    def __init__(self) -> None:
        self.back = 0.0

    def now(self) -> float:
        self.back += 3600
        return super().now() - self.back


def test_c17_nonce_rises_while_the_clock_steps_back(
    kraken: KrakenRehearsal, client: broker.Client, tmp_path: Path
) -> None:
    client.nonces = Nonces(tmp_path / "stepping.nonce", Back())

    for _ in range(3):
        broker.get_account(client)

    assert rises(nonces_on(kraken.server))


def test_nonces_stand_beside_the_key(kraken: KrakenRehearsal, client: broker.Client) -> None:
    broker.get_permissions(client)

    key_file = Path(str(kraken.settings["key_file"]))
    assert key_file.with_name(key_file.name + ".nonce").read_text().strip().isdigit()


def test_c14_exits_overtake_a_question_that_hangs(
    spoken: broker.Client, scripted: Scripted, server: Loopback, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program hangs in a question under the same key: the sell waits for its turn for a bounded time only."""
    monkeypatch.setattr(broker._asked, "__kwdefaults__", {**(broker._asked.__kwdefaults__ or {}), "turn": 0.05})
    other = connected({"key_file": key_file, "base_url": f"http://{server.address}"})
    arrived, released = threading.Event(), threading.Event()
    rights = scripted.answers["GetApiKeyInfo"]

    def hang(_: Request) -> Any:
        arrived.set()
        released.wait(30)
        return rights

    scripted.by_request["GetApiKeyInfo"] = hang
    scripted.answers["AddOrder"] = {"txid": ["O1"]}
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(broker.get_permissions, other)
        assert arrived.wait(30)

        receipt = broker.place_order(spoken, an_order(amount="0.001", side=Side.SELL))

        assert not hanging.done()
        released.set()
        assert hanging.result(30) == []  # it may see funds, and neither orders nor trade
    assert receipt.status is OrderStatus.OPEN
    assert rises(nonces_on(server))


# --------------------------------------------------------------------------------------------------------- connections


def test_c09_no_resend_is_built_in(client: broker.Client) -> None:
    session = client.api.session

    assert [adapter.max_retries.total for adapter in session.adapters.values()] == [0, 0]
    assert (session.trust_env, session.max_redirects) == (False, 0)


def test_surroundings_change_nothing(
    kraken: KrakenRehearsal, client: broker.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(netrc))

    broker.get_permissions(client)

    (asked,) = kraken.server.requests()
    assert "authorization" not in asked.headers


def test_an_answer_belongs_to_the_one_who_asked(kraken: KrakenRehearsal, client: broker.Client) -> None:
    """The SDK keeps the last answer on the object that was asked; threads that shared it would read each other's."""
    with ThreadPoolExecutor(8) as crowd:
        prices = list(crowd.map(lambda name: broker.get_prices(client, [name]), ["BTC-USD", "ETH-USD"] * 8))

    assert [one[0].symbol for one in prices] == ["BTC-USD", "ETH-USD"] * 8
    assert client.api.response is None


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_refused_connection_proves_that_nothing_was_sent(key_file: Path) -> None:
    client = connected({"key_file": key_file, "base_url": f"http://127.0.0.1:{closed_port()}"})

    with pytest.raises(NotSent, match="no connection"):
        broker.place_order(client, an_order())


def test_a_name_that_nobody_has_proves_that_nothing_was_sent(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    client = connected({"key_file": key_file, "base_url": "https://nobody.invalid"})

    with pytest.raises(NotSent, match="no connection"):
        broker.place_order(client, an_order())


def test_a_connection_that_times_out_proves_that_nothing_was_sent(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object, **__: object) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.util.connection.create_connection", slow)
    client = connected({"key_file": key_file, "base_url": "https://127.0.0.1:9"})

    with pytest.raises(NotSent, match="no connection"):
        broker.place_order(client, an_order())


def test_questions_and_cancels_never_claim_that_nothing_was_sent(key_file: Path) -> None:
    client = connected({"key_file": key_file, "base_url": f"http://127.0.0.1:{closed_port()}"})

    for run in (lambda: broker.get_permissions(client), lambda: broker.cancel_order(client, an_order())):
        with pytest.raises(BrokerError) as failed:
            run()
        assert not isinstance(failed.value, NotSent)


# -------------------------------------------------------------------------------------------------------- certificates


@contextmanager
def with_tls(scripted: Scripted, certificate: trustme.LeafCert) -> Iterator[Loopback]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with Loopback(scripted, tls=context) as server:
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    made = trustme.CA()
    path = tmp_path / "ca.pem"
    made.cert_pem.write_to_path(path)
    return made, path


def test_a_certificate_of_the_authority_in_the_config_is_good(
    scripted: Scripted, key_file: Path, authority: tuple[trustme.CA, Path]
) -> None:
    scripted.answers["AddOrder"] = {"txid": ["O1"]}
    with with_tls(scripted, authority[0].issue_cert("127.0.0.1")) as server:
        client = connected({"key_file": key_file, "base_url": f"https://{server.address}", "ca_file": authority[1]})

        assert broker.place_order(client, an_order()).status is OrderStatus.OPEN


def _expired(ca: trustme.CA) -> trustme.LeafCert:
    return ca.issue_cert("127.0.0.1", not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    "issue",
    [
        lambda _: trustme.CA().issue_cert("127.0.0.1"),
        lambda ca: ca.issue_cert("api.kraken.example"),
        _expired,
    ],
    ids=["self-signed", "wrong-host", "expired"],
)
def test_c16_tls_with_a_wrong_certificate_sends_nothing(
    scripted: Scripted,
    key_file: Path,
    authority: tuple[trustme.CA, Path],
    issue: Callable[[trustme.CA], trustme.LeafCert],
) -> None:
    with with_tls(scripted, issue(authority[0])) as server:
        client = connected({"key_file": key_file, "base_url": f"https://{server.address}", "ca_file": authority[1]})

        with pytest.raises(NotSent, match="SSLError"):
            broker.place_order(client, an_order())
        assert server.requests() == ()


def test_c16_tls_downgraded_to_plain_words_sends_nothing(
    server: Loopback, key_file: Path, authority: tuple[trustme.CA, Path]
) -> None:
    client = connected({"key_file": key_file, "base_url": f"https://{server.address}", "ca_file": authority[1]})

    with pytest.raises(NotSent, match="SSLError"):
        broker.place_order(client, an_order())
    assert server.count("place") == 0


def test_a_broken_connection_after_the_body_proves_nothing(
    scripted: Scripted, key_file: Path, authority: tuple[trustme.CA, Path]
) -> None:
    """The same kind of error as a wrong certificate, and the order may be there: what was read of its body tells."""
    scripted.answers["AddOrder"] = {"txid": ["O1"]}
    with with_tls(scripted, authority[0].issue_cert("127.0.0.1")) as server:
        server.fail("cut")
        client = connected({"key_file": key_file, "base_url": f"https://{server.address}", "ca_file": authority[1]})

        with pytest.raises(BrokerError) as unknown:
            broker.place_order(client, an_order())
        assert not isinstance(unknown.value, NotSent)
        assert server.count("place") == 1


def test_json_numbers_are_read_exactly(spoken: broker.Client, scripted: Scripted) -> None:
    body = json.dumps({"error": [], "result": {"fees": {"XXBTZUSD": {"fee": "@"}}}}).replace(
        '"@"', "0.1000000000000001"
    )
    scripted.answers["TradeVolume"] = Reply(body.encode())

    assert str(broker.get_fees(spoken, "BTC-USD")[0].value) == "0.001000000000000001"
