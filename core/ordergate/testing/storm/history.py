"""What a caller writes down: a line before each call and a line after each answer, in a file of its own.

A line is written with one call to the system before the gate is called, so it stands also when the process is killed in
the middle. Moments are those of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from ordergate.clock import Clock
from ordergate.decision import Decision
from ordergate.records import to_plain
from ordergate.testing.storm.plan import Intent

__all__ = ["Call", "History", "read_history"]


@frozen(kw_only=True)
class Call:
    """A call and what it was answered; `returned` is None where the caller died before it could write the answer down.

    `answer` is None where the call raised; `error` then names what.
    """

    caller: int
    number: int
    do: str
    account: str
    client_order_id: str
    order: Mapping[str, Any] | None
    called: float
    returned: float | None = None
    answer: Mapping[str, Any] | None = None
    error: str | None = None


class History:
    """The file of one caller, open for writing at its end."""

    def __init__(self, folder: Path, caller: int, clock: Clock) -> None:
        folder.mkdir(exist_ok=True)
        path = folder / f"caller-{caller:04d}.jsonl"
        cut = path.exists() and not path.read_bytes().endswith(b"\n")
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._clock = clock
        if cut:
            os.write(self._file, b"\n")  # its former life ended in the middle of a line

    def called(self, number: int, intent: Intent) -> None:
        order = intent.order
        self._write(
            {
                "number": number,
                "do": intent.do,
                "account": intent.account,
                "id": order.client_order_id if order else intent.reference,
                "order": to_plain(order) if order else None,
                "called": self._clock.monotonic(),
            }
        )

    def answered(self, number: int, decision: Decision | None) -> None:
        answer: dict[str, Any] | None = None
        if decision is not None:
            receipt = decision.receipt
            answer = {
                "status": decision.status.value,
                "approved": decision.approved,
                "replayed": decision.replayed,
                "codes": sorted({verdict.code for verdict in decision.refusals}),
                "order_id": receipt.order_id if receipt else None,
            }
        self._write({"number": number, "returned": self._clock.monotonic(), "answer": answer, "error": None})

    def raised(self, number: int, error: BaseException) -> None:
        moment = self._clock.monotonic()
        self._write({"number": number, "returned": moment, "answer": None, "error": type(error).__name__})

    def close(self) -> None:
        os.close(self._file)

    def _write(self, line: Mapping[str, Any]) -> None:
        os.write(self._file, f"{json.dumps(line)}\n".encode())


def read_history(folder: Path, caller: int) -> list[Call]:
    """The calls of one caller in their order; one that was made again after a death is there twice."""
    path = folder / f"caller-{caller:04d}.jsonl"
    calls: list[Call] = []
    for line in _lines(path):
        if "do" in line:
            calls.append(
                Call(
                    caller=caller,
                    number=line["number"],
                    do=line["do"],
                    account=line["account"],
                    client_order_id=line["id"],
                    order=line["order"],
                    called=line["called"],
                )
            )
        elif calls and calls[-1].number == line["number"]:
            told = {name: line[name] for name in ("returned", "answer", "error")}
            calls[-1] = evolve(calls[-1], **told)
    return calls


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # its writer was killed in the middle of it
