"""Which sample stands where in the shards: a pure function of the manifest, so it needs no file of its own."""

import numpy as np
import numpy.typing as npt

from ..base.manifest import Order
from ..base.order import permutation

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
    if order == "shuffled":
        return permutation(count, seed)
    indexes = np.arange(count, dtype=np.int64)
    return _two_level(indexes, seed) if order == "two-level" else indexes


def _two_level(indexes: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    runs = [indexes[start : start + RUN] for start in range(0, len(indexes), RUN)]
    mixed = np.concatenate([indexes[:0], *(runs[run] for run in permutation(len(runs), seed))])
    windows = [mixed[start : start + WINDOW] for start in range(0, len(mixed), WINDOW)]
    shuffled = (window[permutation(len(window), seed, number)] for number, window in enumerate(windows))
    return np.concatenate([indexes[:0], *shuffled])
