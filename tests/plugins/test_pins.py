"""Pins: measured on disk, checked before the import, and the same for the same files everywhere."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from ordergate.errors import PluginError
from ordergate.hookspecs import RULE
from ordergate.pins import Pin, measure
from ordergate.plugins import admit

Install = Callable[..., Path]

SOURCE = """
from ordergate import Verdict, hookimpl

@hookimpl
def validate_order():
    return Verdict.approve()
"""
PACKAGE = {
    "fake_package/__init__.py": "",
    "fake_package/rule.py": SOURCE,
    "fake_package/deep/__init__.py": "",
    "fake_package/figures.json": "{}",
}


def package(install: Install, **changes: object) -> Path:
    return install(**{"entries": {"fake": "fake_package.rule"}, "modules": PACKAGE, "record": True, **changes})


def refused(pin: Pin) -> PluginError:
    with pytest.raises(PluginError) as caught:
        admit(RULE, "fake", pin=pin)
    assert not [name for name in sys.modules if name.startswith("fake")], "nothing was imported"
    return caught.value


def test_a_pin_that_holds(install: Install) -> None:
    package(install)
    pin = measure("ordergate-fake")
    assert (pin.distribution, pin.version, len(pin.sha256)) == ("ordergate-fake", "1.0", 64)
    assert admit(RULE, "fake", pin=pin).pinned


def test_names_of_distributions_are_compared_as_installers_do(install: Install) -> None:
    package(install)
    assert measure("Ordergate_Fake") == measure("ordergate.fake") == measure("ordergate-fake")
    assert admit(RULE, "fake", pin=evolve(measure("ordergate-fake"), distribution="Ordergate.Fake")).pinned


def test_the_measure_is_the_same_wherever_and_however_the_files_lie(install: Install) -> None:
    package(install, site="one")
    first = measure("ordergate-fake")
    sys.path.pop(0)
    folder = package(install, site="two", modules=dict(reversed(PACKAGE.items())))
    record = folder / "ordergate_fake-1.0.dist-info" / "RECORD"
    record.write_text("".join(reversed(record.read_text().splitlines(keepends=True))))
    (folder / "ordergate_fake-1.0.dist-info" / "INSTALLER").write_text("another installer\n")
    assert measure("ordergate-fake") == first


def test_b09_pin_mismatch_version(install: Install) -> None:
    package(install)
    error = refused(evolve(measure("ordergate-fake"), version="0.9"))
    assert error.code == "pin_mismatch"
    assert "version 1.0 is installed, the pin says 0.9" in error.what
    assert "ordergate plugins pin fake" in error.fix


def test_b09_pin_mismatch_distribution(install: Install) -> None:
    package(install)
    error = refused(evolve(measure("ordergate-fake"), distribution="ordergate-original"))
    assert error.code == "pin_mismatch"
    assert "ordergate-original" in error.what
    assert "ordergate-fake 1.0 at" in error.what


def _edit(folder: Path) -> None:
    (folder / "fake_package/rule.py").write_text(SOURCE + "\n")


def _edit_data(folder: Path) -> None:
    (folder / "fake_package/figures.json").write_text("[]")


def _remove(folder: Path) -> None:
    (folder / "fake_package/figures.json").unlink()


def _rename(folder: Path) -> None:
    (folder / "fake_package/figures.json").rename(folder / "fake_package/numbers.json")


def _add_module(folder: Path) -> None:
    (folder / "fake_package/extra.py").write_text("")


def _add_compiled(folder: Path) -> None:
    (folder / "fake_package/deep/rule.so").write_bytes(b"\x7fELF")


def _add_lone_bytecode(folder: Path) -> None:
    (folder / "fake_package/rule2.pyc").write_bytes(b"")


def _add_linked_folder(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "module.py").write_text("")
    (folder / "fake_package/linked").symlink_to(elsewhere)


def _swap_contents(folder: Path) -> None:
    (folder / "fake_package/rule.py").rename(folder / "x")
    (folder / "fake_package/__init__.py").rename(folder / "fake_package/rule.py")
    (folder / "x").rename(folder / "fake_package/__init__.py")


def _repoint(folder: Path) -> None:
    info = folder / "ordergate_fake-1.0.dist-info"
    (info / "entry_points.txt").write_text("[ordergate.rules]\nfake = fake_package.deep\n")


def _forget_in_record(folder: Path) -> None:
    record = folder / "ordergate_fake-1.0.dist-info" / "RECORD"
    record.write_text("".join(line for line in record.read_text().splitlines(keepends=True) if "figures" not in line))


@pytest.mark.parametrize(
    "change",
    [
        _edit,
        _edit_data,
        _remove,
        _rename,
        _add_module,
        _add_compiled,
        _add_lone_bytecode,
        _add_linked_folder,
        _swap_contents,
        _repoint,
        _forget_in_record,
    ],
)
def test_b09_pin_mismatch_files(install: Install, change: Callable[[Path], None]) -> None:
    folder = package(install)
    pin = measure("ordergate-fake")
    change(folder)
    error = refused(pin)
    assert error.code == "pin_mismatch"
    assert pin.sha256 in error.what
    assert measure("ordergate-fake").sha256 in error.what


@pytest.mark.parametrize("beside", ["fake_rule.abi3.so", "fake_rule/__init__.py", "fake_rule.pyc"])
def test_b09_pin_mismatch_file_beside_a_single_module(install: Install, beside: str) -> None:
    folder = install(entries={"fake": "fake_rule"}, modules={"fake_rule.py": SOURCE}, record=True)
    pin = measure("ordergate-fake")
    (folder / beside).parent.mkdir(exist_ok=True)
    (folder / beside).write_bytes(b"")
    assert refused(pin).code == "pin_mismatch"


def test_b09_pin_and_a_module_in_front_of_it(install: Install, tmp_path: Path) -> None:
    package(install)
    pin = measure("ordergate-fake")
    shutil.copytree(tmp_path / "site-ordergate-fake-1.0" / "fake_package", tmp_path / "front" / "fake_package")
    sys.path.insert(0, str(tmp_path / "front"))
    assert refused(pin).code == "plugin_shadowed"


def test_b09_pin_and_a_helper_module_in_front_of_it(install: Install, tmp_path: Path) -> None:
    """Not the plugin's own module, but one that it imports from its own distribution."""
    modules = {"fake_rule.py": "import fake_figures\n" + SOURCE, "fake_figures.py": ""}
    install(entries={"fake": "fake_rule"}, modules=modules, record=True)
    pin = measure("ordergate-fake")
    (tmp_path / "front").mkdir()
    (tmp_path / "front" / "fake_figures.py").write_text("")
    sys.path.insert(0, str(tmp_path / "front"))
    assert refused(pin).code == "plugin_shadowed"


def test_b09_pin_and_a_forged_cache(install: Install, tmp_path: Path) -> None:
    """Bytecode that claims to belong to the untouched source: only what was measured may run."""
    folder = install(entries={"fake": "fake_rule"}, modules={"fake_rule.py": SOURCE}, record=True)
    pin = measure("ordergate-fake")
    evil = tmp_path / "evil.py"
    evil.write_text("raise SystemExit('ran')".ljust(len(SOURCE)))
    honest = (folder / "fake_rule.py").stat()
    os.utime(evil, (honest.st_atime, honest.st_mtime))
    cache = folder / "__pycache__" / f"fake_rule.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(evil), cfile=str(cache), doraise=True)
    with pytest.raises(PluginError, match="SystemExit: ran"):
        admit(RULE, "fake")
    assert admit(RULE, "fake", pin=pin).pinned


def test_caches_and_scripts_do_not_count(install: Install) -> None:
    folder = package(install)
    before = measure("ordergate-fake")
    py_compile.compile(str(folder / "fake_package/rule.py"), doraise=True)
    record = folder / "ordergate_fake-1.0.dist-info" / "RECORD"
    record.write_text(
        record.read_text()
        + "../../../bin/fake,,\nfake_package/__pycache__/rule.cpython-311.pyc,,\n"
        + "ordergate_fake-1.0.dist-info/REQUESTED,,\n"
    )
    assert measure("ordergate-fake") == before


def test_other_distributions_in_a_shared_namespace_do_not_count(install: Install) -> None:
    folder = install(entries={"fake": "fake_space.rule"}, modules={"fake_space/rule.py": SOURCE}, record=True)
    pin = measure("ordergate-fake")
    (folder / "fake_space" / "of_others.py").write_text("")
    assert admit(RULE, "fake", pin=pin).pinned


def test_nested_namespace_packages(install: Install) -> None:
    install(entries={"fake": "fake_a.b.rule"}, modules={"fake_a/b/rule.py": SOURCE}, record=True)
    assert admit(RULE, "fake", pin=measure("ordergate-fake")).pinned


def test_a_circle_of_links_ends(install: Install) -> None:
    folder = package(install)
    (folder / "fake_package/deep/up").symlink_to(folder / "fake_package")
    assert admit(RULE, "fake", pin=measure("ordergate-fake")).pinned


EDITABLE = json.dumps({"url": "file:///somewhere", "dir_info": {"editable": True}})


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"direct_url": EDITABLE}, "editable"),
        ({"record": False}, "RECORD"),
        ({"modules": {**PACKAGE, "__editable__.fake.pth": "/somewhere\n"}}, ".pth"),
        ({"direct_url": "{"}, "direct_url.json"),
    ],
)
def test_b09_pin_of_an_editable_install(install: Install, changes: dict[str, object], shown: str) -> None:
    package(install, **changes)
    with pytest.raises(PluginError) as caught:
        measure("ordergate-fake")
    assert caught.value.code == "pin_editable"
    assert shown in caught.value.what
    error = refused(Pin("ordergate-fake", "1.0", "0" * 64))
    assert (error.code, error.name) == ("pin_editable", "fake")
    assert not admit(RULE, "fake").pinned


@pytest.mark.parametrize("direct_url", ["{}", "[]", '{"dir_info": {}}', '{"archive_info": {}, "url": "file:///x.whl"}'])
def test_installed_from_a_file_can_be_pinned(install: Install, direct_url: str) -> None:
    package(install, direct_url=direct_url)
    assert admit(RULE, "fake", pin=measure("ordergate-fake")).pinned


def test_pin_of_what_is_not_installed() -> None:
    with pytest.raises(PluginError) as caught:
        measure("ordergate-fake")
    assert caught.value.code == "plugin_missing"


def test_pin_of_what_is_installed_twice(install: Install) -> None:
    package(install, site="one")
    package(install, site="two", entries={})
    with pytest.raises(PluginError) as caught:
        measure("ordergate-fake")
    assert caught.value.code == "plugin_provided_twice"
    assert "one/" in caught.value.what
    assert "two/" in caught.value.what


def test_a_file_that_cannot_be_read(install: Install) -> None:
    folder = package(install)
    pin = measure("ordergate-fake")
    (folder / "fake_package/rule.py").unlink()
    (folder / "fake_package/rule.py").mkdir()
    error = refused(pin)
    assert error.code == "pin_unreadable"
    assert "rule.py" in error.what


def test_a_record_that_names_files_outside(install: Install, tmp_path: Path) -> None:
    folder = package(install)
    (tmp_path / "share.py").write_text("")
    record = folder / "ordergate_fake-1.0.dist-info" / "RECORD"
    record.write_text(f"{record.read_text()}../share.py,,\n{tmp_path / 'share.py'},,\n")
    pin = measure("ordergate-fake")
    assert admit(RULE, "fake", pin=pin).pinned
    (tmp_path / "share.py").write_text("1")
    assert measure("ordergate-fake") != pin
