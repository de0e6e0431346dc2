"""Line charts with matplotlib: the drawing that the report shares, and throughput over workers as a PNG.

Charts are drawn with matplotlib's Figure alone: pyplot keeps global state and looks for a display. matplotlib is
imported inside the functions, because every measuring process imports this module.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...prep import OutputError, write_atomically
from ...prep.base.disks import reason_of
from .ranking import Ranking, ceiling_of, curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT = "throughput.png"
COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#a16207", "#be185d")
DASHES = ("solid", "dashed", "dotted")
LABELS, GRID = "#5d666f", "#dfddd6"
"""Colours of the axis labels and of the horizontal lines."""
MOST_X_LABELS = 10
MOST_MARKERS = 50  # more would hide the line
MOST_INSIDE = 6  # more names would cover the lines


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value, with the lowest and the highest that were measured."""

    x: int
    y: float
    low: float
    high: float


Lines = Mapping[str, Sequence[Point]]
"""Points in order of x, by the name of their line."""


class LineStyle(NamedTuple):
    """How a line is drawn; both names of dashes are also CSS border styles."""

    colour: int
    """Position in COLOURS."""
    dash: str


def line_style(number: int) -> LineStyle:
    """Return the style of a chart's line by its number; the first 18 lines differ."""
    turn, colour = divmod(number, len(COLOURS))
    return LineStyle(colour, DASHES[(colour + turn) % len(DASHES)])


def throughput_lines(table: Ranking) -> dict[str, list[Point]]:
    """Return images/s over workers, one line for each loader and setting; empty if only the ceiling was measured."""
    return {
        name: [Point(x=row.workers, y=row.images_per_second, low=row.lowest, high=row.highest) for row in rows]
        for name, rows in curves(table).items()
    }


def draw_lines(axes: "Axes", lines: Lines, x_label: str) -> None:
    """Draw ``lines`` on empty ``axes``; error bars span the lowest to the highest value, and the y axis starts at 0.

    Positions on the x axis are evenly spaced, because worker counts double and epochs count up.
    """
    xs = sorted({point.x for points in lines.values() for point in points})
    for number, (name, points) in enumerate(lines.items()):
        style = line_style(number)
        reach = [[point.y - point.low for point in points], [point.high - point.y for point in points]]
        axes.errorbar(
            [xs.index(point.x) for point in points],
            [point.y for point in points],
            yerr=reach if any(map(any, reach)) else None,
            label=name,
            color=COLOURS[style.colour],
            linestyle=style.dash,
            marker="o" if len(points) <= MOST_MARKERS else "",
            markersize=5,
            capsize=4,
            clip_on=False,
        )
    every = -(-len(xs) // MOST_X_LABELS)
    axes.set_xticks(range(0, len(xs), every), [str(x) for x in xs[::every]])
    axes.set_xlim(-0.5, len(xs) - 0.5)
    axes.set_xlabel(x_label, color=LABELS)
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(axis="y", color=GRID)
    axes.tick_params(length=0, labelcolor=LABELS)
    axes.spines[:].set_visible(False)


def write_plot(path: Path, table: Ranking, next_step: str = "make room there and measure again") -> None:
    """Draw the throughput of ``table`` into a PNG at ``path``; raise OutputError if it cannot be written.

    The error ends with ``next_step``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    lines = throughput_lines(table)
    if lines:
        draw_lines(axes, lines, "workers")
        _add_legend(figure, axes, inside=len(lines) <= MOST_INSIDE)
    axes.set_ylabel("images/s", color=LABELS)
    axes.set_title(_title(table), fontsize="medium", loc="left", parse_math=False)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    try:
        write_atomically(path, png.getvalue())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason_of(error, path)}; {next_step}") from error


def _add_legend(figure: "Figure", axes: "Axes", *, inside: bool) -> None:
    legend = axes.legend(frameon=False) if inside else figure.legend(frameon=False, loc="outside right upper")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a record from a stranger may have any name


def _title(table: Ranking) -> str:
    ceiling = ceiling_of(table)
    above = "" if ceiling is None else f"; ceiling {ceiling:,.0f} images/s"
    return f"{table.dataset}, {table.split}, {table.pixels}, {table.machine.cpus} usable CPUs{above}"
