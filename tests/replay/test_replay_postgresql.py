"""The same from a ledger in PostgreSQL, named by its URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ordergate import Executor, Order


def test_a_ledger_in_postgresql_agrees_with_its_record(
    gate: Callable[..., Executor],
    postgres: Any,
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ordergate.toml").write_text(
        '[gate]\nrules = ["position_cap", "min_position"]\n[accounts.main]\nbroker = "paper"\n'
    )
    url = postgres.new_place()
    executor = gate(rules=("position_cap", "min_position"), settings={"ledger": url})
    for name, spend in (("a", "60"), ("b", "3"), ("c", "70")):
        executor.submit(Order.buy("BTC-USD", spend=spend, client_order_id=name))
    rows = list(executor.desk.ledger().entries())
    told = command(url, "--check", "--json")

    assert (told.code, told.data["agrees"], told.data["decisions"]) == (0, True, 3)
    assert list(executor.desk.ledger().entries()) == rows
