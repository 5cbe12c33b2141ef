"""One request per order, whatever the wire, ccxt or the venue does; and what may be concluded from the answer."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ordergate_ccxt as broker
from ordergate import BrokerError, NotSent, OrderStatus, VenueOrder
from ordergate.clock import SystemClock

Made = Callable[..., VenueOrder]


def unknown(client: broker.Client, sent: VenueOrder) -> BrokerError:
    """The error of a send whose outcome nobody knows."""
    with pytest.raises(BrokerError) as raised:
        broker.place_order(client, sent)
    assert not isinstance(raised.value, NotSent)
    return raised.value


WIRE = ["cut", "reset", "cut_headers", "cut_body", "html", "empty", "empty_object", "no_id", "moved_id"]


@pytest.mark.parametrize("fault", WIRE)
def test_c01_c04_c05_took_it_and_said_nothing_of_use(
    venue: Any, client: broker.Client, order: Made, fault: str
) -> None:
    sent = order(venue, spend="20")
    venue.fail(fault)
    unknown(client, sent)
    assert venue.requests() == len(venue.orders()) == 1
    found = broker.find_order(client, sent)
    assert found is not None
    assert found.status is OrderStatus.FILLED


@pytest.mark.parametrize("fault", ["cut", "reset", "html", "empty_object"])
def test_c02_never_arrived_is_unknown_and_not_found(venue: Any, client: broker.Client, order: Made, fault: str) -> None:
    sent = order(venue, spend="20")
    venue.fail(fault, taken=False)
    unknown(client, sent)
    assert (venue.requests(), broker.find_order(client, sent)) == (1, None)


def test_c05_an_answer_about_another_order_is_not_believed(venue: Any, client: broker.Client, order: Made) -> None:
    sent = order(venue, spend="20")
    venue.fail("other_id")
    heard = []
    with suppress(BrokerError):
        heard.append(broker.place_order(client, sent))
    # Told with the other id, it makes the gate close the account.
    assert not heard or heard[0].client_order_id != sent.client_order_id
    assert venue.requests() == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 403, 404, 429, 500, 502, 504, 520])
@pytest.mark.parametrize("name", ["kraken", "binance"])
def test_c06_status_sweep_no_page_of_a_proxy_is_a_refusal(
    venue: Any, client: broker.Client, order: Made, status: int
) -> None:
    venue.fail("http", status=status)
    unknown(client, order(venue, spend="20"))
    assert venue.requests() == len(venue.orders()) == 1
    assert not any(request.path == "/elsewhere" for request in venue.server.requests())


UNHEARD = {
    "kraken": ["EService:Busy", "EService:Unavailable", "EGeneral:Internal error", "EOrder:Never heard of"],
    "coinbase": ["UNKNOWN_FAILURE_REASON", "NEVER_HEARD_OF"],
    "binance": [
        "-1000 An unknown error",
        "-1001 Disconnected",
        "-1006 Unknown",
        "-1007 Timeout",
        "-9999 Never heard of",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in UNHEARD.items() for text in texts])
def test_c06_an_unheard_error_is_no_refusal(venue: Any, client: broker.Client, order: Made, text: str) -> None:
    venue.fail("error", text=text)
    sent = order(venue, spend="20")
    unknown(client, sent)
    assert broker.find_order(client, sent) is not None


HEARD = {
    "kraken": ({"spend": "5000"}, "EOrder:Insufficient funds"),
    "coinbase": ({"spend": "5000"}, "PREVIEW_INSUFFICIENT_FUND"),
    "binance": ({"spend": "5000"}, "-2010"),
}


@pytest.mark.parametrize(("name", "terms", "code"), [(name, *told) for name, told in HEARD.items()])
def test_a_listed_refusal_is_a_rejection_in_the_venues_own_words(
    venue: Any, client: broker.Client, order: Made, terms: dict[str, str], code: str
) -> None:
    receipt = broker.place_order(client, order(venue, **terms))
    assert (receipt.status, receipt.code) == (OrderStatus.REJECTED, code)
    assert venue.orders() == []


REFUSALS: list[tuple[str, int, Any, str | None]] = [
    ("kraken", 200, {"error": ["EOrder:Insufficient funds"]}, "EOrder:Insufficient funds"),
    ("kraken", 200, {"error": ["EService: Throttled: 1"]}, "EService: Throttled: 1"),
    ("kraken", 200, {"error": ["EOrder:Insufficient funds"], "result": {"txid": ["O1"]}}, None),
    ("kraken", 200, {"error": ["EOrder:Insufficient funds", "EService:Busy"]}, None),
    ("kraken", 200, {"error": ["EGeneral:Invalid arguments:cl_ord_id not unique"]}, None),
    ("kraken", 502, {"error": ["EOrder:Insufficient funds"]}, None),
    ("kraken", 200, {"error": ["EGeneral:Invalid arguments:volume"]}, "EGeneral:Invalid arguments:volume"),
    ("kraken", 200, {"error": ["EGeneral:Invalid argumentsX"]}, None),
    ("kraken", 200, {"error": ["EOrder:Insufficient fundsX"]}, None),
    ("kraken", 200, {"error": []}, None),
    ("kraken", 200, {"error": "EOrder:Insufficient funds"}, None),
    ("kraken", 200, "EOrder:Insufficient funds", None),
    ("coinbase", 401, "Unauthorized", "UNAUTHENTICATED"),
    ("coinbase", 401, "<html>", None),
    ("coinbase", 400, {"error": "INVALID_ARGUMENT", "message": "x"}, "INVALID_ARGUMENT"),
    ("coinbase", 400, {"error": "INTERNAL"}, None),
    ("coinbase", 429, "<html>", None),
    ("coinbase", 429, {"error": "rate_limit_exceeded", "message": "too many requests"}, "rate_limit_exceeded"),
    ("coinbase", 200, {"success": False, "error_response": {"error": "INSUFFICIENT_FUND"}}, "INSUFFICIENT_FUND"),
    ("coinbase", 200, {"success": True, "error_response": {"error": "INSUFFICIENT_FUND"}}, None),
    ("coinbase", 200, {"error_response": {"error": "INSUFFICIENT_FUND"}}, None),
    ("coinbase", 200, {"success": False, "error_response": {"error": "DUPLICATE_CLIENT_ORDER_ID"}}, None),
    ("coinbase", 200, {"success": False}, None),
    ("binance", 400, {"code": "-2010", "msg": "Account has insufficient balance for requested action."}, "-2010"),
    ("binance", 400, {"code": "-2010", "msg": "Duplicate order sent."}, None),
    ("binance", 400, {"code": "-1007", "msg": "Timeout"}, None),
    ("binance", 503, {"code": "-2010", "msg": "x"}, None),
    ("binance", 200, {"code": "-2010", "msg": "x"}, None),
    ("okx", 200, {"code": "51008", "msg": "Insufficient balance"}, None),
]


@pytest.mark.parametrize(("exchange", "status", "answer", "code"), REFUSALS)
def test_only_what_is_on_the_list_is_a_refusal(exchange: str, status: int, answer: Any, code: str | None) -> None:
    refusal = broker.venue_of(exchange).refusal(status, answer)
    assert (refusal and refusal[0]) == code


# ------------------------------------------------------------------------------------------ certainly nothing was sent


def test_nobody_listens_so_nothing_was_sent(venue: Any, client: broker.Client, order: Made) -> None:
    broker.get_account(client)
    client.close()
    venue.close()
    with pytest.raises(NotSent):
        broker.place_order(client, order(venue, spend="20"))


@pytest.mark.parametrize("name", ["coinbase"])
def test_c16_tls_a_certificate_of_somebody_else(
    venue: Any, client: broker.Client, connect: Callable[..., broker.Client], order: Made, tmp_path: Path
) -> None:
    broker.get_account(client)
    trustme = importlib.import_module("trustme")
    other = tmp_path / "other-ca.pem"
    trustme.CA().cert_pem.write_to_path(other)
    stranger = connect({**venue.settings, "ca_file": other})
    stranger._loaded[:] = client._loaded  # it knows the markets already
    with pytest.raises(NotSent, match="certificate verify failed"):
        broker.place_order(stranger, order(venue, spend="20"))
    with pytest.raises(BrokerError, match="certificate verify failed"):
        broker.get_account(connect({**venue.settings, "ca_file": other}))
    assert venue.requests() == 0


@pytest.mark.parametrize("fault", ["empty_object", "html", "cut"])
def test_c03_an_order_whose_markets_cannot_be_read_is_certainly_not_sent(
    venue: Any, client: broker.Client, order: Made, fault: str
) -> None:
    venue.fail(fault, on="market", times=None)
    with pytest.raises(NotSent, match="markets"):
        broker.place_order(client, order(venue, "sell", amount="0.001"))
    assert venue.requests() == 0


@pytest.mark.parametrize("name", ["coinbase"])
def test_c16_tls_certificates_that_are_gone_send_nothing(
    venue: Any, connect: Callable[..., broker.Client], order: Made, tmp_path: Path
) -> None:
    client = connect({**venue.settings, "ca_file": tmp_path / "gone.pem"})
    with pytest.raises(NotSent, match=r"gone\.pem"):
        broker.place_order(client, order(venue, "sell", amount="0.001"))
    with pytest.raises(BrokerError, match=r"gone\.pem"):
        broker.get_account(client)
    assert venue.requests() == 0


@pytest.mark.parametrize("name", ["coinbase"])
def test_an_exit_does_not_wait_for_the_accounts_fees(venue: Any, client: broker.Client, order: Made) -> None:
    venue.fail("http", on="fees", status=502, times=None)
    assert broker.place_order(client, order(venue, "sell", amount="0.001")).status is OrderStatus.FILLED


@pytest.mark.parametrize(("name", "path"), [("kraken", "/Assets"), ("coinbase", "/v2/currencies")])
def test_an_exit_does_not_wait_for_the_names_of_currencies(
    venue: Any, client: broker.Client, order: Made, edited: Callable[..., None], path: str
) -> None:
    edited(venue, path, lambda told: told.clear())
    with pytest.raises(BrokerError):
        broker.get_account(client)
    receipt = broker.place_order(client, order(venue, "sell", amount="0.001"))
    assert (receipt.status, receipt.filled_amount) == (OrderStatus.FILLED, Decimal("0.001"))
    with pytest.raises(BrokerError):  # without them a balance could go by another name
        broker.get_account(client)


def test_markets_are_asked_for_without_the_key(venue: Any, client: broker.Client) -> None:
    broker.get_market(client, venue.symbol)
    signs = {"api-key", "authorization", "x-mbx-apikey"}
    assert venue.server.requests()
    assert not [request.path for request in venue.server.requests() if signs & set(request.headers)]


def test_an_order_whose_time_is_over_is_not_sent(venue: Any, client: broker.Client, order: Made) -> None:
    with pytest.raises(NotSent, match="send-by"):
        broker.place_order(client, order(venue, spend="20", send_by=SystemClock().now() - 0.01))
    assert venue.requests() == 0


class _Late(SystemClock):
    """A clock that jumps an hour once it was looked at so many times."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def now(self) -> float:
        self.looks -= 1
        return super().now() + (0 if self.looks >= 0 else 3600)


def test_time_that_runs_out_while_it_connects_stops_it(
    venue: Any, connect: Callable[..., broker.Client], order: Made
) -> None:
    client = connect(venue.settings, clock=_Late(2))  # for its deadline, and before it connects
    broker.get_account(client)
    client.close()
    with pytest.raises(NotSent, match="send-by"):
        broker.place_order(client, order(venue, spend="20"))
    assert venue.requests() == 0


@pytest.mark.parametrize("name", ["kraken"])
def test_a_market_nobody_knows_is_not_sent(venue: Any, client: broker.Client, order: Made) -> None:
    with pytest.raises(NotSent, match="no market"):
        broker.place_order(client, order(venue, spend="20", symbol="NOSUCH-USD"))


# ----------------------------------------------------------------------------------- what ccxt itself might do wrong


@pytest.fixture
def tampered(client: broker.Client, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """tampered(change): what ccxt signs for an order is changed like this before it leaves ccxt."""

    def change_requests(change: Callable[..., Any]) -> None:
        kind = getattr(client.sdk, client.settings.exchange)
        sign = kind.sign

        def signed(self: Any, path: str, api: Any = "public", method: str = "GET", params: Any = None, **_: Any) -> Any:
            return sign(self, path, api, method, change(dict(params or {})))

        monkeypatch.setattr(kind, "sign", signed)

    return change_requests


@pytest.mark.parametrize("name", ["kraken"])
def test_c10_an_order_without_its_id_never_leaves(
    venue: Any, client: broker.Client, order: Made, tampered: Callable[..., None]
) -> None:
    tampered(lambda params: {key: value for key, value in params.items() if key != "cl_ord_id"})
    with pytest.raises(NotSent, match="id"):
        broker.place_order(client, order(venue, spend="20"))
    assert venue.requests() == 0


@pytest.mark.parametrize("name", ["kraken"])
def test_an_id_in_another_field_is_none(
    venue: Any, client: broker.Client, order: Made, tampered: Callable[..., None]
) -> None:
    tampered(lambda params: {("userref" if key == "cl_ord_id" else key): value for key, value in params.items()})
    with pytest.raises(NotSent, match="cl_ord_id"):
        broker.place_order(client, order(venue, spend="20"))
    assert venue.requests() == 0


@pytest.mark.parametrize("name", ["kraken"])
@pytest.mark.parametrize(
    ("field", "terms"), [("volume", {"spend": "20.05"}), ("price", {"amount": "1", "limit": "9.1"})]
)
def test_a_size_or_limit_that_was_rounded_never_leaves(
    venue: Any, client: broker.Client, order: Made, tampered: Callable[..., None], field: str, terms: dict[str, str]
) -> None:
    tampered(lambda params: {**params, field: "20.1"} if field in params else params)
    with pytest.raises(NotSent, match="as it was judged"):
        broker.place_order(client, order(venue, **terms))
    assert venue.requests() == 0


def test_c09_no_resend_even_where_ccxt_is_told_to(venue: Any, client: broker.Client, order: Made) -> None:
    with client.asking() as line:
        line.exchange.options["maxRetriesOnFailure"] = 2
    venue.fail("cut", times=3)
    error = unknown(client, order(venue, spend="20"))
    assert venue.requests() == len(venue.orders()) == 1
    assert "second request" in str(error)


@pytest.mark.parametrize("name", ["kraken"])
@pytest.mark.parametrize("odd", [TypeError, KeyError, RecursionError])
def test_c07_parser_bomb_is_unknown_and_sent_once(
    venue: Any, client: broker.Client, order: Made, monkeypatch: pytest.MonkeyPatch, odd: type[Exception]
) -> None:
    broker.get_account(client)

    def bomb(*_: Any, **__: Any) -> None:
        raise odd("an answer nobody expected")

    with monkeypatch.context() as patched:
        patched.setattr(client.sdk.kraken, "parse_order", bomb)
        with pytest.raises((BrokerError, RecursionError)) as raised:
            broker.place_order(client, order(venue, spend="20"))
    assert not isinstance(raised.value, NotSent)
    assert venue.requests() == len(venue.orders()) == 1


# ------------------------------------------------------------------------------------------------- looking orders up


@pytest.mark.parametrize("name", ["kraken", "coinbase"])
def test_c12_half_a_listing_is_no_answer(venue: Any, client: broker.Client, order: Made) -> None:
    sent = order(venue, spend="20")
    broker.place_order(client, sent)
    venue.fail("half", on="find", times=None)
    with pytest.raises(BrokerError, match="did not show all"):
        broker.find_order(client, sent)


@pytest.mark.parametrize("name", ["coinbase"])
def test_c12_every_page_is_read(venue: Any, client: broker.Client, order: Made) -> None:
    venue.dialect.page_size = 1
    sent = [order(venue, spend="11") for _ in range(3)]
    for one in sent:
        broker.place_order(client, one)
    assert all(broker.find_order(client, one) is not None for one in sent)
    assert len(broker.get_account(client).holdings) == 2


@pytest.mark.parametrize("name", ["coinbase"])
@pytest.mark.parametrize(
    ("word", "status"),
    [("PENDING", OrderStatus.PARTLY_FILLED), ("EXPIRED", OrderStatus.EXPIRED), ("FAILED", OrderStatus.CANCELLED)],
)
def test_words_that_ccxt_runs_together_are_kept_apart(
    venue: Any, client: broker.Client, order: Made, word: str, status: OrderStatus
) -> None:
    sent = order(venue, spend="20")
    receipt = broker.place_order(client, sent)
    venue.dialect.shown_statuses[str(receipt.order_id)] = word
    found = broker.find_order(client, sent)
    assert found is not None
    assert found.status is status


@pytest.mark.parametrize("fault", ["html", "empty", "empty_object", "cut", "cut_body"])
def test_c12_an_answer_that_says_nothing_is_not_an_order_that_is_not_there(
    venue: Any, client: broker.Client, order: Made, fault: str
) -> None:
    sent = order(venue, amount="0.001", limit="40000")
    broker.place_order(client, sent)
    for times in (1, 2, 3):
        venue.fail(fault, on="find", times=times)
        with pytest.raises((BrokerError, LookupError)):
            broker.find_order(client, sent)
        venue.clear()


LISTINGS = {"kraken": ("/OpenOrders", "/ClosedOrders"), "coinbase": ("/historical/batch",)}
FILLS = {"kraken": "/TradesHistory", "coinbase": "/historical/fills"}


@pytest.fixture
def unlisted(venue: Any, name: str, edited: Callable[..., None]) -> Callable[[], None]:
    """unlisted(): from now on no listing shows an order, though its fills do."""

    def empty(told: Any) -> None:
        for table in (told, told.get("result")):
            for word in {"open", "closed", "orders"} & set(table or ()):
                table[word].clear()
                table.update({"count": 0} if word == "closed" else {"has_next": False} if word == "orders" else {})

    def hide() -> None:
        for path in LISTINGS[name]:
            edited(venue, path, empty)

    return hide


@pytest.mark.parametrize("name", ["kraken", "coinbase"])
@pytest.mark.parametrize("others", [0, 3])
def test_c12_an_order_that_shows_only_in_its_fills_is_found(
    venue: Any,
    client: broker.Client,
    order: Made,
    unlisted: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    others: int,
) -> None:
    monkeypatch.setattr("ordergate.testing.kraken._PAGE", 1)
    venue.dialect.page_size = 1  # Coinbase's
    sent = order(venue, spend="20")
    receipt = broker.place_order(client, sent)
    for _ in range(others):  # newer ones come first, on pages of their own
        broker.place_order(client, order(venue, "sell", amount="0.0005"))
        broker.place_order(client, order(venue, spend="11", symbol=venue.symbol.replace("BTC", "ETH")))
    unlisted()
    assert broker.find_order(client, sent) == receipt


@pytest.mark.parametrize("name", ["kraken", "coinbase"])
def test_c12_an_order_that_only_others_fills_surround_is_not_there(
    venue: Any, client: broker.Client, order: Made, unlisted: Callable[[], None]
) -> None:
    broker.place_order(client, order(venue, spend="20"))
    unlisted()
    assert broker.find_order(client, order(venue, spend="20")) is None


@pytest.mark.parametrize("name", ["kraken", "coinbase"])
@pytest.mark.parametrize("lack", ["orders", "fills"])
def test_c12_a_fill_whose_order_cannot_be_read_is_no_absence(
    name: str,
    venue: Any,
    client: broker.Client,
    order: Made,
    unlisted: Callable[[], None],
    edited: Callable[..., None],
    lack: str,
) -> None:
    sent = order(venue, spend="20")
    receipt = broker.place_order(client, sent)
    unlisted()
    by_number = "/QueryOrders" if name == "kraken" else f"/{receipt.order_id}"
    edited(venue, by_number if lack == "orders" else FILLS[name], lambda told: [told.clear(), told.update(error=[])])
    with pytest.raises(BrokerError):
        broker.find_order(client, sent)


@pytest.mark.parametrize("name", ["kraken", "coinbase"])
def test_the_quick_look_after_an_order_does_not_ask_for_fills(
    name: str, venue: Any, client: broker.Client, order: Made, unlisted: Callable[[], None]
) -> None:
    unlisted()
    assert broker.place_order(client, order(venue, spend="20")).status is OrderStatus.OPEN
    assert not [request.path for request in venue.server.requests() if request.path.endswith(FILLS[name])]


def test_hidden_orders_are_not_found_and_nothing_is_sent(venue: Any, client: broker.Client, order: Made) -> None:
    sent = order(venue, spend="20")
    broker.place_order(client, sent)
    venue.fail("hidden", on="find", times=None)
    assert broker.find_order(client, sent) is None
    assert venue.requests() == 1


def test_a_size_the_venue_changed_is_told(venue: Any, client: broker.Client, order: Made) -> None:
    sent = order(venue, amount="0.001", limit="40000")
    broker.place_order(client, sent)
    venue.fail("other_size", on="find", times=None)
    found = broker.find_order(client, sent)
    assert found is not None
    assert found.amount != Decimal("0.001")


# -------------------------------------------------------------------------------------------------------------- nonces


@pytest.mark.parametrize("name", ["kraken"])
def test_c17_many_threads_on_one_key_and_not_one_number_too_low(
    venue: Any, client: broker.Client, connect: Callable[..., broker.Client], crowd: Callable[..., list[Any]]
) -> None:
    broker.get_account(client)
    second = connect(venue.settings)
    broker.get_account(second)
    fees = crowd(8, lambda number: broker.get_fees(client if number % 2 else second, "BTC-USD"))
    assert len(fees) == 8
    nonces = [
        int(part.removeprefix(b"nonce="))
        for request in venue.server.requests()
        for part in request.body.split(b"&")
        if part.startswith(b"nonce=")
    ]
    assert nonces == sorted(set(nonces))


def test_a_call_that_hangs_holds_up_no_other(
    venue: Any, client: broker.Client, order: Made, crowd: Callable[..., list[Any]]
) -> None:
    broker.get_account(client)
    venue.fail("hang", on="prices")
    before = venue.server.count("prices")

    def ask(number: int) -> Any:
        if not number:
            with pytest.raises(BrokerError):
                broker.get_prices(client, [venue.symbol])
            return None
        clock = SystemClock()
        until = clock.monotonic() + 20
        while venue.server.count("prices") == before and clock.monotonic() < until:
            clock.sleep(0.002)
        try:
            return broker.place_order(client, order(venue, "sell", amount="0.001")).status
        finally:
            venue.clear()

    assert crowd(2, ask)[1] is OrderStatus.FILLED


def test_numbers_rise_for_all_lines_of_a_client_together(client: broker.Client) -> None:
    numbers = [broker._new_line(client).exchange.incrementing_nonce() for _ in range(5)]
    assert numbers == sorted(set(numbers))
