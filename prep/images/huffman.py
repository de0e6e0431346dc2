"""The parts of Huffman coding of sequential JPEGs (ITU-T T.81 annexes C, F and K.2) that restart markers need.

A block is one DC difference and a run of AC codes. Restart markers change where DC prediction starts, and so the
DC differences. The AC codes stay the same, bit for bit. So decoding finds each block's DC value and the position
of its AC bits, and encoding writes new DC codes and copies those bits. AC values are never computed.

Hostile input cannot make the loops leave their arrays. A block reads at most MAX_BLOCK_BYTES, the word buffer has
that much padding after its data, and each block's end is checked before the next begins.
"""

import heapq
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..base.compiled import compiled, number
from .jpeg import HuffmanTable

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]

CATEGORIES = 12
"""DC difference categories of 8-bit samples, 0 to 11 (T.81 table F.1)."""

# DC: 16 + 11 bits. 63 AC codes of 16 + 15 bits. The look-ahead reads 8 bytes more.
MAX_BLOCK_BYTES = (16 + 11 + 63 * 31) // 8 + 8

# 8-bit samples and a quantiser of 1 give DC values in this range (T.81 A.3.3), and differences of category 11.
DC_LOW, DC_HIGH = -1024, 1023

# An entry of a decoding table, for the next 16 bits: entry & 31 bits to skip, entry >> 5 coefficients to advance.
_END_OF_BLOCK, _INVALID = 128, 256

_RESERVED = -1
_LONGEST_CODE = 16


def _dc_decoding_table(table: HuffmanTable) -> U16:
    """Return uint16 (65536,): for the next 16 bits, code length + 32 * category; 0 if they begin with no code."""
    entries = [(length, length + 32 * symbol if symbol < CATEGORIES else 0) for length, symbol in _codes(table)]
    return _expand(entries, 0)


def _ac_decoding_table(table: HuffmanTable) -> U16:
    """Return uint16 (65536,): for the next 16 bits, bits of code and value + 32 * coefficients that they code."""
    return _expand([(length, _ac_entry(length, symbol)) for length, symbol in _codes(table)], 32 * _INVALID)


def symbol_table(table: HuffmanTable) -> U16:
    """Return uint16 (65536,): for the next 16 bits, code length + 32 * symbol; 0 if they begin with no code."""
    return _expand([(length, length + 32 * symbol) for length, symbol in _codes(table)], 0)


def optimal_table(counts: Sequence[int]) -> HuffmanTable:
    """Return the table with the shortest code for symbols that occur ``counts`` times, up to 256 symbols (T.81 K.2).

    Annex C reserves the code of all ones. So one symbol that never occurs takes part, gets one of the longest codes,
    and is removed at the end. Codes of more than 16 bits are shortened as in figure K.3.
    """
    heap: list[tuple[int, int, tuple[int, ...]]]
    heap = [(count, symbol, (symbol,)) for symbol, count in enumerate(counts) if count]
    heap.append((0, _RESERVED, (_RESERVED,)))
    heapq.heapify(heap)
    lengths = dict.fromkeys((symbol for _, symbol, _ in heap), 0)
    while len(heap) > 1:
        (count_a, tie, a), (count_b, _, b) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in a + b:
            lengths[symbol] += 1
        heapq.heappush(heap, (count_a + count_b, tie, a + b))
    reserved = lengths.pop(_RESERVED)
    ordered = sorted(lengths, key=lambda symbol: (lengths[symbol], symbol))
    return HuffmanTable(counts=_counts_of(list(lengths.values()), reserved), symbols=bytes(ordered))


def _counts_of(lengths: list[int], reserved: int) -> bytes:
    """Return how many codes have each length from 1 to 16 (figure K.3); the reserved code has length ``reserved``."""
    longest = max(*lengths, reserved)
    counts = [lengths.count(length) for length in range(max(longest, _LONGEST_CODE) + 1)]
    if longest > _LONGEST_CODE:
        counts[reserved] += 1  # it takes part in the shortening
        for length in range(longest, _LONGEST_CODE, -1):
            while counts[length]:
                shorter = max(n for n in range(1, length - 1) if counts[n])
                counts[length] -= 2
                counts[length - 1] += 1
                counts[shorter + 1] += 2
                counts[shorter] -= 1
        counts[max(n for n in range(1, _LONGEST_CODE + 1) if counts[n])] -= 1
    return bytes(counts[1 : _LONGEST_CODE + 1])


def encoding_table(table: HuffmanTable, symbols: int = CATEGORIES) -> I64:
    """Return int64 (symbols, 2): the code of each symbol and its length in bits, 0 for a symbol without one (C.2).

    Without ``symbols``, the table is one of DC categories.
    """
    codes = np.zeros((symbols, 2), np.int64)
    code, previous = 0, 0
    for length, symbol in _codes(table):
        code <<= length - previous
        codes[symbol] = code, length
        code, previous = code + 1, length
    return codes


def _codes(table: HuffmanTable) -> list[tuple[int, int]]:
    """Return (length, symbol) in the order of the codes."""
    lengths = [length for length, count in enumerate(table.counts, 1) for _ in range(count)]
    return list(zip(lengths, table.symbols, strict=True))


def _ac_entry(length: int, symbol: int) -> int:
    run, size = symbol >> 4, symbol & 15
    if symbol == 0:
        return length + 32 * _END_OF_BLOCK
    if size == 0 and run < 15:  # undefined in sequential scans (F.1.2.2.1)
        return 32 * _INVALID
    return length + size + 32 * (run + 1)


def _expand(entries: list[tuple[int, int]], missing: int) -> U16:
    """Return uint16 (65536,): each entry for all 16-bit words that begin with its code, ``missing`` for the others.

    Codes ascend, so the words do too.
    """
    repeats = [1 << (16 - length) for length, _ in entries]
    values = [value for _, value in entries]
    return np.repeat(np.array([*values, missing], np.uint16), np.array([*repeats, (1 << 16) - sum(repeats)], np.int64))


@lru_cache(maxsize=16)  # most files use the tables of T.81 K.3; one cached result is 512 kB
def decoding_tables(dc_tables: tuple[HuffmanTable, ...], ac_tables: tuple[HuffmanTable, ...]) -> U16:
    """Return the decoding tables as rows, uint16 (N, 65536), DC before AC."""
    return np.stack([*map(_dc_decoding_table, dc_tables), *map(_ac_decoding_table, ac_tables)])


@compiled
def peek16(words: U32, bit: int) -> int:
    """Return the 16 bits from ``bit`` on."""
    word = bit >> 5
    pair = (number(words, word) << 32) | number(words, word + 1)
    return (pair >> (48 - (bit & 31))) & 0xFFFF


@compiled
def _peek32(words: U32, bit: int) -> int:
    """Return the 32 bits from ``bit`` on."""
    word = bit >> 5
    pair = (number(words, word) << 32) | number(words, word + 1)
    return (pair >> (32 - (bit & 31))) & 0xFFFFFFFF


@compiled
def decode_blocks(
    words: U32, stops: I64, layout: I64, tables: U16, mcus: int, interval: int, dc: I64, spans: I64
) -> bool:
    """Find every block of a scan; return False if the data is not such a scan.

    ``words`` is the scan as 32-bit words, first bit highest, without markers and stuffed zeros, and with
    MAX_BLOCK_BYTES of padding. ``stops`` holds the ends of its intervals, in bytes. ``layout`` is int64 (blocks
    per MCU, 3): component, DC table, AC table, the latter two as rows of ``tables``, uint16 (N, 65536). The
    function fills ``dc`` (blocks,) with DC values and ``spans`` (blocks, 2) with the first bit and the end of the
    AC codes.
    """
    block = 0
    start = 0
    for index in range(len(stops)):
        bit = 8 * start
        end = 8 * stops[index]
        predictions = np.zeros(4, np.int64)
        for _ in range(min(interval, mcus - index * interval)):
            for part in range(len(layout)):
                component = layout[part, 0]
                entry = number(tables[layout[part, 1]], peek16(words, bit))
                if entry == 0:
                    return False
                bit += entry & 31
                category = entry >> 5
                if category > 0:
                    value = peek16(words, bit) >> (16 - category)
                    if value < 1 << (category - 1):  # negative: F.2.2.1, EXTEND
                        value += 1 - (1 << category)
                    predictions[component] += value
                    bit += category
                value = predictions[component]
                if value < DC_LOW or value > DC_HIGH:
                    return False
                dc[block] = value
                spans[block, 0] = bit
                ac_table = tables[layout[part, 2]]
                coefficient = 0
                while coefficient < 63:
                    entry = number(ac_table, peek16(words, bit))
                    bit += entry & 31
                    coefficient += entry >> 5
                if coefficient != 63 and not _END_OF_BLOCK <= coefficient < _END_OF_BLOCK + 63:
                    return False
                if bit > end:
                    return False
                spans[block, 1] = bit
                block += 1
        if end - bit > 7:
            return False
        start = stops[index]
    return True


@compiled
def take_differences(dc: I64, layout: I64, interval: int, counts: I64) -> None:
    """Replace DC values by differences, with predictions reset every ``interval`` MCUs, and count their categories.

    The function adds to ``counts``, int64 (DC tables, 12).
    """
    blocks = len(layout)
    predictions = np.zeros(4, np.int64)
    for block in range(len(dc)):
        if block % (blocks * interval) == 0:
            predictions[:] = 0
        component = layout[block % blocks, 0]
        value = dc[block]
        dc[block] = value - predictions[component]
        predictions[component] = value
        counts[layout[block % blocks, 1], _category(dc[block])] += 1


@compiled
def _category(difference: int) -> int:
    """Return the number of bits of a difference (table F.1)."""
    magnitude = abs(difference)
    category = 0
    while magnitude > 0:
        magnitude >>= 1
        category += 1
    return category


@compiled
def encode_blocks(
    words: U32, spans: I64, differences: I64, layout: I64, codes: I64, interval: int, out: U8, offsets: U32
) -> int:
    """Write the scan with a restart marker after every ``interval`` MCUs and EOI at the end; return its length.

    ``codes`` is int64 (DC tables, 12, 2), indexed by the layout's DC table. The function fills ``offsets``
    (intervals + 1,) with the starts of the intervals, and the end. ``out`` must have room for twice the bits,
    because stuffing at most doubles them, and for 4 bytes per interval: a marker and the last byte, which padding
    fills.
    """
    blocks = len(layout)
    per_interval = blocks * interval
    position = 0
    pending = 0  # bits not yet written, fewer than 32
    held = 0  # the number of pending bits
    for block in range(len(differences)):
        if block % per_interval == 0:
            offsets[block // per_interval] = position
        value = differences[block]
        category = _category(value)
        row = layout[block % blocks, 1]
        if value < 0:
            value += (1 << category) - 1
        length = codes[row, category, 1] + category
        pending = (pending << length) | (codes[row, category, 0] << category) | value
        held += length
        if held >= 32:
            held -= 32
            position = _put32(out, position, pending >> held)
            pending &= (1 << held) - 1
        bit = spans[block, 0]
        end = spans[block, 1]
        while end - bit >= 32:
            pending = (pending << 32) | _peek32(words, bit)
            bit += 32
            position = _put32(out, position, pending >> held)
            pending &= (1 << held) - 1
        rest = end - bit
        pending = (pending << rest) | (_peek32(words, bit) >> (32 - rest))
        held += rest
        if held >= 32:
            held -= 32
            position = _put32(out, position, pending >> held)
            pending &= (1 << held) - 1
        if (block + 1) % per_interval == 0 or block + 1 == len(differences):
            padding = -held % 8  # with ones (F.1.2.3)
            pending = (pending << padding) | ((1 << padding) - 1)
            held += padding
            while held > 0:
                held -= 8
                position = _put8(out, position, (pending >> held) & 0xFF)
            pending = 0
            out[position] = 0xFF
            out[position + 1] = 0xD0 + (block // per_interval) % 8
            position += 2
    out[position - 1] = 0xD9
    offsets[len(offsets) - 1] = position
    return position


@compiled
def _put8(out: U8, position: int, byte: int) -> int:
    out[position] = byte
    if byte == 0xFF:
        out[position + 1] = 0
        return position + 2
    return position + 1


@compiled
def _put32(out: U8, position: int, word: int) -> int:
    """Write four bytes, with a zero stuffed after each 0xFF; return the position after them."""
    inverse = ~word & 0xFFFFFFFF
    if (inverse - 0x01010101) & ~inverse & 0x80808080:  # a byte of the inverse is zero
        for shift in (24, 16, 8, 0):
            position = _put8(out, position, (word >> shift) & 0xFF)
        return position
    out[position] = word >> 24
    out[position + 1] = (word >> 16) & 0xFF
    out[position + 2] = (word >> 8) & 0xFF
    out[position + 3] = word & 0xFF
    return position + 4
