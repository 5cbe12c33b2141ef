"""The example rule does what its guide says, and passes the checks for rules."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from types import ModuleType

import pytest

from ordergate import InputError, testing


@pytest.fixture
def concentration(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("ordergate_concentration")


def test_it_is_a_rule(concentration: ModuleType) -> None:
    testing.check_rule(concentration)
    testing.check_rule(concentration, account=testing.account("1000", positions={"BTC": "499.99", "ETH": "300"}))


def test_the_limit_itself_passes_and_one_cent_more_does_not(concentration: ModuleType) -> None:
    account = testing.account("1000", positions={"BTC": "100"})
    assert testing.judge(concentration, account=account, order=testing.purchase("400.00")).approved
    verdict = testing.judge(concentration, account=account, order=testing.purchase("400.01"))
    assert (verdict.code, verdict.observed, verdict.limit) == ("too_concentrated", Decimal("500.01"), Decimal(500))


def test_another_currency_does_not_count(concentration: ModuleType) -> None:
    account = testing.account("1000", positions={"ETH": "900"})
    assert testing.judge(concentration, account=account, order=testing.purchase("100")).approved


def test_cash_may_be_bought_without_end(concentration: ModuleType) -> None:
    order = testing.purchase("5000", symbol="USDC-USD", price="1")
    assert testing.judge(concentration, order=order).approved


@pytest.mark.parametrize("share", ["0", "-0.1", "1.01"])
def test_a_share_that_is_none(concentration: ModuleType, share: str) -> None:
    with pytest.raises(InputError, match="share"):
        concentration.Settings(share=Decimal(share))
