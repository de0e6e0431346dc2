"""The cost of sharding: python -m feedline.benchmarks.claims.sharding ROOT --out benchmarks/records/sharding/NAME.json

Two parts are measured, on the images of a prepared root or of the official archives:

- One core adds restart markers to images in memory: images/s of CPU time, growth of the files, bytes of index.
  ImageNet has 1.28 million images of 115 kB, so 500 images/s are 43 minutes of one core.
- ``write_shards`` writes whole shards, with reading, hashing and flushing: images/s by --encode and number of workers.

Every transcoded image is decoded and compared with its source, outside the measured time. The runs of different
settings are interleaved. The record holds the raw times, and the medians are printed.
"""

import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
from PIL import ImageChops

from ...prep import FeedlineError, MeasurementError, OutputError, ShardSpec, find_samples, write_document, write_shards
from ...prep.base.manifest import Encode
from ...prep.images.rgb import read_rgb
from ...prep.roots.samples import Sample, SampleReader
from ...prep.shards.encode import Encoded, EncodeSpec, encode_image
from ...prep.shards.index import index_path
from ..machine.environment import Environment, capture
from ..measuring.record import Code, running_code

SETTINGS: tuple[tuple[Encode, int], ...] = (("copy", 1), ("copy", 2), ("restart", 1), ("restart", 2))


@dataclass(frozen=True, kw_only=True)
class Transcoding:
    """Restart markers on one core."""

    images: int
    megapixels: float
    source_bytes: int
    encoded_bytes: int
    passed_through: dict[str, int]
    cpu_seconds: tuple[float, ...]
    """Of the thread, for all images; one per pass. A busy machine disturbs CPU time less than elapsed time."""


@dataclass(frozen=True, kw_only=True)
class Writing:
    """Whole runs of ``write_shards`` with one setting."""

    encode: Encode
    workers: int
    images: int
    shard_bytes: int
    index_bytes: int
    seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ShardingRecord:
    """One measuring run."""

    format: Literal["feedline-sharding"] = "feedline-sharding"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    transcoding: Transcoding
    writing: tuple[Writing, ...]


def measure_sharding(root: Path, out: Path, *, images: int = 1000, repeats: int = 5) -> ShardingRecord:
    """Measure, write the record to ``out`` and return it.

    Raises MeasurementError if a transcoded image has other pixels than its source.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = capture()
    samples = find_samples(root, ["train"]).splits["train"]
    chosen = samples[:: max(1, len(samples) // images)][:images]
    record = ShardingRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=("python", "-m", "feedline.benchmarks.claims.sharding", str(root), "--out", str(out)),
        code=running_code(),
        environment=environment,
        transcoding=_transcode(chosen, repeats),
        writing=_write(root, out.parent, repeats),
    )
    write_document(out, record)
    return record


def _transcode(samples: Sequence[Sample], repeats: int) -> Transcoding:
    with SampleReader() as reader:
        sources = [reader.read(sample) for sample in samples]
    spec = EncodeSpec(encode="restart")
    encoded = [encode_image(data, spec) for data in sources]  # the first call compiles; this also warms the caches
    _check(samples, sources, encoded)
    seconds: list[float] = []
    for _ in range(repeats):
        started = time.thread_time()
        for data in sources:
            encode_image(data, spec)
        seconds.append(time.thread_time() - started)
    return Transcoding(
        images=len(sources),
        megapixels=sum(width * height for width, height in (image.size for image in encoded)) / 1e6,
        source_bytes=sum(map(len, sources)),
        encoded_bytes=sum(len(image.data) for image in encoded),
        passed_through=dict(Counter(image.passed_through for image in encoded if image.passed_through)),
        cpu_seconds=tuple(seconds),
    )


def _check(samples: Sequence[Sample], sources: Sequence[bytes], encoded: Sequence[Encoded]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # broken EXIF
        for sample, before, after in zip(samples, sources, encoded, strict=True):
            images = (read_rgb(data) for data in (before, after.data))
            if ImageChops.difference(*images).getbbox() is not None:
                raise MeasurementError(f"{sample} decodes to other pixels after transcoding; please report this image")


def _write(root: Path, place: Path, repeats: int) -> tuple[Writing, ...]:
    runs: dict[tuple[Encode, int], list[Writing]] = {setting: [] for setting in SETTINGS}
    for _ in range(repeats):
        for encode, workers in SETTINGS:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                runs[encode, workers].append(_write_once(root, Path(folder) / "shards", encode, workers))
    return tuple(_joined(found) for found in runs.values())


def _write_once(root: Path, out: Path, encode: Encode, workers: int) -> Writing:
    started = time.perf_counter()
    held = write_shards(root, ShardSpec(splits=("train",), encode=encode), out=out, workers=workers).splits["train"]
    seconds = time.perf_counter() - started
    return Writing(
        encode=encode,
        workers=workers,
        images=held.samples,
        shard_bytes=sum(shard.bytes for shard in held.shards),
        index_bytes=sum(index_path(out / shard.name).stat().st_size for shard in held.shards),
        seconds=(seconds,),
    )


def _joined(runs: Sequence[Writing]) -> Writing:
    first = runs[0]
    return Writing(
        encode=first.encode,
        workers=first.workers,
        images=first.images,
        shard_bytes=first.shard_bytes,
        index_bytes=first.index_bytes,
        seconds=tuple(second for run in runs for second in run.seconds),
    )


def table(record: ShardingRecord) -> str:
    """Return the record's medians as Markdown; a spread is (largest - smallest) / median of the times."""
    done = record.transcoding
    size = f"{done.megapixels / done.images:.2f} megapixels and {done.source_bytes / done.images / 1000:.0f} kB"
    lines = [
        f"| {done.images:,} images of {size} | images/s | spread | growth | index, bytes per image |",
        "|---|---:|---:|---:|---:|",
        f"| restart markers, one core, CPU time | {_speed(done.images, done.cpu_seconds)} "
        f"| {done.encoded_bytes / done.source_bytes - 1:.2%} | |",
    ]
    for run in record.writing:
        name = f"shards written with `--encode {run.encode} --workers {run.workers}`"
        lines.append(f"| {name} | {_speed(run.images, run.seconds)} | | {run.index_bytes / run.images:.0f} |")
    return "\n".join(lines)


def _speed(images: int, seconds: Sequence[float]) -> str:
    middle = statistics.median(seconds)
    return f"{images / middle:,.0f} | {(max(seconds) - min(seconds)) / middle:.0%}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write.")
def main(root: Path, out: Path) -> None:
    """Measure the cost of sharding ROOT: a prepared root, or the folder of the archives."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    click.echo(table(measure_sharding(root, out)))


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
