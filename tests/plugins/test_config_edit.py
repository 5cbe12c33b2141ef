"""Edits of the config file: what is asked for changes, and nothing else does."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ordergate import config_edit
from ordergate.config_edit import Edit, disable, enable, write_pin
from ordergate.errors import ConfigError, InputError, PluginError
from ordergate.hookspecs import BROKER, OBSERVER, RULE, Kind
from ordergate.pins import Pin

Install = Callable[..., Path]
PIN = Pin("ordergate-fake", "1.0", "ab" * 32)

ONE_LINE = """\
# My gate.
[gate]
rules = ["dust", "min_position"]  # the ones I trust
ledger = "sqlite:///ordergate.db"

# My account.
[accounts.main]
broker = "paper"
"""
SEVERAL_LINES = """\
[gate]
rules = [
    "dust",          # crumbs
    # sizes
    "min_position",  # fees
]
ledger = "sqlite:///ordergate.db"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "ordergate.toml"


def write(config: Path, text: str) -> Path:
    config.write_bytes(text.encode())
    return config


def read(config: Path) -> str:
    return config.read_bytes().decode()


# --------------------------------------------------------------------------------------------------------- enable


def test_enable_in_a_list_on_one_line(config: Path) -> None:
    assert enable(write(config, ONE_LINE), RULE, "position_cap") == Edit(changed=True)
    assert read(config) == ONE_LINE.replace('"min_position"]', '"min_position", "position_cap"]')


def test_enable_in_a_list_over_several_lines(config: Path) -> None:
    enable(write(config, SEVERAL_LINES), RULE, "position_cap")
    assert read(config) == SEVERAL_LINES.replace("# fees\n", '# fees\n    "position_cap",\n')


def test_enable_in_an_empty_list(config: Path) -> None:
    enable(write(config, "[gate]\nrules = []\n"), RULE, "dust")
    assert read(config) == '[gate]\nrules = ["dust"]\n'


def test_enable_the_first_observer_keeps_the_next_sections_comment(config: Path) -> None:
    enable(write(config, ONE_LINE), OBSERVER, "structured_log")
    assert read(config) == ONE_LINE.replace("[gate]\n", '[gate]\nobservers = ["structured_log"]\n')


def test_enable_without_a_gate_section(config: Path) -> None:
    enable(write(config, '[accounts.main]\nbroker = "paper"'), RULE, "dust")
    assert read(config) == '[accounts.main]\nbroker = "paper"\n\n[gate]\nrules = ["dust"]\n'


def test_enable_in_an_empty_file(config: Path) -> None:
    enable(write(config, ""), RULE, "dust")
    assert read(config) == '[gate]\nrules = ["dust"]\n'


def test_enable_in_dotted_and_inline_forms(config: Path) -> None:
    enable(write(config, 'gate.rules = ["dust"] # here\n'), RULE, "min_position")
    assert read(config) == 'gate.rules = ["dust", "min_position"] # here\n'
    enable(write(config, 'gate = { rules = ["dust"] }\n'), RULE, "min_position")
    assert read(config) == 'gate = { rules = ["dust", "min_position"] }\n'


def test_enable_keeps_windows_line_ends_and_the_mark(config: Path) -> None:
    text = "\ufeff" + SEVERAL_LINES.replace("\n", "\r\n")
    enable(write(config, text), RULE, "position_cap")
    enable(config, OBSERVER, "structured_log")
    expected = text.replace("# fees\r\n", '# fees\r\n    "position_cap",\r\n')
    assert read(config) == expected.replace("[gate]\r\n", '[gate]\r\nobservers = ["structured_log"]\r\n')


def test_enable_what_is_active_already_touches_nothing(config: Path) -> None:
    write(config, ONE_LINE)
    before = config.stat()
    edit = enable(config, RULE, "dust")
    assert (edit.changed, edit.warning) == (False, "dust is active already.")
    assert (config.stat().st_ino, config.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_enable_what_nobody_installed(config: Path) -> None:
    write(config, ONE_LINE)
    with pytest.raises(PluginError, match="position_cap") as caught:
        enable(config, RULE, "position_cup")
    assert caught.value.code == "plugin_missing"
    assert read(config) == ONE_LINE


def test_enable_imports_nothing(config: Path, install: Install) -> None:
    install(entries={"fake": "fake_plugin"}, modules={"fake_plugin.py": "raise SystemExit('ran')"})
    assert enable(write(config, ONE_LINE), RULE, "fake").changed


@pytest.mark.parametrize("edit", [enable, disable])
def test_brokers_have_no_list(config: Path, edit: Callable[..., Edit]) -> None:
    write(config, ONE_LINE)
    with pytest.raises(InputError, match=r"\[accounts.NAME\]"):
        edit(config, BROKER, "paper")
    assert read(config) == ONE_LINE


# -------------------------------------------------------------------------------------------------------- disable


def test_disable_in_a_list_on_one_line(config: Path) -> None:
    assert disable(write(config, ONE_LINE), RULE, "dust") == Edit(changed=True)
    assert read(config) == ONE_LINE.replace('["dust", "min_position"]', '["min_position"]')


def test_disable_in_a_list_over_several_lines(config: Path) -> None:
    disable(write(config, SEVERAL_LINES), RULE, "min_position")
    assert read(config) == SEVERAL_LINES.replace('    "min_position",  # fees\n', "")


def test_disable_the_last_rule_is_allowed_and_said(config: Path) -> None:
    edit = disable(write(config, '[gate]\nrules = ["dust"]\n'), RULE, "dust")
    assert edit.changed
    assert "approves no buy" in str(edit.warning)
    assert read(config) == "[gate]\nrules = []\n"


def test_disable_the_last_observer_needs_no_word(config: Path) -> None:
    edit = disable(write(config, '[gate]\nobservers = ["structured_log"]\n'), OBSERVER, "structured_log")
    assert edit == Edit(changed=True)


def test_disable_what_is_not_active(config: Path) -> None:
    write(config, ONE_LINE)
    before = config.stat().st_ino
    edit = disable(config, RULE, "dusk")
    assert (edit.changed, edit.warning) == (False, "dusk is not active; did you mean dust?")
    assert config.stat().st_ino == before


def test_disable_needs_no_installation(config: Path) -> None:
    disable(write(config, '[gate]\nrules = ["gone", "dust"]\n'), RULE, "gone")
    assert read(config) == '[gate]\nrules = ["dust"]\n'


def test_disable_comments_its_table_and_its_pin_out(config: Path) -> None:
    """Left standing they would contradict the list, and a config that contradicts itself lets no buy through."""
    text = """\
[gate]
rules = ["dust", "min_position"]

# how far a price may fall
[rules.dust]
exit_buffer = "0.2"  # cautious

# sizes
[rules.min_position]
x = 1

[pins."rules.dust"]
distribution = "ordergate"
version = "0.1.0"
sha256 = "00"

[pins."rules.min_position"]
distribution = "ordergate"
"""
    disable(write(config, text), RULE, "dust")
    expected = text.replace('["dust", ', "[").replace("[rules.dust]", "# [rules.dust]")
    expected = expected.replace("exit_buffer", "# exit_buffer")
    expected = expected.replace('[pins."rules.dust"]', '# [pins."rules.dust"]')
    expected = expected.replace('distribution = "ordergate"\nversion', '# distribution = "ordergate"\n# version')
    assert read(config) == expected.replace("sha256", "# sha256")


def test_disable_when_its_settings_stand_in_an_inline_table(config: Path) -> None:
    text = '[gate]\nrules = ["dust", "min_position"]\n[rules]\ndust = { exit_buffer = "0.2" }\n'
    with pytest.raises(ConfigError, match="by hand"):
        disable(write(config, text), RULE, "dust")
    assert read(config) == text


# ------------------------------------------------------------------------------------------------------------ pins


def test_write_a_pin(config: Path) -> None:
    assert write_pin(write(config, ONE_LINE), RULE, "dust", PIN) == Edit(changed=True)
    assert read(config) == ONE_LINE + (
        '\n[pins."rules.dust"]\ndistribution = "ordergate-fake"\nversion = "1.0"\nsha256 = "' + "ab" * 32 + '"\n'
    )


def test_write_a_pin_anew_keeps_comments(config: Path) -> None:
    text = ONE_LINE + (
        '\n# read on Monday\n[pins."rules.dust"]\n'
        'version = "0.9"   # old\nsha256="00"\ndistribution = "x" # who\n# end\n'
    )
    write_pin(write(config, text), RULE, "dust", PIN)
    expected = text.replace('"0.9"', '"1.0"').replace('"00"', f'"{PIN.sha256}"')
    assert read(config) == expected.replace('"x"', f'"{PIN.distribution}"')


def test_write_the_same_pin_touches_nothing(config: Path) -> None:
    write_pin(write(config, ONE_LINE), RULE, "dust", PIN)
    before = config.stat().st_ino
    assert write_pin(config, RULE, "dust", PIN) == Edit(changed=False)
    assert config.stat().st_ino == before


def test_write_two_pins(config: Path) -> None:
    write_pin(write(config, ONE_LINE), RULE, "dust", PIN)
    write_pin(config, RULE, "min_position", evolve(PIN, version="2.0"))
    write_pin(config, BROKER, "paper", PIN)
    pins = tomllib.loads(read(config))["pins"]
    assert {key: pin["version"] for key, pin in pins.items()} == {
        "rules.dust": "1.0",
        "rules.min_position": "2.0",
        "brokers.paper": "1.0",
    }
    assert read(config).startswith(ONE_LINE)


@pytest.mark.parametrize(("kind", "name"), [(RULE, "position_cap"), (OBSERVER, "structured_log"), (BROKER, "kraken")])
def test_pin_of_what_is_not_active(config: Path, kind: Kind, name: str) -> None:
    write(config, ONE_LINE)
    with pytest.raises(InputError, match="active"):
        write_pin(config, kind, name, PIN)
    assert read(config) == ONE_LINE


@pytest.mark.parametrize("pins", ["pins = 3\n", 'pins = { "rules.dust" = 3 }\n', 'pins = { "rules.x" = {} }\n'])
def test_pins_that_cannot_be_edited(config: Path, pins: str) -> None:
    with pytest.raises(ConfigError):
        write_pin(write(config, pins + ONE_LINE), RULE, "dust", PIN)
    assert read(config) == pins + ONE_LINE


# ------------------------------------------------------------------------------------------------------------ files


def test_a_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "real.toml", ONE_LINE)
    config.symlink_to(target)
    enable(config, RULE, "position_cap")
    assert config.is_symlink()
    assert '"position_cap"' in read(target)


def test_the_mode_stays(config: Path) -> None:
    write(config, ONE_LINE).chmod(0o640)
    enable(config, RULE, "position_cap")
    assert stat.S_IMODE(config.stat().st_mode) == 0o640


def test_nothing_else_is_left_in_the_folder(config: Path) -> None:
    enable(write(config, ONE_LINE), RULE, "position_cap")
    assert [file.name for file in config.parent.iterdir()] == ["ordergate.toml"]


def test_a_full_disk_leaves_the_old_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(config, ONE_LINE)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        enable(config, RULE, "position_cap")
    assert read(config) == ONE_LINE
    assert [file.name for file in config.parent.iterdir()] == ["ordergate.toml"]


def test_a_change_by_someone_else_is_not_overwritten(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(config, ONE_LINE)
    honest = config_edit._through_tomlkit  # pyright: ignore[reportPrivateUsage] - the moment between read and write

    def slow(*arguments: object) -> str:
        text = honest(*arguments)  # type: ignore[arg-type]
        write(config, ONE_LINE + "# saved meanwhile\n")
        return text

    monkeypatch.setattr(config_edit, "_through_tomlkit", slow)
    with pytest.raises(ConfigError, match="Run the command again"):
        enable(config, RULE, "position_cap")
    assert read(config) == ONE_LINE + "# saved meanwhile\n"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"[gate\n", "line 1"),
        (b"[gate]\n[gate]\n", "line 2"),
        (b"\xff", "UTF-8"),
        (b"gate = 3\n", "not a list of names"),
        (b"[gate]\nrules = 3\n", "not a list of names"),
        (b"[gate]\nrules = [1]\n", "not a list of names"),
    ],
)
def test_files_that_cannot_be_edited(config: Path, content: bytes, shown: str) -> None:
    config.write_bytes(content)
    with pytest.raises(ConfigError, match=shown) as caught:
        enable(config, RULE, "dust")
    assert caught.value.problems[0].where == str(config)
    assert config.read_bytes() == content


def test_no_file_and_a_folder(config: Path) -> None:
    with pytest.raises(ConfigError, match="ordergate init"):
        enable(config, RULE, "dust")
    config.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        enable(config, RULE, "dust")


COMMENTS = st.sampled_from(["", "  # why", "# [gate]", '  # "dust", ]'])
NAMES = st.lists(st.sampled_from(["dust", "min_position", "average_position", "gone"]), unique=True, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    names=NAMES,
    comments=st.lists(COMMENTS, min_size=6, max_size=6),
    lines=st.booleans(),
    indent=st.sampled_from(["", "  ", "\t"]),
)
def test_whatever_the_layout_an_edit_and_its_undoing_keep_every_comment(
    config: Path, names: list[str], comments: list[str], lines: bool, indent: str
) -> None:
    if lines:
        items = "".join(f'{indent}"{name}",{comment}\n' for name, comment in zip(names, comments, strict=False))
        array = f"[{comments[4]}\n{items}]"
    else:
        array = "[" + ", ".join(f'"{name}"' for name in names) + "]"
    text = f'[gate]{comments[5]}\nrules = {array}\n\n# next\n[tiers]\nx = "{"a" * len(names)}"\n'
    write(config, text)
    enable(config, RULE, "position_cap")
    assert tomllib.loads(read(config))["gate"]["rules"] == [*names, "position_cap"]
    disable(config, RULE, "position_cap")
    assert tomllib.loads(read(config)) == tomllib.loads(text)
    assert [line for line in text.splitlines() if "#" in line] == [
        line for line in read(config).splitlines() if "#" in line
    ]
