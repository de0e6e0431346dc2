"""Decoding at 1/2, 1/4 or 1/8 of the size in the inverse DCT, and the resize to the final size.

libjpeg-turbo can compute 4x4, 2x2 or 1x1 pixels of a block of 8x8 from its low frequencies (the scaled IDCT of
jidctred.c). This saves most of the IDCT, of the colour conversion and of the resize, and none of the entropy
decoding. It applies if the crop is at least that much larger than the sample in both directions.

A crop can begin and end anywhere in a scaled pixel. Rounding it to whole scaled pixels would move the image by up to
half an output pixel (measured at 64 pixels: 2.4 grey levels in the mean and 92 at most, against 1.0 and 33 here).
Torch's resize takes no box, but the resize of this module does. It is bilinear and antialiased as Pillow's. The
weight of a scaled pixel is the reference's triangle at its centre, times the part of the pixel that lies in the crop.
The remaining error comes from the decoder: its low-pass is not the mean of the pixels that the reference reads.
"""

import numpy as np
import numpy.typing as npt

from ...prep.base.compiled import compiled

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

SCALES = (8, 4, 2)
# Below this, two of libjpeg-turbo's sixteen scales round to the same size, and it could use the wrong one.
LEAST_SIDE = 8


def dct_scale(box: tuple[int, int, int, int], target: tuple[int, int]) -> int:
    """Return the largest of 8, 4, 2 and 1 by which a box (left, top, width, height) may shrink before its resize.

    The box divided by it is at least as large as ``target``, (width, height), in both directions.
    """
    _, _, width, height = box
    if min(width, height) < LEAST_SIDE:
        return 1
    return next((scale for scale in SCALES if width >= scale * target[0] and height >= scale * target[1]), 1)


@compiled
def resize_scaled(
    pixels: U8, scale: int, box: tuple[int, int, int, int], target: tuple[int, int], offset: tuple[int, int], out: U8
) -> None:
    """Resize a box to ``target`` and write the part at ``offset`` to ``out``, uint8 (H, W, 3).

    ``pixels``, uint8 (h, w, 3), are an image decoded at 1 / ``scale``. The box (left, top, width, height) is in
    pixels of the full-size image and lies in it. ``target`` is (width, height), ``offset`` (left, top).
    """
    rows, columns, _ = out.shape
    lefts, across = _weights(box[0], box[2], target[0], offset[0], columns, scale)
    tops, down = _weights(box[1], box[3], target[1], offset[1], rows, scale)
    flat = pixels.reshape(pixels.shape[0], pixels.shape[1] * 3)
    line = np.empty(flat.shape[1], np.float32)
    for y in range(rows):
        line[:] = 0
        for tap in range(down.shape[1]):
            if down[y, tap] != 0:
                _add(flat[tops[y] + tap], down[y, tap], line)
        _pick(line, lefts, across, out[y])


@compiled
def _weights(start: int, length: int, target: int, first: int, count: int, scale: int) -> tuple[I64, F32]:
    """Return the first scaled pixel of each output pixel along one side, int64 (count,), and the weights from there on.

    The weights are float32 (count, taps) and sum to 1. The weights of scaled pixels outside the box are 0.
    """
    step = length / target  # distance of output pixels in image pixels, and the half width of the triangle
    taps, used = int(2 * step / scale) + 3, 1
    firsts = np.empty(count, np.int64)
    weights = np.zeros((count, taps), np.float32)
    for i in range(count):
        centre = start + (first + i + 0.5) * step
        low = max(int(centre - step + scale / 2), start) // scale  # the first whose centre is in the triangle
        high = min(int(centre + step), start + length - 1) // scale
        firsts[i] = low
        total = 0.0
        for k in range(low, high + 1):
            inside = min((k + 1) * scale, start + length) - max(k * scale, start)
            weight = inside * max(0.0, 1 - abs((k + 0.5) * scale - centre) / step)
            weights[i, k - low] = weight
            total += weight
            if weight > 0:
                used = max(used, k - low + 1)
        for tap in range(taps):
            weights[i, tap] /= total
    return firsts, weights[:, :used].copy()


@compiled
def _add(row: U8, weight: np.float32, line: F32) -> None:
    for x in range(len(line)):
        line[x] += weight * np.float32(row[x])


@compiled
def _pick(line: F32, lefts: I64, across: F32, row: U8) -> None:
    """Write one row of weighted sums, rounded; a weighted mean of values from 0 to 255 stays in that range."""
    taps = across.shape[1]
    for x in range(len(row)):
        place = 3 * lefts[x]
        red = green = blue = np.float32(0.5)
        for tap in range(min(taps, (len(line) - place) // 3)):  # the last taps may lie outside the line, with weight 0
            weight = across[x, tap]
            red += weight * line[place + 3 * tap]
            green += weight * line[place + 3 * tap + 1]
            blue += weight * line[place + 3 * tap + 2]
        row[x, 0], row[x, 1], row[x, 2] = np.uint8(red), np.uint8(green), np.uint8(blue)
