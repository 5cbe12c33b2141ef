"""Importing ordergate, and asking the command for help, loads nothing that is not needed for that."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    # exchange SDKs
    "ccxt",
    "coinbase",
    "krakenex",
    # web frameworks and clients
    "aiohttp",
    "flask",
    "httpx",
    "litestar",
    "requests",
    "starlette",
    "uvicorn",
    # database drivers
    "psycopg",
    "sqlite3",
    # what draws charts
    "matplotlib",
    "numpy",
    # terminal libraries
    "prompt_toolkit",
    "rich",
    # what only some commands need
    "asyncio",
    "cattrs",
    "structlog",
    "tomlkit",
}
"""The one list of what must not be loaded early."""

LOADED = "; import json, sys; print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
HELP = """
import sys
sys.argv = ["ordergate", "--help"]
from ordergate.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""


def _heavy(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_ordergate_loads_nothing_heavy() -> None:
    assert _heavy("import ordergate" + LOADED) == set()


def test_help_loads_nothing_heavy() -> None:
    assert _heavy(HELP + LOADED.removeprefix("; ")) == set()


def test_the_measure_sees_what_is_loaded() -> None:
    assert _heavy("import sqlite3, rich" + LOADED) >= {"sqlite3", "rich"}
