"""`plugins` through the program: what is shown, and edits of the config."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import Any

import pytest

from ordergate.errors import PluginError
from ordergate.pins import Pin


def listed(program: Any) -> dict[str, Any]:
    return {one["name"]: one for one in program.json("plugins").data["plugins"]}


def test_the_list_shows_what_is_active_with_hooks_settings_and_origin(program: Any) -> None:
    program.rewrite("[accounts.main]", '[rules.dust]\nexit_buffer = "0.20"\n\n[accounts.main]')
    ran = program.json("plugins")
    assert ran.code == 0
    dust = listed(program)["dust"]
    assert (dust["kind"], dust["state"], dust["distribution"], dust["pinned"]) == ("rule", "active", "ordergate", False)
    assert dust["hooks"] == ["rule_settings", "validate_order"]
    assert dust["settings"] == [{"key": "rules.dust.exit_buffer", "value": "0.2", "origin": "file"}]
    paper = {one["key"]: one for one in listed(program)["paper"]["settings"]}
    assert paper["accounts.main.paper.cash"] == {"key": "accounts.main.paper.cash", "value": "300", "origin": "file"}
    assert paper["accounts.main.paper.spread"]["origin"] == "default"
    assert "rules.dust.exit_buffer" in program("plugins").out


def test_what_is_not_active_is_shown_by_its_metadata_alone(program: Any) -> None:
    observer = listed(program)["structured_log"]
    assert (observer["state"], observer["hooks"], observer["settings"]) == ("inactive", [], [])
    code = (
        "import sys; from ordergate.cli import commands\n"
        "try:\n commands(['plugins', '--json'])\n"
        "finally:\n assert 'ordergate_observers.structured_log' not in sys.modules"
    )
    (program.folder / "probe.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "probe.py"], cwd=program.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_plugin_that_cannot_be_admitted_is_shown_with_what_is_wrong(program: Any) -> None:
    program.rewrite('"dust", ', '"dusty", ')
    ran = program.json("plugins")
    assert ran.code == 1
    dusty = listed(program)["dusty"]
    assert (dusty["state"], dusty["active"], dusty["distribution"]) == ("refused", True, None)
    assert "plugin_missing" in dusty["wrong"][0]
    assert "not installed" in program("plugins").out


def test_settings_that_cannot_be_used_are_shown(program: Any) -> None:
    program.rewrite("[accounts.main]", '[rules.dust]\nexit_buffer = "7"\n\n[accounts.main]')
    dust = listed(program)["dust"]
    assert dust["state"] == "refused"
    assert "rules.dust.exit_buffer" in dust["wrong"][0]


def test_check_imports_one_and_says_so(program: Any) -> None:
    ran = program.json("plugins", "check", "structured_log")
    assert (ran.code, ran.data["admitted"], ran.data["kind"]) == (0, True, "observer")
    assert ran.data["hooks"]["on_state"] == ["change", "settings"]
    assert "can be admitted" in program("plugins", "check", "dust", "--kind", "rule").out
    assert program.json("plugins", "check", "dsut").data["fix"] == "did you mean dust?"
    assert program.json("plugins", "check", "dust", "--kind", "ruler").data["field"] == "kind"
    ran = program.json("plugins", "check", "dust", "--kind", "observer")
    assert (ran.code, ran.data["error"], ran.data["plugin"]) == (1, "plugin_missing", "dust")


def test_check_needs_no_config(program: Any) -> None:
    program.config.unlink()
    assert program.json("plugins", "check", "dust").code == 0


def test_checking_a_broker_proves_its_level_and_sends_nothing_to_the_accounts_own_venue(program: Any) -> None:
    ran = program.json("plugins", "check", "paper")
    assert (ran.code, ran.data["admitted"], ran.data["level"]) == (0, True, "A")
    checks = {one["name"]: one for one in ran.data["checks"]}
    assert list(checks)[:3] == ["admission", "rehearsal", "profile"]
    assert checks["units"] == {
        "name": "units",
        "outcome": "passed",
        "why": None,
        "proves": "Base is base and quote is quote: what the venue has is what was asked, to the last digit.",
    }
    assert (checks["late"]["outcome"], bool(checks["late"]["why"])) == ("not tried", True)
    assert not program.venue.exists()
    assert [file.name for file in program.folder.iterdir()] == ["ordergate.toml"]


BROKER = """
    import ordergate_paper as venue
    from attrs import evolve
    from ordergate import hookimpl

    globals().update({name: one for name, one in vars(venue).items() if hasattr(one, "ordergate_impl")})
"""


def test_checking_a_broker_that_fails_says_where_and_exits_with_1(program: Any, install: Any) -> None:
    spoilt = """
    @hookimpl
    def rehearse(folder):
        return evolve(venue.rehearse(folder), settings={"state": str(folder / "paper.db"), "stake": "1000"})
    """
    install(group="ordergate.brokers", entries={"fakery": "fakery"}, modules={"fakery.py": BROKER + spoilt})

    ran = program("plugins", "check", "fakery")
    assert ran.code == 1
    assert "can be admitted" in ran.out
    assert "Level none: a check failed: do not trade through this broker." in ran.out
    assert "accounts.main.fakery.stake" in ran.out


def test_checking_a_broker_without_a_rehearsal_says_that_no_level_is_proved(program: Any, install: Any) -> None:
    modules = {"fakery.py": BROKER + "    del rehearse\n"}
    install(group="ordergate.brokers", entries={"fakery": "fakery"}, modules=modules)

    ran = program("plugins", "check", "fakery")
    assert ran.code == 0
    assert "Level not proved" in ran.out
    assert ran.out.count("it has no hook rehearse, and no rehearsal venue was given") > 40


def test_a_broker_that_cannot_be_admitted_is_not_tried(program: Any, install: Any) -> None:
    modules = {"fakery.py": BROKER + "    del place_order\n"}
    install(group="ordergate.brokers", entries={"fakery": "fakery"}, modules=modules)

    ran = program.json("plugins", "check", "fakery")
    assert (ran.code, ran.data["error"]) == (1, "plugin_malformed")


def test_enable_and_disable_keep_comments_and_layout(program: Any) -> None:
    program.rewrite("[gate]", "# mine\n[gate]  # and this")
    before = program.config.read_text(encoding="utf-8")
    ran = program.json("plugins", "enable", "structured_log")
    assert (ran.code, ran.data["changed"]) == (0, True)
    text = program.config.read_text(encoding="utf-8")
    assert text.startswith("# mine\n[gate]  # and this\n")
    assert tomllib.loads(text)["gate"]["observers"] == ["structured_log"]
    assert program.json("plugins", "enable", "structured_log").data["changed"] is False
    assert listed(program)["structured_log"]["state"] == "active"
    assert program.json("plugins", "disable", "structured_log").data["changed"] is True
    assert tomllib.loads(program.config.read_text(encoding="utf-8"))["gate"] == tomllib.loads(before)["gate"] | {
        "observers": []
    }


def test_disabling_needs_no_installed_plugin(program: Any) -> None:
    program.rewrite('"dust", ', '"gone", ')
    assert program.json("plugins", "disable", "gone").data["changed"] is True
    assert "gone" not in program.config.read_text(encoding="utf-8")


def test_disabling_the_last_rule_says_what_that_means(program: Any) -> None:
    program.rewrite('"position_cap", "min_allocation", "min_position", "dust", "average_position"', '"dust"')
    assert "approves no buy" in program.json("plugins", "disable", "dust").data["warning"]
    assert program.json("check", "BTC-USD", "--spend", "25").code == 2


@pytest.mark.parametrize(("words", "code"), [(("enable", "paper"), 2), (("disable", "paper"), 2), (("pin", "nope"), 2)])
def test_what_cannot_be_edited(program: Any, words: tuple[str, ...], code: int) -> None:
    before = program.config.read_bytes()
    assert program.json("plugins", *words).code == code
    assert program.config.read_bytes() == before


def test_pins_are_written_or_declined(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Pin(distribution="ordergate", version="0.1.0", sha256="a" * 64)
    monkeypatch.setattr("ordergate.pins.measure", lambda distribution, *, plugin=None: measured)
    ran = program.json("plugins", "pin", "dust")
    assert (ran.code, ran.data["changed"]) == (0, True)
    assert tomllib.loads(program.config.read_text(encoding="utf-8"))["pins"]["rules.dust"]["sha256"] == "a" * 64
    monkeypatch.undo()
    ran = program.json("plugins")  # what is installed is not what was pinned
    assert ran.code == 1
    assert listed(program)["dust"]["state"] == "refused"
    assert listed(program)["dust"]["pinned"] is True


def test_an_editable_install_is_not_pinned(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(distribution: str, *, plugin: str | None = None) -> None:
        raise PluginError(str(plugin), "pin_editable", f"{distribution} cannot be pinned", "Install it without -e.")

    monkeypatch.setattr("ordergate.pins.measure", measure)
    before = program.config.read_bytes()
    ran = program.json("plugins", "pin", "dust")
    assert (ran.code, ran.data["error"], ran.data["fix"]) == (1, "pin_editable", "Install it without -e.")
    assert program.config.read_bytes() == before


def test_the_schema_knows_the_active_plugins(program: Any) -> None:
    schema = program.json("schema").data
    assert "exit_buffer" in schema["properties"]["rules"]["properties"]["dust"]["properties"]
    assert schema["properties"]["observers"]["properties"] == {}
    assert "paper" in schema["properties"]["accounts"]["additionalProperties"]["properties"]
