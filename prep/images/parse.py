"""The headers of a JPEG file: a strict, bounded parser of sequential Huffman-coded JPEGs (ITU-T T.81).

The parser takes what nearly every photograph is: baseline or extended sequential DCT, 8 bits per sample, one or
three components, one scan. Anything else raises UnsupportedJpeg with a short ``kind``, so that a writer of shards
can pass such a file through and count it. It is stricter than a decoder: a file that a decoder would repair with
a warning counts as "damaged", because what cannot be read without doubt must not be rewritten.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .headers import EOI, SOI, SOS, WITHOUT_LENGTH, segments
from .jpeg import DHT, DQT, DRI, SOF0, SOF1, Component, HuffmanTable, Jpeg, Kind, Segment, UnsupportedJpeg

# Far above any photograph: they bound the memory that a hostile file can make the parser use, to about 0.6 GB.
MAX_BYTES = 1 << 28
MAX_PIXELS = 1 << 28

# T.81 B.2.3: the MCU of an interleaved scan holds at most ten blocks.
MAX_BLOCKS_PER_MCU = 10

_APP0, _COM = 0xE0, 0xFE
_KEPT = {SOF0, SOF1, DHT, SOS, DQT, DRI, _COM, *range(_APP0, _APP0 + 16)}

# T.81 table B.1; SOF48 belongs to JPEG-LS (T.87).
UNSUPPORTED: dict[int, Kind] = {
    0xC2: "progressive",
    0xC3: "lossless",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xDE, 0xDF), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF), "arithmetic"),
    0xF7: "lossless",
}


def parse_jpeg(data: bytes | memoryview) -> Jpeg:
    """Return what the headers of a sequential Huffman-coded JPEG say. Raises UnsupportedJpeg for anything else.

    The entropy-coded data is only delimited here, not decoded: its first EOI marker ends it.
    """
    data = bytes(data)
    if not data.startswith(SOI):
        raise UnsupportedJpeg("not-jpeg", f"it starts with {data[:4].hex() or 'nothing'}")
    if len(data) > MAX_BYTES:
        raise UnsupportedJpeg("too-large", f"it has {len(data)} bytes and the limit is {MAX_BYTES}")
    segments, scan = _read_segments(data)
    stop = _find_eoi(data, scan)
    frames = [s.payload for s in segments if s.marker in (SOF0, SOF1)]
    if len(frames) != 1:
        raise damaged(f"there are {len(frames)} frame headers")
    quantisation = {key: table for s in segments if s.marker == DQT for key, table in read_dqt(s.payload)}
    huffman = {key: table for s in segments if s.marker == DHT for key, table in read_dht(s.payload)}
    height, width, components = read_frame(frames[0])
    components = _read_scan(components, segments[-1].payload)
    dc_tables = {key & 3: table for key, table in huffman.items() if key < 16}
    ac_tables = {key & 3: table for key, table in huffman.items() if key >= 16}
    for component in components:
        if (
            component.quantisation not in quantisation
            or component.dc_table not in dc_tables
            or component.ac_table not in ac_tables
        ):
            raise damaged(f"component {component.identifier} uses a table that is not there")
    return Jpeg(
        width=width,
        height=height,
        components=components,
        quantisation=quantisation,
        dc_tables=dc_tables,
        ac_tables=ac_tables,
        restart_interval=_read_dri(segments),
        segments=segments,
        scan=(scan, stop),
    )


def damaged(reason: str) -> UnsupportedJpeg:
    """Return the error for a file that T.81 does not allow."""
    return UnsupportedJpeg("damaged", reason)


def _find_eoi(data: bytes, start: int) -> int:
    """Return where the first EOI marker from ``start`` on stands."""
    rest = np.frombuffer(data, np.uint8)[start:]
    prefixes = np.flatnonzero(rest[:-1] == 0xFF)  # four times faster than bytes.find
    stops = prefixes[rest[prefixes + 1] == EOI[1]]
    if not len(stops):
        raise damaged("there is no EOI marker")
    return start + int(stops[0])


def _read_segments(data: bytes) -> tuple[tuple[Segment, ...], int]:
    """Return the segments up to SOS, and the offset that follows it (T.81 B.1.1)."""
    found: list[Segment] = []
    position = len(SOI)
    for marker, start, end in segments(data, len(data)):
        if end > len(data) or (end < start + 4 and marker not in WITHOUT_LENGTH):
            raise damaged(f"the segment at offset {start} ends beyond the file")
        if marker in UNSUPPORTED:
            raise UnsupportedJpeg(UNSUPPORTED[marker], f"it holds marker 0xFF{marker:02X}")
        if marker not in _KEPT:
            raise damaged(f"marker 0xFF{marker:02X} at offset {start} has no place in a header")
        found.append(Segment(marker=marker, payload=data[start + 4 : end]))
        position = end
    if not found or found[-1].marker != SOS:
        raise damaged(f"there is no marker at offset {position}")
    return tuple(found), position


def read_frame(frame: bytes) -> tuple[int, int, tuple[Component, ...]]:
    """Return height, width and components from the payload of a frame header (B.2.2); their Huffman tables are 0.

    Raises UnsupportedJpeg for what no rewriting takes: 12 bits, CMYK, and more than MAX_PIXELS.
    """
    if len(frame) < 6 or len(frame) != 6 + 3 * frame[5]:
        raise damaged("the frame header has a wrong length")
    precision, height, width, count = (
        frame[0],
        int.from_bytes(frame[1:3]),
        int.from_bytes(frame[3:5]),
        frame[5],
    )
    if precision != 8:
        raise UnsupportedJpeg("12-bit" if precision == 12 else "damaged", f"samples have {precision} bits")
    if height == 0 or width == 0:
        raise damaged(f"it is {width} wide and {height} high")
    if height * width > MAX_PIXELS:
        raise UnsupportedJpeg("too-large", f"it is {width} by {height} and the limit is {MAX_PIXELS} pixels")
    if count not in (1, 3):
        raise UnsupportedJpeg("cmyk" if count == 4 else "components", f"it has {count} components")
    components = tuple(_read_component(frame[6 + 3 * i :]) for i in range(count))
    if len({component.identifier for component in components}) != count:
        raise damaged("two components have one identifier")
    if count > 1 and sum(c.horizontal * c.vertical for c in components) > MAX_BLOCKS_PER_MCU:
        raise damaged("an MCU has more than ten blocks")
    return height, width, components


def _read_component(frame: bytes) -> Component:
    identifier, sampling, quantisation = frame[:3]
    horizontal, vertical = sampling >> 4, sampling & 15
    if not (1 <= horizontal <= 4 and 1 <= vertical <= 4) or quantisation > 3:
        raise damaged(f"component {identifier} is described in a way that T.81 does not allow")
    return Component(
        identifier=identifier,
        horizontal=horizontal,
        vertical=vertical,
        quantisation=quantisation,
        dc_table=0,
        ac_table=0,
    )


def _read_scan(components: tuple[Component, ...], scan: bytes) -> tuple[Component, ...]:
    """Return the components with their Huffman tables, from the payload of the only scan header (B.2.3)."""
    count = len(components)
    if not scan or scan[0] != count:
        raise UnsupportedJpeg("multi-scan", "its components are in separate scans")
    if len(scan) != 4 + 2 * count or scan[-3:] != b"\x00\x3f\x00":
        raise damaged("the scan header does not fit a sequential frame")
    found: list[Component] = []
    for component, named, tables in zip(components, scan[1:-3:2], scan[2:-3:2], strict=True):
        if named != component.identifier:
            raise damaged(f"component {component.identifier} is described in a way that T.81 does not allow")
        if tables >> 4 > 3 or tables & 15 > 3:
            raise damaged(f"component {component.identifier} names a Huffman table beyond 3")
        found.append(replace(component, dc_table=tables >> 4, ac_table=tables & 15))
    return tuple(found)


def read_dqt(payload: bytes) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
    """Yield (destination, table) of one DQT segment (B.2.4.1)."""
    while payload:
        wide, destination = payload[0] >> 4, payload[0] & 15
        size = 128 if wide else 64
        if wide > 1 or destination > 3 or len(payload) < 1 + size:
            raise damaged("a quantisation table is cut short or misnamed")
        dtype = ">u2" if wide else "u1"
        yield destination, np.frombuffer(payload, dtype, 64, offset=1).astype(np.uint16)
        payload = payload[1 + size :]


def read_dht(payload: bytes) -> Iterator[tuple[int, HuffmanTable]]:
    """Yield (class * 16 + destination, table) of one DHT segment (B.2.4.2)."""
    while payload:
        key, counts = payload[0], payload[1:17]
        size = 17 + sum(counts)
        if key & 0xEC or len(counts) < 16 or len(payload) < size or sum(counts) > 256:
            raise damaged("a Huffman table is cut short or misnamed")
        if sum(count << (15 - i) for i, count in enumerate(counts)) > 1 << 16:
            raise damaged("a Huffman table has more codes than its lengths allow")
        yield key, HuffmanTable(counts=counts, symbols=payload[17:size])
        payload = payload[size:]


def _read_dri(segments: tuple[Segment, ...]) -> int:
    """Return the restart interval (B.2.4.4); the last definition counts."""
    interval = 0
    for segment in segments:
        if segment.marker == DRI:
            if len(segment.payload) != 2:
                raise damaged("the DRI segment has a wrong length")
            interval = int.from_bytes(segment.payload)
    return interval
