"""`ordergate replay` on the command line: for people, for programs, as a picture, and with all that can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ordergate import Executor, Order

Gate = Callable[..., Executor]
Command = Callable[..., Any]

THEIRS = """
    [gate]
    rules = ["position_cap", "min_position", "dust"]

    [[tiers]]
    name = "ONLY"
    equity = 1
    max_positions = 1
    min_position = 40
    min_allocation = 0.05

    [rules.position_cap]
    owner = "risk desk"
    reason = "one at a time"

    [accounts.main]
    broker = "paper"
"""


@pytest.fixture
def folder(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recorded: 60 USD of BTC and 70 of ETH bought, 45 of SOL refused, BTC sold. `theirs.toml` is another config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORDERGATE_CONFIG", raising=False)
    executor = gate(cash="1100.00")
    for name, symbol, spend in (("a", "BTC-USD", "60"), ("b", "ETH-USD", "70"), ("c", "SOL-USD", "45")):
        executor.submit(Order.buy(symbol, spend=spend, client_order_id=name))
    executor.submit(Order.sell("BTC-USD", all=True, client_order_id="out"))
    executor.close()
    (tmp_path / "theirs.toml").write_text(THEIRS)
    (tmp_path / "ordergate.toml").write_text(
        '[gate]\nrules = ["position_cap", "min_allocation", "min_position", "dust", "average_position"]\n'
        '[accounts.main]\nbroker = "paper"\n'
    )
    return tmp_path


def test_everything_for_programs(folder: Path, command: Command) -> None:
    """One position: `b` opens a second, and `c` is large enough now but would open a third."""
    told = command("ordergate.db", "--config", "theirs.toml", "--json")
    data = told.data

    assert told.code == 0
    expected = {"decisions": 3, "same": 2, "now_refused": 1, "now_approved": 0, "refused_otherwise": 1}
    assert {name: data[name] for name in expected} == expected
    assert data["not_sent"] == {"orders": 1, "size": "70.00", "cost": "70.00", "fees": "0.62438057"}
    assert data["newly_sent"] == {"orders": 0, "size": "0.00", "cost": "0.00", "fees": "0.00"}
    assert [one["rule"] for one in data["by_rule"]] == ["min_allocation", "min_position", "position_cap"]
    assert data["by_rule"][2] == {"rule": "position_cap", "then": 0, "now": 2, "no_longer": 0, "newly": 2}
    assert [one["symbol"] for one in data["by_symbol"]] == ["BTC-USD", "ETH-USD", "SOL-USD"]
    assert [one["fees_not_paid"] for one in data["by_day"]] == ["0.62438057"]
    (change,) = data["changes"]
    assert (change["client_order_id"], change["then"], change["now"]) == ("b", "approved", "refused")
    assert change["verdicts_then"] == []
    assert [(one["rule"], one["observed"], one["limit"]) for one in change["verdicts_now"]] == [
        ("position_cap", "2", "1")
    ]
    assert data["skipped"] == [{"reason": "exits: no rule is asked about them", "decisions": 1, "first": "out"}]
    assert (data["changes_not_listed"], data["rules_failing"], data["accounts_not_in_config"]) == (0, [], [])
    assert "not played through" in data["note"]


def test_everything_for_people(folder: Path, command: Command) -> None:
    told = command("ordergate.db", "--config", "theirs.toml")

    assert told.code == 0
    for words in (
        "3 decisions on buys, judged again under theirs.toml.",
        "approved then, refused now       1      70.00      70.00             0.62",
        "buy ETH-USD for 70.00 USD  refused  position_cap: It would open position number 2, over the cap of 1",
        "(owner: risk desk; one at a time)",
        "Consequences are not played through",
    ):
        assert words in told.out


@pytest.mark.parametrize("name", ["ordergate.db", "sqlite:///ordergate.db", "sqlite:///{folder}/ordergate.db"])
def test_a_ledger_by_file_or_by_url(folder: Path, command: Command, name: str) -> None:
    told = command(name.format(folder=folder), "--check")

    assert (told.code, told.out.splitlines()[0]) == (
        0,
        "3 decisions on buys, judged again under the set-up each was made with: all agree.",
    )


def test_a_check_for_programs(folder: Path, command: Command) -> None:
    data = command("ordergate.db", "--check", "--json").data

    assert (data["agrees"], data["decisions"], data["differ"], data["not_checked"]) == (True, 3, 0, 0)


def test_a_check_that_cannot_check_all_does_not_say_that_all_is_well(folder: Path, command: Command) -> None:
    told = command("ordergate.db", "--check", "--config", "theirs.toml")

    assert told.code == 1
    assert "3 decisions on buys could not be checked." in told.out
    assert "rule min_allocation is not active in the config" in told.out


def test_a_rule_that_judges_otherwise_now_is_listed(
    folder: Path, command: Command, gate: Gate, install: Callable[..., Path]
) -> None:
    module = """
        from ordergate import Verdict, hookimpl

        ASKED = []

        @hookimpl
        def validate_order(order):
            ASKED.append(order)
            return Verdict.refuse("asked", f"It was asked {len(ASKED)} times.")
    """
    install(entries={"moody": "fakemoody"}, modules={"fakemoody.py": module})
    executor = gate(rules=("moody",), settings={"ledger": "sqlite:///moody.db"})
    executor.submit(Order.buy("ETH-USD", spend="60", client_order_id="mood"))
    executor.close()
    (folder / "moody.toml").write_text('[gate]\nrules = ["moody"]\n[accounts.main]\nbroker = "paper"\n')
    told = command("moody.db", "--check", "--config", "moody.toml")

    assert told.code == 1
    assert told.out.startswith("1 of 1 decision do not get the verdicts they got.")
    assert "mood" in told.out
    assert "It was asked" in told.out.splitlines()[2]


def test_filters_and_the_length_of_the_list(folder: Path, command: Command) -> None:
    def changes(*words: object) -> Any:
        return command("ordergate.db", "--config", "theirs.toml", "--json", *words).data

    assert changes("--limit", 0)["changes_not_listed"] == 1
    assert changes("--symbol", "BTC-USD")["decisions"] == 1
    assert changes("--account", "main")["decisions"] == 3
    assert changes("--until", "2020-01-01")["decisions"] == 0
    assert changes("--since", "2020-01-01T00:00:00+02:00", "--until", "2100-01-01")["decisions"] == 3


def test_a_filter_that_leaves_nothing_says_so(folder: Path, command: Command) -> None:
    told = command("ordergate.db", "--symbol", "XRP-USD")

    assert (told.code, told.out.splitlines()[0]) == (0, "No recorded decision on a buy was judged again.")


def test_a_picture(folder: Path, command: Command) -> None:
    assert command("ordergate.db", "--config", "theirs.toml", "--plot", "a.svg").code == 0
    assert "Fees of orders that would not have been sent" in (folder / "a.svg").read_text()


def test_a_picture_of_nothing_can_be_drawn(folder: Path, command: Command) -> None:
    assert command("ordergate.db", "--until", "2020-01-01", "--plot", "b.png").code == 0
    assert (folder / "b.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["none.db"], "ledger"),
        (["sqlite:///none.db"], "ledger"),
        (["mysql://user:secret@host/db"], "ledger"),
        (["empty.db"], "ledger"),
        (["ordergate.db", "--since", "yesterday"], "since"),
        (["ordergate.db", "--until", "2026-13-01"], "until"),
        (["ordergate.db", "--since", "2026-11-02", "--until", "2026-11-02"], "until"),
        (["."], "ledger"),
        (["sqlite://ordergate.db"], "ledger"),
        (["postgresql://me:secret@localhost/x"], "ledger"),
        (["ordergate.db", "--symbol", "btc/usd"], "symbol"),
        (["ordergate.db", "--account", "spare"], "account"),
        (["ordergate.db", "--plot", "a.pdf"], "plot"),
        (["ordergate.db", "--plot", "nowhere/a.svg"], "plot"),
    ],
)
def test_what_cannot_be_used_is_named(folder: Path, command: Command, words: list[str], field: str) -> None:
    (folder / "empty.db").touch()
    before = sorted(path.name for path in folder.iterdir())
    told = command(*words, "--json")

    assert (told.code, told.data["error"], told.data["field"]) == (2, "INVALID_INPUT", field)
    assert "secret" not in told.out
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_file_that_is_no_ledger(folder: Path, command: Command) -> None:
    told = command("theirs.toml", "--json")

    assert (told.code, told.data["error"]) == (1, "LEDGER_DAMAGED")


def test_a_config_that_cannot_be_used(folder: Path, command: Command) -> None:
    (folder / "bad.toml").write_text('[gate]\nrules = ["position_cap", "typo"]\n[accounts.main]\nbroker = "paper"\n')
    told = command("ordergate.db", "--config", "bad.toml", "--json")
    missing = command("ordergate.db", "--config", "missing.toml", "--json")

    assert (told.code, told.data["error"]) == (2, "INVALID_CONFIG")
    assert "plugin_missing" in told.data["problems"][0]["fix"]
    assert (missing.code, missing.data["error"]) == (2, "INVALID_CONFIG")


def test_a_rule_that_fails_ends_with_1_and_is_named(
    folder: Path, command: Command, install: Callable[..., Path]
) -> None:
    module = """
        from ordergate import hookimpl

        @hookimpl
        def validate_order(order):
            raise LookupError("nothing there")
    """
    install(entries={"broken": "fakebroken"}, modules={"fakebroken.py": module})
    (folder / "broken.toml").write_text('[gate]\nrules = ["dust", "broken"]\n[accounts.main]\nbroker = "paper"\n')
    told = command("ordergate.db", "--config", "broken.toml")

    assert told.code == 1
    assert "Rule broken could not judge 3 decisions: It failed with LookupError: nothing there" in told.out


def test_an_account_that_the_config_does_not_have_is_named(folder: Path, command: Command) -> None:
    (folder / "spare.toml").write_text('[gate]\nrules = ["dust"]\n[accounts.spare]\nbroker = "paper"\n')
    told = command("ordergate.db", "--config", "spare.toml")

    assert told.code == 0
    assert "The config has no account main" in told.out


def test_days_without_a_decision_are_drawn_and_many_days_become_months() -> None:
    from ordergate.cli.replay_page import charts_of
    from ordergate.replay_report import Report, Tally

    def tally(fees: str) -> Tally:
        return Tally(decisions=3, approved_then=2, approved_now=1, now_refused=1, fees_not_paid=Decimal(fees))

    few = charts_of(Report(by_day={"2026-11-01": tally("1.5"), "2026-11-04": tally("2")}))
    many = charts_of(Report(by_day={"2026-01-01": tally("1.5"), "2026-01-09": tally("1"), "2026-06-01": tally("2")}))

    assert [list(chart.labels) for chart in few[:1]] == [["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"]]
    assert [series.values for series in few[1].series] == [(1, 0, 0, 1), (2, 0, 0, 2)]
    assert list(many[0].labels) == ["2026-01", "2026-02", "2026-03", "2026-04", "2026-05", "2026-06"]
    assert [list(series.values) for series in many[2].series] == [[Decimal("2.5"), 0, 0, 0, 0, Decimal(2)]]
