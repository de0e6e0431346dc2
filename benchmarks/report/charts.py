"""The charts of the page: inline SVG drawn by matplotlib, coloured by the page's style sheet.

The SVG has no names from records in it: axis labels, numbers and lines only. Names are HTML, which the template
escapes. Each chart also has its values as rows of text for a table, because a phone shows no tooltips.
"""

import io
import re
from dataclasses import dataclass

from ..results.plot import COLOURS, GRID, LABELS, Lines, LineStyle, Point, draw_lines, line_style, throughput_lines
from ..results.ranking import Ranking
from .training import TrainingRun

WIDTH, HEIGHT = 400, 220
FONT_SIZE = 12  # for the layout only: between the page's sizes for a screen and for a phone
THEME = {LABELS: "var(--soft)", GRID: "var(--rule)"} | {
    colour: f"var(--c{number})" for number, colour in enumerate(COLOURS)
}
"""The page's CSS variables, which differ between light and dark, by matplotlib's colour."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What the template shows of a chart."""

    title: str
    unit: str
    x_label: str
    styles: dict[str, LineStyle]
    """By the name of the line."""
    svg: str
    """Markup; safe, because it holds no string of a record."""
    rows: tuple[tuple[str, ...], ...]
    """x and the value of each line there, as text."""


def throughput_chart(table: Ranking) -> Chart | None:
    """Return images/s over workers, or None if only the ceiling was measured."""
    lines = throughput_lines(table)
    return _chart(lines, "Throughput", "images/s", "workers", digits=0) if lines else None


def accuracy_chart(run: TrainingRun) -> Chart:
    """Return top-1 accuracy over epochs."""
    val = [_exactly(record.epoch, 100 * record.val.top1) for record in run.epochs if record.val]
    train = [_exactly(record.epoch, 100 * record.train.top1) for record in run.epochs]
    lines = {"top-1 on val": val, "top-1 on train": train}
    return _chart({name: points for name, points in lines.items() if points}, "Accuracy", "%", "epoch", digits=1)


def loss_chart(run: TrainingRun) -> Chart:
    """Return the loss over epochs."""
    val = [_exactly(record.epoch, record.val.loss) for record in run.epochs if record.val]
    lines = {"val": val, "train": [_exactly(record.epoch, record.train.loss) for record in run.epochs]}
    return _chart({name: points for name, points in lines.items() if points}, "Loss", "nats", "epoch", digits=3)


def _exactly(x: int, y: float) -> Point:
    return Point(x=x, y=y, low=y, high=y)


def _chart(lines: Lines, title: str, unit: str, x_label: str, *, digits: int) -> Chart:
    by_x = [{point.x: _text(point, digits) for point in points} for points in lines.values()]
    return Chart(
        title=title,
        unit=unit,
        x_label=x_label,
        styles={name: line_style(number) for number, name in enumerate(lines)},
        svg=_svg(lines, title, x_label),
        rows=tuple((str(x), *(texts.get(x, "\N{EN DASH}") for texts in by_x)) for x in sorted(set().union(*by_x))),
    )


def _text(point: Point, digits: int) -> str:
    """Return a point's value, and its range if it has one."""
    y, low, high = (f"{value:,.{digits}f}" for value in (point.y, point.low, point.high))
    return y if low == high else f"{y} ({low} to {high})"


def _svg(lines: Lines, title: str, x_label: str) -> str:
    """Return an SVG element for an HTML page: without size, font, date, names for the parts, and clip paths."""
    from matplotlib import style
    from matplotlib.figure import Figure

    # The ids of the markers are hashes: with this salt they are the same for the same lines, and differ between charts.
    settings = {"svg.fonttype": "none", "svg.hashsalt": f"{title} {lines}", "font.size": FONT_SIZE}
    file = io.StringIO()
    with style.context(["default", settings]):
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained")
        draw_lines(figure.subplots(), lines, x_label)
        figure.savefig(file, format="svg", transparent=True)
    text = " ".join(file.getvalue().split())
    text = text[text.index("<g ") : text.rindex("</g>")] + "</g>"
    text = re.sub(r' (id="[^"]*_\d+"|clip-path="[^"]*"|transform="rotate\(-0[^"]*")', "", text)
    text = re.sub(r"font(-\w+)?: [^;]*; ", "", text)
    text = re.sub("|".join(THEME), lambda colour: THEME[colour[0]], text)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{text}</svg>'
