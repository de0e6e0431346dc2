"""The records as one CSV file for notebooks: one row for each run, in order of time.

    pandas.read_csv("bench.csv").groupby(["loader", "workers", "cache"]).images_per_second.median()

Numbers are written as Python prints them, so that none is rounded. A field is empty if its value is unknown.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...prep import OutputError, write_atomically
from ...prep.base.disks import reason_of
from ..measuring.record import Record
from .ranking import h100_au

SPREADSHEET = "bench.csv"

Field = str | int | float | None


def write_spreadsheet(path: Path, records: Sequence[Record], next_step: str = "make room there and try again") -> None:
    """Write one row for each of ``records`` to ``path``; raise OutputError if that fails.

    The error ends with ``next_step``.
    """
    rows = [_row(record) for record in records]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    try:
        write_atomically(path, text.getvalue().encode("utf-8", "replace"))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason_of(error, path)}; {next_step}") from error


def _row(record: Record) -> Mapping[str, Field]:
    config, run = record.config, record.measurement
    read = run.bytes_read
    return {
        "date": record.date,
        "loader": record.loader,
        "workers": config.workers,
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        "cache": record.cache,
        "cache_asked": record.cache_asked,
        "repeat": record.repeat,
        "images_per_second": run.images_per_second,
        "whole_images_per_second": run.whole_images_per_second,
        "h100_au": h100_au(record, run.images_per_second),
        "windows": len(run.windows),
        "samples": run.samples,
        "open_seconds": record.open_seconds,
        "first_batch_seconds": run.first_batch_seconds,
        "gap_seconds": sum(run.gap_seconds),
        "cpu_ms_per_image": None if run.cpu_seconds is None else 1000 * run.cpu_seconds / run.samples,
        "disk_bytes_per_image": None if read is None else read.disk / run.samples_seen,
        "call_bytes_per_image": None if read is None else read.calls / run.samples_seen,
        "resident_before": record.resident_before,
        "resident_after": record.resident_after,
        "peak_rss_bytes": record.peak_rss_bytes,
        "dataset": record.data.dataset,
        "split": config.split,
        "storage": record.data.storage,
        "cpu": record.environment.machine.cpu,
        "cpus": record.environment.machine.cpus,
        "commit": record.code.commit,
    }
