"""The example broker keeps the promises that its profile makes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from ordergate import InputError, OrderStatus, Receipt, Side, VenueOrder

NOW = 1_800_000_000.0


@pytest.fixture
def tinyvenue(example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = example("ordergate_tinyvenue")
    clock = SimpleNamespace(now=lambda: NOW, new_id=lambda: "f" * 32)
    monkeypatch.setattr(module, "CLOCK", clock)
    return module


@pytest.fixture
def client(tinyvenue: ModuleType, tmp_path: Path) -> Any:
    return tinyvenue.connect(tinyvenue.Settings(file=tmp_path / "venue.json"))


def order(side: Side = Side.BUY, name: str = "one", **terms: Decimal | None) -> VenueOrder:
    empty: dict[str, Decimal | None] = {"spend": None, "amount": None, "limit": None}
    given = terms or {"spend": Decimal(50)}
    return VenueOrder(
        account="main", symbol="BTC-USD", side=side, client_order_id=name, send_by=NOW + 5, **{**empty, **given}
    )


def balances(tinyvenue: ModuleType, client: Any) -> dict[str, Decimal]:
    return {holding.currency: holding.available for holding in tinyvenue.get_account(client).holdings}


def test_a_buy_and_a_sell(tinyvenue: ModuleType, client: Any) -> None:
    bought: Receipt = tinyvenue.place_order(client, order())
    assert (bought.status, bought.filled_amount, bought.filled_value, bought.fees) == (
        OrderStatus.FILLED,
        Decimal("0.001"),
        Decimal(50),
        Decimal("0.1"),
    )
    assert (bought.spend, bought.amount, bought.limit) == (Decimal(50), None, None)
    assert balances(tinyvenue, client) == {"USD": Decimal("49.9"), "BTC": Decimal("0.001")}
    sold = tinyvenue.place_order(client, order(Side.SELL, "two", amount=Decimal("0.001")))
    assert sold.status is OrderStatus.FILLED
    assert balances(tinyvenue, client) == {"USD": Decimal("99.8"), "BTC": Decimal(0)}


def test_an_id_is_used_once_for_ever(tinyvenue: ModuleType, client: Any) -> None:
    first = tinyvenue.place_order(client, order(spend=Decimal(20)))
    assert tinyvenue.place_order(client, order(spend=Decimal(20))) == first
    assert tinyvenue.place_order(client, order(spend=Decimal(30))) == first, (
        "with its own terms, for the gate to compare"
    )
    assert balances(tinyvenue, client)["BTC"] == Decimal("0.0004")


def test_what_was_taken_can_be_found_and_nothing_else(tinyvenue: ModuleType, client: Any) -> None:
    assert tinyvenue.find_order(client, order()) is None
    placed = tinyvenue.place_order(client, order())
    assert tinyvenue.find_order(client, order()) == placed
    assert tinyvenue.find_order(client, order(name="two")) is None


def test_after_the_send_by_time_nothing_is_taken(tinyvenue: ModuleType, client: Any) -> None:
    late = evolve(order(), send_by=NOW - 0.001)
    receipt = tinyvenue.place_order(client, late)
    assert (receipt.status, receipt.code) == (OrderStatus.REJECTED, "too_late")
    assert tinyvenue.find_order(client, late) is None
    assert balances(tinyvenue, client) == {"USD": Decimal(100)}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (order(spend=Decimal(100)), "insufficient_funds"),
        (order(Side.SELL, amount=Decimal("0.001")), "insufficient_funds"),
        (order(spend=Decimal("0.99")), "too_small"),
        (order(spend=Decimal("20.001")), "too_many_decimals"),
        (order(Side.SELL, amount=Decimal("0.0000001")), "too_many_decimals"),
        (evolve(order(), symbol="DOGE-USD"), "no_such_market"),
    ],
)
def test_rejected_means_certainly_not_taken(tinyvenue: ModuleType, client: Any, wrong: VenueOrder, code: str) -> None:
    receipt = tinyvenue.place_order(client, wrong)
    assert (receipt.status, receipt.code) == (OrderStatus.REJECTED, code)
    assert tinyvenue.find_order(client, wrong) is None
    assert balances(tinyvenue, client) == {"USD": Decimal(100)}


@pytest.mark.parametrize(("limit", "status"), [("49999.99", "cancelled"), ("50000", "filled"), ("60000", "filled")])
def test_a_limit_buy_fills_at_once_or_is_cancelled(tinyvenue: ModuleType, client: Any, limit: str, status: str) -> None:
    receipt = tinyvenue.place_order(client, order(amount=Decimal("0.001"), limit=Decimal(limit)))
    assert receipt.status == status
    assert receipt.filled_value == (Decimal(50) if status == "filled" else Decimal(0))
    assert tinyvenue.cancel_order(client, order()) == receipt


@pytest.mark.parametrize(("limit", "status"), [("50000.01", "cancelled"), ("50000", "filled"), ("1", "filled")])
def test_a_limit_sell_fills_at_once_or_is_cancelled(
    tinyvenue: ModuleType, client: Any, limit: str, status: str
) -> None:
    tinyvenue.place_order(client, order(name="buy"))
    receipt = tinyvenue.place_order(client, order(Side.SELL, amount=Decimal("0.001"), limit=Decimal(limit)))
    assert receipt.status == status


def test_cancelling_an_order_that_is_not_there_is_no_answer(tinyvenue: ModuleType, client: Any) -> None:
    with pytest.raises(LookupError):
        tinyvenue.cancel_order(client, order())


def test_many_threads_spend_no_money_twice(tinyvenue: ModuleType, client: Any) -> None:
    orders = [order(name=f"order-{number}", spend=Decimal(20)) for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        receipts = list(pool.map(lambda each: tinyvenue.place_order(client, each), orders))
    assert [receipt.status for receipt in receipts].count(OrderStatus.FILLED) == 4
    assert balances(tinyvenue, client) == {"USD": Decimal("19.84"), "BTC": Decimal("0.0016")}


def test_the_venue_outlives_its_clients(tinyvenue: ModuleType, client: Any, tmp_path: Path) -> None:
    placed = tinyvenue.place_order(client, order())
    again = tinyvenue.connect(tinyvenue.Settings(file=tmp_path / "venue.json", cash=Decimal(7)))
    assert tinyvenue.find_order(again, order()) == placed
    assert tinyvenue.get_account(again).identity == "f" * 32


def test_markets_and_prices_are_those_of_the_settings(tinyvenue: ModuleType, client: Any) -> None:
    assert tinyvenue.get_market(client, "DOGE-USD") is None
    assert tinyvenue.get_market(client, "BTC-USD").min_spend == Decimal(1)
    assert [price.symbol for price in tinyvenue.get_prices(client, ["DOGE-USD", "BTC-USD"])] == ["BTC-USD"]


def test_a_price_of_nothing_is_refused(tinyvenue: ModuleType) -> None:
    with pytest.raises(InputError, match=r"prices\.BTC-USD"):
        tinyvenue.Settings(prices={"BTC-USD": Decimal(0)})


def test_the_examples_depend_on_ordergate_alone() -> None:
    """What they import is ordergate, what ordergate itself brings, or the standard library."""
    import ast
    import tomllib

    for folder in (Path(__file__).parents[2] / "docs" / "examples").iterdir():
        files = sorted(file.name for file in folder.iterdir() if file.name != "__pycache__")
        assert files == sorted(["pyproject.toml", folder.name.replace("-", "_") + ".py"])
        pyproject = tomllib.loads((folder / "pyproject.toml").read_text())
        assert pyproject["project"]["dependencies"] == ["ordergate>=0.1"]
        tree = ast.parse((folder / files[0]).read_text())
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
        assert {module.partition(".")[0] for module in modules} <= {"ordergate", "attrs", *sys.stdlib_module_names}
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.bases]
