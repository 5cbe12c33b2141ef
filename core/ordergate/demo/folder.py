"""The demo's own folder: recognised by what the demo wrote, made anew each time, and never anybody else's."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

from ordergate.errors import InputError
from ordergate.records import digest

__all__ = ["CONFIG_NAME", "own_folder"]

CONFIG_NAME: Final = "ordergate.toml"
_MARKER: Final = ".ordergate-demo"
_FIRST_LINE: Final = "This folder is made by `ordergate demo`, and made anew when it runs again."
_ACCOUNTS: Final = "starter|saver|investor|income|livable"
_OURS: Final = re.compile(
    rf"ordergate\.toml|ordergate\.halt|(?:ordergate|paper-(?:{_ACCOUNTS}))\.db(?:-wal|-shm)?"
    rf"|\.paper-(?:{_ACCOUNTS})\.db\.[0-9a-f]{{32}}(?:-wal|-shm|-journal)?",
    re.ASCII,
)
_KEPT: Final = re.compile(r"ordergate\.toml\.kept-[0-9]+", re.ASCII)
_FALLBACK: Final = "ordergate-fallback"
_IN_FALLBACK: Final = re.compile(r"fallback\.jsonl|\.lock|imported-[0-9]+\.jsonl", re.ASCII)


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Make the folder, or empty the demo's own one, write the config into it, and hold it until the demo is done.

    Raises InputError, and touches nothing, when it holds anything that the demo did not write, when another demo is
    running in it, and when it cannot be written.
    """
    _refuse_foreign(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _MARKER, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise InputError(
            "folder", str(folder), f"it cannot be written ({error.strerror}); name another folder"
        ) from error
    try:
        _begin_anew(folder, descriptor)
        yield folder
    finally:
        os.close(descriptor)


def _refuse_foreign(folder: Path) -> None:
    fix = "give the demo a folder of its own; it makes one where there is none"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError("folder", str(folder), f"it is no plain folder; {fix}")
    try:
        entries = sorted(folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise InputError("folder", str(folder), f"it cannot be read ({error.strerror}); {fix}") from error
    if not entries:
        return
    foreign = [entry.name for entry in entries if not _is_ours(entry)]
    if foreign:
        shown = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise InputError("folder", str(folder), f"it holds what the demo did not write ({shown}); {fix}")
    if not (folder / _MARKER).exists():
        raise InputError("folder", str(folder), f"the demo did not make it: {_MARKER} is missing; {fix}")


def _is_ours(entry: Path) -> bool:
    if entry.is_symlink():
        return False
    if entry.name == _FALLBACK:
        return entry.is_dir() and all(_IN_FALLBACK.fullmatch(inner.name) for inner in entry.iterdir())
    if entry.name == _MARKER:
        # Empty: the demo was stopped between making it and writing it.
        return entry.is_file() and _marker_text(entry).partition("\n")[0] in ("", _FIRST_LINE)
    return entry.is_file() and bool(_OURS.fullmatch(entry.name) or _KEPT.fullmatch(entry.name))


def _marker_text(marker: Path) -> str:
    return marker.read_bytes()[:1000].decode(errors="replace")


def _begin_anew(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            "folder", str(folder), "another demo is running in it; wait for it or name another folder"
        ) from error
    text = files("ordergate").joinpath("data/demo.toml").read_text(encoding="utf-8")
    _keep_changed_config(folder)
    for entry in list(folder.iterdir()):
        if entry.name == _FALLBACK:
            shutil.rmtree(entry)
        elif _OURS.fullmatch(entry.name):
            entry.unlink()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{_FIRST_LINE}\nconfig {digest(text)}\n".encode(), 0)
    (folder / CONFIG_NAME).write_text(text, encoding="utf-8")


def _keep_changed_config(folder: Path) -> None:
    """A config that is not as the demo wrote it is somebody's work."""
    config = folder / CONFIG_NAME
    if not config.exists():
        return
    written = config.read_bytes().decode(errors="replace")
    if f"config {digest(written)}" in _marker_text(folder / _MARKER).splitlines():
        return
    numbers = [int(entry.name.rpartition("-")[2]) for entry in folder.iterdir() if _KEPT.fullmatch(entry.name)]
    config.rename(folder / f"{CONFIG_NAME}.kept-{max(numbers, default=0) + 1}")
