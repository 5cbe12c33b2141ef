"""`dust`: holdings too small to be positions, why, and selling what the venue lets be sold, through the gate."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import click
from attrs import frozen

from ordergate.amounts import money, plain, round_down
from ordergate.cli.face import DONE, FAILED, Answer, Face, shared
from ordergate.cli.numbers import usd
from ordergate.cli.page import Block, Cell, Line, Page, Table, Tone, Toned
from ordergate.decision import Decision
from ordergate.models import Holding, Market
from ordergate.order import Order

if TYPE_CHECKING:
    from ordergate.cli.valued import Valued

__all__ = ["dust"]


@frozen(kw_only=True)
class Crumb:
    """A holding that does not count. `obstacle` says why the venue will not let it be sold; empty when it will."""

    currency: str
    symbol: str | None
    amount: Decimal
    value: Decimal
    why: str
    obstacle: str


@click.command()
@click.option("--sell", "selling", is_flag=True, help="Sell what the venue lets be sold.")
@click.option("--account", metavar="NAME", help="The account; not needed where there is only one.")
@shared
@click.pass_obj
def dust(face: Face, *, selling: bool, account: str | None) -> int:
    """Holdings too small to be positions, and why. With --sell, those that the venue lets be sold are sold."""
    from ordergate.cli.valued import look

    sold: dict[str, Decision] = {}
    with face.executor() as executor, face.progress("Looking at the holdings") as at:
        valued = look(executor, account)
        crumbs = _crumbs(valued, executor.config.gate.dust)
        for crumb in crumbs if selling else []:
            if crumb.symbol is not None and not crumb.obstacle:
                at(f"Selling {crumb.currency}")
                sold[crumb.currency] = executor.submit(Order.sell(crumb.symbol, all=True, account=valued.name))
    from ordergate.cli.answer import decision_data, exit_code

    codes = [exit_code(decision) for decision in sold.values()]
    data = {
        "account": valued.name,
        "dust": [_data(crumb) for crumb in crumbs],
        "sold": {currency: decision_data(decision) for currency, decision in sold.items()},
        "warnings": list(valued.warnings),
    }
    blind = FAILED if valued.facts.report is None else DONE
    return face.show(
        Answer(data=data, page=lambda: _page(valued, crumbs, sold, selling=selling), code=max([blind, *codes]))
    )


def _crumbs(valued: Valued, least: Decimal) -> list[Crumb]:
    report = valued.facts.report
    held = [one for one in report.holdings if one.total and one.currency not in valued.cash] if report else []
    return [_crumb(one, valued, least) for one in held if one.currency not in valued.account.positions]


def _crumb(holding: Holding, valued: Valued, least: Decimal) -> Crumb:
    market = valued.market_of(holding.currency)
    value = holding.total * valued.valuation.rates.get(holding.currency, Decimal(0))
    if market is None:
        why = obstacle = "no market at the venue: it counts as nothing"
    else:
        why = f"worth under {money(least)} USD (gate.dust)" if value < least else "less than the venue lets be sold"
        obstacle = _obstacle(holding, market, valued)
    return Crumb(
        currency=holding.currency,
        symbol=market.symbol if market else None,
        amount=holding.total,
        value=value,
        why=why,
        obstacle=obstacle,
    )


def _obstacle(holding: Holding, market: Market, valued: Valued) -> str:
    """Why the venue would not take a sell of all that is available; empty when it would."""
    amount = round_down(holding.available, market.amount_step)
    if amount <= 0:
        bound = "locked or on hold" if holding.available < holding.total else f"under one step of {market.symbol}"
        return f"it is {bound}"
    if amount < market.min_amount:
        return f"under the venue's minimum of {plain(market.min_amount)} {market.base}"
    price = next((price for price in valued.facts.prices if price.symbol == market.symbol), None)
    if price is not None and amount * price.bid < market.min_spend:
        return f"under the venue's minimum of {plain(market.min_spend)} {market.quote}"
    return ""


def _data(crumb: Crumb) -> dict[str, object]:
    return {
        "currency": crumb.currency,
        "symbol": crumb.symbol,
        "amount": plain(crumb.amount),
        "value": money(crumb.value),
        "why": crumb.why,
        "sellable": not crumb.obstacle,
        "obstacle": crumb.obstacle or None,
    }


def _page(valued: Valued, crumbs: Sequence[Crumb], sold: dict[str, Decision], *, selling: bool) -> Page:
    warnings: list[Block] = [Line(warning, "warn") for warning in valued.warnings]
    if not crumbs:
        text = "No dust." if valued.facts.report else f"Account {valued.name} cannot be seen now."
        return [Line(text, "good" if valued.facts.report else "bad"), *warnings]
    rows: list[tuple[Cell, ...]] = [
        (
            crumb.currency,
            plain(crumb.amount),
            usd(crumb.value),
            crumb.why,
            Toned(f"no: {crumb.obstacle}", "warn") if crumb.obstacle else Toned("yes", "good"),
        )
        for crumb in crumbs
    ]
    columns = ("holding", "amount", "USD", "why it is dust", "can be sold")
    blocks: list[Block] = [Table(columns, rows, right=frozenset(columns[1:3]))]
    for currency, decision in sold.items():
        tone: Tone = "good" if decision.receipt is not None and decision.error is None else "bad"
        blocks.append(Line(f"sell {currency}: {decision.message}", tone))
        blocks += [Line(warning, "warn") for warning in decision.warnings]
    if not selling and any(not crumb.obstacle for crumb in crumbs):
        blocks.append(Line("`ordergate dust --sell` sells what can be sold.", "dim"))
    return [*blocks, *warnings]
