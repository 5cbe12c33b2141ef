"""Numbers as people read them. Programs get every digit: see `ordergate.cli.answer`."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from ordergate.amounts import CENT, plain

__all__ = ["number", "usd"]


def number(value: Decimal | None) -> str:
    """A number in a table: all its digits, but for quotients, which are cut after 8 decimals and marked."""
    if value is None:
        return ""
    whole, point, decimals = plain(value).partition(".")
    return f"{whole}{point}{decimals}" if len(decimals) <= 18 else f"{whole}{point}{decimals[:8]}…"


def usd(value: Decimal) -> str:
    """A worth in USD, cut to the cent: what is shown as 20.00 has reached it."""
    if 0 < value < CENT:
        return "under 0.01"
    return format(value.quantize(CENT, rounding=ROUND_DOWN), "f")
