"""`check`, `buy`, `sell` and `cancel`. Amounts go to `Order` as they were typed: it alone reads them, strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from attrs import evolve

from ordergate.cli.answer import answer_of
from ordergate.cli.face import Face, shared
from ordergate.cli.signals import Signals
from ordergate.errors import InputError
from ordergate.order import Order

__all__ = ["buy", "cancel", "check", "sell"]

F = TypeVar("F", bound=Callable[..., Any])


def _only(_: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> str | None:
    """What was given, once: of two amounts nobody knows which is meant."""
    if len(given) > 1:
        raise InputError(str(parameter.name), ", ".join(given), f"give {parameter.opts[0]} once")
    return given[0] if given else None


def _once(*names: str, metavar: str, told: str) -> Callable[[F], F]:
    return click.option(*names, metavar=metavar, multiple=True, callback=_only, help=told)


def _options(*names: str) -> Callable[[F], F]:
    known = {
        "spend": _once("--spend", metavar="AMOUNT", told="Quote currency to spend, fees not added."),
        "amount": _once("--amount", metavar="AMOUNT", told="Base currency; a buy needs --limit with it."),
        "all": click.option("--all", is_flag=True, help="Everything that is available of it."),
        "limit": _once("--limit", metavar="PRICE", told="The worst price, in quote currency per base unit."),
        "account": _once("--account", metavar="NAME", told="The account; not needed where there is only one."),
        "id": _once(
            "--id", "client_order_id", metavar="ID", told="Your id for the order; sent twice, it is done once."
        ),
        "principal": _once("--principal", metavar="NAME", told="Who asks: a strategy, a bot, a person."),
    }

    def add(command: F) -> F:
        for name in reversed(names):
            command = known[name](command)
        return command

    return add


@click.command()
@click.argument("symbol")
@click.option("--side", default="buy", metavar="SIDE", help="buy or sell; buy when left out.")
@_options("spend", "amount", "all", "limit", "account", "id", "principal")
@shared
@click.pass_obj
def check(face: Face, /, **fields: Any) -> int:
    """Judge an order now, by the code that `buy` uses. Nothing is sent, recorded or bound."""
    order = Order.from_mapping(fields)
    with face.executor() as executor:
        return face.show(answer_of(executor.check(order)))


@click.command()
@click.argument("symbol")
@_options("spend", "amount", "limit", "account", "id", "principal")
@shared
@click.pass_obj
def buy(face: Face, /, **fields: Any) -> int:
    """Judge a buy and send it if every active rule approves it.

    Give --spend for a market buy, --amount with --limit for a limit buy, or --spend with --limit.
    """
    return _sent(face, Order.from_mapping({**fields, "side": "buy"}))


@click.command()
@click.argument("symbol")
@_options("amount", "all", "limit", "account", "id", "principal")
@click.option(
    "--force-liquidate", is_flag=True, help="The emergency form: cancels resting orders first, waits for nothing."
)
@click.option("--reason", metavar="TEXT", help="Why; needed with --force-liquidate.")
@shared
@click.pass_obj
def sell(face: Face, /, **fields: Any) -> int:
    """Sell a holding. A sell into cash passes in every state; one that buys another coin is judged like a buy."""
    return _sent(face, Order.from_mapping({**fields, "side": "sell"}))


@click.command()
@click.argument("client_order_id", metavar="ID")
@_options("account")
@shared
@click.pass_obj
def cancel(face: Face, client_order_id: str, account: str | None) -> int:
    """Cancel what is left of an order. Works in every state. Exit code 0: nothing of it is open any more."""
    with Signals(face) as signals, face.executor() as executor:
        signals.watch(executor, executor.account_name(account), client_order_id, None)
        decision = signals.over(executor.cancel(client_order_id, account=account))
        return face.show(answer_of(decision))


def _sent(face: Face, order: Order) -> int:
    with Signals(face) as signals, face.executor() as executor:
        named = evolve(order, client_order_id=order.client_order_id or executor.desk.new_id())
        signals.watch(executor, executor.account_name(order.account), str(named.client_order_id), named)
        decision = signals.over(executor.submit(named))
        return face.show(answer_of(decision))
