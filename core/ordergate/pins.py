"""Pins: the files of an installed distribution, measured on disk before anything in them is run.

A pin in the config says which distribution, which version and which files a plugin is to come from. It is
checked before the import, so code that was changed or swapped is named and never runs.

What a pin does not cover: the distribution's dependencies, a change made between the check and the import,
and compiled caches of what the plugin imports later, while it is being called.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from attrs import frozen

from ordergate.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from ordergate.plugins import Provider

__all__ = [
    "Pin",
    "check_origin",
    "installed",
    "measure",
    "metadata_name",
    "metadata_path",
    "metadata_version",
    "verify",
]

# What Python can import; compiled files count too where they stand alone, outside __pycache__.
_IMPORTABLE = (".py", ".pyc", ".so", ".pyd")
_KEPT_METADATA = ("METADATA", "entry_points.txt")


@frozen
class Pin:
    """One distribution, one version, one content: what `[pins."rules.NAME"]` holds.

    `sha256` is the hexadecimal digest that `measure` computes; it is no hash of a wheel file.
    """

    distribution: str
    version: str
    sha256: str


def installed(name: str | None = None) -> list[Distribution]:
    """Every distribution on the path, or every one of that name, each metadata folder once.

    Two folders for one name are two answers: the import system would silently take the first.
    """
    import importlib.metadata

    found: dict[str, Distribution] = {}
    for distribution in importlib.metadata.distributions():
        found.setdefault(os.path.realpath(metadata_path(distribution)), distribution)
    return [each for each in found.values() if name is None or _same_name(metadata_name(each), name)]


def metadata_path(distribution: Distribution) -> str:
    """The folder (`….dist-info`) that describes the distribution."""
    # There is no public name for it. A finder of another make may not have it; then its root must do.
    return str(getattr(distribution, "_path", None) or distribution.locate_file(""))


def measure(distribution: str, *, plugin: str | None = None) -> Pin:
    """Measure what is installed under that name now. `plugin` is the name to use in errors.

    Names and contents of all its files count: what its RECORD lists, and whatever else could be imported from
    its packages. Caches, scripts and what installers write about themselves do not, so that the same wheel
    measures the same on every machine.

    Raises PluginError: `plugin_missing`, `plugin_provided_twice`, `pin_editable` or `pin_unreadable`.
    """
    found = installed(distribution)
    plugin = plugin or distribution
    if not found:
        raise PluginError(
            plugin,
            "plugin_missing",
            f"no distribution named {distribution} is installed",
            "Pin a plugin that is installed in this environment.",
        )
    if len(found) > 1:
        places = " and ".join(sorted(metadata_path(each) for each in found))
        raise PluginError(
            plugin,
            "plugin_provided_twice",
            f"{distribution} is installed twice, at {places}",
            "Uninstall one of them.",
        )
    return _measure(found[0], plugin)


def verify(pin: Pin, provider: Provider) -> None:
    """Compare the pin with what would be imported. Imports nothing.

    Raises PluginError: `pin_mismatch` naming what differs, or what `measure` raises.
    """
    if not _same_name(pin.distribution, provider.distribution):
        raise _mismatch(provider, f"the pin names {pin.distribution}, but {provider} provides it")
    measured = measure(provider.distribution, plugin=provider.name)
    if measured.version != pin.version:
        raise _mismatch(provider, f"of {provider}, version {measured.version} is installed, the pin says {pin.version}")
    if measured.sha256 != pin.sha256:
        raise _mismatch(
            provider,
            f"the files of {provider} have the hash {measured.sha256}, the pin says {pin.sha256}: they were changed",
        )
    distribution = _described_by(provider)
    top_level = [name for name in _recorded(distribution) or () if "/" not in name and name.endswith(_IMPORTABLE)]
    for file in sorted(top_level):
        _check_file(provider, distribution, file.partition(".")[0])
    _check_file(provider, distribution, provider.module, must_exist=True)


def check_origin(provider: Provider) -> None:
    """Make sure that importing the plugin's module would run a file of the distribution that provides it.

    A file of the same name earlier on the path would run instead, under this distribution's name. Raises
    PluginError `plugin_shadowed`. Says nothing of editable installs, whose files nobody lists.
    """
    distribution = _described_by(provider)
    if _why_unpinnable(distribution) is None:
        _check_file(provider, distribution, provider.module)


# -------------------------------------------------------------------------------------------------- measuring


def _measure(distribution: Distribution, plugin: str) -> Pin:
    name = metadata_name(distribution)
    reason = _why_unpinnable(distribution)
    if reason is not None:
        raise PluginError(
            plugin,
            "pin_editable",
            f"{name} cannot be pinned: {reason}",
            "Install it without -e and pin that, or take the pin out of the config.",
        )
    root = Path(str(distribution.locate_file("")))
    digest = hashlib.sha256(b"ordergate pin 1\n")
    try:
        for file in sorted(_counted(distribution, root)):
            encoded = file.encode("utf-8", "surrogateescape")
            # Lengths first: no choice of names and contents can read like another choice.
            digest.update(len(encoded).to_bytes(8, "big") + encoded + _content_digest(root / file))
    except OSError as error:
        raise PluginError(
            plugin, "pin_unreadable", f"{error.filename}: {error.strerror}", "Let this user read it."
        ) from error
    return Pin(distribution=name, version=metadata_version(distribution), sha256=digest.hexdigest())


def _content_digest(file: Path) -> bytes:
    try:
        return b"+" + hashlib.sha256(file.read_bytes()).digest()
    except (FileNotFoundError, NotADirectoryError):
        return b"-"  # listed, but gone: that counts as well


def _counted(distribution: Distribution, root: Path) -> set[str]:
    """Names of the files that count, relative to the import root, with forward slashes."""
    listed = {name for name in _recorded(distribution) or () if _counts(name)}
    return listed | {name for name in _unlisted(root, listed) if _counts(name)}


def _counts(name: str) -> bool:
    path = PurePosixPath(name)
    if path.suffix == ".pyc" and path.parent.name == "__pycache__":
        return False
    if path.parts[0].endswith((".dist-info", ".egg-info")):
        return len(path.parts) == 2 and path.name in _KEPT_METADATA
    # Installers write the interpreter's own path into scripts.
    return not (path.parts[0] == ".." and path.parent.name in ("bin", "Scripts"))


def _unlisted(root: Path, listed: set[str]) -> Iterator[str]:
    """Files that Python might import in place of the listed modules, or from their packages."""
    modules = [PurePosixPath(name) for name in listed if name.endswith(_IMPORTABLE) and _inside(name)]
    packages = {path.parent for path in modules if path.name.startswith("__init__.")} - {PurePosixPath(".")}
    for path in modules:
        if path.parent not in packages:
            stem = path.name.partition(".")[0]
            beside = (root / path.parent).glob(f"{glob.escape(stem)}.*")
            yield from (_relative(root, file) for file in beside if file.name.endswith(_IMPORTABLE))
            folder = root / path.parent / stem  # a folder of a module's name wins over the module
            yield from (_relative(root, file) for file in _importable_below(folder))
    for package in packages:
        yield from (_relative(root, file) for file in _importable_below(root / package))


def _inside(name: str) -> bool:
    return not name.startswith(("..", "/"))


def _importable_below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All files below that Python can import, through linked folders too, though never round in a circle."""
    real = os.path.realpath(folder)
    if real in above or not folder.is_dir():
        return
    for inner in folder.iterdir():
        if inner.is_dir():
            yield from _importable_below(inner, above | {real})
        elif inner.name.endswith(_IMPORTABLE):
            yield inner


def _relative(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()


# ---------------------------------------------------------------------------------- what an installation says


def _described_by(provider: Provider) -> Distribution:
    import importlib.metadata

    return importlib.metadata.Distribution.at(provider.location)


def _recorded(distribution: Distribution) -> list[str] | None:
    """The names in its RECORD; None when it has none that can be read.

    Read here because importlib.metadata leaves out the files that are gone.
    """
    try:
        text = distribution.read_text("RECORD")
        return None if text is None else [row[0] for row in csv.reader(text.splitlines()) if row and row[0]]
    except (UnicodeDecodeError, csv.Error):
        return None


def _why_unpinnable(distribution: Distribution) -> str | None:
    """Why its files cannot be measured once for all; None when they can."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return "its direct_url.json cannot be read"
    folder = origin.get("dir_info") if isinstance(origin, dict) else None
    if isinstance(folder, dict) and folder.get("editable"):
        return "it is an editable install, whose files may change at any time"
    recorded = _recorded(distribution)
    if not recorded:
        return "it has no list of its files (RECORD), as editable and very old installs do not"
    if any("/" not in name and name.endswith(".pth") for name in recorded):
        return "it is installed through a .pth file, as editable installs are"
    if not Path(str(distribution.locate_file(""))).is_dir():
        return "it is not installed as files in a folder"
    return None


def metadata_name(distribution: Distribution) -> str:
    """The distribution's name as its metadata gives it; where that is damaged, as its folder does."""
    return _header(distribution, "Name") or _folder_name(distribution).partition("-")[0] or "unnamed"


def metadata_version(distribution: Distribution) -> str:
    """The distribution's version, found like its name."""
    return _header(distribution, "Version") or _folder_name(distribution).partition("-")[2] or "unknown"


def _folder_name(distribution: Distribution) -> str:
    return Path(metadata_path(distribution)).stem


def _header(distribution: Distribution, field: str) -> str | None:
    # Not distribution.metadata: it parses a whole mail message, and when damaged differs between Python
    # versions.
    try:
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    except UnicodeDecodeError:
        return None
    for line in text.splitlines():
        if not line.strip():
            break
        label, _, value = line.partition(":")
        if label.strip().lower() == field.lower():
            return value.strip() or None
    return None


def _same_name(one: str, other: str) -> bool:
    """Names are the same when they differ only in case and in runs of `-`, `_` and `.`."""
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()


# ------------------------------------------------------------------------------------------ what would be run


def _check_file(provider: Provider, distribution: Distribution, module: str, *, must_exist: bool = False) -> None:
    origin = _origin(module)
    if origin is None and not must_exist:
        return  # importing it will say so
    if origin is None or not _lists(distribution, origin):
        raise PluginError(
            provider.name,
            "plugin_shadowed",
            f"importing {module} would run {origin or 'no file on the path'}, which is not of {provider}",
            "Remove or rename what is in the way, or uninstall the distribution that brings it.",
        )


def _lists(distribution: Distribution, file: str) -> bool:
    named_so = [name for name in _recorded(distribution) or () if Path(name).name == Path(file).name]
    places = [os.path.realpath(str(distribution.locate_file(name))) for name in named_so]
    return os.path.realpath(file) in places


def _origin(module: str) -> str | None:
    """The file that importing the module would run, found without running it; None when there is none."""
    from importlib.machinery import PathFinder

    where: list[str] | None = None
    origin = None
    for part in module.split("."):
        # By its last name alone: a full name would make the finder ask for the imported parent.
        spec = PathFinder.find_spec(part, where)
        if spec is None:
            return None
        origin, where = spec.origin, list(spec.submodule_search_locations or ())
    return origin


def _mismatch(provider: Provider, what: str) -> PluginError:
    return PluginError(
        provider.name,
        "pin_mismatch",
        what,
        "Install what was pinned; or, if the change is wanted and has been read, run "
        f"`ordergate plugins pin {provider.name}`.",
    )
