"""Random faults, and whether everything comes out right: python -m feedline.benchmarks.faults --out FILE

Each fault disturbs ``prep``, ``shard``, ``bench``, ``train`` or the epochs of a loader. After a command, the command
that feedline advised in its output is run, until one succeeds. Its result is compared with that of an undisturbed run.
It needs Linux or another system with POSIX signals; disks and control groups need root. FILE is a record, which is
written after every fault. The same command, or one with more ``--faults``, continues it. Processes with other seeds may
write further records at the same time.
"""

import sys
from pathlib import Path

import click

from ...prep import FeedlineError, MeasurementError
from .campaign import FaultPlan, drawn, following, inject
from .disks import enter_namespace
from .record import FaultsRecord
from .table import heading, table

COMMAND = ("python", "-m", "feedline.benchmarks.faults")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write or to continue.")
@click.option(
    "--faults",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Faults to inject, with those that the record has.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random choices.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Inject no further fault after this time.")
def main(out: Path, faults: int, seed: int, minutes: float | None) -> None:
    """Inject random faults and compare what comes out with undisturbed runs."""
    if sys.platform == "win32":
        raise MeasurementError("faults are injected by POSIX signals and limits; run this command on Linux")
    out.parent.mkdir(parents=True, exist_ok=True)
    words = ("--faults", str(faults), *(() if minutes is None else ("--minutes", f"{minutes:g}")), "--seed", str(seed))
    plan = FaultPlan(faults=faults, seed=seed, minutes=minutes)
    record = inject(plan, out, (*COMMAND, *words, "--out", str(out)), _say)
    click.echo(f"{heading([record])}:\n\n{table([record])}")
    _require_right(record, plan)


def _say(step: str, done: int, total: int) -> None:
    click.echo(f"{step}: {done} of {total}", err=True)


def _require_right(record: FaultsRecord, plan: FaultPlan) -> None:
    """Raise MeasurementError for the first outcome that is not right, so that the exit code shows it."""
    for one in record.outcomes:
        if not one.right:
            raise MeasurementError(f"{one.kind} in {one.target} ({one.detail}) did not end right: {one.said}")
    if record.injected < record.faults:
        done = f"{record.injected} of {record.faults} faults were injected"
        if following(drawn(plan), record.outcomes) is None:
            raise MeasurementError(f"{done}, and the others cannot be met on this machine; use fewer --faults")
        raise MeasurementError(f"{done}; run the same command again")


if __name__ == "__main__":
    enter_namespace("feedline.benchmarks.faults", sys.argv[1:])
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
