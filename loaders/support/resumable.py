"""The base class of all loaders: position in the epoch, skipped samples, columns, and transfer to the device."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from ..base import Batch, LoaderSpec
from .columns import open_columns
from .damage import Damage
from .epochs import Cursor
from .transfer import Transfer


class ResumableLoader(ABC):
    """The part of a Loader that is the same for all; a subclass adds ``_batches``, ``__len__`` and ``close``."""

    def __init__(self, spec: LoaderSpec, *, elastic: bool = False) -> None:
        """Begin at epoch 0. ``elastic`` loaders can resume with another batch size or world size; the others raise."""
        self._spec = spec
        self._cursor = Cursor(spec, elastic=elastic)
        self._damage = Damage(spec)
        self._transfer = Transfer(spec.device)
        self._columns = open_columns(spec)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        """Yield the rest of ``epoch`` after the ``done`` samples that all ranks have yielded."""

    def __iter__(self) -> Iterator[Batch]:
        return self._cursor.run(self._batches)

    @property
    def skipped(self) -> Mapping[int, str]:
        return self._damage.skipped

    def set_epoch(self, epoch: int) -> None:
        self._cursor.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        return self._cursor.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._cursor.load_state_dict(state)

    def _to_batch(self, images: torch.Tensor, labels: torch.Tensor, indexes: torch.Tensor) -> Batch:
        """Return ``base.to_batch`` of the samples that are not damaged, on the spec's device, with their columns."""
        with self._transfer.beside():
            kept = self._damage.without_skipped(images, labels, indexes)
        batch = self._transfer.to_batch(*kept)
        if self._columns is None:
            return batch
        return replace(batch, columns=self._columns.read(batch.indexes.tolist()))
