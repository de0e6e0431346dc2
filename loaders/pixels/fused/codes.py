"""Tables for decoding the Huffman codes of a tile: from the next bits to a symbol, from a place to the next table.

``codes`` has 2^10 entries for each of eight tables: DC and AC of each component, then two that hold a stream that has
ended or failed. Behind them are the eight of a second image. An entry is 32 bits:

    0 to 7     bits of the code
    8 to 15    bits of the code and of the value behind it
    16 to 21   64 - bits of the value
    24 to 30   places to advance
    31         PLAIN: there is no value; the next two bits may say why
    22, 23     FAILED: there is no such code; LONG: the code has more than ten bits

``places`` says where a coefficient goes and which table comes after it. A block has 128 places, of which 0 to 63 are
its coefficients in zigzag order. A run of zeros that leaves the block lands in the 16 places behind them, from where
only the table of failure follows. The last coefficient of a tile leads to the table that advances no more. So what a
stream did wrong shows in the place where it ends, and costs nothing while it decodes.
"""

import numpy as np
import numpy.typing as npt

from .header import AC_CODES, ACROSS, COMPONENTS, DC_CODES, DOWN, ZIGZAG
from .vectors.compiling import compiled, inlined, whole

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
U = np.uint64

BITS = 10
"""Of the look-up. From 9 to 13 it makes no difference in speed; a table of 2^10 takes 0.6 us to build."""
KEPT = 16 + 256
"""Bytes of a table in a file, at most."""
BLOCK = 128
"""Places of a block."""
DC_STEP = 65
"""Places from the last coefficient of a block to the DC coefficient of the next."""
TABLES = 8
"""Tables of one image."""
ENDED, LOST = 6, 7
"""The tables of a stream that has ended, and of one that failed."""
PLAIN, LONG, FAILED = U(1 << 31), U(1 << 31 | 1 << 23), U(1 << 31 | 1 << 22)

# Longer values do not occur in images of 8 bits (T.81 tables F.1 and F.2). Two symbols then have 53 bits at most.
_DC_SIZE, _AC_SIZE = 11, 10
_SINK = 16


def empty_codes() -> U32:
    """Return ``codes`` of two images without any component's tables, uint32 (2 * TABLES << BITS,)."""
    codes = np.full(2 * TABLES << BITS, FAILED, np.uint32)
    codes.reshape(2, TABLES, -1)[:, ENDED] = PLAIN
    return codes


@inlined
def _entry(length: int, symbol: int, is_dc: bool) -> int:
    size, advance = symbol & 15, (symbol >> 4) + 1
    if is_dc:
        size, advance = symbol, DC_STEP
    if size > (_DC_SIZE if is_dc else _AC_SIZE) or (not is_dc and size == 0 and symbol != 0 and symbol != 0xF0):
        return whole(FAILED)
    if size == 0:
        if symbol == 0 and not is_dc:  # the end of the block
            advance = 0
        return whole(PLAIN) | length | length << 8 | advance << 24
    return length | (length + size) << 8 | (64 - size) << 16 | advance << 24


@compiled
def fill_codes(data: U8, table: int, slot: int, codes: U32, kept: U8) -> None:
    """Write the table whose BITS begin at ``table`` to its slot, unless the slot has it: ``kept`` says which it has.

    Most images that one program wrote have the same four tables, and at 64 pixels they cost a tenth of the decoding.
    """
    length, first, same = 16, KEPT * slot, True
    for i in range(16):
        length += data[table + i]
    for i in range(length):
        if kept[first + i] != data[table + i]:
            same = False
            break
    if same:
        return
    for i in range(length):
        kept[first + i] = data[table + i]
    place, end = slot << BITS, (slot + 1) << BITS
    symbol = table + 16
    for bits in range(1, BITS + 1):
        for _ in range(data[table + bits - 1]):
            entry = np.uint32(_entry(bits, whole(data[symbol]), slot & 1 == 0))
            symbol += 1
            for _ in range(min(1 << (BITS - bits), end - place)):
                codes[place] = entry
                place += 1
    while place < end:
        codes[place] = np.uint32(LONG)
        place += 1


@compiled
def long_code(data: U8, table: int, bits: np.uint64, is_dc: bool) -> np.uint64:
    """Return the entry of a code that may have up to 16 bits, which are the highest of ``bits`` (annex F.2.2.3)."""
    word, code, symbol = whole(bits >> U(48)), 0, table + 16
    for length in range(1, 17):
        count, prefix = whole(data[table + length - 1]), word >> (16 - length)
        if code <= prefix < code + count:
            return U(_entry(length, whole(data[symbol + prefix - code]), is_dc))
        code = (code + count) << 1
        symbol += count
    return FAILED


@compiled
def fill_all_codes(data: U8, head: I64, codes: U32, kept: U8, stream: int) -> bool:
    """Write the tables of all components; return whether the third has those of the second, which stay its own.

    ``stream`` is 0, or 1 for the second of two images.
    """
    count = head[COMPONENTS]
    shared = count == 3 and head[DC_CODES + 1] == head[DC_CODES + 2] and head[AC_CODES + 1] == head[AC_CODES + 2]
    for i in range(min(count, 2) if shared else count):
        fill_codes(data, head[DC_CODES + i], TABLES * stream + 2 * i, codes, kept)
        fill_codes(data, head[AC_CODES + i], TABLES * stream + 2 * i + 1, codes, kept)
    return shared


@compiled
def fill_places(head: I64, shared: bool, interval: int, places: U32, start: int, stream: int) -> None:
    """Write the places of a tile of ``interval`` MCUs from ``start`` on: 64 * block + row by row place, and the next
    table << 26, which is one of image ``stream``.
    """
    luma = head[ACROSS] * head[DOWN]
    per_mcu = luma + head[COMPONENTS] - 1
    blocks, tables = per_mcu * interval, TABLES * stream
    for block in range(blocks):
        slot = tables + _slot(block % per_mcu, luma, shared)
        after = tables + (ENDED if block == blocks - 1 else _slot((block + 1) % per_mcu, luma, shared))
        first = start + block * BLOCK
        for i in range(63):
            places[first + i] = np.uint32((block * 64 + ZIGZAG[i]) | (slot + 1) << 26)
        places[first + 63] = np.uint32((block * 64 + 63) | after << 26)
        for i in range(64, 64 + _SINK):
            places[first + i] = np.uint32((block * 64 + 63) | (tables + LOST) << 26)
    for i in range(64):  # where a failed stream stays
        places[start + blocks * BLOCK + i] = np.uint32((tables + ENDED) << 26)


@inlined
def _slot(block: int, luma: int, shared: bool) -> int:
    """Return the DC table of a block of the MCU."""
    component = max(block - luma + 1, 0)
    return 2 * min(component, 1) if shared else 2 * component
