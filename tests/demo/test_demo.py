"""The demo in processes of its own, as a user runs it, and what it leaves behind, read without its own code."""

from __future__ import annotations

import io
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from attrs import frozen
from rich.console import Console

import ordergate_paper as paper
from ordergate import Executor, InputError, Order
from ordergate.demo import run_demo
from ordergate.demo.folder import own_folder
from ordergate.demo.rehearsal import Rehearsal
from ordergate.demo.scenes import too_small

ROOT = Path(__file__).parents[2]
DEMO = (
    "import sys, pathlib, ordergate.demo as d; sys.exit(d.run_demo(pathlib.Path(sys.argv[1]), sys.argv[2] == 'json'))"
)
CENT = Decimal("0.01")


def demo(folder: Path, form: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DEMO, folder.name, form],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@frozen
class Left:
    """What a run said, one object per line, and the folder it left."""

    folder: Path
    lines: list[dict[str, Any]]

    def journal(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """(account, body) of every journal row of a kind, read from the file itself."""
        with closing(sqlite3.connect(self.folder / "ordergate.db")) as db:
            rows = db.execute("SELECT account, body FROM journal WHERE kind = ? ORDER BY account, seq", (kind,))
            return [(account, json.loads(body)) for account, body in rows]

    def decisions(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(account, body["client_order_id"]): body for account, body in self.journal("decision")}

    def receipts(self, account: str, client_order_id: str) -> list[str]:
        return [
            body["status"]
            for name, body in self.journal("receipt")
            if (name, body["client_order_id"]) == (account, client_order_id)
        ]

    def venue(self, account: str) -> list[dict[str, Any]]:
        """Orders as the venue's own file has them."""
        with closing(sqlite3.connect(self.folder / f"paper-{account}.db")) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM orders ORDER BY number")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    def answers(self, account: str, client_order_id: str) -> list[dict[str, Any]]:
        asked = {"account": account, "client_order_id": client_order_id}
        return [line for line in self.events("decision") if asked.items() <= line["order"].items()]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("first") / "ordergate-demo"
    ran = demo(folder, "json")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout[-2000:]
    return Left(folder, [json.loads(line) for line in ran.stdout.splitlines()])


def refused_by(body: dict[str, Any]) -> list[str]:
    return [verdict["rule"] for verdict in body["verdicts"] if not verdict["approved"]]


# ---------------------------------------------------------------------------------------------------------- summary


def test_the_summary_counts_what_the_journal_says(left: Left) -> None:
    (summary,) = left.events("summary")
    bodies = list(left.decisions().values())
    refused = [body for body in bodies if body["status"] == "refused"]

    assert summary["sent"] == sum(body["status"] == "approved" for body in bodies)
    assert summary["refused"] == len(refused)
    assert summary["refused_by"] == Counter(rule for body in refused for rule in refused_by(body))
    assert {"position_cap", "min_allocation", "min_position", "dust", "average_position"} <= set(summary["refused_by"])
    with closing(sqlite3.connect(left.folder / "ordergate.db")) as db:
        rows = db.execute("SELECT count(*) FROM journal").fetchone()[0]
    assert summary["journal"] == {"rows": rows, "verified": True, "flaw": None}


def test_the_fees_not_burnt_are_both_legs_of_what_the_venue_would_have_taken(left: Left) -> None:
    (summary,) = left.events("summary")
    taken = [
        Decimal(body["purchase"]["size"]) * Decimal(body["taker_fee"]["value"]) * 2
        for body in left.decisions().values()
        if body["status"] == "refused" and not {"gate.market", "gate.funds"} & set(refused_by(body))
    ]

    assert summary["fees_of"] == len(taken) > 0
    assert Decimal(summary["fees_not_burnt"]) == sum(taken, Decimal(0)).quantize(CENT)


def test_every_approved_order_is_at_its_venue_once_and_nothing_else_is(left: Left) -> None:
    sent = Counter(
        (account, body["venue_order"]["client_order_id"])
        for (account, _), body in left.decisions().items()
        if body["venue_order"]
    )
    accounts = [line["name"] for line in left.events("opening")[0]["accounts"]]
    at_venues = Counter((account, order["client_order_id"]) for account in accounts for order in left.venue(account))

    assert at_venues == sent
    assert set(at_venues.values()) == {1}
    assert left.events("summary")[0]["orders_at_venues"] == sent.total()


def test_everything_that_was_looked_up_was_as_it_must_be(left: Left) -> None:
    findings = left.events("finding")

    assert len(findings) >= 10
    assert [finding["text"] for finding in findings if not finding["holds"]] == []


# ----------------------------------------------------------------------------------------------------------- scenes


def test_there_are_several_tiers_and_both_fee_thresholds(left: Left) -> None:
    accounts = left.events("opening")[0]["accounts"]

    assert len({account["tier"] for account in accounts}) == 5
    assert {account["fee_threshold"] for account in accounts} == {"5", "10"}


def test_the_same_size_passes_one_threshold_and_not_the_other(left: Left) -> None:
    assert left.decisions()["starter", "dip-3"]["status"] == "approved"
    assert refused_by(left.decisions()["saver", "dip-1"]) == ["average_position"]
    assert (
        left.decisions()["saver", "dip-2"]["order"]["spend"] == left.decisions()["saver", "dip-1"]["smallest_passing"]
    )
    assert left.receipts("saver", "dip-2") == ["filled"]


def test_dust_is_refused_and_the_dust_that_was_there_is_swept(left: Left) -> None:
    assert "dust" in refused_by(left.decisions()["starter", "dip-1"])
    assert left.receipts("income", "dust-XRP") == ["filled"]
    assert ("income", "dust-SHIB") not in left.decisions()
    assert any("30000 SHIB" in finding["text"] for finding in left.events("finding"))


def test_the_burst_fills_the_cap_and_not_one_more(left: Left) -> None:
    burst = [body for (_, name), body in left.decisions().items() if name.startswith("burst-")]

    assert Counter(body["status"] for body in burst) == {"approved": 5, "refused": 3}
    assert {rule for body in burst for rule in refused_by(body)} == {"position_cap"}


def test_small_regular_buys_are_refused_and_adding_to_a_position_is_not(left: Left) -> None:
    assert refused_by(left.decisions()["livable", "plan-1"]) == ["min_allocation", "min_position"]
    assert left.receipts("livable", "plan-saved-up") == ["filled"]
    assert refused_by(left.decisions()["starter", "second-1"]) == ["position_cap"]
    assert left.receipts("starter", "scale-1") == ["filled"]


def test_a_repeated_id_is_answered_from_the_record_and_with_another_order_it_is_an_error(left: Left) -> None:
    first, again = left.answers("investor", "signal-7")
    (error,) = left.events("error")

    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["receipt"] == first["receipt"]
    assert (error["error"], error["order"]["client_order_id"]) == ("ID_CONFLICT", "signal-7")
    assert left.receipts("investor", "signal-7") == ["filled"]


def test_the_limit_order_rested_and_filled_at_its_limit(left: Left) -> None:
    assert left.receipts("livable", "limit-1") == ["open", "filled"]
    (order,) = [order for order in left.venue("livable") if order["price_limit"] is not None]
    assert Decimal(order["value"]) == Decimal(order["price_limit"]) * Decimal(order["filled"])


def test_a_lost_reply_is_unknown_until_it_is_looked_up(left: Left) -> None:
    assert left.receipts("livable", "lost-1") == ["unknown", "filled"]
    (waits,) = left.answers("livable", "lost-2")
    assert [one["code"] for one in waits["verdicts"] if not one["approved"]] == ["outcome_unknown"]
    assert left.receipts("livable", "lost-3") == ["filled"]


def test_the_killed_process_left_an_intent_that_was_settled_and_not_sent_again(left: Left) -> None:
    (again,) = left.answers("investor", "crash-1")
    assert (again["status"], again["replayed"]) == ("unknown", True)
    # Its only receipt is the one the look-up wrote: the process that sent it died before it could write any.
    (receipt,) = [body for _, body in left.journal("receipt") if body["client_order_id"] == "crash-1"]
    assert (receipt["status"], receipt["why"]) == ("filled", "found at the venue")
    assert refused_by(left.decisions()["investor", "fourth-1"]) == ["position_cap"]


def test_the_halt_cancels_refuses_and_lets_the_exit_pass(left: Left) -> None:
    states = [body["trading"] for account, body in left.journal("trading") if account == "income"]

    assert states == ["exits_only", "active"]
    assert left.receipts("income", "low-1") == ["open", "cancelled"]
    (halted,) = left.answers("income", "halted-1")
    assert [one["code"] for one in halted["verdicts"] if not one["approved"]] == ["exits_only"]
    assert left.decisions()["income", "exit-1"]["is_exit"] is True
    assert left.receipts("income", "exit-1") == ["filled"]
    assert left.receipts("income", "resumed-1") == ["filled"]


# ---------------------------------------------------------------------------------------------------- what it leaves


def test_it_leaves_a_working_set_up(left: Left) -> None:
    with Executor.from_config(left.folder / "ordergate.toml") as executor:
        status = executor.status()
        decisions = {
            name: executor.check(Order.buy(symbol, spend=spend, account=name))
            for name, symbol, spend in (
                ("starter", "BTC-USD", "12"),
                ("investor", "BTC-USDT", "25"),
                ("livable", "BTC-USD", "420"),
            )
        }
        notices = [paper.connect(broker.settings).notices for broker in executor.setup.brokers.values()]

    assert {name: decision.message for name, decision in decisions.items() if not decision.approved} == {}
    assert (status["trading"], status["problems"], status["unfinished"]) == ("active", [], [])
    assert {account["trading"] for account in status["accounts"].values()} == {"active"}
    assert set(notices) == {()}


def test_the_commands_it_names_work_in_its_folder(left: Left) -> None:
    """Checked on the summary's own words, so that no command there is made up."""
    commands = [shlex.split(line) for line in left.events("summary")[0]["next"]]
    said = [words[1:] for words in commands if words[0] == "ordergate"]
    codes = {}
    for words in said:
        ran = subprocess.run(
            [sys.executable, "-m", "ordergate", *words], cwd=left.folder, capture_output=True, text=True, check=False
        )
        codes[words[0]] = ran.returncode

    assert commands[0] == ["cd", "ordergate-demo"]
    assert len(said) >= 6
    # The check is one that the gate refuses.
    assert codes == {words[0]: 3 if words[0] == "check" else 0 for words in said}


# ------------------------------------------------------------------------------------------------- again, and pipes


def test_again_in_its_own_folder_through_a_pipe(tmp_path: Path, left: Left) -> None:
    folder = tmp_path / "ordergate-demo"
    with own_folder(folder):
        pass
    config = folder / "ordergate.toml"
    config.write_text(config.read_text() + "\n# mine\n")
    (folder / "ordergate.halt").write_text("played with\n")
    (folder / "paper-starter.db").write_bytes(b"left half written")

    ran = demo(folder, "plain")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.isascii()
    assert "\x1b" not in ran.stdout
    for scene in left.events("scene"):
        assert f"== {scene['title']}: {scene['says']}" in ran.stdout
    assert (folder / "ordergate.toml.kept-1").read_text().endswith("# mine\n")
    assert config.read_text() == (left.folder / "ordergate.toml").read_text()
    assert not (folder / "ordergate.halt").exists()
    # The same decisions as in any other run, but for which five of the burst came first.
    again = Left(folder, [])
    assert {name: body["status"] for name, body in again.decisions().items() if "burst" not in name[1]} == {
        name: body["status"] for name, body in left.decisions().items() if "burst" not in name[1]
    }


def test_the_picture_is_drawn_by_the_program_in_the_docs_and_loads_nothing(tmp_path: Path, left: Left) -> None:
    page = (ROOT / "docs/demo.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)

    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=300, check=True)

    for picture in (tmp_path / "demo.svg", ROOT / "docs/images/demo.svg"):
        text = picture.read_text(encoding="utf-8")
        shown = " ".join(ET.fromstring(text).itertext()).replace("\xa0", " ")  # noqa: S314 - our own file
        for scene in left.events("scene"):
            assert scene["title"] in shown
        assert "WRONG" not in shown
        assert re.findall(r"url\((?!#)|@import|@font-face|<image|<script|href", text) == []
        assert set(re.findall(r"\w+://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}
    assert "\x1b[" in (tmp_path / "output.txt").read_text(encoding="utf-8")


def test_a_terminal_of_80_columns_shows_every_figure_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ordergate.demo.scenes.SCENES", (too_small,))
    drawn = io.StringIO()

    assert run_demo(tmp_path / "folder", console=Console(file=drawn, width=80, force_terminal=True)) == 0

    text = re.sub(r"\x1b\[[0-9;]*m", "", drawn.getvalue())
    assert "…" not in text
    assert "passes from 15.00151 USDT" in text
    told, commands, _ = text.partition("Where to look next")  # commands are never broken, however long the folder
    assert commands
    assert max(len(line.rstrip()) for line in told.splitlines()) <= 80


# ---------------------------------------------------------------------------------------------------------- folders


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("own", [False, True], ids=["strange", "own-with-more"])
@pytest.mark.parametrize("name", ["notes.txt", "ordergate.db.backup", "paper-mine.db", "ordergate-fallback/mine.jsonl"])
def test_a_folder_with_foreign_content_is_refused_and_untouched(tmp_path: Path, name: str, *, own: bool) -> None:
    folder = tmp_path / "folder"
    if own:
        with own_folder(folder):
            (folder / "ordergate.db").write_bytes(b"as it was")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    before = contents(folder)

    with pytest.raises(InputError, match=re.escape(name.split("/", maxsplit=1)[0])) as refused:
        run_demo(folder)

    assert refused.value.field == "folder"
    assert contents(folder) == before


def test_a_real_set_up_is_not_taken_for_the_demos(tmp_path: Path) -> None:
    (tmp_path / "ordergate.toml").write_text("[gate]\n")
    (tmp_path / "ordergate.db").write_bytes(b"real orders")
    before = contents(tmp_path)

    with pytest.raises(InputError, match=r"\.ordergate-demo is missing"):
        run_demo(tmp_path)

    assert contents(tmp_path) == before


def test_links_are_never_followed_out_of_the_folder(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    with own_folder(folder):
        pass
    elsewhere.mkdir()
    (folder / "ordergate.db").symlink_to(elsewhere / "precious.db")
    (tmp_path / "link").symlink_to(folder)

    for place in (folder, tmp_path / "link"):
        with pytest.raises(InputError):
            run_demo(place)

    assert contents(elsewhere) == {}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(InputError, match="no plain folder"):
        run_demo(tmp_path / "file")

    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(InputError, match="cannot be written"):
        run_demo(tmp_path / "file" / "folder")


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with own_folder(folder):
        (folder / "ordergate.db").write_bytes(b"in use")
        with pytest.raises(InputError, match="another demo is running"):
            run_demo(folder)
        assert (folder / "ordergate.db").read_bytes() == b"in use"

    with own_folder(folder):
        assert not (folder / "ordergate.db").exists()


def test_a_demo_that_was_stopped_before_it_wrote_anything_can_be_run_again(tmp_path: Path) -> None:
    (tmp_path / ".ordergate-demo").touch()

    with own_folder(tmp_path):
        assert (tmp_path / "ordergate.toml").exists()


def test_what_is_not_as_it_must_be_ends_the_demo_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def scene(rehearsal: Rehearsal) -> None:
        rehearsal.finding("two and two are five", holds=False)

    monkeypatch.setattr("ordergate.demo.scenes.SCENES", (scene,))

    assert run_demo(tmp_path / "folder") == 1
    assert "WRONG  two and two are five" in capsys.readouterr().out
