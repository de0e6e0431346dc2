"""Which files of the cache are in use, by which process.

Each process that reads from the cache holds the lock of one file, its lease, and lists the files that it uses next to
it. The system releases the lock when the process ends, however it ends, so a lease whose lock is free is void. All of
this is done under the lock of the cache, which is held for as long as a few small files take.
"""

import json
import os
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout


class Lease:
    """The files of a cache that this process uses. The caller holds the lock of the cache."""

    def __init__(self, folder: Path) -> None:
        """Take a lease in ``folder``, which is made. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
        self._lock = FileLock(self._file, timeout=0, thread_local=False)
        self._lock.acquire()
        self._used = Counter[str]()
        self._write()

    def add(self, file: Path) -> None:
        """Use a file once more. Raises OSError."""
        self._used[str(file)] += 1
        if self._used[str(file)] == 1:
            try:
                self._write()
            except OSError:
                del self._used[str(file)]
                raise

    def remove(self, file: Path) -> None:
        """Use a file once less. On a full disk it stays in the list until the next change."""
        if self._used[str(file)] > 1:
            self._used[str(file)] -= 1
        elif self._used.pop(str(file), 0):
            with suppress(OSError):
                self._write()

    def _write(self) -> None:
        """Replace the list as a whole: a full disk must not leave half of it."""
        unfinished = self._file.with_suffix(".new")
        try:
            unfinished.write_text(json.dumps(sorted(self._used)), "utf-8")
            unfinished.replace(self._file.with_suffix(".json"))
        finally:
            unfinished.unlink(missing_ok=True)


def files_in_use(folder: Path) -> set[str]:
    """Return the files that living processes use; remove the leases of dead ones. The caller holds the cache's lock."""
    used = set[str]()
    for file in folder.glob("*.lock"):
        lock = FileLock(file, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            with suppress(OSError, ValueError):
                used.update(json.loads(file.with_suffix(".json").read_text("utf-8")))
            continue
        except OSError:
            continue
        lock.release()
        for stale in (file.with_suffix(".json"), file):
            with suppress(OSError):
                stale.unlink(missing_ok=True)
    return used
