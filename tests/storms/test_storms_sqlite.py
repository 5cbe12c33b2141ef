"""Storms on one SQLite ledger: real threads and processes, some killed, and whatever they did must hold together."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from ordergate.testing.storm import Plan, Result, run_storm
from ordergate.testing.storm.__main__ import main


def storm(folder: Path, **plan: Any) -> Result:
    """A storm in which nothing was found to be wrong."""
    result = run_storm(Plan(**plan), folder)
    assert [str(violation) for violation in result.violations] == []
    return result


def recorded(result: Result, account: str) -> list[dict[str, Any]]:
    return [json.loads(entry.body) for entry in result.evidence.journals[account] if entry.kind == "decision"]


def taken(result: Result) -> int:
    return sum(len(venue.orders) for venue in result.evidence.venues.values())


# ----------------------------------------------------------------------------------------------------------- E01


def test_e01_cap_storm_of_eight_processes_some_of_them_killed(tmp_path: Path) -> None:
    result = storm(tmp_path, seed=11, processes=8, threads=2, intents=7, kills=5)
    assert result.refusals["over_cap"] > 0, "it came to the cap"
    assert result.answers["filled"] > 0
    assert len(result.evidence.calls) >= 112


def test_e01_cap_storm_of_sixty_four_threads(tmp_path: Path) -> None:
    result = storm(tmp_path, seed=12, processes=1, threads=64, intents=1, cap=2)
    assert result.refusals["over_cap"] > 0
    assert len(result.evidence.calls) == 64


def test_e01_cash_storm_never_spends_more_than_there_is(tmp_path: Path) -> None:
    result = storm(tmp_path, seed=13, processes=4, threads=2, intents=7, cap=8, cash="300.00")
    assert result.refusals["not_enough_funds"] > 0, "it came to the end of the cash"


def served(result: Result) -> list[int]:
    return sorted(Counter(call.caller for call in result.evidence.calls if call.returned is not None).values())


def test_e01_no_thread_starves_where_all_go_on_until_the_end(tmp_path: Path) -> None:
    """Counted, not timed. Threads of one process are given the same processor, so what they get is the gate's doing."""
    result = storm(tmp_path, seed=14, processes=1, threads=8, accounts=8, served=200, least_share=0.3)
    assert len(served(result)) == 8
    assert sum(served(result)) >= 200


def test_e01_no_process_starves_where_all_go_on_until_the_end(tmp_path: Path) -> None:
    """A busy machine may give a process an eighth of what another gets (measured); a ledger that starves it, none."""
    result = storm(tmp_path, seed=14, processes=8, threads=1, accounts=8, served=160, least_share=0.02)
    assert len(served(result)) == 8
    assert served(result)[0] > 0


# ----------------------------------------------------------------------------------------------------- ids and bursts


def test_e04_same_key_from_32_callers_is_one_order_and_32_equal_answers(tmp_path: Path) -> None:
    result = storm(tmp_path, seed=15, processes=8, threads=4, intents=1, mix="one_id")
    assert taken(result) == result.evidence.venues["a0000"].requests == 1
    answers = [call.answer for call in result.evidence.calls if call.answer is not None]
    assert len(answers) == 32
    assert Counter(answer["replayed"] for answer in answers) == {True: 31, False: 1}


def test_e05_same_key_other_body_is_a_conflict_for_all_but_one_of_them(tmp_path: Path) -> None:
    result = storm(tmp_path, seed=16, processes=4, threads=4, intents=6)
    assert result.answers["IdConflict"] > 0
    names = [body["client_order_id"] for body in recorded(result, "a0000")]
    assert len(names) == len(set(names))


def test_e06_alert_burst_of_a_hundred_at_once_with_a_cap_of_two(tmp_path: Path) -> None:
    burst = {"processes": 1, "threads": 100, "intents": 1, "coins": 100, "cap": 2, "cash": "1500.00", "mix": "burst"}
    result = storm(tmp_path, seed=17, **burst)
    assert result.answers == {"filled": 2, "refused": 98}
    assert taken(result) == result.evidence.venues["a0000"].requests == 2
    refused = [body for body in recorded(result, "a0000") if body["status"] == "refused"]
    assert len(refused) == 98, "each of them is recorded"
    assert result.refusals == {"over_cap": 98}


# ------------------------------------------------------------------------------------------ limits and halts on the way


def test_e07_cap_lowered_below_what_is_held_while_orders_fly(tmp_path: Path) -> None:
    result = storm(tmp_path, seed=18, processes=4, threads=2, intents=10, cap=5, lower=True)
    setups = {body["setup"] for body in recorded(result, "a0000") if body["setup"]}
    caps = {result.evidence.kept["a0000", name]["gate"]["max_positions"] for name in setups}
    assert caps == {None, 1}, "decisions were made under both"
    exits = [body for body in recorded(result, "a0000") if body["is_exit"] and body["venue_order"]]
    assert exits, "and exits went on"


def test_e09_noisy_tenant_keeps_nobody_from_being_served_nor_a_halt_from_being_answered(tmp_path: Path) -> None:
    result = storm(tmp_path, seed=19, processes=4, threads=2, intents=9, accounts=7, noisy=True, halt=True)
    flood = [call for call in result.evidence.calls if call.caller < 2 and call.returned is not None]
    (halt,) = [call for call in result.evidence.calls if call.do == "halt"]
    assert halt.account == "a0000", "it is the noisy one that is halted"
    assert halt.returned is not None
    assert max(call.called for call in flood) > halt.returned, "the flood went on after the halt had been answered"
    assert result.evidence.owed == dict.fromkeys(range(2, 8), 9), "the checker has seen that all others were served"


def test_one_hot_account_and_many_others(tmp_path: Path) -> None:
    result = storm(tmp_path, seed=20, processes=2, threads=4, intents=8, accounts=40, hot=True)
    calls = Counter(call.account for call in result.evidence.calls)
    assert calls["a0000"] > sum(calls.values()) / 2
    assert len(calls) > 5


# ------------------------------------------------------------------------------------------------------- the command


def test_the_command_says_what_came_of_it(tmp_path: Path) -> None:
    told = "--seed 21 --processes 2 --threads 2 --intents 5 --json".split()
    done = CliRunner().invoke(main, [*told, "--folder", str(tmp_path / "storm")])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (found["calls"], found["violations"]) == (20, [])
    assert sum(found["answers"].values()) == 20
    assert (tmp_path / "storm" / "ordergate.db").exists(), "a folder that was named is kept"
