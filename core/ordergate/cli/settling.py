"""`reconcile`: ask the venue what became of unfinished orders, or take a person's word for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ordergate.cli.face import DONE, UNKNOWN, Answer, Face, broker_of, shared
from ordergate.cli.page import Block, Cell, Line, Page, Table, Toned
from ordergate.clock import iso
from ordergate.errors import InputError

if TYPE_CHECKING:
    from ordergate.executor import Executor
    from ordergate.ledger import Recorded
    from ordergate.settlement import Settled

__all__ = ["reconcile"]


@click.command()
@click.option("--account", metavar="NAME", help="Only this account; all of them when left out.")
@click.option("--settle", "client_order_id", metavar="ID", help="Decide one order of unknown outcome by hand.")
@click.option("--as", "outcome", metavar="STATUS", help="expired (it never was), filled or cancelled; with --settle.")
@click.option("--by", metavar="NAME", help="Who says so; with --settle.")
@click.option("--reason", metavar="TEXT", help="How they know; with --settle.")
@shared
@click.pass_obj
def reconcile(
    face: Face,
    account: str | None,
    client_order_id: str | None,
    outcome: str | None,
    by: str | None,
    reason: str | None,
) -> int:
    """Ask the venue what became of unfinished orders, and import what exits wrote to the fallback. Sends nothing.

    Exit code 4 while the outcome of an order stays unknown. Where only a person can tell: --settle ID --as STATUS
    --by NAME --reason TEXT.
    """
    given = {"as": outcome, "by": by, "reason": reason}
    if client_order_id is None:
        for name, value in given.items():
            if value is not None:
                raise InputError(name, value, "it goes with --settle ID; leave it out to ask the venue")
        return _ask(face, account)
    for name, value in given.items():
        if value is None:
            raise InputError(name, None, f"--settle needs it: give --{name}")
    from ordergate.cli.answer import decision_data
    from ordergate.cli.decision_page import decision_page

    with face.executor() as executor:
        decision = executor.settle_by_hand(
            client_order_id, str(outcome), by=str(by), reason=str(reason), account=account
        )
    return face.show(Answer(data=decision_data(decision), page=lambda: decision_page(decision)))


def _ask(face: Face, account: str | None) -> int:
    settled: dict[str, Sequence[Settled]] = {}
    with face.executor() as executor, face.progress("Asking the venues") as at:
        names = [broker_of(executor, account).account] if account else list(executor.setup.brokers)
        broken = [] if account else list(executor.setup.broken)
        for name in names:
            at(f"Asking the venue of account {name}")
            settled |= executor.reconcile(name)
        unknown = {name: _unknown(executor, name) for name in names}
    data = {
        "accounts": {name: [_data(one) for one in found] for name, found in settled.items()},
        "unknown": [one.client_order_id for found in unknown.values() for one in found],
        "not_asked": broken,
    }
    code = UNKNOWN if any(unknown.values()) else DONE
    return face.show(Answer(data=data, page=lambda: _page(settled, unknown, broken), code=code))


def _unknown(executor: Executor, account: str) -> list[Recorded]:
    from ordergate.settlement import is_doubtful

    now = executor.clock.now()
    return [one for one in executor.desk.ledger().unfinished(account) if is_doubtful(one, now)]


def _data(settled: Settled) -> dict[str, object]:
    return {
        "client_order_id": settled.recorded.client_order_id,
        "wire_id": settled.recorded.wire_id,
        "symbol": settled.recorded.symbol,
        "was": settled.recorded.status,
        "status": None if settled.status is None else settled.status.value,
        "message": settled.message,
        "mismatch": settled.mismatch,
    }


def _page(settled: dict[str, Sequence[Settled]], unknown: dict[str, list[Recorded]], broken: Sequence[str]) -> Page:
    rows: list[tuple[Cell, ...]] = [
        (
            account,
            one.recorded.client_order_id,
            one.recorded.symbol,
            one.recorded.status,
            Toned("unchanged", "dim") if one.status is None else Toned(one.status.value, "good"),
            one.message,
        )
        for account, found in settled.items()
        for one in found
    ]
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(("account", "id", "symbol", "was", "is", "how it is known"), rows))
    else:
        blocks.append(Line("No order needed settling.", "good"))
    blocks += [Line(f"Account {name} is broken in the config and was not asked.", "warn") for name in broken]
    for account, found in unknown.items():
        for one in found:
            known_as = f"at the venue {one.wire_id}, " if one.wire_id else ""
            text = f"{one.client_order_id} ({known_as}{account}, {one.symbol}, since {iso(one.at)}) stays unknown."
            blocks.append(Line(text, "bad"))
    if any(unknown.values()):
        fix = (
            "Run it again later; or look at the venue yourself and use --settle ID --as STATUS --by NAME --reason TEXT."
        )
        blocks.append(Line(fix, "warn"))
    return blocks
