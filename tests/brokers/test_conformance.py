"""The kit for brokers: every broker of ours passes it, and every check can fail.

`python tests/brokers/test_conformance.py` runs the kit on all of them and writes the table of docs/conformance.md anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from attrs import evolve

import ordergate_paper
from ordergate import InputError, testing
from ordergate.testing import Level, Outcome
from ordergate.testing.brokers import ALL_CHECKS
from ordergate.testing.rehearsal import Rehearsal

Spoil = Callable[[str], ModuleType]


def failed(report: testing.Report) -> dict[str, str]:
    return {check.name: check.why for check in report.failures}


# ----------------------------------------------------------------------------------------------------------- our own

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
BEGIN, END = "<!-- from the runs: begin -->", "<!-- from the runs: end -->"
WORDS = {Outcome.PASSED: "yes", Outcome.NOT_TRIED: "-", Outcome.FAILED: "NO"}

OURS = {
    "paper": Level.A,
    "kraken": Level.B,
    "coinbase": Level.A,
    "ccxt: kraken": Level.B,
    "ccxt: coinbase": Level.A,
    "ccxt: binance": Level.B,
}
"""What the table calls it, and the level that is proved."""

Rehearsed = Callable[..., Rehearsal]


def run(title: str, rehearsed: Rehearsed) -> testing.Report:
    return testing.conformance_of(title.partition(": ")[0], partial(rehearsed, title))


def column(report: testing.Report) -> list[str]:
    return [f"**{report.level}**", *(WORDS[check.outcome] for check in report.checks)]


def table() -> list[list[str]]:
    """The rows of the page's table, without its head."""
    text = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.strip().splitlines()]


def written(columns: dict[str, list[str]]) -> str:
    rows = [["check", "what it proves", *columns], ["---"] * (2 + len(columns))]
    names = [("level", "What follows from all of them."), *ALL_CHECKS.items()]
    rows += [[name, proves, *(one[at] for one in columns.values())] for at, (name, proves) in enumerate(names)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


@pytest.mark.parametrize("title", OURS)
def test_our_brokers_keep_their_promises(title: str, rehearsed: Rehearsed) -> None:
    report = run(title, rehearsed)

    assert failed(report) == {}
    assert report.level is OURS[title]
    head, _, *rows = table()
    assert [row[head.index(title)] for row in rows] == column(report), f"run {Path(__file__).name} as a script"


def test_the_page_has_every_check_in_its_own_words() -> None:
    head, _, _, *rows = table()

    assert head == ["check", "what it proves", *OURS]
    assert [(row[0], row[1]) for row in rows] == list(ALL_CHECKS.items())


# ------------------------------------------------------------------------------------------------------- good brokers


def test_the_example_passes_in_two_lines(tinyvenue: ModuleType) -> None:
    report = testing.check_broker(tinyvenue)

    assert (report.broker, report.venue, report.level) == ("tinyvenue", "tinyvenue", Level.A)
    assert [check.name for check in report.checks] == list(ALL_CHECKS)


def test_a_broker_without_a_rehearsal_has_no_level(spoilt: Spoil) -> None:
    report = testing.conformance_of(spoilt("del rehearse"))

    assert report.level is Level.NOT_PROVED
    outcomes = {check.name: check.outcome for check in report.checks}
    assert (outcomes["admission"], outcomes["profile"]) == (Outcome.PASSED, Outcome.PASSED)
    assert set(outcomes.values()) == {Outcome.PASSED, Outcome.NOT_TRIED}


def test_a_rehearsal_can_be_handed_in_and_stays_open(spoilt: Spoil, tmp_path: Path) -> None:
    with ordergate_paper.rehearse(tmp_path) as venue:
        report = testing.check_broker(spoilt("del rehearse"), venue, thorough=False)
        assert report.level is Level.A
        assert venue.requests() > 10
        venue.fail("cut")


def test_only_some_checks_prove_no_level(spoilt: Spoil) -> None:
    seen: list[str] = []
    report = testing.conformance_of(spoilt(""), only=["units"], watch=seen.append)

    assert report.level is Level.NOT_PROVED
    assert seen == ["admission", "rehearsal", "profile", "units"]
    assert {check.name for check in report.checks if check.outcome is Outcome.PASSED} == set(seen)
    with pytest.raises(InputError, match="only"):
        testing.conformance_of("paper", only=["everything"])


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ("", Level.A),
        ("id_promise=IdPromise.UNIQUE_WHILE_OPEN", Level.B),
        ("absence=Absence.PERSON", Level.C),
        ("absence=Absence.PERSON, id_promise=IdPromise.NONE", Level.C),
    ],
)
def test_the_level_follows_from_what_was_promised_and_proved(spoilt: Spoil, changes: str, level: Level) -> None:
    broker = spoilt(f"""
        @hookimpl
        def broker_profile(settings):
            return profile(settings, {changes})
    """)

    only = ["repeated id", "cut, taken", "cut, not taken", "hidden"]
    assert testing.check_broker(broker, only=only).level is level


def test_a_broker_that_finds_nothing_is_level_c_and_a_person_settles(spoilt: Spoil) -> None:
    broker = spoilt("""
        @hookimpl
        def broker_profile(settings):
            return profile(settings, absence=Absence.PERSON, id_promise=IdPromise.NONE)

        @hookimpl
        def find_order():
            return None
    """)

    assert testing.check_broker(broker, only=["cut, taken", "cut, not taken"]).level is Level.C


def test_what_failed_is_listed(spoilt: Spoil) -> None:
    with pytest.raises(AssertionError, match=r"broker fakespoilt does not keep its promises:\n  time: .* off"):
        testing.check_broker(spoilt(BAD["time: milliseconds"]), only=["time"])


# -------------------------------------------------------------------------------------------------------- bad brokers

BAD = {
    "admission: a parameter with a default": """
        @hookimpl
        def get_time(client=None):
            return 0.0
    """,
    "rehearsal: no rehearsal": """
        @hookimpl
        def rehearse(folder):
            return {"settings": {}}
    """,
    "rehearsal: wrong settings": """
        @hookimpl
        def rehearse(folder):
            return evolve(venue.rehearse(folder), settings={"stake": "1000"})
    """,
    "profile: no source": """
        @hookimpl
        def broker_profile(settings):
            return profile(settings, taker_fee=Figure(Decimal("0.009"), " ", "2026-11-22"))
    """,
    "profile: no date": """
        @hookimpl
        def broker_profile(settings):
            return profile(settings, taker_fee=Figure(Decimal("0.009"), "somewhere", "last week"))
    """,
    "profile: an id that proves nothing": """
        @hookimpl
        def broker_profile(settings):
            return profile(settings, id_promise=IdPromise.NONE)
    """,
    "profile: rests on nothing": """
        @hookimpl
        def broker_profile(settings):
            return profile(settings, rests_on="")
    """,
    "facts: half of the currencies": """
        @hookimpl
        def get_account(client):
            report = venue.get_account(client)
            return evolve(report, holdings=tuple(one for one in report.holdings if one.currency == "USD"))
    """,
    "facts: another identity each time": """
        @hookimpl
        def get_account(client):
            return evolve(venue.get_account(client), identity=client.clock.new_id())
    """,
    "facts: identity of the client": """
        @hookimpl
        def get_account(client):
            return evolve(venue.get_account(client), identity=f"client {id(client)}")
    """,
    "facts: prices of what is not there": """
        @hookimpl
        def get_prices(client, symbols):
            return [evolve(venue.get_prices(client, ["BTC-USD"])[0], symbol=symbol) for symbol in symbols]
    """,
    "facts: totals taken for available": """
        @hookimpl
        def get_account(client):
            report = venue.get_account(client)
            return evolve(report, holdings=tuple(evolve(one, available=one.total * 2) for one in report.holdings))
    """,
    "threads: one at a time": """
        INSIDE = threading.Lock()

        @hookimpl
        def get_account(client):
            if not INSIDE.acquire(blocking=False):
                raise RuntimeError("somebody else is speaking")
            try:
                threading.Event().wait(0.01)
                return venue.get_account(client)
            finally:
                INSIDE.release()
    """,
    "fees: percent": """
        @hookimpl
        def get_fees(client):
            return [evolve(figure, value=figure.value * 100) for figure in venue.get_fees(client)]
    """,
    "permissions: too many": """
        @hookimpl
        def get_permissions():
            return ["view", "trade", "withdraw"]
    """,
    "time: milliseconds": """
        @hookimpl
        def get_time(client):
            return client.clock.now() * 1000
    """,
    "units: the id is dropped": """
        @hookimpl
        def place_order(client, order):
            receipt = venue.place_order(client, evolve(order, client_order_id=client.clock.new_id()))
            return evolve(receipt, client_order_id=order.client_order_id)
    """,
    "units: quote taken for base": """
        @hookimpl
        def place_order(client, order):
            if order.spend is not None:
                price = venue.get_prices(client, [order.symbol])[0].ask
                order = evolve(order, spend=None, amount=order.spend / price, limit=price)
            receipt = venue.place_order(client, order)
            return evolve(receipt, spend=None, amount=None, limit=None)
    """,
    "units: floats": """
        @hookimpl
        def place_order(client, order):
            amount = None if order.amount is None else Decimal(float(order.amount))
            return venue.place_order(client, evolve(order, amount=amount))
    """,
    "units: limit dropped": """
        @hookimpl
        def place_order(client, order):
            if order.limit is not None:
                order = evolve(order, spend=Decimal("14.03"), amount=None, limit=None)
            return evolve(venue.place_order(client, order), spend=None, amount=None)
    """,
    "units: wrong fills": """
        @hookimpl
        def place_order(client, order):
            receipt = venue.place_order(client, order)
            return evolve(receipt, filled_amount=receipt.filled_value, filled_value=receipt.filled_amount)
    """,
    "units: fees in base": """
        @hookimpl
        def place_order(client, order):
            receipt = venue.place_order(client, order)
            return evolve(receipt, fees=receipt.fees / 50000)
    """,
    "rejected: raised instead": """
        @hookimpl
        def place_order(client, order):
            receipt = venue.place_order(client, order)
            if receipt.status is OrderStatus.REJECTED:
                raise BrokerError(receipt.message)
            return receipt
    """,
    "rejected: swallowed": """
        @hookimpl
        def place_order(client, order):
            receipt = venue.place_order(client, order)
            return evolve(receipt, status=OrderStatus.OPEN) if receipt.status is OrderStatus.REJECTED else receipt
    """,
    "too late: the send-by time is not handed on": """
        @hookimpl
        def place_order(client, order):
            return venue.place_order(client, evolve(order, send_by=order.send_by + 1000))
    """,
    "repeated id: more is promised than kept": """
        @hookimpl
        def broker_profile(settings):
            return profile(settings, id_promise=IdPromise.ALWAYS_UNIQUE)

        @hookimpl
        def rehearse(folder):
            made = venue.rehearse(folder)
            return evolve(made, settings={**made.settings, "venue": "kraken"})
    """,
    "cancel: says so and does nothing": """
        @hookimpl
        def cancel_order(client, order):
            receipt = venue.find_order(client, order)
            return receipt if receipt.status.is_final else evolve(receipt, status=OrderStatus.CANCELLED)
    """,
    "cancel: a finished order is cancelled": """
        @hookimpl
        def cancel_order(client, order):
            return evolve(venue.cancel_order(client, order), status=OrderStatus.CANCELLED)
    """,
    "cancel: open orders are not shown": """
        @hookimpl
        def get_account(client):
            return evolve(venue.get_account(client), open_orders=())
    """,
    "filled later: the fills are not read": """
        @hookimpl
        def find_order(client, order):
            receipt = venue.find_order(client, order)
            return receipt and evolve(receipt, filled_amount=Decimal(0), filled_value=Decimal(0))
    """,
    "foreign orders: none are listed": """
        @hookimpl
        def list_orders():
            return []
    """,
    "cut, taken: sent twice": """
        @hookimpl
        def place_order(client, order):
            try:
                return venue.place_order(client, order)
            except TimeoutError:
                return venue.place_order(client, order)
    """,
    "cut, not taken: sent twice": """
        @hookimpl
        def place_order(client, order):
            try:
                return venue.place_order(client, order)
            except TimeoutError:
                return venue.place_order(client, order)
    """,
    "cut, taken: a time-out is a rejection": """
        @hookimpl
        def place_order(client, order):
            try:
                return venue.place_order(client, order)
            except TimeoutError as error:
                return venue._rejection(order, "timeout", str(error))
    """,
    "cut, not taken: a time-out is a rejection": """
        @hookimpl
        def place_order(client, order):
            try:
                return venue.place_order(client, order)
            except TimeoutError as error:
                return venue._rejection(order, "timeout", str(error))
    """,
    "cut, taken: nothing was sent, it says": """
        @hookimpl
        def place_order(client, order):
            try:
                return venue.place_order(client, order)
            except TimeoutError as error:
                from ordergate import NotSent
                raise NotSent(str(error)) from error
    """,
    "cut, not taken: what is not found is over": """
        @hookimpl
        def find_order(client, order):
            found = venue.find_order(client, order)
            return found or evolve(venue._rejection(order, "absent", "not found"), status=OrderStatus.EXPIRED)
    """,
    "cut, taken: looks among the open ones only": """
        @hookimpl
        def find_order(client, order):
            found = venue.find_order(client, order)
            return None if found is None or found.status.is_final else found
    """,
    "cut, taken: looking up sends": """
        @hookimpl
        def find_order(client, order):
            return venue.place_order(client, order)
    """,
    "hang, taken: sent again when the first comes back": """
        @hookimpl
        def place_order(client, order):
            try:
                return venue.place_order(client, order)
            except TimeoutError:
                return venue.place_order(client, order)
    """,
    "empty_object, taken: nothing said is a rejection": """
        @hookimpl
        def place_order(client, order):
            receipt = venue.place_order(client, order)
            return receipt if isinstance(receipt, Receipt) else venue._rejection(order, "none", "no answer")
    """,
    "other order: any answer will do": """
        @hookimpl
        def place_order(client, order):
            receipt = venue.place_order(client, order)
            status = OrderStatus.CANCELLED if receipt.client_order_id != order.client_order_id else receipt.status
            return evolve(receipt, client_order_id=order.client_order_id, status=status)
    """,
    "other size: any size will do": """
        @hookimpl
        def place_order(client, order):
            return evolve(venue.place_order(client, order), spend=order.spend, amount=order.amount)
    """,
    "hidden: what is not shown is over": """
        @hookimpl
        def find_order(client, order):
            found = venue.find_order(client, order)
            return found or evolve(venue._rejection(order, "absent", "not found"), status=OrderStatus.EXPIRED)
    """,
    "no account: the last known one serves": """
        LAST = []

        @hookimpl
        def get_account(client):
            try:
                LAST[:] = [venue.get_account(client)]
            except BrokerError:
                if not LAST:
                    LAST.append(venue.get_account(client))
            return LAST[0]
    """,
    "no prices: the last known one serves": """
        @hookimpl
        def get_prices(client, symbols):
            try:
                return venue.get_prices(client, symbols)
            except BrokerError:
                from ordergate import Price
                return [Price(symbol=one, bid=Decimal(50000), ask=Decimal(50000)) for one in symbols]
    """,
    "exits: an order waits for the balances": """
        @hookimpl
        def place_order(client, order):
            venue.get_account(client)
            return venue.place_order(client, order)
    """,
    "exits, cut: sent twice": """
        @hookimpl
        def place_order(client, order):
            try:
                return venue.place_order(client, order)
            except TimeoutError:
                return venue.place_order(client, order)
    """,
}
"""The check that must fail, what is wrong, and how it is done."""


@pytest.mark.parametrize("bad", BAD)
def test_every_check_can_fail(spoilt: Spoil, bad: str) -> None:
    name = bad.partition(": ")[0]
    before = ["facts"] if bad.startswith("no account") else []  # which fills what is kept

    report = testing.conformance_of(spoilt(BAD[bad]), only=[name, *before])

    assert name in failed(report), [(check.name, check.why) for check in report.checks if check.why]
    assert report.level is Level.NONE


KEYED = """
    @frozen
    class Settings:
        state: Path
        key_file: Path

    @hookimpl
    def broker_settings():
        return Settings

    @hookimpl
    def broker_profile():
        return profile(venue.Settings())

    @hookimpl
    def connect(settings):
        return KeyedClient(venue.connect(venue.Settings(state=settings.state)), settings.key_file.read_text())

    @hookimpl
    def rehearse(folder):
        made = venue.rehearse(folder)
        key = folder / "key"
        key.touch(0o600)
        key.write_text("public-half-of-it\\nthe-secret-half-of-it\\n")
        return evolve(made, settings={"state": made.settings["state"], "key_file": str(key)})

    @frozen(repr=False)
    class KeyedClient:
        venue: Any
        key: str

    @hookimpl
    def get_account(client):
        return venue.get_account(client.venue)

    @hookimpl
    def get_prices(client, symbols):
        return venue.get_prices(client.venue, symbols)

    @hookimpl
    def get_market(client, symbol):
        return venue.get_market(client.venue, symbol)

    @hookimpl
    def place_order(client, order):
        try:
            return venue.place_order(client.venue, order)
        except TimeoutError as error:
            complain(client.key)
            raise error

    @hookimpl
    def find_order(client, order):
        return venue.find_order(client.venue, order)

    @hookimpl
    def cancel_order(client, order):
        return venue.cancel_order(client.venue, order)

    @hookimpl
    def list_orders(client, since):
        return venue.list_orders(client.venue, since)

    @hookimpl
    def get_fees(client):
        return venue.get_fees(client.venue)

    def complain(key):
        {complaint}
"""


@pytest.mark.parametrize(
    ("complaint", "told"),
    [
        ("pass", False),
        ('raise BrokerError(f"no answer to {key.splitlines()[1]}")', True),
        ('import logging; logging.getLogger("sdk").debug("sent with %s", key)', True),
        ("KeyedClient.__repr__ = lambda client: client.key", True),
    ],
)
def test_a_secret_that_is_said_anywhere_is_found(spoilt: Spoil, complaint: str, told: bool) -> None:
    broker = spoilt(KEYED.replace("{complaint}", complaint))

    report = testing.conformance_of(broker, only=["cut, taken", "secrets"])

    assert ("secrets" in failed(report)) is told
    assert "the-secret-half-of-it" not in str(report)


def test_a_redirect_that_is_followed_is_seen(spoilt: Spoil, tmp_path: Path) -> None:
    elsewhere: list[int] = []

    def count(action: str) -> int:
        elsewhere.append(1)
        return len(elsewhere)

    def made(folder: Path) -> Rehearsal:
        return evolve(ordergate_paper.rehearse(folder), count=count)

    report = testing.conformance_of(spoilt("del rehearse"), made, only=["cut, taken"])

    assert failed(report) == {"cut, taken": "cut: a redirect was followed"}


if __name__ == "__main__":
    reports = {title: run(title, import_module("conftest").rehearse) for title in OURS}
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    fresh = written({title: column(report) for title, report in reports.items()})
    PAGE.write_text(f"{before}{BEGIN}\n\n{fresh}\n{END}{after}", encoding="utf-8")
    wrong = {f"{title}, {name}": why for title, report in reports.items() for name, why in failed(report).items()}
    sys.exit("\n".join(f"{where}: {why}" for where, why in wrong.items()))
