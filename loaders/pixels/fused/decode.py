"""Encoded images in, rows of the batch out: one call without the GIL for many images.

Each function that is compiled is compiled again within each of its callers. So the calls are two or three deep, and
the loops over images, groups of MCU rows and tiles stand in one function.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from .colour import convert_band
from .compiling import compiled, counted
from .entropy import decode_tiles
from .header import ACROSS, COMPONENTS, DOWN
from .idct import LANES
from .plan import (
    ADDRESS,
    BAND_ROWS,
    FIRST_ROW,
    FIRST_TILE,
    GROUPS,
    INTERVAL,
    LAST_ROW,
    LAST_TILE,
    ROWS,
    ROWS_ADDRESS,
    SCAN,
    SIZE,
    TILES_Y,
    X0,
    X1,
    choose_tiles,
    weigh,
)  # fmt: skip
from .planar import shrink_planes, shrink_to_colours, weigh_chroma
from .resize import shrink_band, shrink_rows, stride_of
from .scratch import BAND, Scratch
from .tiles import blocks_of, clear_columns, enter, invert_column, place_of, repeat_last_row, row_length, unstuff_group
from .words import memory_at

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

carray: Any = getattr(numba, "carray")  # noqa: B009 - not among the names that numba exports


@counted
def decode_many(plans: I64, planar: bool, scratch: Scratch, out: U8, taken: U8) -> None:
    """Decode images into the rows of a batch.

    ``plans`` is int64 (n, FIELDS), ``out`` uint8 (n * size * size * 3,) with the size that ``scratch`` was made for,
    ``taken`` uint8 (n,): 1 for images that were decoded, 0 for others, whose rows hold anything.
    """
    sample = 3 * scratch.axes.shape[1] ** 2
    for i in range(len(plans)):
        plan, taken[i] = plans[i], 0
        if plan[INTERVAL] < 1 or min(plan[SIZE], plan[ROWS]) < 1:
            continue
        data = carray(memory_at(plan[ADDRESS]), (plan[SIZE],), np.uint8)
        row_lengths = carray(memory_at(plan[ROWS_ADDRESS]), (2 * plan[ROWS],), np.uint8)
        if not (_begin(data, plan, scratch) and _decode_planes(data, row_lengths, plan, scratch)):
            continue
        channels = scratch.head[COMPONENTS]
        if planar and channels == 3:
            weigh_chroma(plan, scratch)
            for group in range(scratch.region[GROUPS]):
                shrink_planes(scratch, group)
            shrink_to_colours(scratch, out, i * sample)
        else:
            for group in range(scratch.region[GROUPS]):
                convert_band(plan, scratch, group)
                shrink_band(scratch, channels, group)
            shrink_rows(scratch, channels, scratch.region[TILES_Y], out, i * sample)
        taken[i] = 1


@compiled
def _begin(data: U8, plan: I64, scratch: Scratch) -> bool:
    """Prepare everything but the pixels; return False for an image that is not taken."""
    region, head = scratch.region, scratch.head
    if not weigh(plan, scratch.axes, scratch.weights, scratch.taps, region) or not enter(data, plan, scratch):
        return False
    choose_tiles(plan, head[ACROSS], head[DOWN], region)
    rows, tiles = region[GROUPS] * region[BAND_ROWS], region[LAST_TILE] - region[FIRST_TILE] + 1
    if (
        tiles * plan[INTERVAL] * 8 * head[ACROSS] * rows > scratch.planes.shape[1]
        or LANES * tiles > len(scratch.starts)
        or (region[X1] - region[X0]) * region[BAND_ROWS] > BAND
        or region[X1] - region[X0] + 4 > len(scratch.columns)
        or rows + 4 > len(scratch.lines)
    ):
        return False
    stride = stride_of(scratch.axes.shape[1])
    for row in range(rows):
        scratch.lines[row] = place_of(row, head[DOWN]) * stride
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
                if not invert_column(scratch, interval, column, first + column, group):
                    return False
    repeat_last_row(scratch, plan)
    return True
