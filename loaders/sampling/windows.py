"""The order of an epoch in windows of shards, for slow disks and object stores.

The samples of a window are shuffled together, and the windows follow one another in random order. So a loader reads as
many shards at a time as a window has, and each of them once.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...prep import permutation
from .draw_keys import I64


class InShards(Protocol):
    """Samples in shards."""

    def windows(self) -> Sequence[int]:
        """Return the number of samples of each shard."""
        ...

    def in_window(self, window: int) -> I64:
        """Return the sample indexes of one shard in its order, int64."""
        ...


def window_blocks(
    samples: InShards, window: int, seed: int, epoch: int, mask: npt.NDArray[np.bool_] | None = None
) -> Iterator[I64]:
    """Yield the sample indexes of each window of ``window`` shards in their order; of all samples, or those of a mask.

    The order is a function of (seed, epoch).
    """
    order = permutation(len(samples.windows()), seed, epoch).tolist()
    for first in range(0, len(order), window):
        held = np.concatenate([samples.in_window(shard) for shard in order[first : first + window]])
        held = held if mask is None else held[mask[held]]
        yield held[permutation(len(held), seed, epoch, first)]


def skip(blocks: Iterable[I64], count: int) -> Iterator[I64]:
    """Yield ``blocks`` without their first ``count`` numbers."""
    for block in blocks:
        yield block[count:]
        count = max(count - len(block), 0)
