"""The rows of all shard indexes of a split, read where they are mapped.

The page cache holds the only copy, which all ranks of a machine share. A rank copies the rows of the samples that it
reads next, and no others. Up to 16 million samples, all indexes are mapped and checked when they are opened, in about
15 ns a row. Of more samples, an index is mapped and checked when the first of its samples is needed: the indexes of a
billion samples have 50 GB, more than most machines hold in their page cache. Then opening takes note only of which
indexes are missing or too short.

An index that is written again while it is mapped gives its new rows, or none, at the old places. So a place of an image
or of its row lengths is compared with the sizes of both files before its address is used, and the files are compared
with those that were mapped at the start of each epoch. Pages of a file that was cut become zeros, which ``bus_errors``
counts; from then on the file is looked at before each row of it is used. The rest of the page in which a file ends now
becomes zeros without an error, so the file is looked at too where a row has an image without a width.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from ...prep import DatasetError, LoaderError
from ...prep.base.mapping import MappedFile, identity_of
from ...prep.base.origins import size_of
from ...prep.shards.index import ShardIndex, decoded_key, index_path, read_index, rebuild, sample_dtype

I64 = npt.NDArray[np.int64]

CHECKED = 1 << 24
"""Samples of a split whose indexes are all checked when they are opened."""
MOST_MAPPED = 16_384
"""Indexes that stay mapped, and as many shards. Linux allows a process 65,530 mappings, and much else is one."""

TAIL: np.dtype[np.void] = np.dtype(sample_dtype(1).descr[1:])
"""A row of an index without its key, whose length differs between indexes. The key comes first."""


class _Memory:
    """The memory of this process as rows, one beginning at each byte. Only mapped rows may be read."""

    __array_interface__: ClassVar = {
        "version": 3,
        "shape": (2**56,),  # more than a process has: 2**47 bytes on x86-64, 2**48 on 64-bit ARM
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
    length_count: int
    """How many row lengths there are."""


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
        self._total = sum(self._counts)
        self._starts = self._ends - np.array(self._counts, np.int64)
        self._mapped: dict[int, _Mapped] = {}
        self._mapping = threading.Lock()
        if self._total <= CHECKED:
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
        """Return the rows at many places, in about 0.1 us each.

        Raises what opening raises, IndexError for a place that no sample has, and DatasetError for an index that was
        written again and leads outside itself.
        """
        self._require_places(places)
        shards, which = np.unique(self.shards_of(places), return_inverse=True)
        used = shards.tolist()
        found = [self._open(shard) for shard in used]
        numbers = [(held.first, held.step, held.lengths, held.length_count) for held in found]
        addresses = np.array(numbers, np.int64).reshape(-1, 4)[which]
        rows = _MEMORY[addresses[:, 0] + (places - self._starts[shards][which]) * addresses[:, 1] - 1]
        blank = rows["width"] == 0
        if blank.any():
            self._require_read_well(shards[which[blank]])
        first_rows = rows["first_row"].astype(np.int64)
        outside = first_rows + rows["rows"] > addresses[:, 3]
        if outside.any():
            raise self.outside(used[which[outside.argmax()]])
        return Rows(rows, addresses[:, 2] + 2 * first_rows, used, which, [held.sidecar for held in found])

    def row(self, place: int) -> tuple[ShardIndex, npt.NDArray[np.void]]:
        """Return the index of a place, and the row there, of the index's dtype. Raises as ``gather`` does."""
        self._require_places(np.array([place]))
        shard = self.shard_of(place)
        index = self._open(shard).sidecar
        found = index.samples[place - self._starts.item(shard)]
        if not found["width"]:
            self._require_read_well(np.array([shard]))
        return index, found

    def key(self, place: int) -> str:
        """Return the key of the sample at a place. Raises as ``gather`` does."""
        return decoded_key(self.row(place)[1]["key"].item())

    def labels(self) -> Iterator[npt.NDArray[np.int32]]:
        """Yield the class indexes of each shard's samples, int32. Raises what opening raises."""
        for shard in range(len(self._shards)):
            index = self._open(shard).sidecar
            labels = index.samples["label"].copy()
            self.require_unchanged(shard)
            yield labels
            index.let_go()

    def outside(self, shard: int) -> DatasetError:
        """Return the error of an index that leads outside its shard or itself since it was opened."""
        path = index_path(self._homes[shard])
        return DatasetError(f"{path} points outside {self._shards[shard].name}; {rebuild(path.parent)}")

    def require_unchanged(self, shard: int | None = None) -> None:
        """Raise LoaderError if an index, by default any, was written again since it was mapped, with other rows.

        One that was removed stays mapped as it was. It takes 2 us an index of a local disk.
        """
        for number in [*self._mapped] if shard is None else [shard]:
            if (held := self._mapped.get(number)) and held.sidecar.mapped:
                _require_same(index_path(self._homes[number]), held.sidecar.mapped)

    def _require_read_well(self, shards: I64) -> None:
        """Raise LoaderError if an index was written again, of which a row has an image without a width.

        So has a row of which the label was cut off: the rest of a file's last page becomes zeros without a bus error.
        """
        for shard in np.unique(shards).tolist():
            self.require_unchanged(shard)

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
        return _Mapped(index, first, step, index.row_lengths.ctypes.data, len(index.row_lengths))

    def _require_places(self, places: I64) -> None:
        """Raise IndexError for a place that no sample has: its address would be outside the mapping."""
        if len(places) and not (places.min() >= 0 and places.max() < self._total):
            raise IndexError(f"places {places.min()} to {places.max()} of {self._total} samples")

    def _require_file(self, shard: int) -> None:
        path = index_path(self._homes[shard])
        try:
            size = size_of(path)
        except OSError as error:
            raise DatasetError(f"cannot read {path} ({error}); {rebuild(path.parent)}") from error
        if size < self._counts[shard] * TAIL.itemsize:
            raise LoaderError(f"the index of {self._shards[shard]} is stale; {rebuild(path.parent)}")


def _require_same(path: Path, mapped: MappedFile) -> None:
    """Raise LoaderError unless a file is the one that is mapped, or another one with its bytes, or gone."""
    try:
        found = identity_of(path)
        if found == mapped.identity:
            return
        is_copy = False
        if found[0] != mapped.identity[0] and found[1] == len(mapped.data):  # not one that was written in place
            is_copy = path.read_bytes() == mapped.data.tobytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise LoaderError(f"cannot read {path} any more ({error}); open the loader again") from error
    if not is_copy:
        raise LoaderError(f"{path} was cut or written again since this loader was opened; open the loader again")
    mapped.identity = found
