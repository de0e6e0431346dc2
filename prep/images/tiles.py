"""What cutting a part out of a JPEG takes: the grid of its tiles, where they lie, and the box.

Named tuples, because compiled functions take them as they are.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


class Grid(NamedTuple):
    """The size of an image and of its tiles; lengths are in pixels."""

    width: int
    height: int
    mcu_width: int
    mcu_height: int
    interval: int
    """MCUs per tile."""


class Tiles(NamedTuple):
    """How an image can be entered, as the index of a shard records it; lengths are in bytes and pixels."""

    scan: int
    """Where the first MCU row starts."""
    row_lengths: npt.NDArray[np.uint16]
    """Of each MCU row, with its markers."""
    width: int
    height: int
    mcu_width: int
    mcu_height: int
    interval: int
    """MCUs per tile."""
