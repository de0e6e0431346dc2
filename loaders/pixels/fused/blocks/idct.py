"""The inverse DCT of eight blocks at once, bit for bit that of libjpeg-turbo (jidctint, "islow").

Eight MCU rows are the eight lanes: the coefficients of eight blocks lie side by side, and two columns or rows of them
are sixteen numbers. Where libjpeg-turbo's vector code on x86 keeps 16 bits, and so wraps or saturates, this does too.
Ordinary images never come near; damaged ones do.
"""

# pyright: basic
from typing import Any

from llvmlite import ir
from numba import types

from ..vectors.compiling import compiled
from ..vectors.lanes import Lanes
from ..vectors.memory import Memory, after, body, intrinsic

LANES = 8
_TOP = 8191
_DC_LOW, _DC_HIGH = -1024, 1023

_AT_ONCE = 16


def _transform(x: list[Lanes], half: int) -> list[Lanes]:
    """Return one dimension of the transform, 2^13 times too large, of 16-bit numbers that may wrap around."""
    x0, x1, x2, x3, x4, x5, x6, x7 = x
    w2, w6 = x2.signed(32), x6.signed(32)
    w1, w3, w5, w7 = x1.signed(32), x3.signed(32), x5.signed(32), x7.signed(32)
    even = (w2 + w6) * 4433
    low, high = even - w6 * 15137, even + w2 * 6270
    first, second = ((x0 + x4).signed(32) << 13) + half, ((x0 - x4).signed(32) << 13) + half
    a0, a3, a1, a2 = first + high, first - high, second + low, second - low
    z3, z4 = (x7 + x3).signed(32), (x5 + x1).signed(32)
    z5 = (z3 + z4) * 9633
    z3, z4 = z5 - z3 * 16069, z5 - z4 * 3196
    z1, z2 = (w7 + w1) * 7373, (w5 + w3) * 20995
    b0, b1, b2, b3 = w7 * 2446 - z1 + z3, w5 * 16819 - z2 + z4, w3 * 25172 - z2 + z3, w1 * 12299 - z1 + z4
    return [a0 + b3, a1 + b2, a2 + b1, a3 + b0, a3 - b0, a2 - b1, a1 - b2, a0 - b3]


@intrinsic
def _invert_columns(
    typing: Any, coefficients: Any, first: Any, divisors: Any, table: Any, work: Any, place: Any, extreme: Any
) -> Any:
    """Transform two columns of eight blocks from ``coefficients`` to ``work``; see ``invert``."""

    @body
    def generate(
        b: Any, coefficients: Memory, first: Any, divisors: Memory, table: Any, work: Memory, place: Any,
        extreme: Memory,
    ) -> None:  # fmt: skip
        zero = ir.Constant(ir.IntType(64), 0)
        rows = [coefficients.load(after(b, first, 64 * row), _AT_ONCE) for row in range(8)]
        steps = [divisors.load(after(b, table, 64 * row), _AT_ONCE) for row in range(8)]
        top = rows[0].signed(32) * steps[0].unsigned(32)
        extreme.store(zero, extreme.load(zero, _AT_ONCE) | top + _TOP | top * -1 + _TOP)
        products = [row * step for row, step in zip(rows[1:], steps[1:], strict=True)]
        for row, lanes in enumerate(_transform([top.narrow(16), *products], 1 << 10)):
            work.store(after(b, place, 64 * row), (lanes >> 11).clipped(-32768, 32767).narrow(16))

    return types.void(coefficients, first, divisors, table, work, place, extreme), generate


@intrinsic
def _invert_rows(typing: Any, work: Any, row: Any, other: Any, plane: Any, place: Any, height: Any) -> Any:
    """Transform two rows of eight blocks from ``work`` to eight columns of a plane, where they lie side by side."""

    @body
    def generate(b: Any, work: Memory, row: Any, other: Any, plane: Memory, place: Any, height: Any) -> None:
        columns = [
            work.load(after(b, row, 8 * column), 8).then(work.load(after(b, other, 8 * column), 8))
            for column in range(8)
        ]
        for lanes in _transform(columns, (1 << 17) + (128 << 18)):
            plane.store(place, (lanes >> 18).clipped(0, 255).narrow(8))
            place = b.add(place, height)

    return types.void(work, row, other, plane, place, height), generate


@compiled
def invert(coefficients, first, divisors, table, work, extreme, plane, place, height, halves):
    """Write the samples of eight blocks to eight columns of ``plane``, from ``place`` on and ``height`` apart.

    ``coefficients`` are int16, from ``first`` on, by row, column and lane, and so are ``divisors``, uint16, from
    ``table`` on. ``work`` is int16 (512,). ``extreme``, int32 (16,), becomes negative for a block with numbers in its
    first row that libjpeg-turbo's vector code would make wrap around if there are none in its other rows. Row r of a
    column, eight lanes, is at 8 r, or if ``halves`` at 4 r for even rows and at 64 + 4 (r - 1) for odd rows.
    """
    for column in range(0, 64, _AT_ONCE):
        _invert_columns(coefficients, first + column, divisors, table + column, work, column, extreme)
    if halves:
        _invert_rows(work, 0, 128, plane, place, height)
        _invert_rows(work, 256, 384, plane, place + 16, height)
        _invert_rows(work, 64, 192, plane, place + 64, height)
        _invert_rows(work, 320, 448, plane, place + 80, height)
    else:
        for row in range(0, 8, 2):
            _invert_rows(work, 64 * row, 64 * row + 64, plane, place + 8 * row, height)


@intrinsic
def add_dc(typing: Any, coefficients: Any, first: Any, before: Any, extreme: Any) -> Any:
    """Make DC values of eight differences, from those of the blocks before.

    ``extreme`` becomes negative for values that no image of 8 bits has, with any divisor.
    """

    @body
    def generate(b: Any, coefficients: Memory, first: Any, before: Any, extreme: Memory) -> None:
        zero = ir.Constant(ir.IntType(64), 0)
        values = coefficients.load(first, LANES).signed(32) + coefficients.load(before, LANES).signed(32)
        coefficients.store(first, values.narrow(16))
        outside = values - _DC_LOW | values * -1 + _DC_HIGH
        extreme.store(zero, extreme.load(zero, LANES) | outside)

    return types.void(coefficients, first, before, extreme), generate
