"""One ResNet trainer for every loader: the same recipe, so that only the loader differs between two runs."""

from .config import TrainConfig, default_device
from .data import default_loader, default_workers
from .metrics import Metrics
from .models import MODELS
from .run import TrainResult, train

__all__ = [
    "MODELS",
    "Metrics",
    "TrainConfig",
    "TrainResult",
    "default_device",
    "default_loader",
    "default_workers",
    "train",
]
