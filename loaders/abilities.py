"""What a spec can request that not every loader can do, each with the words for it.

A loader's entry in the table lists its abilities. A spec that needs another one is refused when the loader opens, with
the names of the loaders that have it.
"""

from collections.abc import Callable
from typing import Literal

from .spec import LoaderSpec

Ability = Literal[
    "decode 'gpu'",
    "dct_scaling",
    "pixels 'planar'",
    "image_size=None",
    "sample_transform with device 'cuda'",
]
"""The name of an ability, which messages show."""

REQUESTS: dict[Ability, Callable[[LoaderSpec], bool]] = {
    "decode 'gpu'": lambda spec: spec.decode == "gpu",
    "dct_scaling": lambda spec: spec.dct_scaling,
    "pixels 'planar'": lambda spec: spec.pixels == "planar",
    "image_size=None": lambda spec: spec.image_size is None,
    "sample_transform with device 'cuda'": (
        lambda spec: spec.sample_transform is not None and spec.device.startswith("cuda")
    ),
}
"""Whether a spec needs an ability."""


def needed(spec: LoaderSpec) -> list[Ability]:
    """Return the abilities that a loader must have to honour the spec."""
    return [ability for ability, requests in REQUESTS.items() if requests(spec)]
