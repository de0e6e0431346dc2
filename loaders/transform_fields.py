"""Checks of the fields of a spec that transform samples: their values, and whether they mean anything together."""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Protocol, cast

from ..prep import LoaderError
from .fields import integer_of

SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
FLIP = 0.5
"""The defaults of RandomResizedCrop and RandomHorizontalFlip in torchvision."""


class Transforming(Protocol):
    """The fields of a spec that are checked together."""

    @property
    def image_size(self) -> int | None: ...
    @property
    def sample_transform(self) -> Callable[..., Any] | None: ...
    @property
    def decode(self) -> str: ...
    @property
    def transform(self) -> str: ...
    @property
    def resize_size(self) -> int | None: ...
    @property
    def interpolation(self) -> str: ...
    @property
    def dct_scaling(self) -> bool: ...
    @property
    def pixels(self) -> str: ...


def size_of(name: str, value: Any) -> int | None:
    """Return a length in pixels, or None."""
    return None if value is None else integer_of(name, value, 1)


def range_of(name: str, value: Any, most: float = math.inf) -> tuple[float, float]:
    """Return two numbers from 0 to ``most``, the smaller one first. Raises LoaderError for other values."""
    pair: list[Any] = list(cast(Sequence[Any], value)) if isinstance(value, (tuple, list)) else []
    if len(pair) != 2 or not all(_is_number(part) for part in pair):
        raise LoaderError(f"{name} must be two numbers, the smaller one first, got {value!r}")
    low, high = float(pair[0]), float(pair[1])
    if not (0 < low <= high <= most and math.isfinite(high)):
        limit = f" and at most {most:g}" if math.isfinite(most) else ""
        raise LoaderError(f"{name} must be two numbers above 0{limit}, the smaller one first, got {value!r}")
    return low, high


def probability_of(name: str, value: Any) -> float:
    """Return a number from 0 to 1. Raises LoaderError for other values, True and False among them."""
    if not _is_number(value) or not 0 <= float(value) <= 1:
        raise LoaderError(f"{name} must be a probability from 0 to 1, got {value!r}")
    return float(value)


def callable_of(name: str, value: Any) -> Callable[..., Any] | None:
    """Return a callable, or None. Raises LoaderError for other values, a class among them."""
    if value is None:
        return None
    if isinstance(value, type):
        raise LoaderError(f"{name} must be a callable, got the class {value.__name__}; write {value.__name__}(...)")
    if isinstance(value, (list, tuple)):
        raise LoaderError(
            f"{name} must be one callable, got {len(cast(Sequence[Any], value))}; join them by v2.Compose"
        )
    if not callable(value):
        raise LoaderError(f"{name} must be a callable, got {value!r}")
    return value


def check_together(spec: Transforming) -> None:
    """Raise LoaderError for a field that means nothing with the others."""
    if spec.decode == "gpu" and spec.sample_transform is not None:
        raise LoaderError("decode 'gpu' leaves no image on the CPU for sample_transform; use batch_transform")
    if spec.image_size is None:
        if spec.transform == "resize":
            raise LoaderError("transform 'resize' needs an image_size; with image_size=None the image stays as decoded")
        _require_default(spec, ("scale", "ratio", "flip", "interpolation", "resize_size"), "image_size=None")
        for name, value in (("decode", "gpu"), ("dct_scaling", True), ("pixels", "planar")):
            if getattr(spec, name) == value:
                raise LoaderError(f"{name}={value!r} makes samples of one size; leave it out with image_size=None")
        return
    if spec.transform != "train":
        _require_default(spec, ("scale", "ratio", "flip"), f"transform {spec.transform!r}")
    if spec.transform != "eval":
        _require_default(spec, ("resize_size",), f"transform {spec.transform!r}")
    if spec.resize_size is not None and spec.resize_size < spec.image_size:
        raise LoaderError(
            f"resize_size {spec.resize_size} is smaller than image_size {spec.image_size}, and the centre crop would "
            "lie outside the image; make it at least as large"
        )
    if spec.interpolation == "bicubic" and (spec.dct_scaling or spec.pixels == "planar"):
        name = "dct_scaling" if spec.dct_scaling else "pixels 'planar'"
        raise LoaderError(f"{name} resizes by bilinear interpolation only; leave it out with interpolation 'bicubic'")


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)


_DEFAULTS: dict[str, Any] = {
    "scale": SCALE,
    "ratio": RATIO,
    "flip": FLIP,
    "interpolation": "bilinear",
    "resize_size": None,
}


def _require_default(spec: Transforming, names: Sequence[str], where: str) -> None:
    for name in names:
        value = getattr(spec, name)
        if value != _DEFAULTS[name]:
            raise LoaderError(f"{name}={value!r} means nothing with {where}; leave it out")
