"""The page on this broker holds the table that the module holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import fields

import ordergate_ccxt as broker
from ordergate.amounts import plain

PAGE = Path(__file__).parents[3] / "docs" / "ccxt.md"
REPEATED = {
    "always_unique": "never makes a second order",
    "unique_while_open": "makes a second order once the first is done",
    "none": "nothing is known",
}
ABSENT = {"lookup": "the gate finds out", "person": "a person decides"}


def row(exchange: str) -> str:
    profile = broker.venue_of(exchange).profile(exchange)
    field = broker.venue_of(exchange).id_field
    cells = [
        f"`{exchange}`" if exchange in broker.VENUES else exchange,
        f"`{field}`" if field else "anywhere in the request",
        REPEATED[profile.id_promise],
        ABSENT[profile.absence],
        f"{profile.honoured:g} s" if profile.honoured else "",
        plain(profile.fee_threshold.value),
    ]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("exchange", [*broker.VENUES, "any other"])
def test_the_page_has_the_row_of_each_exchange(exchange: str) -> None:
    assert row(exchange) in PAGE.read_text(encoding="utf-8").splitlines(), row(exchange)


def test_the_page_has_no_row_of_another_exchange() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = [line.split("`")[1] for line in rows if line.count("|") == 7]
    assert named == list(broker.VENUES)


@pytest.mark.parametrize("exchange", [name for name, venue in broker.VENUES.items() if venue.absence == "lookup"])
def test_the_page_says_what_a_proof_rests_on(exchange: str) -> None:
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert broker.VENUES[exchange].rests_on in page


def test_the_page_names_every_setting() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{setting.name}` |" in page for setting in fields(broker.Settings))
