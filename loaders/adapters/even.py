"""Batches of the same number and size on all ranks, for loops in which the ranks exchange each batch.

A loader's ranks share the samples without repeating any, so some have one less. Libraries that gather predictions
after each batch, or reduce their counts, wait for ever if a rank has no batch left, and fail if one is smaller.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch

from ..batch import Batch
from .position import Place, Position


class Evened:
    """The batches of a loader, where a rank that has one sample less than others repeats its last."""

    def __init__(self, position: Position) -> None:
        self._position = position
        loader = position.loader
        self._spec = loader.spec
        odd = loader.samples % self._spec.world_size
        self._short = not self._spec.drop_last and 0 < odd <= self._spec.rank
        self.ended = False
        """Whether the batch that was yielded last is the last of its epoch."""

    def __len__(self) -> int:
        if self._spec.drop_last:
            return len(self._position.loader)
        share = -(-self._position.loader.samples // self._spec.world_size)
        return -(-share // self._spec.batch_size)

    def batches(self, place: Place | None = None) -> Iterator[Batch]:
        """Yield the batches from ``place`` or from where the next iteration begins."""
        for batch in self._position.batches(place):
            missing = self._spec.batch_size - len(batch.indexes)
            repeats = self._position.ended and self._short
            self.ended = self._position.ended and not (repeats and not missing)
            yield _rows(batch, [*range(len(batch.indexes)), -1]) if repeats and missing else batch
            if repeats and not missing:
                self.ended = True
                yield _rows(batch, [-1])


def _rows(batch: Batch, rows: list[int]) -> Batch:
    """Return a batch of these rows of ``batch``."""
    chosen = [row % len(batch.indexes) for row in rows]
    here = torch.tensor(chosen, device=batch.images.device)
    images = batch.images[here].contiguous(memory_format=torch.channels_last)
    columns = {name: [values[row] for row in chosen] for name, values in batch.columns.items()}
    return replace(batch, images=images, labels=batch.labels[here], indexes=batch.indexes[chosen], columns=columns)
