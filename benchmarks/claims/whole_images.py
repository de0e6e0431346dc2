"""Images without tiles, by size: python -m feedline.benchmarks.claims.whole_images --out FILE

The compiled decoder against libjpeg-turbo, on photographs of several sizes without restart markers, in memory: what
class folders and shards without markers cost. The two take turns, and the least CPU time counts, so that a busy machine
disturbs the ratios little. ``MOST_WHOLE`` (in ``loaders/pixels/crop_plans``) follows from the table: images of which
larger parts are needed go to libjpeg-turbo. It takes about half a minute, prints a table and writes a record.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from ...loaders import LoaderSpec
from ...loaders.pixels import ready
from ...loaders.pixels.crop_decoding import decode_into
from ...loaders.pixels.crops import draw_crops
from ...loaders.pixels.fused_calls import decode_rows, plan_images
from ...loaders.spec import Transform
from ...loaders.support.encoded import EncodedImage
from ...prep import FeedlineError, OutputError, write_document
from ...prep.synthetic.photographs import photographs
from ..machine.environment import Environment, capture
from ..measuring.record import Code, running_code

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

SIZES = ((64, 64), (160, 120), (500, 375), (1280, 854), (1600, 1200), (2048, 1365))
IMAGES = 8
GRAIN = 4.0  # levels of noise: enlarged photographs have too few details
QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One size of images, decoded in both ways."""

    size: tuple[int, int]
    transform: Transform
    libjpeg: float
    """Microseconds of an image."""
    compiled: float
    taken: int
    """Images that the compiled decoder takes; the others go to libjpeg-turbo in both ways."""


@dataclass(frozen=True, kw_only=True)
class WholeImagesRecord:
    """The document of one comparison."""

    format: Literal["feedline-whole-images"] = "feedline-whole-images"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    images: int
    """Photographs of each size."""
    quality: int
    rows: tuple[Compared, ...]


def compare(size: tuple[int, int], transform: Transform, repeats: int) -> Compared:
    """Return what both ways cost for images of one size."""
    images, sample = _images(size), min(224, *size)
    spec = LoaderSpec(root=Path(), image_size=sample, transform=transform)
    draws = draw_crops(np.arange(IMAGES), seed=0, epoch=0) if transform == "train" else np.empty((IMAGES, 0))
    rows = np.empty((IMAGES, sample, sample, 3), np.uint8)
    left = decode_rows(plan_images(images), draws, rows, spec)
    least = [np.inf, np.inf]
    for _ in range(repeats):
        least[0] = min(least[0], _by_libjpeg(images, draws, rows, spec))
        started = time.thread_time()
        for row in decode_rows(plan_images(images), draws, rows, spec):
            decode_into(rows[row], images[row], draws[row].tolist(), spec)
        least[1] = min(least[1], time.thread_time() - started)
    libjpeg, compiled = (1e6 * seconds / IMAGES for seconds in least)
    return Compared(size=size, transform=transform, libjpeg=libjpeg, compiled=compiled, taken=IMAGES - len(left))


def _by_libjpeg(images: list[EncodedImage], draws: F64, rows: U8, spec: LoaderSpec) -> float:
    started = time.thread_time()
    for row, image, numbers in zip(rows, images, draws.tolist(), strict=True):
        decode_into(row, image, numbers, spec)
    return time.thread_time() - started


def _images(size: tuple[int, int]) -> list[EncodedImage]:
    rng, found = np.random.default_rng(0), list[EncodedImage]()
    for photograph in photographs()[:IMAGES]:
        pixels = np.asarray(photograph.convert("RGB").resize(size, Image.Resampling.BICUBIC)).astype(np.float64)
        pixels = (pixels + rng.normal(0, GRAIN, pixels.shape)).clip(0, 255).astype(np.uint8)
        found.append(EncodedImage(np.frombuffer(simplejpeg.encode_jpeg(pixels, QUALITY, "RGB", "420"), np.uint8), None))
    return found


def table(found: Sequence[Compared]) -> str:
    """Return the comparison as Markdown."""
    rows = [
        f"| {one.size[0]} x {one.size[1]} | {one.transform} | {one.libjpeg:,.0f} "
        + (f"| {one.compiled:,.0f} | {one.libjpeg / one.compiled:.2f} |" if one.taken else "| not taken | |")
        for one in found
    ]
    return "\n".join(["| image | | libjpeg-turbo, us | compiled, us | times |", "|---|---|---:|---:|---:|", *rows])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
def main(out: Path, repeats: int) -> None:
    """Compare the compiled decoder with libjpeg-turbo on images without tiles, by size."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    ready.prepare()
    transforms: tuple[Transform, ...] = ("train", "eval")
    record = WholeImagesRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=(
            *("python", "-m", "feedline.benchmarks.claims.whole_images"),
            *("--repeats", str(repeats), "--out", str(out)),
        ),
        code=running_code(),
        environment=capture(),
        images=IMAGES,
        quality=QUALITY,
        rows=tuple(compare(size, transform, repeats) for size in SIZES for transform in transforms),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_document(out, record)
    click.echo(table(record.rows))


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
