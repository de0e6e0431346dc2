"""Pixels that lie in memory as they are: crop, resize and flip into the rows of the batch, without decoding.

Pixels are read where they are mapped, and only the rows and columns that the sample is made of. The header in front of
them must be the one that ``prep.archives.npy`` writes for the size in the index, byte for byte; an image with another
one is not taken, and neither is one whose file has another size than its pixels.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from .compiling import compiled, counted
from .fit import fit_pixels
from .plan import ADDRESS, HEIGHT, INTERVAL, RAW, SCAN, SIZE, WIDTH
from .scratch import Scratch
from .words import memory_at

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

carray: Any = getattr(numba, "carray")  # noqa: B009 - not among the names that numba exports

HEADER = 128
START = np.frombuffer(b"\x93NUMPY\1\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (", np.uint8)
END = np.frombuffer(b", 3), }", np.uint8)
_ZERO, _COMMA, _SPACE, _NEWLINE = 48, 44, 32, 10


@counted
def fit_many(plans: I64, scratch: Scratch, out: U8, taken: U8) -> None:
    """Write samples of raw images to the rows of a batch.

    ``plans`` is int64 (n, FIELDS), ``out`` uint8 (n * size * size * 3,) with the size that ``scratch`` was made for,
    ``taken`` uint8 (n,): 1 for images that were taken. The rows of others stay as they are, and so does their
    ``taken``, so that raw images can stand among encoded ones.
    """
    sample = 3 * scratch.axes.shape[1] ** 2
    for i in range(len(plans)):
        plan = plans[i]
        width, height = plan[WIDTH], plan[HEIGHT]
        if plan[INTERVAL] != RAW or plan[SCAN] != HEADER or not (0 < width < 65536 and 0 < height < 65536):
            continue
        if plan[SIZE] != HEADER + 3 * width * height:
            continue
        data = carray(memory_at(plan[ADDRESS]), (plan[SIZE],), np.uint8)
        if _has_header(data, width, height) and fit_pixels(
            data[HEADER:], width, height, plan, scratch, out[i * sample : (i + 1) * sample]
        ):
            taken[i] = 1


@compiled
def _has_header(data: U8, width: int, height: int) -> bool:
    """Return whether the first 128 bytes of ``data`` are the header of an image of this size."""
    for i in range(len(START)):
        if data[i] != START[i]:
            return False
    place = _after_number(data, len(START), height)
    if place == 0 or data[place] != _COMMA or data[place + 1] != _SPACE:
        return False
    place = _after_number(data, place + 2, width)
    if place == 0:
        return False
    for i in range(len(END)):
        if data[place + i] != END[i]:
            return False
    for i in range(place + len(END), HEADER - 1):
        if data[i] != _SPACE:
            return False
    return data[HEADER - 1] == _NEWLINE


@compiled
def _after_number(data: U8, place: int, number: int) -> int:
    """Return the place after the digits of a number of at most five digits, or 0 if something else stands there."""
    unit = 1
    while unit * 10 <= number:
        unit *= 10
    while unit > 0:
        if data[place] != _ZERO + (number // unit) % 10:
            return 0
        place, unit = place + 1, unit // 10
    return place
