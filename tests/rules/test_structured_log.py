"""The observer that writes JSON lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from ordergate import (
    Decision,
    FactsSummary,
    Order,
    OrderStatus,
    Receipt,
    Side,
    StateChange,
    Verdict,
    testing,
)
from ordergate_observers import structured_log

ORDER = Order.buy("BTC-USD", spend="3", account="main", client_order_id="one")
REFUSED = Decision(
    status=OrderStatus.REFUSED,
    order=ORDER,
    verdicts=(
        Verdict(
            approved=False,
            code="under_minimum",
            message="Too small.",
            observed=Decimal("3.00"),
            limit=Decimal("1E+1"),
            rule="min_position",
        ),
        Verdict(approved=True, code="approved", message="", rule="dust"),
    ),
    error="HARDENING_ENFORCEMENT",
    message="Too small.",
    smallest_passing=Decimal("20.00"),
    smallest_passing_in="USD",
    facts=FactsSummary(equity=Decimal("335.0000"), cash=Decimal(300), positions=(), tier="INVESTOR", ages={}),
    purchase=testing.purchase("3"),
    at=1795380438.5,
)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_decision_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    structured_log.on_decision(REFUSED, structured_log.Settings())
    out, err = capsys.readouterr()
    assert out == ""
    [line] = lines(err)
    assert line == {
        "event": "decision",
        "level": "warning",
        "at": "2026-11-22T20:47:18.500Z",
        "account": "main",
        "client_order_id": "one",
        "symbol": "BTC-USD",
        "side": "buy",
        "reason": None,
        "status": "refused",
        "error": "HARDENING_ENFORCEMENT",
        "message": "Too small.",
        "is_exit": False,
        "checked_only": False,
        "replayed": False,
        "size": "3",
        "cost": "3",
        "equity": "335",
        "cash": "300",
        "tier": "INVESTOR",
        "smallest_passing": "20",
        "smallest_passing_in": "USD",
        "verdicts": [
            {
                "rule": "min_position",
                "approved": False,
                "code": "under_minimum",
                "message": "Too small.",
                "observed": "3",
                "limit": "10",
            },
            {
                "rule": "dust",
                "approved": True,
                "code": "approved",
                "message": "",
                "observed": None,
                "limit": None,
            },
        ],
        "warnings": [],
    }


def test_lines_are_appended_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = structured_log.Settings(path=tmp_path / "orders.log")
    receipt = Receipt(
        client_order_id="wire",
        symbol="BTC-USD",
        side=Side.BUY,
        status=OrderStatus.FILLED,
        order_id="V-1",
        filled_amount=Decimal("0.00029016"),
        filled_value=Decimal("19.9996"),
        fees=Decimal("0.18"),
    )
    structured_log.on_order(ORDER, receipt, OrderStatus.FILLED, settings)
    structured_log.on_order(ORDER, None, OrderStatus.UNKNOWN, settings)
    structured_log.on_state(
        StateChange(kind="halted", account=None, code="HALTED", message="by hand", by="ann", at=0.0), settings
    )
    filled, unknown, halted = lines((tmp_path / "orders.log").read_text(encoding="ascii"))
    assert (filled["level"], filled["order_id"], filled["filled_amount"]) == ("info", "V-1", "0.00029016")
    assert (unknown["level"], unknown["status"], unknown["filled_amount"]) == ("warning", "unknown", None)
    assert (halted["event"], halted["by"], halted["at"]) == ("state", "ann", "1970-01-01T00:00:00.000Z")
    assert capsys.readouterr() == ("", "")


def test_g09_injection_control_characters_come_out_escaped(tmp_path: Path) -> None:
    path = tmp_path / "orders.log"
    nasty = 'x\x1b[31m\n{"event": "forged"}\r\x7f\x9b\u2028\ud800'
    structured_log.on_state(
        StateChange(kind="alarm", account=None, code="X", message=nasty, details={"seen": nasty}),
        structured_log.Settings(path=path),
    )
    written = path.read_bytes()
    assert written.count(b"\n") == 1
    assert written.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in written[:-1])
    assert json.loads(written)["details"] == {"seen": nasty}


@pytest.fixture
def hostile_structlog() -> Iterator[list[Any]]:
    """A bot that configured structlog so that everything is dropped."""
    heard: list[Any] = []

    def swallow(_logger: Any, _method: str, event: Any) -> Any:
        heard.append(event)
        raise structlog.DropEvent

    structlog.configure(processors=[swallow], cache_logger_on_first_use=True)
    yield heard
    structlog.reset_defaults()


def test_a_bots_own_structlog_configuration_is_neither_used_nor_changed(
    hostile_structlog: list[Any], tmp_path: Path
) -> None:
    before = structlog.get_config()
    path = tmp_path / "orders.log"
    structured_log.on_decision(REFUSED, structured_log.Settings(path=path))
    assert len(lines(path.read_text(encoding="ascii"))) == 1
    assert hostile_structlog == []
    assert structlog.get_config() == before


def test_a_folder_that_is_missing_is_an_error_naming_the_file(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "orders.log"
    with pytest.raises(FileNotFoundError, match="absent"):
        structured_log.on_decision(REFUSED, structured_log.Settings(path=path))


def test_importing_it_does_not_import_structlog() -> None:
    code = "import ordergate_observers.structured_log, sys; sys.exit('structlog' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
