"""The rows of all shard indexes of a split, read where they are mapped.

The page cache holds the only copy, which all ranks of a machine share. A rank copies the rows of the samples that it
reads next, and no others. Up to 16 million samples, all indexes are mapped and checked when they are opened, in about
15 ns a row. Of more samples, an index is mapped and checked when the first of its samples is needed: the indexes of a
billion samples have 50 GB, more than most machines hold in their page cache. Then opening takes note only of which
indexes are missing or too short.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from ...prep import DatasetError, LoaderError
from ...prep.base.origins import size_of
from ...prep.shards.index import ShardIndex, decoded_key, index_path, read_index, rebuild, sample_dtype

I64 = npt.NDArray[np.int64]

CHECKED = 1 << 24
"""Samples of a split whose indexes are all checked when they are opened."""
MOST_MAPPED = 16_384
"""Indexes that stay mapped. Linux allows a process 65,530 mappings, and shards are mapped too."""

TAIL: np.dtype[np.void] = np.dtype(sample_dtype(1).descr[1:])
"""A row of an index without its key, whose length differs between indexes. The key comes first."""


class _Memory:
    """The memory of this process as rows, one beginning at each byte. Only mapped rows may be read."""

    __array_interface__: ClassVar = {
        "version": 3,
        "shape": (2**47 - 2 * TAIL.itemsize,),  # what systems with 64 bits give to a process
        "typestr": f"|V{TAIL.itemsize}",
        "descr": TAIL.descr,
        "strides": (1,),
        "data": (1, True),
    }


_MEMORY: npt.NDArray[np.void] = np.asarray(_Memory())


class _Mapped(NamedTuple):
    """A mapped index."""

    sidecar: ShardIndex
    first: int
    """Address of the first row, without its key."""
    step: int
    """Bytes from one row to the next."""
    lengths: int
    """Address of the row lengths."""


class Rows(NamedTuple):
    """Rows of samples, copied, and where the lengths of their images' MCU rows are mapped."""

    rows: npt.NDArray[np.void]
    """(n,), of ``TAIL``."""
    lengths: I64
    """Address of the lengths of each image, uint16."""
    shards: list[int]
    """The shards that they come from, without repetition."""
    which: I64
    """(n,): the place in ``shards`` of each row's."""
    holds: list[ShardIndex]
    """What must live as long as the addresses are used."""


class IndexRows:
    """The rows of a split's indexes by place: the samples of all shards in their order. Many threads can read."""

    def __init__(self, homes: Sequence[Path], shards: Sequence[Path], counts: Sequence[int]) -> None:
        """Open the indexes of ``shards``, which lie in ``homes``; each has its number of samples in ``counts``.

        Raises DatasetError for an index that cannot be used, LoaderError for one of another number of samples.
        """
        self._homes, self._shards, self._counts = list(homes), list(shards), list(counts)
        self._ends = np.cumsum(np.array(self._counts, np.int64))
        self._starts = self._ends - np.array(self._counts, np.int64)
        self._mapped: dict[int, _Mapped] = {}
        self._mapping = threading.Lock()
        if self._ends[-1:].sum() <= CHECKED:
            for shard in range(len(self._shards)):
                self._open(shard).sidecar.let_go()
        else:
            for shard in range(len(self._shards)):
                self._require_file(shard)

    def shards_of(self, places: I64) -> I64:
        """Return the shard of each place, int64."""
        return np.searchsorted(self._ends, places, side="right")

    def shard_of(self, place: int) -> int:
        """Return the shard of a place."""
        return int(np.searchsorted(self._ends, place, side="right"))

    def places_of(self, shard: int) -> range:
        """Return the places of a shard's samples."""
        return range(self._starts.item(shard), self._ends.item(shard))

    def gather(self, places: I64) -> Rows:
        """Return the rows at many places, in about 0.1 us each. Raises what opening raises."""
        shards, which = np.unique(self.shards_of(places), return_inverse=True)
        used = shards.tolist()
        found = [self._open(shard) for shard in used]
        addresses = np.array([(held.first, held.step, held.lengths) for held in found], np.int64).reshape(-1, 3)[which]
        rows = _MEMORY[addresses[:, 0] + (places - self._starts[shards][which]) * addresses[:, 1] - 1]
        lengths = addresses[:, 2] + 2 * rows["first_row"].astype(np.int64)
        return Rows(rows, lengths, used, which, [held.sidecar for held in found])

    def row(self, place: int) -> tuple[ShardIndex, npt.NDArray[np.void]]:
        """Return the index of a place, and the row there, of the index's dtype. Raises what opening raises."""
        shard = self.shard_of(place)
        index = self._open(shard).sidecar
        return index, index.samples[place - self._starts.item(shard)]

    def key(self, place: int) -> str:
        """Return the key of the sample at a place. Raises what opening raises."""
        return decoded_key(self.row(place)[1]["key"].item())

    def labels(self) -> Iterator[npt.NDArray[np.int32]]:
        """Yield the class indexes of each shard's samples, int32. Raises what opening raises."""
        for shard in range(len(self._shards)):
            index = self._open(shard).sidecar
            yield index.samples["label"].copy()
            index.let_go()

    def let_go(self, shards: Iterable[int]) -> None:
        """Release the mapped pages of some indexes; the next access maps them again."""
        for shard in shards:
            if held := self._mapped.get(shard):
                held.sidecar.let_go()

    def close(self) -> None:
        """Release every mapping that no row views."""
        self._mapped = {}

    def _open(self, shard: int) -> _Mapped:
        found = self._mapped.get(shard)
        if found is None:
            with self._mapping:
                found = self._mapped.get(shard)
                if found is None:
                    found = self._map(shard)
                    if len(self._mapped) >= MOST_MAPPED:  # in random order, the oldest is as good a choice as any
                        del self._mapped[next(iter(self._mapped))]
                    self._mapped[shard] = found
        return found

    def _map(self, shard: int) -> _Mapped:
        index = read_index(self._homes[shard], self._shards[shard])
        if len(index.samples) != self._counts[shard]:
            raise LoaderError(f"the index of {self._shards[shard]} is stale; {rebuild(self._homes[shard].parent)}")
        step = index.samples.dtype.itemsize
        first = index.samples.ctypes.data + step - TAIL.itemsize
        return _Mapped(index, first, step, index.row_lengths.ctypes.data)

    def _require_file(self, shard: int) -> None:
        path = index_path(self._homes[shard])
        try:
            size = size_of(path)
        except OSError as error:
            raise DatasetError(f"cannot read {path} ({error}); {rebuild(path.parent)}") from error
        if size < self._counts[shard] * TAIL.itemsize:
            raise LoaderError(f"the index of {self._shards[shard]} is stale; {rebuild(path.parent)}")
