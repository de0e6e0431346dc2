"""What decoding needs to know of each image, and of the part of it that is decoded: rows of integers."""

import numpy as np
import numpy.typing as npt

from .vectors.compiling import compiled, inlined, whole
from .weights import fill_weights

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]

# Columns of a plan, int64 (images, FIELDS).
ADDRESS, SIZE, SCAN, ROWS_ADDRESS, ROWS = 0, 1, 2, 3, 4
"""Where the encoded image and the uint16 lengths of its MCU rows lie in memory; SCAN is where its first row starts.
Without tiles there are no lengths, and ROWS is 0."""
WIDTH, HEIGHT, MCU_WIDTH, MCU_HEIGHT, INTERVAL = 5, 6, 7, 8, 9
"""As in ``Tiles``. Without tiles, an interval of UNREAD says that the header must be read first; INTERVAL is then the
number of MCUs in a row, or RAW for pixels as they are. An interval of 0 says that the image is not taken."""
LEFT, TOP, BOX_WIDTH, BOX_HEIGHT = 10, 11, 12, 13
"""The part that is resized."""
TARGET_WIDTH, TARGET_HEIGHT, OFFSET_X, OFFSET_Y, FLIP = 14, 15, 16, 17, 18
"""The size that the part is resized to, where the sample lies in it, and whether the sample is mirrored."""
SHIFT, CUBIC = 19, 20
"""log2 of the factor by which the inverse DCT makes the image smaller, 0 to 3; whether the resize is bicubic."""
FIELDS = 21
UNREAD, RAW = -1, -2

# Places of a region, int64 (REGION,).
# All lengths are in decoded pixels, of which an image has fewer if SHIFT is not 0.
X0, X1, Y0, Y1 = 0, 1, 2, 3
"""The pixels that the sample is made of, to the right and lower end excluded."""
TAPS_ACROSS, TAPS_DOWN = 4, 5
"""Weights of an output pixel in each direction."""
FIRST_TILE, LAST_TILE, FIRST_ROW, LAST_ROW = 6, 7, 8, 9
"""The columns of tiles and the MCU rows that are decoded."""
TILES_X, TILES_Y = 10, 11
"""Where they begin, in pixels."""
GROUPS, BAND_ROWS = 12, 13
"""Groups of eight MCU rows, and the rows of pixels of one."""
LUMA, CHROMA = 14, 15
"""Samples along the side of a block, 8, 4, 2 or 1: of luma, and of chroma, which has 1 block in an MCU."""
STEP_X, STEP_Y = 16, 17
"""Luma samples for each chroma sample."""
DECODED_WIDTH, DECODED_HEIGHT = 18, 19
"""The size of the image."""
REGION = 20

# Rows of ``axes``: the first source pixel and the number of taps of each output pixel, across and down.
ACROSS_FIRST, ACROSS_COUNT, DOWN_FIRST, DOWN_COUNT = 0, 1, 2, 3


@compiled
def weigh(plan: I64, axes: I64, weights: I32, sums: F64, region: I64) -> bool:
    """Fill ``axes``, ``weights`` and the first places of ``region``; return False if there is no room for them."""
    if not (_is_part(plan[LEFT], plan[BOX_WIDTH], plan[WIDTH]) and _is_part(plan[TOP], plan[BOX_HEIGHT], plan[HEIGHT])):
        return False
    if min(plan[TARGET_WIDTH], plan[TARGET_HEIGHT]) < 1 or min(plan[OFFSET_X], plan[OFFSET_Y]) < 0:
        return False
    if plan[SHIFT] < 0 or plan[SHIFT] > 3:
        return False
    if plan[SHIFT] > 0 and (  # a decoded pixel is no larger than a pixel of the sample
        plan[BOX_WIDTH] >> plan[SHIFT] < plan[TARGET_WIDTH] or plan[BOX_HEIGHT] >> plan[SHIFT] < plan[TARGET_HEIGHT]
    ):
        return False
    size = axes.shape[1]
    if plan[OFFSET_X] + size > plan[TARGET_WIDTH] or plan[OFFSET_Y] + size > plan[TARGET_HEIGHT]:
        return False
    region[TAPS_ACROSS] = fill_weights(
        plan[LEFT], plan[BOX_WIDTH], plan[TARGET_WIDTH], plan[OFFSET_X], plan[FLIP] != 0, plan[SHIFT], plan[CUBIC] != 0,
        axes[ACROSS_FIRST], axes[ACROSS_COUNT], weights[0], sums,
    )  # fmt: skip
    region[TAPS_DOWN] = fill_weights(
        plan[TOP], plan[BOX_HEIGHT], plan[TARGET_HEIGHT], plan[OFFSET_Y], False, plan[SHIFT], plan[CUBIC] != 0,
        axes[DOWN_FIRST], axes[DOWN_COUNT], weights[1], sums,
    )  # fmt: skip
    region[X0], region[X1] = _span(axes[ACROSS_FIRST], axes[ACROSS_COUNT])
    region[Y0], region[Y1] = _span(axes[DOWN_FIRST], axes[DOWN_COUNT])
    return region[TAPS_ACROSS] > 0 and region[TAPS_DOWN] > 0


@compiled
def choose_tiles(plan: I64, across: int, down: int, channels: int, region: I64) -> None:
    """Fill the other places of ``region``: the sizes of blocks, and the tiles around the pixels and their chroma.

    Chroma is made larger within its inverse DCT, as far as that goes, and interpolated only where it is not enough (as
    in libjpeg-turbo's jpeg_calc_output_dimensions).
    """
    shift = plan[SHIFT]
    side = 8 >> shift
    chroma = side
    while channels == 3 and chroma < 8 and (across * side) % (2 * chroma) == 0 and (down * side) % (2 * chroma) == 0:
        chroma *= 2
    region[LUMA], region[CHROMA] = side, chroma
    region[STEP_X], region[STEP_Y] = across * side // chroma, down * side // chroma
    width, height = plan[WIDTH] + (1 << shift) - 1 >> shift, plan[HEIGHT] + (1 << shift) - 1 >> shift
    region[DECODED_WIDTH], region[DECODED_HEIGHT] = width, height
    margin_x, margin_y = 2 * whole(region[STEP_X] == 2), 2 * whole(region[STEP_Y] == 2)
    tile_width, mcu_height = plan[INTERVAL] * across * side, down * side
    region[FIRST_TILE] = max(region[X0] - margin_x, 0) // tile_width
    region[LAST_TILE] = min(region[X1] - 1 + margin_x, width - 1) // tile_width
    region[FIRST_ROW] = max(region[Y0] - margin_y, 0) // mcu_height
    region[LAST_ROW] = min(region[Y1] - 1 + margin_y, height - 1) // mcu_height
    region[TILES_X] = region[FIRST_TILE] * tile_width
    region[TILES_Y] = region[FIRST_ROW] * mcu_height
    region[GROUPS] = (region[LAST_ROW] - region[FIRST_ROW]) // 8 + 1
    region[BAND_ROWS] = 8 * mcu_height


@inlined
def _is_part(start: int, length: int, whole: int) -> bool:
    return 0 < whole < 65536 and start >= 0 and 0 < length <= whole - start


@inlined
def _span(firsts: I64, counts: I64) -> tuple[int, int]:
    """Return the first source pixel and the one after the last."""
    low, high = firsts[0], firsts[0] + counts[0]
    for i in range(len(firsts)):
        low, high = min(low, firsts[i]), max(high, firsts[i] + counts[i])
    return low, high
