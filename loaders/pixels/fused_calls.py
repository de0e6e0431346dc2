"""Plans and calls of the compiled decoder from Python: rows of a batch, or one image."""

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..spec import LoaderSpec
from ..support.encoded import EncodedImage, Located, ReadImages
from . import ready
from .crop_plans import plan_crops
from .crops import framing_of
from .cuts import Cut
from .fused.decode import decode_many
from .fused.fit import fit_pixels
from .fused.plan import (
    ADDRESS,
    BOX_HEIGHT,
    CUBIC,
    FIELDS,
    FLIP,
    HEIGHT,
    INTERVAL,
    LEFT,
    MCU_HEIGHT,
    MCU_WIDTH,
    OFFSET_X,
    RAW,
    ROWS,
    ROWS_ADDRESS,
    SCAN,
    SHIFT,
    SIZE,
    UNREAD,
    WIDTH,
)  # fmt: skip
from .fused.raw import fit_many
from .fused.scratch import Scratch, make_scratch, second_scratch

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_NAMES = {
    SIZE: "size",
    SCAN: "scan",
    ROWS: "rows",
    WIDTH: "width",
    HEIGHT: "height",
    MCU_WIDTH: "mcu_width",
    MCU_HEIGHT: "mcu_height",
    INTERVAL: "restart_interval",
}
"""Columns of a plan by their names in the index of a shard."""

_thread = threading.local()


def decodes(spec: LoaderSpec) -> bool:
    """Return whether the compiled decoder decodes for this spec, now that it can be used."""
    return spec.decode == "cpu" and spec.image_size is not None and ready.usable()


def plan_images(images: Sequence[EncodedImage]) -> I64:
    """Return plans of images without their crops, int64 (n, FIELDS). The images must outlive them."""
    plans = np.zeros((len(images), FIELDS), np.int64)
    for plan, (data, tiles) in zip(plans, images, strict=True):
        if tiles is None:
            plan[ADDRESS], plan[SIZE], plan[INTERVAL] = data.ctypes.data, len(data), UNREAD
        elif tiles.row_lengths.flags.c_contiguous:
            lengths = tiles.row_lengths
            plan[ADDRESS : ROWS + 1] = data.ctypes.data, len(data), tiles.scan, lengths.ctypes.data, len(lengths)
            plan[WIDTH : INTERVAL + 1] = tiles.grid
    return plans


def plan_read(read: ReadImages) -> I64:
    """Return plans of images without their crops, int64 (n, FIELDS). ``read.data`` must outlive them."""
    plans = np.zeros((len(read.starts), FIELDS), np.int64)
    plans[:, ADDRESS], plans[:, SIZE], plans[:, INTERVAL] = read.data.ctypes.data + read.starts, read.sizes, UNREAD
    return plans


def plan_located(located: Located) -> I64:
    """Return plans of images without their crops, int64 (n, FIELDS)."""
    rows = located.rows
    plans = np.zeros((len(rows), FIELDS), np.int64)
    plans[:, ADDRESS], plans[:, ROWS_ADDRESS] = located.data, located.lengths
    for column, name in _NAMES.items():
        plans[:, column] = rows[name]
    plans[plans[:, INTERVAL] == 0, INTERVAL] = UNREAD
    return plans


def decode_rows(plans: I64, draws: F64, rows: U8, spec: LoaderSpec) -> list[int]:
    """Decode images into ``rows``, uint8 (n, size, size, 3) and contiguous; return which are not decoded.

    ``plans`` need their crops, which are made from ``draws``, float64 (n, DRAWS) or (n, 0) for eval.
    """
    size = rows.shape[1]
    taken = np.empty(len(rows), np.uint8)
    plan_crops(plans, draws, framing_of(spec))
    planar = spec.pixels == "planar" and spec.transform == "train"
    scratch = _scratch(size)
    decode_many(plans, planar, *scratch, rows.reshape(-1), taken)
    if (plans[:, INTERVAL] == RAW).any():
        fit_many(plans, scratch[0], rows.reshape(-1), taken)
    return np.flatnonzero(taken == 0).tolist()


def fit(pixels: U8, cut: Cut, row: U8) -> bool:
    """Resize the box of a cut, of ``pixels`` uint8 (h, w, 3) at 1 / ``cut.scale``, and write the sample to ``row``.

    Returns False for an image that needs more memory than there is.
    """
    plan = np.zeros(FIELDS, np.int64)
    plan[LEFT : BOX_HEIGHT + 1] = cut.box
    plan[BOX_HEIGHT + 1 : OFFSET_X] = cut.target
    plan[OFFSET_X:FLIP] = cut.offset
    plan[FLIP] = cut.flip
    plan[SHIFT], plan[CUBIC] = cut.scale.bit_length() - 1, cut.interpolation == "bicubic"
    height, width, _ = pixels.shape
    return fit_pixels(pixels.reshape(-1), width, height, plan, _scratch(len(row))[0], row.reshape(-1))


def _scratch(size: int) -> tuple[Scratch, Scratch]:
    """Return this thread's memory for samples of this size, and that of a second image at the same time."""
    scratch: tuple[Scratch, Scratch] | None = getattr(_thread, "scratch", None)
    if scratch is None or scratch[0].axes.shape[1] != size:
        first = make_scratch(size)
        scratch = _thread.scratch = first, second_scratch(first)
    return scratch
