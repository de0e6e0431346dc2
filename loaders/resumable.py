"""The base class of all loaders: position in the epoch, skipped samples, columns, and transfer to the device.

What a loop can do with a loader is decided here, once: to iterate it again, in two places, after ``close``, or in
another process than the one that opened it.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from ..prep import LoaderError
from ..prep.base.plurals import counted
from .batch import Batch
from .sampling.chosen import Chosen, batch_count
from .spec import LoaderSpec
from .support.batch_ahead import BatchTransform
from .support.columns import open_columns
from .support.damage import Damage, log
from .support.encoded import EncodedSamples
from .support.epochs import Cursor
from .support.held import Held
from .support.transfer import Transfer
from .transforms.samples import sample_transform_of
from .view import SplitView, class_ids


class ResumableLoader(ABC):
    """The part of a Loader that is the same for all; a subclass adds ``_batches``, ``_remaining`` and ``_close``."""

    def __init__(self, spec: LoaderSpec, *, elastic: bool = False, samples: EncodedSamples | None = None) -> None:
        """Begin at epoch 0. ``elastic`` loaders can resume with another batch size or world size; the others raise.

        ``samples`` are those that the subclass reads and closes, if they are not those of the spec.
        """
        self._spec = spec
        self._cursor = Cursor(spec, elastic=elastic)
        self._damage = Damage(spec)
        self._transfer = Transfer(spec.device, ahead=spec.batch_transform is not None)
        self._sample_transform = sample_transform_of(spec)
        self._batch_transform = None if spec.batch_transform is None else BatchTransform(spec, self._transfer)
        self._columns = open_columns(spec)
        self._held: Held | None = None
        """The manifest that the samples come from; None for a loader that reads no data set of its own."""
        self._process = os.getpid()
        self._closed = False
        self._count = 0
        self._view = SplitView(spec, samples)

    @abstractmethod
    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        """Yield the rest of ``epoch`` after the ``done`` samples that all ranks have yielded."""

    @abstractmethod
    def _remaining(self, done: int) -> int:
        """Return the number of batches that this rank has left after ``done`` samples of all ranks."""

    @abstractmethod
    def _close(self) -> None:
        """End every worker and release every file and memory segment."""

    def __len__(self) -> int:
        return self._remaining(0)

    def __iter__(self) -> Iterator[Batch]:
        self._require_open()
        return self._cursor.run(self._transformed, self._remaining)

    def _transformed(self, epoch: int, done: int) -> Iterator[Batch]:
        if self._held is not None:
            self._held.require_unchanged()
        batches = self._batches(epoch, done)
        return batches if self._batch_transform is None else self._batch_transform.run(batches, epoch)

    @property
    def skipped(self) -> Mapping[int, str]:
        return self._damage.skipped

    @property
    def spec(self) -> LoaderSpec:
        return self._spec

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return class_ids(self._spec.root)

    @property
    def batch_size(self) -> int:
        return self._spec.batch_size

    @property
    def samples(self) -> int:
        return self._count

    @property
    def dataset(self) -> SplitView:
        self._view.epoch = self._cursor.epoch
        return self._view

    def set_epoch(self, epoch: int) -> None:
        self._cursor.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        return self._cursor.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._cursor.load_state_dict(state)

    def close(self) -> None:
        if self._closed or os.getpid() != self._process:  # the workers belong to the process that started them
            return
        self._closed = True
        self._cursor.end("the loader was closed")
        if self._batch_transform is not None:
            self._batch_transform.close()
        self._view.close()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _to_batch(
        self, images: torch.Tensor | list[torch.Tensor], labels: torch.Tensor, indexes: torch.Tensor
    ) -> Batch:
        """Return ``batch.to_batch`` of the samples that are not damaged, on the spec's device, with their columns.

        If the spec has a sample transform, ``images`` are what it made.
        """
        transformed = self._sample_transform is not None
        with self._transfer.beside():
            kept = self._damage.without_skipped(images, labels, indexes)
        batch = replace(self._transfer.to_batch(*kept, transformed=transformed), key_of=self._view.key)
        if self._columns is None:
            return batch
        return replace(batch, columns=self._columns.read(batch.indexes.tolist()))

    def _choose(self, count: int, labels: Callable[[], npt.NDArray[np.int64]]) -> Chosen:
        """Return the samples of the spec's epochs, and add them to saved states.

        ``count`` is the number of samples of the split, and ``labels`` returns their class indexes. A warning is logged
        if no batch would come, or more batches for one rank than for another.
        """
        chosen = Chosen(self._spec, count, labels)
        self._cursor.mark(chosen.marks)
        self._count_samples(len(chosen))
        return chosen

    def _count_samples(self, count: int) -> None:
        """Keep the number of samples in an epoch of all ranks.

        A warning is logged if they make no batch, or, shuffled, more batches for one rank than for another.
        """
        spec, self._count = self._spec, count
        shares = (-(-count // spec.world_size), count // spec.world_size)
        most, least = (batch_count(share, spec.batch_size) for share in shares)
        if spec.drop_last and count // spec.world_size < spec.batch_size:
            log.warning(
                "%s over %s make no whole batch of %d, and drop_last drops the rest; use a smaller batch_size",
                *(counted(count, "sample"), counted(spec.world_size, "rank"), spec.batch_size),
            )
        if spec.shuffle and not spec.drop_last and most != least:
            log.warning(
                "%d samples over %d ranks make %d batches for some ranks and %d for others; a loop in which the ranks "
                "wait for each other hangs at the end of the epoch; use drop_last=True",
                *(count, spec.world_size, most, least),
            )

    def _require_open(self) -> None:
        if self._closed:
            raise LoaderError("this loader is closed; open it again with open_loader")
        if os.getpid() != self._process:
            raise LoaderError(
                "this loader was opened by another process, which a fork does not copy with its workers; "
                "open the loader in the process that iterates it"
            )
