"""The optimisers of a run, and which weights decay how much."""

from importlib import import_module
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from ...prep import TrainingError
from ..config import TrainConfig

NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)


def build_optimiser(model: nn.Module, config: TrainConfig, *, fused: bool) -> Optimizer:
    """Return the run's optimiser. ``config`` must be resolved. Raises TrainingError for LAMB without timm.

    A ``fused`` optimiser runs one kernel for all weights, and skips an fp16 step without asking the device. LAMB has no
    such form.
    """
    assert config.lr is not None
    groups = weight_groups(model, config)
    if config.optimiser == "lamb":
        return _lamb(groups, config.lr)
    if config.optimiser == "adamw":
        return AdamW(groups, lr=config.lr, fused=fused)
    nesterov = config.nesterov and config.momentum > 0
    return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=fused)


def weight_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Return the weights in groups of equal decay: matrices and kernels first, then vectors.

    Decay of vectors does not regularise (He et al., Bag of Tricks, 2019, section 3.1), so that by default they have
    none. Vectors of normalisations are a group of their own only if their decay differs from that of the others.
    """
    weights = list(model.parameters())
    of_norms = {id(weight) for module in model.modules() if isinstance(module, NORMS) for weight in module.parameters()}
    vectors = [weight for weight in weights if weight.ndim <= 1]
    groups = [{"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": config.weight_decay}]
    if config.norm_weight_decay == config.bias_weight_decay:
        return [*groups, {"params": vectors, "weight_decay": config.norm_weight_decay}]
    norms = [weight for weight in vectors if id(weight) in of_norms]
    others = [weight for weight in vectors if id(weight) not in of_norms]
    return [
        *groups,
        {"params": norms, "weight_decay": config.norm_weight_decay},
        {"params": others, "weight_decay": config.bias_weight_decay},
    ]


def _lamb(groups: list[dict[str, Any]], lr: float) -> Optimizer:
    try:
        optim: Any = import_module("timm.optim")
    except ModuleNotFoundError as error:
        raise TrainingError("the optimiser lamb needs timm; install it with: pip install timm") from error
    return optim.Lamb(groups, lr=lr)
