"""Which sample stands where in the shards: a pure function of the manifest, so it needs no file of its own."""

import numpy as np
import numpy.typing as npt

from .manifest import Order
from .order import permutation


def sample_order(count: int, order: Order, seed: int) -> npt.NDArray[np.int64]:
    """Return int64 (count,): at each place over all shards of a split, the index of the sample there.

    Sample indexes count the split's pictures sorted by wnid, then file name, as torchvision's ImageFolder
    does. "shuffled" is one global permutation, so that every shard holds all classes; "sequential" keeps
    the classes together.
    """
    return permutation(count, seed) if order == "shuffled" else np.arange(count, dtype=np.int64)
