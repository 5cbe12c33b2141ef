"""What leaves for each exchange of the table, recorded where ccxt hands it to the network. Nothing is sent."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import ordergate_ccxt as broker
from ordergate import Absence, BrokerError, IdPromise, NotSent, Side, VenueOrder
from ordergate.clock import SystemClock

WIRE_ID = "0b9e8f52-6a3c-5f0e-9d7a-3c1b2a498765"
MARKET: dict[str, Any] = {
    "id": "BTCUSDT",
    "lowercaseId": "btcusdt",
    "symbol": "BTC/USDT",
    "base": "BTC",
    "quote": "USDT",
    "baseId": "BTC",
    "quoteId": "USDT",
    "type": "spot",
    "spot": True,
    **dict.fromkeys(("margin", "swap", "future", "option", "contract", "linear", "inverse"), False),
    "active": True,
    "precision": {"amount": "0.00000001", "price": "0.01"},
    "limits": {"amount": {"min": "0.00001"}, "cost": {"min": "1"}, "price": {}},
    "info": {"orderTypes": ["LIMIT", "MARKET"], "quoteIncrement": "0.01"},
}
LIMIT = {"amount": Decimal("0.00123457"), "limit": Decimal("50000.1")}
SELL = {"amount": Decimal("0.00123457")}
SPEND = {"spend": Decimal("20.05")}


@pytest.fixture
def recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Callable[..., broker.Client]
) -> Callable[..., tuple[Any, list[Any]]]:
    """recorded("okx") is a client with one market, and the list of what leaves it."""

    def made(exchange: str) -> tuple[broker.Client, list[Any]]:
        requests = importlib.import_module("requests")
        sent: list[Any] = []

        def record(_: Any, method: str, url: str, **more: Any) -> Any:
            if not url.lower().endswith("/time"):
                sent.append((method, url, more.get("data")))
            answer = requests.Response()
            answer.status_code, answer._content, answer.url = 200, b"{}", url
            return answer

        monkeypatch.setattr(requests.Session, "request", record)
        kind = getattr(importlib.import_module("ccxt"), exchange)
        # Coinbase signs with a key of its own kind, and knows this kind by its length.
        secret = base64.b64encode(bytes(64 if exchange == "coinbase" else 24)).decode()
        known = {"apiKey": "key-0123456789", "secret": secret}
        lines = [known.get(word, "pass-0123") for word, needed in kind().requiredCredentials.items() if needed]
        key_file = tmp_path / "key"
        key_file.touch(mode=0o600)
        key_file.write_text("\n".join(lines))
        client = connect({"exchange": exchange, "key_file": key_file})

        def load_markets(self: Any, *_: Any) -> None:
            self.set_markets([MARKET])

        monkeypatch.setattr(kind, "load_markets", load_markets)
        return client, sent

    return made


def order(terms: Mapping[str, Decimal], side: Side = Side.BUY) -> VenueOrder:
    every: dict[str, Any] = {"spend": None, "amount": None, "limit": None, **terms}
    return VenueOrder(
        account="main",
        symbol="BTC-USDT",
        side=side,
        client_order_id=WIRE_ID,
        send_by=SystemClock().now() + 5,
        **every,
    )


def left(client: broker.Client, sent: list[Any], one: VenueOrder) -> dict[str, str]:
    """Names and values of the one request that leaves for an order."""
    sent.clear()
    with pytest.raises(BrokerError) as raised:  # the recorder answers nothing of use
        broker.place_order(client, one)
    assert not isinstance(raised.value, NotSent), raised.value
    ((_, url, body),) = sent
    return dict(broker._said(url, body))


@pytest.mark.parametrize("exchange", list(broker.VENUES))
@pytest.mark.parametrize(
    ("side", "terms"), [(Side.BUY, LIMIT), (Side.SELL, SELL), (Side.SELL, LIMIT), (Side.BUY, SPEND)]
)
def test_c10_id_on_wire_and_every_digit_of_the_size(
    recorded: Callable[..., Any], exchange: str, side: Side, terms: dict[str, Decimal]
) -> None:
    client, sent = recorded(exchange)
    one = order(terms, side)
    with client.asking() as line:
        spends = broker.exchange_has(line.exchange, "createMarketBuyOrderWithCost")
    if "spend" in terms and not spends:
        with pytest.raises(NotSent, match="name an amount and a limit"):
            broker.place_order(client, one)
        assert sent == []
        return
    said = left(client, sent, one)
    assert said[client.venue.id_field] == client.venue.on_wire(WIRE_ID)
    # As text: not rounded, not padded, no exponent.
    assert {format(amount, "f") for amount in terms.values()} <= set(said.values())


def test_a_deadline_goes_where_an_exchange_takes_one(recorded: Callable[..., Any]) -> None:
    client, sent = recorded("kraken")
    said = left(client, sent, order(SPEND))
    assert said["deadline"].endswith("Z")
    assert said["oflags"] == "viqc"
    client, sent = recorded("binance")
    assert 0 < int(left(client, sent, order(SPEND))["recvWindow"]) <= 5000


@pytest.mark.parametrize(
    ("exchange", "why"), [("gate", "28"), ("phemex", "as it was judged"), ("gemini", "account-key")]
)
def test_exchanges_that_cannot_carry_an_order_as_it_was_judged_send_nothing(
    recorded: Callable[..., Any], exchange: str, why: str
) -> None:
    client, sent = recorded(exchange)
    with pytest.raises(NotSent, match=why):
        broker.place_order(client, order(LIMIT))
    assert not [url for method, url, _ in sent if method != "GET"]


@pytest.mark.parametrize("exchange", ["poloniex", "hitbtc", "coinbaseexchange"])
def test_an_exchange_nobody_looked_at_carries_the_id_and_proves_nothing(
    recorded: Callable[..., Any], exchange: str
) -> None:
    client, sent = recorded(exchange)
    profile = client.venue.profile(exchange)
    assert (profile.id_promise, profile.absence) == (IdPromise.NONE, Absence.PERSON)
    assert "only a person" in profile.rests_on
    assert WIRE_ID in left(client, sent, order(LIMIT)).values()


def test_an_order_that_names_what_to_spend_and_a_limit_is_not_sent(recorded: Callable[..., Any]) -> None:
    client, sent = recorded("kraken")
    with pytest.raises(NotSent):
        broker.place_order(client, evolve(order(SPEND), limit=Decimal(50000)))
    assert sent == []


def test_an_id_comes_back_as_the_gate_wrote_it() -> None:
    venue = broker.VENUES["okx"]
    assert venue.on_wire(WIRE_ID) == WIRE_ID.replace("-", "")
    assert venue.off_wire(venue.on_wire(WIRE_ID)) == WIRE_ID
    assert venue.off_wire("somebody-else") == "somebody-else"


@pytest.mark.parametrize(
    ("vol_exec", "filled"),
    [("0.00040100", "0.00040100"), ("20.05000", "0.00040100")],
)
def test_what_a_spending_order_filled_is_base_whichever_way_kraken_counts(vol_exec: str, filled: str) -> None:
    info = {
        "oflags": "fciq,viqc",
        "vol": "20.05",
        "vol_exec": vol_exec,
        "cost": "20.05",
        "price": "50000",
        "fee": "0.1",
    }
    terms = broker.VENUES["kraken"].terms({"info": info})
    assert (terms.filled, terms.value, terms.spend) == (Decimal(filled), Decimal("20.05"), Decimal("20.05"))


@pytest.mark.parametrize(
    ("mode", "precision", "step"), [(4, "0.001", "0.001"), (2, "3", "0.001"), (2, 0, "1"), (4, "1E-8", "0.00000001")]
)
def test_both_ways_ccxt_tells_a_step(mode: int, precision: object, step: str) -> None:
    class Exchange:
        id, precisionMode = "some", mode  # noqa: N815 - ccxt's own name

    assert broker._step(Exchange(), precision) == Decimal(step)


def test_an_exchange_without_fixed_steps_is_refused() -> None:
    class Exchange:
        id, precisionMode = "some", 3  # noqa: N815 - ccxt's own name

    with pytest.raises(BrokerError, match="significant"):
        broker._step(Exchange(), "5")
