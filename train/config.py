"""The settings of a training run: frozen, checked when they are made, and written into the run as they were used.

The recipe is the common one for ResNets on ImageNet (Goyal et al., Accurate, Large Minibatch SGD, 2017): SGD with
Nesterov momentum 0.9, weight decay 1e-4, a learning rate of 0.1 per 256 pictures of a batch, a linear warm-up over
the first twentieth of the run (5 of 90 epochs there), then a cosine to zero (Loshchilov and Hutter, 2017).
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..prep import TrainingError

LR_PER_256 = 0.1


def default_device() -> str:
    """Return ``cuda`` where there is a usable one, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(device: str) -> None:
    """Raise TrainingError unless torch can compute on ``device``."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was compiled with CUDA
        raise TrainingError(f"device {device!r} is not available here; use --device cpu") from error


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What to train, on which data, and how. Raises TrainingError for a value that makes no sense."""

    root: Path
    """A dataset root, as ``LoaderSpec.root``."""
    out: Path
    """The run directory: new or empty, or the run that ``resume`` belongs to."""
    loader: str = "imagefolder"
    model: str = "resnet18"
    epochs: int = 10
    batch_size: int = 64
    image_size: int = 224
    """Height and width of the pictures that the model sees, in pixels."""
    lr: float | None = None
    """Learning rate after the warm-up; None means 0.1 per 256 pictures of a batch."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: float = 0.05
    """Share of the run's steps over which the learning rate rises linearly."""
    workers: int = 0
    seed: int = 0
    device: str = field(default_factory=default_device)
    resume: Path | None = None
    """A checkpoint to continue from. Its settings must equal these, apart from places and ``workers``."""

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("image_size", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise TrainingError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise TrainingError(f"lr must be a positive number, got {self.lr}")
        for name in ("momentum", "weight_decay", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 0 and less than 1, got {getattr(self, name)}")

    @property
    def peak_lr(self) -> float:
        """The learning rate after the warm-up."""
        return LR_PER_256 * self.batch_size / 256 if self.lr is None else self.lr
