"""The command line. `ordergate --help` imports no command: each stands in a module that is loaded when it is called."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from ordergate import __version__
from ordergate.cli.face import FAILED, failed, is_open_pipe, open_missing, shared
from ordergate.errors import OrdergateError

__all__ = ["COMMANDS", "Commands", "commands", "main"]

Section = Mapping[str, tuple[str, str]]

COMMANDS: Final[Mapping[str, Section]] = {
    "Orders": {
        "check": ("orders:check", "Judge an order now; send and record nothing."),
        "buy": ("orders:buy", "Judge a buy and send it if every active rule approves."),
        "sell": ("orders:sell", "Sell a holding; an exit always passes."),
        "cancel": ("orders:cancel", "Cancel what is left of an order."),
        "limits": ("holdings:limits", "The sizes of a buy that would pass now, and who bounds them."),
    },
    "Account": {
        "positions": ("holdings:positions", "Holdings and what they are worth, equity, tier, open orders."),
        "dust": ("dust:dust", "Holdings too small to be positions; --sell sells what can be sold."),
        "reconcile": ("settling:reconcile", "Ask the venue what became of unfinished orders."),
    },
    "State": {
        "status": ("state:status", "Trading state, rules, problems and unfinished orders."),
        "halt": ("state:halt", "Exits only from now on; cancels open buys."),
        "resume": ("state:resume", "End a halt."),
        "doctor": ("doctor:doctor", "Would this set-up be safe to arm?"),
    },
    "Records": {
        "log": ("journal:log", "Recent orders and what became of them."),
        "explain": ("journal:explain", "A recorded decision in full, judged again."),
        "audit": ("journal:audit", "Verify the journal, keep its heads, export it."),
        "ledger": ("ledger:ledger", "Migrate, copy, back up or verify the ledger."),
        "replay": ("replay:replay", "What another config would have decided, from the record."),
    },
    "Set-up": {
        "init": ("setup_commands:init", "Write a commented config; --broker NAME for a real exchange."),
        "plugins": ("plugins:plugins", "Installed and active plugins; enable, disable, check, pin."),
        "schema": ("setup_commands:schema", "The config's JSON schema, for editors."),
        "venue": ("venue:venue", "Drive the paper venue, or stand an exchange up to rehearse at."),
        "demo": ("setup_commands:demo", "Watch the gate at work, without configuration."),
    },
}


class Commands(click.Group):
    """Knows the commands by name and one line of help, and loads one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        for section in COMMANDS.values():
            if cmd_name in section:
                module, _, attribute = section[cmd_name][0].partition(":")
                command: click.Command = getattr(import_module(f"ordergate.cli.{module}"), attribute)
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in names:
            near = get_close_matches(args[0], names, 1)
            ctx.fail(f"There is no command {args[0]!r}." + (f" Did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in section.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's own signature
        **extra: Any,
    ) -> Any:
        """Run a command and end the process with its exit code; no error that is expected shows a traceback."""
        del standalone_mode
        open_missing()
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a terminal of few letters is no reason to fail
        try:
            code = super().main(given, prog_name, complete_var, standalone_mode=False, **extra)
            code = code if isinstance(code, int) else 0
        except BrokenPipeError:
            code = FAILED
        except (OrdergateError, OSError, click.ClickException, click.Abort, KeyboardInterrupt) as error:
            try:
                code = failed(error, as_json="--json" in options, plain="--plain" in options)
            except OSError:  # stdout is what failed: say it where it can still be read
                code = FAILED
                with suppress(OSError):
                    failed(error, as_json=False, plain=True)
        sys.exit(code if is_open_pipe() else FAILED)


@click.group("ordergate", cls=Commands, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="ordergate")
@shared
@click.pass_context
def commands(context: click.Context) -> int | None:
    """No buy reaches an exchange unless every active rule approves it.

    Exit codes: 0 done or approved, 2 usage or config, 3 refused by the gate, 4 outcome unknown, 5 rejected by the
    venue, 1 anything else.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return None


def main() -> NoReturn:
    """The program `ordergate`."""
    sys.exit(commands.main(prog_name="ordergate"))
