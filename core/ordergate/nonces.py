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

        Requests that overtake each other would be refused. One that cannot have its turn within `seconds` goes out of
        turn, with a higher number: what it did not wait for then comes too late, and is refused.
        """
        with self._opened(".turn") as turn:
            if turn is not None:
                self._wait(turn, seconds)
            yield self.next()

    def next(self) -> int:
        """The next number: nanoseconds since the epoch, or one above the last where that is more."""
        with self._lock, self._opened("") as file:
            if file is not None:
                fcntl.flock(file, fcntl.LOCK_EX)  # held for microseconds, by everybody
            last = max(self._last, _read(file))
            self._last = max(last + 1, int(self._clock.now() * 1_000_000_000))
            if file is not None:
                with suppress(OSError):
                    os.ftruncate(file, os.pwrite(file, b"%-20d" % self._last, 0))
            return self._last

    def _wait(self, turn: int, seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while True:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if self._clock.monotonic() >= deadline:
                    return
                self._clock.sleep(_POLL)
            else:
                return

    @contextmanager
    def _opened(self, ending: str) -> Iterator[int | None]:
        # Opened for each use: locks of this kind belong to the opening, so threads exclude each other too.
        try:
            path = self._path.with_name(self._path.name + ending)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _read(file: int | None) -> int:
    if file is None:
        return 0
    try:
        number = int(os.pread(file, 32, 0) or b"0")
    except (OSError, ValueError):
        return 0  # torn or foreign: the clock, and what this process remembers, are still there
    return number if 0 < number < _ENDS else 0
