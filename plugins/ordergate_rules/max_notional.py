"""Refuses a buy that may cost more than one order may."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from attrs import field, frozen

from ordergate import Purchase, Verdict, hookimpl
from ordergate.amounts import money
from ordergate_rules.bounds import AMOUNT, MARKET, amounts


@frozen
class Settings:
    """The most one buy may cost."""

    usd: Decimal = field(
        validator=AMOUNT, metadata={"help": "The most one buy may cost in USD, fees included.", "unit": "USD"}
    )
    symbols: Mapping[str, Decimal] = field(
        factory=dict,
        validator=amounts(MARKET),
        metadata={"help": "Symbol to USD: what counts there instead, such as BTC-USD = 2000."},
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, settings: Settings) -> Verdict:
    """Compare the most this order can take, not its size: a limit far above the market does not make it small."""
    most = settings.symbols.get(order.symbol, settings.usd)
    if order.cost <= most:
        return Verdict.approve(observed=order.cost, limit=most)
    return Verdict.refuse(
        "over_notional",
        f"It may cost {money(order.cost)} USD, fees included, over the {money(most)} USD allowed in {order.symbol}.",
        observed=order.cost,
        limit=most,
    )
