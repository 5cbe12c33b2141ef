"""Recorded answers of Coinbase itself, as public repositories keep them, read by the broker through its SDK."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ordergate_coinbase as coinbase
from ordergate import BrokerError, MarketStatus, OrderStatus, Side, VenueOrder

RECORDED = Path(__file__).parents[2] / "recorded"
Script = Callable[..., tuple[coinbase.Client, Any]]


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"coinbase_http_{name}.json").read_text(encoding="utf-8"))


def test_accounts_as_coinbase_lists_them(scripted: Script) -> None:
    client, _ = scripted(
        {
            "/accounts": recorded("accounts"),
            "/key_permissions": {"portfolio_uuid": "portfolio-001"},
            "/orders/historical/batch": {"orders": [], "has_next": False, "cursor": ""},
        }
    )

    report = coinbase.get_account(client)

    assert {one.currency: (one.available, one.hold, one.locked) for one in report.holdings} == {
        "BTC": (Decimal("1.23456789"), Decimal("0.005"), Decimal(0)),
        "USD": (Decimal("10000.50"), Decimal(450), Decimal(0)),
    }


def test_a_product_as_coinbase_shows_it(scripted: Script) -> None:
    client, _ = scripted({"/products/BTC-USD": recorded("product")})

    market = coinbase.get_market(client, "BTC-USD")

    assert market is not None
    assert (market.base, market.quote, market.status) == ("BTC", "USD", MarketStatus.ONLINE)
    assert (market.amount_step, market.spend_step, market.price_step) == (
        Decimal("0.00000001"),
        Decimal("0.01"),
        Decimal("0.01"),
    )
    assert (market.min_spend, market.max_spend, market.max_amount) == (Decimal(1), Decimal(150_000_000), Decimal(3400))


def test_orders_as_coinbase_lists_them(scripted: Script) -> None:
    client, _ = scripted({"/orders/historical/batch": recorded("orders_list")})

    bought, sold = coinbase.list_orders(client, 0.0)

    assert (bought.order_id, bought.symbol, bought.side) == ("0000-000000-000001", "BTC-USD", Side.BUY)
    assert (bought.status, bought.amount, bought.limit) == (OrderStatus.OPEN, Decimal("0.01"), Decimal(45000))
    assert (sold.side, sold.status, sold.spend) == (Side.SELL, OrderStatus.FILLED, Decimal(100))
    assert (sold.filled_amount, sold.filled_value, sold.fees) == (Decimal("0.0325"), Decimal(100), Decimal("0.50"))


def test_an_order_that_its_recorded_fills_show_is_found(scripted: Script) -> None:
    client, _ = scripted(
        {
            "/orders/historical/batch": {"orders": [], "has_next": False, "cursor": ""},
            "/orders/historical/fills": recorded("fills"),
            "/orders/historical/0000-000000-000000": recorded("order"),
            "/orders/historical/0000-000000-000002": {"order": recorded("orders_list")["orders"][1]},
        }
    )
    sent = VenueOrder(
        account="main",
        symbol="BTC-USD",
        side=Side.BUY,
        spend=None,
        amount=Decimal("0.001"),
        limit=Decimal(10000),
        client_order_id="11111-000000-000000",
        send_by=1_622_455_199.0,
    )

    found = coinbase.find_order(client, sent)

    assert found is not None
    assert (found.order_id, found.status) == ("0000-000000-000000", OrderStatus.PARTLY_FILLED)
    assert (found.amount, found.limit, found.fees) == (sent.amount, sent.limit, Decimal("5.00"))


@pytest.mark.parametrize("name", ["accounts", "orders_list"])
def test_half_of_a_recorded_answer_is_none(scripted: Script, name: str) -> None:
    whole = recorded(name)
    listing = "accounts" if name == "accounts" else "orders"
    halved = {**whole, listing: whole[listing][:1], "has_next": True}
    client, _ = scripted({"/accounts": halved, "/orders/historical/batch": halved})

    with pytest.raises(BrokerError, match="there is more"):
        coinbase.get_account(client) if name == "accounts" else coinbase.list_orders(client, 0.0)
