"""Who gets which sample when: the order of an epoch, the share of a rank, and the place within an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..prep import LoaderError, permutation
from .base import Batch, LoaderSpec


def share_length(count: int, spec: LoaderSpec) -> int:
    """Return how many of ``count`` samples this rank hands out in an epoch.

    Shares differ by one sample at most. With ``drop_last`` they are equal and a whole number of batches, so
    that all ranks take the same number of steps.
    """
    if spec.drop_last:
        return count // spec.world_size // spec.batch_size * spec.batch_size
    return (count - spec.rank + spec.world_size - 1) // spec.world_size


def batch_count(samples: int, batch_size: int) -> int:
    """Return the batches that ``samples`` make; the last one may be smaller."""
    return -(-samples // batch_size)


def epoch_share(count: int, spec: LoaderSpec, epoch: int) -> npt.NDArray[np.int64]:
    """Return this rank's sample indexes in the order of ``epoch``, int64: every ``world_size``-th sample."""
    order = permutation(count, spec.seed, epoch) if spec.shuffle else np.arange(count, dtype=np.int64)
    return order[spec.rank :: spec.world_size][: share_length(count, spec)]


class Cursor:
    """The epoch and the batch that a loader is at, in memory and as a state to resume from.

    A finished epoch moves the cursor to the next one, so forgetting ``set_epoch`` never repeats an epoch. An
    iteration that was left early starts its epoch again, unless the cursor was loaded from a state.
    """

    def __init__(self, spec: LoaderSpec) -> None:
        self._promise = {"batch_size": spec.batch_size, "seed": spec.seed, "world_size": spec.world_size}
        self._epoch = 0
        self._batch = 0
        self._resumed = False

    def set_epoch(self, epoch: int) -> None:
        self._epoch, self._batch, self._resumed = epoch, 0, False

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "batch": self._batch, **self._promise}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raise LoaderError when the state belongs to another batch size, seed or world size."""
        for name, value in self._promise.items():
            if state.get(name) != value:
                raise LoaderError(
                    f"cannot resume: the state has {name} {state.get(name)}, the loader {value}; "
                    f"open the loader with the same {name}"
                )
        self._epoch, self._batch, self._resumed = int(state["epoch"]), int(state["batch"]), True

    def run(self, batches: Callable[[int, int], Iterator[Batch]]) -> Iterator[Batch]:
        """Yield ``batches(epoch, first batch)`` and keep count of what has been handed out."""
        epoch = self._epoch
        self._batch = self._batch if self._resumed else 0
        self._resumed = False
        for batch in batches(epoch, self._batch):
            self._batch += 1
            yield batch
        self.set_epoch(epoch + 1)
