"""The evaluation resize of images that are much longer than wide: only the part that the centre crop needs is made.

An image of 20,000 x 2 pixels whose short side becomes 256 is 2,560,000 x 256 pixels, 2 GB, of which the centre crop
takes 224 columns. So the part of the image that these columns are made of is cut out first, with the pixels around it
that the filter reads, and resized alone. Pillow takes the part's place in single precision, so a pixel can differ from
torchvision's by two grey levels; with bicubic weights by up to 24 in noise, because Pillow chooses which direction
comes first. An image that becomes at most 8 times the pixels of the sample is resized whole, as torchvision does, bit
for bit.
"""

import math

from PIL import Image

from ..spec import Interpolation

MOST = 8
"""Images that become more than so many times the pixels of the sample are resized in part."""

RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_REACH = {"bilinear": 1.0, "bicubic": 2.0}
"""How far the filter reads on each side, in pixels of the image, or of the resized image if that is smaller."""


def is_thin(target: tuple[int, int], size: int) -> bool:
    """Return whether only a part is made of an image that is resized to ``target`` for samples of ``size`` pixels."""
    return target[0] * target[1] > MOST * size * size


def resize(
    image: Image.Image,
    target: tuple[int, int],
    offset: tuple[int, int],
    size: int,
    interpolation: Interpolation,
    *,
    rows_first: bool = False,
) -> Image.Image:
    """Return the sample of ``size`` x ``size`` pixels at ``offset`` (left, top) of an image resized to ``target``.

    A part is resized along the rows first, if ``rows_first`` as the compiled decoder does, else where Pillow would.
    """
    x, y = offset
    if not is_thin(target, size):
        return image.resize(target, RESAMPLING[interpolation]).crop((x, y, x + size, y + size))
    left, right, first, last = _part(image.width, target[0], x, size, interpolation)
    top, bottom, upper, lower = _part(image.height, target[1], y, size, interpolation)
    part, how = image.crop((first, upper, last, lower)), RESAMPLING[interpolation]
    across, down = (left - first, right - first), (top - upper, bottom - upper)
    columns_first = image.width < image.height and target[1] < image.height  # the order of Pillow 13 for such images
    if columns_first and not rows_first:
        part = part.resize((part.width, size), how, box=(0, down[0], part.width, down[1]))
        return part.resize((size, size), how, box=(across[0], 0, across[1], size))
    part = part.resize((size, part.height), how, box=(across[0], 0, across[1], part.height))
    return part.resize((size, size), how, box=(0, down[0], size, down[1]))


def _part(
    length: int, target: int, offset: int, size: int, interpolation: Interpolation
) -> tuple[float, float, int, int]:
    """Return where the output pixels ``offset`` on begin and end along one side, and the pixels they are made of."""
    step = length / target
    start, end = offset * step, min((offset + size) * step, length)
    reach = _REACH[interpolation] * max(step, 1) + 1
    return start, end, max(math.floor(start - reach), 0), min(math.ceil(end + reach), length)
