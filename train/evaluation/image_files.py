"""The file of a sample index: its name, for the user to find it, and its bytes.

Loaders yield sample indexes, and these are the same for class folders and shards. So the evaluation can name the
images in its result, whichever loader it used.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from PIL import Image

from ...prep import MANIFEST, SHARDS, DatasetError, read_manifest, read_shard_manifest, sample_order
from ...prep.archives.tar import Member, read_member, walk
from ...prep.base.origins import held
from ...prep.base.shell import shell_word
from ...prep.images.opening import open_image
from ...prep.images.rgb import rgb_of
from ...prep.roots.kept_listings import open_listing
from ...prep.roots.places import shard_path
from ...prep.shards.read import is_part
from ...prep.shards.rules import SampleRule, rule_of
from ...prep.shards.sidecars import split_key


@dataclass(frozen=True)
class ImageFile:
    """The name and the bytes of one image in a data set."""

    name: str
    """Path relative to the root, with forward slashes; for a shard, its path and the member's name.

    The path of a shard that lies elsewhere is relative to the folder of the shards.
    """
    data: bytes


def read_images(root: Path, split: str, indexes: Sequence[int]) -> list[ImageFile]:
    """Return the images of these samples: from the class folders if the root has them, else from the shards.

    Raises DatasetError if the files differ from the manifest, SourceError for a damaged shard.
    """
    if (root / MANIFEST).is_file():
        listing = open_listing(root, read_manifest(root), split)
        paths = [Path(listing.path(index)) for index in indexes]
        return [ImageFile(_name(path.relative_to(root)), path.read_bytes()) for path in paths]
    return _read_from_shards(root / SHARDS, split, indexes)


def _name(path: Path) -> str:
    """Return a path as text that every document can hold: a byte that is not UTF-8 becomes ``\\xe9``."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def thumbnail(image: ImageFile, side: int) -> Image.Image:
    """Return the whole image in RGB, at most ``side`` pixels wide and high; never enlarged.

    EXIF orientation is ignored, as in the loaders, so that the thumbnail shows the model's input.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # broken EXIF, as in ImageNet: the pixels are fine
        opened = open_image(image.data)
        opened.draft("RGB", (2 * side, 2 * side))  # libjpeg decodes at an eighth, a quarter or half the size
        small = rgb_of(opened)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def _read_from_shards(directory: Path, split: str, indexes: Sequence[int]) -> list[ImageFile]:
    manifest = read_shard_manifest(directory)
    shards = manifest.splits[split].shards
    ends = np.cumsum([shard.samples for shard in shards])
    order = sample_order(manifest.splits[split].samples, manifest.order, manifest.seed)
    places = np.argsort(order)  # the inverse permutation: the place of each sample in the shards
    found: list[ImageFile] = []
    for place in places[list(indexes)].tolist():
        shard = int(np.searchsorted(ends, place, side="right"))
        path, rule = shard_path(directory, manifest, shards[shard]), rule_of(manifest)
        member, data = _read_sample(path, rule, place - int(ends[shard]) + shards[shard].samples)
        above = f"{SHARDS}/" if manifest.place is None else ""
        found.append(ImageFile(f"{above}{shards[shard].name}/{member}", data))
    return found


def _read_sample(path: Path, rule: SampleRule, place: int) -> tuple[str, bytes]:
    """Return name and bytes of the image at ``place`` in a shard, counted from 0."""
    with held(path), path.open("rb") as file:
        members = (member for member in walk(file, 0, path.stat().st_size, str(path)) if _counts(member))
        samples = (list(group) for _, group in groupby(members, lambda member: split_key(member.name)[0]))
        found = next(islice(samples, place, None), [])
        images = rule.images_among([split_key(member.name)[1].lower() for member in found])
        if len(images) != 1:
            raise DatasetError(
                f"{path} has fewer samples than its manifest lists; run: feedline verify {shell_word(path.parent)}"
            )
        member = found[images[0]]
        return member.name, read_member(file, member, str(path))


def _counts(member: Member) -> bool:
    """Return whether a member is part of a sample. Hidden files and ``__notes__`` are not, as in every reader."""
    return is_part(member.name) and not member.is_directory
