"""The ceiling: a loader that decodes a few real batches once and yields them again and again.

No loader can be faster than one that does nothing, so this measures how much is left to gain (SPDL calls it headspace
analysis). It does not cover the epoch. Its entry in the table of loaders says so, and the trainer rejects it. The
batches come from the first loader that can read the root.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

from ..prep import LoaderError
from .batch import Batch
from .resumable import ResumableLoader
from .spec import LoaderSpec
from .table import honours, open_loader, readable_loaders

# Enough that the batches do not stay in the CPU's caches: 4 batches of 64 images at 224 px are 38 MB.
BATCHES = 4


class CachedLoader(ResumableLoader):
    """A Loader that repeats its first batches; ``len`` is that of the loader that made them."""

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(replace(spec, batch_transform=None))  # the source has transformed the batches
        if spec.workers:
            raise LoaderError(f"cached has no workers, got {spec.workers}; use --workers 0")
        name = next(name for name in readable_loaders(spec.root) if name != "cached" and honours(name, spec))
        source = open_loader(name, spec)
        try:
            self._length = len(source)
            self._replay = list(islice(source, BATCHES))
        finally:
            source.close()
        self._damage.skipped.update(source.skipped)

    def _remaining(self, done: int) -> int:
        return self._length - done // (self._spec.batch_size * self._spec.world_size)

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        start = done // (self._spec.batch_size * self._spec.world_size)
        return islice(cycle(self._replay), start, self._length)

    def _close(self) -> None:
        self._replay.clear()
        self._length = 0
