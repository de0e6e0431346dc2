"""The position of a loader, as loops move it: begin an epoch, begin it in the middle, or go on after a state.

Libraries call ``set_epoch`` between making an iterator and taking its first batch, also after they have loaded a
state. So an iteration begins with its first batch, and ``set_epoch`` keeps a position that was loaded in that epoch.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ...prep import LoaderError
from ..base import Loader
from ..batch import Batch


class Place(NamedTuple):
    """Where an iteration begins."""

    epoch: int
    samples: int
    """The samples that all ranks have yielded before."""


class Position:
    """One loader and where its next iteration begins."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self._untouched = True
        """Whether no batch was taken since the loader was opened, moved or given a state."""

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def ended(self) -> bool:
        """Whether the batch that was yielded last is the last of its epoch, which moves the loader to the next."""
        return not self.loader.state_dict()["samples"]

    @property
    def next(self) -> Place:
        """Where the next iteration begins: in the epoch after one that was left early, unless a state was loaded."""
        state = self.loader.state_dict()
        epoch, samples = state["epoch"], state["samples"]
        return Place(epoch, samples) if self._untouched or not samples else Place(epoch + 1, 0)

    def batches(self, place: Place | None = None) -> Iterator[Batch]:
        """Yield the batches from ``place``, or from ``next``, where the loader begins by itself.

        The iteration begins with its first batch.
        """
        if place is not None:
            self.loader.load_state_dict({**self.loader.state_dict(), **place._asdict()})
        for batch in self.loader:
            self._untouched = False
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. A position in this epoch that was loaded is kept."""
        if not (self._untouched and self.next.epoch == epoch):
            self.loader.set_epoch(epoch)
            self._untouched = True

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loader.load_state_dict(state)
        self._untouched = True


def refuse_worker(worker: object) -> None:
    """Raise LoaderError in a worker process of torch's DataLoader: a loader has workers of its own."""
    if worker is not None:
        raise LoaderError("a feedline loader has its own workers; use num_workers=0 here, and LoaderSpec(workers=...)")
