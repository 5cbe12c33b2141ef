"""Random appends to the real ledger, held against the same appends to a few lines of plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ordergate.clock import SystemClock
from ordergate.journal import link
from ordergate.ledger import EVERY_ACCOUNT, AccountState, AlreadyRecorded, Ledger
from ordergate.records import canonical
from ordergate.sqlite_ledger import SqliteLedger

NAMES = ("main", "other")
FINAL = ("filled", "cancelled", "expired", "rejected")

accounts = st.sampled_from(NAMES)
ids = st.sampled_from("abcdef")


@define
class ModelOrder:
    status: str
    final: bool
    live: bool
    receipt_at: float | None = None


@define
class ModelAccount:
    version: int = 0
    settlement: int = 0
    trading: str = "active"
    identity: str | None = None
    seq: int = 0
    head: str = ""
    keys: set[str] = field(factory=set)
    orders: dict[str, ModelOrder] = field(factory=dict)


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self, opened: Callable[[], Ledger]) -> None:
        super().__init__()
        self.opened = opened
        self.ledger = opened()
        self.model = {name: ModelAccount() for name in (*NAMES, EVERY_ACCOUNT)}
        self.seen: dict[str, AccountState] = {}
        self.at = 1_800_000_000.0

    @initialize()
    def name_accounts(self) -> None:
        for name in self.model:
            self.ledger.state(name)

    # -------------------------------------------------------------------------------------------------------- appends

    def _append(
        self, name: str, kind: str, body: dict[str, Any], key: str | None, judged_on: AccountState | None = None
    ) -> bool:
        """Append to both; True when both took it. Whatever one takes and the other does not is a failure."""
        model = self.model[name]
        self.at += 0.25
        fresh = judged_on is None or (judged_on.version, judged_on.settlement) == (model.version, model.settlement)
        try:
            row = self.ledger.append(name, kind, body, at=self.at, key=key, judged_on=judged_on)
        except AlreadyRecorded:
            assert fresh
            assert self._clashes(name, kind, body, key)
            return False
        assert (row is not None) == fresh
        if row is None:
            return False
        assert not self._clashes(name, kind, body, key)
        model.seq += 1
        assert row == model.seq
        model.head = link(model.head, name, row, kind, self.at, key, canonical(body))
        if key is not None:
            model.keys.add(key)
        return True

    def _clashes(self, name: str, kind: str, body: dict[str, Any], key: str | None) -> bool:
        model = self.model[name]
        if key in model.keys or (kind == "decision" and body["client_order_id"] in model.orders):
            return True
        taken = {one.identity for other, one in self.model.items() if other != name}
        return kind == "bound" and body["identity"] in taken

    @rule(name=accounts)
    def look(self, name: str) -> None:
        self.seen[name] = self.ledger.state(name)

    @rule(name=accounts, client_id=ids, approved=st.booleans(), is_exit=st.booleans(), judged=st.booleans())
    def decide(self, name: str, client_id: str, approved: bool, is_exit: bool, judged: bool) -> None:
        reserves = approved and not is_exit
        reservation = {
            "client_order_id": client_id,
            "wire_id": f"wire-{client_id}",
            "symbol": "BTC-USD",
            "gives": "USD",
            "takes": "BTC",
            "needs": "25",
            "size": "25",
        }
        body = {
            "client_order_id": client_id,
            "digest": client_id,
            "symbol": "BTC-USD",
            "is_exit": is_exit,
            "venue_order": {"client_order_id": f"wire-{client_id}", "send_by": self.at + 5} if approved else None,
            "reservation": reservation if reserves else None,
        }
        judged_on = self.seen.get(name) if judged else None
        if self._append(name, "decision", body, f"order:{client_id}", judged_on):
            model = self.model[name]
            status = "sending" if approved else "refused"
            model.orders[client_id] = ModelOrder(status, final=not approved, live=reserves)
            model.version += reserves

    @rule(name=accounts, client_id=ids, status=st.sampled_from(["open", "partly_filled", "unknown", *FINAL]))
    def hear(self, name: str, client_id: str, status: str) -> None:
        body = {"client_order_id": client_id, "status": status, "receipt": None}
        if self._append(name, "receipt", body, None):
            model = self.model[name]
            model.version += status == "unknown"
            order = model.orders.get(client_id)
            if order is not None and not order.final:
                order.status, order.final, order.receipt_at = status, status in FINAL, self.at

    @rule(name=accounts, gone=st.lists(ids, max_size=3, unique=True))
    def settle(self, name: str, gone: list[str]) -> None:
        if self._append(name, "settled", {"gone": gone}, None):
            model = self.model[name]
            model.version += 1
            model.settlement += 1
            for client_id in gone:
                if client_id in model.orders:
                    model.orders[client_id].live = False

    @rule(name=st.sampled_from([*NAMES, EVERY_ACCOUNT]), trading=st.sampled_from(["active", "exits_only"]))
    def halt_or_resume(self, name: str, trading: str) -> None:
        if self._append(name, "trading", {"trading": trading, "by": "Ann", "reason": "drill"}, None):
            self.model[name].trading = trading
            for other in self.model if name == EVERY_ACCOUNT else [name]:
                self.model[other].version += 1

    @rule(name=accounts, identity=st.sampled_from(["one", "two"]))
    def bind(self, name: str, identity: str) -> None:
        if self.model[name].identity not in (None, identity):
            return  # the gate binds a name once
        if self._append(name, "bound", {"identity": identity}, f"bound:{identity}"):
            self.model[name].identity = identity
            self.model[name].version += 1

    @rule(name=accounts, key=st.sampled_from([None, "alarm:1"]))
    def alarm(self, name: str, key: str | None) -> None:
        self._append(name, "alarm", {"code": "x"}, key)

    @precondition(lambda self: any(model.seq for model in self.model.values()))
    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = self.opened()
        assert self.ledger.verify() is None

    # ------------------------------------------------------------------------------------------------------ comparing

    @invariant()
    def states_agree(self) -> None:
        every = self.model[EVERY_ACCOUNT]
        for name in NAMES:
            state, model = self.ledger.state(name), self.model[name]
            halted = "exits_only" in (model.trading, every.trading)
            assert (state.version, state.settlement) == (model.version, model.settlement)
            assert (state.identity, state.seq) == (model.identity, model.seq)
            assert state.trading == ("exits_only" if halted else "active")
            assert {one.client_order_id: (one.status, one.receipt_at) for one in state.reservations} == {
                client_id: (order.status, order.receipt_at) for client_id, order in model.orders.items() if order.live
            }

    @invariant()
    def orders_agree(self) -> None:
        for name in NAMES:
            waiting = {one.client_order_id: one.status for one in self.ledger.unfinished(name)}
            orders = self.model[name].orders.items()
            assert waiting == {client_id: order.status for client_id, order in orders if not order.final}

    def teardown(self) -> None:
        assert self.ledger.verify() is None
        assert self.ledger.heads() == {name: (model.seq, model.head) for name, model in self.model.items()}
        self.ledger.close()


def test_random_appends_fold_to_what_a_plain_model_says(
    new_store: Callable[[], Any], request: pytest.FixtureRequest
) -> None:
    def machine() -> LedgerMachine:
        return LedgerMachine(new_store().open)

    run_state_machine_as_test(
        cast("type[LedgerMachine]", machine),
        settings=settings(
            max_examples=10 if request.node.callspec.id == "postgres" else 40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


class TwoProcesses(LedgerMachine):
    """Both go on with the same accounts, and a third that knows nothing yet looks at what they say."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda: SqliteLedger(path, SystemClock()))
        self.path = path
        self.other = self.opened()

    @rule()
    def go_on_in_the_other_process(self) -> None:
        self.ledger, self.other = self.other, self.ledger

    @invariant()
    def what_is_remembered_is_what_is_read(self) -> None:
        with closing(SqliteLedger(self.path, SystemClock())) as fresh:
            for name in NAMES:
                assert self.ledger.state(name) == fresh.state(name)
                assert self.other.state(name) == fresh.state(name)

    def teardown(self) -> None:
        super().teardown()
        self.other.close()


def test_states_that_were_followed_are_those_read_anew(tmp_path: Path) -> None:
    numbers = itertools.count()

    def machine() -> TwoProcesses:
        return TwoProcesses(tmp_path / f"ledger-{next(numbers)}.db")

    run_state_machine_as_test(
        cast("type[TwoProcesses]", machine),
        settings=settings(
            max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
