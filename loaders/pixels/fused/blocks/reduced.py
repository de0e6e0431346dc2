"""Inverse DCTs that make fewer samples of a block: 4 x 4, 2 x 2 or 1, bit for bit those of libjpeg-turbo (jidctred).

They read the low frequencies, and as many of the high ones as libjpeg-turbo reads: a part of the first seven rows and
columns. The lanes are those of ``idct``: eight MCU rows.
"""

# pyright: basic
from typing import Any

from llvmlite import ir
from numba import types

from ..vectors.compiling import compiled
from ..vectors.lanes import Lanes
from ..vectors.memory import Memory, after, body, intrinsic

_TOP = 8191  # of a first row: libjpeg-turbo's vector code shifts it by 2 bits within 16
_TOP_OF_ONE = 4091  # of a block that becomes one sample: libjpeg-turbo keeps 10 bits of its eighth
_AT_ONCE = 16


def _quarter(x0: Lanes, x1: Lanes, x2: Lanes, x3: Lanes, x5: Lanes, x6: Lanes, x7: Lanes, half: int) -> list[Lanes]:
    """Return one dimension of the transform to four samples, 2^14 times too large. The fifth frequency is not read."""
    w1, w2, w3, w5, w6, w7 = (x.signed(32) for x in (x1, x2, x3, x5, x6, x7))
    even = (x0.signed(32) << 14) + half
    outer = w2 * 15137 - w6 * 6270
    low, high = even + outer, even - outer
    first = w1 * 20995 + w3 * 7373 - w5 * 4926 - w7 * 4176
    second = w1 * 8697 - w3 * 17799 + w5 * 11893 - w7 * 1730
    return [low + first, high + second, high - second, low - first]


def _pair(x0: Lanes, x1: Lanes, x3: Lanes, x5: Lanes, x7: Lanes, half: int) -> list[Lanes]:
    """Return one dimension of the transform to two samples, 2^15 times too large. ``x0`` has 32 bits."""
    w1, w3, w5, w7 = (x.signed(32) for x in (x1, x3, x5, x7))
    even, odd = (x0 << 15) + half, w1 * 29692 - w3 * 10426 + w5 * 6967 - w7 * 5906
    return [even + odd, even - odd]


def _centred(lanes: Lanes, bits: int) -> Lanes:
    """Return samples of numbers that are 2^bits times too large."""
    return (lanes >> bits).clipped(-128, 127).narrow(8) + 128


def _note(extreme: Memory, top: Lanes, most: int) -> None:
    """Make lanes of ``extreme`` negative where numbers of a first row exceed ``most``."""
    zero = ir.Constant(ir.IntType(64), 0)
    extreme.store(zero, extreme.load(zero, top.count) | top + most | top * -1 + most)


@intrinsic
def _columns_to_four(
    typing: Any, coefficients: Any, first: Any, divisors: Any, table: Any, work: Any, place: Any, extreme: Any
) -> Any:
    """Transform two columns of eight blocks from ``coefficients`` to four rows of ``work``."""

    @body
    def generate(
        b: Any, coefficients: Memory, first: Any, divisors: Memory, table: Any, work: Memory, place: Any,
        extreme: Memory,
    ) -> None:  # fmt: skip
        read = (0, 1, 2, 3, 5, 6, 7)
        rows = [coefficients.load(after(b, first, 64 * row), _AT_ONCE) for row in read]
        steps = [divisors.load(after(b, table, 64 * row), _AT_ONCE) for row in read]
        top = rows[0].signed(32) * steps[0].unsigned(32)
        _note(extreme, top, _TOP)
        products = [row * step for row, step in zip(rows[1:], steps[1:], strict=True)]
        for row, lanes in enumerate(_quarter(top.narrow(16), *products, half=1 << 11)):
            work.store(after(b, place, 64 * row), (lanes >> 12).clipped(-32768, 32767).narrow(16))

    return types.void(coefficients, first, divisors, table, work, place, extreme), generate


@intrinsic
def _rows_to_four(typing: Any, work: Any, row: Any, other: Any, plane: Any, place: Any, height: Any) -> Any:
    """Transform two rows of eight blocks from ``work`` to four columns of a plane, where they lie side by side."""

    @body
    def generate(b: Any, work: Memory, row: Any, other: Any, plane: Memory, place: Any, height: Any) -> None:
        columns = [
            work.load(after(b, row, 8 * column), 8).then(work.load(after(b, other, 8 * column), 8))
            for column in (0, 1, 2, 3, 5, 6, 7)
        ]
        for lanes in _quarter(*columns, half=1 << 18):
            plane.store(place, _centred(lanes, 19))
            place = b.add(place, height)

    return types.void(work, row, other, plane, place, height), generate


@intrinsic
def _block_to_two(
    typing: Any, coefficients: Any, first: Any, divisors: Any, table: Any, extreme: Any,
    plane: Any, upper: Any, lower: Any, height: Any,
) -> Any:  # fmt: skip
    """Transform eight blocks to two columns of a plane: their upper samples to ``upper``, the others to ``lower``."""

    @body
    def generate(
        b: Any, coefficients: Memory, first: Any, divisors: Memory, table: Any, extreme: Memory,
        plane: Memory, upper: Any, lower: Any, height: Any,
    ) -> None:  # fmt: skip
        def column(number: int) -> tuple[Lanes, Lanes]:
            places = [64 * row + 8 * number for row in (0, 1, 3, 5, 7)]
            numbers = [coefficients.load(after(b, first, place), 8) for place in places]
            steps = [divisors.load(after(b, table, place), 8) for place in places]
            top = numbers[0].signed(32) * steps[0].unsigned(32)
            _note(extreme, top, _TOP)
            products = [left * right for left, right in zip(numbers[1:], steps[1:], strict=True)]
            above, below = (lanes >> 13 for lanes in _pair(top, *products, half=1 << 12))
            return above, below

        (above, below), *others = (column(number) for number in (0, 1, 3, 5, 7))
        both = [(a.then(c)).clipped(-32768, 32767).narrow(16) for a, c in others]
        for lanes in _pair(above.then(below), *both, half=1 << 19):
            samples = _centred(lanes, 20)
            plane.store(upper, samples.picked(samples, range(8)))
            plane.store(lower, samples.picked(samples, range(8, 16)))
            upper, lower = b.add(upper, height), b.add(lower, height)

    return types.void(coefficients, first, divisors, table, extreme, plane, upper, lower, height), generate


@intrinsic
def _block_to_one(
    typing: Any, coefficients: Any, first: Any, divisors: Any, table: Any, extreme: Any, plane: Any, place: Any
) -> Any:
    """Write the mean of each of eight blocks to a plane."""

    @body
    def generate(
        b: Any, coefficients: Memory, first: Any, divisors: Memory, table: Any, extreme: Memory,
        plane: Memory, place: Any,
    ) -> None:  # fmt: skip
        top = coefficients.load(first, 8).signed(32) * divisors.load(table, 8).unsigned(32)
        _note(extreme, top, _TOP_OF_ONE)
        plane.store(place, _centred(top + 4, 3))

    return types.void(coefficients, first, divisors, table, extreme, plane, place), generate


@compiled
def invert_reduced(coefficients, first, divisors, table, work, extreme, plane, place, height, side, half):
    """Write the samples of eight blocks, ``side`` x ``side`` of each, to columns of ``plane``, as ``idct.invert`` does.

    ``side`` is 4, 2 or 1. Row r of a column, eight lanes, is at 8 r, or if ``half`` is not 0 at 4 r for even rows and
    at half + 4 (r - 1) for odd ones.
    """
    if side == 4:
        for column in range(0, 64, _AT_ONCE):
            _columns_to_four(coefficients, first + column, divisors, table + column, work, column, extreme)
        if half:
            _rows_to_four(work, 0, 128, plane, place, height)
            _rows_to_four(work, 64, 192, plane, place + half, height)
        else:
            _rows_to_four(work, 0, 64, plane, place, height)
            _rows_to_four(work, 128, 192, plane, place + 16, height)
    elif side == 2:
        _block_to_two(
            coefficients, first, divisors, table, extreme, plane, place, place + max(half, 8), height
        )  # fmt: skip
    else:
        _block_to_one(coefficients, first, divisors, table, extreme, plane, place)
