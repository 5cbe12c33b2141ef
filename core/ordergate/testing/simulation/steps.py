"""What a run consists of, drawn from its seed before it begins: a scenario, and steps that carry their own faults.

No step depends on what the ones before it did, so that any of them can be left out and the others stay the same.
"""

from __future__ import annotations

from typing import Final

import attrs
from attrs import evolve, frozen

from ordergate.models import Absence, IdPromise
from ordergate.testing.simulation.draw import Draw

__all__ = ["PROMISES", "SYMBOLS", "Promise", "Scenario", "Step", "draw_scenario", "draw_steps"]

SYMBOLS: Final = ("AAA-USD", "BBB-USD", "CCC-USD", "DDD-USD", "EEE-USD", "FFF-USD")


@frozen(kw_only=True)
class Promise:
    """What a simulated venue promises, and keeps. Seconds."""

    name: str
    ids: IdPromise
    absence: Absence
    honoured: float
    balance_lag: float
    absence_looks: int = 3


PROMISES: Final = (
    Promise(name="unique", ids=IdPromise.ALWAYS_UNIQUE, absence=Absence.LOOKUP, honoured=20.0, balance_lag=0.0),
    Promise(name="deadline", ids=IdPromise.UNIQUE_WHILE_OPEN, absence=Absence.LOOKUP, honoured=0.0, balance_lag=2.0),
    Promise(name="person", ids=IdPromise.NONE, absence=Absence.PERSON, honoured=30.0, balance_lag=0.0, absence_looks=1),
)


@frozen(kw_only=True)
class Scenario:
    """What stays the same for a whole run. `skews`: how many seconds each process's clock is ahead of the venue's."""

    promise: Promise
    cash: str
    holds: str
    facts_cache: float
    foreign_orders: str
    skews: tuple[float, float]


@frozen(kw_only=True)
class Step:
    """One thing that happens, and what goes wrong meanwhile. What is left at its default does not happen.

    `wire`: what the venue does with an order or a cancel. `asked`: which question fails, and how. `disk`: what the
    ledger does at its call number `disk_at` of this step. `dies`: the number of the point at which the process dies;
    points are its calls of the clock, the ledger and the venue. `meanwhile`: what the other process does at the point
    `meanwhile_at` of this one.
    """

    do: str
    process: int = 0
    symbol: str = SYMBOLS[0]
    size: str = ""
    limit: str = ""
    named: bool = True
    ref: int = 0
    seconds: float = 0.0
    wire: str = ""
    asked: str = ""
    blind: int = 0
    lag: int = 0
    disk: str = ""
    disk_at: int = 1
    dies: int = 0
    meanwhile: Step | None = None
    meanwhile_at: int = 0

    def __str__(self) -> str:
        fields = attrs.fields(type(self))
        said = [(field.name, getattr(self, field.name)) for field in fields if field.name not in ("do", "meanwhile")]
        words = [f"{name}={value}" for (name, value), field in zip(said, _named(), strict=True) if value != field]
        nested = f" [meanwhile: {self.meanwhile}]" if self.meanwhile else ""
        return " ".join([self.do, *words]) + nested


def _named() -> list[object]:
    return [field.default for field in attrs.fields(Step) if field.name not in ("do", "meanwhile")]


WIRE: Final = (
    "never lost lost late late late late hang_taken hang_never reject not_sent limited other_id other_size "
    "garbage partial partial slow"
).split()
CANCEL: Final = "lost never crossing crossing hang_taken garbage".split()
ASKED: Final = (
    "account:down account:hang account:slow account:half account:hidden prices:down prices:odd prices:slow "
    "market:down find:down find:hang find:slow find:other time:down time:slow list:down connect:down all:down"
).split()
DISK: Final = "fails fails acks_lost acks_lost busy down".split()
LATE: Final = (0.5, 2.0, 4.0, 8.0, 15.0, 24.0, 45.0, 4000.0)
WAITS: Final = (0.1, 0.5, 1.0, 3.0, 6.0, 12.0, 30.0, 70.0, 4000.0)
STEPS: Final = (
    ("buy", 36),
    ("repeat", 7),
    ("repeat_other", 2),
    ("sell", 10),
    ("force", 2),
    ("cancel", 7),
    ("check", 3),
    ("reconcile", 6),
    ("settle", 4),
    ("halt", 2),
    ("resume", 9),
    ("halt_file", 1),
    ("price", 6),
    ("person_buys", 2),
    ("person_sells", 2),
    ("person_rests", 1),
    ("person_cancels", 2),
    ("wait", 9),
    ("crash", 3),
    ("restart", 2),
    ("clock", 3),
    ("ledger_gone", 1),
    ("ledger_back", 6),
    ("venue_gone", 1),
    ("venue_back", 6),
)
_NAMES: Final = tuple(name for name, weight in STEPS for _ in range(weight))
_ORDERS: Final = frozenset({"buy", "repeat", "repeat_other", "sell", "force"})
_ACTS: Final = _ORDERS | {"cancel", "check", "reconcile", "settle", "halt", "resume"}
_SPENDS: Final = ("12", "20", "25", "25", "40", "60", "60", "100", "150", "260")


def draw_scenario(seed: int, *, apart: bool = False) -> Scenario:
    """`apart`: the processes run on two machines. All clocks are as right as the gate demands."""
    draw = Draw("scenario", seed)
    skews = draw.choice((-1.5, 0.0, 0.0, 1.5)), draw.choice((-1.5, 0.0, 1.5))
    return Scenario(
        promise=draw.choice(PROMISES),
        cash=draw.choice(("110", "300", "300", "300", "1500")),
        holds=draw.choice(("0", "3", "12.3456")),
        facts_cache=draw.choice((0.0, 0.0, 5.0)),
        foreign_orders=draw.choice(("alarm", "alarm", "alarm", "stop")),
        skews=skews if apart else (skews[0], skews[0]),
    )


def draw_steps(seed: int, count: int) -> tuple[Step, ...]:
    """The same first steps whatever the count."""
    return tuple(_step(Draw("step", seed, number)) for number in range(count))


def _step(draw: Draw) -> Step:
    step = _plain(draw, draw.choice(_NAMES))
    if step.do in _ACTS:
        step = _troubled(draw, step)
        if draw.chance(12):
            other = _plain(draw, draw.choice([name for name in _NAMES if name != "wait"]))
            other = evolve(other, process=1 - step.process, wire=_wire(draw, other.do) if draw.chance(30) else "")
            step = evolve(step, meanwhile=other, meanwhile_at=1 + draw.below(1 + draw.below(60)))
    return step


def _plain(draw: Draw, do: str) -> Step:
    rests = draw.chance(35)
    return Step(
        do=do,
        process=int(draw.chance(35)),
        symbol=draw.choice(SYMBOLS),
        size=_size(draw, do),
        limit=draw.choice(("0.80", "0.95", "0.99", "1.00", "1.05")) if rests else "",
        named=draw.chance(85),
        ref=draw.below(1000),
        seconds=_seconds(draw, do),
    )


def _size(draw: Draw, do: str) -> str:
    if do in ("sell", "force"):
        return draw.choice(("all", "all", "0.3", "0.5", "1", "2"))
    if do == "price":
        return draw.choice(("0.5", "0.9", "0.97", "1.03", "1.1", "2"))
    return draw.choice(_SPENDS)


def _seconds(draw: Draw, do: str) -> float:
    if do == "clock":
        return draw.choice((-3600.0, -5.0, -1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5, 5.0, 3600.0))
    return draw.choice(WAITS if do == "wait" else LATE)


def _wire(draw: Draw, do: str) -> str:
    return draw.choice(CANCEL if do in ("cancel", "halt") else WIRE)


def _troubled(draw: Draw, step: Step) -> Step:
    """About half of the steps go as they should."""
    if draw.chance(40):
        step = evolve(step, wire=_wire(draw, step.do))
    if draw.chance(12):
        step = evolve(step, asked=draw.choice(ASKED))
    if draw.chance(25):
        step = evolve(step, blind=1 + draw.below(2))
    if draw.chance(12):
        step = evolve(step, disk=draw.choice(DISK), disk_at=1 + draw.below(1 + draw.below(16)))
    if draw.chance(10):
        step = evolve(step, dies=1 + draw.below(1 + draw.below(90)))
    return evolve(step, lag=draw.below(3)) if draw.chance(50) else step
