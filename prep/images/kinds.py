"""What kind of image file it is, by its headers alone: for counting, and for the members' names in shards."""

from collections import Counter
from pathlib import PurePosixPath
from typing import Literal

from .files import SUFFIXES
from .headers import FRAMES, segments
from .opening import RAW, allowed_format
from .orientation import orientation

ImageKind = Literal[
    "jpeg", "progressive jpeg", "cmyk jpeg", "other jpeg", "png", "webp", "gif", "bmp", "ppm", "tiff", "raw", "unknown"
]
"""A "jpeg" is sequential with one or three components; "other jpeg" is arithmetic, lossless or damaged.

"raw" is pixels as they are, without an encoding.
"""

ROTATED = "turned by EXIF"
"""Counted in addition to the kind of an image."""

_KINDS: dict[str, ImageKind] = {
    "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "PPM": "ppm", "TIFF": "tiff", RAW: "raw",
}  # fmt: skip
_FRAME_KINDS: dict[int, ImageKind] = {0xC0: "jpeg", 0xC1: "jpeg", 0xC2: "progressive jpeg"}
_EXTENSIONS = {
    "JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "PPM": "ppm", "TIFF": "tif", RAW: "npy",
}  # fmt: skip


def kind_of_image(data: bytes) -> ImageKind:
    """Return what an image file is by its first bytes, and of a JPEG by its frame header."""
    found = allowed_format(data)
    if found == "JPEG":
        for marker, start, end in segments(data, len(data)):
            if marker in FRAMES and start + 9 < min(end, len(data)):
                return "cmyk jpeg" if data[start + 9] == 4 else _FRAME_KINDS.get(marker, "other jpeg")
        return "other jpeg"
    return _KINDS.get(found or "", "unknown")


def member_extension(data: bytes, name: str) -> str:
    """Return the extension of an image's member in a shard, without a dot: "jpg" or that of its true format.

    A file whose name says JPEG keeps "jpg", whatever it holds: readers that build tables need the same members in
    all samples, and every reader recognises an image by its content. ImageNet has one such file, a PNG. Pixels as they
    are always get "npy": readers choose their decoder of arrays by it.
    """
    suffix, found = PurePosixPath(name).suffix.lower(), allowed_format(data)
    if suffix in (".jpg", ".jpeg") and found != RAW:
        return "jpg"
    if found is None:  # of a format that is not opened
        return suffix.removeprefix(".") if suffix in SUFFIXES else "jpg"
    return _EXTENSIONS[found]


def count_image(counts: Counter[str], data: bytes) -> None:
    """Add an image to the counts: its ``ImageKind``, and ROTATED if its EXIF orientation is not 1."""
    counts[kind_of_image(data)] += 1
    if orientation(data) != 1:
        counts[ROTATED] += 1


def split_counts(counts: Counter[str]) -> tuple[dict[str, int], int]:
    """Return {kind: images}, the most frequent first, and the images that EXIF would turn."""
    kinds = {kind: count for kind, count in counts.most_common() if kind != ROTATED}
    return kinds, counts[ROTATED]
