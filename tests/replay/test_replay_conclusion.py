"""Recorded decisions that contradict their own verdicts: a replay compares what was concluded and sized, too."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ordergate import Executor, Order
from ordergate.replay_report import Report

Gate = Callable[..., Executor]
Under = Callable[..., Report]

WIRE = "0b7f6c1e-0000-4000-8000-000000000001"


def recorded(executor: Executor, name: str) -> dict[str, Any]:
    found = executor.desk.ledger().find("main", name)
    assert found is not None
    body: dict[str, Any] = json.loads(found.decision)
    return body


def forge(executor: Executor, body: Mapping[str, Any]) -> None:
    """Write it into the journal as the decision of an order of its own."""
    ids = {"client_order_id": "forged"}
    forged = {
        **body,
        **ids,
        "order": {**body["order"], **ids},
        "venue_order": {**body["venue_order"], "client_order_id": WIRE},
        "reservation": {**body["reservation"], **ids, "wire_id": WIRE},
    }
    executor.desk.ledger().append("main", "decision", forged, at=executor.clock.now(), key="order:forged")


def test_approved_against_its_own_verdicts(gate: Gate, under: Under) -> None:
    executor = gate(rules=("position_cap",), settings={"max_positions": 1})
    assert executor.submit(Order.buy("BTC-USD", spend="50", client_order_id="good")).status == "filled"
    assert executor.submit(Order.buy("ETH-USD", spend="50", client_order_id="bad")).status == "refused"
    assert under(executor, check=True).changed == 0
    good, bad = recorded(executor, "good"), recorded(executor, "bad")
    sent = {
        "venue_order": {**good["venue_order"], "symbol": "ETH-USD"},
        "reservation": {**good["reservation"], "takes": "ETH", "symbol": "ETH-USD"},
    }
    forge(executor, {**bad, "status": "approved", "error": None, **sent})
    assert under(executor, check=True).changed == 1


def test_sent_a_hundred_times_what_was_judged(gate: Gate, under: Under) -> None:
    executor = gate(rules=("position_cap",))
    assert executor.submit(Order.buy("BTC-USD", spend="50", client_order_id="good")).status == "filled"
    assert under(executor, check=True).changed == 0
    good = recorded(executor, "good")
    forge(executor, {**good, "venue_order": {**good["venue_order"], "spend": "5000"}})
    assert under(executor, check=True).changed == 1
