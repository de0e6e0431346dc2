"""One ResNet trainer for every loader: the same recipe, so that only the loader differs between two runs."""

from .checkpoint import export_weights
from .choose import Choice
from .compare import Comparison, Disagreement, Verdict, compare
from .config import AUTO, TrainConfig, default_device
from .data import default_loader, default_workers
from .evaluate import EvaluateConfig, Evaluation, evaluate
from .gallery import write_gallery
from .metrics import Metrics
from .models import MODELS
from .result import TrainResult
from .run import train
from .summary import Summary, summarise_model

__all__ = [
    "AUTO",
    "MODELS",
    "Choice",
    "Comparison",
    "Disagreement",
    "EvaluateConfig",
    "Evaluation",
    "Metrics",
    "Summary",
    "TrainConfig",
    "TrainResult",
    "Verdict",
    "compare",
    "default_device",
    "default_loader",
    "default_workers",
    "evaluate",
    "export_weights",
    "summarise_model",
    "train",
    "write_gallery",
]
