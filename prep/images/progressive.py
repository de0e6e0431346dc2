"""Progressive JPEGs: read scan by scan into coefficients, and written as sequential JPEGs with tiles, losslessly.

The reader is as strict as ``parse_jpeg``. Every bit of every coefficient must have been sent, in the order that T.81
annex G demands. libjpeg smooths the blocks of an image that lacks scans, and repairs others with a warning. Such a file
would get other pixels, so it is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .coefficients import Coefficients, Frame, empty_coefficients, write_sequential
from .geometry import Geometry
from .headers import EOI, SOI, SOS, WITHOUT_LENGTH, segments
from .huffman import U32, symbol_table
from .jpeg import DHT, DQT, DRI, HuffmanTable, Segment, UnsupportedJpeg
from .parse import MAX_BYTES, UNSUPPORTED, damaged, read_dht, read_dqt, read_frame
from .restart import words_of
from .scans import AC_BITS, I16, U16, decode_ac, decode_dc, refine_ac, refine_dc

SOF2 = 0xC2
MAX_SCANS = 100
"""Encoders write about ten. It bounds the time for a small file whose scans say nothing about a large image."""

_CODING = {SOF2, SOS, DHT, DQT, DRI}
_KEPT = _CODING | {0xFE, *range(0xE0, 0xF0)}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scan:
    """One scan: its header (B.2.3), and what was in force where it stands."""

    components: tuple[int, ...]
    dc_tables: tuple[HuffmanTable | None, ...]
    ac_table: HuffmanTable | None
    first: int
    last: int
    high: int
    low: int
    restart_interval: int
    start: int
    """Where the entropy-coded data starts."""
    stop: int
    """Where the marker after it stands."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _File:
    frame: Frame
    quantisation: dict[int, npt.NDArray[np.uint16]]
    segments: tuple[Segment, ...]
    scans: tuple[_Scan, ...]
    end: int
    """Where the EOI marker stands."""


def make_sequential(data: bytes | memoryview) -> tuple[bytes, Geometry]:
    """Return a progressive JPEG as a sequential one with tiles, coefficient for coefficient, and its geometry.

    Every segment that does not describe the coding is kept, in order, as are the bytes after the EOI marker. Raises
    UnsupportedJpeg for a file that is not a whole progressive Huffman-coded JPEG of 8 bits with one or three
    components; its kind is "incomplete" if scans are missing.
    """
    return write_sequential(read_progressive(data))


def read_progressive(data: bytes | memoryview) -> Coefficients:
    """Return the coefficients of a progressive JPEG. Raises what ``make_sequential`` raises."""
    data = bytes(data)
    found = _read_file(data)
    frame = found.frame
    _check_order(found.scans, len(frame.components))
    planes = frame.planes()
    room = sum(scan.stop - scan.start for scan in found.scans if scan.first == 0 and scan.high == 0)
    least = sum(plane.columns * plane.rows for plane in planes)
    if least > 8 * room:  # a DC code has a bit at least; checked before memory is allocated
        raise damaged(f"its scans are too short for {least} blocks")
    values = empty_coefficients(frame)
    for scan in found.scans:
        if not _decode(data, scan, frame, values):
            raise damaged(f"the scan at offset {scan.start} does not decode")
    return Coefficients(
        frame=frame,
        values=values,
        quantisation=found.quantisation,
        segments=found.segments,
        trailing=data[found.end + len(EOI) :],
    )


def _read_file(data: bytes) -> _File:
    if not data.startswith(SOI):
        raise UnsupportedJpeg("not-jpeg", f"it starts with {data[:4].hex() or 'nothing'}")
    if len(data) > MAX_BYTES:
        raise UnsupportedJpeg("too-large", f"it has {len(data)} bytes and the limit is {MAX_BYTES}")
    reader = _Reader(data)
    position = 2
    while data[position : position + 2] != EOI:
        position = reader.read_from(position)
    return reader.finish(position)


class _Reader:
    """Reads the segments of a file, those between its scans included."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        array = np.frombuffer(data, np.uint8)
        prefixes = np.flatnonzero(array[:-1] == 0xFF)
        codes = array[prefixes + 1]
        restarts = (codes & 0xF8) == 0xD0
        self._stops = prefixes[(codes != 0) & ~restarts]
        self._frame: Frame | None = None
        self._tables: dict[int, HuffmanTable] = {}
        self._quantisation: dict[int, npt.NDArray[np.uint16]] = {}
        self._segments: list[Segment] = []
        self._scans: list[_Scan] = []
        self._interval = 0

    def read_from(self, position: int) -> int:
        """Read segments up to the end of the next scan, or up to EOI; return where the marker stands that follows."""
        rest = memoryview(self._data)[position - 2 :]
        last = position
        for marker, start, end in segments(rest, len(rest)):
            start, end = start + position - 2, end + position - 2
            if marker == EOI[1]:
                return start
            if end > len(self._data) or (end < start + 4 and marker not in WITHOUT_LENGTH):
                raise damaged(f"the segment at offset {start} ends beyond the file")
            if marker not in _KEPT:
                if marker in UNSUPPORTED:
                    raise UnsupportedJpeg(UNSUPPORTED[marker], f"it holds marker 0xFF{marker:02X}")
                raise damaged(f"marker 0xFF{marker:02X} at offset {start} has no place there")
            self._take(marker, self._data[start + 4 : end], end)
            last = end
            if marker == SOS:
                return self._scans[-1].stop
        if self._data[last : last + 2] == EOI:  # which the walk misses as the last two bytes
            return last
        raise damaged(f"there is no marker at offset {last}, and no EOI marker")

    def _take(self, marker: int, payload: bytes, end: int) -> None:
        if marker == SOF2:
            if self._frame is not None:
                raise damaged("there are two frame headers")
            height, width, components = read_frame(payload)
            self._frame = Frame(width=width, height=height, components=components)
        elif marker == DHT:
            self._tables.update(read_dht(payload))
        elif marker == DRI:
            if len(payload) != 2:
                raise damaged("the DRI segment has a wrong length")
            self._interval = int.from_bytes(payload)
        elif marker == SOS:
            self._scans.append(self._scan(payload, end))
        else:
            if marker == DQT:
                self._take_quantisation(payload)
            self._segments.append(Segment(marker=marker, payload=payload))

    def _take_quantisation(self, payload: bytes) -> None:
        for key, table in read_dqt(payload):
            if self._scans and not np.array_equal(self._quantisation.get(key, ()), table):
                raise UnsupportedJpeg("progressive", "a quantisation table changes between its scans")
            self._quantisation[key] = table

    def _scan(self, payload: bytes, start: int) -> _Scan:
        if self._frame is None:
            raise damaged("a scan comes before the frame header")
        if len(self._scans) == MAX_SCANS:
            raise UnsupportedJpeg("progressive", f"it has more than {MAX_SCANS} scans")
        count = payload[0] if payload else 0
        identifiers = [component.identifier for component in self._frame.components]
        named = payload[1:-3:2]
        if len(payload) != 4 + 2 * count or not count or not set(named) <= set(identifiers):
            raise damaged("a scan header does not fit the frame")
        components = tuple(identifiers.index(identifier) for identifier in named)
        if any(b <= a for a, b in pairwise(components)):
            raise damaged("a scan names its components in another order than the frame")
        tables = payload[2:-3:2]
        stop = int(np.searchsorted(self._stops, start))
        if stop == len(self._stops):
            raise damaged("there is no EOI marker")
        return _Scan(
            components=components,
            dc_tables=tuple(self._tables.get(byte >> 4) for byte in tables),
            ac_table=self._tables.get(16 + (tables[0] & 15)),
            first=payload[-3],
            last=payload[-2],
            high=payload[-1] >> 4,
            low=payload[-1] & 15,
            restart_interval=self._interval,
            start=start,
            stop=int(self._stops[stop]),
        )

    def finish(self, end: int) -> _File:
        """Return what was read; ``end`` is where the EOI marker stands."""
        if self._frame is None or not self._scans:
            raise damaged("there is no frame header or no scan")
        for component in self._frame.components:
            if component.quantisation not in self._quantisation:
                raise damaged(f"component {component.identifier} uses a table that is not there")
        return _File(
            frame=self._frame,
            quantisation=self._quantisation,
            segments=tuple(self._segments),
            scans=tuple(self._scans),
            end=end,
        )


def _check_order(scans: Sequence[_Scan], components: int) -> None:
    """Raise UnsupportedJpeg unless the scans send every bit of every coefficient once, high bits first (G.1.1.1)."""
    lacking = np.full((components, 64), -1)  # the bits that are not sent yet; -1 where none was
    for scan in scans:
        if scan.first > scan.last or scan.last > 63 or (scan.first == 0) != (scan.last == 0):
            raise damaged(f"the scan at offset {scan.start} has a band of {scan.first} to {scan.last}")
        if scan.first and (len(scan.components) > 1 or scan.low >= AC_BITS):
            raise damaged(f"the scan at offset {scan.start} has AC coefficients in a way that T.81 does not allow")
        for component in scan.components:
            band = lacking[component, scan.first : scan.last + 1]
            first = bool((band == -1).all()) and scan.high == 0
            again = bool((band == scan.high).all()) and scan.high > 0 and scan.low == scan.high - 1
            if not (first or again) or (scan.first and lacking[component, 0] < 0):
                raise damaged(f"the scan at offset {scan.start} is out of order")
            band[:] = scan.low
    if (lacking != 0).any():
        raise UnsupportedJpeg("incomplete", "not all bits of its coefficients were sent")


def _decode(data: bytes, scan: _Scan, frame: Frame, values: I16) -> bool:
    planes = frame.planes()
    if len(scan.components) == 1:  # not interleaved: an MCU is a block (A.2.2)
        grid = planes[scan.components[0]].grid
        sampling = [(1, 1)]
    else:
        grid = frame.grid
        sampling = [frame.sampling[component] for component in scan.components]
    mcus = grid[0] * grid[1]
    words, stops = words_of(data, _offsets(data, scan, mcus))
    interval = scan.restart_interval or mcus
    if scan.first == 0:
        places = [planes[component].place for component in scan.components]
        layout = np.array([(*p, *s, n) for n, (p, s) in enumerate(zip(places, sampling, strict=True))], np.int64)
        if scan.high:
            return refine_dc(words, stops, interval, grid, layout, scan.low, values)
        tables = np.stack([_lookup(table) for table in scan.dc_tables])
        return decode_dc(words, stops, interval, grid, layout, tables, scan.low, values)
    decode = refine_ac if scan.high else decode_ac
    place, band = planes[scan.components[0]].place, (scan.first, scan.last)
    return decode(words, stops, interval, grid, place, _lookup(scan.ac_table), band, scan.low, values)


@lru_cache(maxsize=32)  # some encoders use the same tables for all images; one is 128 kB
def _lookup(table: HuffmanTable | None) -> U16:
    if table is None:
        raise damaged("a scan uses a Huffman table that is not there")
    found = symbol_table(table)
    found.setflags(write=False)
    return found


def _offsets(data: bytes, scan: _Scan, mcus: int) -> U32:
    """Return where the restart intervals of a scan start, and where the bytes of the marker after it end.

    Raises UnsupportedJpeg ("damaged") unless the scan has exactly the expected RSTn markers, in order.
    """
    array = np.frombuffer(data, np.uint8)[scan.start : scan.stop]
    prefixes = np.flatnonzero(array[:-1] == 0xFF)
    codes = array[prefixes + 1]
    found = codes != 0
    expected = (mcus - 1) // scan.restart_interval if scan.restart_interval else 0
    if not np.array_equal(codes[found], 0xD0 + np.arange(expected) % 8):
        raise damaged(f"the scan at offset {scan.start} must hold {expected} restart markers, RST0 to RST7 in turn")
    return np.concatenate(([scan.start], scan.start + prefixes[found] + 2, [scan.stop + 2])).astype(np.uint32)
