"""The scenes of the demo, in the order they are played. Each says what it shows, does it, and looks its claims up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import ordergate_paper as paper
from ordergate.amounts import money, plain
from ordergate.cli.valued import look
from ordergate.decision import Decision
from ordergate.demo.rehearsal import Rehearsal
from ordergate.demo.words import brief
from ordergate.models import OrderStatus
from ordergate.order import Order

__all__ = ["SCENES"]

_BURST: Final = ("BTC-USD", "ETH-USD", "SOL-USD", "DOGE-USD", "LTC-USD", "LINK-USD", "AVAX-USD", "ADA-USD")


def too_small(demo: Rehearsal) -> None:
    demo.show.scene("Too small", "dust, and a size that is worth its fees at one venue and not at the other")
    demo.walk_to("12:30")
    demo.buy("starter", "BTC-USD", "dip-1", spend="0.80")
    demo.buy("starter", "BTC-USD", "dip-2", spend="3")
    demo.buy("starter", "BTC-USD", "dip-3", spend="12")
    refused = demo.buy("saver", "BTC-USDT", "dip-1", spend="12")
    demo.buy("investor", "BTC-USDT", "dip-1", spend="3")
    if refused.smallest_passing is not None:
        demo.buy("saver", "BTC-USDT", "dip-2", spend=money(refused.smallest_passing))


def too_much(demo: Rehearsal) -> None:
    demo.show.scene("Too many, too much", "a second position in a tier with one, and a slip of the finger")
    demo.walk_to("12:40")
    demo.buy("starter", "ETH-USD", "second-1", spend="15")
    demo.buy("starter", "BTC-USD", "typo-1", spend="1200")


def burst(demo: Rehearsal) -> None:
    demo.show.scene("Burst", f"{len(_BURST)} signals at once, each in its own thread; the tier allows 5 positions")
    demo.walk_to("12:50")
    decisions = demo.submit_at_once(
        Order.buy(symbol, spend="200", account="income", client_order_id=f"burst-{symbol.split('-')[0]}")
        for symbol in _BURST
    )
    sent = sum(decision.approved for decision in decisions)
    demo.finding(
        f"{sent} of {len(_BURST)} approved, {demo.orders_at('income')} orders at the venue",
        holds=sent == 5 and demo.orders_at("income") == 5,
    )


def savings_plan(demo: Rehearsal) -> None:
    demo.show.scene("Savings plan", "25 USD every half hour: all fees and no position. The same money at once passes")
    for number, time in enumerate(("13:00", "13:30"), 1):
        demo.walk_to(time)
        demo.buy("livable", "BTC-USDT", f"plan-{number}", spend="25")
    demo.walk_to("14:00")
    demo.buy("livable", "BTC-USDT", "plan-saved-up", spend="450")


def same_signal_twice(demo: Rehearsal) -> None:
    demo.show.scene("The same signal twice", "one client order id is one order, whatever is sent under it")
    demo.walk_to("14:10")
    demo.buy("investor", "BTC-USDT", "signal-7", spend="25")
    before = demo.orders_at("investor")
    again = demo.buy("investor", "BTC-USDT", "signal-7", spend="25")
    error = demo.submit_wrong(Order.buy("BTC-USDT", spend="60", account="investor", client_order_id="signal-7"))
    demo.finding(
        "nothing more went to the venue",
        holds=again.replayed and error is not None and demo.orders_at("investor") == before,
    )


def limit_order(demo: Rehearsal) -> None:
    demo.show.scene("A limit order", "it rests, its money is spoken for, and the recorded path comes down to it")
    placed = demo.buy("livable", "BTC-USDT", "limit-1", amount="0.005", limit="105000")
    with demo.show.waiting("the path goes on, minute by minute ..."):
        filled = demo.walk_until_a_fill("livable")
    with demo.show.waiting("asking the venue ..."):
        demo.executor.reconcile("livable")
    status = demo.recorded_status("livable", "limit-1")
    demo.finding(
        f"the path crossed it at {demo.time}; asked again, the venue says {status}",
        holds=placed.status is OrderStatus.OPEN and len(filled) == 1 and status == "filled",
    )


def scale_in(demo: Rehearsal) -> None:
    demo.show.scene("Scaling in", "more of what is held opens no position, in every tier")
    demo.walk_to("15:00")
    demo.buy("starter", "BTC-USD", "scale-1", spend="12")
    demo.buy("livable", "BTC-USDT", "scale-1", spend="500")
    demo.walk_to("15:57")
    demo.buy("livable", "BTC-USDT", "scale-2", spend="500")


def no_answer(demo: Rehearsal) -> None:
    demo.show.scene(
        "The venue does not answer", "it took the order and the reply is lost: nothing is sent again on a guess"
    )
    demo.walk_to("16:20")
    venue, before = demo.venues["livable"], demo.orders_at("livable")
    paper.set_fault(venue, "no_answer_after", symbol="ETH-USD")
    paper.set_fault(venue, "late_visibility", symbol="ETH-USD")
    lost = demo.buy("livable", "ETH-USD", "lost-1", spend="450")
    waits = demo.buy("livable", "ETH-USD", "lost-2", spend="450")
    demo.finding("the outcome is unknown, so the next buy in the symbol waits", holds=_waits(lost, waits))
    demo.executor.reconcile("livable")
    status, orders = demo.recorded_status("livable", "lost-1"), demo.orders_at("livable") - before
    demo.finding(
        f"settled by looking its id up: {status}; orders at the venue: {orders}",
        holds=status == "filled" and orders == 1,
    )
    demo.buy("livable", "ETH-USD", "lost-3", spend="450")


def _waits(lost: Decision, waits: Decision) -> bool:
    return lost.status is OrderStatus.UNKNOWN and [one.rule for one in waits.refusals] == ["gate.state"]


def crash(demo: Rehearsal) -> None:
    demo.show.scene(
        "A crash in the middle", "a second process is killed after the venue took its order, before the receipt"
    )
    demo.walk_to("16:40")
    before = demo.orders_at("investor")
    paper.set_fault(demo.venues["investor"], "hang_after", symbol="SOL-USD")
    with demo.buying_elsewhere("investor", "SOL-USD", "crash-1", spend="40") as kill:
        kill()
    demo.restart()
    status, orders = demo.recorded_status("investor", "crash-1"), demo.orders_at("investor") - before
    demo.finding(
        f"killed (SIGKILL). The ledger says {status}, without a receipt; orders at the venue: {orders}",
        holds=status == "sending" and orders == 1,
    )
    again = demo.buy("investor", "SOL-USD", "crash-1", spend="40")
    fourth = demo.buy("investor", "DOGE-USD", "fourth-1", spend="30")
    demo.finding(
        "the same id sent nothing; what may be at the venue counts as a position",
        holds=again.replayed and not fourth.approved and demo.orders_at("investor") - before == 1,
    )


def halt(demo: Rehearsal) -> None:
    demo.show.scene("A halt", "no more buys in this account, open ones are cancelled; the way out stays open")
    demo.walk_to("17:00")
    venue = demo.venues["income"]
    held = sorted(one.currency for one in paper.get_account(venue).holdings if f"{one.currency}-USD" in _BURST)
    first, second = (f"{currency}-USD" for currency in held[:2])
    low = plain(paper.get_prices(venue, [first])[0].bid / 2)
    demo.buy("income", first, "low-1", spend="160", limit=low)
    halted = demo.executor.halt(by="demo", reason="rehearsing a halt", account="income")
    demo.finding(f"halted; cancelled: {', '.join(halted.acknowledged)}", holds=list(halted.acknowledged) == ["low-1"])
    refused = demo.buy("income", second, "halted-1", spend="200")
    sold = demo.sell_all("income", first, "exit-1")
    demo.finding(
        "the buy was refused, the sell passed",
        holds=not refused.approved and sold.status is OrderStatus.FILLED,
    )
    demo.executor.resume(by="demo", reason="the rehearsal is over", account="income")
    demo.walk_to("17:20")
    demo.buy("income", second, "resumed-1", spend="200")


def after_the_crash(demo: Rehearsal) -> None:
    demo.show.scene("After the crash", "once its send-by time is over, the order is looked up; it is never sent again")
    demo.walk_to("18:00")

    def settled() -> bool:
        demo.executor.reconcile("investor")
        return demo.recorded_status("investor", "crash-1") == "filled"

    with demo.show.waiting("before its send-by time nobody may call the order lost ..."):
        done = demo.wait_until(settled)
    orders = [one for one in paper.list_orders(demo.venues["investor"], 0.0) if one.symbol == "SOL-USD"]
    demo.finding(f"settled: {'filled' if done else 'no'}; orders at the venue: {len(orders)}", holds=len(orders) == 1)
    demo.finding("sent once, in all processes together", holds=done and _each_order_once(demo))
    demo.buy("investor", "SOL-USD", "crash-2", spend="40")


def _each_order_once(demo: Rehearsal) -> bool:
    """Every order of the ledger is at its venue once, and the venue has no other."""
    ledger = demo.executor.desk.ledger()
    for account, venue in demo.venues.items():
        ours = [one.wire_id for one in ledger.recent(account, 0.0, 10_000) if one.wire_id is not None]
        theirs = [one.client_order_id for one in paper.list_orders(venue, 0.0)]
        if sorted(ours) != sorted(theirs):
            return False
    return True


def dust_sweep(demo: Rehearsal) -> None:
    demo.show.scene("Dust", "what is too small to be a position: sold where the venue lets it be sold, else named")
    demo.walk_to("20:00")
    account = look(demo.executor, "income")
    dust = sorted(account.valuation.holdings.keys() - account.valuation.positions.keys())
    for currency in dust:
        symbol, held = f"{currency}-USD", account.valuation.holdings[currency]
        market = account.market_of(currency)
        if market is not None and held.value >= market.min_spend and held.sellable >= market.min_amount:
            sold = demo.sell_all("income", symbol, f"dust-{currency}")
            demo.finding(f"{currency} is gone", holds=sold.status is OrderStatus.FILLED)
        else:
            least = money(market.min_spend) if market else "?"
            demo.finding(
                f"{plain(held.amount)} {currency}, {brief(held.value)} USD, stay: the venue sells from {least} USD",
                holds=True,
            )


def end_of_day(demo: Rehearsal) -> None:
    demo.show.scene("The end of the day", "the rest of the recorded path; then the books")
    with demo.show.waiting("the path goes on ..."):
        demo.walk_to_the_end()
    demo.buy("livable", "BTC-USDT", "evening-1", spend="400")
    faults = [notice for venue in demo.venues.values() for notice in venue.notices]
    demo.finding("no rehearsed fault is left at the venues", holds=not faults)


SCENES: Final[tuple[Callable[[Rehearsal], None], ...]] = (
    too_small,
    too_much,
    burst,
    savings_plan,
    same_signal_twice,
    limit_order,
    scale_in,
    no_answer,
    crash,
    halt,
    after_the_crash,
    dust_sweep,
    end_of_day,
)
