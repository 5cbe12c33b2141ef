"""`python -m ordergate.testing.soak`: intents with faults until there were so many, or Ctrl-C; 1 when anything failed.

A failing window is printed with its seed, its number and its first failing step, and is run again with `--only`.
"""

from __future__ import annotations

import json
import sys
from typing import Final

import click
from attrs import asdict, define

from ordergate.clock import Clock, SystemClock
from ordergate.testing.soak.gauge import Reading
from ordergate.testing.soak.series import Series

_EVERY: Final = 20.0  # seconds between two lines of progress where there is no terminal
_SHOWN: Final = 20  # violations of a failing window


@click.command(name="python -m ordergate.testing.soak")
@click.option("--intents", type=click.IntRange(1), help="Stop after so many; without it, at Ctrl-C.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="What everything is drawn from.")
@click.option("--window", "size", type=click.IntRange(20), default=500, show_default=True, help="Intents in a window.")
@click.option(
    "--threads-every", type=click.IntRange(0), default=4, show_default=True, help="Every how many windows threads run."
)
@click.option(
    "--kill-every", type=click.IntRange(0), default=40, show_default=True, help="Every how many processes are killed."
)
@click.option("--only", type=click.IntRange(0), help="Run the window of this number and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end, with all readings.")
def main(
    *, intents: int | None, seed: int, size: int, threads_every: int, kill_every: int, only: int | None, as_json: bool
) -> None:
    """Run the real gate for as long as wanted, with faults, and check what must hold."""
    series = Series(seed=seed, size=size, threads_every=threads_every, kill_every=kill_every)
    clock = SystemClock()
    begun = clock.monotonic()
    progress = _Progress(clock, begun, quiet=as_json)
    try:
        if only is not None:
            series.run_one(only)
        else:
            series.run(intents, progress.tell)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
    progress.clear()
    (_tell_json if as_json else _tell)(series, clock.monotonic() - begun)
    sys.exit(1 if series.failure or series.growth else 0)


def _tell_json(series: Series, seconds: float) -> None:
    failure = series.failure
    failed = failure and {
        "window": failure.window.number,
        "step": failure.step,
        "violations": [str(violation) for violation in failure.violations],
    }
    told = {"seed": series.seed, "intents": series.done, "windows": series.windows, "seconds": round(seconds, 1)}
    readings = [asdict(reading) for reading in series.gauge.readings]
    click.echo(json.dumps({**told, "failed": failed, "growth": series.growth, "readings": readings}))


def _tell(series: Series, seconds: float) -> None:
    if series.failure:
        for violation in series.failure.violations[:_SHOWN]:
            click.echo(f"  {violation}")
        click.echo(str(series.failure))
        shares = f"--threads-every {series.threads_every} --kill-every {series.kill_every}"
        only = f"--seed {series.seed} --window {series.size} --only {series.failure.window.number}"
        click.echo(f"  again: python -m ordergate.testing.soak {only} {shares}")
    if series.growth:
        click.echo(f"seed {series.seed}, window {series.windows - 1}: {series.growth}")
    for first, last in zip(series.gauge.readings[:1], series.gauge.readings[-1:], strict=True):
        memory = f"{first.memory / 2**20:.1f} to {last.memory / 2**20:.1f} MB"
        threads = f"threads {first.threads} to {last.threads}"
        click.echo(f"memory {memory}, open files {first.files} to {last.files}, {threads}")
    held = "failed" if series.failure or series.growth else "all held"
    click.echo(f"{series.done} intents in {series.windows} windows, {seconds:.0f} s: {held}")


@define
class _Progress:
    """One line that is written over on a terminal; elsewhere a line now and then."""

    clock: Clock
    begun: float
    quiet: bool
    _told: float = 0.0

    def tell(self, reading: Reading) -> None:
        now = self.clock.monotonic()
        if self.quiet:
            return
        size = f"{reading.memory / 2**20:.1f} MB, {reading.files} open files, {reading.threads} threads"
        if sys.stderr.isatty():
            click.echo(f"\r{reading.intents} intents, {size}\033[K", err=True, nl=False)
        elif now - self._told >= _EVERY:
            self._told = now
            click.echo(f"{now - self.begun:.0f} s: {reading.intents} intents, {size}", err=True)

    def clear(self) -> None:
        if sys.stderr.isatty():
            click.echo("\r\033[K", err=True, nl=False)


if __name__ == "__main__":
    main()
