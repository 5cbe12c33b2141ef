"""`check`, `buy`, `sell` and `cancel`. Amounts go to `Order` as they were typed: it alone reads them, strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ordergate.cli.face import Answer, Face, shared
from ordergate.decision import Decision
from ordergate.order import Order

__all__ = ["buy", "cancel", "check", "sell"]

F = TypeVar("F", bound=Callable[..., Any])


def _options(*names: str) -> Callable[[F], F]:
    known = {
        "spend": click.option("--spend", metavar="AMOUNT", help="Quote currency to spend, fees not added."),
        "amount": click.option("--amount", metavar="AMOUNT", help="Base currency; a buy needs --limit with it."),
        "all": click.option("--all", is_flag=True, help="Everything that is available of it."),
        "limit": click.option("--limit", metavar="PRICE", help="The worst price, in quote currency per base unit."),
        "account": click.option("--account", metavar="NAME", help="The account; not needed where there is only one."),
        "id": click.option(
            "--id", "client_order_id", metavar="ID", help="Your id for the order; sent twice, it is done once."
        ),
    }

    def add(command: F) -> F:
        for name in reversed(names):
            command = known[name](command)
        return command

    return add


@click.command()
@click.argument("symbol")
@click.option("--side", default="buy", metavar="SIDE", help="buy or sell; buy when left out.")
@_options("spend", "amount", "all", "limit", "account", "id")
@shared
@click.pass_obj
def check(face: Face, /, **fields: Any) -> int:
    """Judge an order now, by the code that `buy` uses. Nothing is sent, recorded or bound."""
    return _decided(face, Order.from_mapping(fields), send=False)


@click.command()
@click.argument("symbol")
@_options("spend", "amount", "limit", "account", "id")
@shared
@click.pass_obj
def buy(face: Face, /, **fields: Any) -> int:
    """Judge a buy and send it if every active rule approves it.

    Give --spend for a market buy, --amount with --limit for a limit buy, or --spend with --limit.
    """
    return _decided(face, Order.from_mapping({**fields, "side": "buy"}), send=True)


@click.command()
@click.argument("symbol")
@_options("amount", "all", "limit", "account", "id")
@click.option(
    "--force-liquidate", is_flag=True, help="The emergency form: cancels resting orders first, waits for nothing."
)
@click.option("--reason", metavar="TEXT", help="Why; needed with --force-liquidate.")
@shared
@click.pass_obj
def sell(face: Face, /, **fields: Any) -> int:
    """Sell a holding. A sell into cash passes in every state; one that buys another coin is judged like a buy."""
    return _decided(face, Order.from_mapping({**fields, "side": "sell"}), send=True)


@click.command()
@click.argument("client_order_id", metavar="ID")
@_options("account")
@shared
@click.pass_obj
def cancel(face: Face, client_order_id: str, account: str | None) -> int:
    """Cancel what is left of an order. Works in every state. Exit code 0: nothing of it is open any more."""
    with face.executor() as executor:
        return _shown(face, executor.cancel(client_order_id, account=account))


def _decided(face: Face, order: Order, *, send: bool) -> int:
    with face.executor() as executor:
        return _shown(face, executor.submit(order) if send else executor.check(order))


def _shown(face: Face, decision: Decision) -> int:
    from ordergate.cli.answer import decision_data, exit_code
    from ordergate.cli.decision_page import decision_page

    return face.show(
        Answer(data=decision_data(decision), page=lambda: decision_page(decision), code=exit_code(decision))
    )
