"""How well an epoch in windows of shards is mixed, against a true shuffle."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...loaders.sampling.windows import window_blocks
from ...prep import permutation, sample_order
from ...prep.base.manifest import Order

I64 = npt.NDArray[np.int64]

BATCH = 256
NEAR = 0.01


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Statistics of two successive epochs of one way to order them."""

    order: Order
    """The order of the samples in the shards."""
    window: int
    """Shards that are mixed; 0 for a true shuffle of all samples."""
    displacement: float
    """Mean distance of a sample from its place in the shards, in parts of the epoch; 1/3 in a true shuffle."""
    same_shard: float
    """Share of neighbours in the epoch that come from one shard."""
    still_near: float
    """Share of neighbours that are at most 1 % of the epoch apart in the next epoch."""
    classes: float
    """Distinct classes in a batch of 256, on average."""
    longest_run: int
    """Most successive samples of one class."""


class _Shards:
    def __init__(self, samples: int, shards: int, order: Order) -> None:
        self.placed = sample_order(samples, order, 0)
        self._parts = np.array_split(self.placed, shards)

    def windows(self) -> Sequence[int]:
        return [len(part) for part in self._parts]

    def in_window(self, window: int) -> I64:
        return self._parts[window]


def measure_mixing(samples: int, shards: int, classes: int, order: Order, window: int) -> Mixing:
    """Return the statistics of ``samples`` samples in classes of equal size, in ``shards`` shards of equal size."""
    held = _Shards(samples, shards, order)
    first, second = (
        np.concatenate([*window_blocks(held, window, 0, epoch)]) if window else permutation(samples, 0, epoch)
        for epoch in (0, 1)
    )
    place, later = np.empty(samples, np.int64), np.empty(samples, np.int64)
    place[held.placed] = later[second] = np.arange(samples)
    shard_of = np.repeat(np.arange(shards), held.windows())[place[first]]
    labels = first * classes // samples
    near = np.abs(np.diff(later[first])) <= NEAR * samples
    whole = np.sort(labels[: samples // BATCH * BATCH].reshape(-1, BATCH), axis=1)
    changes = np.flatnonzero(np.diff(labels, prepend=-1, append=-1))
    return Mixing(
        order=order,
        window=window,
        displacement=float(np.abs(place[first] - np.arange(samples)).mean() / samples),
        same_shard=float((np.diff(shard_of) == 0).mean()),
        still_near=float(near.mean()),
        classes=float((np.diff(whole, axis=1) > 0).sum(1).mean() + 1),
        longest_run=int(np.diff(changes).max()),
    )
