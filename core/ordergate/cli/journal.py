"""`log`, `explain` and `audit`: what was decided, why, and whether the record still is what was written."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ordergate.cli.face import DONE, FAILED, Answer, Face, named_by_user, shared
from ordergate.cli.page import Block, Cell, Line, Page, Table
from ordergate.clock import iso

if TYPE_CHECKING:
    from ordergate.decision import Decision
    from ordergate.executor import Explained

__all__ = ["audit", "explain", "log"]

# -------------------------------------------------------------------------------------------------------------- log


@click.command()
@click.option(
    "-n", "--number", "count", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many."
)
@click.option("--account", metavar="NAME", help="Only this account; all of them when left out.")
@shared
@click.pass_obj
def log(face: Face, count: int, account: str | None) -> int:
    """Recent orders, newest last, with what became of them. Reads the ledger alone."""
    from ordergate.outcome import replay

    with face.executor() as executor:
        name = executor.account_name(account) if account else None
        found = [(one.account, replay(one)) for one in executor.desk.ledger().recent(name, 0.0, count)]
    found.reverse()
    data = {"orders": [_log_data(account, decision) for account, decision in found]}
    return face.show(Answer(data=data, page=lambda: _log_page(found)))


def _log_data(account: str, decision: Decision) -> dict[str, object]:
    from ordergate.records import to_plain

    order = to_plain(decision.order)
    return {
        "at": iso(decision.at),
        "account": account,
        "client_order_id": order["client_order_id"],
        "symbol": order["symbol"],
        "side": order["side"],
        "spend": order["spend"],
        "amount": order["amount"],
        "all": order["all"],
        "limit": order["limit"],
        "status": decision.status.value,
        "error": decision.error,
        "refused_by": [verdict.rule for verdict in decision.refusals],
        "message": decision.message,
    }


def _log_page(found: Sequence[tuple[str, Decision]]) -> Page:
    from ordergate.cli.decision_page import asked, status_cell

    if not found:
        return [Line("No order was recorded yet.")]
    rows: list[tuple[Cell, ...]] = [
        (
            iso(decision.at),
            account,
            decision.order.client_order_id or "",
            asked(decision.order),
            status_cell(decision.status),
            ", ".join(verdict.rule for verdict in decision.refusals) or decision.message,
        )
        for account, decision in found
    ]
    return [Table(("time", "account", "id", "order", "status", "reason"), rows)]


# ---------------------------------------------------------------------------------------------------------- explain


@click.command()
@click.argument("client_order_id", metavar="ID")
@click.option("--account", metavar="NAME", help="The account; not needed where there is only one.")
@shared
@click.pass_obj
def explain(face: Face, client_order_id: str, account: str | None) -> int:
    """A recorded decision in full, judged again from its recorded facts. Exit code 1 when the verdicts differ now."""
    from ordergate.cli.answer import decision_data
    from ordergate.records import to_plain

    with face.executor() as executor:
        explained = executor.explain(client_order_id, account=account)
    # Exits meet no rules: there is nothing to judge again.
    same = None if explained.decision.is_exit else explained.same
    data = {
        **decision_data(explained.decision),
        "judged_again": None if same is None else {"same": same, "verdicts": to_plain(explained.again)},
    }
    code = FAILED if same is False else DONE
    return face.show(Answer(data=data, page=lambda: _explain_page(explained, same=same), code=code))


def _explain_page(explained: Explained, *, same: bool | None) -> Page:
    from ordergate.cli.decision_page import decision_page, verdict_table

    decision = explained.decision
    blocks: list[Block] = [Line(f"Recorded {iso(decision.at)}.", "dim"), *decision_page(decision)]
    if same is None:
        return [*blocks, Line("It is an exit: no rule was asked, so there is nothing to judge again.")]
    if not decision.approved:
        blocks.append(verdict_table(decision.verdicts))
    if same:
        return [*blocks, Line("Judged again from the recorded facts: the same verdicts.", "good")]
    return [*blocks, Line("Judged again from the recorded facts, the verdicts differ:", "bad"), _differences(explained)]


def _differences(explained: Explained) -> Table:
    then = {verdict.rule: verdict for verdict in explained.decision.verdicts}
    now = {verdict.rule: verdict for verdict in explained.again}
    rows: list[tuple[Cell, ...]] = []
    for rule in dict.fromkeys([*then, *now]):
        before, after = then.get(rule), now.get(rule)
        if before != after:
            texts = [f"{one.code} {one.message}".strip() if one else "was not asked" for one in (before, after)]
            rows.append((rule, *texts))
    return Table(("rule", "then", "now"), rows)


# ------------------------------------------------------------------------------------------------------------ audit


@click.group(no_args_is_help=False)
@shared
def audit() -> None:
    """The journal: every decision, send and halt, each row chained to the one before."""


@audit.command()
@click.option(
    "--against", metavar="FILE", type=click.Path(path_type=Path), help="Heads kept outside, from `audit head --out`."
)
@shared
@click.pass_obj
def verify(face: Face, against: Path | None) -> int:
    """Fold the whole journal again and name the first row that does not hold. Exit code 1 when one does not."""
    from ordergate.cli.verifying import read_heads, verified

    kept = None if against is None else read_heads(against)
    with face.executor() as executor, closing(executor.desk.store.ledger_to_inspect()) as ledger:
        return face.show(verified(face, ledger, kept))


@audit.command()
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write them to this file.")
@shared
@click.pass_obj
def head(face: Face, out: Path | None) -> int:
    """The last row's number and hash of every account: keep them outside, and a cut tail will show."""
    with face.executor() as executor:
        heads = executor.desk.ledger().heads()
        now = executor.clock.now()
    data = {"at": iso(now), "heads": {name: {"row": seq, "hash": hashed} for name, (seq, hashed) in heads.items()}}
    if out is not None:
        with named_by_user("out", out):
            out.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")

    def page() -> Page:
        rows = [(name, str(seq), hashed) for name, (seq, hashed) in heads.items()]
        blocks: list[Block] = [Table(("account", "row", "hash"), rows, right=frozenset({"row"}))]
        return [*blocks, *([Line(f"Written to {out}.", "good")] if out else [])]

    return face.show(Answer(data=data, page=page))


@audit.command()
@click.option("--account", metavar="NAME", help="Only this account; all of them when left out.")
@shared
@click.pass_obj
def export(face: Face, account: str | None) -> int:
    """The whole journal on stdout, one JSON object per line, with or without --json."""
    with face.executor() as executor, closing(executor.desk.store.ledger_to_inspect()) as ledger:
        name = executor.account_name(account) if account else None
        for entry in ledger.entries(name):
            row = {
                "account": entry.account,
                "seq": entry.seq,
                "kind": entry.kind,
                "at": entry.at,
                "key": entry.key,
                "body": json.loads(entry.body),
                "hash": entry.hash,
            }
            sys.stdout.write(json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n")
    return DONE
