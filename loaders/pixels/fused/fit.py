"""Crop, resize and flip of decoded pixels, with the fused decoder's arithmetic, so that both give the same samples."""

import numpy as np
import numpy.typing as npt

from .plan import BAND_ROWS, HEIGHT, SHIFT, WIDTH, X0, X1, Y0, Y1, weigh
from .resize import shrink_band, shrink_rows, stride_of, transpose
from .scratch import BAND, BEYOND, Scratch
from .vectors.compiling import compiled

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U = np.uint64

_ROWS = 64  # rows of pixels at a time


@compiled
def fit_pixels(pixels: U8, width: int, height: int, plan: I64, scratch: Scratch, out: U8) -> bool:
    """Write one sample of an image to ``out``, uint8 (size * size * 3,); return False if it needs too much memory.

    ``pixels`` is uint8 (height * width * 3,), RGB, decoded at 1 / 2 ** ``plan[SHIFT]``. Of ``plan`` the box, the
    target, the offset, the flip, the shift and whether the resize is bicubic count.
    """
    plan[WIDTH], plan[HEIGHT] = width << plan[SHIFT], height << plan[SHIFT]
    region = scratch.region
    if not weigh(plan, scratch.axes, scratch.weights, scratch.taps, region):
        return False
    left, columns, first, rows = region[X0], region[X1] - region[X0], region[Y0], region[Y1] - region[Y0]
    groups, padded = (rows + _ROWS - 1) // _ROWS, (columns + 63) & ~63
    if (
        padded * _ROWS + BEYOND > min(BAND, scratch.planes.shape[1])
        or columns + 4 > len(scratch.columns)
        or groups * _ROWS + 4 > len(scratch.lines)
    ):
        return False
    region[BAND_ROWS] = _ROWS
    stride = stride_of(scratch.axes.shape[1])
    for row in range(groups * _ROWS):
        scratch.lines[row] = row * stride
    for group in range(groups):
        for row in range(min(_ROWS, rows - group * _ROWS)):
            _separate(pixels, 3 * ((first + group * _ROWS + row) * width + left), columns, scratch.planes, row * padded)
        for channel in range(3):
            band = scratch.band64[channel * (BAND >> 3) : (channel + 1) * (BAND >> 3)]
            transpose(scratch.planes64[channel], _ROWS, padded, band, _ROWS >> 3, scratch.turned)
        shrink_band(scratch, 3, group)
    shrink_rows(scratch, 3, first, out, 0)
    return True


@compiled
def _separate(pixels: U8, start: int, count: int, planes: U8, place: int) -> None:
    """Write the red, green and blue of one line of pixels to three planes."""
    red, green, blue = planes[0], planes[1], planes[2]
    p, o = U(start), U(place)
    for x in range(count):
        i = U(x)
        red[o + i] = pixels[p + U(3) * i]
        green[o + i] = pixels[p + U(3) * i + U(1)]
        blue[o + i] = pixels[p + U(3) * i + U(2)]
