"""MixUp and CutMix: pairs of images and of their labels (Zhang et al., 2017; Yun et al., 2019).

The partner of an image is another one of the batch: the batch is rolled by a random number of places. torchvision rolls
it by one, timm reverses it. Loaders shuffle, so that each is a random pair.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)

from ..settings.names import MixMode
from .draws import Rng, inside, per_image


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How batches are mixed: the settings of the same names without ``mix_``."""

    mixup: float
    cutmix: float
    probability: float
    switch: float
    mode: MixMode


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is drawn for a batch: a value per image, the same for all if the mode is ``batch``."""

    shift: int
    """How far the batch is rolled to give each image its partner."""
    shares: npt.NDArray[np.float64]
    """(N,): the share of the image itself; its partner has the rest."""
    boxes: npt.NDArray[np.int64]
    """(N, 4): the rectangle of the partner, as ``inside`` takes it; empty unless it is CutMix."""

    @property
    def cut(self) -> npt.NDArray[np.bool_]:
        """bool (N,): whether an image has a rectangle."""
        return self.boxes[:, 1] > self.boxes[:, 0]


def mix(images: torch.Tensor, labels: torch.Tensor, classes: int, how: Mix, rng: Rng) -> tuple[torch.Tensor, ...]:
    """Return the mixed images, uint8 (N, 3, H, W), and the mixed labels, float32 (N, ``classes``)."""
    dense = F.one_hot(labels, classes).float()
    if len(images) < 2:
        return images, dense
    height, width = images.shape[2:]
    plan = draw_plan(len(images), height, width, how, rng)
    shares = per_image(plan.shares, images)
    dense = dense * shares[:, :, 0, 0] + dense.roll(plan.shift, 0) * (1 - shares[:, :, 0, 0])
    return _mixed(images, plan, shares), dense


def _mixed(images: torch.Tensor, plan: Plan, shares: torch.Tensor) -> torch.Tensor:
    if (plan.shares == 1).all():
        return images
    partners = images.roll(plan.shift, 0)
    if plan.cut.all():
        return torch.where(inside(plan.boxes, images), partners, images)
    blended = (images * shares + partners * (1 - shares)).round_().to(torch.uint8)
    if not plan.cut.any():
        return blended
    cut = per_image(plan.cut.astype(np.int64), images) > 0
    return torch.where(cut, torch.where(inside(plan.boxes, images), partners, images), blended)


def draw_plan(count: int, height: int, width: int, how: Mix, rng: Rng) -> Plan:
    """Return how a batch of ``count`` images is mixed."""
    draws = 1 if how.mode == "batch" else count
    both = how.mixup > 0 and how.cutmix > 0
    cut = rng.random(draws) < (how.switch if both else float(how.cutmix > 0))
    shares = np.where(cut, _beta(how.cutmix, draws, rng), _beta(how.mixup, draws, rng))
    boxes = _boxes(shares, height, width, rng)
    boxes[~cut] = 0
    boxed = 1 - (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) / (height * width)
    shares = np.where(cut, boxed, shares)
    left = rng.random(draws) >= how.probability
    shares[left], boxes[left] = 1.0, 0
    repeats = count // draws
    return Plan(shift=int(rng.integers(1, count)), shares=shares.repeat(repeats), boxes=boxes.repeat(repeats, 0))


def _beta(alpha: float, count: int, rng: Rng) -> npt.NDArray[np.float64]:
    return rng.beta(alpha, alpha, count) if alpha > 0 else np.ones(count)


def _boxes(shares: npt.NDArray[np.float64], height: int, width: int, rng: Rng) -> npt.NDArray[np.int64]:
    """Return a rectangle for each share, (N, 4): 1 - share of the area, around a random pixel, cut at the border.

    A label has the share of the pixels that are left, so that the cut is counted.
    """
    reach = np.sqrt(1 - shares) / 2
    y, x = rng.integers(height, size=len(shares)), rng.integers(width, size=len(shares))
    tall, wide = (reach * height).astype(np.int64), (reach * width).astype(np.int64)
    rows, columns = (y - tall, y + tall), (x - wide, x + wide)
    return np.stack([*np.clip(rows, 0, height), *np.clip(columns, 0, width)], 1)
