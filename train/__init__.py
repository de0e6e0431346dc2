"""One ResNet trainer for every loader: the recipe is the same, so that only the loader differs between two runs.

``feedline.train`` is this package and can be called: ``feedline.train(config)`` is ``feedline.train.train(config)``.
A function named ``train`` in ``feedline`` would not work: importing a submodule binds the package to that name and
replaces the function. Instead, this module sets its own class (Python's data model, "Customizing module attribute
access").
"""

import sys
from types import ModuleType
from typing import Any

from .checkpoint import export_weights, resume_command
from .choose import Choice
from .config import AUTO, RecipeUse, TrainConfig, default_device
from .data import default_loader, default_workers
from .evaluation.compare import Comparison, Disagreement, Prediction, compare
from .evaluation.evaluate import Evaluation, evaluate
from .evaluation.gallery import write_gallery
from .evaluation.predictions import EvaluateConfig
from .metrics import Metrics
from .models import MODELS
from .models.summary import Summary, summarise_model
from .planning import Disk, Memory, RatePoint, RunPlan, SizeSpan, plan_run
from .recipes import Published, Recipe, Source, read_recipe, recipe_config, recipe_names
from .result import TrainResult
from .run import resumed_config, train

__all__ = [
    "AUTO",
    "MODELS",
    "Choice",
    "Comparison",
    "Disagreement",
    "Disk",
    "EvaluateConfig",
    "Evaluation",
    "Memory",
    "Metrics",
    "Prediction",
    "Published",
    "RatePoint",
    "Recipe",
    "RecipeUse",
    "RunPlan",
    "SizeSpan",
    "Source",
    "Summary",
    "TrainConfig",
    "TrainResult",
    "compare",
    "default_device",
    "default_loader",
    "default_workers",
    "evaluate",
    "export_weights",
    "plan_run",
    "read_recipe",
    "recipe_config",
    "recipe_names",
    "resume_command",
    "resumed_config",
    "summarise_model",
    "train",
    "write_gallery",
]


class _CallablePackage(ModuleType):
    """A package that can be called. The call runs the function of the same name in it."""

    def __call__(self, config: TrainConfig, *arguments: Any, **keywords: Any) -> TrainResult:
        return train(config, *arguments, **keywords)


sys.modules[__name__].__class__ = _CallablePackage
