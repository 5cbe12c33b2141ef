"""The floor of a decision: the five rules written into one function by hand, which answers with a code.

The same inputs and the same arithmetic as `ordergate_rules`, without a verdict, a guard, or a copy of anything; what
the account's positions come to is at hand. Whatever a gate does, it costs more than this. A test proves that it agrees
with the rules.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Final

from attrs import frozen

from ordergate.amounts import ZERO
from ordergate.models import Account, BrokerProfile, Market, Purchase, Tier

__all__ = ["APPROVED", "Aggregates", "floor"]

APPROVED: Final = "approved"


@frozen
class Aggregates:
    """What is kept of the positions instead of being added up for each order."""

    count: int
    total: Decimal
    """USD: of each position what is held or what is claimed, whichever is more."""

    @classmethod
    def of(cls, account: Account) -> Aggregates:
        values = account.positions.values()
        return cls(len(account.positions), sum((max(one.value - one.claimed, one.claimed) for one in values), ZERO))


def floor(  # noqa: C901, PLR0911 - five rules in one function, which is what it is for
    order: Purchase,
    market: Market,
    account: Account,
    tier: Tier,
    broker: BrokerProfile,
    aggregates: Aggregates,
    exit_buffer: Decimal,
    multiple: Decimal,
) -> str:
    """The code of the first rule that refuses, or `approved`. Run inside `amounts.exact()`."""
    size, takes = order.size, order.takes
    is_cash = takes in account.cash_currencies
    opens = takes not in account.positions and not is_cash
    if opens and aggregates.count + 1 > tier.max_positions:
        return "over_cap"
    if size < tier.min_allocation * account.equity:
        return "under_allocation"
    if size < tier.min_position:
        return "under_minimum"
    if size < account.dust:
        return "dust_size"
    if takes == market.base and not is_cash:
        held, step = account.holdings.get(takes), market.amount_step
        wanted = (held.sellable if held else ZERO) + order.acquires
        whole = (wanted / step).to_integral_value(rounding=ROUND_DOWN)
        if whole * step > wanted:
            whole -= 1
        amount = whole * step
        if amount < max(market.min_amount, step):
            return "unsellable"
        price = market.bid if order.limit is None else min(market.bid, order.limit)
        if amount * price * (1 - exit_buffer) < market.min_spend:
            return "unsellable_after_fall"
    if not is_cash:
        count = aggregates.count + (takes not in account.positions)
        if order.size + aggregates.total < multiple * broker.fee_threshold.value * count:
            return "low_average"
    return APPROVED
