"""SIGINT and SIGTERM while an order is being sent: the first waits for the outcome, the second gives up on hearing it.

Handlers run in the main thread, between two of its steps, and so does the path up to the record: an order that is not
on record when a signal is heard never will be. The process then ends at once, which is no more than a crash.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from attrs import evolve

from ordergate.calls import Failed, within
from ordergate.cli.answer import answer_of, exit_code
from ordergate.cli.face import INTERRUPTED, UNKNOWN, Face, print_json
from ordergate.cli.page import Line
from ordergate.decision import Decision
from ordergate.models import OrderStatus
from ordergate.order import Order
from ordergate.outcome import replay

if TYPE_CHECKING:
    from ordergate.executor import Executor

__all__ = ["Signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_LOOK: Final = 2.0  # seconds for a look at the record; what cannot be told by then counts as recorded


class Signals:
    """What the two signals do from `with` to its end; those that the caller had ignored stay ignored."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._executor: Executor | None = None
        self._account, self._name = "", ""
        self._order: Order | None = None
        self._finishing = False
        self._code: int | None = None
        self._before: Mapping[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other thread may set handlers, or runs them
            heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._heard) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def watch(self, executor: Executor, account: str, client_order_id: str, order: Order | None) -> None:
        """What is about to be sent: an order, or with None the cancel of the one that has this id."""
        self._account, self._name, self._order = account, client_order_id, order
        self._executor = executor

    def over(self, decision: Decision) -> Decision:
        """The outcome is known: from now on a signal ends the process at once with the outcome's own exit code."""
        self._code = exit_code(decision)
        return decision

    # ------------------------------------------------------------------------------------------------------ inside

    def _heard(self, number: int, _: FrameType | None) -> None:
        if self._code is not None:
            os._exit(self._code)
        if self._finishing:
            self._give_up()
        if not self._is_at_stake():
            self._end(number)
        self._finishing = True
        _say(f"finishing: waiting until the outcome of {self._name} is known or the venue's time is over. ")
        _say("A second signal gives up waiting; nothing would be sent again.\n")

    def _is_at_stake(self) -> bool:
        if self._executor is None:
            return False
        if self._order is None or self._order.force_liquidate:
            return True  # a cancel goes to the venue before anything is recorded
        try:
            return within(_LOOK, self._on_record, self._executor) is not None
        except Failed:
            return True

    def _on_record(self, executor: Executor) -> Decision | str | None:
        """The order as it stands on record, or words that say that it is there.

        Only to be asked in a thread of its own, with a deadline: the main thread was interrupted in the middle of
        something, and may hold the very lock that the answer needs.
        """
        if executor.desk.store.fallback.find(self._account, self._name):
            return "in the fallback"
        recorded = executor.desk.ledger().find(self._account, self._name)
        return None if recorded is None else replay(recorded)

    def _end(self, number: int) -> NoReturn:
        """As if nothing had been asked for: nothing is recorded, nothing was sent."""
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        message = "Interrupted before anything was recorded or sent."

        def tell() -> None:
            if self._face.as_json:
                print_json({"status": None, "error": "INTERRUPTED", "message": message})
            else:
                self._face.print_page([Line(f"error: {message}", "bad")], stream=sys.stderr)

        _end_with(INTERRUPTED, tell)

    def _give_up(self) -> NoReturn:
        """End without the outcome. What was recorded stays so, and is settled by the next look at the venue."""
        decision = self._told()
        message = f"It is not known what became of {self._name}."
        advice = "`ordergate reconcile` asks the venue."

        def tell() -> None:
            if decision is not None:
                self._face.show(answer_of(decision))
            elif self._face.as_json:
                print_json({"status": "unknown", "error": "OUTCOME_UNKNOWN", "message": message, "advice": advice})
            else:
                self._face.print_page([Line(message, "warn"), Line(advice)])

        _end_with(exit_code(decision) if decision else UNKNOWN, tell)

    def _told(self) -> Decision | None:
        """What a person is told of the order, as it stands on record; None when that cannot be read now."""
        if self._executor is None:
            return None
        try:
            decision = within(_LOOK, self._on_record, self._executor)
        except Failed:
            return None
        if not isinstance(decision, Decision) or self._order is not None:
            return decision if isinstance(decision, Decision) else None
        # What the record says of the order is not what became of the cancel.
        return evolve(
            decision,
            status=OrderStatus.UNKNOWN,
            error="OUTCOME_UNKNOWN",
            message="It is not known what the venue did with the cancel.",
            advice="`ordergate reconcile` asks what became of the order; the cancel may be asked for again.",
        )


def _end_with(code: int, tell: Callable[[], object]) -> NoReturn:
    """End the process here, whatever its threads are at, and whether or not the last words could be written."""
    try:
        tell()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _say(text: str) -> None:
    # Not by sys.stderr: the main thread may be in the middle of writing there.
    try:
        os.write(2, text.encode("ascii", "backslashreplace"))
    except OSError:
        return
