"""What a spec can request that not every loader can do, each with the words for it.

A loader's entry in the table lists its abilities. A spec that needs another one is refused when the loader opens, with
the names of the loaders that have it.
"""

from collections.abc import Callable
from typing import Literal

from .spec import LoaderSpec

Ability = Literal["decode 'gpu'", "dct_scaling", "pixels 'planar'"]
"""The name of an ability, which messages show."""

REQUESTS: dict[Ability, Callable[[LoaderSpec], bool]] = {
    "decode 'gpu'": lambda spec: spec.decode == "gpu",
    "dct_scaling": lambda spec: spec.dct_scaling,
    "pixels 'planar'": lambda spec: spec.pixels == "planar",
}
"""Whether a spec needs an ability."""


def needed(spec: LoaderSpec) -> list[Ability]:
    """Return the abilities that a loader must have to honour the spec."""
    return [ability for ability, requests in REQUESTS.items() if requests(spec)]
