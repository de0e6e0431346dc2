"""What a parsed JPEG consists of: its segments, tables and components, and why a file is not parsed.

These are the types that parsing, restart markers and tiles share. The names are those of ITU-T T.81.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..base.errors import SampleError

Kind = Literal[
    "not-jpeg",
    "damaged",
    "progressive",
    "incomplete",
    "arithmetic",
    "lossless",
    "hierarchical",
    "12-bit",
    "cmyk",
    "components",
    "multi-scan",
    "too-large",
    "no-tiles",
]

# T.81 table B.1.
SOF0, SOF1, DHT, DQT, DRI = 0xC0, 0xC1, 0xC4, 0xDB, 0xDD


class UnsupportedJpeg(SampleError):
    """A file that is no sequential Huffman-coded JPEG, or a damaged one; ``kind`` says which, for counting."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(f"this file cannot be cut into tiles ({kind}): {reason}; keep and decode it whole")
        self.kind: Kind = kind


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A marker segment: the marker's second byte and what follows the two length bytes."""

    marker: int
    payload: bytes

    def to_bytes(self) -> bytes:
        """Return the segment as it stands in a file."""
        return bytes((0xFF, self.marker)) + (len(self.payload) + 2).to_bytes(2) + self.payload


@dataclass(frozen=True, kw_only=True)
class HuffmanTable:
    """A Huffman table as T.81 B.2.4.2 transmits it; the codes follow from it (annex C)."""

    counts: bytes
    """16 bytes, BITS: the number of codes of each length from 1 to 16."""
    symbols: bytes
    """HUFFVAL: the symbols in order of their codes."""

    def to_bytes(self) -> bytes:
        """Return the table as it stands in a DHT segment, without class and destination."""
        return self.counts + self.symbols


@dataclass(frozen=True, kw_only=True)
class Component:
    """One colour component: its sampling factors and which tables it uses."""

    identifier: int
    horizontal: int
    vertical: int
    quantisation: int
    dc_table: int
    ac_table: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Jpeg:
    """A parsed JPEG. All offsets are from the start of the file."""

    width: int
    height: int
    components: tuple[Component, ...]
    quantisation: dict[int, npt.NDArray[np.uint16]]
    """uint16 (64,) by destination, in zig-zag order."""
    dc_tables: dict[int, HuffmanTable]
    ac_tables: dict[int, HuffmanTable]
    restart_interval: int
    """In MCUs; 0 without restart markers."""
    segments: tuple[Segment, ...]
    """Every segment from SOI to SOS, in order, word for word."""
    scan: tuple[int, int]
    """Where the entropy-coded data starts, and where the EOI marker stands; what follows EOI is trailing."""

    @property
    def sampling(self) -> tuple[tuple[int, int], ...]:
        """Blocks of each component in one MCU, (across, down); a lone component has one (T.81 A.2.2)."""
        if len(self.components) == 1:
            return ((1, 1),)
        return tuple((component.horizontal, component.vertical) for component in self.components)

    @property
    def mcu_width(self) -> int:
        """Pixels."""
        return 8 * max(across for across, _ in self.sampling)

    @property
    def mcu_height(self) -> int:
        """Pixels."""
        return 8 * max(down for _, down in self.sampling)

    @property
    def columns(self) -> int:
        """MCUs per row."""
        return math.ceil(self.width / self.mcu_width)

    @property
    def rows(self) -> int:
        """MCU rows."""
        return math.ceil(self.height / self.mcu_height)
