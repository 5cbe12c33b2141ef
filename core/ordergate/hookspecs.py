"""The hooks a plugin may implement: one Protocol per kind of plugin.

A plugin is a module of plain functions marked with `@hookimpl`, named by an entry point in one of the groups
`ordergate.rules`, `ordergate.brokers` and `ordergate.observers`. A function takes only the arguments it needs, by name.
Nothing is subclassed: the Protocols say what the functions look like and are never imported by a plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import pluggy

from ordergate.decision import Decision, StateChange
from ordergate.models import (
    Account,
    AccountReport,
    BrokerProfile,
    History,
    Market,
    OrderStatus,
    Price,
    Purchase,
    Receipt,
    Tier,
    VenueOrder,
    Verdict,
)
from ordergate.order import Order

__all__ = ["BROKER", "OBSERVER", "RULE", "BrokerHooks", "Kind", "ObserverHooks", "RuleHooks", "hookimpl"]

_PROJECT: Final = "ordergate"
hookspec = pluggy.HookspecMarker(_PROJECT)
hookimpl = pluggy.HookimplMarker(_PROJECT)


class RuleHooks(Protocol):
    """Hooks of a rule."""

    @hookspec
    def validate_order(
        self,
        order: Purchase,
        market: Market,
        account: Account,
        tier: Tier,
        broker: BrokerProfile,
        history: History,
        settings: Any,
    ) -> Verdict:
        """Judge one buy. Required. Pure: no I/O, no clock, no state; the same arguments always give the same verdict.

        Whatever it raises, and whatever it returns that is not exactly a `Verdict`, is a refusal. It must answer within
        `gate.rule_budget` seconds. For a fixed market it is a minimum in size, a maximum, or indifferent to size: one
        idea per rule, which is also what lets the gate name the smallest size that passes.

            from decimal import Decimal

            from ordergate import Verdict, hookimpl

            @hookimpl
            def validate_order(order, account):
                limit = account.equity / 2
                if order.cost <= limit:
                    return Verdict.approve(observed=order.cost, limit=limit)
                return Verdict.refuse(
                    "over_half",
                    f"It would cost {order.cost} USD, over half of the equity, {limit} USD.",
                    observed=order.cost,
                    limit=limit,
                )
        """
        ...

    @hookspec
    def rule_settings(self) -> type:
        """The attrs class that `[rules.NAME]` of the config is bound to. Optional; without it the rule has no settings.

        Amounts are `Decimal`; give every field a default and `metadata={"help": "..."}`.

            from decimal import Decimal

            from attrs import field, frozen

            from ordergate import hookimpl

            @frozen
            class Settings:
                share: Decimal = field(default=Decimal("0.5"), metadata={"help": "Fraction of equity per buy."})

            @hookimpl
            def rule_settings():
                return Settings
        """
        ...


class BrokerHooks(Protocol):
    """Hooks of a broker: the functions through which the executor, and nobody else, speaks to a venue.

    Only `place_order` and `cancel_order` change anything at the venue. Each call runs under the gate's own
    deadline in a thread of its own, so a client must not be bound to the thread that made it. No hook may retry a send.
    """

    @hookspec
    def broker_settings(self) -> type:
        """The attrs class that `[accounts.NAME.BROKER]` is bound to. Required.

        A field of type `pathlib.Path` is resolved from the config's folder, and `{account}` in it becomes the account's
        name. `fee_threshold` may stand in the table of every broker; the gate reads it itself.

            from pathlib import Path

            from attrs import field, frozen

            from ordergate import hookimpl

            @frozen
            class Settings:
                key_file: Path = field(metadata={"help": "File with the API key, mode 0600."})

            @hookimpl
            def broker_settings():
                return Settings
        """
        ...

    @hookspec
    def broker_profile(self, settings: Any) -> BrokerProfile:
        """What the venue promises and costs, each figure with source and date. Required. No I/O.

        from decimal import Decimal

        from ordergate import Absence, BrokerProfile, FeesFrom, Figure, IdPromise, hookimpl

        @hookimpl
        def broker_profile():
            return BrokerProfile(
                venue="example",
                fee_threshold=Figure(Decimal("5"), "our own reckoning", "2026-11-01"),
                maker_fee=Figure(Decimal("0.005"), "example.com/fees", "2026-11-01"),
                taker_fee=Figure(Decimal("0.009"), "example.com/fees", "2026-11-01"),
                fees_from=FeesFrom.INSIDE,
                id_promise=IdPromise.ALWAYS_UNIQUE,
                absence=Absence.LOOKUP,
                honoured=120.0,
            )
        """
        ...

    @hookspec
    def connect(self, settings: Any) -> Any:
        """Make the client that the gate keeps and hands to every other hook. Required. Import the SDK here, not above.

        from ordergate import hookimpl

        @hookimpl
        def connect(settings):
            return {"cash": settings.cash}
        """
        ...

    @hookspec
    def get_account(self, client: Any) -> AccountReport:
        """Holdings, holds, open orders and the venue's identity of the account, all of them. Required.

        from decimal import Decimal

        from ordergate import AccountReport, Holding, hookimpl

        @hookimpl
        def get_account(client):
            return AccountReport(
                identity="portfolio-001",
                holdings=(Holding(currency="USD", available=Decimal("300")),),
            )
        """
        ...

    @hookspec
    def get_prices(self, client: Any, symbols: Sequence[str]) -> Sequence[Price]:
        """Best bid and ask of each symbol that has them now; leave out those that have none. Required.

        from decimal import Decimal

        from ordergate import Price, hookimpl

        @hookimpl
        def get_prices(client, symbols):
            return [Price(symbol=symbol, bid=Decimal("99"), ask=Decimal("100")) for symbol in symbols]
        """
        ...

    @hookspec
    def get_market(self, client: Any, symbol: str) -> Market | None:
        """The venue's limits and steps for the symbol, or None when the venue has no such market. Required.

        from decimal import Decimal

        from ordergate import Market, hookimpl

        @hookimpl
        def get_market(client, symbol):
            base, quote = symbol.split("-")
            return Market(
                symbol=symbol,
                base=base,
                quote=quote,
                amount_step=Decimal("0.00000001"),
                spend_step=Decimal("0.01"),
                price_step=Decimal("0.01"),
                min_spend=Decimal("1"),
            )
        """
        ...

    @hookspec
    def place_order(self, client: Any, order: VenueOrder) -> Receipt:
        """Send the order once, with `order.client_order_id` as its id on the wire. Required.

        Return a receipt with status `rejected` only for answers that prove the order was not taken. Raise for
        everything else: the outcome is then unknown, and the gate asks `find_order`.

            from ordergate import OrderStatus, Receipt, hookimpl

            @hookimpl
            def place_order(client, order):
                answer = client.send(id=order.client_order_id, pair=order.symbol, spend=str(order.spend))
                return Receipt(
                    client_order_id=answer["id"],
                    symbol=order.symbol,
                    side=order.side,
                    status=OrderStatus.OPEN,
                    order_id=answer["order"],
                )
        """
        ...

    @hookspec
    def find_order(self, client: Any, order: VenueOrder) -> Receipt | None:
        """Look the order up by its id on the wire, among open and closed ones. Required. Never sends anything.

        None means not visible now and is never a proof by itself; the profile says how absence is proved.

            from ordergate import OrderStatus, Receipt, hookimpl

            @hookimpl
            def find_order(client, order):
                answer = client.lookup(order.client_order_id)
                if answer is None:
                    return None
                return Receipt(
                    client_order_id=order.client_order_id,
                    symbol=answer["pair"],
                    side=order.side,
                    status=OrderStatus(answer["status"]),
                    order_id=answer["order"],
                )
        """
        ...

    @hookspec
    def cancel_order(self, client: Any, order: VenueOrder) -> Receipt:
        """Cancel what is left of the order and say how it stands now. Required. Cancelling a finished order is no
        error.

        from ordergate import OrderStatus, Receipt, hookimpl

        @hookimpl
        def cancel_order(client, order):
            client.cancel(order.client_order_id)
            return Receipt(
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                status=OrderStatus.CANCELLED,
            )
        """
        ...

    @hookspec
    def get_fees(self, client: Any, symbol: str) -> Sequence[Any]:
        """The account's actual maker and taker rate as two `Figure`s. Optional; without it the profile's rates count.

        from decimal import Decimal

        from ordergate import Figure, hookimpl

        @hookimpl
        def get_fees(client, symbol):
            return [
                Figure(Decimal("0.004"), "the account's fee tier", "2026-11-01"),
                Figure(Decimal("0.008"), "the account's fee tier", "2026-11-01"),
            ]
        """
        ...

    @hookspec
    def get_permissions(self, client: Any) -> Sequence[str] | None:
        """What the key may do, in the words `view`, `trade`, `transfer`, `withdraw`; None where the venue cannot tell.
        Optional. A key that may transfer or withdraw, or may not trade, buys nothing.

        from ordergate import hookimpl

        @hookimpl
        def get_permissions(client):
            return ["view", "trade"]
        """
        ...

    @hookspec
    def get_time(self, client: Any) -> float | None:
        """The venue's own clock, seconds since the epoch, UTC; None where it does not tell. Optional. Without it a
        clock that is wrong goes unseen.

        from ordergate import hookimpl

        @hookimpl
        def get_time(client):
            return float(client.time()["unixtime"])
        """
        ...

    @hookspec
    def rehearse(self, folder: Path) -> Any:
        """Start a venue on loopback, its files in the folder, that this broker can be checked against. Optional.

        Answer with an `ordergate.testing.Rehearsal`; `ordergate plugins check NAME` then proves the broker's level.

            from ordergate import hookimpl

            @hookimpl
            def rehearse(folder):
                from ordergate.testing.kraken import rehearsal

                return rehearsal(folder)
        """
        ...

    @hookspec
    def list_orders(self, client: Any, since: float) -> Sequence[Receipt] | None:
        """All orders of the account made since a moment (seconds since the epoch); None where the venue has no such
        list. Optional; finds orders the gate never sent.

            from ordergate import hookimpl

            @hookimpl
            def list_orders(client, since):
                return []
        """
        ...


class ObserverHooks(Protocol):
    """Hooks of an observer. Called after the fact; what they raise or how long they take changes nothing."""

    @hookspec
    def observer_settings(self) -> type:
        """The attrs class that `[observers.NAME]` is bound to. Optional.

        from attrs import frozen

        from ordergate import hookimpl

        @frozen
        class Settings:
            colour: bool = False

        @hookimpl
        def observer_settings():
            return Settings
        """
        ...

    @hookspec
    def on_decision(self, decision: Decision, settings: Any) -> None:
        """Hear a decision, approved or refused, checked or submitted. Optional.

        from ordergate import hookimpl

        @hookimpl
        def on_decision(decision):
            print(decision.status, decision.order.symbol)
        """
        ...

    @hookspec
    def on_order(self, order: Order, receipt: Receipt | None, status: OrderStatus, settings: Any) -> None:
        """Hear what became of an order that was sent; `receipt` is None while the outcome is unknown. Optional.

        from ordergate import hookimpl

        @hookimpl
        def on_order(order, status):
            print(order.client_order_id, status)
        """
        ...

    @hookspec
    def on_state(self, change: StateChange, settings: Any) -> None:
        """Hear of a halt, a resume or an alarm. Optional.

        from ordergate import hookimpl

        @hookimpl
        def on_state(change):
            print(change.kind, change.message)
        """
        ...


class Kind:
    """A kind of plugin: its entry-point group, its hooks, which of them are required, and which one names settings."""

    __slots__ = ("group", "hooks", "name", "required", "settings_hook", "specs")

    def __init__(self, name: str, specs: type, required: frozenset[str], settings_hook: str) -> None:
        self.name, self.group, self.specs = name, f"{_PROJECT}.{name}s", specs
        self.required, self.settings_hook = required, settings_hook
        self.hooks = frozenset(hook for hook in vars(specs) if hasattr(vars(specs)[hook], f"{_PROJECT}_spec"))

    def __repr__(self) -> str:
        return f"<Kind {self.name}>"


RULE: Final = Kind("rule", RuleHooks, frozenset({"validate_order"}), "rule_settings")
BROKER: Final = Kind(
    "broker",
    BrokerHooks,
    frozenset(
        (
            "broker_settings broker_profile connect get_account get_prices get_market place_order find_order "
            "cancel_order"
        ).split()
    ),
    "broker_settings",
)
OBSERVER: Final = Kind("observer", ObserverHooks, frozenset(), "observer_settings")
