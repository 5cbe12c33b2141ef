"""docs/cli.md has every command and every option, and nothing that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ordergate.cli import COMMANDS, commands
from ordergate.cli.face import Face

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SHARED = {"--config", "--json", "--plain", "--help"}


def tree(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    context = click.Context(command, obj=Face())
    if not isinstance(command, click.Group) or (command.invoke_without_command and name != "ordergate"):
        yield name, command
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from tree(found, f"{name} {inner}")


TREE = dict(tree(commands, "ordergate"))


def section(name: str) -> str:
    _, heading, rest = PAGE.partition(f"\n### `{name}`\n")
    assert heading, f"docs/cli.md has no section for {name}"
    return re.split(r"\n##+ ", rest)[0]


def options(command: click.Command) -> set[str]:
    parameters = command.get_params(click.Context(command))
    return {name for one in parameters if isinstance(one, click.Option) for name in one.opts} - SHARED


@pytest.mark.parametrize("name", TREE)
def test_every_command_and_option_is_documented(name: str) -> None:
    text = section(name)
    for option in options(TREE[name]):
        assert re.search(rf"`{option}[ `]", text), f"{name} {option}"


@pytest.mark.parametrize("name", TREE)
def test_nothing_is_documented_that_is_not_there(name: str) -> None:
    listed = re.findall(r"^- (.*?):(?: |$)", section(name), re.MULTILINE)
    told = {option for entry in listed for option in re.findall(r"`(--?[a-z-]+)", entry)}
    assert told <= options(TREE[name])


def test_every_section_is_a_command() -> None:
    assert set(re.findall(r"\n### `(ordergate[^`]*)`\n", PAGE)) == set(TREE)


def test_every_command_takes_the_shared_options() -> None:
    for name, command in TREE.items():
        parameters = command.get_params(click.Context(command))
        assert {"--config", "--json", "--plain"} <= {option for one in parameters for option in one.opts}, name


def test_every_command_and_option_has_help() -> None:
    for name, command in TREE.items():
        assert command.help, name
        for one in command.params:
            assert not isinstance(one, click.Option) or one.help, f"{name} {one.name}"
    assert all(text for entries in COMMANDS.values() for _, text in entries.values())
