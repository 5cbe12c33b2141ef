"""Exceptions that come out of nowhere in the caller's own thread: Ctrl-C and `sys.exit` in a signal handler.

They are raised at lines spread over the whole path of an order, each in a run of its own, in the thread that called
`submit`. Whatever line it was: an order at the venue is on record, nothing is ever sent twice, and the same executor
goes on as if nothing had been.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ordergate
from ordergate import Executor, Order, OrderStatus

if TYPE_CHECKING:
    from types import FrameType

    from tests.faults.conftest import MovedClock, Stage

CORE = str(Path(ordergate.__file__).parent)
BUY = {"symbol": "BTC-USD", "side": "buy", "spend": "50", "client_order_id": "mine"}
SELL = {"symbol": "ETH-USD", "side": "sell", "amount": "0.0100", "client_order_id": "mine"}
RUNS = 30


class Interrupter:
    """Raises at the n-th line of the gate's own code that this thread comes to; counts them when there is no n."""

    def __init__(self, at: int | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.lines, self._at, self._error = 0, at, error

    def _trace(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if event == "call":
            return self._trace if frame.f_code.co_filename.startswith(CORE) else None
        if event == "line" and not self._is_with(frame):
            self.lines += 1
            if self.lines == self._at:
                raise self._error
        return self._trace

    def _is_with(self, frame: FrameType) -> bool:
        # Leaving a block counts as its `with` line, where tracing can raise and the interpreter hears no signal: it
        # looks for signals after calls, and by then the block's own cleaning up has run.
        return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")

    def run(self, call: Callable[[], Any]) -> Any:
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            return call()
        except (KeyboardInterrupt, SystemExit):
            return None
        finally:
            sys.settrace(before)


def lines_of(executor: Executor, order: dict[str, str]) -> int:
    counting = Interrupter()
    assert counting.run(lambda: executor.submit(Order.from_mapping(order))).status is OrderStatus.FILLED
    return counting.lines


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("order", [BUY, SELL], ids=["buy", "sell"])
def test_d06_an_exception_at_any_line_never_loses_an_order_and_never_sends_one_twice(
    stage: Stage, clock: MovedClock, order: dict[str, str], error: type[BaseException]
) -> None:
    few = {"rules": ["position_cap", "dust"]}
    executor = stage.executor(gate=few, cash="1000000", positions={"ETH-USD": "5"}, clock=clock)
    total = lines_of(executor, {**order, "client_order_id": "counted"})
    assert total > 500
    for run in range(RUNS):
        name = f"run-{run}"
        mine = {**order, "client_order_id": name}
        sent = stage.sent()
        # Another line in each kind of test: together they see more of the path.
        at = 1 + (run * total + (7 if error is SystemExit else 0) + len(order["symbol"])) // RUNS
        Interrupter(at, error).run(partial(executor.submit, Order.from_mapping(mine)))
        for thread in [one for one in threading.enumerate() if one.name == "ordergate-call"]:
            thread.join(60)  # a send that was under way goes on without the caller
        taken = stage.sent() - sent
        assert taken in (0, 1), (run, at)
        clock.ahead += 60
        executor.reconcile()
        recorded = executor.desk.ledger().find("main", name)
        assert recorded or not taken, f"line {at}: an order at the venue that nobody recorded"
        again = executor.submit(Order.from_mapping(mine))
        if recorded is None:
            assert (again.replayed, stage.sent() - sent) == (False, 1), (run, at, again)
        else:
            assert (again.replayed, stage.sent() - sent) == (True, taken), (run, at, again)
            assert again.status is (OrderStatus.FILLED if taken else OrderStatus.EXPIRED), (run, at, again)
    assert executor.desk.ledger().unfinished("main") == ()
    stage.journal()
