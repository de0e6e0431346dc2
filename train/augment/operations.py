"""The operations of augmentation policies on a batch, each image with a strength of its own.

torchvision's functions take one strength for all images. These compute what its kernels compute, with a strength per
image that is broadcast, in one launch for all images of an operation. Operations without a strength are torchvision's.
Tests compare each with torchvision's on single images.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torchvision.transforms.v2 import functional as vision

Operation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# ITU-R 601-2, with the digits that torchvision and Pillow use.
RED, GREEN, BLUE = 0.2989, 0.587, 0.114


def brightness(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Return the images, uint8 (N, 3, H, W), times their factors, float32 (N, 1, 1, 1)."""
    return _to_bytes(images * factors)


def saturation(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Return the images blended with their grey ones: factor 0 is grey, 1 changes nothing."""
    return _blend(images, _grey(images), factors)


def contrast(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Return the images blended with their mean grey."""
    return _blend(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), factors)


def sharpness(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Return the images blended with blurred ones, except at their border."""
    if min(images.shape[2:]) <= 2:
        return images
    floats = images.float()
    kernel = torch.full((3, 1, 3, 3), 1 / 13, device=images.device)
    kernel[:, :, 1, 1] = 5 / 13
    inner = floats[..., 1:-1, 1:-1]
    inner += (F.conv2d(floats, kernel, groups=3).round_() - inner) * (1 - factors)
    return _to_bytes(floats)


def posterize(images: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Return the images with their highest ``bits`` bits, 0 to 8."""
    masks = torch.full_like(bits, 255, dtype=torch.int32) << (8 - bits).to(torch.int32)
    return images & (masks & 255).to(torch.uint8)


def solarize(images: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """Return the images with the values from their thresholds on inverted."""
    return torch.where(images >= thresholds, 255 - images, images)


def solarize_add(images: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """Return the images with ``added`` added to values below 128."""
    return torch.where(images < 128, _to_bytes(images + added), images)


def auto_contrast(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Return the images with each channel stretched to 0..255."""
    return vision.autocontrast(images)


def equalize(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Return the images with equalised histograms."""
    return vision.equalize(images)


def invert(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Return the negatives of the images."""
    return 255 - images


def warp(images: torch.Tensor, matrices: torch.Tensor, fill: Sequence[int]) -> torch.Tensor:
    """Return the images moved by affine maps, with bilinear interpolation, and ``fill`` outside of them.

    ``matrices`` are float32 (N, 2, 3): from the position of a pixel of the result to that of the source, both measured
    from the centre of the image, in pixels.
    """
    count, _, height, width = images.shape
    device: Any = images.device
    places = torch.ones((height, width, 3), device=device)
    places[..., 0] = torch.linspace((1 - width) / 2, (width - 1) / 2, width, device=device)
    places[..., 1] = torch.linspace((1 - height) / 2, (height - 1) / 2, height, device=device)[:, None]
    half = torch.ones(2, device=device)
    half[0], half[1] = width / 2, height / 2
    grid = places.view(1, -1, 3).expand(count, -1, -1).bmm(matrices.transpose(1, 2) / half)
    outside = _colour(fill, images)
    moved = F.grid_sample(images.float() - outside, grid.view(count, height, width, 2), align_corners=False)
    return (moved + outside).round_().clamp_(0, 255).to(torch.uint8)


def _colour(values: Sequence[int], images: torch.Tensor) -> torch.Tensor:
    """Return a colour as float32 (1, 3, 1, 1) on the images' device, without a copy that the host waits for."""
    colour = torch.empty((1, 3, 1, 1), device=images.device)
    for channel, value in enumerate(values):
        colour[:, channel] = value
    return colour


def _grey(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = images.unbind(1)
    return red.mul(RED).add_(green, alpha=GREEN).add_(blue, alpha=BLUE).floor_().unsqueeze(1)


def _blend(images: torch.Tensor, others: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    return _to_bytes(images * factors + others * (1 - factors))


def _to_bytes(floats: torch.Tensor) -> torch.Tensor:
    return floats.clamp_(0, 255).to(torch.uint8)
