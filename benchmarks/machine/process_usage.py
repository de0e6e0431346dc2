"""The usage of this process and its descendants so far: CPU time and bytes read.

The measuring process reads its own usage, once before and once after the windows. Sampling from outside would miss
workers that start and end in between. The usage of a worker that has ended, and that its parent has waited for, is
added to the parent's: CPU time by POSIX, bytes by Linux (proc(5), /proc/pid/io). Where the system does not do that,
the functions return None.
"""

import contextlib
import sys
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True)
class BytesRead:
    """Two counts of the same reads; neither is complete alone."""

    disk: int
    """Bytes fetched from storage, read-ahead included. Reads from the page cache do not count."""
    calls: int
    """Bytes that read calls returned, from the page cache and pipes too. Reads through a mapping do not count."""

    def since(self, before: "BytesRead") -> "BytesRead":
        """Return the bytes that were read after ``before``."""
        return BytesRead(disk=self.disk - before.disk, calls=self.calls - before.calls)


def cpu_seconds() -> float | None:
    """Return the CPU seconds of this process and its descendants so far, including those that have ended.

    Returns None on Windows, which does not count processes that have ended. A loader that starts its workers again
    for each epoch would appear to cost almost nothing there.
    """
    if sys.platform == "win32":
        return None
    total = 0.0
    for process in _tree():
        with contextlib.suppress(psutil.Error, OSError):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def bytes_read() -> BytesRead | None:
    """Return the bytes that this process and its descendants have read so far; None if the system does not count."""
    if sys.platform != "linux":
        return None
    disk = calls = 0
    for number, process in enumerate(_tree()):
        try:
            counters = process.io_counters()
        except (psutil.Error, OSError, RuntimeError, ValueError):  # the kernel has no counters, or the process ended
            if number == 0:
                return None
            continue
        disk, calls = disk + counters.read_bytes, calls + counters.read_chars
    return BytesRead(disk=disk, calls=calls)


def _tree() -> list[psutil.Process]:
    myself = psutil.Process()
    return [myself, *myself.children(recursive=True)]
