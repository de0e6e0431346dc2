"""The weights of Pillow's antialiased resizes (precompute_coeffs of its Resample.c), to the last bit.

Pillow weights in integers of 22 bits, first along rows and then along columns, and rounds to 8 bits after each. The
resize of this folder does the same, so that its samples are Pillow's.

Of an image that is decoded at 1 / scale, the weight of a decoded pixel is the reference's triangle at its centre, times
the part of the pixel that lies in the box.
"""

import numpy as np
import numpy.typing as npt

from .vectors.compiling import compiled, inlined

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

PRECISION = 22
MOST_TAPS = 256
"""Weights of one output pixel; an image that shrinks by more than 127, or 63 with bicubic weights, is not taken."""
ROOM = 128
"""Weights of an output pixel for which there is room, on average."""


@inlined
def _triangle(distance: float) -> float:
    return 1.0 - distance if distance < 1.0 else 0.0


@inlined
def _cubic(x: float) -> float:
    """Return the weight at a distance, of the cubic convolution with a = -0.5 (Keys, 1981)."""
    if x < 1.0:
        return ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1.0
    return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 if x < 2.0 else 0.0


@compiled
def fill_weights(
    start: int, length: int, target: int, offset: int, flip: bool, shift: int, cubic: bool,
    firsts: I64, counts: I64, weights: I32, sums: F64,
) -> int:  # fmt: skip
    """Weight the pixels ``start`` to ``start + length`` for output pixels ``offset`` on of ``target``.

    ``firsts`` (n,) gets the first source pixel of each of the n output pixels, ``counts`` (n,) how many count, and
    ``weights`` (n * taps,) their weights, with zeros behind them. With ``flip`` the output pixels are in reverse. If
    ``shift`` is not 0, source pixels are those of an image that is decoded at 1 / 2 ** shift, and ``start`` and
    ``length`` stay those of the image at full size. Returns taps, a multiple of two, or 0 for more than there is room
    for. ``sums`` is float64 (MOST_TAPS,).
    """
    count = len(firsts)
    scale = length / target
    support = max(scale, 1.0) * (2.0 if cubic else 1.0)
    taps = 2 * int(np.ceil(support)) + 2
    if taps > len(sums) or taps * count > len(weights):
        return 0
    inverse = 1.0 / max(scale, 1.0)
    pixel = 1 << shift
    for i in range(count):
        centre = (offset + i + 0.5) * scale
        total = 0.0
        if shift == 0:
            low = max(int(centre - support + 0.5), 0)
            high = min(int(centre + support + 0.5), length)
            for k in range(high - low):
                distance = abs((k + low - centre + 0.5) * inverse)
                sums[k] = _cubic(distance) if cubic else _triangle(distance)
                total += sums[k]
            low += start
            high += start
        else:
            centre += start
            low = max(int(centre - support + 0.5 * pixel), start) >> shift
            high = (min(int(centre + support), start + length - 1) >> shift) + 1
            for k in range(high - low):
                inside = min((k + low + 1) * pixel, start + length) - max((k + low) * pixel, start)
                sums[k] = inside * _triangle(abs((k + low + 0.5) * pixel - centre) * inverse)
                total += sums[k]
        place = count - 1 - i if flip else i
        firsts[place] = low
        counts[place] = high - low
        for k in range(taps):
            weight = sums[k] / total if k < high - low and total != 0.0 else 0.0
            weights[place * taps + k] = np.int32((0.5 if weight >= 0.0 else -0.5) + weight * (1 << PRECISION))
    return taps
