"""The signals that ask a process to stop: Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal sends.

Batch systems, ``timeout``, systemd and torchrun send SIGTERM, often to the whole process group and more than once. All
of them take the way of Ctrl-C here: the first raises KeyboardInterrupt, and the work ends in order. A repeated SIGTERM
or SIGHUP is the same request and does not interrupt that. Nor does a Ctrl-C within a second, because a launcher passes
on the one that the terminal has already sent.

A signal that the process was started to ignore, as ``nohup`` does with SIGHUP, stays ignored.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from types import FrameType

Handler = Callable[[int, FrameType | None], object]

# Windows has no SIGHUP.
STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_REQUEST = 1.0
"""Seconds in which a second Ctrl-C counts as the first."""

_installed = False


@contextmanager
def stops_interrupt() -> Generator[None, None, None]:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt inside the block, as Ctrl-C does.

    Inside another such block, and outside the main thread, the block changes nothing.
    """
    global _installed
    if _installed:
        yield
        return
    first: float | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if number != signal.SIGINT:
            _leave_closed_terminal()
        now = time.monotonic()
        if first is not None and (number != signal.SIGINT or now - first < SAME_REQUEST):
            return
        first = now
        raise KeyboardInterrupt

    ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with handled((number for number in STOPS if number != signal.SIGINT or ctrl_c), stop) as installed:
        _installed = installed
        try:
            yield
        finally:
            _installed = False


@contextmanager
def handled(numbers: Iterable[int], handler: Handler) -> Generator[bool, None, None]:
    """Handle these signals by ``handler`` inside the block, in this process only, unless the process ignores them.

    Yields whether they are handled: Python runs handlers in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            handler(number, frame)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:  # a fork of this process that has not set its own
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    # None is the handler of a C library, which Python could not restore.
    found = {number: signal.getsignal(number) for number in numbers}
    previous = {number: before for number, before in found.items() if before not in (signal.SIG_IGN, None)}
    for number in previous:
        signal.signal(number, handle)
    try:
        yield True
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def _leave_closed_terminal() -> None:
    """Let messages go nowhere if the terminal is gone: writing to it fails, and the work must still end in order."""
    for stream in (1, 2):
        try:
            os.write(stream, b"")
        except OSError:
            with suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream)
                os.close(null)
