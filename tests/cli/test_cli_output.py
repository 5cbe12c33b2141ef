"""What reaches a terminal, a pipe and a program: frames and colour, plain lines, one object; nothing that steers."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

import ordergate_paper
from ordergate.cli.page import Block, Line, Pairs, Panel, Table, Toned, as_text, clean
from ordergate.cli.render import draw

ESCAPE = "\x1b"
NASTY = "a\x1b[31mb\x07\x9b\u202e\u200bc\nd\x7f\udce9"
HARMLESS = r"a\x1b[31mb\x07\x9b\u202e\u200bc\nd\x7f\udce9"


def on_terminal(program: Any, *words: str, **environment: str) -> tuple[int, str]:
    """Run it on a terminal of 100 columns; the exit code and what came out."""
    surroundings = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    surroundings |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", **environment}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ordergate", *words],
        cwd=program.folder,
        env=surroundings,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the last writer has closed it
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(), shown.decode()


def test_a_terminal_gets_a_coloured_panel(program: Any) -> None:
    code, shown = on_terminal(program, "buy", "BTC-USD", "--spend", "3")
    assert code == 3
    assert "╭" in shown
    assert f"{ESCAPE}[31m" in shown
    assert "REFUSED" in shown
    assert "The smallest size that passes now is 20.00 USD." in shown


def test_no_color_keeps_the_frame_and_drops_the_colours(program: Any) -> None:
    _, shown = on_terminal(program, "buy", "BTC-USD", "--spend", "3", NO_COLOR="1")
    assert "╭" in shown
    assert ESCAPE not in shown


def test_plain_drops_both(program: Any) -> None:
    _, shown = on_terminal(program, "--plain", "buy", "BTC-USD", "--spend", "3")
    assert "╭" not in shown
    assert ESCAPE not in shown
    _, shown = on_terminal(program, "doctor", "--plain")
    assert ESCAPE not in shown


def test_progress_shows_on_a_terminal_only(program: Any) -> None:
    _, shown = on_terminal(program, "audit", "verify")
    assert "Verifying the journal" in shown
    assert "The journal holds" in shown
    piped = program.process("audit", "verify")
    assert piped.err == ""
    assert piped.out.startswith("The journal holds")


def test_markup_in_words_of_people_is_printed_as_it_stands(program: Any) -> None:
    reason = "[red]not[/red] [link=file:///x]here[/link] :warning:"
    code, shown = on_terminal(program, "halt", "--by", "[bold]alice[/bold]", "--reason", reason, NO_COLOR="1")
    assert code == 0
    flat = "".join(shown.split())
    assert "".join(reason.split()) in flat
    assert "[bold]alice[/bold]" in flat


def test_json_on_a_terminal_is_json(program: Any) -> None:
    code, shown = on_terminal(program, "check", "BTC-USD", "--spend", "3", "--json")
    assert code == 3
    assert json.loads(shown)["status"] == "refused"


@pytest.mark.parametrize(
    "words",
    [
        ("check", "BTC-USD", "--spend", "3"),
        ("check", "BTC-USD", "--spend", "25"),
        ("positions",),
        ("limits", "BTC-USD"),
        ("status",),
        ("doctor",),
        ("plugins",),
    ],
)
def test_a_pipe_gets_plain_lines(program: Any, words: tuple[str, ...]) -> None:
    # FORCE_COLOR is for programs that ask a library what to do; through a pipe none is asked.
    ran = program.process(*words, TERM="xterm-256color", FORCE_COLOR="1")
    assert ran.out
    assert ran.err == ""
    assert ran.out.isascii()
    assert all(line == line.rstrip() and line.isprintable() for line in ran.out.splitlines())


def test_nothing_in_what_users_type_reaches_the_terminal_raw(program: Any) -> None:
    for words in (
        ("buy", NASTY.replace("\udce9", ""), "--spend", "3"),
        ("buy", "BTC-USD", "--spend", "3", "--id", "a\x1b[31m"),
        ("buy", "BTC-USD", "--spend", "3", "--account", "a\x1b[31m"),
        ("\x1b[31m",),
        ("buy", "--\x1b[31m"),
        ("plugins", "check", "\x1b[31m"),
        ("explain", "\x1b[31m"),
        ("venue", "paper", "--price", "\x1b[31m=5"),
        ("halt", "--by", "\x1b[31m", "--reason", "x"),
        ("audit", "verify", "--against", "\x1b[31m"),
        ("init", str(program.folder / "\x1b[31m" / "\x07")),
    ):
        for ran in (program(*words), program.json(*words)):
            text = (ran.out + ran.err).replace("\n", "")
            assert text.isprintable(), words
    assert not clean("\x1b[31m").count(ESCAPE)


def test_a_config_named_with_control_characters(program: Any) -> None:
    ran = program("--config", "\x1b[31m.toml", "status")
    assert ran.code == 2
    assert ran.err.replace("\n", "").isprintable()


def test_a_venues_words_are_made_harmless(program: Any) -> None:
    program("venue", "paper")
    ordergate_paper.set_fault(program.venue, "reject", code=NASTY.replace("\udce9", ""))
    ran = program("buy", "BTC-USD", "--spend", "25")
    assert ran.code == 5
    assert ran.out.replace("\n", "").isprintable()
    assert r"\x1b[31m" in ran.out
    assert program("log").out.replace("\n", "").isprintable()


def test_every_block_is_clean_in_both_forms() -> None:
    cell = Toned(NASTY, "bad")
    table = Table((NASTY, "x"), [(NASTY, cell)], title=NASTY)
    page: list[Block] = [Line(NASTY), Pairs(((NASTY, cell),)), table, Panel(NASTY, [Line(NASTY), table])]
    stream = io.StringIO()
    draw(page, stream)
    for text in (as_text(page), stream.getvalue()):
        assert text.replace("\n", "").isprintable()
    assert as_text([Line(NASTY)]) == HARMLESS + "\n"


def test_plain_tables_are_aligned_and_nothing_is_cut() -> None:
    long = "x" * 300
    table = Table(("name", "n"), [("a", "1"), (long, "22")], right=frozenset({"n"}))
    assert as_text([table]).splitlines() == [f"name{' ' * 296}   n", f"a{' ' * 299}   1", f"{long}  22"]


def test_a_terminal_without_unicode_is_no_reason_to_fail(program: Any) -> None:
    ran = program.process("buy", "BTC-USD", "--spend", "9" * 400, PYTHONIOENCODING="ascii")
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_a_reader_that_goes_away_shows_no_traceback(program: Any) -> None:
    program("buy", "BTC-USD", "--spend", "25")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "ordergate", "audit", "export"],
        cwd=program.folder,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""
