"""docs/replay.md: its month of trading, done again, prints what the page prints and draws what it shows.

To write both anew after a change that is meant: `python tests/replay/test_replay_page.py`.
"""

from __future__ import annotations

import re
import shlex
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

from click.testing import CliRunner

import ordergate_paper as paper
from ordergate import Executor, Order
from ordergate.cli import commands
from ordergate.clock import SystemClock
from ordergate.testing.simulation.draw import Draw

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "replay.md"
PICTURE = ROOT / "docs" / "images" / "replay.svg"
BEGINS = 1793491200.0  # 2026-11-01 0:00 UTC
COINS = {"BTC-USD": 68926, "ETH-USD": 3500, "SOL-USD": 150, "LTC-USD": 90, "XRP-USD": 2}


class November(SystemClock):
    """A clock that stands still between what the bot does, so that the month is the same in every run."""

    at = BEGINS

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at - BEGINS

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def blocks() -> dict[str, str]:
    """Files by name, the command as `sh` and its output as `text`."""
    text = PAGE.read_text(encoding="utf-8")
    files = re.findall(r"<!-- file: (\S+) -->\n```toml\n(.*?)```", text, re.DOTALL)
    rest = re.findall(r"```(sh|text)\n(.*?)```", text, re.DOTALL)
    return {**dict(files), **dict(rest)}


def trade(folder: Path) -> None:
    """A month by the page's config: three signals to buy a day, of any size, and a position sold every second day."""
    clock, draw = November(), Draw("replay.md")
    with Executor.from_config(folder / "ordergate.toml", clock=clock) as executor:
        venue = executor.setup.brokers["main"].client(5.0)
        object.__setattr__(venue, "clock", clock)  # frozen, and its own clock is of today
        for day in range(30):
            for number in range(4):
                clock.at = BEGINS + day * 86_400 + (9 + 3 * number) * 3_600
                symbol = draw.choice(tuple(COINS))
                paper.set_price(venue, symbol, str(COINS[symbol] * (95 + draw.below(11)) / 100))
                if number < 3:
                    spend = draw.choice((15, 45, 60, 110, 110, 160, 220, 300))
                    executor.submit(Order.buy(symbol, spend=str(spend), client_order_id=f"d{day + 1:02}-{number + 1}"))
                elif day % 2:
                    executor.submit(Order.sell(symbol, all=True, client_order_id=f"d{day + 1:02}-out"))


def replayed(folder: Path) -> str:
    """What the page's command prints in a folder with its files and its month."""
    for name, text in blocks().items():
        if name.endswith(".toml"):
            (folder / name).write_text(text, encoding="utf-8")
    trade(folder)
    with chdir(folder):
        done = CliRunner().invoke(commands, shlex.split(blocks()["sh"])[1:], prog_name="ordergate")
    assert done.exit_code == 0, done.output
    return done.output


def words(picture: Path) -> list[str]:
    texts = ET.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - drawn by this project
    return ["".join(text.itertext()) for text in texts]


def test_the_page_prints_and_shows_what_comes_out_and_agrees_with_its_record(tmp_path: Path) -> None:
    assert replayed(tmp_path) == blocks()["text"]
    assert words(tmp_path / "replay.svg") == words(PICTURE)
    with chdir(tmp_path):
        done = CliRunner().invoke(commands, ["replay", "ordergate.db", "--check"], prog_name="ordergate")
    assert (done.exit_code, done.output.splitlines()[0]) == (
        0,
        "90 decisions on buys, judged again under the set-up each was made with: all agree.",
    )


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        output = replayed(Path(folder))
        PAGE.write_text(
            re.sub(
                r"(```text\n).*?(```)",
                lambda found: found[1] + output + found[2],
                PAGE.read_text(encoding="utf-8"),
                flags=re.DOTALL,
            )
        )
        PICTURE.write_bytes((Path(folder) / "replay.svg").read_bytes())
