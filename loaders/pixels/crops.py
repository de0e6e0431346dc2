"""Crop boxes and flips: which part of each image becomes the sample.

Every loader uses the same boxes, so two loaders differ only in speed. Each box is a pure function of (seed, epoch,
draw key) and the image's size. The draw key is the sample index, unless a sample appears again in an epoch
(``sampling.draw_keys``). Workers, ranks and resumes cannot change the box. The random numbers of a whole batch are
drawn at once, because numpy takes 50 us per call and almost nothing per sample.

The train transform is torchvision's RandomResizedCrop (from Szegedy et al., Going Deeper with Convolutions, 2014).
It tries up to ten boxes with an area of 8 to 100 % and an aspect ratio of 3/4 to 4/3. If none fits, it takes the
largest centred box within those ratios. Rounding and order follow
torchvision.transforms.RandomResizedCrop.get_params.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...prep import uniforms

SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10
DRAWS = 4 * TRIES + 1  # area, ratio, left and top of each try, and the flip


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


def train_crop(draws: Sequence[float], width: int, height: int) -> Crop:
    """Return the crop of an image of ``width`` x ``height`` pixels for one row of ``draw_crops``."""
    flip = draws[-1] < 0.5
    log_low, log_high = math.log(RATIO[0]), math.log(RATIO[1])
    for first in range(0, 4 * TRIES, 4):
        area = width * height * (SCALE[0] + (SCALE[1] - SCALE[0]) * draws[first])
        aspect = math.exp(log_low + (log_high - log_low) * draws[first + 1])
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(draws[first + 2] * (width - w + 1)), int(draws[first + 3] * (height - h + 1))
            return Crop(left, top, w, h, flip)
    w = round(height * RATIO[1]) if width / height > RATIO[1] else width
    h = round(width / RATIO[0]) if width / height < RATIO[0] else height
    return Crop((width - w) // 2, (height - h) // 2, w, h, flip)


def eval_size(width: int, height: int, image_size: int) -> tuple[int, int]:
    """Return (width, height) in pixels after the eval resize: short side image_size * 256 / 224, same aspect ratio."""
    short = round(image_size * 256 / 224)
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def eval_offset(length: int, image_size: int) -> int:
    """Return where the centre crop begins along one side of ``length`` pixels, as torchvision's CenterCrop."""
    return round((length - image_size) / 2.0)
