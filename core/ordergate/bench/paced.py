"""One process of the race in `ordergate.bench.crowds`: records decisions, says how long each took, in seconds.

Its words: the folder, `ledger` or `time-out` (the same, waiting as sqlite3 does), the account. It says `ready`; to each
line with the seconds from one decision to the next, and in all, it answers with a line of JSON; it ends when no more
lines come.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ordergate.bench.measure import CLOCK
from ordergate.ledger import open_ledger
from ordergate.sqlite_ledger import SqliteLedger

__all__: list[str] = []

_TIMEOUT: Final = 10_000  # milliseconds that sqlite3 goes on trying


def _recorder(folder: Path, kind: str, account: str) -> Callable[[str], None]:
    """Decisions through the gate's ledger: state, then the insert that names it."""
    ledger, body = open_ledger(f"sqlite:///{kind}.db", folder, CLOCK), json.loads((folder / "body.json").read_text())
    if kind == "time-out" and isinstance(ledger, SqliteLedger):
        # The very same rows, but SQLite waits for a locked file as it sees fit, and the ledger never hears of it. No
        # user may set this, so there is no other way in.
        connection = ledger._connection  # noqa: SLF001 - as above  # pyright: ignore[reportPrivateUsage]
        connection.execute(f"PRAGMA busy_timeout = {_TIMEOUT}")

    def record(name: str) -> None:
        body["client_order_id"] = name
        state = ledger.state(account)
        if ledger.append(account, "decision", body, at=CLOCK.now(), key=f"order:{name}", judged_on=state) is None:
            raise RuntimeError("nobody else writes for this account, yet the state was stale")

    return record


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
    one = _recorder(Path(folder), kind, account)
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
