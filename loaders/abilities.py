"""What a spec can request that not every loader can do, each with the words for it.

A loader's entry in the table lists its abilities. A spec that needs another one is refused when the loader opens, with
the names of the loaders that have it.
"""

from collections.abc import Callable
from typing import Literal

from .choice_fields import is_set
from .spec import LoaderSpec

Ability = Literal[
    "decode 'gpu'",
    "dct_scaling",
    "pixels 'planar'",
    "indices in an order of their own",
    "weights",
    "sampler",
    "repeat",
    "image_size=None",
    "sample_transform with device 'cuda'",
]
"""The name of an ability, which messages show."""

REQUESTS: dict[Ability, Callable[[LoaderSpec], bool]] = {
    "decode 'gpu'": lambda spec: spec.decode == "gpu",
    "dct_scaling": lambda spec: spec.dct_scaling,
    "pixels 'planar'": lambda spec: spec.pixels == "planar",
    "indices in an order of their own": lambda spec: not is_set(spec.indices, shuffle=spec.shuffle),
    "weights": lambda spec: spec.weights is not None,
    "sampler": lambda spec: spec.sampler is not None,
    "repeat": lambda spec: spec.repeat > 1,
    "image_size=None": lambda spec: spec.image_size is None,
    "sample_transform with device 'cuda'": (
        lambda spec: spec.sample_transform is not None and spec.device.startswith("cuda")
    ),
}
"""Whether a spec needs an ability."""


def needed(spec: LoaderSpec) -> list[Ability]:
    """Return the abilities that a loader must have to honour the spec."""
    return [ability for ability, requests in REQUESTS.items() if requests(spec)]
