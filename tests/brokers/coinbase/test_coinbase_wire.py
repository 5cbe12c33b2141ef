"""The wire and the key: where an order may go, when, by whose word, and that nothing of the key is ever shown."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import ssl
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from requests.adapters import HTTPAdapter

import ordergate_coinbase as coinbase
from ordergate import BrokerError, InputError, NotSent, OrderStatus, VenueOrder
from ordergate.clock import SystemClock
from ordergate.testing.coinbase import CoinbaseRehearsal, rehearsal
from ordergate.testing.loopback import Loopback, Reply, Request

Make = Callable[..., VenueOrder]
Connect = Callable[..., coinbase.Client]
Keep = Callable[..., Path]
Script = Callable[..., tuple[coinbase.Client, Any]]


def server_side(authority: trustme.CA, *names: str, **dates: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **dates).configure_cert(context)
    return context


# --- whom an order is sent to


@pytest.mark.parametrize("trouble", ["self-signed", "wrong-host", "expired", "not-yet", "no-tls"])
def test_c16_an_order_goes_to_nobody_but_the_venue(
    venue: CoinbaseRehearsal,
    connected: Connect,
    closing: ExitStack,
    authority: trustme.CA,
    tmp_path: Path,
    order: Make,
    trouble: str,
) -> None:
    now = datetime.now(UTC)
    contexts: dict[str, Callable[[], ssl.SSLContext | None]] = {
        "self-signed": lambda: server_side(trustme.CA(), "127.0.0.1"),
        "wrong-host": lambda: server_side(authority, "api.coinbase.com"),
        "expired": lambda: server_side(
            authority, "127.0.0.1", not_before=now - timedelta(2), not_after=now - timedelta(1)
        ),
        "not-yet": lambda: server_side(authority, "127.0.0.1", not_before=now + timedelta(1)),
        "no-tls": lambda: None,
    }
    stranger = closing.enter_context(Loopback(venue.dialect, tls=contexts[trouble]()))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client = connected(venue.settings, base_url=stranger.address, ca_file=tmp_path / "ca.pem")

    with pytest.raises(NotSent):
        coinbase.place_order(client, order())

    with pytest.raises(BrokerError):
        coinbase.get_time(client)
    assert stranger.requests() == ()


def test_nobody_there_means_nothing_was_sent(venue: CoinbaseRehearsal, connected: Connect, order: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    client = connected(venue.settings, base_url=f"127.0.0.1:{port}")

    with pytest.raises(NotSent, match="refused"):
        coinbase.place_order(client, order())


def test_an_address_that_does_not_resolve_means_nothing_was_sent(
    venue: CoinbaseRehearsal, connected: Connect, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = connected(venue.settings, base_url="nobody.invalid")

    with pytest.raises(NotSent, match="not known"):
        coinbase.place_order(client, order())


def test_a_venue_that_never_shakes_hands_means_nothing_was_sent(
    venue: CoinbaseRehearsal, connected: Connect, order: Make
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connected(venue.settings, base_url=f"127.0.0.1:{silent.getsockname()[1]}")
        client.wire.seconds = 0.2

        with pytest.raises(NotSent):
            coinbase.place_order(client, order())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_c06_a_redirected_order_goes_nowhere_else(scripted: Script, order: Make, status: int) -> None:
    """A followed redirect turns it into a question, or sends it twice; either way the answer is not about it."""
    there = {"order_id": "o-1", "product_id": "BTC-USD", "side": "BUY", "client_order_id": order().client_order_id}
    client, server = scripted(
        {
            "/orders": Reply(b"", status, headers={"Location": "/api/v3/brokerage/there"}),
            "/there": {"success": True, "success_response": there},
        }
    )

    with pytest.raises(BrokerError) as raised:
        coinbase.place_order(client, order())

    assert not isinstance(raised.value, NotSent)
    assert [(one.method, one.path) for one in server.requests()] == [("POST", "/api/v3/brokerage/orders")]


def test_a_redirected_question_goes_nowhere_else(scripted: Script) -> None:
    client, server = scripted(
        {
            "/time": Reply(b"", 302, headers={"Location": "/api/v3/brokerage/there"}),
            "/there": {"epochMillis": "1000"},
        }
    )

    with pytest.raises(BrokerError):
        coinbase.get_time(client)
    assert len(server.requests()) == 1


# --- when


def test_c15_an_order_is_not_sent_after_its_time(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make
) -> None:
    with pytest.raises(NotSent, match="send-by"):
        coinbase.place_order(client, order(send_by=SystemClock().now() - 0.001))
    assert venue.requests() == 0


def test_c15_the_time_is_looked_at_when_the_connection_is_there(
    venue: CoinbaseRehearsal, connected: Connect, order: Make
) -> None:
    """Making a connection takes long while the order grows old: what was in time before is too late after."""
    client = connected(venue.settings)
    late: list[float] = []
    begin = client.wire.begin

    def looked(now: float) -> None:
        late.append(now)
        begin(now + 3600)

    # A thread's own wire: the SDK's connection calls it with the handshake behind it.
    client.wire.begin = looked  # type: ignore[method-assign]  # it is what this test watches

    with pytest.raises(NotSent):
        coinbase.place_order(client, order())
    assert len(late) == 1
    assert venue.requests() == 0


def test_the_time_of_one_order_binds_no_question(client: coinbase.Client, order: Make) -> None:
    with pytest.raises(NotSent):
        coinbase.place_order(client, order(send_by=1.0))

    assert (coinbase.get_time(client) or 0) > 0


def test_the_token_ends_two_minutes_after_the_order_must_have_left(scripted: Script, order: Make) -> None:
    client, server = scripted({})
    last = order()

    with pytest.raises(BrokerError):
        coinbase.place_order(client, last)

    token = server.requests()[0].headers["authorization"].removeprefix("Bearer ")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    profile = coinbase.broker_profile()
    assert claims["exp"] < last.send_by + 120 <= last.send_by + profile.honoured
    assert claims["uri"] == f"POST {server.address}/api/v3/brokerage/orders"


def test_a_wire_that_is_not_watched_is_never_taken_at_its_word(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make
) -> None:
    """As when another version of urllib3 would write requests in another way: what was sent is not called unsent."""
    client.sdk.session.mount("https://", HTTPAdapter())

    for ask in (lambda: coinbase.get_time(client), lambda: coinbase.place_order(client, order())):
        with pytest.raises(RuntimeError, match="past the watch"):
            ask()
    assert len(venue.orders()) == 1


# --- by whose word: nothing of the surroundings


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment full of keys, proxies and certificates that are none of this account's."""
    nowhere = "http://127.0.0.1:9"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password stolen\n")
    netrc.chmod(0o600)
    others = {
        "COINBASE_API_KEY": "another-key",
        "COINBASE_API_SECRET": "another-secret",
        "REQUESTS_CA_BUNDLE": str(tmp_path / "nothing.pem"),
        "CURL_CA_BUNDLE": str(tmp_path / "nothing.pem"),
        "NETRC": str(netrc),
        "HTTPS_PROXY": nowhere,
        "https_proxy": nowhere,
        "ALL_PROXY": nowhere,
    }
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("hostile")
def test_the_surroundings_change_nothing(venue: CoinbaseRehearsal, connected: Connect, order: Make) -> None:
    client = connected(venue.settings)

    assert coinbase.place_order(client, order()).status is OrderStatus.FILLED
    assert all(one.headers["authorization"].startswith("Bearer ") for one in venue.server.requests())


@pytest.mark.usefixtures("hostile")
def test_keys_in_the_surroundings_are_no_key_of_the_account(venue: CoinbaseRehearsal) -> None:
    """The SDK reads them when it is imported, so this takes a process of its own."""
    done = ran("print(c.get_account(client).identity)", venue)

    assert (done.stdout.strip(), done.stderr) == (venue.dialect.portfolio, "")


def test_g06_the_sdk_writes_no_answers_to_stderr(venue: CoinbaseRehearsal) -> None:
    venue.fail("http", status=503, on="time")

    done = ran("try:\n    c.get_time(client)\nexcept c.BrokerError:\n    print('told')", venue)

    assert (done.stdout.strip(), done.stderr) == ("told", "")


def ran(lines: str, venue: CoinbaseRehearsal) -> subprocess.CompletedProcess[str]:
    """What a process of its own says that connects to the venue as `client` and runs the lines."""
    program = (
        "import json, sys, ordergate_coinbase as c\n"
        "client = c.connect(c.Settings(**json.loads(sys.argv[1])))\n"
        f"{lines}\n"
        "client.sdk.session.close()\n"
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, json.dumps(dict(venue.settings))],
        env=dict(os.environ),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.coinbase.com",
        "http://127.0.0.1:8443",
        "api.coinbase.com/api",
        "user@api.coinbase.com",
        "api.coinbase.com#",
        "",
        "api coinbase com",
        "host:port",
        "-host",
        "host\n",
    ],
)
def test_an_address_is_a_host_alone(base_url: str) -> None:
    with pytest.raises(InputError, match="always https"):
        coinbase.Settings(key_file=Path("key.json"), base_url=base_url)


def test_the_fix_for_an_address_names_the_host() -> None:
    with pytest.raises(InputError, match=r"as in 127\.0\.0\.1:8443"):
        coinbase.Settings(key_file=Path("key.json"), base_url="http://127.0.0.1:8443/api")


def test_certificates_that_are_not_there_are_said_at_once(venue: CoinbaseRehearsal, connected: Connect) -> None:
    with pytest.raises(InputError, match="ca_file"):
        connected(venue.settings, ca_file=Path("/nowhere/ca.pem"))


# --- keys


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_both_kinds_of_key_sign(tmp_path: Path, connected: Connect, closing: ExitStack, algorithm: str) -> None:
    venue = closing.enter_context(rehearsal(tmp_path / "other", algorithm=algorithm))

    assert coinbase.get_permissions(connected(venue.settings)) == ["view", "trade"]


@pytest.mark.parametrize("name", ["name", "id"])
@pytest.mark.parametrize("form", ["ec-sec1", "ec-pkcs8", "ed-pem", "ed-32", "ed-64", "ed-newline"])
def test_every_form_that_coinbase_issues_is_taken(connected: Connect, key_file: Keep, form: str, name: str) -> None:
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    raw = edwards.private_bytes_raw()
    secrets = {
        "ec-sec1": curve.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, none).decode(),
        "ec-pkcs8": curve.private_bytes(pem, serialization.PrivateFormat.PKCS8, none).decode(),
        "ed-pem": edwards.private_bytes(pem, serialization.PrivateFormat.PKCS8, none).decode(),
        "ed-32": base64.b64encode(raw).decode(),
        "ed-64": base64.b64encode(raw + edwards.public_key().public_bytes_raw()).decode(),
        "ed-newline": base64.b64encode(raw).decode() + "\n",
    }

    connected({"key_file": key_file(json.dumps({name: "organizations/o/apiKeys/k", "privateKey": secrets[form]}))})


CANARY = "c4n4ry-OF-the-SECRET-k3y"


def unusable_keys() -> dict[str, str]:
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    big = rsa.generate_private_key(65537, 2048).private_bytes(pem, serialization.PrivateFormat.PKCS8, none).decode()
    other = ec.generate_private_key(ec.SECP384R1())
    other_curve = other.private_bytes(pem, serialization.PrivateFormat.PKCS8, none).decode()
    return {
        "not-json": CANARY,
        "empty": "",
        "a-list": json.dumps([CANARY]),
        "no-name": json.dumps({"privateKey": CANARY}),
        "no-key": json.dumps({"name": CANARY}),
        "number": json.dumps({"name": "k", "privateKey": 7}),
        "nothing": json.dumps({"name": "k", "privateKey": ""}),
        "old-hmac": json.dumps({"name": "k", "privateKey": CANARY}),
        "short": json.dumps({"name": "k", "privateKey": base64.b64encode(CANARY.encode()).decode()}),
        "broken-pem": json.dumps({"name": "k", "privateKey": f"-----BEGIN EC PRIVATE KEY-----\n{CANARY}\n"}),
        "rsa": json.dumps({"name": "k", "privateKey": big}),
        "other-curve": json.dumps({"name": "k", "privateKey": other_curve}),
        "deep": "[" * 10_000,
    }


@pytest.mark.parametrize("form", sorted(unusable_keys()))
def test_g06_g07_a_key_that_cannot_sign_is_refused_without_showing_it(
    connected: Connect, key_file: Keep, form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text = unusable_keys()[form]

    with pytest.raises(InputError, match="key_file") as raised:
        connected({"key_file": key_file(text)})

    shown = "".join(traceback.format_exception(raised.value)) + "".join(capfd.readouterr())
    assert CANARY not in shown
    assert "PRIVATE KEY" not in shown


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o700])
def test_g07_a_key_that_others_can_reach_is_refused(venue: CoinbaseRehearsal, connected: Connect, mode: int) -> None:
    Path(str(venue.settings["key_file"])).chmod(mode)

    with pytest.raises(InputError, match="chmod 600"):
        connected(venue.settings)


def test_g07_a_link_to_a_key_is_refused(venue: CoinbaseRehearsal, connected: Connect, tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(str(venue.settings["key_file"]))

    with pytest.raises(InputError, match="symbolic link"):
        connected(venue.settings, key_file=tmp_path / "link.json")


def test_g07_a_key_that_is_not_there_is_said(connected: Connect, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        connected({"key_file": tmp_path / "none.json"})


def test_g06_nothing_shows_the_key_or_a_token(
    venue: CoinbaseRehearsal,
    client: coinbase.Client,
    order: Make,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [repr(client), str(client)]
    for fault, more in (("cut", {}), ("http", {"status": 401}), ("http", {"status": 503}), ("html", {}), ("error", {})):
        venue.fail(fault, text="INTERNAL", **more)
        with pytest.raises(BrokerError) as raised:
            coinbase.place_order(client, order())
        shown.append("".join(traceback.format_exception(raised.value)))
    coinbase.get_account(client)

    stored = json.loads(Path(str(venue.settings["key_file"])).read_text())
    secrets = {*stored["privateKey"].split("\n")[1:-2], stored["privateKey"]}
    secrets |= {one.headers["authorization"].split()[1] for one in venue.server.requests()}
    shown += [*capfd.readouterr(), caplog.text]
    assert len(secrets) > 5
    assert [secret for secret in secrets if any(secret in text for text in shown)] == []


@pytest.mark.parametrize("form", ["page", "json"])
def test_g06_an_answer_that_echoes_the_request_is_not_repeated(scripted: Script, order: Make, form: str) -> None:
    def echo(request: Request) -> Reply:
        seen = request.headers["authorization"]
        return Reply((seen if form == "page" else json.dumps({"error": "unknown", "message": seen})).encode(), 500)

    client, server = scripted({"/orders": echo, "/time": echo})
    shown = []
    for ask in (lambda: coinbase.place_order(client, order()), lambda: coinbase.get_time(client)):
        with pytest.raises(BrokerError) as raised:
            ask()
        shown.append("".join(traceback.format_exception(raised.value)))

    tokens = [one.headers["authorization"].split()[1] for one in server.requests()]
    assert len(tokens) == 2
    assert [token for token in tokens if token[:60] in "".join(shown)] == []


def test_the_sdk_is_loaded_by_connecting_alone() -> None:
    program = (
        "import sys, ordergate_coinbase; print([name for name in ('coinbase', 'requests') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)

    assert done.stdout.strip() == "[]"
