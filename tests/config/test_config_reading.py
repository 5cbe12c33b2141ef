"""Reading a config file: what works as it stands, what cannot be read at all, every fault named at once."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ordergate import ConfigError, Problem, Tier
from ordergate.config import Config, config_from_values, read_config
from ordergate.pins import Pin
from ordergate.settings import DEFAULT_TIERS, Gate

WORKING = (Path(__file__).parents[1] / "example.toml").read_text(encoding="utf-8")


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "ordergate.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, text: str) -> Config:
    return read_config(write(folder, text))


def with_gate(folder: Path, lines: str, rules: str = 'rules = ["dust"]') -> Config:
    return read(folder, f'[gate]\n{rules}\n{lines}\n[accounts.main]\nbroker = "paper"\n')


def only(config: Config) -> Problem:
    assert len(config.problems) == 1, "\n".join(map(str, config.problems))
    return config.problems[0]


# ---------------------------------------------------------------------------------------- what works


def test_the_example_works_as_it_stands(tmp_path: Path) -> None:
    config = read(tmp_path, WORKING)
    assert config.problems == ()
    assert config.folder == tmp_path.resolve()
    assert config.gate.rules == ("position_cap", "min_allocation", "min_position", "dust", "average_position")
    assert config.tiers == DEFAULT_TIERS
    account = config.accounts["main"]
    assert (account.name, account.broker, account.fee_threshold) == ("main", "paper", Decimal(10))
    assert account.table == {
        "cash": "300.00",
        "positions": {"ETH-USD": "0.0100"},
        "prices": {"BTC-USD": "68925.98", "ETH-USD": "3500.00"},
    }
    assert config.origins["gate.rules"] == "file"
    assert config.origins["gate.dust"] == "default"
    assert config.origins["accounts.main.paper.fee_threshold"] == "file"


def test_the_default_tiers_are_the_documented_table() -> None:
    rows = [(tier.name, int(tier.equity), tier.max_positions, int(tier.min_position)) for tier in DEFAULT_TIERS]
    assert rows == [
        ("STARTER", 50, 1, 10),
        ("SAVER", 100, 1, 10),
        ("INVESTOR", 250, 3, 20),
        ("INCOME", 1_000, 5, 50),
        ("LIVABLE", 5_000, 6, 50),
        ("BALLER", 25_000, 8, 100),
    ]
    assert {tier.min_allocation for tier in DEFAULT_TIERS} == {Decimal("0.05")}


@pytest.mark.parametrize(
    "text",
    [WORKING.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + WORKING.encode()],
    ids=["windows line ends", "byte-order mark"],
)
def test_files_of_other_editors_read_the_same(tmp_path: Path, text: bytes) -> None:
    plain_config = read(tmp_path, WORKING)
    assert read_config(write(tmp_path, text)) == plain_config


def test_paths_count_from_the_real_file_whichever_link_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    real = write(tmp_path / "real", WORKING)
    link = tmp_path / "links" / "mine.toml"
    link.symlink_to(real)
    assert read_config(link) == read_config(real)
    assert read_config(link).gate.halt_file == tmp_path.resolve() / "real" / "ordergate.halt"


def test_a_relative_name_counts_from_where_it_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, WORKING)
    monkeypatch.chdir(tmp_path)
    assert read_config("ordergate.toml").folder == tmp_path.resolve()


@pytest.mark.parametrize("written", ["10.5", '"10.5"', '"10.50"', "10.50"])
def test_numbers_keep_every_digit_with_quotes_or_without(tmp_path: Path, written: str) -> None:
    config = with_gate(tmp_path, f"dust = {written}")
    assert config.problems == ()
    assert config.gate.dust == Decimal("10.5")


def test_a04_float_drift_long_decimals_stay_exact(tmp_path: Path) -> None:
    config = with_gate(tmp_path, "dust = 0.100000000000000001")
    assert config.gate.dust == Decimal("0.100000000000000001")


def test_every_gate_key_can_be_set(tmp_path: Path) -> None:
    config = with_gate(
        tmp_path,
        """
        observers = ["structured_log"]
        ledger = "sqlite:////var/lib/ordergate.db"
        sender_lease = 45
        fallback = "elsewhere"
        halt_file = "/run/halt"
        cash = ["USD", "USDC"]
        at_par = ["USDC"]
        dust = 2
        max_positions = 0
        facts_age = 20
        facts_cache = 1.5
        market_age = 60
        deadline = 5
        send_within = 2
        exit_facts = 1
        exit_settle = 4.25
        rule_budget = 0.25
        foreign_orders = "stop"
        clock_skew = 1.5
        """,
    )
    assert config.problems == ()
    assert config.gate == Gate(
        rules=("dust",),
        observers=("structured_log",),
        ledger="sqlite:////var/lib/ordergate.db",
        sender_lease=45.0,
        fallback=tmp_path.resolve() / "elsewhere",
        halt_file=Path("/run/halt"),
        cash=("USD", "USDC"),
        at_par=("USDC",),
        dust=Decimal(2),
        max_positions=0,
        facts_age=20.0,
        facts_cache=1.5,
        market_age=60.0,
        deadline=5.0,
        send_within=2.0,
        exit_facts=1.0,
        exit_settle=4.25,
        rule_budget=0.25,
        foreign_orders="stop",
        clock_skew=1.5,
    )
    fields = {f"gate.{field.name}" for field in attrs.fields(Gate)}
    assert {key for key, origin in config.origins.items() if origin == "file"} >= fields


def test_own_tiers_replace_the_table(tmp_path: Path) -> None:
    tier = '[[tiers]]\nname = "{}"\nequity = {}\nmax_positions = 2\nmin_position = "7.5"\n'
    config = read(
        tmp_path, WORKING + tier.format("SMALL", 0) + tier.format("LARGE", "99.5") + "min_allocation = 0.10\n"
    )
    assert config.problems == ()
    assert config.tiers == (
        Tier(name="SMALL", equity=Decimal(0), max_positions=2, min_position=Decimal("7.5")),
        Tier(
            name="LARGE",
            equity=Decimal("99.5"),
            max_positions=2,
            min_position=Decimal("7.5"),
            min_allocation=Decimal("0.10"),
        ),
    )
    assert config.origins["tiers"] == "file"


def test_tables_of_plugins_are_kept_for_later(tmp_path: Path) -> None:
    text = WORKING.replace("[accounts.main]", 'observers = ["log"]\n[accounts.main]', 1)
    config = read(tmp_path, text + "[rules.dust]\nexit_buffer = 0.20\n[observers.log]\npath = 'x'\n")
    assert config.problems == ()
    assert str(config.rules["dust"]["exit_buffer"]) == "0.20"
    assert config.observers["log"] == {"path": "x"}


def test_pins_are_read(tmp_path: Path) -> None:
    pin = f'[pins."rules.dust"]\ndistribution = "ordergate"\nversion = "0.1.0"\nsha256 = "{"ab" * 32}"\n'
    config = read(tmp_path, WORKING + pin + pin.replace("rules.dust", "brokers.paper"))
    assert config.problems == ()
    assert config.pins["rules.dust"] == Pin("ordergate", "0.1.0", "ab" * 32)
    assert set(config.pins) == {"rules.dust", "brokers.paper"}


def test_an_account_may_leave_its_brokers_table_out(tmp_path: Path) -> None:
    account = with_gate(tmp_path, "").accounts["main"]
    assert (account.broker, account.table, account.fee_threshold, account.problems) == ("paper", {}, None, ())


def test_values_give_the_same_config_as_a_file(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "gate": {
            "rules": ("position_cap", "min_allocation", "min_position", "dust", "average_position"),
            "ledger": "sqlite:///ordergate.db",
        },
        "accounts": {
            "main": {
                "broker": "paper",
                "paper": {
                    "cash": "300.00",
                    "positions": {"ETH-USD": "0.0100"},
                    "prices": {"BTC-USD": "68925.98", "ETH-USD": "3500.00"},
                    "fee_threshold": Decimal(10),
                },
            },
        },
    }
    given_values = config_from_values(values, tmp_path.resolve())
    values["accounts"]["main"]["paper"]["prices"]["BTC-USD"] = "1"
    assert attrs.evolve(read(tmp_path, WORKING), path=None) == given_values


def test_floats_are_no_amounts_but_may_be_seconds(tmp_path: Path) -> None:
    values = {
        "gate": {"rules": ["dust"], "dust": 0.1, "facts_age": 2.5},
        "accounts": {"a": {"broker": "paper"}},
    }
    config = config_from_values(values, tmp_path)
    assert only(config).where == "gate.dust"
    assert "drift" in only(config).fix
    assert config.gate.facts_age == 2.5
    assert config.gate.dust == 1


# ------------------------------------------------------------------------------------------- digest


def test_the_digest_names_what_takes_effect_and_not_where_the_file_stands(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = read(tmp_path / "one", WORKING)
    assert one.digest == read(tmp_path / "two", "# moved\n" + WORKING).digest
    assert (
        one.digest == read(tmp_path / "one", WORKING.replace("[accounts.main]", "dust = 1.00\n[accounts.main]")).digest
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"dust", ', ""),
        ('"300.00"', '"301.00"'),
        ('fee_threshold = "10"', 'fee_threshold = "11"'),
        ("ordergate.db", "other.db"),
        ("[accounts.main]", "dust = 2\n[accounts.main]"),
        ("[accounts.main]", "[rules.dust]\nexit_buffer = 0.2\n[accounts.main]"),
        ("accounts.main", "accounts.other"),
    ],
)
def test_any_change_that_takes_effect_changes_the_digest(tmp_path: Path, old: str, new: str) -> None:
    assert read(tmp_path, WORKING).digest != read(tmp_path, WORKING.replace(old, new)).digest


# ----------------------------------------------------------------------- what cannot be read at all


def refused(path: Path) -> Problem:
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].where == str(path)
    return caught.value.problems[0]


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    assert "ordergate init" in refused(tmp_path / "none.toml").fix


def test_a_config_that_is_a_folder(tmp_path: Path) -> None:
    assert "it is a folder" in refused(tmp_path).what


def test_a_config_below_a_file(tmp_path: Path) -> None:
    assert "cannot be read" in refused(write(tmp_path, WORKING) / "x").what


def test_a_config_that_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path / "pipe").what


def test_a_link_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "cannot be read" in refused(tmp_path / "a").what


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, WORKING)

    def no_right(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", no_right)  # root may read everything, so rights alone prove nothing
    assert "right" in refused(path).fix


def test_a_name_with_a_nul(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file name"):
        read_config(tmp_path / "a\0b")


@pytest.mark.parametrize("data", [b"a = '\xff'", WORKING.encode("utf-16")], ids=["latin", "utf-16"])
def test_text_that_is_not_utf8(tmp_path: Path, data: bytes) -> None:
    assert "UTF-8" in refused(write(tmp_path, data)).fix


def test_a_huge_file(tmp_path: Path) -> None:
    assert "1 MB" in refused(write(tmp_path, b"#" * 1_000_001)).what


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[gate]\nrules = ["dust"]\n[gate]\nrules = []\n', 3),
        ("[gate]\ndust = 1\ndust = 2\n", 3),
        ("[accounts.a]\n[accounts.a]\n", 2),
        ("[gate]\ndust = 1\n[gate.dust]\n", 3),
        ("a = {b = 1, b = 2}\n", 1),
    ],
)
def test_duplicate_toml_tables_and_keys_are_named_with_their_line(tmp_path: Path, text: str, line: int) -> None:
    problem = refused(write(tmp_path, text))
    assert f"line {line}" in problem.what
    assert "once" in problem.fix


@pytest.mark.parametrize("text", ["[gate\n", "rules = dust\n", "x = 1 2\n", "gate.rules\n"])
def test_what_is_no_toml_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    problem = refused(write(tmp_path, text))
    assert "line 1" in problem.what
    assert "quotes" in problem.fix


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 5000], ids=["digits", "brackets"])
def test_parser_bombs(tmp_path: Path, text: str) -> None:
    assert "not TOML" in refused(write(tmp_path, text)).what


# ------------------------------------------------------------------------- faults that leave the rest usable


def test_all_problems_are_found_at_once_and_the_rest_stays_usable(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        gates = 1
        [gate]
        rules = ["dust"]
        rulse = ["x"]
        dust = 1e3
        deadline = 1000
        facts_age = "5"
        market_age = 30
        [[tiers]]
        name = "A"
        equity = 1
        max_positions = 0
        min_position = 0
        [accounts.main]
        broker = "paper"
        [accounts.main.paper]
        fee_threshold = true
        [rules.cap]
        """,
    )
    assert {problem.where for problem in config.problems} == {
        "gates",
        "gate.rulse",
        "gate.dust",
        "gate.deadline",
        "gate.facts_age",
        "tiers[1].max_positions",
        "tiers[1].min_position",
        "accounts.main.paper.fee_threshold",
        "rules.cap",
    }
    default = Gate()
    assert config.gate.rules == ("dust",)
    assert config.gate.market_age == 30
    assert (config.gate.dust, config.gate.deadline, config.gate.facts_age) == (
        default.dust,
        default.deadline,
        default.facts_age,
    )
    assert config.origins["gate.dust"] == "default"
    assert config.tiers == DEFAULT_TIERS
    assert config.accounts["main"].broker == "paper"


@pytest.mark.parametrize(
    ("line", "where", "fix"),
    [
        ("rulse = []", "gate.rulse", "Did you mean rules?"),
        ("Dust = 1", "gate.Dust", "Did you mean dust?"),
        ("bypass = true", "gate.bypass", "Known are"),
        ('"\\u0501ust" = 1', 'gate."\\u0501ust"', "Did you mean dust?"),
        ('"a.b\\u001b[0m" = 1', 'gate."a.b\\u001b[0m"', "Known are"),
        ("[gate.rules_off]", "gate.rules_off", "Did you mean rules?"),
    ],
)
def test_unknown_keys_are_named_with_the_nearest_valid_one(tmp_path: Path, line: str, where: str, fix: str) -> None:
    problem = only(with_gate(tmp_path, line))
    assert problem.where == where
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("dust", "nan"),
        ("dust", "inf"),
        ("dust", "-inf"),
        ("dust", "1e3"),
        ("dust", "1_000.5"),
        ("dust", '"1_000"'),
        ("dust", '"１２"'),
        ("dust", '" 1"'),
        ("dust", '"0x10"'),
        ("dust", '""'),
        ("dust", "true"),
        ("dust", "[1]"),
        ("dust", "{ a = 1 }"),
        ("dust", "2026-11-22"),
        ("dust", "0"),
        ("dust", "-1"),
        ("dust", '"-0"'),
        ("dust", "-0.0"),
        ("dust", "9" * 400),
        ("dust", "0x" + "f" * 9000),
        ("dust", "1001"),
        ("max_positions", "true"),
        ("max_positions", '"3"'),
        ("max_positions", "3.0"),
        ("max_positions", "-1"),
        ("max_positions", "9" * 30),
        ("facts_age", "nan"),
        ("facts_age", "inf"),
        ("facts_age", "true"),
        ("facts_age", '"5"'),
        ("facts_age", "0"),
        ("facts_age", "301"),
        ("facts_cache", "-1"),
        ("foreign_orders", '"Alarm"'),
        ("foreign_orders", "1"),
        ("rules", '"dust"'),
        ("observers", '["log", "log"]'),
        ("observers", '[""]'),
        ("observers", '["a b"]'),
        ("cash", '["USD", "USD"]'),
        ("cash", '["USD", "usdc"]'),
        ("halt_file", "1"),
        ("halt_file", '""'),
        ("halt_file", '"~/halt"'),
        ("halt_file", '"a\\u0000b"'),
        ("fallback", "true"),
        ("ledger", '"ordergate.db"'),
        ("ledger", '"sqlite://ordergate.db"'),
        ("ledger", '"sqlite:///"'),
        ("ledger", '"sqlite:///:memory:"'),
        ("ledger", '"sqlite:///a.db?mode=ro"'),
        ("ledger", '"mysql://host/db"'),
        ("ledger", '"postgresql://gate:secret@host/db"'),
        ("ledger", '"postgresql://host/db?user=gate&password=secret"'),
        ("ledger", "1"),
    ],
)
def test_a_bad_value_is_named_and_its_key_keeps_the_default(tmp_path: Path, name: str, written: str) -> None:
    rules = "" if name == "rules" else 'rules = ["dust"]'
    config = with_gate(tmp_path, f"{name} = {written}", rules)
    problem = only(config)
    assert problem.where.startswith(f"gate.{name}")
    assert "is not usable" in problem.what
    assert problem.fix.endswith((".", "?"))
    assert len(str(problem)) < 300
    default = with_gate(tmp_path, "", rules).gate
    assert config.gate == default


def test_postgresql_is_left_for_the_ledger_to_answer(tmp_path: Path) -> None:
    assert with_gate(tmp_path, 'ledger = "postgresql://gate@db/ordergate"').problems == ()


@pytest.mark.parametrize(
    "url",
    ["postgresql://gate:secret@host/db", "postgresql://gate:a/secret@host/db", "postgresql://h/db?password=secret"],
)
def test_a_password_in_the_ledgers_url_is_refused_and_never_shown(tmp_path: Path, url: str) -> None:
    problem = only(with_gate(tmp_path, f'ledger = "{url}"'))
    assert "Take the password out" in problem.fix
    assert "secret" not in str(problem)


def test_an_entry_of_a_list_is_named_by_its_place(tmp_path: Path) -> None:
    assert only(with_gate(tmp_path, "cash = ['USD', 5]")).where == "gate.cash[2]"


@pytest.mark.parametrize("rules", ["", "rules = []"])
def test_b01_no_rules_is_a_problem(tmp_path: Path, rules: str) -> None:
    problem = only(with_gate(tmp_path, "", rules))
    assert problem.where == "gate.rules"
    assert "approves nothing" in problem.what


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ("facts_cache = 11", "gate.facts_cache"),
        ("facts_age = 2\nfacts_cache = 2.5", "gate.facts_cache"),
        ("exit_facts = 11", "gate.exit_facts"),
        ("deadline = 2", "gate.exit_facts"),
        ('cash = ["USDC"]', "gate.cash"),
        ('at_par = ["DAI"]', "gate.at_par"),
        ('ledger = "sqlite:///ordergate.halt"', "gate.ledger"),
        ('fallback = "ordergate.halt"', "gate.fallback"),
        ('halt_file = "sub/../ordergate.toml"', "the config file"),
        ('ledger = "postgresql://host/db"\nsender_lease = 14', "gate.sender_lease"),
        ('ledger = "postgresql://host/db"\nsend_within = 21', "gate.sender_lease"),
    ],
)
def test_contradictions_are_found(tmp_path: Path, lines: str, where: str) -> None:
    assert only(with_gate(tmp_path, lines)).where == where


def test_a_table_for_a_rule_that_is_not_active_is_a_contradiction(tmp_path: Path) -> None:
    problem = only(with_gate(tmp_path, "[rules.dusk]"))
    assert "rules.dusk is configured but not active" in problem.what
    assert problem.fix == "Did you mean dust?"
    problem = only(with_gate(tmp_path, "[observers.log]"))
    assert "gate.observers" in problem.fix


def test_a_broken_list_of_rules_raises_no_doubt_about_their_tables(tmp_path: Path) -> None:
    assert only(with_gate(tmp_path, "[rules.dust]", "rules = 5")).where == "gate.rules"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[gate]\nrules = ['dust']\n", "accounts"),
        ("accounts = 1\n[gate]\nrules = ['dust']\n", "accounts"),
        ("gate = 1\n[accounts.a]\nbroker = 'paper'\n", "gate"),
        ("rules = ['dust']\n[gate]\nrules = ['dust']\n[accounts.a]\nbroker = 'paper'\n", "rules"),
        ("tiers = []\n[gate]\nrules = ['dust']\n[accounts.a]\nbroker = 'paper'\n", "tiers"),
        ("tiers = 1\n[gate]\nrules = ['dust']\n[accounts.a]\nbroker = 'paper'\n", "tiers"),
        ("tiers = [1]\n[gate]\nrules = ['dust']\n[accounts.a]\nbroker = 'paper'\n", "tiers[1]"),
        ("rules.dust = 1\n[gate]\nrules = ['dust']\n[accounts.a]\nbroker = 'paper'\n", "rules.dust"),
        ("pins = 1\n[gate]\nrules = ['dust']\n[accounts.a]\nbroker = 'paper'\n", "pins"),
    ],
)
def test_sections_that_are_missing_or_no_tables(tmp_path: Path, text: str, where: str) -> None:
    assert where in {problem.where for problem in read(tmp_path, text).problems}


# ----------------------------------------------------------------------------------------- tiers


@pytest.mark.parametrize(
    ("second", "where"),
    [
        ("equity = 100", "tiers[2].equity"),
        ("equity = 99", "tiers[2].equity"),
        ("equity = -1", "tiers[2].equity"),
        ("equity = 200\nname = 'ONE'", "tiers[2].name"),
        ("equity = 200\nname = ''", "tiers[2].name"),
        ("equity = 200\nmax_positions = 0", "tiers[2].max_positions"),
        ("equity = 200\nmax_positions = 1.5", "tiers[2].max_positions"),
        ("equity = 200\nmin_position = 0", "tiers[2].min_position"),
        ("equity = 200\nmin_allocation = 0.0499", "tiers[2].min_allocation"),
        ("equity = 200\nmin_allocation = 0.1001", "tiers[2].min_allocation"),
        ("equity = 200\nmin_alloction = 0.05", "tiers[2].min_alloction"),
        ("", "tiers[2].equity"),
    ],
)
def test_a_bad_tier_is_named_and_the_default_table_holds(tmp_path: Path, second: str, where: str) -> None:
    fields = {"name": "'TWO'", "max_positions": "2", "min_position": "10"}
    lines = [f"{name} = {value}" for name, value in fields.items() if f"{name} =" not in second]
    config = read(
        tmp_path,
        f"{WORKING}\n[[tiers]]\nname = 'ONE'\nequity = 100\nmax_positions = 1\nmin_position = 5\n"
        + "\n".join(["[[tiers]]", *lines, second]),
    )
    assert only(config).where == where
    assert config.tiers == DEFAULT_TIERS


# -------------------------------------------------------------------------------------- accounts


PAPER = "[accounts.a]\nbroker = 'paper'\n[accounts.a.paper]\n"


def with_accounts(folder: Path, text: str) -> Config:
    return read(folder, f"[gate]\nrules = ['dust']\n{text}\n")


@pytest.mark.parametrize(
    ("text", "where", "fix"),
    [
        ("[accounts.a]", "accounts.a.broker", 'broker = "paper"'),
        ("[accounts.a.kraken]", "accounts.a.broker", 'broker = "kraken"'),
        ("[accounts.a]\nbroker = 5", "accounts.a.broker", "paper"),
        ("[accounts.a]\nbroker = ''", "accounts.a.broker", "paper"),
        ("[accounts.a]\nbroker = 'paper'\ncash = '1'", "accounts.a.cash", "[accounts.a.paper]"),
        ("[accounts.a]\nbroker = 'paper'\n[accounts.a.papre]", "accounts.a.papre", "accounts.a.paper"),
        ("[accounts.a]\nbroker = 'paper'\npaper = 1", "accounts.a.paper", "table"),
        ("[accounts]\na = 'paper'", "accounts.a", "table"),
        (f"{PAPER}fee_threshold = -1", "accounts.a.paper.fee_threshold", "zero"),
        (f"{PAPER}fee_threshold = nan", "accounts.a.paper.fee_threshold", "plain"),
        (f"{PAPER}fee_threshold = 1e1", "accounts.a.paper.fee_threshold", "plain"),
        (f"{PAPER}fee_threshold = 1_0.5", "accounts.a.paper.fee_threshold", "1_0.5"),
    ],
)  # fmt: skip
def test_a_fault_of_an_account_is_that_accounts_own(tmp_path: Path, text: str, where: str, fix: str) -> None:
    config = with_accounts(tmp_path, text + "\n[accounts.good]\nbroker = 'paper'\n")
    problem = only(config)
    assert problem.where == where
    assert fix in str(problem)
    assert config.accounts["a"].problems == (problem,)
    assert config.accounts["good"].problems == ()


def test_a_misspelt_broker_key_is_recognised(tmp_path: Path) -> None:
    config = with_accounts(tmp_path, "[accounts.a]\nbrokr = 'paper'")
    assert {problem.where: problem.fix for problem in config.problems}["accounts.a.brokr"] == "Did you mean broker?"


@pytest.mark.parametrize("name", ["Main", "1a", "a" * 33, '"a b"', '"mаin"', '""', '"a.b"'])
def test_names_that_no_account_can_have(tmp_path: Path, name: str) -> None:
    config = with_accounts(tmp_path, f"[accounts.{name}]\nbroker = 'paper'")
    assert only(config).where.startswith("accounts.")
    assert config.accounts == {}


def test_a_broker_without_quotes_in_the_fee_threshold_is_exact(tmp_path: Path) -> None:
    text = "[accounts.a]\nbroker = 'paper'\n[accounts.a.paper]\nfee_threshold = 10.000000000000000001"
    account = with_accounts(tmp_path, text).accounts["a"]
    assert account.fee_threshold == Decimal("10.000000000000000001")
    assert "fee_threshold" not in account.table


# ------------------------------------------------------------------------------------------ pins


@pytest.mark.parametrize(
    ("key", "fields", "where"),
    [
        ("rules.dust", "distribution = 'x'\nversion = '1'\nsha256 = 'AB'", 'pins."rules.dust".sha256'),
        ("rules.dust", "distribution = 'x'\nversion = '1'", 'pins."rules.dust".sha256'),
        ("rules.dust", "distribution = 'x'\nversion = 1\nsha256 = '{hash}'", 'pins."rules.dust".version'),
        ("rules.dust", "distribution = 'x'\nversion = '1'\nsha256 = '{hash}'\nsize = 1", 'pins."rules.dust".size'),
        ("rule.dust", "distribution = 'x'\nversion = '1'\nsha256 = '{hash}'", 'pins."rule.dust"'),
        ("dust", "distribution = 'x'\nversion = '1'\nsha256 = '{hash}'", "pins.dust"),
        ("rules.dsut", "distribution = 'x'\nversion = '1'\nsha256 = '{hash}'", 'pins."rules.dsut"'),
        ("brokers.kraken", "distribution = 'x'\nversion = '1'\nsha256 = '{hash}'", 'pins."brokers.kraken"'),
    ],
)  # fmt: skip
def test_b09_pin_that_guards_nothing_is_named(tmp_path: Path, key: str, fields: str, where: str) -> None:
    text = f'{WORKING}\n[pins."{key}"]\n' + fields.replace("{hash}", "ab" * 32)
    assert only(read(tmp_path, text)).where == where


# ------------------------------------------------------------------------------------- any file at all

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LINES = [
    *WORKING.splitlines(),
    "[[tiers]]",
    "[rules.dust]",
    "[pins]",
    "=",
    "[",
    '"',
    "dust = nan",
    "a.b.c = 1",
    "\x00",
]


@FUZZ
@given(data=st.binary(max_size=200))
@example(data=b"a = 1979-05-27T07:32:00Z")
@example(data=b"accounts.a.broker = 'broker'")
@example(data=b"accounts.a.broker = 'x'\naccounts.a.x.fee_threshold = 0x" + b"f" * 9000)
def test_no_bytes_raise_anything_but_config_error(tmp_path: Path, data: bytes) -> None:
    try:
        config = read_config(write(tmp_path, data))
    except ConfigError:
        return
    assert config.problems  # nothing this short is a whole config


@FUZZ
@given(lines=st.lists(st.sampled_from(LINES) | st.text(max_size=20), max_size=12))
def test_no_text_raises_anything_but_config_error(tmp_path: Path, lines: list[str]) -> None:
    data = "\n".join(lines).encode(errors="replace")
    try:
        config = read_config(write(tmp_path, data))
    except ConfigError:
        return
    assert isinstance(config.gate, Gate)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.decimals() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from([field.name for field in attrs.fields(Gate)])


@FUZZ
@given(
    gate=st.dictionaries(keys, plain_values, max_size=4) | plain_values,
    tiers=plain_values,
    accounts=plain_values,
    pins=plain_values,
    rules=plain_values,
)
def test_no_values_raise_anything(tmp_path: Path, **sections: object) -> None:
    config = config_from_values(sections, tmp_path)
    assert all(isinstance(problem, Problem) and problem.where and problem.fix for problem in config.problems)
    assert config.problems  # rules and an account are never both right by chance here
