"""The tiles of a part of an image, decoded into planes of luma and chroma, eight MCU rows at a time."""

import numpy as np
import numpy.typing as npt

from .blocks.idct import LANES, add_dc, invert
from .blocks.reduced import invert_reduced
from .codes import fill_all_codes, fill_places
from .entropy import MOST_BLOCKS, SLACK
from .header import ACROSS, COMPONENTS, DOWN, QUANTISATION, read_divisors, read_header
from .plan import (
    BAND_ROWS,
    CHROMA,
    DECODED_HEIGHT,
    FIRST_ROW,
    FIRST_TILE,
    GROUPS,
    HEIGHT,
    INTERVAL,
    LAST_ROW,
    LAST_TILE,
    LUMA,
    MCU_HEIGHT,
    MCU_WIDTH,
    ROWS,
    SCAN,
    STEP_X,
    STEP_Y,
    TILES_X,
    WIDTH,
    X0,
    X1,
)  # fmt: skip
from .scratch import PLACES, Scratch
from .unstuff import unstuff_row
from .vectors.compiling import compiled, inlined, whole

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U = np.uint64

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
    if _up(width, 8 * across) % interval:
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
    across, groups, side, chroma = head[ACROSS], region[GROUPS], region[LUMA], region[CHROMA]
    step, length = region[STEP_X], region[BAND_ROWS]
    left, right = region[X0] - region[TILES_X], region[X1] - region[TILES_X]
    luma = across * head[DOWN]
    per_mcu = luma + head[COMPONENTS] - 1
    half = length // 2 if region[STEP_Y] == 2 else 0
    lower = 4 * side if half and side > 1 else 8 * side  # from a block to the one below
    at = start
    before_luma = before_blue = before_red = at + interval * per_mcu * BLOCK
    for mcu in range(interval):
        number = tile * interval + mcu
        x = number * chroma
        for block in range(per_mcu):
            component = max(block - luma + 1, 0)
            before = before_luma if component == 0 else before_blue if component == 1 else before_red
            add_dc(coefficients, at, before, scratch.extreme)
            if component == 0:
                before_luma = at
                place = (number * across + block % across) * side
                if place + side > left and place < right:
                    row = length * group + lower * (block // across)
                    _put(scratch, at, 0, place * length * groups + row, length * groups, side, half)
            else:
                if component == 1:
                    before_blue = at
                else:
                    before_red = at
                if (x + chroma + 1) * step > left and (x - 1) * step < right:
                    _put(scratch, at, component, (x * groups + group) * 8 * chroma, 8 * chroma * groups, chroma, 0)
            at += BLOCK
    return min(scratch.extreme) >= 0


@inlined
def _put(scratch: Scratch, at: int, component: int, place: int, height: int, side: int, half: int) -> None:
    """Transform eight blocks and write their columns to a plane; odd rows go ``half`` behind even ones, if not 0."""
    if side == 8:
        invert(
            scratch.coefficients, at, scratch.divisors, component * BLOCK, scratch.work, scratch.extreme,
            scratch.planes[component], place, height, half > 0,
        )  # fmt: skip
    else:
        invert_reduced(
            scratch.coefficients, at, scratch.divisors, component * BLOCK, scratch.work, scratch.extreme,
            scratch.planes[component], place, height, side, half,
        )  # fmt: skip


@compiled
def repeat_last_row(scratch: Scratch, interval: int) -> None:
    """Repeat the image's last chroma row, as libjpeg does, if padding stands below it in the same MCU row."""
    region, side = scratch.region, scratch.region[CHROMA]
    groups = region[GROUPS]
    rows = _up(region[DECODED_HEIGHT], region[STEP_Y]) - side * region[FIRST_ROW]
    if region[STEP_Y] == 2 and rows % side and rows <= 8 * side * groups:
        here, below = place_of(rows - 1, side, False), place_of(rows, side, False)
        columns = (region[LAST_TILE] - region[FIRST_TILE] + 1) * interval * side
        for component in range(1, scratch.head[COMPONENTS]):
            plane = scratch.planes[component]
            for column in range(columns):
                plane[column * 8 * side * groups + below] = plane[column * 8 * side * groups + here]


@inlined
def place_of(row: int, per_mcu: int, halves: bool) -> int:
    """Return where a row of pixels lies in a column, counted from the first MCU row, which has ``per_mcu`` rows."""
    mcu, i = row // per_mcu, row % per_mcu
    within = (i & 1) * 4 * per_mcu + (i >> 1) * 8 if halves else i * 8
    return mcu // LANES * 8 * per_mcu + within + mcu % LANES
