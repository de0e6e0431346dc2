"""The two passes of the resize, over columns of pixels and then over rows, many pixels with one weight at a time.

Columns of the image lie in memory as rows do elsewhere, so that the first pass, along the image's rows, has the same
weight for everything that is side by side. Between the passes, 8 x 8 bytes at a time are transposed.
"""

# pyright: basic
import numpy as np
import numpy.typing as npt

from .compiling import compiled, inlined
from .plan import (
    ACROSS_COUNT,
    ACROSS_FIRST,
    BAND_ROWS,
    DOWN_COUNT,
    DOWN_FIRST,
    TAPS_ACROSS,
    TAPS_DOWN,
    X0,
    X1,
)  # fmt: skip
from .scratch import BAND, Scratch
from .weights import PRECISION

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U = np.uint64
I = np.int32  # noqa: E741


@inlined
def _two(source, a, b, v, w, i):
    return I(I(v * I(source[a + i])) + I(w * I(source[b + i])))


@compiled
def blend(source, lines, first, weights, at, count, length, out, place, sums, fraction):
    """Write a weighted sum of ``count`` lines of ``source`` to ``out``, uint8 or int16, from ``place`` on.

    The line of tap t begins at ``lines[first + t]`` and has ``length`` bytes; its weight is ``weights[at + t]``. The
    line and the weight of one more tap must exist. ``sums`` is int32 (length,). The sums have ``fraction`` bits behind
    the point.
    """
    shift = I(PRECISION - fraction)
    half = I(1 << (PRECISION - fraction - 1))
    o = U(place)
    a, b, v, w = U(lines[first]), U(lines[first + 1]), weights[at], weights[at + 1]
    if count <= 2:
        for x in range(length):
            i = U(x)
            out[o + i] = I(_two(source, a, b, v, w, i) + half) >> shift
        return
    c, d, y, z = U(lines[first + 2]), U(lines[first + 3]), weights[at + 2], weights[at + 3]
    if count <= 4:
        for x in range(length):
            i = U(x)
            out[o + i] = I(I(_two(source, a, b, v, w, i) + _two(source, c, d, y, z, i)) + half) >> shift
        return
    for x in range(length):
        i = U(x)
        sums[i] = I(I(_two(source, a, b, v, w, i) + _two(source, c, d, y, z, i)) + half)
    for t in range(4, count, 2):
        a, b, v, w = U(lines[first + t]), U(lines[first + t + 1]), weights[at + t], weights[at + t + 1]
        for x in range(length):
            i = U(x)
            sums[i] = I(sums[i] + _two(source, a, b, v, w, i))
    for x in range(length):
        out[o + U(x)] = I(sums[U(x)] >> shift)


_A8, _A16, _A32 = U(0x00FF00FF00FF00FF), U(0x0000FFFF0000FFFF), U(0x00000000FFFFFFFF)
_B8, _B16, _B32 = U(0xFF00FF00FF00FF00), U(0xFFFF0000FFFF0000), U(0xFFFFFFFF00000000)
_8, _16, _32 = U(8), U(16), U(32)


@compiled
def transpose(source, columns, lines, out, words, turned):
    """Write byte l of column x of ``source`` to byte x of line l of ``out``. All arrays are uint64.

    ``source`` has ``columns`` columns of ``lines`` bytes, both multiples of 8; ``out`` has lines of 8 * ``words``
    bytes. ``turned`` is uint64 (64,).
    """
    eight = len(turned) >> 3  # a length that LLVM does not know, so that the loop becomes vectors
    step = U(lines >> 3)
    for block in range(columns >> 3):
        for group in range(lines >> 6):
            start = U(block) * _8 * step + U(group) * _8
            for k in range(eight):
                i = start + U(k)
                a0, a1, a2, a3 = source[i], source[i + step], source[i + U(2) * step], source[i + U(3) * step]
                a4, a5 = source[i + U(4) * step], source[i + U(5) * step]
                a6, a7 = source[i + U(6) * step], source[i + U(7) * step]
                b0, b4 = (a0 & _A32) | (a4 << _32), (a0 >> _32) | (a4 & _B32)
                b1, b5 = (a1 & _A32) | (a5 << _32), (a1 >> _32) | (a5 & _B32)
                b2, b6 = (a2 & _A32) | (a6 << _32), (a2 >> _32) | (a6 & _B32)
                b3, b7 = (a3 & _A32) | (a7 << _32), (a3 >> _32) | (a7 & _B32)
                a0, a2 = (b0 & _A16) | ((b2 & _A16) << _16), ((b0 & _B16) >> _16) | (b2 & _B16)
                a1, a3 = (b1 & _A16) | ((b3 & _A16) << _16), ((b1 & _B16) >> _16) | (b3 & _B16)
                a4, a6 = (b4 & _A16) | ((b6 & _A16) << _16), ((b4 & _B16) >> _16) | (b6 & _B16)
                a5, a7 = (b5 & _A16) | ((b7 & _A16) << _16), ((b5 & _B16) >> _16) | (b7 & _B16)
                o = U(k)
                turned[o] = (a0 & _A8) | ((a1 & _A8) << _8)
                turned[o + U(8)] = ((a0 & _B8) >> _8) | (a1 & _B8)
                turned[o + U(16)] = (a2 & _A8) | ((a3 & _A8) << _8)
                turned[o + U(24)] = ((a2 & _B8) >> _8) | (a3 & _B8)
                turned[o + U(32)] = (a4 & _A8) | ((a5 & _A8) << _8)
                turned[o + U(40)] = ((a4 & _B8) >> _8) | (a5 & _B8)
                turned[o + U(48)] = (a6 & _A8) | ((a7 & _A8) << _8)
                turned[o + U(56)] = ((a6 & _B8) >> _8) | (a7 & _B8)
            for k in range(8):
                for j in range(8):
                    out[U((group * 64 + k * 8 + j) * words + block)] = turned[U(j * 8 + k)]


@compiled
def _interleave(rows, size, out, place):
    """Write the red, green and blue of one line, each uint8 and ``size`` of them in ``rows``, pixel by pixel."""
    o, green, blue = U(place), U(size), U(2 * size)
    for x in range(size):
        i = U(x)
        out[o + U(3) * i] = rows[i]
        out[o + U(3) * i + U(1)] = rows[green + i]
        out[o + U(3) * i + U(2)] = rows[blue + i]


@compiled
def shrink_band(scratch: Scratch, channels: int, group: int) -> None:
    """Resize the columns of ``scratch.band`` along the image's rows, and write them to ``scratch.rows`` by rows."""
    region, axes, columns = scratch.region, scratch.axes, scratch.columns
    size, length, count = axes.shape[1], region[BAND_ROWS], region[X1] - region[X0]
    words = (size + 7) >> 3
    for i in range(count):
        columns[i] = i * length
    for i in range(count, count + 4):
        columns[i] = 0  # of taps with a weight of 0
    for channel in range(channels):
        band = scratch.band[channel * BAND : (channel + 1) * BAND]
        for x in range(size):
            blend(
                band, columns, axes[ACROSS_FIRST, x] - region[X0], scratch.weights[0], x * region[TAPS_ACROSS],
                axes[ACROSS_COUNT, x], length, scratch.narrow, x * length, scratch.accumulated, 0,
            )  # fmt: skip
        rows = scratch.rows64[channel]
        transpose(scratch.narrow64, 8 * words, length, rows[group * length * words :], words, scratch.turned)


@compiled
def shrink_rows(scratch: Scratch, channels: int, first: int, out: U8, place: int) -> None:
    """Resize ``scratch.rows`` along the image's columns, and write the sample to ``out`` from ``place`` on.

    The row of pixels y begins at ``scratch.lines[y - first]``. A grey image has one channel.
    """
    region, axes, line = scratch.region, scratch.axes, scratch.line
    size = axes.shape[1]
    for y in range(size):
        for channel in range(channels):
            blend(
                scratch.rows[channel], scratch.lines, axes[DOWN_FIRST, y] - first, scratch.weights[1],
                y * region[TAPS_DOWN], axes[DOWN_COUNT, y], size, line, channel * size, scratch.accumulated, 0,
            )  # fmt: skip
        if channels == 1:
            for x in range(size):
                line[U(size + x)] = line[U(x)]
                line[U(2 * size + x)] = line[U(x)]
        _interleave(line, size, out, place + 3 * size * y)
