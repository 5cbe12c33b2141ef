"""Binding a table to a settings class: exact values, every fault at once, plugins' own classes included."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import Factory, field, frozen, validators
from hypothesis import given
from hypothesis import strategies as st

from ordergate import InputError
from ordergate.binding import Bound, WrittenNumber, bind
from ordergate.settings import Within


class Venue(StrEnum):
    COINBASE = "coinbase"
    KRAKEN = "kraken"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Colour(Enum):
    RED = "red"


@frozen(kw_only=True)
class Leg:
    symbol: str
    weight: Decimal = Decimal(1)


@frozen(kw_only=True)
class Everything:
    flag: bool = False
    count: int = 1
    name: str = "x"
    amount: Decimal = Decimal(1)
    wait: float = 1.0
    file: Path = Path("state-{account}.db")
    spare: Path | None = None
    venue: Venue = Venue.COINBASE
    level: Level = Level.LOW
    colour: Colour = Colour.RED
    mode: Literal["fast", "slow", 3] = "fast"
    words: tuple[str, ...] = ()
    amounts: list[Decimal] = Factory(list)
    prices: Mapping[str, Decimal] = Factory(dict)
    limits: dict[str, int] = Factory(dict)
    most: Decimal | None = None
    legs: tuple[Leg, ...] = ()
    free: Any = None


def bound(table: Mapping[str, object], cls: type = Everything, account: str | None = "main") -> Any:
    result: Bound[Any] = bind(cls, table, "t", Path("/conf"), account=account)
    assert result.problems == ()
    return result.value


def faults(table: Mapping[str, object], cls: type = Everything) -> dict[str, str]:
    result: Bound[Any] = bind(cls, table, "t", Path("/conf"))
    assert result.value is None
    assert result.problems
    return {problem.where: f"{problem.what}. {problem.fix}" for problem in result.problems}


def test_defaults_stand_where_nothing_is_said() -> None:
    assert bound({}) == Everything(file=Path("/conf/state-main.db"))


def test_every_kind_of_value_is_taken_exactly() -> None:
    value = bound(
        {
            "flag": True,
            "count": 7,
            "name": "y",
            "amount": WrittenNumber("0.10"),
            "wait": 2,
            "file": "sub/{account}.db",
            "spare": "/abs/{account}",
            "venue": "kraken",
            "level": 2,
            "colour": "red",
            "mode": 3,
            "words": ["a", "a"],
            "amounts": ["1.5", 2, WrittenNumber("3.25")],
            "prices": {"BTC-USD": "68925.98", "ETH-USD": 3500},
            "limits": {"BTC": 3},
            "most": "5",
            "legs": [{"symbol": "BTC-USD"}, {"symbol": "ETH-USD", "weight": "0.5"}],
            "free": {"a": [WrittenNumber("1.0"), "b"]},
        }
    )
    assert value == Everything(
        flag=True,
        count=7,
        name="y",
        amount=Decimal("0.1"),
        wait=2.0,
        file=Path("/conf/sub/main.db"),
        spare=Path("/abs/main"),
        venue=Venue.KRAKEN,
        level=Level.HIGH,
        colour=Colour.RED,
        mode=3,
        words=("a", "a"),
        amounts=[Decimal("1.5"), Decimal(2), Decimal("3.25")],
        prices={"BTC-USD": Decimal("68925.98"), "ETH-USD": Decimal(3500)},
        limits={"BTC": 3},
        most=Decimal(5),
        legs=(Leg(symbol="BTC-USD"), Leg(symbol="ETH-USD", weight=Decimal("0.5"))),
        free={"a": [Decimal("1.0"), "b"]},
    )
    assert isinstance(value.level, Level)
    assert isinstance(value.wait, float)


def test_members_and_paths_may_be_given_as_such() -> None:
    value = bound({"venue": Venue.KRAKEN, "file": Path("a.db"), "wait": 0.25, "words": ("a",), "most": None})
    assert (value.venue, value.file, value.wait, value.words) == (
        Venue.KRAKEN,
        Path("/conf/a.db"),
        0.25,
        ("a",),
    )


def test_without_an_account_the_braces_stay() -> None:
    assert bound({"file": "{account}.db"}, account=None).file == Path("/conf/{account}.db")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("flag", 1, "true or false"),
        ("flag", "true", "without quotes"),
        ("count", True, "whole number"),
        ("count", "3", "without quotes"),
        ("count", WrittenNumber("3.0"), "whole number"),
        ("name", 3, "quotes"),
        ("name", WrittenNumber("3.5"), "3.5 is not usable"),
        ("amount", WrittenNumber("nan"), "nan is not usable"),
        ("amount", WrittenNumber("1e3"), "1e3 is not usable"),
        ("amount", WrittenNumber("1_000.5"), "1_000.5 is not usable"),
        ("amount", 0.1, "drift"),
        ("amount", True, "true is not usable"),
        ("amount", Decimal("NaN"), "plain number"),
        ("wait", float("inf"), "plain number"),
        ("wait", float("nan"), "plain number"),
        ("wait", "1", "without quotes"),
        ("wait", True, "true is not usable"),
        ("file", 3, "path in quotes"),
        ("file", "~/x", "not expanded"),
        ("file", "", "write a path".capitalize()),
        ("spare", 3, "path in quotes"),
        ("venue", "krakn", "Did you mean kraken?"),
        ("venue", "zzz", "coinbase, kraken"),
        ("level", 3, "1, 2"),
        ("level", True, "1, 2"),
        ("mode", "fats", "Did you mean fast?"),
        ("mode", True, "fast, slow, 3"),
        ("words", "abc", "list in brackets"),
        ("words", {"a": 1}, "list in brackets"),
        ("amounts", "1", "list in brackets"),
        ("prices", ["a"], "write a table".capitalize()),
        ("prices", "BTC-USD", "Write a table"),
        ("limits", {"BTC": "3"}, "whole number"),
        ("most", "x", "plain number"),
        ("legs", {"symbol": "BTC-USD"}, "list in brackets"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_the_fix(name: str, value: object, told: str) -> None:
    found = faults({name: value})
    assert len(found) == 1
    where, text = next(iter(found.items()))
    assert where.startswith(f"t.{name}")
    assert told in text


def test_faults_inside_lists_and_tables_are_named_by_their_place() -> None:
    found = faults(
        {
            "words": ["a", 5],
            "prices": {"BTC-USD": "1", "ETH-USD": "x", "odd key": True},
            "legs": [{"symbol": "A"}, {"symbl": "B"}, 5],
        }
    )
    assert set(found) == {
        "t.words[2]",
        "t.prices.ETH-USD",
        't.prices."odd key"',
        "t.legs[2].symbol",
        "t.legs[2].symbl",
        "t.legs[3]",
    }
    assert "missing" in found["t.legs[2].symbol"]
    assert "Did you mean symbol?" in found["t.legs[2].symbl"]


@frozen(kw_only=True)
class Bounded:
    low: int = field(default=1, validator=validators.ge(0), metadata={"help": "how many to keep"})
    high: Decimal = field(default=Decimal(5), validator=Within(low=Decimal(1), high=Decimal(9)))
    span: Decimal = field(default=Decimal(1))
    needed: str = field(default="x", validator=validators.max_len(3))

    @span.validator
    def _(self, _attribute: object, value: Decimal) -> None:
        if value > self.high:
            raise ValueError(f"more than high, {self.high}")


def test_validators_of_all_fields_speak_at_once_with_faults_of_type() -> None:
    found = faults({"low": -1, "high": 10, "span": 20, "needed": 5, "extra": 1}, Bounded)
    assert set(found) == {"t.low", "t.high", "t.span", "t.needed", "t.extra"}
    assert found["t.low"] == "-1 is not usable: 'low' must be >= 0: -1. How many to keep."
    assert found["t.high"] == "10 is not usable. Give a number at least 1 and at most 9."
    assert found["t.span"] == "20 is not usable: more than high, 10. Give another value."


@frozen(kw_only=True)
class Together:
    low: int = 1
    high: int = 2

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


def test_what_a_class_refuses_as_a_whole_is_told_of_its_table() -> None:
    assert faults({"low": 3}, Together) == {"t": "it is not usable: low is above high. Correct these keys."}


def _short(value: str) -> str:
    if len(value) > 3:
        raise InputError("word", value, "use at most 3 letters")
    return value


def _upper(value: str) -> str:
    return value.upper()


@frozen
class Converted:
    word: str = field(default="x", converter=_short)
    upper: str = field(default="X", converter=_upper, validator=validators.in_(("X", "Y")))
    odd: str = field(default="x", converter=attrs.Converter(_short))  # type: ignore[misc]  # mypy knows no Converter
    top: int = 9

    def __attrs_post_init__(self) -> None:
        if self.top > 9:
            raise InputError("top", self.top, "give at most 9")


def test_what_converters_refuse_is_told_of_their_fields() -> None:
    assert bound({"word": "abc", "upper": "y"}, Converted).upper == "Y"
    found = faults({"word": "abcd", "upper": "z"}, Converted)
    assert found["t.word"] == '"abcd" is not usable. Use at most 3 letters.'
    assert "'upper' must be in" in found["t.upper"]
    assert "Use at most 3" not in str(faults({"odd": 1}, Converted))
    assert "use at most 3 letters" in faults({"odd": "abcd"}, Converted).popitem()[1].lower()


def _above_zero(values: Mapping[str, Decimal]) -> dict[str, Decimal]:
    for key, value in values.items():
        if value <= 0:
            raise InputError(f"prices.{key}", value, "it must be above zero")
    return dict(values)


@frozen
class Priced:
    prices: Mapping[str, Decimal] = field(factory=dict, converter=_above_zero)


def test_a_converter_may_name_the_key_inside_its_field() -> None:
    found = faults({"prices": {"BTC-USD": "1", "ETH-USD": "0"}}, Priced)
    assert found == {"t.prices.ETH-USD": "0 is not usable. It must be above zero."}


def test_a_class_may_name_the_field_itself() -> None:
    assert faults({"top": 10}, Converted) == {"t.top": "10 is not usable. Give at most 9."}


@frozen
class Required:
    key_file: Path = field(metadata={"help": "file with the API key, mode 0600"})
    rate: int = field(default=1, validator=validators.ge(1))


def test_a_missing_key_says_what_it_is_for() -> None:
    found = faults({"rate": 0}, Required)
    assert found["t.key_file"] == "it is missing and has no default. File with the API key, mode 0600."
    assert "t.rate" in found


@frozen
class Nothing:
    pass


def test_a_plugin_without_settings_takes_no_keys() -> None:
    assert bound({}, Nothing) == Nothing()
    assert faults({"a": 1}, Nothing) == {"t.a": "there is no such key. Nothing can be set here; take it out."}


class Plain:
    pass


@frozen
class Exits:
    a: int = 1

    def __attrs_post_init__(self) -> None:
        sys.exit(3)


@frozen
class Unreadable:
    a: NoSuchType = 1  # type: ignore[name-defined]  # noqa: F821  # what a careless plugin may ship


@frozen
class Unbindable:
    a: int | str = 1
    b: Colour | Venue = Colour.RED


@pytest.mark.parametrize("cls", [Plain, Exits, Unreadable, Unbindable])
def test_b02_settings_class_that_is_broken_is_a_problem_and_no_crash(cls: type) -> None:
    text = faults({"a": 1}, cls)["t"]
    assert "cannot be bound" in text
    assert "settings class is at fault" in text


def test_the_table_is_left_as_it_was() -> None:
    table: dict[str, object] = {"file": "a.db", "prices": {"BTC-USD": "1"}}
    bound(table)
    assert table == {"file": "a.db", "prices": {"BTC-USD": "1"}}


def test_origins_say_where_each_value_comes_from() -> None:
    result = bind(Together, {"high": 5}, "rules.x", Path("/conf"))
    assert result.origins == {"rules.x.low": "default", "rules.x.high": "file"}


@given(st.text(alphabet="0123456789+-._eEnaif１ x", max_size=12))
def test_numbers_are_exact_or_refused(text: str) -> None:
    result = bind(Everything, {"amount": text}, "t", Path("/conf"))
    if result.value is not None:
        assert result.value.amount == Decimal(text)
        assert text.isascii()
        assert not set(text) & set("_eEnaif+ ")


@pytest.mark.parametrize("value", ["0", "9.01", "-1"])
def test_bounds_name_the_field_the_value_and_both_ends(value: str) -> None:
    with pytest.raises(InputError, match=f"high: .*{value}.*at least 1 and at most 9"):
        Bounded(high=Decimal(value))


def test_settings_are_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        bound({}).amount = Decimal(2)
