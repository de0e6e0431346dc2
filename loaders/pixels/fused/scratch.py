"""The memory that one thread needs to decode, made once and used for every image.

Memory that is never touched costs nothing, so the limits are far above what photographs need. An image that needs
more is not taken.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .codes import BLOCK, KEPT, TABLES, empty_codes
from .entropy import MOST_BLOCKS, SLACK
from .plan import REGION
from .weights import MOST_TAPS, ROOM

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

PLANE = 1 << 23
"""Pixels of the tiles that one image may need."""
LINES = 1 << 14
"""Rows and columns of them."""
BEYOND = 64
"""Pixels behind a column, or lines behind the last, that a vector may read, or write before the next is written."""
TILES = 1 << 13
"""Tiles in eight MCU rows."""
BAND = 1 << 21
"""Pixels of the columns of eight MCU rows."""
PLACES = (MOST_BLOCKS + 1) * BLOCK
COEFFICIENTS = (MOST_BLOCKS + 4) * 512
ENTROPY = (1 << 22) + SLACK
"""Of each of two images that are decoded at the same time: places, coefficients, and bytes without stuffed zeros."""


class Scratch(NamedTuple):
    """Arrays for ``decode_many``, by what they hold while an image is decoded.

    Of ``codes``, ``places``, ``entropy`` and ``coefficients``, the second half is for a second image: see ``scans``.
    """

    head: I64
    tables: I64
    region: I64
    layout: I64
    """(1,): which layout ``places`` is of."""
    codes: U32
    kept: U8
    """The bytes that each of them was made of."""
    places: U32
    divisors: U16
    """(3 * 512,): each eight times."""
    entropy: U8
    """Tiles without stuffed zeros."""
    starts: U64
    stops: U64
    bases: U64
    coefficients: I16
    work: I16
    extreme: I32
    """(16,): negative once a block of the lane had extreme values, in its even columns and in its odd ones."""
    stream: U64
    """(8,): where decoding stands: see ``scans``."""
    reach: I64
    """(8,): what is left to decode, and the last DC coefficients."""
    planes: U8
    """(3, PLANE): luma and chroma, by columns."""
    planes64: U64
    """The same memory."""
    sums: I16
    band: U8
    """(3 * BAND,): the columns of eight MCU rows, in red, green and blue."""
    band64: U64
    """The same memory."""
    narrow: U8
    """The columns of the sample for eight MCU rows."""
    narrow64: U64
    """The same memory."""
    turned: U64
    rows: U8
    """(3, ...): the narrow image, by rows."""
    rows64: U64
    """The same memory."""
    line: U8
    wide_line: I16
    axes: I64
    """(4, size)."""
    weights: I32
    """(2, ...)."""
    chroma_axes: I64
    chroma_weights: I32
    short_weights: U16
    """(4, ...): those of luma and of chroma in 16 bits."""
    chroma_lines: I64
    """The same for chroma that is resized as it is."""
    taps: F64
    columns: I64
    """Where each column of the band begins."""
    lines: I64
    """Where each row of ``rows`` begins."""


OWN = (
    "head",
    "tables",
    "region",
    "layout",
    "divisors",
    "extreme",
    "stream",
    "reach",
    "planes",
    "axes",
    "weights",
    "lines",
)
"""What a second image that is decoded at the same time needs for itself."""


def second_scratch(first: Scratch) -> Scratch:
    """Return the memory for a second image, which shares all but ``OWN`` with the first."""
    own = {name: np.zeros_like(array) for name, array in first._asdict().items() if name in OWN}
    return first._replace(**own, planes64=own["planes"].view(np.uint64))


def make_scratch(size: int) -> Scratch:
    """Return the memory for samples of ``size`` x ``size`` pixels."""
    padded = -(-size // 32) * 32
    narrow, rows = np.zeros(padded * 128, np.uint8), np.zeros((3, (LINES + BEYOND) * padded), np.uint8)
    planes, band = np.zeros((3, PLANE), np.uint8), np.zeros(3 * BAND, np.uint8)
    return Scratch(
        head=np.zeros(12, np.int64),
        tables=np.zeros(12, np.int64),
        region=np.zeros(REGION, np.int64),
        layout=np.zeros(1, np.int64),
        codes=empty_codes(),
        kept=np.zeros(2 * TABLES * KEPT, np.uint8),
        places=np.zeros(2 * PLACES, np.uint32),
        divisors=np.zeros(3 * 512, np.uint16),
        entropy=np.zeros(2 * ENTROPY, np.uint8),
        starts=np.zeros(TILES, np.uint64),
        stops=np.zeros(TILES, np.uint64),
        bases=np.zeros(TILES, np.uint64),
        coefficients=np.zeros(2 * COEFFICIENTS, np.int16),
        work=np.zeros(512, np.int16),
        extreme=np.zeros(16, np.int32),
        stream=np.zeros(8, np.uint64),
        reach=np.zeros(8, np.int64),
        planes=planes,
        planes64=planes.view(np.uint64),
        sums=np.zeros(2048, np.int16),
        band=band,
        band64=band.view(np.uint64),
        narrow=narrow,
        narrow64=narrow.view(np.uint64),
        turned=np.zeros(64, np.uint64),
        rows=rows,
        rows64=rows.view(np.uint64),
        line=np.zeros(3 * padded, np.uint8),
        wide_line=np.zeros(3 * padded, np.int16),
        axes=np.zeros((4, size), np.int64),
        weights=np.zeros((2, ROOM * size + MOST_TAPS), np.int32),
        chroma_axes=np.zeros((4, size), np.int64),
        chroma_weights=np.zeros((2, ROOM * size + MOST_TAPS), np.int32),
        short_weights=np.zeros((4, ROOM * size + MOST_TAPS), np.uint16),
        chroma_lines=np.zeros(LINES + 8, np.int64),
        taps=np.zeros(MOST_TAPS, np.float64),
        columns=np.zeros(LINES + 8, np.int64),
        lines=np.zeros(LINES + 8, np.int64),
    )
