"""What the broker sends, and what it takes for an answer."""

from __future__ import annotations

import json
import re
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from kraken_script import (  # type: ignore[import-not-found]  # this folder is on the path of its tests alone
    CLOCK,
    Scripted,
    an_order,
    connected,
    row,
    said,
)
from urllib3.util import connection

import ordergate_kraken as broker
import ordergate_paper as paper
from ordergate import BrokerError, NotSent, OrderStatus, RateLimited, Receipt, Side, VenueOrder
from ordergate.clock import SystemClock
from ordergate.testing.kraken import KrakenRehearsal, rehearsal
from ordergate.testing.loopback import Loopback, Reply, Request


def sent_to(server: Loopback, method: str = "AddOrder") -> list[dict[str, str]]:
    """The fields of what was sent, exactly as they stood in the bodies."""
    bodies = [one.body.decode("ascii") for one in server.requests() if one.path.endswith(f"/{method}")]
    told = [{name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()} for body in bodies]
    assert [urlencode(one) for one in told] == bodies
    return told


def took(txid: str = "OAAAAA-BBBBB-CCCCCC", order: str = "") -> dict[str, Any]:
    return {"txid": [txid], **({"descr": {"order": order}} if order else {})}


# ------------------------------------------------------------------------------------------------------ what is sent


def test_a_buy_for_a_spend_is_one_market_order_in_the_quote_currency(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    broker.get_market(client, "BTC-USD")
    order = an_order(spend="20.12345")

    receipt = broker.place_order(client, order)

    (sent,) = sent_to(kraken.server)
    deadline = sent.pop("deadline")
    assert int(sent.pop("nonce")) > 10**18
    assert sent == {
        "pair": "XBTUSD",
        "type": "buy",
        "ordertype": "market",
        "volume": "20.12345",
        "cl_ord_id": order.client_order_id,
        "oflags": "viqc",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", deadline)
    (known,) = kraken.orders()
    assert (receipt.status, receipt.order_id, receipt.spend) == (OrderStatus.FILLED, known.order_id, order.spend)
    assert (receipt.filled_amount, receipt.filled_value, receipt.fees) == (
        known.filled_amount,
        known.filled_value,
        known.fees,
    )


def test_a_limit_order_names_amount_and_price_as_they_were_written(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    broker.get_market(client, "BTC-USD")
    receipt = broker.place_order(client, an_order(amount="0.00200000", limit="40000.10"))

    (sent,) = sent_to(kraken.server)
    assert (sent["ordertype"], sent["volume"], sent["price"], "oflags" in sent) == ("limit", "0.002", "40000.1", False)
    assert (receipt.status, receipt.amount, receipt.limit) == (OrderStatus.OPEN, Decimal("0.002"), Decimal("40000.1"))
    assert "validate" not in sent


def test_a_sell_names_the_base_amount(kraken: KrakenRehearsal, client: broker.Client) -> None:
    broker.get_market(client, "BTC-USD")
    receipt = broker.place_order(client, an_order(amount="0.005", side=Side.SELL))

    (sent,) = sent_to(kraken.server)
    assert (sent["type"], sent["ordertype"], sent["volume"], sent["oflags"]) == ("sell", "market", "0.005", "fciq")
    assert (receipt.status, receipt.filled_value, receipt.fees) == (OrderStatus.FILLED, Decimal(250), Decimal(2))


@pytest.mark.parametrize("more", [{"spend": "20", "limit": "40000"}, {"spend": "20", "side": Side.SELL}])
def test_a_spend_that_the_venue_cannot_take_is_not_sent(
    kraken: KrakenRehearsal, client: broker.Client, more: dict[str, Any]
) -> None:
    with pytest.raises(NotSent):
        broker.place_order(client, an_order(**more))
    assert kraken.requests() == 0


def test_a04_float_drift_stays_off_the_wire(spoken: broker.Client, scripted: Scripted, server: Loopback) -> None:
    scripted.answers["AddOrder"] = took()

    broker.place_order(spoken, an_order(amount="0.30000000000000004", limit="123456789012345678.123456789"))
    broker.place_order(spoken, an_order(amount=Decimal("1E-8"), limit=Decimal("1E+3")))

    assert [(one["volume"], one["price"]) for one in sent_to(server)] == [
        ("0.30000000000000004", "123456789012345678.123456789"),
        ("0.00000001", "1000"),
    ]


def test_an_exit_needs_no_table_to_name_its_market(spoken: broker.Client, scripted: Scripted, server: Loopback) -> None:
    scripted.answers["Assets"] = scripted.answers["AssetPairs"] = said(None, "EService:Unavailable")
    scripted.answers["AddOrder"] = took()

    for symbol in ("BTC-USD", "DOGE-EUR", "SOL-USDT"):
        receipt = broker.place_order(spoken, an_order(symbol=symbol, amount="1", side=Side.SELL))
        assert (receipt.status, receipt.order_id) == (OrderStatus.OPEN, "OAAAAA-BBBBB-CCCCCC")

    assert [one["pair"] for one in sent_to(server)] == ["XBTUSD", "XDGEUR", "SOLUSDT"]


# ---------------------------------------------------------------------------------------------------------- deadlines


def deadline_of(sent: dict[str, str]) -> float:
    return datetime.fromisoformat(sent["deadline"]).timestamp()


@pytest.mark.parametrize(("left", "low", "high"), [(5.0, 3.9, 6.1), (0.5, 2.5, 4.6), (300.0, 53.9, 56.1)])
def test_c15_deadline_is_the_send_by_time_within_what_the_venue_takes(
    spoken: broker.Client, scripted: Scripted, server: Loopback, left: float, low: float, high: float
) -> None:
    scripted.answers["AddOrder"] = took()
    scripted.by_request["Time"] = lambda _: {"unixtime": int(CLOCK.now())}
    begun = CLOCK.now()

    broker.place_order(spoken, an_order(send_by=begun + left))

    (sent,) = sent_to(server)
    assert low <= deadline_of(sent) - begun
    assert deadline_of(sent) - CLOCK.now() <= high


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_d08_clock_an_hour_off_does_not_hold_an_exit(tmp_path: Any, ahead: float) -> None:
    with rehearsal(tmp_path, clock_ahead=ahead) as venue:
        receipt = broker.place_order(connected(venue.settings), an_order(amount="0.001", side=Side.SELL))

        assert receipt.status in (OrderStatus.OPEN, OrderStatus.FILLED)
        assert [one.status for one in venue.orders()] == [OrderStatus.FILLED]


class Jumping(SystemClock):
    def __init__(self) -> None:
        self.jumped = 0.0

    def now(self) -> float:
        return super().now() + self.jumped


def test_d08_clock_that_jumps_after_it_was_measured_leaves_the_deadline_right(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    clock = Jumping()
    client.clock = clock
    broker.get_time(client)
    clock.jumped = -7200.0

    receipt = broker.place_order(client, an_order(amount="0.001", side=Side.SELL, send_by=clock.now() + 5))

    assert receipt.status in (OrderStatus.OPEN, OrderStatus.FILLED)
    assert kraken.server.count("time") == 2  # the step was seen


def test_d08_clock_after_the_machine_slept_is_measured_anew(kraken: KrakenRehearsal, client: broker.Client) -> None:
    """Asleep, the monotonic clock stands still, and what was measured on it is an hour old."""
    slept = Jumping()
    client.clock = slept
    broker.get_time(client)
    slept.jumped = kraken.dialect.venue.clock._seconds = 3600.0  # type: ignore[attr-defined]  # the rehearsal's own

    receipt = broker.place_order(client, an_order(amount="0.001", side=Side.SELL, send_by=slept.now() + 5))

    assert receipt.status in (OrderStatus.OPEN, OrderStatus.FILLED)


def test_d08_clock_that_was_set_serves_where_the_venues_cannot_be_asked(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    slept = Jumping()
    client.clock = slept
    broker.get_time(client)
    slept.jumped = kraken.dialect.venue.clock._seconds = 3600.0  # type: ignore[attr-defined]  # the rehearsal's own
    kraken.fail("http", on="time", times=None)

    broker.place_order(client, an_order(amount="0.001", side=Side.SELL, send_by=slept.now() + 5))

    assert len(kraken.orders()) == 1


def test_a_venue_that_does_not_tell_the_time_gets_the_order_by_this_machines_clock(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    kraken.fail("http", on="time", times=None)

    broker.place_order(client, an_order())

    assert len(kraken.orders()) == 1


def test_c03_late_arrival_is_refused_by_the_venue(kraken: KrakenRehearsal, client: broker.Client) -> None:
    kraken.dialect.venue.clock._seconds = 0.0  # type: ignore[attr-defined]  # the rehearsal's own clock
    broker.get_time(client)
    kraken.dialect.venue.clock._seconds = 30.0  # type: ignore[attr-defined]  # as above

    receipt = broker.place_order(client, an_order())

    assert (receipt.status, receipt.code) == (OrderStatus.REJECTED, "EService:Deadline elapsed")
    assert kraken.orders() == []


@pytest.mark.parametrize("late", [0.001, 3600.0])
def test_an_order_after_its_send_by_time_is_not_sent(
    kraken: KrakenRehearsal, client: broker.Client, late: float
) -> None:
    with pytest.raises(NotSent, match="send-by"):
        broker.place_order(client, an_order(send_by=CLOCK.now() - late))
    assert kraken.requests() == 0


def test_an_order_whose_connection_took_too_long_does_not_leave(
    kraken: KrakenRehearsal, client: broker.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late is found out when the body is first read: after the connection stands, before a byte of it is handed on."""
    clock = Jumping()
    client.clock = clock
    broker.get_time(client)
    client.api.session.close()  # the next request makes a connection of its own
    connect = connection.create_connection

    def slow(*arguments: Any, **more: Any) -> Any:
        clock.jumped = 60.0
        return connect(*arguments, **more)

    monkeypatch.setattr(connection, "create_connection", slow)

    with pytest.raises(NotSent, match="send-by"):
        broker.place_order(client, an_order())
    assert clock.jumped  # it was on its way when the time was over
    assert kraken.orders() == []


# -------------------------------------------------------------------------------------------------- certain rejections


@pytest.mark.parametrize(
    "text",
    [
        *sorted(broker._NOT_TAKEN),
        "EAccount:Invalid permissions:XBT trading restricted for US:WA.",
        "EGeneral:Invalid arguments:volume minimum not met",
        "EGeneral:Invalid arguments:viqc",
        "EOrder:Invalid price:XBT/USD price can only be specified up to 1 decimals.",
        "EService: Throttled:1795392086",
    ],
)
def test_c06_status_sweep_definite_refusals_are_rejected(spoken: broker.Client, scripted: Scripted, text: str) -> None:
    order = an_order()
    scripted.answers["AddOrder"] = said(None, text)

    receipt = broker.place_order(spoken, order)

    assert (receipt.status, receipt.code, receipt.message) == (OrderStatus.REJECTED, text, None)
    assert receipt.client_order_id == order.client_order_id


def test_a_rejection_for_two_reasons_tells_each_once(spoken: broker.Client, scripted: Scripted) -> None:
    scripted.answers["AddOrder"] = said(None, "EOrder:Insufficient funds", "EOrder:Cost minimum not met")

    receipt = broker.place_order(spoken, an_order())

    assert (receipt.code, receipt.message) == ("EOrder:Insufficient funds", "EOrder:Cost minimum not met")


@pytest.mark.parametrize(
    "texts",
    [
        ["EService:Busy"],
        ["EService:Unavailable"],
        ["EService:Timeout"],
        ["EGeneral:Internal error"],
        ["EGeneral:Internal error:ab12"],
        ["EDatabase:Internal error"],
        ["EOrder:Something new"],
        ["EOrder:insufficient funds"],
        ["EOrder:Insufficient funds "],
        ["prefix EOrder:Insufficient funds"],
        ["EOrder:Unknown order"],
        ["EService:Market in cancel_only mode soon"],
        ["WGeneral:Something"],
        [""],
        ["EOrder:Insufficient funds", "EService:Busy"],
        # An order with this id is open: perhaps this very one.
        ["EGeneral:Invalid arguments:cl_ord_id not unique"],
    ],
)
def test_c06_status_sweep_everything_else_is_unknown(
    spoken: broker.Client, scripted: Scripted, texts: list[str]
) -> None:
    scripted.answers["AddOrder"] = said(None, *texts)

    with pytest.raises(BrokerError) as unknown:
        broker.place_order(spoken, an_order())
    assert not isinstance(unknown.value, NotSent | RateLimited)


def test_c06_status_sweep_a_refusal_beside_an_acceptance_proves_nothing(
    spoken: broker.Client, scripted: Scripted
) -> None:
    scripted.answers["AddOrder"] = said(took(), "EOrder:Insufficient funds")

    with pytest.raises(BrokerError):
        broker.place_order(spoken, an_order())


@pytest.mark.parametrize("status", [201, 202, 300, 304, 400, 401, 403, 404, 408, 429, 500, 502, 504, 520])
def test_c06_status_sweep_no_http_status_but_200_says_anything(
    spoken: broker.Client, scripted: Scripted, status: int
) -> None:
    for answer in ({"error": [], "result": took()}, {"error": ["EOrder:Insufficient funds"]}):
        scripted.answers["AddOrder"] = Reply(json.dumps(answer).encode(), status)
        with pytest.raises(BrokerError) as unknown:
            broker.place_order(spoken, an_order())
        assert not isinstance(unknown.value, NotSent | RateLimited)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_c06_redirects_are_never_followed(kraken: KrakenRehearsal, client: broker.Client, status: int) -> None:
    kraken.fail("http", status=status, taken=False)

    with pytest.raises(BrokerError, match="TooManyRedirects") as unknown:
        broker.place_order(client, an_order())
    assert not isinstance(unknown.value, NotSent)
    assert kraken.requests() == 1
    assert kraken.server.requests()[-1].path == "/0/private/AddOrder"


def test_the_venues_own_refusals_are_rejected(kraken: KrakenRehearsal, client: broker.Client) -> None:
    for more, code in (
        ({"spend": "2000"}, "EOrder:Insufficient funds"),
        ({"amount": "0.00001", "side": Side.SELL}, "EOrder:Order minimum not met"),
        ({"symbol": "NO-USD"}, "EQuery:Unknown asset pair"),
    ):
        receipt = broker.place_order(client, an_order(**more))
        assert (receipt.status, receipt.code) == (OrderStatus.REJECTED, code)
    kraken.dialect.statuses["BTC-USD"] = "cancel_only"
    assert broker.place_order(client, an_order()).code == "EService:Market in cancel_only mode"
    assert kraken.orders() == []


# ---------------------------------------------------------------------------------------------------- odd acceptances


@pytest.mark.parametrize(
    "answer",
    [
        Reply(b""),
        Reply(b"{}"),
        Reply(b"[]"),
        Reply(b"null"),
        Reply(b"<html></html>", 200, "text/html"),
        Reply(b'{"error": []}'),
        Reply(b'{"error": [], "result": {"txid": ["O1"]'),
        Reply(b'{"error": {}, "result": {"txid": ["O1"]}}'),
        Reply(b'{"error": [1], "result": {"txid": ["O1"]}}'),
        Reply(b'{"result": {"txid": ["O1"]}}'),
        Reply(b'{"error": [], "result": {"txid": ["O1"], "n": NaN}}'),
        Reply(b"[" * 100_000),
        said({"txid": []}),
        said({"txid": ["O1", "O2"]}),
        said({"txid": [""]}),
        said({"txid": [7]}),
        said({"txid": None}),
        said({"order": {"txid": ["O1"]}}),
        said({"descr": {"order": "buy 20 XBTUSD @ market"}}),
        said(took(order="sell 20.00 XBTUSD @ market")),
        said(took(order="buy 40.00 XBTUSD @ market")),
        said(took(order="buy 20.00 ETHUSD @ market")),
        said(took(order="buy 20.00 XBTUSD @ limit 40000.0")),
    ],
)
def test_c05_lying_200_is_unknown(spoken: broker.Client, scripted: Scripted, answer: Reply) -> None:
    scripted.answers["AddOrder"] = answer

    with pytest.raises(BrokerError) as unknown:
        broker.place_order(spoken, an_order())
    assert not isinstance(unknown.value, NotSent)


@pytest.mark.parametrize("order", ["buy 20.00 XBTUSD @ market", "buy 20.00000000 XBTUSD @ market", "other words"])
def test_the_venues_own_words_about_the_order_are_no_contradiction(
    spoken: broker.Client, scripted: Scripted, order: str
) -> None:
    scripted.answers["AddOrder"] = took(order=order)

    assert broker.place_order(spoken, an_order()).status is OrderStatus.OPEN


def test_c08_schema_moved_is_unknown(kraken: KrakenRehearsal, client: broker.Client) -> None:
    kraken.fail("moved_id")

    with pytest.raises(BrokerError):
        broker.place_order(client, an_order())
    assert len(kraken.orders()) == 1


@pytest.mark.parametrize("fault", ["cut", "reset", "cut_headers", "cut_body", "html", "empty", "empty_object"])
@pytest.mark.parametrize("taken", [True, False])
def test_c04_wire_cuts_are_unknown_and_nothing_is_sent_again(
    kraken: KrakenRehearsal, client: broker.Client, fault: str, taken: bool
) -> None:
    broker.get_account(client)  # the connection stands already, as it mostly does
    order = an_order()
    kraken.fail(fault, taken=taken)

    with pytest.raises(BrokerError) as unknown:
        broker.place_order(client, order)
    assert not isinstance(unknown.value, NotSent)
    assert kraken.requests() == 1
    found = broker.find_order(client, order)
    assert (found is not None) is taken


@pytest.mark.parametrize("fault", ["hang", "stalled_body"])
def test_c01_took_it_no_reply_ends_by_itself_and_is_found(
    kraken: KrakenRehearsal, client: broker.Client, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    hasty = {**(broker._asked.__kwdefaults__ or {}), "timeout": (1.0, 0.2)}
    monkeypatch.setattr(broker._asked, "__kwdefaults__", hasty)
    order = an_order()
    kraken.fail(fault)

    with pytest.raises(BrokerError) as unknown:
        broker.place_order(client, order)
    kraken.clear()
    assert not isinstance(unknown.value, NotSent)
    assert kraken.requests() == 1
    found = broker.find_order(client, order)
    assert found is not None
    assert found.status is OrderStatus.FILLED


# ------------------------------------------------------------------------------------------------------ the last look


@pytest.mark.parametrize("fault", ["http", "cut", "html", "hidden", "error"])
def test_an_accepted_order_stays_accepted_when_its_fills_cannot_be_read(
    kraken: KrakenRehearsal, client: broker.Client, fault: str
) -> None:
    broker.get_market(client, "BTC-USD")
    kraken.fail(fault, on="find", times=None)

    receipt = broker.place_order(client, an_order())

    (known,) = kraken.orders()
    assert (receipt.status, receipt.order_id, receipt.filled_amount) == (
        OrderStatus.OPEN,
        known.order_id,
        Decimal(0),
    )


def test_an_accepted_order_stays_accepted_when_the_last_look_hangs(
    kraken: KrakenRehearsal, client: broker.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_QUICK", 0.1)
    broker.get_market(client, "BTC-USD")
    kraken.fail("hang", on="find")

    assert broker.place_order(client, an_order()).status is OrderStatus.OPEN
    kraken.clear()


def test_c05_the_id_of_another_order_is_unknown_and_the_true_one_is_found(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    broker.get_market(client, "BTC-USD")
    order = an_order()
    kraken.fail("other_id")

    with pytest.raises(BrokerError, match="shows it as"):
        broker.place_order(client, order)
    found = broker.find_order(client, order)
    assert found is not None
    assert found.order_id == kraken.orders()[0].order_id


def test_another_orders_terms_behind_the_id_are_for_the_gate_to_see(spoken: broker.Client, scripted: Scripted) -> None:
    broker.get_market(spoken, "BTC-USD")
    scripted.answers["AddOrder"] = took("O1")
    scripted.answers["QueryOrders"] = {"O1": row(cl_ord_id="somebody-else")}

    receipt = broker.place_order(spoken, an_order())

    assert (receipt.client_order_id, receipt.amount) == ("somebody-else", Decimal("0.002"))


# ---------------------------------------------------------------------------------------------------------- look-ups


def look(client: broker.Client, scripted: Scripted, order: VenueOrder, **orders: dict[str, Any]) -> Receipt | None:
    """What find_order says when the venue shows these, under the order's id unless they say otherwise."""
    rows = {txid: {"cl_ord_id": order.client_order_id, **told} for txid, told in orders.items()}
    done = {txid: told for txid, told in rows.items() if told["status"] not in ("open", "pending")}
    scripted.answers["OpenOrders"] = {"open": {txid: told for txid, told in rows.items() if txid not in done}}
    scripted.answers["ClosedOrders"] = {"closed": done, "count": len(done)}
    receipt = broker.find_order(client, order)
    assert receipt is None or type(receipt) is Receipt
    return receipt


@pytest.mark.parametrize(
    ("word", "done", "status"),
    [
        ("pending", "0", OrderStatus.OPEN),
        ("open", "0", OrderStatus.OPEN),
        ("open", "0.001", OrderStatus.PARTLY_FILLED),
        ("closed", "0.002", OrderStatus.FILLED),
        ("canceled", "0", OrderStatus.CANCELLED),
        ("canceled", "0.001", OrderStatus.CANCELLED),
        ("expired", "0.001", OrderStatus.EXPIRED),
    ],
)
def test_every_status_of_an_order(
    spoken: broker.Client, scripted: Scripted, word: str, done: str, status: OrderStatus
) -> None:
    filled = row(status=word, vol_exec=done, cost=str(Decimal(done) * 40000), fee="0.16", price="40000.0")

    receipt = look(spoken, scripted, an_order(), O1=filled)

    assert receipt is not None
    assert (receipt.status, receipt.filled_amount, receipt.filled_value) == (
        status,
        Decimal(done),
        Decimal(done) * 40000,
    )
    assert (receipt.amount, receipt.limit, receipt.spend, receipt.fees) == (
        Decimal("0.002"),
        Decimal(40000),
        None,
        Decimal("0.16"),
    )


@pytest.mark.parametrize("vol_exec", ["0.00040016", "20.00000"])
def test_f06_units_a_spend_fills_base_whichever_currency_the_venue_counts_in(
    spoken: broker.Client, scripted: Scripted, vol_exec: str
) -> None:
    told = row(
        status="closed",
        descr={"ordertype": "market", "price": "0"},
        oflags="viqc,fciq",
        vol="20.00000",
        vol_exec=vol_exec,
        cost="20.00000",
        price="49980.0",
        fee="0.16",
    )

    receipt = look(spoken, scripted, an_order(), O1=told)

    assert receipt is not None
    assert (receipt.spend, receipt.amount, receipt.limit) == (Decimal(20), None, None)
    assert (receipt.filled_amount, receipt.filled_value) == (Decimal("0.00040016"), Decimal(20))


def test_f05_fees_in_the_base_currency_are_told_in_the_quote_currency(
    spoken: broker.Client, scripted: Scripted
) -> None:
    told = row(status="closed", vol_exec="0.002", cost="80", price="40000.0", fee="0.000008", oflags="fcib")

    receipt = look(spoken, scripted, an_order(), O1=told)

    assert receipt is not None
    assert receipt.fees == Decimal("0.32")


def test_an_order_that_nobody_sees_is_none(spoken: broker.Client, scripted: Scripted) -> None:
    assert look(spoken, scripted, an_order()) is None


@pytest.mark.parametrize(
    "rows",
    [
        {"O1": row(), "O2": row(status="closed")},
        {"O1": row(cl_ord_id="another")},
        {"O1": row(cl_ord_id=None)},
        {"O1": row(status="settled")},
        {"O1": row(cost=None)},
        {"O1": row(vol="lots")},
        {"O1": row(descr={"pair": "ETHEUR"})},
        {"O1": row(descr={"price": "+5%"})},
    ],
)
def test_c12_blind_lookups_say_so_instead_of_guessing(
    spoken: broker.Client, scripted: Scripted, rows: dict[str, dict[str, Any]]
) -> None:
    with pytest.raises(BrokerError):
        look(spoken, scripted, an_order(), **rows)


def test_ids_are_the_same_with_and_without_dashes(spoken: broker.Client, scripted: Scripted) -> None:
    order = an_order()

    receipt = look(spoken, scripted, order, O1=row(cl_ord_id=order.client_order_id.replace("-", "").upper()))

    assert receipt is not None
    assert receipt.client_order_id == order.client_order_id


def test_c12_blind_lookups_an_order_that_closes_between_two_questions_is_found(
    spoken: broker.Client, scripted: Scripted
) -> None:
    order = an_order()
    told = row(cl_ord_id=order.client_order_id)

    def opened(_: Request) -> Any:
        scripted.answers["ClosedOrders"] = {"closed": {"O1": {**told, "status": "closed"}}, "count": 1}
        return {"open": {}}

    scripted.by_request["OpenOrders"] = opened

    receipt = broker.find_order(spoken, order)

    assert receipt is not None
    assert receipt.status is OrderStatus.FILLED


def trade(txid: str, **more: Any) -> dict[str, Any]:
    return {"ordertxid": txid, "pair": "XXBTZUSD", "type": "buy", "time": CLOCK.now(), "vol": "0.0004", **more}


def traded(scripted: Scripted, *txids: str) -> None:
    """The venue lists no orders, and these trades, on pages of fifty."""
    rows = [(f"T{number}", trade(txid)) for number, txid in enumerate(txids)]

    def page(request: Request) -> Any:
        offset = int(parse_qs(request.body.decode()).get("ofs", ["0"])[0])
        return {"trades": dict(rows[offset : offset + 50]), "count": len(rows)}

    scripted.by_request["TradesHistory"] = page


def shown(scripted: Scripted, **orders: dict[str, Any]) -> None:
    """What the venue shows to who asks by its own ids: these, and orders of nobody's."""

    def rows(request: Request) -> Any:
        asked = parse_qs(request.body.decode())["txid"][0].split(",")
        assert len(asked) <= 50
        return {txid: orders.get(txid, row(status="closed")) for txid in asked}

    scripted.by_request["QueryOrders"] = rows


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_c12_blind_lookups_an_order_that_shows_only_in_the_trades_is_found(
    kraken: KrakenRehearsal, client: broker.Client, side: Side
) -> None:
    order = an_order() if side is Side.BUY else an_order(amount="0.001", side=side)
    broker.place_order(client, an_order(spend="30"))
    kraken.fail("cut")
    with pytest.raises(BrokerError):
        broker.place_order(client, order)
    kraken.dialect.unlisted = True

    found = broker.find_order(client, order)

    assert found is not None
    known = kraken.orders()[1]
    assert (found.status, found.order_id, found.side) == (OrderStatus.FILLED, known.order_id, side)
    assert (found.client_order_id, found.filled_value) == (order.client_order_id, known.filled_value)
    assert broker.find_order(client, an_order()) is None
    assert kraken.requests() == 2


def test_c12_blind_lookups_all_pages_of_trades_are_read_and_their_orders_by_fifties(
    spoken: broker.Client, scripted: Scripted, server: Loopback
) -> None:
    order = an_order(send_by=1_775_521_739.0)
    traded(scripted, *(f"O{number:03}" for number in range(119)), "OLAST", "O000", "OLAST")
    shown(scripted, OLAST=row(status="closed", cl_ord_id=order.client_order_id.replace("-", "")))

    found = broker.find_order(spoken, order)

    assert found is not None
    assert found.order_id == "OLAST"
    pages = sent_to(server, "TradesHistory")
    assert [one.get("ofs") for one in pages] == [None, "50", "100"]
    assert {one["start"] for one in pages} == {"1775521139"}
    assert [len(one["txid"].split(",")) for one in sent_to(server, "QueryOrders")] == [50, 50, 20]


def test_orders_that_traded_in_other_markets_are_not_read(
    spoken: broker.Client, scripted: Scripted, server: Loopback
) -> None:
    """An order that is not there is looked for until it is certain, so what a look costs counts."""
    trades = {"T1": trade("OETH", pair="XETHZUSD"), "T2": trade("ONEW", pair="YOUNGUSD"), "T3": trade("OBTC")}
    scripted.answers["TradesHistory"] = {"trades": trades, "count": 3}
    shown(scripted)

    assert broker.find_order(spoken, an_order()) is None
    assert [one["txid"] for one in sent_to(server, "QueryOrders")] == ["OBTC,ONEW"]


def test_d08_clock_that_was_ahead_of_the_venues_hides_no_trade(tmp_path: Any) -> None:
    with rehearsal(tmp_path, clock_ahead=-3600.0) as venue:
        client, order = connected(venue.settings), an_order(amount="0.001", side=Side.SELL)
        broker.place_order(client, order)
        venue.dialect.unlisted = True

        found = broker.find_order(client, order)

    assert found is not None
    assert found.status is OrderStatus.FILLED


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"O2": row(status="closed")},
        {"O1": None},
        {"O1": row(status="closed", cl_ord_id=7)},
        said(None, "EOrder:Invalid order"),
        said(None, "EGeneral:Permission denied"),
    ],
)
def test_c12_blind_lookups_a_trade_whose_order_cannot_be_read_is_no_absence(
    spoken: broker.Client, scripted: Scripted, answer: Any
) -> None:
    traded(scripted, "O1")
    scripted.answers["QueryOrders"] = answer

    with pytest.raises(BrokerError):
        broker.find_order(spoken, an_order())


@pytest.mark.parametrize(
    "answer",
    [
        {"trades": {}},
        {"trades": [], "count": 0},
        {"trades": {}, "count": 1},
        {"trades": {"T1": trade("O1")}, "count": 2},
        {"trades": {"T1": trade("")}, "count": 1},
        {"trades": {"T1": {}}, "count": 1},
        {"trades": {"T1": None}, "count": 1},
        said(None, "EGeneral:Permission denied"),
        said(None, "EAPI:Rate limit exceeded"),
    ],
)
def test_c12_blind_lookups_trades_that_are_delivered_by_half_are_no_absence(
    spoken: broker.Client, scripted: Scripted, answer: Any
) -> None:
    scripted.answers["TradesHistory"] = answer
    shown(scripted)

    with pytest.raises(BrokerError):
        broker.find_order(spoken, an_order())


def test_c12_blind_lookups_two_orders_of_one_id_among_the_trades_are_not_chosen_between(
    spoken: broker.Client, scripted: Scripted
) -> None:
    order = an_order()
    traded(scripted, "O1", "O2")
    shown(scripted, **dict.fromkeys(("O1", "O2"), row(status="closed", cl_ord_id=order.client_order_id)))

    with pytest.raises(BrokerError, match="2 orders"):
        broker.find_order(spoken, order)


def test_trades_are_asked_for_only_where_no_listing_has_the_order(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    broker.get_market(client, "BTC-USD")
    order = an_order()

    broker.place_order(client, order)
    broker.find_order(client, order)
    kraken.fail("hidden", on="find", times=None)
    broker.place_order(client, an_order())
    broker.find_order(client, an_order(send_by=0.0))

    assert sent_to(kraken.server, "TradesHistory") == []


def test_c12_a_cancel_of_what_shows_only_in_the_trades_tells_its_fills(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    order = an_order()
    broker.place_order(client, order)
    kraken.dialect.unlisted = True

    assert broker.cancel_order(client, order).status is OrderStatus.FILLED


def test_c13_fill_chaos_a_partial_fill_keeps_its_figures_through_a_cancel(
    kraken: KrakenRehearsal, client: broker.Client
) -> None:
    order = an_order(amount="0.002", limit="40000")
    broker.place_order(client, order)
    paper.set_price(kraken.dialect.venue, "BTC-USD", "39000", liquidity="0.0005")

    part = broker.find_order(client, order)
    done = broker.cancel_order(client, order)

    assert part is not None
    assert (part.status, part.filled_amount) == (OrderStatus.PARTLY_FILLED, Decimal("0.0005"))
    assert (done.status, done.filled_amount, done.filled_value) == (
        OrderStatus.CANCELLED,
        Decimal("0.0005"),
        Decimal(20),
    )


# ------------------------------------------------------------------------------------------------------------- cancel


def test_a_cancel_names_the_id_and_says_how_the_order_stands(kraken: KrakenRehearsal, client: broker.Client) -> None:
    order = an_order(amount="0.002", limit="40000")
    broker.place_order(client, order)

    assert broker.cancel_order(client, order).status is OrderStatus.CANCELLED
    assert broker.cancel_order(client, order).status is OrderStatus.CANCELLED
    assert [one["cl_ord_id"] for one in sent_to(kraken.server, "CancelOrder")] == [order.client_order_id] * 2


def test_a_cancel_of_what_is_filled_is_no_error(client: broker.Client) -> None:
    order = an_order()
    broker.place_order(client, order)

    assert broker.cancel_order(client, order).status is OrderStatus.FILLED


def test_a_cancel_of_what_nobody_sees_is_an_error(client: broker.Client) -> None:
    with pytest.raises(BrokerError, match="does not show"):
        broker.cancel_order(client, an_order())


@pytest.mark.parametrize("text", ["EService:Busy", "EGeneral:Permission denied", "EAPI:Invalid nonce"])
def test_a_cancel_that_the_venue_refuses_is_an_error(spoken: broker.Client, scripted: Scripted, text: str) -> None:
    scripted.answers["CancelOrder"] = said(None, text)

    with pytest.raises(BrokerError, match=text):
        broker.cancel_order(spoken, an_order())
