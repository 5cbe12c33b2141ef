"""On what was measured: the machine, the versions, the file system. Figures without these say nothing."""

from __future__ import annotations

import gc
import os
import platform
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from ordergate.bench.case import NotHere
from ordergate.bench.server import server_version

__all__ = ["folders", "surroundings"]

_LIBRARIES = ("ordergate", "attrs", "cattrs", "pluggy", "psycopg", "nautilus_trader", "vnpy_riskmanager")
_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has a file system in memory; the folder made in it is our own


def surroundings(disk: Path, memory: Path) -> Mapping[str, str]:
    """What the table says of the machine, by name."""
    told = {
        "machine": f"{os.cpu_count()} CPUs, {_processor()}",
        "load": f"{os.getloadavg()[0]:.1f} other processes wanted a CPU in the minute before",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, garbage collection "
        f"{'on' if gc.isenabled() else 'off'}, switch interval {sys.getswitchinterval() * 1000:g} ms",
        "sqlite": f"{sqlite3.sqlite_version}, write-ahead log, synchronous FULL unless a row says otherwise",
        "disk": _file_system(disk),
        "memory": _file_system(memory),
    }
    with suppress(NotHere):
        told["postgresql"] = f"{server_version()}, fsync and synchronous_commit on, over 127.0.0.1"
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            told[name] = version(name)
    return told


@contextmanager
def folders(beside: Path | None) -> Iterator[tuple[Path, Path]]:
    """Two folders that are gone afterwards: one on the disk to be measured, one in memory if the machine has that."""
    disk = Path(mkdtemp(prefix="ordergate-bench-", dir=beside))
    memory = Path(mkdtemp(prefix="ordergate-bench-", dir=_MEMORY if _MEMORY.is_dir() else beside))
    try:
        yield disk, memory
    finally:
        rmtree(disk, ignore_errors=True)
        rmtree(memory, ignore_errors=True)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """The kind of the file system that holds the folder, as Linux tells it."""
    found = ("", "unknown")
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            _, where, kind, *_ = line.split()
            if folder.is_relative_to(where) and len(where) >= len(found[0]):
                found = (where, kind)
    return found[1]
