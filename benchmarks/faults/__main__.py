"""Random faults, and whether everything comes out right: python -m feedline.benchmarks.faults --out FILE

Each fault disturbs ``prep``, ``shard``, ``bench``, ``train`` or the epochs of a loader. After a command, the command
that feedline advised in its output is run, until one succeeds. Its result is compared with that of an undisturbed run.
It needs Linux or another system with POSIX signals; full and read-only disks need root. 200 faults take about 45
minutes on 2 CPUs. FILE is a record, which is written after every fault.
"""

import sys
from pathlib import Path

import click

from ...prep import FeedlineError, MeasurementError, OutputError
from .campaign import FaultPlan, inject
from .disks import enter_namespace
from .record import FaultsRecord, table

COMMAND = ("python", "-m", "feedline.benchmarks.faults")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write.")
@click.option("--faults", type=click.IntRange(min=1), default=200, show_default=True, help="Faults to inject.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random choices.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Inject no further fault after this time.")
def main(out: Path, faults: int, seed: int, minutes: float | None) -> None:
    """Inject random faults and compare what comes out with undisturbed runs."""
    if sys.platform == "win32":
        raise MeasurementError("faults are injected by POSIX signals and limits; run this command on Linux")
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    words = ("--faults", str(faults), *(() if minutes is None else ("--minutes", f"{minutes:g}")), "--seed", str(seed))
    plan = FaultPlan(faults=faults, seed=seed, minutes=minutes)
    record = inject(plan, out, (*COMMAND, *words, "--out", str(out)), _say)
    click.echo(table(record))
    _require_right(record)


def _say(step: str, done: int, total: int) -> None:
    click.echo(f"{step}: {done} of {total}", err=True)


def _require_right(record: FaultsRecord) -> None:
    """Raise MeasurementError for the first outcome that is not right, so that the exit code shows it."""
    for one in record.outcomes:
        if not one.survived or one.wrong or one.lost or one.hung:
            raise MeasurementError(f"{one.kind} in {one.target} ({one.detail}) did not end right: {one.said}")


if __name__ == "__main__":
    enter_namespace("feedline.benchmarks.faults", sys.argv[1:])
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
