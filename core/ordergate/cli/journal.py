"""`log`, `explain` and `audit`: what was decided, why, and whether the record still is what was written."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ordergate.cli.face import DONE, FAILED, Answer, Face, named_by_user, shared
from ordergate.cli.page import Block, Cell, Line, Page, Table
from ordergate.clock import iso
from ordergate.errors import InputError

if TYPE_CHECKING:
    from ordergate.decision import Decision
    from ordergate.executor import Explained
    from ordergate.ledger import Ledger

__all__ = ["audit", "explain", "log"]

Heads = Mapping[str, tuple[int, str]]

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
    kept = None if against is None else _read_heads(against)
    with (
        face.executor() as executor,
        closing(executor.desk.store.ledger_to_inspect()) as ledger,
        face.progress("Verifying the journal") as at,
    ):
        broken = ledger.verify()
        heads = ledger.heads()
        flaw = None if broken is None else str(broken)
        if flaw is None and kept is not None:
            at("Comparing with the heads kept outside")
            flaw = _against(ledger, heads, kept)
    rows = sum(seq for seq, _ in heads.values())
    data = {
        "holds": flaw is None,
        "rows": rows,
        "accounts": len(heads),
        "compared": kept is not None,
        "break": flaw,
    }

    def page() -> Page:
        if flaw is not None:
            return [Line(f"The journal does not hold: {flaw}.", "bad")]
        lines: list[Block] = [Line(f"The journal holds: {rows} rows of {len(heads)} accounts verified.", "good")]
        if kept is None:
            hint = "A cut tail shows only against heads kept outside: `ordergate audit head --out FILE`."
            lines.append(Line(hint, "dim"))
        return lines

    return face.show(Answer(data=data, page=page, code=DONE if flaw is None else FAILED))


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


def _read_heads(path: Path) -> dict[str, tuple[int, str]]:
    fix = "name a file written by `ordergate audit head --out`"
    with named_by_user("against", path):
        if path.exists() and not path.is_file():
            raise InputError("against", str(path), fix)
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        heads: dict[str, Any] = json.loads(text)["heads"]
        return {name: (int(one["row"]), str(one["hash"])) for name, one in heads.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError("against", str(path), fix) from error


def _against(ledger: Ledger, heads: Heads, kept: Heads) -> str | None:
    """What was kept outside must still stand in the journal; more may have been added since."""
    for name, (row, hashed) in kept.items():
        last, newest = heads.get(name, (0, ""))
        if last < row:
            return f"account {name}, row {last + 1}: it is missing; {row} rows were there when the heads were kept"
        rows = {last: newest} if row == last else {entry.seq: entry.hash for entry in ledger.entries(name)}
        if row and rows.get(row) != hashed:
            return f"account {name}, row {row}: it is another row than when the heads were kept"
    return None
