"""Fetching the facts: what the venue says of an account and of the markets an order touches, and when it said so.

The gate fetches them itself, in one go per decision, and never takes them from a caller. What could not be had is named
in `failures`; nothing is guessed and nothing old is used instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from ordergate.broker import Broker
from ordergate.clock import Clock
from ordergate.errors import BrokerError
from ordergate.models import REPORTING_CURRENCY, AccountReport, Figure, Market, Price
from ordergate.settings import Gate

__all__ = ["Facts", "FactsReader", "valuing_symbols"]


@frozen(kw_only=True)
class Facts:
    """One snapshot. `begun` is when the first question was asked (seconds since the epoch): nothing in it is newer than
    it pretends, whatever happened while it was being fetched.
    """

    symbol: str | None
    """The market of the order they were fetched for."""
    begun: float
    report: AccountReport | None
    markets: tuple[Market, ...]
    no_market: tuple[str, ...]
    """Symbols the venue does not know."""
    prices: tuple[Price, ...]
    maker: Figure
    taker: Figure
    failures: tuple[str, ...] = ()

    def market(self, symbol: str) -> Market | None:
        return next((market for market in self.markets if market.symbol == symbol), None)


def valuing_symbols(currency: str, cash: Iterable[str]) -> tuple[str, ...]:
    """Markets that can say what a currency is worth in USD, best first: directly, else through a cash currency."""
    cash = tuple(cash)
    ways = [REPORTING_CURRENCY] if currency in cash else [REPORTING_CURRENCY, *cash]
    return tuple(dict.fromkeys(f"{currency}-{way}" for way in ways if way != currency))


class FactsReader:
    """Reads the facts of one account. Limits, steps and fee rates change rarely and are kept for `gate.market_age`."""

    def __init__(self, broker: Broker, gate: Gate, clock: Clock) -> None:
        self._broker, self._gate, self._clock = broker, gate, clock
        self._markets: dict[str, tuple[float, Market | None]] = {}
        self._fees: dict[str, tuple[float, tuple[Figure, Figure]]] = {}

    def read(self, symbol: str | None, *, seconds: float | None = None) -> Facts:
        """Everything needed to judge an order in `symbol`, or to value the account; at most `seconds` per question."""
        failures: list[str] = []
        profile = self._broker.profile
        begun = self._clock.now()
        report: AccountReport | None = None
        try:
            report = self._broker.get_account(seconds)
        except BrokerError as error:
            failures.append(str(error))
        markets = self._markets_for(symbol, report, failures, seconds)
        prices: Mapping[str, Price] = {}
        if not failures:
            try:
                prices = self._broker.get_prices([name for name, market in markets.items() if market], seconds)
            except BrokerError as error:
                failures.append(str(error))
        maker, taker = self._fees_for(symbol, failures, seconds) if symbol else (profile.maker_fee, profile.taker_fee)
        return Facts(
            symbol=symbol,
            begun=begun,
            report=report,
            markets=tuple(market for market in markets.values() if market),
            no_market=tuple(name for name, market in markets.items() if market is None),
            prices=tuple(prices.values()),
            maker=maker,
            taker=taker,
            failures=tuple(failures),
        )

    def market(self, symbol: str, *, seconds: float | None = None) -> Market | None:
        """Limits and steps of one market, from memory where they are young enough. Raises BrokerError."""
        now = self._clock.monotonic()
        kept = self._markets.get(symbol)
        if kept is None or now - kept[0] > self._gate.market_age:
            kept = (now, self._broker.get_market(symbol, seconds))
            self._markets[symbol] = kept
        return kept[1]

    def _markets_for(
        self, symbol: str | None, report: AccountReport | None, failures: list[str], seconds: float | None
    ) -> dict[str, Market | None]:
        found: dict[str, Market | None] = {}

        def look(name: str) -> Market | None:
            # One unanswered question refuses the buy; a venue that hangs is not asked about every holding in turn.
            if name not in found and not failures:
                try:
                    found[name] = self.market(name, seconds=seconds)
                except BrokerError as error:
                    failures.append(str(error))
            return found.get(name)

        touched = symbol.split("-") if symbol else []
        if symbol:
            look(symbol)
        held = [holding.currency for holding in report.holdings if holding.total > 0] if report else []
        for currency in dict.fromkeys([*touched, *held]):
            if currency != REPORTING_CURRENCY:
                any(look(name) for name in valuing_symbols(currency, self._gate.cash))
        # A currency worth something in another cash currency needs that one's own worth too.
        for market in [market for market in found.values() if market]:
            if market.quote != REPORTING_CURRENCY and market.quote in self._gate.cash:
                any(look(name) for name in valuing_symbols(market.quote, self._gate.cash))
        return found

    def _fees_for(self, symbol: str, failures: list[str], seconds: float | None) -> tuple[Figure, Figure]:
        now = self._clock.monotonic()
        kept = self._fees.get(symbol)
        if failures and kept is None:
            return self._broker.profile.maker_fee, self._broker.profile.taker_fee
        if kept is None or now - kept[0] > self._gate.market_age:
            try:
                kept = (now, self._broker.get_fees(symbol, seconds))
                self._fees[symbol] = kept
            except BrokerError as error:
                failures.append(str(error))
                return self._broker.profile.maker_fee, self._broker.profile.taker_fee
        return kept[1]
