"""Images per second over workers, one line for each loader, as a PNG for slides and chats.

Drawn with matplotlib's Figure alone: pyplot would keep global state and look for a display.
"""

import io
from pathlib import Path
from typing import Any

from ...prep import OutputError, write_atomically
from .ranking import Ranking, Row, ceiling_of, curves

PLOT = "throughput.png"
COLOURS = 10
"""Of matplotlib's cycle; then they begin again, with the next of the markers."""
MARKERS = "os^D"
MOST_INSIDE = 6  # more names would cover the lines


def write_plot(path: Path, table: Ranking) -> None:
    """Draw ``table`` into a PNG at ``path``; error bars span the slowest to the fastest run.

    Raises OutputError when that fails.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes: Any = figure.subplots()
    counts = sorted({row.workers for row in table.rows})
    for number, (name, rows) in enumerate(curves(table).items()):
        positions = [counts.index(row.workers) for row in rows]
        rates = [row.images_per_second for row in rows]
        axes.errorbar(
            positions, rates, yerr=_bars(rows), label=name, marker=MARKERS[number // COLOURS % len(MARKERS)], capsize=4
        )
    axes.set_xticks(range(len(counts)), counts)
    axes.set_xlabel("workers")
    axes.set_ylabel("images/s")
    axes.set_xmargin(0.1)
    axes.set_ylim(bottom=0)
    axes.set_title(_title(table), fontsize="medium", loc="left")
    axes.grid(axis="y", alpha=0.3)
    _, names = axes.get_legend_handles_labels()
    if len(names) > MOST_INSIDE:
        figure.legend(frameon=False, loc="outside right upper")
    elif names:
        axes.legend(frameon=False)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    try:
        write_atomically(path, png.getvalue())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; make room there and measure again") from error


def _bars(rows: list[Row]) -> tuple[list[float], list[float]]:
    """Return how far each error bar reaches down and up."""
    down = [row.images_per_second - row.lowest for row in rows]
    return down, [row.highest - row.images_per_second for row in rows]


def _title(table: Ranking) -> str:
    ceiling = ceiling_of(table)
    above = "" if ceiling is None else f"; ceiling {ceiling:,.0f} images/s"
    return f"{table.dataset}, {table.split}, {table.pixels}, {table.machine.cpus} usable CPUs{above}"
