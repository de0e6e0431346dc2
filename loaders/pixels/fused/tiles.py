"""The tiles of a part of an image, decoded into planes of luma and chroma, eight MCU rows at a time."""

import numpy as np
import numpy.typing as npt

from .codes import fill_all_codes, fill_places
from .compiling import compiled, inlined, whole
from .entropy import MOST_BLOCKS, SLACK
from .header import ACROSS, COMPONENTS, DOWN, QUANTISATION, read_divisors, read_header
from .idct import LANES, add_dc, invert
from .plan import (
    FIRST_ROW,
    FIRST_TILE,
    GROUPS,
    HEIGHT,
    INTERVAL,
    LAST_ROW,
    LAST_TILE,
    MCU_HEIGHT,
    MCU_WIDTH,
    ROWS,
    SCAN,
    TILES_X,
    WIDTH,
    X0,
    X1,
)  # fmt: skip
from .scratch import PLACES, Scratch
from .unstuff import unstuff_row

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U = np.uint64

_DC_LOW, _DC_HIGH = -1024, 1023  # of 8-bit samples with a quantiser of 1
BLOCK = 64 * LANES


@inlined
def _up(length: int, unit: int) -> int:
    return (length + unit - 1) // unit


@inlined
def blocks_of(head: I64, interval: int) -> int:
    """Return the blocks of a tile."""
    return interval * (head[ACROSS] * head[DOWN] + head[COMPONENTS] - 1)


@compiled
def enter(data: U8, plan: I64, scratch: Scratch, stream: int) -> bool:
    """Read the header and prepare the tables; return False for an image that is not taken.

    ``stream`` is 0, or 1 for the second of two images that are decoded at the same time.
    """
    head, interval = scratch.head, plan[INTERVAL]
    width, height = plan[WIDTH], plan[HEIGHT]
    whole_scan = plan[ROWS] == 0
    if not read_header(data, plan[SCAN], width, height, 0 if whole_scan else interval, head, scratch.tables):
        return False
    across, down = head[ACROSS], head[DOWN]
    if plan[MCU_WIDTH] != 8 * across or plan[MCU_HEIGHT] != 8 * down:
        return False
    if whole_scan and interval != _up(width, 8 * across):
        return False
    if not whole_scan and plan[ROWS] != _up(height, 8 * down):
        return False
    if interval < 1 or interval > MOST_BLOCKS or blocks_of(head, interval) > MOST_BLOCKS:
        return False
    # libjpeg does not interpolate chroma that is one or two samples wide
    if _up(width, 8 * across) % interval or (across == 2 and width < 5):
        return False
    scratch.extreme[:] = 0
    shared = fill_all_codes(data, head, scratch.codes, scratch.kept, stream)
    layout = (((interval * 8 + across) * 8 + down) * 8 + head[COMPONENTS]) * 2 + whole(shared)
    if scratch.layout[0] != layout:
        fill_places(head, shared, interval, scratch.places, stream * PLACES, stream)
        scratch.layout[0] = layout
    for i in range(head[COMPONENTS]):
        read_divisors(data, head[QUANTISATION + i], scratch.divisors, i * BLOCK)
    return True


@compiled
def unstuff_group(data: U8, row_lengths: U8, plan: I64, scratch: Scratch, position: int, group: int) -> int:
    """Copy the tiles of up to eight MCU rows to ``scratch.entropy``; return where the next rows begin, or -1.

    ``position`` is where the group's rows begin. The tile of column k and row r is number k * rows + r.
    """
    region, end = scratch.region, 0
    per_row = _up(plan[WIDTH], plan[MCU_WIDTH]) // plan[INTERVAL]
    first, last = region[FIRST_TILE], region[LAST_TILE]
    first_row = region[FIRST_ROW] + LANES * group
    rows = min(LANES, region[LAST_ROW] + 1 - first_row)
    for row in range(rows):
        number = first_row + row
        stop = position + row_length(row_lengths, number)
        if stop > len(data) or end + stop - position + 8 * (last - first + 1) + SLACK > len(scratch.entropy):
            return -1
        end = unstuff_row(
            data, position, stop, number, per_row, first, last, number == plan[ROWS] - 1,
            scratch.entropy, end, scratch.starts, scratch.stops, row, rows,
        )  # fmt: skip
        if end < 0:
            return -1
        position = stop
    return position


@inlined
def row_length(row_lengths: U8, row: int) -> int:
    """Return one of uint16 numbers that may lie at an odd address."""
    return whole(row_lengths[2 * row]) | (whole(row_lengths[2 * row + 1]) << 8)


@compiled
def clear_columns(scratch: Scratch, interval: int, first: int, columns: int, rows: int) -> None:
    """Make coefficients zero, and say where those of the tiles of some columns go."""
    stride = (blocks_of(scratch.head, interval) + 1) * BLOCK
    for column in range(columns):
        for row in range(rows):
            scratch.bases[(first + column) * rows + row] = U(column * stride + row)
    coefficients = scratch.coefficients
    for i in range(columns * stride):
        coefficients[U(i)] = np.int16(0)


@compiled
def invert_column(scratch: Scratch, interval: int, start: int, tile: int, group: int) -> bool:
    """Transform the blocks of one column of tiles that the sample needs; return False if one has extreme values.

    They begin at ``start``. Behind them is a block of zeros, which stands before the first of each component.
    """
    head, region, coefficients = scratch.head, scratch.region, scratch.coefficients
    across, down, groups = head[ACROSS], head[DOWN], region[GROUPS]
    left, right = region[X0] - region[TILES_X], region[X1] - region[TILES_X]
    luma = across * down
    per_mcu = luma + head[COMPONENTS] - 1
    at = start
    before_luma = before_blue = before_red = at + interval * per_mcu * BLOCK
    for mcu in range(interval):
        x = (tile * interval + mcu) * 8
        for block in range(per_mcu):
            component = max(block - luma + 1, 0)
            before = before_luma if component == 0 else before_blue if component == 1 else before_red
            if not add_dc(coefficients, at, before, np.int32(_DC_LOW), np.int32(_DC_HIGH)):
                return False
            if component == 0:
                before_luma = at
                place = x * across + block % across * 8
                if place + 8 > left and place < right:
                    row = 64 * down * group + 32 * (block // across)
                    _put(scratch, at, 0, place * 64 * down * groups + row, 64 * down * groups, down == 2)
            else:
                if component == 1:
                    before_blue = at
                else:
                    before_red = at
                if (x + 9) * across > left and (x - 1) * across < right:
                    _put(scratch, at, component, (x * groups + group) * 64, 64 * groups, False)
            at += BLOCK
    return min(scratch.extreme) >= 0


@inlined
def _put(scratch: Scratch, at: int, component: int, place: int, height: int, halves: bool) -> None:
    """Transform eight blocks and write their columns to a plane; with ``halves``, odd rows go 64 behind even rows."""
    invert(
        scratch.coefficients, at, scratch.divisors, component * BLOCK, scratch.work, scratch.extreme,
        scratch.planes[component], place, height, halves,
    )  # fmt: skip


@compiled
def repeat_last_row(scratch: Scratch, plan: I64) -> None:
    """Repeat the image's last chroma row, as libjpeg does, if padding stands below it in the same MCU row."""
    region, head = scratch.region, scratch.head
    groups = region[GROUPS]
    rows = _up(plan[HEIGHT], head[DOWN]) - 8 * region[FIRST_ROW]
    if head[DOWN] == 2 and rows % 8 and rows <= 64 * groups:
        here, below = place_of(rows - 1, 1), place_of(rows, 1)
        columns = (region[LAST_TILE] - region[FIRST_TILE] + 1) * plan[INTERVAL] * 8
        for component in range(1, head[COMPONENTS]):
            plane = scratch.planes[component]
            for column in range(columns):
                plane[column * 64 * groups + below] = plane[column * 64 * groups + here]


@inlined
def place_of(row: int, down: int) -> int:
    """Return where a row of pixels lies in a column, counted from the first MCU row."""
    mcu, i = row // (8 * down), row % (8 * down)
    half = (i & 1) * 64 + (i >> 1) * 8 if down == 2 else i * 8
    return mcu // LANES * 64 * down + half + mcu % LANES
