"""Keys that may too much, clocks that are off, and venues that want to be left alone: no buy, and no exit held up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest

import ordergate_paper as paper
from ordergate import BrokerError, Decision, Executor, NotSent, Order, OrderStatus, RateLimited, hookimpl
from ordergate.clock import Clock, SystemClock

Gate = Callable[..., Executor]
HELD = {"positions": {"BTC-USD": "0.01"}}
BUY = Order.buy("ETH-USD", spend="100")
SELL = Order.sell("BTC-USD", amount="0.005")


class Moved(Clock, Protocol):
    """The test's clock: `ahead` seconds in front of the machine's."""

    ahead: float


def stopped_by(decision: Decision) -> str | None:
    return next((verdict.code for verdict in decision.refusals if verdict.rule == "gate.state"), None)


def answering(monkeypatch: pytest.MonkeyPatch, name: str, answer: Any) -> list[str]:
    """The paper broker's hook answers this, or raises it; a list that grows by one with each question."""
    asked: list[str] = []

    def hook(client: paper.PaperVenue) -> Any:
        asked.append(client.path.name)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    monkeypatch.setattr(paper, name, hookimpl(hook), raising=False)
    return asked


@pytest.mark.parametrize("excess", ["withdraw", "transfer"])
def test_g08_over_powered_key_may_not_buy_and_may_sell(
    gate: Gate, requests: Callable[[], int], monkeypatch: pytest.MonkeyPatch, excess: str
) -> None:
    answering(monkeypatch, "get_permissions", ["view", "trade", excess])
    executor = gate(**HELD)

    refused = executor.submit(BUY)
    assert (refused.status, stopped_by(refused)) == (OrderStatus.REFUSED, "key_too_powerful")
    assert f"may {excess}" in next(verdict.message for verdict in refused.refusals if verdict.rule == "gate.state")
    assert stopped_by(executor.check(BUY)) == "key_too_powerful"
    assert requests() == 0
    assert executor.submit(SELL).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (["view"], "key_cannot_trade"),
        ([], "key_cannot_trade"),
        (BrokerError("no answer"), "key_unknown"),
        ("trade", "key_unknown"),
    ],
    ids=str,
)
def test_what_a_key_may_do_must_be_known_and_be_trading(
    gate: Gate, requests: Callable[[], int], monkeypatch: pytest.MonkeyPatch, answer: object, code: str
) -> None:
    answering(monkeypatch, "get_permissions", answer)

    assert stopped_by(gate().submit(BUY)) == code
    assert requests() == 0


@pytest.mark.parametrize("name", ["get_permissions", "get_time"])
def test_a_venue_that_cannot_tell_stops_nothing(gate: Gate, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked = answering(monkeypatch, name, None)

    assert gate().submit(BUY).status is OrderStatus.FILLED
    assert len(asked) == 1


def test_good_answers_are_kept_and_bad_ones_are_not(gate: Gate, clock: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [["view"], ["view", "trade"]]
    asked = answering(monkeypatch, "get_permissions", lambda: answers.pop(0) if len(answers) > 1 else answers[0])
    executor = gate(clock=clock)

    assert stopped_by(executor.submit(BUY)) == "key_cannot_trade"
    assert executor.submit(BUY).status is OrderStatus.FILLED
    assert executor.check(BUY).approved
    assert len(asked) == 2
    clock.ahead += executor.config.gate.market_age + 1
    executor.check(BUY)
    assert len(asked) == 3


@pytest.mark.parametrize(("ahead", "words"), [(5.0, "behind"), (-5.0, "ahead of")])
def test_d08_clock_skew(
    gate: Gate, requests: Callable[[], int], monkeypatch: pytest.MonkeyPatch, ahead: float, words: str
) -> None:
    real = SystemClock()
    answering(monkeypatch, "get_time", lambda: real.now() + ahead)
    executor = gate(**HELD)

    refused = executor.submit(BUY)
    assert stopped_by(refused) == "clock_skew"
    assert f"5.0 s {words} the venue's" in next(one.message for one in refused.refusals if one.rule == "gate.state")
    assert requests() == 0
    assert executor.submit(SELL).status is OrderStatus.FILLED


@pytest.mark.parametrize("answer", ["12:00", float("nan"), -1, True, BrokerError("no answer")], ids=str)
def test_a_venue_whose_clock_cannot_be_read_stops_buys(
    gate: Gate, requests: Callable[[], int], monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    answering(monkeypatch, "get_time", answer)

    assert stopped_by(gate().submit(BUY)) == "clock_unknown"
    assert requests() == 0


def test_a_clock_that_is_set_meanwhile_is_held_against_the_venues_again(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stepping(SystemClock):
        step = 0.0

        def now(self) -> float:
            return super().now() + self.step

    clock, real = Stepping(), SystemClock()
    asked = answering(monkeypatch, "get_time", real.now)
    executor = gate(clock=clock)

    assert executor.check(BUY).approved
    assert executor.check(BUY).approved
    assert len(asked) == 1
    clock.step = 3600.0
    assert stopped_by(executor.check(BUY)) == "clock_skew"
    clock.step = 0.0
    assert executor.check(BUY).approved


def test_c14_throttled_is_left_alone_and_exits_go_first(
    gate: Gate, clock: Moved, requests: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No storm: after the venue has said it is asked too often, buys ask nothing. A sell of everything still asks."""
    report, asked, limited = paper.get_account, [], [True]

    def get_account(client: paper.PaperVenue) -> Any:
        asked.append(client)
        if limited[0]:
            raise RateLimited(30.0, "EAPI:Rate limit exceeded")
        return report(client)

    monkeypatch.setattr(paper, "get_account", hookimpl(get_account))
    executor = gate(clock=clock, **HELD)

    refused = executor.submit(BUY)
    assert "Rate limit exceeded" in refused.message
    again = executor.submit(BUY)
    assert "left alone for" in again.message
    assert len(asked) == 1
    limited[0] = False
    assert executor.submit(Order.sell("BTC-USD", all=True)).status is OrderStatus.FILLED
    assert len(asked) == 2
    clock.ahead += 31
    bought = executor.submit(BUY)
    assert bought.status is OrderStatus.FILLED, bought.message
    assert requests() == 2


def test_c16_what_never_left_the_machine_is_known_not_to_be_there(
    gate: Gate, requests: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reservation is free at once, and the next order is not held back."""
    place = paper.place_order

    @hookimpl
    def place_order() -> Any:
        raise NotSent("the certificate is not the venue's")

    monkeypatch.setattr(paper, "place_order", place_order)
    executor = gate(**HELD)
    decision = executor.submit(BUY)
    assert (decision.status, decision.error) == (OrderStatus.EXPIRED, "NOT_SENT")
    assert "the certificate is not the venue's" in decision.message
    assert executor.status()["unfinished"] == []
    assert executor.submit(SELL).error == "NOT_SENT"

    monkeypatch.setattr(paper, "place_order", place)
    assert gate(**HELD).submit(BUY).status is OrderStatus.FILLED
    assert requests() == 1


def test_facts_that_could_not_be_had_are_asked_for_again(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long good ones may serve: one lost answer must not refuse every buy of the next seconds."""
    report, fails = paper.get_account, [True]

    def get_account(client: paper.PaperVenue) -> Any:
        if fails.pop():
            raise BrokerError("cut")
        return report(client)

    monkeypatch.setattr(paper, "get_account", hookimpl(get_account))
    executor = gate(settings={"facts_cache": 10})
    assert "cut" in executor.check(BUY).message
    fails[:] = [False]
    assert executor.check(BUY).approved


def test_facts_serve_for_as_long_as_the_venues_budget_asks(
    gate: Gate, clock: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attrs import evolve

    profile, report, asked = paper.broker_profile, paper.get_account, []

    def get_account(client: paper.PaperVenue) -> Any:
        asked.append(client)
        return report(client)

    monkeypatch.setattr(paper, "get_account", hookimpl(get_account))
    monkeypatch.setattr(paper, "broker_profile", hookimpl(lambda settings: evolve(profile(settings), facts_every=6.0)))
    executor = gate(clock=clock)
    for _ in range(3):
        assert executor.check(BUY).approved
    assert len(asked) == 1
    clock.ahead += 7
    assert executor.check(BUY).approved
    assert len(asked) == 2
    # What was just bought must show: the facts are fetched again after every send of ours.
    assert executor.submit(BUY).status is OrderStatus.FILLED
    assert executor.check(BUY).facts is not None
    assert len(asked) == 3
