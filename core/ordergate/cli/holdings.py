"""`positions` and `limits`: what an account holds, and what it could buy."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

import click

from ordergate.amounts import money, plain
from ordergate.cli.face import DONE, FAILED, REFUSED, Answer, Face, shared
from ordergate.cli.numbers import number, usd
from ordergate.cli.page import Block, Cell, Line, Page, Pairs, Table, Toned
from ordergate.models import Side
from ordergate.order import Order

if TYPE_CHECKING:
    from ordergate.cli.valued import Valued
    from ordergate.executor import Limits

__all__ = ["limits", "positions"]

# -------------------------------------------------------------------------------------------------------- positions


@click.command()
@click.option("--account", metavar="NAME", help="The account; not needed where there is only one.")
@shared
@click.pass_obj
def positions(face: Face, account: str | None) -> int:
    """Holdings and what they are worth, what approved buys claim, equity, tier and open orders, as the venue has it."""
    from ordergate.cli.valued import look

    with face.executor() as executor:
        valued = look(executor, account)
    data = _positions_data(valued)
    code = DONE if valued.facts.report is not None else FAILED
    return face.show(Answer(data=data, page=lambda: _positions_page(valued), code=code))


def kind_of(valued: Valued, currency: str) -> str:
    """What a holding counts as: cash, position, dust, or nothing for want of a market."""
    if currency in valued.cash:
        return "cash"
    if currency in valued.account.positions:
        return "position"
    return "no market" if currency in valued.valuation.unvalued else "dust"


def _positions_data(valued: Valued) -> dict[str, object]:
    account, report, tier = valued.account, valued.facts.report, valued.tier
    held = {holding.currency: holding for holding in report.holdings} if report else {}
    rows: list[dict[str, object]] = [
        {
            "currency": currency,
            "kind": kind_of(valued, currency),
            "total": plain(holding.total),
            "available": plain(holding.available),
            "hold": plain(holding.hold),
            "locked": plain(holding.locked),
            "value": money(holding.total * valued.valuation.rates.get(currency, Decimal(0))),
        }
        for currency, holding in held.items()
    ]
    return {
        "account": valued.name,
        "equity": money(account.equity) if report else None,
        "cash": money(account.cash) if report else None,
        "tier": tier.name if tier else None,
        "max_positions": tier.max_positions if tier else None,
        "positions": [
            {
                "currency": one.currency,
                "amount": plain(one.amount),
                "sellable": plain(one.sellable),
                "value": money(one.value),
                "claimed": money(one.claimed),
            }
            for one in account.positions.values()
        ],
        "holdings": rows,
        "open_orders": [
            {
                "symbol": one.symbol,
                "side": one.side.value,
                "amount_left": plain(one.amount_left),
                "limit": None if one.limit is None else plain(one.limit),
                "venue_order": one.order_id,
                "wire_id": one.client_order_id,
            }
            for one in (report.open_orders if report else ())
        ],
        "warnings": list(valued.warnings),
    }


def _positions_page(valued: Valued) -> Page:
    account, report, tier = valued.account, valued.facts.report, valued.tier
    warnings: list[Block] = [Line(warning, "warn") for warning in valued.warnings]
    if report is None:
        return [Line(f"Account {valued.name} cannot be seen now.", "bad"), *warnings]
    where = f"{tier.name}: {len(account.positions)} of {tier.max_positions} positions" if tier else ""
    blocks: list[Block] = [
        Pairs(
            (
                ("account", valued.name),
                ("equity", Toned(f"{usd(account.equity)} USD", "strong")),
                ("cash", f"{usd(account.cash)} USD"),
                ("tier", where if tier else Toned("under the first tier: no buys", "warn")),
            )
        )
    ]
    rows = list(_holding_rows(valued))
    columns = ("holding", "kind", "amount", "available", "on hold", "locked", "USD", "claimed USD")
    blocks.append(Table(columns, rows, right=frozenset(columns[2:])) if rows else Line("It holds nothing."))
    if report.open_orders:
        orders = [
            (
                one.symbol,
                one.side.value,
                plain(one.amount_left),
                "" if one.limit is None else plain(one.limit),
                one.order_id,
            )
            for one in report.open_orders
        ]
        names = ("symbol", "side", "amount left", "limit", "venue order")
        blocks.append(Table(names, orders, title="Open orders", right=frozenset(names[2:4])))
    return [*blocks, *warnings]


def _holding_rows(valued: Valued) -> Iterator[tuple[Cell, ...]]:
    report = valued.facts.report
    held = {one.currency: one for one in report.holdings if one.total} if report else {}
    for currency, holding in held.items():
        kind = kind_of(valued, currency)
        worth = holding.total * valued.valuation.rates.get(currency, Decimal(0))
        position = valued.account.positions.get(currency)
        yield (
            currency,
            Toned(kind, "warn") if kind in ("dust", "no market") else kind,
            plain(holding.total),
            plain(holding.available),
            plain(holding.hold),
            Toned(plain(holding.locked), "warn") if holding.locked else "0",
            usd(worth),
            usd(position.claimed) if position and position.claimed else "",
        )
    for currency, position in valued.account.positions.items():
        if currency not in held:
            yield currency, "approved buy", "0", "0", "0", "0", "0.00", usd(position.claimed)


# ----------------------------------------------------------------------------------------------------------- limits


@click.command()
@click.argument("symbol")
@click.option("--limit", metavar="PRICE", help="Of a limit buy, which is sized in the base currency.")
@click.option("--account", metavar="NAME", help="The account; not needed where there is only one.")
@click.option("--principal", metavar="NAME", help="Who would ask: a strategy, a bot, a person.")
@shared
@click.pass_obj
def limits(face: Face, *, symbol: str, limit: str | None, account: str | None, principal: str | None) -> int:
    """The sizes of a buy that would pass now, and which rule bounds them. Exit code 3 when no size passes."""
    from ordergate.calls import Failed
    from ordergate.errors import OrdergateError

    # Read here, so that a bad price or symbol is an error before anything is asked.
    size = {"amount" if limit else "spend": "1"}
    order = Order(symbol=symbol, side=Side.BUY, limit=limit, account=account, principal=principal, **size)
    with face.executor() as executor:
        try:
            found = executor.limits(order.symbol, account=account, limit=order.limit, principal=principal)
        except Failed as failed:
            raise OrdergateError(f"the rules could not be asked for the bounds: {failed}") from failed
    data = _limits_data(order, found)
    code = REFUSED if found.band is None else DONE
    return face.show(Answer(data=data, page=lambda: _limits_page(order, found), code=code))


def _limits_data(order: Order, found: Limits) -> dict[str, object]:
    from ordergate.records import to_plain

    band = found.band
    return {
        "symbol": order.symbol,
        "passes": band is not None,
        "least": None if band is None else money(band.least * found.unit),
        "most": None if band is None else money(band.most * found.unit),
        "in": _currency(order),
        "step": plain(found.unit) if found.currency else None,
        "bounded_below_by": [] if band is None else sorted(band.below),
        "bounded_above_by": [] if band is None else sorted(band.above),
        "judged_at": "1",
        "verdicts": to_plain(found.judgement.verdicts),
    }


def _currency(order: Order) -> str:
    """What the order is sized in."""
    base, quote = order.symbol.split("-")
    return quote if order.limit is None else base


def _limits_page(order: Order, found: Limits) -> Page:
    currency, band = _currency(order), found.band
    if band is None:
        return [Line(f"No size of {order.symbol} passes now.", "bad"), *_obstacles(order, found)]
    owners = {one.rule: f"{one.rule} (owner: {one.owner})" for one in found.judgement.verdicts if one.owner}
    below = ", ".join(owners.get(name, name) for name in sorted(band.below)) or "the step"
    above = ", ".join(owners.get(name, name) for name in sorted(band.above)) or "the free funds"
    least, most = money(band.least * found.unit), money(band.most * found.unit)
    return [
        Line(f"A buy of {order.symbol} passes from {least} to {most} {currency}.", "good"),
        Pairs(
            (
                ("smallest", f"{least} {currency}, bounded by {below}"),
                ("largest", f"{most} {currency}, bounded by {above}"),
                ("step", f"{plain(found.unit)} {currency}"),
            )
        ),
    ]


def _obstacles(order: Order, found: Limits) -> Iterator[Line]:
    """Why no size passes: what forbids every buy, else what an order of one unit meets, and the funds."""
    from ordergate.cli.decision_page import reason_line

    refusals = [one for one in found.judgement.verdicts if not one.approved]
    general = [one for one in refusals if one.rule in ("gate.state", "gate.facts", "gate.tier")]
    if not general:
        yield Line(f"What an order of 1 {_currency(order)} meets:")
    for one in general or refusals:
        yield reason_line(one)
    funds = next((one for one in found.judgement.verdicts if one.rule == "gate.funds" and one.approved), None)
    if not general and funds is not None:
        yield Line(f"- gate.funds: {number(funds.limit)} {order.symbol.split('-')[1]} are free to pay with.")
