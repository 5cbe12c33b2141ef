"""Drawing bars and lines into an SVG or PNG file. The only module that imports matplotlib, and only to draw.

Every chart of the project is drawn here, so that all look alike: white ground, names beside what they name, and fills
and marks that can be told apart without colour. The same values give the same file: no date, no random ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ordergate.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Bars", "Chart", "Lines", "Series", "check_drawable", "draw"]

Number = Decimal | float


@frozen(kw_only=True)
class Series:
    """Values under one name; None where there is none. A drawing is the only place where amounts become floats."""

    name: str
    values: Sequence[Number | None]


@frozen(kw_only=True)
class Bars:
    """One group of bars per label, one bar per series in each; every series has as many values as there are labels.

    `goals` are marked across each group. `lying` draws them from left to right, for long labels.
    """

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    unit: str = ""
    goals: Sequence[Number | None] = ()
    lying: bool = False


@frozen(kw_only=True)
class Lines:
    """One line per series over the numbers `x`, or over the words `labels`, named at its end.

    `log_x` and `log_y` are for numbers that span several tens.
    """

    title: str
    series: Sequence[Series]
    x: Sequence[Number] = ()
    labels: Sequence[str] = ()
    x_unit: str = ""
    unit: str = ""
    log_x: bool = False
    log_y: bool = False


Chart = Bars | Lines

_WIDTH: Final = 8.0  # inches; 72 points each in an SVG
_LETTERS: Final = 100  # that fit under the axis
_INK, _FAINT, _GOAL = "#222222", "#dddddd", "#a8552a"
_FILLS: Final = (("#1f4e79", ""), ("#ffffff", "////"), ("#c8a45c", ""), ("#ffffff", "...."))
_STROKES: Final = (("#1f4e79", "-", "o"), ("#a8552a", "--", "s"), ("#4d7d4d", ":", "^"), ("#555555", "-.", "D"))
_LOOKS: Final[dict[Any, Any]] = {
    "svg.hashsalt": "ordergate",
    "svg.fonttype": "none",  # words stay words: small files that can be searched and read aloud
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.edgecolor": _INK,
    "hatch.linewidth": 0.6,
}


def check_drawable(file: Path, field: str = "plot") -> None:
    """Raise InputError, naming `field`, for a file that `draw` could not write: before the work, not after it."""
    if file.suffix.lower() not in (".svg", ".png"):
        raise InputError(field, str(file), "name a file that ends in .svg or .png")
    if not file.absolute().parent.is_dir():
        raise InputError(field, str(file), "its folder does not exist; make it first")
    if find_spec("matplotlib") is None:
        raise InputError(field, str(file), "drawing needs matplotlib; install it with the extra: ordergate[plot]")


def draw(file: Path, charts: Sequence[Chart], *, field: str = "plot") -> None:
    """Draw the charts below each other into an SVG or PNG file. Raises InputError naming `field` where it cannot."""
    check_drawable(file, field)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    heights = [_height(chart) for chart in charts]
    with mpl.rc_context():
        mpl.rcdefaults()  # not what a user's own matplotlibrc says
        mpl.rcParams.update(_LOOKS)
        figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained", facecolor="white")
        grid = figure.subplots(len(charts), squeeze=False, height_ratios=heights)
        for axes, chart in zip(grid[:, 0], charts, strict=True):
            if isinstance(chart, Bars):
                _draw_bars(axes, chart)
            else:
                _draw_lines(axes, chart)
        with _writing(file, field):
            _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    if file.suffix.lower() == ".svg":
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    else:
        figure.savefig(file, format="png", dpi=144, metadata={"Software": None})


@contextmanager
def _writing(file: Path, field: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(field, str(file), f"{error.strerror or error}; name another file") from error


def _height(chart: Chart) -> float:
    """Inches."""
    if isinstance(chart, Bars) and chart.lying:
        return 0.9 + 0.18 * len(chart.labels) * (len(chart.series) + 0.6)
    return 2.9


# --------------------------------------------------------------------------------------------------------------- bars


def _draw_bars(axes: Axes, chart: Bars) -> None:
    from matplotlib.ticker import MaxNLocator

    _frame(axes, chart.title, along="x" if chart.lying else "y")
    thick = 0.8 / len(chart.series)
    told = len(chart.labels) * len(chart.series) <= 24
    goals = chart.goals or [None] * len(chart.labels)
    for number, (series, (fill, hatch)) in enumerate(zip(chart.series, cycle(_FILLS), strict=False)):
        places = [place - 0.4 + thick * (number + 0.5) for place in range(len(chart.labels))]
        looks: dict[str, Any] = {"color": fill, "hatch": hatch, "edgecolor": _INK, "linewidth": 0.6}
        draw_bars = axes.barh if chart.lying else axes.bar
        draw_bars(places, _drawn(series.values), thick, label=series.name, **looks)
        for place, value, goal in zip(places, series.values, goals, strict=True):
            if told and value is not None:
                _tell(axes, place, max(float(value), float(goal or 0)), _short(value), lying=chart.lying)
    for place, goal in enumerate(goals):
        if goal is not None:
            ends, at = (place - 0.45, place + 0.45), (float(goal), float(goal))
            name = "goal" if place == _first(goals) else None
            axes.plot(*((at, ends) if chart.lying else (ends, at)), color=_GOAL, linewidth=2, zorder=3, label=name)
    axes.margins(x=0.12 if chart.lying else None, y=None if chart.lying else 0.12)
    _ticks(axes, chart.labels, lying=chart.lying)
    (axes.set_xlabel if chart.lying else axes.set_ylabel)(chart.unit)
    if all(value is None or value == int(value) for series in chart.series for value in series.values):
        whole = MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10])  # half an order is none
        (axes.xaxis if chart.lying else axes.yaxis).set_major_locator(whole)
    if chart.lying:
        axes.invert_yaxis()
    if len(chart.series) > 1 or chart.goals:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False, borderpad=0)


def _tell(axes: Axes, place: float, end: float, text: str, *, lying: bool) -> None:
    """Write a value beyond the end of its bar, and of its goal."""
    at, offset = ((end, place), (4, 0)) if lying else ((place, end), (0, 4))
    ways: dict[str, Any] = {"ha": "left", "va": "center"} if lying else {"ha": "center", "va": "bottom"}
    axes.annotate(text, at, offset, textcoords="offset points", fontsize=8, **ways)


def _first(goals: Sequence[Number | None]) -> int:
    return next(place for place, goal in enumerate(goals) if goal is not None)


# -------------------------------------------------------------------------------------------------------------- lines


def _draw_lines(axes: Axes, chart: Lines) -> None:
    _frame(axes, chart.title, along="y")
    places = [float(one) for one in chart.x] or list(map(float, range(len(chart.labels))))
    if chart.log_x:
        axes.set_xscale("log")
    if chart.log_y:
        axes.set_yscale("log")
    ends: list[tuple[float, float, str, str]] = []
    for series, (colour, stroke, mark) in zip(chart.series, cycle(_STROKES), strict=False):
        values = _drawn(series.values)
        axes.plot(places, values, stroke, color=colour, marker=mark, markersize=4, linewidth=1.6)
        last = next((place for place in reversed(range(len(values))) if values[place] == values[place]), None)
        if last is not None:
            ends.append((values[last], places[last], series.name, colour))
    if chart.labels:
        _ticks(axes, chart.labels, lying=False)
    if not chart.log_y:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_xlabel(chart.x_unit)
    axes.set_ylabel(chart.unit)
    _name_ends(axes, ends)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each name beside the end of its line, upwards from the lowest and no two on the same height."""
    above = float("-inf")
    for value, place, name, colour in sorted(ends):
        height = float(axes.transData.transform((place, value))[1])  # in pixels of the drawing, of 72 or 100 an inch
        shown = max(height, above + 14)
        above = shown
        offset = (8, (shown - height) * 0.72)
        axes.annotate(
            name, (place, value), offset, textcoords="offset points", color=colour, va="center", weight="bold"
        )


# -------------------------------------------------------------------------------------------------------------- parts


def _frame(axes: Axes, title: str, *, along: str) -> None:
    axes.set_title(title, loc="left", weight="bold", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x" if along == "x" else "y", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _ticks(axes: Axes, labels: Sequence[str], *, lying: bool) -> None:
    """Label every place, or every few where their words would run into each other."""
    width = (max(map(len, labels), default=0) + 3) * len(labels)
    every = 1 if lying else max(1, -(-width // _LETTERS))
    shown = [(place, label) for place, label in enumerate(labels) if place % every == 0]
    places, words = [place for place, _ in shown], [label for _, label in shown]
    (axes.set_yticks if lying else axes.set_xticks)(places, words)


def _drawn(values: Sequence[Number | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _short(value: Number) -> str:
    """At most four digits, which is all that can be read off a bar."""
    drawn = float(value)
    return f"{drawn:,.0f}" if abs(drawn) >= 100 or drawn.is_integer() else f"{drawn:.3g}"
