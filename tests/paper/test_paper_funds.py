"""Whatever is ordered, cancelled and told: no money comes from nowhere, and no balance falls below zero."""

from __future__ import annotations

import itertools
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

import ordergate_paper as paper
from ordergate import Receipt, Side, VenueOrder
from ordergate.amounts import exact

START_CASH, START_ETH = Decimal("500.00"), Decimal("0.30000000")
SEND_BY = 10.0**11  # far in the future

spends = st.decimals(min_value="0.01", max_value=600, places=2)
eth = st.decimals(min_value="0.00000001", max_value="0.6", places=8)
eth_prices = st.decimals(min_value=500, max_value=3000, places=2)
venues = st.sampled_from(list(paper.Imitated))


def venue(folder: str, imitated: paper.Imitated, spread: str = "0") -> paper.PaperVenue:
    # Where cash is not in USD, the same USD come as a position.
    in_usd = imitated is not paper.Imitated.BINANCE
    return paper.connect(
        paper.Settings(
            venue=imitated,
            state=Path(folder) / "paper.db",
            cash=START_CASH if in_usd else "0",
            positions={"ETH-USD": START_ETH, **({} if in_usd else {"USD-USDT": START_CASH})},
            prices={"ETH-USD": "1500.00"},
            spread=spread,
        )
    )


def order(number: int, side: Side, **amounts: Decimal) -> VenueOrder:
    fields: dict[str, Any] = {"spend": None, "amount": None, "limit": None, **amounts}
    return VenueOrder(
        account="main",
        symbol="ETH-USD",
        side=side,
        client_order_id=f"order-{number}",
        send_by=SEND_BY,
        **fields,
    )


def holdings(client: paper.PaperVenue) -> dict[str, tuple[Decimal, Decimal]]:
    found = {each.currency: (each.available, each.hold) for each in paper.get_account(client).holdings}
    return {currency: found.get(currency, (Decimal(0), Decimal(0))) for currency in ("USD", "ETH")}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(imitated=venues, price=eth_prices, spend=spends, liquidity=st.none() | eth)
def test_a_round_trip_at_one_price_never_earns(
    imitated: paper.Imitated, price: Decimal, spend: Decimal, liquidity: Decimal | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        client = venue(folder, imitated)
        paper.set_price(client, "ETH-USD", price, liquidity=liquidity)
        bought = paper.place_order(client, order(1, Side.BUY, spend=spend))
        if bought.filled_amount:
            paper.set_price(client, "ETH-USD", price)
            paper.place_order(client, order(2, Side.SELL, amount=bought.filled_amount))
        with exact():
            cash = sum(holdings(client)["USD"])
            coins = sum(holdings(client)["ETH"])
            assert cash + (coins - START_ETH) * price <= START_CASH


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(imitated=venues, price=eth_prices, spend=spends)
def test_a_market_buy_takes_at_most_its_spend_and_where_the_fee_is_on_top_its_fee(
    imitated: paper.Imitated, price: Decimal, spend: Decimal
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        client = venue(folder, imitated)
        paper.set_price(client, "ETH-USD", price)
        receipt = paper.place_order(client, order(1, Side.BUY, spend=spend))
        with exact():
            cost = receipt.filled_value + receipt.fees
            rate = paper.broker_profile(client.settings).taker_fee.value
            inside = imitated is not paper.Imitated.KRAKEN
            # Kraken books in units of 0.00001, so its total may go up by less than one of them.
            assert cost <= (spend if inside else spend * (1 + rate) + Decimal("0.00001"))
            assert cost >= receipt.filled_amount * price * (1 + rate)
            assert holdings(client)["USD"][0] == START_CASH - cost


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(imitated=venues, price=eth_prices, amounts=st.lists(eth, min_size=1, max_size=3))
def test_a_sell_in_parts_earns_less_than_one_unit_under_its_exact_value(
    imitated: paper.Imitated, price: Decimal, amounts: list[Decimal]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        client = venue(folder, imitated)
        resting = order(1, Side.SELL, amount=Decimal("0.3"), limit=price)
        paper.set_price(client, "ETH-USD", "499")
        paper.place_order(client, resting)
        for amount in amounts:
            paper.set_price(client, "ETH-USD", price, liquidity=amount)
        receipt = paper.find_order(client, resting)
        assert receipt is not None
        with exact():
            rate = paper.broker_profile(client.settings).maker_fee.value
            unit = Decimal("0.00001") if imitated is paper.Imitated.KRAKEN else Decimal("0.01")
            fair = receipt.filled_amount * price * (1 - rate)
            earned = holdings(client)["USD"][0] - START_CASH
            assert fair - unit < earned <= fair


class Funds(RuleBasedStateMachine):
    """Any sequence of orders, cancels, prices and resets of liquidity, against what the receipts say."""

    placed = Bundle("placed")

    @initialize(imitated=venues, spread=st.sampled_from(["0", "0.003"]))
    def open_venue(self, imitated: paper.Imitated, spread: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.client = venue(self.folder.name, imitated, spread)
        self.numbers = itertools.count(1)
        self.sent: list[VenueOrder] = []

    def send(self, sent: VenueOrder) -> Any:
        receipt = paper.place_order(self.client, sent)
        if receipt.order_id is None:
            return multiple()
        self.sent.append(sent)
        return sent

    @rule(target=placed, spend=spends)
    def buy_at_market(self, spend: Decimal) -> Any:
        return self.send(order(next(self.numbers), Side.BUY, spend=spend))

    @rule(target=placed, amount=eth)
    def sell_at_market(self, amount: Decimal) -> Any:
        return self.send(order(next(self.numbers), Side.SELL, amount=amount))

    @rule(target=placed, amount=eth, limit=eth_prices, side=st.sampled_from(list(Side)))
    def place_limit(self, amount: Decimal, limit: Decimal, side: Side) -> Any:
        return self.send(order(next(self.numbers), side, amount=amount, limit=limit))

    @rule(price=eth_prices, liquidity=st.none() | eth)
    def tell_price(self, price: Decimal, liquidity: Decimal | None) -> None:
        before = {each.order_id: each for each in paper.list_orders(self.client, 0.0)}
        for after in paper.set_price(self.client, "ETH-USD", price, liquidity=liquidity):
            assert after.filled_amount > before[after.order_id].filled_amount
            assert not before[after.order_id].status.is_final

    @rule(sent=placed)
    def cancel(self, sent: VenueOrder) -> None:
        assert paper.cancel_order(self.client, sent).status.is_final

    @invariant()
    def balances_are_the_seed_and_what_the_receipts_say(self) -> None:
        if not hasattr(self, "client"):
            return
        cash, coins = START_CASH, START_ETH
        with exact():
            for receipt in paper.list_orders(self.client, 0.0):
                sign = 1 if receipt.side is Side.BUY else -1
                cash -= sign * receipt.filled_value + receipt.fees
                coins += sign * receipt.filled_amount
                self.check_terms(receipt)
            found = holdings(self.client)
            assert (sum(found["USD"]), sum(found["ETH"])) == (cash, coins)
        assert min(min(pair) for pair in found.values()) >= 0

    def check_terms(self, receipt: Receipt) -> None:
        """No fill goes beyond the amount, the limit, or what the fees allow."""
        if receipt.amount is not None:
            assert receipt.filled_amount <= receipt.amount
        if receipt.limit is not None:
            worst = receipt.filled_amount * receipt.limit
            unit = Decimal("0.01")
            if receipt.side is Side.BUY:
                assert receipt.filled_value <= worst + unit
            else:
                assert receipt.filled_value >= worst - unit
        assert receipt.fees >= 0

    @invariant()
    def holds_are_those_of_open_orders(self) -> None:
        if not hasattr(self, "client"):
            return
        report = paper.get_account(self.client)
        sells = sum(each.amount_left for each in report.open_orders if each.side is Side.SELL)
        found = holdings(self.client)
        assert found["ETH"][1] == sells
        assert (found["USD"][1] > 0) == any(each.side is Side.BUY for each in report.open_orders)
        assert all(each.amount_left > 0 for each in report.open_orders)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


Funds.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestFunds = Funds.TestCase
