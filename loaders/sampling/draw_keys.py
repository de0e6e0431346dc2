"""Draw keys: one number for each appearance of a sample in an epoch.

A sample can appear several times in an epoch, and each appearance needs a crop of its own. Its draw key is the sample
index plus, from bit 40 on, the number of its appearances before. Every random number of an appearance is a function
of (seed, epoch, draw key). The first appearance has the sample index as its key, so an epoch without repetition has
the same crops as it would have without draw keys.
"""

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

INDEX_BITS = 40  # 10^12 samples, and 16 million appearances of each
_INDEX = np.int64((1 << INDEX_BITS) - 1)


def indexes_of(keys: I64) -> I64:
    """Return the sample indexes of draw keys."""
    return keys & _INDEX


def index_of(key: int) -> int:
    """Return the sample index of one draw key."""
    return key & int(_INDEX)


def draw_keys(indexes: I64, *, rank: int = 0, world_size: int = 1) -> I64:
    """Return the draw key of each appearance in an epoch, whose order is ``indexes``.

    If the order is that of one rank of several, which may share samples, the appearances of the other ranks have other
    keys.
    """
    return indexes | (_appearances(indexes) * world_size + rank) << INDEX_BITS


def _appearances(indexes: I64) -> I64:
    """Return how often each index stood further in front."""
    places = np.argsort(indexes, kind="stable")
    ordered = indexes[places]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else places
    counts = np.diff(np.append(begins, len(ordered)))
    found = np.empty_like(indexes)
    found[places] = np.arange(len(ordered)) - np.repeat(begins, counts)
    return found
