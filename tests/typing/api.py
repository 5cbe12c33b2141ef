# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What type checkers must make of the public API. Never run: `mypy` and `pyright` read it.

A line with an ignore is one that both checkers must object to; they report an ignore that is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, assert_type

from attrs import field, frozen

from ordergate import (
    Account,
    Decision,
    Executor,
    Order,
    OrderStatus,
    Purchase,
    Side,
    StateChange,
    Verdict,
    hookimpl,
)

# Orders are taken strictly at run time, so text, numbers and Decimals are all welcome to the checker.
order = Order.buy("BTC-USD", spend="25", account="main")
assert_type(order, Order)
assert_type(order.side, Side)
assert_type(order.spend, Decimal | None)
assert_type(order.all, bool)
assert_type(Order(symbol="BTC-USD", side="sell", amount=Decimal("0.001")), Order)
assert_type(Order.from_mapping({"symbol": "BTC-USD", "side": "buy", "spend": "25"}), Order)
assert_type(Order.from_json(b"{}"), Order)
assert_type(OrderStatus.FILLED.is_final, bool)

order.symbol = "ETH-USD"  # type: ignore[misc]
Order("BTC-USD", "buy")  # type: ignore[call-arg]
Order.buy()  # type: ignore[call-arg]
Order.from_mapping("symbol")  # type: ignore[arg-type]


# A rule with settings, typed as its author would type it.
@frozen
class Settings:
    share: Decimal = field(default=Decimal("0.5"), metadata={"help": "Fraction of equity per buy."})


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, account: Account, settings: Settings) -> Verdict:
    limit = account.equity * settings.share
    assert_type(limit, Decimal)
    if order.cost <= limit:
        return Verdict.approve(observed=order.cost, limit=limit)
    message = f"It costs {order.cost}, over {limit}."
    return Verdict.refuse("over_share", message, observed=order.cost, limit=limit)


# The mark leaves a function's type as it is.
assert_type(rule_settings(), type[Settings])
validate_order(order=order)  # type: ignore[call-arg, arg-type]

Verdict.refuse("code")  # type: ignore[call-arg]
Verdict.approve(observed="12")  # type: ignore[arg-type]
Verdict.approve(Decimal(1))  # type: ignore[call-arg]

# The executor: built from a file or from values, and closed by leaving its block.
with Executor.from_config("ordergate.toml") as executor:
    assert_type(executor, Executor)
    decision = executor.check(order)
    assert_type(decision, Decision)
    assert_type(decision.status, OrderStatus)
    assert_type(decision.verdicts, tuple[Verdict, ...])
    assert_type(decision.smallest_passing, Decimal | None)
    assert_type(executor.submit(order), Decision)
    assert_type(executor.cancel("my-id", account="main"), Decision)
    assert_type(executor.status(), Mapping[str, Any])
    assert_type(executor.resume(by="ann", reason="looked"), StateChange)
assert_type(Executor.from_values({"gate": {"rules": ["dust"]}}, folder="."), Executor)

executor.submit({"symbol": "BTC-USD"})  # type: ignore[arg-type]
executor.submit(order, skip=("dust",))  # type: ignore[call-arg]
executor.resume()  # type: ignore[call-arg]
