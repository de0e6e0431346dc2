"""Chroma at luma's size ("fancy upsampling") and RGB, bit for bit those of libjpeg-turbo (jdsample, jdcolor).

A column is processed at once: the samples of eight MCU rows, of which sample i of MCU row l is at place 8 i + l. If
chroma has half the rows, luma's even rows come first, then the odd ones, as ``idct`` writes them: both halves then lie
as chroma does. libjpeg interpolates between a chroma sample and the nearest neighbour in each halved direction,
weighted 3 to 1, and rounds up and down in turn.
"""

# pyright: basic
import numpy as np
import numpy.typing as npt

from .compiling import compiled, inlined
from .header import ACROSS, COMPONENTS, DOWN
from .idct import LANES
from .plan import FIRST_ROW, GROUPS, LAST_ROW, TILES_X, WIDTH, X0, X1
from .scratch import BAND, Scratch

U8 = npt.NDArray[np.uint8]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
U = np.uint64
I = np.int32  # noqa: E741

# Multiples of 2^16. 1.402 is 1 + _RED, 1.772 is 2 - _BLUE, and -0.71414 is _GREEN_CR - 1, so that each has 16 bits.
_RED, _BLUE, _GREEN_CR, _GREEN_CB = I(26345), I(14942), I(18734), I(22554)
_16, _HALF, _128, _BLACK, _WHITE = I(16), I(1 << 15), I(128), I(0), I(255)
_1, _3 = I(1), I(3)


@compiled
def _sum_rows(plane, column, group, groups, last_lane, down, wide, sums, place):
    """Write the sums of one chroma column and its vertical neighbours for a group of MCU rows to ``sums``, int16.

    ``column`` is where the column begins in ``plane``, ``last_lane`` the lane of the last MCU row of the group.
    If ``down`` is 2, 128 sums, 3 + 1 times a sample (and 1 more in odd rows if ``wide`` is 1, for rounding); else 64
    samples.
    """
    first, p = U(column + group * 64), U(place)
    if down == 1:
        for x in range(64):
            sums[p + U(x)] = np.int16(plane[first + U(x)])
        return
    round_odd = I(1 if wide == 1 else 0)
    for x in range(56):
        i = U(x)
        here = I(I(plane[first + i]) * _3)
        below = I(I(plane[first + i + U(8)]) * _3)
        sums[p + i + U(8)] = np.int16(below + I(plane[first + i]))
        sums[p + i + U(64)] = np.int16(I(here + I(plane[first + i + U(8)])) + round_odd)
    for lane in range(8):
        top, bottom = first + U(lane), first + U(56 + lane)
        above, below = top, bottom
        if lane > 0:
            above = bottom - U(1)
        elif group > 0:
            above = top - U(1)
        if lane < 7 and lane != last_lane:
            below = top + U(1)
        elif lane == 7 and group + 1 < groups:
            below = first + U(64)
        sums[p + U(lane)] = np.int16(I(I(plane[top]) * _3) + I(plane[above]))
        sums[p + U(120 + lane)] = np.int16(I(I(I(plane[bottom]) * _3) + I(plane[below])) + round_odd)


@inlined
def _high(value, factor):
    """Return the upper half of twice a product, which is one instruction for 16-bit numbers."""
    return np.int16(I(I(np.int16(value + value)) * factor) >> _16)


@compiled
def _convert_column(plane, luma, sums, here, near, weight, rounding, shift, length, out, red, green, blue):
    """Write ``length`` RGB samples of a luma column, from the sums of its chroma column and the neighbour's.

    Blue-difference sums are at ``here`` and ``near``, red-difference sums 1024 behind them. Chroma is
    (3 here + near + rounding) >> shift if ``weight`` is 3, (here + rounding) >> shift if it is 1.
    """
    y, h, n = U(luma), U(here), U(near)
    r, g, b = U(red), U(green), U(blue)
    h2, n2 = h + U(1024), n + U(1024)
    w, v, half, s = I(weight), I(weight >> 1), I(rounding), I(shift)
    for x in range(length):
        i = U(x)
        blueness = I(I(I(I(I(sums[h + i]) * w) + I(I(sums[n + i]) * v)) + half) >> s)
        redness = I(I(I(I(I(sums[h2 + i]) * w) + I(I(sums[n2 + i]) * v)) + half) >> s)
        b16, r16 = np.int16(blueness - _128), np.int16(redness - _128)
        light = I(plane[y + i])
        red_more = I(I(r16) + I(I(I(_high(r16, _RED)) + _1) >> _1))
        green_more = I(I(I(I(I(r16) * _GREEN_CR) - I(I(b16) * _GREEN_CB)) + _HALF) >> _16) - I(r16)
        blue_more = I(I(I(b16) + I(b16)) + I(I(I(_high(b16, -_BLUE)) + _1) >> _1))
        out[r + i] = np.uint8(min(max(I(light + red_more), _BLACK), _WHITE))
        out[g + i] = np.uint8(min(max(I(light + green_more), _BLACK), _WHITE))
        out[b + i] = np.uint8(min(max(I(light + blue_more), _BLACK), _WHITE))


@compiled
def convert_band(plan: I64, scratch: Scratch, group: int) -> None:
    """Write the columns of the region in a group of MCU rows to ``scratch.band`` in RGB, or in grey."""
    region, planes, band, sums = scratch.region, scratch.planes, scratch.band, scratch.sums
    across, down, groups = scratch.head[ACROSS], scratch.head[DOWN], region[GROUPS]
    left, right = region[X0] - region[TILES_X], region[X1] - region[TILES_X]
    length = 64 * down
    if scratch.head[COMPONENTS] == 1:
        for column in range(left, right):
            source, target = U((column * groups + group) * 64), U((column - left) * 64)
            for i in range(64):
                band[target + U(i)] = planes[0, source + U(i)]
        return
    last_lane = (region[LAST_ROW] - region[FIRST_ROW]) % LANES if group == groups - 1 else LANES
    last_chroma = (plan[WIDTH] + across - 1) // across - 1 - region[TILES_X] // across
    interpolated = across == 2
    weight = 3 if interpolated else 1
    shift = 2 * np.int64(interpolated) + 2 * np.int64(down == 2)
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
                    planes[component], ready * 64 * groups, group, groups, last_lane, down, across,
                    sums, (component - 1) * 1024 + (ready & 3) * 128,
                )  # fmt: skip
            ready += 1
        rounding = 0
        if interpolated and down == 2:
            rounding = 7 if column & 1 else 8
        elif interpolated:
            rounding = 2 if column & 1 else 1
        elif down == 2:
            rounding = 1
        place = (column - left) * length
        _convert_column(
            planes[0], (column * groups + group) * length, sums, (here & 3) * 128, (near & 3) * 128,
            weight, rounding, shift, length, band, place, BAND + place, 2 * BAND + place,
        )  # fmt: skip
