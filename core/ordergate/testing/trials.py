"""What a broker is checked for, one function per check: each raises AssertionError with what it saw instead.

Every check reads two things only: what the gate recorded, and what the venue knows. What the broker says of itself
proves nothing.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import frozen

from ordergate.amounts import ZERO, exact, plain, round_down
from ordergate.calls import Failed
from ordergate.decision import Decision
from ordergate.errors import BrokerError
from ordergate.fitness import EXCESS
from ordergate.models import Absence, BrokerProfile, Figure, IdPromise, Market, OrderStatus, Price, Receipt, Side
from ordergate.testing.bench import LONG, SHORT, SPEND, Bench, NotTried, Stage, expect
from ordergate.testing.loopback import FAULTS

__all__ = ["PROVES_FINDING", "PROVES_REPEATS", "TRIALS", "Trial", "check_profile", "unsaid_secrets"]

CASH: Final = Decimal(1000)
HELD: Final = Decimal("0.01")
"""What every rehearsal begins with, in the quote and in the base currency of its symbol."""

_NO_SUCH: Final = "NOSUCH-USD"
_UNHEARD: Final = "EZebra:Nobody has ever heard of this"
_PLACE: Final = "place"
_OPTIONAL: Final = {"permissions": "get_permissions", "time": "get_time"}
"""What is only asked of a broker that has the hook."""


class Run(Protocol):
    def __call__(self, bench: Bench) -> None: ...


@frozen
class Trial:
    """One check: its name, what it proves, and whether a quick run has it too."""

    name: str
    proves: str
    run: Run
    quick: bool = True


# --------------------------------------------------------------------------------------------------- what it declares


def check_profile(profile: BrokerProfile) -> None:
    """Figures with a source and a date that can be read, and promises that do not contradict each other."""
    figures = {name: getattr(profile, name) for name in ("fee_threshold", "maker_fee", "taker_fee")}
    for name, figure in figures.items():
        expect(bool(figure.source.strip()), f"{name} names no source")
        try:
            date.fromisoformat(figure.as_of)
        except ValueError:
            raise AssertionError(f"{name} was read on {figure.as_of!r}, which is no date such as 2026-11-22") from None
    expect(profile.fee_threshold.value > 0, "fee_threshold is 0 USD: it would let the smallest order through")
    expect(bool(profile.venue.strip()), "venue is empty")
    if profile.absence is Absence.LOOKUP:
        expect(bool(profile.rests_on.strip()), "absence is LOOKUP, and rests_on does not say what the proof rests on")
        expect(
            profile.id_promise is not IdPromise.NONE,
            "absence is LOOKUP with IdPromise.NONE: where an id is not one order's, not finding it proves nothing",
        )


# -------------------------------------------------------------------------------------------------------- questions


def _facts(bench: Bench) -> None:
    stage = bench.stage()
    report = stage.broker.get_account()
    market = _market(stage)
    price = _price(stage)
    held = {holding.currency: holding.available for holding in report.holdings}
    for currency, wanted in ((market.quote, CASH), (market.base, HELD)):
        told = held.get(currency)
        expect(told == wanted, f"the account has {plain(wanted)} {currency} available, the report says {told}")
    expect(report.open_orders == (), f"nothing is open, the report shows {len(report.open_orders)} open order(s)")
    again = (stage.broker.get_account().identity, bench.stage().broker.get_account().identity)
    expect(set(again) == {report.identity}, f"the identity was {report.identity}, then {' and '.join(again)}")
    expect(ZERO < price.bid <= price.ask, f"bid {price.bid} and ask {price.ask} make no market")
    expect(stage.broker.get_market(_NO_SUCH) is None, f"the venue has no {_NO_SUCH}, and get_market gave one")
    try:
        priced = set(stage.broker.get_prices((stage.symbol, _NO_SUCH)))
    except BrokerError:
        priced = {stage.symbol}  # no price at all forbids buying, which is safe
    expect(priced == {stage.symbol}, f"asked for {stage.symbol} and {_NO_SUCH}, prices came of {', '.join(priced)}")
    for name in ("amount_step", "spend_step", "price_step"):
        expect(getattr(market, name) <= SPEND, f"{name} is {getattr(market, name)}: no order of the checks fits it")


def _many_questions(bench: Bench) -> None:
    stage = bench.stage()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: stage.broker.get_account(), range(16)))
    expect(len({answer.identity for answer in answers}) == 1, "threads that asked at once got different accounts")


def _fees(bench: Bench) -> None:
    stage = bench.stage()
    if "get_fees" not in stage.broker.plugin.hooks:
        raise NotTried("it has no get_fees; the profile's rates count")
    fees: Sequence[Figure] = stage.broker.get_fees(stage.symbol)
    for name, figure in zip(("maker", "taker"), fees, strict=True):
        rate = f"the {name} rate is {plain(figure.value)}"
        expect(figure.value < Decimal("0.05"), f"{rate}, over 5 %: a percentage taken for a fraction?")
        expect(bool(figure.source.strip()), f"{rate} without a source")


def _permissions(bench: Bench) -> None:
    stage = bench.stage()
    told = stage.broker.get_permissions()
    if told is None:
        raise NotTried("it cannot tell what its key may do")
    expect("trade" in told, f"the key may trade, the broker says {', '.join(told) or 'nothing'}")
    expect(not EXCESS.intersection(told), f"the key may view and trade only, the broker says {', '.join(told)}")


def _time(bench: Bench) -> None:
    stage = bench.stage()
    told = stage.broker.get_time()
    if told is None:
        raise NotTried("it has no get_time; a clock that is wrong goes unseen")
    off = told - stage.clock.now()
    expect(abs(off) < 10, f"the venue's clock is this machine's, the broker tells one that is {off:.0f} s off")


# ------------------------------------------------------------------------------------------------------------- orders


def _units(bench: Bench) -> None:
    stage = bench.stage()
    market, price = _market(stage), _price(stage)
    base = market.base
    with exact():
        limit = round_down(price.ask * Decimal("1.0101"), market.price_step)
        amount = round_down(SPEND / price.ask * Decimal("1.2345"), market.amount_step)
    _took(stage, stage.buy(), {"spend": SPEND, "amount": None, "limit": None})
    by_amount = stage.buy(spend=None, amount=amount, limit=limit)
    _took(stage, by_amount, {"spend": None, "amount": amount, "limit": limit})
    _took(stage, stage.sell(amount=amount), {"spend": None, "amount": amount, "limit": None})
    everything = stage.sell(all=True)
    held = round_down(HELD, market.amount_step)
    sold = everything.venue_order.amount if everything.venue_order else None
    expect(sold is not None and sold >= held, f"a sell of all sold {sold} {base}, and {plain(held)} was there")
    _took(stage, everything, {"spend": None, "amount": sold, "limit": None})
    left = next((one.available for one in stage.broker.get_account().holdings if one.currency == base), ZERO)
    expect(left < market.amount_step, f"a sell of all left {plain(left)} {base}")


def _took(stage: Stage, decision: Decision, terms: Mapping[str, Decimal | None]) -> Receipt:
    """The venue has exactly this one order, under the id that is in the journal, and the gate knows how it stands."""
    what = f"{decision.order.side} of " + ", ".join(f"{name} {value}" for name, value in terms.items() if value)
    sent = decision.venue_order
    expect(sent is not None, f"{what}: the gate did not send it: {decision.message}")
    wire_id = sent.client_order_id if sent else ""
    theirs = stage.bench.theirs(wire_id)
    expect(len(theirs) == 1, f"{what}: the venue has {len(theirs)} orders under the id in the journal")
    order = theirs[0]
    told = {"side": order.side, "symbol": order.symbol, **{name: getattr(order, name) for name in terms}}
    wanted = {"side": decision.order.side, "symbol": stage.symbol, **terms}
    wrong = [f"{name} {told[name]} instead of {value}" for name, value in wanted.items() if told[name] != value]
    expect(not wrong, f"{what}: the venue has {', '.join(wrong)}")
    if decision.status is not order.status:
        stage.reconcile()
    _agrees(stage, stage.again(decision), order, what)
    return order


def _agrees(stage: Stage, known: Decision, order: Receipt, what: str) -> None:
    """What the gate has written down of an order is what the venue has."""
    expect(known.status is order.status, f"{what}: it is {order.status} at the venue, the gate believes {known.status}")
    receipt, step = known.receipt, _market(stage).spend_step
    expect(receipt is not None, f"{what}: nothing is known of what was filled")
    if receipt is None:
        return
    told = f"the venue filled {order.filled_amount} for {order.filled_value} with {order.fees} of fees, the broker says"
    figures = f"{receipt.filled_amount} for {receipt.filled_value} with {receipt.fees}"
    near = abs(receipt.filled_value - order.filled_value) <= step and abs(receipt.fees - order.fees) <= step
    expect(receipt.filled_amount == order.filled_amount and near, f"{what}: {told} {figures}")


def _rests(stage: Stage, share: str = "0.5", **who: Any) -> Decision:
    """A limit buy far under the market. Raises NotTried where nothing rests."""
    market, price = _market(stage), _price(stage)
    with exact():
        limit = round_down(price.bid * Decimal(share), market.price_step)
        amount = round_down(SPEND * 2 / limit, market.amount_step)
    decision = stage.buy(spend=None, amount=amount, limit=limit, **who)
    if decision.status.is_final and decision.status is not OrderStatus.REJECTED:
        raise NotTried("nothing rests at this venue: what does not fill at once is over")
    expect(decision.status is OrderStatus.OPEN, f"a limit buy far under the market is {decision.status}")
    return decision


def _cancel(bench: Bench) -> None:
    stage = bench.stage()
    done = stage.buy()
    late = stage.broker.cancel_order(_sent(done), 30.0)
    expect(late.status is OrderStatus.FILLED, f"cancelling a filled order says it is {late.status}")
    resting = _rests(stage)
    open_now = {one.client_order_id for one in stage.broker.get_account().open_orders}
    expect(_sent(resting).client_order_id in open_now, "a resting order is not among the open orders, by its id")
    cancelled = stage.executor.cancel(str(resting.order.client_order_id))
    expect(cancelled.status is OrderStatus.CANCELLED, f"a cancelled order is {cancelled.status}: {cancelled.message}")
    order = bench.theirs(_sent(resting).client_order_id)[-1]
    expect(order.status is OrderStatus.CANCELLED, f"the gate says cancelled, at the venue it is {order.status}")
    gone = stage.broker.cancel_order(_sent(resting), 30.0)
    expect(gone.status is OrderStatus.CANCELLED, f"cancelling it once more says it is {gone.status}")


def _lost_cancel(bench: Bench) -> None:
    stage = bench.stage()
    resting = _rests(stage)
    bench.fail("cut", on="cancel", times=1, taken=True)
    lost = stage.executor.cancel(str(resting.order.client_order_id))
    order = bench.theirs(_sent(resting).client_order_id)[-1]
    honest = lost.status in (OrderStatus.UNKNOWN, order.status)
    expect(honest, f"the answer to a cancel was lost, and the order is said to be {lost.status}")
    bench.calm()
    stage.reconcile()
    known = stage.again(resting).status
    expect(known is order.status, f"after a lost cancel it is {order.status} at the venue, the gate believes {known}")


def _filled_later(bench: Bench) -> None:
    stage = bench.stage()
    price = _price(stage)
    resting = _rests(stage, "0.9")
    limit = resting.order.limit or ZERO
    bench.rehearsal.set_price(stage.symbol, plain(limit))
    try:
        stage.reconcile()
        order = bench.theirs(_sent(resting).client_order_id)[-1]
        expect(order.status is OrderStatus.FILLED, f"the price reached it, and at the venue it is {order.status}")
        _agrees(stage, stage.again(resting), order, "a resting buy that was reached")
    finally:
        bench.rehearsal.set_price(stage.symbol, plain(price.bid))


def _foreign(bench: Bench) -> None:
    stage, stranger = bench.stage(), bench.stage()
    stage.buy()
    stranger.buy()
    resting: str | None = None
    try:
        order = _rests(stranger)
        resting = str(order.order.client_order_id)
    except NotTried:
        if "list_orders" not in stage.broker.plugin.hooks:
            raise
    stage.reconcile()
    alarms = sum("foreign_order" in alarm for alarm in stage.alarms())
    if resting is not None:
        stranger.executor.cancel(resting)
        expect(alarms > 0, "an order that the gate never sent is open, and no alarm was raised")
    if "list_orders" in stage.broker.plugin.hooks:
        wanted = 1 if resting is None else 2
        expect(alarms >= wanted, f"of {wanted} orders that the gate never sent, {alarms} raised an alarm")


def _rejected(bench: Bench) -> None:
    stage = bench.stage()
    before = len(bench.rehearsal.orders())
    receipt = stage.broker.place_order(stage.venue_order(side=Side.BUY, spend=CASH * 50), 30.0)
    expect(receipt.status is OrderStatus.REJECTED, f"a buy for fifty times the cash is {receipt.status}")
    expect(bool(receipt.code), "a rejected order has no code: what were the venue's words?")
    expect(len(bench.rehearsal.orders()) == before, "it is said to be rejected, and the venue took it")


def _too_late(bench: Bench) -> None:
    stage = bench.stage()
    order = stage.venue_order(side=Side.BUY, spend=SPEND, send_by=stage.clock.now() - 0.5)
    try:
        status = str(stage.broker.place_order(order, 30.0).status)
    except Failed as failed:
        status = str(failed)
    expect(not bench.theirs(order.client_order_id), f"an order was taken after its send-by time ({status})")


def _repeated(bench: Bench) -> None:
    stage = bench.stage()
    promise = stage.broker.profile.id_promise
    if promise is IdPromise.NONE:
        raise NotTried("the profile promises nothing of an id that was used before")
    decision = stage.buy() if promise is IdPromise.ALWAYS_UNIQUE else _rests(stage)
    wire_id = _sent(decision).client_order_id
    # Not through the gate, which never sends an order twice: this is about what the venue itself keeps.
    again = _sent_again(stage, decision)
    theirs = bench.theirs(wire_id)
    if promise is IdPromise.UNIQUE_WHILE_OPEN:
        stage.executor.cancel(str(decision.order.client_order_id))
    expect(len(theirs) == 1, f"the profile says {promise}, and the repeat ({again}) made order {len(theirs)}")


def _sent_again(stage: Stage, decision: Decision) -> str:
    """Hand the same order to the broker once more; in words, what came of it."""
    try:
        return str(stage.broker.place_order(_sent(decision), 30.0).status)
    except Failed as failed:
        stage.bench.said.append(str(failed))
        return str(failed)


# ------------------------------------------------------------------------------------------------------------- faults


def _fault(
    bench: Bench, name: str = "cut", *, taken: bool = True, statuses: Sequence[int] = (502,), text: str = ""
) -> None:
    if statuses == _REDIRECTS and bench.rehearsal.count is None:
        raise NotTried("nobody counts what reaches the place that the redirect names")
    for status in statuses:
        stage = bench.stage(deadline=SHORT if name in ("hang", "stalled_body") else LONG)
        what = f"{name} {status}" if name == "http" else name
        sends, orders = bench.sends(), len(bench.rehearsal.orders())
        elsewhere = _count(bench, "other")
        bench.fail(name, on=_PLACE, times=1, taken=taken, status=status, text=text)
        decision = stage.buy()
        bench.calm()
        expect(bench.sends() - sends == 1, f"{what}: {bench.sends() - sends} requests went out for one order")
        expect(_count(bench, "other") == elsewhere, f"{what}: a redirect was followed")
        made = len(bench.rehearsal.orders()) - orders
        if name == "error" and not made:
            raise NotTried("the rehearsal venue cannot take an order and answer with an error")
        expect(made == int(taken), f"{what}: {made} orders came of one that the venue {_took_it(taken)}")
        if taken and decision.status is not OrderStatus.UNKNOWN:
            # It may have read the order itself; then it must be the truth.
            order = _only(bench, decision, what)
            expect(
                decision.status is order.status, f"{what}: the venue took it, and it is said to be {decision.status}"
            )
            continue
        expect(
            decision.status is OrderStatus.UNKNOWN, f"{what}: nobody can know, and it is said to be {decision.status}"
        )
        _settles(stage, decision, what, taken=taken)
        expect(bench.sends() - sends == 1, f"{what}: settling sent {bench.sends() - sends - 1} more")


def _took_it(taken: bool) -> str:  # noqa: FBT001 - puts into words what it was given
    return "took" if taken else "did not take"


def _settles(stage: Stage, decision: Decision, what: str, *, taken: bool) -> None:
    """What is unknown comes to be known, and neither too early nor wrongly."""
    bench, by_person = stage.bench, stage.broker.profile.absence is Absence.PERSON
    if taken:
        order = _only(bench, decision, what)
        stage.reconcile()
        known = stage.again(decision)
        if known.status is OrderStatus.UNKNOWN:  # it may be level C, or the venue asked to be left alone for a while
            stage.pass_arrival()
            stage.reconcile()
            known = stage.again(decision)
        if by_person and known.status is OrderStatus.UNKNOWN:
            _by_hand(stage, decision, OrderStatus.FILLED)
            return
        expect(known.status is not OrderStatus.UNKNOWN, f"{what}: the venue has it, and it was not found by its id")
        _agrees(stage, known, order, what)
        return
    stage.reconcile()
    early = stage.again(decision).status
    expect(early is OrderStatus.UNKNOWN, f"{what}: it may still arrive, and it already counts as {early}")
    stage.pass_arrival()
    stage.reconcile()
    known = stage.again(decision)
    if by_person:
        expect(
            known.status is OrderStatus.UNKNOWN, f"{what}: only a person can say so, and it counts as {known.status}"
        )
        _by_hand(stage, decision, OrderStatus.EXPIRED)
        return
    expect(known.status is OrderStatus.EXPIRED, f"{what}: it can arrive no more, and it counts as {known.status}")


def _by_hand(stage: Stage, decision: Decision, status: OrderStatus) -> None:
    words = {"by": "check", "reason": "the rehearsal venue was looked at"}
    stage.executor.settle_by_hand(str(decision.order.client_order_id), status, **words)
    known = stage.again(decision).status
    expect(known is status, f"a person said {status}, and it counts as {known}")


def _late(bench: Bench) -> None:
    stage = bench.stage()
    sends = bench.sends()
    bench.fail("late", on=_PLACE, times=1)
    decision = stage.buy()
    expect(decision.status is OrderStatus.UNKNOWN, f"nobody answered, and it is said to be {decision.status}")
    stage.reconcile()
    early = stage.again(decision).status
    expect(early is OrderStatus.UNKNOWN, f"it was under way and not found once, and it already counts as {early}")
    bench.rehearsal.clear()
    # A venue may refuse it all the same: the look-up's nonce was higher.
    arrived = stage.wait_for(_sent(decision).client_order_id, OrderStatus.FILLED)
    _settles(stage, decision, "late", taken=bool(arrived))
    expect(bench.sends() - sends == 1, "it was sent again")


def _hidden(bench: Bench) -> None:
    stage = bench.stage()
    bench.fail("cut", on=_PLACE, times=1, taken=True)
    bench.fail("hidden", on="find", times=None)
    decision = stage.buy()
    if decision.status is not OrderStatus.UNKNOWN:
        raise NotTried("it knew of the order without having been answered")
    stage.reconcile()
    known = stage.again(decision).status
    expect(known is OrderStatus.UNKNOWN, f"the venue did not show it yet, and it counts as {known}")
    bench.calm()
    _settles(stage, decision, "hidden", taken=True)


def _half_listing(bench: Bench) -> None:
    stage = bench.stage()
    bench.fail("cut", on=_PLACE, times=1, taken=True)
    decision = stage.buy()
    bench.fail("half", on="find", times=None)
    stage.pass_arrival()
    stage.reconcile()
    known = stage.again(decision).status
    order = _only(bench, decision, "half")
    honest = known in (OrderStatus.UNKNOWN, order.status)
    expect(honest, f"half of the orders was listed, and one that is {order.status} counts as {known}")


def _other_size(bench: Bench) -> None:
    stage = bench.stage()
    bench.fail("cut", on=_PLACE, times=1, taken=True)
    try:
        bench.fail("other_size", on="find", times=None)
        decision = stage.buy()
        stage.reconcile()
    except NotTried:  # this venue tells its sizes in the answer to the order itself
        bench.calm()
        bench.fail("other_size", on=_PLACE, times=1, taken=True)
        decision = stage.buy()
    known = stage.again(decision).status
    expect(known is OrderStatus.UNKNOWN, f"the venue's order has another size, and it was adopted as {known}")
    refused = stage.executor.check(stage.again(decision).order)
    expect(refused.status is OrderStatus.REFUSED, "the venue's order has another size, and the account is not closed")


def _no_facts(bench: Bench, on: str) -> None:
    hook = _OPTIONAL.get(on)
    if hook is not None and hook not in bench.stage().broker.plugin.hooks:
        raise NotTried(f"it has no {hook}")
    told: list[tuple[str, dict[str, int]]] = [(name, {}) for name in ("cut", "html", "empty_object")]
    told += [("http", {"status": 502}), *([("half", {})] if on == "account" else [])]
    tried = 0
    for name, more in told:
        stage, sends = bench.stage(), bench.sends()
        try:
            bench.fail(name, on=on, times=None, **more)
        except NotTried:
            continue
        tried += 1
        decision = stage.buy()
        expect(decision.status is OrderStatus.REFUSED, f"{name} on {on}: a buy is {decision.status}")
        expect(bench.sends() == sends, f"{name} on {on}: something was sent")
        bench.calm()
    if not tried:
        raise NotTried(f"the rehearsal venue cannot fail on {on}")


def _exits(bench: Bench) -> None:
    stage = bench.stage()
    amount = round_down(SPEND / _price(stage).bid, _market(stage).amount_step)
    bought = stage.buy()
    expect(bought.status is OrderStatus.FILLED, f"a buy is {bought.status}")
    stage = bench.stage()
    _market(stage)  # a client that has been at work knows its markets
    tried = []
    for on in ("account", "prices"):
        try:
            bench.fail("cut", on=on, times=None)
            tried.append(on)
        except NotTried:
            continue
    if not tried:
        raise NotTried("the rehearsal venue cannot fail on what it is asked")
    what = f"with {' and '.join(tried)} down"
    sends = bench.sends()
    expect(stage.buy().status is OrderStatus.REFUSED, f"{what} a buy passed")
    expect(bench.sends() == sends, f"{what} a refused buy was sent")
    sold = stage.sell(amount=amount)
    expect(bench.sends() == sends + 1, f"{what} a sell went out {bench.sends() - sends} times: {sold.message}")
    order = _only(bench, sold, f"a sell {what}")
    expect(sold.status in (order.status, OrderStatus.UNKNOWN), f"{what} a sell is said to be {sold.status}")


def _lost_exit(bench: Bench) -> None:
    stage = bench.stage()
    amount = round_down(SPEND / _price(stage).bid, _market(stage).amount_step)
    expect(stage.buy().status is OrderStatus.FILLED, "a buy did not fill")
    sends = bench.sends()
    bench.fail("cut", on=_PLACE, times=1, taken=True)
    sold = stage.sell(amount=amount)
    expect(bench.sends() == sends + 1, f"a sell went out {bench.sends() - sends} times")
    if sold.status is OrderStatus.UNKNOWN:
        _settles(stage, sold, "a sell whose answer was lost", taken=True)


# ---------------------------------------------------------------------------------------------------------- secrets


def unsaid_secrets(bench: Bench) -> None:
    """Nothing of any key file stands in what was said, recorded or logged."""
    secrets = {secret for value in bench.rehearsal.settings.values() for secret in _secrets_in(value)}
    if not secrets:
        raise NotTried("it has no key file")
    for secret in secrets:
        for text in bench.said:
            before, found, _ = text.partition(secret)
            expect(not found, f"a line of the key file was said: …{before[-60:]}[here]")


def _secrets_in(value: object) -> Iterator[str]:
    """The lines of a file that only its owner may read, and of the texts in it where it is JSON."""
    path = Path(value) if isinstance(value, str | Path) else None
    if path is None or not path.is_file() or stat.S_IMODE(path.stat().st_mode) & 0o077:
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    texts = [str(one) for one in parsed.values()] if isinstance(parsed, dict) else [text]
    for line in "\n".join(texts).splitlines():
        if len(line.strip()) >= 12 and not line.startswith("-----"):
            yield line.strip()


# ------------------------------------------------------------------------------------------------------------ shared


def _market(stage: Stage) -> Market:
    market = stage.broker.get_market(stage.symbol)
    if market is None:
        raise AssertionError(f"the venue has {stage.symbol}, and get_market gives none")
    return market


def _price(stage: Stage) -> Price:
    price = stage.broker.get_prices((stage.symbol,)).get(stage.symbol)
    if price is None:
        raise AssertionError(f"the venue has a price of {stage.symbol}, and get_prices gives none")
    return price


def _sent(decision: Decision) -> Any:
    if decision.venue_order is None:
        raise AssertionError(f"the gate did not send it: {decision.message}")
    return decision.venue_order


def _only(bench: Bench, decision: Decision, what: str) -> Receipt:
    """The venue's one order under the id in the journal."""
    theirs = bench.theirs(_sent(decision).client_order_id)
    expect(len(theirs) == 1, f"{what}: the venue has {len(theirs)} orders under the id in the journal")
    return theirs[0]


def _count(bench: Bench, action: str) -> int:
    return bench.rehearsal.count(action) if bench.rehearsal.count is not None else 0


_REDIRECTS: Final = (301, 302, 303, 307, 308)
_STATUSES: Final = (400, 401, 403, 404, 408, 429, 500, 502, 503, 504, 520)
_UNCERTAIN: Final = "the outcome is unknown, it is sent once, and settled rightly"
_ASKED: Final = {
    "account": "the account",
    "prices": "a price",
    "market": "a market",
    "permissions": "what the key may do",
    "time": "the venue's clock",
}
_QUICK: Final = frozenset({"cut", "empty_object", "html"})


def _fault_trials() -> Iterator[Trial]:
    for name, means in FAULTS.items():
        if name in ("late", "http"):
            continue
        for taken in (True, False):
            whether = "taken" if taken else "not taken"
            proves = f"{means[0].upper()}{means[1:]}, and the venue {_took_it(taken)} it: {_UNCERTAIN}."
            yield Trial(f"{name}, {whether}", proves, partial(_fault, name=name, taken=taken), name in _QUICK)


PROVES_FINDING: Final = "cut, taken"
PROVES_REPEATS: Final = "repeated id"

TRIALS: Final = (
    Trial("facts", "Balances, prices and markets are the venue's; the identity stays the same.", _facts),
    Trial("threads", "Sixteen questions from eight threads at once are all answered.", _many_questions, quick=False),
    Trial("fees", "The account's rates are fractions with a source.", _fees),
    Trial("permissions", "A key that may view and trade is told as such.", _permissions),
    Trial("time", "The venue's clock is told in seconds since the epoch.", _time),
    Trial("units", "Base is base and quote is quote: what the venue has is what was asked, to the last digit.", _units),
    Trial("rejected", "A definite rejection is `rejected`, with the venue's code, and nothing was taken.", _rejected),
    Trial("too late", "Nothing is taken after its send-by time.", _too_late),
    Trial(PROVES_REPEATS, "The same id again makes no second order, as far as the profile promises.", _repeated),
    Trial("cancel", "A resting order is cancelled; one that is over is told as it ended.", _cancel),
    Trial("cancel, cut", "A cancel whose answer is lost is unknown until the venue says how it stands.", _lost_cancel),
    Trial("filled later", "What fills while it rests is learnt, with amount, value and fees.", _filled_later),
    Trial("foreign orders", "An order that the gate never sent raises an alarm.", _foreign),
    *_fault_trials(),
    Trial(
        "http, taken",
        f"An HTML page with a 4xx or 5xx status: {_UNCERTAIN}.",
        partial(_fault, name="http", statuses=_STATUSES),
        quick=False,
    ),
    Trial(
        "redirects",
        "A 3xx answer is never followed; the outcome is unknown.",
        partial(_fault, name="http", statuses=_REDIRECTS),
        quick=False,
    ),
    Trial(
        "http, not taken", f"A proxy's 502 before the venue: {_UNCERTAIN}.", partial(_fault, name="http", taken=False)
    ),
    Trial("late", "An order that arrives after one look found nothing was not freed early.", _late),
    Trial("no id", f"An answer without the order's id: {_UNCERTAIN}.", partial(_fault, name="no_id")),
    Trial("moved id", f"An answer with the id in another place: {_UNCERTAIN}.", partial(_fault, name="moved_id")),
    Trial("other order", f"An answer about another order: {_UNCERTAIN}.", partial(_fault, name="other_id")),
    Trial(
        "unheard error",
        f"An error that nobody has heard of, from a venue that took it: {_UNCERTAIN}.",
        partial(_fault, name="error", text=_UNHEARD),
    ),
    Trial(
        "other size", "An order that is found with another size is never adopted, and closes the account.", _other_size
    ),
    Trial("hidden", "An order that the venue shows late is not freed before it shows.", _hidden),
    Trial("half a listing", "Half of a listing proves no absence.", _half_listing),
    *(
        Trial(
            f"no {on}",
            f"Where {what} cannot be learnt, or only half of it, no buy passes.",
            partial(_no_facts, on=on),
        )
        for on, what in _ASKED.items()
    ),
    Trial("exits", "With the facts down a sell goes out, once.", _exits),
    Trial("exits, cut", "A sell whose answer is lost is sent once and settled.", _lost_exit),
)
"""Everything that is tried, in this order."""
