"""Decoding at 1/2, 1/4 or 1/8 of the size in the inverse DCT, and the resize to the final size.

A decoder can compute 4x4, 2x2 or 1x1 pixels of a block of 8x8 from its low frequencies (the scaled IDCT of
libjpeg-turbo's jidctred.c, and ``fused.blocks.reduced``). This saves most of the IDCT, of the colour conversion and of
the resize, and none of the entropy decoding. It applies if the crop is at least that much larger than the sample in
both directions.

A crop can begin and end anywhere in a scaled pixel. Rounding it to whole scaled pixels would move the image by up to
half an output pixel (measured at 64 pixels: 2.4 grey levels in the mean and 92 at most, against 1.0 and 33 here).
Torch's resize takes no box, but the resize of ``fused`` does, and so does the one here, which makes the same pixels
until ``fused`` is compiled. It is bilinear and antialiased as Pillow's. The weight of a scaled pixel is the reference's
triangle at its centre, times the part of the pixel that lies in the crop. The remaining error comes from the decoder:
its low-pass is not the mean of the pixels that the reference reads.
"""

import numpy as np
import numpy.typing as npt

from ...prep.base.compiled import compiled

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

# Below this, two of libjpeg-turbo's sixteen scales round to the same size, and it could use the wrong one.
LEAST_SIDE = 8
PRECISION = 22
"""Bits of a weight, as in Pillow."""


def dct_shift(width: int, height: int, target_width: int, target_height: int) -> int:
    """Return log2 of the largest of 8, 4, 2 and 1 by which a box may shrink before its resize.

    The box divided by it is at least as large as the target in both directions.
    """
    shift = 3
    while shift > 0 and (min(width, height) < LEAST_SIDE or width < target_width << shift):
        shift -= 1
    while shift > 0 and height < target_height << shift:
        shift -= 1
    return shift


def dct_scale(box: tuple[int, int, int, int], target: tuple[int, int]) -> int:
    """Return the factor for a box (left, top, width, height) and a target (width, height): 8, 4, 2 or 1."""
    return 1 << dct_shift(*box[2:], *target)


@compiled
def resize_scaled(
    pixels: U8, scale: int, box: tuple[int, int, int, int], target: tuple[int, int], offset: tuple[int, int], out: U8
) -> None:
    """Resize a box to ``target`` and write the part at ``offset`` to ``out``, uint8 (H, W, 3).

    ``pixels``, uint8 (h, w, 3), are an image decoded at 1 / ``scale``. The box (left, top, width, height) is in
    pixels of the full-size image and lies in it. ``target`` is (width, height), ``offset`` (left, top). As in Pillow,
    pixels are weighted along rows first, and rounded to 8 bits after each direction.
    """
    rows, columns, _ = out.shape
    lefts, across = _weights(box[0], box[2], target[0], offset[0], columns, scale)
    tops, down = _weights(box[1], box[3], target[1], offset[1], rows, scale)
    first, last = tops.min(), tops.max() + down.shape[1]
    narrow = np.zeros((last - first, columns, 3), np.uint8)
    for y in range(first, min(last, len(pixels))):
        _blend_row(pixels[y], lefts, across, narrow[y - first])
    for y in range(rows):
        top = tops[y] - first
        for x in range(columns):
            for channel in range(3):
                total = 1 << (PRECISION - 1)
                for tap in range(down.shape[1]):
                    total += np.int64(down[y, tap]) * np.int64(narrow[top + tap, x, channel])
                out[y, x, channel] = total >> PRECISION


@compiled
def _weights(start: int, length: int, target: int, first: int, count: int, scale: int) -> tuple[I64, I32]:
    """Return the first scaled pixel of each output pixel along one side, int64 (count,), and the weights from there on.

    The weights are int32 (count, taps) and sum to 2^22. The weights of scaled pixels outside the box are 0. They are
    those of ``fused.weights``.
    """
    step = length / target  # distance of output pixels in image pixels, and the half width of the triangle
    taps, used, inverse = int(2 * step / scale) + 3, 1, 1 / step
    firsts = np.empty(count, np.int64)
    weights = np.zeros((count, taps), np.float64)
    for i in range(count):
        centre = (first + i + 0.5) * step + start
        low = max(int(centre - step + 0.5 * scale), start) // scale  # the first whose centre is in the triangle
        high = min(int(centre + step), start + length - 1) // scale
        firsts[i] = low
        total = 0.0
        for k in range(low, high + 1):
            inside = min((k + 1) * scale, start + length) - max(k * scale, start)
            weight = inside * max(0.0, 1.0 - abs((k + 0.5) * scale - centre) * inverse)
            weights[i, k - low] = weight
            total += weight
            if weight > 0:
                used = max(used, k - low + 1)
        for tap in range(taps):
            weights[i, tap] /= total
    return firsts, (0.5 + weights[:, :used] * (1 << PRECISION)).astype(np.int32)


@compiled
def _blend_row(row: U8, lefts: I64, across: I32, out: U8) -> None:
    """Write one row of weighted sums, rounded; the last taps may lie outside the row, with weight 0."""
    taps = across.shape[1]
    for x in range(len(out)):
        for channel in range(3):
            total = 1 << (PRECISION - 1)
            for tap in range(min(taps, len(row) - lefts[x])):
                total += np.int64(across[x, tap]) * np.int64(row[lefts[x] + tap, channel])
            out[x, channel] = total >> PRECISION
