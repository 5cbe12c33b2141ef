"""The recorded price path: one day of BTC-USDT in one-minute candles. Nothing here is made up."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Final

from attrs import frozen

__all__ = ["RECORDED", "Minute", "clock_time", "read_path"]

RECORDED: Final = (
    "Kraken's BTC/USDT, 2025-11-10 12:17 to 2025-11-11 00:17 UTC: the close of each one-minute candle of its public"
    " OHLC answer, as kept by nautechsystems/nautilus_trader."
)


@frozen
class Minute:
    """One candle's moment (seconds since the epoch, UTC) and its close in USDT."""

    moment: float
    close: Decimal


def read_path() -> tuple[Minute, ...]:
    text = files("ordergate").joinpath("data/btc_usdt_2025_11_10.csv").read_text(encoding="utf-8")
    rows = [line.split(",") for line in text.splitlines() if line[:1].isdigit()]
    return tuple(Minute(float(moment), Decimal(close)) for moment, _, _, _, close in rows)


def clock_time(moment: float) -> str:
    """Hours and minutes as they were on the recorded day, UTC: `14:52`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M")
