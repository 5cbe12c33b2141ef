"""A decision for people: what was asked, what was seen, every reason, what would pass, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from ordergate.amounts import money, plain
from ordergate.cli.numbers import number, usd
from ordergate.cli.page import Block, Cell, Line, Page, Pairs, Panel, Table, Tone, Toned
from ordergate.decision import Decision, FactsSummary
from ordergate.models import Figure, OrderStatus, Verdict
from ordergate.order import Order

__all__ = ["asked", "decision_page", "reason_line", "reason_text", "status_cell", "verdict_table"]

_TONES: dict[OrderStatus, Tone] = {
    OrderStatus.APPROVED: "good",
    OrderStatus.FILLED: "good",
    OrderStatus.OPEN: "good",
    OrderStatus.PARTLY_FILLED: "good",
    OrderStatus.REFUSED: "bad",
    OrderStatus.REJECTED: "bad",
    OrderStatus.UNKNOWN: "warn",
}


def decision_page(decision: Decision) -> Page:
    """All of it: a panel when the answer is no or unknown, a line and the verdicts when it is yes."""
    if decision.status in (OrderStatus.REFUSED, OrderStatus.REJECTED, OrderStatus.UNKNOWN):
        title = f"{_word(decision.status).upper()}: {asked(decision.order)}{_again(decision)}"
        inner: list[Line | Pairs] = [Pairs(tuple(_seen(decision))), *_reasons(decision), *_advice(decision)]
        return [Panel(title, inner, _TONES[decision.status])]
    word = "approved (checked only, nothing was sent)" if decision.checked_only else _word(decision.status)
    blocks: list[Block] = [Line(f"{word}: {asked(decision.order)}{_again(decision)}", _TONES.get(decision.status, ""))]
    blocks += [] if decision.checked_only and not decision.is_exit else [Line(decision.message)]
    blocks.append(Pairs(tuple(_seen(decision))))
    if decision.verdicts:
        blocks.append(verdict_table(decision.verdicts))
    return [*blocks, *_advice(decision)]


def asked(order: Order) -> str:
    """The order in a few words: `buy BTC-USD for 25.00 USD`."""
    base, quote = order.symbol.split("-")
    text = f"{order.side} {order.symbol}"
    if order.spend is not None:
        text += f" for {money(order.spend)} {quote}"
    elif order.amount is not None:
        text += f", {plain(order.amount)} {base}"
    else:
        text += f", all {base}"
    if order.limit is not None:
        text += f", limit {money(order.limit)} {quote}"
    return text + (", forced" if order.force_liquidate else "")


def verdict_table(verdicts: tuple[Verdict, ...]) -> Table:
    """Every verdict with the two numbers it compared."""
    owned = any(verdict.owner for verdict in verdicts)
    rows: list[tuple[Cell, ...]] = [
        (
            verdict.rule,
            Toned("yes", "good") if verdict.approved else Toned("no", "bad"),
            *_numbers(verdict),
            *([verdict.owner or ""] if owned else []),
        )
        for verdict in verdicts
    ]
    columns = ("rule", "approves", "observed", "limit", *(["owner"] if owned else []))
    return Table(columns, rows, right=frozenset({"observed", "limit"}))


def reason_line(verdict: Verdict) -> Line:
    """Why a rule refuses, on a line of its own."""
    return Line(f"- {reason_text(verdict)}", "strong")


def reason_text(verdict: Verdict) -> str:
    """Why a rule refuses; who answers for its limit, and why it is what it is, where the config says so."""
    said = "; ".join(filter(None, (verdict.owner and f"owner: {verdict.owner}", verdict.reason)))
    return f"{verdict.rule}: {verdict.message}{f' ({said})' if said else ''}"


def status_cell(status: OrderStatus) -> Cell:
    return Toned(_word(status), _TONES.get(status, ""))


def _word(status: OrderStatus) -> str:
    return status.value.replace("_", " ")


def _again(decision: Decision) -> str:
    return " (recorded before; nothing was sent now)" if decision.replayed else ""


def _numbers(verdict: Verdict) -> tuple[str, str]:
    return number(verdict.observed), number(verdict.limit)


def _seen(decision: Decision) -> Iterator[tuple[str, Cell]]:
    order = decision.order
    if order.account:
        yield "account", order.account
    if order.client_order_id:
        yield "id", order.client_order_id
    if order.principal:
        yield "asked by", order.principal
    if decision.status is OrderStatus.UNKNOWN and decision.venue_order is not None:
        yield "id at the venue", decision.venue_order.client_order_id
    yield "symbol", order.symbol
    yield "side", order.side.value
    if decision.purchase is not None:
        purchase = decision.purchase
        yield "size", f"{usd(purchase.size)} USD, at most {usd(purchase.cost)} USD with fees"
    if decision.facts is not None:
        yield from _facts(decision.facts)
    if decision.taker_fee is not None:
        yield "taker fee", f"{number(decision.taker_fee.value * 100)} % ({_source(decision.taker_fee)})"
    if decision.fee_threshold is not None:
        yield "fee threshold", f"{money(decision.fee_threshold.value)} USD ({_source(decision.fee_threshold)})"
    if decision.receipt is not None and decision.receipt.order_id:
        yield "venue order", decision.receipt.order_id


def _facts(facts: FactsSummary) -> Iterator[tuple[str, Cell]]:
    if facts.equity is not None and facts.cash is not None:
        tier = f", tier {facts.tier}" if facts.tier else ", under the first tier"
        yield "equity", f"{usd(facts.equity)} USD{tier}"
        yield "cash", f"{usd(facts.cash)} USD"
        held = ", ".join(f"{one.currency} {usd(one.value)} USD" for one in facts.positions)
        yield "positions", f"{len(facts.positions)}{f': {held}' if held else ''}"
    if facts.unvalued:
        yield "without a market", ", ".join(facts.unvalued)


def _source(figure: Figure) -> str:
    return ", ".join(filter(None, (figure.source, figure.as_of)))


def _reasons(decision: Decision) -> Iterator[Line]:
    if not decision.refusals:
        yield Line(decision.message, "strong")
    for verdict in decision.refusals:
        yield reason_line(verdict)


def _advice(decision: Decision) -> Iterator[Line]:
    if decision.advice:
        yield Line(decision.advice, "good" if decision.smallest_passing is not None else "warn")
    for warning in decision.warnings:
        yield Line(warning, "warn")
