"""Who gets which sample when: the order of an epoch, the share of a rank, and the place within an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ...prep import LoaderError, permutation
from ..base import Batch, LoaderSpec


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


def epoch_share(order: npt.NDArray[np.int64], spec: LoaderSpec) -> npt.NDArray[np.int64]:
    """Return this rank's part of the samples that an epoch has left, int64: every ``world_size``-th of ``order``."""
    return order[spec.rank :: spec.world_size][: share_length(len(order), spec)]


def epoch_order(count: int, spec: LoaderSpec, epoch: int) -> npt.NDArray[np.int64]:
    """Return the sample indexes of all ranks in the order of ``epoch``, int64 (count,)."""
    return permutation(count, spec.seed, epoch) if spec.shuffle else np.arange(count, dtype=np.int64)


class Cursor:
    """The epoch and the place in it that a loader is at, in memory and as a state to resume from.

    The place is the number of samples that all ranks together have handed out. A finished epoch moves the cursor to
    the next one, so forgetting ``set_epoch`` never repeats an epoch. An iteration that was left early starts its
    epoch again, unless the cursor was loaded from a state.
    """

    def __init__(self, spec: LoaderSpec, *, elastic: bool = False) -> None:
        """``elastic`` loaders can continue with another batch size or world size; the others refuse."""
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
        """Raise LoaderError when the state belongs to another seed, or to a batch or world size that matters."""
        for name, value in self._promise.items():
            if state.get(name, value) != value:
                raise LoaderError(
                    f"cannot resume: the state has {name} {state[name]}, the loader {value}; "
                    f"open the loader with the same {name}"
                )
        try:
            self._epoch, self._samples, self._resumed = int(state["epoch"]), int(state["samples"]), True
        except (KeyError, TypeError, ValueError) as error:
            raise LoaderError(f"cannot resume: {state} is not the state of a loader") from error

    def run(self, batches: Callable[[int, int], Iterator[Batch]]) -> Iterator[Batch]:
        """Yield ``batches(epoch, samples already handed out by all ranks)`` and keep count."""
        epoch = self._epoch
        self._samples = self._samples if self._resumed else 0
        self._resumed = False
        for batch in batches(epoch, self._samples):
            self._samples += self._step
            yield batch
        self.set_epoch(epoch + 1)
