"""`ordergate venue kraken` and its like: what they print works, they can be told things, and they end when told to."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import ordergate_paper as paper
from ordergate import Executor
from ordergate.cli import commands
from ordergate.cli import venue as venue_command
from ordergate.testing import kraken
from ordergate.testing.control import Control
from ordergate.testing.loopback import ACTIONS, FAULTS, LIES, Loopback

PATIENCE = 60


@frozen
class Standing:
    """A venue in a process of its own."""

    process: subprocess.Popen[str]
    data: dict[str, Any]

    def ask(self, method: str = "GET", told: object = None, **headers: str) -> tuple[int, Any]:
        return ask(self.data["port"], method, told, **headers)


def ask(port: int, method: str = "GET", told: object = None, **headers: str) -> tuple[int, Any]:
    body = told if isinstance(told, bytes) else b"" if told is None else json.dumps(told).encode()
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as client:
        client.request(method, "/rehearsal", body, {name: value for name, value in sent.items() if value})
        answer = client.getresponse()
        return answer.status, json.loads(answer.read(), parse_float=Decimal)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Callable[..., Standing]]:
    """stand("kraken") starts a venue in the folder of the test and reads what it prints."""
    started: list[subprocess.Popen[str]] = []

    def standing(name: str, *words: str) -> Standing:
        command = [sys.executable, "-m", "ordergate", "venue", name, "--folder", str(tmp_path / "venue"), "--json"]
        # A background job of a shell ignores Ctrl-C, and hands that on: the test is of a program that hears it.
        heard = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            process = subprocess.Popen([*command, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        finally:
            signal.signal(signal.SIGINT, heard)
        started.append(process)
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        text = ""
        for line in lines:
            text += line
            if line == "}\n":
                break
        return Standing(process, json.loads(text))

    yield standing
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stands_until_it_is_told_to_end(stand: Callable[..., Standing], number: signal.Signals) -> None:
    venue = stand("kraken")
    assert venue.ask()[0] == 200

    venue.process.send_signal(number)
    _, problems = venue.process.communicate(timeout=PATIENCE)

    assert (venue.process.returncode, problems) == (0, "")


def test_what_it_prints_is_a_config_for_the_account(stand: Callable[..., Standing]) -> None:
    venue = stand("kraken")
    config = tomllib.loads(venue.data["config"])

    assert config["accounts"]["rehearsal"]["broker"] == "kraken"
    table = config["accounts"]["rehearsal"]["kraken"]
    assert table["base_url"] == f"http://127.0.0.1:{venue.data['port']}"
    assert len(Path(table["key_file"]).read_text(encoding="ascii").split()) == 2
    assert venue.data["control"] == f"{table['base_url']}/rehearsal"
    assert {"cut", "late", "no_id"} <= set(venue.data["faults"])


def test_a_port_that_is_taken_is_named(stand: Callable[..., Standing], tmp_path: Path) -> None:
    taken = stand("kraken").data["port"]
    words = [sys.executable, "-m", "ordergate", "venue", "kraken", "--folder", str(tmp_path / "venue")]

    done = subprocess.run([*words, "--port", str(taken)], text=True, capture_output=True, timeout=PATIENCE, check=False)

    assert done.returncode == 2
    assert f"port: {taken} is not usable" in done.stderr


@pytest.mark.parametrize("words", [("--port", "70000"), ("--port", "x"), ("extra",)])
def test_words_that_make_no_sense_are_usage_errors(program: Any, words: tuple[str, ...]) -> None:
    assert program("venue", "kraken", *words).code == 2


def test_every_exchange_that_can_stand_is_a_command() -> None:
    group = commands.get_command(None, "venue")  # type: ignore[arg-type]  # it needs no context

    assert set(group.commands) == {"paper", "kraken", "coinbase", "binance"}  # type: ignore[union-attr]  # it is a group


# --- telling it things, on a venue of this process


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[kraken.KrakenRehearsal]:
    with kraken.serve(tmp_path, 0) as made:
        made.server.control = Control(made, made.server)
        yield made


def test_it_says_how_it_stands(driven: kraken.KrakenRehearsal) -> None:
    assert ask(driven.server.port) == (200, {"counts": {}, "faults": [], "orders": []})
    assert driven.server.counts() == {}, "what is told to it is no request of the exchange"


def test_it_is_told_prices_and_faults_and_shows_them(driven: kraken.KrakenRehearsal) -> None:
    status, stands = ask(
        driven.server.port,
        "POST",
        {"price": {"BTC-USD": "51000.5", "ETH-USD": 2600}, "fail": {"name": "cut", "times": None, "taken": False}},
    )

    assert status == 200
    assert stands["faults"] == [
        {"name": "cut", "on": "place", "times": None, "taken": False, "status": 502, "text": ""}
    ]
    prices = paper.get_prices(driven.dialect.venue, ["BTC-USD", "ETH-USD"])
    assert [price.bid for price in prices] == [Decimal("51000.5"), Decimal(2600)]
    assert ask(driven.server.port, "POST", {"clear": True})[1]["faults"] == []
    assert ask(driven.server.port, "POST", {"release": True})[0] == 200


@pytest.mark.parametrize(
    ("told", "status", "why"),
    [
        (b"", 400, "no JSON"),
        (b"{", 400, "no JSON"),
        (b"[" * 100_000, 400, "no JSON"),
        ([], 400, "an object"),
        ({}, 400, "an object"),
        ({"buy": 1}, 400, "clear, release, fail, price"),
        ({"fail": "cut"}, 400, "fail takes an object"),
        ({"fail": {"name": "cut", "who": 1}}, 400, "fail takes an object"),
        ({"fail": {"name": "nonsense"}}, 400, "use one of"),
        ({"fail": {"name": "http", "status": "x"}}, 400, "status"),
        ({"price": 5}, 400, "price takes an object"),
        ({"price": {"NOPE-USD": "5"}}, 400, "no such market"),
        ({"price": {"BTC-USD": "-5"}}, 400, "above zero"),
        ({"price": {"BTC-USD": None}}, 400, "price"),
    ],
)
def test_what_makes_no_sense_is_said_and_not_done(
    driven: kraken.KrakenRehearsal, told: object, status: int, why: str
) -> None:
    answered, data = ask(driven.server.port, "POST", told)

    assert (answered, data.keys()) == (status, {"error"})
    assert why in data["error"]
    assert driven.server.faults() == ()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1.rebound.example"},
        {"Origin": "https://rebound.example"},
        {"Origin": "null"},
    ],
)
def test_g03_browser_a_page_cannot_drive_the_venue(driven: kraken.KrakenRehearsal, headers: dict[str, str]) -> None:
    status, _ = ask(driven.server.port, "POST", {"fail": {"name": "cut"}}, **headers)

    assert (status, driven.server.faults()) == (403, ())


def test_g03_browser_a_plain_form_is_no_json(driven: kraken.KrakenRehearsal) -> None:
    assert ask(driven.server.port, "POST", {"clear": True}, Content_Type="text/plain")[0] == 415
    assert ask(driven.server.port, "PUT", {"clear": True})[0] == 405
    assert ask(driven.server.port, Host=f"LocalHost:{driven.server.port}")[0] == 200


def test_a_venue_that_nobody_drives_has_no_such_page(tmp_path: Path) -> None:
    with (
        kraken.serve(tmp_path, 0) as made,
        closing(http.client.HTTPConnection("127.0.0.1", made.server.port)) as client,
    ):
        assert isinstance(made.server, Loopback)
        client.request("GET", "/rehearsal")
        assert client.getresponse().status == 404


# --- docs/rehearse.md

PAGE = (Path(__file__).parents[2] / "docs" / "rehearse.md").read_text(encoding="utf-8")


def shell_lines() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_every_command_of_the_page_is_run(stand: Callable[..., Standing]) -> None:
    first, *curls = shell_lines()
    assert (first[:3], first[3:]) == (["ordergate", "venue", "kraken"], ["--port", "8411", "--folder", "rehearsal"])
    venue = stand("kraken", "--port", "0")

    for words in curls:
        assert words[:3] == ["curl", "-s", "http://127.0.0.1:8411/rehearsal"]
        options = dict(zip(words[3::2], words[4::2], strict=True))
        if options:
            name, _, value = options.pop("-H").partition(": ")
            body = options.pop("-d").encode()
            status, _ = venue.ask("POST", body, **{name.replace("-", "_"): value})
        else:
            status, _ = venue.ask()
        assert (status, options) == (200, {}), words

    assert venue.ask()[1] == {"counts": {}, "faults": [], "orders": []}


def test_every_fault_and_every_action_is_in_the_page() -> None:
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE))

    assert rows == {*FAULTS, *LIES}
    assert [name for name in ACTIONS if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("name", ["kraken", "coinbase", "binance"])
def test_what_each_exchange_prints_is_a_config_that_works(tmp_path: Path, name: str) -> None:
    with import_module(f"ordergate.testing.{name}").serve(tmp_path, 0) as made:
        assert isinstance(made.server, Loopback)
        printed = tomllib.loads(venue_command._config(name, made))
        # Importing an SDK on a busy machine takes its time; how long is not what is tested here.
        gate = {"rules": ["dust"], "deadline": 60, **printed.get("gate", {})}
        with Executor.from_values({**printed, "gate": gate}, folder=tmp_path) as executor:
            assert (executor.setup.problems, executor.setup.refusals) == ((), ())
            executor.setup.brokers["rehearsal"].client(60)
            report = executor.setup.brokers["rehearsal"].get_account()

    assert {one.currency: one.total for one in report.holdings}["BTC"] == Decimal("0.01")
