"""For the tests of rules: builders of the values a rule is handed, and the checks every rule must pass.

    from ordergate import testing

    import my_rule

    def test_my_rule_is_a_rule():
        testing.check_rule(my_rule)

    def test_it_refuses_more_than_half():
        verdict = testing.judge(my_rule, order=testing.purchase("60"), account=testing.account("100"))
        assert verdict.code == "over_half"

    def test_it_waits_after_three_buys():
        past = testing.history(*(testing.past_order(ago=60) for _ in range(3)))
        assert not testing.judge(my_rule, history=past).approved

Amounts may be given as text (`"12.50"`), whole numbers or `Decimal`; a float raises `InputError`. Functions
only: there is nothing to subclass. Not imported by `import ordergate`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from types import ModuleType
from typing import Any, Final, TypeAlias, TypedDict, Unpack

import attrs

from ordergate.amounts import ZERO, exact, money, parse_number, plain, round_down
from ordergate.errors import InputError
from ordergate.models import (
    Absence,
    Account,
    Basis,
    BrokerProfile,
    FeesFrom,
    Figure,
    History,
    IdPromise,
    Market,
    MarketStatus,
    OrderStatus,
    PastOrder,
    Position,
    Price,
    Purchase,
    Side,
    Tier,
    Verdict,
)

__all__ = [
    "NOW",
    "SIZES",
    "Number",
    "account",
    "broker",
    "check_rule",
    "history",
    "judge",
    "market",
    "past_order",
    "position",
    "purchase",
    "tier",
]

Number: TypeAlias = Decimal | int | str

_SIZES = """
    0.000000000000000001 0.01 0.99 1 1.01 2 2.99 3 4.99 5 7.49 7.5 9.99 10 14.99 15 16.74 16.75 19.99 20
    49.99 50 99.99 100 999.99 1000 123456.123456789012345678 1000000000
    999999999999999999.999999999999999999
"""
SIZES: Final = tuple(map(Decimal, _SIZES.split()))
"""The sizes `check_rule` tries, USD, from the smallest amount that can be written to the largest."""

NOW: Final = 1_795_348_800.0
"""The moment of judging in `history`, seconds since the epoch: 2026-11-22, noon in UTC."""


# ------------------------------------------------------------------------------------------------ builders


def purchase(
    size: Number = "20",
    *,
    symbol: str = "BTC-USD",
    side: Side = Side.BUY,
    price: Number = "68925.98",
    cost: Number | None = None,
    acquires: Number | None = None,
    spend: Number | None = None,
    amount: Number | None = None,
    limit: Number | None = None,
    principal: str | None = None,
) -> Purchase:
    """An order to judge: a market buy of `size` USD unless told otherwise.

    `price` is USD per unit of what is acquired: without `acquires` the size buys at it, rounded down to 8
    decimals. `cost` is the size unless given; `spend` is the size unless `amount` is given. A sell takes
    the quote currency.
    """
    base, quote = symbol.split("-")
    usd = _number(size, "size")
    with exact():
        bought = round_down(usd / _number(price, "price"), Decimal("0.00000001"))
    by_amount = _optional(amount, "amount")
    return Purchase(
        symbol=symbol,
        side=side,
        takes=base if side is Side.BUY else quote,
        gives=quote if side is Side.BUY else base,
        size=usd,
        cost=usd if cost is None else _number(cost, "cost"),
        acquires=bought if acquires is None else _number(acquires, "acquires"),
        spend=_optional(spend, "spend") if spend is not None or by_amount is not None else usd,
        amount=by_amount,
        limit=_optional(limit, "limit"),
        principal=principal,
    )


def market(
    symbol: str = "BTC-USD",
    *,
    bid: Number = "68925.98",
    ask: Number | None = None,
    amount_step: Number = "0.00000001",
    spend_step: Number = "0.01",
    price_step: Number = "0.01",
    min_amount: Number = "0.00000001",
    min_spend: Number = "1",
    max_amount: Number | None = None,
    max_spend: Number | None = None,
    status: MarketStatus = MarketStatus.ONLINE,
) -> Market:
    """A market with its price; steps and minimums are like Coinbase's for BTC-USD, the ask is the bid."""
    base, quote = symbol.split("-")
    best = _number(bid, "bid")
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        amount_step=_number(amount_step, "amount_step"),
        spend_step=_number(spend_step, "spend_step"),
        price_step=_number(price_step, "price_step"),
        min_amount=_number(min_amount, "min_amount"),
        min_spend=_number(min_spend, "min_spend"),
        max_amount=_optional(max_amount, "max_amount"),
        max_spend=_optional(max_spend, "max_spend"),
        status=status,
        price=Price(symbol=symbol, bid=best, ask=best if ask is None else _number(ask, "ask")),
    )


def position(
    currency: str,
    value: Number,
    *,
    amount: Number | None = None,
    sellable: Number | None = None,
    claimed: Number = "0",
) -> Position:
    """A position worth `value` USD, `claimed` of it in approved buys that are not seen yet.

    Without `amount` one unit is worth one dollar, and what is claimed has no amount. All can be sold unless
    `sellable` says otherwise.
    """
    worth, unseen = _number(value, "value"), _number(claimed, "claimed")
    with exact():
        held = worth - unseen if amount is None else _number(amount, "amount")
    return Position(
        currency=currency,
        amount=held,
        sellable=held if sellable is None else _number(sellable, "sellable"),
        value=worth,
        claimed=unseen,
    )


def account(
    equity: Number = "100",
    *,
    cash: Number | None = None,
    positions: Mapping[str, Number | Position] | None = None,
    dust_holdings: Mapping[str, Number | Position] | None = None,
    dust: Number = "1",
    cash_currencies: frozenset[str] = frozenset({"USD", "USDC", "USDT", "EUR", "GBP"}),
    name: str = "main",
    open_orders: int = 0,
) -> Account:
    """An account; `positions={"ETH": "35"}` is ETH worth 35 USD, or give a `position(...)` with its amount.

    `dust_holdings` are held too, but too small to be positions. `cash` is what the equity leaves beside the
    holdings unless given.
    """
    counted, uncounted = _positions(positions or {}), _positions(dust_holdings or {})
    held = {**uncounted, **counted}
    total = _number(equity, "equity")
    with exact():
        left = total - sum((item.value - item.claimed for item in held.values()), ZERO)
        counted_total = sum((item.value for item in counted.values()), ZERO)
        floor = sum((max(item.value - item.claimed, item.claimed) for item in counted.values()), ZERO)
    if cash is None and left < 0:
        raise InputError("equity", str(equity), "what is held is worth more; raise it, or give cash")
    return Account(
        name=name,
        equity=total,
        cash=left if cash is None else _number(cash, "cash"),
        dust=_number(dust, "dust"),
        positions=counted,
        position_total=counted_total,
        position_floor=floor,
        holdings=held,
        cash_currencies=cash_currencies,
        open_orders=open_orders,
    )


def tier(
    name: str = "SAVER",
    *,
    equity: Number = "100",
    max_positions: int = 1,
    min_position: Number = "10",
    min_allocation: Number = "0.05",
) -> Tier:
    """A tier; the second of the default table unless told otherwise."""
    return Tier(
        name=name,
        equity=_number(equity, "equity"),
        max_positions=max_positions,
        min_position=_number(min_position, "min_position"),
        min_allocation=_number(min_allocation, "min_allocation"),
    )


def broker(
    fee_threshold: Number = "5",
    *,
    venue: str = "example",
    maker_fee: Number = "0.005",
    taker_fee: Number = "0.009",
    fees_from: FeesFrom = FeesFrom.INSIDE,
) -> BrokerProfile:
    """A broker's profile; `fee_threshold` is in USD, the fees are fractions."""

    def figure(value: Number, name: str) -> Figure:
        return Figure(_number(value, name), "an example for tests", "2026-11-22")

    return BrokerProfile(
        venue=venue,
        fee_threshold=figure(fee_threshold, "fee_threshold"),
        maker_fee=figure(maker_fee, "maker_fee"),
        taker_fee=figure(taker_fee, "taker_fee"),
        fees_from=fees_from,
        id_promise=IdPromise.ALWAYS_UNIQUE,
        absence=Absence.LOOKUP,
    )


def past_order(
    cost: Number = "20",
    *,
    ago: float = 0.0,
    symbol: str = "BTC-USD",
    side: Side = Side.BUY,
    status: OrderStatus = OrderStatus.FILLED,
    realised: Number | None = None,
    limit: Number | None = None,
    principal: str | None = None,
    name: str = "past",
    heard_ago: float | None = None,
) -> PastOrder:
    """An order sent `ago` seconds before `NOW`: a market buy that filled for `cost` USD unless told otherwise.

    A sell is an exit and brings `cost`; `realised` is what it won or, below zero, lost, in USD. What is over and
    did not fill got nothing, and cost nothing. `heard_ago` is when the last word of it came, by default when it
    was sent.
    """
    usd, exits = _number(cost, "cost"), side is Side.SELL
    got = usd if status in (OrderStatus.FILLED, OrderStatus.PARTLY_FILLED) else ZERO
    taken = got if status.is_final else usd
    return PastOrder(
        client_order_id=name,
        symbol=symbol,
        side=side,
        size=ZERO if exits else usd,
        status=status,
        at=NOW - ago,
        cost=ZERO if exits else taken,
        spend=None if exits else usd,
        amount=usd if exits else None,
        limit=_optional(limit, "limit"),
        is_exit=exits,
        principal=principal,
        filled_amount=got,
        filled_value=got,
        heard_at=NOW - (ago if heard_ago is None else heard_ago),
        realised=_optional(realised, "realised"),
    )


def history(
    *orders: PastOrder,
    now: float = NOW,
    costs: Mapping[str, tuple[Number, Number]] | None = None,
    peaks: Mapping[str, Number] | None = None,
) -> History:
    """A past: orders in any sequence, `costs={"BTC-USD": (amount, USD)}` of what was bought and not sold since, and
    `peaks={"2026-11-20": "500"}`, the highest equity of a day in USD.
    """
    basis = {
        symbol: Basis(amount=_number(amount, "amount"), cost=_number(cost, "cost"))
        for symbol, (amount, cost) in (costs or {}).items()
    }
    return History(
        now=now,
        orders=tuple(sorted(orders, key=lambda order: -order.at)),
        costs=basis,
        peaks={day: _number(equity, "peaks") for day, equity in (peaks or {}).items()},
    )


def _pasts() -> tuple[History, ...]:
    """What a rule that looks back is checked on: nothing at all, and a busy week."""
    buys = [past_order("100", ago=ago, name=f"buy-{ago}", principal="bot") for ago in (1, 59, 3600, 86_400, 600_000)]
    sells = [past_order("50", ago=ago, side=Side.SELL, realised="-60", name=f"sell-{ago}") for ago in (2, 90_000)]
    open_ones = [past_order(status=status, ago=30, name=status) for status in (OrderStatus.OPEN, OrderStatus.UNKNOWN)]
    gone = [past_order(status=status, ago=5, name=status) for status in (OrderStatus.REJECTED, OrderStatus.CANCELLED)]
    busy = history(
        *buys,
        *sells,
        *open_ones,
        *gone,
        costs={"BTC-USD": ("0.01", "700"), "ETH-EUR": ("2", "7000")},
        peaks={"2026-11-21": "9000", "2026-11-22": "500"},
    )
    return history(), busy


# -------------------------------------------------------------------------------------------------- checks


class _Facts(TypedDict, total=False):
    order: Purchase
    market: Market
    account: Account
    tier: Tier
    broker: BrokerProfile
    history: History
    settings: object


def judge(module: ModuleType, **facts: Unpack[_Facts]) -> Verdict:
    """Ask the rule in `module` once, as the gate does: with the arguments it takes, in exact arithmetic.

    Facts are `order`, `market`, `account`, `tier`, `broker`, `history` and `settings`; what is not given
    has the builders' defaults, and settings are the rule's own defaults. Raises AssertionError when the
    module is no rule or answers with anything but a `Verdict`.
    """
    return _verdict(module.__name__, _ask(module, _completed(module, facts)))


def check_rule(module: ModuleType, **facts: Unpack[_Facts]) -> None:
    """Check what the gate relies on, from the smallest size that can be written to the largest.

    Takes the same facts as `judge` and resizes the order; call it again with the facts that matter to your
    rule. A rule that looks back is checked on an empty past and on a busy one unless `history` is given.
    Raises AssertionError that says what is wrong when the rule answers with anything but a `Verdict`, or
    differently when asked again; when a code is no snake_case word; when a refusal has no message or its
    message lacks one of its numbers; when it is neither a minimum in size, nor a maximum, nor indifferent
    to size. What the rule raises is not caught.
    """
    complete = _completed(module, facts)
    looks_back = "history" not in facts and "history" in _taken(module)
    for past in _pasts() if looks_back else (complete["history"],):
        _check_sizes(module, complete | {"history": past})


def _check_sizes(module: ModuleType, complete: dict[str, Any]) -> None:
    approved: list[bool] = []
    for size in SIZES:
        where = f"{module.__name__} at a size of {plain(size)} USD"
        sized = complete | {"order": _resized(complete["order"], complete["market"], size)}
        verdict = _verdict(where, _ask(module, sized))
        _check_words(where, verdict)
        again = _ask(module, sized)
        if again != verdict:
            raise AssertionError(f"{where} answered {verdict!r}, then {again!r}, to the same question")
        approved.append(verdict.approved)
    turns = [size for size, (before, now) in zip(SIZES[1:], pairwise(approved), strict=True) if before != now]
    if len(turns) > 1:
        raise AssertionError(
            f"{module.__name__} is neither a minimum, nor a maximum, nor indifferent to size: its answer "
            f"turns at {', '.join(map(plain, turns))} USD; make it two rules"
        )


def _completed(module: ModuleType, given: _Facts) -> dict[str, Any]:
    unknown = given.keys() - _Facts.__annotations__.keys()
    if unknown:
        raise TypeError(f"no fact is called {min(unknown)!r}; use {', '.join(_Facts.__annotations__)}")
    settings: object = None
    if "settings" not in given and hasattr(module, "rule_settings"):
        cls = module.rule_settings()
        if not isinstance(cls, type) or not attrs.has(cls):
            raise AssertionError(f"{module.__name__}.rule_settings answered {cls!r}; return an attrs class")
        settings = cls()
    defaults = {
        "order": purchase(),
        "market": market(),
        "account": account(),
        "tier": tier(),
        "broker": broker(),
        "history": History(),
        "settings": settings,
    }
    return {**defaults, **given}


def _taken(module: ModuleType) -> tuple[str, ...]:
    """The names of what the rule takes."""
    rule = getattr(module, "validate_order", None)
    if not inspect.isfunction(rule) or not hasattr(rule, "ordergate_impl"):
        raise AssertionError(f"{module.__name__} has no function validate_order marked with @hookimpl")
    return tuple(inspect.signature(rule).parameters)


def _ask(module: ModuleType, facts: Mapping[str, Any]) -> object:
    taken = _taken(module)
    for name in taken:
        if name not in facts:
            raise AssertionError(f"{module.__name__} takes {name}; a rule may take {', '.join(facts)}")
    with exact():
        answer: object = module.validate_order(**{name: facts[name] for name in taken})
    return answer


def _verdict(where: str, answer: object) -> Verdict:
    # Exactly a Verdict, as in the gate: a subclass could answer differently each time it is looked at.
    if type(answer) is not Verdict:
        raise AssertionError(f"{where} answered {answer!r}; only a Verdict counts as an answer")
    if type(answer.approved) is not bool:
        raise AssertionError(f"{where}: approved is {answer.approved!r}; use True or False")
    return answer


def _check_words(where: str, verdict: Verdict) -> None:
    if not isinstance(verdict.code, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", verdict.code):
        raise AssertionError(f"{where}: the code {verdict.code!r} is no word in snake_case, such as over_half")
    if not verdict.approved and not (isinstance(verdict.message, str) and verdict.message.strip()):
        raise AssertionError(f"{where} refuses with the message {verdict.message!r}; say why in one sentence")
    for name, number in (("observed", verdict.observed), ("limit", verdict.limit)):
        if number is None:
            continue
        if not isinstance(number, Decimal) or not number.is_finite():
            raise AssertionError(f"{where}: {name} is {number!r}; give a finite Decimal or nothing")
        if not verdict.approved and not _mentions(verdict.message, number):
            raise AssertionError(f"{where}: the message lacks {name}, {plain(number)}: {verdict.message!r}")


def _mentions(message: str, number: Decimal) -> bool:
    """Whether the number stands there as a whole, not as a part of another."""
    return any(
        re.search(rf"(?<![0-9.]){re.escape(text)}(?![0-9]|\.[0-9])", message)
        for text in (str(number), plain(number), money(number))
    )


def _resized(order: Purchase, market: Market, size: Decimal) -> Purchase:
    """The same order for another size: all else in proportion, rounded down to the market's steps."""

    def scaled(amount: Decimal, step: Decimal) -> Decimal:
        return round_down(amount * size / order.size, step)

    with exact():
        return attrs.evolve(
            order,
            size=size,
            cost=order.cost * size / order.size,
            acquires=scaled(order.acquires, market.amount_step),
            spend=None if order.spend is None else scaled(order.spend, market.spend_step),
            amount=None if order.amount is None else scaled(order.amount, market.amount_step),
        )


def _positions(values: Mapping[str, Number | Position]) -> dict[str, Position]:
    return {
        currency: value if isinstance(value, Position) else position(currency, value)
        for currency, value in values.items()
    }


def _number(value: object, name: str) -> Decimal:
    # A Decimal is taken as it is: facts are products, with more digits than an order may have.
    return value if isinstance(value, Decimal) else parse_number(value, name)


def _optional(value: Number | None, name: str) -> Decimal | None:
    return None if value is None else _number(value, name)
