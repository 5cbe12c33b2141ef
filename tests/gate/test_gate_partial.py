"""Orders that fill bit by bit: what is known of them grows in the ledger, and a repeat of the id shows it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import ordergate_paper as paper
from ordergate import Executor, Order, OrderStatus

Gate = Callable[..., Executor]
Venue = Callable[..., paper.PaperVenue]

RESTING = Order.buy("BTC-USD", amount="0.002", limit="60000", client_order_id="bits")


def test_each_further_fill_is_written_down_once(gate: Gate, venue: Venue) -> None:
    executor = gate()
    client = venue(executor)
    assert executor.submit(RESTING).status is OrderStatus.OPEN
    seen = []
    for liquidity in ("0.0005", "0.0005", "0.001"):
        paper.set_price(client, "BTC-USD", "60000", liquidity=liquidity)
        for _ in range(2):  # a second look learns nothing new, and writes nothing
            executor.reconcile("main")
        receipt = executor.submit(RESTING).receipt
        assert receipt is not None
        seen.append((receipt.status, receipt.filled_amount))
    assert seen == [
        (OrderStatus.PARTLY_FILLED, Decimal("0.0005")),
        (OrderStatus.PARTLY_FILLED, Decimal("0.001")),
        (OrderStatus.FILLED, Decimal("0.002")),
    ]
    kinds = [entry.kind for entry in executor.desk.ledger().entries("main")]
    assert kinds.count("receipt") == 1 + len(seen)
    assert paper.count_orders(client) == 1
