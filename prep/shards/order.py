"""Which sample stands where in the shards: a pure function of the manifest, so it needs no file of its own."""

from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from ..base.manifest import Order
from ..base.order import LongPermutation, permutation

# Of a two-level shuffle. A hard disk moves its head in about 12 ms and reads 180 MB/s: of single images of 115 kB
# it reads 9 MB/s, of runs of 32 images 110 MB/s. A window of 64 runs is held in memory by each worker, 235 MB.
RUN = 32
WINDOW = 64 * RUN


def sample_order(count: int, order: Order, seed: int) -> npt.NDArray[np.int64]:
    """Return int64 (count,): at each place over all shards of a split, the index of the sample there.

    Sample indexes count the split's images sorted by wnid, then file name, as torchvision's ImageFolder
    does. "shuffled" is one global permutation, so that every shard holds all classes; "sequential" keeps
    the classes together. "two-level" permutes runs of 32 samples and then shuffles within windows of 64 runs:
    a window holds up to 64 classes instead of all, and a source on a slow disk is read in runs.
    """
    return np.concatenate([np.empty(0, np.int64), *order_blocks(count, order, seed)])


def order_blocks(count: int, order: Order, seed: int) -> Generator[npt.NDArray[np.int64]]:
    """Yield ``sample_order`` in blocks, in the memory of a block."""
    if order == "shuffled":
        yield from LongPermutation(count, seed).blocks()
    elif order == "two-level":
        yield from _two_level(count, seed)
    else:
        yield np.arange(count, dtype=np.int64)


def _two_level(count: int, seed: int) -> Generator[npt.NDArray[np.int64]]:
    left, number = np.empty(0, np.int64), 0
    for runs in LongPermutation(-(-count // RUN), seed).blocks():
        for first in range(0, len(runs), WINDOW // RUN):
            held = (runs[first : first + WINDOW // RUN, None] * RUN + np.arange(RUN)).reshape(-1)
            left = np.concatenate([left, held[held < count]])  # the last run is shorter, wherever it comes
            if len(left) >= WINDOW:
                yield left[:WINDOW][permutation(WINDOW, seed, number)]
                left, number = left[WINDOW:], number + 1
    if len(left):
        yield left[permutation(len(left), seed, number)]
