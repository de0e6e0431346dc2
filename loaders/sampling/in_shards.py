"""The chosen samples of a split as parts of its shards, for a loader that reads shards from front to back.

Such a loader can leave samples out, and cannot read them in another order or several times.
"""

import numpy as np
import numpy.typing as npt

from ...prep import SHARDS, LoaderError, ShardManifest
from ...prep.roots.places import shard_path
from ...prep.shards.kept_orders import ShardOrder
from ..spec import LoaderSpec
from ..support.index_rows import IndexRows
from ..support.streams import ShardRange, stream_count
from .draw_keys import I64
from .orders import ChosenOrder


class ShardChoice:
    """Which samples of each shard a spec chooses."""

    def __init__(self, spec: LoaderSpec, manifest: ShardManifest) -> None:
        """Raises LoaderError for a split that the shards do not have, and what ``entries_of`` raises."""
        split = manifest.splits.get(spec.split)
        if split is None:
            names = ", ".join(manifest.splits)
            raise LoaderError(f"{spec.root / SHARDS} has no split {spec.split!r}; choose one of: {names}")
        order = ChosenOrder(spec, split.samples, lambda: _labels(spec, manifest))
        self.marks = order.marks(0, 0)
        """What a saved state must have in common with this choice."""
        self.samples = len(order)
        counts = np.array([shard.samples for shard in split.shards], np.int64)
        self._offsets = np.cumsum(np.append(0, counts))
        self._order = ShardOrder(split.samples, manifest.order, manifest.seed)
        mask = order.mask()
        self._held = None if mask is None else mask[self._order.indexes(0, split.samples)]
        if self._held is not None:
            counts = np.diff(np.append(0, np.cumsum(self._held))[self._offsets])
        self.sizes: list[int] = counts.tolist()
        """The number of chosen samples of each shard. A ``ShardRange`` counts them."""
        self.streams = stream_count(int(np.count_nonzero(counts)), spec)
        """The number of streams of a rank."""

    def selectors(self, part: ShardRange) -> npt.NDArray[np.bool_]:
        """Return for each sample of a shard, from its first, whether the part has it; the part's last is the last."""
        if self._held is None:
            found = np.zeros(part.stop, np.bool_)
            found[part.start :] = True
            return found
        held = self._held[self._offsets[part.shard] : self._offsets[part.shard + 1]]
        places = np.flatnonzero(held)[part.start : part.stop]
        found = np.zeros(places[-1] + 1, np.bool_)
        found[places] = True
        return found

    def indexes(self, part: ShardRange) -> I64:
        """Return the sample indexes of a part, in the order of the shard."""
        selectors = self.selectors(part)
        first = self._offsets.item(part.shard)
        return self._order.indexes(first, first + len(selectors))[selectors]


def _labels(spec: LoaderSpec, manifest: ShardManifest) -> I64:
    """Return the class index of each sample by the indexes of the shards, int64."""
    directory, split = spec.root / SHARDS, manifest.splits[spec.split]
    places = [shard_path(directory, manifest, shard) for shard in split.shards]
    homes = [directory / shard.name for shard in split.shards]
    labels = IndexRows(homes, places, [shard.samples for shard in split.shards]).labels()
    order, found = ShardOrder(split.samples, manifest.order, manifest.seed), np.empty(split.samples, np.int64)
    found[order.indexes(0, split.samples)] = np.concatenate([np.empty(0, np.int32), *labels])
    return found
