"""`python -m ordergate.testing.storm`: one storm, and what the checker says of it; 1 when something does not hold."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import click

from ordergate.clock import SystemClock
from ordergate.errors import ConfigError, InputError
from ordergate.ledger import open_ledger
from ordergate.testing.storm.director import Result, run_storm
from ordergate.testing.storm.plan import Plan


@click.command(name="python -m ordergate.testing.storm")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="What every intent is drawn from.")
@click.option("--ledger", default="sqlite:///ordergate.db", show_default=True, help="The ledger's URL; an empty one.")
@click.option("--processes", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="In each process.")
@click.option("--intents", type=click.IntRange(1), default=25, show_default=True, help="Of each thread.")
@click.option("--accounts", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--coins", type=click.IntRange(1, 1000), default=8, show_default=True, help="Markets of each venue.")
@click.option("--cap", type=click.IntRange(1, 1000), default=3, show_default=True, help="Positions of an account.")
@click.option("--cash", default="1000.00", show_default=True, help="USD that each account begins with.")
@click.option("--mix", type=click.Choice(["mixed", "burst", "one_id"]), default="mixed", show_default=True)
@click.option("--kills", type=click.IntRange(0), default=0, show_default=True, help="Processes to kill on the way.")
@click.option("--halt", is_flag=True, help="Halt the first account in the middle.")
@click.option("--lower", is_flag=True, help="Lower the cap to 1 in the middle.")
@click.option("--hot", is_flag=True, help="Nine of ten intents go to the first account.")
@click.option("--noisy", is_flag=True, help="The first process floods the first account.")
@click.option("--served", type=click.IntRange(1), help="Go on until so many answers were given in all.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="An empty folder that is kept.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def main(*, folder: Path | None, as_json: bool, noisy: bool, accounts: int, **told: object) -> None:
    """Let many callers loose on one ledger at once, and check what they leave behind."""
    plan = Plan(noisy=noisy, accounts=max(accounts, 2) if noisy else accounts, **told)  # type: ignore[arg-type]  # click has checked them
    clock = SystemClock()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ordergate-storm-")))
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise click.UsageError(f"folder: '{folder}' is not usable: it is not empty; name a folder that is")
        begun = clock.monotonic()
        try:
            with closing(open_ledger(plan.ledger, folder, clock)) as ledger:
                used = any(seq for seq, _ in ledger.heads().values())
            if used:
                raise click.UsageError("ledger: it has rows already; name an empty one")
            result = run_storm(plan, folder)
        except (ConfigError, InputError) as error:  # an amount of cash, a ledger's URL
            raise click.UsageError(str(error)) from error
        seconds = clock.monotonic() - begun
    _tell(result, seconds, as_json=as_json)
    sys.exit(1 if result.violations else 0)


def _tell(result: Result, seconds: float, *, as_json: bool) -> None:
    rows = sum(map(len, result.evidence.journals.values()))
    orders = sum(len(venue.orders) for venue in result.evidence.venues.values())
    counts = {"calls": len(result.evidence.calls), "rows": rows, "venue_orders": orders, "seconds": round(seconds, 1)}
    if as_json:
        violations = [{"name": one.name, "account": one.account, "what": one.what} for one in result.violations]
        said = {"answers": dict(result.answers), "refusals": dict(result.refusals)}
        click.echo(json.dumps({**counts, **said, "violations": violations}))
        return
    for violation in result.violations:
        click.echo(str(violation))
    click.echo(f"{counts['calls']} calls in {seconds:.1f} s, start and check included: {_counted(result.answers)}")
    click.echo(f"refused by: {_counted(result.refusals) or 'nothing'}")
    click.echo(f"{rows} journal rows, {orders} venue orders, {len(result.violations)} violations")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    main()
