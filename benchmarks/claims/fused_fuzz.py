"""Damaged images for the fused decoder: python -m feedline.benchmarks.claims.fused_fuzz --images 1000000 --out FILE

Every image is a small JPEG, with tiles or without, of any sampling, with damage in its header, its scan, its length or
its index. A quarter is decoded at 1/2, 1/4 or 1/8 if its box is large enough, and a quarter is resized by bicubic
interpolation.
Each is decoded between guard zones: every array of the decoder's memory, and the row of the batch, lies in a larger one
whose other bytes must stay as they are. A decoder that leaves its arrays ends the process, or changes a guard zone.
Where the decoder takes an image whose index is sound, the sample must be that of libjpeg-turbo and Pillow, or
libjpeg-turbo must refuse the image. Those are counted: the fused decoder did not see that damage.

The images follow from ``--seed`` and their numbers. FILE is a record. It is written after every thousand images, and a
second run goes on from there. With NUMBA_BOUNDSCHECK=1 all accesses are checked too, some hundred times more slowly.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click
import numpy as np
import numpy.typing as npt
import simplejpeg

from ...loaders.pixels.crop_decoding import resize_by_pillow
from ...loaders.pixels.cuts import Cut, jpeg_size, splice_for
from ...loaders.pixels.dct_scaling import dct_shift, resize_scaled
from ...loaders.pixels.fused.decode import decode_many
from ...loaders.pixels.fused.header import find_scan
from ...loaders.pixels.fused.plan import (
    ADDRESS,
    BOX_HEIGHT,
    FIELDS,
    HEIGHT,
    INTERVAL,
    LEFT,
    ROWS,
    SCAN,
    SIZE as ENCODED_SIZE,
    TOP,
    WIDTH,
)  # fmt: skip
from ...loaders.pixels.fused.scratch import OWN, Scratch, make_scratch, second_scratch
from ...loaders.support.encoded import EncodedImage
from ...prep import FeedlineError, MeasurementError, SampleError, read_document, write_document
from ...prep.images.restart import add_restart_markers
from ...prep.images.tiles import Tiles
from ..machine.environment import Environment, capture
from ..measuring.record import Code, running_code

U8 = npt.NDArray[np.uint8]
Rng = np.random.Generator

SIZE = 8  # of the samples: small, so that the inverse DCT can make most images smaller
GUARD = 4096  # bytes before and behind every array
CANARY = 0xA5
KEPT_EVERY = 1000


@dataclass
class Outcome:
    """What became of the images of a run."""

    seed: int
    images: int = 0
    refused: int = 0
    """Left to libjpeg-turbo and Pillow."""
    equal: int = 0
    """Taken, with the sample that libjpeg-turbo and Pillow make."""
    unseen: int = 0
    """Taken, though libjpeg-turbo refuses the tiles."""
    other: int = 0
    """Taken, with another sample than libjpeg-turbo's and Pillow's: an error, unless the index was damaged."""
    planar: int = 0
    """Taken in the planar order, which has no such reference."""
    index: int = 0
    """Taken, with a damaged index, so that there is no reference."""
    scaled: int = 0
    """Of those that were taken: how many were decoded at 1/2, 1/4 or 1/8."""
    touched: int = 0
    """With a changed guard zone: an error."""


@dataclass(frozen=True, kw_only=True)
class FuzzRecord:
    """The document of a run, finished or not."""

    format: Literal["feedline-fuzz"] = "feedline-fuzz"
    schema: Literal[1] = 1
    date: str
    """When it was written, ISO 8601, UTC."""
    command: tuple[str, ...]
    code: Code
    """The code that decoded the last images; a run that goes on refuses another commit's counts."""
    environment: Environment
    checked: bool
    """Whether numba checked every index (NUMBA_BOUNDSCHECK=1)."""
    outcome: Outcome


class Damaged(NamedTuple):
    """One damaged image, and what to decode of it."""

    image: EncodedImage
    box: tuple[int, int, int, int]
    wrong_index: bool
    """Whether the index was damaged too."""
    shift: int = 0
    """log2 of the factor by which the inverse DCT makes it smaller."""
    cubic: bool = False
    """Whether the resize is bicubic."""


def originals() -> list[EncodedImage]:
    """Return small images of every sampling and some qualities, each with tiles and without."""
    rng = np.random.default_rng(0)
    found: list[EncodedImage] = []
    for sampling in ("420", "422", "444", "440", "411", "gray"):
        for quality, (height, width) in ((30, (64, 64)), (85, (50, 90)), (97, (33, 47))):
            y, x = np.mgrid[:height, :width]
            slope = np.stack([3 * x, 2 * y + x, 255 - x - y], -1) % 256
            pixels = np.ascontiguousarray((slope + rng.integers(0, 40, slope.shape)).clip(0, 255).astype(np.uint8))
            if sampling == "gray":
                jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels[:, :, :1]), quality, "GRAY", "gray")
            else:
                jpeg = simplejpeg.encode_jpeg(pixels, quality, "RGB", sampling)
            data, tiles = add_restart_markers(jpeg)
            lengths = np.diff(tiles.offsets[:: tiles.columns // tiles.restart_interval]).astype(np.uint16)
            grid = (tiles.width, tiles.height, tiles.mcu_width, tiles.mcu_height, tiles.restart_interval)
            found.append(EncodedImage(np.frombuffer(data, np.uint8), Tiles(int(tiles.offsets[0]), lengths, *grid)))
            found.append(EncodedImage(np.frombuffer(jpeg, np.uint8), None))
    return found


def damaged(images: list[EncodedImage], seed: int, number: int) -> Damaged:
    """Return image ``number`` of a seed."""
    rng = np.random.default_rng((seed, number))
    data, tiles = images[rng.integers(len(images))]
    plan = whole_plan(data)
    scan, size = plan.item(SCAN), (plan.item(WIDTH), plan.item(HEIGHT))
    data, kind = data.copy(), rng.integers(5 if tiles is None else 6)
    first, stop = (0, scan) if kind == 0 else (scan, len(data))
    if kind < 4:
        for _ in range(rng.choice([1, 1, 2, 8])):
            place = rng.integers(first, stop)
            value = (int(rng.integers(256)), 0, 0xFF, int(data[place]) ^ (1 << int(rng.integers(8))))[rng.integers(4)]
            data[place] = value
    elif kind == 4:  # bytes are gone or there twice, and the rows are as long as they were
        place, length = rng.integers(scan, len(data)), rng.integers(1, 20)
        data[place:-length] = data[place + length :] if place + length < len(data) else 0
    index = kind == 5
    if index and tiles is not None:
        tiles = _damaged_index(rng, tiles)
        size = tiles.width, tiles.height
    width, height = rng.integers(1, size[0] + 1), rng.integers(1, size[1] + 1)
    left, top = rng.integers(0, size[0] - width + 1), rng.integers(0, size[1] - height + 1)
    if tiles is None:  # down to the last row, so that all damage is seen
        height = size[1] - top
    box = int(left), int(top), int(width), int(height)
    way = rng.integers(4)
    shift = dct_shift(*box[2:], SIZE, SIZE) if way == 0 else 0
    return Damaged(EncodedImage(data, tiles), box, index, shift, cubic=bool(way == 1))


def _damaged_index(rng: Rng, tiles: Tiles) -> Tiles:
    lengths = tiles.row_lengths.copy()
    field = rng.choice(["row_lengths", "scan", "width", "height", "mcu_width", "mcu_height", "interval"])
    if field == "row_lengths":
        lengths[rng.integers(len(lengths))] = (0, 1, 65535, int(rng.integers(65536)))[rng.integers(4)]
        return tiles._replace(row_lengths=lengths)
    value = int(rng.choice([0, 1, 8, 255, 65535, getattr(tiles, field) + 1, max(1, getattr(tiles, field) - 1)]))
    return tiles._replace(**{field: max(value, 1) if field in ("width", "height") else value})


class Guarded:
    """Arrays for the decoder between guard zones."""

    def __init__(self) -> None:
        self._zones: list[U8] = []
        views: dict[str, Any] = {}
        plain = make_scratch(SIZE)
        for name, array in plain._asdict().items():
            twin = name.removesuffix("64")
            views[name] = views[twin].view(np.uint64) if twin != name else self._copy(array)
        self.scratch = Scratch(**views)
        second = second_scratch(self.scratch)._asdict()
        own = {name: self._copy(second[name]) for name in OWN}
        self.second = self.scratch._replace(**own, planes64=own["planes"].view(np.uint64))
        self.row = self._copy(np.zeros(SIZE * SIZE * 3, np.uint8))
        self.taken = self._copy(np.zeros(1, np.uint8))

    def _copy(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        whole = np.full(array.nbytes + 2 * GUARD, CANARY, np.uint8)
        self._zones += [whole[:GUARD], whole[GUARD + array.nbytes :]]
        inner = whole[GUARD : GUARD + array.nbytes].view(array.dtype).reshape(array.shape)
        inner[...] = array
        return inner

    def are_whole(self) -> bool:
        """Return whether no guard zone has changed."""
        return all((zone == CANARY).all() for zone in self._zones)


def decode(image: Damaged, guarded: Guarded, planar: bool) -> bool:
    """Decode to ``guarded.row``; return whether the decoder takes the image."""
    data, tiles = image.image
    exact = np.array(data)  # with nothing behind it that could hide a read beyond its end
    plan = whole_plan(exact)
    if tiles is not None:
        lengths = tiles.row_lengths
        plan[SCAN : ROWS + 1] = tiles.scan, lengths.ctypes.data, len(lengths)
        plan[WIDTH : INTERVAL + 1] = tiles.grid
    plan[LEFT:] = *image.box, SIZE, SIZE, 0, 0, 0, image.shift, image.cubic
    if tiles is None:
        plan[BOX_HEIGHT] = plan[HEIGHT] - plan[TOP]
    decode_many(plan[None], planar, guarded.scratch, guarded.second, guarded.row, guarded.taken)
    return bool(guarded.taken[0])


def whole_plan(data: U8) -> npt.NDArray[np.int64]:
    """Return the plan of a JPEG without tiles and without a crop."""
    plan = np.zeros(FIELDS, np.int64)
    plan[ADDRESS], plan[ENCODED_SIZE] = data.ctypes.data, len(data)
    if not find_scan(data, plan):
        plan[INTERVAL] = 0
    return plan


def reference(image: Damaged) -> U8 | None:
    """Return the sample of libjpeg-turbo and Pillow, or None if libjpeg-turbo refuses the image or its tiles."""
    (cut, tiles), box, scale = image.image, image.box, 1 << image.shift
    try:
        if tiles is not None:
            cut, box = splice_for(cut, tiles, box, scale)
        width, height = jpeg_size(cut)
        pixels = simplejpeg.decode_jpeg(cut, "RGB", min_width=-(-width // scale), min_height=-(-height // scale))
    except (ValueError, SampleError):
        return None
    row = np.empty((SIZE, SIZE, 3), np.uint8)
    if tiles is None:
        box = (*box[:3], height - box[1])
    if scale > 1:
        resize_scaled(pixels, scale, box, (SIZE, SIZE), (0, 0), row)
    else:
        kind = "bicubic" if image.cubic else "bilinear"
        resize_by_pillow(pixels, Cut(cut, (width, height), box, 1, (SIZE, SIZE), (0, 0), False, kind), row)
    return row


def run(outcome: Outcome, images: int) -> Iterator[None]:
    """Decode up to image ``images`` of a seed and count what happens; yield after every image."""
    guarded, sources = Guarded(), originals()
    while outcome.images < images:
        image = damaged(sources, outcome.seed, outcome.images)
        planar = outcome.images % 4 == 3 and not image.shift and not image.cubic
        taken = decode(image, guarded, planar=planar)
        outcome.images += 1
        if not taken:
            outcome.refused += 1
        elif image.wrong_index:
            outcome.index += 1
        else:
            _judge(outcome, guarded.row, image, planar)
        outcome.scaled += taken and image.shift > 0
        if outcome.images % 100 == 0:
            outcome.touched += not guarded.are_whole()
        yield


def _judge(outcome: Outcome, row: U8, image: Damaged, planar: bool) -> None:
    wanted = reference(image)
    if wanted is None:
        outcome.unseen += 1
    elif planar:
        outcome.planar += 1
    elif np.array_equal(row.reshape(wanted.shape), wanted):
        outcome.equal += 1
    else:
        outcome.other += 1


def table(record: FuzzRecord) -> str:
    """Return what became of the images, in Markdown."""
    outcome = record.outcome
    rows = {
        "changed a guard zone": outcome.touched,
        "taken, with other pixels than the old way's": outcome.other,
        "taken, with the old way's pixels": outcome.equal,
        "taken in the planar order, which is not compared": outcome.planar,
        "taken, with a damaged index": outcome.index,
        "taken, and refused by the old way": outcome.unseen,
        "refused": outcome.refused,
        "of those taken: decoded at a smaller size": outcome.scaled,
    }
    lines = [f"| {what} | {count:,} | {count / outcome.images:.2%} |" for what, count in rows.items()]
    head = f"| of {outcome.images:,} damaged images, seed {outcome.seed} | images | share |"
    return "\n".join([head, "|---|---:|---:|", *lines])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--images", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The record; a second run goes on from its counts."
)
def main(images: int, seed: int, out: Path) -> None:
    """Decode damaged images, and count what becomes of them."""
    code, environment = running_code(), capture()
    outcome = _counted(out, seed, code) if out.exists() else Outcome(seed=seed)
    command = ("python", "-m", "feedline.benchmarks.claims.fused_fuzz", "--images", str(images), "--seed", str(seed))

    def write() -> FuzzRecord:
        record = FuzzRecord(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            command=(*command, "--out", str(out)),
            code=code,
            environment=environment,
            checked=os.environ.get("NUMBA_BOUNDSCHECK") == "1",
            outcome=outcome,
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        write_document(out, record)
        return record

    for _ in run(outcome, images):
        if outcome.images % KEPT_EVERY == 0:
            write()
    record = write()
    click.echo(table(record), err=True)
    click.echo(json.dumps(asdict(outcome)))
    if outcome.other or outcome.touched:
        raise MeasurementError(f"{outcome.other} samples differ and {outcome.touched} guard zones changed; see {out}")


def _counted(out: Path, seed: int, code: Code) -> Outcome:
    """Return the counts of an earlier run. Raises MeasurementError if they are of other images or of other code."""
    record = read_document(out, FuzzRecord)
    if record.outcome.seed != seed:
        raise MeasurementError(
            f"{out} counts images of seed {record.outcome.seed}; choose that --seed, or another --out"
        )
    if record.code != code:
        raise MeasurementError(
            f"{out} counts images that commit {record.code.commit} decoded, and this is {code.commit}; "
            "choose another file with --out"
        )
    return record.outcome


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
