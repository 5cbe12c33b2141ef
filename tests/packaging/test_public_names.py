"""The names users build on. A change here is a change for them: it goes into the changelog."""

from __future__ import annotations

import pytest

import ordergate

NAMES = [
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


def test_public_names_are_exactly_these() -> None:
    assert ordergate.__all__ == NAMES
    assert sorted(NAMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_public_name_can_be_imported(name: str) -> None:
    assert getattr(ordergate, name).__name__ == name if name != "hookimpl" else callable(ordergate.hookimpl)


def test_other_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gate'"):
        _ = ordergate.Gate
