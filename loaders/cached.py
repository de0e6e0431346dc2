"""The ceiling: a few real batches, decoded once and handed out again and again.

No loader can be faster than one that does nothing, so this tells how much is left to gain (SPDL calls it headspace
analysis). It does not cover the epoch, and says so in the table of loaders; the trainer refuses it. The batches
come from the first loader that can read the root.
"""

from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from typing import Any

from ..prep import LoaderError
from .base import Batch, LoaderSpec
from .epochs import Cursor
from .table import open_loader, readable_loaders

# Enough to keep one batch from staying in the CPU's caches: 4 batches of 64 pictures at 224 px are 38 MB.
BATCHES = 4


class CachedLoader:
    """A Loader that repeats its first batches; ``len`` is that of the loader they came from."""

    def __init__(self, spec: LoaderSpec) -> None:
        if spec.workers:
            raise LoaderError(f"cached has no workers, got {spec.workers}; use --workers 0")
        name = next(name for name in readable_loaders(spec.root) if name != "cached")
        source = open_loader(name, spec)
        try:
            self._length = len(source)
            self._replay = list(islice(source, BATCHES))
        finally:
            source.close()
        self._spec = spec
        self.skipped: Mapping[int, str] = source.skipped
        self._cursor = Cursor(spec)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        return self._cursor.run(self._batches)

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        start = done // (self._spec.batch_size * self._spec.world_size)
        return islice(cycle(self._replay), start, self._length)

    def set_epoch(self, epoch: int) -> None:
        self._cursor.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        return self._cursor.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._cursor.load_state_dict(state)

    def close(self) -> None:
        self._replay.clear()
        self._length = 0
