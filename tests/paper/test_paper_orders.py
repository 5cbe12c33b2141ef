"""What the paper venue takes, fills, holds and rejects."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

import ordergate_paper as paper
from ordergate import BrokerError, OrderStatus, Receipt, VenueOrder

Connect = Callable[..., paper.PaperVenue]
MakeOrder = Callable[..., VenueOrder]
Balances = Callable[[paper.PaperVenue], dict[str, tuple[str, str]]]

PRICES = {"BTC-USD": "68925.98", "ETH-USD": "3500.00"}


def amounts(receipt: Receipt) -> tuple[Decimal, Decimal, Decimal]:
    return receipt.filled_amount, receipt.filled_value, receipt.fees


# --- market orders


def test_coinbase_takes_the_fee_of_a_market_buy_out_of_the_spend(
    connect: Connect, order: MakeOrder, balances: Balances
) -> None:
    client = connect(cash="300.00", prices=PRICES)

    receipt = paper.place_order(client, order("buy", "BTC-USD", spend="20"))

    # 20 / 1.009 / 68925.98 = 0.000287578..., down to the step; with 0.9 % just under 20, up to the cent.
    assert receipt.status is OrderStatus.FILLED
    assert amounts(receipt) == (Decimal("0.00028757"), Decimal("19.83"), Decimal("0.17"))
    assert balances(client) == {"BTC": ("0.00028757", "0"), "USD": ("2.8E+2", "0")}


def test_kraken_takes_the_fee_of_a_market_buy_on_top_of_the_spend(
    connect: Connect, order: MakeOrder, balances: Balances
) -> None:
    client = connect(venue="kraken", cash="300.00", prices=PRICES)

    receipt = paper.place_order(client, order("buy", "BTC-USD", spend="20"))

    # 20 / 68925.98 = 0.000290166..., down to the lot: 19.9995623..., and 0.8 % of that, up to 0.00001.
    assert amounts(receipt) == (Decimal("0.00029016"), Decimal("19.99957"), Decimal("0.15999"))
    assert balances(client)["USD"] == ("279.84044", "0")


def test_kraken_wants_the_fee_to_be_covered_beside_the_spend(connect: Connect, order: MakeOrder) -> None:
    client = connect(venue="kraken", cash="100", prices=PRICES)

    short = paper.place_order(client, order("buy", "BTC-USD", spend="99.3"))
    enough = paper.place_order(client, order("buy", "BTC-USD", spend="99.2"))

    assert (short.status, short.code) == (OrderStatus.REJECTED, "EOrder:Insufficient funds")
    assert enough.status is OrderStatus.FILLED


def test_coinbase_lets_all_cash_be_spent(connect: Connect, order: MakeOrder) -> None:
    client = connect(cash="100", prices=PRICES)

    assert paper.place_order(client, order("buy", "BTC-USD", spend="100")).status is OrderStatus.FILLED


@pytest.mark.parametrize(("venue", "earned"), [("coinbase", "34.68"), ("kraken", "34.72")])
def test_a_sell_pays_its_fee_from_what_it_earns(
    connect: Connect, order: MakeOrder, balances: Balances, venue: str, earned: str
) -> None:
    client = connect(venue=venue, cash="0", positions={"ETH-USD": "0.01"}, prices=PRICES)

    receipt = paper.place_order(client, order("sell", "ETH-USD", amount="0.01"))

    assert receipt.status is OrderStatus.FILLED
    assert balances(client) == {"USD": (earned, "0")}
    assert receipt.filled_value - receipt.fees == Decimal(earned)


def test_a_market_order_pays_the_spread(connect: Connect, order: MakeOrder) -> None:
    client = connect(positions={"ETH-USD": "1"}, prices={"ETH-USD": "1000"}, spread="0.01")

    (price,) = paper.get_prices(client, ["ETH-USD"])
    bought = paper.place_order(client, order("buy", "ETH-USD", spend="100.9"))
    sold = paper.place_order(client, order("sell", "ETH-USD", amount="0.1"))

    assert (price.bid, price.ask, price.at) == (Decimal(995), Decimal(1005), None)
    assert bought.filled_amount == Decimal("0.09950248")  # 100 USD at 1005
    assert sold.filled_value == Decimal("99.50")


def test_what_a_market_order_cannot_fill_is_cancelled(connect: Connect, order: MakeOrder, balances: Balances) -> None:
    client = connect(positions={"ETH-USD": "1"}, prices=PRICES)
    paper.set_price(client, "ETH-USD", "1000", liquidity="0.3")

    first = paper.place_order(client, order("sell", "ETH-USD", amount="0.5"))
    nothing_left = paper.place_order(client, order("sell", "ETH-USD", amount="0.5"))

    assert (first.status, first.filled_amount) == (OrderStatus.CANCELLED, Decimal("0.3"))
    assert (nothing_left.status, nothing_left.filled_amount) == (OrderStatus.CANCELLED, Decimal(0))
    assert balances(client)["ETH"] == ("0.7", "0")


# --- limit orders


def test_a_crossing_limit_buy_fills_at_the_better_price_as_taker(
    connect: Connect, order: MakeOrder, balances: Balances
) -> None:
    client = connect(cash="300", prices={"ETH-USD": "1000"})

    receipt = paper.place_order(client, order("buy", "ETH-USD", amount="0.1", limit="1100"))

    assert (receipt.status, *amounts(receipt)) == (
        OrderStatus.FILLED,
        Decimal("0.1"),
        Decimal(100),
        Decimal("0.9"),
    )
    assert balances(client)["USD"] == ("199.1", "0")


def test_a_resting_buy_holds_its_cost_and_fills_as_maker_at_its_limit(
    connect: Connect, order: MakeOrder, balances: Balances
) -> None:
    client = connect(cash="300", prices={"ETH-USD": "1000"})
    resting = order("buy", "ETH-USD", amount="0.1", limit="900")

    assert paper.place_order(client, resting).status is OrderStatus.OPEN
    assert balances(client) == {"USD": ("209.55", "90.45")}
    (seen,) = paper.get_account(client).open_orders
    assert (seen.client_order_id, seen.amount_left, seen.limit) == (
        resting.client_order_id,
        Decimal("0.1"),
        Decimal(900),
    )

    assert paper.set_price(client, "ETH-USD", "900.01") == ()
    (filled,) = paper.set_price(client, "ETH-USD", "850")

    assert (filled.status, *amounts(filled)) == (
        OrderStatus.FILLED,
        Decimal("0.1"),
        Decimal(90),
        Decimal("0.45"),
    )
    assert balances(client) == {"ETH": ("0.1", "0"), "USD": ("209.55", "0")}
    assert paper.get_account(client).open_orders == ()


def test_a_resting_sell_holds_its_amount_and_fills_when_the_price_rises(
    connect: Connect, order: MakeOrder, balances: Balances
) -> None:
    client = connect(cash="0", positions={"ETH-USD": "0.3"}, prices={"ETH-USD": "1000"})

    paper.place_order(client, order("sell", "ETH-USD", amount="0.1", limit="1100"))
    assert balances(client) == {"ETH": ("0.2", "0.1")}
    paper.set_price(client, "ETH-USD", "1200")

    assert balances(client) == {"ETH": ("0.2", "0"), "USD": ("109.45", "0")}


def test_held_funds_cannot_be_used_twice(connect: Connect, order: MakeOrder) -> None:
    client = connect(cash="100", positions={"ETH-USD": "0.1"}, prices={"ETH-USD": "1000"})
    paper.place_order(client, order("buy", "ETH-USD", amount="0.09", limit="900"))
    paper.place_order(client, order("sell", "ETH-USD", amount="0.08", limit="2000"))

    buy = paper.place_order(client, order("buy", "ETH-USD", spend="50"))
    sell = paper.place_order(client, order("sell", "ETH-USD", amount="0.03"))

    assert [buy.code, sell.code] == ["INSUFFICIENT_FUND", "INSUFFICIENT_FUND"]


def test_a_resting_order_fills_in_parts_and_frees_its_hold_in_parts(
    connect: Connect, order: MakeOrder, balances: Balances
) -> None:
    client = connect(cash="300", prices={"ETH-USD": "1000"})
    resting = order("buy", "ETH-USD", amount="0.1", limit="900")
    paper.place_order(client, resting)

    (part,) = paper.set_price(client, "ETH-USD", "900", liquidity="0.04")

    assert (part.status, part.filled_amount) == (OrderStatus.PARTLY_FILLED, Decimal("0.04"))
    assert balances(client) == {"ETH": ("0.04", "0"), "USD": ("209.55", "54.27")}
    assert paper.get_account(client).open_orders[0].amount_left == Decimal("0.06")

    cancelled = paper.cancel_order(client, resting)

    assert (cancelled.status, cancelled.filled_amount) == (OrderStatus.CANCELLED, Decimal("0.04"))
    assert balances(client)["USD"] == ("263.82", "0")


def test_a_limit_buy_that_crosses_into_thin_liquidity_rests_with_the_remainder(
    connect: Connect, order: MakeOrder
) -> None:
    client = connect(cash="300", prices={"ETH-USD": "1000"})
    paper.set_price(client, "ETH-USD", "1000", liquidity="0.05")

    first = paper.place_order(client, order("buy", "ETH-USD", amount="0.1", limit="1000"))
    (last,) = paper.set_price(client, "ETH-USD", "1000")

    assert (first.status, first.fees) == (OrderStatus.PARTLY_FILLED, Decimal("0.45"))  # taker: 0.9 % of 50
    assert (last.status, last.fees) == (OrderStatus.FILLED, Decimal("0.70"))  # and maker: 0.5 % of 50


def test_the_best_limit_is_filled_first_then_the_oldest(connect: Connect, order: MakeOrder) -> None:
    client = connect(cash="1000", prices={"ETH-USD": "1000"})
    placed = [
        paper.place_order(client, order("buy", "ETH-USD", amount="0.1", limit=limit)) for limit in ("900", "950", "950")
    ]

    filled = paper.set_price(client, "ETH-USD", "800", liquidity="0.25")

    assert [receipt.order_id for receipt in filled] == [
        placed[1].order_id,
        placed[2].order_id,
        placed[0].order_id,
    ]
    assert [receipt.status for receipt in filled] == [
        OrderStatus.FILLED,
        OrderStatus.FILLED,
        OrderStatus.PARTLY_FILLED,
    ]


def test_a_limit_order_may_rest_in_a_market_without_a_price(connect: Connect, order: MakeOrder) -> None:
    client = connect()

    assert paper.place_order(client, order("buy", "ETH-USD", amount="0.1", limit="900")).status is OrderStatus.OPEN


def test_replay_fills_resting_orders_along_the_path(connect: Connect, order: MakeOrder) -> None:
    client = connect(cash="300", prices={"ETH-USD": "1000"})
    buy = paper.place_order(client, order("buy", "ETH-USD", amount="0.1", limit="900"))

    changed = paper.replay(client, [(1.0, "ETH-USD", "950"), (2.0, "ETH-USD", "899"), (3.0, "ETH-USD", "990")])

    assert [receipt.order_id for receipt in changed] == [buy.order_id]
    assert paper.get_prices(client, ["ETH-USD"])[0].bid == Decimal(990)


# --- cancels and look-ups


def test_cancelling_again_or_after_the_fill_says_how_it_stands(connect: Connect, order: MakeOrder) -> None:
    client = connect(prices=PRICES)
    resting, done = order("buy", "ETH-USD", amount="0.1", limit="900"), order("buy", "ETH-USD", spend="10")
    paper.place_order(client, resting)
    paper.place_order(client, done)

    statuses = [paper.cancel_order(client, each).status for each in (resting, resting, done)]

    assert statuses == [OrderStatus.CANCELLED, OrderStatus.CANCELLED, OrderStatus.FILLED]


def test_cancelling_an_unknown_order_is_an_error_not_a_receipt(connect: Connect, order: MakeOrder) -> None:
    with pytest.raises(BrokerError, match="no order with the id nobody"):
        paper.cancel_order(connect(), order("buy", "ETH-USD", spend="10", id="nobody"))


def test_find_order_sees_open_and_finished_ones_and_repeats_the_terms(connect: Connect, order: MakeOrder) -> None:
    client = connect(prices=PRICES)
    sent = [
        order("buy", "ETH-USD", amount="0.1", limit="900"),
        order("buy", "ETH-USD", spend="10"),
    ]
    receipts = [paper.place_order(client, each) for each in sent]

    assert [paper.find_order(client, each) for each in sent] == receipts
    assert [(each.spend, each.amount, each.limit) for each in receipts] == [
        (each.spend, each.amount, each.limit) for each in sent
    ]
    assert paper.find_order(client, order("buy", "ETH-USD", spend="10")) is None


def test_list_orders_has_every_order_taken_and_no_rejected_one(connect: Connect, order: MakeOrder) -> None:
    client = connect(cash="100", prices=PRICES)
    taken = paper.place_order(client, order("buy", "ETH-USD", spend="10"))
    paper.place_order(client, order("buy", "ETH-USD", spend="1000"))

    assert paper.list_orders(client, client.clock.now()) == [taken]
    assert paper.list_orders(client, client.clock.now() + 1) == []
    assert (paper.count_orders(client), paper.count_requests(client)) == (1, 2)


# --- ids and deadlines


def test_coinbase_answers_a_known_id_with_the_original_order(connect: Connect, order: MakeOrder) -> None:
    client = connect(cash="100", prices=PRICES)
    first = paper.place_order(client, order("buy", "ETH-USD", spend="10", id="same"))

    again = paper.place_order(client, order("buy", "ETH-USD", spend="20", id="same", send_by=0.0))

    assert again == first
    assert (paper.count_orders(client), paper.count_requests(client)) == (1, 2)


def test_kraken_rejects_a_known_id_only_while_the_first_order_is_open(connect: Connect, order: MakeOrder) -> None:
    client = connect(venue="kraken", prices=PRICES)
    resting = order("buy", "ETH-USD", amount="0.01", limit="900", id="same")
    first = paper.place_order(client, resting)

    repeated = paper.place_order(client, resting)
    paper.cancel_order(client, resting)
    second = paper.place_order(client, resting)

    assert repeated.code == "EGeneral:Invalid arguments:cl_ord_id not unique"
    assert (second.status, paper.count_orders(client)) == (OrderStatus.OPEN, 2)
    assert second.order_id != first.order_id
    assert paper.find_order(client, resting) == second


@pytest.mark.parametrize("send_by", [1_799_999_999.9, float("nan")])
def test_an_order_after_its_send_by_time_is_rejected(connect: Connect, order: MakeOrder, send_by: float) -> None:
    client = connect(prices=PRICES)

    late = paper.place_order(client, order("buy", "ETH-USD", spend="10", send_by=send_by))
    in_time = paper.place_order(client, order("buy", "ETH-USD", spend="10", send_by=client.clock.now()))

    assert (late.status, late.code) == (OrderStatus.REJECTED, "deadline_elapsed")
    assert in_time.status is OrderStatus.FILLED


# --- rejections

REJECTIONS = [
    ("coinbase", {"spend": "1000.01"}, "INSUFFICIENT_FUND"),
    ("coinbase", {"spend": "0.99"}, "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL"),
    ("coinbase", {"spend": "10.001"}, "PREVIEW_INVALID_QUOTE_SIZE_PRECISION"),
    ("coinbase", {"spend": "150000000.01"}, "PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE"),
    ("coinbase", {"amount": "0.000000001", "limit": "60000"}, "INVALID_SIZE_PRECISION"),
    ("coinbase", {"amount": "0.001", "limit": "60000.001"}, "INVALID_PRICE_PRECISION"),
    ("coinbase", {"amount": "3400.1", "limit": "1"}, "PREVIEW_INVALID_BASE_SIZE_TOO_LARGE"),
    ("coinbase", {"spend": "10", "limit": "60000"}, "UNSUPPORTED_ORDER_CONFIGURATION"),
    ("coinbase", {"amount": "0.001"}, "UNSUPPORTED_ORDER_CONFIGURATION"),
    ("coinbase", {"side": "sell", "spend": "10"}, "UNSUPPORTED_ORDER_CONFIGURATION"),
    ("coinbase", {"side": "sell", "amount": "0.001"}, "INSUFFICIENT_FUND"),
    ("coinbase", {"symbol": "NOPE-USD", "spend": "10"}, "PREVIEW_INVALID_PRODUCT_ID"),
    ("coinbase", {"symbol": "SOL-USD", "spend": "10"}, "ORDER_ENTRY_DISABLED"),
    ("kraken", {"spend": "1000"}, "EOrder:Insufficient funds"),
    ("kraken", {"spend": "0.49"}, "EOrder:Cost minimum not met"),
    ("kraken", {"spend": "3.4"}, "EOrder:Order minimum not met"),  # 3.4 USD are under 0.00005 BTC
    ("kraken", {"spend": "10.000001"}, "EGeneral:Invalid arguments:volume"),
    ("kraken", {"amount": "0.00004999", "limit": "60000"}, "EOrder:Order minimum not met"),
    ("kraken", {"amount": "0.001", "limit": "60000.01"}, "EOrder:Tick size check failed"),
    ("kraken", {"spend": "10", "limit": "60000"}, "EGeneral:Invalid arguments:viqc"),
    ("kraken", {"symbol": "NOPE-USD", "spend": "10"}, "EQuery:Unknown asset pair"),
    ("kraken", {"symbol": "SOL-USD", "spend": "10"}, "EService:Market in limit_only mode"),
]


@pytest.mark.parametrize(("venue", "fields", "code"), REJECTIONS)
def test_rejections_speak_the_words_of_the_venue_and_change_nothing(
    connect: Connect, order: MakeOrder, balances: Balances, venue: str, fields: dict[str, str], code: str
) -> None:
    client = connect(venue=venue, cash="1000", prices=PRICES)
    sent = order(**{"side": "buy", "symbol": "BTC-USD", **fields})

    receipt = paper.place_order(client, sent)

    assert (receipt.status, receipt.code, receipt.order_id) == (OrderStatus.REJECTED, code, None)
    assert receipt.message
    assert balances(client) == {"USD": ("1E+3", "0")}
    assert (paper.count_orders(client), paper.count_requests(client)) == (0, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"spend": Decimal("NaN")},
        {"spend": Decimal("Infinity")},
        {"spend": Decimal(-10)},
        {"spend": Decimal(0)},
        {"spend": 10.0},
        {"spend": "10"},
        {"client_order_id": ""},
        {"side": "LONG"},
    ],
)
def test_s06_nan_and_s03_unknown_side_do_not_pass_the_venue_either(
    connect: Connect, order: MakeOrder, fields: dict[str, Any]
) -> None:
    client = connect(prices=PRICES)

    receipt = paper.place_order(client, evolve(order("buy", "BTC-USD", spend="10"), **fields))

    assert (receipt.status, receipt.code) == (OrderStatus.REJECTED, "INVALID_ARGUMENT")
    assert paper.count_orders(client) == 0


def test_sizes_equal_to_the_minimum_pass(connect: Connect, order: MakeOrder) -> None:
    coinbase = connect(prices=PRICES)
    assert paper.place_order(coinbase, order("buy", "BTC-USD", spend="1")).status is OrderStatus.FILLED

    kraken = connect(venue="kraken", prices=PRICES)
    least = order("buy", "BTC-USD", amount="0.00005", limit="60000")
    assert paper.place_order(kraken, least).status is OrderStatus.OPEN
