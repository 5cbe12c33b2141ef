"""Records come back exactly as they were, and what is no record is never taken for one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ordergate import (
    Account,
    Decision,
    FactsSummary,
    Figure,
    LedgerDamaged,
    Order,
    OrderStatus,
    Position,
    Side,
    Verdict,
    decision,
    models,
    order,
)
from ordergate.records import canonical, digest, from_plain, to_plain

amounts = st.decimals(min_value=Decimal("0.000000000000000001"), max_value=Decimal(10**18 - 1), places=18).map(
    lambda number: Decimal(format(number, "f"))
)
numbers = st.one_of(amounts, amounts.map(lambda number: -number), st.just(Decimal(0)))
symbols = st.sampled_from(["BTC-USD", "ETH-BTC", "A1-B2"])
ids = st.from_regex(r"\A[A-Za-z0-9_.-]{1,64}\Z")


@st.composite
def orders(draw: st.DrawFn) -> Order:
    common: dict[str, Any] = {
        "account": draw(st.none() | st.sampled_from(["main", "käse"])),
        "client_order_id": draw(st.none() | ids),
    }
    if draw(st.booleans()):
        limit = draw(amounts)
        if draw(st.booleans()):
            return Order.buy(draw(symbols), amount=draw(amounts), limit=limit, **common)
        return Order.buy(draw(symbols), spend=draw(amounts), limit=draw(st.none() | st.just(limit)), **common)
    size: dict[str, Any] = {"all": True} if draw(st.booleans()) else {"amount": draw(amounts)}
    forced = draw(st.booleans())
    return Order.sell(
        draw(symbols),
        force_liquidate=forced,
        reason="flood" if forced else draw(st.none() | st.just("why")),
        **size,
        **common,
    )


st.register_type_strategy(Decimal, numbers)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(str, st.text(max_size=12))
st.register_type_strategy(Order, orders())
positions = st.lists(st.from_type(Position), max_size=2).map(tuple)
attrs.resolve_types(FactsSummary)
st.register_type_strategy(FactsSummary, st.builds(FactsSummary, positions=positions))

NAMED = {name: getattr(module, name) for module in (models, order, decision) for name in module.__all__}
LOOKED_BACK = {"Basis", "History", "PastOrder"}  # folded from the journal for rules, recorded nowhere
RECORDS = [cls for name, cls in NAMED.items() if isinstance(cls, type) and name not in LOOKED_BACK]
CLASSES = [cls for cls in RECORDS if attrs.has(cls)]


def test_every_model_is_covered() -> None:
    no_records = {"REPORTING_CURRENCY", "parse_symbol", "parse_client_order_id", *LOOKED_BACK}
    assert {cls.__name__ for cls in RECORDS} == NAMED.keys() - no_records
    assert len(CLASSES) >= 18


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_model_comes_back_from_json_exactly(cls: type, data: st.DataObject) -> None:
    if issubclass(cls, Enum):
        value: object = data.draw(st.sampled_from(list(cls)))
    else:
        attrs.resolve_types(cls)  # type: ignore[type-var]  # parametrized over plain types
        value = data.draw(st.from_type(cls))
    text = canonical(value)
    again: object = from_plain(json.loads(text), cls)
    assert again == value
    assert type(again) is type(value)
    assert canonical(again) == text


@given(number=numbers)
def test_amounts_keep_every_digit_and_only_lose_trailing_zeros(number: Decimal) -> None:
    written = to_plain(number)
    assert isinstance(written, str)
    assert Decimal(written) == number
    assert "E" not in written
    assert not ("." in written and written.endswith("0"))


def test_amounts_wider_than_the_arithmetic_context_are_exact() -> None:
    wide = Decimal("1" * 54 + "." + "2" * 54)
    assert from_plain(to_plain(wide), Decimal) == wide


def plainest(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and plainest(entry) for key, entry in value.items())
    if isinstance(value, list):
        return all(map(plainest, value))
    return value is None or type(value) in (str, int, float, bool)


def test_what_is_written_is_plain_data() -> None:
    position = Position(currency="BTC", amount=Decimal("0.10"), sellable=Decimal("0.1"), value=Decimal("1E+2"))
    account = Account(
        name="main",
        equity=Decimal(100),
        cash=Decimal("0.0"),
        dust=Decimal(1),
        positions=MappingProxyType({"BTC": position}),
        position_total=Decimal(100),
        position_floor=Decimal(100),
        holdings={"BTC": position},
        cash_currencies=frozenset({"USD", "EUR", "GBP"}),
    )
    written = to_plain(account)
    assert plainest(written)
    assert written["positions"]["BTC"] == {
        "currency": "BTC", "amount": "0.1", "sellable": "0.1", "value": "100", "claimed": "0",
    }  # fmt: skip
    assert written["cash_currencies"] == ["EUR", "GBP", "USD"]
    assert from_plain(written, Account) == account


def test_enum_members_are_written_as_bare_text() -> None:
    assert type(to_plain(Side.BUY)) is str
    assert type(to_plain({"a": (Side.BUY,)})["a"][0]) is str


def test_loose_values_are_written_too() -> None:
    loose: Mapping[str, object] = MappingProxyType({"b": (Verdict.approve(observed=Decimal("1.0")),), "a": None})
    assert canonical(loose) == (
        '{"a":null,"b":[{"approved":true,"code":"approved","limit":null,"message":"","observed":"1","owner":null,'
        '"reason":null,"rule":""}]}'
    )


def test_tuples_of_records_come_back() -> None:
    verdicts = (
        Verdict.approve(),
        Verdict.refuse("small", "Too small.", observed=Decimal(1), limit=Decimal(2)),
    )
    assert from_plain(to_plain(verdicts), tuple[Verdict, ...]) == verdicts


def test_equal_values_give_one_text_whatever_their_order() -> None:
    one = {"x": Decimal("1.50"), "y": frozenset({"b", "a"})}
    two = {"y": frozenset({"a", "b"}), "x": Decimal("1.5")}
    assert canonical(one) == canonical(two) == '{"x":"1.5","y":["a","b"]}'
    assert canonical("é\ud800") == '"\\u00e9\\ud800"'


def test_digest_is_sha256() -> None:
    assert digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest(canonical({"a": 1})) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+999999", "1E-999999"])
def test_a01_nonfinite_and_endless_numbers_are_not_recorded(number: str) -> None:
    with pytest.raises(ValueError, match="cannot be recorded"):
        canonical(Verdict.approve(observed=Decimal(number)))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a01_nonfinite_seconds_are_not_recorded(number: float) -> None:
    with pytest.raises(ValueError, match="cannot be recorded"):
        canonical(FactsSummary(equity=None, cash=None, positions=(), tier=None, ages={"account": number}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"ages": {"account": number}})


def test_keys_that_are_no_text_are_not_recorded() -> None:
    with pytest.raises(TypeError, match="keys are strings"):
        to_plain({"a": {1: "x"}})


FIGURE = {"value": "5", "source": "here", "as_of": "2026-11-01"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"value": 5}, "value"),
        ({"value": "1e3"}, "value"),
        ({"value": "NaN"}, "value"),
        ({"value": "1_000"}, "value"),
        ({"value": "１２"}, "value"),
        ({"value": True}, "value"),
        ({"value": None}, "value"),
        ({"source": 7}, "source"),
        ({"bypass": True}, "bypass"),
    ],
)
def test_what_is_no_record_is_named_and_never_guessed(change: dict[str, object], named: str) -> None:
    with pytest.raises(LedgerDamaged, match=named):
        from_plain(FIGURE | change, Figure)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(LedgerDamaged, match="as_of"):
        from_plain({"value": "5", "source": "here"}, Figure)


@pytest.mark.parametrize("data", [None, [], "x", 1, {"status": "refused", "order": {"symbol": "BTC-USD"}}])
def test_other_data_is_no_decision(data: object) -> None:
    with pytest.raises(LedgerDamaged):
        from_plain(data, Decision)


def test_text_is_never_taken_for_a_list_or_an_object() -> None:
    written = to_plain(Decision(status=OrderStatus.APPROVED, order=Order.buy("BTC-USD", spend="3")))
    changes: list[dict[str, object]] = [
        {"warnings": "abc"},
        {"verdicts": {}},
        {"facts": "abc"},
        {"order": ["symbol"]},
    ]
    for change in changes:
        with pytest.raises(LedgerDamaged, match=next(iter(change))):
            from_plain(written | change, Decision)


def test_a_recorded_order_is_parsed_again() -> None:
    written = to_plain(Order.buy("BTC-USD", spend="3"))
    assert from_plain(written, Order) == Order.buy("BTC-USD", spend="3.00")
    with pytest.raises(LedgerDamaged, match="no buy skips the rules"):
        from_plain(written | {"force_liquidate": True, "reason": "x"}, Order)


def test_flags_and_words_are_not_numbers() -> None:
    decision = Decision(status=OrderStatus.APPROVED, order=Order.buy("BTC-USD", spend="3"), at=5)
    written = to_plain(decision)
    assert from_plain(written, Decision) == decision
    changes: list[dict[str, object]] = [{"is_exit": 1}, {"at": True}, {"at": "5"}, {"status": "allowed"}]
    for change in changes:
        with pytest.raises(LedgerDamaged, match=next(iter(change))):
            from_plain(written | change, Decision)
