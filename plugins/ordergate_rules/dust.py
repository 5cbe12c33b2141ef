"""Refuses a buy that is dust, or that would leave a position the venue would not let be sold again."""

from __future__ import annotations

from decimal import Decimal

from attrs import Attribute, field, frozen

from ordergate import Account, InputError, Market, Purchase, Verdict, hookimpl
from ordergate.amounts import ZERO, money, plain, round_down


def _fraction(_: object, attribute: Attribute[Decimal], value: Decimal) -> None:
    if not isinstance(value, Decimal) or not value.is_finite() or not 0 <= value < 1:
        raise InputError(attribute.name, value, "use a decimal from 0 to under 1, such as 0.10 for 10 %")


@frozen
class Settings:
    """What a position must withstand. The size under which an order is dust is `gate.dust`."""

    exit_buffer: Decimal = field(
        default=Decimal("0.10"),
        validator=_fraction,
        metadata={"help": "Fall in price, as a fraction, after which the position must still be sellable."},
    )


@hookimpl
def rule_settings() -> type[Settings]:
    return Settings


@hookimpl
def validate_order(order: Purchase, market: Market, account: Account, settings: Settings) -> Verdict:
    """Judge the size, then whether what is held after the order can be sold in this market."""
    if order.size < account.dust:
        return Verdict.refuse(
            "dust_size",
            f"The size, {money(order.size)} USD, is dust: it is under {money(account.dust)} USD.",
            observed=order.size,
            limit=account.dust,
        )
    # Cash need not be sold. What a sell acquires (BTC, through ETH-BTC) is sold in another market, so only
    # its size can be judged.
    if order.takes == market.base and order.takes not in account.cash_currencies:
        return _resale(order, market, account, settings)
    return Verdict.approve(observed=order.size, limit=account.dust)


def _resale(order: Purchase, market: Market, account: Account, settings: Settings) -> Verdict:
    held = account.holdings.get(order.takes)
    # Claims are left out: they are USD values of orders that may never fill, so they promise no amount.
    amount = round_down((held.sellable if held else ZERO) + order.acquires, market.amount_step)
    smallest = max(market.min_amount, market.amount_step)
    if amount < smallest:
        return Verdict.refuse(
            "unsellable",
            f"The {plain(amount)} {market.base} held after it could not be sold again: the venue's minimum "
            f"is {plain(smallest)} {market.base}.",
            observed=amount,
            limit=smallest,
        )
    # A limit below the bid fills only once the price has come down to it.
    price = market.bid if order.limit is None else min(market.bid, order.limit)
    value = amount * price * (1 - settings.exit_buffer)
    if value < market.min_spend:
        return Verdict.refuse(
            "unsellable_after_fall",
            f"The {plain(amount)} {market.base} held after it could not be sold again after a fall of "
            f"{plain(settings.exit_buffer * 100)} %, worth {money(value)} {market.quote}: the venue's "
            f"minimum is {money(market.min_spend)} {market.quote}.",
            observed=value,
            limit=market.min_spend,
        )
    return Verdict.approve(observed=order.size, limit=account.dust)
