"""The header of a JPEG, read in compiled code: what decoding its tiles needs, or a refusal.

It takes what ``restart`` makes tiles of, in the colours that libjpeg-turbo takes for YCbCr, or grey. It reads nothing
outside the header, whatever the header says. A refused image is decoded by libjpeg-turbo or Pillow.
"""

import numpy as np
import numpy.typing as npt

from .plan import HEIGHT, INTERVAL, MCU_HEIGHT, MCU_WIDTH, SCAN, WIDTH
from .vectors.compiling import compiled, inlined, whole

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U16 = npt.NDArray[np.uint16]

# Where each thing stands in ``head``, int64 (HEAD,).
COMPONENTS, ACROSS, DOWN = 0, 1, 2
"""Number of components, 1 or 3; luma blocks of an MCU across and down. Chroma has one block."""
QUANTISATION, DC_CODES, AC_CODES = 3, 6, 9
"""Offset in the file of each component's quantisation table (of its type byte), and of its Huffman tables (of BITS)."""
HEAD = 12

# fmt: off
ZIGZAG = np.array(
    [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
     28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
     47, 55, 62, 63],
    np.int64,
)
# fmt: on
"""Row by row place of each coefficient in a block (T.81 figure A.6)."""


@inlined
def _byte(data: U8, position: int) -> int:
    return whole(data[position])


@inlined
def _word(data: U8, position: int) -> int:
    return (whole(data[position]) << 8) | whole(data[position + 1])


@inlined
def _is_named(data: U8, start: int, four: int, fifth: int) -> bool:
    return (_word(data, start) << 16) | _word(data, start + 2) == four and _byte(data, start + 4) == fifth


@compiled
def read_header(data: U8, scan: int, width: int, height: int, interval: int, head: I64, tables: I64) -> bool:
    """Fill ``head``; return False for a header that is not taken, or is not of this size and restart interval.

    ``scan`` is where the header ends. ``tables`` is int64 (12,), for this function's own use.
    """
    tables[:] = 0
    if scan > len(data) or scan < 4 or data[0] != 0xFF or data[1] != 0xD8:
        return False
    position, frame, found_interval = 2, 0, 0
    jfif, adobe = False, -1
    while position + 4 <= scan:
        marker, end = _byte(data, position + 1), position + 2 + _word(data, position + 2)
        start = position + 4
        if data[position] != 0xFF or end < start or end > scan:
            return False
        if marker == 0xDB:
            if not _read_quantisation(data, start, end, tables):
                return False
        elif marker == 0xC4:
            if not _read_codes(data, start, end, tables):
                return False
        elif marker == 0xC0 or marker == 0xC1:
            if frame or not _is_frame(data, start, end, width, height):
                return False
            frame = start
        elif marker == 0xDD:
            if end != start + 2:
                return False
            found_interval = _word(data, start)
        elif marker == 0xE0:
            jfif = jfif or (end >= start + 14 and _is_named(data, start, 0x4A464946, 0))
        elif marker == 0xEE:
            if end >= start + 12 and _is_named(data, start, 0x41646F62, 0x65):
                adobe = _byte(data, start + 11)
        elif marker == 0xDA:
            if end != scan or not frame or found_interval != interval:
                return False
            return _read_components(data, frame, start, end, tables, head) and _is_ycc(data, frame, jfif, adobe)
        elif (marker < 0xE1 or marker > 0xEF) and marker != 0xFE:
            return False
        position = end
    return False


@compiled
def find_scan(data: U8, plan: I64) -> bool:
    """Note the size, the MCUs and the scan of a JPEG without tiles in its plan; return False if there is no such scan.

    ``read_header`` checks the rest.
    """
    if len(data) < 4 or data[0] != 0xFF or data[1] != 0xD8:
        return False
    position, columns = 2, 0
    while position + 4 <= len(data):
        marker, end = _byte(data, position + 1), position + 2 + _word(data, position + 2)
        start = position + 4
        if data[position] != 0xFF or end < start or end > len(data):
            return False
        if marker == 0xC0 or marker == 0xC1:
            if end < start + 9:
                return False
            grey, sampling = data[start + 5] == 1, _byte(data, start + 7)
            plan[HEIGHT], plan[WIDTH] = _word(data, start + 1), _word(data, start + 3)
            plan[MCU_WIDTH] = 8 if grey else 8 * (sampling >> 4)
            plan[MCU_HEIGHT] = 8 if grey else 8 * (sampling & 15)
            if min(plan[MCU_WIDTH], plan[MCU_HEIGHT], plan[WIDTH], plan[HEIGHT]) < 1:
                return False
            columns = (plan[WIDTH] + plan[MCU_WIDTH] - 1) // plan[MCU_WIDTH]
        elif marker == 0xDA:
            plan[SCAN], plan[INTERVAL] = end, columns
            return columns > 0
        elif (marker < 0xE1 or marker > 0xEF) and marker not in (0xDB, 0xC4, 0xDD, 0xE0, 0xFE):
            return False
        position = end
    return False


@compiled
def _is_frame(data: U8, start: int, end: int, width: int, height: int) -> bool:
    if end < start + 6 or data[start] != 8 or _word(data, start + 1) != height or _word(data, start + 3) != width:
        return False
    count = _byte(data, start + 5)
    return (count == 1 or count == 3) and end == start + 6 + 3 * count


@compiled
def _read_quantisation(data: U8, start: int, end: int, tables: I64) -> bool:
    """Note where each table of a DQT segment begins (T.81 B.2.4.1)."""
    while start < end:
        kind = _byte(data, start)
        if kind & 0xEC or start + 65 + 64 * (kind >> 4) > end:
            return False
        tables[kind & 3] = start
        start += 65 + 64 * (kind >> 4)
    return True


@compiled
def _read_codes(data: U8, start: int, end: int, tables: I64) -> bool:
    """Note where each table of a DHT segment begins (B.2.4.2), if libjpeg would accept it.

    The code of all ones belongs to no symbol (annex C), and a DC table has categories up to 15.
    """
    while start < end:
        kind = _byte(data, start)
        if kind & 0xEC or start + 17 > end:
            return False
        count, code = 0, 0
        for length in range(1, 17):
            count += _byte(data, start + length)
            code += _byte(data, start + length)
            if data[start + length] > 0 and code >= 1 << length:
                return False
            code <<= 1
        if count > 256 or start + 17 + count > end:
            return False
        if kind < 16:
            for i in range(count):
                if data[start + 17 + i] > 15:
                    return False
        tables[4 + 4 * (kind >> 4) + (kind & 3)] = start + 1
        start += 17 + count
    return True


@compiled
def _read_components(data: U8, frame: int, scan: int, end: int, tables: I64, head: I64) -> bool:
    """Fill ``head`` from the frame header (B.2.2) and the scan header (B.2.3)."""
    count = _byte(data, frame + 5)
    if end != scan + 4 + 2 * count or data[scan] != count:
        return False
    after = scan + 1 + 2 * count
    if data[after] != 0 or data[after + 1] != 63 or data[after + 2] != 0:
        return False
    head[COMPONENTS] = count
    for i in range(count):
        sampling, which = _byte(data, frame + 7 + 3 * i), _byte(data, frame + 8 + 3 * i)
        codes = _byte(data, scan + 2 + 2 * i)
        if data[scan + 1 + 2 * i] != data[frame + 6 + 3 * i] or which > 3 or codes & 0xCC:
            return False
        if sampling & 15 < 1 or sampling & 15 > 4 or sampling >> 4 < 1 or sampling >> 4 > 4:
            return False
        if i == 0:
            head[ACROSS] = 1 if count == 1 else sampling >> 4
            head[DOWN] = 1 if count == 1 else sampling & 15
        elif sampling != 0x11:
            return False
        head[QUANTISATION + i] = tables[which]
        head[DC_CODES + i] = tables[4 + (codes >> 4)]
        head[AC_CODES + i] = tables[8 + (codes & 15)]
        if head[QUANTISATION + i] == 0 or head[DC_CODES + i] == 0 or head[AC_CODES + i] == 0:
            return False
    across, down = head[ACROSS], head[DOWN]
    return ((across == 1 or across == 2) and (down == 1 or down == 2)) or (across == 4 and down == 1)


@compiled
def _is_ycc(data: U8, frame: int, jfif: bool, adobe: int) -> bool:
    """Return whether libjpeg-turbo takes the components for grey or YCbCr (its default_decompress_parms)."""
    if data[frame + 5] == 1:
        return True
    if jfif or adobe >= 0:
        return adobe < 0 or adobe == 1
    return not (data[frame + 6] == 0x52 and data[frame + 9] == 0x47 and data[frame + 12] == 0x42)


@compiled
def read_divisors(data: U8, table: int, divisors: U16, place: int) -> None:
    """Write a quantisation table to ``divisors``, uint16, from ``place`` on, row by row, each eight times."""
    wide = data[table] >= 16
    for i in range(64):
        step = _word(data, table + 1 + 2 * i) if wide else _byte(data, table + 1 + i)
        for lane in range(8):
            divisors[place + 8 * ZIGZAG[i] + lane] = step
