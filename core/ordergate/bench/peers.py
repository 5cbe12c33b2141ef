"""Other gates, timed in the same process where they are installed. Nothing here is needed to use ordergate.

NautilusTrader 1.221 and vnpy_riskmanager 2.0, through what they offer to users. They are not like for like: each checks
other things than our five rules, neither reserves anything, and neither writes anything down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any, Final

from ordergate.bench.case import NotHere, Way
from ordergate.bench.measure import timed

__all__ = ["nautilus", "vnpy"]

_EVERY_SECOND: Final = "1000000/00:00:01"  # a rate of orders that no case reaches
_NEVER: Final = 10**9


def nautilus(share: float) -> Mapping[str, Way]:
    """NautilusTrader's risk engine on a limit buy that it passes on to an execution that does nothing: the check alone,
    and from the intent, which makes the order and the command too.
    """
    if find_spec("nautilus_trader") is None:
        raise NotHere("nautilus_trader is not installed")
    command = _nautilus()
    return {
        "nautilus": partial(timed, partial(command.check, command.made()), share),
        "nautilus, intent": partial(timed, lambda: command.check(command.made()), share),
    }


class _Command:
    def __init__(self, made: Callable[[], Any], check: Callable[[Any], object]) -> None:
        self.made, self.check = made, check


def _nautilus() -> _Command:
    component, names = _module("common.component"), _module("model.identifiers")
    objects, enums = _module("model.objects"), _module("model.enums")
    messages, ids = _module("execution.messages"), _module("core.uuid")
    trader, strategy = names.TraderId("BENCH-001"), names.StrategyId("S-001")
    clock = component.LiveClock()
    bus = component.MessageBus(trader_id=trader, clock=clock)
    cache = _module("cache.cache").Cache()
    portfolio = _module("portfolio.portfolio").Portfolio(msgbus=bus, cache=cache, clock=clock)
    config = _module("risk.config").RiskEngineConfig(max_order_submit_rate=_EVERY_SECOND)
    bus.register("ExecEngine.execute", lambda _: None)
    bus.register("ExecEngine.process", _denied)
    risk = _module("risk.engine").RiskEngine(portfolio=portfolio, msgbus=bus, cache=cache, clock=clock, config=config)
    market = _module("test_kit.providers").TestInstrumentProvider.btcusdt_binance()
    cache.add_instrument(market)
    usdt = _module("model.currencies").USDT
    cash, nothing = objects.Money(50_000, usdt), objects.Money(0, usdt)
    balance = objects.AccountBalance(cash, nothing, cash)
    account, kind = names.AccountId("BINANCE-001"), enums.AccountType.CASH
    portfolio.update_account(
        _module("model.events").AccountState(account, kind, None, True, [balance], [], {}, ids.UUID4(), 0, 0)
    )
    factory = _module("common.factories").OrderFactory(trader_id=trader, strategy_id=strategy, clock=clock)

    def made() -> Any:
        amount, limit = objects.Quantity.from_str("0.100000"), objects.Price.from_str("68925.98")
        return messages.SubmitOrder(
            trader_id=trader,
            strategy_id=strategy,
            order=factory.limit(market.id, enums.OrderSide.BUY, amount, limit),
            command_id=ids.UUID4(),
            ts_init=clock.timestamp_ns(),
        )

    risk.start()
    return _Command(made, risk.execute)


def _denied(event: object) -> None:
    raise RuntimeError(f"NautilusTrader was to pass the order: {event}")


def _module(name: str) -> Any:
    return import_module(f"nautilus_trader.{name}")


def vnpy(share: float) -> Mapping[str, Way]:
    """Vnpy's five rules, those in Cython where they are built, on a limit buy that they pass; events go nowhere."""
    if find_spec("vnpy_riskmanager") is None:
        raise NotHere("vnpy_riskmanager is not installed")
    objects, constants = import_module("vnpy.trader.object"), import_module("vnpy.trader.constant")
    contract = objects.ContractData(
        gateway_name="bench",
        symbol="BTCUSD",
        exchange=constants.Exchange.GLOBAL,
        name="BTC-USD",
        product=constants.Product.SPOT,
        size=1,
        pricetick=0.01,
        min_volume=0.000001,
    )
    engine = import_module("vnpy_riskmanager.engine").RiskEngine(_Main(contract), _Nowhere())
    for rule in engine.rules.values():
        rule.update_setting({name: _NEVER for name in rule.parameters if name != "active"})
    numbers = count(1)

    def check() -> None:
        request = objects.OrderRequest(
            symbol="BTCUSD",
            exchange=constants.Exchange.GLOBAL,
            direction=constants.Direction.LONG,
            type=constants.OrderType.LIMIT,
            volume=0.1,
            price=68_000.0 + next(numbers) % 100,
        )
        if not engine.check_allowed(request, "bench"):
            raise RuntimeError("vnpy was to pass the order")

    return {"vnpy": partial(timed, check, share)}


class _Main:
    """Of vnpy's main engine, what its rules ask for."""

    def __init__(self, contract: object) -> None:
        self._contract = contract

    def get_contract(self, _: str) -> object:
        return self._contract

    def send_order(self, *_: object) -> str:
        return ""

    def write_log(self, msg: str, **_: object) -> None:
        if "Traceback" in msg:
            raise RuntimeError(f"vnpy could not load its rules: {msg}")


class _Nowhere:
    """Of vnpy's event engine, what its rules tell; nobody listens, as when nothing is shown."""

    def register(self, *_: object) -> None:
        pass

    def put(self, _: object) -> None:
        pass
