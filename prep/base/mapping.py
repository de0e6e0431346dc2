"""Files that are mapped into memory without an open file for each.

Python's ``mmap`` keeps a file open for as long as its pages are mapped, and ``numpy.memmap`` does too. A process may
often open 1024 files only, and a data set has more shards than that. So the system is called directly here; after the
call it needs no open file. What limits the number of mappings instead is ``vm.max_map_count`` on Linux, 65,530 by
default. Windows has no such limit on files, and Python's own ``mmap`` serves there.

A mapped page that cannot be read any more, because the file was cut or its disk failed, ends the process with a bus
error (SIGBUS). ``RANGES`` says which addresses are mapped, so that a handler of the signal can replace such pages
(``loaders.support.bus_errors``). Windows refuses to cut a mapped file.
"""

import ctypes
import mmap
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# The same numbers on Linux, macOS and the BSDs.
PROT_READ, MAP_SHARED, MADV_DONTNEED = 1, 1, 4
FAILED = ctypes.c_void_p(-1).value

RANGES: npt.NDArray[np.int64] = np.zeros((65_536, 2), np.int64)
"""The first address of each mapping and the one after its last, or zeros; memory that is not touched costs nothing."""
USED: npt.NDArray[np.int64] = np.zeros(1, np.int64)
"""(1,): the rows of ``RANGES`` that were ever used."""


class MappedFile:
    """The bytes of a file. The mapping ends with the last array that views it; many threads can read."""

    def __init__(self, path: Path) -> None:
        """Map a file as it is now. Raises OSError."""
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            size = status.st_size
            self._release: Callable[[], object] = _nothing
            if not size:
                pages: Any = b""
            elif sys.platform == "win32":
                pages = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
            else:
                pages = _Pages(file.fileno(), size, path)
                self._release = pages.release
        self.data: npt.NDArray[np.uint8] = (
            np.asarray(pages) if isinstance(pages, _Pages) else np.frombuffer(pages, np.uint8)
        )
        """uint8 (bytes,), which cannot be written."""
        self.address: int = self.data.ctypes.data
        self.identity: tuple[int, int, int] = _identity(status)
        """Numbers that change whenever the file is replaced or written."""

    def let_go(self) -> None:
        """Release the pages of this process; they stay in the page cache, and the next access maps them again.

        On Windows it does nothing: the system releases them itself when memory is short.
        """
        self._release()


def identity_of(path: Path) -> tuple[int, int, int]:
    """Return the identity of the file that has this name now. Raises OSError."""
    return _identity(path.stat())


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


class _Pages:
    """Mapped pages, which numpy views by their address and which are unmapped with the last view."""

    def __init__(self, descriptor: int, size: int, path: Path) -> None:
        calls = _calls()
        self._unmap = calls.munmap  # at the end of the interpreter, modules are gone before their objects
        self._advise = calls.madvise
        self._address: int | None = None
        found = calls.mmap(None, size, PROT_READ, MAP_SHARED, descriptor, 0)
        if found == FAILED:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
        self._address, self._size = found, size
        self._row = _note(found, found + size)
        self._ranges, self._forget = RANGES, _free.append
        self.__array_interface__ = {"version": 3, "shape": (size,), "typestr": "|u1", "data": (found, True)}

    def release(self) -> None:
        self._advise(self._address, self._size, MADV_DONTNEED)

    def __del__(self) -> None:
        if self._address is None:
            return
        if self._row is not None:
            self._ranges[self._row] = 0
        self._unmap(self._address, self._size)
        if self._row is not None:
            self._forget(self._row)


_free: list[int] = []
_noting = threading.Lock()


def _note(first: int, end: int) -> int | None:
    """Write a mapping to ``RANGES``, and return its row, or None if there is no room for it."""
    with _noting:
        row = _free.pop() if _free else int(USED[0])
        if row == len(RANGES):
            return None
        RANGES[row, 1] = end  # first: a handler may read at any time
        RANGES[row, 0] = first
        USED[0] = max(row + 1, int(USED[0]))
        return row


@cache
def _calls() -> Any:
    """Return the C library with the types of its calls."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return library


def _nothing() -> None:
    pass
