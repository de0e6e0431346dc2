"""The crops of a batch, from its random numbers and the sizes of its images, by the functions of ``crops``."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from .crops import EVAL, TRAIN, Framing, eval_offset, eval_size, train_crop
from .dct_scaling import dct_shift
from .fused.header import find_scan
from .fused.plan import (
    ADDRESS,
    BOX_HEIGHT,
    BOX_WIDTH,
    CUBIC,
    FLIP,
    HEIGHT,
    INTERVAL,
    LEFT,
    OFFSET_X,
    OFFSET_Y,
    RAW,
    ROWS,
    SHIFT,
    SIZE,
    TARGET_HEIGHT,
    TARGET_WIDTH,
    TOP,
    UNREAD,
    WIDTH,
)  # fmt: skip
from .fused.raw import find_pixels
from .fused.vectors.compiling import compiled, counted, whole
from .fused.words import memory_at

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MOST_WHOLE = 3 << 19
"""Pixels of the largest part that is decoded from an image without tiles. Whole images of more are faster with
libjpeg-turbo; benchmarks.claims.whole_images measures it."""

_train_crop, _eval_size, _eval_offset = compiled(train_crop), compiled(eval_size), compiled(eval_offset)
_dct_shift = compiled(dct_shift)


carray: Any = getattr(numba, "carray")  # noqa: B009 - not among the names that numba exports


@counted
def plan_crops(plans: I64, draws: F64, framing: Framing) -> None:
    """Fill the box, target, offset, flip, shift and kind of resize of images, as ``crops.frame`` does for one.

    ``draws`` is float64 (n, DRAWS), or (n, 0) for other transforms than train. Of images without tiles, the headers are
    read, of raw ones too.
    """
    size = framing.size
    for i in range(len(plans)):
        plan = plans[i]
        if plan[INTERVAL] == UNREAD:
            data = carray(memory_at(plan[ADDRESS]), (max(plan[SIZE], 0),), np.uint8)
            if plan[SIZE] < 4 or not find_scan(data, plan):
                plan[INTERVAL] = RAW if find_pixels(data, plan) else 0
        width, height = plan[WIDTH], plan[HEIGHT]
        if (plan[INTERVAL] < 1 and plan[INTERVAL] != RAW) or width < 1 or height < 1:
            plan[INTERVAL] = 0
            continue
        plan[LEFT], plan[TOP], plan[BOX_WIDTH], plan[BOX_HEIGHT] = 0, 0, width, height
        plan[TARGET_WIDTH], plan[TARGET_HEIGHT], plan[OFFSET_X], plan[OFFSET_Y] = size, size, 0, 0
        plan[FLIP], plan[SHIFT], plan[CUBIC] = 0, 0, whole(framing.cubic)
        if framing.kind == TRAIN:
            scale, ratio = (framing.scale_low, framing.scale_high), (framing.ratio_low, framing.ratio_high)
            left, top, box_width, box_height, flip = _train_crop(draws[i], width, height, scale, ratio, framing.flip)
            plan[LEFT], plan[TOP], plan[BOX_WIDTH], plan[BOX_HEIGHT] = left, top, box_width, box_height
            plan[FLIP] = whole(flip)
        elif framing.kind == EVAL:
            target_width, target_height = _eval_size(width, height, size, framing.short)
            plan[TARGET_WIDTH], plan[TARGET_HEIGHT] = target_width, target_height
            plan[OFFSET_X], plan[OFFSET_Y] = _eval_offset(target_width, size), _eval_offset(target_height, size)
        if framing.scaled and plan[INTERVAL] != RAW:
            plan[SHIFT] = _dct_shift(plan[BOX_WIDTH], plan[BOX_HEIGHT], plan[TARGET_WIDTH], plan[TARGET_HEIGHT])
        if plan[INTERVAL] > 0 and plan[ROWS] == 0 and plan[BOX_WIDTH] * plan[BOX_HEIGHT] > MOST_WHOLE:
            plan[INTERVAL] = 0
