"""What settings of these rules may be, where several rules have the same kind: amounts, counts, windows, markets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from attrs import Attribute

from ordergate import InputError
from ordergate.settings import Pattern, Within

__all__ = ["AMOUNT", "COUNT", "FRACTION", "LONGEST", "MARKET", "SECONDS", "amounts"]

LONGEST: Final = 31
"""Days: what happened earlier is not in the history that rules are given."""

AMOUNT: Final = Within(low=Decimal(0), high=Decimal(10) ** 12, above=True)
FRACTION: Final = Within(low=Decimal(0), high=Decimal(1), above=True)
COUNT: Final = Within(low=Decimal(1), high=Decimal(1_000_000))
SECONDS: Final = Within(low=Decimal(1), high=Decimal(LONGEST * 86_400))

MARKET: Final = Pattern(
    form=r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}", fix="write BASE-QUOTE in capital ASCII letters and digits, such as BTC-USD"
)


def amounts(form: Pattern) -> Callable[[Any, Attribute[Any], Any], None]:
    """Validator: a table whose keys have this form and whose values are amounts above zero."""

    def check(instance: object, attribute: Attribute[Any], table: Mapping[str, Decimal]) -> None:
        for name, amount in table.items():
            form(instance, attribute, name)
            if not amount.is_finite() or not 0 < amount <= AMOUNT.high:
                place = f"{attribute.name}.{name}"
                raise InputError(place, amount, f"give a number above 0 and at most {AMOUNT.high}")

    return check
