"""The geometry of a JPEG: its size, its MCUs, and the byte offset of every restart interval.

A restart marker resets the DC predictions and the bit position (ITU-T T.81 E.1.4), so a decoder can begin there.
If the restart interval divides the MCUs per row, the intervals form a grid of tiles. Each tile is one interval
wide and one MCU high, and a part of the image can be cut out without decoding. The index of a shard stores the
geometry of each sample.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .jpeg import Jpeg, UnsupportedJpeg
from .parse import parse_jpeg

U32 = npt.NDArray[np.uint32]

# Smaller tiles fit a crop better but cost bytes: a tile adds about 4, for a marker and larger DC differences. Over ten
# photographs of 500x375 (4:2:0, quality 93), tiles of 32, 64 and 128 pixels make files grow by 1.5, 0.4 and -0.1 %
# (negative because the DC tables are shorter). RandomResizedCrop then decodes 1.17, 1.26 and 1.43 times its area.
# Over 4,000 images of ImageNet's shapes, tiles of 32 pixels make the shards grow by 0.5 % more than tiles of 64.
LEAST_PIXELS = 32
LEAST_BYTES = 192  # 4 in 192 is 2 %, of which better DC tables save a part


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """The tiles of a JPEG whose restart interval divides its MCUs per row. Lengths are in pixels."""

    width: int
    height: int
    mcu_width: int
    mcu_height: int
    restart_interval: int
    """MCUs per tile."""
    offsets: U32
    """uint32 (tiles + 1,): the offsets from the start of the file where each tile's data starts, row by row, then the
    end of the image. A tile ends two bytes, its RSTn or EOI marker, before the next offset."""

    def __post_init__(self) -> None:
        self.offsets.setflags(write=False)

    @property
    def columns(self) -> int:
        """MCUs per row."""
        return math.ceil(self.width / self.mcu_width)

    @property
    def rows(self) -> int:
        """MCU rows."""
        return math.ceil(self.height / self.mcu_height)


def choose_restart_interval(columns: int, mcu_width: int, mcu_bytes: float) -> int:
    """Return the MCUs per tile: the least divisor of ``columns``, the MCUs per row, that makes tiles large enough.

    A tile must have at least 32 pixels and 192 bytes; ``mcu_bytes`` is the mean size of an MCU. A row without such a
    divisor, for example with a prime number of MCUs, is one tile.
    """
    return next(
        k
        for k in range(1, columns + 1)
        if k == columns or (columns % k == 0 and k * mcu_width >= LEAST_PIXELS and k * mcu_bytes >= LEAST_BYTES)
    )


def read_geometry(data: bytes | memoryview) -> Geometry:
    """Return the tiles of a JPEG that already has suitable restart markers.

    Raises UnsupportedJpeg for a file that ``parse_jpeg`` rejects. Raises it with kind "no-tiles" for a file without
    restart markers, or with a restart interval that does not divide the MCUs per row.
    """
    jpeg = parse_jpeg(data)
    interval = jpeg.restart_interval
    if interval == 0 or jpeg.columns % interval:
        reason = f"its restart interval is {interval} and a row has {jpeg.columns} MCUs"
        raise UnsupportedJpeg("no-tiles", reason)
    return geometry_of(jpeg, interval, interval_offsets(data, jpeg))


def geometry_of(jpeg: Jpeg, restart_interval: int, offsets: U32) -> Geometry:
    """Return the geometry of a parsed JPEG with this restart interval, in MCUs, and the offsets of its tiles."""
    return Geometry(
        width=jpeg.width,
        height=jpeg.height,
        mcu_width=jpeg.mcu_width,
        mcu_height=jpeg.mcu_height,
        restart_interval=restart_interval,
        offsets=offsets,
    )


def interval_offsets(data: bytes | memoryview, jpeg: Jpeg) -> U32:
    """Return ``Geometry.offsets`` of any parsed JPEG; without restart markers the whole scan is one interval.

    Raises UnsupportedJpeg ("damaged") unless the scan holds exactly the expected RSTn markers, in order, and no
    others.
    """
    start, stop = jpeg.scan
    scan = np.frombuffer(data, np.uint8)[start : stop + 2]
    prefixes = np.flatnonzero(scan[:-1] == 0xFF)
    codes = scan[prefixes + 1]
    markers = codes[:-1] != 0  # the last one is EOI; 0xFF00 stands for the data byte 0xFF (B.1.1.5)
    found = codes[:-1][markers]
    interval = jpeg.restart_interval
    expected = (jpeg.columns * jpeg.rows - 1) // interval if interval else 0
    if len(found) != expected or not np.array_equal(found, 0xD0 + np.arange(expected) % 8):
        reason = f"its scan must hold {expected} restart markers, RST0 to RST7 in turn, and holds {len(found)} markers"
        raise UnsupportedJpeg("damaged", reason)
    return np.concatenate(([start], start + prefixes[:-1][markers] + 2, [stop + 2])).astype(np.uint32)
