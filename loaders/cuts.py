"""What to decode of an undecoded picture, and which part of the pixels becomes the sample.

This is the plan alone, the same wherever the pixels are then made: by libjpeg-turbo on the CPU, DCT-scaled or not,
or by nvJPEG on the GPU. From a picture with tiles only those that the crop touches are taken.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from ..prep import SampleError
from ..prep.splice import splice_rows
from .base import LoaderSpec
from .crops import eval_offset, eval_size, train_crop
from .encoded import EncodedPicture

U8 = npt.NDArray[np.uint8]


class Cut(NamedTuple):
    """A JPEG and what to do with its pixels. Lengths are in pixels."""

    data: U8
    size: tuple[int, int]
    """Width and height of the JPEG."""
    box: tuple[int, int, int, int]
    """Left, top, width and height of the part of it that is resized, alone."""
    target: tuple[int, int]
    """Width and height that the box is resized to."""
    offset: tuple[int, int]
    """Left and top of the sample within the resized box."""
    flip: bool


def cut_out(picture: EncodedPicture, draws: Sequence[float], spec: LoaderSpec) -> Cut:
    """Return the cut of one sample; ``draws`` are its numbers of ``draws_of``.

    Raises ValueError for a picture that libjpeg-turbo does not know, which Pillow may know, and SampleError for
    tiles that are not where the index says.
    """
    if spec.transform == "train":
        return _train(picture, draws, spec.image_size)
    width, height = jpeg_size(picture.data)
    target = eval_size(width, height, spec.image_size)
    left, top = (eval_offset(length, spec.image_size) for length in target)
    return Cut(picture.data, (width, height), (0, 0, width, height), target, (left, top), False)


def _train(picture: EncodedPicture, draws: Sequence[float], size: int) -> Cut:
    data, tiles = picture
    if tiles is None:
        width, height = jpeg_size(data)
        crop = train_crop(draws, width, height)
        return Cut(data, (width, height), crop[:4], (size, size), (0, 0), crop.flip)
    crop = train_crop(draws, tiles.width, tiles.height)
    data, left, top = splice_rows(data, *tiles, *crop[:4])
    if not len(data):
        raise SampleError("its tiles are not where the index says; rebuild it with: feedline shard --index-only DIR")
    return Cut(data, jpeg_size(data), (left, top, crop.width, crop.height), (size, size), (0, 0), crop.flip)


def jpeg_size(data: U8) -> tuple[int, int]:
    """Return a JPEG's width and height; raise ValueError for what is none, or is too large for Pillow too."""
    height, width = map(int, simplejpeg.decode_jpeg_header(data)[:2])
    # A header may claim 65,535 x 65,535 pixels, 13 GB; Pillow, which gets the picture next, refuses it by name.
    if Image.MAX_IMAGE_PIXELS and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"{width} x {height} pixels")
    return width, height
