"""Chroma at luma's size ("fancy upsampling") and RGB, bit for bit those of libjpeg-turbo (jdsample, jdcolor).

A column is processed at once: the samples of eight MCU rows, of which sample i of MCU row l is at place 8 i + l. If
chroma has half the rows, luma's even rows come first, then the odd ones, as ``idct`` writes them: both halves then lie
as chroma does. libjpeg interpolates between a chroma sample and the nearest neighbour in each halved direction,
weighted 3 to 1, and rounds up and down in turn.
"""

# pyright: basic
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from .blocks.idct import LANES
from .header import COMPONENTS
from .plan import (
    BAND_ROWS,
    CHROMA,
    DECODED_WIDTH,
    FIRST_ROW,
    GROUPS,
    LAST_ROW,
    LUMA,
    STEP_X,
    STEP_Y,
    TILES_X,
    X0,
    X1,
)  # fmt: skip
from .scratch import BAND, Scratch
from .vectors.compiling import compiled
from .vectors.lanes import Lanes, same, word_lanes
from .vectors.memory import Memory, after, body, intrinsic
from .words import load_word

U8 = npt.NDArray[np.uint8]
I16 = npt.NDArray[np.int16]
U = np.uint64

# Multiples of 2^16. 1.402 is 1 + _RED, 1.772 is 2 - _BLUE, and -0.71414 is _GREEN_CR - 1, so that each has 16 bits.
_RED, _BLUE, _GREEN_CR, _GREEN_CB = 26345, 14942, 18734, 22554
_AT_ONCE = 32  # pixels
_RED_SUMS = 1024  # behind the sums of blue differences
_0, _1, _8, _56, _255 = U(0), U(1), U(8), U(56), U(255)


@intrinsic
def _add_neighbours(
    typing: Any, plane: Any, first: Any, above: Any, below: Any, odd: Any, sums: Any, place: Any
) -> Any:  # fmt: skip
    """Write 64 samples, three times and once their upper neighbours', and the same with the lower ones'.

    ``above`` and ``below`` are the eight neighbours that are not among the samples. ``odd`` is added to the lower sums.
    """

    @body
    def generate(b: Any, plane: Memory, first: Any, above: Any, below: Any, odd: Any, sums: Memory, place: Any) -> None:
        here = plane.load(first, 64)
        outside = word_lanes(b, above).then(word_lanes(b, below))
        padded = outside.picked(outside, [i % 16 for i in range(64)])
        upper = padded.picked(here, [*range(8), *range(64, 120)]).unsigned(16)
        lower = here.picked(padded, [*range(8, 64), *range(72, 80)]).unsigned(16)
        thrice = here.unsigned(16) * 3
        sums.store(place, thrice + upper)
        sums.store(after(b, place, 64), thrice + lower + same(b, odd, 64, 16))

    return types.void(plane, first, above, below, odd, sums, place), generate


@intrinsic
def _widen(typing: Any, plane: Any, first: Any, sums: Any, place: Any) -> Any:
    """Write 64 samples in 16 bits."""

    @body
    def generate(b: Any, plane: Memory, first: Any, sums: Memory, place: Any) -> None:
        sums.store(place, plane.load(first, 64).unsigned(16))

    return types.void(plane, first, sums, place), generate


@intrinsic
def _convert(
    typing: Any, luma: Any, light: Any, sums: Any, here: Any, near: Any, half: Any, shift: Any,
    out: Any, red: Any, green: Any, blue: Any,
) -> Any:  # fmt: skip
    """Write the RGB of some pixels, whose chroma is (3 here + near + half) >> shift, as ``_convert_column`` says."""

    @body
    def generate(
        b: Any, luma: Memory, light: Any, sums: Memory, here: Any, near: Any, half: Any, shift: Any,
        out: Memory, red: Any, green: Any, blue: Any,
    ) -> None:  # fmt: skip
        rounding, bits = same(b, half, _AT_ONCE, 16), same(b, shift, _AT_ONCE, 16)

        def difference(behind: int) -> Lanes:
            chroma = sums.load(after(b, here, behind), _AT_ONCE)
            weighted = chroma + chroma + chroma + sums.load(after(b, near, behind), _AT_ONCE)
            return (weighted + rounding >> bits) - 128

        def scaled(lanes: Lanes, factor: int) -> Lanes:
            """Return the product over 2^16, rounded: the upper half of twice it is one instruction."""
            return (((lanes + lanes).signed(32) * factor >> 16).narrow(16) + 1) >> 1

        y, cb, cr = luma.load(light, _AT_ONCE).unsigned(16), difference(0), difference(_RED_SUMS)
        both = cr.signed(32) * _GREEN_CR - cb.signed(32) * _GREEN_CB + (1 << 15)
        out.store(red, (y + cr + scaled(cr, _RED)).clipped(0, 255).narrow(8))
        out.store(green, (y - cr + (both >> 16).narrow(16)).clipped(0, 255).narrow(8))
        out.store(blue, (y + cb + cb + scaled(cb, -_BLUE)).clipped(0, 255).narrow(8))

    return types.void(luma, light, sums, here, near, half, shift, out, red, green, blue), generate


@compiled
def _sum_rows(plane, column, group, groups, last_lane, side, down, wide, sums, place):
    """Write the sums of one chroma column and its vertical neighbours for a group of MCU rows to ``sums``, int16.

    ``column`` is where the column begins in ``plane``, ``last_lane`` the lane of the last MCU row of the group,
    ``side`` the rows of a block. If ``down`` is 2, 16 * side sums, 3 + 1 times a sample (and 1 more in odd rows if
    ``wide`` is 1, for rounding); else 8 * side samples, and others behind them.
    """
    first = column + group * 8 * side
    if down == 1:
        _widen(plane, first, sums, place)
        return
    if side < 8:
        _sum_few_rows(plane, first, group, groups, last_lane, side, sums, place)
        return
    top, bottom = load_word(plane, first), load_word(plane, first + 56)  # a byte for each MCU row
    before = U(plane[first - 1]) if group > 0 else top & _255
    behind = U(plane[first + 64]) if group + 1 < groups else bottom >> _56
    above, below = bottom << _8 | before, top >> _8 | behind << _56
    if last_lane < LANES:
        own = _255 << U(8 * last_lane)
        below = below & ~own | bottom & own
    _add_neighbours(plane, first, above, below, 1 if wide == 1 else 0, sums, place)


@compiled
def _sum_few_rows(plane, first, group, groups, last_lane, side, sums, place):
    """Do the same for blocks of 4, 2 or 1 rows of chroma with half of the rows of luma, which few images have.

    With one row libjpeg repeats the samples instead.
    """
    count, bottom = 8 * side, 8 * (side - 1)
    for i in range(count):
        lane, here = i & 7, np.int16(plane[first + i])
        above = below = here
        if i >= 8:
            above = np.int16(plane[first + i - 8])
        elif lane > 0:
            above = np.int16(plane[first + bottom + lane - 1])
        elif group > 0:
            above = np.int16(plane[first - 1])
        if i < bottom:
            below = np.int16(plane[first + i + 8])
        elif lane < 7 and lane != last_lane:
            below = np.int16(plane[first + lane + 1])
        elif lane != last_lane and group + 1 < groups:
            below = np.int16(plane[first + count])
        sums[place + i] = np.int16(4 * here if side == 1 else 3 * here + above)
        sums[place + count + i] = np.int16(4 * here if side == 1 else 3 * here + below + 1)


@compiled
def _convert_column(plane, luma, sums, here, near, half, shift, length, out, red, green, blue):
    """Write ``length`` RGB samples of a luma column, from the sums of its chroma column and the neighbour's.

    Blue-difference sums are at ``here`` and ``near``, red-difference sums _RED_SUMS behind them. Chroma is
    (3 here + near + half) >> shift.
    """
    for i in range(0, length, _AT_ONCE):
        _convert(plane, luma + i, sums, here + i, near + i, half, shift, out, red + i, green + i, blue + i)


@compiled
def convert_band(scratch: Scratch, group: int) -> None:
    """Write the columns of the region in a group of MCU rows to ``scratch.band`` in RGB, or in grey."""
    region, planes, band, sums = scratch.region, scratch.planes, scratch.band, scratch.sums
    across, down, groups, side = region[STEP_X], region[STEP_Y], region[GROUPS], region[CHROMA]
    left, right = region[X0] - region[TILES_X], region[X1] - region[TILES_X]
    length = region[BAND_ROWS]
    if scratch.head[COMPONENTS] == 1:
        for column in range(left, right):
            source, target = U((column * groups + group) * length), U((column - left) * length)
            for i in range(length):
                band[target + U(i)] = planes[0, source + U(i)]
        return
    last_lane = (region[LAST_ROW] - region[FIRST_ROW]) % LANES if group == groups - 1 else LANES
    last_chroma = (region[DECODED_WIDTH] + across - 1) // across - 1 - region[TILES_X] // across
    interpolated = across == 2 and region[LUMA] > 1
    shift = 4 if down == 2 else 2  # a column that is its own neighbour has four times its sum
    # ``sums`` holds four chroma columns, each in the place of its number modulo 4
    ready = max(left // across - 1, 0)
    for column in range(left, right):
        here = column // across
        near = here
        if interpolated:
            near = min(here + 1, last_chroma) if column & 1 else max(here - 1, 0)
        while ready <= max(here, near):
            for component in range(1, 3):
                _sum_rows(
                    planes[component], ready * 8 * side * groups, group, groups, last_lane, side, down, across,
                    sums, (component - 1) * _RED_SUMS + (ready & 3) * 128,
                )  # fmt: skip
            ready += 1
        half = 0
        if interpolated and down == 2:
            half = 7 if column & 1 else 8
        elif interpolated:
            half = 2 if column & 1 else 1
        elif down == 2:
            half = 4
        place = (column - left) * length
        _convert_column(
            planes[0], (column * groups + group) * length, sums, (here & 3) * 128, (near & 3) * 128,
            half, shift, length, band, place, BAND + place, 2 * BAND + place,
        )  # fmt: skip
