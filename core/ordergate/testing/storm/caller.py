"""One process of a storm: an executor that its threads share, and what each of them asks of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ordergate.clock import SystemClock
from ordergate.decision import Decision
from ordergate.errors import OrdergateError
from ordergate.executor import Executor
from ordergate.testing.storm.history import History, read_history
from ordergate.testing.storm.plan import Intent, Plan, draw_intent

__all__ = ["ANSWERED", "CALLED", "HISTORY", "READY", "STOP", "Process", "ask"]

HISTORY: Final = "history"
STOP: Final = "stop"
"""While a file of this name is there, callers that go on until they are told make no further call."""
READY, CALLED, ANSWERED = b"r", b"c", b"a"
"""What a process tells the host it runs on, one byte each."""
_MOST: Final = 100_000  # calls of a caller that goes on until it is told


class Process:
    """`tell` is a file to write to: every call and every answer is one byte there."""

    def __init__(self, plan: Plan, folder: Path, number: int, tell: int) -> None:
        self._plan, self._folder, self._number, self._tell = plan, folder, number, tell
        self._executor = Executor.from_values(plan.values(), folder=folder)
        self._retired: list[Executor] = []
        self._stop = folder / STOP

    def live(self, wait: Callable[[], None]) -> None:
        """Say that it is ready, wait, and let all threads ask at once. Raises what any of them raised."""
        plan, failures = self._plan, list[BaseException]()
        os.write(self._tell, READY)
        wait()
        start = threading.Barrier(plan.threads)

        def run(caller: int) -> None:
            try:
                start.wait()
                self._call_all(caller)
            except BaseException as failure:  # noqa: BLE001 - whatever a thread raised is raised again below
                failures.append(failure)

        first = self._number * plan.threads
        threads = [threading.Thread(target=run, args=(first + number,)) for number in range(plan.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for executor in (self._executor, *self._retired):
            executor.close()
        if failures:
            raise failures[0]

    def _call_all(self, caller: int) -> None:
        plan, folder = self._plan, self._folder / HISTORY
        before = read_history(folder, caller)
        number = 0
        if before:  # this process was killed: a call without an answer is made again, under the same id
            number = before[-1].number + (before[-1].returned is not None)
        told = plan.served is not None or (plan.noisy and caller < plan.threads)
        history = History(folder, caller, SystemClock())
        try:
            while number < (_MOST if told else plan.intents) and not (told and self._stop.exists()):
                if plan.lower and number == plan.intents // 2 and caller % plan.threads == 0 and not self._retired:
                    self._lower()
                self._call(history, number, draw_intent(plan, caller, number))
                number += 1
        finally:
            history.close()

    def _lower(self) -> None:
        lowered = Executor.from_values(self._plan.values(lowered=True), folder=self._folder)
        self._retired.append(self._executor)  # other threads may be in the middle of a call to it
        self._executor = lowered

    def _call(self, history: History, number: int, intent: Intent) -> None:
        executor = self._executor
        history.called(number, intent)
        os.write(self._tell, CALLED)
        try:
            history.answered(number, ask(executor, intent))
        except OrdergateError as error:
            history.raised(number, error)
        os.write(self._tell, ANSWERED)


def ask(executor: Executor, intent: Intent) -> Decision | None:
    """Do what the intent says. Raises what the executor raises."""
    if intent.order is not None:
        return executor.submit(intent.order)
    if intent.do == "cancel":
        return executor.cancel(intent.reference, account=intent.account)
    if intent.do == "halt":
        executor.halt(by="storm", reason="the plan says so", account=intent.account, keep_open=True)
    else:
        executor.resume(by="storm", reason="the plan says so", account=intent.account)
    return None
