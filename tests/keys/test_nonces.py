"""Nonces rise, whoever draws them and whatever the clock does."""

from __future__ import annotations

import fcntl
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordergate.clock import SystemClock
from ordergate.nonces import Nonces


class Told(SystemClock):
    """A clock that says what it is told."""

    def __init__(self, now: float = 0.0) -> None:
        self.says = now

    def now(self) -> float:
        return self.says


def test_c17_nonce_is_one_rising_line_over_eight_threads(
    tmp_path: Path, crowd: Callable[[int, Callable[[int], Any]], list[Any]]
) -> None:
    drawn: list[int] = []

    def draw(number: int) -> None:
        own = Nonces(tmp_path / "key.nonce")  # as after a restart: nothing is shared but the file
        for _ in range(25):
            with own.turn(10.0) as nonce:
                drawn.append(nonce)  # inside the turn, so the list has them in the order of the turns

    crowd(8, draw)
    assert len(drawn) == 200
    assert drawn == sorted(set(drawn))


def _draw(path: Path, count: int, line: Any, log: Path) -> None:
    line.wait(30)
    own = Nonces(path)
    for _ in range(count):
        with own.turn(30.0) as nonce, log.open("a") as file:
            file.write(f"{nonce}\n")


def test_c17_nonce_is_one_rising_line_over_four_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    line, log = context.Barrier(4), tmp_path / "log"
    members = [context.Process(target=_draw, args=(tmp_path / "key.nonce", 25, line, log)) for _ in range(4)]
    for each in members:
        each.start()
    for each in members:
        each.join(60)
    drawn = [int(text) for text in log.read_text().split()]
    assert len(drawn) == 100
    assert drawn == sorted(set(drawn))


@given(st.lists(st.floats(min_value=0, max_value=4_000_000_000, allow_nan=False), min_size=1, max_size=20))
def test_c17_nonce_rises_whatever_the_clock_says(
    tmp_path_factory: pytest.TempPathFactory, moments: list[float]
) -> None:
    path = tmp_path_factory.mktemp("nonces") / "key.nonce"
    drawn = [Nonces(path, Told(moment)).next() for moment in moments]
    assert drawn == sorted(set(drawn))


def test_it_is_nanoseconds_of_the_clock_where_that_is_more(tmp_path: Path) -> None:
    nonces = Nonces(tmp_path / "key.nonce", Told(1_795_392_000.0))
    assert nonces.next() == 1_795_392_000_000_000_000
    assert nonces.next() == 1_795_392_000_000_000_001


@pytest.mark.parametrize("torn", [b"", b"17953920", b"\xff\x00", b"-5", b"9" * 40])
def test_a_torn_or_foreign_file_does_no_harm(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "key.nonce"
    path.write_bytes(torn)
    nonces = Nonces(path, Told(1_795_392_000.0))
    first = nonces.next()
    assert 1_795_392_000_000_000_000 <= first < 1_795_392_000_000_000_000 * 2
    assert Nonces(path, Told(0.0)).next() == first + 1


def test_where_the_file_cannot_be_used_the_clock_serves(tmp_path: Path) -> None:
    """An exit is not held up by a full disk or a missing right; a number that is too low is refused, no more."""
    nonces = Nonces(tmp_path / "absent" / "key.nonce", Told(1_795_392_000.0))
    with nonces.turn(10.0) as first, nonces.turn(10.0) as second:
        assert second == first + 1


def test_who_cannot_have_a_turn_goes_out_of_turn_with_a_higher_number(tmp_path: Path) -> None:
    path = tmp_path / "key.nonce"
    with Nonces(path).turn(10.0) as hanging, Nonces(path).turn(0.02) as impatient:
        assert impatient > hanging


def test_c15_one_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    """Everybody behind it stands in a new line, in which again one at a time is in flight."""
    path = tmp_path / "key.nonce"

    class Counted(SystemClock):
        slept = 0.0

        def monotonic(self) -> float:
            return self.slept

        def sleep(self, seconds: float) -> None:
            self.slept += seconds

    clock = Counted()
    with Nonces(path).turn(10.0) as hanging:
        drawn = []
        for _ in range(5):
            with Nonces(path, clock).turn(1.0) as nonce:
                drawn.append(nonce)
        assert 1.0 <= clock.slept < 1.1
        assert drawn == sorted({hanging, *drawn} - {hanging})
        with Nonces(path, clock).turn(1.0), Nonces(path, Counted())._opened(".turn") as line:
            assert line is not None
            with pytest.raises(BlockingIOError):
                fcntl.flock(line, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with Nonces(path, clock).turn(1.0):
        assert clock.slept < 1.1


def test_a_line_that_moves_is_no_hang(tmp_path: Path) -> None:
    """Who had to wait because many were in front goes out of turn; the line of the others stays one."""
    path = tmp_path / "key.nonce"
    lines = [Nonces(path).turn(10.0)]
    lines[0].__enter__()

    class Busy(SystemClock):
        """While it is waited, one turn ends and the next one begins."""

        slept = 0.0

        def monotonic(self) -> float:
            return self.slept

        def sleep(self, seconds: float) -> None:
            if not self.slept:
                lines.pop().__exit__(None, None, None)
                lines.append(Nonces(path).turn(10.0))
                lines[0].__enter__()
            self.slept += seconds

    before = path.with_name("key.nonce.turn").stat().st_ino
    with Nonces(path, Busy()).turn(1.0):
        assert path.with_name("key.nonce.turn").stat().st_ino == before
    lines.pop().__exit__(None, None, None)


def test_who_waited_in_the_old_line_goes_to_the_new_one(
    tmp_path: Path, crowd: Callable[[int, Callable[[int], Any]], list[Any]]
) -> None:
    """However many wait behind one that hangs, and however that ends, one at a time is in flight in the new line."""
    path = tmp_path / "key.nonce"
    in_flight, most, lock = [0], [0], threading.Lock()

    def send(_: int) -> None:
        for _ in range(10):
            with Nonces(path).turn(0.2):
                with lock:
                    in_flight[0] += 1
                    most[0] = max(most[0], in_flight[0])
                with lock:
                    in_flight[0] -= 1

    with Nonces(path).turn(10.0):
        crowd(6, send)
    assert most == [1]


def test_a_turn_ends_with_its_block_also_when_the_block_raises(tmp_path: Path) -> None:
    path, waited = tmp_path / "key.nonce", threading.Event()

    def hold() -> None:
        with Nonces(path).turn(10.0):
            raise TimeoutError

    with pytest.raises(TimeoutError):
        hold()

    class Watched(SystemClock):
        def sleep(self, seconds: float) -> None:
            waited.set()
            super().sleep(seconds)

    with Nonces(path, Watched()).turn(10.0):
        assert not waited.is_set()


def test_the_file_holds_no_secret_and_is_only_the_owners(tmp_path: Path) -> None:
    path = tmp_path / "key.nonce"
    Nonces(path).next()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().strip().isdigit()
