"""Images of extreme sizes: much longer than wide, or of more pixels than any loader opens."""

from typing import Literal

from ..images.opening import pixel_size

LONG = 16
"""Images whose long side is more than so many times the short one are thin: of their length, evaluation sees 1/16."""
MOST_PIXELS = 178_956_970
"""The most pixels that are decoded, which is Pillow's limit against decompression bombs."""


def extreme_of(data: bytes) -> Literal["thin", "huge"] | None:
    """Return whether an image is thin or huge by its header, or None."""
    width, height = pixel_size(data)
    if width * height > MOST_PIXELS:
        return "huge"
    return "thin" if max(width, height) > LONG * min(width, height) else None


def extreme_notes(data: bytes, where: str) -> list[str]:
    """Return what is extreme about the size of the image at ``where``, if anything."""
    kind = extreme_of(data)
    if kind is None:
        return []
    width, height = pixel_size(data)
    if kind == "huge":
        return [f"{where} has {width} x {height} pixels, and no loader opens an image of more than {MOST_PIXELS:,}"]
    return [
        f"{where} has {width} x {height} pixels, more than {LONG} times as long as wide; "
        "training crops are small parts of it, and evaluation sees its centre only"
    ]
