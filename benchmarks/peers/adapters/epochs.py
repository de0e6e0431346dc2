"""The interface of a peer's module: epochs of batches, for the measuring loop that times feedline's own loaders too."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ....loaders import Batch, LoaderSpec
from ....loaders.batch import to_batch
from ....prep.roots.samples import Sample

Item = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Images uint8 (N, H, W, 3), labels int64 (N,), sample indexes int64 (N,)."""


@dataclass
class PeerEpochs:
    """Epochs in the form that ``measure`` takes, from a function that begins one."""

    begin: Callable[[int], Iterable[Item]]
    """Takes the epoch's number and returns the library's batches, in the library's own order."""
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        for images, labels, indexes in self.begin(self.epoch):
            yield to_batch(images, labels, indexes, "cpu")


def each_epoch(loader: Any) -> PeerEpochs:
    """Return the epochs of a loader that begins a new epoch, in a new order, whenever it is iterated."""
    return PeerEpochs(lambda epoch: loader)


class PeerModule(Protocol):
    """A peer's module. ``samples`` are the split's images by sample index; ``place`` holds its converted data.

    ``options`` are those of the peer in the table.
    """

    def convert(self, samples: Sequence[Sample], place: Path, **options: Any) -> None:
        """Write the images into the empty directory ``place``; only for peers that convert, by the table."""
        ...

    def open_peer(self, spec: LoaderSpec, samples: Sequence[Sample], place: Path, **options: Any) -> PeerEpochs:
        """Return the train split's epochs: random crop, flip, shuffled."""
        ...
