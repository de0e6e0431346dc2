"""What goes into which shard: the order of the samples, and where the shards are cut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...base.errors import OutputError
from ...base.manifest import Order
from ...roots.samples import Sample
from ..encode import EncodeSpec
from ..order import sample_order

# A small split is cut into 16 all the same, so that 16 workers or streams can share it.
MIN_SHARDS = 16
SHARD_SIZE = 256_000_000


@dataclass(frozen=True, kw_only=True)
class ShardSpec(EncodeSpec):
    """How to write shards. Raises OutputError for values that make no sense."""

    splits: tuple[str, ...] | None = None
    """Default: every labelled split of the source."""
    order: Order = "shuffled"
    seed: int = 0
    shard_size: int = SHARD_SIZE
    """Images per shard, in bytes of the source; shards of a split are even, so most stay a little below."""
    shard_count: int | None = None
    """Shards of each split, instead of ``shard_size``; fewer if there are fewer samples."""
    name: str | None = None
    """Prefix of the shard names. Default: the data set's name."""
    metadata: bool = True
    """Add ``<key>.json`` to each sample: class, width, height and the file's own name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shard_size < 1 or (self.shard_count is not None and self.shard_count < 1):
            raise OutputError("--shard-size and --shard-count must be at least 1; leave them out for 256 MB a shard")
        if self.name is not None and not _is_plain(self.name):
            raise OutputError(f"--name {self.name!r} must be letters, digits, '_' and '-', at most 60 of them")


def plan_shards(samples: Sequence[Sample], spec: ShardSpec) -> list[list[Sample]]:
    """Return the samples of each shard: in the spec's order, cut where the bytes are even."""
    ordered = [samples[index] for index in sample_order(len(samples), spec.order, spec.seed).tolist()]
    sizes = np.array([sample.size for sample in ordered], dtype=np.int64)
    total = max(1, int(sizes.sum()))
    shards = spec.shard_count or max(math.ceil(total / spec.shard_size), MIN_SHARDS)
    number = (np.cumsum(sizes) - sizes) * min(shards, len(ordered)) // total
    cuts = np.flatnonzero(np.diff(number)) + 1
    bounds = [0, *cuts.tolist(), len(ordered)]
    return [ordered[start:stop] for start, stop in pairwise(bounds) if start < stop]


def _is_plain(name: str) -> bool:
    return name.isascii() and 0 < len(name) <= 60 and name.replace("_", "a").replace("-", "a").isalnum()
