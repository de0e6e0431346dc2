"""The official numbers of ILSVRC-2012, and what must hold when a source claims to be all of it.

A source with fewer than 1000 classes is a subset, and nobody can know its counts. One with all 1000 is the whole
data set: then every image has to be there, and a single missing one means a damaged copy. Counts are those of
the devkit's readme; sizes and md5 those that torchvision and tensorflow-datasets check.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import SourceError
from .imagenet import wnids

CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Official:
    """One split of ILSVRC-2012 and its archive."""

    images: int
    fewest: int
    most: int
    """Images per class."""
    bytes: int | None
    md5: tuple[str, ...]


OFFICIAL = {
    "train": Official(
        images=1_281_167,
        fewest=732,
        most=1300,
        bytes=147_897_477_120,
        md5=("1d675b47d978889d74fa0da5fadfb00e",),
    ),
    "val": Official(
        images=50_000,
        fewest=50,
        most=50,
        bytes=6_744_924_160,
        md5=("29b22e2961454d5413ddabcf34fc5622",),
    ),
    # The patch of October 2019 and the archive before it; their sizes were never published.
    "test": Official(
        images=100_000,
        fewest=0,
        most=0,
        bytes=None,
        md5=("e1b8681fff3d63731c599df9b4b6fc02", "fe64ceb247e473635708aed23ab6d839"),
    ),
}
ANYWAY = "if it is meant to be so, run: feedline prep imagenet SOURCES --out ROOT --checksum none"


def is_official(split: str, per_class: Mapping[str, int], images: int) -> bool:
    """Whether a split has all official classes, or all test images; ``per_class`` is {wnid: images}."""
    return images >= OFFICIAL["test"].images if split == "test" else sum(map(bool, per_class.values())) >= CLASSES


def check_counts(split: str, per_class: Mapping[str, int], images: int, where: str) -> None:
    """Raise SourceError unless a split with 1000 classes has the official classes and numbers of images."""
    if not is_official(split, per_class, images):
        return
    expected = OFFICIAL[split]
    unknown = sorted(set(per_class) - set(wnids()))
    if unknown:
        raise SourceError(f"{where} holds {len(per_class)} classes for {split}, and {unknown[0]} is none of ImageNet's")
    for wnid, count in per_class.items():
        if not expected.fewest <= count <= expected.most:
            span = str(expected.fewest) if expected.fewest == expected.most else f"{expected.fewest}..{expected.most}"
            raise SourceError(
                f"{where} holds {count} {split} images of class {wnid}, ImageNet has {span}: "
                f"copy or download it again; {ANYWAY}"
            )
    if images != expected.images:
        raise SourceError(
            f"{where} holds {images} {split} images of all {CLASSES} classes, ImageNet has {expected.images}: "
            f"copy or download it again; {ANYWAY}"
        )


def check_bytes(split: str, archive: Path) -> None:
    """Raise SourceError when a tar that holds the whole of a split has not the official size."""
    size, expected = archive.stat().st_size, OFFICIAL[split].bytes
    if expected is not None and size != expected:
        raise SourceError(
            f"{archive} has {size} bytes, the official archive of {split} has {expected}: "
            f"it was changed or packed again; {ANYWAY}"
        )


def check_md5(split: str, archive: Path, md5: str) -> None:
    """Raise SourceError when the md5 of an archive that holds the whole of a split is not an official one."""
    if md5 not in OFFICIAL[split].md5:
        raise SourceError(
            f"{archive} has the md5 {md5}, the official archive of {split} has {' or '.join(OFFICIAL[split].md5)}: "
            f"download it again; {ANYWAY}"
        )


def check_devkit(train_images: Mapping[str, int], per_class: Mapping[str, int], where: str) -> None:
    """Raise SourceError when a class has another number of training images than the devkit says."""
    for wnid, count in per_class.items():
        if count and train_images.get(wnid, count) != count:
            raise SourceError(
                f"train holds {count} images of class {wnid}, {where} says {train_images[wnid]}: "
                f"copy or download the archive again; {ANYWAY}"
            )
