"""Settings, keys and what must never be said: what a config can and cannot do to this broker."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ordergate_ccxt as broker
from ordergate import BrokerError, Executor, InputError, VenueOrder

KEY, SECRET = "canary-key-7f3a9c", "Y2FuYXJ5LXNlY3JldC03ZjNhOWM="


def key_file(folder: Path, text: str = f"{KEY}\n{SECRET}\n", mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_names_are_ccxts_own() -> None:
    assert set(importlib.import_module("ccxt").exchanges) == set(broker._exchanges())
    assert set(broker.VENUES) <= set(broker._exchanges())


@pytest.mark.parametrize(("wrong", "near"), [("krakn", "kraken"), ("Binance", "binance"), ("", "kraken")])
def test_an_unknown_exchange_names_the_nearest(tmp_path: Path, wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=near):
        broker.Settings(exchange=wrong, key_file=tmp_path)


@pytest.mark.parametrize("address", ["http://api.kraken.com", "x/path", "ftp://127.0.0.1", "https://x/path"])
def test_an_address_without_protection_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="base_url"):
        broker.Settings(exchange="kraken", key_file=tmp_path, base_url=address)


@pytest.mark.parametrize("address", ["127.0.0.1:8443", "https://127.0.0.1:8443"])
def test_an_address_without_a_scheme_is_spoken_to_over_tls(tmp_path: Path, address: str) -> None:
    settings = broker.Settings(exchange="coinbase", key_file=tmp_path, base_url=address)
    assert settings.base_url == "https://127.0.0.1:8443"


@pytest.mark.parametrize(
    "key", ["options", "maxRetriesOnFailure", "enableRateLimit", "verbose", "verify", "headers", "timeout"]
)
def test_c09_no_key_of_the_config_reaches_ccxts_options(tmp_path: Path, key: str) -> None:
    table = {"exchange": "kraken", "key_file": str(key_file(tmp_path)), key: {"maxRetriesOnFailure": 2}}
    values = {"gate": {"rules": ["dust"]}, "accounts": {"main": {"broker": "ccxt", "ccxt": table}}}
    with Executor.from_values(values, folder=tmp_path) as executor:
        problems = [str(problem) for problem in executor.setup.problems]
    assert any(f"accounts.main.ccxt.{key}" in problem for problem in problems), problems


@pytest.mark.parametrize("exchange", [*broker.VENUES, "poloniex"])
def test_every_profile_can_be_used(exchange: str) -> None:
    settings = broker.Settings(exchange=exchange, key_file=Path("key"))
    profile = broker.broker_profile(settings)
    assert profile.fee_threshold.value == (5 if exchange == "coinbase" else 10)
    assert profile.rests_on
    assert all(
        figure.source and figure.as_of for figure in (profile.fee_threshold, profile.maker_fee, profile.taker_fee)
    )


def test_everything_that_would_resend_wait_or_redirect_is_off(
    tmp_path: Path, connect: Callable[..., broker.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    client = connect({"exchange": "kraken", "key_file": key_file(tmp_path), "ca_file": tmp_path / "ca.pem"})
    exchange = broker._new_line(client).exchange
    assert exchange.enableRateLimit is False
    assert exchange.options["maxRetriesOnFailure"] == 0
    assert (exchange.session.max_redirects, exchange.session.trust_env) == (0, False)
    assert exchange.validateServerSsl == str(tmp_path / "ca.pem")
    assert exchange.number is str
    assert exchange.timeout <= 10_000


def test_another_address_replaces_every_one(tmp_path: Path, connect: Callable[..., broker.Client]) -> None:
    settings = {"exchange": "gate", "key_file": key_file(tmp_path), "base_url": "https://sandbox.example.com"}
    moved = json.dumps(broker._new_line(connect(settings)).exchange.urls["api"])
    assert "sandbox.example.com/api/v4" in moved
    assert "gateio" not in moved


def test_the_module_does_not_import_ccxt() -> None:
    code = "import sys, ordergate_ccxt; sys.exit('ccxt' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("exchange", "text", "fix"),
    [
        ("kraken", f"{KEY}\n", "2 lines: the key, the secret"),
        ("okx", f"{KEY}\n{SECRET}\n", "3 lines: the key, the secret, the passphrase"),
        ("kraken", f"{KEY}\n{SECRET}\nmore\n", "2 lines"),
        ("coinbase", '{"name": "x"}', "privateKey"),
        ("coinbase", "{not json", "privateKey"),
        ("coinbase", "garbage", "2 lines: the key, the secret; or the JSON file"),
    ],
)
def test_a_key_file_that_does_not_serve_is_named_and_never_shown(
    tmp_path: Path, exchange: str, text: str, fix: str
) -> None:
    settings = broker.Settings(exchange=exchange, key_file=key_file(tmp_path, text))
    with pytest.raises(InputError, match=fix) as raised:
        broker.connect(settings)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_g07_key_file_that_others_may_read(tmp_path: Path, mode: int) -> None:
    with pytest.raises(InputError, match="mode"):
        broker.connect(broker.Settings(exchange="kraken", key_file=key_file(tmp_path, mode=mode)))


def test_three_lines_where_an_exchange_has_a_passphrase(tmp_path: Path, connect: Callable[..., broker.Client]) -> None:
    client = connect({"exchange": "okx", "key_file": key_file(tmp_path, f"{KEY}\n{SECRET}\nphrase\n")})
    assert client.keys == {"apiKey": KEY, "secret": SECRET, "password": "phrase"}


def test_a_pem_written_on_one_line_gets_its_lines_back(tmp_path: Path, connect: Callable[..., broker.Client]) -> None:
    text = f"{KEY}\n-----BEGIN EC PRIVATE KEY-----\\nabc\\n-----END EC PRIVATE KEY-----\\n"
    client = connect({"exchange": "coinbase", "key_file": key_file(tmp_path, text)})
    assert client.keys["secret"].splitlines()[1] == "abc"


def test_g06_canary_secrets_are_in_no_error_log_or_representation(
    venue: Any,
    connect: Callable[..., broker.Client],
    order: Callable[..., VenueOrder],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    client = connect(venue.settings)
    said = [repr(client), str(client.settings)]
    broker.get_account(client)
    for action, ask in (
        ("place", lambda: broker.place_order(client, order(venue, spend="20"))),
        ("account", lambda: broker.get_account(client)),
        ("find", lambda: broker.find_order(client, order(venue, spend="20"))),
    ):
        for fault, status in (("cut", 502), ("http", 403), ("html", 502), ("empty_object", 502)):
            venue.fail(fault, on=action, status=status)
            with pytest.raises((BrokerError, LookupError)) as raised:
                ask()
            said += [str(raised.value), repr(raised.value), repr(raised.value.__cause__)]
            venue.clear()
    said.append(caplog.text)
    secrets = [part for value in client.keys.values() for part in value.splitlines() if len(part) > 11]
    assert secrets
    assert not [secret for secret in secrets for text in said if secret in text and "-----" not in secret]


def test_what_a_venue_repeats_of_a_key_is_masked(tmp_path: Path, connect: Callable[..., broker.Client]) -> None:
    client = connect({"exchange": "kraken", "key_file": key_file(tmp_path)})
    assert client.masked(f"you sent {KEY} and {SECRET}") == "you sent *** and ***"


def test_the_gate_admits_it_and_reads_its_profile(tmp_path: Path) -> None:
    table = {"exchange": "binance", "key_file": str(key_file(tmp_path))}
    values = {"gate": {"rules": ["dust"]}, "accounts": {"main": {"broker": "ccxt", "ccxt": table}}}
    with Executor.from_values(values, folder=tmp_path) as executor:
        assert executor.setup.problems == ()
        assert executor.setup.brokers["main"].profile.venue == "binance (ccxt)"
