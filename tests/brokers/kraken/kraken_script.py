"""A venue that says exactly what a test has it say, and orders to send."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import ordergate_kraken as broker
from ordergate import Side, VenueOrder
from ordergate.clock import SystemClock
from ordergate.testing.loopback import Reply, Request

CLOCK: Final = SystemClock()
SECRET: Final = "VGhlIHByaXZhdGUga2V5IG9mIGEgdGVzdCwgd2hpY2ggaXMgd29ydGggbm90aGluZyBhdCBhbGwu"
KEY: Final = "CANARYxKEYxOFxAxTEST"


class Scripted:
    """A venue that takes no order and says what a test wrote down: by method, a result, or a whole `Reply`."""

    lies: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "GetApiKeyInfo": {"permissions": ["query-funds"], "iban": "AA88 N84G WOAK NMOI"},
            "Time": {"unixtime": int(CLOCK.now())},
            "Assets": {
                code: {"altname": name}
                for code, name in (
                    ("XXBT", "XBT"),
                    ("XETH", "ETH"),
                    ("XXDG", "XDG"),
                    ("ZUSD", "USD"),
                    ("USDT", "USDT"),
                    ("USDC", "USDC"),
                    ("XTZ", "XTZ"),
                    ("DOT", "DOT"),
                    ("KFEE", "FEE"),
                    ("XBT.F", "XBT.F"),
                )
            },
            "AssetPairs": {
                "XXBTZUSD": pair("XBTUSD", "XXBT", "ZUSD"),
                "XETHZUSD": pair("ETHUSD", "XETH", "ZUSD"),
                "XBTUSDT": pair("XBTUSDT", "XXBT", "USDT"),
                "XBTUSDC": pair("XBTUSDC", "XXBT", "USDC"),
                "XTZUSD": pair("XTZUSD", "XTZ", "ZUSD"),
                "XDGUSD": pair("XDGUSD", "XXDG", "ZUSD"),
            },
            "BalanceEx": {},
            "OpenOrders": {"open": {}},
            "ClosedOrders": {"closed": {}, "count": 0},
            "TradesHistory": {"trades": {}, "count": 0},
        }
        self.by_request: dict[str, Callable[[Request], Any]] = {}

    def action(self, request: Request) -> str:
        return "place" if request.path.endswith("/AddOrder") else "other"

    def answer(self, request: Request) -> Reply:
        method = request.path.rpartition("/")[2]
        told = self.by_request[method](request) if method in self.by_request else self.answers[method]
        return told if isinstance(told, Reply) else said(told)

    def twisted(self, lie: str, text: str, request: Request, reply: Reply) -> Reply:
        return reply


def said(result: Any = None, *errors: str) -> Reply:
    return Reply(json.dumps({"error": list(errors), **({} if result is None else {"result": result})}).encode())


def pair(altname: str, base: str, quote: str, **more: Any) -> dict[str, Any]:
    limits = {"lot_decimals": 8, "cost_decimals": 5, "tick_size": "0.1", "ordermin": "0.00005", "costmin": "0.5"}
    return {"altname": altname, "base": base, "quote": quote, "status": "online", **limits, **more}


def row(**more: Any) -> dict[str, Any]:
    """An order as the venue shows it: a buy of 0.002 BTC at 40,000 USD that rests."""
    description = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "40000.0", "price2": "0"}
    figures = {"vol": "0.00200000", "vol_exec": "0.00000000", "cost": "0.00000", "fee": "0.00000", "price": "0.00000"}
    told = more.pop("descr", {})
    return {
        "status": "open",
        "opentm": 1688583840.8648,
        "descr": {**description, **told},
        **figures,
        "oflags": "fciq",
        **more,
    }


def connected(settings: Mapping[str, Any], **more: Any) -> broker.Client:
    values = {**settings, **more}
    paths = {name: Path(values[name]) for name in ("key_file", "ca_file") if values.get(name)}
    return broker.connect(broker.Settings(**{**values, **paths}))


def an_order(**more: Any) -> VenueOrder:
    """A market buy for 20 USD, unless told otherwise."""
    values: dict[str, Any] = {
        "account": "main",
        "symbol": "BTC-USD",
        "side": Side.BUY,
        "spend": None if "amount" in more else "20",
        "amount": None,
        "limit": None,
        "client_order_id": f"5a1d7a0e-35a5-5d0b-9d4e-{CLOCK.new_id()[:12]}",
        "send_by": CLOCK.now() + 5,
        **more,
    }
    amounts = {name: Decimal(values[name]) for name in ("spend", "amount", "limit") if values[name]}
    return VenueOrder(**{**values, **amounts})
