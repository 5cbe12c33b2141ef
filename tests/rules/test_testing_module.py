"""The builders say what they were told, and `check_rule` finds what the gate would refuse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal, localcontext
from itertools import count
from types import ModuleType
from typing import Any

import pytest
from attrs import evolve, frozen

from ordergate import Account, InputError, Purchase, Verdict, hookimpl, testing


def rule(function: Callable[..., Any], **members: object) -> ModuleType:
    module = ModuleType("some_rule")
    vars(module).update(members, validate_order=hookimpl(function))
    return module


def at_least_ten(order: Purchase) -> Verdict:
    limit = Decimal(10)
    if order.size >= limit:
        return Verdict.approve(observed=order.size, limit=limit)
    return Verdict.refuse("under_ten", f"{order.size:f} USD is under 10 USD.", observed=order.size, limit=limit)


def at_most_a_tenth(order: Purchase, account: Account) -> Verdict:
    if order.cost * 10 <= account.equity:
        return Verdict.approve()
    return Verdict.refuse("over_tenth", "It would cost over a tenth of the equity.")


def indifferent() -> Verdict:
    return Verdict.approve()


@pytest.mark.parametrize("function", [at_least_ten, at_most_a_tenth, indifferent])
def test_check_rule_passes_a_minimum_a_maximum_and_an_indifferent_rule(function: Callable[..., Any]) -> None:
    testing.check_rule(rule(function))


class Subclass(Verdict):
    pass


def between(order: Purchase) -> Verdict:
    return Verdict.approve() if 10 <= order.size <= 100 else Verdict.refuse("outside", "Outside of 10 to 100.")


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "none": (lambda: None, "None; only a Verdict counts"),
    "true": (lambda: True, "True; only a Verdict counts"),
    "subclass": (lambda: Subclass(approved=True, code="approved", message=""), "only a Verdict counts"),
    "truthy": (lambda: Verdict(approved=1, code="approved", message=""), "approved is 1"),  # type: ignore[arg-type]
    "code": (lambda: Verdict.refuse("Over Half!", "No."), "'Over Half!' is no word in snake_case"),
    "mute": (lambda: Verdict.refuse("muted", " "), "say why in one sentence"),
    "float": (lambda: Verdict.approve(observed=1.5), "observed is 1.5"),  # type: ignore[arg-type]
    "nan": (lambda: Verdict.approve(limit=Decimal("NaN")), "limit is Decimal"),
    "no number": (lambda: Verdict.refuse("low", "Under 10.", limit=Decimal(20)), "lacks limit, 20"),
    "part of a number": (lambda: Verdict.refuse("low", "Under 120.5.", limit=Decimal(20)), "lacks limit"),
    "band": (between, "neither a minimum"),
    "argument": (lambda wallet: Verdict.approve(), "takes wallet"),
}


@pytest.mark.parametrize("name", WRONG)
def test_check_rule_names_what_is_wrong(name: str) -> None:
    function, complaint = WRONG[name]
    with pytest.raises(AssertionError, match=complaint):
        testing.check_rule(rule(function))


def test_check_rule_finds_a_rule_that_remembers() -> None:
    calls = count()
    with pytest.raises(AssertionError, match="to the same question"):
        testing.check_rule(rule(lambda: Verdict.approve(observed=Decimal(next(calls)))))


def test_check_rule_does_not_hide_what_the_rule_raises() -> None:
    def fails_on_dust(order: Purchase) -> Verdict:
        if order.size < 1:
            raise ZeroDivisionError
        return Verdict.approve()

    with pytest.raises(ZeroDivisionError):
        testing.check_rule(rule(fails_on_dust))


def test_check_rule_wants_a_marked_function() -> None:
    def unmarked() -> Verdict:
        return Verdict.approve()

    module = ModuleType("unmarked")
    vars(module)["validate_order"] = unmarked
    with pytest.raises(AssertionError, match="marked with @hookimpl"):
        testing.check_rule(module)


def test_check_rule_resizes_all_of_the_order() -> None:
    seen: list[Purchase] = []

    def remember(order: Purchase) -> Verdict:
        seen.append(order)
        return Verdict.approve()

    order = testing.purchase("10", cost="10.10", acquires="0.2", amount="0.2", limit="50")
    testing.check_rule(rule(remember), order=order, market=testing.market(amount_step="0.001"))
    twenty = next(order for order in seen if order.size == 20)
    assert twenty == evolve(
        order, size=Decimal(20), cost=Decimal("20.2"), acquires=Decimal("0.4"), amount=Decimal("0.4")
    )


def test_judge_asks_in_exact_arithmetic_whatever_the_callers_context() -> None:
    def product(order: Purchase) -> Verdict:
        return Verdict.approve(observed=order.size * order.size)

    with localcontext() as context:
        context.prec = 3
        verdict = testing.judge(rule(product), order=testing.purchase("1.000000000000000001"))
    assert verdict.observed == Decimal("1.000000000000000002000000000000000001")


def test_judge_hands_over_settings_the_rules_own_or_the_given_ones() -> None:
    @frozen
    class Settings:
        least: Decimal = Decimal(3)

    def reads(settings: Settings) -> Verdict:
        return Verdict.approve(limit=settings.least)

    module = rule(reads, rule_settings=lambda: Settings)
    assert testing.judge(module).limit == 3
    assert testing.judge(module, settings=Settings(Decimal(4))).limit == 4
    with pytest.raises(AssertionError, match="return an attrs class"):
        testing.judge(rule(reads, rule_settings=lambda: dict))


def test_judge_refuses_facts_that_do_not_exist() -> None:
    with pytest.raises(TypeError, match="'orders'"):
        testing.judge(rule(at_least_ten), orders=testing.purchase())  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: testing.purchase(0.1), "size"),  # type: ignore[arg-type]
        (lambda: testing.purchase("1e3"), "size"),
        (lambda: testing.market(bid="1_000"), "bid"),
        (lambda: testing.account("ten"), "equity"),
        (lambda: testing.account("10", positions={"ETH": "35"}), "equity"),
        (lambda: testing.tier(min_position=True), "min_position"),
        (lambda: testing.broker("nan"), "fee_threshold"),
    ],
)
def test_builders_name_the_field_they_cannot_take(build: Callable[[], object], field: str) -> None:
    with pytest.raises(InputError, match=f"^{field}:"):
        build()


def test_account_adds_up() -> None:
    account = testing.account("335", positions={"ETH": "35"}, dust_holdings={"DOGE": "0.02"})
    assert (account.cash, account.position_total) == (Decimal("299.98"), Decimal(35))
    assert set(account.positions) == {"ETH"}
    assert set(account.holdings) == {"ETH", "DOGE"}


def test_import_ordergate_does_not_bring_it() -> None:
    code = "import ordergate, sys; sys.exit('ordergate.testing' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
