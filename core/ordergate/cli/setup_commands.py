"""`init`, `schema` and `demo`: beginning."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ordergate.cli.face import Answer, Face, named_by_user, shared
from ordergate.cli.page import Line, Page
from ordergate.errors import InputError

if TYPE_CHECKING:
    from ordergate.executor import Executor

__all__ = ["demo", "init", "schema"]

_CONFIG: Final = "ordergate.toml"
_SCHEMA: Final = "ordergate.schema.json"
_RULES: Final = ("position_cap", "min_allocation", "min_position", "dust", "average_position")

# ------------------------------------------------------------------------------------------------------------- init


@click.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option(
    "--broker", default="paper", metavar="NAME", help="The broker of the account: paper, or any that is installed."
)
@click.option("--force", is_flag=True, help="Overwrite a config that is there.")
@shared
@click.pass_obj
def init(face: Face, *, folder: Path, broker: str, force: bool) -> int:
    """Write a commented ordergate.toml with an account and the five standard rules, and its JSON schema for editors."""
    from ordergate.schema import build_own, text

    account = _PAPER if broker == "paper" else tuple(_account_lines(broker))
    config, described = folder / _CONFIG, folder / _SCHEMA
    if not force:
        for path in (config, described):
            if path.exists() or path.is_symlink():
                raise InputError("DIR", str(path), "it exists; name another folder, or use --force to overwrite it")
    with named_by_user("DIR", folder):
        folder.mkdir(parents=True, exist_ok=True)
        described.write_text(text(build_own()), encoding="utf-8")
        config.write_text(_config_text(account), encoding="utf-8")
    option = "" if folder == Path() else f" --config {shlex.quote(str(config))}"
    verbs = ("doctor", "check BTC-USD --spend 3", "limits BTC-USD", "buy BTC-USD --spend 25")
    first = (
        "Try next:" if broker == "paper" else f"Look through [accounts.main.{broker}], put the key where it says. Then:"
    )
    # Where money moves, nobody is told to buy something for a try.
    following = [f"ordergate{option} {verb}" for verb in (verbs if broker == "paper" else verbs[:3])]
    data = {"config": str(config), "schema": str(described), "try": following}

    def page() -> Page:
        lines = [Line(f"Wrote {config} and {described}.", "good"), Line(first)]
        return [*lines, *(Line(f"  {command}") for command in following)]

    return face.show(Answer(data=data, page=page))


_PAPER: Final = (
    '# The broker that holds this account. "paper" is a venue in a file: orders are judged, filled and',
    "# recorded, and no money moves.",
    'broker = "paper"',
    "",
    "[accounts.main.paper]",
    "# Whose products, fees and promises it imitates: coinbase, kraken or binance.",
    'venue = "coinbase"',
    "# What a new venue file starts with. Changing it later changes nothing until",
    "# `ordergate venue paper --reset`.",
    'cash = "300.00"',
    'positions = { "ETH-USD" = "0.0100" }',
    "# What is staked or otherwise locked: it counts, and cannot be sold.",
    '# locked = { "SOL" = "2" }',
    "# Last prices. `ordergate venue paper --price BTC-USD=70000` tells a new one.",
    'prices = { "BTC-USD" = "68925.98", "ETH-USD" = "3500.00" }',
    "# The size in USD under which fees make a position pointless. It may raise what the broker declares,",
    "# never lower it.",
    '# fee_threshold = "10"',
    "# The venue's own file; {account} becomes the account's name.",
    '# state = "paper-{account}.db"',
    "# Distance of ask and bid as a fraction of the price.",
    '# spread = "0.001"',
)


def _account_lines(broker: str) -> Iterator[str]:
    """The account's section for an installed broker, from its settings class. Raises PluginError."""
    import attrs

    from ordergate.hookspecs import BROKER
    from ordergate.plugins import admit
    from ordergate.schema import plain_default

    admitted = admit(BROKER, broker)
    yield f'broker = "{broker}"'
    yield ""
    yield f"[accounts.main.{broker}]"
    fields: tuple[Any, ...] = attrs.fields(admitted.settings_class) if admitted.settings_class else ()
    for field in fields:
        yield from _wrapped(str(field.metadata.get("help", "")))
        given = field.metadata.get("example", plain_default(field.default))
        mark = "" if field.default is attrs.NOTHING else "# "
        yield f"{mark}{field.name} = {_toml('...' if given is None else given)}"
    yield from _wrapped("The size in USD under which fees make a position pointless; it may only be raised.")
    yield '# fee_threshold = "20"'


def _config_text(account: Iterable[str]) -> str:
    """The example config: what is active stands in the open, every other key of the gate as a comment."""
    rules = ", ".join(f'"{name}"' for name in _RULES)
    return "\n".join(
        [
            f"#:schema ./{_SCHEMA}",
            "# What the gate lets through, and on whose behalf. Every key is explained in docs/configure.md.",
            "# Relative paths count from this file's folder. A line that begins with `# key =` shows a default, or an",
            "# example of what could stand there.",
            "",
            "[gate]",
            "# The active rules. Every one of them must approve a buy. Installed is not active.",
            f"rules = [{rules}]",
            *_gate_lines(),
            "",
            "# Tiers are found by equity. Leave [[tiers]] out for the default table, or write your own:",
            "# [[tiers]]",
            '# name = "STARTER"',
            '# equity = "50"           # USD: where it begins',
            "# max_positions = 1",
            '# min_position = "10"     # USD: the smallest buy',
            '# min_allocation = "0.05" # the smallest buy as a fraction of equity, 0.05 to 0.10',
            "",
            "# Settings of a rule stand in a table of its name, such as:",
            "# [rules.dust]",
            '# exit_buffer = "0.10"',
            "",
            "[accounts.main]",
            *account,
            "",
        ]
    )


def _gate_lines() -> Iterator[str]:
    """Each further key of `[gate]`: what it is, and its default, commented out."""
    import attrs

    from ordergate.schema import plain_default
    from ordergate.settings import Gate

    for field in attrs.fields(Gate):
        if field.name == "rules":
            continue
        unit = field.metadata.get("unit")
        yield ""
        yield from _wrapped(f"{field.metadata['help']}{f' ({unit})' if unit else ''}")
        yield f"# {field.name} = {_toml(plain_default(field.default))}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    if value is None:
        return "5  # not set by default"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return format(value, "g") if isinstance(value, float) else str(value)


# ----------------------------------------------------------------------------------------------------- schema, demo


@click.command()
@shared
@click.pass_obj
def schema(face: Face) -> int:
    """The config's JSON schema with the settings of the active plugins, on stdout, with or without --json."""
    from ordergate.schema import build, text

    with face.executor() as executor:
        described = build(*(_classes(executor, kind) for kind in ("rule", "broker", "observer")))
    click.echo(text(described), nl=False)
    return 0


def _classes(executor: Executor, kind: str) -> dict[str, type]:
    found = {one.name: one.settings_class for one in executor.setup.admitted if one.kind.name == kind}
    return {name: cls for name, cls in found.items() if cls is not None}


@click.command()
@click.argument("folder", metavar="[DIR]", default="ordergate-demo", type=click.Path(path_type=Path))
@shared
@click.pass_obj
def demo(face: Face, folder: Path) -> int:
    """Watch the gate at work, without configuration: a stream of orders on paper venues, in a folder of its own."""
    from ordergate.demo import run_demo

    return run_demo(folder, face.as_json, plain=face.plain)
