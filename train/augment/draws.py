"""The random numbers of a batch: drawn on the host from the batch's seed, and copied to the device without a wait."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Rng = np.random.Generator


def host_generator(generator: torch.Generator) -> Rng:
    """Return a generator of the host with the seed of a batch's generator, which may be on a GPU.

    Numbers that a GPU draws would have to be read back before they could decide what is computed.
    """
    return np.random.Generator(np.random.Philox(generator.initial_seed()))


def on_device(values: npt.NDArray[Any], like: torch.Tensor) -> torch.Tensor:
    """Return the values, float32 or int64, on the device of ``like``; the host does not wait for the copy."""
    kind = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float32
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=kind))
    return tensor.pin_memory().to(like.device, non_blocking=True) if like.device.type == "cuda" else tensor


def per_image(values: npt.NDArray[Any], like: torch.Tensor) -> torch.Tensor:
    """Return a value per image, (N,), as (N, 1, 1, 1) on the device of ``like``."""
    return on_device(values, like).view(-1, 1, 1, 1)


def inside(boxes: npt.NDArray[np.int64], images: torch.Tensor) -> torch.Tensor:
    """Return which pixels lie in the box of their image, bool (N, 1, H, W).

    ``boxes`` are int64 (N, 4): the first and the last row plus one, then the same of the columns.
    """
    top, bottom, left, right = on_device(boxes.T, images)[..., None]
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)
    return (rows[:, :, None] & columns[:, None, :])[:, None]
