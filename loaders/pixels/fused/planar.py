"""The order "planar": luma and chroma are resized as they are, and only the pixels of the sample become RGB.

The resize is linear, and so are libjpeg's interpolation of chroma, which goes into the weights, and the colour
conversion, but for the rounding and for the clipping of colours that RGB cannot have. The reference clips them before
it averages: the largest differences are there.
"""

# pyright: basic
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from .header import ACROSS, DOWN
from .plan import (
    ACROSS_COUNT,
    ACROSS_FIRST,
    DOWN_COUNT,
    DOWN_FIRST,
    FIRST_ROW,
    GROUPS,
    HEIGHT,
    TAPS_ACROSS,
    TAPS_DOWN,
    TILES_X,
    TILES_Y,
    WIDTH,
)  # fmt: skip
from .resize import stride_of, transpose
from .scratch import Scratch
from .tiles import place_of
from .vectors.compiling import compiled
from .vectors.lanes import interleaved, same
from .vectors.memory import Memory, Variable, body, each, intrinsic
from .weights import PRECISION

U8 = npt.NDArray[np.uint8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U = np.uint64
I = np.int32  # noqa: E741

_SHORTER = PRECISION - 16
FRACTION = 6  # bits behind the point between the resize and the colours, so that they are rounded once
_RED, _GREEN_CR, _GREEN_CB, _BLUE = 22970, 11700, 5638, 29032  # 1.402 and so on, times 2^14


@compiled
def weigh_chroma(plan: I64, scratch: Scratch) -> None:
    """Fill ``chroma_axes``, ``chroma_weights`` and ``chroma_lines`` from what luma has."""
    head, region, size = scratch.head, scratch.region, scratch.axes.shape[1]
    stride = stride_of(size)
    for row in range(64 * region[GROUPS]):
        scratch.chroma_lines[row] = place_of(row, 8, False) * stride
    _halve(
        scratch.axes[ACROSS_FIRST], scratch.axes[ACROSS_COUNT], scratch.weights[0], region[TAPS_ACROSS], head[ACROSS],
        plan[WIDTH], scratch.chroma_axes[ACROSS_FIRST], scratch.chroma_axes[ACROSS_COUNT], scratch.chroma_weights[0],
    )  # fmt: skip
    _halve(
        scratch.axes[DOWN_FIRST], scratch.axes[DOWN_COUNT], scratch.weights[1], region[TAPS_DOWN], head[DOWN],
        plan[HEIGHT], scratch.chroma_axes[DOWN_FIRST], scratch.chroma_axes[DOWN_COUNT], scratch.chroma_weights[1],
    )  # fmt: skip
    across, down = region[TAPS_ACROSS] * size, region[TAPS_DOWN] * size
    _shorten(scratch.weights[0], across, scratch.short_weights[0])
    _shorten(scratch.weights[1], down, scratch.short_weights[1])
    _shorten(scratch.chroma_weights[0], across, scratch.short_weights[2])
    _shorten(scratch.chroma_weights[1], down, scratch.short_weights[3])


@compiled
def _shorten(weights, count, short):
    """Write weights in 16 bits instead of 22. 1 becomes 65,535 parts of 65,536."""
    for i in range(count):
        short[i] = min(weights[i] >> _SHORTER, 65535)


@compiled
def _halve(firsts, counts, weights, taps, step, length, chroma_firsts, chroma_counts, chroma_weights):
    """Weight chroma samples as the pixels that are made from them: 3/4 of a pixel, and 1/4 of the next one's."""
    last = (length + step - 1) // step - 1
    for x in range(len(firsts)):
        first, end = firsts[x], firsts[x] + counts[x]
        low, high = first // step, (end - 1) // step
        if step == 2:
            low, high = max((first - 1) // 2, 0) if first > 0 else 0, min(end // 2, last)
        at = x * taps
        for k in range(taps):
            chroma_weights[at + k] = 0
        for p in range(first, end):
            weight, here = weights[at + p - first], p // step
            if step == 2:
                near = min(max(here + 1 if p & 1 else here - 1, 0), last)
                chroma_weights[at + near - low] += weight >> 2
                weight -= weight >> 2
            chroma_weights[at + here - low] += weight
        chroma_firsts[x], chroma_counts[x] = low, high - low + 1


def _blending(count: int, fraction: int) -> Any:
    """Return the intrinsic that blends ``count`` pixels and keeps ``fraction`` bits behind the point."""

    def blend_some(
        typing: Any, source: Any, lines: Any, first: Any, offset: Any, weights: Any, at: Any, taps: Any,
        out: Any, place: Any,
    ) -> Any:  # fmt: skip
        @body
        def generate(
            b: Any, source: Memory, lines: Memory, first: Any, offset: Any, weights: Memory, at: Any, taps: Any,
            out: Memory, place: Any,
        ) -> None:  # fmt: skip
            # Each product loses half a unit on average, so that half of the taps is added.
            lost = same(b, b.lshr(taps, ir.Constant(taps.type, 1)), count, 16)
            total = Variable(b, lost + (1 << (7 - fraction)))
            with each(b, taps) as tap:
                line = b.add(lines.number(b.add(first, tap)), offset)
                pixels = source.load(line, count).unsigned(16) << 8
                weight = same(b, weights.number(b.add(at, tap)), count, 16)
                product = (pixels.unsigned(32) * weight.unsigned(32)).unsigned_shift(16).narrow(16)
                total.set(total.get() + product)
            out.store(place, total.get().unsigned_shift(8 - fraction).narrow(16 if fraction else 8))

        return types.void(source, lines, first, offset, weights, at, taps, out, place), generate

    return intrinsic(blend_some)


_blend_64, _blend_32 = _blending(64, 0), _blending(32, 0)
_blend_wide_64, _blend_wide_32 = _blending(64, FRACTION), _blending(32, FRACTION)


@compiled
def shrink_planes(scratch: Scratch, group: int) -> None:
    """Resize a group of MCU rows along the image's rows, and write them to ``scratch.rows`` by rows."""
    region, head, size = scratch.region, scratch.head, scratch.axes.shape[1]
    words, columns, narrow = stride_of(size) >> 3, scratch.columns, scratch.narrow
    for channel in range(3):
        axes = scratch.axes if channel == 0 else scratch.chroma_axes
        weights = scratch.short_weights[0 if channel == 0 else 2]
        length = 64 * head[DOWN] if channel == 0 else 64
        start = region[TILES_X] if channel == 0 else region[TILES_X] // head[ACROSS]
        plane = scratch.planes[channel][group * length :]
        for x in range(size):
            first, count, at = axes[ACROSS_FIRST, x] - start, axes[ACROSS_COUNT, x], x * region[TAPS_ACROSS]
            for tap in range(count):
                columns[tap] = (first + tap) * region[GROUPS] * length
            for i in range(0, length, 64):
                _blend_64(plane, columns, 0, i, weights, at, count, narrow, x * length + i)
        rows = scratch.rows64[channel]
        transpose(scratch.narrow64, (size + 7) & ~7, length, rows[group * length * words :], words, scratch.turned)


@compiled
def shrink_to_colours(scratch: Scratch, out: U8, place: int) -> None:
    """Resize ``scratch.rows`` along the image's columns, and write the sample to ``out`` from ``place`` on."""
    region, size, line = scratch.region, scratch.axes.shape[1], scratch.wide_line
    stride = stride_of(size)
    for y in range(size):
        for channel in range(3):
            axes = scratch.axes if channel == 0 else scratch.chroma_axes
            weights = scratch.short_weights[1 if channel == 0 else 3]
            lines = scratch.lines if channel == 0 else scratch.chroma_lines
            rows = scratch.rows[channel]
            first = axes[DOWN_FIRST, y] - (region[TILES_Y] if channel == 0 else 8 * region[FIRST_ROW])
            count, at, to = axes[DOWN_COUNT, y], y * region[TAPS_DOWN], channel * stride
            for i in range(0, stride - 32, 64):
                _blend_wide_64(rows, lines, first, i, weights, at, count, line, to + i)
            if stride & 32:
                _blend_wide_32(rows, lines, first, stride - 32, weights, at, count, line, to + stride - 32)
        _convert_line(line, size, scratch.line, out, place + 3 * size * y)


@intrinsic
def _convert_32(typing: Any, line: Any, luma: Any, second: Any, third: Any, out: Any, place: Any) -> Any:
    """Write the RGB of 32 pixels; see ``_convert_line``."""

    @body
    def generate(b: Any, line: Memory, luma: Any, second: Any, third: Any, out: Memory, place: Any) -> None:
        light = (line.load(luma, 32).signed(32) << 14) + (1 << 19)
        cb, cr = (line.load(at, 32).signed(32) - (128 << FRACTION) for at in (second, third))
        colours = light + cr * _RED, light - (cb * _GREEN_CB + cr * _GREEN_CR), light + cb * _BLUE
        out.store(place, interleaved(*((colour >> 20).clipped(0, 255).narrow(8) for colour in colours)))

    return types.void(line, luma, second, third, out, place), generate


@compiled
def _convert_line(line, size, rest, out, place):
    """Write the RGB of luma, blue and red differences, int16 with FRACTION bits behind the point.

    They lie one stride behind the other. ``rest`` is uint8 (96,), for pixels that are no multiple of 32.
    """
    stride = stride_of(size)
    for x in range(0, size - 31, 32):
        _convert_32(line, x, stride + x, 2 * stride + x, out, place + 3 * x)
    if size & 31:
        done = size & ~31
        _convert_32(line, done, stride + done, 2 * stride + done, rest, 0)
        for i in range(3 * (size - done)):
            out[place + 3 * done + i] = rest[i]
