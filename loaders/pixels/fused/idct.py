"""The inverse DCT of eight blocks at once, bit for bit that of libjpeg-turbo (jidctint, "islow").

Eight MCU rows are the eight lanes: the coefficients of eight blocks lie side by side, and every step below is one
vector instruction. Where libjpeg-turbo's vector code on x86 keeps 16 bits, and so wraps or saturates, this does too.
Ordinary images never come near; damaged ones do.

The trip counts of the loops are lengths of arrays, which LLVM does not know. It unrolls a loop of eight, and then
makes no vectors: 152 instead of 27 ns for a block. All indexes are unsigned, because numba adds a branch for signed
ones, which may be negative.
"""

# pyright: basic
import numpy as np
import numpy.typing as npt

from .compiling import compiled, inlined

U8 = npt.NDArray[np.uint8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
U = np.uint64
I = np.int32  # noqa: E741

LANES = 8

_541, _765, _1847 = I(4433), I(6270), I(15137)
_1175, _1961, _390, _899, _2562 = I(9633), I(16069), I(3196), I(7373), I(20995)
_298, _2053, _3072, _1501 = I(2446), I(16819), I(25172), I(12299)
_13, _11, _18 = I(13), I(11), I(18)
_HALF_11, _HALF_18 = I(1 << 10), I((1 << 17) + (128 << 18))
_LOW, _HIGH, _BLACK, _WHITE = I(-32768), I(32767), I(0), I(255)
_TOP = I(8191)


@inlined
def _transform(x0, x1, x2, x3, x4, x5, x6, x7, half):
    """Return the sums and differences of one dimension: even part minus or plus odd part, 2^13 times too large."""
    even = I(I(x2 + x6) * _541)
    low, high = I(even - I(x6 * _1847)), I(even + I(x2 * _765))
    first, second = I(I(I(I(np.int16(x0 + x4))) << _13) + half), I(I(I(I(np.int16(x0 - x4))) << _13) + half)
    a0, a3, a1, a2 = I(first + high), I(first - high), I(second + low), I(second - low)
    z3, z4 = I(np.int16(x7 + x3)), I(np.int16(x5 + x1))
    z5 = I(I(z3 + z4) * _1175)
    z3, z4 = I(z5 - I(z3 * _1961)), I(z5 - I(z4 * _390))
    z1, z2 = I(I(x7 + x1) * _899), I(I(x5 + x3) * _2562)
    b0, b1 = I(I(I(x7 * _298) - z1) + z3), I(I(I(x5 * _2053) - z2) + z4)
    b2, b3 = I(I(I(x3 * _3072) - z2) + z3), I(I(I(x1 * _1501) - z1) + z4)
    return a0, a1, a2, a3, b0, b1, b2, b3


@inlined
def _narrow(value):
    """Return 2^11 times less, in 16 bits."""
    return np.int16(min(max(I(value >> _11), _LOW), _HIGH))


@inlined
def _sample(value):
    return np.uint8(min(max(I(value >> _18), _BLACK), _WHITE))


@compiled
def invert(coefficients, first, divisors, work, extreme, out, halves):
    """Write the samples of eight blocks to ``out``, uint8 (512,), column by column and eight lanes at each place.

    ``coefficients`` are int16, from ``first`` on, by row, column and lane. ``divisors`` is int32 (64,), ``work`` int16
    (512,). ``extreme``, int32 (8,), becomes negative for a block with numbers in its first row that libjpeg-turbo's
    vector code would make wrap around if there are none in its other rows. Row r of a column is at its place r, or if
    ``halves`` at (r & 1) * 4 + (r >> 1): the even rows first.
    """
    lanes = len(work) >> 6
    for column in range(8):
        d0, d1, d2, d3 = divisors[column], divisors[8 + column], divisors[16 + column], divisors[24 + column]
        d4, d5, d6, d7 = divisors[32 + column], divisors[40 + column], divisors[48 + column], divisors[56 + column]
        c = U(first + column * 8)
        w = U(column * 8)
        for lane in range(lanes):
            i = U(lane)
            top = I(I(coefficients[c + i]) * d0)
            extreme[i] |= I(top + _TOP) | I(_TOP - top)
            a0, a1, a2, a3, b0, b1, b2, b3 = _transform(
                I(np.int16(top)),
                I(np.int16(I(coefficients[c + U(64) + i]) * d1)),
                I(np.int16(I(coefficients[c + U(128) + i]) * d2)),
                I(np.int16(I(coefficients[c + U(192) + i]) * d3)),
                I(np.int16(I(coefficients[c + U(256) + i]) * d4)),
                I(np.int16(I(coefficients[c + U(320) + i]) * d5)),
                I(np.int16(I(coefficients[c + U(384) + i]) * d6)),
                I(np.int16(I(coefficients[c + U(448) + i]) * d7)),
                _HALF_11,
            )
            work[w + i] = _narrow(I(a0 + b3))
            work[w + U(64) + i] = _narrow(I(a1 + b2))
            work[w + U(128) + i] = _narrow(I(a2 + b1))
            work[w + U(192) + i] = _narrow(I(a3 + b0))
            work[w + U(256) + i] = _narrow(I(a3 - b0))
            work[w + U(320) + i] = _narrow(I(a2 - b1))
            work[w + U(384) + i] = _narrow(I(a1 - b2))
            work[w + U(448) + i] = _narrow(I(a0 - b3))
    for row in range(8):
        w = U(row * 64)
        o = U(((row & 1) * 4 + (row >> 1)) * 8 if halves else row * 8)
        for lane in range(lanes):
            i = U(lane)
            a0, a1, a2, a3, b0, b1, b2, b3 = _transform(
                I(work[w + i]),
                I(work[w + U(8) + i]),
                I(work[w + U(16) + i]),
                I(work[w + U(24) + i]),
                I(work[w + U(32) + i]),
                I(work[w + U(40) + i]),
                I(work[w + U(48) + i]),
                I(work[w + U(56) + i]),
                _HALF_18,
            )
            out[o + i] = _sample(I(a0 + b3))
            out[o + U(64) + i] = _sample(I(a1 + b2))
            out[o + U(128) + i] = _sample(I(a2 + b1))
            out[o + U(192) + i] = _sample(I(a3 + b0))
            out[o + U(256) + i] = _sample(I(a3 - b0))
            out[o + U(320) + i] = _sample(I(a2 - b1))
            out[o + U(384) + i] = _sample(I(a1 - b2))
            out[o + U(448) + i] = _sample(I(a0 - b3))


@compiled
def add_dc(coefficients, first, before, low, high):
    """Make DC values of eight differences, from those of the blocks before; return whether all lie within bounds."""
    here, there = U(first), U(before)
    outside = I(0)
    for lane in range(LANES):
        value = I(I(coefficients[here + U(lane)]) + I(coefficients[there + U(lane)]))
        coefficients[here + U(lane)] = np.int16(value)
        outside |= I(value - low) | I(high - value)
    return outside >= 0
