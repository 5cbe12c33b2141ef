"""`venue paper`: drive the paper venue, as the market and its own staff would. `venue kraken` and its like: stand an
exchange up on loopback, in front of a paper venue, for bots to be tried at.
"""

from __future__ import annotations

import errno
import json
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from attrs import define, field

from ordergate.amounts import money, plain
from ordergate.cli.face import Answer, Face, broker_of, shared
from ordergate.cli.page import Block, Cell, Line, Page, Pairs, Table
from ordergate.errors import BrokerError, InputError

if TYPE_CHECKING:
    from ordergate.models import Receipt
    from ordergate.testing.rehearsal import Rehearsal
    from ordergate_paper import PaperVenue

__all__ = ["venue"]


@click.group(no_args_is_help=False)
@shared
def venue() -> None:
    """Drive a venue that is not a real one."""


@define
class Done:
    """What was done at the venue, and what there is to show."""

    lines: list[str] = field(factory=list)
    changed: list[Receipt] = field(factory=list)
    orders: tuple[Receipt, ...] | None = None


@venue.command()
@click.option("--account", metavar="NAME", help="The account; not needed where there is only one.")
@click.option("--reset", is_flag=True, help="Seed it anew from the config first: orders, faults and told prices go.")
@click.option("--clear-faults", is_flag=True, help="Let it behave again.")
@click.option("--fault", metavar="NAME", help="Tell it to fail in this way; docs/paper.md names the ways.")
@click.option("--times", metavar="N", help="For its next N uses, or `always`; 1 when left out.")
@click.option("--price", "prices", metavar="SYMBOL=PRICE", multiple=True, help="A new last price; can be repeated.")
@click.option("--orders", "with_orders", is_flag=True, help="List every order it took.")
@shared
@click.pass_obj
def paper(
    face: Face,
    *,
    account: str | None,
    reset: bool,
    clear_faults: bool,
    fault: str | None,
    times: str | None,
    prices: Sequence[str],
    with_orders: bool,
) -> int:
    """Tell the paper venue prices and faults, reset it, and see what it took. Without options: how it stands.

    Done in this order: reset, clear faults, fault, prices.
    """
    if times is not None and fault is None:
        raise InputError("times", times, "it goes with --fault")
    told = [_price(text) for text in prices]
    uses = _uses(times)
    with face.executor() as executor:
        client = _client(executor, account)
        import ordergate_paper as face_of_paper

        done = Done()
        if reset:
            face_of_paper.reset(client)
            done.lines.append("Reset: it holds what the config says, and no orders.")
        if clear_faults:
            face_of_paper.clear_faults(client)
            done.lines.append("It behaves again.")
        if fault is not None:
            face_of_paper.set_fault(client, fault, times=uses)
            done.lines.append(f"Told to fail: {fault}, {'until cleared' if uses is None else f'{uses} times'}.")
        now = executor.clock.now()
        done.changed += face_of_paper.replay(client, [(now, symbol, price) for symbol, price in told])
        done.lines += [f"{symbol} is at {price} now." for symbol, price in told]
        if with_orders:
            done.orders = tuple(face_of_paper.list_orders(client, 0.0))
        data = _data(client, done, face_of_paper)
    return face.show(Answer(data=data, page=lambda: _page(data, done)))


def _client(executor: Any, account: str | None) -> PaperVenue:
    from ordergate.calls import Failed

    broker = broker_of(executor, account)
    if broker.plugin.name != "paper":
        raise InputError("account", broker.account, f"its broker is {broker.plugin.name}, not paper")
    try:
        client: PaperVenue = broker.client(executor.config.gate.deadline)
    except Failed as failed:
        raise BrokerError(f"the paper venue of account {broker.account} cannot be used: {failed}") from failed
    return client


def _price(text: str) -> tuple[str, str]:
    symbol, separator, price = text.partition("=")
    if not separator:
        raise InputError("price", text, "write SYMBOL=PRICE, such as BTC-USD=68925.98")
    return symbol, price


def _uses(times: str | None) -> int | None:
    """How many uses a fault lasts; None: until cleared."""
    if times is None:
        return 1
    if times == "always":
        return None
    if not (times.isascii() and times.isdigit() and 0 < len(times) < 7):
        raise InputError("times", times, "write a whole number from 1, or always")
    return int(times)


def _data(client: PaperVenue, done: Done, face_of_paper: Any) -> dict[str, object]:
    from ordergate.records import to_plain

    return {
        "venue": client.settings.venue.value,
        "file": str(client.path),
        "orders_taken": face_of_paper.count_orders(client),
        "requests": face_of_paper.count_requests(client),
        "done": list(done.lines),
        "changed": to_plain(tuple(done.changed)),
        "orders": None if done.orders is None else to_plain(done.orders),
        "notices": list(client.notices),
    }


def _page(data: dict[str, Any], done: Done) -> Page:
    blocks: list[Block] = [Line(line, "good") for line in done.lines]
    if done.changed:
        blocks.append(_receipts("Resting orders that this filled", done.changed))
        blocks.append(Line("The gate hears of it at its next look; `ordergate reconcile` looks now.", "dim"))
    if done.orders is not None:
        blocks.append(_receipts("Orders it took", done.orders) if done.orders else Line("It took no order yet."))
    blocks.append(
        Pairs(
            (
                ("imitates", data["venue"]),
                ("file", data["file"]),
                ("orders taken", str(data["orders_taken"])),
                ("requests to place one", str(data["requests"])),
            )
        )
    )
    return [*blocks, *(Line(notice, "warn") for notice in data["notices"])]


def _receipts(title: str, receipts: Sequence[Receipt]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            one.symbol,
            one.side.value,
            one.status.value.replace("_", " "),
            plain(one.filled_amount),
            money(one.filled_value),
            money(one.fees),
            "" if one.limit is None else plain(one.limit),
            one.client_order_id,
        )
        for one in receipts
    ]
    columns = ("symbol", "side", "status", "filled", "value", "fees", "limit", "id on the wire")
    return Table(columns, rows, title=title, right=frozenset(columns[3:7]))


# ------------------------------------------------------------------------------------------ exchanges on loopback

_STANDING: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "kraken": ("kraken", {}),
    "coinbase": ("coinbase", {}),
    "binance": ("ccxt", {"exchange": "binance"}),
}
"""The exchanges, the broker that speaks to each, and what its table says beside where the venue is."""
_ACCOUNT: Final = "rehearsal"


def _standing(name: str) -> click.Command:
    @click.option("--port", type=click.IntRange(0, 65535), default=0, help="Its port; a free one when left out.")
    @click.option("--folder", metavar="DIR", help=f"Where its files are kept; rehearsal-{name} when left out.")
    @shared
    @click.pass_obj
    def command(face: Face, *, port: int, folder: str | None) -> int:
        path = Path(f"rehearsal-{name}" if folder is None else folder).absolute()
        with _started(name, path, port) as made, _until_told() as told:
            data = _where(name, path, made)
            code = face.show(Answer(data=data, page=lambda: _where_page(data)))
            told.wait()
        return code

    return click.command(name, help=f"Stand {name.capitalize()} up on loopback until Ctrl-C; see docs/rehearse.md.")(
        command
    )


@contextmanager
def _started(name: str, folder: Path, port: int) -> Iterator[Any]:
    module = import_module(f"ordergate.testing.{name}")
    from ordergate.testing.control import Control

    try:
        made = module.serve(folder, port)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise InputError("port", port, f"{error.strerror}; name another, or leave it out for a free one") from error
        raise InputError("folder", str(folder), f"{error.strerror or error}; name another folder") from error
    with made:
        made.server.control = Control(made, made.server)
        yield made


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, instead of what they do otherwise."""
    told = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: told.set()) for number in numbers]
    try:
        yield told
    finally:
        for number, was in zip(numbers, before, strict=True):
            signal.signal(number, was)


def _where(name: str, folder: Path, made: Any) -> dict[str, Any]:
    return {
        "venue": name,
        "port": made.server.port,
        "folder": str(folder),
        "control": f"{'http' if name != 'coinbase' else 'https'}://{made.server.address}/rehearsal",
        "config": _config(name, made),
        "faults": sorted(made.faults),
        "notes": list(made.notes),
    }


def _config(name: str, made: Rehearsal) -> str:
    """What to put into the config, as TOML. Texts in JSON are texts in TOML too."""
    gate = {**made.gate, **({"at_par": list(made.at_par)} if made.at_par else {})}
    broker, settings = _STANDING[name]
    tables = {
        "gate": gate,
        f"accounts.{_ACCOUNT}": {"broker": broker},
        f"accounts.{_ACCOUNT}.{broker}": {**settings, **made.settings},
    }
    return "\n".join(
        f"[{table}]\n" + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
        for table, values in tables.items()
        if values
    )


def _where_page(data: dict[str, Any]) -> Page:
    return [
        Line(f"{data['venue'].capitalize()} stands on port {data['port']} of this machine. Ctrl-C ends it.", "good"),
        Line(""),
        *map(Line, data["config"].splitlines()),
        Line(""),
        Pairs((("files", data["folder"]), ("tell it things at", data["control"]))),
        *(Line(note, "warn") for note in data["notes"]),
    ]


for _name in _STANDING:
    venue.add_command(_standing(_name))
