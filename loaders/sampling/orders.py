"""The order of an epoch: permuted, weighted, repeated, or a sampler's.

Repeated augmentation (Hoffer et al., Augment Your Batch, 2020) follows the samplers of DeiT, timm and torchvision in
three points. An epoch keeps its length, so it has a part of the samples, each ``repeat`` times. The copies follow one
another. Ranks take every n-th, so that the copies of a sample go to different ranks. Two points differ. Those samplers
permute all samples in every epoch and drop what does not fit, so chance decides how often a sample comes. Here
``repeat`` epochs share one permutation, in which each sample comes exactly ``repeat`` times. And the length is exact,
instead of a multiple of 256.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from ...prep import LoaderError, permutation, uniforms
from ...prep.base.order import BLOCK, LongPermutation
from ..choice_fields import Numbers
from ..spec import LoaderSpec
from .draw_keys import I64, draw_keys
from .entries import entries_of
from .samplers import SamplerOrder

DRAWING = 1  # keeps the draws of samples apart from those of their crops
NOT_A_SET = "only samples that come once each can be read in the order of the shards; leave out weights, sampler, " + (
    "repeat and indices that are given twice"
)


class Order(Protocol):
    """The draw keys of an epoch in their order."""

    @property
    def of_rank(self) -> bool:
        """Whether the keys are those of this rank only, and not of all ranks."""
        ...

    def __len__(self) -> int:
        """Return the number of draw keys, the same in every epoch."""
        ...

    def keys(self, epoch: int) -> I64:
        """Return the draw keys of an epoch."""
        ...

    def blocks(self, epoch: int, first: int) -> Iterator[I64]:
        """Yield the draw keys of an epoch from position ``first`` on, a block at a time."""
        ...

    def marks(self, epoch: int, samples: int) -> dict[str, Any]:
        """Return what a saved state must have in common with this order to be resumed with it."""
        ...


class ChosenOrder:
    """The order of the samples that the fields of a spec choose."""

    of_rank = False

    def __init__(self, spec: LoaderSpec, count: int, labels: Callable[[], I64]) -> None:
        """Choose from ``count`` samples; ``labels`` returns their class indexes. Raises what ``entries_of`` raises."""
        self._spec = spec
        self._count = count
        self.entries = entries_of(spec, count, labels)
        self._length = count if self.entries is None else len(self.entries)
        self._repeats = spec.weights is not None or spec.repeat > 1
        self._repeats |= self.entries is not None and not (np.diff(np.sort(self.entries)) > 0).all()
        self._bounds = None
        if spec.weights is not None:
            self._bounds = _bounds(cast(Numbers, spec.weights), self.entries, count, spec)
        self._marks = {"choice": self._fingerprint(count)} if self._chosen(count) else {}

    def __len__(self) -> int:
        return self._length

    def keys(self, epoch: int) -> I64:
        """Return the draw keys of all ranks, int64."""
        cycle, part = divmod(epoch, self._spec.repeat)
        places = self._places(cycle)
        if self._spec.repeat > 1:
            first = part * self._length
            places = places[np.arange(first, first + self._length) // self._spec.repeat]
        indexes = places if self.entries is None else self.entries[places]
        return draw_keys(indexes) if self._repeats else indexes

    def blocks(self, epoch: int, first: int) -> Iterator[I64]:
        """Yield the draw keys from position ``first`` on, int64; of samples that come once, in blocks."""
        if self._repeats:
            yield self.keys(epoch)[first:]
            return
        for places in self._place_blocks(epoch, first):
            yield places if self.entries is None else self.entries[places]

    def marks(self, epoch: int, samples: int) -> dict[str, Any]:
        return self._marks

    @property
    def is_set(self) -> bool:
        """Whether each chosen sample comes once in an epoch."""
        return not self._repeats

    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Return which samples are chosen, or None for all. Raises LoaderError if not each of them comes once."""
        if self._repeats:
            raise LoaderError(NOT_A_SET)
        if self.entries is None:
            return None
        found = np.zeros(self._count, np.bool_)
        found[self.entries] = True
        return found

    def _place_blocks(self, epoch: int, first: int) -> Iterator[I64]:
        if self._spec.shuffle:
            yield from LongPermutation(self._length, self._spec.seed, epoch).blocks(first)
            return
        for start in range(first, self._length, BLOCK):
            yield np.arange(start, min(start + BLOCK, self._length), dtype=np.int64)

    def _places(self, epoch: int) -> I64:
        """Return the positions of the samples in ``entries`` before they are repeated."""
        if self._bounds is not None:
            drawn = uniforms(np.arange(self._length), 1, self._spec.seed, epoch, DRAWING)[:, 0] * self._bounds[-1]
            # The bound of a sample without weight equals the one before, so "right" passes over it. A product that is
            # rounded up to the last bound belongs to the last sample with a weight.
            last = np.searchsorted(self._bounds, self._bounds[-1])
            return np.minimum(np.searchsorted(self._bounds, drawn, side="right"), last).astype(np.int64)
        if self._spec.shuffle:
            return permutation(self._length, self._spec.seed, epoch)
        return np.arange(self._length, dtype=np.int64)

    def _chosen(self, count: int) -> bool:
        """Return whether the order is another than that of all samples."""
        whole = self.entries is None or np.array_equal(self.entries, np.arange(count))
        return not whole or self._bounds is not None or self._spec.repeat > 1

    def _fingerprint(self, count: int) -> str:
        found = blake2b(digest_size=16)
        found.update(np.arange(count).tobytes() if self.entries is None else self.entries.tobytes())
        found.update(b"" if self._bounds is None else self._bounds.tobytes())
        found.update(str(self._spec.repeat).encode())
        return found.hexdigest()


def order_of(spec: LoaderSpec, count: int, labels: Callable[[], I64]) -> Order:
    """Return the order of the spec over ``count`` samples, whose class indexes ``labels`` returns."""
    if spec.sampler is None:
        return ChosenOrder(spec, count, labels)
    return SamplerOrder(spec, count)


def _bounds(weights: Numbers, entries: I64 | None, count: int, spec: LoaderSpec) -> npt.NDArray[np.float64]:
    """Return the cumulated weights of the entries, float64."""
    if len(weights) != count:
        raise LoaderError(
            f"weights has {len(weights)} numbers, and {spec.split} of {spec.root} has {count} samples; "
            "give one weight per sample of the split"
        )
    held = weights.array if entries is None else weights.array[entries]
    if not held.any():
        raise LoaderError("the weights of all chosen samples are 0; give one of them a weight above 0")
    return np.cumsum(held / held.max())  # a sum of large weights could overflow
