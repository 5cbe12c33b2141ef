"""Bad input through every door of the Python API: an error that names the field, and nothing sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import ordergate_paper as paper
from ordergate import Decision, Executor, InputError, Order, OrderStatus

Gate = Callable[..., Executor]
Requests = Callable[[], int]

BUY = {"symbol": "BTC-USD", "side": "buy", "spend": "60"}
TEXT = '{"symbol": "BTC-USD", "side": "buy", "spend": %s}'


def refusing(decision: Decision) -> set[str]:
    return {verdict.rule for verdict in decision.refusals}


def journal_rows(executor: Executor) -> int:
    return sum(1 for _ in executor.desk.ledger().entries())


def assert_error(executor: Executor, requests: Requests, field: str, make: Callable[[], Order]) -> None:
    """Building or submitting it is an InputError about the field; nothing is sent, nothing is written down."""
    with pytest.raises(InputError) as caught:
        executor.submit(make())
    assert caught.value.field == field
    assert str(caught.value)
    assert requests() == 0
    assert journal_rows(executor) == 0


NOT_FINITE = ["NaN", "nan", "sNaN", "-NaN", "Infinity", "-Infinity", "inf", "∞"]
NOT_POSITIVE = ["0", "0.00", "-0", "-0.0", "-1", "-0.01"]
NO_AMOUNT: list[object] = [True, False, [], ["5"], {}, {"amount": 5}, b"5", object(), 1j]
ODD = [
    "1_000",
    "１２",
    "١٢",
    " 5",
    "5 ",
    "5\n",
    "",
    "0x10",
    "1e3",
    "1E3",
    "1e400",
    "1" * 400,
    "1" * 19,
    "0." + "1" * 19,
    "+5",
    "5.",
    ".5",
    "1,000",
    "5.0.0",
    "--5",
    "$5",
]


@pytest.mark.parametrize("field", ["spend", "amount", "limit"])
@pytest.mark.parametrize("value", [*NOT_FINITE, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), float("inf")])
def test_a01_nonfinite(gate: Gate, requests: Requests, field: str, value: object) -> None:
    values = {"symbol": "BTC-USD", "side": "buy", **({"amount": "0.001"} if field == "limit" else {}), field: value}
    assert_error(gate(), requests, field, lambda: Order.from_mapping(values))


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_a01_nonfinite_json_literals(gate: Gate, requests: Requests, literal: str) -> None:
    assert_error(gate(), requests, "order", lambda: Order.from_json(TEXT % literal))


@pytest.mark.parametrize("value", [*NOT_POSITIVE, 0, -1, Decimal("-0"), Decimal("0E+3"), Decimal(-1)])
def test_a02_zero_negative(gate: Gate, requests: Requests, value: object) -> None:
    assert_error(gate(), requests, "spend", lambda: Order.from_mapping({**BUY, "spend": value}))


@pytest.mark.parametrize("value", NO_AMOUNT)
def test_a02_zero_negative_or_no_number_at_all(gate: Gate, requests: Requests, value: object) -> None:
    assert_error(gate(), requests, "spend", lambda: Order.from_mapping({**BUY, "spend": value}))


@pytest.mark.parametrize("value", [None, "missing"])
def test_a02_zero_negative_missing_size(gate: Gate, requests: Requests, value: str | None) -> None:
    values: dict[str, object] = {"symbol": "BTC-USD", "side": "buy"}
    assert_error(gate(), requests, "size", lambda: Order.from_mapping(values if value else {**values, "spend": None}))


@pytest.mark.parametrize("field", ["symbol", "side"])
@pytest.mark.parametrize("value", [None, True, 1, [], {}, b"buy"])
def test_a02_zero_negative_other_fields_of_other_types(
    gate: Gate, requests: Requests, field: str, value: object
) -> None:
    executor = gate()
    assert_error(executor, requests, field, lambda: Order.from_mapping({**BUY, field: value}))
    rest = {name: told for name, told in BUY.items() if name != field}
    assert_error(executor, requests, field, lambda: Order.from_mapping(rest))


@pytest.mark.parametrize("value", ODD)
def test_a03_odd_decimals(gate: Gate, requests: Requests, value: str) -> None:
    executor = gate()
    assert_error(executor, requests, "spend", lambda: Order.from_mapping({**BUY, "spend": value}))
    assert_error(executor, requests, "spend", lambda: Order.from_json(TEXT % json.dumps(value)))


@pytest.mark.parametrize(
    "value",
    [10**18, 10**400, 10**5000, -(10**5000), Decimal("1E+400"), Decimal("1E-400")],
    ids=["19 digits", "401 digits", "5001 digits", "minus 5001 digits", "1E+400", "1E-400"],
)
def test_a03_odd_decimals_as_numbers(gate: Gate, requests: Requests, value: object) -> None:
    assert_error(gate(), requests, "spend", lambda: Order.buy("BTC-USD", spend=value))


@pytest.mark.parametrize("literal", ["1e400", "-1e400", "1e-400", "1" * 19, "1" * 400, "0." + "1" * 400])
def test_a03_odd_decimals_as_json_numbers(gate: Gate, requests: Requests, literal: str) -> None:
    assert_error(gate(), requests, "spend", lambda: Order.from_json(TEXT % literal))


@pytest.mark.parametrize("literal", ["1" * 5000, "1e9999999999999999999", "1e-9999999999999999999"], ids=len)
def test_a03_odd_decimals_that_no_parser_takes(gate: Gate, requests: Requests, literal: str) -> None:
    """Python itself declines to convert these; it must still be the order that is at fault, not the program."""
    with pytest.raises(InputError):
        gate().submit(Order.from_json(TEXT % literal))
    assert requests() == 0


def test_a04_float_drift_floats_are_refused(gate: Gate, requests: Requests) -> None:
    executor = gate()
    assert_error(executor, requests, "spend", lambda: Order.buy("BTC-USD", spend=0.1 + 0.2))
    assert_error(executor, requests, "spend", lambda: Order.buy("BTC-USD", spend=60.0))


def test_a04_float_drift_json_numbers_keep_every_digit(gate: Gate) -> None:
    executor = gate()
    text = TEXT % "60.300000000000000444"
    decision = executor.submit(Order.from_json(text.replace("}", ', "client_order_id": "exact"}')))
    assert decision.order.spend == Decimal("60.300000000000000444")
    recorded = executor.explain("exact").decision
    assert recorded.order.spend == Decimal("60.300000000000000444")
    assert recorded.venue_order is not None
    assert recorded.venue_order.spend == Decimal("60.30")  # down to the step, and exactly that on the wire
    assert recorded.receipt is not None
    assert recorded.receipt.spend == Decimal("60.30")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"symbol": "BTC-USD", "side": "sell", "side": "buy", "spend": "60"}', "side"),
        ('{"symbol": "BTC-USD", "side": "buy", "spend": "60", "spend": "6000"}', "spend"),
        ('{"symbol": "BTC-USD", "side": "buy", "spend": "60", "bypass": true}', "bypass"),
        ('{"symbol": "BTC-USD", "side": "buy", "spend": "60", "amount": "1", "limit": "5"}', "size"),
        ('{"symbol": "BTC-USD", "side": "buy", "spend": "60", "all": true}', "size"),
        ('{"symbol": "BTC-USD", "side": "buy", "all": true}', "all"),
        ('{"symbol": "BTC-USD", "side": "buy", "spend": "60", "force_liquidate": 1}', "force_liquidate"),
        ('{"symbol": "BTC-USD", "side": "buy", "spend": "60", "force_liquidate": "false"}', "force_liquidate"),
        ('{"symbol": "BTC-USD", "side": "buy", "amount": "1"}', "amount"),
        ("[]", "order"),
        ('"buy"', "order"),
        ("null", "order"),
        ("", "order"),
        ("{", "order"),
        ('{"symbol": "BTC-USD", "side": "buy", "spend": "60"} {"side": "buy"}', "order"),
        ("[" * 100_000, "order"),
    ],
)
def test_a05_json_tricks(gate: Gate, requests: Requests, text: str, field: str) -> None:
    assert_error(gate(), requests, field, lambda: Order.from_json(text))


def test_a05_json_tricks_bytes_that_are_no_text(gate: Gate, requests: Requests) -> None:
    assert_error(gate(), requests, "order", lambda: Order.from_json(b'{"symbol": "\xff\xfe"}'))


@pytest.mark.parametrize(
    "symbol",
    [
        "btc-usd",
        "BTC/USD",
        "BTC_USD",
        "BTCUSD",
        " BTC-USD",
        "BTC-USD\n",
        "ВТС-USD",  # Cyrillic letters
        "BTC‐USD",  # another hyphen
        "ＢＴＣ-USD",
        "BTC-USD-PERP",
        "BTC-",
        "-USD",
        "",
        "BTC-BTC",
        "B" * 21 + "-USD",
        "BTC-USD\x00",
        "../BTC-USD",
    ],
)
def test_a06_symbol_in_any_other_spelling(gate: Gate, requests: Requests, symbol: str) -> None:
    assert_error(gate(), requests, "symbol", lambda: Order.from_mapping({**BUY, "symbol": symbol}))


@pytest.mark.parametrize("symbol", ["XBT-USD", "XXBT-ZUSD", "LUNA-USD"])
def test_a06_symbol_that_is_an_alias_or_delisted_is_no_second_position(
    gate: Gate, requests: Requests, symbol: str
) -> None:
    decision = gate().submit(Order.buy(symbol, spend="60"))
    assert "gate.facts" in refusing(decision)
    assert f"no market {symbol}" in decision.message
    assert requests() == 0


@pytest.mark.parametrize("account", ["", "mian", "MAIN", 5, True])
def test_a06_symbol_is_fine_and_the_account_is_unknown(gate: Gate, requests: Requests, account: object) -> None:
    assert_error(gate(), requests, "account", lambda: Order.from_mapping({**BUY, "account": account}))


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "a/b", "a\n", 7, True])
def test_a06_symbol_is_fine_and_the_id_is_not(gate: Gate, requests: Requests, name: object) -> None:
    assert_error(gate(), requests, "client_order_id", lambda: Order.from_mapping({**BUY, "client_order_id": name}))


def test_a07_venue_minimum_says_value_limit_and_what_would_pass(gate: Gate, requests: Requests) -> None:
    executor = gate(rules=("position_cap",), venue="kraken", cash="1000.00")
    decision = executor.submit(Order.buy("BTC-USD", spend="3"))
    (verdict,) = decision.refusals
    assert (verdict.rule, verdict.code, verdict.limit) == ("gate.market", "venue_limits", Decimal("0.00005"))
    assert verdict.observed is not None
    assert verdict.observed < Decimal("0.00005")
    assert "0.00004352 BTC" in verdict.message
    assert "0.00005 BTC" in verdict.message
    assert decision.smallest_passing is not None
    assert requests() == 0
    assert executor.submit(Order.buy("BTC-USD", spend=decision.smallest_passing)).status is OrderStatus.FILLED


@pytest.mark.parametrize(("spend", "sent"), [("60.009", "60.00"), ("60.999999", "60.99")])
def test_a07_venue_minimum_off_step_goes_down_before_it_is_judged(gate: Gate, spend: str, sent: str) -> None:
    decision = gate().submit(Order.buy("BTC-USD", spend=spend))
    assert decision.venue_order is not None
    assert decision.venue_order.spend == Decimal(sent)


def test_a07_venue_minimum_rounding_never_goes_up(gate: Gate, requests: Requests) -> None:
    decision = gate(cash="1000.00").submit(Order.buy("BTC-USD", spend="49.999"))
    assert {"min_allocation", "min_position"} == refusing(decision)
    assert decision.refusals[0].observed == Decimal("49.99")
    assert requests() == 0


@pytest.mark.parametrize(
    "extra",
    [
        {"type": "stop"},
        {"stop_price": "60000"},
        {"oco": True},
        {"close": {"ordertype": "limit"}},
        {"orders": [BUY, BUY]},
        {"amend": "id"},
        {"replaces": "id"},
        {"leverage": "3"},
        {"reduce_only": True},
        {"params": {"force": True}},
        {"convert": "USDC"},
    ],
)
def test_a08_hidden_buy_in_a_field_of_its_own(gate: Gate, requests: Requests, extra: dict[str, Any]) -> None:
    assert_error(gate(), requests, next(iter(extra)), lambda: Order.from_mapping({**BUY, **extra}))


def test_a08_hidden_buy_a_sell_that_acquires_is_judged_as_a_buy(gate: Gate, requests: Requests) -> None:
    prices = {"BTC-USD": "68925.98", "ETH-USD": "3500.00", "ETH-BTC": "0.05"}
    executor = gate(cash="60.00", positions={"ETH-USD": "0.0500"}, prices=prices)
    decision = executor.submit(Order.sell("ETH-BTC", amount="0.01"))
    assert not decision.is_exit
    assert refusing(decision) == {"position_cap"}  # SAVER has one slot, and ETH is in it
    assert requests() == 0


def test_a08_hidden_buy_force_does_not_help_a_sell_that_acquires(gate: Gate, requests: Requests) -> None:
    prices = {"BTC-USD": "68925.98", "ETH-USD": "3500.00", "ETH-BTC": "0.05"}
    executor = gate(cash="60.00", positions={"ETH-USD": "0.0500"}, prices=prices)
    order = Order.sell("ETH-BTC", amount="0.01", force_liquidate=True, reason="an emergency, says the caller")
    decision = executor.submit(order)
    assert decision.status is OrderStatus.REFUSED
    assert "position_cap" in refusing(decision)
    assert requests() == 0


def test_a09_oversell_is_cut_to_the_holding_and_never_opens_a_short(gate: Gate, requests: Requests) -> None:
    executor = gate(positions={"ETH-USD": "0.0100"})
    decision = executor.submit(Order.sell("ETH-USD", amount="5"))
    assert decision.status is OrderStatus.FILLED
    assert decision.receipt is not None
    assert decision.receipt.filled_amount == Decimal("0.01")
    assert any("cut from 5 to 0.01" in warning for warning in decision.warnings)
    held = {holding.currency: holding.total for holding in paper.get_account(_client(executor)).holdings}
    assert held.get("ETH", Decimal(0)) == 0
    assert requests() == 1


def test_a09_oversell_of_what_is_not_held_sends_nothing(gate: Gate, requests: Requests) -> None:
    decision = gate().submit(Order.sell("ETH-USD", amount="5"))
    assert (decision.status, decision.refusals[0].code) == (OrderStatus.REFUSED, "nothing_to_sell")
    assert requests() == 0


def test_a09_oversell_of_all_is_all_that_is_available(gate: Gate) -> None:
    executor = gate(positions={"ETH-USD": "0.0100"})
    resting = executor.submit(Order.sell("ETH-USD", amount="0.004", limit="9000"))
    assert resting.status is OrderStatus.OPEN
    decision = executor.submit(Order.sell("ETH-USD", all=True))
    assert decision.receipt is not None
    assert decision.receipt.filled_amount == Decimal("0.006")


def _client(executor: Executor) -> paper.PaperVenue:
    client = executor.setup.brokers["main"].client(5.0)
    assert isinstance(client, paper.PaperVenue)
    return client
