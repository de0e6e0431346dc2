"""The official counts, sizes and md5 of ILSVRC-2012, and the checks of a complete source against them.

A source with fewer than 1000 classes is a subset, and its counts are unknown. A source with all 1000 classes is
the whole data set. Then every image must be present, and one missing image means a damaged copy. The counts come
from the devkit's readme, the sizes and md5 from the checks of torchvision and tensorflow-datasets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import SourceError
from .imagenet import wnids

CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Official:
    """The official numbers of one split of ILSVRC-2012 and of its archive."""

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
    # The md5 of the patch of October 2019 and of the archive before it. Their sizes are not published.
    "test": Official(
        images=100_000,
        fewest=0,
        most=0,
        bytes=None,
        md5=("e1b8681fff3d63731c599df9b4b6fc02", "fe64ceb247e473635708aed23ab6d839"),
    ),
}
OVERRIDE = "if this is intended, run: feedline prep imagenet SOURCES --out ROOT --checksum none"


def is_official(split: str, per_class: Mapping[str, int], images: int) -> bool:
    """Return whether a split has 1000 classes or all test images; ``per_class`` is {wnid: images}."""
    return images >= OFFICIAL["test"].images if split == "test" else sum(map(bool, per_class.values())) >= CLASSES


def check_counts(split: str, per_class: Mapping[str, int], images: int, source: str) -> None:
    """Raise SourceError if a split with 1000 classes has other classes or counts than the official ones.

    ``per_class`` is {wnid: images}. ``source`` names the source in messages.
    """
    if not is_official(split, per_class, images):
        return
    expected = OFFICIAL[split]
    unknown = sorted(set(per_class) - set(wnids()))
    if unknown:
        raise SourceError(
            f"{source} holds {len(per_class)} classes for {split}, and {unknown[0]} is none of ImageNet's; {OVERRIDE}"
        )
    for wnid, count in per_class.items():
        if not expected.fewest <= count <= expected.most:
            span = str(expected.fewest) if expected.fewest == expected.most else f"{expected.fewest}..{expected.most}"
            raise SourceError(
                f"{source} holds {count} {split} images of class {wnid}, ImageNet has {span}; "
                f"copy or download it again, or {OVERRIDE}"
            )
    if images != expected.images:
        raise SourceError(
            f"{source} holds {images} {split} images of all {CLASSES} classes, ImageNet has {expected.images}; "
            f"copy or download it again, or {OVERRIDE}"
        )


def check_bytes(split: str, archive: Path) -> None:
    """Raise SourceError if a tar that holds a whole split does not have the official size."""
    size, expected = archive.stat().st_size, OFFICIAL[split].bytes
    if expected is not None and size != expected:
        raise SourceError(
            f"{archive} was changed or packed again: it has {size} bytes, "
            f"the official archive of {split} has {expected}; download it again, or {OVERRIDE}"
        )


def check_md5(split: str, archive: Path, md5: str) -> None:
    """Raise SourceError if the md5 of an archive that holds a whole split is not an official one."""
    if md5 not in OFFICIAL[split].md5:
        raise SourceError(
            f"{archive} has the md5 {md5}, the official archive of {split} has {' or '.join(OFFICIAL[split].md5)}; "
            f"download it again, or {OVERRIDE}"
        )


def check_devkit(train_images: Mapping[str, int], per_class: Mapping[str, int], devkit: str) -> None:
    """Raise SourceError if a class has another number of training images than the devkit lists.

    ``train_images`` and ``per_class`` are {wnid: images}. ``devkit`` names the devkit in messages.
    """
    for wnid, count in per_class.items():
        if count and train_images.get(wnid, count) != count:
            raise SourceError(
                f"train holds {count} images of class {wnid}, {devkit} says {train_images[wnid]}; "
                f"copy or download the archive again, or {OVERRIDE}"
            )
