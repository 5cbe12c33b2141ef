"""What a replay found: how often the answers differ, on which orders, and which decisions were not judged again."""

from __future__ import annotations

from decimal import Decimal

from attrs import Factory, define, frozen

from ordergate.amounts import ZERO
from ordergate.models import Verdict
from ordergate.order import Order

__all__ = ["Change", "Report", "RuleTally", "Skipped", "Tally", "Worth"]


@frozen(kw_only=True)
class Worth:
    """What orders come to, in USD: their size, the most they can take, and how much of that is the taker fee."""

    orders: int = 0
    size: Decimal = ZERO
    cost: Decimal = ZERO
    fees: Decimal = ZERO

    def __add__(self, other: Worth) -> Worth:
        sums = (self.size + other.size, self.cost + other.cost, self.fees + other.fees)
        return Worth(orders=self.orders + other.orders, size=sums[0], cost=sums[1], fees=sums[2])


@frozen(kw_only=True)
class Change:
    """A decision that came out otherwise. `then` and `now` are the verdicts that refused it; of a check, all that
    differ. `worth` is None for an order whose worth neither of the two knows.
    """

    account: str
    client_order_id: str
    seq: int
    at: float
    order: Order
    approved_then: bool
    approved_now: bool
    then: tuple[Verdict, ...]
    now: tuple[Verdict, ...]
    worth: Worth | None

    @property
    def place(self) -> tuple[str, int]:
        return self.account, self.seq


@define(kw_only=True)
class Tally:
    """Decisions of one kind. `refused_otherwise`: refused then and now, but not by the same rules and checks."""

    decisions: int = 0
    approved_then: int = 0
    approved_now: int = 0
    now_refused: int = 0
    now_approved: int = 0
    refused_otherwise: int = 0
    fees_not_paid: Decimal = ZERO

    @property
    def same(self) -> int:
        return self.decisions - self.now_refused - self.now_approved


@define(kw_only=True)
class RuleTally:
    """How often a rule, or a check of the gate's own, refused; `no_longer` and `newly` are those of one side only."""

    then: int = 0
    now: int = 0
    no_longer: int = 0
    newly: int = 0


@define(kw_only=True)
class Skipped:
    """Decisions that were not judged again, all for one reason, and the id of the first of them."""

    decisions: int
    first: str


@define(kw_only=True)
class Report:
    """What a replay found. `changes` has the first of them in the order (account, row); `changed` counts them all.

    `failing` has, of each rule that could not judge now, how often and what it first said. `versions` are rules that
    are installed in another version than the one that judged then. Of a check, `changed` are the decisions that do not
    get the very verdicts they got, and `unchecked` those on buys that could not be judged again.
    """

    total: Tally = Factory(Tally)
    not_sent: Worth = Factory(Worth)
    newly_sent: Worth = Factory(Worth)
    by_rule: dict[str, RuleTally] = Factory(dict)
    by_symbol: dict[str, Tally] = Factory(dict)
    by_day: dict[str, Tally] = Factory(dict)
    """By ISO date in UTC."""
    changed: int = 0
    changes: list[Change] = Factory(list)
    skipped: dict[str, Skipped] = Factory(dict)
    unchecked: int = 0
    failing: dict[str, tuple[int, str]] = Factory(dict)
    versions: set[tuple[str, str, str]] = Factory(set)
    absent: set[str] = Factory(set)
    """Accounts that the other config does not have."""
