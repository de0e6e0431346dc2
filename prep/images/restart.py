"""Lossless insertion of restart markers into a JPEG.

Each block keeps its quantised coefficients; only the coding changes. A restart interval that divides the MCUs per
row makes tiles (see ``geometry``). The DC differences at the starts of tiles become larger, so the image gets new
DC tables, the shortest ones for its own differences. The AC tables and AC codes stay the same. Every other segment
stays, in order, as do the bytes after the EOI marker.
"""

import math
from dataclasses import dataclass

import numpy as np

from .geometry import Geometry, choose_restart_interval, geometry_of, interval_offsets
from .headers import EOI, SOI
from .huffman import (
    CATEGORIES,
    I64,
    MAX_BLOCK_BYTES,
    U16,
    U32,
    decode_blocks,
    decoding_tables,
    encode_blocks,
    encoding_table,
    optimal_table,
    take_differences,
)
from .jpeg import DHT, DRI, HuffmanTable, Jpeg, Segment, UnsupportedJpeg
from .parse import parse_jpeg


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The blocks of a scan; ``decode_blocks`` describes the arrays."""

    words: U32
    layout: I64
    dc: I64
    spans: I64

    @property
    def ac_bits(self) -> int:
        """The number of bits in the AC codes, which stays the same."""
        return int((self.spans[:, 1] - self.spans[:, 0]).sum())


def add_restart_markers(data: bytes | memoryview) -> tuple[bytes, Geometry]:
    """Return the same image as a JPEG with tiles, coefficient for coefficient, and its geometry.

    Raises UnsupportedJpeg for a file that ``parse_jpeg`` rejects, and for damaged entropy-coded data. The result
    depends on ``data`` only. A second call on the result returns the same bytes.
    """
    data = bytes(data)
    jpeg = parse_jpeg(data)
    return write_tiled(jpeg, decode(data, jpeg), data[jpeg.scan[1] + len(EOI) :])


def write_tiled(jpeg: Jpeg, blocks: Blocks, trailing: bytes) -> tuple[bytes, Geometry]:
    """Return a JPEG with tiles and its geometry: the segments of ``jpeg``, these blocks, and what follows the image.

    ``blocks.dc`` is overwritten.
    """
    interval = choose_restart_interval(jpeg.columns, jpeg.mcu_width, blocks.ac_bits / 8 / (jpeg.columns * jpeg.rows))
    dc_used = sorted({component.dc_table for component in jpeg.components})
    counts = np.zeros((len(dc_used), CATEGORIES), np.int64)
    take_differences(blocks.dc, blocks.layout, interval, counts)
    dc_tables = [optimal_table(row) for row in counts.tolist()]
    scan, offsets = _encode(blocks, interval, np.stack([encoding_table(table) for table in dc_tables]), counts)
    header = _header(jpeg, interval, dict(zip(dc_used, dc_tables, strict=True)))
    result = b"".join((header, scan, trailing))
    return result, geometry_of(jpeg, interval, offsets + np.uint32(len(header)))


def decode(data: bytes, jpeg: Jpeg) -> Blocks:
    """Return the blocks of a parsed JPEG. Raises UnsupportedJpeg for damaged entropy-coded data."""
    words, stops = words_of(data, interval_offsets(data, jpeg))
    mcus = jpeg.columns * jpeg.rows
    layout, tables = _layout(jpeg)
    count = mcus * len(layout)
    if 2 * count > 8 * stops[-1]:  # a block has two codes, at least a bit each; checked before memory is allocated
        raise UnsupportedJpeg("damaged", f"its scan is too short for {count} blocks")
    dc, spans = np.empty(count, np.int64), np.empty((count, 2), np.int64)
    if not decode_blocks(words, stops, layout, tables, mcus, jpeg.restart_interval or mcus, dc, spans):
        raise UnsupportedJpeg("damaged", "its entropy-coded data does not decode")
    return Blocks(words=words, layout=layout, dc=dc, spans=spans)


def words_of(data: bytes, offsets: U32) -> tuple[U32, I64]:
    """Return the words and stops that ``decode_blocks`` takes, without markers and stuffed zeros."""
    scan = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    prefixes = np.flatnonzero(scan[:-1] == 0xFF)
    markers = offsets[1:].astype(np.int64) - int(offsets[0]) - 2
    kept = np.ones(len(scan), np.bool_)
    kept[prefixes + 1] = False
    kept[markers] = False
    plain = scan[kept]
    padded = np.zeros((len(plain) + MAX_BLOCK_BYTES) // 4 * 4 + 4, np.uint8)
    padded[: len(plain)] = plain
    stops = markers - np.searchsorted(prefixes, markers) - np.arange(len(markers))
    return padded.view(">u4").astype(np.uint32), stops


def _layout(jpeg: Jpeg) -> tuple[I64, U16]:
    """Return the layout of an MCU for ``decode_blocks``, and the tables to which its rows refer."""
    dc_used = sorted({component.dc_table for component in jpeg.components})
    ac_used = sorted({component.ac_table for component in jpeg.components})
    layout = [
        (index, dc_used.index(component.dc_table), len(dc_used) + ac_used.index(component.ac_table))
        for index, (component, (across, down)) in enumerate(zip(jpeg.components, jpeg.sampling, strict=True))
        for _ in range(across * down)
    ]
    tables = decoding_tables(
        tuple(jpeg.dc_tables[key] for key in dc_used), tuple(jpeg.ac_tables[key] for key in ac_used)
    )
    return np.array(layout, np.int64), tables


def _encode(blocks: Blocks, interval: int, codes: I64, counts: I64) -> tuple[memoryview, U32]:
    """Return the new scan with its EOI, and the offsets of its intervals from the start of the scan."""
    tiles = math.ceil(len(blocks.dc) / (len(blocks.layout) * interval))
    dc_bits = (counts * (codes[:, :, 1] + np.arange(CATEGORIES))).sum()
    out = np.empty((int(dc_bits) + blocks.ac_bits) // 8 * 2 + 2 + 4 * tiles, np.uint8)
    offsets = np.empty(tiles + 1, np.uint32)
    length = encode_blocks(blocks.words, blocks.spans, blocks.dc, blocks.layout, codes, interval, out, offsets)
    return out.data[:length], offsets


def _header(jpeg: Jpeg, interval: int, dc_tables: dict[int, HuffmanTable]) -> bytes:
    """Return the bytes before the scan: the old segments, with a new DRI and a new DHT before SOS."""
    *segments, sos = (segment for segment in jpeg.segments if segment.marker not in (DHT, DRI))
    ac_used = sorted({component.ac_table for component in jpeg.components})
    tables = [bytes((key,)) + table.to_bytes() for key, table in dc_tables.items()]
    tables += [bytes((16 + key,)) + jpeg.ac_tables[key].to_bytes() for key in ac_used]
    added = (Segment(marker=DRI, payload=interval.to_bytes(2)), Segment(marker=DHT, payload=b"".join(tables)))
    return SOI + b"".join(segment.to_bytes() for segment in (*segments, *added, sos))
