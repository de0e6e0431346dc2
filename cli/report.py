"""``feedline report``: bench records as one HTML page."""

from pathlib import Path

import click

from .console import say


@click.command("report")
@click.argument("records", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The page to write.")
@click.option("--run", "run_path", type=click.Path(path_type=Path), help="Show this training run too.")
def report(records: tuple[Path, ...], out: Path, run_path: Path | None) -> None:
    """Make one self-contained HTML page from bench RECORDS: files, or directories of them.

    A diagnosis that is named, or lies among them, comes first; what feedline bench --train left is shown too.

    \b
    Example: feedline report bench --out report.html
             feedline report bench --run run --out report.html
    """
    from ..benchmarks import read_records, read_run, write_report
    from ..benchmarks.bench.training_speed import read_speeds
    from ..benchmarks.diagnose.diagnose import find_diagnosis

    run = None if run_path is None else read_run(run_path)
    write_report(out, read_records(records), run, read_speeds(records), find_diagnosis(records))
    say(f"The report is in {out}, and its runs as a table in {out.with_name('bench.csv')}")
