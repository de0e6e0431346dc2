"""Encoded images in, rows of the batch out: one call without the GIL for many images.

Each function that is compiled is compiled again within each of its callers. So the calls are two or three deep, and
the loops over images, groups of MCU rows and tiles stand in one function.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from .blocks.idct import LANES
from .colour import convert_band
from .entropy import decode_tiles
from .header import ACROSS, COMPONENTS, DOWN
from .plan import (
    ADDRESS,
    BAND_ROWS,
    CUBIC,
    DECODED_WIDTH,
    FIRST_ROW,
    FIRST_TILE,
    GROUPS,
    INTERVAL,
    LAST_ROW,
    LAST_TILE,
    LUMA,
    ROWS,
    ROWS_ADDRESS,
    SCAN,
    SHIFT,
    SIZE,
    STEP_X,
    STEP_Y,
    TILES_Y,
    X0,
    X1,
    choose_tiles,
    weigh,
)  # fmt: skip
from .planar import shrink_planes, shrink_to_colours, weigh_chroma
from .resize import shrink_band, shrink_rows, stride_of
from .scans import begin_scan, decode_row, decode_rows_of_two, end_row
from .scratch import BAND, BEYOND, Scratch
from .tiles import (
    BLOCK,
    blocks_of,
    clear_columns,
    enter,
    invert_column,
    place_of,
    repeat_last_row,
    row_length,
    unstuff_group,
)
from .vectors.compiling import compiled, counted, inlined
from .words import memory_at

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

carray: Any = getattr(numba, "carray")  # noqa: B009 - not among the names that numba exports


@counted
def decode_many(plans: I64, planar: bool, scratch: Scratch, second: Scratch, out: U8, taken: U8) -> None:
    """Decode images into the rows of a batch: those with tiles one by one, the others two at a time.

    ``plans`` is int64 (n, FIELDS), ``out`` uint8 (n * size * size * 3,) with the size that ``scratch`` was made for,
    ``taken`` uint8 (n,): 1 for images that were decoded, 0 for others, whose rows hold anything. ``second`` is
    ``second_scratch(scratch)``.
    """
    sample = 3 * scratch.axes.shape[1] ** 2
    for i in range(len(plans)):
        plan, taken[i] = plans[i], 0
        if plan[INTERVAL] < 1 or min(plan[SIZE], plan[ROWS]) < 1:
            continue
        data = carray(memory_at(plan[ADDRESS]), (plan[SIZE],), np.uint8)
        row_lengths = carray(memory_at(plan[ROWS_ADDRESS]), (2 * plan[ROWS],), np.uint8)
        if _begin(data, plan, scratch, 0) and _decode_planes(data, row_lengths, plan, scratch):
            _finish(plan, planar, scratch, out, i * sample)
            taken[i] = 1
    following, a, b = 0, -1, -1  # the images that are decoded at the same time
    while True:
        while a < 0 and following < len(plans):
            if _is_whole(plans[following]) and _begin_whole(plans[following], scratch, 0):
                a = following
            following += 1
        while b < 0 and following < len(plans):
            if _is_whole(plans[following]) and _begin_whole(plans[following], second, 1):
                b = following
            following += 1
        if a < 0 and b < 0:
            return
        first, other = plans[max(a, 0)], plans[max(b, 0)]
        data_a = carray(memory_at(first[ADDRESS]), (first[SIZE],), np.uint8)
        data_b = carray(memory_at(other[ADDRESS]), (other[SIZE],), np.uint8)
        if a >= 0 and b >= 0:
            is_first = decode_rows_of_two(
                scratch.codes, scratch.places, scratch.coefficients, scratch.entropy,
                data_a, scratch.head, scratch.stream, data_b, second.head, second.stream,
            )  # fmt: skip
        else:
            is_first = a >= 0
            data, head, state = (
                (data_a, scratch.head, scratch.stream) if is_first else (data_b, second.head, second.stream)
            )
            decode_row(scratch.codes, scratch.places, scratch.coefficients, scratch.entropy, data, head, state)
        done = end_row(first, scratch, 0) if is_first else end_row(other, second, 1)
        if done > 0:
            i = a if is_first else b
            _finish(plans[i], planar, scratch if is_first else second, out, i * sample)
            taken[i] = 1
        if done != 0 and is_first:
            a = -1
        elif done != 0:
            b = -1


@inlined
def _is_whole(plan: I64) -> bool:
    return plan[INTERVAL] > 0 and plan[ROWS] == 0 and plan[SIZE] > 0


@compiled
def _finish(plan: I64, planar: bool, scratch: Scratch, out: U8, place: int) -> None:
    """Write the sample of decoded planes to ``out`` from ``place`` on."""
    channels = scratch.head[COMPONENTS]
    if planar and channels == 3 and plan[SHIFT] == 0 and plan[CUBIC] == 0:
        weigh_chroma(plan, scratch)
        for group in range(scratch.region[GROUPS]):
            shrink_planes(scratch, group)
        shrink_to_colours(scratch, out, place)
    else:
        for group in range(scratch.region[GROUPS]):
            convert_band(scratch, group)
            shrink_band(scratch, channels, group)
        shrink_rows(scratch, channels, scratch.region[TILES_Y], out, place)


@counted
def _begin_whole(plan: I64, scratch: Scratch, stream: int) -> bool:
    """Prepare to decode a scan; return False for an image that is not taken."""
    data = carray(memory_at(plan[ADDRESS]), (plan[SIZE],), np.uint8)
    return _begin(data, plan, scratch, stream) and begin_scan(data, plan, scratch, stream)


@compiled
def _begin(data: U8, plan: I64, scratch: Scratch, stream: int) -> bool:
    """Prepare everything but the pixels; return False for an image that is not taken."""
    region, head = scratch.region, scratch.head
    if not weigh(plan, scratch.axes, scratch.weights, scratch.taps, region) or not enter(data, plan, scratch, stream):
        return False
    choose_tiles(plan, head[ACROSS], head[DOWN], head[COMPONENTS], region)
    rows, tiles = region[GROUPS] * region[BAND_ROWS], region[LAST_TILE] - region[FIRST_TILE] + 1
    if (
        tiles * plan[INTERVAL] * region[LUMA] * head[ACROSS] * rows + BEYOND > scratch.planes.shape[1]
        or LANES * tiles > len(scratch.starts)
        or (region[X1] - region[X0]) * region[BAND_ROWS] + BEYOND > BAND
        or region[X1] - region[X0] + 4 > len(scratch.columns)
        or rows + 4 > len(scratch.lines)
        or (region[STEP_X] == 2 and region[DECODED_WIDTH] < 5)  # libjpeg interpolates no chroma of one or two columns
    ):
        return False
    stride, halves = stride_of(scratch.axes.shape[1]), region[STEP_Y] == 2
    for row in range(rows):
        scratch.lines[row] = place_of(row, region[LUMA] * head[DOWN], halves) * stride
    return True


@compiled
def _decode_planes(data: U8, row_lengths: U8, plan: I64, scratch: Scratch) -> bool:
    """Decode the region's tiles into ``scratch.planes``; return False if they are damaged."""
    region, interval = scratch.region, plan[INTERVAL]
    blocks = blocks_of(scratch.head, interval)
    tiles = region[LAST_TILE] - region[FIRST_TILE] + 1
    at_once = 2 if blocks <= 12 else 1  # small enough for the first cache
    position = plan[SCAN]
    for row in range(region[FIRST_ROW]):
        position += row_length(row_lengths, row)
    for group in range(region[GROUPS]):
        rows = min(LANES, region[LAST_ROW] + 1 - region[FIRST_ROW] - LANES * group)
        position = unstuff_group(data, row_lengths, plan, scratch, position, group)
        if position < 0:
            return False
        for first in range(0, tiles, at_once):
            columns = min(at_once, tiles - first)
            clear_columns(scratch, interval, first, columns, rows)
            if not decode_tiles(
                scratch.codes, scratch.places, scratch.coefficients, data, scratch.head, scratch.entropy,
                blocks, scratch.starts, scratch.stops, scratch.bases, first * rows, columns * rows,
            ):  # fmt: skip
                return False
            for column in range(columns):
                if not invert_column(scratch, interval, column * (blocks + 1) * BLOCK, first + column, group):
                    return False
    repeat_last_row(scratch, plan[INTERVAL])
    return True
