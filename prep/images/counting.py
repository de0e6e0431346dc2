"""What is counted of the images of a data set: their formats, and those that EXIF would turn."""

from collections import Counter

from .kinds import kind_of_image
from .orientation import orientation

ROTATED = "turned by EXIF"
"""Counted in addition to the kind of an image."""


def count_image(counts: Counter[str], data: bytes) -> None:
    """Add an image to the counts: its ``ImageKind``, and ROTATED if its EXIF orientation is not 1."""
    counts[kind_of_image(data)] += 1
    if orientation(data) != 1:
        counts[ROTATED] += 1


def split_counts(counts: Counter[str]) -> tuple[dict[str, int], int]:
    """Return {kind: images}, the most frequent first, and the images that EXIF would turn."""
    kinds = {kind: count for kind, count in counts.most_common() if kind != ROTATED}
    return kinds, counts[ROTATED]
