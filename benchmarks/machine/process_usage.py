"""What this process and its descendants have used so far: CPU time, and bytes read.

Taken by the measuring process itself, once before and once after the windows: sampling from outside would miss
workers that come and go. A worker that ended and was waited for lives on in its parent's account, for CPU time by
POSIX and for bytes by Linux (proc(5), /proc/pid/io); elsewhere it would be lost, and None is said instead.
"""

import contextlib
import sys
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True)
class BytesRead:
    """Two accounts of the same reading; neither alone tells the whole."""

    disk: int
    """Fetched from storage, read-ahead included. What the page cache had costs nothing here."""
    calls: int
    """Returned by read calls, from the page cache and pipes too. What is read through a mapping is not in it."""

    def since(self, before: "BytesRead") -> "BytesRead":
        """Return what was read after ``before`` was taken."""
        return BytesRead(disk=self.disk - before.disk, calls=self.calls - before.calls)


def cpu_seconds() -> float | None:
    """Return the CPU time of this process and its descendants so far, those that ended included.

    None on Windows, which keeps no account of processes that ended: there a loader that starts its workers
    again for each epoch would seem to cost next to nothing.
    """
    if sys.platform == "win32":
        return None
    total = 0.0
    for process in _tree():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def bytes_read() -> BytesRead | None:
    """Return what this process and its descendants have read so far; None where no such account is kept."""
    if sys.platform != "linux":
        return None
    disk = calls = 0
    for number, process in enumerate(_tree()):
        try:
            counters = process.io_counters()
        except (psutil.Error, OSError, RuntimeError, ValueError):  # a kernel without the account; a process that ended
            if number == 0:
                return None
            continue
        disk, calls = disk + counters.read_bytes, calls + counters.read_chars
    return BytesRead(disk=disk, calls=calls)


def _tree() -> list[psutil.Process]:
    myself = psutil.Process()
    return [myself, *myself.children(recursive=True)]
