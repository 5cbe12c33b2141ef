"""What the paper broker declares of itself, and that its page says all of it."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest
from attrs import fields

import ordergate_paper as paper
from ordergate import Absence, FeesFrom, IdPromise
from ordergate.binding import bind
from ordergate.config import read_config
from ordergate.hookspecs import BROKER
from ordergate.order import parse_symbol

PAGE = (Path(__file__).parents[2] / "docs" / "paper.md").read_text()


@pytest.mark.parametrize(
    ("venue", "threshold", "maker", "taker", "fees_from", "promise"),
    [
        ("coinbase", 5, "0.005", "0.009", FeesFrom.INSIDE, IdPromise.ALWAYS_UNIQUE),
        ("kraken", 10, "0.004", "0.008", FeesFrom.ON_TOP, IdPromise.UNIQUE_WHILE_OPEN),
        ("binance", 5, "0.001", "0.001", FeesFrom.INSIDE, IdPromise.UNIQUE_WHILE_OPEN),
    ],
)
def test_s01_wrong_venue_threshold_each_venue_declares_its_own(
    venue: paper.Imitated, threshold: int, maker: str, taker: str, fees_from: FeesFrom, promise: IdPromise
) -> None:
    profile = paper.broker_profile(paper.Settings(venue=venue))

    assert profile.fee_threshold.value == threshold
    assert (profile.maker_fee.value, profile.taker_fee.value) == (Decimal(maker), Decimal(taker))
    assert (profile.fees_from, profile.id_promise, profile.absence) == (fees_from, promise, Absence.LOOKUP)
    assert (profile.honoured, profile.balance_lag) == (0.0, 0.0)
    for figure in (profile.fee_threshold, profile.maker_fee, profile.taker_fee):
        assert figure.source
        date.fromisoformat(figure.as_of)


def test_the_account_pays_what_the_profile_says_and_cannot_withdraw(tmp_path: Path) -> None:
    settings = paper.Settings(state=tmp_path / "paper.db")
    profile = paper.broker_profile(settings)

    assert paper.get_fees(paper.connect(settings)) == [profile.maker_fee, profile.taker_fee]
    assert paper.get_permissions() == ["view", "trade"]


def test_every_hook_of_a_broker_is_there_but_the_clock_which_is_this_machines_own() -> None:
    found = {name for name in BROKER.hooks if hasattr(vars(paper).get(name), "ordergate_impl")}

    assert found == BROKER.hooks - {"get_time"}


@pytest.mark.parametrize(("symbol", "product"), [item for table in paper.PRODUCTS.values() for item in table.items()])
def test_every_product_is_sourced_and_consistent(symbol: str, product: paper.Product) -> None:
    market = product.market(parse_symbol(symbol))

    assert product.source
    date.fromisoformat(product.as_of)
    assert f"{market.base}-{market.quote}" == symbol
    assert market.min_amount >= market.amount_step
    assert market.min_amount % market.amount_step == 0
    assert market.min_spend % market.spend_step == 0


def test_the_recorded_figures_are_the_recorded_ones() -> None:
    coinbase = paper.PRODUCTS[paper.Imitated.COINBASE]["BTC-USD"].market("BTC-USD")
    assert (coinbase.min_spend, coinbase.max_amount) == (Decimal(1), Decimal(3400))
    assert coinbase.max_spend == Decimal(150_000_000)
    assert (coinbase.amount_step, coinbase.spend_step) == (Decimal("0.00000001"), Decimal("0.01"))

    kraken = paper.PRODUCTS[paper.Imitated.KRAKEN]["BTC-USDT"].market("BTC-USDT")
    assert (kraken.min_amount, kraken.min_spend) == (Decimal("0.00005"), Decimal("0.5"))
    assert (kraken.price_step, kraken.spend_step) == (Decimal("0.1"), Decimal("0.00001"))


def test_the_recorded_path_is_whole() -> None:
    text = resources.files("ordergate").joinpath("data/btc_usdt_2025_11_10.csv").read_text(encoding="utf-8")
    comment, *table = text.splitlines()
    rows = list(csv.DictReader(table))

    assert comment.startswith("# Recorded: Kraken one-minute candles of BTC/USDT")
    assert len(rows) == 721
    assert [int(row["moment"]) for row in rows] == list(range(1762777020, 1762820221, 60))
    for row in rows:
        low, high = Decimal(row["low"]), Decimal(row["high"])
        assert low <= Decimal(row["open"]) <= high
        assert low <= Decimal(row["close"]) <= high


@pytest.mark.parametrize("fault", list(paper.Fault))
def test_every_fault_is_documented(fault: paper.Fault) -> None:
    assert f"| `{fault}` |" in PAGE


@pytest.mark.parametrize("name", [attribute.name for attribute in fields(paper.Settings)])
def test_every_setting_is_documented_and_has_help(name: str) -> None:
    assert f"| `{name}` |" in PAGE
    assert getattr(fields(paper.Settings), name).metadata["help"]


@pytest.mark.parametrize("symbol", sorted({symbol for table in paper.PRODUCTS.values() for symbol in table}))
def test_every_product_is_documented(symbol: str) -> None:
    assert f"| {symbol} |" in PAGE


def test_the_pages_config_works_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "ordergate.toml").write_text(
        '[gate]\nrules = ["dust"]\n' + PAGE.split("```toml\n")[1].split("```")[0], encoding="utf-8"
    )

    config = read_config(tmp_path / "ordergate.toml")
    bound = bind(paper.Settings, config.accounts["main"].table, "accounts.main.paper", tmp_path, account="main")

    assert (config.problems, bound.problems) == ((), ())
    assert bound.value is not None
    assert bound.value.cash == Decimal(300)
