"""Brokers to be checked: the example beside the guide, and ones that are bad in exactly one way."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

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
