"""`replay`: recorded decisions judged again, under another config or, with `--check`, under their own."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click

from ordergate.cli.face import DONE, FAILED, Answer, Face, shared
from ordergate.errors import InputError

__all__ = ["replay"]


@click.command()
@click.argument("ledger")
@click.option("--check", is_flag=True, help="Judge each under the set-up it was made with; all must agree bit for bit.")
@click.option(
    "--since", metavar="MOMENT", help="Only decisions made at this moment or later: 2026-11-01, or with T12:00."
)
@click.option("--until", metavar="MOMENT", help="Only decisions made before this moment. A day begins at 0:00 UTC.")
@click.option("--account", metavar="NAME", help="Only this account; all of them when left out.")
@click.option("--symbol", metavar="SYMBOL", help="Only orders in this market.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(0, 100_000), help="How many changes are listed."
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw refused, approved and fees by day: .svg or .png.",
)
@shared
@click.pass_obj
def replay(
    face: Face,
    ledger: str,
    *,
    check: bool,
    since: str | None,
    until: str | None,
    account: str | None,
    symbol: str | None,
    limit: int,
    plot: Path | None,
) -> int:
    """What another config would have decided: judge the decisions of a LEDGER again (an SQLite file or a ledger's URL).

    Sends and writes nothing, and asks no venue. Exit code 1 when a rule failed, or with --check when not all agree.
    """
    from ordergate.charts import check_drawable
    from ordergate.cli.named_ledger import opened_to_read
    from ordergate.cli.replay_page import charts_of, check_data, check_page, replay_data, replay_page
    from ordergate.clock import SystemClock
    from ordergate.config import read_config
    from ordergate.order import parse_symbol
    from ordergate.replay import Chosen
    from ordergate.replay import replay as judge_all
    from ordergate.setup import set_up

    chosen = Chosen(
        account=account,
        symbol=None if symbol is None else parse_symbol(symbol),
        since=float("-inf") if since is None else _moment("since", since),
        until=float("inf") if until is None else _moment("until", until),
    )
    if chosen.until <= chosen.since:
        raise InputError("until", until, "it is not after --since; give a later moment")
    if plot is not None:
        check_drawable(plot)
    clock = SystemClock()
    setup = set_up(read_config(face.config_path), clock)
    with closing(opened_to_read(ledger, clock)) as store, face.progress("Judging again") as at:
        report = judge_all(store, setup, clock, chosen, check=check, listed=limit, tell=at)
    if plot is not None:
        from ordergate.charts import draw

        draw(plot, charts_of(report))
    if check:
        code = DONE if report.changed == report.unchecked == 0 else FAILED
        return face.show(Answer(data=check_data(report), page=lambda: check_page(report), code=code))
    code = FAILED if report.failing else DONE
    return face.show(Answer(data=replay_data(report), page=lambda: replay_page(report, face.config_path), code=code))


def _moment(field: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        fix = "write a day such as 2026-11-01, or a moment such as 2026-11-01T12:00:00Z"
        raise InputError(field, text, fix) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
