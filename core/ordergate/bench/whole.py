"""Goal 2: a whole decision from the caller's words to the order in the broker's hands, with a ledger in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import Final

from attrs import evolve

from ordergate.amounts import exact
from ordergate.bench.case import Case, Effort, NotHere, Row, Way
from ordergate.bench.given import ACCOUNT, SMALL, SPEND, buy, gate, inputs_of, reservation, venue
from ordergate.bench.measure import CLOCK, gathered, timed
from ordergate.bench.memory import Snapshot
from ordergate.bench.peers import nautilus, vnpy
from ordergate.executor import Executor
from ordergate.judge import judge
from ordergate.outcome import as_recorded, judged
from ordergate.records import canonical

__all__ = ["CASES", "until_sent"]

_KEPT: Final = {"facts_age": 300, "facts_cache": 300}
"""Settings of a gate that keeps its facts: what a decision costs, and not what a venue costs."""


@contextmanager
def _ways(effort: Effort) -> Iterator[Mapping[str, Way]]:
    with gate(effort.memory, **_KEPT) as executor:
        with exact():
            bare = Snapshot.of(executor, spend=SPEND).floor()
        names = map("order-{}".format, count())
        share = effort.share
        ways: dict[str, Way] = {
            "floor": partial(_exactly, partial(timed, bare, share)),
            "parsed": partial(timed, partial(buy, name="order-0"), share),
            "in words": partial(_exactly, partial(timed, _put_in_words(executor, names), share)),
            "checked": partial(timed, lambda: executor.check(buy()), share),
            "decided": partial(gathered, until_sent(executor, names), share),
            "bought": partial(timed, lambda: executor.submit(buy(name=next(names))), share),
            "refused": partial(timed, lambda: executor.submit(buy(spend=SMALL, name=next(names))), share),
        }
        for peer in (nautilus, vnpy):
            with suppress(NotHere):
                ways |= peer(share)
        yield ways


def until_sent(executor: Executor, names: Iterator[str]) -> Callable[[], float]:
    """One buy, and the seconds from its words until the broker has the order in its hands."""
    there = venue(executor)

    def one() -> float:
        began = CLOCK.monotonic()
        executor.submit(buy(name=next(names)))
        return there.placed - began

    return one


def _put_in_words(executor: Executor, names: Iterator[str]) -> Callable[[], object]:
    """One buy parsed, judged, and written as its journal row would be: no ledger, no broker."""
    with exact():
        inputs = inputs_of(executor)
    panel = executor.setup.panel

    def one() -> object:
        name = next(names)
        of_this = evolve(inputs, order=evolve(buy(name=name), account=ACCOUNT))
        judgement = judge(of_this, panel)
        decision = judged(of_this.order, of_this, judgement, CLOCK.now())
        return canonical(as_recorded(decision, of_this, reservation(name), facts="0" * 64, setup="0" * 64))

    return one


def _exactly(way: Way) -> Mapping[str, float]:
    with exact():
        return way()


_WRITES: Final = (
    "the gate writes the decision, with all it was made on, into its journal before it sends; the peer writes nothing."
)
_PEER: Final = "Until it is with the broker, beside "

CASES: Final = (
    Case(
        name="whole",
        goal=2,
        says="A whole decision from words, recorded in a ledger in memory, on a broker whose facts are at hand.",
        ways=_ways,
        rows=(
            Row(
                says="From words until the broker has the order",
                of="decided",
                against="floor",
                limit=8,
                bound="parsing the words strictly takes about four floors by itself; the row in the journal is "
                "JSON of 3 kB and an INSERT, and facts and order cross to the broker under a deadline, "
                "each a thread that is woken.",
            ),
            Row(says="A whole buy, its receipt recorded", of="bought", against="floor"),
            Row(says="Parsing the words alone", of="parsed", against="floor"),
            Row(
                says="Parsed, judged, its journal row written out: no ledger, no broker", of="in words", against="floor"
            ),
            Row(says="A check: nothing recorded, facts kept", of="checked", against="floor"),
            Row(says="A refused buy, recorded, with the smallest size that passes", of="refused", against="floor"),
            Row(
                says=f"{_PEER}NautilusTrader's risk check alone",
                of="decided",
                against="nautilus",
                limit=0.85,
                bound=_WRITES,
            ),
            Row(
                says=f"{_PEER}NautilusTrader from the intent",
                of="decided",
                against="nautilus, intent",
                limit=0.25,
                bound=_WRITES,
            ),
            Row(
                says=f"{_PEER}vnpy's five rules in Cython",
                of="decided",
                against="vnpy",
                limit=1.6,
                bound=_WRITES,
            ),
        ),
    ),
)
