"""Orders that rules with a memory should have forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ordergate import Executor, Order
from ordergate.past import Past


def test_ctrl_c_while_the_past_is_folded_forgets_no_order(
    gate: Callable[..., Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has bought; this one is interrupted while it learns of that, and asked again."""
    rate = {"order_rate": {"orders": 1, "seconds": 3600}}
    one, other = (gate(rules=("position_cap", "order_rate"), tables={"rules": rate}) for _ in range(2))
    assert one.submit(Order.buy("BTC-USD", spend="50", client_order_id="first")).status == "filled"

    def interrupted(self: Past, body: Mapping[str, Any], at: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Past, "_decided", interrupted)
        with pytest.raises(KeyboardInterrupt):
            other.submit(Order.buy("BTC-USD", spend="50", client_order_id="interrupted"))
    decision = other.submit(Order.buy("BTC-USD", spend="50", client_order_id="second"))
    assert decision.status == "refused"
    assert [verdict.rule for verdict in decision.refusals] == ["order_rate"]
    assert one.explain("second").same
