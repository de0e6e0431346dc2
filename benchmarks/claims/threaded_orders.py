"""The fused decoder against libjpeg-turbo: python -m feedline.benchmarks.claims.threaded_orders ROOT --out FILE

ROOT has shards with restart markers. The same crops are decoded in three ways, by one thread and without a loader:
libjpeg-turbo's (the images that the fused decoder does not take go that way), the fused decoder's exact order, and its
planar order. The first two are also measured with DCT scaling, and with bicubic resizes. If ROOT has class folders,
their files, which have no markers, are read and decoded too, by libjpeg-turbo and in the exact order. The ways take
turns by 25 images, and each 25 count with their least CPU time, so that a busy machine disturbs the ratios little. Then
all are compared with Pillow. It takes two minutes, writes a record, and prints a table. The tables of the documentation
have 224 pixels from images of ImageNet's size, and ``--image-size 64`` from images of Tiny-ImageNet's.
"""

import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
import numpy as np
import numpy.typing as npt

from ...loaders import LoaderSpec
from ...loaders.pixels import ready
from ...loaders.pixels.crop_decoding import decode_into
from ...loaders.pixels.crops import draw_crops
from ...loaders.pixels.fused_calls import decode_rows, plan_located, plan_read
from ...loaders.pixels.reference import read_pixels
from ...loaders.support.encoded import EncodedSamples
from ...loaders.support.samples import FolderSamples
from ...loaders.support.shard_samples import ShardSamples
from ...prep import MANIFEST, FeedlineError, MeasurementError, OutputError, write_document
from ..machine.environment import Environment, capture
from ..measuring.dataset import MeasuredData, describe
from ..measuring.record import Code, running_code

U8 = npt.NDArray[np.uint8]
Way = Callable[[slice], None]
"""Decodes a part of the images."""

TURN = 25  # images


@dataclass(frozen=True, kw_only=True)
class Order:
    """One way to decode, measured."""

    name: str
    microseconds: float
    """Of an image, CPU time."""
    mean_error: float
    """Grey levels, against Pillow."""
    largest_error: int
    above_4: float
    """Share of the values that differ by more than 4 levels."""


@dataclass(frozen=True, kw_only=True)
class OrdersRecord:
    """The document of one measurement."""

    format: Literal["feedline-orders"] = "feedline-orders"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    data: MeasuredData
    image_size: int
    images: int
    """How many were decoded, of those that the fused decoder takes."""
    repeats: int
    orders: tuple[Order, ...]


def measure_orders(root: Path, out: Path, image_size: int, images: int, repeats: int) -> OrdersRecord:
    """Measure the ways, write the record to ``out`` and return it.

    Raises MeasurementError if the shards have too few images with tiles.
    """
    ready.prepare()
    environment = capture()
    orders, decoded = _measure(root, image_size, images, repeats)
    words = (root, "--out", out, "--image-size", image_size, "--images", images, "--repeats", repeats)
    record = OrdersRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=(
            "python",
            "-m",
            "feedline.benchmarks.claims.threaded_orders",
            *map(str, words),
        ),
        code=running_code(),
        environment=environment,
        data=describe(root, "train"),
        image_size=image_size,
        images=decoded,
        repeats=repeats,
        orders=orders,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_document(out, record)
    return record


def _measure(root: Path, image_size: int, images: int, repeats: int) -> tuple[tuple[Order, ...], int]:
    """Return the ways, and how many images each of them decoded."""
    exact = LoaderSpec(root=root, image_size=image_size)
    specs = {
        "": exact,
        ", DCT-scaled": replace(exact, dct_scaling=True),
        ", bicubic": replace(exact, interpolation="bicubic"),
    }
    with closing(ShardSamples(root, exact.split)) as samples:
        chosen = _taken(samples, exact, images)
        if len(chosen) < TURN:
            raise MeasurementError(
                f"{len(chosen)} of {images} images have tiles; add them with: feedline shard {root} --encode restart"
            )
        chosen = chosen[: len(chosen) // TURN * TURN]
        draws = draw_crops(chosen, seed=0, epoch=0)
        rows = np.empty((len(chosen), image_size, image_size, 3), np.uint8)

        def by_libjpeg(spec: LoaderSpec, source: EncodedSamples = samples) -> Way:
            def decode(part: slice) -> None:
                for row, index, numbers in zip(rows[part], chosen[part].tolist(), draws[part].tolist(), strict=True):
                    decode_into(row, source.read(index), numbers, spec)

            return decode

        def fused(spec: LoaderSpec) -> Way:
            def decode(part: slice) -> None:
                located = samples.locate(chosen[part])
                decode_rows(plan_located(located), draws[part], rows[part], spec)

            return decode

        planar = replace(exact, pixels="planar")
        ways = {"libjpeg-turbo": by_libjpeg(exact), "exact": fused(exact), "planar": fused(planar)}
        for name, spec in specs.items():
            if name:
                ways |= {f"libjpeg-turbo{name}": by_libjpeg(spec), f"exact{name}": fused(spec)}
        if (root / MANIFEST).is_file():
            files = FolderSamples(root, exact.split)

            def files_exact(part: slice) -> None:
                plans = plan_read(files.read_many(chosen[part].tolist()))
                for row in decode_rows(plans, draws[part], rows[part], exact):
                    decode_into(rows[part][row], files.read(chosen[part].item(row)), draws[part][row].tolist(), exact)

            ways |= {"libjpeg-turbo, whole files": by_libjpeg(exact, files), "exact, whole files": files_exact}
        seconds = _take_turns(ways, len(chosen), repeats)
        wanted = {kind: _by_pillow(samples, chosen, draws, specs[kind]) for kind in ("", ", bicubic")}
        found: list[Order] = []
        for name, way in ways.items():
            way(slice(0, len(chosen)))
            errors = np.abs(rows.astype(np.int16) - wanted[", bicubic" if "bicubic" in name else ""])
            found.append(
                Order(
                    name=name,
                    microseconds=1e6 * seconds[name],
                    mean_error=float(errors.mean()),
                    largest_error=int(errors.max()),
                    above_4=float((errors > 4).mean()),
                )
            )
    return tuple(found), len(chosen)


def _by_pillow(
    samples: ShardSamples, chosen: npt.NDArray[np.int64], draws: npt.NDArray[np.float64], spec: LoaderSpec
) -> U8:
    """Return the samples of the reference."""
    pairs = zip(chosen.tolist(), draws.tolist(), strict=True)
    return np.stack([read_pixels(samples.read(index).data.tobytes(), numbers, spec) for index, numbers in pairs])


def _taken(samples: ShardSamples, spec: LoaderSpec, images: int) -> npt.NDArray[np.int64]:
    """Return which of the first images the fused decoder takes."""
    indexes = np.arange(min(images, len(samples)))
    rows = np.empty((len(indexes), spec.side, spec.side, 3), np.uint8)
    located = samples.locate(indexes)
    left = decode_rows(plan_located(located), draw_crops(indexes, seed=0, epoch=0), rows, spec)
    return np.delete(indexes, left)


def _take_turns(ways: dict[str, Way], images: int, repeats: int) -> dict[str, float]:
    """Return CPU seconds per image: the mean over all turns of the least of each turn."""
    turns = images // TURN
    least = {name: np.full(turns, np.inf) for name in ways}
    for repeat in range(repeats):
        for turn in range(turns):
            part = slice(turn * TURN, (turn + 1) * TURN)
            for name in list(ways) if (turn + repeat) % 2 else reversed(ways):
                started = time.thread_time()
                ways[name](part)
                least[name][turn] = min(least[name][turn], time.thread_time() - started)
    return {name: float(values.mean()) / TURN for name, values in least.items()}


def table(record: OrdersRecord) -> str:
    """Return the ways as Markdown."""
    first = record.orders[0]
    rows = [
        f"| {order.name} | {order.microseconds:.0f} | {first.microseconds / order.microseconds:.2f} "
        f"| {order.mean_error:.3f} | {order.largest_error} | {order.above_4:.2%} |"
        for order in record.orders
    ]
    head = [
        "| | us per image | times libjpeg-turbo | mean error | largest | above 4 levels |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*head, *rows])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The record to write.")
@click.option("--image-size", type=click.IntRange(min=8), default=224, show_default=True, help="Pixels.")
@click.option("--images", type=click.IntRange(min=25), default=400, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=7, show_default=True)
def main(root: Path, out: Path, image_size: int, images: int, repeats: int) -> None:
    """Compare the fused decoder's two orders with libjpeg-turbo, on ROOT's shards of split train."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    click.echo(table(measure_orders(root, out, image_size, images, repeats)))


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
