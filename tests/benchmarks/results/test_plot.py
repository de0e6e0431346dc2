"""The plot of a bench: any name can be drawn, and lines can be told apart."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from feedline.benchmarks import Plan, bench, read_records
from feedline.benchmarks.measuring.process import MeasuringJob, MeasuringRun
from feedline.benchmarks.results.plot import Point, draw_lines, line_style, write_plot
from feedline.benchmarks.results.ranking import tabulate

from ..runs import run_at


@pytest.mark.parametrize("name", [r"$\frac{$", "$a$ and $b", r"\undefined", "<b>", "image\nfolder"])
def test_a_name_is_text_and_never_mathematics(one_image: Path, tmp_path: Path, name: str) -> None:
    """Of a loader and of a data set; matplotlib would read ``$...$`` as a formula and fail."""

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        return run_at(100)

    bench(Plan(root=one_image, loaders=("imagefolder",), workers=(0, 2), repeats=1), tmp_path / "out", run=run)
    records = [
        replace(record, loader=name, data=replace(record.data, dataset=name))
        for record in read_records([tmp_path / "out"])
    ]
    write_plot(tmp_path / "plot.png", tabulate(records)[0])

    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_eighteen_lines_differ() -> None:
    """As many as feedline's loaders and all peers together need."""
    assert len({line_style(number) for number in range(18)}) == 18
    assert line_style(18) == line_style(0)


def test_error_bars_span_the_range_and_the_axis_starts_at_zero() -> None:
    """Two worker counts, evenly spaced, the second from 150 to 260 images/s."""
    axes = Figure().subplots()
    points = [Point(x=1, y=100, low=100, high=100), Point(x=8, y=200, low=150, high=260)]
    draw_lines(axes, {"threaded": points}, "workers")
    axes.figure.savefig(io.BytesIO(), format="png")
    (bars,) = axes.collections

    assert [segment.tolist() for segment in bars.get_segments()] == [[[0, 100], [0, 100]], [[1, 150], [1, 260]]]
    assert axes.get_ylim()[0] == 0 and axes.get_ylim()[1] >= 260
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "8"]
