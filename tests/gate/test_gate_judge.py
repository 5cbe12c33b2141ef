"""Properties of judging itself, on inputs built by hand: the real rules, the real gate checks, no venue."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ordergate import (
    AccountReport,
    FeesFrom,
    Figure,
    Holding,
    Market,
    OpenOrder,
    Order,
    OrderStatus,
    Price,
    Side,
    testing,
)
from ordergate.amounts import exact
from ordergate.clock import SystemClock
from ordergate.facts import Facts
from ordergate.hookspecs import RULE
from ordergate.judge import Inputs, Judgement, band, judge
from ordergate.ledger import Reservation
from ordergate.panel import ActiveRule, Panel
from ordergate.plugins import admit
from ordergate.settings import DEFAULT_TIERS
from ordergate.settings import Gate as GateSettings
from ordergate.valuation import value

NAMES = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
UNTIMED = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
NOW = 1_800_000_000.0


def _active(name: str) -> ActiveRule:
    plugin = admit(RULE, name)
    assert plugin.settings_class is not None
    return ActiveRule.of(plugin, plugin.settings_class())


RULES = {name: _active(name) for name in NAMES}


def panel_of(names: Sequence[str] = NAMES) -> Panel:
    return Panel([RULES[name] for name in names], 30.0, SystemClock())


PANEL = panel_of()


def a_market(symbol: str = "BTC-USD", price: str = "1000", **fields: Any) -> Market:
    base, quote = symbol.split("-")
    values: dict[str, Any] = {"amount_step": "0.00000001", "spend_step": "0.01", "price_step": "0.01", **fields}
    amounts = {name: None if value is None else Decimal(value) for name, value in values.items()}
    return Market(symbol=symbol, base=base, quote=quote, price=None, **amounts)  # type: ignore[arg-type]  # None only for maxima


def some_facts(
    holdings: dict[str, Holding | str],
    prices: dict[str, str | tuple[str, str]],
    markets: dict[str, Market] | None = None,
    *,
    symbol: str = "BTC-USD",
    open_orders: tuple[OpenOrder, ...] = (),
    no_market: tuple[str, ...] = (),
    taker: str = "0",
) -> Facts:
    """Facts as the reader brings them. A holding given as text is all available; a price as text is bid and ask."""
    held = tuple(
        value if isinstance(value, Holding) else Holding(currency=currency, available=Decimal(value))
        for currency, value in holdings.items()
    )
    pairs = {name: value if isinstance(value, tuple) else (value, value) for name, value in prices.items()}
    known = {name: a_market(name) for name in prices} | (markets or {})
    return Facts(
        symbol=symbol,
        begun=NOW,
        report=AccountReport(identity="funds", holdings=held, open_orders=open_orders),
        markets=tuple(known.values()),
        no_market=no_market,
        prices=tuple(Price(symbol=name, bid=Decimal(bid), ask=Decimal(ask)) for name, (bid, ask) in pairs.items()),
        maker=Figure(Decimal(taker), "a test", "2026-11-22"),
        taker=Figure(Decimal(taker), "a test", "2026-11-22"),
    )


def inputs_of(order: Order, facts: Facts, **changes: Any) -> Inputs:
    given_values: dict[str, Any] = {
        "account": "main",
        "order": order,
        "gate": GateSettings(rules=NAMES),
        "tiers": DEFAULT_TIERS,
        "profile": testing.broker("5"),
        "age": 0.1,
        **changes,
    }
    with exact():
        valuation = value(facts, given_values["gate"], given_values["profile"])
    return Inputs(valuation=valuation, **given_values)


def judged(inputs: Inputs, panel: Panel = PANEL, *, find_smallest: bool = True) -> Judgement:
    with exact():
        return judge(inputs, panel, find_smallest=find_smallest)


def approvals(judgement: Judgement) -> dict[str, tuple[bool, str]]:
    return {verdict.rule: (verdict.approved, verdict.code) for verdict in judgement.verdicts}


def refusing(judgement: Judgement) -> set[str]:
    return {verdict.rule for verdict in judgement.verdicts if not verdict.approved}


def resized(inputs: Inputs, size: Decimal) -> Inputs:
    field = "spend" if inputs.order.spend is not None else "amount"
    return evolve(inputs, order=evolve(inputs.order, **{field: size}))


# ----------------------------------------------------------------------------------------------------------- strategies


@st.composite
def situations(draw: st.DrawFn) -> Inputs:
    """Small accounts of every kind: full caps, no funds, dust, coarse steps, the venue's minimums and maxima."""
    coarse = draw(st.sampled_from(["0.01", "1", "5"]))
    market = a_market(
        amount_step=draw(st.sampled_from(["0.00000001", "0.001", "0.005"])),
        spend_step=coarse,
        min_amount=draw(st.sampled_from(["0", "0.00005", "0.015"])),
        min_spend=draw(st.sampled_from(["0", "1", "35"])),
        max_spend=draw(st.sampled_from([None, None, "12", "30", "90"])),
        max_amount=draw(st.sampled_from([None, None, "0.02", "0.05"])),
    )
    bid = draw(st.integers(80_000, 120_000)) / Decimal(100)
    ask = bid + draw(st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(20)]))
    cash = draw(st.integers(0, 400))
    held = draw(
        st.dictionaries(
            st.sampled_from(["BTC", "ETH", "SOL", "DOGE"]), st.sampled_from(["0.00001", "0.02", "0.05", "0.2"])
        )
    )
    holdings: dict[str, Holding | str] = {
        "USD": Holding(currency="USD", available=Decimal(cash), hold=Decimal(draw(st.sampled_from([0, 40])))),
        **held,
    }
    prices: dict[str, str | tuple[str, str]] = {f"{name}-USD": "1000" for name in held if name != "BTC"}
    prices["BTC-USD"] = (str(bid), str(ask))
    if draw(st.booleans()):
        size = Decimal(draw(st.integers(1, 80))) * (5 if coarse == "5" else 1)
        order = Order.buy("BTC-USD", spend=size)
    else:
        limit = draw(st.sampled_from(["700", "1000", "1500"]))
        order = Order.buy("BTC-USD", amount=Decimal(draw(st.integers(1, 60))) * Decimal("0.005"), limit=limit)
    facts = some_facts(holdings, prices, {"BTC-USD": market}, taker=draw(st.sampled_from(["0", "0.009"])))
    profile = testing.broker(
        draw(st.sampled_from(["5", "10", "20"])), fees_from=draw(st.sampled_from([FeesFrom.INSIDE, FeesFrom.ON_TOP]))
    )
    return inputs_of(order, facts, profile=profile)


# ----------------------------------------------------------------------------------------------------------- properties


@UNTIMED
@given(situations())
def test_b11_order_free_decision_and_reasons(inputs: Inputs) -> None:
    first = judged(inputs)
    for names in list(permutations(NAMES))[::17]:
        other = judged(inputs, panel_of(names))
        assert approvals(other) == approvals(first)
        assert (other.approved, other.smallest, other.smallest_in) == (
            first.approved,
            first.smallest,
            first.smallest_in,
        )
        assert {verdict.rule: verdict for verdict in other.verdicts} == {
            verdict.rule: verdict for verdict in first.verdicts
        }


@UNTIMED
@given(situations(), st.sampled_from([Decimal("0.001"), Decimal(1000), Decimal(10) ** 6]))
def test_a_decision_is_unchanged_by_the_unit_the_coin_is_counted_in(inputs: Inputs, factor: Decimal) -> None:
    """The same coin counted in thousandths or thousands of itself: amounts one way, prices the other."""
    assert approvals(judged(_recounted(inputs, factor))) == approvals(judged(inputs))


def _recounted(inputs: Inputs, factor: Decimal) -> Inputs:
    """Inputs in which one BTC of before is `factor` BTC."""
    facts, order = inputs.facts, inputs.order
    assert facts.report is not None
    with exact():
        holdings = tuple(
            evolve(one, available=one.available * factor) if one.currency == "BTC" else one
            for one in facts.report.holdings
        )
        markets = tuple(
            evolve(
                one,
                amount_step=one.amount_step * factor,
                min_amount=one.min_amount * factor,
                max_amount=None if one.max_amount is None else one.max_amount * factor,
                price_step=one.price_step / factor,
            )
            if one.base == "BTC"
            else one
            for one in facts.markets
        )
        prices = tuple(
            evolve(one, bid=one.bid / factor, ask=one.ask / factor) if one.symbol == "BTC-USD" else one
            for one in facts.prices
        )
        if order.amount is not None and order.limit is not None:
            order = evolve(order, amount=order.amount * factor, limit=order.limit / factor)
    report = evolve(facts.report, holdings=holdings)
    return inputs_of(order, evolve(facts, report=report, markets=markets, prices=prices), profile=inputs.profile)


@UNTIMED
@given(situations())
def test_the_smallest_that_passes_does_and_one_step_less_does_not(inputs: Inputs) -> None:
    judgement = judged(inputs)
    market = inputs.facts.market("BTC-USD")
    assert market is not None
    step = market.spend_step if inputs.order.spend is not None else market.amount_step
    if judgement.approved or judgement.smallest is None:
        return
    assert judgement.smallest % step == 0
    assert judgement.smallest_in == ("USD" if inputs.order.spend is not None else "BTC")
    assert judged(resized(inputs, judgement.smallest)).approved
    less = judgement.smallest - step
    assert less == 0 or not judged(resized(inputs, less), find_smallest=False).approved


@UNTIMED
@given(situations())
def test_no_smallest_is_named_exactly_when_no_size_passes(inputs: Inputs) -> None:
    """Against brute force: every size on a coarse grid is tried, far beyond what the funds cover."""
    judgement = judged(inputs)
    by_spend = inputs.order.spend is not None
    grid = (
        [Decimal(5) * number for number in range(1, 100)] if by_spend else [Decimal("0.005") * n for n in range(1, 100)]
    )
    passing = [size for size in grid if judged(resized(inputs, size), find_smallest=False).approved]
    if judgement.approved:
        return
    if passing:
        assert judgement.smallest is not None
        assert judgement.smallest <= passing[0]
    if judgement.smallest is None:
        assert passing == []


@UNTIMED
@given(situations())
def test_the_band_is_what_passes_and_nothing_outside_it(inputs: Inputs) -> None:
    with exact():
        _, found, unit, _ = band(inputs, PANEL)
    if found is None:
        assert not judged(inputs).approved
        return
    for steps, passes in ((found.least, True), (found.most, True), (found.least - 1, False), (found.most + 1, False)):
        if steps > 0:
            assert judged(resized(inputs, steps * unit), find_smallest=False).approved is passes
    if found.least > 1:
        assert found.below
    assert found.above


@UNTIMED
@given(situations(), st.sampled_from(["gate.state", "gate.facts"]))
def test_what_has_no_size_names_none(inputs: Inputs, why: str) -> None:
    if why == "gate.state":
        stopped = judged(evolve(inputs, stops=(("halted", "Only exits pass."),)))
    else:
        stopped = judged(evolve(inputs, age=10.001))
    assert not stopped.approved
    assert stopped.smallest is None
    assert why in refusing(stopped)


@UNTIMED
@given(situations())
def test_approved_means_everybody_approved(inputs: Inputs) -> None:
    judgement = judged(inputs)
    assert judgement.approved is all(verdict.approved is True for verdict in judgement.verdicts)
    assert {verdict.rule for verdict in judgement.verdicts} >= set(NAMES)


def test_nobody_approves_nothing() -> None:
    facts = some_facts({"USD": "1000"}, {"BTC-USD": "1000"})
    judgement = judged(inputs_of(Order.buy("BTC-USD", spend="60"), facts), panel_of(()))
    assert not judgement.approved
    assert approvals(judgement)["gate.state"] == (False, "no_active_rules")
    assert judgement.smallest is None


# ---------------------------------------------------------------------------------------------------- facts, and F01


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        ("NaN", "1000"),
        ("1000", "NaN"),
        ("sNaN", "1000"),
        ("Infinity", "Infinity"),
        ("0", "1000"),
        ("1000", "0"),
        ("-1000", "1000"),
        ("1001", "1000"),
    ],
)
def test_f01_bad_price_refuses_the_buy(bid: str, ask: str) -> None:
    facts = some_facts({"USD": "1000"}, {"BTC-USD": (bid, ask)})
    judgement = judged(inputs_of(Order.buy("BTC-USD", spend="60"), facts))
    assert "gate.facts" in refusing(judgement)
    assert judgement.smallest is None
    assert "BTC-USD" in next(verdict.message for verdict in judgement.verdicts if verdict.rule == "gate.facts")


def test_f01_bad_price_missing_refuses_the_buy() -> None:
    facts = some_facts({"USD": "1000"}, {}, {"BTC-USD": a_market()})
    judgement = judged(inputs_of(Order.buy("BTC-USD", spend="60"), facts))
    assert approvals(judgement)["gate.facts"] == (False, "no_trusted_facts")


def test_f01_bad_price_of_a_holding_refuses_every_buy() -> None:
    """The equity cannot be known while something that is held has no usable price."""
    facts = some_facts({"USD": "1000", "ETH": "1"}, {"BTC-USD": "1000"}, {"ETH-USD": a_market("ETH-USD")})
    assert "gate.facts" in refusing(judged(inputs_of(Order.buy("BTC-USD", spend="60"), facts)))


@pytest.mark.parametrize(
    ("age", "passes"), [(0.0, True), (10.0, True), (10.001, False), (float("nan"), False), (float("inf"), False)]
)
def test_f01_bad_price_by_its_age(age: float, passes: bool) -> None:
    facts = some_facts({"USD": "1000"}, {"BTC-USD": "1000"})
    price = evolve(facts.prices[0], at=NOW - age)
    judgement = judged(inputs_of(Order.buy("BTC-USD", spend="60"), evolve(facts, prices=(price,)), age=0.0))
    assert judgement.approved is passes


@pytest.mark.parametrize(("age", "passes"), [(10.0, True), (10.001, False), (float("nan"), False)])
def test_f02_no_balance_that_is_young_enough(age: float, passes: bool) -> None:
    facts = some_facts({"USD": "1000"}, {"BTC-USD": "1000"})
    judgement = judged(inputs_of(Order.buy("BTC-USD", spend="60"), facts, age=age))
    assert judgement.approved is passes


def test_f02_no_balance_at_all() -> None:
    facts = evolve(some_facts({"USD": "1000"}, {"BTC-USD": "1000"}), report=None, failures=("get_account failed",))
    judgement = judged(inputs_of(Order.buy("BTC-USD", spend="60"), facts))
    assert {"gate.facts", "gate.tier", *NAMES} <= refusing(judgement)
    assert judgement.summary.equity is None


# ------------------------------------------------------------------------------------------- holdings, dust, currencies


def test_f05_dust_and_fees_crumbs_are_equity_and_no_positions() -> None:
    market = a_market("ETH-USD", min_amount="0.01")
    facts = some_facts(
        {"USD": "1000", "SOL": "0.0009", "ETH": "0.009", "DOGE": "0.001"},
        {"BTC-USD": "1000", "SOL-USD": "1000", "ETH-USD": "1000", "DOGE-USD": "1000"},
        {"ETH-USD": market},
    )
    summary = judged(inputs_of(Order.buy("BTC-USD", spend="60"), facts)).summary
    # SOL is under a dollar, ETH under what the venue lets be sold, DOGE is worth exactly a dollar and counts.
    assert [held.currency for held in summary.positions] == ["DOGE"]
    assert summary.equity == Decimal(1000) + Decimal("0.9") + Decimal(9) + Decimal(1)


@pytest.mark.parametrize("form", ["available", "hold", "locked"])
def test_staked_locked_and_held_coins_count_as_positions(form: str) -> None:
    amounts = {"available": Decimal(0), form: Decimal("0.1")}
    facts = some_facts(
        {"USD": "100", "ETH": Holding(currency="ETH", **amounts)}, {"BTC-USD": "1000", "ETH-USD": "1000"}
    )
    judgement = judged(inputs_of(Order.buy("BTC-USD", spend="20"), facts))
    assert [held.currency for held in judgement.summary.positions] == ["ETH"]
    assert judgement.summary.equity == 200
    assert "position_cap" in refusing(judgement)  # SAVER has one slot


def test_locked_coins_cannot_be_what_makes_a_position_sellable() -> None:
    """100 staked BTC do not help 0.00001 BTC over the venue's minimum: what is locked cannot be sold."""
    market = a_market(min_amount="0.05")
    locked = Holding(currency="BTC", available=Decimal(0), locked=Decimal("0.3"))
    facts = some_facts({"USD": "100", "BTC": locked}, {"BTC-USD": "1000"}, {"BTC-USD": market})
    assert approvals(judged(inputs_of(Order.buy("BTC-USD", spend="49"), facts)))["dust"] == (False, "unsellable")


def test_locked_and_held_cash_is_equity_and_cannot_be_spent() -> None:
    usd = Holding(currency="USD", available=Decimal(30), hold=Decimal(30), locked=Decimal(40))
    judgement = judged(inputs_of(Order.buy("BTC-USD", spend="31"), some_facts({"USD": usd}, {"BTC-USD": "1000"})))
    assert judgement.summary.equity == 100
    assert refusing(judgement) == {"gate.funds"}


def test_a_coin_without_any_market_is_worth_nothing_and_named() -> None:
    names = tuple(f"OLD-{quote}" for quote in ("USD", "USDC", "USDT", "EUR", "GBP"))
    facts = some_facts({"USD": "100", "OLD": "5000"}, {"BTC-USD": "1000"}, no_market=names)
    judgement = judged(inputs_of(Order.buy("BTC-USD", spend="20"), facts))
    assert judgement.approved
    assert judgement.summary.equity == 100
    assert judgement.summary.unvalued == ("OLD",)
    assert tuple(judgement.summary.positions) == ()


@pytest.mark.parametrize(
    ("prices", "at_par", "equity", "passes"),
    [
        ({"USDC-USD": "0.50"}, (), "100", True),  # at the market where the venue quotes it, also off its peg
        ({"USDC-USD": "0.50"}, ("USDC",), "100", True),  # and the market goes before par
        ({}, ("USDC",), "200", True),
        ({}, (), "0", False),  # nothing says what it is worth, so nothing is bought with it
    ],
)
def test_stablecoins_are_valued_at_the_market_else_at_par_else_not(
    prices: dict[str, str | tuple[str, str]], at_par: tuple[str, ...], equity: str, passes: bool
) -> None:
    facts = some_facts({"USDC": "200"}, {"BTC-USDC": "1000", **prices}, symbol="BTC-USDC")
    gate = GateSettings(rules=NAMES, at_par=at_par)
    judgement = judged(inputs_of(Order.buy("BTC-USDC", spend="40"), facts, gate=gate))
    assert judgement.summary.equity == Decimal(equity)
    assert judgement.approved is passes
    assert tuple(judgement.summary.positions) == ()
    if not passes:
        assert "gate.facts" in refusing(judgement)


def test_free_cash_is_counted_in_the_orders_own_quote_currency() -> None:
    """A thousand dollars do not pay for an order in euros."""
    facts = some_facts(
        {"USD": "1000", "EUR": "10"}, {"BTC-EUR": "1000", "BTC-USD": "1100", "EUR-USD": "1.1"}, symbol="BTC-EUR"
    )
    judgement = judged(inputs_of(Order.buy("BTC-EUR", spend="60"), facts))
    assert refusing(judgement) == {"gate.funds"}
    funds = next(verdict for verdict in judgement.verdicts if verdict.rule == "gate.funds")
    assert [funds.observed, funds.limit] == [60, 10]
    assert judgement.summary.equity == 1011


def test_a_buy_in_another_quote_is_sized_in_dollars() -> None:
    facts = some_facts({"EUR": "1000"}, {"BTC-EUR": "1000", "BTC-USD": "2000", "EUR-USD": "2"}, symbol="BTC-EUR")
    judgement = judged(inputs_of(Order.buy("BTC-EUR", spend="50"), facts))
    size = next(verdict for verdict in judgement.verdicts if verdict.rule == "min_allocation")
    assert [size.observed, size.limit] == [100, 100]
    assert judgement.approved


def test_buying_a_cash_currency_opens_no_position() -> None:
    facts = some_facts({"USD": "100", "ETH": "0.1"}, {"USDC-USD": "1", "ETH-USD": "1000"}, symbol="USDC-USD")
    assert "position_cap" not in refusing(judged(inputs_of(Order.buy("USDC-USD", spend="20"), facts)))


def test_a_sell_that_acquires_is_judged_as_a_buy_of_what_it_acquires() -> None:
    facts = some_facts(
        {"USD": "100", "ETH": "0.1"},
        {"ETH-BTC": "0.05", "ETH-USD": "1000", "BTC-USD": "20000"},
        {"ETH-BTC": a_market("ETH-BTC", spend_step="0.00000001", price_step="0.00001")},
        symbol="ETH-BTC",
    )
    judgement = judged(inputs_of(Order.sell("ETH-BTC", amount="0.02"), facts))
    assert judgement.sized is not None
    purchase = judgement.sized.purchase
    assert (purchase.takes, purchase.gives, purchase.size) == ("BTC", "ETH", Decimal(20))
    assert "position_cap" in refusing(judgement)
    over = judged(inputs_of(Order.sell("ETH-BTC", amount="0.11"), facts))
    assert "gate.funds" in refusing(over)  # more ETH than there is


@pytest.mark.parametrize("status", ["cancel_only", "reduce_only", "offline", "limit_only", "post_only"])
def test_a_market_that_is_closed_for_buys_refuses_them(status: str) -> None:
    from ordergate import MarketStatus

    market = evolve(a_market(), status=MarketStatus(status))
    facts = some_facts({"USD": "1000"}, {"BTC-USD": "1000"}, {"BTC-USD": market})
    by_market = judged(inputs_of(Order.buy("BTC-USD", spend="60"), facts))
    by_limit = judged(inputs_of(Order.buy("BTC-USD", amount="0.06", limit="1000"), facts))
    assert refusing(by_market) == {"gate.market"}
    assert by_market.smallest is None
    assert by_limit.approved is (status in ("limit_only", "post_only"))


# --------------------------------------------------------------------------------------------------------- reservations


def reservation(**changes: Any) -> Reservation:
    values: dict[str, Any] = {
        "client_order_id": "first",
        "wire_id": "wire-first",
        "symbol": "ETH-USD",
        "gives": "USD",
        "takes": "ETH",
        "needs": Decimal(60),
        "size": Decimal(60),
    }
    return Reservation(**{**values, **changes})


def resting(amount_left: str = "0.06", **changes: Any) -> OpenOrder:
    values: dict[str, Any] = {
        "order_id": "V1",
        "symbol": "ETH-USD",
        "side": Side.BUY,
        "amount_left": Decimal(amount_left),
        "limit": Decimal(1000),
        "client_order_id": "wire-first",
    }
    return OpenOrder(**{**values, **changes})


PRICES: dict[str, str | tuple[str, str]] = {"BTC-USD": "1000", "ETH-USD": "1000"}


def with_claims(claims: tuple[Reservation, ...], usd: Holding | str = "200", **facts: Any) -> Judgement:
    """A buy of 30 USD of BTC by a SAVER, whose cap is one position."""
    snapshot = some_facts({"USD": usd}, PRICES, **facts)
    return judged(inputs_of(Order.buy("BTC-USD", spend="30"), snapshot, reservations=claims))


def free_cash(judgement: Judgement) -> Decimal | None:
    return next(verdict.limit for verdict in judgement.verdicts if verdict.rule == "gate.funds")


@pytest.mark.parametrize(
    "status", ["sending", "unknown", "open", "partly_filled", "filled", "cancelled", "rejected", "expired"]
)
def test_a_reservation_counts_in_full_while_no_receipt_has_come(status: str) -> None:
    judgement = with_claims((reservation(status=status, receipt_at=None),))
    assert refusing(judgement) == {"position_cap"}
    assert free_cash(judgement) == 140
    assert judgement.gone == ()


@pytest.mark.parametrize("status", ["filled", "cancelled", "rejected", "expired"])
def test_a_reservation_is_gone_at_the_first_facts_after_its_last_word_and_the_lag(status: str) -> None:
    lagging = evolve(testing.broker("5"), balance_lag=2.0)
    facts = some_facts({"USD": "200"}, PRICES)
    # Two seconds of lag, and twice the two seconds that a clock may be off.
    for receipt_at, gone in ((NOW + 1, False), (NOW - 5.9, False), (NOW - 6.0, True), (NOW - 60, True)):
        claims = (reservation(status=status, receipt_at=receipt_at),)
        judgement = judged(inputs_of(Order.buy("BTC-USD", spend="30"), facts, reservations=claims, profile=lagging))
        assert judgement.approved is gone
        assert judgement.gone == (("first",) if gone else ())


def test_a_resting_reservation_counts_by_what_is_left_and_its_cash_by_the_venues_hold() -> None:
    usd = Holding(currency="USD", available=Decimal(140), hold=Decimal(60))
    claims = (reservation(status="open", receipt_at=NOW - 60),)
    judgement = with_claims(claims, usd, open_orders=(resting("0.02"),))
    assert refusing(judgement) == {"position_cap"}
    assert free_cash(judgement) == 140  # the hold took the rest already: it is not taken twice


def test_an_unseen_reservation_is_not_counted_twice_when_the_venue_already_lists_it() -> None:
    usd = Holding(currency="USD", available=Decimal(140), hold=Decimal(60))
    claims = (reservation(status="sending", receipt_at=None),)
    judgement = with_claims(claims, usd, open_orders=(resting("0.06"),))
    average = next(verdict for verdict in judgement.verdicts if verdict.rule == "average_position")
    assert average.observed == Decimal(45)  # (60 + 30) / 2: the claim once, not twice
    assert refusing(judgement) == {"position_cap"}


def test_an_open_buy_that_the_gate_never_sent_counts_too() -> None:
    judgement = with_claims((), open_orders=(resting(client_order_id=None),))
    assert refusing(judgement) == {"position_cap"}


def test_an_open_sell_into_cash_claims_no_position() -> None:
    facts = some_facts({"USD": "200"}, PRICES, open_orders=(resting(side=Side.SELL, client_order_id=None),))
    assert judged(inputs_of(Order.buy("BTC-USD", spend="30"), facts)).approved


def test_two_reservations_in_one_coin_are_one_position() -> None:
    claims = tuple(
        reservation(client_order_id=name, wire_id=f"wire-{name}", symbol="BTC-USD", takes="BTC") for name in ("a", "b")
    )
    judgement = with_claims(claims)
    assert judgement.approved
    assert free_cash(judgement) == 80


@UNTIMED
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ETH", "SOL", "BTC"]),
            st.integers(10, 90),
            st.sampled_from([OrderStatus.OPEN, OrderStatus.UNKNOWN, OrderStatus.FILLED]),
            st.sampled_from([None, NOW - 5, NOW + 5]),
        ),
        max_size=5,
    )
)
def test_reservations_only_ever_make_a_decision_stricter(
    drawn: list[tuple[str, int, OrderStatus, float | None]],
) -> None:
    claims = tuple(
        reservation(
            client_order_id=str(number),
            wire_id=f"wire-{number}",
            takes=takes,
            symbol=f"{takes}-USD",
            needs=Decimal(size),
            size=Decimal(size),
            status=status,
            receipt_at=at,
        )
        for number, (takes, size, status, at) in enumerate(drawn)
    )
    facts = some_facts({"USD": "200"}, {**PRICES, "SOL-USD": "1000"})
    alone = judged(inputs_of(Order.buy("BTC-USD", spend="30"), facts))
    reserved = judged(inputs_of(Order.buy("BTC-USD", spend="30"), facts, reservations=claims))
    assert alone.approved
    counting = [
        one
        for one in claims
        if not (one.receipt_at == NOW - 5 and one.status == OrderStatus.FILLED)  # all but what these facts outlived
    ]
    assert free_cash(reserved) == Decimal(200) - sum(one.needs for one in counting)
    others = {one.takes for one in counting} - {"BTC"}
    assert ("position_cap" in refusing(reserved)) is bool(others and "BTC" not in {one.takes for one in counting})
    assert set(reserved.gone) == {one.client_order_id for one in claims} - {one.client_order_id for one in counting}
