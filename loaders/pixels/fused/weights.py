"""The weights of Pillow's bilinear, antialiased resize (precompute_coeffs of its Resample.c), to the last bit.

Pillow weights in integers of 22 bits, first along rows and then along columns, and rounds to 8 bits after each. The
resize of this folder does the same, so that its samples are Pillow's.
"""

import numpy as np
import numpy.typing as npt

from .compiling import compiled

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

PRECISION = 22
MOST_TAPS = 256
"""Weights of one output pixel; an image that shrinks by more than 127 is not taken."""


@compiled
def fill_weights(
    start: int, length: int, target: int, offset: int, flip: bool, firsts: I64, counts: I64, weights: I32, sums: F64
) -> int:
    """Weight the pixels ``start`` to ``start + length`` for output pixels ``offset`` on of ``target``.

    ``firsts`` (n,) gets the first source pixel of each of the n output pixels, ``counts`` (n,) how many count, and
    ``weights`` (n * taps,) their weights, with zeros behind them. With ``flip`` the output pixels are in reverse.
    Returns taps, a multiple of two, or 0 for more than there is room for. ``sums`` is float64 (MOST_TAPS,).
    """
    count = len(firsts)
    scale = length / target
    support = max(scale, 1.0)
    taps = 2 * int(np.ceil(support)) + 2
    if taps > len(sums) or taps * count > len(weights):
        return 0
    inverse = 1.0 / support
    for i in range(count):
        centre = (offset + i + 0.5) * scale
        low = max(int(centre - support + 0.5), 0)
        high = min(int(centre + support + 0.5), length)
        total = 0.0
        for k in range(high - low):
            distance = abs((k + low - centre + 0.5) * inverse)
            sums[k] = 1.0 - distance if distance < 1.0 else 0.0
            total += sums[k]
        place = count - 1 - i if flip else i
        firsts[place] = start + low
        counts[place] = high - low
        for k in range(taps):
            weight = sums[k] / total if k < high - low and total != 0.0 else 0.0
            weights[place * taps + k] = np.int32(0.5 + weight * (1 << PRECISION))
    return taps
