"""Torchvision's crop and flip, for the peers that have no transforms themselves.

As torchvision's documentation recommends, these are transforms v2 on uint8 tensors, antialiased. The memory layout of
the result is (H, W, 3), so that a stack of such images is a channels_last batch and the caller's thread copies nothing.
"""

import torch
from torchvision.transforms import v2


def crop_and_flip(size: int) -> v2.Transform:
    """Return a transform from a PIL image or a uint8 (3, H, W) tensor to a uint8 (size, size, 3) tensor."""
    return v2.Compose(
        [
            v2.ToImage(),
            v2.RGB(),
            v2.RandomResizedCrop(size, scale=(0.08, 1), ratio=(3 / 4, 4 / 3), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToPureTensor(),
            v2.Lambda(_channels_last),
        ]
    )


def _channels_last(image: torch.Tensor) -> torch.Tensor:
    return image.permute(1, 2, 0)
