"""Storms: many threads and processes, some of them killed, on one ledger; and a checker that reads what they left.

Threads, processes and kills are real here, and so are the disk and the database. What is played on one thread, with a
clock and a disk that lie, is `ordergate.testing.simulation`.
"""

from __future__ import annotations

from ordergate.testing.storm.checker import check
from ordergate.testing.storm.director import Result, StormFailed, run_storm
from ordergate.testing.storm.evidence import Evidence
from ordergate.testing.storm.plan import Plan
from ordergate.testing.storm.story import Violation

__all__ = ["Evidence", "Plan", "Result", "StormFailed", "Violation", "check", "run_storm"]
