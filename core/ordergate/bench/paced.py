"""One process of the race in `ordergate.bench.crowds`: records decisions, says how long each took, in seconds.

Its words: the folder, `ledger` or `time-out`, the account. It says `ready`; to each line with the seconds from one
decision to the next, and in all, it answers with a line of JSON; it ends when no more lines come.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ordergate.bench.measure import CLOCK
from ordergate.ledger import open_ledger

__all__: list[str] = []

_TIMEOUT: Final = 10.0  # seconds that sqlite3 goes on trying


def _recorder(folder: Path, account: str) -> Callable[[str], None]:
    """Decisions through the gate's ledger: state, then the insert that names it."""
    ledger, body = open_ledger("sqlite:///ledger.db", folder, CLOCK), json.loads((folder / "body.json").read_text())

    def record(name: str) -> None:
        body["client_order_id"] = name
        state = ledger.state(account)
        if ledger.append(account, "decision", body, at=CLOCK.now(), key=f"order:{name}", judged_on=state) is None:
            raise RuntimeError("nobody else writes for this account, yet the state was stale")

    return record


def _inserter(folder: Path) -> Callable[[str], None]:
    """The same text with sqlite3 alone, which waits for a locked file as it sees fit."""
    connection = sqlite3.connect(folder / "bare.db", timeout=_TIMEOUT, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    text = (folder / "body.json").read_text()

    def insert(_: str) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO bare (body) VALUES (?)", (text,))
        connection.execute("COMMIT")

    return insert


def _run(one: Callable[[str], None], every: float, seconds: float) -> list[float]:
    times: list[float] = []
    began = due = CLOCK.monotonic()
    run = CLOCK.new_id()
    while (now := CLOCK.monotonic()) < began + seconds:
        if now < due:
            CLOCK.sleep(due - now)
            now = CLOCK.monotonic()
        one(f"{run}-{len(times)}")
        times.append(CLOCK.monotonic() - now)
        due = max(due + every, now)
    return times


def main() -> None:
    """See the module."""
    folder, kind, account = sys.argv[1:]
    one = _recorder(Path(folder), account) if kind == "ledger" else _inserter(Path(folder))
    one(f"first-{CLOCK.new_id()}")
    _say("ready")
    for line in sys.stdin:
        every, seconds = map(float, line.split())
        _say(json.dumps(_run(one, every, seconds)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
