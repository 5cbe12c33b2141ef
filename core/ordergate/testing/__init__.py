"""For the tests of plugins: builders and checks for rules, rehearsal venues and checks for brokers. Functions only.

    from ordergate import testing

    import my_broker
    import my_rule

    def test_my_rule_is_a_rule():
        testing.check_rule(my_rule)

    def test_my_broker_keeps_its_promises():
        testing.check_broker(my_broker)

Not imported by `import ordergate`. Nothing here is to be subclassed. The rehearsal venues stand in modules of
their own: `ordergate.testing.kraken`, `.coinbase` and `.binance`.
"""

from __future__ import annotations

from ordergate.testing.brokers import Check, Level, Outcome, Report, check_broker, conformance_of
from ordergate.testing.rehearsal import Rehearsal
from ordergate.testing.rules import (
    NOW,
    SIZES,
    Number,
    account,
    broker,
    check_rule,
    history,
    judge,
    market,
    past_order,
    position,
    purchase,
    tier,
)

__all__ = [
    "NOW",
    "SIZES",
    "Check",
    "Level",
    "Number",
    "Outcome",
    "Rehearsal",
    "Report",
    "account",
    "broker",
    "check_broker",
    "check_rule",
    "conformance_of",
    "history",
    "judge",
    "market",
    "past_order",
    "position",
    "purchase",
    "tier",
]
