"""Ours: threads in one process, one batch buffer, and only the crop decoded.

No worker processes means no start-up, nothing pickled, no /dev/shm, and the same on Windows. The threads work on
chunks of a few batches ahead and write into the batches themselves. From restart-marker shards each takes just
the tiles that its crop touches; from other shards and from class folders it decodes the whole picture. Order and
crops are pure functions of (seed, epoch, sample index), so threads, ranks and resumes cannot change them.
"""

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..prep import SampleError, permutation
from .base import Batch, LoaderSpec
from .crop_decoding import decode_into
from .damage import Damage, Failure
from .encoded import EncodedSamples, open_samples
from .epochs import Cursor, batch_count, epoch_order, epoch_share, share_length
from .pixels import draws_of

# Pictures per task: handing one over costs about 30 microseconds, decoding one about 500.
CHUNK = 8
# Batches under way at least: one to hand out, one to fill meanwhile.
AHEAD = 2


class _Pending(NamedTuple):
    images: torch.Tensor
    indexes: npt.NDArray[np.int64]
    failures: list[Failure]
    """Those of the caller's own thread."""
    tasks: list[Future[list[Failure]]]


class ThreadedLoader:
    """A Loader over shards or class folders with ``spec.workers`` threads.

    ``window`` is the number of shards to read at a time, for slow disks and object stores: their samples are mixed
    among themselves, and the windows follow one another in random order. 0 means true random order. ``samples``
    are read instead of those that ``spec`` names, and closed with the loader.
    """

    def __init__(self, spec: LoaderSpec, *, window: int = 0, samples: EncodedSamples | None = None) -> None:
        self._spec = spec
        self._window = window
        self._samples = open_samples(spec.root, spec.split) if samples is None else samples
        self._count = len(self._samples.labels)
        self._pool = _start_threads(spec.workers) if spec.workers else None
        # Enough batches under way to give every thread two chunks; without threads there is nobody to work ahead.
        ahead = max(AHEAD, -(-2 * spec.workers * CHUNK // spec.batch_size) + 1)
        self._ahead = ahead if spec.workers else 0
        self._cursor = Cursor(spec, elastic=True)
        self._damage = Damage(spec)

    def __len__(self) -> int:
        return batch_count(share_length(self._count, self._spec), self._spec.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self._cursor.run(self._batches)

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        share = epoch_share(self._order(epoch)[done:], self._spec)
        pending: deque[_Pending] = deque()
        try:
            for first in range(0, len(share), self._spec.batch_size):
                pending.append(self._begin(share[first : first + self._spec.batch_size], epoch))
                if len(pending) > self._ahead:
                    yield self._finish(pending.popleft())
            while pending:
                yield self._finish(pending.popleft())
        finally:
            for task in (task for batch in pending for task in batch.tasks):
                task.cancel()

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if not (self._window and self._spec.shuffle):
            return epoch_order(self._count, self._spec, epoch)
        shards = self._samples.windows()
        order = permutation(len(shards), self._spec.seed, epoch)
        parts: list[npt.NDArray[np.int64]] = []
        for first in range(0, len(shards), self._window):
            held = np.concatenate([shards[shard] for shard in order[first : first + self._window]])
            parts.append(held[permutation(len(held), self._spec.seed, epoch, first)])
        return np.concatenate(parts)

    def _begin(self, indexes: npt.NDArray[np.int64], epoch: int) -> _Pending:
        """Start filling a batch; without threads, fill it."""
        size, samples = self._spec.image_size, indexes.tolist()
        pinned = self._spec.device.startswith("cuda")
        images = torch.empty((len(samples), size, size, 3), dtype=torch.uint8, pin_memory=pinned)
        draws = draws_of(samples, epoch, self._spec)
        if self._pool is None:
            with _one_core():
                return _Pending(images, indexes, self._fill(images, samples, draws), [])
        parts = (slice(first, first + CHUNK) for first in range(0, len(samples), CHUNK))
        tasks = [self._pool.submit(self._fill, images[part], samples[part], draws[part]) for part in parts]
        return _Pending(images, indexes, [], tasks)

    def _fill(self, images: torch.Tensor, samples: list[int], draws: list[list[float]]) -> list[Failure]:
        failures: list[Failure] = []
        for row, index, numbers in zip(images, samples, draws, strict=True):
            try:
                decode_into(row, self._samples.read(index), numbers, self._spec)
            except (SampleError, OSError) as error:
                failures.append(Failure(self._samples.name(index), str(error), index))
        return failures

    def _finish(self, batch: _Pending) -> Batch:
        self._damage.admit(batch.failures)
        for task in batch.tasks:
            self._damage.admit(task.result())
        labels = torch.from_numpy(self._samples.labels[batch.indexes])
        return self._damage.to_batch(batch.images, labels, torch.from_numpy(batch.indexes.copy()))

    @property
    def skipped(self) -> Mapping[int, str]:
        return self._damage.skipped

    def set_epoch(self, epoch: int) -> None:
        self._cursor.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        return self._cursor.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; another batch size or world size than its own is fine."""
        self._cursor.load_state_dict(state)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._samples.close()


@contextmanager
def _one_core() -> Generator[None, None, None]:
    """Keep torch from splitting the resize of one picture over threads: that costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _start_threads(count: int) -> ThreadPoolExecutor:
    """Return a pool whose threads are running, each with one core for torch; the caller keeps what it had."""
    before = torch.get_num_threads()
    started = Barrier(count + 1)
    pool = ThreadPoolExecutor(count, "feedline", _use_one_core, (started,))
    for _ in range(count):
        pool.submit(started.wait)
    started.wait()
    started.wait()
    # torch keeps the last number set for threads that have not asked yet, such as the trainer's own.
    torch.set_num_threads(before)
    return pool


def _use_one_core(started: Barrier) -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # torch then leaves this thread's number alone
    started.wait()
