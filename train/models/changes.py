"""Changes of a model that recipes make: stochastic depth in torchvision's ResNets, blur in strided convolutions.

Neither adds weights, so that the same seed gives the same weights with and without them.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import stochastic_depth

# As in FFCV's training: the convolution of the stem, which reads 3 channels, is not blurred.
BLURRED_FROM = 16  # input channels

DROPPING = ("DropPath", "StochasticDepth", "DroppedNorm")
"""The names of the modules of timm, torchvision and this project that leave out a block."""


class DroppedNorm(nn.BatchNorm2d):
    """The last normalisation of a residual block, whose result is left out for some samples of a train batch."""

    def __init__(self, features: int, probability: float) -> None:
        super().__init__(features)
        self.probability = probability

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return stochastic_depth(super().forward(input), self.probability, "row", self.training)


class BlurredConv2d(nn.Conv2d):
    """A convolution of its blurred input (Zhang, Making Convolutional Networks Shift-Invariant Again, 2019).

    The kernel has the weights (1, 2, 1) in each direction. Its buffer is part of the state dict, so that a model
    without the blur refuses these weights.
    """

    blur: torch.Tensor

    def __init__(self, plain: nn.Conv2d) -> None:
        """Take over the settings and the weights of ``plain``."""
        settings: dict[str, Any] = {
            name: getattr(plain, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")
        }
        kernel = cast(tuple[int, int], plain.kernel_size)
        super().__init__(plain.in_channels, plain.out_channels, kernel, **settings, bias=plain.bias is not None)
        self.weight, self.bias = plain.weight, plain.bias
        line = torch.tensor([1.0, 2.0, 1.0], device=plain.weight.device) / 4
        self.register_buffer("blur", torch.outer(line, line).repeat(plain.in_channels, 1, 1, 1))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(F.conv2d(input, self.blur, padding=1, groups=self.in_channels))


def drop_blocks(model: nn.Module, probability: float) -> None:
    """Give torchvision's residual blocks stochastic depth, from 0 in the first to ``probability`` in the last.

    timm does the same with its ResNets.
    """
    blocks = [module for module in model.modules() if isinstance(module, (BasicBlock, Bottleneck))]
    for number, block in enumerate(blocks):
        name = "bn3" if isinstance(block, Bottleneck) else "bn2"
        plain = getattr(block, name)
        dropped = DroppedNorm(plain.num_features, probability * number / max(1, len(blocks) - 1))
        dropped.weight, dropped.bias = plain.weight, plain.bias
        setattr(block, name, dropped)


def drops_blocks(model: nn.Module) -> bool:
    """Return whether the model has a module that leaves out blocks."""
    return any(type(module).__name__ in DROPPING for module in model.modules())


def blur_strided(model: nn.Module) -> int:
    """Blur the input of every strided convolution of 16 or more channels; return their number."""
    count = 0
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and max(child.stride) > 1 and child.in_channels >= BLURRED_FROM:
                setattr(module, name, BlurredConv2d(child))
                count += 1
    return count
