"""`python -m ordergate.testing.simulation`: as many seeds as wanted, each a run of its own; 1 when one of them fails.

A failing seed is printed with the fewest steps that still fail, and is run again with `--seed`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import count
from typing import Final

import click

from ordergate.testing.simulation.runs import STEPS, Failure, run_seed, shrink
from ordergate.testing.simulation.world import simulated

_SEEDS: Final = 300


@click.command(name="python -m ordergate.testing.simulation")
@click.option("--seeds", type=click.IntRange(1), default=_SEEDS, show_default=True, help="How many seeds to run.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=click.IntRange(0), help="Run this one seed and nothing else.")
@click.option("--forever", is_flag=True, help="Go on until a seed fails or Ctrl-C.")
@click.option("--steps", type=click.IntRange(1), default=STEPS, show_default=True, help="Steps in each run.")
@click.option("--apart", is_flag=True, help="Two machines, whose clocks differ within what the gate tolerates.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per failing seed, and one at the end.")
def main(*, seeds: int, first: int, seed: int | None, forever: bool, steps: int, apart: bool, as_json: bool) -> None:
    """Run the real gate through seeded accidents and check what must hold."""
    wanted: Iterator[int] = iter([seed]) if seed is not None else count(first) if forever else _some(first, seeds)
    done = failed = 0
    with simulated() as root:
        try:
            for number in wanted:
                found = run_seed(number, root, steps=steps, apart=apart)
                done += 1
                if found is not None:
                    failed += 1
                    _clear()
                    _tell(shrink(found, root), f"--steps {steps}{' --apart' if apart else ''}", as_json=as_json)
                    if forever:
                        break
                _progress(done, failed)
        except KeyboardInterrupt:
            pass
    _clear()
    if as_json:
        click.echo(json.dumps({"seeds": done, "failed": failed}))
    else:
        click.echo(f"{done} seeds of {steps} steps, {failed} failed")
    sys.exit(1 if failed else 0)


def _some(first: int, seeds: int) -> Iterator[int]:
    return iter(range(first, first + seeds))


def _tell(failure: Failure, options: str, *, as_json: bool) -> None:
    if not as_json:
        click.echo(f"{failure}\n  again: python -m ordergate.testing.simulation --seed {failure.seed} {options}")
        return
    steps = [str(step) for step in failure.steps]
    told = {"seed": failure.seed, "invariant": failure.broken.name, "what": failure.broken.what, "steps": steps}
    click.echo(json.dumps(told))


def _progress(done: int, failed: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{done} seeds, {failed} failed", err=True, nl=False)


def _clear() -> None:
    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)


if __name__ == "__main__":
    main()
