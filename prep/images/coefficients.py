"""The quantised coefficients of a JPEG, and a sequential JPEG with tiles that is made of them (ITU-T T.81).

A progressive JPEG and a rotated one need all coefficients at once; ``restart`` alone does not. Blocks are numbered
component by component, row by row, with as many as whole MCUs have. The blocks beyond the image, which complete its
last MCUs, have no meaning. They are written as libjpeg does: without AC coefficients, and with the DC coefficient of
the block before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..base.compiled import compiled, number
from .geometry import Geometry
from .headers import SOS
from .huffman import MAX_BLOCK_BYTES, U32, encoding_table, optimal_table
from .jpeg import DQT, SOF0, SOF1, Component, HuffmanTable, Jpeg, Segment, UnsupportedJpeg
from .restart import Blocks, write_tiled
from .scans import I16

I64 = npt.NDArray[np.int64]

MAX_COEFFICIENT_BYTES = 600_000_000
"""128 for each block: a JPEG of 100 megapixels without subsampling, 200 megapixels with 4:2:0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """Where the blocks of one component stand in the array of all coefficients."""

    first: int
    stride: int
    """The blocks of a row, those beyond the image included."""
    columns: int
    """The blocks of a row within the image."""
    rows: int

    @property
    def grid(self) -> tuple[int, int]:
        return self.columns, self.rows

    @property
    def place(self) -> tuple[int, int]:
        return self.first, self.stride


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """The frame of a JPEG, and how its blocks are numbered."""

    width: int
    height: int
    components: tuple[Component, ...]

    @property
    def sampling(self) -> tuple[tuple[int, int], ...]:
        """As ``Jpeg.sampling``."""
        if len(self.components) == 1:
            return ((1, 1),)
        return tuple((component.horizontal, component.vertical) for component in self.components)

    @property
    def grid(self) -> tuple[int, int]:
        """MCUs across and down."""
        across, down = self.most
        return math.ceil(self.width / (8 * across)), math.ceil(self.height / (8 * down))

    @property
    def most(self) -> tuple[int, int]:
        """The largest sampling factors: an MCU has 8 times as many pixels."""
        return max(across for across, _ in self.sampling), max(down for _, down in self.sampling)

    def planes(self) -> tuple[Plane, ...]:
        """Return the planes of the components (A.1.1, A.2.4)."""
        (columns, rows), (most_across, most_down) = self.grid, self.most
        found: list[Plane] = []
        first = 0
        for across, down in self.sampling:
            plane = Plane(
                first=first,
                stride=columns * across,
                columns=math.ceil(math.ceil(self.width * across / most_across) / 8),
                rows=math.ceil(math.ceil(self.height * down / most_down) / 8),
            )
            found.append(plane)
            first += plane.stride * rows * down
        return tuple(found)

    @property
    def blocks(self) -> int:
        """All blocks, those beyond the image included."""
        columns, rows = self.grid
        return columns * rows * sum(across * down for across, down in self.sampling)


@dataclass(frozen=True, kw_only=True, eq=False)
class Coefficients:
    """A JPEG's coefficients, and what its header says besides."""

    frame: Frame
    values: I16
    """int16 (blocks, 64), quantised, in zig-zag order."""
    quantisation: dict[int, npt.NDArray[np.uint16]]
    """uint16 (64,) by destination, in zig-zag order."""
    segments: tuple[Segment, ...]
    """The segments that do not describe the coding: APPn, COM and DQT, in order."""
    trailing: bytes
    """What follows the image in its file."""


def empty_coefficients(frame: Frame) -> I16:
    """Return zeros for all blocks of a frame. Raises UnsupportedJpeg for too many."""
    if frame.blocks * 128 > MAX_COEFFICIENT_BYTES:
        reason = f"its {frame.blocks} blocks take more than {MAX_COEFFICIENT_BYTES} bytes"
        raise UnsupportedJpeg("too-large", reason)
    return np.zeros((frame.blocks, 64), np.int16)


def write_sequential(image: Coefficients) -> tuple[bytes, Geometry]:
    """Return a sequential JPEG with tiles of these coefficients, and its geometry.

    All Huffman tables are the shortest for the image. The first component has tables of its own, the others share.
    """
    frame = image.frame
    components = tuple(replace(c, dc_table=min(n, 1), ac_table=min(n, 1)) for n, c in enumerate(frame.components))
    parts = _parts(frame)
    counts = np.zeros((min(len(components), 2), 256), np.int64)
    count_ac(image.values, parts, frame.grid, counts)
    tables = [optimal_table(row) for row in counts.tolist()]
    blocks = _code(image.values, parts, frame.grid, tables, counts)
    jpeg = Jpeg(
        width=frame.width,
        height=frame.height,
        components=components,
        quantisation=image.quantisation,
        dc_tables={},
        ac_tables=dict(enumerate(tables)),
        restart_interval=0,
        segments=(*image.segments, _frame_segment(image, components), _scan_segment(components)),
        scan=(0, 0),
    )
    return write_tiled(jpeg, blocks, image.trailing)


def places_of(frame: Frame) -> I64:
    """Return int64 (blocks,): the place of each block of an interleaved scan in the array of coefficients."""
    columns, rows = frame.grid
    parts = _parts(frame)
    y = np.arange(rows)[:, None, None] * parts[:, 4] + parts[:, 6]
    x = np.arange(columns)[None, :, None] * parts[:, 3] + parts[:, 5]
    return (parts[:, 1] + y * parts[:, 2] + x).reshape(-1)


def _parts(frame: Frame) -> I64:
    """Return int64 (blocks per MCU, 9): table, first block, stride, blocks of an MCU across and down, position in it,
    blocks of the image across and down."""
    return np.array(
        [
            (min(index, 1), *plane.place, across, down, x, y, *plane.grid)
            for index, (plane, (across, down)) in enumerate(zip(frame.planes(), frame.sampling, strict=True))
            for y in range(down)
            for x in range(across)
        ],
        np.int64,
    )


def _code(values: I16, parts: I64, grid: tuple[int, int], tables: Sequence[HuffmanTable], counts: I64) -> Blocks:
    codes = np.stack([encoding_table(table, 256) for table in tables])
    bits = int((counts * (codes[:, :, 1] + np.arange(256) % 16)).sum())
    words = np.zeros((bits // 8 + MAX_BLOCK_BYTES) // 4 + 2, np.uint32)
    count = grid[0] * grid[1] * len(parts)
    dc, spans = np.empty(count, np.int64), np.empty((count, 2), np.int64)
    code_ac(values, parts, grid, codes, words, dc, spans)
    components = np.cumsum((parts[:, 5] == 0) & (parts[:, 6] == 0)) - 1
    layout = np.stack([components, parts[:, 0], parts[:, 0]], axis=1)
    return Blocks(words=words, layout=np.ascontiguousarray(layout), dc=dc, spans=spans)


def _frame_segment(image: Coefficients, components: Sequence[Component]) -> Segment:
    """Return the frame header (B.2.2): baseline unless a quantisation table has entries of 16 bits."""
    wide = any(_is_wide(segment.payload) for segment in image.segments if segment.marker == DQT)
    frame = image.frame
    described = [(c.identifier, c.horizontal << 4 | c.vertical, c.quantisation) for c in components]
    size = frame.height.to_bytes(2) + frame.width.to_bytes(2)
    payload = b"\x08" + size + bytes((len(components),)) + b"".join(map(bytes, described))
    return Segment(marker=SOF1 if wide else SOF0, payload=payload)


def _is_wide(payload: bytes) -> bool:
    """Return whether a DQT segment, which was checked before, has a table of 16 bits (B.2.4.1)."""
    while payload:
        if payload[0] >> 4:
            return True
        payload = payload[65:]
    return False


def _scan_segment(components: Sequence[Component]) -> Segment:
    """Return the scan header (B.2.3) of all components."""
    described = b"".join(bytes((c.identifier, c.dc_table << 4 | c.ac_table)) for c in components)
    return Segment(marker=SOS, payload=bytes((len(components),)) + described + b"\x00\x3f\x00")


@compiled
def count_ac(values: I16, parts: I64, grid: tuple[int, int], counts: I64) -> None:
    """Count the symbols of the AC coefficients (F.1.2.2), int64 (tables, 256)."""
    columns, rows = grid
    for mcu in range(columns * rows):
        for part in range(len(parts)):
            place = _block(parts, part, mcu, columns)
            row = counts[parts[part, 0]]
            run = 0
            if place >= 0:
                block = values[place]
                for k in range(1, 64):
                    value = number(block, k)
                    if value == 0:
                        run += 1
                        continue
                    while run > 15:
                        row[0xF0] += 1
                        run -= 16
                    row[run << 4 | _size(value)] += 1
                    run = 0
            if place < 0 or run > 0:
                row[0] += 1


@compiled
def code_ac(values: I16, parts: I64, grid: tuple[int, int], codes: I64, words: U32, dc: I64, spans: I64) -> None:
    """Write the AC codes of all blocks to ``words``, in the order of an interleaved scan.

    Fills ``dc`` and ``spans`` as ``huffman.decode_blocks`` does. ``codes`` is int64 (tables, 256, 2). ``words`` must
    have room for all codes.
    """
    columns, rows = grid
    pending = 0  # bits not yet written, fewer than 32
    held = 0  # the number of pending bits
    word = 0
    done = 0
    for mcu in range(columns * rows):
        for part in range(len(parts)):
            place = _block(parts, part, mcu, columns)
            row = codes[parts[part, 0]]
            spans[done, 0] = 32 * word + held
            run = 0
            if place >= 0:
                block = values[place]
                dc[done] = block[0]
                for k in range(1, 64):
                    value = number(block, k)
                    if value == 0:
                        run += 1
                        continue
                    while run > 15:
                        pending = (pending << row[0xF0, 1]) | row[0xF0, 0]
                        held += row[0xF0, 1]
                        run -= 16
                        if held >= 32:
                            held -= 32
                            words[word] = pending >> held
                            pending &= (1 << held) - 1
                            word += 1
                    size = _size(value)
                    symbol = run << 4 | size
                    if value < 0:
                        value += (1 << size) - 1
                    pending = (pending << (row[symbol, 1] + size)) | (row[symbol, 0] << size) | value
                    held += row[symbol, 1] + size
                    if held >= 32:
                        held -= 32
                        words[word] = pending >> held
                        pending &= (1 << held) - 1
                        word += 1
                    run = 0
            else:
                dc[done] = dc[done - 1]
            if place < 0 or run > 0:
                pending = (pending << row[0, 1]) | row[0, 0]
                held += row[0, 1]
                if held >= 32:
                    held -= 32
                    words[word] = pending >> held
                    pending &= (1 << held) - 1
                    word += 1
            spans[done, 1] = 32 * word + held
            done += 1
    words[word] = pending << (32 - held)


@compiled
def _block(parts: I64, part: int, mcu: int, columns: int) -> int:
    """Return the number of a block of an MCU, -1 for a block beyond the image."""
    x = mcu % columns * parts[part, 3] + parts[part, 5]
    y = mcu // columns * parts[part, 4] + parts[part, 6]
    if x >= parts[part, 7] or y >= parts[part, 8]:
        return -1
    return parts[part, 1] + y * parts[part, 2] + x


@compiled
def _size(value: int) -> int:
    """Return the number of bits of a coefficient (table F.1)."""
    magnitude = abs(value)
    size = 0
    while magnitude > 0:
        magnitude >>= 1
        size += 1
    return size
