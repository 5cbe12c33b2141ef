"""What an order comes to at a venue: rounded down to its steps, and the two numbers rules compare.

`size` is for minimums and averages: the quote amount sent, or the base amount at the lower of limit and ask, fees not
added. `cost` is for funds and maximums: the most it can take, fees included. Rounding only goes down; nothing is ever
raised to meet a minimum.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from attrs import frozen

from ordergate.amounts import ZERO, plain, round_down
from ordergate.models import BrokerProfile, FeesFrom, Market, MarketStatus, Purchase, Side
from ordergate.order import Order

__all__ = ["Asked", "Sized", "is_exit", "round_exit", "size_up", "venue_objection"]


@frozen
class Asked:
    """The part of an order that sizes it. One of `spend` (quote) and `amount` (base) is set."""

    side: Side
    spend: Decimal | None
    amount: Decimal | None
    limit: Decimal | None
    principal: str | None = None

    def resized(self, value: Decimal) -> Asked:
        """The same with another size, in the unit it was sized in."""
        if self.spend is not None:
            return Asked(self.side, value, None, self.limit, self.principal)
        return Asked(self.side, None, value, self.limit, self.principal)


@frozen(kw_only=True)
class Sized:
    """A buy as it would be sent. `needs` is the most it can take, in the currency `purchase.gives`."""

    purchase: Purchase
    spend: Decimal | None
    amount: Decimal | None
    limit: Decimal | None
    needs: Decimal


def is_exit(order: Order, cash: tuple[str, ...]) -> bool:
    """True for a sell into a cash currency. Everything else, whatever its side, acquires something and is judged."""
    return order.side is Side.SELL and order.symbol.split("-")[1] in cash


def size_up(
    asked: Asked, market: Market, profile: BrokerProfile, taker: Decimal, rates: Mapping[str, Decimal]
) -> Sized:
    """Round a buy down and reckon its two numbers. `rates` must hold the market's quote currency.

    The taker rate is assumed throughout: it is the higher one, and a limit order may cross.
    """
    rate = rates[market.quote]
    limit = None if asked.limit is None else round_down(asked.limit, market.price_step)
    if asked.side is Side.SELL:
        return _judged_sell(asked, market, limit, taker, rate)
    if limit is not None:
        wanted = asked.amount if asked.amount is not None else _divided(asked.spend, limit)
        amount = round_down(wanted, market.amount_step)
        needs = amount * limit * (1 + taker)
        size = amount * min(limit, market.ask)
        purchase = _purchase(asked, market, size * rate, needs * rate, amount, amount=amount, limit=limit)
        return Sized(purchase=purchase, spend=None, amount=amount, limit=limit, needs=needs)
    spend = round_down(asked.spend or ZERO, market.spend_step)
    inside = profile.fees_from is FeesFrom.INSIDE
    needs = spend if inside else spend * (1 + taker)
    bought = _divided(spend, market.ask * (1 + taker) if inside else market.ask)
    acquires = round_down(bought, market.amount_step)
    purchase = _purchase(asked, market, spend * rate, needs * rate, acquires, spend=spend)
    return Sized(purchase=purchase, spend=spend, amount=None, limit=None, needs=needs)


def venue_objection(sized: Sized, market: Market) -> tuple[str, Decimal, Decimal] | None:
    """Why the venue would reject this buy, as (sentence, observed, limit), or None. Closed markets give zeros."""
    closed = {MarketStatus.CANCEL_ONLY, MarketStatus.REDUCE_ONLY, MarketStatus.OFFLINE}
    if sized.limit is None:
        closed |= {MarketStatus.LIMIT_ONLY, MarketStatus.POST_ONLY}
    if sized.limit is not None and sized.limit <= 0:
        sentence = f"the limit is under one price step of {plain(market.price_step)} {market.quote}"
        return sentence, sized.limit, market.price_step
    if market.status in closed:
        return f"{market.symbol} is {market.status.replace('_', ' ')} at the venue now", ZERO, ZERO
    amount = sized.amount if sized.amount is not None else _divided(sized.spend, market.ask)
    spend = sized.spend if sized.spend is not None else (sized.amount or ZERO) * (sized.limit or market.bid)
    checks = (
        (amount, market.min_amount, market.max_amount, market.base, market.amount_step),
        (spend, market.min_spend, market.max_spend, market.quote, None),
    )
    for value, least, most, currency, step in checks:
        shown = plain(value if step is None else round_down(value, step))
        if value <= 0 or value < least:
            return f"{shown} {currency} is under the venue's minimum of {plain(least)} {currency}", value, least
        if most is not None and value > most:
            return f"{shown} {currency} is over the venue's maximum of {plain(most)} {currency}", value, most
    return None


def round_exit(order: Order, market: Market | None, available: Decimal | None) -> tuple[Decimal | None, Decimal | None]:
    """Amount and limit of an exit: cut to what is available and to the steps, as far as either is known.

    The amount is None when everything is to be sold and the balance is not known.
    """
    amount = available if order.all else order.amount
    if amount is not None and available is not None:
        amount = min(amount, available)
    limit = order.limit
    if market is not None:
        amount = None if amount is None else round_down(amount, market.amount_step)
        # No price is between nothing and one step: a limit there asks for the step, never for nothing.
        limit = None if limit is None else max(round_down(limit, market.price_step), market.price_step)
    return amount, limit


def _judged_sell(asked: Asked, market: Market, limit: Decimal | None, taker: Decimal, rate: Decimal) -> Sized:
    """A sell that acquires something other than cash, such as BTC for ETH: judged by what it brings at the bid."""
    amount = round_down(asked.amount or ZERO, market.amount_step)
    size = amount * market.bid
    cost = amount * max(market.bid, limit or ZERO)
    purchase = _purchase(asked, market, size * rate, cost * rate, size * (1 - taker), amount=amount, limit=limit)
    return Sized(purchase=purchase, spend=None, amount=amount, limit=limit, needs=amount)


def _purchase(
    asked: Asked,
    market: Market,
    size: Decimal,
    cost: Decimal,
    acquires: Decimal,
    *,
    spend: Decimal | None = None,
    amount: Decimal | None = None,
    limit: Decimal | None = None,
) -> Purchase:
    buys = asked.side is Side.BUY
    return Purchase(
        symbol=market.symbol,
        side=asked.side,
        takes=market.base if buys else market.quote,
        gives=market.quote if buys else market.base,
        size=size,
        cost=cost,
        acquires=acquires,
        spend=spend,
        amount=amount,
        limit=limit,
        principal=asked.principal,
    )


def _divided(value: Decimal | None, by: Decimal) -> Decimal:
    return (value or ZERO) / by if by else ZERO
