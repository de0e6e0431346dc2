"""Whole scans, without restart markers: two images at a time, so that their chains of dependent loads overlap.

A scan is one stream, which can be entered at its beginning only. It is decoded down to the last MCU row that the sample
needs. Each MCU row is decoded as one tile, which begins where the row above has ended, with its DC coefficients. Rows
above the sample's are decoded too, for what follows them, but not transformed.

``stream`` has the bit, the place, the table and the base of ``coefficients`` at which decoding stands, as in
``entropy``. A row ends within its own memory, however it is damaged. Its end is checked before the next begins.
"""

# pyright: basic
import numpy as np
import numpy.typing as npt

from .blocks.idct import LANES
from .codes import BITS, BLOCK as PLACES_OF_BLOCK, DC_STEP, TABLES
from .entropy import SLACK, decode_to, long_symbol, symbol
from .header import ACROSS, COMPONENTS, DOWN
from .plan import FIRST_ROW, HEIGHT, INTERVAL, LAST_ROW, MCU_HEIGHT, SCAN
from .scratch import COEFFICIENTS, ENTROPY, PLACES, Scratch
from .tiles import BLOCK, blocks_of, invert_column, repeat_last_row
from .unstuff import AT_ONCE, copy_to_marker
from .vectors.compiling import compiled, whole
from .words import load_bits, store_word

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
U = np.uint64

BIT, PLACE, TABLE, BASE, END, FIRST = 0, 1, 2, 3, 4, 5
"""Places of ``stream``: END is the place where a row is complete, FIRST the one before its first."""
ROW, STOP, DC = 0, 1, 2
"""Places of ``reach``: the MCU row that is decoded, where the scan stops, and each component's last DC coefficient."""

_0, _3, _7, _63 = U(0), U(3), U(7), U(63)
_STEP = U(DC_STEP)


@compiled
def _unstuff(data: U8, position: int, out: U8, end: int) -> int:
    """Copy a scan to ``out`` from ``end`` on, up to the marker that ends the image; return the end, or -1."""
    stop = len(data)
    if stop - position + AT_ONCE > ENTROPY - SLACK:
        return -1
    position, end = copy_to_marker(data, position, stop, out, end)
    if position < 0 or data[position] != 0xD9:
        return -1
    store_word(out, end - 1, U(0))
    return end - 1


@compiled
def begin_scan(data: U8, plan: I64, scratch: Scratch, stream: int) -> bool:
    """Prepare to decode rows; return False for a scan that does not end as it must."""
    state, reach = scratch.stream, scratch.reach
    start = stream * ENTROPY
    reach[ROW], reach[STOP] = 0, _unstuff(data, plan[SCAN], scratch.entropy, start)
    reach[DC : DC + 3] = 0
    state[BIT], state[FIRST] = U(start) << _3, U(stream * PLACES) - _STEP
    state[END] = U(stream * PLACES + blocks_of(scratch.head, plan[INTERVAL]) * PLACES_OF_BLOCK)
    if reach[STOP] < 0:
        return False
    _begin_row(plan, scratch, stream)
    return True


@compiled
def _begin_row(plan: I64, scratch: Scratch, stream: int) -> None:
    """Set out to decode a row to its lane. Rows above the sample's go to the first."""
    state, row = scratch.stream, scratch.reach[ROW] - scratch.region[FIRST_ROW]
    lane = max(row, 0) % LANES
    state[PLACE], state[TABLE] = state[FIRST], U(stream * TABLES << BITS)
    state[BASE] = U(stream * COEFFICIENTS + lane)
    coefficients, first = scratch.coefficients, stream * COEFFICIENTS
    blocks = blocks_of(scratch.head, plan[INTERVAL])
    if row < 0:
        for block in range(blocks):
            coefficients[U(first + block * BLOCK)] = np.int16(0)
    elif lane == 0:
        for i in range((blocks + 1) * BLOCK):
            coefficients[U(first + i)] = np.int16(0)


@compiled
def end_row(plan: I64, scratch: Scratch, stream: int) -> int:
    """Finish a row, and set out to decode the next; return 1 if the image is complete, -1 if it is damaged, else 0."""
    state, reach, region = scratch.stream, scratch.reach, scratch.region
    row, stop = reach[ROW], U(reach[STOP]) << _3
    if state[PLACE] != state[END] - _STEP or state[BIT] > stop:
        return -1
    if (row + 1) * plan[MCU_HEIGHT] >= plan[HEIGHT] and stop - state[BIT] >= U(8):
        return -1
    if not _add_up(scratch.coefficients, state[BASE], scratch.head, plan[INTERVAL], reach):
        return -1
    needed = row - region[FIRST_ROW]
    is_whole_group = needed >= 0 and (needed % LANES == LANES - 1 or row == region[LAST_ROW])
    if is_whole_group and not invert_column(scratch, plan[INTERVAL], stream * COEFFICIENTS, 0, needed // LANES):
        return -1
    if row == region[LAST_ROW]:
        repeat_last_row(scratch, plan[INTERVAL])
        return 1
    reach[ROW] = row + 1
    _begin_row(plan, scratch, stream)
    return 0


@compiled
def _add_up(coefficients: I16, base: np.uint64, head: I64, interval: int, reach: I64) -> bool:
    """Add the DC coefficients above to a row's first; return False if the row's last is one that no image has."""
    luma = head[ACROSS] * head[DOWN]
    per_mcu = luma + head[COMPONENTS] - 1
    for component in range(head[COMPONENTS]):
        first = 0 if component == 0 else luma + component - 1
        count = luma if component == 0 else 1
        total = 0
        for mcu in range(interval):
            for block in range(count):
                total += whole(coefficients[base + U((mcu * per_mcu + first + block) * BLOCK)])
        before = reach[DC + component]
        at = base + U(first * BLOCK)
        coefficients[at] = np.int16(whole(coefficients[at]) + before)
        reach[DC + component] = before + total
        if before + total < -1024 or before + total > 1023:
            return False
    return True


@compiled
def decode_row(codes, places, coefficients, source, data, head, state):
    """Decode one row, or what is left of it."""
    state[BIT], state[PLACE] = decode_to(
        codes, places, coefficients, data, head, source,
        state[END], state[BIT], state[PLACE], state[TABLE], state[BASE],
    )  # fmt: skip


@compiled
def decode_rows_of_two(codes, places, coefficients, source, data_a, head_a, state_a, data_b, head_b, state_b):
    """Decode rows of two images, until one of them is at the end of its row; return whether that is the first."""
    bit_a, place_a, table_a, base_a, end_a = (
        state_a[BIT], state_a[PLACE], state_a[TABLE], state_a[BASE], state_a[END]
    )  # fmt: skip
    bit_b, place_b, table_b, base_b, end_b = (
        state_b[BIT], state_b[PLACE], state_b[TABLE], state_b[BASE], state_b[END]
    )  # fmt: skip
    while np.int64(place_a + _STEP) < np.int64(end_a) and np.int64(place_b + _STEP) < np.int64(end_b):
        left_a = load_bits(source, bit_a >> _3) << (bit_a & _7)
        left_b = load_bits(source, bit_b >> _3) << (bit_b & _7)
        left_a, place_a, table_a, used_a = symbol(
            codes, places, coefficients, end_a, left_a, place_a, table_a, base_a, _0
        )  # fmt: skip
        left_b, place_b, table_b, used_b = symbol(
            codes, places, coefficients, end_b, left_b, place_b, table_b, base_b, _0
        )  # fmt: skip
        left_a, place_a, table_a, used_a = symbol(
            codes, places, coefficients, end_a, left_a, place_a, table_a, base_a, used_a
        )  # fmt: skip
        left_b, place_b, table_b, used_b = symbol(
            codes, places, coefficients, end_b, left_b, place_b, table_b, base_b, used_b
        )  # fmt: skip
        bit_a += used_a & _63
        bit_b += used_b & _63
        if used_a & _63 == _0 and np.int64(place_a + _STEP) < np.int64(end_a):
            bit_a, place_a, table_a = long_symbol(
                places, coefficients, data_a, head_a, source, end_a, bit_a, place_a, table_a, base_a
            )  # fmt: skip
        if used_b & _63 == _0 and np.int64(place_b + _STEP) < np.int64(end_b):
            bit_b, place_b, table_b = long_symbol(
                places, coefficients, data_b, head_b, source, end_b, bit_b, place_b, table_b, base_b
            )  # fmt: skip
    state_a[BIT], state_a[PLACE], state_a[TABLE] = bit_a, place_a, table_a
    state_b[BIT], state_b[PLACE], state_b[TABLE] = bit_b, place_b, table_b
    return np.int64(place_a + _STEP) >= np.int64(end_a)
