"""What stand-ins of venues need of the paper venue: all it knows of its orders, what is locked, and faults by name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import ordergate_paper as paper
from ordergate import Holding, InputError, OrderStatus, Receipt, Side, VenueOrder
from ordergate.testing import Rehearsal

Connect = Callable[..., paper.PaperVenue]
MakeOrder = Callable[..., VenueOrder]
PRICES = {"BTC-USD": "50000"}


def test_placed_orders_tell_all_the_venue_knows_of_them(connect: Connect, order: MakeOrder) -> None:
    client = connect(venue="kraken", prices=PRICES)
    bought = paper.place_order(client, order("buy", "BTC-USD", spend="20", id="one"))
    paper.place_order(client, order("sell", "BTC-USD", amount="0.0001", limit="60000", id="two"))

    market, resting = paper.placed_orders(client)

    assert (market.order_id, market.client_order_id, market.symbol) == (bought.order_id, "one", "BTC-USD")
    assert (market.side, market.spend, market.amount, market.limit) == (Side.BUY, Decimal(20), None, None)
    assert (market.wanted, market.filled, market.value) == (Decimal("0.0004"), Decimal("0.0004"), Decimal(20))
    assert (market.fees, market.hold, market.status) == (Decimal("0.16"), Decimal(0), OrderStatus.FILLED)
    assert market.receipt() == bought
    assert (resting.hold, resting.left, resting.status) == (Decimal("0.0001"), Decimal("0.0001"), OrderStatus.OPEN)
    assert [one.client_order_id for one in paper.placed_orders(client, since=market.placed_at)] == ["one", "two"]
    assert paper.placed_orders(client, since=market.placed_at + 1) == []


def test_what_is_locked_is_part_of_the_account_and_cannot_be_sold(connect: Connect, order: MakeOrder) -> None:
    client = connect(prices=PRICES, positions={"BTC-USD": "0.001"}, locked={"BTC": "0.5", "ETH": "2"})

    report = paper.get_account(client)
    sold = paper.place_order(client, order("sell", "BTC-USD", amount="0.0011"))

    assert [holding for holding in report.holdings if holding.currency != "USD"] == [
        Holding(currency="BTC", available=Decimal("0.001"), locked=Decimal("0.5")),
        Holding(currency="ETH", available=Decimal(0), locked=Decimal(2)),
    ]
    assert (sold.status, sold.code) == (OrderStatus.REJECTED, "INSUFFICIENT_FUND")


@pytest.mark.parametrize("locked", [{"ETH": "-1"}, {"ETH": 0.5}, {"ETH USD": "1"}])
def test_a_locked_amount_that_makes_no_sense_is_an_error(locked: dict[str, object]) -> None:
    with pytest.raises(InputError):
        paper.Settings(locked=locked)


def test_binance_keeps_its_cash_in_usdt_and_says_no_in_its_own_words(connect: Connect, order: MakeOrder) -> None:
    client = connect(venue="binance", cash="100", prices={"BTC-USDT": "50000"})

    codes = [
        paper.place_order(client, order("buy", "BTC-USDT", **fields)).code
        for fields in ({"spend": "4.99"}, {"spend": "101"}, {"amount": "0.000011", "limit": "1"}, {"spend": "100"})
    ]

    assert codes == [
        "-1013 Filter failure: NOTIONAL",
        "-2010 Account has insufficient balance for requested action.",
        "-1013 Filter failure: LOT_SIZE",
        None,
    ]
    # 100 / 1.001 / 50000, down to the step of 0.00001
    assert paper.get_account(client).holdings[0] == Holding(currency="BTC", available=Decimal("0.00199"))


def test_binance_takes_an_id_again_only_when_the_first_order_is_done(connect: Connect, order: MakeOrder) -> None:
    client = connect(venue="binance", prices={"BTC-USDT": "50000"})
    resting = order("buy", "BTC-USDT", amount="0.001", limit="40000", id="same")
    paper.place_order(client, resting)

    again = paper.place_order(client, resting)
    paper.cancel_order(client, resting)
    later = paper.place_order(client, resting)

    assert (again.status, again.code) == (OrderStatus.REJECTED, "-2010 Duplicate order sent.")
    assert later.status is OrderStatus.OPEN


# --- the rehearsal


def sent(client: paper.PaperVenue, id: str, **fields: Any) -> VenueOrder:  # noqa: A002 - its name on orders
    plain = VenueOrder(
        account="main",
        symbol="BTC-USD",
        side=Side.BUY,
        spend=Decimal(20),
        amount=None,
        limit=None,
        client_order_id=id,
        send_by=client.clock.now() + 30,
    )
    return evolve(plain, **fields)


def rehearsed(folder: Path) -> tuple[Rehearsal, paper.PaperVenue]:
    made = paper.rehearse(folder)
    return made, paper.connect(paper.Settings(**made.settings))  # type: ignore[arg-type]  # values as a config gives them


def test_a_rehearsal_begins_as_all_of_them_do(tmp_path: Path) -> None:
    with paper.rehearse(tmp_path) as made:
        client = paper.connect(paper.Settings(**made.settings))  # type: ignore[arg-type]  # values as a config gives them
        held = {one.currency: one.available for one in paper.get_account(client).holdings}
        prices = {price.symbol: price.ask for price in paper.get_prices(client, ["BTC-USD", "ETH-USD"])}

        assert held == {"USD": Decimal(1000), "BTC": Decimal("0.01")}
        assert prices == {"BTC-USD": Decimal(50000), "ETH-USD": Decimal(2500)}
        assert (made.requests(), list(made.orders())) == (0, [])


@pytest.mark.parametrize(("taken", "orders"), [(True, 1), (False, 0)])
def test_a_rehearsed_cut_is_a_time_out_taken_or_not(tmp_path: Path, taken: bool, orders: int) -> None:
    made, client = rehearsed(tmp_path)
    made.fail("cut", taken=taken)

    with pytest.raises(TimeoutError):
        paper.place_order(client, sent(client, "one"))

    assert (made.requests(), len(made.orders())) == (1, orders)


@pytest.mark.parametrize(("taken", "orders"), [(True, 1), (False, 0)])
def test_clearing_lets_a_hang_go_in_every_client(tmp_path: Path, taken: bool, orders: int) -> None:
    made, client = rehearsed(tmp_path)
    made.fail("hang", taken=taken)
    ended: list[BaseException] = []

    def hang() -> None:
        try:
            paper.place_order(client, sent(client, "one"))
        except TimeoutError as error:
            ended.append(error)

    thread = threading.Thread(target=hang, daemon=True)
    thread.start()
    for _ in range(3000):
        thread.join(0.01)
        if made.requests():
            break
    assert thread.is_alive()
    made.clear()
    thread.join(30)

    assert len(ended) == 1
    assert len(made.orders()) == orders


def test_rehearsed_lies_and_errors_are_those_of_the_paper_venue(tmp_path: Path) -> None:
    made, client = rehearsed(tmp_path)

    made.fail("error", text="INSUFFICIENT_FUND")
    rejected = paper.place_order(client, sent(client, "one"))
    made.fail("empty_object")
    nonsense: object = paper.place_order(client, sent(client, "two"))
    made.fail("other_id")
    other = paper.place_order(client, sent(client, "three"))
    made.fail("other_size")
    double = paper.place_order(client, sent(client, "four"))
    made.fail("hidden", on="find")
    hidden = paper.find_order(client, sent(client, "two"))

    assert (rejected.status, rejected.code) == (OrderStatus.REJECTED, "INSUFFICIENT_FUND")
    assert not isinstance(nonsense, Receipt)
    assert other.client_order_id != "three"
    assert double.spend == Decimal(40)
    assert hidden is None
    assert paper.find_order(client, sent(client, "two")) is not None


def test_facts_go_down_on_request(tmp_path: Path) -> None:
    made, client = rehearsed(tmp_path)
    made.fail("cut", on="account", times=None)

    with pytest.raises(Exception, match="accounts_down"):
        paper.get_account(client)
    made.clear()

    assert paper.get_account(client).holdings


@pytest.mark.parametrize("fault", [("cut_body", "place"), ("cut", "cancel"), ("nonsense", "place")])
def test_what_has_no_wire_cannot_be_cut(tmp_path: Path, fault: tuple[str, str]) -> None:
    with paper.rehearse(tmp_path) as made, pytest.raises(InputError, match="cannot act that out"):
        made.fail(fault[0], on=fault[1])


def test_a_told_price_fills_what_it_reaches(tmp_path: Path) -> None:
    made, client = rehearsed(tmp_path)
    limit = sent(client, "one", spend=None, amount=Decimal("0.001"), limit=Decimal(49000))
    paper.place_order(client, limit)

    made.set_price("BTC-USD", "48000")

    assert [one.status for one in made.orders()] == [OrderStatus.FILLED]
