"""The operations of each policy, and how strong they are: the tables of torchvision and of timm.

A table maps the name of an operation to a function from levels, (N,), to strengths, (N,). A level of torchvision is a
bin, 0 to 30. A level of timm is a number from 0 to 10. The strength of a signed operation is negated for every second
image, on average.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..settings.policy import MOST_BINS, MOST_LEVEL, Policy

F64 = npt.NDArray[np.float64]
Strength = Callable[[F64], F64]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One operation of a policy."""

    operation: str
    """A name in ``apply.KERNELS``."""
    strength: Strength
    signed: bool = False
    around: float = 0.0
    """What the strength is added to after its sign was drawn: 1 for factors."""
    least: float = -np.inf
    """The smallest result."""


def space_of(policy: Policy, height: int, width: int) -> tuple[Entry, ...]:
    """Return the operations of a policy for images of this size, each as likely as the others."""
    if policy.family == "timm":
        return _timm(height, width)
    if policy.family == "trivial":
        return _torchvision(0.99, 32.0, 32.0, 135.0, 0.99, 6)
    return _torchvision(0.3, 150.0 / 331.0 * width, 150.0 / 331.0 * height, 30.0, 0.9, 4)


def _torchvision(
    shear: float, across: float, down: float, degrees: float, enhance: float, bits: int
) -> tuple[Entry, ...]:
    """Return the operations of TrivialAugmentWide and RandAugment, whose largest strengths are given."""
    factor: dict[str, Any] = {"strength": _bins(0.0, enhance), "signed": True, "around": 1.0}
    return (
        Entry(operation="identity", strength=np.zeros_like),
        Entry(operation="shear_x", strength=_bins(0.0, shear), signed=True),
        Entry(operation="shear_y", strength=_bins(0.0, shear), signed=True),
        Entry(operation="translate_x", strength=_whole(_bins(0.0, across)), signed=True),
        Entry(operation="translate_y", strength=_whole(_bins(0.0, down)), signed=True),
        Entry(operation="rotate", strength=_bins(0.0, degrees), signed=True),
        *(Entry(operation=name, **factor) for name in ("brightness", "saturation", "contrast", "sharpness")),
        Entry(operation="posterize", strength=lambda levels: np.round(8 - levels / (MOST_BINS / bits))),
        Entry(operation="solarize", strength=_bins(255.0, 0.0)),
        Entry(operation="auto_contrast", strength=np.zeros_like),
        Entry(operation="equalize", strength=np.zeros_like),
    )


def _bins(first: float, last: float) -> Strength:
    """Return the function from bins to 31 strengths, in float32 as torchvision has them."""
    # torchvision multiplies thresholds between 1 and 0 by 255.
    scale = max(1.0, first)
    table = torch.linspace(first / scale, last / scale, MOST_BINS + 1, device="cpu").numpy().astype(np.float64) * scale
    return lambda levels: table[levels.astype(np.int64)]


def _whole(strength: Strength) -> Strength:
    return lambda levels: np.trunc(strength(levels))


def _timm(height: int, width: int) -> tuple[Entry, ...]:
    """Return the operations of timm's RandAugment whose strength increases with the level (``inc1``)."""
    factor: dict[str, Any] = {"strength": _linear(0.9), "signed": True, "around": 1.0, "least": 0.1}
    return (
        Entry(operation="auto_contrast", strength=np.zeros_like),
        Entry(operation="equalize", strength=np.zeros_like),
        Entry(operation="invert", strength=np.zeros_like),
        Entry(operation="rotate", strength=_linear(30.0), signed=True),
        Entry(operation="posterize", strength=lambda levels: 4 - np.trunc(_linear(4.0)(levels))),
        Entry(operation="solarize", strength=lambda levels: 256 - np.trunc(_linear(256.0)(levels))),
        Entry(operation="solarize_add", strength=_whole(_linear(110.0))),
        *(Entry(operation=name, **factor) for name in ("saturation", "contrast", "brightness", "sharpness")),
        Entry(operation="shear_x", strength=_linear(0.3), signed=True),
        Entry(operation="shear_y", strength=_linear(0.3), signed=True),
        Entry(operation="translate_x", strength=_linear(0.45 * width), signed=True),
        Entry(operation="translate_y", strength=_linear(0.45 * height), signed=True),
    )


def _linear(most: float) -> Strength:
    return lambda levels: levels / MOST_LEVEL * most
