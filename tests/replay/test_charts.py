"""Charts: the same values give the same file, words stay words, and what cannot be drawn is said before the work."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ordergate import InputError, charts
from ordergate.charts import Bars, Chart, Lines, Series, draw

DAYS = tuple(f"2026-11-{day:02}" for day in range(1, 22))
EXAMPLE: tuple[Chart, ...] = (
    Bars(
        title="Refused per day",
        labels=DAYS,
        series=(
            Series(name="then", values=[day % 5 for day in range(21)]),
            Series(name="now", values=[day % 7 for day in range(21)]),
        ),
        unit="orders",
    ),
    Bars(
        title="Ratio",
        labels=("decision", "one more rule"),
        series=(Series(name="measured", values=[Decimal("2.914"), None]),),
        goals=(Decimal("3.2"), None),
        lying=True,
    ),
    Lines(title="Fees", labels=DAYS, series=(Series(name="fees not paid", values=[*range(20), None]),), unit="USD"),
    Lines(title="Rows", x=(1, 10, 1000), log_x=True, log_y=True, series=(Series(name="p50", values=[1, 2, 3]),)),
)


def words(file: Path) -> list[str]:
    texts = ET.parse(file).getroot().iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - drawn by the test
    return ["".join(text.itertext()) for text in texts]


def test_the_words_of_a_chart_can_be_read_in_its_file(tmp_path: Path) -> None:
    draw(tmp_path / "all.svg", EXAMPLE)

    told = words(tmp_path / "all.svg")
    assert {"Refused per day", "then", "now", "2.91", "decision", "goal", "fees not paid", "p50", "USD"} <= set(told)


def test_the_same_values_give_the_same_file_in_another_process(tmp_path: Path) -> None:
    """With a user's own looks in the way, too: a committed picture changes only with what it shows."""
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nsvg.hashsalt: theirs\nfont.size: 30\n")
    program = (
        "import sys, pathlib\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_charts\n"
        "test_charts.draw(pathlib.Path('again.svg'), test_charts.EXAMPLE)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, check=True)
    draw(tmp_path / "all.svg", EXAMPLE)

    assert (tmp_path / "again.svg").read_text() == (tmp_path / "all.svg").read_text()
    assert "dc:date" not in (tmp_path / "all.svg").read_text()


def test_a_picture_of_points(tmp_path: Path) -> None:
    draw(tmp_path / "all.PNG", EXAMPLE[:1])

    assert (tmp_path / "all.PNG").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.svg or \.png"):
        draw(tmp_path / "all.pdf", EXAMPLE)
    with pytest.raises(InputError, match=r"plots: .* folder does not exist"):
        draw(tmp_path / "none" / "all.svg", EXAMPLE, field="plots")
    (tmp_path / "taken.svg").mkdir()
    with pytest.raises(InputError, match="Is a directory; name another file"):
        draw(tmp_path / "taken.svg", EXAMPLE)


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "find_spec", lambda name: None)

    with pytest.raises(InputError, match=r"ordergate\[plot\]") as error:
        draw(tmp_path / "all.svg", EXAMPLE)
    assert error.value.field == "plot"
    assert not (tmp_path / "all.svg").exists()


def test_importing_the_module_loads_no_matplotlib() -> None:
    program = "import sys, ordergate.charts; sys.exit('matplotlib' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
