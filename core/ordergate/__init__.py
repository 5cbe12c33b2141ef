"""ordergate: no buy reaches an exchange unless every active rule approves it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ordergate.decision import Decision, FactsSummary, StateChange
from ordergate.errors import (
    BrokerError,
    ConfigError,
    IdConflict,
    InputError,
    LedgerBusy,
    LedgerDamaged,
    LedgerError,
    LedgerVersion,
    NotSent,
    OrdergateError,
    PluginError,
    Problem,
    RateLimited,
)
from ordergate.hookspecs import hookimpl
from ordergate.models import (
    Absence,
    Account,
    AccountReport,
    Basis,
    BrokerProfile,
    FeesFrom,
    Figure,
    History,
    Holding,
    IdPromise,
    Market,
    MarketStatus,
    OpenOrder,
    OrderStatus,
    PastOrder,
    Position,
    Price,
    Purchase,
    Receipt,
    Side,
    Tier,
    TradingState,
    VenueOrder,
    Verdict,
)
from ordergate.order import Order

if TYPE_CHECKING:
    from ordergate.executor import Executor

__all__ = [
    "Absence",
    "Account",
    "AccountReport",
    "Basis",
    "BrokerError",
    "BrokerProfile",
    "ConfigError",
    "Decision",
    "Executor",
    "FactsSummary",
    "FeesFrom",
    "Figure",
    "History",
    "Holding",
    "IdConflict",
    "IdPromise",
    "InputError",
    "LedgerBusy",
    "LedgerDamaged",
    "LedgerError",
    "LedgerVersion",
    "Market",
    "MarketStatus",
    "NotSent",
    "OpenOrder",
    "Order",
    "OrderStatus",
    "OrdergateError",
    "PastOrder",
    "PluginError",
    "Position",
    "Price",
    "Problem",
    "Purchase",
    "RateLimited",
    "Receipt",
    "Side",
    "StateChange",
    "Tier",
    "TradingState",
    "VenueOrder",
    "Verdict",
    "hookimpl",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The executor brings the config reader; a plugin that imports ordergate for its value classes should not pay
    # for it.
    if name == "Executor":
        return import_module("ordergate.executor").Executor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
