"""Loss, top-1 and top-5 as sums over samples, divided once at the end.

An average of batch averages weighs the samples of a smaller last batch more. Sums do not, and sums of several
processes add up to exactly what one process would have counted.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)

from ..prep import TrainingError


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What a model reaches on a set of samples."""

    loss: float
    """Mean cross-entropy, in nats."""
    top1: float
    """Share, 0 to 1, of samples whose class has the highest score."""
    top5: float
    """Share, 0 to 1, of samples whose class is among the five highest scores; with fewer classes, among all."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """The same, not yet divided."""

    images: int = 0
    loss: float = 0.0
    top1: int = 0
    top5: int = 0

    @classmethod
    def of(cls, logits: torch.Tensor, labels: torch.Tensor) -> "Sums":
        """Return the sums of one batch: ``logits`` (N, C) float, ``labels`` (N,) int64, on one device.

        Raises TrainingError when the loss is not finite.
        """
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        loss = F.cross_entropy(logits, labels, reduction="sum")
        # One transfer, because each one waits for the device. float64 holds every count exactly.
        values = torch.stack([loss.double(), best[:, 0].sum().double(), best.sum().double()]).tolist()
        if not math.isfinite(values[0]):
            raise TrainingError(f"the loss became {values[0]}")
        return cls(images=len(labels), loss=values[0], top1=int(values[1]), top5=int(values[2]))

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            images=self.images + other.images,
            loss=self.loss + other.loss,
            top1=self.top1 + other.top1,
            top5=self.top5 + other.top5,
        )

    def metrics(self) -> Metrics:
        """Return the means over the samples, of which there must be one at least."""
        return Metrics(loss=self.loss / self.images, top1=self.top1 / self.images, top5=self.top5 / self.images)
