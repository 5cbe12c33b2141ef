"""Exact amounts: strict parsing, rounding down, plain text. Nothing here, or after here, is a float."""

from __future__ import annotations

import decimal
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_DOWN, Decimal

from ordergate.errors import InputError

__all__ = ["CENT", "ZERO", "exact", "money", "parse_amount", "parse_number", "plain", "round_down"]

ZERO = Decimal(0)
CENT = Decimal("0.01")

# 18 digits on either side hold every amount and price a venue quotes; the product of three such numbers fits in
# 120 digits, so every product and sum the gate compares is exact. Only averages that are shown are ever rounded.
_PLAIN = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_EXACT = decimal.Context(
    prec=120,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)


@contextmanager
def exact() -> Iterator[None]:
    """Run a block with enough digits that no sum or product of parsed amounts is rounded."""
    with decimal.localcontext(_EXACT):
        yield


def parse_number(value: object, field: str) -> Decimal:
    """Take a plain decimal: a string of ASCII digits with at most one point, an int, or a finite Decimal.

    Up to 18 digits before and 18 after the point. Exponents, `1_000`, blanks, signs other than a leading minus, NaN,
    infinities, booleans and floats raise InputError: a float has already lost what was meant.
    """
    if isinstance(value, bool):
        raise InputError(field, value, "give a number as text, such as 12.50, not true or false")
    if isinstance(value, float):
        raise InputError(field, value, "floats drift; give the number as text, such as '12.50', or as a Decimal")
    if isinstance(value, int):
        text = str(value) if abs(value) < 10**18 else "1" * 19
    elif isinstance(value, Decimal):
        text = format(value, "f") if value.is_finite() and abs(value.adjusted()) < 40 else str(value)
    elif isinstance(value, str):
        text = value
    else:
        raise InputError(field, value, "give a number as text, such as 12.50")
    if not _PLAIN.fullmatch(text):
        raise InputError(
            field,
            value,
            "write a plain number of ASCII digits, such as 12.50, with at most 18 digits on each side of the point",
        )
    number = Decimal(text)
    if number == 0 and number.is_signed():
        raise InputError(field, value, "zero has no sign")
    return number


def parse_amount(value: object, field: str) -> Decimal:
    """Like `parse_number`, and above zero."""
    number = parse_number(value, field)
    if number <= 0:
        raise InputError(field, value, "it must be above zero")
    return number


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` (above zero) that is not above `value`, with the step's own decimals."""
    whole = (value / step).to_integral_value(rounding=ROUND_DOWN)
    # The quotient above may have been rounded up at its last digit; a multiple is never allowed above the value.
    if whole * step > value:
        whole -= 1
    return whole * step


def plain(value: Decimal) -> str:
    """The number as digits: no exponent, no trailing zeros after the point, no minus zero."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def money(value: Decimal) -> str:
    """Like `plain`, with at least two decimals: `3.00`, `16.75`, `0.0004`."""
    text = plain(value)
    whole, _, part = text.partition(".")
    return f"{whole}.{part.ljust(2, '0')}"
