"""A rejected order's place, free by newer facts and still taken by older ones that are kept, given away twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from ordergate import Decision, Executor, Order, OrderStatus, Receipt
from ordergate.broker import Broker
from ordergate.facts import Facts, FactsReader
from ordergate.models import VenueOrder

Gate = Callable[..., Executor]

BTC, ETH, SOL = (partial(Order.buy, f"{coin}-USD", spend="50") for coin in ("BTC", "ETH", "SOL"))


@pytest.fixture
def capped(gate: Gate) -> Callable[[], Executor]:
    """An executor that allows one position and keeps facts for longer than a test takes."""
    return partial(gate, rules=("position_cap",), settings={"max_positions": 1, "facts_cache": 4.0})


def rejected(self: Broker, order: VenueOrder, seconds: float) -> Receipt:
    return Receipt(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        status=OrderStatus.REJECTED,
        code="no",
        message="no",
    )


def buy_eth_and_meanwhile_sol(
    executor: Executor, other: Executor, monkeypatch: pytest.MonkeyPatch
) -> tuple[Decision, Decision]:
    """The other submits a buy of SOL while the executor's buy of ETH is on its way to the venue."""
    real = Broker.place_order
    meanwhile: list[Decision] = []

    def place(self: Broker, order: VenueOrder, seconds: float) -> Receipt:
        if order.symbol == "ETH-USD":
            meanwhile.append(other.submit(SOL(client_order_id="sol-2")))
        return real(self, order, seconds)

    monkeypatch.setattr(Broker, "place_order", place)
    return executor.submit(ETH(client_order_id="eth")), meanwhile[0]


def held(executor: Executor) -> set[str]:
    executor.desk.forget("main")
    report = executor.check(BTC()).facts
    assert report is not None
    return {position.currency for position in report.positions}


def test_the_place_of_a_rejected_order_is_taken_twice_by_two_processes(
    capped: Callable[[], Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one kept its facts of SOL from before the rejection."""
    one, other = capped(), capped()
    assert other.check(SOL()).status == "approved"
    with monkeypatch.context() as patched:
        patched.setattr(Broker, "place_order", rejected)
        assert one.submit(SOL(client_order_id="sol-1")).status == "rejected"
    eth, sol = buy_eth_and_meanwhile_sol(one, other, monkeypatch)
    assert (eth.status, sol.status) == ("filled", "refused")
    assert held(one) == {"ETH"}


def test_the_place_of_a_rejected_order_is_taken_twice_in_one_process(
    capped: Callable[[], Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts of SOL that another thread fetched before the rejection are kept after it."""
    executor = capped()
    executor.check(BTC())
    real = FactsReader.read
    fetched, go_on = threading.Event(), threading.Event()

    def read(self: FactsReader, symbol: str | None, **more: bool) -> Facts:
        facts = real(self, symbol, **more)
        if threading.current_thread() is slow:
            fetched.set()
            assert go_on.wait(30)
        return facts

    slow = threading.Thread(target=lambda: executor.check(SOL()), daemon=True)
    with monkeypatch.context() as patched:
        patched.setattr(FactsReader, "read", read)
        slow.start()
        assert fetched.wait(30)
        patched.setattr(Broker, "place_order", rejected)
        assert executor.submit(SOL(client_order_id="sol-1")).status == "rejected"
        go_on.set()
        slow.join(30)
    eth, sol = buy_eth_and_meanwhile_sol(executor, executor, monkeypatch)
    assert (eth.status, sol.status) == ("filled", "refused")
    assert held(executor) == {"ETH"}
