"""The time of one image by stage: fetch, decode, transform, collate and transfer, one after the other in one thread.

The functions are the loader's own stages (``open_stages``), called in the loader's order on the images of its first
epoch. This module only takes the times between them. Work that a library does behind one call cannot be separated from
outside and is one part with a joined name. Threads and processes do all stages at the same time. So the parts add up
to the time of one worker, never to that of the loader. The split shows which part is large, and the measured runs show
how fast the whole loader is.

The encoded size and the working time of each image are kept, because a prediction for another disk needs their spread
and not only their means.
"""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import torch

from ...loaders import LOADERS, LoaderSpec, Stages, open_loader, open_stages
from ...loaders.batch import to_batch
from ...loaders.pixels.reference import draws_of
from ...loaders.sampling.chosen import Chosen
from ...loaders.sampling.draw_keys import indexes_of
from ...loaders.support.encoded import EncodedImage
from ...loaders.support.samples import open_samples
from ...loaders.support.throttle import Throttle, ThrottledSamples
from ...prep import MeasurementError

IMAGES = 256
SECONDS = 2.0
"""The time after which no new batch is begun: a slow disk or decoder gets fewer images."""
WARM_UP = 16  # images: after them, compiled functions are loaded and the allocator has its memory
PAGE = 4096

FETCH, DECODE, TRANSFORM, COLLATE, TRANSFER = "fetch", "decode", "transform", "collate", "transfer"
JOINED = "decode, transform and collate"


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """The times of one image in one thread of a loader, in the order of the stages."""

    loader: str
    parts: dict[str, float]
    """Mean milliseconds per image by stage; transfer is 0 if the images stay in the CPU's memory."""
    sizes: tuple[int, ...]
    """Encoded bytes of each measured image."""
    work_seconds: tuple[float, ...]
    """The time of all stages except fetch, for each of these images."""

    @property
    def fetch_share(self) -> float:
        """Share of fetch in the time of all stages, 0 to 1."""
        return self.parts[FETCH] / sum(self.parts.values())

    @property
    def bytes_per_image(self) -> float:
        """Mean encoded bytes of an image."""
        return sum(self.sizes) / len(self.sizes)

    @property
    def mean_work(self) -> float:
        """Mean seconds of all stages except fetch."""
        return sum(self.work_seconds) / len(self.work_seconds)


def time_stages_of(loader: str, spec: LoaderSpec, throttle: Throttle | None = None) -> StageTimes:
    """Return the times of ``loader``. Raises what reading, decoding and ``throttled_samples`` raise."""
    indexes = _first_epoch(spec)[: WARM_UP + IMAGES]
    with ExitStack() as opened:
        read = None
        if throttle is not None:
            read = opened.enter_context(closing(throttled_samples(loader, spec, throttle))).read
        stages = open_stages(loader, spec, read)
        if stages is None:
            return _joined(loader, spec, indexes)
        opened.enter_context(closing(stages))
        return time_stages(loader, stages, indexes, spec)


def throttled_samples(loader: str, spec: LoaderSpec, throttle: Throttle) -> ThrottledSamples:
    """Return the samples of ``loader``, throttled. Raises MeasurementError for a loader that reads by itself."""
    if not LOADERS[loader].takes_samples:
        able = ", ".join(name for name, entry in LOADERS.items() if entry.takes_samples)
        raise MeasurementError(f"only {able} can be throttled, not {loader}")
    return ThrottledSamples(open_samples(spec.root, spec.split), throttle)


def time_stages(loader: str, stages: Stages, indexes: Sequence[int], spec: LoaderSpec) -> StageTimes:
    """Return the times of ``stages`` over the images ``indexes``; the first of them warm up and do not count."""
    warm_up = min(WARM_UP, len(indexes) // 2)
    _time_batch(stages, indexes[:warm_up], spec)
    began, found = perf_counter(), list[_Timed]()
    for first in range(warm_up, len(indexes), spec.batch_size):
        if perf_counter() - began > SECONDS and found:
            break
        found += _time_batch(stages, indexes[first : first + spec.batch_size], spec)
    if not found:
        raise MeasurementError(f"{spec.root} has too few images in split {spec.split!r} to time; give it 2 or more")
    names = (FETCH, DECODE, TRANSFORM, COLLATE, TRANSFER)
    means = np.mean([timed.seconds for timed in found], axis=0)
    return StageTimes(
        loader=loader,
        parts={name: 1000 * float(mean) for name, mean in zip(names, means, strict=True)},
        sizes=tuple(timed.size for timed in found),
        work_seconds=tuple(sum(timed.seconds[1:]) for timed in found),
    )


@dataclass(frozen=True)
class _Timed:
    """The encoded bytes of one image, and the seconds of each stage."""

    size: int
    seconds: tuple[float, ...]


def _time_batch(stages: Stages, indexes: Sequence[int], spec: LoaderSpec) -> list[_Timed]:
    size, sizes, seconds, samples = spec.side, list[int](), list[tuple[float, ...]](), list[Any]()
    began = perf_counter()
    images = torch.empty((len(indexes), size, size, 3), dtype=torch.uint8)
    draws = draws_of(indexes, 0, spec)
    planning = perf_counter() - began
    for row, index, numbers in zip(images, indexes, draws, strict=True):
        asked = perf_counter()
        encoded = stages.fetch(index)
        sizes.append(touch(encoded))
        fetched = perf_counter()
        decoded = stages.decode(encoded, numbers)
        unpacked = perf_counter()
        samples.append(stages.transform(decoded, numbers, row))
        seconds.append((fetched - asked, unpacked - fetched, perf_counter() - unpacked))
    began = perf_counter()
    images = stages.collate(samples, images)
    batch = to_batch(images, torch.zeros(len(indexes), dtype=torch.int64), torch.tensor(indexes), "cpu")
    collate = (perf_counter() - began + planning) / len(indexes)
    transfer = _transfer_seconds(batch.images, spec.device) / len(indexes)
    return [_Timed(size, (*three, collate, transfer)) for size, three in zip(sizes, seconds, strict=True)]


def _transfer_seconds(images: torch.Tensor, device: str) -> float:
    if not device.startswith("cuda"):
        return 0.0
    pinned = images.pin_memory()
    torch.cuda.synchronize()
    began = perf_counter()
    pinned.to(device, non_blocking=True)
    torch.cuda.synchronize()
    return perf_counter() - began


def _joined(loader: str, spec: LoaderSpec, indexes: Sequence[int]) -> StageTimes:
    """Return the times of a loader that does everything after reading behind one call."""
    with closing(open_samples(spec.root, spec.split)) as samples:
        began = perf_counter()
        sizes = [touch(samples.read(index)) for index in indexes]
        fetch = (perf_counter() - began) / len(indexes)
    with closing(open_loader(loader, spec)) as opened:
        batches = iter(opened)
        next(batches)
        began = perf_counter()
        count = sum(len(batch.indexes) for batch in islice(batches, max(1, IMAGES // spec.batch_size)))
        whole = (perf_counter() - began) / max(1, count)
    work = max(0.0, whole - fetch)
    return StageTimes(
        loader=loader,
        parts={FETCH: 1000 * fetch, JOINED: 1000 * work, TRANSFER: 0.0},
        sizes=tuple(sizes),
        work_seconds=(work,) * len(sizes),
    )


def touch(image: EncodedImage | bytes) -> int:
    """Read every page of an image and return its number of bytes: a page of a mapped file is fetched on first use."""
    if isinstance(image, bytes):
        return len(image)
    image.data[::PAGE].max()
    return len(image.data)


def _first_epoch(spec: LoaderSpec) -> list[int]:
    """Return the sample indexes of the first epoch in their order."""
    with closing(open_samples(spec.root, spec.split)) as samples:
        return indexes_of(Chosen(spec, len(samples), lambda: samples.labels).keys(0)).tolist()
