"""Loss, top-1 and top-5 as sums over samples, divided once at the end.

An average of batch averages gives more weight to the samples of a smaller last batch. Sums do not, and the sums of
several processes add up to exactly what one process would count.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)

from ..prep import TrainingError


class NotFinite(TrainingError):
    """The loss is infinite or not a number."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Loss and accuracies of a model on a set of samples."""

    loss: float
    """Mean cross-entropy, in nats."""
    top1: float
    """Share of samples whose class has the highest score, 0 to 1."""
    top5: float
    """Share of samples whose class is among the five highest scores, 0 to 1; among all scores with fewer classes."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """The sums that ``Metrics`` are the means of, with the number of images."""

    images: int = 0
    loss: float = 0.0
    top1: int = 0
    top5: int = 0

    @classmethod
    def of(cls, logits: torch.Tensor, labels: torch.Tensor) -> "Sums":
        """Return the sums of one batch: ``logits`` (N, C) float, ``labels`` (N,) int64, on one device."""
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        loss = F.cross_entropy(logits.float(), labels, reduction="sum")
        # One transfer for all, because each waits for the device. float64 holds every count exactly.
        values = torch.stack([loss.double(), best[:, 0].sum().double(), best.sum().double()]).tolist()
        return cls.from_values([len(labels), *values])

    @classmethod
    def from_values(cls, values: list[float]) -> "Sums":
        """Return the sums that ``values()`` gave, possibly added up over ranks."""
        images, loss, top1, top5 = values
        return cls(images=int(images), loss=loss, top1=int(top1), top5=int(top5))

    def values(self) -> list[float]:
        """Return images, loss, top-1 and top-5, each exact in float64."""
        return [self.images, self.loss, self.top1, self.top5]

    def __add__(self, other: "Sums") -> "Sums":
        return Sums.from_values([left + right for left, right in zip(self.values(), other.values(), strict=True)])

    def require_finite(self) -> "Sums":
        """Return these sums; raise NotFinite if the loss is not finite."""
        if not math.isfinite(self.loss):
            raise NotFinite(f"the loss became {self.loss}")
        return self

    def metrics(self) -> Metrics:
        """Return the means over the samples; there must be at least one."""
        return Metrics(loss=self.loss / self.images, top1=self.top1 / self.images, top5=self.top5 / self.images)
