"""What timm's transforms do to an image, as fields of a spec and as functions on tensors.

The crop and the flip become fields. What timm does after them to PIL images stays timm's code, run on each sample.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from timm.data.constants import DEFAULT_CROP_PCT
from timm.data.random_erasing import RandomErasing
from timm.data.transforms_factory import transforms_imagenet_train
from torchvision import transforms
from torchvision.transforms.functional import pil_to_tensor

from ...prep import LoaderError
from ..batch import Batch

AFTER_CROP = ("color_jitter", "color_jitter_prob", "grayscale_prob", "gaussian_blur_prob", "auto_augment")
DEFAULTS = {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "flip": 0.5}
"""timm's, which are the spec's too."""


class AfterCrop:
    """A ``sample_transform`` that does what timm does to a PIL image after its crop and flip."""

    def __init__(self, transform: Any) -> None:
        self._transform = transform

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return pil_to_tensor(self._transform(Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())))


def cropping_of(given: dict[str, Any], size: int, is_training: bool, no_aug: bool, mean: Any) -> dict[str, Any]:
    """Take the arguments about crops and augmentation out of ``given`` and return the spec's fields for them."""
    fields: dict[str, Any] = {"transform": "eval"}
    interpolation, crop_pct = given.pop("interpolation"), given.pop("crop_pct")
    if interpolation not in ("bilinear", "bicubic"):
        raise LoaderError(
            f"create_loader cannot honour interpolation={interpolation!r}; "
            "use bilinear or bicubic, with --train-interpolation or --interpolation"
        )
    if interpolation != "bilinear":
        fields["interpolation"] = interpolation
    crop = {name: given.pop(name) for name in ("scale", "ratio")} | {"flip": given.pop("hflip")}
    vflip = given.pop("vflip")
    after: dict[str, Any] = {name: given.pop(name) for name in AFTER_CROP}
    if not is_training or no_aug:
        short = size if is_training else math.floor(size / (crop_pct or DEFAULT_CROP_PCT))
        return fields | ({} if short == round(size * 256 / 224) else {"resize_size": short})
    fields["transform"] = "train"
    for name, value in crop.items():
        value = value if name == "flip" else value and tuple(value)
        if value is not None and value != DEFAULTS[name]:
            fields[name] = value
    after["color_jitter"] = after["color_jitter"] or None  # no jitter is a step less
    parts: Any = transforms_imagenet_train(
        size,
        interpolation=interpolation,
        mean=mean,
        use_prefetcher=True,
        separate=True,
        **after,
    )
    steps = [*([transforms.RandomVerticalFlip(vflip)] if vflip else []), *parts[1].transforms]
    return fields | ({"sample_transform": AfterCrop(transforms.Compose(steps))} if steps else {})


def normalising(mean: Any, std: Any, erasing: dict[str, Any]) -> Callable[[Batch], tuple[torch.Tensor, torch.Tensor]]:
    """Return what timm's transforms do without its prefetcher: floats, normalised, on the loader's device."""
    centre, spread = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    probability, mode, count, splits = erasing.values()
    erase = RandomErasing(probability, mode=mode, max_count=count, num_splits=splits, device="cpu")

    def normalise(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        images = batch.images.float().sub_(centre.to(batch.images.device)).div_(spread.to(batch.images.device))
        return erase(images) if probability else images, batch.labels

    return normalise


def square_of(size: Any, mean: Any) -> int:
    """Return the side of an ``input_size`` of 3 channels."""
    shape = (len(mean), size, size) if isinstance(size, int) else (3, *size)[-3:]
    if shape[0] != 3 or shape[1] != shape[2]:
        raise LoaderError(f"create_loader cannot honour input_size={size!r}; use 3 channels and a square")
    return shape[1]
