"""Pixels as they are: uint8 (height, width, 3) in the .npy format of numpy (NEP 1), read without numpy's own parser.

numpy reads a header as Python source. The one reader here takes the single form that an image has, by a pattern of
bounded length, and nothing is unpickled. ``header`` writes the same 128 bytes as numpy has written since 1.14 (2018). A
tar begins the data of a member at a multiple of 512 bytes, so the pixels begin at a multiple of 64.
"""

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]

MAGIC = b"\x93NUMPY"
HEADER = 128
"""Bytes before the first pixel, as ``header`` writes them."""
MOST_SIDE = 65535
"""Pixels of a side: five digits."""
CHANNELS = 3

_MOST_HEADER = 10_000  # bytes, as numpy's own max_header_size
_IMAGE = re.compile(
    rb"\{'descr': '[|<>=]?u1', 'fortran_order': False, 'shape': \(([0-9]{1,5})L?, ([0-9]{1,5})L?, 3L?,?\),? ?\}\s*"
)
_KIND = re.compile(rb"'descr': '([ -&(-~]{1,20})'")
_SHAPE = re.compile(rb"'shape': (\([0-9, ]{0,60}\))")


class PixelSize(NamedTuple):
    """What the header of an image says."""

    width: int
    height: int
    start: int
    """Bytes before the first pixel."""

    @property
    def end(self) -> int:
        """The size of the file in bytes."""
        return self.start + self.width * self.height * CHANNELS


def header(width: int, height: int) -> bytes:
    """Return the header of an image, ``HEADER`` bytes."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({height}, {width}, {CHANNELS}), }}"
    length = HEADER - len(MAGIC) - 4
    return MAGIC + b"\1\0" + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"


def to_npy(pixels: U8) -> bytes:
    """Return the file of an image, uint8 (height, width, 3)."""
    height, width, _ = pixels.shape
    return header(width, height) + pixels.tobytes()


def read_header(data: bytes) -> PixelSize | None:
    """Return what the header of a file says; None if it is not that of an image, whatever else it is."""
    text = _text(data)
    found = None if text is None else _IMAGE.fullmatch(text[0])
    if text is None or found is None:
        return None
    height, width = int(found[1]), int(found[2])
    return PixelSize(width, height, text[1]) if min(width, height) > 0 and max(width, height) <= MOST_SIDE else None


def first_pixel(data: bytes) -> int:
    """Return where the pixels begin in a whole image with the header that ``header`` writes; 0 in any other file."""
    size = read_header(data[:HEADER])
    whole = size is not None and data.startswith(header(size.width, size.height)) and len(data) == size.end
    return HEADER if whole else 0


def pixels_of(data: U8 | bytes) -> U8 | None:
    """Return the pixels of an image without a copy, uint8 (height, width, 3), or None for another file.

    Raises ValueError if the file is shorter or longer than its header says.
    """
    size = read_header(bytes(data[: _MOST_HEADER + 12]))
    if size is None:
        return None
    if len(data) != size.end:
        raise ValueError(f"it has {len(data)} bytes, and {size.end} are needed for {size.width} x {size.height} pixels")
    flat = np.frombuffer(data, np.uint8, offset=size.start) if isinstance(data, bytes) else data[size.start :]
    return flat.reshape(size.height, size.width, CHANNELS)


def description(data: bytes) -> str:
    """Return what a file that begins with ``MAGIC`` holds, as the end of a sentence: its type and its shape."""
    text = _text(data)
    kind, shape = (pattern.search(text[0]) if text else None for pattern in (_KIND, _SHAPE))
    if not kind or not shape:
        return "a NumPy file whose header cannot be read"
    return f"a NumPy file of '{kind[1].decode()}' and shape {shape[1].decode()}"


def _text(data: bytes) -> tuple[bytes, int] | None:
    """Return the text of a header, at most 10,000 bytes, and where it ends; None if there is none."""
    wide = 2 if data[6:7] == b"\1" else 4
    start = 8 + wide
    if not data.startswith(MAGIC) or data[6:8] not in (b"\1\0", b"\2\0", b"\3\0") or len(data) < start:
        return None
    end = start + int.from_bytes(data[8:start], "little")
    return (data[start:end], end) if end - start <= _MOST_HEADER and end <= len(data) else None
