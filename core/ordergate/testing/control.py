"""What a person or a script tells a venue on loopback while it runs, at `/rehearsal` on its own port.

    GET  /rehearsal     how it stands: requests by action, faults it is still told, orders it took
    POST /rehearsal     {"clear": true, "release": true, "fail": {"name": "cut"}, "price": {"BTC-USD": "51000"}}

What is told is done in the order clear, release, fail, price; each key may be left out. The answer is how it stands
then. It is no part of any exchange, and answers only to this machine's own names: a page in a browser cannot reach it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from attrs import asdict, frozen

from ordergate.errors import OrdergateError
from ordergate.records import to_plain
from ordergate.testing.loopback import Loopback, Reply, Request
from ordergate.testing.rehearsal import Rehearsal

__all__ = ["Control"]

_FAIL: Final = frozenset({"name", "on", "times", "taken", "status", "text"})
_TOLD: Final = ("clear", "release", "fail", "price")


class _Refused(Exception):
    """A request that is not done; never leaves this module."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


@frozen
class Control:
    """Answers for one rehearsal and the server under it."""

    rehearsal: Rehearsal
    server: Loopback

    def __call__(self, request: Request) -> Reply:
        try:
            self._check_sender(request)
            if request.method != "GET":
                self._tell(_read(request))
            return _json(self._stand())
        except _Refused as refused:
            return _json({"error": str(refused)}, refused.status)
        except OrdergateError as error:
            return _json({"error": str(error)}, 400)

    def _check_sender(self, request: Request) -> None:
        names = {f"{name}{port}" for name in ("127.0.0.1", "localhost") for port in ("", f":{self.server.port}")}
        if request.headers.get("host", "").lower() not in names:
            raise _Refused(403, "ask for 127.0.0.1 or localhost by that name")
        if "origin" in request.headers:
            raise _Refused(403, "pages in browsers have no business here")

    def _tell(self, told: Mapping[str, Any]) -> None:
        if told.get("clear"):
            self.rehearsal.clear()
        if told.get("release"):
            self.server.release()
        if "fail" in told:
            fault = told["fail"]
            if not isinstance(fault, dict) or not isinstance(fault.get("name"), str) or fault.keys() - _FAIL:
                raise _Refused(400, f"fail takes an object with a name, and of {', '.join(sorted(_FAIL))} no others")
            self.rehearsal.fail(**fault)
        if "price" in told:
            prices = told["price"]
            if not isinstance(prices, dict):
                raise _Refused(400, 'price takes an object such as {"BTC-USD": "51000"}')
            for symbol, price in prices.items():
                self.rehearsal.set_price(symbol, price)

    def _stand(self) -> dict[str, Any]:
        return {
            "counts": self.server.counts(),
            "faults": [asdict(fault) for fault in self.server.faults()],
            "orders": to_plain(tuple(self.rehearsal.orders())),
        }


def _read(request: Request) -> Mapping[str, Any]:
    if request.method != "POST":
        raise _Refused(405, "use GET or POST")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Refused(415, "send JSON, with Content-Type: application/json")
    try:
        told = json.loads(request.body, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise _Refused(400, "the body is no JSON") from None
    if not isinstance(told, dict) or not told or told.keys() - set(_TOLD):
        raise _Refused(400, f"send an object with some of {', '.join(_TOLD)}")
    return told


def _json(answer: object, status: int = 200) -> Reply:
    return Reply(json.dumps(answer).encode("ascii"), status)
