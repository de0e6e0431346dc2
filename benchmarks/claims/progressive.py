"""The gain from sequential JPEGs: python -m feedline.benchmarks.claims.progressive ROOT --out FILE.json

Images of a prepared root, or of the official archives, are decoded and written as progressive JPEGs of quality 90 by
libjpeg, because few roots have enough of them. ``shard --encode restart`` makes them sequential. Measured are the CPU
time of that, the growth of the files, and the CPU time of ``threaded`` for a whole image and for a training crop of
both. Every image is decoded and compared, outside the measured time. The passes over both kinds are interleaved.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Literal

import click
import numpy as np
import simplejpeg
import torch

from ...loaders import LoaderSpec
from ...loaders.pixels.crop_decoding import decode_crop, fit_into
from ...loaders.pixels.reference import draws_of
from ...loaders.support.encoded import EncodedImage
from ...prep import FeedlineError, MeasurementError, OutputError, find_samples, write_document
from ...prep.images.geometry import Geometry
from ...prep.images.rgb import read_rgb
from ...prep.images.tiles import Tiles
from ...prep.roots.samples import SampleReader
from ...prep.shards.encode import EncodeSpec, encode_image
from ..machine.environment import Environment, capture
from ..measuring.record import Code, running_code

QUALITY, CROP = 90, 224


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one kind of file costs: bytes of all images, and seconds of CPU time for all, one of each pass."""

    bytes: int
    whole_seconds: tuple[float, ...]
    """Decoding of the whole image."""
    crop_seconds: tuple[float, ...]
    """Decoding and resizing of a training crop of 224 pixels."""


@dataclass(frozen=True, kw_only=True)
class ProgressiveRecord:
    """One measuring run."""

    format: Literal["feedline-progressive"] = "feedline-progressive"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    images: int
    megapixels: float
    transcode_seconds: tuple[float, ...]
    progressive: Cost
    sequential: Cost


def measure_progressive(root: Path, out: Path, *, images: int = 200, passes: int = 5) -> ProgressiveRecord:
    """Measure, write the record to ``out`` and return it.

    Raises MeasurementError if an image has other pixels afterwards.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = capture()
    samples = find_samples(root, ["train"]).splits["train"]
    with SampleReader() as reader:
        chosen = [reader.read(sample) for sample in samples[:: max(1, len(samples) // images)][:images]]
    sources = [_progressive(data) for data in chosen]
    spec = EncodeSpec(encode="restart")
    encoded = [encode_image(data, spec) for data in sources]
    for before, after in zip(sources, encoded, strict=True):
        one, other = (np.asarray(read_rgb(data)) for data in (before, after.data))
        if not after.made_sequential or not np.array_equal(one, other):
            raise MeasurementError("an image decodes to other pixels as a sequential JPEG; please report it")
    whole = [EncodedImage(np.frombuffer(data, np.uint8), None) for data in sources]
    tiled = [EncodedImage(np.frombuffer(e.data, np.uint8), _tiles(e.geometry)) for e in encoded if e.geometry]
    torch.set_num_threads(1)  # as the threads of the loader; other threads' time would not count
    measured: dict[str, list[float]] = {name: [] for name in ("make", "whole", "whole-new", "crop", "crop-new")}
    for turn in range(-1, passes):
        for name, work in (
            ("make", lambda: [encode_image(data, spec) for data in sources]),
            ("whole", lambda: _decode(whole)),
            ("whole-new", lambda: _decode(tiled)),
            ("crop", partial(_crop, whole, max(turn, 0))),
            ("crop-new", partial(_crop, tiled, max(turn, 0))),
        ):
            seconds = _timed(work)
            if turn >= 0:  # the first pass warms the caches
                measured[name].append(seconds)
    record = ProgressiveRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=("python", "-m", "feedline.benchmarks.claims.progressive", str(root), "--out", str(out)),
        code=running_code(),
        environment=environment,
        images=len(sources),
        megapixels=sum(width * height for width, height in (image.size for image in encoded)) / 1e6,
        transcode_seconds=tuple(measured["make"]),
        progressive=_cost(sum(map(len, sources)), measured["whole"], measured["crop"]),
        sequential=_cost(sum(len(e.data) for e in encoded), measured["whole-new"], measured["crop-new"]),
    )
    write_document(out, record)
    return record


def _progressive(data: bytes) -> bytes:
    out = BytesIO()
    read_rgb(data).save(out, "JPEG", quality=QUALITY, progressive=True)
    return out.getvalue()


def _tiles(geometry: Geometry) -> Tiles:
    starts = geometry.offsets[:: geometry.columns // geometry.restart_interval]
    return Tiles(
        scan=int(starts[0]),
        row_lengths=np.diff(starts).astype(np.uint16),
        width=geometry.width,
        height=geometry.height,
        mcu_width=geometry.mcu_width,
        mcu_height=geometry.mcu_height,
        interval=geometry.restart_interval,
    )


def _timed(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def _decode(images: Sequence[EncodedImage]) -> None:
    for image in images:
        simplejpeg.decode_jpeg(image.data)


def _crop(images: Sequence[EncodedImage], epoch: int) -> None:
    spec = LoaderSpec(root=Path(), image_size=CROP)
    row = np.empty((CROP, CROP, 3), np.uint8)
    for image, draws in zip(images, draws_of(range(len(images)), epoch, spec), strict=True):
        fit_into(row, *decode_crop(image, draws, spec))


def _cost(size: int, whole: Sequence[float], crop: Sequence[float]) -> Cost:
    return Cost(bytes=size, whole_seconds=tuple(whole), crop_seconds=tuple(crop))


def table(record: ProgressiveRecord) -> str:
    """Return the record's medians as Markdown; a spread is (largest - smallest) / median of the times."""
    count, old, new = record.images, record.progressive, record.sequential
    size = f"{record.megapixels / count:.2f} megapixels"
    rows = [
        (f"progressive, {count:,} images of {size}", old),
        ("made sequential, with restart markers", new),
    ]
    lines = [
        "| one core, CPU time per image | kB | whole image, ms | spread | training crop of 224 px, ms | spread |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {name} | {cost.bytes / count / 1000:.1f} | {_time(cost.whole_seconds, count)} "
            f"| {_time(cost.crop_seconds, count)} |"
            for name, cost in rows
        ),
        f"| ratio | {new.bytes / old.bytes:.2f} | {_ratio(new.whole_seconds, old.whole_seconds)} | "
        f"| {_ratio(new.crop_seconds, old.crop_seconds)} | |",
    ]
    made = _time(record.transcode_seconds, count).split(" | ")
    return "\n".join(lines) + f"\n\nMaking an image sequential takes {made[0]} ms of one core (spread {made[1]})."


def _time(seconds: Sequence[float], images: int) -> str:
    middle = statistics.median(seconds)
    return f"{1000 * middle / images:.2f} | {(max(seconds) - min(seconds)) / middle:.0%}"


def _ratio(new: Sequence[float], old: Sequence[float]) -> str:
    return f"{statistics.median(new) / statistics.median(old):.2f}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write.")
@click.option("--images", type=click.IntRange(min=1), default=200, show_default=True, help="Images to measure.")
def main(root: Path, out: Path, images: int) -> None:
    """Measure what sequential JPEGs gain, on images of ROOT: a prepared root, or the folder of the archives."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    click.echo(table(measure_progressive(root, out, images=images)))


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
