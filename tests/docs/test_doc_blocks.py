"""The fenced blocks of the pages: Python runs and prints what it says, TOML loads, and commands exist.

A comment above a block, `<!-- file: NAME -->`, makes it a file in the folder in which the page's Python runs. A block
after the words "It prints:" is compared with what the Python before it printed.
"""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import pytest
from attrs import frozen

from ordergate import Executor, Order, OrderStatus, testing
from ordergate.binding import WrittenNumber
from ordergate.cli import commands
from ordergate.hookspecs import OBSERVER, RULE
from ordergate.plugins import admit

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "brokers").glob("*/README.md")),
]
SOURCES = sorted((ROOT / "core").rglob("*.py"))

ELSEWHERE = {
    "docs/hooks.md": "tests/docs/test_hooks_page.py",
    "docs/replay.md": "tests/replay/test_replay_page.py",
    "docs/write-a-broker.md": "tests/thirdparty/test_guides.py",
    "docs/write-a-rule.md": "tests/thirdparty/test_guides.py",
}
"""Pages whose Python, and whose config, is tried by a test of its own."""
GIVEN = {
    "docs/operations.md": (
        "from ordergate import Executor\n"
        "with Executor.from_values({'gate': {'rules': ['dust']}, 'accounts': {'main': {'broker': 'paper'}}}) as made:\n"
        "    made.halt(by='test', reason='something to back up')\n"
    ),
    "docs/paper.md": (
        "from pathlib import Path\nimport ordergate_paper\n"
        "client = ordergate_paper.connect(ordergate_paper.Settings(state=Path('venue.db')))\n"
    ),
}
"""What the reader of a page has already, as Python."""
BASE: Mapping[str, Any] = {
    "gate": {"rules": ["position_cap", "min_allocation", "min_position", "dust", "average_position"]},
    "accounts": {"main": {"broker": "paper"}},
}
"""What a piece of config in a page is a piece of."""


@frozen
class Block:
    page: str
    line: int
    language: str
    body: str
    file: str | None
    printed: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def parse(page: str, text: str) -> list[Block]:
    lines = text.splitlines()
    # Steps of a list have blocks too: those are indented, and so is all that stands in them.
    fences = [number for number, line in enumerate(lines) if line.lstrip().startswith("```")]
    spans = list(zip(fences[::2], fences[1::2], strict=True))
    found = []
    for index, (start, end) in enumerate(spans):
        above = re.fullmatch(r"<!-- file: (\S+) -->", lines[start - 1]) if start else None
        follows = spans[index + 1] if index + 1 < len(spans) else (end, end)
        says = [line for line in lines[end + 1 : follows[0]] if line]
        printed = "\n".join(lines[follows[0] + 1 : follows[1]]) if says == ["It prints:"] else None
        body = dedent("".join(f"{line}\n" for line in lines[start + 1 : end]))
        found.append(
            Block(page, start + 1, lines[start].strip()[3:].strip(), body, above[1] if above else None, printed)
        )
    return found


BLOCKS = [block for page in PAGES for block in parse(str(page.relative_to(ROOT)), page.read_text(encoding="utf-8"))]
PYTHON = [block for block in BLOCKS if block.language == "python"]
CONFIGS = [
    block
    for block in BLOCKS
    if block.language == "toml" and block.page not in ELSEWHERE and "project" not in tomllib.loads(block.body)
]


def of(page: str) -> list[Block]:
    return [block for block in BLOCKS if block.page == page]


def test_the_blocks_are_found() -> None:
    text = "<!-- file: a.toml -->\n```toml\na = 1\n```\n\n```python\nprint(1)\n\n```\n\nIt prints:\n\n```text\n1\n```\n"

    assert parse("page", text) == [
        Block("page", 2, "toml", "a = 1\n", "a.toml", None),
        Block("page", 6, "python", "print(1)\n\n", None, "1"),
        Block("page", 13, "text", "1\n", None, None),
    ]


# ---------------------------------------------------------------------------------------------------------- Python


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON} - ELSEWHERE.keys()))
def test_python_runs_and_prints_what_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "documented"}
    exec(GIVEN.get(page, ""), scope)  # noqa: S102 - written above
    for block in of(page):
        if block.file is not None:
            Path(block.file).write_text(block.body, encoding="utf-8")
            continue
        capsys.readouterr()
        if block.language == "python":
            exec(compile(block.body, str(block), "exec"), scope)  # noqa: S102 - the page's own example
        elif block.language == "sh" and block.printed is not None:
            with pytest.raises(SystemExit):
                commands.main(shlex.split(block.body)[1:], "ordergate")
        if block.printed is not None:
            assert lines_of(capsys.readouterr().out) == lines_of(block.printed), str(block)


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


@pytest.mark.parametrize("block", [block for block in PYTHON if block.page in ELSEWHERE], ids=str)
def test_python_that_is_run_elsewhere_compiles(block: Block) -> None:
    compile(block.body, str(block), "exec")

    assert (ROOT / ELSEWHERE[block.page]).is_file()


# ------------------------------------------------------------------------------------------------------------ TOML


@pytest.mark.parametrize("block", CONFIGS, ids=str)
def test_config_loads_without_problems(block: Block, tmp_path: Path) -> None:
    shown = tomllib.loads(block.body, parse_float=WrittenNumber)
    values = {**BASE, **shown, "gate": {**BASE["gate"], **shown.get("gate", {})}}

    with Executor.from_values(values, folder=tmp_path) as executor:
        assert executor.setup.problems == ()
        assert executor.setup.refusals == ()


# ----------------------------------------------------------------------------------------- plugins of two files


def two_files(page: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[str, str]:
    """Install the module and the pyproject.toml that a page shows; its entry point's group and name."""
    files = {block.file: block.body for block in of(page) if block.file}
    project = tomllib.loads(files["pyproject.toml"])["project"]
    ((group, entries),) = project["entry-points"].items()
    ((name, module),) = entries.items()
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
    (folder / f"{module}.py").write_text(files[f"{module}.py"])
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, module, raising=False)
    return group, name


def test_the_rule_in_the_readme_refuses_and_approves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert two_files("README.md", monkeypatch, tmp_path) == (RULE.group, "half")
    admit(RULE, "half")
    testing.check_rule(importlib.import_module("ordergate_half"))
    files = {block.file: block.body for block in of("README.md") if block.file}
    values = tomllib.loads(files["ordergate.toml"])
    values["gate"]["rules"].append("half")

    with Executor.from_values(values, folder=tmp_path) as executor:
        assert executor.check(Order.buy("BTC-USD", spend="167.50")).status is OrderStatus.APPROVED
        refused = executor.check(Order.buy("BTC-USD", spend="167.51"))
        assert [verdict.code for verdict in refused.refusals] == ["over_half"]


def test_the_observer_in_its_page_is_admitted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert two_files("docs/observers.md", monkeypatch, tmp_path) == (OBSERVER.group, "alarms")
    assert admit(OBSERVER, "alarms").hooks.keys() == {"observer_settings", "on_state"}


def test_the_readme_holds_the_two_commands_in_blocks_of_their_own() -> None:
    begin = "python3 -m venv .uv && .uv/bin/pip install -q uv && .uv/bin/uv run"
    commands = [block.body for block in of("README.md") if block.body.startswith("python3")]

    assert commands == [f"{begin} ordergate demo\n", f"{begin} --group dev pytest\n"]


def test_the_backup_in_the_operations_page_is_a_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(GIVEN["docs/operations.md"], scope)  # noqa: S102 - written above
    (block,) = (block for block in PYTHON if block.page == "docs/operations.md")
    exec(block.body, scope)  # noqa: S102 - the page's own example
    copied = {**BASE, "gate": {**BASE["gate"], "ledger": "sqlite:///ordergate-backup.db"}}

    with Executor.from_values(copied, folder=tmp_path) as executor:
        assert executor.desk.ledger().verify() is None
        assert executor.status()["trading"] == "exits_only"


# -------------------------------------------------------------------------------------------------------- commands


def shell_lines() -> Iterator[tuple[str, str]]:
    """Where a block of commands, or one in backquotes, calls ordergate: what follows the name, by place."""
    for block in BLOCKS:
        if block.language in ("sh", "console"):
            for line in block.body.splitlines():
                command = re.search(r"(?:^|uv run |bin/|\$ )ordergate( .*)$", line)
                if command:
                    yield str(block), command[1].partition(" #")[0]
    for path in [*PAGES, *SOURCES]:
        for command in re.findall(r"`ordergate( [a-z-][^`\n]*)`", path.read_text(encoding="utf-8")):
            yield path.name, command


LINES = sorted(set(shell_lines()))


@pytest.mark.parametrize(("where", "line"), LINES, ids=[f"{where}:{line}" for where, line in LINES])
def test_commands_exist(where: str, line: str) -> None:
    assert unknown(commands, shlex.split(line)) == [], where


def unknown(program: click.Command, words: list[str]) -> list[str]:
    """Commands, options and arguments in a line that the program does not have."""
    command, wrong, room, value_of = program, [], 0, False
    for word in words:
        context = click.Context(command)
        parameters = command.get_params(context)
        takes = {name: each for each in parameters for name in (*each.opts, *each.secondary_opts)}
        if value_of:
            value_of = False
        elif word.startswith("-") and len(word) > 1:
            wrong += [word] if word not in takes.keys() | {"--help"} else []
            option = takes.get(word)
            value_of = isinstance(option, click.Option) and not option.is_flag and not option.count
        elif not isinstance(command, click.Group):
            room -= 1
            wrong += [word] if room < 0 else []
        elif re.fullmatch(r"[a-z-]+", word):
            # A group that is also a command may take values of options here; only a name it has goes deeper.
            inner = command.get_command(context, word)
            wrong += [word] if inner is None and command is program else []
            command = inner or command
            room = sum(each.nargs for each in command.params if isinstance(each, click.Argument))
    return wrong


def test_every_block_says_its_language() -> None:
    assert [str(block) for block in BLOCKS if not block.language] == []


def test_the_check_of_commands_sees_what_is_not_there() -> None:
    assert unknown(commands, ["serve", "--port", "80"]) == ["serve", "--port"]
    assert unknown(commands, ["buy", "BTC-USD", "--force"]) == ["--force"]
    assert unknown(commands, ["check", "buy", "BTC-USD", "--spend", "100"]) == ["BTC-USD"]
    assert unknown(commands, ["audit", "verify", "--against", "heads.json"]) == []
