"""The loss of a train batch, whose labels are class indexes or, if images were mixed, a share for each class."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)

from ..config import TrainConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From scores (N, C) and labels, int64 (N,) or float32 (N, C), to the mean over the samples."""


def loss_of(config: TrainConfig) -> Loss:
    """Return the loss of a run, with its label smoothing."""

    def cross_entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(scores, labels, label_smoothing=config.label_smoothing)

    def binary_cross_entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        targets = smoothed(labels, scores.shape[1], config.label_smoothing)
        if config.bce_threshold is not None:
            targets = (targets > config.bce_threshold).float()
        return F.binary_cross_entropy_with_logits(scores.float(), targets)

    return cross_entropy if config.loss == "ce" else binary_cross_entropy


def smoothed(labels: torch.Tensor, classes: int, smoothing: float) -> torch.Tensor:
    """Return labels as a share for each class, float32 (N, C), of which ``smoothing`` is spread over all classes."""
    dense = labels if labels.ndim == 2 else F.one_hot(labels, classes).float()
    return dense * (1 - smoothing) + smoothing / classes


def distillation(scores: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the divergence of the scores from those of the teacher, both (N, C): the mean over the samples, in nats.

    It is multiplied by the square of the temperature, so that the gradient keeps its size (Hinton et al., 2015,
    section 2).
    """
    own, theirs = (F.log_softmax(part.float() / temperature, dim=1) for part in (scores, taught))
    return F.kl_div(own, theirs, reduction="batchmean", log_target=True) * temperature**2
