"""Decoding of the scans of a progressive JPEG into coefficients (ITU-T T.81 annex G), and of a sequential one.

A progressive image is coded in several scans. Each holds a band of coefficients of one component, or the DC
coefficients of some components, and each first gives the high bits and later refines them by one bit. The functions
here decode one scan into the array of all coefficients.

Hostile input cannot make the loops leave their arrays. The words have padding of ``MAX_BLOCK_BYTES``, which no block
exceeds, and the position is compared with the end of the interval before the next block. An index of a coefficient is
compared with the band before it is used, and the indexes of blocks follow from the grid, not from the data.
"""

import numpy as np
import numpy.typing as npt

from ..base.compiled import compiled, number
from .huffman import CATEGORIES, DC_HIGH, DC_LOW, I64, U16, U32, peek16

I16 = npt.NDArray[np.int16]

AC_BITS = 10
"""Bits of the largest AC coefficient of 8-bit samples (T.81 table F.2)."""


@compiled
def decode_dc(
    words: U32, stops: I64, interval: int, grid: tuple[int, int], layout: I64, tables: U16, low: int, values: I16
) -> bool:
    """Decode a first scan of DC coefficients (G.1.2.1); return False if the data is not such a scan.

    ``words`` and ``stops`` are those of ``huffman.decode_blocks``, ``interval`` the MCUs between restart markers,
    ``grid`` the MCUs across and down. ``layout``, int64 (components, 5), has for each component of the scan its first
    block in ``values``, the blocks of its rows there, its blocks in an MCU, across and down, and its row in
    ``tables``, uint16 (N, 65536) of ``symbol_table``. ``low`` is the number of the bits that later scans refine.
    ``values`` is int16 (blocks, 64), in zig-zag order.
    """
    columns, rows = grid
    mcu = 0
    start = 0
    for index in range(len(stops)):
        bit = 8 * start
        end = 8 * stops[index]
        predictions = np.zeros(4, np.int64)
        for _ in range(min(interval, columns * rows - index * interval)):
            for part in range(len(layout)):
                table = tables[layout[part, 4]]
                for block in range(layout[part, 2] * layout[part, 3]):
                    entry = number(table, peek16(words, bit))
                    category = entry >> 5
                    if entry == 0 or category >= CATEGORIES:
                        return False
                    bit += entry & 31
                    if category > 0:
                        predictions[part] += _extend(peek16(words, bit) >> (16 - category), category)
                        bit += category
                    value = predictions[part] << low
                    if value < DC_LOW or value > DC_HIGH or bit > end:
                        return False
                    values[_place(layout, part, block, mcu, columns), 0] = value
            mcu += 1
        if end - bit > 7:
            return False
        start = stops[index]
    return True


@compiled
def refine_dc(words: U32, stops: I64, interval: int, grid: tuple[int, int], layout: I64, low: int, values: I16) -> bool:
    """Decode a scan with one more bit of each DC coefficient (G.1.2.1.1); see ``decode_dc``."""
    columns, rows = grid
    mcu = 0
    start = 0
    for index in range(len(stops)):
        bit = 8 * start
        end = 8 * stops[index]
        for _ in range(min(interval, columns * rows - index * interval)):
            for part in range(len(layout)):
                for block in range(layout[part, 2] * layout[part, 3]):
                    if peek16(words, bit) >> 15:
                        values[_place(layout, part, block, mcu, columns), 0] |= 1 << low
                    bit += 1
            if bit > end:
                return False
            mcu += 1
        if end - bit > 7:
            return False
        start = stops[index]
    return True


@compiled
def _place(layout: I64, part: int, block: int, mcu: int, columns: int) -> int:
    """Return where a block of an MCU stands in the array of coefficients."""
    across = layout[part, 2]
    row = mcu // columns * layout[part, 3] + block // across
    return layout[part, 0] + row * layout[part, 1] + mcu % columns * across + block % across


@compiled
def decode_ac(
    words: U32,
    stops: I64,
    interval: int,
    grid: tuple[int, int],
    place: tuple[int, int],
    table: U16,
    band: tuple[int, int],
    low: int,
    values: I16,
) -> bool:
    """Decode a first scan of a band of AC coefficients of one component (G.1.2.2); see ``decode_dc``.

    ``grid`` is the blocks across and down, ``place`` the component's first block in ``values`` and the blocks of its
    rows there, and ``band`` the first and the last coefficient.
    """
    columns, rows = grid
    first, last = band
    block = 0
    start = 0
    for index in range(len(stops)):
        bit = 8 * start
        end = 8 * stops[index]
        run = 0  # blocks of which the band is over
        for _ in range(min(interval, columns * rows - index * interval)):
            target = values[place[0] + block // columns * place[1] + block % columns]
            block += 1
            if run > 0:
                run -= 1
                continue
            k = first
            while k <= last:
                entry = number(table, peek16(words, bit))
                if entry == 0:
                    return False
                bit += entry & 31
                zeros = entry >> 9
                size = (entry >> 5) & 15
                if size > 0:
                    k += zeros
                    if k > last or size + low > AC_BITS:
                        return False
                    target[k] = _extend(peek16(words, bit) >> (16 - size), size) << low
                    bit += size
                    k += 1
                elif zeros == 15:
                    k += 16
                    if k > last + 1:
                        return False
                else:
                    run = (1 << zeros) - 1 + (peek16(words, bit) >> (16 - zeros))
                    bit += zeros
                    break
            if bit > end:
                return False
        if run > 0 or end - bit > 7:
            return False
        start = stops[index]
    return True


@compiled
def refine_ac(
    words: U32,
    stops: I64,
    interval: int,
    grid: tuple[int, int],
    place: tuple[int, int],
    table: U16,
    band: tuple[int, int],
    low: int,
    values: I16,
) -> bool:
    """Decode a scan with one more bit of a band of AC coefficients (G.1.2.3); see ``decode_ac``."""
    columns, rows = grid
    block = 0
    start = 0
    for index in range(len(stops)):
        bit = 8 * start
        end = 8 * stops[index]
        run = 0
        for _ in range(min(interval, columns * rows - index * interval)):
            target = values[place[0] + block // columns * place[1] + block % columns]
            block += 1
            bit, run = _refine_block(words, bit, run, table, band, low, target)
            if run < 0 or bit > end:
                return False
        if run > 0 or end - bit > 7:
            return False
        start = stops[index]
    return True


@compiled
def _refine_block(
    words: U32, bit: int, run: int, table: U16, band: tuple[int, int], low: int, target: I16
) -> tuple[int, int]:
    """Refine one block; return the position and the blocks of which the band is over, -1 for damaged data."""
    k, last = band
    if run == 0:
        while k <= last:
            entry = number(table, peek16(words, bit))
            if entry == 0:
                return bit, -1
            bit += entry & 31
            zeros = entry >> 9
            size = (entry >> 5) & 15
            new = 0
            if size == 1:
                new = (1 if peek16(words, bit) >> 15 else -1) << low
                bit += 1
            elif size > 1:
                return bit, -1
            elif zeros < 15:
                run = (1 << zeros) + (peek16(words, bit) >> (16 - zeros))
                bit += zeros
                break
            # Pass ``zeros`` coefficients that stay zero, and refine those that are not zero, up to the next zero.
            while k <= last:
                if target[k] != 0:
                    bit = _refine(words, bit, low, target, k)
                elif zeros == 0:
                    break
                else:
                    zeros -= 1
                k += 1
            if k > last:
                return bit, -1
            if new != 0:
                target[k] = new
            k += 1
    if run > 0:
        while k <= last:
            if target[k] != 0:
                bit = _refine(words, bit, low, target, k)
            k += 1
        run -= 1
    return bit, run


@compiled
def _refine(words: U32, bit: int, low: int, target: I16, k: int) -> int:
    """Read one more bit of a coefficient that is not zero; return the next position."""
    if peek16(words, bit) >> 15:
        step = 1 << low
        target[k] += step if target[k] > 0 else -step
    return bit + 1


@compiled
def _extend(value: int, size: int) -> int:
    """Return the signed number that ``size`` bits stand for (F.2.2.1, EXTEND)."""
    return value if value >= 1 << (size - 1) else value + 1 - (1 << size)


@compiled
def decode_ac_values(words: U32, spans: I64, order: I64, rows: I64, tables: U16, values: I16) -> None:
    """Write the AC coefficients of a sequential scan to ``values``, int16 (blocks, 64).

    ``spans`` are those of ``huffman.decode_blocks``, which has checked the codes. ``order`` is the place in
    ``values`` of each block, and ``rows`` the row in ``tables``, uint16 (N, 65536) of ``symbol_table``, of each block
    of an MCU.
    """
    for block in range(len(order)):
        table = tables[rows[block % len(rows)]]
        target = values[order[block]]
        bit = spans[block, 0]
        k = 1
        while k < 64 and bit < spans[block, 1]:
            entry = number(table, peek16(words, bit))
            bit += entry & 31
            size = (entry >> 5) & 15
            if size == 0:
                if entry >> 9 == 0:
                    break
                k += 16
                continue
            k += entry >> 9
            if k > 63:
                break
            target[k] = _extend(peek16(words, bit) >> (16 - size), size)
            bit += size
            k += 1
