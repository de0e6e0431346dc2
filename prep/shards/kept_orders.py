"""Where each sample stands in the shards of a split, kept in a file that all processes of a machine map.

    <user's cache folder>/orders/<count>-<order>-<seed>.order

The order is a function of count, order and seed (``order.sample_order``), so two data sets with the same numbers share
a file. It holds a line that names them, the sample index at each place, then the place of each sample index, as uint32
of this machine. Of 100 million samples it has 800 MB, once per machine instead of once per rank. The first process
holds a file lock while it writes; the others wait, then map the file. It gets its name when it is whole, and is used if
its size, its line and some of its places are right. A file that no process opened for 30 days is removed when another
is written. Fewer than 200,000 samples are kept in memory, as are those of processes that cannot write the cache folder.
"""

import os
import sys
import time
import uuid
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from ..base.errors import LoaderError
from ..base.manifest import Order
from ..base.mapping import MappedFile
from ..base.paths import cache_folder
from ..base.retries import put_in_place
from .order import order_blocks

I64 = npt.NDArray[np.int64]

KEPT = 200_000  # samples; fewer are ordered in 10 ms
VERSION = 2
HEADER = 128  # bytes
CHECKED = 16  # places that are compared; each can be a read of the disk
UNUSED = 30 * 24 * 3600  # seconds after which a file is removed
ABANDONED = 3600  # seconds after which an unfinished file is that of a process that was killed
PATIENCE = 1800  # seconds to wait for another process that writes


class ShardOrder:
    """The sample index at each place over all shards of a split, and the place of each sample index.

    Many threads can use it. It is pickled as its numbers only, and opened again by the process that unpickles it.
    """

    def __init__(self, count: int, order: Order, seed: int) -> None:
        """Map the kept file, and write it first if there is none."""
        self._numbers = count, order, seed
        self._count = count
        self._mapped: MappedFile | None = None
        self._indexes = self._places = np.empty(0, np.uint32)
        if order != "sequential":  # in which every sample's place is its index
            self._use(_mapped(count, order, seed) or _made(count, order, seed))

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> "tuple[type[ShardOrder], tuple[int, Order, int]]":
        return ShardOrder, self._numbers

    def indexes(self, first: int, last: int) -> I64:
        """Return the sample indexes at the places ``first`` to ``last`` - 1, int64. Raises as ``places`` does."""
        if self._is_sequential:
            return np.arange(first, last, dtype=np.int64)
        return self._whole(self._indexes[first:last])

    def places(self, indexes: I64) -> I64:
        """Return the places of sample indexes, int64.

        Raises IndexError for one that no sample has, and LoaderError if the kept file was cut.
        """
        if len(indexes) and not (indexes.min() >= 0 and indexes.max() < self._count):  # numpy counts -1 from the end
            raise IndexError(f"sample indexes {indexes.min()} to {indexes.max()} of {self._count} samples")
        return indexes if self._is_sequential else self._whole(self._places[indexes])

    def place(self, index: int) -> int:
        """Return the place of one sample index. Raises as ``places`` does."""
        return self.places(np.array([index])).item()

    def let_go(self) -> None:
        """Release the mapped pages; the next access maps them again."""
        if self._mapped is not None:
            self._mapped.let_go()

    def require_readable(self, index: int) -> None:
        """Raise LoaderError if the pages of the kept file became zeros, so that a sample has another place."""
        if self._mapped is None:
            return
        place, header = self.place(index), self._mapped.data[:HEADER]  # in the page of place 0, which zeros would name
        if self.indexes(place, place + 1).tolist() != [index] or not header.all():
            raise self._unreadable()

    def _whole(self, numbers: npt.NDArray[np.unsignedinteger]) -> I64:
        """Return the numbers, int64. Raises LoaderError if a number is zero because the kept file was cut.

        The rest of a file's last page becomes zeros without a bus error, and zero is the number of one sample only.
        """
        if self._mapped is not None and not numbers.all():
            with suppress(FileNotFoundError):  # one that was removed stays mapped
                if _file_of(*self._numbers).stat().st_size != len(self._mapped.data):
                    raise self._unreadable()
        return numbers.astype(np.int64)

    def _unreadable(self) -> LoaderError:
        file = _file_of(*self._numbers)
        return LoaderError(f"{file} was cut or cannot be read any more; remove it and open the loader again")

    @property
    def _is_sequential(self) -> bool:
        return self._numbers[1] == "sequential"

    def _use(self, found: MappedFile | npt.NDArray[np.uint8]) -> None:
        self._mapped = found if isinstance(found, MappedFile) else None
        data = found.data if isinstance(found, MappedFile) else found
        self._indexes, self._places = _halves(data, self._count)


def _mapped(count: int, order: Order, seed: int) -> MappedFile | None:
    """Return the kept file, which is written if there is none, or None if it is not kept."""
    if count < KEPT:
        return None
    file = _file_of(count, order, seed)
    found = _fresh(file, count, order, seed)
    if found is not None:
        return found
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), timeout=PATIENCE):
            if (found := _fresh(file, count, order, seed)) is None:
                _remove_unused(file.parent)
                _keep(file, count, order, seed)
                found = _fresh(file, count, order, seed)
            return found
    # A full disk, a folder that cannot be written, or one without locks: memory serves as well.
    except (OSError, Timeout, NotImplementedError):
        return None


def _file_of(count: int, order: Order, seed: int) -> Path:
    return cache_folder() / "orders" / f"{count}-{order}-{seed % 2**64}.order"


def _fresh(file: Path, count: int, order: Order, seed: int) -> MappedFile | None:
    with suppress(OSError):
        found = MappedFile(file)
        if _is_right(found.data, count, order, seed):
            with suppress(OSError):  # of another user, whose cache this one reads
                os.utime(file)
            return found
    return None


def _is_right(data: npt.NDArray[np.uint8], count: int, order: Order, seed: int) -> bool:
    """Return whether a file has the size and the header of an order, and some of its places agree with it."""
    if len(data) != _size_of(count) or data[:HEADER].tobytes() != _header(count, order, seed):
        return False
    indexes, places = _halves(data, count)
    chosen = np.linspace(0, count - 1, CHECKED).astype(np.int64)
    found = indexes[chosen]
    return bool((found < count).all() and (places[found] == chosen).all())


def _header(count: int, order: Order, seed: int) -> bytes:
    """Return the first line, which names all that the order depends on, and the byte order of its numbers."""
    line = f"feedline order {VERSION} {sys.byteorder} {count} {order} {seed % 2**64}\n"
    return line.encode().ljust(HEADER)


def _halves(data: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.unsignedinteger]:
    return data[HEADER:].view(_type_of(count)).reshape(2, -1)


def _keep(file: Path, count: int, order: Order, seed: int) -> None:
    partial = file.with_suffix(f".{uuid.uuid4().hex[:8]}.partial")  # not every shared disk keeps its locks
    try:
        with partial.open("wb") as opened:
            _write(opened, count, order, seed)
            opened.flush()
            os.fsync(opened.fileno())
        put_in_place(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def _made(count: int, order: Order, seed: int) -> npt.NDArray[np.uint8]:
    made = BytesIO()
    _write(made, count, order, seed)
    return np.frombuffer(made.getbuffer(), np.uint8)


def _write(file: BinaryIO, count: int, order: Order, seed: int) -> None:
    file.write(_header(count, order, seed))
    kind = _type_of(count)
    places, first = np.empty(count, kind), 0
    for block in order_blocks(count, order, seed):
        places[block] = np.arange(first, first + len(block), dtype=kind)
        file.write(block.astype(kind).data)
        first += len(block)
    file.write(places.data)


def _size_of(count: int) -> int:
    return HEADER + 2 * count * _type_of(count).itemsize


def _type_of(count: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype(np.uint32 if count <= 2**32 else np.uint64)


def _remove_unused(folder: Path) -> None:
    for ending, seconds in (("order", UNUSED), ("partial", ABANDONED)):
        for file in folder.glob(f"*.{ending}"):
            with suppress(OSError):
                if file.stat().st_mtime < time.time() - seconds:
                    file.unlink()
