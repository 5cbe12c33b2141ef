"""`ledger`: bring a ledger up to date, copy it into another store, back it up, verify it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from ordergate.cli.face import Answer, Face, shared
from ordergate.cli.page import Line
from ordergate.errors import LedgerDamaged, LedgerError

if TYPE_CHECKING:
    from ordergate.ledger import Ledger

__all__ = ["ledger"]

_STEP: Final = 500  # rows between two looks of the progress bar

T = TypeVar("T")


@click.group(no_args_is_help=False)
@shared
def ledger() -> None:
    """The store that decisions are kept in: bring it up to date, copy it, back it up, verify it."""


@ledger.command()
@click.option(
    "--backup",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the ledger is copied to first; beside it, as FILE.before-migration, when left out.",
)
@shared
@click.pass_obj
def migrate(face: Face, backup: Path | None) -> int:
    """Bring the config's ledger to the schema of this ordergate: back it up, fold it anew, verify it; or leave it."""
    from ordergate.config import read_config
    from ordergate.sqlite_upkeep import migrate as bring_up

    config = read_config(face.config_path)
    path = _file_of(config.gate.ledger, config.folder)
    if path is None:
        return face.show(_migrated(None, None))
    kept = backup or path.with_name(f"{path.name}.before-migration")
    with face.progress("Looking at the ledger") as at:
        had = bring_up(path, kept, at)
    return face.show(_migrated(had, kept))


def _migrated(had: int | None, backup: Path | None) -> Answer:
    from ordergate.sqlite_schema import SCHEMA

    if had is None:
        line = Line("Nothing to do: a PostgreSQL ledger is brought up to date when it is opened.", "good")
        return Answer(data={"migrated": False, "schema": None, "had": None, "backup": None}, page=lambda: [line])
    migrated = had != SCHEMA
    data = {"migrated": migrated, "schema": SCHEMA, "had": had, "backup": str(backup) if migrated else None}
    text = f"Brought from schema {had} to {SCHEMA} and verified; as it was, it lies in {backup}."
    line = Line(text if migrated else f"Nothing to do: the ledger has schema {SCHEMA} already.", "good")
    return Answer(data=data, page=lambda: [line])


@ledger.command()
@click.argument("url")
@shared
@click.pass_obj
def copy(face: Face, url: str) -> int:
    """Copy the config's ledger into the empty one that URL names, in either store: the same rows in the same chain.

    Nothing may trade meanwhile: a ledger that moves while it is copied is not copied.
    """
    from ordergate.config import read_config

    config = read_config(face.config_path)
    with (
        closing(_source(config.gate.ledger, config.folder)) as source,
        closing(_target(url, config.folder)) as target,
        face.progress("Opening both ledgers") as at,
    ):
        rows, accounts = _copy(source, target, at)
    data = {"copied": True, "rows": rows, "accounts": accounts}
    line = Line(f"Copied and verified: {rows} rows of {accounts} accounts. Name it in gate.ledger to use it.", "good")
    return face.show(Answer(data=data, page=lambda: [line]))


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path))
@shared
@click.pass_obj
def backup(face: Face, file: Path) -> int:
    """Write the config's ledger to FILE, one SQLite ledger complete in itself, and verify it. Bots may go on."""
    from ordergate.clock import SystemClock
    from ordergate.config import read_config
    from ordergate.sqlite_ledger import SqliteLedger
    from ordergate.sqlite_upkeep import back_up

    config = read_config(face.config_path)
    path = _file_of(config.gate.ledger, config.folder)
    with closing(_source(config.gate.ledger, config.folder)) as source, face.progress("Backing the ledger up") as at:
        if path is not None:
            back_up(path, file)
        elif file.exists():
            raise LedgerError(f"{file} exists already and is not written over; move it away or name another")
        with ExitStack() as undo, closing(SqliteLedger(file.absolute(), SystemClock())) as target:
            if path is None:
                undo.callback(_remove, file)  # an empty ledger left behind would pass for a backup
                _copy(source, target, at)
                undo.pop_all()
            at("Verifying the backup")
            flaw = target.verify()
            rows, accounts = _size(target)
    if flaw is not None:
        raise LedgerDamaged(
            f"the backup {file} does not hold: {flaw}; `ordergate ledger verify` says if the ledger does"
        )
    line = Line(f"Backed up to {file} and verified: {rows} rows of {accounts} accounts.", "good")
    data = {"file": str(file), "rows": rows, "accounts": accounts}
    return face.show(Answer(data=data, page=lambda: [line]))


@ledger.command()
@click.argument("named", metavar="[LEDGER]", required=False)
@click.option(
    "--against", metavar="FILE", type=click.Path(path_type=Path), help="Heads kept outside, from `audit head --out`."
)
@shared
@click.pass_obj
def verify(face: Face, named: str | None, against: Path | None) -> int:
    """Fold the whole journal again and name the first row that does not hold. Exit code 1 when one does not.

    LEDGER is an SQLite file or a ledger's URL; the config's own when left out.
    """
    from ordergate.cli.named_ledger import opened_to_read
    from ordergate.cli.verifying import read_heads, verified
    from ordergate.clock import SystemClock
    from ordergate.config import read_config

    kept = None if against is None else read_heads(against)
    if named is None:
        config = read_config(face.config_path)
        opened = opened_to_read(config.gate.ledger, SystemClock(), folder=config.folder)
    else:
        opened = opened_to_read(named, SystemClock())
    with closing(opened) as store:
        answer = verified(face, store, kept)
    return face.show(answer)


def _copy(source: Ledger, target: Ledger, at: Callable[[str], None]) -> tuple[int, int]:
    """Copy all of it and verify the copy; how many rows and accounts. Raises LedgerError when the source moves."""
    heads = source.heads()
    rows, accounts = _size(source)

    def unmoved(found: Iterable[T]) -> Iterator[T]:
        yield from found
        if source.heads() != heads:
            raise LedgerError("the ledger moved while it was copied; stop what trades on it, and copy it again")

    target.adopt(_watched(source.entries(), rows, at), unmoved(source.contents()))
    at("Verifying the copy")
    flaw = target.verify()
    if flaw is not None:
        raise LedgerDamaged(f"the copy does not hold: {flaw}; do not use it")
    return rows, accounts


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)


def _watched(found: Iterable[T], total: int, at: Callable[[str], None]) -> Iterator[T]:
    for number, one in enumerate(found):
        if number % _STEP == 0:
            done = 30 * number // max(total, 1)
            at(f"Copying {'━' * done}{'─' * (30 - done)} {number:,} of {total:,} rows")
        yield one


def _size(store: Ledger) -> tuple[int, int]:
    """How many rows it has, and how many accounts with any."""
    rows = [seq for seq, _ in store.heads().values() if seq]
    return sum(rows), len(rows)


def _source(url: str, folder: Path) -> Ledger:
    """The config's ledger, which must be there."""
    from ordergate.clock import SystemClock
    from ordergate.ledger import open_ledger

    path = _file_of(url, folder)
    if path is not None and not path.is_file():
        raise LedgerError(f"there is no ledger {path} yet (gate.ledger)")
    return open_ledger(url, folder, SystemClock())


def _target(url: str, folder: Path) -> Ledger:
    """The ledger that the command's URL names, made where there is none."""
    from ordergate.cli.named_ledger import url_given_as
    from ordergate.clock import SystemClock
    from ordergate.ledger import open_ledger

    with url_given_as("url"):
        return open_ledger(url, folder, SystemClock())


def _file_of(url: str, folder: Path) -> Path | None:
    """The file of an SQLite ledger; None for another store."""
    scheme, _, path = url.partition("://")
    return folder / path[1:] if scheme == "sqlite" else None
