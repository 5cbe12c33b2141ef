"""A run from its seed, and the fewest of its steps that still break what broke."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

import attrs
from attrs import evolve, frozen

from ordergate.testing.simulation.invariants import Broken
from ordergate.testing.simulation.steps import Scenario, Step, draw_scenario, draw_steps
from ordergate.testing.simulation.world import World

__all__ = ["STEPS", "Failure", "run_seed", "run_steps", "shrink"]

STEPS: Final = 40
_KEPT: Final = frozenset({"do", "process", "symbol", "size", "limit", "named", "ref", "seconds"})
_worlds = count(1)


@frozen(kw_only=True)
class Failure:
    """What a seed broke. `steps` are those that were done, the last of them the one that broke it."""

    seed: int
    scenario: Scenario
    steps: tuple[Step, ...]
    broken: Broken

    def __str__(self) -> str:
        lines = [f"  {number}. {step}" for number, step in enumerate(self.steps, 1)]
        return "\n".join([f"seed {self.seed}: {self.broken}", f"  {self.scenario}", *lines])


def run_steps(scenario: Scenario, steps: Sequence[Step], root: Path) -> tuple[int, Broken] | None:
    """Run them in a new world below `root`, inside `simulated()`. Returns what broke, and at which step."""
    number = next(_worlds)
    folder = root / f"world-{number}"
    folder.mkdir()
    world = World(f"world-{number}", scenario, folder)
    try:
        return world.run(steps)
    finally:
        world.close()
        rmtree(folder, ignore_errors=True)


def run_seed(seed: int, root: Path, *, steps: int = STEPS, apart: bool = False) -> Failure | None:
    """Run one seed. The same seed, count and place of the processes do the same, everywhere."""
    scenario, drawn = draw_scenario(seed, apart=apart), draw_steps(seed, steps)
    found = run_steps(scenario, drawn, root)
    if found is None:
        return None
    at, broken = found
    return Failure(seed=seed, scenario=scenario, steps=drawn[: at + 1], broken=broken)


def shrink(failure: Failure, root: Path, *, tries: int = 300) -> Failure:
    """Leave out steps, then faults, while the same invariant still breaks."""
    left = [tries]

    def fails(steps: Sequence[Step]) -> Failure | None:
        left[0] -= 1
        found = run_steps(failure.scenario, steps, root) if left[0] >= 0 else None
        if found is None or found[1].name != failure.broken.name:
            return None
        return evolve(failure, steps=tuple(steps[: found[0] + 1]), broken=found[1])

    best = _without_steps(failure, fails)
    best = _without_faults(best, fails)
    return _without_steps(best, fails)


def _without_steps(best: Failure, fails: Callable[[Sequence[Step]], Failure | None]) -> Failure:
    size = max(1, len(best.steps) // 2)
    while True:
        begin = 0
        while begin < len(best.steps):
            smaller = fails([*best.steps[:begin], *best.steps[begin + size :]])
            if smaller is None:
                begin += size
            else:
                best = smaller
        if size == 1:
            return best
        size //= 2


def _without_faults(best: Failure, fails: Callable[[Sequence[Step]], Failure | None]) -> Failure:
    for number in range(len(best.steps)):
        for field in attrs.fields(Step):
            if field.name in _KEPT or number >= len(best.steps):
                continue
            step = best.steps[number]
            default: Any = field.default
            plainer = evolve(step, **{field.name: default})
            if plainer != step:
                best = fails([*best.steps[:number], plainer, *best.steps[number + 1 :]]) or best
    return best
