"""What a loader would have to read and do if the images were encoded in another way: measured on a sample.

Some of ROOT's images are encoded anew in memory, as ``feedline shard --encode`` does it, and taken through the
loader's own stages. Bytes and working time of each encoding come from the same images, so their ratios hold for
the whole root; what the whole loader does with the images that are on the disk is measured anyway.
"""

from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from ...loaders import LOADERS, LoaderSpec, open_stages
from ...loaders.support.encoded import EncodedImage, FolderSamples, Tiles, open_samples
from ...prep import MANIFEST, SHARDS, read_shard_manifest
from ...prep.base.manifest import Encode
from ...prep.shards.encode import Encoded, EncodeSpec, encode_image
from ...prep.shards.index import LONGEST_ROW
from .stages import StageTimes, time_stages

IMAGES = 64  # a restart marker costs 2 ms an image to write, a smaller image 10
ROUNDS = 3
"""Through all encodings in turn; the shortest time of an image is the one that nothing disturbed."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The stages of a loader on the images of a root, and on some of them in every encoding."""

    as_is: StageTimes
    encode: Encode
    """How the images that the loader reads are encoded."""
    encodings: dict[Encode, StageTimes]
    """From memory, so that fetching costs nothing; where the loader's stages can be told apart."""


def encoding_of(loader: str, spec: LoaderSpec) -> Encode:
    """Return how the images are encoded that ``loader`` reads: the archive's own files are copies."""
    shards = spec.root / SHARDS
    if LOADERS[loader].needs == "folders" or not (shards / MANIFEST).is_file():
        return "copy"
    manifest = read_shard_manifest(shards)
    return manifest.encode if spec.split in manifest.splits else "copy"


def time_encodings(loader: str, spec: LoaderSpec) -> dict[Encode, StageTimes]:
    """Return the stages of ``loader`` on a sample of the images in each encoding that can be made of them.

    Shards of smaller images cannot be made larger again: where there is nothing else, there is only "resize".
    """
    held: list[EncodedImage] = []
    stages = open_stages(loader, spec, held.__getitem__)
    if stages is None:
        return {}
    source, images = _sample(spec)
    coded: tuple[Encode, ...] = ("copy", "restart", "resize") if source != "resize" else ("resize",)
    encoded = {encode: [_as(encode, image, source) for image in images] for encode in coded}
    rounds: dict[Encode, list[StageTimes]] = {encode: [] for encode in coded}
    with closing(stages):
        for encode in coded * ROUNDS:
            held[:] = encoded[encode]
            rounds[encode].append(time_stages(loader, stages, range(len(held)), spec))
    return {encode: _quietest(times) for encode, times in rounds.items()}


def _sample(spec: LoaderSpec) -> tuple[Encode, list[bytes]]:
    """Return some of the split's images, evenly spread, in the encoding nearest to the archive's."""
    has_folders = (spec.root / MANIFEST).is_file()
    with closing(FolderSamples(spec.root, spec.split) if has_folders else open_samples(spec.root, spec.split)) as held:
        places = np.linspace(0, len(held.labels) - 1, min(IMAGES, len(held.labels))).astype(int)
        images = [held.read(index).data.tobytes() for index in places.tolist()]
    return "copy" if has_folders else encoding_of("threaded", spec), images


def _as(encode: Encode, image: bytes, source: Encode) -> EncodedImage:
    if encode == "copy":  # restart markers are a few bytes and change no pixel: without tiles they are a copy
        return EncodedImage(np.frombuffer(image, np.uint8), None)
    if encode == source:
        encode = "copy"
    return _with_tiles(encode_image(image, EncodeSpec(encode=encode)))


def _with_tiles(encoded: Encoded) -> EncodedImage:
    """Return an image as the index of a shard would describe it."""
    data, geometry = np.frombuffer(encoded.data, np.uint8), encoded.geometry
    if geometry is None:
        return EncodedImage(data, None)
    rows = np.diff(geometry.offsets[:: geometry.columns // geometry.restart_interval])
    if rows.max() > LONGEST_ROW:
        return EncodedImage(data, None)
    sizes = (geometry.width, geometry.height, geometry.mcu_width, geometry.mcu_height, geometry.restart_interval)
    return EncodedImage(data, Tiles(int(geometry.offsets[0]), rows.astype(np.uint16), *sizes))


def _quietest(rounds: list[StageTimes]) -> StageTimes:
    """Return the round with the shortest time of each image; all rounds are over the same images."""
    least = min(len(times.work_seconds) for times in rounds)
    work = tuple(min(times.work_seconds[place] for times in rounds) for place in range(least))
    return replace(rounds[0], sizes=rounds[0].sizes[:least], work_seconds=work)
