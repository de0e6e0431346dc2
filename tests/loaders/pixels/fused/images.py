"""Images with and without tiles, plans for them, and calls of the compiled decoder, for the tests of it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image
from sklearn.datasets import load_sample_image

from feedline.loaders.pixels.dct_scaling import resize_scaled
from feedline.loaders.pixels.fused.decode import decode_many
from feedline.loaders.pixels.fused.header import find_scan
from feedline.loaders.pixels.fused.plan import ADDRESS, FIELDS, INTERVAL, LEFT, ROWS, SCAN, SIZE as SIZE_OF_FILE, WIDTH
from feedline.loaders.pixels.fused.scratch import make_scratch, second_scratch
from feedline.loaders.support.encoded import EncodedImage
from feedline.prep.images.restart import add_restart_markers
from feedline.prep.images.tiles import Tiles

U8 = npt.NDArray[np.uint8]
CHINA = np.asarray(load_sample_image("china.jpg"))
SAMPLINGS = ["420", "422", "444", "440", "411", "gray"]
SIZE = 32
SCRATCH = make_scratch(SIZE)
SECOND = second_scratch(SCRATCH)


class Part(NamedTuple):
    """What a sample is made of: the box, the size that it is resized to, the sample's place in that, and how."""

    box: tuple[int, int, int, int]
    target: tuple[int, int] = (SIZE, SIZE)
    offset: tuple[int, int] = (0, 0)
    flip: bool = False
    shift: int = 0
    """log2 of the factor by which the decoder makes the image smaller."""
    cubic: bool = False


def encoded(pixels: U8, sampling: str, quality: int = 90) -> bytes:
    """Return a JPEG, grey if the sampling is "gray"."""
    if sampling == "gray":
        return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels[:, :, 1:2]), quality, "GRAY", "gray")
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", sampling)


def with_tiles(jpeg: bytes) -> EncodedImage:
    """Return the same image with restart markers and its tiles."""
    data, geometry = add_restart_markers(jpeg)
    lengths = np.diff(geometry.offsets[:: geometry.columns // geometry.restart_interval]).astype(np.uint16)
    grid = (geometry.width, geometry.height, geometry.mcu_width, geometry.mcu_height, geometry.restart_interval)
    return EncodedImage(np.frombuffer(data, np.uint8), Tiles(int(geometry.offsets[0]), lengths, *grid))


def as_it_is(jpeg: bytes) -> EncodedImage:
    """Return the image without tiles."""
    return EncodedImage(np.frombuffer(jpeg, np.uint8), None)


def plan_of(image: EncodedImage, part: Part) -> npt.NDArray[np.int64]:
    data, tiles = image
    plans = np.zeros((1, FIELDS), np.int64)
    plan = plans[0]
    plan[ADDRESS], plan[SIZE_OF_FILE] = data.ctypes.data, len(data)
    if tiles is None:
        find_scan(data, plan)
    else:
        lengths = tiles.row_lengths
        plan[SCAN : ROWS + 1] = tiles.scan, lengths.ctypes.data, len(lengths)
        plan[WIDTH : INTERVAL + 1] = tiles.grid
    plan[LEFT:] = *part.box, *part.target, *part.offset, part.flip, part.shift, part.cubic
    return plans


def decoded(image: EncodedImage, part: Part, *, planar: bool = False) -> U8 | None:
    """Return the sample that the compiled decoder makes, or None if it does not take the image."""
    row, taken = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros(1, np.uint8)
    decode_many(plan_of(image, part), planar, SCRATCH, SECOND, row.reshape(-1), taken)
    return row if taken[0] else None


def expected(image: EncodedImage, part: Part) -> U8:
    """Return the sample that libjpeg-turbo and Pillow make, resized along the rows first."""
    left, top, width, height = part.box
    x, y = part.offset
    if part.shift:
        sample = np.empty((SIZE, SIZE, 3), np.uint8)
        resize_scaled(scaled(image, part.shift), 1 << part.shift, part.box, part.target, part.offset, sample)
    else:
        kind = Image.Resampling.BICUBIC if part.cubic else Image.Resampling.BILINEAR
        pixels = Image.fromarray(simplejpeg.decode_jpeg(image.data, "RGB"))
        pixels = pixels.crop((left, top, left + width, top + height)).resize((part.target[0], height), kind)
        sample = np.asarray(pixels.resize(part.target, kind))[y : y + SIZE, x : x + SIZE]
    return sample[:, ::-1] if part.flip else sample


def scaled(image: EncodedImage, shift: int) -> U8:
    """Return the image that libjpeg-turbo decodes at 1 / 2 ** shift."""
    height, width = (-(-length // (1 << shift)) for length in simplejpeg.decode_jpeg_header(image.data)[:2])
    return simplejpeg.decode_jpeg(image.data, "RGB", min_width=width, min_height=height)
