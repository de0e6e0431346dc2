"""Renames and notes that wait until the bytes that they stand for are on the disk.

After a power cut, a file system may know a rename and have lost the data: the file has its name and its size, and
holds zeros. So a folder is renamed, and a note is written, only after a flush. A flush of a million files one by one
takes hours; one flush of the file system for all that was finished in some seconds takes what the disk needs anyway.
"""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .disks import naming

SECONDS, BYTES = 5.0, 10**9
"""A flush comes so long after the last one, or after so many bytes, whichever is first."""

# Windows has no flush of a file system for ordinary users.
FLUSH_EACH = sys.platform == "win32"
"""Whether each file has to be flushed when it is written."""


class Settling:
    """Collects finished folders and notes, and puts them in place after a flush. For several threads."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._waiting: list[tuple[Callable[[], object], Path]] = []
        self._bytes = 0
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._flushing = threading.Lock()

    def add(self, size: int, act: Callable[[], object], folder: Path) -> None:
        """Call ``act``, which makes an entry in ``folder``, after the ``size`` bytes that were written are flushed."""
        with self._lock:
            self._waiting.append((act, folder))
            self._bytes += size
            is_due = self._bytes >= BYTES or time.monotonic() - self._last >= SECONDS
        if is_due and self._flushing.acquire(blocking=False):  # one thread flushes, the others go on
            try:
                self._settle()
            finally:
                self._flushing.release()

    def finish(self) -> None:
        """Put in place what still waits."""
        with self._flushing:
            self._settle()

    def _settle(self) -> None:
        with self._lock:
            waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        with naming(self._out):
            flush_to_disk(self._out)
        for act, _ in waiting:
            act()
        for folder in {folder for _, folder in waiting}:
            flush_folder(folder)
        self._last = time.monotonic()


def flush_to_disk(folder: Path) -> None:
    """Write all that was written to the file system of ``folder`` to the disk; of Linux, this file system alone."""
    if sys.platform == "linux":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if _syncfs(descriptor):
                return
        finally:
            os.close(descriptor)
    if hasattr(os, "sync"):
        os.sync()


def _syncfs(descriptor: int) -> bool:
    """Call syncfs; return False if the C library has none. Raises OSError if the disk reports an error."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return False
    if call(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return True


def flush_folder(folder: Path) -> None:
    """Write the entries of ``folder`` to the disk: the renames of files into it."""
    if FLUSH_EACH:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems know no fsync of a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
