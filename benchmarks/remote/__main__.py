"""Shards behind a link against local ones: python -m feedline.benchmarks.remote ROOT --out FILE

Serves the shards of ROOT from a process of its own, with 10 ms of latency and a shared link of 1 Gb/s, and measures
each loader with the shards on the local disk, with a cold cache, and with a warm one, interleaved. Each run is a fresh
process that checks every batch, and the shards are in the page cache. The server takes CPU time of the same machine.
The rate of a cold run counts from when all shards were fetched, within the first epoch: until then, a loader that has
begun waits for the link. Then it measures the clients that fetch ranges, and how many bytes an epoch's crops touch.
"""

import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from ...loaders import readable_loaders
from ...prep import (
    SHARDS,
    FeedlineError,
    MeasurementError,
    OutputError,
    read_shard_manifest,
    usable_cpus,
    write_document,
)
from ..machine.environment import capture
from ..measuring.dataset import describe
from ..measuring.record import running_code
from .clients import measure_clients
from .record import RemoteRecord, link_of, table
from .rows import row_bytes
from .runs import LATENCY, RATE, Setting, measure_loaders

COMMAND = ("python", "-m", "feedline.benchmarks.remote")
LOADERS = ("threaded", "webdataset", "dali")
LIBRARIES = ("fsspec", "aiohttp", "obstore")


def measure_remote(setting: Setting, out: Path, words: tuple[str, ...]) -> RemoteRecord:
    """Measure, write the record to ``out`` and return it."""
    environment = capture()
    manifest = read_shard_manifest(setting.root / SHARDS)
    if manifest.place is not None:
        raise MeasurementError(f"the shards of {setting.root} lie elsewhere; give a root that has its shards")
    runs = measure_loaders(setting)
    record = RemoteRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=(*COMMAND, str(setting.root), *words, "--out", str(out)),
        code=running_code(),
        environment=environment,
        data=describe(setting.root, "train"),
        latency_seconds=LATENCY,
        bytes_per_second=RATE,
        batch_size=setting.batch_size,
        image_size=setting.image_size,
        workers=setting.workers,
        versions=_versions(),
        runs=tuple(runs),
        clients=tuple(measure_clients(setting.root, LATENCY, RATE, setting.repeats)),
        rows=row_bytes(setting.root) if manifest.encode == "restart" else None,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_document(out, record)
    return record


def _versions() -> dict[str, str]:
    found = dict[str, str]()
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("root", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write.")
@click.option("--loader", "loaders", type=click.Choice(LOADERS), multiple=True, help="One loader; all by default.")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--image-size", type=click.IntRange(min=1), default=224, show_default=True, help="Pixels.")
@click.option("--workers", type=click.IntRange(min=0), help="One per CPU by default.")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=2.0, show_default=True, help="Of a run."
)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
def main(
    root: Path,
    out: Path,
    loaders: tuple[str, ...],
    batch_size: int,
    image_size: int,
    workers: int | None,
    seconds: float,
    repeats: int,
) -> None:
    """Compare the shards of ROOT behind a link of 10 ms and 1 Gb/s with local ones."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    able = readable_loaders(root)
    setting = Setting(
        root=root.absolute(),
        loaders=loaders or tuple(name for name in LOADERS if name in able),
        batch_size=batch_size,
        image_size=image_size,
        workers=usable_cpus() if workers is None else workers,
        seconds=seconds,
        repeats=repeats,
    )
    words = [word for name in loaders for word in ("--loader", name)]
    words += ["--batch-size", str(batch_size), "--image-size", str(image_size), "--workers", str(setting.workers)]
    record = measure_remote(setting, out, (*words, "--seconds", f"{seconds:g}", "--repeats", str(repeats)))
    click.echo(f"{link_of(record)}:\n\n{table(record)}")


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
