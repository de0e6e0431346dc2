"""The standard streams of a process whose parent closed them, whose reader has ended, or whose disk is full.

A shell closes a stream with ``2>&-``, and some schedulers start jobs without any. Python then has None for it, Rich
takes stdout instead of stderr, and the next file that the process opens gets the number of the stream: what a C library
prints would be written into it. A pipe breaks when its reader ends, as ``head -1`` does after one line, and ``tee`` at
the Ctrl-C that it receives too. Some programs give their children a pipe that does not block: a write to a full one is
an error.

Nothing heavy is imported here, because help needs it.
"""

import os
import select
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

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


def wait_for_readers() -> None:
    """Let each write to stdout and stderr wait until the reader of a full pipe has read."""
    if sys.platform != "win32":
        for number in (STDOUT, STDERR):
            with suppress(OSError):
                os.set_blocking(number, True)


@contextmanager
def droppable() -> Generator[None, None, None]:
    """Drop the messages of the block that stderr does not take, because its reader has ended or its disk is full."""
    try:
        yield
    except BrokenPipeError:
        silence(sys.stderr)
    except OSError:
        pass  # later messages may find room


def finish_messages() -> None:
    """Write what stderr still holds, or drop it: Python would exit with code 120 if it could not."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        silence(sys.stderr)


class Messages:
    """stderr, for a library that writes to a file: messages that it does not take are dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with droppable():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with droppable():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


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
