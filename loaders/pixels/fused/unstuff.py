"""The tiles of MCU rows, copied without stuffed zeros and markers (T.81 B.1.1.5)."""

import numpy as np
import numpy.typing as npt

from .compiling import compiled, inlined, whole
from .words import first_ff, load_word, store_word

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]


@inlined
def _up_to_ff(data: U8, position: int, stop: int) -> tuple[int, bool]:
    """Return how many bytes to take, and whether the last of them is 0xFF: up to eight, of which no other is."""
    if position + 8 <= stop:
        place = whole(first_ff(load_word(data, position)))
        return min(place + 1, 8), place < 8
    return 1, data[position] == 0xFF


@compiled
def _skip_tiles(data: U8, position: int, stop: int, tiles: int) -> int:
    """Return where the tile after ``tiles`` tiles begins, or -1 if the row ends before."""
    while tiles > 0:
        if position >= stop:
            return -1
        count, found = _up_to_ff(data, position, stop)
        position += count
        if found:
            if position >= stop:
                return -1
            if data[position] != 0:
                tiles -= 1
            position += 1
    return position


@compiled
def unstuff_row(
    data: U8, position: int, stop: int, row: int, per_row: int, first: int, last: int, is_last_row: bool,
    out: U8, end: int, starts: U64, stops: U64, at: int, step: int,
) -> int:  # fmt: skip
    """Copy tiles ``first`` to ``last`` of an MCU row to ``out`` from ``end`` on; return the end, or -1 if damaged.

    The row lies from ``position`` to ``stop``. The places of its tiles in ``out`` go to ``starts`` and ``stops``, at
    ``at``, ``at + step`` and so on. ``out`` needs stop - position bytes and 8 for each tile. Every marker must be the
    one that stands at its place.
    """
    position = _skip_tiles(data, position, stop, first)
    if position < 0:
        return -1
    for tile in range(first, last + 1):
        starts[at] = end
        while True:
            if position >= stop:
                return -1
            if position + 8 <= stop:
                word = load_word(data, position)
                store_word(out, end, word)
                place = whole(first_ff(word))
                count, found = min(place + 1, 8), place < 8
            else:
                out[end] = data[position]
                count, found = 1, data[position] == 0xFF
            position += count
            end += count
            if found:
                if position >= stop:
                    return -1
                if data[position] != 0:
                    break
                position += 1
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
