"""torchvision's ResNets by name, with random weights, a head for the data set's classes and a stem for its images.

This module downloads nothing. The last normalisation of every residual block starts at zero, so that each block starts
as the identity (Goyal et al., 2017, section 5.1); short runs gain the most from this. The small stem is that of the
ResNets for CIFAR (He et al., 2016, section 4.2): one 3x3 convolution with stride 1, and no max-pool.
"""

from collections.abc import Callable

import torch
from torch import nn
from torchvision.models import ResNet, resnet18, resnet34, resnet50, resnet101

from ..prep import TrainingError
from .config import Stem

MODELS: dict[str, Callable[..., ResNet]] = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
}
"""The models by name, as functions that return one without trained weights, given ``num_classes``."""


def build_model(name: str, classes: int, *, stem: Stem, seed: int) -> ResNet:
    """Return a ResNet from float32 (N, 3, H, W) to scores (N, ``classes``); ``seed`` determines its weights.

    ``stem`` is ``imagenet`` or ``small``. The state of torch's global generator does not change. Raises TrainingError
    for an unknown name.
    """
    if name not in MODELS:
        raise TrainingError(f"unknown model {name!r}; choose one of: {', '.join(MODELS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[name](num_classes=classes, zero_init_residual=True)
        if stem == "small":
            model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
            setattr(model, "maxpool", nn.Identity())  # noqa: B010  (typed as MaxPool2d)
    return model
