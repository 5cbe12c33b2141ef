"""Our own brokers before their venues, the example beside the guide, and brokers that are bad in one way."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from attrs import evolve

import ordergate_paper
from ordergate.testing.bench import Bench
from ordergate.testing.rehearsal import Rehearsal

EXAMPLE = Path(__file__).parents[2] / "docs/examples/ordergate-tinyvenue/ordergate_tinyvenue.py"

PAPER = """
from decimal import Decimal
from pathlib import Path
from typing import Any
import threading

from attrs import evolve, frozen

import ordergate_paper as venue
from ordergate import Absence, BrokerError, Figure, Holding, IdPromise, OrderStatus, Receipt, Side, hookimpl

globals().update({name: one for name, one in vars(venue).items() if hasattr(one, "ordergate_impl")})

def profile(settings, **changes):
    return evolve(venue.broker_profile(settings), **{"rests_on": "one file, our own", **changes})

@hookimpl
def broker_profile(settings):
    return profile(settings)
"""
"""The paper broker under another name, for a few lines to spoil."""


def load(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def rehearse(title: str, folder: Path, **options: Any) -> Rehearsal:
    """The rehearsal venue of `paper`, `kraken`, `coinbase`, or of ccxt's `ccxt: kraken` and the like."""
    plugin, _, exchange = title.partition(": ")
    if plugin == "paper":
        return ordergate_paper.rehearse(folder)
    made: Any = import_module(f"ordergate.testing.{exchange or plugin}").rehearsal(folder, **options)
    changes: dict[str, Any] = {}
    if exchange:
        changes["settings"] = {**made.settings, "exchange": exchange}
    venue: Rehearsal = evolve(made, **changes)
    return venue


@pytest.fixture
def rehearsed() -> Callable[..., Rehearsal]:
    return rehearse


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """bench("kraken") is a bench before Kraken's rehearsal venue; options are those of the rehearsal."""
    with ExitStack() as stack:

        def made(title: str, **options: Any) -> Bench:
            venue = stack.enter_context(rehearse(title, tmp_path / "venue", **options))
            one = Bench(name=title.partition(": ")[0], rehearsal=venue, folder=tmp_path)
            stack.callback(one.close)
            return one

        (tmp_path / "venue").mkdir()
        yield made


@pytest.fixture
def tinyvenue(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.delitem(sys.modules, "ordergate_tinyvenue", raising=False)
    return load("ordergate_tinyvenue", EXAMPLE)


@pytest.fixture
def spoilt(tmp_path: Path) -> Callable[[str], ModuleType]:
    """spoilt(source) is the paper broker with these lines at its end."""

    def made(source: str) -> ModuleType:
        lines = dedent(source)
        head = PAPER.partition("@hookimpl")[0] if "def broker_profile" in lines else PAPER
        file = tmp_path / "fakespoilt.py"
        file.write_text(head + lines, encoding="utf-8")
        return load("fakespoilt", file)

    return made
