"""A policy applied to a batch: for each image, its operations with its strengths."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ..settings.policy import MOST_BINS, MOST_LEVEL, Policy
from . import operations
from .draws import Rng, on_device, per_image
from .operations import Operation
from .spaces import F64, Entry, space_of

KERNELS: dict[str, Operation] = {
    name: getattr(operations, name)
    for name in (
        *("brightness", "saturation", "contrast", "sharpness", "posterize", "solarize", "solarize_add"),
        *("auto_contrast", "equalize", "invert"),
    )
}
"""The operations that change colours. The others move pixels, by ``warp``."""

# Outside of a moved image, torchvision's reference training puts black, and timm ImageNet's mean colour.
FILL = {"rand": (0, 0, 0), "trivial": (0, 0, 0), "timm": (124, 116, 104)}


def apply_policy(images: torch.Tensor, policy: Policy, rng: Rng) -> torch.Tensor:
    """Return the images, uint8 (N, 3, H, W), each after the operations that ``rng`` draws for it."""
    height, width = images.shape[2:]
    space = space_of(policy, height, width)
    for _ in range(policy.layers):
        choices = rng.integers(len(space), size=len(images))
        choices[rng.random(len(images)) >= policy.probability] = -1
        levels, negative = _levels(policy, rng, len(images)), rng.random(len(images)) < 0.5
        for number, entry in enumerate(space):
            rows = np.flatnonzero(choices == number)
            if len(rows) and entry.operation != "identity":
                strengths = strengths_of(entry, levels[rows], negative[rows])
                place = on_device(rows, images)
                changed = apply_operation(entry.operation, images[place], strengths, FILL[policy.family])
                images = images.index_copy(0, place, changed)
    return images


def _levels(policy: Policy, rng: Rng, count: int) -> F64:
    """Return a level for each image: any bin, the policy's own, or one near it."""
    if policy.family == "trivial":
        return rng.integers(MOST_BINS + 1, size=count).astype(np.float64)
    if policy.deviation:
        return rng.normal(policy.magnitude, policy.deviation, count).clip(0, MOST_LEVEL)
    return np.full(count, policy.magnitude)


def strengths_of(entry: Entry, levels: F64, negative: npt.NDArray[np.bool_]) -> F64:
    """Return the strengths of an operation; ``negative`` says for each image whether a signed one is negated."""
    strengths = entry.strength(levels)
    if entry.signed:
        strengths = np.where(negative, -strengths, strengths)
    return np.maximum(strengths + entry.around, entry.least)


def apply_operation(name: str, images: torch.Tensor, strengths: F64, fill: Sequence[int]) -> torch.Tensor:
    """Return the images after one operation, each with its strength."""
    if name in KERNELS:
        return KERNELS[name](images, per_image(strengths, images))
    height, width = images.shape[2:]
    matrices = _matrices(name, strengths, height, width)
    return operations.warp(images, on_device(matrices, images), fill)


def _matrices(name: str, strengths: F64, height: int, width: int) -> F64:
    """Return the maps from places of the result to places of the source, float64 (N, 2, 3), as ``warp`` takes them.

    Images are sheared around their upper left corner and rotated around their centre, as in torchvision and Pillow.
    """
    matrices = np.zeros((len(strengths), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = 1
    if name == "shear_x":
        matrices[:, 0, 1], matrices[:, 0, 2] = strengths, strengths * height / 2
    elif name == "shear_y":
        matrices[:, 1, 0], matrices[:, 1, 2] = strengths, strengths * width / 2
    elif name == "translate_x":
        matrices[:, 0, 2] = -strengths
    elif name == "translate_y":
        matrices[:, 1, 2] = -strengths
    else:
        angles = -strengths * math.pi / 180
        matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angles)
        matrices[:, 0, 1], matrices[:, 1, 0] = np.sin(angles), -np.sin(angles)
    return matrices
