"""From a sample index back to its file: a name that people can look up, and the image itself.

Loaders hand out sample indexes, the same for class folders and shards, so the evaluation can name the images
it talks about whichever loader it used.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from ...prep import MANIFEST, SHARDS, DatasetError, list_samples, read_manifest, read_shard_manifest, sample_order
from ...prep.archives.tar import read_member, walk


@dataclass(frozen=True)
class ImageFile:
    """One file of a data set."""

    name: str
    """Relative to the root, with forward slashes; inside a shard, the shard's name and the member's."""
    data: bytes


def read_images(root: Path, split: str, indexes: Sequence[int]) -> list[ImageFile]:
    """Return the files of these samples: from the class folders where there are any, else from the shards.

    Raises DatasetError where they are not what the manifest says, SourceError for a damaged shard.
    """
    if (root / MANIFEST).is_file():
        samples = list_samples(root, read_manifest(root), split)
        paths = [samples[index].path for index in indexes]
        return [ImageFile(path.relative_to(root).as_posix(), path.read_bytes()) for path in paths]
    return _read_from_shards(root / SHARDS, split, indexes)


def thumbnail(image: ImageFile, side: int) -> Image.Image:
    """Return the whole image in RGB, at most ``side`` pixels wide and high; never enlarged.

    EXIF orientation is ignored, as the loaders do: people see what the model saw.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # broken EXIF, as in ImageNet: the pixels are fine
        with Image.open(BytesIO(image.data)) as opened:
            opened.draft("RGB", (2 * side, 2 * side))  # libjpeg decodes at an eighth, a quarter or half the size
            small = opened.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def _read_from_shards(directory: Path, split: str, indexes: Sequence[int]) -> list[ImageFile]:
    manifest = read_shard_manifest(directory)
    shards = manifest.splits[split].shards
    ends = np.cumsum([shard.samples for shard in shards])
    order = sample_order(manifest.splits[split].samples, manifest.order, manifest.seed)
    places = np.argsort(order)  # the inverse permutation: where in the shards each sample stands
    found: list[ImageFile] = []
    for place in places[list(indexes)].tolist():
        shard = int(np.searchsorted(ends, place, side="right"))
        found.append(_read_sample(directory / shards[shard].name, place - int(ends[shard]) + shards[shard].samples))
    return found


def _read_sample(path: Path, place: int) -> ImageFile:
    """Return the ``place``-th image of a shard; beside each stand its label and its notes."""
    with path.open("rb") as file:
        members = walk(file, 0, path.stat().st_size, str(path))
        images = (member for member in members if member.name.endswith(".jpg"))
        member = next(islice(images, place, None), None)
        if member is None:
            raise DatasetError(f"{path} has fewer samples than its manifest says; run: feedline verify {path.parent}")
        return ImageFile(f"{SHARDS}/{path.name}/{member.name}", read_member(file, member, str(path)))
