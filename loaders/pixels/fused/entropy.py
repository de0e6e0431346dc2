"""Huffman decoding of tiles into coefficients, two tiles at a time.

Decoding is one chain of dependent loads: the bits choose the symbol, whose length moves the bits. Two tiles have two
chains, which a processor overlaps: 393 instead of 642 us for the tiles of a crop of 0.11 megapixels. Three or four
run out of registers.

Nothing here checks a bound, because none can be crossed. A symbol advances at least one place. So a tile of n blocks
reads at most 64 n symbols of at most 27 bits, and the callers have that much memory behind it (``SLACK``). Each place
is in ``places``, and each coefficient's place in ``coefficients``.
"""

# pyright: basic
import numpy as np
import numpy.typing as npt

from .codes import BITS, BLOCK, DC_STEP, FAILED, LONG, PLAIN, long_code
from .header import AC_CODES, DC_CODES
from .vectors.compiling import compiled, inlined
from .words import load_bits

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
U = np.uint64

MOST_BLOCKS = 1024
"""Blocks of a tile, so that 16 bits hold the place of a coefficient. Larger tiles are not taken."""
SLACK = MOST_BLOCKS * 64 * 27 // 8 + 16
"""Bytes that a damaged tile may read behind its end."""

_SHIFT, _63, _127, _LOW16 = U(64 - BITS), U(63), U(127), U(0xFFFF)
_0, _1, _3, _7, _8, _16, _24 = U(0), U(1), U(3), U(7), U(8), U(16), U(24)
_BITS, _FLAG = U(BITS), PLAIN
_FIRST = U(2**64 - DC_STEP)  # the place before the first, so that the first DC step leads to 0
_STEP = U(DC_STEP)


@inlined
def _apply(entry, places, coefficients, end, buffer, place, table, base, used):
    """Store the value of one symbol; return the bits left, the place, the next table and the bits used.

    A symbol with a long code changes nothing.
    """
    if entry >= _FLAG:
        if entry != LONG:
            advance = (entry >> _24) & _127
            if entry == FAILED:
                place = end | _63
            elif advance != _0:
                place += advance
            else:
                place |= _63
            table = U(places[place]) >> _16
            buffer = buffer << (entry & _63)
            used += entry >> _8
    else:
        bits = buffer << (entry & _63)
        taken = entry >> _8
        shift = (entry >> _16) & _63
        buffer = buffer << (taken & _63)
        used += taken
        negative = U(~(np.int64(bits) >> np.int64(63)))
        place += entry >> _24
        target = U(places[place])
        coefficients[base + ((target & _LOW16) << _3)] = np.int16(np.int64(bits >> shift) - np.int64(negative >> shift))
        table = target >> _16
    return buffer, place, table, used


@inlined
def symbol(codes, places, coefficients, end, buffer, place, table, base, used):
    """Decode one symbol; return the bits left, the place, the next table and the bits used.

    Before a symbol with a long code everything stays as it is: if ``used`` is still 0 after two symbols, the caller
    calls ``long_symbol``. So the loops have no code for long codes, which would take their registers.
    """
    entry = U(codes[table + (buffer >> _SHIFT)])
    return _apply(entry, places, coefficients, end, buffer, place, table, base, used)


@compiled
def long_symbol(places, coefficients, data, head, source, end, bit, place, table, base):
    """Decode one symbol with a code of more than BITS bits; return the bit, the place and the table after it."""
    buffer = load_bits(source, bit >> _3) << (bit & _7)
    slot = np.int64(table >> _BITS) & 7
    first = DC_CODES if slot & 1 == 0 else AC_CODES
    entry = long_code(data, head[first + (slot >> 1)], buffer, slot & 1 == 0)
    buffer, place, table, used = _apply(entry, places, coefficients, end, buffer, place, table, base, _0)
    return bit + (used & _63), place, table


@inlined
def _is_whole(place, end, bit, stop):
    """Return whether a stream ended at its last coefficient, within the last byte of its tile."""
    return place == end - _STEP and (stop << _3) - bit < _8


@compiled
def decode_to(codes, places, coefficients, data, head, source, end, bit, place, table, base):
    """Decode one stream to ``end``; return the bit and the place where it ended."""
    while np.int64(place + _STEP) < np.int64(end):
        buffer = load_bits(source, bit >> _3) << (bit & _7)
        buffer, place, table, used = symbol(codes, places, coefficients, end, buffer, place, table, base, _0)
        buffer, place, table, used = symbol(codes, places, coefficients, end, buffer, place, table, base, used)
        bit += used & _63
        if used & _63 == _0 and np.int64(place + _STEP) < np.int64(end):
            bit, place, table = long_symbol(
                places, coefficients, data, head, source, end, bit, place, table, base
            )  # fmt: skip
    return bit, place


@compiled
def _decode_rest(codes, places, coefficients, data, head, source, end, bit, place, table, base, stop):
    """Decode one tile, or what is left of it; return whether it is whole."""
    bit, place = decode_to(codes, places, coefficients, data, head, source, end, bit, place, table, base)
    return _is_whole(place, end, bit, stop)


@compiled
def decode_tiles(codes, places, coefficients, data, head, source, blocks, starts, stops, bases, first, count):
    """Decode tiles ``first`` to ``first + count`` of ``blocks`` blocks each; return whether all of them are whole.

    ``source`` has the tiles without stuffed zeros and markers, from ``starts`` to ``stops``. The coefficient of place
    p goes to ``coefficients``, int16, at base + 8 p, which must be 0 before. ``data`` and ``head`` are the file and
    its header, for rare codes.
    """
    end = U(blocks * BLOCK)
    good = True
    following, stop = first + 2, first + count
    if count < 2:
        return _decode_rest(
            codes, places, coefficients, data, head, source,
            end, starts[first] << _3, _FIRST, _0, bases[first], stops[first],
        )  # fmt: skip
    a, b = first, first + 1
    bit_a, place_a, table_a, base_a = starts[a] << _3, _FIRST, _0, bases[a]
    bit_b, place_b, table_b, base_b = starts[b] << _3, _FIRST, _0, bases[b]
    while True:
        left_a = load_bits(source, bit_a >> _3) << (bit_a & _7)
        left_b = load_bits(source, bit_b >> _3) << (bit_b & _7)
        left_a, place_a, table_a, used_a = symbol(
            codes, places, coefficients, end, left_a, place_a, table_a, base_a, _0
        )  # fmt: skip
        left_b, place_b, table_b, used_b = symbol(
            codes, places, coefficients, end, left_b, place_b, table_b, base_b, _0
        )  # fmt: skip
        left_a, place_a, table_a, used_a = symbol(
            codes, places, coefficients, end, left_a, place_a, table_a, base_a, used_a
        )  # fmt: skip
        left_b, place_b, table_b, used_b = symbol(
            codes, places, coefficients, end, left_b, place_b, table_b, base_b, used_b
        )  # fmt: skip
        bit_a += used_a & _63
        bit_b += used_b & _63
        if np.int64(place_a + _STEP) >= np.int64(end):
            good &= _is_whole(place_a, end, bit_a, stops[a])
            if following == stop:
                return good & _decode_rest(
                    codes, places, coefficients, data, head, source,
                    end, bit_b, place_b, table_b, base_b, stops[b],
                )  # fmt: skip
            a = following
            following += 1
            bit_a, place_a, table_a, base_a = starts[a] << _3, _FIRST, _0, bases[a]
        elif used_a & _63 == _0:
            bit_a, place_a, table_a = long_symbol(
                places, coefficients, data, head, source, end, bit_a, place_a, table_a, base_a
            )  # fmt: skip
        if np.int64(place_b + _STEP) >= np.int64(end):
            good &= _is_whole(place_b, end, bit_b, stops[b])
            if following == stop:
                return good & _decode_rest(
                    codes, places, coefficients, data, head, source,
                    end, bit_a, place_a, table_a, base_a, stops[a],
                )  # fmt: skip
            b = following
            following += 1
            bit_b, place_b, table_b, base_b = starts[b] << _3, _FIRST, _0, bases[b]
        elif used_b & _63 == _0:
            bit_b, place_b, table_b = long_symbol(
                places, coefficients, data, head, source, end, bit_b, place_b, table_b, base_b
            )  # fmt: skip
