"""The soak: as many intents as wanted, with faults by seed, in windows that are checked and thrown away one by one."""

from __future__ import annotations

from ordergate.testing.soak.gauge import Gauge, Reading
from ordergate.testing.soak.series import Series
from ordergate.testing.soak.windows import Failure, Window, run_window

__all__ = ["Failure", "Gauge", "Reading", "Series", "Window", "run_window"]
