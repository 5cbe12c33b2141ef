"""A stage per test: a folder with a ledger and a paper venue, executors on it, and processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

import ordergate_paper as paper
from ordergate import Executor, Receipt
from ordergate.clock import Clock, SystemClock
from ordergate.ledger import Ledger
from ordergate.sqlite_ledger import SqliteLedger

CHILD: Final = Path(__file__).parent / "child.py"
PATIENCE: Final = 120
COINS: Final = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH", "III", "JJJ", "KKK", "LLL")


class MovedClock(SystemClock):
    """The real clock, which tests move, and on which sleeping takes no time at all."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.slept = 0.0

    def now(self) -> float:
        return super().now() + self.ahead + self.slept

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


class Stage:
    """What tests of faults stand on. Equity 300 and up: three positions of 20 USD or more, unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger_path, self.venue = folder / "ordergate.db", folder / "paper-main.db"
        self.fallback = folder / "ordergate-fallback"
        self.opened: list[Executor] = []
        self.new_clock: Callable[[], Clock] = SystemClock

    def values(self, *, gate: Mapping[str, Any] | None = None, **venue: Any) -> dict[str, Any]:
        rules = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]
        prices = {"BTC-USD": "68925.98", "ETH-USD": "3500.00", "DOGE-USD": "0.10"}
        seed = {"cash": "300.00", "positions": {"ETH-USD": "0.0100"}, **venue}
        seed["prices"] = {**prices, **{f"{coin}-USD": "10.00" for coin in COINS}, **venue.get("prices", {})}
        return {
            "gate": {"rules": rules, **(gate or {})},
            "accounts": {"main": {"broker": "paper", "paper": seed}},
        }

    def executor(self, values: Mapping[str, Any] | None = None, *, clock: Clock | None = None, **more: Any) -> Executor:
        """An executor of this process, its venue made and connected; closed when the test ends."""
        executor = Executor.from_values(
            values or self.values(**more), folder=self.folder, clock=clock or self.new_clock()
        )
        self.opened.append(executor)
        if "main" in executor.setup.brokers:
            executor.setup.brokers["main"].client(60)
        return executor

    def close(self) -> None:
        for executor in self.opened:
            executor.close()
        self.opened.clear()

    def ledger(self) -> Ledger:
        """The ledger as somebody else sees it. The caller closes it."""
        return SqliteLedger(self.ledger_path, SystemClock())

    def start(self, **told: Any) -> subprocess.Popen[str]:
        """A process of its own that is told the rest; see child.py."""
        told = {"folder": str(self.folder), "values": self.values(), **told}
        command = [sys.executable, str(CHILD), json.dumps(told)]
        # A background job of a shell ignores Ctrl-C, and hands that on: the test is of a program that hears it.
        heard = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        finally:
            signal.signal(signal.SIGINT, heard)

    def child(self, **told: Any) -> Any:
        """What the steps of a process of its own answered."""
        process = self.start(**told)
        out, problems = process.communicate(timeout=PATIENCE)
        if process.returncode == 77:
            pytest.skip("file modes cannot be made to bind here")
        assert process.returncode == 0, problems
        return json.loads(out.splitlines()[-1])

    def killed(self, **told: Any) -> None:
        """A process of its own that must die by SIGKILL on its way."""
        process = self.start(**told)
        out, problems = process.communicate(timeout=PATIENCE)
        assert process.returncode == -9, (process.returncode, out, problems)

    def one_after_another(self, lives: Sequence[Mapping[str, Any]]) -> list[tuple[int, Any]]:
        """Processes that are told these things, each begun when the one before it has ended: exit code and answers."""
        told = [json.dumps({"folder": str(self.folder), "values": self.values(), **life}) for life in lives]
        done = subprocess.run(
            [sys.executable, str(CHILD), "nursery"],
            input="".join(f"{line}\n" for line in told),
            text=True,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        ended = [json.loads(line) for line in done.stdout.splitlines()[1::2]]
        return [(one["code"], json.loads(one["out"]) if one["out"] else None) for one in ended]

    def count(self) -> int:
        """Orders that the venue took."""
        return paper.count_orders(self.venue)

    def sent(self) -> int:
        """Orders that were sent to the venue, whatever it did with them."""
        return paper.count_requests(self.venue)

    def fault(self, name: str, *, times: int | None = 1) -> None:
        paper.set_fault(self.venue, name, times=times)

    def calm(self) -> None:
        paper.clear_faults(self.venue)

    def held(self, currency: str) -> str:
        client = paper.connect(paper.Settings(state=self.venue))
        found = [one.total for one in paper.get_account(client).holdings if one.currency == currency]
        return f"{found[0]:f}" if found else "0"

    def at_venue(self) -> list[Receipt]:
        return paper.list_orders(paper.connect(paper.Settings(state=self.venue)), 0.0)

    def waiting(self) -> list[dict[str, Any]]:
        """The lines of the fallback that wait for the ledger."""
        file = self.fallback / "fallback.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def journal(self) -> list[tuple[str, str | None]]:
        """Kind and key of every row, after checking that the journal holds."""
        ledger = self.ledger()
        try:
            assert ledger.verify() is None
            return [(entry.kind, entry.key) for entry in ledger.entries()]
        finally:
            ledger.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()
