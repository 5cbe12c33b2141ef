"""Refuses a buy at a price too far from the middle of the market, or in a market whose middle says nothing."""

from __future__ import annotations

from decimal import Decimal

from attrs import field, frozen

from ordergate import Market, Purchase, Side, Verdict, hookimpl
from ordergate.amounts import ZERO, money, plain
from ordergate_rules.bounds import FRACTION


@frozen
class Settings:
    """How far from the middle of bid and ask an order may buy, and how far apart the two may be."""

    away: Decimal = field(
        default=Decimal("0.05"),
        validator=FRACTION,
        metadata={"help": "How far from the middle price an order may go, as a fraction of it."},
    )
    spread: Decimal = field(
        default=Decimal("0.02"),
        validator=FRACTION,
        metadata={"help": "How far bid and ask may be apart, as a fraction of the middle price."},
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, market: Market, settings: Settings) -> Verdict:
    """Judge the spread, then the worst price the order accepts: its limit, or without one the other side's best."""
    bid, ask = (market.price.bid, market.price.ask) if market.price else (ZERO, ZERO)
    if not 0 < bid <= ask:
        told = f"a bid of {money(bid)} and an ask of {money(ask)} {market.quote}"
        return Verdict.refuse("no_reference", f"{market.symbol} has no middle price: {told}.", observed=bid, limit=ask)
    middle = (bid + ask) / 2
    apart, widest = ask - bid, middle * settings.spread
    if apart > widest:
        return Verdict.refuse(
            "wide_spread",
            f"Bid and ask of {market.symbol} are {money(apart)} {market.quote} apart, over {money(widest)}, which is "
            f"{plain(settings.spread * 100)} % of the middle price.",
            observed=apart,
            limit=widest,
        )
    buys = order.side is Side.BUY
    price = order.limit if order.limit is not None else ask if buys else bid
    worst = middle * (1 + settings.away if buys else 1 - settings.away)
    if price <= worst if buys else price >= worst:
        return Verdict.approve(observed=price, limit=worst)
    asked, bound = f"{money(price)} {market.quote}", f"{'over' if buys else 'under'} {money(worst)}"
    return Verdict.refuse(
        "above_collar" if buys else "below_collar",
        f"Its price of {asked} is {bound}, which is {plain(settings.away * 100)} % from the middle price.",
        observed=price,
        limit=worst,
    )
