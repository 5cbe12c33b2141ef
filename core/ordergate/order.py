"""What the caller wants: an `Order`, every field of it parsed strictly, wherever it comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Self

from attrs import field, fields, frozen

from ordergate.amounts import parse_amount
from ordergate.errors import InputError
from ordergate.models import Side

__all__ = ["Order", "parse_client_order_id", "parse_symbol"]

_SYMBOL = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}", re.ASCII)
_CLIENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def _text(value: object, name: str, fix: str) -> str:
    if not isinstance(value, str):
        raise InputError(name, value, fix)
    return value


def parse_symbol(value: object) -> str:
    """Take a market's name: BASE-QUOTE in capital ASCII letters and digits, such as BTC-USD."""
    fix = "write BASE-QUOTE in capital ASCII letters and digits, such as BTC-USD"
    text = _text(value, "symbol", fix)
    if not _SYMBOL.fullmatch(text):
        guess = text.strip().upper().replace("/", "-").replace("_", "-")
        raise InputError("symbol", text, f"did you mean {guess}?" if _SYMBOL.fullmatch(guess) else fix)
    if text.split("-")[0] == text.split("-")[1]:
        raise InputError("symbol", text, "base and quote must differ")
    return text


def parse_client_order_id(value: object) -> str:
    """Take a caller's id: 1 to 64 of letters, digits, `_`, `.` and `-`."""
    fix = "use 1 to 64 ASCII letters, digits, '_', '.' or '-'"
    text = _text(value, "client_order_id", fix)
    if not _CLIENT_ID.fullmatch(text):
        raise InputError("client_order_id", text, fix)
    return text


def _side(value: object) -> Side:
    if value not in ("buy", "sell") or not isinstance(value, str):
        raise InputError("side", value, "use exactly 'buy' or 'sell'")
    return Side(value)


def _optional_amount(name: str, value: object) -> Decimal | None:
    return None if value is None else parse_amount(value, name)


def _spend(value: object) -> Decimal | None:
    return _optional_amount("spend", value)


def _amount(value: object) -> Decimal | None:
    return _optional_amount("amount", value)


def _limit(value: object) -> Decimal | None:
    return _optional_amount("limit", value)


def _optional_account(value: object) -> str | None:
    fix = "use the name of an account in the config"
    if value is None:
        return None
    text = _text(value, "account", fix)
    if not text:
        raise InputError("account", text, fix)
    return text


def _optional_id(value: object) -> str | None:
    return None if value is None else parse_client_order_id(value)


def _optional_principal(value: object) -> str | None:
    if value is None:
        return None
    fix = "use 1 to 64 ASCII letters, digits, '_', '.' or '-'"
    text = _text(value, "principal", fix)
    if not _CLIENT_ID.fullmatch(text):
        raise InputError("principal", text, fix)
    return text


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError(name, value, "use true or false")
    return value


def _all(value: object) -> bool:
    return _flag("all", value)


def _force_liquidate(value: object) -> bool:
    return _flag("force_liquidate", value)


def _reason(value: object) -> str | None:
    if value is None:
        return None
    text = _text(value, "reason", "say why in a few words")
    if not text.strip() or len(text) > 500 or not text.isprintable():
        raise InputError("reason", text, "say why in 1 to 500 printable characters")
    return text


@frozen(kw_only=True)
class Order:
    """What the caller wants. Every field is parsed strictly; a bad one raises `InputError` that names it and the fix.

    A buy names `spend` (quote amount; a market buy, or with `limit` the most it may take before fees), or `amount`
    (base amount) together with `limit`. A sell names `amount` or `all`, with or without `limit`.
    `force_liquidate` is the emergency form of a sell and needs a `reason`. `principal` says who asks: a strategy, a
    bot, a person.
    """

    symbol: str = field(converter=parse_symbol)
    side: Side = field(converter=_side)
    spend: Decimal | None = field(default=None, converter=_spend)
    amount: Decimal | None = field(default=None, converter=_amount)
    all: bool = field(default=False, converter=_all)
    limit: Decimal | None = field(default=None, converter=_limit)
    account: str | None = field(default=None, converter=_optional_account)
    client_order_id: str | None = field(default=None, converter=_optional_id)
    force_liquidate: bool = field(default=False, converter=_force_liquidate)
    reason: str | None = field(default=None, converter=_reason)
    principal: str | None = field(default=None, converter=_optional_principal)

    def __attrs_post_init__(self) -> None:
        named = [name for name in ("spend", "amount") if getattr(self, name) is not None]
        named += ["all"] if self.all else []
        if len(named) != 1:
            raise InputError(
                "size", " and ".join(named) or "nothing", "give exactly one of spend, amount and, for a sell, all"
            )
        if self.side is Side.BUY:
            self._check_buy()
        elif self.spend is not None:
            raise InputError("spend", str(self.spend), "a sell takes amount (of the base currency) or all")
        if self.force_liquidate and self.reason is None:
            raise InputError("reason", None, "a forced liquidation needs a reason")

    def _check_buy(self) -> None:
        if self.force_liquidate:
            raise InputError("force_liquidate", True, "it exists for sells only; no buy skips the rules")
        if self.all:
            raise InputError("all", True, "it exists for sells only; a buy names spend or amount")
        if self.amount is not None and self.limit is None:
            raise InputError("amount", str(self.amount), "a market buy names spend; with amount give a limit too")

    @classmethod
    def buy(cls, symbol: str, **fields: Any) -> Self:
        """`Order.buy("BTC-USD", spend="25", account="main")`"""
        return cls(symbol=symbol, side=Side.BUY, **fields)

    @classmethod
    def sell(cls, symbol: str, **fields: Any) -> Self:
        """`Order.sell("BTC-USD", amount="0.001")` or `Order.sell("BTC-USD", all=True)`"""
        return cls(symbol=symbol, side=Side.SELL, **fields)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """Take an order from outside: unknown and missing fields are errors, not defaults."""
        known = {attribute.name for attribute in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(
                    str(name), values[name], f"there is no such field; an order has {', '.join(sorted(known))}"
                )
        for name in ("symbol", "side"):
            if name not in values:
                raise InputError(name, None, "every order needs it")
        return cls(**dict(values))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Take an order from JSON text. Repeated keys, unknown fields and `NaN` are errors; numbers keep every
        digit.
        """
        try:
            values = json.loads(text, object_pairs_hook=_no_repeats, parse_float=_exact, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:  # also integers of thousands of digits, and nesting without end
            raise InputError("order", "the text", f"it is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise InputError("order", values, "send one JSON object")
        return cls.from_mapping(values)


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in pairs:
        if name in values:
            raise InputError(name, value, "the field stands twice; send it once")
        values[name] = value
    return values


def _exact(text: str) -> Decimal:
    """Every digit of a JSON number. One too large for any Decimal is told of where its field is known."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("Infinity")


def _no_constant(text: str) -> object:
    raise InputError("order", text, "numbers must be finite")
