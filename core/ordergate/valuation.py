"""What the facts are worth: equity, cash, positions and dust, in USD, with the ledger's reservations merged in.

The same facts, settings and reservations always give the same account. Facts are valued once, for however many
decisions are made on them. Holdings are valued at the bid. A holding without any market at the venue is worth nothing
here and named; one whose market has no usable price now stops buys.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Mapping
from decimal import Decimal

from attrs import Factory, evolve, frozen

from ordergate.amounts import ZERO, plain, round_down
from ordergate.facts import Facts, valuing_symbols
from ordergate.ledger import Reservation
from ordergate.models import (
    REPORTING_CURRENCY,
    Account,
    BrokerProfile,
    Holding,
    Market,
    OpenOrder,
    OrderStatus,
    Position,
    Price,
    Side,
)
from ordergate.settings import Gate
from ordergate.untouched import Copies

__all__ = ["Claims", "Valuation", "merge", "value"]


@frozen(kw_only=True)
class Claims:
    """What approved buys still take of an account, beside what the facts show: of each currency given, and the USD they
    add to each currency taken. `gone` names the reservations that the facts have outlived.
    """

    needs: Mapping[str, Decimal]
    sizes: Mapping[str, Decimal]
    unseen: int
    """Approved buys that the venue does not list among its open orders."""
    gone: tuple[str, ...]


@frozen(kw_only=True)
class Valuation:
    """The facts in USD, whatever their age: reckoned once for all decisions that are made on them.

    `flaws` say in words what forbids buying on them; `rates` is USD per unit of a currency. `market` is that of the
    order the facts were fetched for, with its price; None when either is missing or no such thing.
    """

    facts: Facts
    equity: Decimal
    cash: Decimal
    holdings: dict[str, Position]
    positions: dict[str, Position]
    position_total: Decimal
    available: dict[str, Decimal]
    rates: Mapping[str, Decimal]
    unvalued: tuple[str, ...]
    flaws: tuple[str, ...]
    market: Market | None
    facts_age: float
    """Seconds (`gate.facts_age`)."""
    lag: float
    """Seconds after a receipt in which facts may still be older than it."""
    stamps: tuple[float, float]
    """By how many seconds the furthest price was stamped before the facts were begun, and after."""
    open_orders: int
    listed: frozenset[str | None]
    """Ids on the wire of the venue's open orders; below, of those that have a limit."""
    limited: frozenset[str | None]
    resting: Mapping[str | None, tuple[tuple[str, Decimal], ...]]
    """By id on the wire: what the venue's open orders may still add to which currency, in USD."""
    _claims: list[tuple[tuple[Reservation, ...], Claims]] = Factory(list)

    def ages(self, age: float) -> dict[str, float]:
        """How old the parts are when the facts were begun `age` seconds ago."""
        # A price from the future is as doubtful as an old one: one of the two clocks is wrong. One that was stamped
        # while the facts were being fetched is as old as they are, at most.
        behind, ahead = self.stamps
        return {"account": round(age, 3), "prices": round(age + max(0.0, behind, ahead - age), 3)}

    def stale(self, ages: Mapping[str, float]) -> list[str]:
        """What is too old to buy on, in words."""
        return [
            f"the {name} facts are {seconds:g} s old, over the {self.facts_age:g} s of gate.facts_age"
            for name, seconds in ages.items()
            if not seconds <= self.facts_age
        ]

    def claims(self, reservations: tuple[Reservation, ...]) -> Claims:
        """What approved buys still claim on these facts.

        A reservation is gone at the first facts begun after its terminal receipt plus the profile's lag. While it rests
        at the venue, what is left of it is counted from the venue's own list, and its cash by the venue's hold.
        Otherwise all of it counts. Open buys that the gate did not send are counted like resting ones: they can fill
        too.
        """
        # The last answer is kept: most often one more buy was approved since, and the others need no second look.
        known, claims = self._claims[0] if self._claims else ((), self._at_rest())
        if reservations[: len(known)] != known:
            known, claims = (), self._at_rest()
        if len(reservations) > len(known):
            claims = self._with(claims, reservations[len(known) :])
        self._claims[:1] = [(reservations, claims)]
        return claims

    def _at_rest(self) -> Claims:
        """What the venue's own list claims."""
        sizes: dict[str, Decimal] = {}
        for left in self.resting.values():
            for takes, size in left:
                sizes[takes] = sizes.get(takes, ZERO) + size
        return Claims(needs={}, sizes=sizes, unseen=0, gone=())

    def _with(self, claims: Claims, reservations: Iterable[Reservation]) -> Claims:
        needs, sizes, gone, unseen = dict(claims.needs), dict(claims.sizes), list(claims.gone), claims.unseen
        for one in reservations:
            seen = one.receipt_at is not None and self.facts.begun >= one.receipt_at + self.lag
            if seen and OrderStatus(one.status).is_final:
                gone.append(one.client_order_id)
            # What is left of an order without a limit has no value of its own: until it is over, all of it counts.
            elif not (seen and one.wire_id in self.limited):
                needs[one.gives] = needs.get(one.gives, ZERO) + one.needs
                sizes[one.takes] = sizes.get(one.takes, ZERO) + one.size
                unseen += one.wire_id not in self.listed
                for takes, size in self.resting.get(one.wire_id, ()):  # it counts in full: not what is left of it too
                    sizes[takes] -= size
        return Claims(needs=needs, sizes=sizes, unseen=unseen, gone=tuple(gone))


def value(facts: Facts, gate: Gate, profile: BrokerProfile) -> Valuation:
    """Value a snapshot. Run inside `amounts.exact()`."""
    prices = {price.symbol: price for price in facts.prices}
    asked = facts.market(facts.symbol) if facts.symbol else None
    quoted = prices.get(asked.symbol) if asked else None
    flaws = list(facts.failures)
    markets = {market.symbol: market for market in facts.markets}
    for symbol in markets:
        flaw = _flaw(symbol, prices.get(symbol))
        if flaw:
            flaws.append(flaw)
            prices.pop(symbol, None)
    rates = _Rates(markets, prices, gate)
    worth = _Worth()
    for holding in facts.report.holdings if facts.report else ():
        if holding.total:
            worth.add(holding, rates, gate)
    for currency in facts.symbol.split("-") if facts.symbol else ():
        rates.of(currency)
    if facts.symbol in facts.no_market:
        flaws.append(f"the venue has no market {facts.symbol}")
    elif asked and asked.quote not in rates.known:
        flaws.append(f"nothing at the venue says what {asked.quote} is worth in USD (gate.at_par can)")
    usable = asked and quoted and _is_price(quoted) and asked.quote in rates.known
    open_orders = facts.report.open_orders if facts.report else ()
    return Valuation(
        facts=facts,
        equity=worth.equity,
        cash=worth.cash,
        holdings=worth.holdings,
        positions=worth.positions,
        position_total=worth.position_total,
        available={holding.currency: holding.available for holding in facts.report.holdings} if facts.report else {},
        rates=rates.known,
        unvalued=tuple(worth.unvalued),
        flaws=tuple(dict.fromkeys(flaws)),
        market=evolve(asked, price=quoted) if asked and usable else None,
        facts_age=gate.facts_age,
        lag=_lag_of(profile, gate),
        stamps=_stamps(facts),
        open_orders=len(open_orders),
        listed=frozenset(order.client_order_id for order in open_orders),
        limited=frozenset(order.client_order_id for order in open_orders if order.limit is not None),
        resting=_resting(open_orders, rates.known, gate.cash),
    )


def merge(name: str, valuation: Valuation, claims: Claims, gate: Gate) -> Account:
    """The account as rules see it. Only the currencies that carry a claim are touched; the rest is shared."""
    changed: dict[str, Position] = {}
    total = floor = valuation.position_total
    for currency, size in claims.sizes.items():
        if currency in gate.cash:
            continue
        held = valuation.positions.get(currency)
        base = valuation.holdings.get(currency) or Position(currency=currency, amount=ZERO, sellable=ZERO, value=ZERO)
        changed[currency] = evolve(base, value=base.value + size, claimed=size)
        counted = held.value if held else ZERO
        total += base.value + size - counted
        floor += max(base.value, size) - counted
    return Account(
        name=name,
        equity=valuation.equity,
        cash=valuation.cash,
        dust=gate.dust,
        positions=Copies(ChainMap(changed, valuation.positions) if changed else valuation.positions),
        position_total=total,
        position_floor=floor,
        holdings=Copies(ChainMap(changed, valuation.holdings) if changed else valuation.holdings),
        cash_currencies=frozenset(gate.cash),
        open_orders=valuation.open_orders + claims.unseen,
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


class _Worth:
    """What the holdings come to, added one by one."""

    def __init__(self) -> None:
        self.equity = self.cash = self.position_total = ZERO
        self.holdings: dict[str, Position] = {}
        self.positions: dict[str, Position] = {}
        self.unvalued: list[str] = []

    def add(self, holding: Holding, rates: _Rates, gate: Gate) -> None:
        currency, rate = holding.currency, rates.of(holding.currency)
        if rate is None:
            self.unvalued.append(currency)
        worth = holding.total * (rate or ZERO)
        self.equity += worth
        if currency in gate.cash:
            self.cash += worth
            return
        sellable = holding.available + holding.hold
        position = Position(currency=currency, amount=holding.total, sellable=sellable, value=worth)
        self.holdings[currency] = position
        market = rates.market_of(currency)
        quote_worth = rates.of(market.quote) if market else None
        if not _is_dust(holding, worth, market, quote_worth or ZERO, gate.dust):
            self.positions[currency] = position
            self.position_total += worth


def _lag_of(profile: BrokerProfile, gate: Gate) -> float:
    """The venue's own lag, and what two clocks within tolerance, or one that is set meanwhile, may differ by."""
    return profile.balance_lag + 2 * gate.clock_skew if profile.balance_lag else 0.0


def _stamps(facts: Facts) -> tuple[float, float]:
    before = [facts.begun - price.at for price in facts.prices if price.at is not None and _is_moment(price.at)]
    return (max(before), -min(before)) if before else (0.0, 0.0)


def _resting(
    open_orders: Iterable[OpenOrder], rates: Mapping[str, Decimal], cash: Iterable[str]
) -> dict[str | None, tuple[tuple[str, Decimal], ...]]:
    found: dict[str | None, tuple[tuple[str, Decimal], ...]] = {}
    for order in open_orders:
        base, quote = order.symbol.split("-")
        takes = base if order.side is Side.BUY else quote
        if takes not in cash:
            left = order.amount_left * (order.limit or ZERO) * rates.get(quote, ZERO)
            found[order.client_order_id] = (*found.get(order.client_order_id, ()), (takes, left))
    return found


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


def _is_price(price: Price) -> bool:
    return all(type(number) is Decimal and number.is_finite() and number > 0 for number in (price.bid, price.ask))


def _is_moment(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_dust(holding: Holding, worth: Decimal, market: Market | None, rate: Decimal, dust: Decimal) -> bool:
    """`rate` is USD per unit of the market's quote currency, in which the venue states its minimum."""
    if market is None or worth < dust or worth < market.min_spend * rate:
        return True
    return round_down(holding.total, market.amount_step) < max(market.min_amount, market.amount_step)
