"""What all commands share: the common options, opening the executor, showing an answer, and turning errors into one.

A command computes an `Answer`: plain data for programs, blocks for people, and the exit code. Only here is decided
which of them is printed, and how.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import click
from attrs import define, frozen

from ordergate.cli.page import Line, Page, as_text
from ordergate.errors import ConfigError, InputError, OrdergateError, PluginError

if TYPE_CHECKING:
    from ordergate.broker import Broker
    from ordergate.executor import Executor

__all__ = [
    "DONE",
    "FAILED",
    "REFUSED",
    "REJECTED",
    "UNKNOWN",
    "USAGE",
    "Answer",
    "Face",
    "broker_of",
    "failed",
    "is_open_pipe",
    "named_by_user",
    "open_missing",
    "print_json",
    "shared",
]

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
UNKNOWN: Final = 4
REJECTED: Final = 5
INTERRUPTED: Final = 130

F = TypeVar("F", bound=Callable[..., Any])


@frozen(kw_only=True)
class Answer:
    """What a command found. `page` is only called when a person is to read it."""

    data: Mapping[str, object]
    page: Callable[[], Page]
    code: int = DONE


@define
class Face:
    """The options that every command takes."""

    config: str | None = None
    as_json: bool = False
    plain: bool = False

    @property
    def config_path(self) -> Path:
        if self.config is not None:
            return Path(self.config)
        return Path(os.environ.get("ORDERGATE_CONFIG") or "ordergate.toml")

    def executor(self) -> Executor:
        """The executor of the config, to be used in a `with`. Raises ConfigError when the file says nothing usable."""
        from ordergate.executor import Executor

        return Executor.from_config(self.config_path)

    def show(self, answer: Answer) -> int:
        """Print the answer and hand on its exit code."""
        try:
            if self.as_json:
                print_json(answer.data)
            else:
                self.print_page(answer.page())
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            why = error.strerror or error
            lost = f"the answer could not be written ({why}); `ordergate log` says what was done"
            raise OrdergateError(lost) from error
        return answer.code

    def print_page(self, page: Page, *, stream: IO[str] | None = None) -> None:
        target: IO[str] = sys.stdout if stream is None else stream
        if self.plain or not target.isatty():
            target.write(as_text(page))
            return
        from ordergate.cli.render import draw

        draw(page, target)

    def progress(self, what: str) -> AbstractContextManager[Callable[[str], None]]:
        """Progress on standard error where a person watches; gives a function that says what it is at."""
        if self.as_json or self.plain or not sys.stderr.isatty():
            return nullcontext(lambda _: None)
        from ordergate.cli.render import progress

        return progress(sys.stderr, what)


def broker_of(executor: Executor, account: str | None) -> Broker:
    """The account's broker. Raises InputError for an unknown account, ConfigError for one whose section is broken."""
    name = executor.account_name(account)
    if name in executor.setup.broken:
        raise ConfigError(executor.setup.broken[name])
    return executor.setup.brokers[name]


def shared(command: F) -> F:
    """Add the options every command takes. They may stand before or after the command's name."""
    for option in (
        click.option("--plain", is_flag=True, expose_value=False, callback=_keep, help="No colours and no frames."),
        click.option(
            "--json", "as_json", is_flag=True, expose_value=False, callback=_keep, help="One JSON object on stdout."
        ),
        click.option(
            "--config",
            metavar="FILE",
            expose_value=False,
            callback=_keep,
            help="The config file; ordergate.toml in this folder, or $ORDERGATE_CONFIG, when left out.",
        ),
    ):
        command = option(command)
    return command


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    face = context.ensure_object(Face)
    if value is not None and value is not False and parameter.name:
        setattr(face, parameter.name, value)


# --------------------------------------------------------------------------------------------------------- the outside


def print_json(data: Mapping[str, object]) -> None:
    """One object, ASCII only: neither a terminal nor a log can be steered by what stands in it."""
    text = json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False)
    sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")


def failed(error: BaseException, *, as_json: bool, plain: bool) -> int:
    """Show an error on the side it belongs to, stdout for programs and stderr for people; return the exit code."""
    code, data, lines = _told(error)
    if as_json:
        print_json({"status": None, **data})
    else:
        page = [Line(f"error: {lines[0]}", "bad"), *map(Line, lines[1:])]
        Face(plain=plain).print_page(page, stream=sys.stderr)
    return code


def _told(error: BaseException) -> tuple[int, dict[str, object], Sequence[str]]:
    """Exit code, what programs get, and the lines for people."""
    code, name, lines = FAILED, "FAILED", [str(error)]
    more: Mapping[str, object] = {}
    match error:
        case InputError():
            code, name = USAGE, error.code
            more = {"field": error.field, "value": _bounded(error.value), "fix": error.fix}
        case ConfigError():
            code, name = USAGE, error.code
            lines = ["the config forbids this:", *(f"  {problem}" for problem in error.problems)]
            more = {"problems": [{"where": one.where, "what": one.what, "fix": one.fix} for one in error.problems]}
        case PluginError():
            name, more = error.code, {"plugin": error.name, "fix": error.fix}
        case OrdergateError():
            name = error.code
        case click.ClickException():
            code, name = USAGE, "USAGE"
            where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "ordergate"
            lines = [error.format_message(), f"`{where} --help` shows what can be given."]
        case OSError():
            name, lines = "FILE_UNUSABLE", [f"{error.filename or 'a file'}: {error.strerror or error}"]
        case _:
            code, name = INTERRUPTED, "INTERRUPTED"
            lines = ["Interrupted. If an order was being sent, `ordergate reconcile` says what became of it."]
    message = str(error) if isinstance(error, ConfigError) else lines[0]
    return code, {"error": name, "message": message, **more}, lines


def _bounded(value: object) -> str | None:
    """The value that was not usable, as text of a length that can be shown."""
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


@contextmanager
def named_by_user(field: str, path: Path) -> Iterator[None]:
    """A file the user named that cannot be used is bad input like any other."""
    try:
        yield
    except OSError as error:
        raise InputError(field, str(path), f"{error.strerror or error}; name another file") from error


def open_missing() -> None:
    """A standard stream that the caller closed becomes the null device: the answer is lost, the exit code is not, and
    no file of ours can take its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - it stays for the whole process
            setattr(sys, name, stream)


def is_open_pipe() -> bool:
    """False after the reader of stdout went away, or its disk is full; then nothing may be written any more, not even
    at exit.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
