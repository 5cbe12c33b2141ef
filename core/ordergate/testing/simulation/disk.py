"""The real ledger on a disk that fails when the step says so, and that is dead for a process that died.

Every call is a point before it and a point after it: a process may die with the row written and nobody told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from ordergate.errors import LedgerBusy, LedgerError
from ordergate.journal import Break, Entry
from ordergate.ledger import AccountState, Content, Ledger, Recorded
from ordergate.models import TradingState

if TYPE_CHECKING:
    from ordergate.testing.simulation.world import World

__all__ = ["Disk"]

T = TypeVar("T")


class Disk:
    """A `Ledger` that hands every call to a real one."""

    def __init__(self, ledger: Ledger, world: World) -> None:
        self._ledger, self._world, self.mark = ledger, world, ledger.mark

    def _call(self, run: Callable[[], T]) -> T:
        world = self._world
        world.point("ledger")
        fault = world.frame.disk_now()
        if world.ledger_gone or fault in ("fails", "down"):
            raise LedgerError("the disk failed")
        if fault == "busy":
            world.advance(2.0)
            raise LedgerBusy("others kept it locked")
        answer = run()
        world.point("ledger")
        if fault == "acks_lost":
            raise LedgerError("the disk failed after it had written")
        return answer

    def append(
        self,
        account: str,
        kind: str,
        body: Mapping[str, object],
        *,
        at: float,
        key: str | None = None,
        judged_on: AccountState | None = None,
    ) -> int | None:
        def run() -> int | None:
            verdict = self._world.watch.sees_append(account, kind, body)
            row = self._ledger.append(account, kind, body, at=at, key=key, judged_on=judged_on)
            self._world.watch.sees_row(account, kind, body, row, verdict)
            return row

        return self._call(run)

    def keep(self, account: str, body: str) -> str:
        name = self._call(lambda: self._ledger.keep(account, body))
        self._world.watch.sees_text(name, body)
        return name

    def kept(self, account: str, name: str) -> str:
        return self._call(lambda: self._ledger.kept(account, name))

    def state(self, account: str) -> AccountState:
        return self._call(lambda: self._ledger.state(account))

    def find(self, account: str, client_order_id: str) -> Recorded | None:
        return self._call(lambda: self._ledger.find(account, client_order_id))

    def unfinished(self, account: str) -> tuple[Recorded, ...]:
        return self._call(lambda: self._ledger.unfinished(account))

    def recent(self, account: str | None, since: float, limit: int) -> tuple[Recorded, ...]:
        return self._call(lambda: self._ledger.recent(account, since, limit))

    def known_wire_ids(self, account: str, wire_ids: tuple[str, ...], *, alive: bool = False) -> frozenset[str]:
        return self._call(lambda: self._ledger.known_wire_ids(account, wire_ids, alive=alive))

    def accounts(self) -> Mapping[str, str | None]:
        return self._call(self._ledger.accounts)

    def busy_accounts(self) -> frozenset[str]:
        return self._call(self._ledger.busy_accounts)

    def trading(self) -> Mapping[str, tuple[TradingState, str]]:
        return self._call(self._ledger.trading)

    def entries(self, account: str | None = None, *, after: int = 0, newest: int | None = None) -> Iterator[Entry]:
        return iter(self._call(lambda: tuple(self._ledger.entries(account, after=after, newest=newest))))

    def contents(self) -> Iterator[Content]:
        return iter(self._call(lambda: tuple(self._ledger.contents())))

    def adopt(self, entries: Iterable[Entry], contents: Iterable[Content]) -> None:
        self._call(lambda: self._ledger.adopt(entries, contents))

    def heads(self) -> Mapping[str, tuple[int, str]]:
        return self._call(self._ledger.heads)

    def verify(self) -> Break | None:
        return self._call(self._ledger.verify)

    def close(self) -> None:
        self._ledger.close()
