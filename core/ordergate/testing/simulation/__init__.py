"""A seeded simulation of the gate: the real code, with time, disk, network and processes that fail as the seed says."""

from __future__ import annotations

from ordergate.testing.simulation.runs import Failure, run_seed, run_steps, shrink
from ordergate.testing.simulation.world import simulated

__all__ = ["Failure", "run_seed", "run_steps", "shrink", "simulated"]
