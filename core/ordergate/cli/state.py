"""`status`, `halt` and `resume`: how the gate stands, and the switch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ordergate.cli.face import DONE, FAILED, UNKNOWN, Answer, Face, shared
from ordergate.cli.page import Block, Line, Page, Pairs, Table, Toned
from ordergate.clock import iso

if TYPE_CHECKING:
    from ordergate.decision import StateChange
    from ordergate.trading import Halted

__all__ = ["halt", "resume", "status"]


@click.command()
@shared
@click.pass_obj
def status(face: Face) -> int:
    """Trading state, rules, problems and unfinished orders. Asks no venue."""
    with face.executor() as executor:
        found = executor.status()
    return face.show(Answer(data=found, page=lambda: _status_page(found)))


def _status_page(found: Mapping[str, Any]) -> Page:
    active = found["trading"] == "active"
    blocks: list[Block] = [
        Pairs(
            (
                ("trading", Toned("active" if active else "exits only", "good" if active else "bad")),
                *((("why", found["why"]),) if found["why"] else ()),
                *((("halt file", Toned(found["halt_file"], "bad")),) if found["halt_file"] else ()),
                ("ledger", found["ledger"]["url"]),
                *((("ledger error", Toned(found["ledger"]["error"], "bad")),) if found["ledger"]["error"] else ()),
                ("rules", ", ".join(found["rules"]) or Toned("none: nothing can approve a buy", "bad")),
                ("in the fallback", str(found["fallback_waiting"])),
            )
        )
    ]
    rows = [
        (
            name,
            one["broker"] or "",
            Toned("active", "good") if one["trading"] == "active" else Toned("exits only", "bad"),
            "yes" if one["usable"] else Toned("no", "bad"),
            one["why"],
        )
        for name, one in found["accounts"].items()
    ]
    if rows:
        blocks.append(Table(("account", "broker", "trading", "usable", "why"), rows))
    unfinished = [
        (one["account"], one["client_order_id"], one["symbol"], _doubt(one["status"]), one["since"])
        for one in found["unfinished"]
    ]
    if unfinished:
        columns = ("account", "id", "symbol", "status", "since")
        blocks.append(Table(columns, unfinished, title="Unfinished orders"))
    blocks += [Line(f"problem: {problem}", "bad") for problem in found["problems"]]
    blocks += [Line(f"plugin refused ({one['code']}): {one['message']}", "bad") for one in found["plugins_refused"]]
    return blocks


def _doubt(text: str) -> str | Toned:
    return Toned(text, "bad") if text == "unknown" else text


# ------------------------------------------------------------------------------------------------------- the switch


@click.command()
@click.option("--by", required=True, metavar="NAME", help="Who halts.")
@click.option("--reason", required=True, metavar="TEXT", help="Why.")
@click.option("--account", metavar="NAME", help="Only this account; all of them when left out.")
@click.option("--keep-open", is_flag=True, help="Leave open buys alone; they are cancelled otherwise.")
@shared
@click.pass_obj
def halt(face: Face, *, by: str, reason: str, account: str | None, keep_open: bool) -> int:
    """Exits only from now on, until a person resumes; open buys are cancelled. Exit code 4 when a cancel was not
    acknowledged.
    """
    with face.executor() as executor:
        halted = executor.halt(by=by, reason=reason, account=account, keep_open=keep_open)
    data = {
        **_change_data(halted.change),
        "cancelled": dict(halted.acknowledged),
        "not_acknowledged": dict(halted.unacknowledged),
        "warnings": [halted.warning] if halted.warning else [],
    }
    code = FAILED if not halted.held else UNKNOWN if halted.unacknowledged else DONE
    return face.show(Answer(data=data, page=lambda: _halted_page(halted), code=code))


@click.command()
@click.option("--by", required=True, metavar="NAME", help="Who resumes.")
@click.option("--reason", required=True, metavar="TEXT", help="Why it is safe again.")
@click.option("--account", metavar="NAME", help="Only this account; the halt of all of them when left out.")
@shared
@click.pass_obj
def resume(face: Face, by: str, reason: str, account: str | None) -> int:
    """End a halt. A halt of all accounts and one of a single account are ended each by its own resume."""
    with face.executor() as executor:
        change = executor.resume(by=by, reason=reason, account=account)
        after = executor.status()
    still = [name for name, one in after["accounts"].items() if one["trading"] != "active"]
    data = {**_change_data(change), "still_exits_only": still}

    def page() -> Page:
        lines: list[Block] = [Line(f"Active again: {_scope(change)} ({by}: {reason}).", "good")]
        lines += [
            Line(f"Account {name} still takes exits only; `ordergate status` says why.", "warn") for name in still
        ]
        return lines

    return face.show(Answer(data=data, page=page))


def _change_data(change: StateChange) -> dict[str, object]:
    return {
        "status": change.kind,
        "account": change.account,
        "by": change.by,
        "reason": change.message,
        "at": iso(change.at),
    }


def _scope(change: StateChange) -> str:
    return f"account {change.account}" if change.account else "all accounts"


def _halted_page(halted: Halted) -> Page:
    change = halted.change
    done = "Halted" if halted.held else "NOT HALTED"
    blocks: list[Block] = [Line(f"{done}: {_scope(change)}, exits only ({change.by}: {change.message}).", "warn")]
    blocks += [Line(f"cancelled {name}: {text}") for name, text in halted.acknowledged.items()]
    blocks += [Line(f"NOT ACKNOWLEDGED {name}: {text}", "bad") for name, text in halted.unacknowledged.items()]
    if halted.warning:
        blocks.append(Line(halted.warning, "bad"))
    if halted.unacknowledged:
        blocks.append(Line("Look at the venue, and run `ordergate reconcile`.", "bad"))
    return blocks
