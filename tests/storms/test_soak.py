"""The soak: a bounded run in which everything holds, and breaks that were planted and must be found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner

from ordergate.broker import Broker
from ordergate.executor import Executor
from ordergate.ledger import Ledger
from ordergate.models import Receipt, Side, VenueOrder, Verdict
from ordergate.testing.soak import Failure, Gauge, Reading, Series, Window, run_window, series
from ordergate.testing.soak.__main__ import main
from ordergate.testing.storm import Violation
from ordergate.testing.storm.history import History
from ordergate_rules import position_cap

Patch = pytest.MonkeyPatch
MEGABYTE = 2**20


def quiet(reading: Reading) -> None:
    """Nobody listens to the progress."""


def alone(seed: int = 1, size: int = 30) -> Series:
    """Windows of one caller in this process, so that a seed is the same run every time."""
    return Series(seed=seed, size=size, threads_every=0, kill_every=0)


def failed(soak: Series, intents: int = 400) -> Failure:
    soak.run(intents, quiet)
    assert soak.failure is not None, "the planted break was not found"
    return soak.failure


# ------------------------------------------------------------------------------------------------------ the gate holds


@pytest.mark.parametrize("seed", [31, 32])
def test_e10_soak_with_faults_by_seed_threads_and_kills(seed: int) -> None:
    soak = Series(seed=seed, size=120, threads_every=2, kill_every=3)
    soak.run(480, quiet)
    assert soak.failure is None, str(soak.failure)
    assert soak.done >= 480


def test_e10_soak_needs_no_more_memory_files_or_threads_from_window_to_window() -> None:
    soak = alone(33, size=10)
    soak.run(220, quiet)
    assert soak.failure is None
    assert soak.growth == ""


# --------------------------------------------------------------------------------------------------- breaks are found


@pytest.fixture
def leaked() -> Iterator[list[int]]:
    """Descriptors that a broken program forgot; closed when the test is over."""
    files: list[int] = []
    yield files
    for file in files:
        os.close(file)


def test_a_descriptor_that_is_forgotten_in_each_window_is_found(monkeypatch: Patch, leaked: list[int]) -> None:
    monkeypatch.setattr(History, "close", lambda history: leaked.append(history._file))
    soak = alone(size=3)
    soak.run(66, quiet)
    assert "open files grow by 1.00 per window" in soak.growth
    assert soak.windows <= 20, "and it stopped there"


def test_memory_that_is_kept_of_each_intent_is_found(monkeypatch: Patch) -> None:
    kept: list[bytes] = []
    submit = Executor.submit

    def hoarding(self: Executor, order: Any) -> Any:
        kept.append(b"x" * 600_000)
        return submit(self, order)

    monkeypatch.setattr(Executor, "submit", hoarding)
    soak = alone(size=3)
    soak.run(66, quiet)
    assert "memory grows by" in soak.growth


def test_a_cap_that_is_ignored_is_found(monkeypatch: Patch) -> None:
    def approves(order: Any, account: Any, tier: Any) -> Verdict:
        return Verdict.approve()

    evolved = position_cap.validate_order
    approves.__dict__.update(evolved.__dict__)  # the mark of a hook
    approves.__module__ = evolved.__module__
    monkeypatch.setattr(position_cap, "validate_order", approves)
    assert {violation.name for violation in failed(alone()).violations} >= {"I2"}


def sends_sells_twice(patch: Patch) -> None:
    place = Broker.place_order

    def twice(self: Broker, order: VenueOrder, seconds: float) -> Receipt:
        if order.side is Side.SELL:
            place(self, order, seconds)
        return place(self, order, seconds)

    patch.setattr(Broker, "place_order", twice)


def test_a_double_send_is_found_with_its_first_step(monkeypatch: Patch) -> None:
    sends_sells_twice(monkeypatch)
    failure = failed(alone())
    assert "I1" in {violation.name for violation in failure.violations}
    assert failure.step is not None
    assert failure.step > 1
    again = run_window(evolve(failure.window, intents=failure.step))
    assert again is not None
    assert again.step == failure.step
    assert run_window(evolve(failure.window, intents=failure.step - 1)) is None
    assert str(failure).startswith(f"seed 1, window {failure.window.number}, step {failure.step}: I")


def test_an_error_that_escapes_the_gate_is_found(monkeypatch: Patch) -> None:
    def broken(self: Executor, *arguments: Any, **named: Any) -> Any:
        raise KeyError("oh")

    monkeypatch.setattr(Executor, "cancel", broken)
    assert any("raised KeyError" in violation.what for violation in failed(alone(size=50)).violations)


def test_a_row_that_is_not_written_is_found(monkeypatch: Patch) -> None:
    """The first word of an order's outcome never reaches the journal, and the venue's own record shows it."""
    hear: Callable[..., Any] = Executor.submit

    def deaf(self: Executor, order: Any) -> Any:
        ledger: Ledger = self.desk.ledger()
        append = type(ledger).append

        def skipping(self: Any, account: str, kind: str, *arguments: Any, **named: Any) -> Any:
            return None if kind == "receipt" else append(self, account, kind, *arguments, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(ledger), "append", skipping)
            return hear(self, order)

    monkeypatch.setattr(Executor, "submit", deaf)
    assert "I4" in {violation.name for violation in failed(alone()).violations}


# ----------------------------------------------------------------------------------------------------------- the gauge


def gauge(*readings: tuple[int, float, int, int]) -> Gauge:
    made = [
        Reading(n, intents, int(size * MEGABYTE), files, threads)
        for n, (intents, size, files, threads) in enumerate(readings)
    ]
    return Gauge(readings=made)


def test_what_is_made_once_does_not_count_as_growth() -> None:
    warm_up = [(100 * n, 40 + n, 6 + n, 2 + n) for n in range(8)]
    assert gauge(*warm_up, *[(100 * n, 48, 14, 10) for n in range(8, 20)]).growth() == ""


def test_odd_readings_do_not_count_as_growth() -> None:
    assert gauge(*[(500 * n, 50 + (n % 3), 6 + (n % 2), 2 + (n % 4)) for n in range(40)]).growth() == ""


def test_a_little_growth_over_very_many_intents_counts() -> None:
    creeping = [(5000 * n, 50 + 0.5 * n, 6, 2) for n in range(40)]
    assert gauge(*creeping).growth() == "memory grows by 105 bytes per intent"


def test_threads_that_grow_count() -> None:
    assert gauge(*[(500 * n, 50, 6, 2 + n) for n in range(20)]).growth() == "open threads grow by 1.00 per window"


def test_nothing_is_said_before_there_are_enough_readings() -> None:
    assert gauge(*[(500 * n, 50.0 * n, 6 + n, 2 + n) for n in range(15)]).growth() == ""


def test_very_many_readings_are_thinned_out() -> None:
    long = Gauge()
    for number in range(1500):
        long.take(Reading(number, 500 * number, 50 * MEGABYTE, 6, 2))
    assert len(long.readings) <= 1000
    assert long.readings[-1].window == 1499


# --------------------------------------------------------------------------------------------------------- the command


def test_the_command_tells_what_it_has_done() -> None:
    done = CliRunner().invoke(main, "--seed 3 --intents 60 --window 30 --json".split())
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["intents"], told["windows"], told["failed"], told["growth"]) == (60, 2, None, "")
    assert [reading["intents"] for reading in told["readings"]] == [30, 60]


def test_the_command_ends_with_1_and_says_how_to_see_a_failure_again(monkeypatch: Patch) -> None:
    def fails(window: Window) -> Failure:
        return Failure(window, (Violation("I1", "a0000", "the venue has more than one order of c0-4"),), 5)

    monkeypatch.setattr(series, "run_window", fails)
    done = CliRunner().invoke(main, "--seed 1 --intents 200 --window 30 --threads-every 0".split())
    assert done.exit_code == 1
    assert "seed 1, window 0, step 5: I1: account a0000: the venue has more than one order of c0-4" in done.stdout
    again = "again: python -m ordergate.testing.soak --seed 1 --window 30 --only 0 --threads-every 0 --kill-every 40"
    assert again in done.stdout
    assert CliRunner().invoke(main, again.split()[4:]).exit_code == 1


def test_windows_follow_from_the_seed_and_their_number() -> None:
    soak = Series(seed=5, size=50)
    assert soak.window(3) == Window(seed=5, number=3, intents=50, threads=4)
    assert soak.window(39) == Window(seed=5, number=39, intents=50, kills=3)
    assert soak.window(4).plan() == Series(seed=5, size=50).window(4).plan() != soak.window(5).plan()
