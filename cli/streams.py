"""The standard streams of a process whose parent closed them, or whose reader has ended.

A shell closes a stream with ``2>&-``, and some schedulers start jobs without any. Python then has None for it, Rich
takes stdout instead of stderr, and the next file that the process opens gets the number of the stream: what a C library
prints would be written into it. A pipe breaks when its reader ends, as ``head -1`` does after one line.

Nothing heavy is imported here, because help needs it.
"""

import os
import select
import sys
from contextlib import suppress
from typing import TextIO

STDIN, STDOUT, STDERR = range(3)
_closed: set[int] = set()


def open_closed_streams() -> None:
    """Connect each standard stream that is closed to the null device, so that no other file takes its number."""
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the system gives the lowest number that is free
    for number, name in ((STDIN, "stdin"), (STDOUT, "stdout"), (STDERR, "stderr")):
        if getattr(sys, name) is None:
            _closed.add(number)
            mode = "r" if number == STDIN else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for the whole process


def is_closed(number: int) -> bool:
    """Return whether a standard stream was closed when the process began."""
    return number in _closed


def is_broken(stream: TextIO) -> bool:
    """Return whether the reader of a stream has ended."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # Windows has no poll; a test's stream has no number
        return False


def silence(stream: TextIO) -> None:
    """Send what is written to a stream from now on to the null device, so that its flush at exit cannot fail."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
