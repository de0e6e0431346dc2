"""The headers of image files: the one walk over a JPEG's segments, and what the first bytes of a JPEG or PNG say.

The walk is as lenient as T.81 annex B allows a reader to be. A caller that has to be strict, because it rewrites the
file, compares the places that it returns. ``splice`` compiles the same function.
"""

from typing import Any

PNG_START, SOI, EOI = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd9"
SOS = 0xDA
# T.81 table B.1: all SOFn, without DHT, JPG and DAC, which stand between them.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
MOST_SEGMENTS = 10_000  # a photograph has some 20; bounds the memory that a hostile file of 2-byte markers takes
WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA)) | {0x01}  # RSTn, SOI, EOI and TEM


def segments(data: Any, stop: int) -> list[tuple[int, int, int]]:
    """Return (marker, start, end) of each segment of a JPEG up to SOS or ``stop``, which is within ``data``.

    ``data`` is bytes, or a uint8 array in compiled code. ``marker`` is the second byte, ``start`` the offset of the
    0xFF before it, and ``end`` follows the segment; it may lie beyond ``stop``. A segment of fewer than 4 bytes has a
    damaged length, or is a marker without one. The walk ends early at bytes that are no marker, and after
    ``MOST_SEGMENTS``. It returns a list because numba never frees what a generator holds, here the mapped shard.
    """
    found: list[tuple[int, int, int]] = []
    position, last = 2, stop - 4
    while position <= last and data[position] == 0xFF and len(found) < MOST_SEGMENTS:
        marker = int(data[position + 1])
        if marker > 0xD9 or (marker < 0xD0 and marker != 0x01):
            if marker == 0xFF:  # fill bytes may precede a marker (T.81 B.1.1.2)
                position += 1
                continue
            end = position + 2 + (int(data[position + 2]) << 8 | int(data[position + 3]))
        else:  # WITHOUT_LENGTH; spelled out, because compiled code has no sets of constants
            end = position + 2
        found.append((marker, position, end))
        if marker == 0xDA:
            break
        position = end
    return found


def image_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of any JPEG or PNG by its header, (0, 0) for anything else."""
    if data.startswith(PNG_START) and len(data) >= 24:
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])  # IHDR is first (ISO/IEC 15948, 11.2.2)
    for marker, start, _ in segments(data, len(data)) if data.startswith(SOI) else ():
        if marker in FRAMES and start + 9 <= len(data):  # T.81 B.2.2: length, precision, lines, samples per line
            return int.from_bytes(data[start + 7 : start + 9]), int.from_bytes(data[start + 5 : start + 7])
    return 0, 0


def components_and_scan(data: bytes) -> tuple[int, int]:
    """Return (components of the frame, offset of the first scan) of a JPEG; 0 and -1 if they are not found."""
    components = 0
    for marker, start, _ in segments(data, len(data)):
        if marker in FRAMES:
            components = data[start + 9] if start + 9 < len(data) else components
        elif marker == SOS:
            return components, start
    return components, -1
