"""Crop boxes and flips: which part of each image becomes the sample.

Every loader uses the same boxes, so two loaders differ only in speed. Each box is a pure function of (seed, epoch,
draw key) and the image's size. The draw key is the sample index, unless a sample appears again in an epoch
(``sampling.draw_keys``). Workers, ranks and resumes cannot change the box. The random numbers of a whole batch are
drawn at once, because numpy takes 50 us per call and almost nothing per sample.

The train transform is torchvision's RandomResizedCrop (from Szegedy et al., Going Deeper with Convolutions, 2014).
It tries up to ten boxes, by default with an area of 8 to 100 % and an aspect ratio of 3/4 to 4/3. If none fits, it
takes the largest centred box within those ratios. Rounding and order follow
torchvision.transforms.RandomResizedCrop.get_params.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...prep import uniforms
from ..spec import LoaderSpec
from ..transform_fields import FLIP, RATIO, SCALE

TRIES = 10
DRAWS = 4 * TRIES + 1  # area, ratio, left and top of each try, and the flip


TRAIN, EVAL, RESIZE = 0, 1, 2


class Framing(NamedTuple):
    """What a spec says about the part of an image that becomes the sample, in numbers for compiled functions."""

    kind: int
    """TRAIN, EVAL or RESIZE."""
    size: int
    short: int
    """The short side after the resize of EVAL, or 0 for that of ``eval_size``."""
    scale_low: float
    scale_high: float
    ratio_low: float
    ratio_high: float
    flip: float
    scaled: bool
    """Whether images are decoded at a smaller size where the crop allows."""
    cubic: bool
    """Whether the resize is bicubic."""


class Frame(NamedTuple):
    """How one image becomes a sample. Lengths are in pixels."""

    box: tuple[int, int, int, int]
    """The part that is resized: left, top, width and height."""
    target: tuple[int, int]
    """Width and height that the box is resized to."""
    offset: tuple[int, int]
    """Left and top of the sample within the resized box."""
    flip: bool


class Crop(NamedTuple):
    """A box in an image, in pixels, and whether it is mirrored left to right."""

    left: int
    top: int
    width: int
    height: int
    flip: bool


def draw_crops(keys: npt.NDArray[np.int64], *, seed: int, epoch: int) -> npt.NDArray[np.float64]:
    """Return the random numbers of each sample's crop, float64 (N, 41) in [0, 1), for draw keys int64 (N,)."""
    return uniforms(keys, DRAWS, seed, epoch)


def train_crop(
    draws: Sequence[float],
    width: int,
    height: int,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
    flip: float = FLIP,
) -> Crop:
    """Return the crop of an image of ``width`` x ``height`` pixels for one row of ``draw_crops``."""
    flipped = draws[-1] < flip
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    for first in range(0, 4 * TRIES, 4):
        area = width * height * (scale[0] + (scale[1] - scale[0]) * draws[first])
        aspect = math.exp(log_low + (log_high - log_low) * draws[first + 1])
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(draws[first + 2] * (width - w + 1)), int(draws[first + 3] * (height - h + 1))
            return Crop(left, top, w, h, flipped)
    w = max(1, round(height * ratio[1])) if width / height > ratio[1] else width
    h = max(1, round(width / ratio[0])) if width / height < ratio[0] else height
    return Crop((width - w) // 2, (height - h) // 2, w, h, flipped)


def eval_size(width: int, height: int, image_size: int, resize_size: int = 0) -> tuple[int, int]:
    """Return (width, height) in pixels after the eval resize, with the same aspect ratio.

    The short side is ``resize_size``, or image_size * 256 / 224 for 0.
    """
    short = resize_size if resize_size > 0 else round(image_size * 256 / 224)
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def eval_offset(length: int, image_size: int) -> int:
    """Return where the centre crop begins along one side of ``length`` pixels, as torchvision's CenterCrop."""
    return round((length - image_size) / 2.0)


def framing_of(spec: LoaderSpec) -> Framing:
    """Return the numbers of a spec with an image size."""
    kind = {"train": TRAIN, "eval": EVAL, "resize": RESIZE}[spec.transform]
    cubic = spec.interpolation == "bicubic"
    return Framing(kind, spec.side, spec.resize_size or 0, *spec.scale, *spec.ratio, spec.flip, spec.dct_scaling, cubic)


def frame(draws: Sequence[float], width: int, height: int, framing: Framing) -> Frame:
    """Return how an image of ``width`` x ``height`` pixels becomes a sample.

    ``draws`` is one row of ``draw_crops``, of which only the train transform reads.
    """
    size = framing.size
    if framing.kind == TRAIN:
        scale, ratio = (framing.scale_low, framing.scale_high), (framing.ratio_low, framing.ratio_high)
        left, top, w, h, flip = train_crop(draws, width, height, scale, ratio, framing.flip)
        return Frame((left, top, w, h), (size, size), (0, 0), flip)
    if framing.kind == RESIZE:
        return Frame((0, 0, width, height), (size, size), (0, 0), False)
    target_width, target_height = eval_size(width, height, size, framing.short)
    offset = eval_offset(target_width, size), eval_offset(target_height, size)
    return Frame((0, 0, width, height), (target_width, target_height), offset, False)
