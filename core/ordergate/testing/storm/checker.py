"""The offline checker: whether one order of things, the journal's, explains every answer and every order at the venues.

Pure. It reads histories, journals and the venues' records, folds the journal by itself, and asks nothing of the gate's
own code: what that code got wrong must not be found right here. Where the evidence allows two readings, the one that is
kinder to the gate counts.

    I0  nothing was raised but the documented errors
    I1  at most one venue order, and one send, per intent
    I2  what is held, reserved or unknown stayed within the cap and the cash at every row, and at the venue
    I3  every venue order has an earlier approval with its very terms; a buy's names every active rule
    I4  every answer stands in the journal, and says what the journal says
    I5  nothing was bought while it was halted
    I7  the chain holds, the tables equal it, and a recorded decision can be judged again
    I8  the journal has the venue's last word on every order
    order     a decision that was answered before another was asked for stands before it
    refusal   every refusal is explained by the state at its row
    sender    where accounts are lent, nobody bought while another process held the account
    same id   everybody who used an id got the same answer, and another order under it got none
    starved   every caller was served, and in a storm without an end none got less than its share of the answers
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from ordergate.amounts import ZERO
from ordergate.ledger import EVERY_ACCOUNT
from ordergate.models import Side
from ordergate.testing.storm.evidence import Evidence, Taken
from ordergate.testing.storm.history import Call
from ordergate.testing.storm.story import Row, Story, Violation
from ordergate_paper import Placed

__all__ = ["Violation", "check"]

_NOT_RECORDED: Final = frozenset({"ledger_busy", "ledger_unavailable"})
"""Refusals that bind no id, because the ledger could not be asked to."""
_DOCUMENTED: Final = frozenset({"IdConflict", "InputError", "LedgerBusy", "LedgerError"})
_CLOCKS: Final = 0.5  # seconds by which the clocks of gateway and database may differ on one machine
_SHOWN: Final = frozenset({"open", "partly_filled", "filled", "cancelled"})
"""What the journal says only of orders that the venue has."""


def check(evidence: Evidence) -> tuple[Violation, ...]:
    """Everything that does not hold; empty when all of it does."""
    found = [*_whole(evidence), *_served(evidence)]
    calls: dict[str, list[Call]] = {}
    for call in evidence.calls:
        calls.setdefault(call.account, []).append(call)
    for account in sorted({*evidence.journals, *evidence.venues, *calls} - {EVERY_ACCOUNT}):
        story = Story(account, evidence)
        taken = evidence.venues.get(account, Taken(orders=(), requests=0))
        found += story.read(evidence.journals.get(account, ()))
        found += _at_venue(story, taken, settled=evidence.settled)
        found += _positions_at_venue(story, taken)
        found += _answers(story, calls.get(account, []), evidence.imported)
        found += _senders(story, calls.get(account, []), evidence)
    return tuple(found)


# ------------------------------------------------------------------------------------------------------ the whole storm


def _whole(evidence: Evidence) -> Iterator[Violation]:
    if evidence.damage:
        yield Violation("I7", EVERY_ACCOUNT, evidence.damage)
    for name in evidence.not_reproduced:
        yield Violation("I7", EVERY_ACCOUNT, f"decision {name} gets other verdicts when it is judged again")


def _served(evidence: Evidence) -> Iterator[Violation]:
    served: dict[int, set[int]] = {}
    for call in evidence.calls:
        served.setdefault(call.caller, set())
        if call.returned is not None:
            served[call.caller].add(call.number)
    for caller, owed in (evidence.owed or {}).items():
        got = len(served.get(caller, ()))
        if got < owed:
            yield Violation("starved", EVERY_ACCOUNT, f"caller {caller} got {got} answers of {owed}")
    counts = [len(numbers) for numbers in served.values()]
    if evidence.least_share is not None and min(counts, default=0) < evidence.least_share * max(counts, default=0):
        yield Violation(
            "starved", EVERY_ACCOUNT, f"one caller got {min(counts)} answers, while another got {max(counts)}"
        )


# ----------------------------------------------------------------------------------------------- the venue's own record


def _at_venue(story: Story, taken: Taken, *, settled: bool) -> Iterator[Violation]:
    seen: set[str] = set()
    for placed in taken.orders:
        row = story.by_wire.get(placed.client_order_id)
        if placed.client_order_id in seen:
            yield story.broken("I1", f"the venue has more than one order of {row.name if row else placed.order_id}")
        seen.add(placed.client_order_id)
        if row is None or row.sent is None:
            yield story.broken("I3", f"the venue has an order of {placed.symbol} that was never approved")
            continue
        differing = _differing(row.sent, placed)
        if differing:
            yield story.broken("I3", f"the venue's order of {row.name} has another {differing}")
        if placed.placed_at < row.at:
            yield story.broken("I3", f"the venue had {row.name} before row {row.seq} approved it")
        if settled and row.last != placed.status.value:
            yield story.broken("I8", f"{row.name} is {placed.status} at the venue, and {row.last} in the journal")
    yield from _not_at_venue(story, seen, settled=settled)
    approved = sum(row.sent is not None for row in story.rows.values())
    if taken.requests > approved:
        yield story.broken("I1", f"{taken.requests} orders were sent for {approved} that were approved")


def _not_at_venue(story: Story, seen: set[str], *, settled: bool) -> Iterator[Violation]:
    for wire, row in story.by_wire.items():
        if wire not in seen and row.last in _SHOWN:
            yield story.broken("I8", f"{row.name} is {row.last} in the journal, and not at the venue")
        if settled and row.last in ("sending", "unknown"):
            yield story.broken("I8", f"{row.name} is still {row.last} after everything was settled")


def _differing(sent: Mapping[str, Any], placed: Placed) -> str:
    """The terms in which the venue's order differs from the recorded one."""
    told = {"symbol": placed.symbol, "side": placed.side.value}
    told |= {name: getattr(placed, name) for name in ("spend", "amount", "limit")}
    return ", ".join(name for name, value in told.items() if not _same(sent[name], value))


def _same(recorded: str | None, value: object) -> bool:
    if recorded is None or value is None:
        return recorded is value
    return Decimal(recorded) == value if isinstance(value, Decimal) else recorded == value


def _positions_at_venue(story: Story, taken: Taken) -> Iterator[Violation]:
    """What is held and what rests after each order, by the venue's own fills; what was cancelled in the end counts as
    gone all the time.
    """
    cap = max(story.caps, default=0)
    held: dict[str, Decimal] = {}
    resting: set[str] = set()
    for placed in taken.orders:
        base = placed.symbol.split("-")[0]
        if placed.side is Side.SELL:
            held[base] = held.get(base, ZERO) - placed.filled
            continue
        held[base] = held.get(base, ZERO) + placed.filled
        if not placed.status.is_final:
            resting.add(base)
        there = {currency for currency, amount in held.items() if amount > 1} | resting
        if len(there) > cap:
            names = ", ".join(sorted(there))
            yield story.broken("I2", f"the venue has {names} after {placed.symbol}: more than the cap of {cap}")


# -------------------------------------------------------------------------------------------------------- the answers


def _answers(story: Story, calls: Iterable[Call], imported: frozenset[str]) -> Iterator[Violation]:
    answered: dict[str, list[Mapping[str, Any]]] = {}
    decided: list[tuple[Call, int]] = []
    for call in calls:
        if call.error is not None and call.error not in _DOCUMENTED:
            yield story.broken("I0", f"{call.do} of {call.client_order_id} raised {call.error}")
        if call.do != "submit" or call.returned is None:
            continue
        name, row = call.client_order_id, story.rows.get(call.client_order_id)
        if call.answer is None:
            if call.error == "IdConflict" and (row is None or _is_same_order(call, row)):
                yield story.broken("same id", f"{name} was called another order than the one under this id, and is not")
            continue
        if _NOT_RECORDED & set(call.answer["codes"]):
            continue
        answered.setdefault(name, []).append(call.answer)
        if row is None:
            yield story.broken("I4", f"{name} was answered {call.answer['status']}, and stands nowhere in the journal")
            continue
        yield from _against_row(story, call, call.answer, row)
        if not call.answer["replayed"] and name not in imported:
            decided.append((call, row.seq))
    for name, answers in answered.items():
        yield from _one_answer(story, name, answers)
    yield from _in_order(story, decided)


def _against_row(story: Story, call: Call, answer: Mapping[str, Any], row: Row) -> Iterator[Violation]:
    name = call.client_order_id
    if not _is_same_order(call, row):
        yield story.broken("same id", f"{name} was answered with the outcome of another order")
    if answer["approved"] != (row.sent is not None):
        told = f"{name} was answered {answer['status']}"
        yield story.broken("I4", f"{told}, and row {row.seq} says {row.body['status']}")
    elif row.sent is None:
        recorded = sorted({one["code"] for one in row.body["verdicts"] if one["approved"] is not True})
        if recorded != answer["codes"]:
            yield story.broken("I4", f"{name} was refused by {answer['codes']}, and row {row.seq} says {recorded}")
    elif answer["status"] != "unknown" and answer["status"] not in row.statuses:
        heard = ", ".join(sorted(row.statuses)) or "nothing"
        yield story.broken("I4", f"{name} was answered {answer['status']}, and the journal has heard {heard}")


def _one_answer(story: Story, name: str, answers: list[Mapping[str, Any]]) -> Iterator[Violation]:
    made = sum(not answer["replayed"] for answer in answers)
    if made > 1:
        yield story.broken("same id", f"{made} callers were told that their {name} was the first")
    if len({(answer["approved"], *answer["codes"]) for answer in answers}) > 1:
        yield story.broken("same id", f"callers of {name} were answered differently")
    if len({answer["order_id"] for answer in answers} - {None}) > 1:
        yield story.broken("same id", f"callers of {name} were told of different venue orders")


def _is_same_order(call: Call, row: Row) -> bool:
    asked = call.order or {}
    return all(asked.get(name) == value for name, value in row.body["order"].items() if name != "client_order_id")


def _in_order(story: Story, decided: list[tuple[Call, int]]) -> Iterator[Violation]:
    """Decisions of one account depend on each other: who was answered first must stand first."""
    returned = sorted(decided, key=lambda one: one[0].returned or 0.0)
    latest, position = (0, ""), 0
    for call, seq in sorted(decided, key=lambda one: one[0].called):
        while position < len(returned) and (returned[position][0].returned or 0.0) < call.called:
            before, row = returned[position]
            latest = max(latest, (row, before.client_order_id))
            position += 1
        if seq < latest[0]:
            what = f"{call.client_order_id} stands in row {seq}, before {latest[1]} in row {latest[0]}"
            yield story.broken("order", f"{what}, whose answer was there before it was asked for")


def _senders(story: Story, calls: list[Call], evidence: Evidence) -> Iterator[Violation]:
    """A lease runs from each buy on; it ends early only when its holder ends, and so makes no call any more."""
    if evidence.lease is None:
        return
    made = {call.client_order_id: call for call in calls if call.answer is not None and not call.answer["replayed"]}
    before: tuple[Row, int] | None = None
    for name, row in story.rows.items():
        if row.sent is None or row.body["is_exit"] or name not in made:
            continue
        call = made[name]
        process = call.caller // evidence.threads
        if before is not None and before[1] != process and row.at - before[0].at < evidence.lease - _CLOCKS:
            late = [one for one in calls if one.caller // evidence.threads == before[1]]
            if any(one.called > (call.returned or 0.0) for one in late):
                what = f"process {process} bought {name} {row.at - before[0].at:.1f} s after process {before[1]}"
                yield story.broken("sender", f"{what}, which held the account for {evidence.lease:g} s")
        before = (row, process)
