"""The program, at a venue that waits for a line on standard input before it answers.

    python slow_venue.py place_order buy BTC-USD --spend 25

Calls of the hook that is named first wait: orders and cancels once the venue has done what it was asked, questions
before they are asked. It says `waiting` on standard error then, so that a test can act in just this moment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from ordergate.cli import main
from ordergate.plugins import Hook


def wait() -> None:
    os.write(2, b"waiting\n")
    os.read(0, 100)  # not by sys.stdin: a thread that still reads there at the end would abort the process


def slow_down(name: str) -> None:
    real = Hook.call

    def call(self: Hook, values: Mapping[str, Any]) -> Any:
        if self.name != name:
            return real(self, values)
        if name not in ("place_order", "cancel_order"):
            wait()
            return real(self, values)
        answer = real(self, values)
        wait()
        return answer

    setattr(Hook, "call", call)  # noqa: B010 - a method of a class cannot be assigned under strict types


if __name__ == "__main__":
    slow_down(sys.argv.pop(1))
    main()
