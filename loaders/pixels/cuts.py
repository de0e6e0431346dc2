"""The cut of an encoded image: which part to decode, and which of its pixels become the sample.

A cut is only a plan. It is the same for every decoder: libjpeg-turbo on the CPU, with or without DCT scaling, or
nvJPEG on the GPU. From an image with tiles, a cut takes only the tiles that the crop touches.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from ...prep import SampleError
from ...prep.images.splice import splice_rows
from ...prep.images.tiles import Box, Tiles
from ..spec import Interpolation, LoaderSpec
from ..support.encoded import EncodedImage
from .crops import frame, framing_of
from .dct_scaling import dct_scale

U8 = npt.NDArray[np.uint8]


class Cut(NamedTuple):
    """A JPEG and what to do with its pixels. Lengths are in pixels."""

    data: U8
    size: tuple[int, int]
    """Width and height of the JPEG."""
    box: Box
    """The part of the JPEG that is resized; the other pixels are ignored."""
    scale: int
    """The factor by which the decoder makes it smaller: 1, or 2, 4 or 8 in the DCT."""
    target: tuple[int, int]
    """Width and height that the box is resized to."""
    offset: tuple[int, int]
    """Left and top of the sample within the resized box."""
    flip: bool
    interpolation: Interpolation = "bilinear"


def cut_out(image: EncodedImage, draws: Sequence[float], spec: LoaderSpec) -> Cut:
    """Return the cut of one sample; ``draws`` are its numbers from ``draws_of``.

    Raises ValueError for an image that libjpeg-turbo rejects and Pillow may accept, and SampleError for tiles that
    are not where the index says.
    """
    data, tiles = image.data, image.tiles if spec.transform == "train" else None
    width, height = jpeg_size(data) if tiles is None else (tiles.width, tiles.height)
    box, target, offset, flip = frame(draws, width, height, framing_of(spec))
    scale = dct_scale(box, target) if spec.dct_scaling else 1
    if tiles is not None:
        data, box = splice_for(data, tiles, box, scale)
        width, height = jpeg_size(data)
    return Cut(data, (width, height), box, scale, target, offset, flip, spec.interpolation)


def cut_pixels(width: int, height: int, draws: Sequence[float], spec: LoaderSpec) -> Cut:
    """Return the cut of an image that is pixels already, uint8 (height, width, 3); its ``data`` is empty."""
    box, target, offset, flip = frame(draws, width, height, framing_of(spec))
    return Cut(np.empty(0, np.uint8), (width, height), box, 1, target, offset, flip, spec.interpolation)


def splice_for(data: U8, tiles: Tiles, box: Box, scale: int) -> tuple[U8, Box]:
    """Return a JPEG of the tiles that decoding the box at 1 / ``scale`` needs, and the box within it."""
    left, top, width, height = box
    # A decoder that scales interpolates chroma only where it is subsampled in one direction, from a neighbour twice
    # as wide as a scaled pixel, which may itself begin at the box's last pixel.
    margin = 3 * scale if scale > 1 and tiles.mcu_width != tiles.mcu_height else 0
    first, first_row = max(left - margin, 0), max(top - margin, 0)
    stop, stop_row = min(left + width + margin, tiles.width), min(top + height + margin, tiles.height)
    part = first, first_row, stop - first, stop_row - first_row
    data, x, y = splice_rows(data, tiles.scan, tiles.row_lengths, tiles.grid, part)
    if not len(data):
        raise SampleError("its tiles are not where the index says; rebuild it with: feedline shard --index-only DIR")
    return data, (x + left - first, y + top - first_row, width, height)


def jpeg_size(data: U8) -> tuple[int, int]:
    """Return a JPEG's width and height. Raises ValueError for another file, and for an image too large for Pillow."""
    height, width = map(int, simplejpeg.decode_jpeg_header(data)[:2])
    # A header may claim 65,535 x 65,535 pixels, 13 GB. Pillow, which reads the image next, rejects it by name.
    if Image.MAX_IMAGE_PIXELS and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"{width} x {height} pixels")
    return width, height
