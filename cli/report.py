"""``feedline report``: one HTML page from bench records."""

from pathlib import Path

import click

from .console import say
from .options import LocalPath


@click.command("report")
@click.argument("records", type=LocalPath(path_type=Path), nargs=-1, required=True)
@click.option(
    "--out",
    type=LocalPath(path_type=Path, dir_okay=False),
    required=True,
    help="HTML page to write; bench.csv is written to the same directory.",
)
@click.option("--run", "run_path", type=LocalPath(path_type=Path), help="Show the training run in this directory too.")
def report(records: tuple[Path, ...], out: Path, run_path: Path | None) -> None:
    """Write one self-contained HTML page from bench RECORDS.

    \b
    Example:
      feedline report bench --out report.html
      feedline report bench --run run --out report.html

    RECORDS are files or directories of them. The page begins with a diagnosis if they hold one. It also shows the
    records of feedline bench --train.
    """
    from ..benchmarks import read_records, read_run, write_report
    from ..benchmarks.bench.training_speed import read_speeds
    from ..benchmarks.diagnose.diagnose import find_diagnosis

    run = None if run_path is None else read_run(run_path)
    write_report(out, read_records(records), run, read_speeds(records), find_diagnosis(records))
    say(f"The report is in {out}, and a table of its runs is in {out.with_name('bench.csv')}")
