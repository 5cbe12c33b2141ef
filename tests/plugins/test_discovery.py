"""Discovery sees everything installed, by metadata alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ordergate.errors import PluginError
from ordergate.hookspecs import BROKER, OBSERVER, RULE
from ordergate.plugins import admit, discover

Install = Callable[..., Path]

RULE_SOURCE = """
    from ordergate import Verdict, hookimpl

    @hookimpl
    def validate_order():
        return Verdict.approve()
"""


def test_own_plugins_come_in_by_the_same_door() -> None:
    found = {(each.kind.name, each.name): each for each in discover()}
    for name in ("position_cap", "min_allocation", "min_position", "dust", "average_position"):
        assert found["rule", name].module == f"ordergate_rules.{name}"
    assert found["broker", "paper"].distribution == "ordergate"
    assert found["observer", "structured_log"].kind is OBSERVER


def test_only_the_kinds_asked_for(install: Install) -> None:
    install(entries={"fake": "fake_rule"})
    assert {each.kind for each in discover((BROKER,))} == {BROKER}


def test_metadata_is_shown(install: Install) -> None:
    folder = install("ordergate-fake", version="2.5", entries={"fake": "fake_rule"})
    (found,) = [each for each in discover((RULE,)) if each.name == "fake"]
    assert (found.distribution, found.version, found.module) == ("ordergate-fake", "2.5", "fake_rule")
    assert found.location == str(folder / "ordergate_fake-2.5.dist-info")


@pytest.mark.parametrize("order", ["first", "last"])
def test_b07_shadowing_two_distributions_one_name(install: Install, order: str) -> None:
    install("ordergate-honest", entries={"fake": "fake_honest"}, modules={"fake_honest.py": RULE_SOURCE})
    install("ordergate-other", entries={"fake": "fake_other"}, modules={"fake_other.py": RULE_SOURCE})
    if order == "last":
        sys.path[0], sys.path[1] = sys.path[1], sys.path[0]
    with pytest.raises(PluginError) as caught:
        admit(RULE, "fake")
    assert caught.value.code == "plugin_provided_twice"
    assert "ordergate-honest 1.0 at" in caught.value.what
    assert "ordergate-other 1.0 at" in caught.value.what
    assert not {"fake_honest", "fake_other"} & sys.modules.keys()


@pytest.mark.parametrize("order", ["first", "last"])
def test_b07_shadowing_one_distribution_in_two_places(install: Install, order: str) -> None:
    """Here the standard look-up shows only the first, and which that is depends on the path."""
    places = [
        install("ordergate-fake", entries={"fake": "fake_rule"}, modules={"fake_rule.py": RULE_SOURCE}, site=site)
        for site in ("one", "two")
    ]
    if order == "last":
        sys.path[0], sys.path[1] = sys.path[1], sys.path[0]
    with pytest.raises(PluginError) as caught:
        admit(RULE, "fake")
    assert caught.value.code == "plugin_provided_twice"
    assert all(str(place) in caught.value.what for place in places)
    assert "fake_rule" not in sys.modules


def test_b07_shadowing_leftover_of_an_upgrade(install: Install) -> None:
    for version in ("1.0", "2.0"):
        install("ordergate-fake", version=version, entries={"fake": "fake_rule"}, site="one")
    with pytest.raises(PluginError, match=r"1\.0 at .*2\.0 at") as caught:
        admit(RULE, "fake")
    assert caught.value.code == "plugin_provided_twice"


def test_b07_shadowing_twice_in_one_distribution(install: Install) -> None:
    folder = install(entries={"fake": "fake_rule"}, modules={"fake_rule.py": RULE_SOURCE})
    with (folder / "ordergate_fake-1.0.dist-info" / "entry_points.txt").open("a") as file:
        file.write("fake = fake_other\n")
    with pytest.raises(PluginError) as caught:
        admit(RULE, "fake")
    assert caught.value.code == "plugin_provided_twice"


def test_b07_shadowing_a_file_in_front_of_the_module(install: Install, tmp_path: Path) -> None:
    install(entries={"fake": "fake_rule"}, modules={"fake_rule.py": RULE_SOURCE}, record=True)
    front = tmp_path / "front"
    front.mkdir()
    (front / "fake_rule.py").write_text("raise SystemExit('ran')")
    sys.path.insert(0, str(front))
    with pytest.raises(PluginError) as caught:
        admit(RULE, "fake")
    assert caught.value.code == "plugin_shadowed"
    assert str(front / "fake_rule.py") in caught.value.what
    assert "fake_rule" not in sys.modules


def test_b07_shadowing_names_a_module_of_another_distribution(install: Install) -> None:
    install("ordergate-honest", entries={"other": "fake_honest"}, modules={"fake_honest.py": RULE_SOURCE}, record=True)
    install("ordergate-borrower", entries={"fake": "fake_honest"}, record=True)
    with pytest.raises(PluginError) as caught:
        admit(RULE, "fake")
    assert caught.value.code == "plugin_shadowed"


def test_one_folder_listed_twice_is_one(install: Install, tmp_path: Path) -> None:
    folder = install(entries={"fake": "fake_rule"}, modules={"fake_rule.py": RULE_SOURCE})
    (tmp_path / "link").symlink_to(folder)
    sys.path[:0] = [str(folder), str(tmp_path / "link")]
    assert len([each for each in discover((RULE,)) if each.name == "fake"]) == 1
    assert admit(RULE, "fake").distribution == "ordergate-fake"


def test_one_name_for_two_kinds_is_two_plugins(install: Install) -> None:
    install("ordergate-one", entries={"fake": "fake_rule"}, modules={"fake_rule.py": RULE_SOURCE})
    install("ordergate-two", entries={"fake": "fake_broker"}, group="ordergate.brokers")
    assert admit(RULE, "fake").distribution == "ordergate-one"


def test_b08_not_allow_listed_is_never_imported(install: Install) -> None:
    install("ordergate-extra", entries={"extra": "fake_extra"}, modules={"fake_extra.py": "raise SystemExit"})
    install("ordergate-fake", entries={"fake": "fake_rule"}, modules={"fake_rule.py": RULE_SOURCE})
    assert {"fake", "extra"} <= {each.name for each in discover()}
    admit(RULE, "fake")
    assert "fake_rule" in sys.modules
    assert "fake_extra" not in sys.modules


@pytest.mark.parametrize("content", [b"no equals sign\n", b"[ordergate.rules]\nfake\n", b"\xff\xfe", b"[", b""])
def test_damaged_metadata_of_others_hides_nothing(install: Install, content: bytes) -> None:
    install(entries={"fake": "fake_rule"}, modules={"fake_rule.py": RULE_SOURCE})
    broken = install("ordergate-broken", entries={"broken": "fake_broken"})
    (broken / "ordergate_broken-1.0.dist-info" / "entry_points.txt").write_bytes(content)
    assert admit(RULE, "fake").name == "fake"


@pytest.mark.parametrize("metadata", [None, b"", b"Name:\n", b"\xff\xfe\x00"])
def test_damaged_metadata_falls_back_on_the_folder(install: Install, metadata: bytes | None) -> None:
    folder = install("ordergate-fake", version="3.1", entries={"fake": "fake_rule"})
    file = folder / "ordergate_fake-3.1.dist-info" / "METADATA"
    file.unlink() if metadata is None else file.write_bytes(metadata)
    (found,) = [each for each in discover((RULE,)) if each.name == "fake"]
    assert (found.distribution, found.version) == ("ordergate_fake", "3.1")


def test_discovery_brings_no_config_reader_database_or_terminal_library() -> None:
    code = (
        "import sys, ordergate.plugins; ordergate.plugins.discover();"
        "print(*sorted({'cattrs', 'click', 'rich', 'sqlite3', 'tomlkit', 'structlog', 'asyncio'} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
