"""What the facts are worth: equity, cash, positions and dust, in USD, with the ledger's reservations merged in.

Pure: the same facts, settings and reservations always give the same account. Holdings are valued at the bid. A holding
without any market at the venue is worth nothing here and named; one whose market has no usable price now stops buys.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Mapping
from decimal import Decimal

from attrs import evolve, frozen

from ordergate.amounts import ZERO, plain, round_down
from ordergate.facts import Facts, valuing_symbols
from ordergate.ledger import Reservation
from ordergate.models import (
    REPORTING_CURRENCY,
    Account,
    BrokerProfile,
    Holding,
    Market,
    OrderStatus,
    Position,
    Price,
    Side,
)
from ordergate.settings import Gate
from ordergate.untouched import Copies

__all__ = ["Claim", "Valuation", "claims_of", "lag_of", "merge", "value"]


@frozen(kw_only=True)
class Claim:
    """What an approved buy still takes of an account: `needs` of the currency `gives`, `size` USD more in `takes`."""

    gives: str
    takes: str
    needs: Decimal
    size: Decimal
    unseen: bool = False
    """True for an approved buy that the venue does not list among its open orders."""


def lag_of(profile: BrokerProfile, gate: Gate) -> float:
    """Seconds after a receipt in which facts may still be older than it: the venue's own lag, and what two clocks
    within tolerance, or one that is set meanwhile, may differ by.
    """
    return profile.balance_lag + 2 * gate.clock_skew if profile.balance_lag else 0.0


@frozen(kw_only=True)
class Valuation:
    """The facts in USD. `flaws` say in words what forbids buying on them; `rates` is USD per unit of a currency."""

    equity: Decimal
    cash: Decimal
    holdings: dict[str, Position]
    positions: dict[str, Position]
    position_total: Decimal
    available: Mapping[str, Decimal]
    rates: Mapping[str, Decimal]
    unvalued: tuple[str, ...]
    ages: Mapping[str, float]
    flaws: tuple[str, ...]
    open_orders: int


def value(facts: Facts, gate: Gate, age: float) -> Valuation:
    """Value a snapshot that was begun `age` seconds ago."""
    prices = {price.symbol: price for price in facts.prices}
    ages = _ages(facts, age)
    flaws = [*facts.failures, *_stale(ages, gate)]
    markets = {market.symbol: market for market in facts.markets}
    for symbol in markets:
        flaw = _flaw(symbol, prices.get(symbol))
        if flaw:
            flaws.append(flaw)
            prices.pop(symbol, None)
    rates = _Rates(markets, prices, gate)
    equity = cash = total = ZERO
    holdings: dict[str, Position] = {}
    positions: dict[str, Position] = {}
    unvalued: list[str] = []
    for holding in facts.report.holdings if facts.report else ():
        if holding.total == 0:
            continue
        rate = rates.of(holding.currency)
        if rate is None:
            unvalued.append(holding.currency)
        worth = holding.total * (rate or ZERO)
        equity += worth
        if holding.currency in gate.cash:
            cash += worth
            continue
        position = Position(
            currency=holding.currency,
            amount=holding.total,
            sellable=holding.available + holding.hold,
            value=worth,
        )
        holdings[holding.currency] = position
        market = rates.market_of(holding.currency)
        quote_worth = rates.of(market.quote) if market else None
        if not _is_dust(holding, worth, market, quote_worth or ZERO, gate.dust):
            positions[holding.currency] = position
            total += worth
    for currency in facts.symbol.split("-") if facts.symbol else ():
        rates.of(currency)
    return Valuation(
        equity=equity,
        cash=cash,
        holdings=holdings,
        positions=positions,
        position_total=total,
        available={holding.currency: holding.available for holding in facts.report.holdings} if facts.report else {},
        rates=rates.known,
        unvalued=tuple(unvalued),
        ages=ages,
        flaws=tuple(flaws),
        open_orders=len(facts.report.open_orders) if facts.report else 0,
    )


def claims_of(
    facts: Facts,
    reservations: Iterable[Reservation],
    rates: Mapping[str, Decimal],
    cash: Iterable[str],
    lag: float,
) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
    """What approved buys still claim on these facts, and the client order ids whose reservation these facts have
    outlived.

    A reservation is gone at the first facts begun after its terminal receipt plus `lag`, of `lag_of`. While
    it rests at the venue, what is left of it is counted from the venue's own list, and its cash by the venue's hold.
    Otherwise all of it counts. Open buys that the gate did not send are counted like resting ones: they can fill too.
    """
    open_orders = facts.report.open_orders if facts.report else ()
    # What is left of an order without a limit has no value of its own: until it is over, all of it counts.
    resting = {order.client_order_id for order in open_orders if order.limit is not None}
    listed = {order.client_order_id for order in open_orders}
    claims: list[Claim] = []
    gone: list[str] = []
    in_full: set[str | None] = set()
    for one in reservations:
        seen = one.receipt_at is not None and facts.begun >= one.receipt_at + lag
        if seen and OrderStatus(one.status).is_final:
            gone.append(one.client_order_id)
        elif not (seen and one.wire_id in resting):
            unseen = one.wire_id not in listed
            claims.append(Claim(gives=one.gives, takes=one.takes, needs=one.needs, size=one.size, unseen=unseen))
            in_full.add(one.wire_id)
    for order in open_orders:
        base, quote = order.symbol.split("-")
        takes, gives = (base, quote) if order.side is Side.BUY else (quote, base)
        if takes not in cash and order.client_order_id not in in_full:
            left = order.amount_left * (order.limit or ZERO) * rates.get(quote, ZERO)
            claims.append(Claim(gives=gives, takes=takes, needs=ZERO, size=left))
    return tuple(claims), tuple(gone)


def merge(name: str, valuation: Valuation, claims: Iterable[Claim], gate: Gate) -> Account:
    """The account as rules see it. Only the currencies that carry a claim are touched; the rest is shared."""
    claimed: dict[str, Decimal] = {}
    open_orders = valuation.open_orders
    for claim in claims:
        open_orders += claim.unseen
        if claim.takes not in gate.cash:
            claimed[claim.takes] = claimed.get(claim.takes, ZERO) + claim.size
    changed: dict[str, Position] = {}
    total = valuation.position_total
    for currency, size in claimed.items():
        held = valuation.positions.get(currency)
        base = valuation.holdings.get(currency) or Position(currency=currency, amount=ZERO, sellable=ZERO, value=ZERO)
        changed[currency] = evolve(base, value=base.value + size, claimed=size)
        total += changed[currency].value - (held.value if held else ZERO)
    return Account(
        name=name,
        equity=valuation.equity,
        cash=valuation.cash,
        dust=gate.dust,
        positions=Copies(ChainMap(changed, valuation.positions)),
        position_total=total,
        holdings=Copies(ChainMap(changed, valuation.holdings)),
        cash_currencies=frozenset(gate.cash),
        open_orders=open_orders,
    )


# -------------------------------------------------------------------------------------------------------------- inside


class _Rates:
    """USD per unit of a currency, found once each. A currency with no way to a price is absent."""

    def __init__(self, markets: Mapping[str, Market], prices: Mapping[str, Price], gate: Gate) -> None:
        self._markets, self._prices, self._gate = markets, prices, gate
        self.known: dict[str, Decimal] = {REPORTING_CURRENCY: Decimal(1)}

    def market_of(self, currency: str) -> Market | None:
        """The market that values a currency."""
        names = valuing_symbols(currency, self._gate.cash)
        return next((self._markets[name] for name in names if name in self._markets), None)

    def of(self, currency: str) -> Decimal | None:
        if currency not in self.known:
            rate = self._find(currency)
            if rate is None:
                return None
            self.known[currency] = rate
        return self.known[currency]

    def _find(self, currency: str) -> Decimal | None:
        market = self.market_of(currency)
        if market is None:
            return Decimal(1) if currency in self._gate.at_par else None
        quoted, through = self._prices.get(market.symbol), self.of(market.quote)
        return None if quoted is None or through is None else quoted.bid * through


def _ages(facts: Facts, age: float) -> dict[str, float]:
    # A price from the future is as doubtful as an old one: one of the two clocks is wrong. One that was stamped while
    # the facts were being fetched is as old as they are, at most.
    before = [facts.begun - price.at for price in facts.prices if price.at is not None and _is_moment(price.at)]
    apart = [max(seconds, -seconds - age) for seconds in before]
    return {"account": round(age, 3), "prices": round(age + max([0.0, *apart]), 3)}


def _stale(ages: Mapping[str, float], gate: Gate) -> list[str]:
    return [
        f"the {name} facts are {seconds:g} s old, over the {gate.facts_age:g} s of gate.facts_age"
        for name, seconds in ages.items()
        if not seconds <= gate.facts_age
    ]


def _flaw(symbol: str, price: Price | None) -> str:
    if price is None:
        return f"{symbol} has no price at the venue now"
    if price.at is not None and not _is_moment(price.at):
        return f"the price of {symbol} is stamped {price.at!r}, which is no moment"
    for name, number in (("bid", price.bid), ("ask", price.ask)):
        if type(number) is not Decimal or not number.is_finite() or number <= 0:
            return f"the {name} of {symbol} is {number!r}, not a price"
    if price.bid > price.ask:
        return f"the book of {symbol} is crossed: bid {plain(price.bid)} over ask {plain(price.ask)}"
    return ""


def _is_moment(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_dust(holding: Holding, worth: Decimal, market: Market | None, rate: Decimal, dust: Decimal) -> bool:
    """`rate` is USD per unit of the market's quote currency, in which the venue states its minimum."""
    if market is None or worth < dust or worth < market.min_spend * rate:
        return True
    return round_down(holding.total, market.amount_step) < max(market.min_amount, market.amount_step)
