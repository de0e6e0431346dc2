"""The two passes of the resize, over columns of pixels and then over rows, many pixels with one weight at a time.

Columns of the image lie in memory as rows do elsewhere, so that the first pass, along the image's rows, has the same
weight for everything that is side by side. Between the passes, 8 x 8 bytes at a time are transposed.
"""

# pyright: basic
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

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
from .vectors.compiling import compiled, inlined
from .vectors.lanes import constant, interleaved, same
from .vectors.memory import Memory, Variable, body, each, intrinsic
from .weights import PRECISION

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U = np.uint64


def _blending(count: int) -> Any:
    """Return the intrinsic that blends ``count`` pixels; see ``blend``."""

    def blend_some(
        typing: Any, source: Any, lines: Any, first: Any, offset: Any, weights: Any, at: Any, taps: Any,
        out: Any, place: Any,
    ) -> Any:  # fmt: skip
        @body
        def generate(
            b: Any, source: Memory, lines: Memory, first: Any, offset: Any, weights: Memory, at: Any, taps: Any,
            out: Memory, place: Any,
        ) -> None:  # fmt: skip
            total = Variable(b, constant(b, 1 << (PRECISION - 1), count, 32))
            with each(b, taps) as tap:
                line = b.add(lines.number(b.add(first, tap)), offset)
                weight = same(b, weights.number(b.add(at, tap)), count, 32)
                total.set(total.get() + source.load(line, count).unsigned(32) * weight)
            # Bicubic weights overshoot, and Pillow clips after each pass.
            out.store(place, (total.get() >> PRECISION).clipped(0, 255).narrow(8))

        return types.void(source, lines, first, offset, weights, at, taps, out, place), generate

    return intrinsic(blend_some)


_blend_64, _blend_32 = _blending(64), _blending(32)


@compiled
def blend(source, lines, first, weights, at, count, length, out, place):
    """Write a weighted sum of ``count`` lines of ``source`` to ``out``, uint8, from ``place`` on.

    The line of tap t begins at ``lines[first + t]``; its weight is ``weights[at + t]``, int32. ``length`` is a multiple
    of 32, or less: then 32 pixels are written.
    """
    for i in range(0, length - 32, 64):
        _blend_64(source, lines, first, i, weights, at, count, out, place + i)
    if length & 63:
        i = length & ~63
        _blend_32(source, lines, first, i, weights, at, count, out, place + i)


@inlined
def stride_of(size: int) -> int:
    """Return the length of a line of ``size`` pixels in memory, which vectors read and write as a whole."""
    return (size + 31) & ~31


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


@intrinsic
def _interleave_32(typing: Any, rows: Any, red: Any, green: Any, blue: Any, out: Any, place: Any) -> Any:
    """Write 32 red, green and blue numbers, which lie apart, pixel by pixel."""

    @body
    def generate(b: Any, rows: Memory, red: Any, green: Any, blue: Any, out: Memory, place: Any) -> None:
        out.store(place, interleaved(rows.load(red, 32), rows.load(green, 32), rows.load(blue, 32)))

    return types.void(rows, red, green, blue, out, place), generate


@compiled
def _interleave(rows, size, out, place):
    """Write the red, green and blue of one line, each uint8, one stride behind the other, pixel by pixel."""
    stride = stride_of(size)
    for x in range(0, size - 31, 32):
        _interleave_32(rows, x, stride + x, 2 * stride + x, out, place + 3 * x)
    o, green, blue = U(place), U(stride), U(2 * stride)
    for x in range(size & ~31, size):
        i = U(x)
        out[o + U(3) * i] = rows[i]
        out[o + U(3) * i + U(1)] = rows[green + i]
        out[o + U(3) * i + U(2)] = rows[blue + i]


@compiled
def shrink_band(scratch: Scratch, channels: int, group: int) -> None:
    """Resize the columns of ``scratch.band`` along the image's rows, and write them to ``scratch.rows`` by rows."""
    region, axes, columns = scratch.region, scratch.axes, scratch.columns
    size, length, count = axes.shape[1], region[BAND_ROWS], region[X1] - region[X0]
    words, lines = stride_of(size) >> 3, (length + 63) & ~63  # what is more is overwritten by the group below
    for i in range(count):
        columns[i] = i * length
    for channel in range(channels):
        band = scratch.band[channel * BAND : (channel + 1) * BAND]
        for x in range(size):
            blend(
                band, columns, axes[ACROSS_FIRST, x] - region[X0], scratch.weights[0], x * region[TAPS_ACROSS],
                axes[ACROSS_COUNT, x], length, scratch.narrow, x * lines,
            )  # fmt: skip
        rows = scratch.rows64[channel]
        transpose(scratch.narrow64, (size + 7) & ~7, lines, rows[group * length * words :], words, scratch.turned)


@compiled
def shrink_rows(scratch: Scratch, channels: int, first: int, out: U8, place: int) -> None:
    """Resize ``scratch.rows`` along the image's columns, and write the sample to ``out`` from ``place`` on.

    The row of pixels y begins at ``scratch.lines[y - first]``. A grey image has one channel.
    """
    region, axes, line = scratch.region, scratch.axes, scratch.line
    size = axes.shape[1]
    stride = stride_of(size)
    for y in range(size):
        for channel in range(channels):
            blend(
                scratch.rows[channel], scratch.lines, axes[DOWN_FIRST, y] - first, scratch.weights[1],
                y * region[TAPS_DOWN], axes[DOWN_COUNT, y], stride, line, channel * stride,
            )  # fmt: skip
        if channels == 1:
            for x in range(size):
                line[U(stride + x)] = line[U(x)]
                line[U(2 * stride + x)] = line[U(x)]
        _interleave(line, size, out, place + 3 * size * y)
