"""The machine gives no more threads to call plugins in: a decision all the same, and no doubt about what was sent."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from ordergate import Executor, Order, calls

BUY = Order.buy("BTC-USD", spend="50", client_order_id="mine")
SELL = Order.sell("ETH-USD", amount="0.1", client_order_id="mine")


@pytest.mark.parametrize("order", [BUY, SELL], ids=["buy", "sell"])
@pytest.mark.parametrize("given", range(7))
def test_no_thread_for_a_call_sends_nothing_and_is_no_exception(
    gate: Callable[..., Executor],
    requests: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    order: Order,
    given: int,
) -> None:
    """Every call needs a thread of its own, and after so many there is none."""
    executor = gate(rules=("position_cap",), positions={"ETH-USD": "1"})
    executor.check(Order.buy("BTC-USD", spend="50"))
    real, left = threading.Thread.start, list(range(given))

    def start(self: threading.Thread) -> None:
        if self.name == calls._IDLE:
            if not left:
                raise RuntimeError("can't start new thread")
            left.pop()
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(calls, "_MOST_IDLE", 0)
    monkeypatch.setattr(calls, "_idle", [])
    decision = executor.submit(order)
    assert decision.status in {"filled", "refused", "expired"}, "expired: it is known that nothing was sent"
    assert requests() == (decision.status == "filled")
