"""torchvision's ResNets by name, with fresh weights and a head for the data set's classes.

Nothing is ever downloaded. The last normalisation of every residual block starts at zero, so that each block
starts as the identity (Goyal et al., 2017, section 5.1): short runs gain the most from it.
"""

from collections.abc import Callable

import torch
from torchvision.models import ResNet, resnet18, resnet34, resnet50, resnet101

from ..prep import TrainingError

MODELS: dict[str, Callable[..., ResNet]] = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
}


def build_model(name: str, classes: int, seed: int) -> ResNet:
    """Return a ResNet for float32 (N, 3, H, W) in channels_last, giving (N, ``classes``); ``seed`` fixes its weights.

    torch's global generator is left as it was. Raises TrainingError for an unknown name.
    """
    if name not in MODELS:
        raise TrainingError(f"unknown model {name!r}; choose one of: {', '.join(MODELS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[name](num_classes=classes, zero_init_residual=True)
    return model.to(memory_format=torch.channels_last)
