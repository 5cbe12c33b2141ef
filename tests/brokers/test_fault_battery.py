"""Sending and venue faults, through the real executor, at every venue: what the kit for brokers does not already prove.

The kit itself (test_conformance) has, under each broker's name: took it and no reply (C01), never arrived (C02), late
arrival (C03), cuts of the wire (C04), lying answers with status 200 (C05), statuses and unheard errors (C06), moved ids
(C08), halves of listings and late visibility (C12), venues that never answer (C15).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

import pytest
from attrs import evolve

import ordergate_paper as paper
from ordergate import ConfigError, Order, OrderStatus, Side, testing
from ordergate.errors import IdConflict
from ordergate.testing.bench import ACCOUNT, Bench
from ordergate.testing.coinbase import rehearsal as other_venue
from ordergate.testing.rehearsal import Rehearsal

OVER_HTTP = ("kraken", "coinbase", "ccxt: kraken", "ccxt: coinbase", "ccxt: binance")
ALL = ("paper", *OVER_HTTP)

SOME = Decimal("0.0004")
"""An amount of BTC that every venue takes: 20 USD."""

MakeBench = Callable[..., Bench]


def codes(decision: Any) -> set[str]:
    return {verdict.code for verdict in decision.refusals}


def venue_of(rehearsal: Any) -> paper.PaperVenue:
    """The exchange behind the words of the rehearsal."""
    found: paper.PaperVenue = getattr(rehearsal.dialect, "paper", None) or rehearsal.dialect.venue
    return found


# ----------------------------------------------------------------------------------------------------------- sending


@pytest.mark.parametrize("title", ["kraken", "ccxt: kraken"])
def test_c03_an_order_that_lands_after_its_deadline_is_not_taken(bench: MakeBench, title: str) -> None:
    made = bench(title)
    stage = made.stage()
    made.fail("late", on="place")
    decision = stage.buy()
    assert decision.status is OrderStatus.UNKNOWN

    venue_of(made.rehearsal).clock._seconds = 70.0  # type: ignore[attr-defined]  # it travels for over a minute
    made.calm()
    rejected = stage.wait_for(decision.venue_order.client_order_id) if decision.venue_order else []
    assert rejected == []
    venue_of(made.rehearsal).clock._seconds = 0.0  # type: ignore[attr-defined]

    stage.pass_arrival()
    stage.reconcile()
    assert stage.again(decision).status is OrderStatus.EXPIRED
    assert made.sends() == 1


@pytest.mark.parametrize("error", ["TypeError('odd')", "KeyError('txid')", "RecursionError()", "SystemExit(1)"])
def test_c07_whatever_is_raised_after_the_send_the_outcome_is_unknown(
    spoilt: Callable[[str], ModuleType], tmp_path: Path, error: str
) -> None:
    broker = spoilt(f"""
        @hookimpl
        def place_order(client, order):
            venue.place_order(client, order)
            raise {error}
    """)

    def calm(folder: Path) -> Rehearsal:
        # Nothing is told to fail: the broker's own parsing is what breaks.
        return evolve(paper.rehearse(folder), fail=lambda name, **told: None)

    report = testing.conformance_of(broker, calm, only=["cut, taken"])
    assert {check.name: check.why for check in report.failures} == {}


@pytest.mark.parametrize("title", OVER_HTTP)
@pytest.mark.parametrize("key", ["maxRetriesOnFailure", "retries", "options", "enableRateLimit", "params"])
def test_c09_no_config_turns_retries_on(bench: MakeBench, title: str, key: str) -> None:
    made = bench(title)
    settings = {**made.rehearsal.settings, key: 3}
    made.rehearsal = evolve(made.rehearsal, settings=settings)

    with pytest.raises(ConfigError, match=key):
        made.stage()
    assert made.sends() == 0


@pytest.mark.parametrize("title", ALL)
def test_c11_an_id_used_again_after_the_fill_sends_nothing(bench: MakeBench, title: str) -> None:
    made = bench(title)
    stage = made.stage()
    first = stage.buy(client_order_id="bot-1")
    assert stage.again(first).status is OrderStatus.FILLED

    again = stage.buy(client_order_id="bot-1")
    assert again.replayed
    with pytest.raises(IdConflict):
        stage.buy(Decimal(25), client_order_id="bot-1")
    with pytest.raises(IdConflict):
        stage.sell(amount=SOME, client_order_id="bot-1")
    assert (made.sends(), len(made.rehearsal.orders())) == (1, 1)


@pytest.mark.parametrize("title", OVER_HTTP)
def test_c13_part_of_a_resting_buy_fills_the_rest_is_cancelled_and_the_ledger_is_exact(
    bench: MakeBench, title: str
) -> None:
    made = bench(title)
    stage = made.stage()
    resting = stage.buy(spend=None, amount=Decimal("0.001"), limit=Decimal(45000))
    assert resting.status is OrderStatus.OPEN

    paper.set_price(venue_of(made.rehearsal), made.rehearsal.symbol, "45000", liquidity="0.0004")
    stage.reconcile()
    partly = stage.again(resting)
    assert (partly.status, partly.receipt and partly.receipt.filled_amount) == (
        OrderStatus.PARTLY_FILLED,
        Decimal("0.0004"),
    )
    cancelled = stage.executor.cancel(str(resting.order.client_order_id))
    assert cancelled.status is OrderStatus.CANCELLED

    (order,) = made.rehearsal.orders()
    known = stage.again(resting).receipt
    assert known is not None
    assert (
        (known.filled_amount, known.filled_value)
        == (order.filled_amount, order.filled_value)
        == (
            Decimal("0.0004"),
            Decimal(18),
        )
    )
    assert abs(known.fees - order.fees) <= Decimal("0.01")
    assert stage.executor.desk.ledger().verify() is None


@pytest.mark.parametrize("title", OVER_HTTP)
def test_c13_a_fill_that_crosses_the_cancel_is_what_counts(bench: MakeBench, title: str) -> None:
    made = bench(title)
    stage = made.stage()
    resting = stage.buy(spend=None, amount=Decimal("0.001"), limit=Decimal(45000))
    made.rehearsal.set_price(made.rehearsal.symbol, "45000")  # filled at the venue, and nobody here knows

    assert stage.executor.cancel(str(resting.order.client_order_id)).status is OrderStatus.FILLED
    known = stage.again(resting).receipt
    assert known is not None
    assert known.filled_amount == Decimal("0.001")


THROTTLED: dict[str, tuple[str, dict[str, Any]]] = {
    "kraken": ("error", {"text": "EAPI:Rate limit exceeded"}),
    "coinbase": ("http", {"status": 429}),
    "ccxt: kraken": ("error", {"text": "EAPI:Rate limit exceeded"}),
    "ccxt: coinbase": ("http", {"status": 429}),
    "ccxt: binance": ("http", {"status": 429}),
}


@pytest.mark.parametrize("title", OVER_HTTP)
def test_c14_a_throttling_venue_is_left_alone_by_buys_and_still_gets_exits(bench: MakeBench, title: str) -> None:
    made = bench(title)
    stage = made.stage()
    assert stage.broker.get_market(stage.symbol) is not None
    name, told = THROTTLED[title]
    made.fail(name, on="account", times=1, **told)
    assert stage.buy().status is OrderStatus.REFUSED
    made.calm()

    asked = len(made.rehearsal.server.requests())  # type: ignore[attr-defined]
    refused = [stage.buy() for _ in range(3)]
    assert {decision.status for decision in refused} == {OrderStatus.REFUSED}
    assert len(made.rehearsal.server.requests()) == asked  # type: ignore[attr-defined]
    assert made.sends() == 0

    sold = stage.sell(amount=SOME)
    assert stage.again(sold).status in (OrderStatus.FILLED, OrderStatus.OPEN)
    assert made.sends() == 1


@pytest.mark.parametrize("title", OVER_HTTP)
def test_c14_a_throttled_order_is_sent_once(bench: MakeBench, title: str) -> None:
    made = bench(title)
    stage = made.stage()
    name, told = THROTTLED[title]
    made.fail(name, on="place", times=1, taken=False, **told)
    decision = stage.buy()

    assert decision.status in (OrderStatus.UNKNOWN, OrderStatus.REJECTED)
    assert (made.sends(), len(made.rehearsal.orders())) == (1, 0)


@pytest.mark.parametrize("title", ["coinbase", "ccxt: coinbase"])
def test_c16_a_venue_with_a_strangers_certificate_gets_no_order(bench: MakeBench, tmp_path: Path, title: str) -> None:
    made = bench(title)
    with other_venue(tmp_path / "other") as stranger:
        settings = {**made.rehearsal.settings, "ca_file": stranger.settings["ca_file"]}
        made.rehearsal = evolve(made.rehearsal, settings=settings)
        stage = made.stage()

        assert stage.buy().status is OrderStatus.REFUSED
        decision = stage.sell(amount=SOME, force_liquidate=True, reason="the certificate is not the venue's")

    assert (decision.status, decision.error) == (OrderStatus.EXPIRED, "NOT_SENT")
    assert (made.sends(), made.rehearsal.orders()) == (0, [])


@pytest.mark.parametrize("title", OVER_HTTP)
def test_c16_a_venue_that_is_not_there_gets_no_order_and_that_is_certain(bench: MakeBench, title: str) -> None:
    made = bench(title)
    stage = made.stage()
    assert stage.broker.get_market(stage.symbol) is not None
    made.rehearsal.close()

    assert stage.buy().status is OrderStatus.REFUSED
    decision = stage.sell(amount=SOME)
    assert (decision.status, decision.error) == (OrderStatus.EXPIRED, "NOT_SENT")
    assert made.sends() == 0


@pytest.mark.parametrize("title", ["kraken", "ccxt: kraken"])
def test_c17_eight_threads_on_one_key_send_rising_nonces(
    bench: MakeBench, crowd: Callable[[int, Callable[[int], Any]], list[Any]], title: str
) -> None:
    made = bench(title)
    stage = made.stage()
    stage.buy()

    def act(number: int) -> Any:
        return stage.broker.get_account() if number % 2 else stage.sell(amount=SOME)

    answers = crowd(8, act)

    sold = [stage.again(answer) for answer in answers[::2]]
    assert {decision.status for decision in sold} <= {OrderStatus.FILLED, OrderStatus.OPEN}
    assert len(made.rehearsal.orders()) == 5
    sent = [request for request in made.rehearsal.server.requests() if "/private/" in request.path]  # type: ignore[attr-defined]
    nonces = [_nonce(request.body) for request in sent]
    assert nonces == sorted(set(nonces))


def _nonce(body: bytes) -> int:
    text = body.decode()
    return int(json.loads(text)["nonce"] if text.startswith("{") else parse_qs(text)["nonce"][0])


@pytest.mark.parametrize("title", ALL)
def test_c18_the_same_order_without_an_id_while_the_first_is_unknown_is_refused(bench: MakeBench, title: str) -> None:
    made = bench(title)
    stage = made.stage()
    made.fail("cut", on="place", taken=True)
    made.fail("hidden", on="find", times=None)
    first = stage.buy()
    assert first.status is OrderStatus.UNKNOWN

    for _ in range(2):
        again = stage.buy()
        assert again.status is OrderStatus.REFUSED
        assert "outcome_unknown" in codes(again)
        assert str(first.order.client_order_id) in again.message
    assert (made.sends(), len(made.rehearsal.orders())) == (1, 1)

    made.calm()
    assert stage.buy().status is not OrderStatus.REFUSED  # the first was settled on the way
    assert made.sends() == 2


# ------------------------------------------------------------------------------------------------------ truth and keys


@pytest.mark.parametrize("title", OVER_HTTP)
def test_d08_a_clock_that_is_off_stops_buys_and_no_exit(bench: MakeBench, title: str) -> None:
    made = bench(title, clock_ahead=20.0)
    stage = made.stage()

    assert codes(stage.buy()) & {"clock_skew", "no_trusted_facts"}  # some venues refuse whatever is signed at that time
    assert made.sends() == 0


@pytest.mark.parametrize("title", OVER_HTTP)
def test_f02_a_venue_that_hangs_on_balances_gets_no_buy_and_its_exit(bench: MakeBench, title: str) -> None:
    made = bench(title)
    stage = made.stage()
    assert stage.broker.get_market(stage.symbol) is not None
    made.fail("hang", on="account", times=None)

    sold = stage.sell(amount=SOME, force_liquidate=True, reason="balances hang")
    assert sold.status in (OrderStatus.FILLED, OrderStatus.OPEN)
    assert made.sends() == 1
    (order,) = made.rehearsal.orders()
    assert (order.side, order.amount, order.status) == (Side.SELL, SOME, OrderStatus.FILLED)


@pytest.mark.parametrize("title", OVER_HTTP)
def test_g08_a_key_that_may_move_money_buys_nothing_and_still_sells(bench: MakeBench, title: str) -> None:
    excess = "transfer" if title.endswith("coinbase") else "withdraw"
    made = bench(title, permissions=("view", "trade", excess))
    stage = made.stage()

    refused = stage.buy()
    assert "key_too_powerful" in codes(refused)
    assert made.sends() == 0
    sold = stage.sell(amount=SOME)
    assert stage.again(sold).status is OrderStatus.FILLED
    assert made.sends() == 1


@pytest.mark.parametrize("title", OVER_HTTP)
def test_g08_a_key_that_may_only_look_buys_nothing(bench: MakeBench, title: str) -> None:
    made = bench(title, permissions=("view",))
    stage = made.stage()

    assert codes(stage.buy()) & {"key_cannot_trade"}
    assert made.sends() == 0
    sold = stage.submit(Order.sell(stage.symbol, account=ACCOUNT, amount=SOME))
    assert sold.status is OrderStatus.REJECTED
    assert made.rehearsal.orders() == []
