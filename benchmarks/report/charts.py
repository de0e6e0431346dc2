"""Line charts as plain coordinates, for a template to draw as SVG inside a page.

The page styles them: the same chart is dark or light, on a screen or on paper, without a script and without an
image file. Positions on the x axis are evenly spaced, because worker counts double and epochs count up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 280
LEFT, RIGHT, TOP, BOTTOM = 62, 10, 14, 46
"""Margins for the labels, in the units of the view box."""
MOST_X_LABELS = 10
SHAPES = 6
"""Colours and dashes that the page has; a seventh line begins again."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value with the range it was seen in."""

    x: int
    y: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point in the view box."""

    x: float
    y: float
    low: float
    high: float
    text: str
    """What the mark says when pointed at."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A label at a place on an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve."""

    name: str
    shape: int
    marks: tuple[Mark, ...]

    @property
    def path(self) -> str:
        """The curve as SVG's ``points``."""
        return " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in self.marks)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Everything that the template draws."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def line_chart(curves: Mapping[str, Sequence[Point]], *, title: str, x_label: str, y_label: str) -> Chart:
    """Return the chart of ``curves``, each in order of x; the y axis begins at 0."""
    from matplotlib.ticker import MaxNLocator

    xs = sorted({point.x for points in curves.values() for point in points})
    values: list[float] = [
        float(value)
        for value in MaxNLocator(5).tick_values(0, max(p.high for points in curves.values() for p in points))
    ]
    top = values[-1]
    step = (WIDTH - LEFT - RIGHT) / len(xs)
    columns = {x: LEFT + step * (place + 0.5) for place, x in enumerate(xs)}

    def row(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    def mark(name: str, point: Point) -> Mark:
        text = f"{name}, {point.x} {x_label}: {point.y:,.4g} {y_label}"
        return Mark(x=columns[point.x], y=row(point.y), low=row(point.low), high=row(point.high), text=text)

    every = -(-len(xs) // MOST_X_LABELS)
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label,
        x_ticks=tuple(Tick(at=columns[x], text=str(x)) for x in xs[::every]),
        y_ticks=tuple(Tick(at=row(value), text=f"{value:,g}") for value in values if value >= 0),
        lines=tuple(
            Line(name=name, shape=number % SHAPES, marks=tuple(mark(name, point) for point in points))
            for number, (name, points) in enumerate(curves.items())
        ),
    )
