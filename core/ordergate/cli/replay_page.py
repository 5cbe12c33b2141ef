"""What a replay found, for programs, for people and as charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from ordergate.amounts import money
from ordergate.charts import Bars, Chart, Series
from ordergate.cli.decision_page import asked, reason_text
from ordergate.cli.numbers import usd
from ordergate.cli.page import Block, Cell, Line, Page, Table, Toned
from ordergate.clock import iso
from ordergate.models import Verdict
from ordergate.records import to_plain
from ordergate.replay_report import Change, Report, Tally, Worth

__all__ = ["charts_of", "check_data", "check_page", "replay_data", "replay_page"]

NOT_PLAYED_THROUGH: Final = (
    "Each decision is judged by itself. Consequences are not played through: an order that was not sent, or was, would "
    "have changed the balances, positions and reservations of all that came after it."
)
_FINE: Final = Decimal("0.00000001")  # of USD, beyond which fees are digits of a division
_DAYS: Final = 92  # that are drawn one by one; more are drawn by month


# ------------------------------------------------------------------------------------------------------- for programs


def replay_data(report: Report) -> dict[str, object]:
    """Amounts are strings of digits in USD, days and moments are text in UTC."""
    return {
        **_tally_data(report.total),
        "not_sent": _worth_data(report.not_sent),
        "newly_sent": _worth_data(report.newly_sent),
        "by_rule": [{"rule": rule, **asdict(report.by_rule[rule])} for rule in sorted(report.by_rule)],
        "by_symbol": [{"symbol": name, **_tally_data(report.by_symbol[name])} for name in sorted(report.by_symbol)],
        "by_day": [{"day": day, **_tally_data(report.by_day[day])} for day in sorted(report.by_day)],
        "changes": [_change_data(change) for change in report.changes],
        "changes_not_listed": report.changed - len(report.changes),
        "skipped": _skipped_data(report),
        "rules_failing": [
            {"rule": rule, "decisions": count, "message": message}
            for rule, (count, message) in sorted(report.failing.items())
        ],
        "accounts_not_in_config": sorted(report.absent),
        "note": NOT_PLAYED_THROUGH,
    }


def check_data(report: Report) -> dict[str, object]:
    """Whether every decision got its very verdicts again, and those that did not."""
    return {
        "agrees": report.changed == report.unchecked == 0,
        "decisions": report.total.decisions,
        "differ": report.changed,
        "differing": [_change_data(change) for change in report.changes],
        "not_listed": report.changed - len(report.changes),
        "not_checked": report.unchecked,
        "skipped": _skipped_data(report),
        "versions": [{"rule": rule, "then": then, "now": now} for rule, then, now in sorted(report.versions)],
    }


def _tally_data(tally: Tally) -> dict[str, object]:
    return {**asdict(tally), "same": tally.same, "fees_not_paid": _usd(tally.fees_not_paid)}


def _worth_data(worth: Worth) -> dict[str, object]:
    return {"orders": worth.orders, "size": _usd(worth.size), "cost": _usd(worth.cost), "fees": _usd(worth.fees)}


def _usd(value: Decimal) -> str:
    return money(value.quantize(_FINE, rounding=ROUND_HALF_EVEN))


def _change_data(change: Change) -> dict[str, object]:
    return {
        "at": iso(change.at),
        "account": change.account,
        "row": change.seq,
        "client_order_id": change.client_order_id,
        "order": to_plain(change.order),
        "then": _word(approved=change.approved_then),
        "now": _word(approved=change.approved_now),
        "verdicts_then": to_plain(change.then),
        "verdicts_now": to_plain(change.now),
        "worth": None if change.worth is None else _worth_data(change.worth),
    }


def _skipped_data(report: Report) -> list[dict[str, Any]]:
    return [
        {"reason": reason, "decisions": found.decisions, "first": found.first}
        for reason, found in sorted(report.skipped.items())
    ]


# --------------------------------------------------------------------------------------------------------- for people


def replay_page(report: Report, config: Path) -> Page:
    """Sums first, then where they come from, then the decisions themselves."""
    return list(_replay_blocks(report, config))


def check_page(report: Report) -> Page:
    """One line when all agree, else what differs and what could not be checked."""
    return list(_check_blocks(report))


def _replay_blocks(report: Report, config: Path) -> Iterator[Block]:
    total = report.total
    if total.decisions == 0:
        yield Line("No recorded decision on a buy was judged again.", "warn")
        yield from _skipped(report)
        return
    yield Line(f"{_decisions(total.decisions)} on buys, judged again under {config}.", "strong")
    rows: list[tuple[Cell, ...]] = [
        ("approved then, refused now", str(total.now_refused), *_money(report.not_sent)),
        ("refused then, approved now", str(total.now_approved), *_money(report.newly_sent)),
        ("the same", str(total.same), "", "", ""),
    ]
    columns = ("", "orders", "size, USD", "cost, USD", "fees in it, USD")
    yield Table(columns, rows, right=frozenset(columns[1:]))
    if total.refused_otherwise:
        yield Line(f"Of the same, {total.refused_otherwise} are refused by other rules or checks than then.")
    yield from _by_rule(report)
    yield from _by_symbol(report)
    yield from _changes(report)
    yield from _skipped(report)
    for rule, (count, message) in sorted(report.failing.items()):
        yield Line(f"Rule {rule} could not judge {_decisions(count)}: {message}", "bad")
    for account in sorted(report.absent):
        what = f"The config has no account {account}: its decisions were judged with the fee threshold recorded then."
        yield Line(what, "warn")
    yield Line(NOT_PLAYED_THROUGH, "dim")


def _by_rule(report: Report) -> Iterator[Block]:
    if report.by_rule:
        rows = [
            (rule, *map(str, (tally.then, tally.now, tally.no_longer, tally.newly)))
            for rule, tally in sorted(report.by_rule.items())
        ]
        columns = ("refused by", "then", "now", "no longer", "newly")
        yield Table(columns, rows, right=frozenset(columns[1:]))


def _by_symbol(report: Report) -> Iterator[Block]:
    rows = [
        (symbol, *map(str, (one.decisions, one.approved_then, one.approved_now, one.now_refused, one.now_approved)))
        for symbol, one in sorted(report.by_symbol.items())
    ]
    columns = ("symbol", "decisions", "approved then", "approved now", "now refused", "now approved")
    yield Table(columns, rows, right=frozenset(columns[1:]))


def _changes(report: Report) -> Iterator[Block]:
    if report.changes:
        rows: list[tuple[Cell, ...]] = [
            (
                iso(change.at),
                change.account,
                change.client_order_id,
                asked(change.order),
                Toned("approved", "good") if change.approved_now else Toned("refused", "bad"),
                _why(change),
            )
            for change in report.changes
        ]
        yield Table(("time", "account", "id", "order", "now", "refused then, or now, by"), rows)
    left = report.changed - len(report.changes)
    if left:
        yield Line(f"{left} more changed; --limit lists more of them.")


def _why(change: Change) -> str:
    return " ".join(map(reason_text, change.then if change.approved_now else change.now))


def _skipped(report: Report) -> Iterator[Block]:
    if report.skipped:
        rows = [(reason, str(one.decisions), one.first) for reason, one in sorted(report.skipped.items())]
        yield Table(("not judged again", "decisions", "first"), rows, right=frozenset({"decisions"}))


def _check_blocks(report: Report) -> Iterator[Block]:
    decisions = report.total.decisions
    if report.changed:
        yield Line(f"{report.changed} of {_decisions(decisions)} do not get the verdicts they got.", "bad")
        yield Table(("time", "account", "id", "rule", "then", "now"), list(_differences(report.changes)))
        left = report.changed - len(report.changes)
        if left:
            yield Line(f"{left} more differ; --limit lists more of them.")
    elif decisions:
        words = f"{_decisions(decisions)} on buys, judged again under the set-up each was made with: all agree."
        yield Line(words, "warn" if report.unchecked else "good")
    else:
        yield Line("No recorded decision on a buy was judged again.", "warn")
    if report.unchecked:
        yield Line(f"{_decisions(report.unchecked)} on buys could not be checked.", "bad")
    yield from _skipped(report)
    for rule, then, now in sorted(report.versions):
        yield Line(f"Rule {rule} judged in version {then} then; installed is {now}.")


def _differences(changes: Sequence[Change]) -> Iterator[tuple[Cell, ...]]:
    for change in changes:
        then, now = ({verdict.rule: verdict for verdict in side} for side in (change.then, change.now))
        for rule in dict.fromkeys([*then, *now]):
            texts = [_told(one) for one in (then.get(rule), now.get(rule))]
            yield (iso(change.at), change.account, change.client_order_id, rule, *texts)


def _told(verdict: Verdict | None) -> str:
    if verdict is None:
        return "was not asked"
    numbers = "" if verdict.observed is None and verdict.limit is None else f"({verdict.observed}, {verdict.limit})"
    return " ".join(filter(None, (verdict.code, numbers, verdict.message)))


def _money(worth: Worth) -> tuple[str, str, str]:
    return usd(worth.size), usd(worth.cost), usd(worth.fees)


def _decisions(count: int) -> str:
    return f"{count:,} decision{'' if count == 1 else 's'}"


def _word(*, approved: bool) -> str:
    return "approved" if approved else "refused"


# ------------------------------------------------------------------------------------------------------------- charts


def charts_of(report: Report) -> tuple[Chart, ...]:
    """Approved and refused per day (or month), then and now, and the fees of orders that would not have been sent."""
    days = _days(sorted(report.by_day)) or [iso(0.0)[:10]]
    tallies = [report.by_day.get(day, Tally()) for day in days]
    labels = days if len(days) <= _DAYS else [day[:7] for day in days]
    label = "day" if labels is days else "month"

    def summed(values: Sequence[int | Decimal]) -> tuple[int | Decimal, ...]:
        sums: dict[str, int | Decimal] = {}
        for name, value in zip(labels, values, strict=True):
            sums[name] = sums.get(name, 0) + value
        return tuple(sums.values())

    def then_and_now(title: str, then: Sequence[int], now: Sequence[int]) -> Bars:
        series = (Series(name="then", values=summed(then)), Series(name="now", values=summed(now)))
        return Bars(title=f"{title} per {label}", labels=tuple(dict.fromkeys(labels)), series=series, unit="orders")

    return (
        then_and_now("Approved", [one.approved_then for one in tallies], [one.approved_now for one in tallies]),
        then_and_now(
            "Refused",
            [one.decisions - one.approved_then for one in tallies],
            [one.decisions - one.approved_now for one in tallies],
        ),
        Bars(
            title=f"Fees of orders that would not have been sent, per {label}",
            labels=tuple(dict.fromkeys(labels)),
            series=(Series(name="fees", values=summed([one.fees_not_paid for one in tallies])),),
            unit="USD",
        ),
    )


def _days(found: Sequence[str]) -> list[str]:
    """Every day from the first to the last, those without a decision too."""
    if not found:
        return []
    first, last = date.fromisoformat(found[0]), date.fromisoformat(found[-1])
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]
