"""Orders: sent once, rejected only where that is certain, found again, cancelled. Each attack goes over a real wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import ordergate_coinbase as coinbase
import ordergate_paper as paper
from ordergate import BrokerError, NotSent, OrderStatus, RateLimited, Receipt, Side, VenueOrder
from ordergate.testing.coinbase import CoinbaseRehearsal
from ordergate.testing.loopback import FAULTS, Reply, Request

Make = Callable[..., VenueOrder]
Script = Callable[..., tuple[coinbase.Client, Any]]

UNKNOWN = "UNKNOWN_FAILURE_REASON"


def accepted(order: VenueOrder, **changes: Any) -> dict[str, Any]:
    """The answer to an order that was taken."""
    told = {
        "order_id": "o-1",
        "product_id": order.symbol,
        "side": order.side.upper(),
        "client_order_id": order.client_order_id,
    }
    return {"success": True, "failure_reason": UNKNOWN, "success_response": {**told, **changes}}


def row(order: VenueOrder, **changes: Any) -> dict[str, Any]:
    """The order as the venue shows it."""
    if order.limit is None:
        size = {"quote_size": str(order.spend)} if order.spend is not None else {"base_size": str(order.amount)}
        configuration: dict[str, Any] = {"market_market_ioc": size}
    else:
        configuration = {"limit_limit_gtc": {"base_size": str(order.amount), "limit_price": str(order.limit)}}
    return {
        "order_id": "o-1",
        "product_id": order.symbol,
        "product_type": "SPOT",
        "side": order.side.upper(),
        "client_order_id": order.client_order_id,
        "status": "FILLED",
        "filled_size": "0.0003964",
        "filled_value": "19.82",
        "total_fees": "0.17838",
        "order_configuration": configuration,
        **changes,
    }


def refused(**reasons: object) -> dict[str, Any]:
    return {"success": False, "failure_reason": UNKNOWN, "error_response": {"message": "", **reasons}}


def listing(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"orders": list(rows), "has_next": False, "cursor": ""}


NO_FILLS: dict[str, Any] = {"fills": [], "cursor": ""}


# --- what goes out


def test_a_market_buy_names_what_it_spends(scripted: Script, order: Make) -> None:
    client, server = scripted({"/orders": lambda _: accepted(order())})

    coinbase.place_order(client, order(spend=Decimal("20.50")))

    assert server.orders() == [
        {
            "client_order_id": order().client_order_id,
            "product_id": "BTC-USD",
            "side": "BUY",
            "order_configuration": {"market_market_ioc": {"quote_size": "20.5"}},
        }
    ]


def test_a_market_sell_names_its_amount(scripted: Script, order: Make) -> None:
    sell = order(side=Side.SELL, spend=None, amount=Decimal("1E-8"))
    client, server = scripted({"/orders": accepted(sell)})

    coinbase.place_order(client, sell)

    (sent,) = server.orders()
    assert sent["side"] == "SELL"
    assert sent["order_configuration"] == {"market_market_ioc": {"base_size": "0.00000001"}}


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_a_limit_order_rests_until_it_is_cancelled(scripted: Script, resting: Make, side: Side) -> None:
    client, server = scripted({"/orders": accepted(resting(side=side))})

    coinbase.place_order(client, resting(side=side))

    (sent,) = server.orders()
    terms = {"base_size": "0.001", "limit_price": "40000", "post_only": False}
    assert sent["order_configuration"] == {"limit_limit_gtc": terms}


def test_a04_sizes_are_text_on_the_wire_to_the_last_digit(scripted: Script, order: Make) -> None:
    client, server = scripted({"/orders": accepted(order())})

    coinbase.place_order(client, order(spend=Decimal("123456789012345678.123456789012345678")))

    (request,) = (one for one in server.requests() if one.method == "POST")
    assert b'"quote_size": "123456789012345678.123456789012345678"' in request.body


def test_c10_the_id_on_the_wire_is_the_one_that_was_given(scripted: Script, order: Make) -> None:
    client, server = scripted({"/orders": lambda request: accepted(order(), **_id_of(request))})

    receipts = [coinbase.place_order(client, order(client_order_id=f"id-{number}")) for number in range(3)]

    assert [sent["client_order_id"] for sent in server.orders()] == ["id-0", "id-1", "id-2"]
    assert [receipt.client_order_id for receipt in receipts] == ["id-0", "id-1", "id-2"]


def _id_of(request: Request) -> dict[str, Any]:
    return {"client_order_id": json.loads(request.body)["client_order_id"]}


def test_c10_an_order_without_an_id_is_not_sent(scripted: Script, order: Make) -> None:
    """The SDK's own method would make one up, which nobody could look for afterwards."""
    client, server = scripted({})

    with pytest.raises(NotSent):
        coinbase.place_order(client, order(client_order_id=""))
    assert server.requests() == ()


@pytest.mark.parametrize(
    "terms",
    [
        {"side": Side.SELL, "spend": Decimal(20)},
        {"side": Side.BUY, "spend": None, "amount": Decimal(1)},
        {"spend": Decimal(20), "limit": Decimal(1)},
        {"spend": None},
    ],
    ids=["sell-by-spend", "market-buy-by-amount", "limit-by-spend", "no-size"],
)
def test_f06_units_that_the_venue_would_read_otherwise_are_not_sent(
    scripted: Script, order: Make, terms: dict[str, Any]
) -> None:
    client, server = scripted({})

    with pytest.raises(NotSent):
        coinbase.place_order(client, order(**terms))
    assert server.requests() == ()


# --- what comes back


def test_an_order_that_filled_is_told_with_its_figures(client: coinbase.Client, order: Make) -> None:
    receipt = coinbase.place_order(client, order())

    assert receipt.status is OrderStatus.FILLED
    assert receipt.filled_value + receipt.fees == receipt.spend == Decimal(20), "fees are inside"
    assert receipt.filled_amount > 0


def test_an_order_that_rests_is_open(client: coinbase.Client, resting: Make) -> None:
    receipt = coinbase.place_order(client, resting())

    assert (receipt.status, receipt.amount, receipt.limit) == (OrderStatus.OPEN, Decimal("0.001"), Decimal(40000))


@pytest.mark.parametrize(
    ("word", "filled", "status"),
    [
        ("PENDING", "0", OrderStatus.OPEN),
        ("QUEUED", "0", OrderStatus.OPEN),
        ("OPEN", "0", OrderStatus.OPEN),
        ("OPEN", "0.1", OrderStatus.PARTLY_FILLED),
        ("CANCEL_QUEUED", "0", OrderStatus.OPEN),
        ("CANCEL_QUEUED", "0.1", OrderStatus.PARTLY_FILLED),
        ("FILLED", "0.1", OrderStatus.FILLED),
        ("CANCELLED", "0.1", OrderStatus.CANCELLED),
        ("CANCELLED", "", OrderStatus.CANCELLED),
        ("EXPIRED", "0", OrderStatus.EXPIRED),
        ("FAILED", "0", OrderStatus.REJECTED),
        ("FAILED", "0.1", OrderStatus.CANCELLED),
    ],
)
def test_c13_the_venues_words_for_how_an_order_stands(
    scripted: Script, resting: Make, word: str, filled: str, status: OrderStatus
) -> None:
    shown = row(resting(), status=word, filled_size=filled)
    client, _ = scripted({"/orders": accepted(resting()), "/orders/historical/o-1": {"order": shown}})

    receipt = coinbase.place_order(client, resting())

    assert (receipt.status, receipt.order_id) == (status, "o-1")
    assert (receipt.code is not None) is (status is OrderStatus.REJECTED)


@pytest.mark.parametrize(
    "shown",
    [
        (503, "UNAVAILABLE", ""),
        (404, "NOT_FOUND", "order not found"),
        Reply(b"<html>"),
        Reply(b"[" * 100_000),
        {},
        {"order": {}},
        {"order": None},
        lambda _: {"order": {"order_id": "o-2"}},
        lambda _: {"order": {"order_id": "o-1", "status": "UNKNOWN_ORDER_STATUS"}},
    ],
    ids=["away", "late", "page", "bomb", "empty", "no-row", "null", "another", "odd-status"],
)
def test_c08_an_order_that_was_taken_stays_taken_when_it_cannot_be_read(
    scripted: Script, order: Make, shown: object
) -> None:
    client, server = scripted({"/orders": accepted(order()), "/orders/historical/o-1": shown})

    receipt = coinbase.place_order(client, order())

    assert (receipt.status, receipt.order_id) == (OrderStatus.OPEN, "o-1")
    assert len(server.orders()) == 1


def test_c05_another_order_that_is_shown_for_it_is_not_believed(scripted: Script, order: Make) -> None:
    another = {"order": row(order(), order_id="o-2")}
    client, _ = scripted({"/orders": accepted(order()), "/orders/historical/o-1": another})

    receipt = coinbase.place_order(client, order())

    assert (receipt.status, receipt.order_id) == (OrderStatus.OPEN, "o-1")


def test_an_order_that_shows_late_is_looked_at_again(scripted: Script, order: Make) -> None:
    shown = iter([None, {"order": row(order(), status="PENDING", filled_size="0")}])
    client, _ = scripted(
        {"/orders": accepted(order()), "/orders/historical/o-1": lambda _: next(shown, {"order": row(order())})}
    )

    assert coinbase.place_order(client, order()).status is OrderStatus.FILLED


# --- ids that were used before


def test_c11_a_used_id_is_answered_with_the_first_order(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make
) -> None:
    first = coinbase.place_order(client, order())
    second = coinbase.place_order(client, order(spend=Decimal(30)))

    assert len(venue.orders()) == 1
    assert second.order_id == first.order_id
    assert second.spend == Decimal(20), "what counts is the order, not the echo of the request"


@pytest.mark.parametrize(
    "echo",
    [{"side": "SELL"}, {"product_id": "ETH-USD"}, {"client_order_id": "another"}],
    ids=["side", "market", "id"],
)
def test_c05_an_echo_of_another_order_is_told_as_it_is(scripted: Script, order: Make, echo: dict[str, str]) -> None:
    """The gate compares the receipt with what it sent, and closes the account over this one."""
    client, _ = scripted({"/orders": accepted(order(), **echo), "/orders/historical/o-1": {"order": row(order())}})

    receipt = coinbase.place_order(client, order())

    told = {"side": receipt.side.upper(), "product_id": receipt.symbol, "client_order_id": receipt.client_order_id}
    assert told.items() >= echo.items()


def test_c05_an_echo_of_another_size_is_told_as_it_is(scripted: Script, order: Make) -> None:
    echo = {**accepted(order()), "order_configuration": {"market_market_ioc": {"quote_size": "40"}}}
    client, _ = scripted({"/orders": echo, "/orders/historical/o-1": {"order": row(order())}})

    assert coinbase.place_order(client, order()).spend == Decimal(40)


def test_c11_an_id_that_is_called_a_duplicate_is_no_rejection(scripted: Script, order: Make) -> None:
    """There is an order under this id, and it may be this very one."""
    for reasons in (
        {"error": "DUPLICATE_CLIENT_ORDER_ID"},
        {"error": UNKNOWN, "new_order_failure_reason": "DUPLICATE_CLIENT_ORDER_ID"},
        {"error": "INSUFFICIENT_FUND", "new_order_failure_reason": "DUPLICATE_CLIENT_ORDER_ID"},
    ):
        client, _ = scripted({"/orders": refused(**reasons)})
        with pytest.raises(BrokerError, match="DUPLICATE"):
            coinbase.place_order(client, order())


# --- rejected: only by the list


@pytest.mark.parametrize(
    ("reasons", "code"),
    [
        ({"error": "INSUFFICIENT_FUND"}, "INSUFFICIENT_FUND"),
        ({"error": UNKNOWN, "preview_failure_reason": "PREVIEW_INSUFFICIENT_FUND"}, "PREVIEW_INSUFFICIENT_FUND"),
        ({"error": UNKNOWN, "new_order_failure_reason": "INVALID_SIZE_PRECISION"}, "INVALID_SIZE_PRECISION"),
        (
            {
                "error": "INVALID_PRODUCT_ID",
                "preview_failure_reason": "UNKNOWN_PREVIEW_FAILURE_REASON",
                "new_order_failure_reason": UNKNOWN,
            },
            "INVALID_PRODUCT_ID",
        ),
        ({"error": "UNSUPPORTED_ORDER_CONFIGURATION"}, "UNSUPPORTED_ORDER_CONFIGURATION"),
        ({"error": "ORDER_ENTRY_DISABLED", "preview_failure_reason": ""}, "ORDER_ENTRY_DISABLED"),
    ],
)
def test_c06_a_reason_on_the_list_is_a_rejection(
    scripted: Script, order: Make, reasons: dict[str, str], code: str
) -> None:
    client, server = scripted({"/orders": refused(**reasons, error_details="said the venue")})

    receipt = coinbase.place_order(client, order())

    assert (receipt.status, receipt.code, receipt.message) == (OrderStatus.REJECTED, code, "said the venue")
    assert len(server.requests()) == 1


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (refused(error="INSUFFICIENT_FUND"), "INSUFFICIENT_FUND", None),
        (refused(error="INSUFFICIENT_FUND", error_details="INSUFFICIENT_FUND"), "INSUFFICIENT_FUND", None),
        ((400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), "INVALID_ARGUMENT", None),
        ((400, "INVALID_ARGUMENT", "no such side"), "INVALID_ARGUMENT", "no such side"),
        (Reply(b"Unauthorized", 401), "HTTP_401", None),
    ],
)
def test_a_rejections_message_is_what_the_venue_says_beyond_its_code(
    scripted: Script, order: Make, answer: object, code: str, message: str | None
) -> None:
    client, _ = scripted({"/orders": answer})

    receipt = coinbase.place_order(client, order())

    assert (receipt.status, receipt.code, receipt.message) == (OrderStatus.REJECTED, code, message)


@pytest.mark.parametrize("said", ["", "INSUFFICIENT_FUND", None])
def test_an_order_that_was_failed_later_tells_its_code_once(scripted: Script, order: Make, said: str | None) -> None:
    shown = row(order(), status="FAILED", filled_size="0", reject_reason="INSUFFICIENT_FUND", reject_message=said)
    client, _ = scripted({"/orders/historical/batch": listing(shown), "/orders/historical/o-1": {"order": shown}})

    found = coinbase.find_order(client, order())

    assert found is not None
    assert (found.code, found.message) == ("INSUFFICIENT_FUND", "Coinbase took the order and then failed it")


@pytest.mark.parametrize(
    "answer",
    [
        refused(error=UNKNOWN),
        refused(error="SOMETHING_NEW"),
        refused(error="COMMANDER_REJECTED_NEW_ORDER"),
        refused(error="INTERNAL"),
        refused(error=""),
        refused(error=None),
        refused(error=["INSUFFICIENT_FUND"]),
        refused(error={"INSUFFICIENT_FUND": 1}),
        refused(error="INSUFFICIENT_FUND", preview_failure_reason="PREVIEW_SOMETHING_NEW"),
        refused(error="insufficient_fund"),
        {"success": False},
        {"success": False, "error_response": None},
        {"success": False, "failure_reason": "INSUFFICIENT_FUND"},
        {**refused(error="INSUFFICIENT_FUND"), "success_response": {"order_id": "o-1"}},
        {**refused(error="INSUFFICIENT_FUND"), "success": None},
        {**refused(error="INSUFFICIENT_FUND"), "success": 0},
        {**refused(error="INSUFFICIENT_FUND"), "success": "false"},
        {"error_response": {"error": "INSUFFICIENT_FUND"}},
        {"success": "true", "success_response": {"order_id": "o-1"}},
        {"success": 1, "success_response": {"order_id": "o-1"}},
        {"success": True},
        {"success": True, "order_id": "o-1"},
        {"success": True, "success_response": None},
        {"success": True, "success_response": {}},
        {},
    ],
)
def test_c05_c06_any_other_answer_proves_nothing(scripted: Script, order: Make, answer: object) -> None:
    client, server = scripted({"/orders": answer})

    with pytest.raises(BrokerError) as raised:
        coinbase.place_order(client, order())
    assert not isinstance(raised.value, NotSent)
    assert len(server.orders()) == 1, "and nothing is sent again"


@pytest.mark.parametrize("success", ["true", 1, "yes", ["true"], {"success": True}, 1.0])
def test_c05_what_is_only_like_true_is_no_acceptance(scripted: Script, order: Make, success: object) -> None:
    client, _ = scripted({"/orders": {**accepted(order()), "success": success}})

    with pytest.raises(BrokerError):
        coinbase.place_order(client, order())


@pytest.mark.parametrize("lacks", ["order_id", "product_id", "side", "client_order_id"])
def test_c08_an_acceptance_that_moved_its_fields_is_no_failure_and_no_success(
    scripted: Script, order: Make, lacks: str
) -> None:
    """On 2024-09-03 the order's id moved within this answer, and bots booked accepted orders as failed."""
    answer = accepted(order())
    answer[lacks] = answer["success_response"].pop(lacks)
    client, _ = scripted({"/orders": answer})

    with pytest.raises(BrokerError, match=lacks):
        coinbase.place_order(client, order())


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((400, "INVALID_ARGUMENT", "quote_size is no number"), "INVALID_ARGUMENT"),
        (Reply(b"Unauthorized\n", 401, "text/plain"), "HTTP_401"),
        ((403, "PERMISSION_DENIED", "Missing required scopes"), "PERMISSION_DENIED"),
        ((403, "unknown", "Missing required scopes"), "unknown"),
        ((429, "RESOURCE_EXHAUSTED", "too many requests"), "RESOURCE_EXHAUSTED"),
    ],
    ids=["400", "401", "403", "403-scopes", "429"],
)
def test_c06_a_status_that_the_venue_itself_explains_is_a_rejection(
    scripted: Script, order: Make, reply: object, code: str
) -> None:
    client, server = scripted({"/orders": reply})

    receipt = coinbase.place_order(client, order())

    assert (receipt.status, receipt.code) == (OrderStatus.REJECTED, code)
    assert len(server.requests()) == 1, "not even with another token"


STATUSES = [
    200,
    201,
    202,
    204,
    300,
    301,
    302,
    303,
    307,
    308,
    400,
    401,
    402,
    403,
    404,
    405,
    408,
    409,
    410,
    413,
    418,
    422,
]
STATUSES += [425, 429, 451, 499, 500, 501, 502, 503, 504, 507, 520, 522, 524, 530]


@pytest.mark.parametrize("status", STATUSES)
def test_c06_a_page_with_any_status_proves_nothing(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make, status: int
) -> None:
    """The order was taken, and something in between answers with a page of its own."""
    venue.fail("http", status=status)

    with pytest.raises(BrokerError) as raised:
        coinbase.place_order(client, order())

    assert not isinstance(raised.value, NotSent)
    assert isinstance(raised.value, RateLimited) is (status == 429)
    assert (venue.requests(), len(venue.orders())) == (1, 1)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "unknown"),
        (401, "INVALID_ARGUMENT"),
        (403, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (409, "ALREADY_EXISTS"),
        (429, "other"),
        (500, "INTERNAL"),
        (500, "INVALID_ARGUMENT"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_c06_a_status_with_another_word_proves_nothing(scripted: Script, order: Make, status: int, error: str) -> None:
    client, _ = scripted({"/orders": (status, error, "no")})

    with pytest.raises(BrokerError):
        coinbase.place_order(client, order())


# --- taken, or not, and nobody says which


QUICK_FAULTS = sorted(set(FAULTS) - {"hang", "stalled_body", "late", "http"})


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "not-taken"])
@pytest.mark.parametrize("fault", QUICK_FAULTS)
def test_c01_c02_c04_a_wire_that_fails_says_nothing(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make, fault: str, taken: bool
) -> None:
    venue.fail(fault, taken=taken)

    with pytest.raises(BrokerError) as raised:
        coinbase.place_order(client, order())

    assert not isinstance(raised.value, NotSent)
    assert venue.requests() == 1, "one send, whatever happens"
    found = coinbase.find_order(client, order())
    assert (found is not None) is taken


@pytest.mark.parametrize("fault", ["hang", "stalled_body"])
def test_c04_c15_a_venue_that_goes_silent_is_given_up_and_not_asked_again(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make, fault: str
) -> None:
    client.wire.seconds = 0.2
    venue.fail(fault)

    with pytest.raises(BrokerError) as raised:
        coinbase.place_order(client, order())

    venue.clear()
    assert not isinstance(raised.value, NotSent)
    assert (venue.requests(), len(venue.orders())) == (1, 1)
    found = coinbase.find_order(client, order())
    assert found is not None
    assert found.status is OrderStatus.FILLED


@pytest.mark.parametrize("lie", ["no_id", "moved_id"])
def test_c05_c08_a_taken_order_without_an_id_is_unknown_and_found(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make, lie: str
) -> None:
    venue.fail(lie)

    with pytest.raises(BrokerError):
        coinbase.place_order(client, order())

    found = coinbase.find_order(client, order())
    assert found is not None
    assert found.order_id == venue.orders()[0].order_id


# --- found again


def test_an_order_is_found_by_its_id_with_its_figures(client: coinbase.Client, order: Make) -> None:
    placed = coinbase.place_order(client, order())

    assert coinbase.find_order(client, order()) == placed


def test_c02_an_order_that_never_arrived_is_not_found(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make
) -> None:
    coinbase.place_order(client, order(client_order_id="another"))

    assert coinbase.find_order(client, order()) is None
    assert venue.requests() == 1, "a look sends nothing"


def test_c12_an_order_is_found_on_the_last_page(
    venue: CoinbaseRehearsal, client: coinbase.Client, resting: Make
) -> None:
    coinbase.place_order(client, resting())
    for number in range(6):
        coinbase.place_order(client, resting(client_order_id=f"later-{number}"))
    venue.dialect.page_size = 2

    found = coinbase.find_order(client, resting())

    assert found is not None
    assert found.client_order_id == resting().client_order_id
    assert len(coinbase.list_orders(client, 0.0)) == 7


def test_c12_an_order_that_only_its_fills_show_is_found(scripted: Script, order: Make) -> None:
    fills = {"fills": [{"order_id": "o-9"}, {"order_id": "o-1"}, {"order_id": "o-1"}], "cursor": ""}
    client, server = scripted(
        {
            "/orders/historical/batch": listing(row(order(), order_id="o-9", client_order_id="another")),
            "/orders/historical/fills": fills,
            "/orders/historical/o-1": {"order": row(order())},
        }
    )

    found = coinbase.find_order(client, order())

    assert found is not None
    assert (found.order_id, found.status) == ("o-1", OrderStatus.FILLED)
    assert [one for one in server.requests() if one.path.endswith("o-9")] == [], "what is known is not read again"


def test_c12_a_fill_whose_order_cannot_be_read_is_no_absence(scripted: Script, order: Make) -> None:
    fills = {"fills": [{"order_id": "o-2"}], "cursor": ""}
    client, _ = scripted({"/orders/historical/batch": listing(), "/orders/historical/fills": fills})

    with pytest.raises(coinbase.CoinbaseError, match="404"):
        coinbase.find_order(client, order())


def test_c12_an_order_that_the_venue_lists_nowhere_is_found_by_its_fills(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make
) -> None:
    coinbase.place_order(client, order(client_order_id="another"))
    coinbase.place_order(client, order())
    venue.dialect.unlisted = True

    found = coinbase.find_order(client, order())

    assert found is not None
    assert (found.status, found.order_id) == (OrderStatus.FILLED, venue.orders()[1].order_id)


def test_c12_an_order_that_only_the_open_ones_show_is_found(scripted: Script, resting: Make) -> None:
    shown = row(resting(), status="OPEN", filled_size="0")
    client, _ = scripted(
        {
            "/orders/historical/batch": lambda r: (
                listing(shown) if r.query.get("order_status") == ["OPEN"] else listing()
            ),
            "/orders/historical/fills": NO_FILLS,
            "/orders/historical/o-1": {"order": shown},
        }
    )

    found = coinbase.find_order(client, resting())

    assert found is not None
    assert found.status is OrderStatus.OPEN


@pytest.mark.parametrize("fault", ["half", "html", "empty_object", "cut_body", "http"])
def test_c12_a_look_that_is_not_whole_is_no_absence(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make, fault: str
) -> None:
    venue.fail(fault, on="find", times=None)

    with pytest.raises(BrokerError):
        coinbase.find_order(client, order())


def test_c03_an_order_is_looked_for_from_before_it_was_sent_and_without_an_end(scripted: Script, order: Make) -> None:
    client, server = scripted({"/orders/historical/batch": listing(), "/orders/historical/fills": NO_FILLS})

    coinbase.find_order(client, order(send_by=1_775_521_739.0))

    looked = [one.query for one in server.requests() if "start_date" in one.query]
    assert [query["start_date"] for query in looked] == [["2026-04-07T00:18:59.000Z"]]
    assert all("end_date" not in query for query in looked)


def test_two_orders_under_one_id_are_not_chosen_between(scripted: Script, order: Make) -> None:
    client, _ = scripted(
        {
            "/orders/historical/batch": listing(row(order()), row(order(), order_id="o-2")),
            "/orders/historical/fills": NO_FILLS,
        }
    )

    with pytest.raises(BrokerError, match="2 orders"):
        coinbase.find_order(client, order())


def test_one_order_that_is_listed_twice_is_one(scripted: Script, order: Make) -> None:
    client, _ = scripted(
        {
            "/orders/historical/batch": listing(row(order()), row(order())),
            "/orders/historical/fills": NO_FILLS,
            "/orders/historical/o-1": {"order": row(order())},
        }
    )

    found = coinbase.find_order(client, order())

    assert found is not None
    assert found.order_id == "o-1"


def test_an_order_that_is_listed_and_cannot_be_read_yet_is_told_from_the_list(scripted: Script, order: Make) -> None:
    client, _ = scripted({"/orders/historical/batch": listing(row(order())), "/orders/historical/fills": NO_FILLS})

    found = coinbase.find_order(client, order())

    assert found is not None
    assert found.filled_value == Decimal("19.82")


def test_an_order_without_a_date_is_looked_for_among_the_open_ones(scripted: Script, resting: Make) -> None:
    shown = row(resting(), status="OPEN", filled_size="0")
    client, server = scripted({"/orders/historical/batch": listing(shown), "/orders/historical/o-1": {"order": shown}})

    assert coinbase.find_order(client, resting(send_by=0.0, amount=None, limit=None)) is not None
    assert all("order_status" in one.query for one in server.requests() if one.path.endswith("/batch"))


def test_the_list_of_orders_has_those_of_others_too(
    venue: CoinbaseRehearsal, client: coinbase.Client, order: Make
) -> None:
    coinbase.place_order(client, order())
    paper.place_order(venue.dialect.paper, order(client_order_id="by-hand", spend=Decimal(30)))

    assert {one.client_order_id: one.spend for one in coinbase.list_orders(client, 0.0)} == {
        order().client_order_id: Decimal(20),
        "by-hand": Decimal(30),
    }


def test_orders_before_the_moment_are_not_listed(client: coinbase.Client, order: Make) -> None:
    coinbase.place_order(client, order())

    assert coinbase.list_orders(client, order().send_by + 3600) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"status": "UNKNOWN_ORDER_STATUS"},
        {"status": None},
        {"status": ["FILLED"]},
        {"filled_size": 0.0003964},
        {"filled_size": "0"},
        {"filled_value": None},
        {"total_fees": 0.17},
        {"side": "UNKNOWN_ORDER_SIDE"},
        {"order_configuration": {}},
        {"order_configuration": {"a": {"base_size": "1"}, "b": {"base_size": "1"}}},
        {"order_configuration": {"market_market_ioc": {"quote_size": 20.0}}},
    ],
)
def test_c13_an_order_that_cannot_be_read_is_no_receipt(scripted: Script, order: Make, odd: dict[str, Any]) -> None:
    client, _ = scripted(
        {
            "/orders/historical/batch": listing(row(order(), **odd)),
            "/orders/historical/fills": NO_FILLS,
            "/orders/historical/o-1": {"order": row(order(), **odd)},
        }
    )

    with pytest.raises(BrokerError):
        coinbase.find_order(client, order())


# --- cancelled


def test_what_is_left_of_an_order_is_cancelled(
    venue: CoinbaseRehearsal, client: coinbase.Client, resting: Make
) -> None:
    coinbase.place_order(client, resting())

    receipt = coinbase.cancel_order(client, resting())

    assert receipt.status is OrderStatus.CANCELLED
    assert [one.status for one in venue.orders()] == [OrderStatus.CANCELLED]


def test_an_order_found_resting_is_cancelled(venue: CoinbaseRehearsal, client: coinbase.Client, resting: Make) -> None:
    coinbase.place_order(client, resting())

    receipt = coinbase.cancel_order(client, resting(send_by=0.0, amount=None, limit=None))

    assert receipt.status is OrderStatus.CANCELLED
    assert venue.orders()[0].status is OrderStatus.CANCELLED


def test_cancelling_what_is_done_is_no_error(venue: CoinbaseRehearsal, client: coinbase.Client, order: Make) -> None:
    coinbase.place_order(client, order())

    assert coinbase.cancel_order(client, order()).status is OrderStatus.FILLED
    assert venue.server.count("cancel") == 0


def test_c13_an_order_that_fills_before_its_cancel_is_told_as_filled(scripted: Script, resting: Make) -> None:
    shown = iter([row(resting(), status="OPEN", filled_size="0")])
    client, server = scripted(
        {
            "/orders/historical/batch": listing(row(resting(), status="OPEN", filled_size="0")),
            "/orders/historical/fills": NO_FILLS,
            "/orders/historical/o-1": lambda _: {"order": next(shown, row(resting(), filled_size="0.001"))},
            "/orders/batch_cancel": {
                "results": [{"success": False, "failure_reason": "UNKNOWN_CANCEL_ORDER", "order_id": "o-1"}]
            },
        }
    )

    assert coinbase.cancel_order(client, resting()).status is OrderStatus.FILLED
    (sent,) = (json.loads(one.body) for one in server.requests() if one.path.endswith("/batch_cancel"))
    assert sent == {"order_ids": ["o-1"]}


@pytest.mark.parametrize(
    "results",
    [
        [{"success": False, "failure_reason": "COMMANDER_REJECTED_CANCEL_ORDER", "order_id": "o-1"}],
        [{"success": True, "order_id": "o-2"}],
        [],
    ],
    ids=["refused", "another", "nothing"],
)
def test_h03_a_cancel_that_was_not_acknowledged_is_an_error(
    scripted: Script, resting: Make, results: list[dict[str, Any]]
) -> None:
    shown = row(resting(), status="OPEN", filled_size="0")
    client, _ = scripted(
        {
            "/orders/historical/batch": listing(shown),
            "/orders/historical/fills": NO_FILLS,
            "/orders/historical/o-1": {"order": shown},
            "/orders/batch_cancel": {"results": results},
        }
    )

    with pytest.raises(BrokerError, match="did not cancel"):
        coinbase.cancel_order(client, resting())


def test_a_cancel_that_is_on_its_way_is_still_open(scripted: Script, resting: Make) -> None:
    shown = row(resting(), status="CANCEL_QUEUED", filled_size="0.0001")
    client, _ = scripted(
        {
            "/orders/historical/batch": listing(shown),
            "/orders/historical/fills": NO_FILLS,
            "/orders/historical/o-1": {"order": shown},
            "/orders/batch_cancel": {"results": [{"success": True, "order_id": "o-1"}]},
        }
    )

    assert coinbase.cancel_order(client, resting()).status is OrderStatus.PARTLY_FILLED


def test_nothing_to_cancel_is_an_error(client: coinbase.Client, resting: Make) -> None:
    with pytest.raises(BrokerError, match="nothing was cancelled"):
        coinbase.cancel_order(client, resting())


# --- many at once


def test_sixteen_threads_share_a_client(
    venue: CoinbaseRehearsal,
    client: coinbase.Client,
    resting: Make,
    crowd: Callable[[int, Callable[[int], Receipt]], list[Receipt]],
) -> None:
    def place(number: int) -> Receipt:
        tiny = resting(client_order_id=f"many-{number}", amount=Decimal("0.0001"))
        return coinbase.place_order(client, tiny)

    receipts = crowd(16, place)

    assert [receipt.client_order_id for receipt in receipts] == [f"many-{number}" for number in range(16)]
    assert {receipt.status for receipt in receipts} == {OrderStatus.OPEN}
    assert (venue.requests(), len(venue.orders())) == (16, 16)
