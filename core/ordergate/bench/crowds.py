"""Goal 5: many threads and many processes on one ledger on disk: how fast all together, and how fair to each."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from ordergate.bench.case import Case, Effort, Row, Way
from ordergate.bench.durable import appended, bare_insert
from ordergate.bench.given import Body, decision_body, gate, ledger_in
from ordergate.bench.measure import CLOCK, Sample, quantile, rates, timed
from ordergate.ledger import Ledger
from ordergate.records import canonical
from ordergate.sqlite_ledger import SqliteLedger
from ordergate.turns import Turns

__all__ = ["CASES", "together"]

_THREADS: Final = 64
_EACH: Final = 16
_PROCESSES: Final = 8
_EVERY: Final = 0.005
"""Seconds from one decision of a paced process to its next."""
_SECONDS: Final = 1.0
_PATIENCE: Final = 60.0


@contextmanager
def _threads(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with (
        gate(effort.memory) as executor,
        ledger_in(effort.disk) as ledger,
        ledger_in(effort.disk, "direct.db") as direct,
        bare_insert(effort.disk) as insert,
    ):
        body, names, share = decision_body(executor), map("order-{}".format, count()), effort.share
        text = body.text("order-0")
        if isinstance(direct, SqliteLedger):
            # The very same rows without anybody taking turns: what a caller pays for others who might be there.
            # No user may do without, so there is no other way in.
            direct._turns = _NoTurns(direct._write_all)  # noqa: SLF001 - as above  # pyright: ignore[reportPrivateUsage]
        yield {
            "bare": partial(_rate, partial(insert, text), share),
            "direct": partial(_rate, partial(appended, direct, body, names), share),
            "lone": partial(_rate, partial(appended, ledger, body, names), share),
            "crowd": partial(_crowd, ledger, body, names),
        }


class _NoTurns(Turns[Any]):
    def do(self, item: object) -> None:
        self._work([item])


def _rate(call: Callable[[], object], share: float) -> Sample:
    sample = timed(call, share)
    return {**sample, "rate": 1 / sample["call"]}


def _crowd(ledger: Ledger, body: Body, names: Iterator[str]) -> Sample:
    def run(_: int) -> None:
        for _ in range(_EACH):
            appended(ledger, body, names)

    return rates(_THREADS * _EACH, together(_THREADS, run))


def together(threads: int, run: Callable[[int], None]) -> float:
    """Run it in so many threads, all from the same moment; the seconds until the last was done."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(threads + 1)

    def one(number: int) -> None:
        barrier.wait(_PATIENCE)
        try:
            run(number)
        except BaseException as failure:  # noqa: BLE001 - what a thread raised is raised again where it is waited for
            failures.append(failure)

    crowd = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(threads)]
    for thread in crowd:
        thread.start()
    barrier.wait(_PATIENCE)
    began = CLOCK.monotonic()
    for thread in crowd:
        thread.join(_PATIENCE)
    took = CLOCK.monotonic() - began
    if failures:
        raise failures[0]
    return took


# ---------------------------------------------------------------------------------------------------------- processes


@contextmanager
def _processes(effort: Effort) -> Iterator[Mapping[str, Way]]:
    processes, seconds = (4, _SECONDS / 4) if effort.small else (_PROCESSES, _SECONDS)
    with gate(effort.memory) as executor, ExitStack() as stack:
        values = decision_body(executor).named("any", reserves=False)
        (effort.disk / "body.json").write_text(canonical(values), encoding="utf-8")
        crowds = {kind: stack.enter_context(_started(effort.disk, kind, processes)) for kind in ("ledger", "time-out")}
        yield {
            f"{kind}, {pace}": partial(_race, crowd, every, seconds)
            for pace, every in (("paced", _EVERY), ("burst", 0.0))
            for kind, crowd in crowds.items()
        }


def _race(crowd: list[subprocess.Popen[str]], every: float, seconds: float) -> Sample:
    """Let them record decisions on accounts of their own for so long, all from the same moment."""
    for process in crowd:
        _tell(process, f"{every} {seconds}")
    times: list[list[float]] = [json.loads(_said(process)) for process in crowd]
    every_time = [time for one in times for time in one]
    served = [len(one) for one in times]
    return {
        "p50": quantile(every_time, 0.5),
        "p99": quantile(every_time, 0.99),
        "longest": max(every_time) * 1000,
        "rate": sum(served) / seconds,
        "least of most": min(served) / max(served),
    }


@contextmanager
def _started(folder: Path, kind: str, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    crowd: list[subprocess.Popen[str]] = []
    command = [sys.executable, "-m", "ordergate.bench.paced", str(folder), kind]
    try:
        for number in range(count):
            process = subprocess.Popen(  # noqa: S603 - our own module
                [*command, f"process-{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            crowd.append(process)
        for process in crowd:
            _said(process)
        yield crowd
    finally:
        for process in crowd:
            try:
                process.communicate(timeout=_PATIENCE)  # without a further line they end by themselves
            except (subprocess.TimeoutExpired, OSError):
                process.kill()
                process.communicate()


def _said(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError("a process of the race ended before its time")
    return line


def _tell(process: subprocess.Popen[str], words: str) -> None:
    if process.stdin is not None:
        process.stdin.write(f"{words}\n")
        process.stdin.flush()


CASES: Final = (
    Case(
        name="threads",
        goal=5,
        says="64 threads that each wait for their decision to be on disk, beside one commit after the other.",
        ways=_threads,
        rows=(
            Row(
                says="64 waiting threads, beside one commit each",
                of="crowd",
                against="lone",
                figure="rate",
                limit=8,
                least=True,
                bound="each decision is written out and hashed in Python, one thread at a time.",
            ),
            Row(
                says="64 waiting threads, beside bare INSERTs, one commit each",
                of="crowd",
                against="bare",
                figure="rate",
            ),
            Row(says="A lone caller, beside a direct commit of the same row", of="lone", against="direct", limit=1.2),
        ),
    ),
    Case(
        name="processes",
        goal=5,
        says="8 processes on one ledger, a decision every 5 ms each or as fast as they can, beside sqlite3's timeout=.",
        ways=_processes,
        rows=(
            Row(
                says="p99 of paced processes, beside sqlite3's time-out",
                of="ledger, paced",
                against="time-out, paced",
                figure="p99",
                limit=0.25,
                bound="1,600 flushes a second are near what the disk takes, and then the tail is that of the queue.",
            ),
            Row(says="The longest wait of any, paced", of="ledger, paced", figure="longest", limit=150, unit="ms"),
            Row(
                says="Least of most served, paced",
                of="ledger, paced",
                figure="least of most",
                limit=0.5,
                least=True,
                unit="",
            ),
            Row(
                says="Least of most served, in a burst",
                of="ledger, burst",
                figure="least of most",
                limit=0.5,
                least=True,
                unit="",
            ),
            Row(
                says="The same of sqlite3's time-out, in a burst",
                of="time-out, burst",
                figure="least of most",
                unit="",
            ),
            Row(
                says="All together in a burst, beside sqlite3's time-out",
                of="ledger, burst",
                against="time-out, burst",
                figure="rate",
            ),
        ),
    ),
)
