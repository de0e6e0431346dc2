"""The size of raw shards before they are written: pixels take far more room than the JPEGs that they were.

The headers of some images say how large all of them are, about. A set that nobody can mean to write is refused, with
the size that it has with a smaller short side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...archives.npy import CHANNELS, HEADER
from ...base.errors import OutputError
from ...images.opening import pixel_size
from ...roots.samples import Sample, SampleReader, SampleSet
from .plan import ShardSpec
from .shard import tar_size

EXAMINED = 256  # images of a set
MOST_WITHOUT_SHORT_SIDE = 100e9
"""Bytes of raw shards that are written without a word about the size of the images; ImageNet has 750 GB of pixels."""
OFFERED = (256, 64)  # short sides, in pixels


@dataclass(frozen=True, kw_only=True)
class RawSize:
    """The size of a set of raw shards, estimated from some of its images."""

    images: int
    source_bytes: int
    sizes: tuple[tuple[int, int], ...]
    """Width and height of the examined images."""
    metadata: bool

    def image_bytes(self, short_side: int | None) -> int:
        """Return the mean size of an image."""
        return HEADER + round(float(np.mean([CHANNELS * _pixels(size, short_side) for size in self.sizes])))

    def shard_bytes(self, short_side: int | None) -> int:
        """Return the size of all shards."""
        return tar_size([self.image_bytes(short_side)] * self.images, self.metadata)


def estimate_raw(found: SampleSet, spec: ShardSpec) -> RawSize | None:
    """Return the size of the raw shards of a set; None if no examined image has a header that can be read.

    Raises DatasetError for an image that cannot be read.
    """
    samples = [sample for held in found.splits.values() for sample in held]
    sizes = [size for size in map(pixel_size, _examined(samples)) if min(size) > 0]
    return (
        RawSize(
            images=len(samples),
            source_bytes=sum(sample.size for sample in samples),
            sizes=tuple(sizes),
            metadata=spec.metadata,
        )
        if sizes
        else None
    )


def announcement(size: RawSize, spec: ShardSpec) -> str:
    """Return the sentence about the size of raw shards, before they are written.

    Raises OutputError for more than 100 GB if ``spec`` says nothing about the size of the images.
    """
    total = size.shard_bytes(spec.short_side)
    if spec.short_side is None and total > MOST_WITHOUT_SHORT_SIDE:
        smaller = " and ".join(f"--short-side {side} about {_gb(size.shard_bytes(side))}" for side in OFFERED)
        raise OutputError(
            f"--encode raw would write about {_gb(total)}: the pixels of {size.images:,} images, "
            f"{total / max(1, size.source_bytes):.0f} times the source; {smaller}. Give --short-side PX, "
            f"or --short-side 65535 to write them in full size"
        )
    return (
        f"raw pixels: about {_gb(total)} for {size.images:,} images of {size.image_bytes(spec.short_side):,} bytes; "
        f"the source has {_gb(size.source_bytes)}"
    )


def _examined(samples: Sequence[Sample]) -> list[bytes]:
    """Return some images, evenly spread."""
    places = np.linspace(0, len(samples) - 1, min(EXAMINED, len(samples))).astype(int).tolist()
    with SampleReader() as reader:
        return [reader.read(samples[place]) for place in places]


def _pixels(size: tuple[int, int], short_side: int | None) -> int:
    scale = 1.0 if short_side is None else min(1.0, short_side / min(size))
    width, height = (max(1, round(length * scale)) for length in size)
    return width * height


def _gb(size: int) -> str:
    if size < 100e6:
        return f"{size / 1e6:.1f} MB"
    return f"{size / 1e9:,.0f} GB" if size >= 10e9 else f"{size / 1e9:.1f} GB"
