"""The past of an account as its journal tells it: profit and loss, orders, peaks, and a slow second reckoning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from ordergate import Basis, History, OrderStatus, PastOrder, Purchase, Side, VenueOrder
from ordergate.amounts import exact
from ordergate.journal import Entry
from ordergate.ledger import Reservation
from ordergate.past import Past
from ordergate.records import canonical, to_plain

DAY = 86_400.0
START = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
FINAL = frozenset({"filled", "cancelled", "expired", "rejected"})
UNTIMED = settings(deadline=None)


# ------------------------------------------------------------------------------------------------ writing a journal


@define
class Journal:
    """Rows as the executor writes them, as far as the past reads them."""

    rows: list[Entry] = field(factory=list)

    def write(self, kind: str, body: dict[str, Any], at: float) -> None:
        self.rows.append(Entry("main", len(self.rows) + 1, kind, at, None, canonical(body), ""))

    def buy(
        self,
        name: str,
        at: float,
        *,
        symbol: str = "BTC-USD",
        spend: str = "100",
        rate: str = "1",
        principal: str | None = None,
        equity: str | None = None,
    ) -> None:
        with exact():
            cost = Decimal(spend) * Decimal(rate)
        base, quote = symbol.split("-")
        purchase = Purchase(
            symbol=symbol,
            side=Side.BUY,
            takes=base,
            gives=quote,
            size=cost,
            cost=cost,
            acquires=Decimal(1),
            spend=Decimal(spend),
            amount=None,
            limit=None,
            principal=principal,
        )
        reservation = Reservation(
            client_order_id=name,
            wire_id=name,
            symbol=symbol,
            gives=quote,
            takes=base,
            needs=Decimal(spend),
            size=cost,
        )
        self._decide(name, at, symbol, Side.BUY, spend, None, purchase, reservation, principal, equity)

    def sell(self, name: str, at: float, amount: str, *, symbol: str = "BTC-USD") -> None:
        self._decide(name, at, symbol, Side.SELL, None, amount, None, None, None, None)

    def refuse(self, name: str, at: float, equity: str | None, *, trusted: bool = True) -> None:
        self.write("decision", _body(name, None, None, None, None, equity, trusted=trusted), at)

    def hear(self, name: str, at: float, status: str, amount: str = "0", value: str = "0", fees: str = "0") -> None:
        receipt = {"filled_amount": amount, "filled_value": value, "fees": fees}
        self.write("receipt", {"client_order_id": name, "status": status, "receipt": receipt}, at)

    def _decide(
        self,
        name: str,
        at: float,
        symbol: str,
        side: Side,
        spend: str | None,
        amount: str | None,
        purchase: Purchase | None,
        reservation: Reservation | None,
        principal: str | None,
        equity: str | None,
    ) -> None:
        order = VenueOrder(
            account="main",
            symbol=symbol,
            side=side,
            spend=None if spend is None else Decimal(spend),
            amount=None if amount is None else Decimal(amount),
            limit=None,
            client_order_id=f"wire-{name}",
            send_by=at + 10,
        )
        self.write("decision", _body(name, order, purchase, reservation, principal, equity), at)


def _body(
    name: str,
    order: VenueOrder | None,
    purchase: Purchase | None,
    reservation: Reservation | None,
    principal: str | None,
    equity: str | None,
    *,
    trusted: bool = True,
) -> dict[str, Any]:
    return {
        "client_order_id": name,
        "venue_order": None if order is None else to_plain(order),
        "purchase": None if purchase is None else to_plain(purchase),
        "reservation": None if reservation is None else to_plain(reservation),
        "is_exit": order is not None and purchase is None,
        "order": {"principal": principal},
        "summary": None if equity is None else {"equity": equity},
        "verdicts": [{"rule": "gate.facts", "approved": trusted}],
    }


def folded(rows: Iterable[Entry]) -> Past:
    past = Past()
    for row in rows:
        past.take(row)
    return past


def seen(journal: Journal, now: float) -> History:
    return folded(journal.rows).history(now)


def the(history: History, name: str) -> PastOrder:
    return next(order for order in history.orders if order.client_order_id == name)


# ----------------------------------------------------------------------------------------------- the slow reckoning


@define
class Reckoned:
    """Everything from the rows again, each time from the first, in fractions, without any rounding."""

    amounts: dict[str, Fraction] = field(factory=dict)
    quotes: dict[str, Fraction] = field(factory=dict)
    dollars: dict[str, Fraction] = field(factory=dict)
    won: dict[str, Fraction] = field(factory=dict)
    paid: dict[str, Fraction] = field(factory=dict)
    rates: dict[str, Fraction] = field(factory=dict)

    def read(self, events: Sequence[tuple[Any, ...]]) -> None:
        known: dict[str, tuple[Fraction, Fraction, Fraction]] = {}
        over: set[str] = set()
        for kind, name, *rest in events:
            if kind == "buy":
                _, _, rate = rest
                self.rates[name] = Fraction(rate)
            if kind != "hear" or name in over:
                continue
            side, symbol, status, amount, value, fees = rest
            new = tuple(map(Fraction, (amount, value, fees)))
            old = known.get(name, (Fraction(0),) * 3)
            if new[0] >= old[0]:
                known[name] = new  # type: ignore[assignment]
                self._fill(name, side, symbol, *(now - then for now, then in zip(new, old, strict=True)))
            if status in FINAL:
                over.add(name)

    def _fill(self, name: str, side: str, symbol: str, amount: Fraction, value: Fraction, fees: Fraction) -> None:
        held = self.amounts.get(symbol, Fraction(0))
        if side == "buy":
            if held + amount == 0:
                return
            paid = value + fees
            self.amounts[symbol] = held + amount
            self.quotes[symbol] = self.quotes.get(symbol, Fraction(0)) + paid
            self.dollars[symbol] = self.dollars.get(symbol, Fraction(0)) + paid * self.rates[name]
        elif amount and held and self.quotes[symbol] > 0:
            part = min(Fraction(1), amount / held)
            sold = min(amount, held)
            cost, usd = self.quotes[symbol] * part, self.dollars[symbol] * part
            gain = (value - fees) * sold / amount * usd / cost - usd
            self.won[name] = self.won.get(name, Fraction(0)) + gain
            for book, taken in ((self.amounts, sold), (self.quotes, cost), (self.dollars, usd)):
                book[symbol] -= taken


amounts = st.decimals(Decimal("0.001"), Decimal(50), places=3).map(str)
small = st.decimals(Decimal(0), Decimal(2), places=2).map(str)


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Orders in two markets, each heard of up to three times, in any mixture."""
    events: list[tuple[Any, ...]] = []
    live: dict[str, tuple[str, str, Decimal, Decimal, Decimal]] = {}
    for number in range(draw(st.integers(1, 14))):
        if bool(live) and draw(st.booleans()):
            name = draw(st.sampled_from(sorted(live)))
            side, symbol, *totals = live[name]
            if draw(st.integers(0, 4)):
                totals = [
                    have + Decimal(draw(more)) for have, more in zip(totals, (amounts, amounts, small), strict=True)
                ]
            status = draw(st.sampled_from(["open", "partly_filled", "filled", "cancelled", "unknown"]))
            live[name] = (side, symbol, totals[0], totals[1], totals[2])
            events.append(("hear", name, side, symbol, status, *map(str, totals)))
        else:
            name, side = f"o{number}", draw(st.sampled_from(["buy", "sell"]))
            symbol = draw(st.sampled_from(["BTC-USD", "ETH-EUR"]))
            live[name] = (side, symbol, Decimal(0), Decimal(0), Decimal(0))
            rate = "1" if symbol == "BTC-USD" else draw(st.sampled_from(["1.1", "1.07", "0.93"]))
            events.append((side, name, symbol, draw(amounts), rate))
    return events


def told(events: Sequence[tuple[Any, ...]], steps: Sequence[float]) -> tuple[Journal, float]:
    journal, at = Journal(), START
    for (kind, name, *rest), step in zip(events, steps, strict=True):
        at += step
        if kind == "buy":
            journal.buy(name, at, symbol=rest[0], spend=rest[1], rate=rest[2])
        elif kind == "sell":
            journal.sell(name, at, rest[1], symbol=rest[0])
        else:
            journal.hear(name, at, rest[2], *rest[3:])
    return journal, at


@UNTIMED
@given(events=stories(), data=st.data())
def test_profit_loss_and_costs_are_what_a_slow_reckoning_says(
    events: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    steps = data.draw(st.lists(st.sampled_from([0.0, 1.0, 60.0, -30.0]), min_size=len(events), max_size=len(events)))
    journal, now = told(events, steps)
    slow = Reckoned()
    slow.read(events)

    history = seen(journal, now)

    won = {order.client_order_id: order.realised for order in history.orders if order.realised is not None}
    assert won.keys() == slow.won.keys()
    assert all(abs(Fraction(won[name]) - slow.won[name]) < Fraction(1, 10**12) for name in won)
    assert history.costs.keys() == {name for name, held in slow.amounts.items() if held}
    for name, basis in history.costs.items():
        assert Fraction(basis.amount) == slow.amounts[name]
        assert abs(Fraction(basis.cost) - slow.dollars[name]) < Fraction(1, 10**12)


@UNTIMED
@given(events=stories(), data=st.data())
def test_whatever_was_asked_in_between_folding_again_gives_the_same_past(
    events: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    """A process that looked at many moments, and one that starts now, see one past: a restart changes nothing."""
    steps = data.draw(
        st.lists(
            st.sampled_from([0.0, 60.0, 20 * DAY, 40 * DAY, -35 * DAY]), min_size=len(events), max_size=len(events)
        )
    )
    journal, now = told(events, steps)
    running = Past()
    for row in journal.rows:
        running.take(row)
        for moment in data.draw(st.lists(st.sampled_from([row.at, row.at - 40 * DAY, row.at + 32 * DAY]), max_size=2)):
            running.history(moment)
    for moment in (now, now + 32 * DAY, now - 32 * DAY):
        assert running.history(moment) == seen(journal, moment)
    assert running.reservations() == folded(journal.rows).reservations()


# ------------------------------------------------------------------------------------------------- profit and loss


def test_a_sell_wins_its_proceeds_less_the_average_cost_fees_on_both_sides() -> None:
    journal = Journal()
    for number, (amount, value, fees) in enumerate([("1", "100", "1"), ("3", "500", "3")]):
        journal.buy(f"b{number}", START)
        journal.hear(f"b{number}", START, "filled", amount, value, fees)
    journal.sell("s", START, "2")
    journal.hear("s", START, "filled", "2", "400", "4")

    history = seen(journal, START)

    assert the(history, "s").realised == 94  # 396 for half of what cost 604
    assert history.costs == {"BTC-USD": Basis(amount=Decimal(2), cost=Decimal(302))}


def test_a_sell_of_all_that_was_bought_leaves_no_crumb_of_its_cost() -> None:
    journal = Journal()
    journal.buy("b", START)
    journal.hear("b", START, "filled", "3", "100", "0")
    for number in range(3):
        journal.sell(f"s{number}", START, "1")
        journal.hear(f"s{number}", START, "filled", "1", "0", "0")

    history = seen(journal, START)

    assert history.costs == {}
    with exact():
        assert sum(the(history, f"s{number}").realised or 0 for number in range(3)) == -100


def test_another_quote_currency_is_worth_what_it_was_worth_when_it_was_spent() -> None:
    journal = Journal()
    journal.buy("b", START, symbol="BTC-EUR", rate="1.1")
    journal.hear("b", START, "filled", "1", "100", "0")
    journal.sell("s", START, "1", symbol="BTC-EUR")
    journal.hear("s", START, "filled", "1", "80", "0")

    assert the(seen(journal, START), "s").realised == -22  # 80 of 100 EUR that had cost 110 USD


def test_what_was_not_bought_here_has_no_cost_and_no_profit() -> None:
    journal = Journal()
    journal.sell("other", START, "1")
    journal.hear("other", START, "filled", "1", "100", "0")
    assert the(seen(journal, START), "other").realised is None

    journal.buy("b", START)
    journal.hear("b", START, "filled", "1", "50", "0")
    journal.sell("more", START, "4")
    journal.hear("more", START, "filled", "4", "400", "0")
    assert the(seen(journal, START), "more").realised == 50  # one of the four: 100 for what cost 50


def test_fills_are_counted_once_however_often_they_are_told() -> None:
    journal = Journal()
    journal.buy("b", START)
    for amount, value in (("0.5", "20"), ("0.5", "20"), ("0.4", "16"), ("1", "50"), ("1", "50")):
        journal.hear("b", START, "partly_filled", amount, value, "0")
    journal.hear("b", START, "filled", "1", "50", "0.5")  # the fee became known last
    journal.hear("b", START, "filled", "9", "900", "9")  # and nothing counts after the last word

    assert seen(journal, START).costs == {"BTC-USD": Basis(amount=Decimal(1), cost=Decimal("50.5"))}


def test_a_fee_that_is_told_late_makes_the_sell_worth_less() -> None:
    journal = Journal()
    journal.buy("b", START)
    journal.hear("b", START, "filled", "2", "100", "0")
    journal.sell("s", START, "1")
    journal.hear("s", START, "partly_filled", "1", "60", "0")
    journal.hear("s", START, "filled", "1", "60", "0.6")

    assert the(seen(journal, START), "s").realised == Decimal("9.4")


@pytest.mark.parametrize(
    ("status", "filled", "cost"),
    [
        ("open", ("0", "0", "0"), "100"),
        ("partly_filled", ("0.5", "49", "0.5"), "100"),
        ("unknown", ("0", "0", "0"), "100"),
        ("filled", ("1", "98", "1"), "99"),
        ("cancelled", ("0.5", "49", "0.5"), "49.5"),
        ("cancelled", ("0", "0", "0"), "0"),
        ("rejected", ("0", "0", "0"), "0"),
        ("expired", ("0", "0", "0"), "0"),
        ("filled", ("0", "0", "0"), "100"),  # a person's word, without amounts
    ],
)
def test_the_cost_of_an_order_is_the_most_it_has_taken_or_can_still_take(
    status: str, filled: tuple[str, str, str], cost: str
) -> None:
    journal = Journal()
    journal.buy("b", START, symbol="BTC-EUR", rate="1.25")
    journal.hear("b", START, status, *filled)

    with exact():
        assert the(seen(journal, START), "b").cost == Decimal(cost) * Decimal("1.25")


# ---------------------------------------------------------------------------------------------------------- orders


def test_orders_come_newest_first_whatever_the_clock_did() -> None:
    journal = Journal()
    for name, at in (("a", 0), ("b", 100), ("c", 50), ("d", 50)):
        journal.buy(name, START + at, principal=name)

    history = seen(journal, START)

    assert [order.client_order_id for order in history.orders] == ["b", "d", "c", "a"]
    assert [order.principal for order in history.orders] == ["b", "d", "c", "a"]


def test_an_order_is_looked_back_on_for_31_days_after_its_last_word_and_always_while_it_has_none() -> None:
    journal = Journal()
    journal.buy("over", START)
    journal.hear("over", START + DAY, "filled", "1", "100", "0")
    journal.buy("open", START)
    past = folded(journal.rows)

    def names(now: float) -> set[str]:
        return {order.client_order_id for order in past.history(now).orders}

    assert names(START + 32 * DAY - 1) == {"over", "open"}
    assert names(START + 32 * DAY) == {"open"}
    assert names(START + 32 * DAY - 1) == {"over", "open"}
    assert names(START + 999 * DAY) == {"open"}
    assert past.history(START + 999 * DAY).costs["BTC-USD"].cost == 100


def test_a_long_journal_does_not_fill_the_memory() -> None:
    journal, at = Journal(), START
    for number in range(4 * 256):
        at = START + number * DAY / 4
        journal.buy(f"b{number}", at)
        journal.hear(f"b{number}", at, "cancelled")
    past = folded(journal.rows)

    assert len(past._orders) < 31 * 4 + 2 * 256
    assert not past._needs
    assert len(past.history(at).orders) == 31 * 4


def test_a_clock_that_ran_ahead_for_a_moment_makes_nothing_forgotten() -> None:
    journal = Journal()
    for number in range(300):
        ahead = 400 * DAY if number in (100, 255, 256) else 0
        journal.buy(f"b{number}", START + number + ahead)
        journal.hear(f"b{number}", START + number + ahead, "cancelled")

    assert len(seen(journal, START + 300).orders) == 300


def test_what_is_asked_twice_is_built_once() -> None:
    journal = Journal()
    journal.buy("a", START)
    past = folded(journal.rows)
    first = past.history(START)
    second = past.history(START + 1)

    assert (first.orders, first.costs, first.peaks) == (second.orders, second.costs, second.peaks)
    assert first.orders is second.orders
    assert first.costs is second.costs
    assert first.peaks is second.peaks


# ------------------------------------------------------------------------------------------------------------ peaks


def test_the_peak_of_a_day_is_the_highest_equity_that_any_decision_saw_refused_ones_too() -> None:
    journal = Journal()
    midnight = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
    journal.buy("a", midnight - 1, equity="100")
    journal.refuse("b", midnight, "250.5")
    journal.refuse("c", midnight + 1, "80")
    journal.refuse("d", midnight + 2, None)
    journal.refuse("e", midnight + 3, "999999", trusted=False)

    assert seen(journal, midnight).peaks == {"2026-03-01": Decimal(100), "2026-03-02": Decimal("250.5")}


def test_peaks_are_looked_back_on_for_366_days_and_a_clock_set_back_forgets_none() -> None:
    journal = Journal()
    journal.refuse("a", START, "100")
    past = folded(journal.rows)

    assert past.history(START + 365 * DAY).peaks
    assert not past.history(START + 366 * DAY).peaks
    assert past.history(START - 40 * DAY).peaks


# ----------------------------------------------------------------------------------------------------- reservations


def test_reservations_follow_the_last_word_until_the_facts_have_caught_up() -> None:
    journal = Journal()
    journal.buy("a", START)
    journal.buy("b", START)
    journal.hear("a", START + 1, "open")
    journal.hear("a", START + 2, "filled", "1", "100", "0")
    journal.hear("a", START + 3, "cancelled", "1", "100", "0")
    a, b = folded(journal.rows).reservations()
    assert (a.status, a.receipt_at) == (OrderStatus.FILLED, START + 2)
    assert (b.status, b.receipt_at) == ("sending", None)

    journal.write("settled", {"gone": ["a"]}, START + 4)
    assert folded(journal.rows).reservations() == (b,)
