"""The hand-written floor and the five rules agree, so that the ratios between them compare the same decision."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ordergate_rules.average_position
import ordergate_rules.dust
import ordergate_rules.min_allocation
import ordergate_rules.min_position
import ordergate_rules.position_cap
from ordergate import Account, Market, Purchase, Tier, testing
from ordergate.amounts import exact
from ordergate.bench.floor import APPROVED, Aggregates, floor

RULES = (
    ordergate_rules.position_cap,
    ordergate_rules.min_allocation,
    ordergate_rules.min_position,
    ordergate_rules.dust,
    ordergate_rules.average_position,
)
BUFFER, MULTIPLE = ordergate_rules.dust.Settings().exit_buffer, ordergate_rules.average_position.Settings().multiple

cents = st.integers(1, 30_000).map(lambda number: Decimal(number) / 100)
steps = st.sampled_from([Decimal("0.00000001"), Decimal("0.001"), Decimal("0.3"), Decimal(5)])


@st.composite
def situations(draw: st.DrawFn) -> tuple[Purchase, Market, Account, Tier, Decimal]:
    """An order, its market, an account, its tier and the broker's fee threshold."""
    held = draw(st.dictionaries(st.sampled_from(["BTC", "ETH", "SOL", "ADA"]), cents, max_size=4))
    claimed = draw(st.sets(st.sampled_from(sorted(held)))) if held else set()
    positions = {
        name: testing.position(name, value, claimed=value / 3 if name in claimed else 0) for name, value in held.items()
    }
    dust = draw(st.dictionaries(st.sampled_from(["DOT", "XRP"]), cents, max_size=2))
    price = draw(st.sampled_from(["0.02", "7.5", "68925.98"]))
    size = draw(cents)
    symbol = draw(st.sampled_from(["BTC-USD", "ETH-USD", "DOT-USD", "USDC-USD", "EUR-USD"]))
    order = testing.purchase(
        size, symbol=symbol, price=price, limit=draw(st.none() | st.sampled_from(["0.01", "68000"]))
    )
    market = testing.market(
        symbol,
        bid=price,
        amount_step=draw(steps),
        min_amount=draw(steps),
        min_spend=draw(st.sampled_from(["1", "10", "40"])),
    )
    cap = draw(st.integers(1, 5))
    tier = testing.tier(
        max_positions=cap, min_position=draw(cents), min_allocation=draw(st.sampled_from(["0.05", "0.1"]))
    )
    account = testing.account(draw(st.integers(400, 4000)) + 1200, positions=positions, dust_holdings=dust)
    return order, market, account, tier, draw(st.sampled_from([Decimal(5), Decimal(10), Decimal(60)]))


def first_refusal(values: Mapping[str, object]) -> str:
    """The code of the first rule that refuses."""
    for rule in RULES:
        verdict = testing.judge(rule, **values)  # type: ignore[arg-type]
        if not verdict.approved:
            return verdict.code
    return APPROVED


@given(situations())
def test_floor_and_rules_agree(situation: tuple[Purchase, Market, Account, Tier, Decimal]) -> None:
    order, market, account, tier, threshold = situation
    broker = testing.broker(threshold)

    with exact():
        code = floor(order, market, account, tier, broker, Aggregates.of(account), BUFFER, MULTIPLE)

    values = {"order": order, "market": market, "account": account, "tier": tier, "broker": broker}
    assert code == first_refusal(values)


@pytest.mark.parametrize(
    ("code", "order", "market", "account", "tier"),
    [
        ("approved", {}, {}, {}, {}),
        ("over_cap", {}, {}, {"positions": {"ETH": "30"}}, {}),
        ("under_allocation", {"size": "20"}, {}, {"equity": "401"}, {}),
        ("under_minimum", {"size": "9.99"}, {}, {}, {}),
        ("dust_size", {"size": "0.99"}, {}, {"equity": "1"}, {"min_position": "0.5"}),
        ("unsellable", {}, {"min_amount": "1"}, {}, {}),
        ("unsellable_after_fall", {"size": "20"}, {"min_spend": "18.01"}, {}, {}),
        ("low_average", {"size": "10"}, {}, {"positions": {"ETH": "1"}}, {"max_positions": 2}),
    ],
)
def test_every_answer_of_the_floor_is_reached(
    code: str,
    order: dict[str, str],
    market: dict[str, str],
    account: dict[str, object],
    tier: dict[str, object],
) -> None:
    held = testing.account(**account)  # type: ignore[arg-type]
    given_order, broker = testing.purchase(**order), testing.broker("5")  # type: ignore[arg-type]

    with exact():
        found = floor(
            given_order,
            testing.market(**market),  # type: ignore[arg-type]
            held,
            testing.tier(**tier),  # type: ignore[arg-type]
            broker,
            Aggregates.of(held),
            BUFFER,
            MULTIPLE,
        )

    assert found == code
