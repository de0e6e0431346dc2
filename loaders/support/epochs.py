"""The order of an epoch, the share of a rank, and the position in an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ...prep import LoaderError, permutation
from ..base import Batch, LoaderSpec


def share_length(count: int, spec: LoaderSpec) -> int:
    """Return how many of ``count`` samples this rank yields in an epoch.

    Shares differ by one sample at most. With ``drop_last`` they are equal and a whole number of batches, so
    that all ranks take the same number of steps.
    """
    if spec.drop_last:
        return count // spec.world_size // spec.batch_size * spec.batch_size
    return (count - spec.rank + spec.world_size - 1) // spec.world_size


def batch_count(samples: int, batch_size: int) -> int:
    """Return the number of batches that ``samples`` make, including a smaller last one."""
    return -(-samples // batch_size)


def epoch_share(order: npt.NDArray[np.int64], spec: LoaderSpec) -> npt.NDArray[np.int64]:
    """Return this rank's share of the rest of an epoch, int64: every ``world_size``-th sample of ``order``."""
    return order[spec.rank :: spec.world_size][: share_length(len(order), spec)]


def epoch_order(count: int, spec: LoaderSpec, epoch: int) -> npt.NDArray[np.int64]:
    """Return the sample indexes of all ranks in the order of ``epoch``, int64 (count,)."""
    return permutation(count, spec.seed, epoch) if spec.shuffle else np.arange(count, dtype=np.int64)


class Cursor:
    """The epoch of a loader and the position in it, in memory and as a state to resume from.

    The position is the number of samples that all ranks together have yielded. A finished epoch moves the cursor to
    the next one, so that an epoch is never repeated without ``set_epoch``. An iteration that was left early starts its
    epoch again, unless the cursor was loaded from a state.
    """

    def __init__(self, spec: LoaderSpec, *, elastic: bool = False) -> None:
        """Begin at epoch 0. ``elastic`` loaders can resume with another batch size or world size; the others raise."""
        self._promise = {"seed": spec.seed}
        if not elastic:
            self._promise |= {"batch_size": spec.batch_size, "world_size": spec.world_size}
        self._step = spec.batch_size * spec.world_size
        self._epoch = 0
        self._samples = 0
        self._resumed = False

    def set_epoch(self, epoch: int) -> None:
        self._epoch, self._samples, self._resumed = epoch, 0, False

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "samples": self._samples, **self._promise}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``. Raises LoaderError for another seed, or batch or world size if not elastic."""
        for name, value in self._promise.items():
            if state.get(name, value) != value:
                raise LoaderError(
                    f"cannot resume: the state has {name} {state[name]}, the loader has {value}; "
                    f"open the loader with the same {name}"
                )
        try:
            self._epoch, self._samples, self._resumed = int(state["epoch"]), int(state["samples"]), True
        except (KeyError, TypeError, ValueError) as error:
            raise LoaderError(
                f"cannot resume: {state} is not the state of a loader; pass what state_dict() returned"
            ) from error

    def run(self, batches: Callable[[int, int], Iterator[Batch]]) -> Iterator[Batch]:
        """Yield ``batches(epoch, samples already yielded by all ranks)`` and count the samples."""
        epoch = self._epoch
        self._samples = self._samples if self._resumed else 0
        self._resumed = False
        for batch in batches(epoch, self._samples):
            self._samples += self._step
            yield batch
        self.set_epoch(epoch + 1)
