"""``Chosen``: the samples of a spec's epochs, in their order, divided over ranks and batches."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...prep import LoaderError
from ..spec import LoaderSpec
from .draw_keys import I64
from .orders import NOT_A_SET, ChosenOrder, order_of


class Chosen:
    """The samples of each epoch of a spec, all ranks together, and the share of this rank.

    A rank takes every ``world_size``-th sample of the order, unless a sampler yields the share of this rank only.
    Shares differ by one sample at most. With ``drop_last`` they are equal and a whole number of batches, so that all
    ranks take the same number of steps. ``done`` is the number of samples that all ranks have yielded.
    """

    def __init__(self, spec: LoaderSpec, count: int, labels: Callable[[], I64]) -> None:
        """Choose from the ``count`` samples of the split, whose class indexes ``labels`` returns. Raises LoaderError.

        ``labels`` is called only if the spec chooses classes.
        """
        self._spec = spec
        self._order = order_of(spec, count, labels)

    def __len__(self) -> int:
        """Return the number of samples in an epoch of all ranks."""
        return len(self._order) * (self._spec.world_size if self._order.of_rank else 1)

    def keys(self, epoch: int) -> I64:
        """Return the draw keys of an epoch in their order, of all ranks or, with such a sampler, of this rank."""
        return self._order.keys(epoch)

    def share(self, epoch: int, done: int) -> Iterator[I64]:
        """Yield the draw keys of this rank that are left of an epoch, int64, a block at a time."""
        first = done // self._spec.world_size if self._order.of_rank else done
        return self.share_of(self._order.blocks(epoch, first), done)

    def share_of(self, blocks: Iterable[I64], done: int) -> Iterator[I64]:
        """Yield the part of this rank of ``blocks``: the draw keys that are left of an epoch after ``done``."""
        rank, ranks = (0, 1) if self._order.of_rank else (self._spec.rank, self._spec.world_size)
        left = self.share_length(done)
        for block in blocks if left else ():
            mine = block[rank::ranks][:left]
            rank, left = (rank - len(block)) % ranks, left - len(mine)
            if len(mine):
                yield mine
            if not left:
                return

    def share_length(self, done: int) -> int:
        """Return the number of samples that are left to this rank."""
        spec, left = self._spec, len(self) - done
        if spec.drop_last:
            return left // spec.world_size // spec.batch_size * spec.batch_size
        return (left - spec.rank + spec.world_size - 1) // spec.world_size

    def batches(self, done: int) -> int:
        """Return the number of batches that are left to this rank."""
        return batch_count(self.share_length(done), self._spec.batch_size)

    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Return which samples are chosen, or None for all. Raises LoaderError if not each of them comes once."""
        if isinstance(self._order, ChosenOrder):
            return self._order.mask()
        raise LoaderError(NOT_A_SET)

    @property
    def is_set(self) -> bool:
        """Whether each chosen sample comes once in an epoch, in an order that the loader may choose."""
        return isinstance(self._order, ChosenOrder) and self._order.is_set

    def marks(self, epoch: int, samples: int) -> dict[str, Any]:
        """Return what a saved state must have in common with this choice to be resumed with it."""
        return self._order.marks(epoch, samples)


def in_batches(blocks: Iterable[I64], size: int) -> Iterator[I64]:
    """Yield the numbers of ``blocks`` in arrays of ``size``, the last of which may be smaller."""
    left = np.empty(0, np.int64)
    for block in blocks:
        numbers = np.concatenate([left, block]) if len(left) else block
        whole = len(numbers) // size * size
        yield from (numbers[first : first + size] for first in range(0, whole, size))
        left = numbers[whole:]
    if len(left):
        yield left


def without_choice(spec: LoaderSpec) -> LoaderSpec:
    """Return the spec for worker processes, which receive draw keys: a sampler cannot always be pickled."""
    return replace(spec, indices=None, classes=None, weights=None, sampler=None, repeat=1)


def batch_count(samples: int, batch_size: int) -> int:
    """Return the number of batches that ``samples`` make, including a smaller last one."""
    return -(-samples // batch_size)
