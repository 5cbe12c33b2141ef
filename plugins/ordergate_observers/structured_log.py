"""Writes every decision, order outcome and state change as one line of JSON, to stderr or to a file.

Amounts are strings, so no digit is lost; JSON escapes control characters, so no value can forge a line or
colour a terminal. The logger is its own: a bot's structlog configuration does not change these lines, nor
is it changed.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ordergate import Decision, Order, OrderStatus, Receipt, StateChange, Verdict, hookimpl
from ordergate.amounts import plain
from ordergate.clock import SystemClock, iso


@frozen
class Settings:
    """Where the lines go."""

    path: Path | None = field(
        default=None,
        metadata={"help": "File to append to; its folder must exist. Without it: stderr."},
    )


@hookimpl
def observer_settings() -> type[Settings]:
    return Settings


@hookimpl
def on_decision(decision: Decision, settings: Settings) -> None:
    purchase, facts = decision.purchase, decision.facts
    _write(
        settings,
        logging.INFO if decision.error is None else logging.WARNING,
        "decision",
        {
            "at": iso(decision.at),
            **_named(decision.order),
            "status": decision.status.value,
            "error": decision.error,
            "message": decision.message,
            "is_exit": decision.is_exit,
            "checked_only": decision.checked_only,
            "replayed": decision.replayed,
            "size": _text(purchase.size if purchase else None),
            "cost": _text(purchase.cost if purchase else None),
            "equity": _text(facts.equity if facts else None),
            "cash": _text(facts.cash if facts else None),
            "tier": facts.tier if facts else None,
            "smallest_passing": _text(decision.smallest_passing),
            "smallest_passing_in": decision.smallest_passing_in,
            "verdicts": [_verdict(verdict) for verdict in decision.verdicts],
            "warnings": list(decision.warnings),
        },
    )


@hookimpl
def on_order(order: Order, receipt: Receipt | None, status: OrderStatus, settings: Settings) -> None:
    _write(
        settings,
        logging.WARNING if status in (OrderStatus.UNKNOWN, OrderStatus.REJECTED) else logging.INFO,
        "order",
        {
            "at": iso(SystemClock().now()),  # the hook carries no moment: this is when it was heard
            **_named(order),
            "status": status.value,
            "order_id": receipt.order_id if receipt else None,
            "filled_amount": _text(receipt.filled_amount if receipt else None),
            "filled_value": _text(receipt.filled_value if receipt else None),
            "fees": _text(receipt.fees if receipt else None),
            "code": receipt.code if receipt else None,
            "message": receipt.message if receipt else None,
        },
    )


@hookimpl
def on_state(change: StateChange, settings: Settings) -> None:
    _write(
        settings,
        logging.INFO if change.kind == "resumed" else logging.WARNING,
        "state",
        {
            "at": iso(change.at),
            "kind": change.kind,
            "account": change.account,
            "code": change.code,
            "message": change.message,
            "by": change.by,
            "details": dict(change.details),
        },
    )


def _named(order: Order) -> dict[str, object]:
    return {
        "account": order.account,
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "reason": order.reason,
    }


def _verdict(verdict: Verdict) -> dict[str, object]:
    return {
        "rule": verdict.rule,
        "approved": verdict.approved,
        "code": verdict.code,
        "message": verdict.message,
        "observed": _text(verdict.observed),
        "limit": _text(verdict.limit),
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _write(settings: Settings, level: int, event: str, values: Mapping[str, object]) -> None:
    import structlog

    if settings.path is None:
        _log(structlog.PrintLogger(sys.stderr), json.dumps, level, event, values)
        return
    # Opened for each line, so that a rotated file is let go. Unbuffered, so that a line is one write and
    # the lines of several processes do not mix.
    with settings.path.open("ab", buffering=0) as file:
        _log(structlog.BytesLogger(file), _json_bytes, level, event, values)


def _log(
    output: object,
    serialize: Callable[..., str | bytes],
    level: int,
    event: str,
    values: Mapping[str, object],
) -> None:
    import structlog

    # Everything is given here, so that nothing is taken from structlog's global configuration.
    logger = structlog.wrap_logger(
        output,
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(serialize)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    logger.log(level, event, **values)


def _json_bytes(values: object, **options: Any) -> bytes:
    return json.dumps(values, **options).encode("ascii")
