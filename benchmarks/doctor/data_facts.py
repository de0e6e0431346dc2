"""The facts about the images of a data set that ``feedline doctor`` checks: their formats, and what decoding costs.

A few images are decoded, in a second or two. The costs are ratios of times on this machine, taken one after the other,
so a busy machine changes them little.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import median

import numpy as np

from ...loaders import LoaderSpec
from ...loaders.pixels.crop_decoding import decode_crop
from ...loaders.pixels.reference import draws_of, without_exif
from ...loaders.support.encoded import EncodedImage, EncodedSamples
from ...loaders.support.samples import open_samples
from ...prep import FeedlineError, read_manifest
from ...prep.base.manifest import SHARDS, is_shard_set, read_shard_manifest
from ...prep.images.headers import image_size
from ...prep.images.kinds import count_image, kind_of_image, split_counts
from ...prep.images.opening import UNREADABLE
from ...prep.images.rgb import read_rgb
from ...prep.images.tiles import Tiles
from ...prep.shards.encode import Encoded, EncodeSpec, encode_image

EXAMINED = 64  # images that are read
TIMED = 4  # images of each kind that are decoded
PASSES = 3
MOST_PIXELS = 25_000_000  # of an image that is decoded
QUALITY = 90


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What a few images of a data set say about all of them."""

    images: int
    """Of the split that was examined."""
    examined: int
    formats: dict[str, int]
    """{kind: images among those that were examined}."""
    rotated: int
    """Images among them that EXIF would turn."""
    costs: dict[str, float]
    """{kind: time to decode an image, by that of a baseline JPEG of the same pixels and quality 90}."""
    gain: float | None
    """Time to decode a training crop of a JPEG, by that after ``feedline shard``; None for shards and without JPEGs."""


def data_facts(root: Path) -> DataFacts | None:
    """Return the facts about the first labelled split of a root; None for another folder, or one that is damaged."""
    with contextlib.suppress(FeedlineError, OSError, *UNREADABLE):
        split = _split_of(root)
        if split is not None:
            with contextlib.closing(open_samples(root, split)) as samples:
                return _facts(samples)
    return None


def _split_of(root: Path) -> str | None:
    if is_shard_set(root / SHARDS):
        return next(iter(read_shard_manifest(root / SHARDS).splits), None)
    return next((name for name, held in read_manifest(root).splits.items() if held.per_class), None)


def _facts(samples: EncodedSamples) -> DataFacts | None:
    total = len(samples)
    if not total:
        return None
    indexes = np.linspace(0, total - 1, min(EXAMINED, total)).astype(int).tolist()
    images = [samples.read(index) for index in dict.fromkeys(indexes)]
    encoded = [image.data.tobytes() for image in images]
    counts = Counter[str]()
    for data in encoded:
        count_image(counts, data)
    formats, rotated = split_counts(counts)
    return DataFacts(
        images=total,
        examined=len(images),
        formats=formats,
        rotated=rotated,
        costs=_costs(encoded),
        gain=None if any(image.tiles for image in images) else _gain(encoded),
    )


def _costs(encoded: Sequence[bytes]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for data in encoded:
        kind = kind_of_image(data)
        if kind in ("jpeg", "unknown") or len(found.get(kind, ())) == TIMED or _is_large(data):
            continue
        with contextlib.suppress(*UNREADABLE):
            plain, out = without_exif(data), BytesIO()
            read_rgb(plain).save(out, "JPEG", quality=QUALITY)
            baseline = out.getvalue()
            found.setdefault(kind, []).append(
                _ratio(lambda plain=plain: read_rgb(plain), lambda baseline=baseline: read_rgb(baseline))
            )
    return {kind: round(median(ratios), 2) for kind, ratios in found.items()}


def _gain(encoded: Sequence[bytes]) -> float | None:
    spec, ratios = LoaderSpec(root=Path()), list[float]()
    for index, data in enumerate(encoded):
        if len(ratios) == 2 * TIMED:
            break
        if kind_of_image(data) not in ("jpeg", "progressive jpeg") or _is_large(data):
            continue
        tiled = encode_image(data, EncodeSpec(encode="restart"))
        if tiled.geometry is None:
            continue
        draws = draws_of([index], 0, spec)[0]
        before = EncodedImage(np.frombuffer(data, np.uint8), None)
        after = EncodedImage(np.frombuffer(tiled.data, np.uint8), _tiles(tiled))
        with contextlib.suppress(ValueError, FeedlineError):  # what libjpeg-turbo rejects
            ratios.append(
                _ratio(
                    lambda image=before, draws=draws: decode_crop(image, draws, spec),
                    lambda image=after, draws=draws: decode_crop(image, draws, spec),
                )
            )
    return round(median(ratios), 2) if ratios else None


def _tiles(image: Encoded) -> Tiles | None:
    geometry = image.geometry
    if geometry is None:
        return None
    starts = geometry.offsets[:: geometry.columns // geometry.restart_interval]
    lengths = np.diff(starts)
    if int(lengths.max()) > np.iinfo(np.uint16).max:
        return None
    return Tiles(
        scan=int(starts[0]),
        row_lengths=lengths.astype(np.uint16),
        width=geometry.width,
        height=geometry.height,
        mcu_width=geometry.mcu_width,
        mcu_height=geometry.mcu_height,
        interval=geometry.restart_interval,
    )


def _is_large(data: bytes) -> bool:
    width, height = image_size(data)
    return width * height > MOST_PIXELS


def _ratio(one: Callable[[], object], other: Callable[[], object]) -> float:
    """Return the least time of ``one`` by that of ``other``, each of some passes in turn, after one to warm up."""
    times: tuple[list[float], list[float]] = [], []
    for turn in range(PASSES + 1):
        for work, taken in zip((one, other), times, strict=True):
            started = time.perf_counter()
            work()
            if turn:
                taken.append(time.perf_counter() - started)
    return min(times[0]) / min(times[1])
