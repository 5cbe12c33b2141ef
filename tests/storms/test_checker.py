"""The offline checker finds what is planted: real evidence of a small storm, with one thing made wrong in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ordergate.journal import Entry
from ordergate.testing.storm import Evidence, check
from ordergate.testing.storm.evidence import Taken
from ordergate.testing.storm.history import Call
from ordergate_paper import Placed

ACCOUNT = "a0000"
T = TypeVar("T")
examples = settings(max_examples=8, deadline=None)


def names(evidence: Evidence) -> set[str]:
    return {violation.name for violation in check(evidence)}


def journal(evidence: Evidence) -> tuple[Entry, ...]:
    return evidence.journals[ACCOUNT]


def with_journal(evidence: Evidence, entries: list[Entry]) -> Evidence:
    return evolve(evidence, journals={**evidence.journals, ACCOUNT: tuple(entries)})


def rewritten(evidence: Evidence, entry: Entry, change: Callable[[dict[str, Any]], None]) -> Evidence:
    """The same journal with another body in one row."""
    body = json.loads(entry.body)
    change(body)
    changed = evolve(entry, body=json.dumps(body))
    return with_journal(evidence, [changed if one is entry else one for one in journal(evidence)])


def rows(evidence: Evidence, wanted: Callable[[Mapping[str, Any]], bool]) -> list[Entry]:
    return [entry for entry in journal(evidence) if entry.kind == "decision" and wanted(json.loads(entry.body))]


def is_bought(body: Mapping[str, Any]) -> bool:
    return body["venue_order"] is not None and not body["is_exit"]


def is_refused_by_the_cap(body: Mapping[str, Any]) -> bool:
    return [verdict["code"] for verdict in body["verdicts"] if not verdict["approved"]] == ["over_cap"]


def recapped(evidence: Evidence, by: int) -> Evidence:
    """As if all decisions had been made under another cap."""
    kept = json.loads(json.dumps([[*key, value] for key, value in evidence.kept.items()]))
    for _, _, value in kept:
        for tier in value.get("tiers", ()):
            tier["max_positions"] += by
    return evolve(evidence, kept={(account, name): value for account, name, value in kept})


def answered(evidence: Evidence, wanted: Callable[[Mapping[str, Any]], bool]) -> list[Call]:
    return [call for call in evidence.calls if call.do == "submit" and call.answer is not None and wanted(call.answer)]


def recalled(evidence: Evidence, call: Call, **change: Any) -> Evidence:
    """The same calls with one changed."""
    return evolve(evidence, calls=tuple(evolve(one, **change) if one is call else one for one in evidence.calls))


def with_orders(evidence: Evidence, change: Callable[[list[Placed]], None], *, more: int = 0) -> Evidence:
    taken = evidence.venues[ACCOUNT]
    orders = list(taken.orders)
    change(orders)
    return evolve(evidence, venues={ACCOUNT: Taken(orders=tuple(orders), requests=taken.requests + more)})


def test_the_storm_did_what_the_plants_need(sound: Evidence) -> None:
    assert len(rows(sound, is_bought)) >= 5
    assert len(rows(sound, is_refused_by_the_cap)) >= 3
    assert any(call.returned is None for call in sound.calls) or len(sound.calls) == 96
    assert len(sound.venues[ACCOUNT].orders) >= 5
    assert answered(sound, lambda answer: answer["replayed"])


# ------------------------------------------------------------------------------------------------------ caps and cash


def test_one_position_more_than_the_cap_is_found(sound: Evidence) -> None:
    found = check(recapped(sound, -1))
    assert any("opens" in violation.what for violation in found if violation.name == "I2"), "by the journal"
    assert any("the venue has" in violation.what for violation in found if violation.name == "I2"), "by the venue"


@examples
@given(data=st.data())
def test_a_buy_that_needs_more_than_is_left_is_found(sound: Evidence, data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(rows(sound, is_bought)))
    planted = rewritten(sound, row, lambda body: body["reservation"].update(needs="1000.01"))
    assert "I2" in names(planted)


def test_a_venue_that_had_no_funds_for_an_approved_buy_is_found(sound: Evidence) -> None:
    row = rows(sound, is_bought)[0]
    name = json.loads(row.body)["client_order_id"]
    told = [entry for entry in journal(sound) if entry.kind == "receipt" and json.loads(entry.body)["receipt"]]
    (receipt, *_) = [entry for entry in told if json.loads(entry.body)["client_order_id"] == name]
    planted = rewritten(sound, receipt, lambda body: body["receipt"].update(code="EOrder:Insufficient funds"))
    assert "I2" in names(planted)


# --------------------------------------------------------------------------------------------------- venue and journal


@examples
@given(data=st.data())
def test_a_venue_order_that_is_there_twice_is_found(sound: Evidence, data: st.DataObject) -> None:
    order = data.draw(st.sampled_from(sound.venues[ACCOUNT].orders))
    assert "I1" in names(with_orders(sound, lambda orders: orders.append(evolve(order, number=999)), more=1))


def test_a_send_that_the_venue_did_not_take_again_is_found(sound: Evidence) -> None:
    approved = len(rows(sound, lambda body: body["venue_order"] is not None))
    assert "I1" in names(with_orders(sound, lambda _: None, more=approved - sound.venues[ACCOUNT].requests + 1))


@examples
@given(data=st.data())
def test_a_venue_order_with_other_terms_is_found(sound: Evidence, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(sound.venues[ACCOUNT].orders) - 1))

    def change(orders: list[Placed]) -> None:
        order = orders[number]
        orders[number] = evolve(order, spend=(order.spend or 0) + 1) if order.spend else evolve(order, amount=99)

    assert "I3" in names(with_orders(sound, change))


@examples
@given(data=st.data())
def test_a_venue_order_that_was_never_approved_is_found(sound: Evidence, data: st.DataObject) -> None:
    order = data.draw(st.sampled_from(sound.venues[ACCOUNT].orders))
    stranger = evolve(order, number=999, client_order_id="somebody-else")
    assert "I3" in names(with_orders(sound, lambda orders: orders.append(stranger)))


@examples
@given(data=st.data())
def test_a_venue_order_that_was_there_before_its_approval_is_found(sound: Evidence, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(sound.venues[ACCOUNT].orders) - 1))

    def change(orders: list[Placed]) -> None:
        orders[number] = evolve(orders[number], placed_at=orders[number].placed_at - 3600)

    assert "I3" in names(with_orders(sound, change))


@examples
@given(data=st.data())
def test_an_order_that_the_venue_lost_or_never_had_is_found(sound: Evidence, data: st.DataObject) -> None:
    order = data.draw(st.sampled_from(sound.venues[ACCOUNT].orders))
    assert "I8" in names(with_orders(sound, lambda orders: orders.remove(order)))


@examples
@given(data=st.data())
def test_an_approval_without_one_of_the_rules_is_found(sound: Evidence, data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(rows(sound, is_bought)))
    gone = data.draw(st.integers(0, 9))
    assert "I3" in names(rewritten(sound, row, lambda body: body["verdicts"].pop(gone)))


@examples
@given(data=st.data())
def test_a_buy_during_a_halt_is_found(sound: Evidence, data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(rows(sound, is_bought)))
    halt = evolve(row, kind="trading", seq=row.seq - 1, key=None, body='{"trading": "exits_only"}')
    entries = list(journal(sound))
    entries.insert(entries.index(row), halt)
    assert "I5" in names(with_journal(sound, entries))


def test_an_alarm_about_an_order_that_nobody_sent_is_found(sound: Evidence) -> None:
    alarm = evolve(journal(sound)[-1], kind="alarm", body='{"code": "foreign_order", "message": "whose is it"}')
    assert "I1" in names(with_journal(sound, [*journal(sound), alarm]))


# ------------------------------------------------------------------------------------------------- answers and journal


@examples
@given(data=st.data())
def test_a_lost_row_is_found(sound: Evidence, data: st.DataObject) -> None:
    ids = {call.client_order_id for call in answered(sound, lambda _: True)}
    row = data.draw(st.sampled_from(rows(sound, lambda body: body["client_order_id"] in ids)))
    assert "I4" in names(with_journal(sound, [entry for entry in journal(sound) if entry is not row]))


@examples
@given(data=st.data())
def test_an_order_that_was_decided_twice_is_found(sound: Evidence, data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(rows(sound, lambda _: True)))
    again = evolve(row, seq=len(journal(sound)) + 1)
    assert "I1" in names(with_journal(sound, [*journal(sound), again]))


@examples
@given(data=st.data())
def test_an_answer_that_contradicts_the_journal_is_found(sound: Evidence, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(answered(sound, lambda answer: answer["status"] in ("refused", "filled"))))
    assert call.answer is not None
    told = {"refused": {"status": "filled", "approved": True}, "filled": {"status": "refused", "approved": False}}
    planted = recalled(sound, call, answer={**call.answer, **told[call.answer["status"]]})
    assert "I4" in names(planted)


@examples
@given(data=st.data())
def test_an_outcome_that_the_journal_never_heard_of_is_found(sound: Evidence, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(answered(sound, lambda answer: answer["status"] == "filled")))
    assert "I4" in names(recalled(sound, call, answer={**(call.answer or {}), "status": "expired"}))


@examples
@given(data=st.data())
def test_a_decision_that_stands_before_one_that_was_answered_earlier_is_found(
    sound: Evidence, data: st.DataObject
) -> None:
    own = answered(sound, lambda answer: not answer["replayed"])
    first = data.draw(st.sampled_from(own[: len(own) // 2]))
    later = [call for call in own if first.returned is not None and call.called > first.returned]
    second = data.draw(st.sampled_from(later))
    places = {json.loads(entry.body)["client_order_id"]: entry for entry in rows(sound, lambda _: True)}
    one, other = places[first.client_order_id], places[second.client_order_id]
    swapped = {id(one): evolve(one, seq=other.seq), id(other): evolve(other, seq=one.seq)}
    entries = sorted((swapped.get(id(entry), entry) for entry in journal(sound)), key=lambda entry: entry.seq)
    assert "order" in names(with_journal(sound, entries))


# ------------------------------------------------------------------------------------------------------------- refusals


def test_refusals_that_the_state_does_not_bear_out_are_found(sound: Evidence) -> None:
    found = check(recapped(sound, 5))
    assert any("over_cap" in violation.what for violation in found if violation.name == "refusal")


@examples
@given(
    data=st.data(),
    code=st.sampled_from(["not_enough_funds", "exits_only", "no_trusted_facts", "another_sender", "not_judged"]),
)
def test_a_refusal_for_another_reason_than_there_was_is_found(sound: Evidence, data: st.DataObject, code: str) -> None:
    row = data.draw(st.sampled_from(rows(sound, is_refused_by_the_cap)))

    def change(body: dict[str, Any]) -> None:
        for verdict in body["verdicts"]:
            if verdict["code"] == "over_cap":
                verdict.update(code=code, observed="1", limit="1")

    assert "refusal" in names(rewritten(sound, row, change))


@examples
@given(data=st.data())
def test_a_refusal_without_a_reason_is_found(sound: Evidence, data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(rows(sound, is_refused_by_the_cap)))
    assert "refusal" in names(rewritten(sound, row, lambda body: body.update(verdicts=[])))


# ------------------------------------------------------------------------------------------------------ ids and callers


@examples
@given(data=st.data())
def test_two_callers_who_were_both_the_first_are_found(sound: Evidence, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(answered(sound, lambda answer: not answer["replayed"])))
    assert "same id" in names(evolve(sound, calls=(*sound.calls, evolve(call, caller=99))))


@examples
@given(data=st.data())
def test_callers_of_one_id_who_were_told_different_things_are_found(sound: Evidence, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(answered(sound, lambda answer: answer["order_id"] is not None)))
    other = {**(call.answer or {}), "replayed": True, "order_id": "another"}
    assert "same id" in names(evolve(sound, calls=(*sound.calls, evolve(call, caller=99, answer=other))))


@examples
@given(data=st.data())
def test_an_outcome_given_to_another_order_under_the_same_id_is_found(sound: Evidence, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(answered(sound, lambda _: True)))
    order = {**(call.order or {}), "symbol": "OTHER-USD"}
    assert "same id" in names(recalled(sound, call, order=order))


@examples
@given(data=st.data())
def test_a_conflict_about_the_very_same_order_is_found(sound: Evidence, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(answered(sound, lambda _: True)))
    assert "same id" in names(recalled(sound, call, answer=None, error="IdConflict"))


@examples
@given(data=st.data())
def test_an_error_that_is_not_documented_is_found(sound: Evidence, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(answered(sound, lambda _: True)))
    assert "I0" in names(recalled(sound, call, answer=None, error="KeyError"))


@examples
@given(data=st.data())
def test_a_caller_who_was_left_without_answers_is_found(sound: Evidence, data: st.DataObject) -> None:
    starved = data.draw(st.integers(0, 5))
    silent = evolve(sound, calls=tuple(call for call in sound.calls if call.caller != starved))
    assert "starved" in names(silent)
    (last,) = [call for call in sound.calls if call.caller == starved][-1:]
    assert "starved" in names(recalled(sound, last, returned=None, answer=None))


def test_a_caller_who_got_less_than_half_of_another_is_found(sound: Evidence) -> None:
    endless = evolve(sound, owed=None, least_share=0.5)
    assert "starved" not in names(endless)
    few = [call for call in sound.calls if call.caller != 0 or call.number < 7]
    assert "starved" in names(evolve(endless, calls=tuple(few)))


def test_what_the_ledger_itself_finds_is_handed_on(sound: Evidence) -> None:
    assert "I7" in names(evolve(sound, damage="account a0000, row 3: it is missing"))
    assert "I7" in names(evolve(sound, not_reproduced=("c0-1",)))
