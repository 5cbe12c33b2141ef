"""Processes that are killed while they trade over the wire: at each named point, and again while they recover.

The venue lives in the test's own process and survives. A process that dies is forked from a nursery that has the SDK
imported already, connects anew, and is killed by SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs

import pytest

from ordergate.broker import wire_id
from ordergate.clock import SystemClock
from ordergate.ledger import Recorded
from ordergate.sqlite_ledger import SqliteLedger
from ordergate.testing.rehearsal import Rehearsal

CHILD: Final = str(Path(__file__).parents[1] / "faults" / "child.py")
BUY: Final = {"symbol": "ETH-USD", "side": "buy", "spend": "100", "client_order_id": "mine"}
SELL: Final = {"symbol": "BTC-USD", "side": "sell", "amount": "0.005", "client_order_id": "mine"}
PATIENCE: Final = 60.0
LATER: Final = 400.0  # seconds: past the send-by time and whatever any of these venues honours

# The broker, the venue it speaks to, and the SDK that the nursery imports once.
BROKERS: Final = {
    "kraken": ("kraken", "krakenex"),
    "coinbase": ("coinbase", "coinbase.rest"),
    "ccxt": ("kraken", "ccxt"),
}
LOST: Final[dict[str, Any]] = {"name": "cut", "taken": True}
NEVER: Final[dict[str, Any]] = {"name": "cut", "taken": False}


def _named(fault: dict[str, Any] | None) -> str:
    return "as it should" if fault is None else "taken and cut" if fault["taken"] else "not taken"


# Where it dies, what the venue is told to do, and whether the venue has the order in the end.
POINTS: Final = [
    ("before_insert", None, False),
    ("after_insert", None, False),
    ("before_first_byte", None, False),
    ("before_answer", None, True),
    ("before_answer", NEVER, False),
    ("before_receipt", None, True),
    ("before_receipt", LOST, True),
    ("before_receipt", NEVER, False),
    ("after_receipt", None, True),
    ("after_receipt", LOST, True),
    ("after_receipt", NEVER, False),
]
# All of it at Kraken; at the others what differs with the wire, for their processes are slow to begin.
ELSEWHERE: Final = {
    "coinbase": [("before_first_byte", None), ("before_answer", None), ("before_receipt", NEVER)],
    "ccxt": [("before_answer", None), ("before_receipt", NEVER)],
}
CASES: Final = [
    pytest.param(broker, *case, id=f"{broker}-{case[0]}-{_named(case[1])}")
    for broker in BROKERS
    for case in POINTS
    if broker == "kraken" or case[:2] in ELSEWHERE[broker]
]


def brokers(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker", names, indirect=True, scope="module")


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread of the venue is just doing."""
    ends, pause = SystemClock().monotonic() + PATIENCE, threading.Event()
    while not is_so():
        assert SystemClock().monotonic() < ends, "it never came to be"
        pause.wait(0.005)


class Nursery:
    """Processes with one SDK imported, forked one by one."""

    def __init__(self, sdk: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, CHILD, "nursery", sdk], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def begin(self, **told: Any) -> int:
        """Its process id; `end` says how it ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def end(self) -> tuple[int, Any]:
        ended = json.loads(self._line())
        return ended["code"], json.loads(ended["out"]) if ended["out"] else None

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery is gone"
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(PATIENCE)


class Stage:
    """One broker at its rehearsed venue."""

    def __init__(self, folder: Path, broker: str, nursery: Nursery) -> None:
        venue, _ = BROKERS[broker]
        self.folder, self.broker, self._nursery = folder, broker, nursery
        self.venue: Rehearsal = import_module(f"ordergate.testing.{venue}").rehearsal(folder / "venue")
        self.settings = {**self.venue.settings, **({"exchange": venue} if broker == "ccxt" else {})}

    def values(self) -> dict[str, Any]:
        return {
            "gate": {"rules": ["position_cap", "min_position"], "deadline": 60, "facts_age": 60, "send_within": 20},
            "accounts": {"main": {"broker": self.broker, self.broker: self.settings}},
        }

    def told(self, *do: tuple[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        return {"folder": str(self.folder), "values": self.values(), "do": do, **more}

    def killed(self, *do: tuple[str, Mapping[str, Any]], **more: Any) -> None:
        """A process that dies on its way, at the point named by `die`."""
        self._nursery.begin(**self.told(*do, **more))
        code, answers = self._nursery.end()
        assert code == -signal.SIGKILL, answers

    def killed_while(self, is_so: Callable[[], bool], *do: tuple[str, Mapping[str, Any]]) -> None:
        """A process that is killed from outside, as soon as the venue has come so far."""
        child = self._nursery.begin(**self.told(*do))
        until(is_so)
        os.kill(child, signal.SIGKILL)
        assert self._nursery.end()[0] == -signal.SIGKILL

    def lives(self, *do: tuple[str, Mapping[str, Any]], **more: Any) -> Any:
        """What a process answers that nobody kills."""
        self._nursery.begin(**self.told(*do, **more))
        code, answers = self._nursery.end()
        assert code == 0
        return answers

    def recorded(self) -> tuple[Recorded | None, list[str], int]:
        """The order on record, the ids whose reservations live, and how many orders are unfinished. Verifies all."""
        with closing(SqliteLedger(self.folder / "ordergate.db", SystemClock())) as ledger:
            assert ledger.verify() is None
            live = [one.client_order_id for one in ledger.state("main").reservations]
            return ledger.find("main", "mine"), live, len(ledger.unfinished("main"))


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def nursery(broker: str) -> Iterator[Nursery]:
    with Nursery(BROKERS[broker][1]) as made:
        yield made


@pytest.fixture
def stage(tmp_path: Path, broker: str, nursery: Nursery) -> Iterator[Stage]:
    made = Stage(tmp_path, broker, nursery)
    with made.venue:
        yield made


def the_right_one(stage: Stage, order: Mapping[str, str], recorded: Recorded | None) -> None:
    """What the venue has is what was recorded, under the id that was recorded."""
    (found,) = stage.venue.orders()
    assert recorded is not None
    assert found.client_order_id == recorded.wire_id
    assert (found.symbol, found.side.value) == (order["symbol"], order["side"])


@pytest.mark.parametrize(("broker", "point", "fault", "taken"), CASES, indirect=["broker"], scope="module")
def test_d01_kill9_everywhere_on_the_wire(stage: Stage, point: str, fault: dict[str, Any] | None, taken: bool) -> None:
    if fault:
        stage.venue.fail(**fault)
    stage.killed(("submit", BUY), die=point)
    until(lambda: len(stage.venue.orders()) == taken)
    requests = stage.venue.requests()
    stage.venue.clear()
    mine, live, unfinished = stage.recorded()
    if point == "before_insert":
        assert (mine, live, requests) == (None, [], 0)
        (answer,) = stage.lives(("submit", BUY))
        assert (answer["status"], answer["replayed"]) == ("filled", False)
        the_right_one(stage, BUY, stage.recorded()[0])
        return
    # At once: what was recorded holds its claim, and who asks again hears what is known and sends nothing.
    assert live == ["mine"]
    assert unfinished == (not (point == "after_receipt" and fault is None))
    # Later: adopted or proved absent by asking, and never sent again.
    _, again = stage.lives(("reconcile", {}), ("submit", BUY), ahead=LATER)
    assert (again["status"], again["replayed"]) == ("filled" if taken else "expired", True)
    assert stage.venue.requests() == requests
    assert len(stage.venue.orders()) == taken
    # With the next facts the claim is over. Any decision brings them, a refusal too.
    stage.lives(("submit", {**BUY, "spend": "2", "client_order_id": "next"}), ahead=2 * LATER)
    mine, live, unfinished = stage.recorded()
    assert (live, unfinished) == ([], 0)
    if taken:
        the_right_one(stage, BUY, mine)


@pytest.mark.parametrize(
    ("broker", "order", "taken"),
    [
        pytest.param("kraken", BUY, True, id="kraken-buy-taken"),
        pytest.param("kraken", BUY, False, id="kraken-buy-not taken"),
        pytest.param("kraken", SELL, True, id="kraken-sell-taken"),
        pytest.param("coinbase", BUY, False, id="coinbase-buy-not taken"),
        pytest.param("coinbase", SELL, True, id="coinbase-sell-taken"),
        pytest.param("ccxt", BUY, True, id="ccxt-buy-taken"),
    ],
    indirect=["broker"],
    scope="module",
)
def test_d01_kill9_from_outside_while_the_answer_is_waited_for(
    stage: Stage, order: dict[str, str], taken: bool
) -> None:
    stage.venue.fail("hang", taken=taken)
    venue = stage.venue
    stage.killed_while(lambda: venue.requests() == 1 and len(venue.orders()) == taken, ("submit", order))
    # What hangs at the venue is answered with nobody there to hear it. It was taken before that, or never is.
    venue.clear()
    _, again = stage.lives(("reconcile", {}), ("submit", order), ahead=LATER)
    assert (again["status"], again["replayed"]) == ("filled" if taken else "expired", True)
    assert (venue.requests(), len(venue.orders())) == (1, taken)
    if taken:
        the_right_one(stage, order, stage.recorded()[0])


@pytest.mark.parametrize("taken", [True, False], ids=["venue took it", "venue did not"])
def test_d02_kill9_in_recovery_again_and_again_converges(stage: Stage, taken: bool) -> None:
    """Ten deaths at Kraken, four at the others."""
    rounds = 3 if stage.broker == "kraken" else 1
    stage.venue.fail("cut", taken=taken)
    stage.killed(("submit", BUY), die="before_receipt")
    for point in ("before_asking", "while_asking", "before_receipt") * rounds:
        stage.killed(("reconcile", {}), die=point, ahead=LATER)
        assert stage.recorded()[1] == ["mine"], "nobody gave the claim up"
    stage.killed(("reconcile", {}), die="after_receipt", ahead=LATER)
    nothing, again = stage.lives(("reconcile", {}), ("submit", BUY), ahead=LATER)
    assert nothing == [], "the last death left nothing to do"
    assert (again["status"], again["replayed"]) == ("filled" if taken else "expired", True)
    assert (stage.venue.requests(), len(stage.venue.orders())) == (1, taken)
    if taken:
        the_right_one(stage, BUY, stage.recorded()[0])


@brokers("kraken", "coinbase")
def test_c03_kill9_and_a_request_that_comes_late_is_not_given_up_early(stage: Stage) -> None:
    """The dead process's request is still under way: as long as it may arrive, not finding it proves nothing.

    At Kraken it is refused when it comes: whoever looked for it meanwhile has raised the key's nonce.
    """
    stage.venue.fail("late")
    stage.killed(("submit", BUY), die="before_receipt")
    (looked,) = stage.lives(("reconcile", {}), ahead=21)
    assert "may still arrive" in looked[0]
    assert stage.recorded()[1:] == (["mine"], 1)
    stage.venue.clear()
    taken = len(stage.venue.orders())
    assert taken == (stage.broker == "coinbase")
    _, again = stage.lives(("reconcile", {}), ("submit", BUY), ahead=LATER)
    assert (again["status"], again["replayed"]) == ("filled" if taken else "expired", True)
    assert (stage.venue.requests(), len(stage.venue.orders())) == (1, taken)


def test_d06_sigterm_mid_send_waits_and_says_what_is_known(stage: Stage) -> None:
    """The program itself, as a service manager stops it in the middle of a send."""
    table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in stage.settings.items())
    (stage.folder / "ordergate.toml").write_text(
        '[gate]\nrules = ["position_cap"]\ndeadline = 60\nfacts_age = 60\nsend_within = 20\n'
        f'[accounts.main]\nbroker = "{stage.broker}"\n[accounts.main.{stage.broker}]\n{table}\n'
    )
    stage.venue.fail("hang")
    words = ("buy", "ETH-USD", "--spend", "100", "--id", "mine", "--json")
    process = subprocess.Popen(
        [sys.executable, "-m", "ordergate", *words],
        cwd=stage.folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stderr is not None
        until(lambda: len(stage.venue.orders()) == 1 or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        assert process.stderr.readline().startswith("finishing:")
        stage.venue.clear()  # it hangs up: the outcome of the send is that nobody knows
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, json.loads(out)["status"]) == (4, "unknown")
    _, again = stage.lives(("reconcile", {}), ("submit", BUY))
    assert (again["status"], stage.venue.requests()) == ("filled", 1)


def test_c17_four_processes_read_and_trade_on_one_key_and_its_nonces_rise(tmp_path: Path) -> None:
    """Through the executor, each with a connection of its own: nothing but the file beside the key joins them."""
    from ordergate.testing.kraken import rehearsal

    with rehearsal(tmp_path / "venue", cash="10000") as venue:
        crowd = [
            [
                ("submit", {**BUY, "spend": "600", "client_order_id": f"buy-{number}"}),
                ("reconcile", {}),
                (
                    "submit",
                    {"symbol": "BTC-USD", "side": "sell", "amount": "0.001", "client_order_id": f"sell-{number}"},
                ),
            ]
            for number in range(4)
        ]
        told = {
            "folder": str(tmp_path),
            "values": {
                "gate": {"rules": ["position_cap", "min_position"], "facts_age": 60, "send_within": 20},
                "accounts": {"main": {"broker": "kraken", "kraken": dict(venue.settings)}},
            },
            "crowd": crowd,
        }
        done = subprocess.run(
            [sys.executable, CHILD, json.dumps(told)], text=True, capture_output=True, timeout=PATIENCE, check=True
        )
        for bought, _, sold in json.loads(done.stdout):
            assert (bought["status"], sold["status"]) == ("filled", "filled"), (bought, sold)
        private = [request for request in venue.server.requests() if "/private/" in request.path]
        nonces = [int(parse_qs(request.body.decode())["nonce"][0]) for request in private]
        assert len(nonces) >= 4 * 5
        assert nonces == sorted(set(nonces))
        assert venue.requests() == len(venue.orders()) == 8
        with closing(SqliteLedger(tmp_path / "ordergate.db", SystemClock())) as ledger:
            assert ledger.verify() is None
            expected = {
                wire_id(str(ledger.state("main").identity), f"{side}-{n}") for side in ("buy", "sell") for n in range(4)
            }
        assert {receipt.client_order_id for receipt in venue.orders()} == expected
