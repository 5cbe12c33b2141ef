"""Numbers that must rise with every request under one key, whichever thread or process sends it.

Some venues take a request only when its nonce is above the one before. The last number stands in a locked file beside
the key, so that all programs of this machine share it, and it never falls, also when the clock does.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ordergate.clock import Clock, SystemClock

__all__ = ["Nonces"]

_POLL: Final = 0.005
_BRIEF: Final = 0.5  # seconds
_LINES: Final = 3  # in which one request stands at most, one after the other
_ENDS: Final = 2**63  # beyond it, what stands in the file was not written here


class Nonces:
    """The nonce source of one key. `path` is the file beside the key; any thread may use it.

    Where the file cannot be used (a full disk, no rights), numbers come from the clock alone: a venue refuses one
    that is too low, so nothing can go wrong by it, and an exit is not held up.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path, self._clock = path, clock or SystemClock()
        self._last, self._lock = 0, threading.Lock()

    @contextmanager
    def turn(self, seconds: float) -> Iterator[int]:
        """A nonce, and for as long as the block runs no other request under this key.

        Requests that overtake each other would be refused. One that has held everybody up for `seconds` is waited for
        no longer: the line begins anew behind it, with higher numbers, and if it still arrives it comes too late.
        """
        line = self._in_line(seconds)
        try:
            nonce = self.next()
            if line is not None:
                _write(line, nonce)  # so that those who wait see that the line moves
            yield nonce
        finally:
            if line is not None:
                os.close(line)

    def next(self) -> int:
        """The next number: nanoseconds since the epoch, or one above the last where that is more."""
        with self._lock, self._opened("") as file:
            if file is not None:
                # Held for microseconds, by everybody; whoever was stopped while it had it holds nobody up.
                self._wait(file, self._clock.monotonic() + _BRIEF)
            last = max(self._last, _read(file))
            self._last = max(last + 1, int(self._clock.now() * 1_000_000_000))
            if file is not None:
                _write(file, self._last)
            return self._last

    def _in_line(self, seconds: float) -> int | None:
        """The turn file, locked. None where there is no such file, or where too many are in front: then it is out of
        turn.
        """
        deadline = self._clock.monotonic() + seconds
        for _ in range(_LINES):
            line = self._open(".turn")
            if line is None:
                return None
            holder = _read(line)
            if self._wait(line, deadline):
                if self._is_current(line):
                    return line
            elif _read(line) == holder:
                self._begin_anew(line)
                deadline = self._clock.monotonic() + seconds
            else:
                os.close(line)
                return None
            os.close(line)
        return None

    def _wait(self, line: int, deadline: float) -> bool:
        while True:
            try:
                fcntl.flock(line, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if self._clock.monotonic() >= deadline:
                    return False
                self._clock.sleep(_POLL)
            else:
                return True

    def _is_current(self, line: int) -> bool:
        """False for the line of a file that has been put aside meanwhile."""
        try:
            return os.path.samestat(os.fstat(line), self._named(".turn").stat())
        except OSError:
            return False

    def _begin_anew(self, line: int) -> None:
        """Leave the file to whoever hangs on it. Only the first of those who waited does so."""
        with self._opened("") as file, suppress(OSError):
            # Where the lock cannot be had, the line stays as it is.
            if file is not None and self._wait(file, self._clock.monotonic() + _BRIEF) and self._is_current(line):
                self._named(".turn").unlink()

    @contextmanager
    def _opened(self, ending: str) -> Iterator[int | None]:
        descriptor = self._open(ending)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _open(self, ending: str) -> int | None:
        # Opened for each use: locks of this kind belong to the opening, so threads exclude each other too.
        try:
            return os.open(self._named(ending), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return None

    def _named(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)


def _write(file: int, number: int) -> None:
    with suppress(OSError):
        os.ftruncate(file, os.pwrite(file, b"%-20d" % number, 0))


def _read(file: int | None) -> int:
    if file is None:
        return 0
    try:
        number = int(os.pread(file, 32, 0) or b"0")
    except (OSError, ValueError):
        return 0  # torn or foreign: the clock, and what this process remembers, are still there
    return number if 0 < number < _ENDS else 0
