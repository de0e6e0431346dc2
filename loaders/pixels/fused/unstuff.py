"""The tiles of MCU rows, copied without stuffed zeros and markers (T.81 B.1.1.5)."""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from .vectors.compiling import compiled
from .vectors.lanes import Lanes
from .vectors.memory import I64, Memory, intrinsic
from .words import store_word

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

AT_ONCE = 64  # bytes


def _first_ff(builder: Any, lanes: Lanes) -> Any:
    """Return which of 64 bytes is the first 0xFF, or 64."""
    found = builder.icmp_unsigned("==", lanes.value, ir.Constant(lanes.value.type, [0xFF] * AT_ONCE))
    return builder.cttz(builder.bitcast(found, I64), ir.Constant(ir.IntType(1), 0))


@intrinsic
def find_ff(typing: Any, data: Any, position: Any) -> Any:
    """Return which byte from ``position`` on is the first 0xFF, 0 to 63, or 64."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _first_ff(builder, Memory(context, builder, signature.args[0], values[0]).load(values[1], AT_ONCE))

    return types.int64(data, position), generate


@intrinsic
def copy_to_ff(typing: Any, data: Any, position: Any, out: Any, end: Any) -> Any:
    """Do the same, and copy the 64 bytes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lanes = Memory(context, builder, signature.args[0], values[0]).load(values[1], AT_ONCE)
        Memory(context, builder, signature.args[2], values[2]).store(values[3], lanes)
        return _first_ff(builder, lanes)

    return types.int64(data, position, out, end), generate


@compiled
def _skip_tiles(data: U8, position: int, stop: int, tiles: int) -> int:
    """Return where the tile after ``tiles`` tiles begins, or -1 if the row ends before."""
    while tiles > 0:
        if position >= stop:
            return -1
        if position + AT_ONCE <= len(data):
            place = find_ff(data, position)
            count, found = min(place + 1, AT_ONCE), place < AT_ONCE
        else:
            count, found = 1, data[position] == 0xFF
        position += count
        if found:
            if position >= stop:
                return -1
            if data[position] != 0:
                tiles -= 1
            position += 1
    return position


@compiled
def copy_to_marker(data: U8, position: int, stop: int, out: U8, end: int) -> tuple[int, int]:
    """Copy to ``out`` from ``end`` on, without stuffed zeros, up to the 0xFF of a marker and with it.

    Returns the place behind that 0xFF in ``data`` and in ``out``, or -1 and the end if no marker comes before ``stop``.
    """
    while position < stop:
        if position + AT_ONCE <= len(data):
            place = copy_to_ff(data, position, out, end)
            count, found = min(place + 1, AT_ONCE), place < AT_ONCE
        else:
            out[end] = data[position]
            count, found = 1, data[position] == 0xFF
        position += count
        end += count
        if found:
            if position >= stop:
                return -1, end
            if data[position] != 0:
                return position, end
            position += 1
    return -1, end


@compiled
def unstuff_row(
    data: U8, position: int, stop: int, row: int, per_row: int, first: int, last: int, is_last_row: bool,
    out: U8, end: int, starts: U64, stops: U64, at: int, step: int,
) -> int:  # fmt: skip
    """Copy tiles ``first`` to ``last`` of an MCU row to ``out`` from ``end`` on; return the end, or -1 if damaged.

    The row lies from ``position`` to ``stop``. The places of its tiles in ``out`` go to ``starts`` and ``stops``, at
    ``at``, ``at + step`` and so on. ``out`` needs stop - position bytes, 8 for each tile, and 64. Every marker must be
    the one that stands at its place.
    """
    position = _skip_tiles(data, position, stop, first)
    if position < 0:
        return -1
    for tile in range(first, last + 1):
        starts[at] = end
        position, end = copy_to_marker(data, position, stop, out, end)
        if position < 0:
            return -1
        expected = 0xD0 + (row * per_row + tile) % 8
        if is_last_row and tile == per_row - 1:
            expected = 0xD9
        if data[position] != expected:
            return -1
        position += 1
        stops[at] = end - 1
        store_word(out, end - 1, np.uint64(0))
        end += 7
        at += step
    return end if last < per_row - 1 or position == stop else -1
