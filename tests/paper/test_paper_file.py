"""The venue's file: seeds, prices from the config, resets, several processes, files of another kind."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from threading import Thread

import pytest

import ordergate_paper as paper
from ordergate import BrokerError, Holding, InputError, VenueOrder
from ordergate.binding import bind

Connect = Callable[..., paper.PaperVenue]
MakeOrder = Callable[..., VenueOrder]

SEED = {"cash": "300.00", "positions": {"ETH-USD": "0.0100"}}
PRICES = {"BTC-USD": "68925.98", "ETH-USD": "3500.00"}


def prices(client: paper.PaperVenue) -> dict[str, str]:
    return {price.symbol: str(price.ask) for price in paper.get_prices(client, ["BTC-USD", "ETH-USD"])}


def test_a_config_table_becomes_a_seeded_venue(tmp_path: Path) -> None:
    bound = bind(paper.Settings, {**SEED, "prices": PRICES}, "accounts.main.paper", tmp_path, account="main")
    assert bound.problems == ()
    assert bound.value is not None
    assert bound.value.state == tmp_path / "paper-main.db"

    client = paper.connect(bound.value)

    report = paper.get_account(client)
    assert report.holdings == (
        Holding(currency="ETH", available=Decimal("0.01")),
        Holding(currency="USD", available=Decimal(300)),
    )
    assert prices(client) == {"BTC-USD": "68925.98", "ETH-USD": "3500"}
    assert client.notices == ()


def test_cash_and_positions_seed_a_new_file_only_and_a_changed_seed_is_noticed(connect: Connect) -> None:
    connect(**SEED)

    client = connect(cash="100.00", positions={"ETH-USD": "0.01"})

    assert Holding(currency="USD", available=Decimal(300)) in paper.get_account(client).holdings
    (notice,) = client.notices
    assert "seeded with cash 300, ETH-USD 0.01; the config now says cash 100, ETH-USD 0.01" in notice


def test_the_same_seed_written_otherwise_is_no_change(connect: Connect) -> None:
    connect(cash="300.00", positions={"ETH-USD": "0.0100"})

    assert connect(cash=300, positions={"ETH-USD": Decimal("0.01"), "BTC-USD": 0}).notices == ()


def test_a_file_made_for_the_other_venue_is_noticed(connect: Connect) -> None:
    connect(**SEED)

    (notice,) = connect(venue="kraken", **SEED).notices

    assert "made to imitate coinbase; the config now says kraken" in notice


def test_a_reset_seeds_anew_and_keeps_only_the_identity(connect: Connect, order: MakeOrder) -> None:
    first = connect(**SEED, prices=PRICES)
    identity = paper.get_account(first).identity
    paper.place_order(first, order("buy", "BTC-USD", spend="20"))
    paper.place_order(first, order("buy", "BTC-USD", amount="0.001", limit="60000"))
    paper.set_fault(first, "reject", times=None)
    paper.set_price(first, "BTC-USD", "70000")
    client = connect(cash="50", prices=PRICES)

    paper.reset(client)

    report = paper.get_account(client)
    assert report.identity == identity
    assert (report.holdings, report.open_orders) == ((Holding(currency="USD", available=Decimal(50)),), ())
    assert (paper.count_orders(client), paper.count_requests(client)) == (0, 0)
    assert prices(client)["BTC-USD"] == "68925.98"
    assert client.notices == ()


def test_every_new_file_has_an_identity_of_its_own(connect: Connect, tmp_path: Path) -> None:
    one, other = connect(), connect(state=tmp_path / "other.db")

    assert paper.get_account(one).identity != paper.get_account(other).identity
    assert paper.get_account(one).identity == paper.get_account(connect()).identity


def test_config_prices_apply_only_when_they_change(connect: Connect) -> None:
    client = connect(prices=PRICES)
    paper.set_price(client, "BTC-USD", "70000")

    assert prices(connect(prices={**PRICES, "ETH-USD": "3600"})) == {"BTC-USD": "70000", "ETH-USD": "3600"}
    assert prices(connect(prices={**PRICES, "BTC-USD": "65000"})) == {"BTC-USD": "65000", "ETH-USD": "3500"}


def test_a_changed_config_price_fills_what_it_reaches(connect: Connect, order: MakeOrder) -> None:
    sent = order("buy", "BTC-USD", amount="0.001", limit="60000")
    paper.place_order(connect(prices=PRICES), sent)

    found = paper.find_order(connect(prices={"BTC-USD": "59000"}), sent)

    assert found is not None
    assert found.status == "filled"


def test_markets_are_those_of_the_table_and_those_named_in_prices(connect: Connect) -> None:
    client = connect(prices={"PEPE-USD": "0.0000123", "ETH-BTC": "0.051", "WIF-USD": "250.125"})
    pepe, cross, wif = (paper.get_market(client, symbol) for symbol in client.settings.prices)

    assert pepe is not None
    assert (pepe.amount_step, pepe.spend_step, pepe.min_spend) == (
        Decimal("1E-8"),
        Decimal("0.01"),
        Decimal(1),
    )
    assert pepe.price_step == Decimal("1E-10")
    assert cross is not None
    assert (cross.quote, cross.spend_step, cross.price_step) == ("BTC", Decimal("1E-8"), Decimal("1E-7"))
    assert wif is not None
    assert wif.price_step == Decimal("0.001")
    assert paper.get_market(client, "NOPE-USD") is None
    assert paper.get_prices(client, ["BTC-USD", "NOPE-USD"]) == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cash": "-1"}, "cash: '-1' .* must not be below zero"),
        ({"cash": 10.5}, "cash: 10.5 .* floats drift"),
        ({"cash": "1_000"}, "cash: '1_000' .* plain number"),
        ({"positions": {"ETH-USD": "-1"}}, "positions.ETH-USD: '-1'"),
        ({"positions": {"eth-usd": "1"}}, "did you mean ETH-USD"),
        ({"prices": {"ETH-USD": "0"}}, "prices.ETH-USD: '0' .* above zero"),
        ({"spread": "1"}, "spread: '1' .* below 1"),
    ],
)
def test_bad_settings_name_the_field_the_value_and_the_fix(settings: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        paper.Settings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("NOPE-USD", "1"), {}, "symbol: 'NOPE-USD' .* name it in the prices"),
        (("BTC-USD", "nan"), {}, "price: 'nan'"),
        (("BTC-USD", "0"), {}, "price: '0'"),
        (("BTC-USD", "1"), {"liquidity": "-1"}, "liquidity: '-1'"),
    ],
)
def test_bad_prices_are_told_why_and_change_nothing(
    connect: Connect, arguments: tuple[str, str], options: dict[str, str], says: str
) -> None:
    client = connect(prices=PRICES)

    with pytest.raises(InputError, match=says):
        paper.set_price(client, *arguments, **options)
    assert prices(client)["BTC-USD"] == "68925.98"


def test_a_path_that_goes_back_in_time_is_not_replayed_at_all(connect: Connect) -> None:
    client = connect(prices=PRICES)

    with pytest.raises(InputError, match="moment"):
        paper.replay(client, [(2.0, "BTC-USD", "1"), (1.0, "BTC-USD", "2")])
    assert prices(client)["BTC-USD"] == "68925.98"


# --- files that are something else


def test_a_file_that_is_no_database_is_named_with_the_fix(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "paper.db").write_text("these are my notes, " * 100)

    with pytest.raises(BrokerError, match=r"paper\.db: .*not a database.* Name another file in the setting 'state'"):
        connect()
    assert (tmp_path / "paper.db").read_text().startswith("these are my notes")


@pytest.mark.parametrize("statement", ["CREATE TABLE intents (id TEXT)", "PRAGMA application_id = 7"])
def test_another_programs_database_is_left_alone(connect: Connect, tmp_path: Path, statement: str) -> None:
    with closing(sqlite3.connect(tmp_path / "paper.db")) as other:
        other.execute(statement)
        other.commit()
    before = (tmp_path / "paper.db").read_bytes()

    with pytest.raises(BrokerError, match="it is not a paper venue"):
        connect()
    assert (tmp_path / "paper.db").read_bytes() == before


def test_a_venue_of_another_format_is_not_touched(connect: Connect, tmp_path: Path) -> None:
    connect()
    with closing(sqlite3.connect(tmp_path / "paper.db")) as newer:
        newer.execute("PRAGMA user_version = 9")

    with pytest.raises(BrokerError, match="its format is 9, not 1"):
        connect()


def test_a_folder_or_a_missing_folder_is_named(connect: Connect, tmp_path: Path) -> None:
    for state in (tmp_path, tmp_path / "missing" / "paper.db"):
        with pytest.raises(BrokerError, match="It must be a file in a folder that can be written"):
            connect(state=state)


def test_a_file_that_vanishes_is_an_error_and_not_a_fresh_venue(connect: Connect, tmp_path: Path) -> None:
    client = connect()
    for path in tmp_path.glob("paper.db*"):
        path.unlink()

    with pytest.raises(BrokerError, match="unable to open database file"):
        paper.get_account(client)
    assert list(tmp_path.iterdir()) == []


def test_making_the_file_leaves_nothing_else_behind(connect: Connect, tmp_path: Path) -> None:
    connect()

    assert [path.name for path in tmp_path.iterdir()] == ["paper.db"]


# --- several at once

BUYER = """
import sys
from decimal import Decimal
from pathlib import Path
import ordergate_paper as paper
from ordergate import Side, VenueOrder
client = paper.connect(paper.Settings(state=Path(sys.argv[1]), cash="100", prices={"BTC-USD": "50000"}))
for number in range(15):
    paper.place_order(client, VenueOrder(
        account="main", symbol="BTC-USD", side=Side.BUY, spend=Decimal(10), amount=None, limit=None,
        client_order_id=f"{sys.argv[2]}-{number}", send_by=client.clock.now() + 60,
    ))
print(paper.get_account(client).identity)
"""


def test_two_processes_share_one_file_and_cannot_spend_the_same_cash(tmp_path: Path) -> None:
    path = tmp_path / "paper.db"
    buyers = [
        subprocess.Popen([sys.executable, "-c", BUYER, str(path), name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "other")
    ]
    identities = {buyer.communicate()[0] for buyer in buyers}

    assert [buyer.returncode for buyer in buyers] == [0, 0]
    assert len(identities) == 1
    assert (paper.count_orders(path), paper.count_requests(path)) == (10, 30)
    client = paper.connect(paper.Settings(state=path, cash="100", prices={"BTC-USD": "50000"}))
    assert [holding.currency for holding in paper.get_account(client).holdings] == ["BTC"]


def test_many_threads_use_one_client(connect: Connect, order: MakeOrder) -> None:
    client = connect(cash="50", prices=PRICES)
    orders = [order("buy", "BTC-USD", spend="10") for _ in range(8)]
    threads = [Thread(target=paper.place_order, args=(client, each)) for each in orders]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (paper.count_orders(client), paper.count_requests(client)) == (5, 8)
