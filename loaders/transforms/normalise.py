"""``Normalise``: from the uint8 images of a batch to the floats that a model takes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

# Mean and deviation of ImageNet's RGB values scaled to 0..1. Every published ResNet was trained with them.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Normalise(nn.Module):
    """Convert images uint8 (..., 3, H, W) to float32 of the same shape and memory format.

    The result has zero mean and unit deviation on the data that ``mean`` and ``std`` come from: RGB values scaled to
    0..1, by default those of ImageNet. Further inputs, such as labels, are returned as they are, so that it can be a
    ``batch_transform``, alone or in ``v2.Compose``. It is a module, so that ``.to(device)`` moves its numbers. It also
    takes images of another device than its own.
    """

    mean: torch.Tensor
    """float32 (3, 1, 1), in grey levels: 255 times what was given."""
    std: torch.Tensor
    """As ``mean``."""

    def __init__(self, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            numbers = torch.tensor(tuple(values), dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, 255 * numbers, persistent=False)

    def forward(self, images: torch.Tensor, *others: Any) -> Any:
        """Return the images, or a tuple of the images and the other inputs."""
        if self.mean.device != images.device:
            self.to(images.device)
        floats = images.float() if images.dtype != torch.float32 else images.clone()
        floats = floats.sub_(self.mean).div_(self.std)
        return (floats, *others) if others else floats
