"""A ledger that the user names beside the config's own: by its URL or, for SQLite, by its file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ordergate.cli.face import named_by_user
from ordergate.errors import InputError

if TYPE_CHECKING:
    from ordergate.clock import Clock
    from ordergate.ledger import Ledger

__all__ = ["opened_to_read", "url_given_as"]


@contextmanager
def url_given_as(field: str) -> Iterator[None]:
    """A ledger's URL that did not come from the config is refused under the name of what the user gave."""
    try:
        yield
    except InputError as error:
        if error.field != "gate.ledger":
            raise
        raise InputError(field, error.value, error.fix) from error


def opened_to_read(ledger: str, clock: Clock, *, folder: Path | None = None) -> Ledger:
    """Open it for reading, also when it is damaged; a file is never made. A relative path counts from `folder`, the
    current one when left out: then the user named it, else the config. Raises InputError for what names no ledger,
    LedgerError when it cannot be opened.
    """
    from ordergate.ledger import open_ledger

    field = "ledger" if folder is None else "gate.ledger"
    scheme, separator, path = ledger.partition("://")
    if separator and scheme in ("postgresql", "postgres"):
        with url_given_as(field):
            return open_ledger(ledger, Path.cwd(), clock, to_inspect=True)
    if separator and not (scheme == "sqlite" and path.startswith("/")):
        raise InputError(field, f"{scheme}://", "name an SQLite file, sqlite:///FILE or postgresql://USER@HOST/NAME")
    file = (folder or Path.cwd()) / (path[1:] if separator else ledger)
    with named_by_user(field, file):
        if file.is_dir():
            raise InputError(field, ledger, "it is a folder; name the ledger's file in it")
        if file.stat().st_size == 0:
            raise InputError(field, ledger, "it is an empty file; name a ledger that decisions were recorded in")
    return open_ledger(f"sqlite:///{file}", Path.cwd(), clock, to_inspect=True)
