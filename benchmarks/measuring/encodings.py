"""The bytes and the working time of a loader's images in other encodings, measured on some images of a root.

Some of ROOT's images are encoded again in memory, as ``feedline shard --encode`` does, and pass through the loader's
own stages. Bytes and working time of each encoding come from the same images, so their ratios hold for the whole
root. The speed of the whole loader on the images on the disk is measured separately.
"""

import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from ...loaders import LOADERS, LoaderSpec, open_stages
from ...loaders.support.encoded import EncodedImage, Tiles
from ...loaders.support.samples import FolderSamples, open_samples
from ...prep import MANIFEST, SHARDS, read_shard_manifest
from ...prep.base.manifest import Encode
from ...prep.images.opening import pixel_size
from ...prep.shards.encode import Encoded, EncodeSpec, encode_image
from ...prep.shards.index import LONGEST_ROW
from .stages import StageTimes, time_stages

IMAGES = 64  # writing restart markers takes 2 ms per image, writing a smaller image 10 ms
MOST_RAW = 512_000_000  # bytes of pixels that are held in memory
ROUNDS = 3
"""Rounds through all encodings in turn; the shortest time of an image is the least disturbed."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The times of a loader's stages on the images of a root, and on some of them in every encoding."""

    as_is: StageTimes
    encode: Encode
    """The encoding of the images that the loader reads."""
    encodings: dict[Encode, StageTimes]
    """The times by encoding, from memory, so that fetching costs nothing; empty without separate stages."""


def encoding_of(loader: str, spec: LoaderSpec) -> Encode:
    """Return the encoding of the images that ``loader`` reads; the archive's own files are "copy"."""
    shards = spec.root / SHARDS
    if LOADERS[loader].needs == "folders" or not (shards / MANIFEST).is_file():
        return "copy"
    manifest = read_shard_manifest(shards)
    return manifest.encode if spec.split in manifest.splits else "copy"


def time_encodings(loader: str, spec: LoaderSpec) -> dict[Encode, StageTimes]:
    """Return the times of ``loader`` on some of the images, in each encoding that can be made from them.

    Smaller images cannot be made larger again, and pixels have no file of their own. If the root has only shards of
    smaller images or of pixels, the only encodings are "resize" and "raw". Pixels of more than 512 MB are not made. A
    loader without separate stages has no encodings.
    """
    held: list[EncodedImage] = []
    stages = open_stages(loader, spec, held.__getitem__)
    if stages is None:
        return {}
    source, images = _sample(spec)
    coded: tuple[Encode, ...] = ("resize",) if source in ("resize", "raw") else ("copy", "restart", "resize")
    side = _raw_side(spec)
    if _raw_bytes(images, side) <= MOST_RAW:
        coded = (*coded, "raw")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pillow's about broken EXIF: the pixels are fine
        encoded = {encode: [_as(encode, image, source, side) for image in images] for encode in coded}
    rounds: dict[Encode, list[StageTimes]] = {encode: [] for encode in coded}
    with closing(stages):
        for encode in coded * ROUNDS:
            held[:] = encoded[encode]
            rounds[encode].append(time_stages(loader, stages, range(len(held)), spec))
    return {encode: _quietest(times) for encode, times in rounds.items()}


def _sample(spec: LoaderSpec) -> tuple[Encode, list[bytes]]:
    """Return some of the split's images, evenly spread, and their encoding, the nearest to the archive's."""
    has_folders = (spec.root / MANIFEST).is_file()
    with closing(FolderSamples(spec.root, spec.split) if has_folders else open_samples(spec.root, spec.split)) as held:
        places = np.linspace(0, len(held) - 1, min(IMAGES, len(held))).astype(int)
        images = [held.read(index).data.tobytes() for index in places.tolist()]
    return "copy" if has_folders else encoding_of("threaded", spec), images


def _raw_side(spec: LoaderSpec) -> int | None:
    """Return the short side of the root's raw shards; None for full size, and if it has no raw shards."""
    shards = spec.root / SHARDS
    manifest = read_shard_manifest(shards) if (shards / MANIFEST).is_file() else None
    return manifest.short_side if manifest is not None and manifest.encode == "raw" else None


def _raw_bytes(images: Sequence[bytes], short_side: int | None) -> int:
    """Return the bytes that the pixels of images take."""
    sizes = [size for size in map(pixel_size, images) if min(size) > 0]
    return sum(3 * round(w * h * min(1.0, (short_side or min(w, h)) / min(w, h)) ** 2) for w, h in sizes)


def _as(encode: Encode, image: bytes, source: Encode, raw_side: int | None) -> EncodedImage:
    if encode == "copy":  # restart markers are a few bytes and change no pixel: no tiles, no difference
        return EncodedImage(np.frombuffer(image, np.uint8), None)
    if encode == source:
        encode = "copy"
    return _with_tiles(encode_image(image, EncodeSpec(encode=encode, short_side=raw_side if encode == "raw" else None)))


def _with_tiles(encoded: Encoded) -> EncodedImage:
    """Return an image with the tiles that the index of a shard would list."""
    data, geometry = np.frombuffer(encoded.data, np.uint8), encoded.geometry
    if geometry is None:
        return EncodedImage(data, None)
    rows = np.diff(geometry.offsets[:: geometry.columns // geometry.restart_interval])
    if rows.max() > LONGEST_ROW:
        return EncodedImage(data, None)
    sizes = (geometry.width, geometry.height, geometry.mcu_width, geometry.mcu_height, geometry.restart_interval)
    return EncodedImage(data, Tiles(int(geometry.offsets[0]), rows.astype(np.uint16), *sizes))


def _quietest(rounds: list[StageTimes]) -> StageTimes:
    """Return the times with the shortest time of each image; all rounds are over the same images."""
    least = min(len(times.work_seconds) for times in rounds)
    work = tuple(min(times.work_seconds[place] for times in rounds) for place in range(least))
    return replace(rounds[0], sizes=rounds[0].sizes[:least], work_seconds=work)
