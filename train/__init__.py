"""One ResNet trainer for every loader: the same recipe, so that only the loader differs between two runs."""

from .checkpoint import export_weights
from .compare import Comparison, Disagreement, Verdict, compare
from .config import TrainConfig, default_device
from .data import default_loader, default_workers
from .evaluate import EvaluateConfig, Evaluation, evaluate
from .gallery import write_gallery
from .metrics import Metrics
from .models import MODELS
from .run import TrainResult, train

__all__ = [
    "MODELS",
    "Comparison",
    "Disagreement",
    "EvaluateConfig",
    "Evaluation",
    "Metrics",
    "TrainConfig",
    "TrainResult",
    "Verdict",
    "compare",
    "default_device",
    "default_loader",
    "default_workers",
    "evaluate",
    "export_weights",
    "train",
    "write_gallery",
]
