"""The seeded simulation: a bounded number of seeds holds, the same seed is the same run, and broken gates are found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner

from ordergate import broker, calls, desk, exits, fallback, settlement, valuation
from ordergate.errors import LedgerError
from ordergate.models import OrderStatus, Receipt
from ordergate.sqlite_ledger import SqliteLedger
from ordergate.testing.simulation import Failure, run_seed, run_steps, shrink, simulated
from ordergate.testing.simulation.__main__ import main
from ordergate.testing.simulation.steps import PROMISES, Scenario, Step, draw_steps

SEEDS = 60
CHUNK = 10
FOUND_WITHIN = 60
Patch = pytest.MonkeyPatch


@pytest.fixture
def root() -> Iterator[Path]:
    with simulated() as folder:
        yield folder


# ------------------------------------------------------------------------------------------------------ the gate holds


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_e10_soak_seeds_hold_every_invariant(root: Path, first: int) -> None:
    for seed in range(first, first + CHUNK):
        failure = run_seed(seed, root)
        if failure is not None:
            pytest.fail(f"\n{shrink(failure, root)}")


def scenario(promise: str, *, skew: float = 0.0, cash: str = "300") -> Scenario:
    found = next(one for one in PROMISES if one.name == promise)
    return Scenario(
        promise=found, cash=cash, holds="12.3456", facts_cache=0.0, foreign_orders="alarm", skews=(skew, skew)
    )


@pytest.mark.parametrize("promise", [one.name for one in PROMISES])
@pytest.mark.parametrize("skew", [-1.5, 0.0, 1.5])
def test_c03_late_arrival_with_a_clock_that_is_wrong_within_tolerance(root: Path, promise: str, skew: float) -> None:
    """It lands after the own clock has passed its send-by time, and before the venue's has."""
    steps = [
        Step(do="buy", size="60", wire="late", seconds=6.2),
        Step(do="wait", seconds=5.4),
        Step(do="reconcile"),
        Step(do="wait", seconds=9),
    ]
    assert run_steps(scenario(promise, skew=skew), steps, root) is None


def test_d08_clock_set_while_old_balances_may_still_show(root: Path) -> None:
    """The venue's lag is not shortened by a clock that is set forward, within tolerance, while it runs."""
    steps = [
        Step(do="buy", symbol="CCC-USD", size="25", limit="0.95"),
        Step(do="cancel", ref=0),
        Step(do="clock", seconds=1.5),
        Step(do="buy", symbol="EEE-USD", size="25", lag=2),
    ]
    assert run_steps(scenario("deadline", cash="110"), steps, root) is None


# ------------------------------------------------------------------------------------------ the same seed, the same run


def test_steps_follow_from_the_seed_and_do_not_depend_on_how_many_there_are() -> None:
    assert draw_steps(7, 40)[:10] == draw_steps(7, 10)
    assert draw_steps(7, 10) != draw_steps(8, 10)


def test_a_failing_seed_fails_the_same_way_again_and_with_fewer_steps(root: Path, monkeypatch: Patch) -> None:
    sends_twice(monkeypatch)
    first = found(root, "I1")
    again = run_seed(first.seed, root)
    assert again is not None
    assert str(again) == str(first)
    small = shrink(first, root)
    assert small.broken.name == "I1"
    assert len(small.steps) <= 3
    assert run_steps(small.scenario, small.steps, root) is not None


# ----------------------------------------------------------------------------------------------- broken gates are found


def found(root: Path, invariant: str) -> Failure:
    """The first failure of this invariant within the bounded number of seeds."""
    for seed in range(FOUND_WITHIN):
        failure = run_seed(seed, root)
        if failure is not None and failure.broken.name == invariant:
            return failure
    pytest.fail(f"{FOUND_WITHIN} seeds did not break {invariant}")


def sends_twice(patch: Patch) -> None:
    """A send that was not answered is sent again."""
    real = broker.Broker.place_order

    def place(self: broker.Broker, order: Any, seconds: float) -> Receipt:
        try:
            return real(self, order, seconds)
        except broker.NothingSent:
            raise
        except calls.Failed:
            return real(self, order, seconds)

    patch.setattr(broker.Broker, "place_order", place)


def frees_what_is_unknown(patch: Patch) -> None:
    """A send that was not answered counts as failed."""
    real = desk.Desk.hear

    def hear(self: desk.Desk, account: str, name: str, status: OrderStatus, *rest: Any, word: str) -> str | None:
        status = OrderStatus.EXPIRED if status is OrderStatus.UNKNOWN else status
        return real(self, account, name, status, *rest, word=word)

    patch.setattr(desk.Desk, "hear", hear)


def calls_what_is_not_shown_absent(patch: Patch) -> None:
    """One look that finds nothing is a proof."""
    real = settlement.settle_one

    def settle(recorded: Any, *rest: Any) -> settlement.Settled:
        settled = real(recorded, *rest)
        if settled.status is not None or settled.mismatch:
            return settled
        order = settlement.venue_order_of(recorded)
        receipt = Receipt(
            client_order_id=order.client_order_id, symbol=order.symbol, side=order.side, status=OrderStatus.EXPIRED
        )
        return evolve(settled, status=OrderStatus.EXPIRED, receipt=receipt)

    patch.setattr(settlement, "settle_one", settle)
    patch.setattr(exits, "settle_one", settle)


def skips_the_version(patch: Patch) -> None:
    """The insert takes a decision that was made on an older state."""
    real = SqliteLedger.append

    def append(self: SqliteLedger, *values: Any, judged_on: Any = None, **named: Any) -> int | None:
        return real(self, *values, **named)

    patch.setattr(SqliteLedger, "append", append)


def forgets_reservations(patch: Patch) -> None:
    """Approved buys claim nothing, and are never given up either."""
    patch.setattr(valuation.Valuation, "claims", lambda *_: valuation.Claims(needs={}, sizes={}, unseen=0, gone=()))


def ignores_the_unknown(patch: Patch) -> None:
    patch.setattr(desk.Desk, "_doubts", lambda *_: [])


def ignores_halts(patch: Patch) -> None:
    real = desk.Desk.stops
    patch.setattr(desk.Desk, "stops", lambda *values: [one for one in real(*values) if "halt" not in "".join(one)])


def drops_a_row(patch: Patch) -> None:
    """A receipt that says `open` is reported as written, and is not."""
    real = SqliteLedger.append

    def append(self: SqliteLedger, account: str, kind: str, body: Any, **named: Any) -> int | None:
        if kind == "receipt" and body["status"] == "open":
            return 10_000
        return real(self, account, kind, body, **named)

    patch.setattr(SqliteLedger, "append", append)


def changes_a_table(patch: Patch) -> None:
    """A table says what no row of the journal says."""
    real = SqliteLedger.append

    def append(self: SqliteLedger, account: str, kind: str, body: Any, **named: Any) -> int | None:
        row = real(self, account, kind, body, **named)
        self._connection.execute("UPDATE orders SET receipt_at = receipt_at + 1 WHERE status = 'filled'")
        return row

    patch.setattr(SqliteLedger, "append", append)


def keeps_exits_in_during_a_halt(patch: Patch) -> None:
    real = exits.Exits._decided

    def decided(self: exits.Exits, *values: Any, **named: Any) -> Any:
        decision = real(self, *values, **named)
        halted = False
        with suppress(LedgerError):
            halted = self._desk.ledger().state("main").trading == "exits_only"
        if halted and decision.approved:
            return evolve(decision, status=OrderStatus.REFUSED, venue_order=None, message="halted")
        return decision

    patch.setattr(exits.Exits, "_decided", decided)


def needs_the_ledger_for_exits(patch: Patch) -> None:
    real = exits.Exits._write

    def write(self: exits.Exits, *values: Any) -> str | None:
        warning = real(self, *values)
        if warning:
            raise LedgerError(warning)
        return warning

    patch.setattr(exits.Exits, "_write", write)


def loses_the_fallback(patch: Patch) -> None:
    """What exits wrote down elsewhere is thrown away, not imported."""

    def bring_home(self: fallback.Fallback, _: Any) -> int:
        self.path.unlink(missing_ok=True)
        self._memory.clear()
        return 0

    patch.setattr(fallback.Fallback, "bring_home", bring_home)


def never_settles(patch: Patch) -> None:
    patch.setattr(desk, "settle_all", lambda *_: ())


def believes_every_cancel(patch: Patch) -> None:
    """A cancel without an answer counts as done."""
    real = broker.Broker.cancel_order

    def cancel(self: broker.Broker, order: Any, seconds: float) -> Receipt:
        try:
            return real(self, order, seconds)
        except calls.Failed:
            return Receipt(
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                status=OrderStatus.CANCELLED,
            )

    patch.setattr(broker.Broker, "cancel_order", cancel)


@pytest.mark.parametrize(
    ("break_it", "invariant"),
    [
        (sends_twice, "I1"),
        (frees_what_is_unknown, "I2"),
        (calls_what_is_not_shown_absent, "I2"),
        (believes_every_cancel, "I2"),
        (skips_the_version, "I2"),
        (drops_a_row, "I4"),
        (loses_the_fallback, "I4"),
        (ignores_the_unknown, "I5"),
        (ignores_halts, "I5"),
        (keeps_exits_in_during_a_halt, "I6"),
        (needs_the_ledger_for_exits, "I0"),
        (changes_a_table, "I7"),
        (never_settles, "I8"),
        (forgets_reservations, "I8"),
    ],
)
def test_a_gate_that_is_broken_is_found(
    root: Path, monkeypatch: Patch, break_it: Callable[[Patch], None], invariant: str
) -> None:
    break_it(monkeypatch)
    assert found(root, invariant).broken.name == invariant


# -------------------------------------------------------------------------------------------------------- the command


def test_the_command_says_how_many_seeds_held() -> None:
    told = CliRunner().invoke(main, ["--seeds", "2", "--steps", "5"])
    assert (told.exit_code, told.output) == (0, "2 seeds of 5 steps, 0 failed\n")


def test_the_command_ends_with_1_and_says_how_to_see_it_again(monkeypatch: Patch) -> None:
    sends_twice(monkeypatch)
    told = CliRunner().invoke(main, ["--seeds", "2"])
    assert told.exit_code == 1
    assert "I1: order" in told.output
    assert "python -m ordergate.testing.simulation --seed" in told.output


def test_the_command_speaks_json(monkeypatch: Patch) -> None:
    sends_twice(monkeypatch)
    told = CliRunner().invoke(main, ["--seed", "0", "--json"])
    failure, end = map(json.loads, told.output.splitlines())
    assert (failure["seed"], failure["invariant"]) == (0, "I1")
    assert end == {"seeds": 1, "failed": 1}
