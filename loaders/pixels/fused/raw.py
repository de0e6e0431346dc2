"""Pixels that lie in memory as they are: crop, resize and flip into the rows of the batch, without decoding.

Pixels are read where they are mapped, and only the rows and columns that the sample is made of. The header in front of
them must be the one that ``prep.archives.npy`` writes, byte for byte, and the file must have the size that its header
says; another image is not taken.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from .fit import fit_pixels
from .plan import ADDRESS, HEIGHT, INTERVAL, RAW, SCAN, SIZE, WIDTH
from .scratch import Scratch
from .vectors.compiling import compiled, counted
from .words import memory_at

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

carray: Any = getattr(numba, "carray")  # noqa: B009 - not among the names that numba exports

HEADER = 128
MOST_SIDE = 65535
START = np.frombuffer(b"\x93NUMPY\1\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (", np.uint8)
END = np.frombuffer(b", 3), }", np.uint8)
_ZERO, _NINE, _COMMA, _SPACE, _NEWLINE = 48, 57, 44, 32, 10


@counted
def fit_many(plans: I64, scratch: Scratch, out: U8, taken: U8) -> None:
    """Write samples of raw images to the rows of a batch.

    ``plans`` is int64 (n, FIELDS), with an interval of RAW for those that ``find_pixels`` found, ``out`` uint8
    (n * size * size * 3,) with the size that ``scratch`` was made for, ``taken`` uint8 (n,): 1 for images that were
    taken. The rows of others stay as they are, and so does their ``taken``: raw images may stand among encoded ones.
    """
    sample = 3 * scratch.axes.shape[1] ** 2
    for i in range(len(plans)):
        plan = plans[i]
        if plan[INTERVAL] != RAW:
            continue
        data = carray(memory_at(plan[ADDRESS]), (plan[SIZE],), np.uint8)
        row = out[i * sample : (i + 1) * sample]
        if fit_pixels(data[HEADER:], plan[WIDTH], plan[HEIGHT], plan, scratch, row):
            taken[i] = 1


@compiled
def find_pixels(data: U8, plan: I64) -> bool:
    """Note the size of a raw image in its plan; return False for another file, and for one of another length."""
    if len(data) <= HEADER:
        return False
    for i in range(len(START)):
        if data[i] != START[i]:
            return False
    height, place = _number(data, len(START))
    if data[place] != _COMMA or data[place + 1] != _SPACE:
        return False
    width, place = _number(data, place + 2)
    for i in range(len(END)):
        if data[place + i] != END[i]:
            return False
    for i in range(place + len(END), HEADER - 1):
        if data[i] != _SPACE:
            return False
    if data[HEADER - 1] != _NEWLINE or min(width, height) < 1 or max(width, height) > MOST_SIDE:
        return False
    plan[WIDTH], plan[HEIGHT], plan[SCAN] = width, height, HEADER
    return len(data) == HEADER + 3 * width * height


@compiled
def _number(data: U8, place: int) -> tuple[int, int]:
    """Return the number of at most five digits at ``place``, 0 if it begins with 0, and the place after it."""
    number, first = 0, place
    while place < first + 5 and _ZERO <= data[place] <= _NINE:
        number, place = 10 * number + data[place] - _ZERO, place + 1
    return (0, place) if data[first] == _ZERO else (number, place)
