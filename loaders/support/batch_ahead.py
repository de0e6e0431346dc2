"""``batch_transform``: a call per batch on its device, one batch ahead of the loop, in a thread of its own.

While the training step works on a batch, the thread transforms the next one. On a CUDA device it launches its work on
the stream of the copies, so that the next step waits for it and the one under way does not. The position in the epoch
counts what the loop was given, and an error is raised in place of its own batch.
"""

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import torch

from ..batch import Batch
from ..spec import LoaderSpec
from ..transforms.calls import Call
from ..transforms.seeding import batch_seed
from .transfer import Transfer


class BatchTransform:
    """The spec's ``batch_transform``. Without workers, the caller's own thread runs it."""

    def __init__(self, spec: LoaderSpec, transfer: Transfer) -> None:
        assert spec.batch_transform is not None
        self._call = Call("batch_transform", spec.batch_transform)
        self._seed = spec.seed
        self._transfer = transfer
        self._pool = ThreadPoolExecutor(1, "feedline-batch") if spec.workers else None

    def run(self, batches: Iterator[Batch], epoch: int) -> Iterator[Batch]:
        """Yield the transformed batches."""
        under_way: Future[tuple[Batch, Any]] | None = None
        try:
            while True:
                batch, problem = _next(batches)
                ahead = None if batch is None or self._pool is None else self._pool.submit(self._apply, batch, epoch)
                if under_way is not None:
                    waited, under_way = under_way, ahead
                    yield self._hand_over(*waited.result())
                else:
                    under_way = ahead
                if problem is not None:
                    raise problem
                if batch is None:
                    return
                if self._pool is None:
                    yield self._hand_over(*self._apply(batch, epoch))
        finally:
            if under_way is not None:
                under_way.cancel()
            if isinstance(batches, Generator):
                batches.close()

    def close(self) -> None:
        """End the thread."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _apply(self, batch: Batch, epoch: int) -> tuple[Batch, Any]:
        """Return the transformed batch, and the event of a GPU that it is ready after. An empty one stays as it is."""
        if not len(batch.indexes):
            return batch, self._transfer.record()
        device = torch.device(self._transfer.device)
        seed = batch_seed(batch.indexes.numpy(), self._seed, epoch)
        with self._transfer.beside():
            result = self._call(seed, device, lambda: _name(batch), batch.images, batch.labels)
            parts = cast(tuple[Any, ...], result) if isinstance(result, (tuple, list)) else ()
            if len(parts) != 2:
                kind = f"{len(parts)} values" if parts else type(result).__name__
                raise self._call.failed(_name(batch), f"it returned {kind} instead of (images, labels)")
            for name, part in zip(("images", "labels"), parts, strict=True):
                if not isinstance(part, (torch.Tensor, list)) or len(cast(list[Any], part)) != len(batch.indexes):
                    raise self._call.failed(
                        _name(batch), f"its {name} are not a tensor or list of the batch's {len(batch.indexes)} samples"
                    )
            done = replace(batch, images=parts[0], labels=parts[1], transformed=True)
            return done, self._transfer.record()

    def _hand_over(self, batch: Batch, event: Any) -> Batch:
        self._transfer.hand_over(batch, event)
        return batch


def _next(batches: Iterator[Batch]) -> tuple[Batch | None, Exception | None]:
    """Return the next batch, or None at the end, or the error to be raised after the batches before it."""
    try:
        return next(batches, None), None
    except Exception as error:
        return None, error


def _name(batch: Batch) -> str:
    return f"the batch that begins with sample {int(batch.indexes[0])}"
