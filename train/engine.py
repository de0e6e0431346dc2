"""One training step and one evaluation pass: all that touches the model, and nothing that touches a file.

Loaders hand out uint8 pictures; they become normalised floats here, on the device, so that a quarter of the bytes
cross the bus and no worker spends time on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from ..loaders import Batch, Loader
from .metrics import Sums

# Mean and deviation of ImageNet's RGB values scaled to 0..1: what every published ResNet was trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

WARMUP_START = 0.01  # of the learning rate: torchvision's reference training starts its warm-up there


class Normalise(nn.Module):
    """uint8 (N, 3, H, W) to float32 of the same shape and memory format, zero mean and unit deviation on ImageNet.

    A module of its own, so that the model's weights stay those of a plain torchvision ResNet.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).view(3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().sub_(self.mean).div_(self.std)


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model with what changes its weights: the optimiser and the schedule of its learning rate."""

    model: nn.Module
    normalise: Normalise
    optimiser: Optimizer
    schedule: LRScheduler

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.schedule.get_last_lr()[0])

    def step(self, batch: Batch) -> Sums:
        """Train on one batch; return its sums as the model saw it, before the weights changed.

        Raises TrainingError when the loss is not finite; the weights are then still those of the step before.
        """
        self.model.train()
        logits = cast(torch.Tensor, self.model(self.normalise(batch.images)))
        loss = F.cross_entropy(logits, batch.labels)
        sums = Sums.of(logits.detach(), batch.labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return sums

    def evaluate(self, loader: Loader) -> Iterator[Sums]:
        """Yield the sums of each batch of the loader's epoch, without learning from it."""
        for batch in loader:
            self.model.eval()
            with torch.inference_mode():
                sums = Sums.of(self.model(self.normalise(batch.images)), batch.labels)
            yield sums


def build_learner(
    model: nn.Module, *, device: str, lr: float, momentum: float, weight_decay: float, warmup_steps: int, steps: int
) -> Learner:
    """Return a learner on ``device`` whose learning rate rises for ``warmup_steps`` and is near 0 after ``steps``."""
    model = model.to(device)
    optimiser = SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0)
    schedule = build_schedule(optimiser, warmup_steps, steps)
    return Learner(model=model, normalise=Normalise().to(device), optimiser=optimiser, schedule=schedule)


def build_schedule(optimiser: Optimizer, warmup_steps: int, steps: int) -> LRScheduler:
    """Return a linear warm-up followed by a cosine to zero, stepped once per training step."""
    if warmup_steps == 0:
        return CosineAnnealingLR(optimiser, T_max=steps)
    warmup = LinearLR(optimiser, start_factor=WARMUP_START, total_iters=warmup_steps)
    cosine = CosineAnnealingLR(optimiser, T_max=steps - warmup_steps)
    return SequentialLR(optimiser, [warmup, cosine], milestones=[warmup_steps])
