"""Loss, top-1 and top-5 as sums over samples, divided once at the end.

An average of batch averages gives more weight to the samples of a smaller last batch. Sums do not, and the sums of
several processes add up to exactly what one process would count. A batch's sums are computed on its device and stay
there: a step that read them would wait for the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)

from ..prep import TrainingError


class NotFinite(TrainingError):
    """The loss is infinite or not a number."""

    def __init__(self, message: str, step: int) -> None:
        """``step`` is that of the loss, counted from 1 at the start of the run."""
        super().__init__(message)
        self.step = step


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
    def from_values(cls, values: Sequence[float]) -> "Sums":
        """Return the sums that ``values()`` or ``batch_sums`` gave, possibly added up over ranks."""
        images, loss, top1, top5 = values
        return cls(images=int(images), loss=loss, top1=int(top1), top5=int(top5))

    def values(self) -> list[float]:
        """Return images, loss, top-1 and top-5, each exact in float64."""
        return [self.images, self.loss, self.top1, self.top5]

    def __add__(self, other: "Sums") -> "Sums":
        return Sums.from_values([left + right for left, right in zip(self.values(), other.values(), strict=True)])

    def metrics(self) -> Metrics:
        """Return the means over the samples; there must be at least one."""
        return Metrics(loss=self.loss / self.images, top1=self.top1 / self.images, top5=self.top5 / self.images)


def batch_sums(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return images, loss, top-1 and top-5 of one batch, float64 (4,), without waiting for the device.

    ``logits`` (N, C) float and ``labels`` are on that device. Labels are int64 (N,), or float32 (N, C) for mixed
    images: then the loss is the cross-entropy of these shares, and the label is that of the largest share. float64
    holds every count exactly.
    """
    label = labels.argmax(1) if labels.ndim == 2 else labels
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == label[:, None]
    loss = F.cross_entropy(logits.float(), labels, reduction="sum")
    images = torch.full_like(loss, len(labels), dtype=torch.float64)
    return torch.stack([images, loss.double(), best[:, 0].sum().double(), best.sum().double()])
