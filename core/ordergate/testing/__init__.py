"""For the tests of plugins: builders and checks for rules, rehearsal venues and checks for brokers. Functions only.

    from ordergate import testing

    import my_rule

    def test_my_rule_is_a_rule():
        testing.check_rule(my_rule)

Not imported by `import ordergate`. Nothing here is to be subclassed. The rehearsal venues stand in modules of
their own: `ordergate.testing.kraken`, `.coinbase` and `.binance`.
"""

from __future__ import annotations

from ordergate.testing.rehearsal import Rehearsal
from ordergate.testing.rules import SIZES, Number, account, broker, check_rule, judge, market, position, purchase, tier

__all__ = [
    "SIZES",
    "Number",
    "Rehearsal",
    "account",
    "broker",
    "check_rule",
    "judge",
    "market",
    "position",
    "purchase",
    "tier",
]
