"""Whether an account's key and the two clocks let it buy: asked at the venue, and again when the answer has grown old.

Only good answers are kept. A machine whose clock was set meanwhile is asked about anew.
"""

from __future__ import annotations

from typing import Final

from ordergate.broker import Broker
from ordergate.clock import Clock
from ordergate.errors import BrokerError
from ordergate.settings import Gate

__all__ = ["EXCESS", "Fitness", "Stop", "skew_of", "skew_told"]

Stop = tuple[str, str]
"""Code and sentence of something that forbids buying."""

EXCESS: Final = frozenset({"transfer", "withdraw"})
"""What no key of a trading program needs, and what makes its theft a loss of everything."""

_STEP: Final = 0.5  # seconds by which the wall clock may leave the monotonic one before it counts as having been set


class Fitness:
    """Of one account. `stops` costs nothing while the last good answer is young enough."""

    def __init__(self, broker: Broker, gate: Gate, clock: Clock) -> None:
        self._broker, self._gate, self._clock = broker, gate, clock
        self._good: tuple[float, float] | None = None  # when, on the monotonic clock, and how the two clocks then stood

    def stops(self) -> list[Stop]:
        """Code and sentence of whatever forbids buying with this key, or by these clocks."""
        now = self._clock.monotonic()
        apart = self._clock.now() - now
        if self._good and now - self._good[0] <= self._gate.market_age and abs(apart - self._good[1]) < _STEP:
            return []
        found = [*self._of_the_key(), *self._of_the_clocks()]
        self._good = None if found else (now, apart)
        return found

    def _of_the_key(self) -> list[Stop]:
        account = self._broker.account
        try:
            allowed = self._broker.get_permissions()
        except BrokerError as error:
            return [("key_unknown", f"What the key of account {account} may do could not be asked: {error}.")]
        if allowed is None:
            return []
        excess = sorted(EXCESS.intersection(allowed))
        if excess:
            what = f"The key of account {account} may {' and '.join(excess)}; make one that can view and trade only."
            return [("key_too_powerful", what)]
        if "trade" not in allowed:
            return [("key_cannot_trade", f"The key of account {account} may not trade; make one that may.")]
        return []

    def _of_the_clocks(self) -> list[Stop]:
        try:
            skew = skew_of(self._broker, self._clock)
        except BrokerError as error:
            return [("clock_unknown", f"The venue's clock could not be read: {error}.")]
        if skew is None or abs(skew) <= self._gate.clock_skew:
            return []
        return [("clock_skew", f"{skew_told(skew)}, over the {self._gate.clock_skew:g} s of gate.clock_skew; set it.")]


def skew_of(broker: Broker, clock: Clock) -> float | None:
    """By how many seconds this machine's clock is ahead of the venue's, half the way there and back taken out; None
    when the broker cannot tell. Raises BrokerError.
    """
    asked = clock.now()
    there = broker.get_time()
    return None if there is None else (asked + clock.now()) / 2 - there


def skew_told(skew: float) -> str:
    """The skew in words, without a stop."""
    return f"This machine's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the venue's"
