"""One account's broker: the admitted hooks, the client they share, and the effective profile.

Every call runs under a deadline and its answer is checked before anyone uses it. Questions raise `BrokerError`. A send
and a cancel raise `calls.Failed`, because what went wrong there says nothing about what the venue did.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from attrs import evolve, frozen

from ordergate.calls import Failed, NoThread, attempt, within
from ordergate.clock import Clock
from ordergate.errors import BrokerError, InputError, NotSent, Problem, RateLimited
from ordergate.models import (
    Absence,
    AccountReport,
    BrokerProfile,
    FeesFrom,
    Figure,
    Holding,
    IdPromise,
    Market,
    MarketStatus,
    OpenOrder,
    OrderStatus,
    Price,
    Receipt,
    Side,
    VenueOrder,
)
from ordergate.order import parse_symbol
from ordergate.plugins import Admitted
from ordergate.settings import Gate

__all__ = ["Broker", "Mismatch", "NothingSent", "wire_id"]

_LEFT_ALONE: Final = 15.0  # seconds, where the broker's own figure is none
_LEFT_ALONE_MOST: Final = 3600.0
_NAMESPACE: Final = uuid.UUID("5a1d7a0e-35a5-5d0b-9d4e-6f0c6f726467")


class Mismatch(Failed):
    """The venue answered about another order than the one that was sent: other id, symbol, side or terms."""


class NothingSent(Failed):
    """The client could not be made, or the broker says that nothing left this machine: certainly nothing was sent."""


def wire_id(identity: str, client_order_id: str) -> str:
    """The id on the wire: a UUID that follows from the venue's identity of the account and the caller's id alone."""
    return str(uuid.uuid5(_NAMESPACE, f"{identity}\n{client_order_id}"))


@frozen(eq=False)
class Broker:
    """What the executor holds of one account. `profile` has the tightened fee threshold."""

    account: str
    plugin: Admitted
    settings: Any
    profile: BrokerProfile
    deadline: float
    clock_skew: float
    """Seconds by which this machine's clock may be off and buys still pass."""
    _clock: Clock
    _client: list[Any]
    _lock: threading.Lock
    _left_alone_until: list[float]

    @classmethod
    def ready(
        cls,
        account: str,
        plugin: Admitted,
        settings: Any,
        fee_threshold: Decimal | None,
        gate: Gate,
        clock: Clock,
    ) -> Broker | Problem:
        """Read the profile and tighten it; no I/O. A `Problem` says why the account cannot be used."""
        where = f"accounts.{account}.{plugin.name}"
        try:
            profile = attempt(plugin.hooks["broker_profile"].call, {"settings": settings})
        except Failed as failed:
            return Problem(where, f"the broker's profile failed: {failed}", "ask the plugin's author")
        flaw = _flaw_of_profile(profile)
        if flaw:
            return Problem(where, f"the broker's profile is not usable: {flaw}", "ask the plugin's author")
        if fee_threshold is not None:
            declared = profile.fee_threshold.value
            if fee_threshold < declared:
                return Problem(
                    f"{where}.fee_threshold",
                    f"{fee_threshold} is under the {declared} USD that the broker declares",
                    f"the config may only tighten it: use {declared} or more, or leave it out",
                )
            profile = evolve(profile, fee_threshold=Figure(fee_threshold, f"config ({where}.fee_threshold)", ""))
        return cls(account, plugin, settings, profile, gate.deadline, gate.clock_skew, clock, [], threading.Lock(), [])

    # ---------------------------------------------------------------------------------------------------- questions

    def get_account(self, seconds: float | None = None) -> AccountReport:
        report = self._ask("get_account", seconds)
        flaw = _flaw_of_report(report)
        if flaw:
            raise BrokerError(f"get_account of {self.plugin.name} gave no usable answer: {flaw}")
        return report  # type: ignore[no-any-return]  # its type was just checked

    def get_prices(self, symbols: Sequence[str], seconds: float | None = None) -> Mapping[str, Price]:
        """Prices by symbol, as the broker tells them; whether such numbers are prices is for the valuation to say."""
        answer = self._ask("get_prices", seconds, symbols=tuple(symbols))
        if not isinstance(answer, Sequence) or isinstance(answer, str):
            raise BrokerError(f"get_prices of {self.plugin.name} gave {type(answer).__name__}, not a list of prices")
        prices = {price.symbol: price for price in answer if type(price) is Price and price.symbol in symbols}
        wrong = next((price for price in prices.values() if not _is_recordable(price)), None)
        if wrong is not None:
            raise BrokerError(
                f"get_prices of {self.plugin.name} gave no usable answer for {wrong.symbol}: "
                f"bid {wrong.bid!r}, ask {wrong.ask!r}, at {wrong.at!r}"
            )
        return prices

    def get_market(self, symbol: str, seconds: float | None = None) -> Market | None:
        market = self._ask("get_market", seconds, symbol=symbol)
        if market is None:
            return None
        flaw = _flaw_of_market(market, symbol)
        if flaw:
            raise BrokerError(f"get_market of {self.plugin.name} gave no usable answer for {symbol}: {flaw}")
        return market  # type: ignore[no-any-return]

    def get_fees(self, symbol: str, seconds: float | None = None) -> tuple[Figure, Figure]:
        """The account's maker and taker rate; the profile's where the broker cannot tell."""
        if "get_fees" not in self.plugin.hooks:
            return self.profile.maker_fee, self.profile.taker_fee
        answer = self._ask("get_fees", seconds, symbol=symbol)
        if not isinstance(answer, Sequence) or len(answer) != 2 or not all(_is_rate(figure) for figure in answer):
            raise BrokerError(f"get_fees of {self.plugin.name} gave no maker and taker rate between 0 and 1")
        return answer[0], answer[1]

    def get_permissions(self) -> tuple[str, ...] | None:
        """What the key may do; None when the broker cannot tell."""
        if "get_permissions" not in self.plugin.hooks:
            return None
        answer = self._ask("get_permissions", None)
        if answer is None:
            return None
        if not isinstance(answer, Sequence) or isinstance(answer, str):
            raise BrokerError(f"get_permissions of {self.plugin.name} gave no list")
        return tuple(map(str, answer))

    def get_time(self, seconds: float | None = None) -> float | None:
        """The venue's clock, seconds since the epoch; None when the broker cannot tell."""
        if "get_time" not in self.plugin.hooks:
            return None
        answer = self._ask("get_time", seconds)
        if answer is None:
            return None
        if not _is_seconds(answer):
            raise BrokerError(f"get_time of {self.plugin.name} gave {answer!r}, not seconds since the epoch")
        return float(answer)

    def list_orders(self, since: float) -> tuple[Receipt, ...] | None:
        """Orders made since then; None when the broker cannot tell."""
        if "list_orders" not in self.plugin.hooks:
            return None
        answer = self._ask("list_orders", None, since=since)
        if answer is None:
            return None
        if not isinstance(answer, Sequence) or not all(type(receipt) is Receipt for receipt in answer):
            raise BrokerError(f"list_orders of {self.plugin.name} gave no list of receipts")
        return tuple(answer)

    def find_order(self, order: VenueOrder, seconds: float | None = None) -> Receipt | None:
        """The order as the venue knows it, None when it is not visible now. Raises `Mismatch` for another order."""
        receipt = self._ask("find_order", seconds, order=order)
        if receipt is None:
            return None
        flaw = _flaw_of_receipt(receipt)
        if flaw:
            raise BrokerError(f"find_order of {self.plugin.name} gave no usable answer: {flaw}")
        return _matching(order, receipt)

    def notices(self) -> tuple[str, ...]:
        """What the client wants people to know, such as a seed that was not applied again."""
        found = getattr(self._client[0], "notices", ()) if self._client else ()
        return tuple(map(str, found)) if isinstance(found, Sequence) and not isinstance(found, str) else ()

    # -------------------------------------------------------------------------------------------------------- actions

    def place_order(self, order: VenueOrder, seconds: float) -> Receipt:
        """Send, once. Raises `Failed` whenever the outcome is not known for certain, `Mismatch` when it contradicts."""
        return self._act("place_order", order, seconds)

    def cancel_order(self, order: VenueOrder, seconds: float) -> Receipt:
        return self._act("cancel_order", order, seconds)

    # --------------------------------------------------------------------------------------------------------- inside

    def client(self, seconds: float) -> Any:
        """Connect once. Raises `NothingSent`."""
        if not self._client:
            # Not under the lock: an exit must not wait for a buy that is being kept waiting at the door.
            try:
                client = within(seconds, self.plugin.hooks["connect"].call, {"settings": self.settings})
            except Failed as failed:
                raise NothingSent(failed.cause) from failed
            with self._lock:
                if not self._client:
                    self._client.append(client)
        return self._client[0]

    def _ask(self, hook: str, seconds: float | None, **values: Any) -> Any:
        """Ask under a deadline. A question with `seconds` of its own is an exit's: it is also asked while the venue is
        left alone.
        """
        limit = self.deadline if seconds is None else min(seconds, self.deadline)
        left = max(self._left_alone_until, default=0.0) - self._clock.monotonic()
        if seconds is None and left > 0:
            raise BrokerError(f"{hook} of {self.plugin.name} was not asked: the venue is left alone for {left:.1f} s")
        try:
            values["client"] = self.client(limit)
            return within(limit, self.plugin.hooks[hook].call, values)
        except Failed as failed:
            self._leave_alone(failed)
            raise BrokerError(f"{hook} of {self.plugin.name} failed: {failed}") from failed

    def _leave_alone(self, failed: Failed) -> None:
        """After the venue has said that it is asked too often, ask nothing for as long as the broker says."""
        if isinstance(failed.cause, RateLimited):
            # What a plugin hands on here is often a header as it came.
            told = failed.cause.seconds
            seconds = min(told, _LEFT_ALONE_MOST) if _is_seconds(told) else _LEFT_ALONE
            until = self._clock.monotonic() + seconds
            self._left_alone_until[:] = [max([until, *self._left_alone_until])]

    def _act(self, hook: str, order: VenueOrder, seconds: float) -> Receipt:
        # The plugin gets a copy: the executor's own order stays what was recorded, whatever the plugin does to it.
        values = {"client": self.client(seconds), "order": evolve(order)}
        try:
            receipt = within(seconds, self.plugin.hooks[hook].call, values)
        except Failed as failed:
            self._leave_alone(failed)
            if isinstance(failed, NoThread) or isinstance(failed.cause, NotSent):
                raise NothingSent(failed.cause) from failed
            raise
        flaw = _flaw_of_receipt(receipt)
        if flaw:
            raise Failed(TypeError(f"{hook} of {self.plugin.name} gave no usable receipt: {flaw}"))
        return _matching(order, receipt)


def _matching(sent: VenueOrder, receipt: Receipt) -> Receipt:
    """The receipt, if it is about the order that was sent."""
    told = [("client_order_id", sent.client_order_id), ("symbol", sent.symbol), ("side", sent.side)]
    # An order that is looked up by its id alone has no terms to compare; its terms are what is asked.
    sized = sent.spend is not None or sent.amount is not None
    terms = [(name, getattr(sent, name)) for name in ("spend", "amount", "limit")] if sized else []
    told += [(name, value) for name, value in terms if getattr(receipt, name) is not None]
    for name, value in told:
        if getattr(receipt, name) != value:
            raise Mismatch(
                ValueError(
                    f"the venue's {name} is {getattr(receipt, name)}, not {value} (venue order {receipt.order_id})"
                )
            )
    return receipt


# ------------------------------------------------------------------------------------- what makes an answer unusable


def _is_amount(value: object) -> bool:
    return type(value) is Decimal and value.is_finite() and value >= 0 and abs(value.adjusted()) < 40


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_recordable(price: Price) -> bool:
    """Numbers that a decision can be recorded with, and explained from; whether they make a price is another matter."""
    numbers = all(
        type(number) is Decimal and number.is_finite() and abs(number.adjusted()) < 40
        for number in (price.bid, price.ask)
    )
    return numbers and (price.at is None or _is_seconds(price.at))


def _is_rate(figure: object) -> bool:
    return type(figure) is Figure and _is_amount(figure.value) and figure.value < 1


def _not_amounts(value: object, names: Iterable[str]) -> str:
    wrong = [f"{name} is {getattr(value, name)!r}" for name in names if not _is_amount(getattr(value, name))]
    return ", ".join(wrong) and f"{', '.join(wrong)}, not an amount"


def _flaw_of_profile(profile: object) -> str:
    if type(profile) is not BrokerProfile:
        return f"it is {type(profile).__name__}, not BrokerProfile"
    if type(profile.fee_threshold) is not Figure or not _is_amount(profile.fee_threshold.value):
        return "fee_threshold is not a Figure of USD"
    if not _is_rate(profile.maker_fee) or not _is_rate(profile.taker_fee):
        return "maker_fee and taker_fee must be Figures between 0 and 1"
    seconds = ("honoured", "balance_lag", "absence_pause", "facts_every")
    if not all(_is_seconds(getattr(profile, name)) for name in seconds):
        return f"{', '.join(seconds)} must be seconds"
    if type(profile.absence_looks) is not int or profile.absence_looks < 1:
        return "absence_looks must be 1 or more"
    kinds = ((profile.fees_from, FeesFrom), (profile.id_promise, IdPromise), (profile.absence, Absence))
    wrong = [kind.__name__ for value, kind in kinds if not isinstance(value, kind)]
    return f"it needs a {' and a '.join(wrong)}" if wrong else ""


def _flaw_of_report(report: object) -> str:
    if type(report) is not AccountReport:
        return f"it is {type(report).__name__}, not AccountReport"
    if not isinstance(report.identity, str) or not report.identity:
        return "identity is empty"
    if not isinstance(report.holdings, tuple) or not isinstance(report.open_orders, tuple):
        return "holdings and open_orders must be tuples"
    currencies = [str(holding.currency) for holding in report.holdings if type(holding) is Holding]
    if len(currencies) != len(report.holdings) or len(set(currencies)) != len(currencies):
        return "holdings must be Holding values, one per currency"
    flaws = [f"{holding.currency}: {flaw}" for holding in report.holdings if (flaw := _flaw_of_holding(holding))]
    flaws += [flaw for order in report.open_orders if (flaw := _flaw_of_open(order))]
    return flaws[0] if flaws else ""


def _flaw_of_holding(holding: Holding) -> str:
    return _not_amounts(holding, ("available", "hold", "locked"))


def _flaw_of_open(order: object) -> str:
    if type(order) is not OpenOrder or not _is_amount(order.amount_left) or not isinstance(order.side, Side):
        return "open_orders must be OpenOrder values with a side and an amount left"
    try:
        parse_symbol(order.symbol)
    except InputError as error:
        return f"open order {order.order_id}: {error}"
    if order.limit is not None and not _is_amount(order.limit):
        return f"open order {order.order_id}: limit is {order.limit!r}"
    if not isinstance(order.order_id, str) or not isinstance(order.client_order_id, str | None):
        return f"open order {order.order_id}: an id is no text"
    return ""


def _flaw_of_market(market: object, symbol: str) -> str:
    if type(market) is not Market:
        return f"it is {type(market).__name__}, not Market"
    if (market.symbol, f"{market.base}-{market.quote}") != (symbol, parse_symbol(symbol)):
        return f"it is about {market.symbol} ({market.base}-{market.quote}); one market has one name"
    if not isinstance(market.status, MarketStatus):
        return f"status is {market.status!r}, not a MarketStatus"
    steps = ("amount_step", "spend_step", "price_step")
    flaw = _not_amounts(market, (*steps, "min_amount", "min_spend"))
    if not flaw and not all(getattr(market, name) > 0 for name in steps):
        flaw = "a step is zero"
    return flaw or _not_amounts(
        market, [name for name in ("max_amount", "max_spend") if getattr(market, name) is not None]
    )


_TEXTS: Final = ("order_id", "code", "message")


def _flaw_of_receipt(receipt: object) -> str:
    if type(receipt) is not Receipt:
        return f"it is {type(receipt).__name__}, not Receipt"
    if receipt.status in (OrderStatus.APPROVED, OrderStatus.REFUSED) or not isinstance(receipt.status, OrderStatus):
        return f"its status is {receipt.status!r}"
    wrong = [name for name in _TEXTS if not isinstance(getattr(receipt, name), str | None)]
    return f"its {wrong[0]} is no text" if wrong else _not_amounts(receipt, ("filled_amount", "filled_value", "fees"))
