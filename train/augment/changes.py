"""Changes of single images besides policies: colour jitter and random erasing."""

import math

import numpy as np
import numpy.typing as npt
import torch

from .apply import apply_operation
from .draws import Rng, inside, on_device

JITTERED = ("brightness", "contrast", "saturation")

# As torchvision and timm have them: the share of the image's area, width / height, and the tries for a rectangle.
ERASED_AREA, ERASED_RATIO, TRIES = (0.02, 1 / 3), (0.3, 3.3), 10
MEAN_COLOUR = (124, 116, 104)
"""ImageNet's mean, which is 0 after the normalisation: what torchvision and timm erase with."""


def jitter_colours(images: torch.Tensor, share: float, rng: Rng) -> torch.Tensor:
    """Return the images with other brightness, contrast and saturation, in an order of their own.

    The factors are uniform between 1 - ``share`` and 1 + ``share``, as in torchvision's ColorJitter without its hue.
    """
    count = len(images)
    factors = rng.uniform(1 - share, 1 + share, (len(JITTERED), count))
    orders = rng.permuted(np.tile(np.arange(len(JITTERED)), (count, 1)), axis=1)
    for turn in range(len(JITTERED)):
        for number, name in enumerate(JITTERED):
            rows = np.flatnonzero(orders[:, turn] == number)
            if len(rows):
                place = on_device(rows, images)
                changed = apply_operation(name, images[place], factors[number, rows], (0, 0, 0))
                images = images.index_copy(0, place, changed)
    return images


def erase(images: torch.Tensor, probability: float, rng: Rng) -> torch.Tensor:
    """Return the images, each with a rectangle of the mean colour with this probability (Zhong et al., 2017)."""
    height, width = images.shape[2:]
    boxes = np.stack([_rectangle(height, width, rng) for _ in range(len(images))])
    boxes[rng.random(len(images)) >= probability] = 0
    mean = torch.empty((1, 3, 1, 1), dtype=torch.uint8, device=images.device)
    for channel, value in enumerate(MEAN_COLOUR):
        mean[:, channel] = value
    return torch.where(inside(boxes, images), mean, images)


def _rectangle(height: int, width: int, rng: Rng) -> npt.NDArray[np.int64]:
    """Return a rectangle as ``inside`` takes it; an empty one if no try fits into the image."""
    areas = height * width * rng.uniform(ERASED_AREA[0], ERASED_AREA[1], TRIES)
    low, high = ERASED_RATIO
    ratios = np.exp(rng.uniform(math.log(low), math.log(high), TRIES))
    tall, wide = np.rint(np.sqrt(areas * ratios)).astype(int), np.rint(np.sqrt(areas / ratios)).astype(int)
    fitting = np.flatnonzero((tall < height) & (wide < width))
    if not len(fitting):
        return np.zeros(4, np.int64)
    rows, columns = int(tall[fitting[0]]), int(wide[fitting[0]])
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    return np.array([top, top + rows, left, left + columns], np.int64)
