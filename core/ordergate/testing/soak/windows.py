"""One window of the soak: a fresh ledger and venue, some hundred intents with faults, everything settled and checked.

Most windows run in this process, on a clock in which sleeping takes no time; a window with one caller is the same
whenever its seed is. Others have several threads, and every so many a window is a storm of processes that are killed.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

import ordergate_paper as paper
from ordergate.calls import Failed, attempt
from ordergate.clock import SystemClock
from ordergate.executor import Executor
from ordergate.testing.simulation.draw import Draw
from ordergate.testing.storm.caller import HISTORY, ask
from ordergate.testing.storm.checker import check
from ordergate.testing.storm.director import run_storm
from ordergate.testing.storm.evidence import gather, settle
from ordergate.testing.storm.history import History
from ordergate.testing.storm.plan import Intent, Plan, draw_intent
from ordergate.testing.storm.story import Violation

__all__ = ["Failure", "Window", "run_window"]

_DEADLINE: Final = 0.5  # seconds a venue may take; a rehearsed hang costs as long
_LEDGER: Final = "ordergate.db"

_FAULTS: Final[Mapping[str, int]] = {
    "no_answer_before": 20,
    "no_answer_after": 20,
    "reject": 20,
    "nonsense_type": 8,
    "nonsense_error": 8,
    "nonsense_other_order": 2,
    "nonsense_other_size": 2,
    "late_visibility": 10,
    "accounts_down": 10,
    "prices_down": 10,
    "stale_prices": 10,
    "hang_before": 1,
    "hang_after": 1,
}
"""How many intents of a thousand meet which fault of the venue."""
_ALONE: Final[Mapping[str, int]] = {"busy": 1, "restart": 8, "halt": 4, "resume": 25}
"""Of a thousand, in windows with one caller: the ledger is locked by somebody else, the process ends and starts again,
somebody halts the account, somebody resumes it.
"""
_MISLEADING: Final = frozenset({"late_visibility"})
"""Faults whose bound the venue keeps for one caller, and that several together would make it break."""


@frozen(kw_only=True)
class Window:
    """`number` is its place in the soak of that seed. With `kills` it is a storm of processes."""

    seed: int
    number: int
    intents: int
    threads: int = 1
    kills: int = 0

    def plan(self) -> Plan:
        places = Draw("window", self.seed, self.number)
        common = Plan(
            seed=places.below(2**31),
            coins=4 + places.below(6),
            cap=1 + places.below(5),
            cash=str(200 + places.below(1800)),
            venue=places.choice(("kraken", "coinbase")),
        )
        if self.kills:
            callers = 6
            return evolve(
                common, processes=3, threads=2, intents=-(-self.intents // callers), kills=self.kills, accounts=2
            )
        each = -(-self.intents // self.threads)
        return evolve(common, processes=1, threads=self.threads, intents=each, deadline=_DEADLINE)


@frozen
class Failure:
    """A window that did not hold, and the least number of its intents that do not, where that could be found."""

    window: Window
    violations: tuple[Violation, ...]
    step: int | None = None

    def __str__(self) -> str:
        window = self.window
        step = "" if self.step is None else f", step {self.step}"
        return f"seed {window.seed}, window {window.number}{step}: {self.violations[0]}"


def run_window(window: Window) -> Failure | None:
    """Run it in a folder of its own, and look for the first failing step when it fails."""
    violations = _violations(window)
    if not violations:
        return None
    failure = Failure(window, violations)
    return failure if window.kills or window.threads > 1 else _narrowed(failure)


def _narrowed(failure: Failure) -> Failure:
    """The same failure with the fewest intents: what comes later cannot have caused it."""
    fine, broken = 0, failure.window.intents
    best = evolve(failure, step=broken)
    while broken - fine > 1:
        middle = (fine + broken) // 2
        violations = _violations(evolve(failure.window, intents=middle))
        if violations:
            broken, best = middle, Failure(failure.window, violations, middle)
        else:
            fine = middle
    return best


def _violations(window: Window) -> tuple[Violation, ...]:
    plan = window.plan()
    with _folder() as folder:
        if window.kills:
            return run_storm(plan, folder).violations
        run = _Run(window, plan, folder)
        run.run()
        settle(plan, folder, ahead=run.clock.ahead)
        return check(gather(plan, folder, again=5))


@contextmanager
def _folder() -> Iterator[Path]:
    base = Path("/dev/shm")  # noqa: S108 - a memory disk where there is one: thousands of small synced writes
    with tempfile.TemporaryDirectory(prefix="ordergate-soak-", dir=base if base.is_dir() else None) as folder:
        yield Path(folder)


class _SharedClock(SystemClock):
    """The machine's clock, which every thread that sleeps moves ahead; the gate and its venue both go by it."""

    def __init__(self) -> None:
        self.ahead, self._lock = 0.0, threading.Lock()

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.ahead += seconds

    def jitter(self, low: float, high: float) -> float:
        return super().jitter(low, high) + 0.02  # of thousands of retries that would all pass at once, some dozens do


class _Run:
    """The callers of a window in this process."""

    def __init__(self, window: Window, plan: Plan, folder: Path) -> None:
        self._window, self._plan, self._folder = window, plan, folder
        self.clock = _SharedClock()
        self._executor = self._begun()
        self._venue = folder / f"paper-{plan.names[0]}.db"

    def run(self) -> None:
        try:
            if self._plan.threads == 1:
                self._calls(0)
            else:
                self._crowd()
        finally:
            self._executor.close()
            paper.clear_faults(self._venue)

    def _begun(self) -> Executor:
        executor = Executor.from_values(self._plan.values(), folder=self._folder, clock=self.clock)
        client = executor.setup.brokers[self._plan.names[0]].client(60.0)
        object.__setattr__(
            client, "clock", self.clock
        )  # frozen for everybody but this stand-in for the passing of time
        return executor

    def _crowd(self) -> None:
        failures: list[BaseException] = []

        def run(caller: int) -> None:
            try:
                self._calls(caller)
            except BaseException as failure:  # noqa: BLE001 - whatever a thread raised is raised again below
                failures.append(failure)

        threads = [threading.Thread(target=run, args=(caller,)) for caller in range(self._plan.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _calls(self, caller: int) -> None:
        history = History(self._folder / HISTORY, caller, SystemClock())
        with closing(history):
            for number in range(self._plan.intents):
                self._call(history, caller, number)

    def _call(self, history: History, caller: int, number: int) -> None:
        draw = Draw("soak", self._window.seed, self._window.number, caller, number)
        fault = self._fault(draw)
        alone = self._accident(draw)
        if alone == "restart":
            self._executor.close()
            self._executor = self._begun()
        intent = draw_intent(self._plan, caller, number)
        if alone in ("halt", "resume"):
            intent = Intent(do=alone, account=self._plan.names[0])
        history.called(number, intent)
        with _locked(self._folder / _LEDGER, really=alone == "busy"):
            try:
                history.answered(number, attempt(ask, self._executor, intent))
            except Failed as failed:
                if isinstance(failed.cause, KeyboardInterrupt):
                    raise failed.cause from None
                history.raised(number, failed.cause)
        if fault.startswith("hang"):
            paper.clear_faults(self._venue)

    def _fault(self, draw: Draw) -> str:
        """Tell the venue to fail, for one use, in what follows; which fault it is."""
        name = _drawn(draw.below(1000), _FAULTS)
        if name and not (name in _MISLEADING and self._plan.threads > 1):
            paper.set_fault(self._venue, name)
        return name

    def _accident(self, draw: Draw) -> str:
        return _drawn(draw.below(1000), _ALONE) if self._plan.threads == 1 else ""


def _drawn(number: int, shares: Mapping[str, int]) -> str:
    """Whose share of a thousand the number falls into; empty for nobody's."""
    for name, share in shares.items():
        if number < share:
            return name
        number -= share
    return ""


@contextmanager
def _locked(ledger: Path, *, really: bool) -> Iterator[None]:
    """While the block runs, somebody else is writing to the ledger."""
    if not really or not ledger.exists():
        yield
        return
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
