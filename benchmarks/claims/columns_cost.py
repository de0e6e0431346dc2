"""What columns cost: python -m feedline.benchmarks.claims.columns_cost ROOT --out FILE

ROOT has samples with columns, such as those of a label list with captions. All columns are read as the loaders read
them, for shuffled batches of 256, from the root's list and from the files next to its shards, whichever it has. The
times are CPU times of the one thread that reads, which takes them from the caller of a loader.
"""

import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
import numpy as np

from ...loaders import LoaderSpec
from ...loaders.support.columns import open_columns
from ...prep import (
    SHARDS,
    FeedlineError,
    MeasurementError,
    OutputError,
    permutation,
    read_manifest,
    read_shard_manifest,
    write_document,
)
from ..machine.environment import Environment, capture
from ..measuring.dataset import MeasuredData, describe
from ..measuring.record import Code, running_code
from .threaded_costs import Timed, Work, run_interleaved

SPLIT, BATCH = "train", 256
Place = Literal["list", "shards"]


@dataclass(frozen=True, kw_only=True)
class ColumnsRecord:
    """The document of one measurement."""

    format: Literal["feedline-columns"] = "feedline-columns"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    data: MeasuredData
    columns: tuple[str, ...]
    places: dict[Place, Timed]
    """One pass over the split in each repeat, by where the columns were read from."""


def measure_columns(root: Path, out: Path, repeats: int = 7) -> ColumnsRecord:
    """Measure, write the record to ``out`` and return it. Raises MeasurementError if the root has no columns."""
    with tempfile.TemporaryDirectory(prefix="feedline-columns-") as folder:
        alone = Path(folder)  # a root of the shards alone, whose columns are read next to the shards
        (alone / SHARDS).symlink_to((root / SHARDS).resolve())
        names: dict[Place, tuple[str, ...]] = {}
        with suppress(FeedlineError, KeyError):
            names["list"] = read_manifest(root).splits[SPLIT].columns
        with suppress(FeedlineError, KeyError):
            names["shards"] = read_shard_manifest(root / SHARDS).splits[SPLIT].columns
        roots: dict[Place, Path] = {"list": root, "shards": alone}
        found: dict[Place, tuple[str, ...]] = {place: columns for place, columns in names.items() if columns}
        if not found:
            raise MeasurementError(
                f"the samples of {root} have no columns in {SPLIT}; "
                "prepare data that has some, such as a list with captions (docs/data.md)"
            )
        samples = describe(root, SPLIT).samples
        parts = {place: _read(roots[place], columns, samples) for place, columns in found.items()}
        seconds = run_interleaved({str(place): work for place, work in parts.items()}, repeats)
    places: dict[Place, Timed] = {place: Timed(images=samples, seconds=seconds[place]) for place in found}
    record = ColumnsRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=("python", "-m", "feedline.benchmarks.claims.columns_cost", str(root), "--out", str(out)),
        code=running_code(),
        environment=capture(),
        data=describe(root, SPLIT),
        columns=next(iter(found.values())),
        places=places,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_document(out, record)
    return record


def _read(root: Path, columns: tuple[str, ...], samples: int) -> Work:
    spec = LoaderSpec(root=root, split=SPLIT, columns=columns)

    def work(repeat: int) -> float:
        found, order = open_columns(spec), permutation(samples, 0, repeat)
        assert found is not None
        started = time.thread_time()
        for batch in np.array_split(order, -(-samples // BATCH)):
            found.read(batch.tolist())
        return time.thread_time() - started

    return work


def table(record: ColumnsRecord) -> str:
    """Return the costs as Markdown: medians, with the range over the repeats."""
    said: dict[Place, str] = {"list": f"`ROOT/{SPLIT}.jsonl`", "shards": "files next to the shards"}
    lines = ["| columns from | us per image |", "|---|---:|"]
    for place, timed in record.places.items():
        each = sorted(1e6 / rate for rate in timed.rates)
        lines.append(f"| {said[place]} | {each[len(each) // 2]:.1f} ({each[0]:.1f} to {each[-1]:.1f}) |")
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write.")
@click.option("--repeats", type=click.IntRange(min=1), default=7, show_default=True)
def main(root: Path, out: Path, repeats: int) -> None:
    """Measure what reading the columns of ROOT costs a loader's caller."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    click.echo(table(measure_columns(root, out, repeats)))


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
