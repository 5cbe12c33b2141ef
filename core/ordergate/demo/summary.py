"""What the demo came to, counted in the ledger it leaves behind and not in what was shown on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from attrs import frozen

from ordergate.amounts import CENT, ZERO, exact
from ordergate.decision import Decision
from ordergate.ledger import Ledger, Recorded
from ordergate.models import OrderStatus, Side
from ordergate.outcome import replay

__all__ = ["RECKONED", "Summary", "sum_up"]

RECKONED: Final = (
    "size x the account's taker rate x 2, for buying and for selling again at the same price, of every refused buy that"
    " the venue would have taken"
)

_VENUE_REFUSES: Final = frozenset({"gate.market", "gate.funds"})
"""Whose refusal says that the venue would have rejected the order, so that it would have cost nothing."""


@frozen(kw_only=True)
class Summary:
    """Counts of recorded orders. A refused order counts under every rule that refused it.

    `fees`, in USD and to the cent: what `fees_of` orders would have paid, as `RECKONED` says.
    """

    sent: int
    sent_by_status: Mapping[str, int]
    refused: int
    refused_by: Mapping[str, int]
    fees: Decimal
    fees_of: int
    at_venues: int
    rows: int
    heads: int
    flaw: str | None
    """The first row at which the journal does not hold, in words; None when it verifies."""


def sum_up(ledger: Ledger, at_venues: int) -> Summary:
    """Read the whole ledger. `at_venues` is how many orders the venues say they took."""
    recorded = ledger.recent(None, 0.0, 100_000)
    sent = [one for one in recorded if one.wire_id is not None]
    refused = [replay(one) for one in recorded if one.wire_id is None]
    with exact():
        fees = [_fees(decision) for decision in refused if not _VENUE_REFUSES & {one.rule for one in decision.refusals}]
        paid = sum(filter(None, fees), ZERO).quantize(CENT)
    heads = ledger.heads()
    flaw = ledger.verify()
    return Summary(
        sent=len(sent),
        sent_by_status=dict(sorted(Counter(map(_status, sent)).items())),
        refused=len(refused),
        refused_by=dict(Counter(verdict.rule for decision in refused for verdict in decision.refusals).most_common()),
        fees=paid,
        fees_of=sum(fee is not None for fee in fees),
        at_venues=at_venues,
        rows=sum(seq for seq, _ in heads.values()),
        heads=len(heads),
        flaw=None if flaw is None else str(flaw),
    )


def _fees(refused: Decision) -> Decimal | None:
    """Both legs of a buy; None for what was no buy, or could not be valued."""
    if refused.order.side is not Side.BUY or refused.purchase is None or refused.taker_fee is None:
        return None
    return refused.purchase.size * refused.taker_fee.value * 2


def _status(recorded: Recorded) -> str:
    return OrderStatus(replay(recorded).status).value
