"""The rehearsed Kraken: krakenex and ccxt work against it, and what Kraken refuses, it refuses too."""

from __future__ import annotations

import http.client
import itertools
import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

import ordergate_paper as paper
from ordergate import InputError, OrderStatus, Receipt, Side
from ordergate.clock import SystemClock
from ordergate.testing.kraken import Budget, KrakenRehearsal, rehearsal, serve, signature

RECORDED: Final = Path(__file__).parents[1] / "recorded"
UUID: Final = "6d1b345e-2821-40e2-ad83-4ecb18a06876"

NONCES: Final = itertools.count(1000)


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[KrakenRehearsal]:
    with rehearsal(tmp_path / "venue") as made:
        yield made


class Caller:
    """Signed requests written here, so that every byte of them can be wrong."""

    def __init__(self, venue: KrakenRehearsal) -> None:
        self.port = venue.server.port
        self.key, self.secret = Path(str(venue.settings["key_file"])).read_text(encoding="ascii").split()
        self.nonce = 1

    def raw(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as client:
            client.request(method, path, body, dict(headers))
            return json.loads(client.getresponse().read(), parse_float=Decimal)

    def ask(self, name: str, *, as_json: bool = False, nonce: object = None, **fields: Any) -> Any:
        """The whole answer of a private method."""
        self.nonce += 1
        told = self.nonce if nonce is None else nonce
        fields = {"nonce": told, **fields}
        body = (json.dumps(fields) if as_json else urlencode(fields)).encode()
        sign = signature(self.secret, f"/0/private/{name}", str(told), body)
        kind = "application/json" if as_json else "application/x-www-form-urlencoded"
        headers = {"API-Key": self.key, "API-Sign": sign, "Content-Type": kind}
        return self.raw("POST", f"/0/private/{name}", body, headers)

    def result(self, name: str, **fields: Any) -> Any:
        answer = self.ask(name, **fields)
        assert answer["error"] == [], answer
        return answer["result"]

    def error(self, name: str, **fields: Any) -> str:
        answer = self.ask(name, **fields)
        assert "result" not in answer
        (text,) = answer["error"]
        return str(text)

    def public(self, name: str, **fields: Any) -> Any:
        return self.raw("GET", f"/0/public/{name}?{urlencode(fields)}", b"", {})

    def buy(self, **fields: Any) -> Any:
        return self.result("AddOrder", **{**BUY, **fields})["txid"][0]


BUY: Final = {"pair": "XBTUSD", "type": "buy", "ordertype": "market", "volume": "20", "oflags": "viqc"}
REST: Final = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.001", "price": "40000", "oflags": ""}


@pytest.fixture
def call(venue: KrakenRehearsal) -> Caller:
    return Caller(venue)


def deadline(seconds: float) -> str:
    moment = datetime.fromtimestamp(SystemClock().now() + seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- who may ask


def test_the_signature_is_the_published_one() -> None:
    # The example in Kraken's guide to REST authentication (docs.kraken.com, "Spot REST Authentication").
    secret = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
    body = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"

    assert signature(secret, "/0/private/AddOrder", "1616492376594", body) == (
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    )


def test_a_request_without_the_key_or_with_a_forged_signature_is_refused_and_spends_no_nonce(call: Caller) -> None:
    body = b"nonce=5"
    good = signature(call.secret, "/0/private/Balance", "5", body)
    wrong = [
        ({"API-Key": "nobody", "API-Sign": good}, body, "EAPI:Invalid key"),
        ({"API-Sign": good}, body, "EAPI:Invalid key"),
        ({"API-Key": call.key}, body, "EAPI:Invalid signature"),
        ({"API-Key": call.key, "API-Sign": "\xe4"}, body, "EAPI:Invalid signature"),
        ({"API-Key": call.key, "API-Sign": good}, b"nonce=5&asset=x", "EAPI:Invalid signature"),
        ({"API-Key": call.key, "API-Sign": good}, b"nonce=6", "EAPI:Invalid signature"),
    ]

    for headers, sent, text in wrong:
        assert call.raw("POST", "/0/private/Balance", sent, headers) == {"error": [text]}
    assert call.raw("POST", "/0/private/BalanceEx", body, {"API-Key": call.key, "API-Sign": good})["error"]
    headers = {"API-Key": call.key, "API-Sign": good, "Content-Type": "application/x-www-form-urlencoded"}
    assert call.raw("POST", "/0/private/Balance", body, headers)["error"] == []


@pytest.mark.parametrize("nonce", [7, 6, 0, -1, "x", "", 2**64, "1.5", "٨"])
def test_c17_nonce_must_rise_strictly_and_fit_64_bits(call: Caller, nonce: object) -> None:
    assert call.ask("Balance", nonce=7)["error"] == []

    assert call.error("Balance", nonce=nonce) == "EAPI:Invalid nonce"
    assert call.ask("Balance", nonce=2**64 - 1)["error"] == []


def test_an_order_with_a_used_nonce_is_not_taken(call: Caller, venue: KrakenRehearsal) -> None:
    call.ask("Balance", nonce=100)

    assert call.error("AddOrder", nonce=100, **BUY) == "EAPI:Invalid nonce"
    assert (venue.requests(), list(venue.orders())) == (1, [])


def test_g08_a_key_may_do_what_it_was_given_and_says_so(tmp_path: Path) -> None:
    with rehearsal(tmp_path, permissions=["view"]) as venue:
        call = Caller(venue)
        assert call.error("AddOrder", **BUY) == "EGeneral:Permission denied"
        assert call.error("CancelOrder", cl_ord_id=UUID) == "EGeneral:Permission denied"
        assert call.result("GetApiKeyInfo")["permissions"] == [
            "query-funds",
            "query-open-trades",
            "query-closed-trades",
        ]
    with rehearsal(tmp_path, permissions=["trade", "withdraw", "transfer", "export-data"]) as venue:
        call = Caller(venue)
        assert call.error("BalanceEx") == "EGeneral:Permission denied"
        assert {"withdraw-funds", "add-funds", "export-data"} <= set(call.result("GetApiKeyInfo")["permissions"])
    with pytest.raises(InputError, match="permissions"):
        rehearsal(tmp_path, permissions=["veiw"])


def test_the_key_stays_in_its_file_which_only_its_owner_reads(tmp_path: Path) -> None:
    with rehearsal(tmp_path) as venue:
        file = Path(str(venue.settings["key_file"]))
        first, info = file.read_text(encoding="ascii"), Caller(venue).result("GetApiKeyInfo")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert first.splitlines()[1] not in repr(venue)
    with serve(tmp_path, 0) as venue:
        again = Caller(venue).result("GetApiKeyInfo")

    assert file.read_text(encoding="ascii") == first
    assert (again["apiKey"], again["iban"]) == (info["apiKey"], info["iban"])


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/0/private/Withdraw"), ("GET", "/0/private/Balance"), ("POST", "/0/public/Balance"), ("GET", "/0/")],
)
def test_g05_unknown_methods_and_detours_are_refused(call: Caller, method: str, path: str) -> None:
    assert call.raw(method, path, b"", {"API-Key": call.key}) == {"error": ["EGeneral:Unknown method"]}


@pytest.mark.parametrize("name", ["AddOrderBatch", "EditOrder", "AmendOrder"])
def test_a08_what_could_create_an_order_is_counted_as_such(call: Caller, venue: KrakenRehearsal, name: str) -> None:
    assert call.error(name) == "EGeneral:Unknown method"
    assert venue.requests() == 1


def test_the_budget_of_requests_is_spent_and_comes_back(call: Caller, venue: KrakenRehearsal) -> None:
    venue.dialect.budget = Budget(most=3, decay=0)
    call.result("Balance")
    call.result("TradesHistory")

    assert call.error("Balance") == "EAPI:Rate limit exceeded"
    budget = Budget(most=1, decay=0.5)
    assert [budget.spend(1, now) for now in (10, 10, 12, 16)] == [True, False, False, True]


def test_orders_cost_nothing_of_the_budget(call: Caller, venue: KrakenRehearsal) -> None:
    venue.dialect.budget = Budget(most=0, decay=0)

    call.buy()
    assert call.error("Balance") == "EAPI:Rate limit exceeded"


# --- names, prices, balances


def test_pairs_go_by_three_names_and_are_answered_by_their_id(call: Caller) -> None:
    for name in ("XBTUSD", "XXBTZUSD", "XBT/USD"):
        assert list(call.public("Ticker", pair=name)["result"]) == ["XXBTZUSD"]
    names = {name: row["wsname"] for name, row in call.public("AssetPairs")["result"].items()}
    assert names == {
        "XXBTZUSD": "XBT/USD",
        "XBTUSDC": "XBT/USDC",
        "XBTUSDT": "XBT/USDT",
        "XDGUSD": "XDG/USD",
        "XETHZUSD": "ETH/USD",
        "SOLUSD": "SOL/USD",
        "USDTZUSD": "USDT/USD",
    }


def test_one_unknown_pair_fails_the_whole_call(call: Caller) -> None:
    for name in ("Ticker", "AssetPairs"):
        assert call.public(name, pair="XBTUSD,NOPE") == {"error": ["EQuery:Unknown asset pair"]}
    assert call.public("Assets", asset="XBT,NOPE") == {"error": ["EQuery:Unknown asset"]}


def test_assets_tell_codes_from_names(call: Caller) -> None:
    found = call.public("Assets")["result"]

    assert {code: row["altname"] for code, row in found.items()} == {
        "XXBT": "XBT", "XXDG": "XDG", "XETH": "ETH", "ZUSD": "USD", "SOL": "SOL", "USDC": "USDC", "USDT": "USDT",
    }  # fmt: skip
    assert list(call.public("Assets", asset="XBT")["result"]) == ["XXBT"]


def test_balances_have_holds_staked_ones_and_whatever_a_test_adds(tmp_path: Path) -> None:
    with rehearsal(tmp_path, locked={"ETH": "0.5", "BTC": "0.1"}) as venue:
        call = Caller(venue)
        venue.dialect.wallets = {"XBT.F": "0.2", "KFEE": "12", "NEW.X7": "1"}
        call.result("AddOrder", **REST)

        balances = call.result("BalanceEx")

        assert balances["ZUSD"] == {"balance": "1000.0000000000", "hold_trade": "40.1600000000"}
        assert balances["XXBT"] == {"balance": "0.0100000000", "hold_trade": "0.0000000000"}
        extra = {code: Decimal(row["balance"]) for code, row in balances.items() if code not in ("ZUSD", "XXBT")}
        assert extra == {
            "ETH.S": Decimal("0.5"),
            "XBT.S": Decimal("0.1"),
            "XBT.F": Decimal("0.2"),
            "KFEE": 12,
            "NEW.X7": 1,
        }
        assert call.result("Balance").keys() == balances.keys() <= call.public("Assets")["result"].keys() | {"SOL"}
        assert call.result("TradeBalance", asset="ZUSD")["eb"] == "1500.0000"


def test_fees_are_percents_by_pair_id(call: Caller) -> None:
    fees = call.result("TradeVolume", pair="XBTUSD")

    assert fees["fees"]["XXBTZUSD"]["fee"] == "0.8000"
    assert fees["fees_maker"]["XXBTZUSD"]["fee"] == "0.4000"
    assert "fees" not in call.result("TradeVolume")


def test_the_venues_clock_can_be_ahead(tmp_path: Path) -> None:
    with rehearsal(tmp_path, clock_ahead=3600) as venue:
        told = Caller(venue).public("Time")["result"]["unixtime"]

    assert 3590 < told - SystemClock().now() < 3610


def test_the_status_of_a_pair_is_told_and_kept_to(call: Caller, venue: KrakenRehearsal) -> None:
    venue.dialect.statuses["BTC-USD"] = "limit_only"

    assert call.public("AssetPairs", pair="XBTUSD")["result"]["XXBTZUSD"]["status"] == "limit_only"
    assert call.error("AddOrder", **BUY) == "EService:Market in limit_only mode"
    call.result("AddOrder", **REST)
    venue.dialect.statuses["BTC-USD"] = "cancel_only"
    assert call.error("AddOrder", **REST) == "EService:Market in cancel_only mode"
    assert len(venue.orders()) == 1


# --- orders


def test_a_buy_for_an_amount_of_money(call: Caller, venue: KrakenRehearsal) -> None:
    answer = call.result("AddOrder", **BUY, cl_ord_id=UUID, deadline=deadline(30))
    (txid,) = answer["txid"]
    order = call.result("QueryOrders", txid=txid, trades="true")[txid]

    assert answer["descr"] == {"order": "buy 20.00000000 XBTUSD @ market"}
    assert (order["status"], order["cl_ord_id"], order["oflags"]) == ("closed", UUID, "fciq,viqc")
    assert (order["vol"], order["vol_exec"], order["cost"]) == ("20.00000000", "0.00040000", "20.00000")
    assert (order["fee"], order["price"]) == ("0.16000", "50000.00000")
    trade = call.result("QueryTrades", txid=order["trades"][0])[order["trades"][0]]
    assert (trade["ordertxid"], trade["pair"], trade["vol"], trade["cost"]) == (
        txid,
        "XXBTZUSD",
        "0.00040000",
        "20.00000",
    )
    assert call.result("BalanceEx")["ZUSD"]["balance"] == "979.8400000000"
    (receipt,) = venue.orders()
    assert (receipt.order_id, receipt.client_order_id, receipt.status) == (txid, UUID, OrderStatus.FILLED)
    assert (receipt.spend, receipt.filled_amount, receipt.fees) == (Decimal(20), Decimal("0.0004"), Decimal("0.16"))


def test_a_sell_a_resting_order_and_its_end(call: Caller, venue: KrakenRehearsal) -> None:
    sold = call.result("AddOrder", pair="XBT/USD", type="sell", ordertype="market", volume="0.005")["txid"][0]
    rests = call.result("AddOrder", **REST, cl_ord_id="abcdefgh12345678")["txid"][0]

    assert call.result("QueryOrders", txid=sold)[sold]["cost"] == "250.00000"
    (open_order,) = call.result("OpenOrders")["open"].values()
    assert open_order["descr"]["order"] == "buy 0.00100000 XBTUSD @ limit 40000.0"
    assert (open_order["status"], open_order["vol"], open_order["vol_exec"]) == ("open", "0.00100000", "0.00000000")
    venue.set_price("BTC-USD", "39000")
    filled = call.result("ClosedOrders", cl_ord_id="abcdefgh12345678")["closed"][rests]
    assert (filled["status"], filled["price"], filled["fee"]) == ("closed", "40000.00000", "0.16000")
    makers = {row["ordertxid"]: row["maker"] for row in call.result("TradesHistory")["trades"].values()}
    assert makers == {sold: False, rests: True}


def test_a_market_buy_by_amount_as_bots_send_it(call: Caller, venue: KrakenRehearsal) -> None:
    call.buy(volume="0.001", oflags="", pair="XXBTZUSD")

    (receipt,) = venue.orders()
    assert (receipt.amount, receipt.filled_value, receipt.status) == (Decimal("0.001"), Decimal(50), OrderStatus.FILLED)
    assert call.error("AddOrder", **{**BUY, "volume": "1", "oflags": ""}) == "EOrder:Insufficient funds"


def test_json_bodies_are_taken_as_well(call: Caller, venue: KrakenRehearsal) -> None:
    call.result("AddOrder", as_json=True, **{**REST, "volume": 0.001, "price": 40000}, validate=False)

    assert [(one.amount, one.limit) for one in venue.orders()] == [(Decimal("0.001"), Decimal(40000))]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"type": "sell"}, "EGeneral:Invalid arguments:viqc"),
        ({"ordertype": "limit", "price": "40000"}, "EGeneral:Invalid arguments:viqc"),
        ({"pair": "NOPEUSD"}, "EQuery:Unknown asset pair"),
        ({"pair": ""}, "EQuery:Unknown asset pair"),
        ({"type": "long"}, "EGeneral:Invalid arguments:type"),
        ({"ordertype": "stop-loss"}, "EGeneral:Invalid arguments:ordertype"),
        ({"volume": "NaN"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "-20"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "1e3"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "20.0000001"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0.4"}, "EOrder:Cost minimum not met"),
        ({"volume": "2"}, "EOrder:Order minimum not met"),
        ({"volume": "993"}, "EOrder:Insufficient funds"),
        ({"pair": "SOLUSD"}, "EService:Market in limit_only mode"),
        ({"oflags": "viqc,post"}, "EGeneral:Invalid arguments:oflags"),
        ({"timeinforce": "IOC"}, "EGeneral:Invalid arguments:timeinforce"),
        ({"leverage": "2"}, "EGeneral:Invalid arguments:leverage"),
        ({"close[ordertype]": "limit"}, "EGeneral:Invalid arguments:close[ordertype]"),
        ({"cl_ord_id": "x" * 19}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "6d1b345e-282140e2-ad83-4ecb18a06876"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "app-12"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "ab cd"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "abc", "userref": "1"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"userref": str(2**31)}, "EGeneral:Invalid arguments:userref"),
        ({"deadline": "soon"}, "EGeneral:Invalid arguments:deadline"),
        ({"deadline": "2026-11-22T10:00:00"}, "EGeneral:Invalid arguments:deadline"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "EService:Deadline elapsed"),
    ],
)
def test_what_kraken_refuses_is_refused_in_its_words_and_not_taken(
    call: Caller, venue: KrakenRehearsal, fields: dict[str, str], text: str
) -> None:
    assert call.error("AddOrder", **{**BUY, **fields}) == text
    assert list(venue.orders()) == []


def test_limits_keep_to_the_decimals_of_the_pair(call: Caller) -> None:
    text = "EOrder:Invalid price:XBT/USD price can only be specified up to 1 decimals."

    assert call.error("AddOrder", **{**REST, "price": "40000.01"}) == text
    assert call.error("AddOrder", **{**REST, "price": ""}) == "EGeneral:Invalid arguments:price"
    assert call.result("AddOrder", **{**REST, "price": "40000.10"})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5, "EGeneral:Invalid arguments:deadline"), (62, "EGeneral:Invalid arguments:deadline"), (-1, None)],
)
def test_c15_deadline_must_be_two_seconds_to_a_minute_away(call: Caller, seconds: float, text: str | None) -> None:
    assert call.error("AddOrder", **BUY, deadline=deadline(seconds)) == (text or "EService:Deadline elapsed")


@pytest.mark.parametrize("given", [UUID, UUID.replace("-", ""), "abcdefgh12345678", "A-b_c.9"])
def test_ids_of_callers_come_in_three_forms(call: Caller, given: str) -> None:
    call.buy(cl_ord_id=given)

    (closed,) = call.result("ClosedOrders", cl_ord_id=given)["closed"].values()
    assert closed["cl_ord_id"] == given


def test_c11_an_id_is_unique_only_among_open_orders(call: Caller) -> None:
    first = call.result("AddOrder", **REST, cl_ord_id=UUID)["txid"][0]
    assert call.error("AddOrder", **REST, cl_ord_id=UUID) == "EGeneral:Invalid arguments:cl_ord_id not unique"
    call.result("CancelOrder", txid=first)

    call.buy(cl_ord_id=UUID)
    call.buy(cl_ord_id=UUID)

    closed = call.result("ClosedOrders", cl_ord_id=UUID)
    assert (closed["count"], len(closed["closed"])) == (3, 3)


def test_orders_without_an_id_show_none_and_keep_their_reference(call: Caller) -> None:
    call.buy()
    call.buy(userref="-7")

    rows = [*call.result("ClosedOrders")["closed"].values()]
    assert [(row["userref"], "cl_ord_id" in row) for row in rows] == [(-7, False), (0, False)]
    assert len(call.result("ClosedOrders", userref="-7")["closed"]) == 1
    assert call.result("OpenOrders", userref="1")["open"] == {}


def test_a_validated_order_is_described_and_not_taken(call: Caller, venue: KrakenRehearsal) -> None:
    assert call.result("AddOrder", **REST, validate="true") == {
        "descr": {"order": "buy 0.00100000 XBTUSD @ limit 40000.0"}
    }
    assert call.error("AddOrder", **{**REST, "volume": "0.00001"}, validate="true") == "EOrder:Order minimum not met"
    assert (venue.requests(), list(venue.orders())) == (0, [])


def test_cancels_go_by_any_name_and_know_what_is_gone_from_what_never_was(call: Caller) -> None:
    by_txid = call.result("AddOrder", **REST)["txid"][0]
    call.result("AddOrder", **REST, cl_ord_id=UUID)
    call.result("AddOrder", **REST, userref="5")

    assert call.result("CancelOrder", txid=by_txid) == {"count": 1, "pending": False}
    assert call.result("CancelOrder", cl_ord_id=UUID)["count"] == 1
    assert call.result("CancelOrder", txid="5")["count"] == 1
    assert call.error("CancelOrder", txid=by_txid) == "EOrder:Unknown order"
    assert call.error("CancelOrder", cl_ord_id=UUID) == "EOrder:Unknown order"
    assert call.error("CancelOrder", txid="OAAAAA-BBBBB-CCCCCC") == "EOrder:Invalid order"
    assert call.error("CancelOrder") == "EGeneral:Invalid arguments:txid"
    reasons = {(row["status"], row["reason"]) for row in call.result("ClosedOrders")["closed"].values()}
    assert reasons == {("canceled", "User requested")}


def test_a_partly_filled_market_order_ends_cancelled(call: Caller, venue: KrakenRehearsal) -> None:
    paper.set_price(venue.dialect.venue, "BTC-USD", "50000", liquidity="0.0001")
    txid = call.buy()

    order = call.result("QueryOrders", txid=txid)[txid]
    assert (order["status"], order["vol_exec"], order["reason"]) == ("canceled", "0.00010000", "Insufficient liquidity")


texts = st.text(max_size=20) | st.sampled_from(["viqc", "XBTUSD", "buy", "market", "limit", "1", "0.001", "NaN", UUID])
names = ("pair", "type", "ordertype", "volume", "price", "oflags", "cl_ord_id", "userref", "deadline", "txid", "ofs")


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KrakenRehearsal]:
    with rehearsal(tmp_path_factory.mktemp("tried")) as made:
        yield made


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["AddOrder", "CancelOrder", "QueryOrders", "ClosedOrders", "OpenOrders", "TradeVolume"]),
    fields=st.dictionaries(st.sampled_from(names), texts),
    as_json=st.booleans(),
)
def test_a05_json_tricks_whatever_is_sent_there_is_an_answer_in_krakens_form(
    tried: KrakenRehearsal, method: str, fields: dict[str, str], as_json: bool
) -> None:
    answer = Caller(tried).ask(method, as_json=as_json, nonce=next(NONCES), **{**BUY, **fields})

    assert answer["error"] == [] or answer.keys() == {"error"}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 50_000,
        b"[]",
        b"1",
        b'{"nonce": "\\ud800"}',
        b'{"nonce": {"a": 1}}',
        b'{"nonce": NaN}',
        b"\xff\xfe",
        b"null",
    ],
)
def test_a05_json_tricks_a_body_that_is_no_table_has_no_nonce(call: Caller, body: bytes) -> None:
    headers = {"API-Key": call.key, "API-Sign": "x", "Content-Type": "application/json"}

    assert call.raw("POST", "/0/private/AddOrder", body, headers) == {"error": ["EAPI:Invalid signature"]}


# --- looking up


def test_closed_orders_come_in_pages_of_fifty_newest_first(call: Caller) -> None:
    txids = [call.buy(volume="5") for _ in range(53)][::-1]

    pages = [call.result("ClosedOrders", ofs=offset) for offset in (0, 50, 100)]

    assert [page["count"] for page in pages] == [53] * 3
    assert [txid for page in pages for txid in page["closed"]] == txids
    assert len(call.result("TradesHistory", ofs=50)["trades"]) == 3
    assert len(call.result("QueryOrders", txid=",".join(txids[:50]))) == 50
    assert call.error("QueryOrders", txid=",".join(txids[:51])) == "EGeneral:Invalid arguments:txid"


def test_listings_begin_and_end_when_they_are_told(call: Caller) -> None:
    call.buy()
    now = SystemClock().now()

    assert call.result("ClosedOrders", start=f"{now + 60:.3f}")["count"] == 0
    assert call.result("ClosedOrders", start=f"{now - 60:.3f}", end=f"{now + 60:.3f}")["count"] == 1
    assert call.result("TradesHistory", end=f"{now - 60:.3f}")["count"] == 0
    assert call.error("ClosedOrders", start="yesterday") == "EGeneral:Invalid arguments:start"


def test_a_look_up_by_id_wants_ids_that_exist(call: Caller) -> None:
    call.buy(cl_ord_id=UUID)

    assert call.error("QueryOrders") == "EGeneral:Invalid arguments:txid"
    assert call.error("QueryOrders", cl_ord_id=UUID) == "EGeneral:Invalid arguments:txid"
    assert call.error("QueryOrders", txid="OAAAAA-BBBBB-CCCCCC") == "EOrder:Invalid order"
    assert call.error("QueryTrades", txid="TAAAAA-BBBBB-CCCCCC") == "EOrder:Invalid order"


def test_ids_have_the_shape_that_kraken_gives_them(call: Caller) -> None:
    assert all(
        [len(part) for part in name.split("-")] == [6, 5, 6]
        for name in (call.buy(), *call.result("TradesHistory")["trades"])
    )


# --- shapes, as recorded


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"kraken_http_{name}.json").read_text(encoding="utf-8"), parse_float=Decimal)[
        "result"
    ]


def kind(value: object) -> str:
    """Of a JSON value: numbers are numbers, written with a point or without, and what is null says nothing."""
    return "number" if isinstance(value, int | Decimal) and not isinstance(value, bool) else type(value).__name__


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """What an answer lacks of a recorded one, or has of another kind."""
    if theirs is None or ours is None:
        return []
    if kind(ours) != kind(theirs):
        return [f"{where}: {kind(ours)}, not {kind(theirs)}"]
    if isinstance(theirs, dict):
        lacking = [f"{where}: no {name}" for name in theirs if name not in ours]
        return lacking + [
            text for name in theirs if name in ours for text in differences(ours[name], theirs[name], f"{where}.{name}")
        ]
    return []


def test_the_comparison_of_shapes_sees_what_differs() -> None:
    assert differences({"a": "1"}, {"a": 1, "b": 2}) == [": no b", ".a: str, not number"]


def test_answers_have_the_shape_of_recorded_ones(call: Caller) -> None:
    call.buy()
    call.result("AddOrder", **REST)

    for name, part in (("OpenOrders", "open"), ("ClosedOrders", "closed"), ("TradesHistory", "trades")):
        found = call.result(name)
        kept = recorded({"open": "open_orders", "closed": "closed_orders", "trades": "trades_history"}[part])
        assert found.keys() == kept.keys()
        (ours,) = found[part].values()
        for row in kept[part].values():
            assert differences(ours, row) == []
    assert differences(call.public("Ticker", pair="XBTUSD")["result"]["XXBTZUSD"], recorded("ticker")["XBTUSDT"]) == []
    pair = call.public("AssetPairs", pair="XBT/USDT")["result"]["XBTUSDT"]
    kept = recorded("asset_pairs")["XBTUSDT"]
    margin = [": no long_position_limit", ": no short_position_limit"]  # there is no margin at the rehearsed one
    assert differences(pair, kept) == margin
    names = ("altname", "wsname", "base", "quote", "cost_decimals", "pair_decimals", "lot_decimals", "ordermin")
    same = {*names, "costmin", "tick_size", "status"}
    assert {name: pair[name] for name in same} == {name: kept[name] for name in same}


# --- faults and lies


def test_c05_lying_200_an_order_without_its_id_or_with_it_elsewhere(call: Caller, venue: KrakenRehearsal) -> None:
    for lie in ("no_id", "moved_id"):
        venue.fail(lie)
        assert "txid" not in call.result("AddOrder", **BUY)
    assert len(venue.orders()) == 2


def test_c05_lying_200_speaks_of_another_order_or_of_another_size(call: Caller, venue: KrakenRehearsal) -> None:
    venue.fail("other_id")
    wrong = call.buy(cl_ord_id=UUID)
    (receipt,) = venue.orders()
    assert wrong != receipt.order_id
    venue.fail("other_id", on="find", times=2)
    venue.fail("other_size", on="find")

    (other,) = call.result("ClosedOrders", cl_ord_id=UUID)["closed"].values()
    assert receipt.order_id not in call.result("QueryOrders", txid=receipt.order_id)
    (double,) = call.result("ClosedOrders", cl_ord_id=UUID)["closed"].values()

    assert other["cl_ord_id"] != UUID
    assert (double["vol"], double["descr"]["order"]) == ("40.00000000", "buy 40.00000000 XBTUSD @ market")


def test_c06_status_sweep_an_error_says_what_was_told_taken_or_not(call: Caller, venue: KrakenRehearsal) -> None:
    venue.fail("error", text="EService:Busy")
    assert call.error("AddOrder", **BUY) == "EService:Busy"
    assert len(venue.orders()) == 1
    venue.fail("error", text="EOrder:Insufficient funds", taken=False)
    assert call.error("AddOrder", **BUY) == "EOrder:Insufficient funds"
    assert (len(venue.orders()), venue.requests()) == (1, 2)


def test_c12_blind_lookups_hide_what_is_there_or_show_the_half(call: Caller, venue: KrakenRehearsal) -> None:
    txids = [call.buy(), call.buy()]
    venue.fail("hidden", on="find", times=3)
    assert call.result("ClosedOrders") == {"closed": {}, "count": 0}
    assert call.result("QueryOrders", txid=txids[0]) == {}
    assert call.result("OpenOrders", cl_ord_id=UUID) == {"open": {}}
    venue.fail("half", on="find")

    half = call.result("ClosedOrders")

    assert (list(half["closed"]), half["count"]) == ([txids[1]], 2)


def test_c12_blind_lookups_an_order_can_show_in_its_trades_alone(call: Caller, venue: KrakenRehearsal) -> None:
    txid = call.buy(cl_ord_id=UUID)
    call.result("AddOrder", **REST)
    venue.dialect.unlisted = True

    assert call.result("OpenOrders") == {"open": {}}
    assert call.result("ClosedOrders", cl_ord_id=UUID) == {"closed": {}, "count": 0}
    (trade,) = call.result("TradesHistory")["trades"].values()
    assert trade["ordertxid"] == txid
    assert call.result("QueryOrders", txid=txid)[txid]["cl_ord_id"] == UUID


def test_f02_no_balance_half_of_the_balances_can_go_missing(call: Caller, venue: KrakenRehearsal) -> None:
    venue.fail("half", on="account")

    assert len(call.result("BalanceEx")) == 1


def test_c03_late_arrival_is_refused_by_the_deadline_of_the_order(tmp_path: Path) -> None:
    class Sleepy(SystemClock):
        ahead = 0.0

        def now(self) -> float:
            return super().now() + self.ahead

    clock = Sleepy()
    with rehearsal(tmp_path) as venue:
        venue.dialect.venue = evolve(venue.dialect.venue, clock=clock)
        call = Caller(venue)
        for passes, taken in ((0.0, 1), (40.0, 1)):
            venue.fail("late")
            with pytest.raises((OSError, http.client.HTTPException)):
                call.result("AddOrder", **BUY, deadline=deadline(30))
            clock.ahead += passes
            venue.clear()
            assert len(venue.orders()) == taken


def test_every_action_has_its_name(call: Caller, venue: KrakenRehearsal) -> None:
    call.buy()
    asked = ("Balance", "BalanceEx", "TradeBalance", "OpenOrders", "ClosedOrders", "TradesHistory", "TradeVolume")
    for name in (*asked, "GetApiKeyInfo"):
        call.result(name)
    call.result("OpenOrders", cl_ord_id=UUID)
    call.error("CancelOrder", cl_ord_id=UUID)
    for name in ("Time", "SystemStatus", "Assets", "AssetPairs", "Ticker"):
        assert call.public(name)["error"] == []

    assert venue.server.counts() == {
        "place": 1,
        "account": 4,
        "find": 3,
        "fees": 1,
        "permissions": 1,
        "cancel": 1,
        "time": 1,
        "other": 1,
        "market": 2,
        "prices": 1,
    }


# --- the real clients


def test_krakenex_works_against_it(venue: KrakenRehearsal) -> None:
    client = import_module("krakenex").API()
    with closing(client):
        client.load_key(venue.settings["key_file"])
        client.uri = venue.settings["base_url"]
        client.session.trust_env = False
        client.json_options(parse_float=Decimal)
        placed = client.query_private("AddOrder", {**BUY, "cl_ord_id": UUID})
        ticker = client.query_public("Ticker", {"pair": "XBTUSD"})

    assert placed["error"] == ticker["error"] == []
    assert [one.client_order_id for one in venue.orders()] == [UUID]


def test_ccxt_works_against_it(venue: KrakenRehearsal) -> None:
    caller = Caller(venue)
    base = venue.settings["base_url"]
    client = import_module("ccxt").kraken({
        "apiKey": caller.key,
        "secret": caller.secret,
        "enableRateLimit": False,
        "urls": {"api": {"public": base, "private": base}},
    })  # fmt: skip
    try:
        client.load_markets()
        bought = client.create_order("BTC/USD", "market", "buy", 0.001, params={"clientOrderId": "abcdefgh12345678"})
        limit = client.create_order("ETH/USD", "limit", "buy", 0.01, 2000, {"clientOrderId": UUID})
        found = client.fetch_open_orders("ETH/USD", params={"clientOrderId": UUID})
        closed = client.fetch_order(bought["id"])
        client.cancel_order(limit["id"])
        balance = client.fetch_balance()
        rate = client.fetch_trading_fee("BTC/USD")
        trades = client.fetch_my_trades("BTC/USD")
    finally:
        client.session.close()

    assert client.markets.keys() >= {"BTC/USD", "ETH/USD", "DOGE/USD"}
    assert [order["id"] for order in found] == [limit["id"]]
    assert (closed["status"], closed["filled"], closed["cost"]) == ("closed", 0.001, 50.0)
    assert (balance["BTC"]["total"], balance["USD"]["free"]) == (0.011, 949.6)
    assert (rate["maker"], rate["taker"], len(trades)) == (0.004, 0.008, 1)
    assert [receipt_of(one) for one in venue.orders()] == [
        (Side.BUY, "BTC-USD", "abcdefgh12345678", OrderStatus.FILLED),
        (Side.BUY, "ETH-USD", UUID, OrderStatus.CANCELLED),
    ]


def receipt_of(receipt: Receipt) -> tuple[Side, str, str, OrderStatus]:
    return receipt.side, receipt.symbol, receipt.client_order_id, receipt.status
