"""`ordergate demo`: a day of orders through the real gate, on paper venues, in a folder of its own.

Nothing here is staged output: every line comes from the executor that trades, and what a scene claims is looked up
afterwards, in the ledger and at the venues. `scenes` does, `show` and `terminal` draw, `summary` counts.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ordergate.clock import Clock, SystemClock

if TYPE_CHECKING:
    from rich.console import Console

    from ordergate.demo.show import Show

__all__ = ["run_demo"]

_ASSUMED: Final = (
    "BTC-USD is taken to be worth what BTC-USDT is; USDT is 1.00 USD; all other markets keep one made-up price.",
    "Ask and bid are 0.02 % apart. Fees are the lowest tiers the venues publish; balances are made up.",
)


def run_demo(
    folder: Path,
    as_json: bool = False,  # noqa: FBT001, FBT002 - the second word of a short sentence: what, and in which form
    *,
    plain: bool = False,
    console: Console | None = None,
) -> int:
    """Play the demo into `folder` and leave a working set-up there. Returns 0, or 1 when something was not as it must.

    Aligned and coloured on a terminal, plain lines through a pipe or with `plain`, one object per line with
    `as_json`. `console`: a rich console to draw on instead, without pauses, to record a picture.
    Raises InputError when the folder is not the demo's own, and then touches nothing in it.
    """
    # What the executor brings is loaded here, so that importing this module stays light.
    from ordergate.demo.folder import own_folder
    from ordergate.demo.path import RECORDED
    from ordergate.demo.rehearsal import Rehearsal
    from ordergate.demo.scenes import SCENES
    from ordergate.demo.summary import sum_up

    clock = SystemClock()
    with own_folder(folder):
        show = _show(as_json=as_json, plain=plain, console=console, clock=clock)
        demo = Rehearsal(folder, show, clock)
        try:
            show.opening(RECORDED, _ASSUMED, [demo.account_line(name) for name in demo.venues])
            for scene in SCENES:
                scene(demo)
            with show.waiting("verifying the journal ..."):
                summary = sum_up(demo.executor.desk.ledger(), demo.orders_at_venues())
            show.ending(summary, _commands(folder))
            return 0 if demo.sound and summary.flaw is None and summary.sent == summary.at_venues else 1
        finally:
            demo.close()


def _show(*, as_json: bool, plain: bool, console: Console | None, clock: Clock) -> Show:
    from ordergate.demo.show import JsonShow, PlainShow

    if as_json:
        return JsonShow(sys.stdout)
    if plain or (console is None and not sys.stdout.isatty()):
        return PlainShow(sys.stdout)
    from rich.console import Console

    from ordergate.demo.terminal import TerminalShow

    if console is not None:
        return TerminalShow(console, clock, pause=False)
    return TerminalShow(Console(highlight=False), clock)


def _commands(folder: Path) -> tuple[str, ...]:
    """What to type next; first an alias to this very program where `ordergate` is not on the shell's own path."""
    return (
        f"cd {shlex.quote(str(folder))}",
        *_alias(),
        "ordergate status",
        "ordergate log",
        "ordergate explain dip-2 --account starter",
        "ordergate limits BTC-USD --account starter",
        "ordergate positions --account income",
        "ordergate dust --account income",
        "ordergate check BTC-USD --spend 3 --account starter",
        "ordergate audit verify",
    )


def _alias() -> tuple[str, ...]:
    script = Path(sys.prefix) / "bin" / "ordergate"
    found = shutil.which("ordergate")
    # `uv run` puts the program on the path of what it starts, and not on that of the shell it was typed in.
    if found is not None and "UV" not in os.environ:
        return ()
    program = shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m ordergate"
    return (f"alias ordergate={shlex.quote(program)}",)
