"""docs/hooks.md says of every hook what its specification says, and every example there is a plugin the gate takes.

`python tests/docs/test_hooks_page.py` writes the generated part of the page anew.
"""

from __future__ import annotations

import inspect
import sys
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from ordergate import Decision, Order, OrderStatus, Side, StateChange, VenueOrder, testing
from ordergate.broker import Broker
from ordergate.clock import SystemClock
from ordergate.hookspecs import BROKER, OBSERVER, RULE, Kind
from ordergate.plugins import Admitted, admit
from ordergate.settings import Gate

PAGE = Path(__file__).parents[2] / "docs" / "hooks.md"
BEGIN, END = "<!-- from the specifications: begin -->", "<!-- from the specifications: end -->"
TITLES = {RULE: "Rules", BROKER: "Brokers", OBSERVER: "Observers"}
HOOKS = [(kind, name) for kind in TITLES for name in vars(kind.specs) if name in kind.hooks]


# ------------------------------------------------------------------------------------------ from the specifications


def split(kind: Kind, name: str) -> tuple[str, str]:
    """What a hook's docstring says, and its example: everything from the first import on."""
    lines = inspect.cleandoc(vars(kind.specs)[name].__doc__).splitlines()
    start = next(number for number, line in enumerate(lines) if line.lstrip().startswith(("from ", "import ")))
    return "\n".join(lines[:start]).strip(), dedent("\n".join(lines[start:])).strip()


def signature(kind: Kind, name: str) -> str:
    spec = inspect.signature(vars(kind.specs)[name])
    arguments = [f"{each.name}: {each.annotation}" for each in spec.parameters.values() if each.name != "self"]
    return f"{name}({', '.join(arguments)}) -> {spec.return_annotation}"


def section(kind: Kind, name: str) -> str:
    prose, example = split(kind, name)
    return f"### {name}\n\n`{signature(kind, name)}`\n\n{prose}\n\n```python\n{example}\n```\n"


def generated() -> str:
    parts = []
    for kind, title in TITLES.items():
        prose = inspect.cleandoc(str(kind.specs.__doc__))
        parts.append(f"## {title}\n\nEntry-point group `{kind.group}`. {prose}\n")
        parts += [section(each, name) for each, name in HOOKS if each is kind]
    return "\n".join(parts)


def test_the_page_holds_what_the_specifications_say() -> None:
    written = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]

    assert written.strip() == generated().strip(), f"run {Path(__file__).name} as a script to write it anew"


@pytest.mark.parametrize(("kind", "name"), HOOKS)
def test_every_hook_says_whether_it_is_required_and_has_an_example(kind: Kind, name: str) -> None:
    prose, example = split(kind, name)

    assert ("Required" in prose) is (name in kind.required)
    assert ("Optional" in prose) is (name not in kind.required)
    assert f"@hookimpl\ndef {name}(" in example


# -------------------------------------------------------------------------------------- the examples, as plugins


@pytest.fixture
def admitted(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Admitted:
    """All examples of a kind in one module, installed as a distribution and admitted as the gate would."""
    kind: Kind = request.param
    module = f"documented_{kind.name}"
    info = tmp_path / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{kind.group}]\nexample = {module}\n")
    source = "\n\n".join(split(each, name)[1] for each, name in HOOKS if each is kind)
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    return admit(kind, "example")


def call(plugin: Admitted, hook: str, **values: Any) -> Any:
    return plugin.hooks[hook].call(values)


@pytest.mark.parametrize("admitted", list(TITLES), indirect=True, ids=lambda kind: str(kind.name))
def test_the_examples_of_a_kind_make_a_plugin_that_is_admitted(admitted: Admitted) -> None:
    assert admitted.hooks.keys() == admitted.kind.hooks


@pytest.mark.parametrize("admitted", [RULE], indirect=True, ids=["rule"])
def test_the_example_rule_is_a_rule(admitted: Admitted) -> None:
    module = import_module("documented_rule")

    testing.check_rule(module)
    account = testing.account("100")
    assert testing.judge(module, order=testing.purchase("50"), account=account).approved
    refused = testing.judge(module, order=testing.purchase("60"), account=account)
    assert (refused.code, refused.observed, refused.limit) == ("over_half", Decimal(60), Decimal(50))


class Client:
    """What the examples of a broker's hooks expect of their SDK."""

    def send(self, **order: str) -> dict[str, str]:
        return {"id": order["id"], "order": "venue-1"}

    def lookup(self, client_order_id: str) -> dict[str, str] | None:
        return {"pair": "BTC-USD", "status": "filled", "order": "venue-1"} if client_order_id == "known" else None

    def cancel(self, client_order_id: str) -> None:
        assert client_order_id == "known"

    def time(self) -> dict[str, str]:
        return {"unixtime": "1795392000"}


@pytest.mark.parametrize("admitted", [BROKER], indirect=True, ids=["broker"])
def test_the_examples_of_a_broker_give_answers_that_the_gate_takes(admitted: Admitted) -> None:
    assert call(admitted, "connect", settings=SimpleNamespace(cash="5")) == {"cash": "5"}
    broker = Broker.ready("main", admitted, None, None, Gate(), SystemClock())
    assert isinstance(broker, Broker)
    broker._client.append(Client())  # pyright: ignore[reportPrivateUsage]
    known, other = order("known"), order("other")

    assert broker.profile.fee_threshold.value == Decimal(5)
    assert broker.get_account().holdings[0].currency == "USD"
    assert broker.get_prices(["BTC-USD"])["BTC-USD"].ask == Decimal(100)
    market = broker.get_market("BTC-USD")
    assert market is not None
    assert market.quote == "USD"
    assert broker.place_order(known, 10.0).status is OrderStatus.OPEN
    found = broker.find_order(known)
    assert found is not None
    assert found.status is OrderStatus.FILLED
    assert broker.find_order(other) is None
    assert broker.cancel_order(known, 10.0).status is OrderStatus.CANCELLED
    assert broker.get_fees("BTC-USD")[1].value == Decimal("0.008")
    assert broker.get_permissions() == ("view", "trade")
    assert broker.list_orders(0.0) == ()
    assert broker.get_time() == 1795392000.0


def order(client_order_id: str) -> VenueOrder:
    return VenueOrder(
        account="main",
        symbol="BTC-USD",
        side=Side.BUY,
        spend=Decimal(20),
        amount=None,
        limit=None,
        client_order_id=client_order_id,
        send_by=0.0,
    )


@pytest.mark.parametrize("admitted", [OBSERVER], indirect=True, ids=["observer"])
def test_the_examples_of_an_observer_say_what_they_heard(
    admitted: Admitted, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Order.buy("BTC-USD", spend="3", client_order_id="one")
    call(admitted, "on_decision", decision=Decision(status=OrderStatus.REFUSED, order=asked), settings=None)
    call(admitted, "on_order", order=asked, receipt=None, status=OrderStatus.UNKNOWN, settings=None)
    change = StateChange(kind="alarm", account="main", code="foreign_order", message="look")
    call(admitted, "on_state", change=change, settings=None)

    assert capsys.readouterr().out.splitlines() == ["refused BTC-USD", "one unknown", "alarm look"]


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{generated().strip()}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
