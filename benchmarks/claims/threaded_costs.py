"""The parts of ``threaded``, timed one by one: serial work, threads, Python, tiles, DCT scaling, memory, index.

Rates are compared within one repeat, on the same images and the same crops. The order of the parts is reversed from
repeat to repeat. Two methods need an explanation:

- **Python under the GIL.** The real loader runs with one change: the compiled call that decodes a chunk returns at
  once. All Python stays, and the rate is the most that one process can reach with any number of cores. The CPU time of
  the process per image is the time under the GIL, and the little that numpy does without it.
- **The index of ImageNet.** The rows of the root's own images are repeated until there are 1,281,167 of them, in
  shards of 256 MB. The shards themselves are empty, because opening does not read them.
"""

import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ...loaders import LoaderSpec
from ...loaders.pixels import fused_calls
from ...loaders.pixels.crop_decoding import decode_into
from ...loaders.pixels.cuts import cut_out
from ...loaders.pixels.fused_calls import decode_rows, decodes, plan_images
from ...loaders.pixels.reference import draws_of
from ...loaders.support.encoded import EncodedImage, EncodedSamples
from ...loaders.support.shard_samples import ShardSamples
from ...loaders.threaded import CHUNK, ThreadedLoader
from ...prep import MANIFEST, SHARDS, MeasurementError, Shard, ShardSplit, read_shard_manifest, write_document
from ...prep.shards.index import ShardIndex, index_path, read_index
from ..measuring.process import MeasuringJob, run_in_fresh_process

IMAGENET = 1_281_167  # images in split train
IMAGENET_BYTES = 115_000  # of an image, on average
SHARD_BYTES = 256_000_000

MEMORY_BATCH = 256
MEMORY_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Timed:
    """The same work, once per repeat."""

    images: int
    """In each repeat."""
    seconds: tuple[float, ...]

    @property
    def rates(self) -> list[float]:
        """Images per second of each repeat."""
        return [self.images / second for second in self.seconds]


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """DCT scaling at one image size, by one thread, against decoding at full size."""

    image_size: int
    exact: Timed
    scaled: Timed
    share: float
    """Share of the images that were decoded at a smaller size."""
    mean_error: float
    """Grey levels, over all images, against decoding at full size."""
    largest_error: int


@dataclass(frozen=True, kw_only=True)
class OpenedIndex:
    """An index of as many samples as ImageNet's train split has."""

    samples: int
    shards: int
    bytes: int
    seconds: tuple[float, ...]


Work = Callable[[int], float]
"""Runs one repeat of a part, by its number; returns seconds."""


def run_interleaved(parts: dict[str, Work], repeats: int) -> dict[str, tuple[float, ...]]:
    """Run every part once to warm up, then ``repeats`` times in alternating order; return seconds by part."""
    found: dict[str, list[float]] = {name: [] for name in parts}
    for work in parts.values():
        work(0)
    for repeat in range(repeats):
        for name in parts if repeat % 2 == 0 else reversed(parts):
            found[name].append(parts[name](repeat))
    return {name: tuple(seconds) for name, seconds in found.items()}


def decode_serially(samples: EncodedSamples, spec: LoaderSpec, images: int, *, whole: bool = False) -> Work:
    """Return the work of one thread alone, as the loader's threads do it: read, splice, decode, resize, flip.

    ``whole`` decodes without tiles, which the compiled decoder does not take. The seconds are CPU time of the thread,
    which a busy machine disturbs less.
    """
    rows = np.empty((CHUNK, spec.side, spec.side, 3), np.uint8)

    def work(repeat: int) -> float:
        draws = draws_of(range(images), repeat, spec)
        started = time.thread_time()
        for first in range(0, images, CHUNK):
            numbers = draws[first : first + CHUNK]
            found = [samples.read(index) for index in range(first, first + len(numbers))]
            found = [image._replace(tiles=None) for image in found] if whole else found
            for row in _not_compiled(found, numbers, rows[: len(found)], spec):
                decode_into(rows[row], found[row], numbers[row], spec)
        return time.thread_time() - started

    return work


def _not_compiled(
    found: Sequence[EncodedImage], draws: Sequence[Sequence[float]], rows: npt.NDArray[np.uint8], spec: LoaderSpec
) -> Sequence[int]:
    """Decode images into ``rows`` with the compiled decoder; return the rows that it does not take."""
    if not decodes(spec):
        return range(len(found))
    return decode_rows(plan_images(found), np.array(draws), rows, spec)


def load_epochs(loader: ThreadedLoader, epochs: int, clock: Callable[[], float] = time.perf_counter) -> Work:
    """Return the work of a loader whose batches are dropped."""

    def work(repeat: int) -> float:
        loader.set_epoch(repeat * epochs)
        started = clock()
        for _ in range(epochs):
            for _ in loader:
                pass
        return clock() - started

    return work


def load_undecoded(loader: ThreadedLoader, epochs: int, clock: Callable[[], float] = time.perf_counter) -> Work:
    """Return the work of a loader whose images are not decoded: its batches hold whatever their memory held."""
    load = load_epochs(loader, epochs, clock)

    def work(repeat: int) -> float:
        decode, fused_calls.decode_many = fused_calls.decode_many, _decode_nothing
        try:
            return load(repeat)
        finally:
            fused_calls.decode_many = decode

    return work


def _decode_nothing(*arguments: Any) -> None:
    """Stand in for ``decode_many``: every image counts as taken, so that none is decoded in another way."""
    arguments[-1][:] = 1


Transformed = Literal["returns its image", "draws a number"]


def _image(image: torch.Tensor) -> torch.Tensor:
    return image


def _image_of_a_draw(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    torch.rand((), generator=generator)
    return image


TRANSFORMS: dict[Transformed, Callable[..., torch.Tensor]] = {
    "returns its image": _image,
    "draws a number": _image_of_a_draw,
}
"""Sample transforms of next to no work: what they cost is what the loader adds for each sample, and a generator."""


def compare_scaling(samples: EncodedSamples, spec: LoaderSpec, images: int) -> tuple[float, float, int]:
    """Return the share of scaled images, and the mean and the largest error in grey levels over all images."""
    scaled = replace(spec, dct_scaling=True)
    rows = np.empty((2, spec.side, spec.side, 3), np.uint8)
    shrunk, total, largest = 0, 0.0, 0
    for index, draws in enumerate(draws_of(range(images), 0, spec)):
        image = samples.read(index)
        shrunk += _is_scaled(image, draws, scaled)
        decode_into(rows[0], image, draws, spec)
        decode_into(rows[1], image, draws, scaled)
        errors = np.abs(rows[0].astype(np.int16) - rows[1])
        total += float(errors.mean())
        largest = max(largest, int(errors.max()))
    return shrunk / images, total / images, largest


def _is_scaled(image: EncodedImage, draws: Sequence[float], spec: LoaderSpec) -> bool:
    try:
        return cut_out(image, draws, spec).scale > 1
    except ValueError:  # an image that Pillow decodes
        return False


def peak_memory(root: Path, workers: int) -> int | None:
    """Return the resident bytes of a fresh process at batch 256 and 224 pixels, with the mapped pages of shards."""
    spec = LoaderSpec(root=root, batch_size=MEMORY_BATCH, workers=workers)
    return run_in_fresh_process(MeasuringJob(loader="threaded", spec=spec, seconds=MEMORY_SECONDS), 600).peak_rss_bytes


def open_index(root: Path, place: Path, repeats: int) -> OpenedIndex:
    """Return the cost of opening an index of ImageNet's size, made of ``root``'s images in a temporary folder."""
    with _imagenet(root, place) as (large, shards):
        seconds: list[float] = []
        for _ in range(repeats):
            started = time.perf_counter()
            with closing(ShardSamples(large, "train")) as samples:
                seconds.append(time.perf_counter() - started)
                assert len(samples) == IMAGENET
        size = sum(index_path(large / SHARDS / shard.name).stat().st_size for shard in shards)
    return OpenedIndex(samples=IMAGENET, shards=len(shards), bytes=size, seconds=tuple(seconds))


@contextmanager
def _imagenet(root: Path, place: Path) -> Generator[tuple[Path, tuple[Shard, ...]], None, None]:
    """Yield a root with as many samples as ImageNet, and its shards."""
    manifest = read_shard_manifest(root / SHARDS)
    rows, lengths = _joined([read_index(root / SHARDS / shard.name) for shard in manifest.splits["train"].shards])
    per_shard = SHARD_BYTES // IMAGENET_BYTES
    counts = [min(per_shard, IMAGENET - first) for first in range(0, IMAGENET, per_shard)]
    with tempfile.TemporaryDirectory(dir=place, prefix="feedline-index-") as folder:
        directory = Path(folder) / SHARDS
        directory.mkdir()
        indexes = {count: _repeated(rows, lengths, count).to_bytes() for count in set(counts)}
        shards = tuple(
            Shard(name=f"imagenet-train-{number:06}.tar", samples=count, bytes=0, sha256="")
            for number, count in enumerate(counts)
        )
        for shard in shards:
            (directory / shard.name).write_bytes(b"")
            index_path(directory / shard.name).write_bytes(indexes[shard.samples])
        splits = {"train": ShardSplit(samples=IMAGENET, shards=shards)}
        write_document(directory / MANIFEST, replace(manifest, splits=splits))
        yield Path(folder), shards


def _joined(indexes: Sequence[ShardIndex]) -> tuple[npt.NDArray[np.void], list[npt.NDArray[np.uint16]]]:
    """Return the rows of all shards, and the lengths of each image's MCU rows."""
    rows = np.concatenate([index.samples for index in indexes])
    tiled = np.count_nonzero(rows["restart_interval"])
    if tiled < len(rows) / 2:  # some source images have restart markers already
        raise MeasurementError(
            f"{tiled} of {len(rows)} images have restart markers; add them with: feedline shard ROOT --encode restart"
        )
    rows["offset"] = rows["size"] = 0  # the shards are empty
    lengths = [
        index.row_lengths[first : first + count]
        for index in indexes
        for first, count in zip(index.samples["first_row"].tolist(), index.samples["rows"].tolist(), strict=True)
    ]
    return rows, lengths


def _repeated(rows: npt.NDArray[np.void], lengths: Sequence[npt.NDArray[np.uint16]], count: int) -> ShardIndex:
    """Return the index of a shard with ``count`` samples, which repeats the given ones."""
    chosen = [number % len(rows) for number in range(count)]
    samples = rows[chosen]
    samples["first_row"] = np.concatenate([[0], np.cumsum(samples["rows"][:-1])])
    return ShardIndex(samples, np.concatenate([lengths[number] for number in chosen]))
