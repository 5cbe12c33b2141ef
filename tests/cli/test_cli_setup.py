"""`init` through the program: the config it writes is complete, explained, and passes the doctor."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest

import ordergate_paper
from ordergate.config import read_config
from ordergate.errors import InputError
from ordergate.hookspecs import BROKER
from ordergate.plugins import admit
from ordergate.settings import Gate


@pytest.fixture
def made(program: Any, tmp_path: Path) -> Any:
    """The program in a folder that `init` made."""
    ran = program.json("init", str(tmp_path / "made"))
    assert ran.code == 0
    return attrs.evolve(program, folder=tmp_path / "made")


def test_what_init_writes_passes_the_doctor_and_refuses_a_small_buy(made: Any) -> None:
    assert read_config(made.config).problems == ()
    assert made("doctor").code == 0
    ran = made.json("check", "BTC-USD", "--spend", "3")
    assert (ran.code, ran.data["smallest_passing"]) == (3, "20.00")
    assert made.json("buy", "BTC-USD", "--spend", "25").code == 0


def test_the_schema_stands_beside_it_and_is_named_first(made: Any) -> None:
    assert made.config.read_text(encoding="utf-8").splitlines()[0] == "#:schema ./ordergate.schema.json"
    schema = json.loads((made.folder / "ordergate.schema.json").read_text(encoding="utf-8"))
    assert schema["title"] == "ordergate.toml"


def test_every_key_of_the_gate_and_of_the_paper_venue_is_there(made: Any) -> None:
    lines = made.config.read_text(encoding="utf-8").splitlines()
    keys = {line.removeprefix("# ").partition(" =")[0] for line in lines if " =" in line}
    assert {field.name for field in attrs.fields(Gate)} <= keys
    assert {field.name for field in attrs.fields(ordergate_paper.Settings)} | {"fee_threshold", "broker"} <= keys


def test_the_defaults_it_shows_are_the_defaults(made: Any) -> None:
    text = made.config.read_text(encoding="utf-8")
    shown = text[text.index("[gate]") : text.index("# Tiers are")]
    keys = [f"# {field.name} = " for field in attrs.fields(Gate)]
    in_the_open = "\n".join(
        line.removeprefix("# ") if line.startswith(tuple(keys)) and "max_positions" not in line else line
        for line in shown.splitlines()
    )
    made.config.write_text(in_the_open + text[text.index("[accounts.main]") :], encoding="utf-8")
    assert set(tomllib.loads(in_the_open)["gate"]) == {field.name for field in attrs.fields(Gate)} - {"max_positions"}
    config = read_config(made.config)
    assert config.problems == ()
    assert attrs.evolve(config.gate, rules=()) == attrs.evolve(
        Gate(), fallback=made.folder / "ordergate-fallback", halt_file=made.folder / "ordergate.halt"
    )


def test_nothing_is_overwritten_without_force(made: Any) -> None:
    made.config.write_text("mine", encoding="utf-8")
    ran = made.json("init", str(made.folder))
    assert (ran.code, ran.data["field"]) == (2, "DIR")
    assert "--force" in ran.data["fix"]
    assert made.config.read_text(encoding="utf-8") == "mine"
    assert made.json("init", str(made.folder), "--force").code == 0
    assert read_config(made.config).problems == ()


def test_a_broker_that_is_not_installed_is_named(program: Any) -> None:
    ran = program.json("init", str(program.folder / "new"), "--broker", "krakn")
    assert (ran.code, ran.data["error"]) == (1, "plugin_missing")
    assert "kraken" in ran.data["message"]
    assert not (program.folder / "new").exists()


@pytest.mark.parametrize(("broker", "required"), [("kraken", set()), ("coinbase", set()), ("ccxt", {"exchange"})])
def test_an_installed_broker_gets_a_section_of_its_own_settings(program: Any, broker: str, required: set[str]) -> None:
    folder = program.folder / "new"
    assert program("init", str(folder), "--broker", broker).code == 0
    text = (folder / "ordergate.toml").read_text(encoding="utf-8")
    (table,) = tomllib.loads(text)["accounts"].values()
    assert table["broker"] == broker
    assert set(table[broker]) == {"key_file"} | required
    # Every other setting stands there as a comment, so that taking the mark away is all that is needed.
    cls: Any = admit(BROKER, broker).settings_class
    settings = {field.name for field in attrs.fields(cls)}
    section = text.split(f"[accounts.main.{broker}]")[1]
    assert settings <= set(re.findall(r"^(?:# )?([a-z_]+) = ", section, re.MULTILINE))
    opened = re.sub(r"^# ([a-z_]+ = )", r"\1", section, flags=re.MULTILINE)
    assert set(tomllib.loads(opened)) == settings | {"fee_threshold"}


def test_it_says_what_to_try_next(program: Any) -> None:
    ran = program("init", str(program.folder / "new"))
    assert "ordergate --config" in ran.out
    assert "doctor" in ran.out


def test_the_demo_is_given_its_folder_and_the_form_that_is_wanted(
    program: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[Path, bool, bool]] = []

    def run_demo(folder: Path, as_json: bool = False, *, plain: bool = False) -> int:
        calls.append((folder, as_json, plain))
        if folder.name == "foreign":
            raise InputError("DIR", str(folder), "name an empty folder")
        return 1

    monkeypatch.setattr("ordergate.demo.run_demo", run_demo)
    assert program("demo").code == 1
    assert program("demo", str(tmp_path), "--plain").code == 1
    assert program.json("demo", "foreign").code == 2
    assert calls == [(Path("ordergate-demo"), False, False), (tmp_path, False, True), (Path("foreign"), True, False)]
