"""The signals that ask a process to stop: Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal sends.

Batch systems, ``timeout``, systemd and torchrun send SIGTERM, often to the whole process group and more than once. All
of them take the way of Ctrl-C here: the first raises KeyboardInterrupt, and the work ends in order. A repeated SIGTERM
or SIGHUP is the same request and does not interrupt that. Nor does a Ctrl-C within a second, because a launcher passes
on the one that the terminal has already sent.

Python drops an exception that is raised inside ``__del__`` or a callback of a C library, and so may a library with a
bare ``except``. A request that is lost in this way is raised again, at the next signal or within ``LOST_SECONDS``.

A signal that the process was started to ignore, as ``nohup`` does with SIGHUP, stays ignored.
"""

import _thread
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], object]

# Windows has no SIGHUP.
STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_REQUEST = 1.0
"""Seconds in which a second Ctrl-C counts as the first."""
LOST_SECONDS = 1.0
"""Seconds between two looks whether the request was lost."""

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
    request = _Request()

    def stop(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:
            _leave_closed_terminal()
        if not request.covers(number):
            raise request.made(number)

    ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with handled((number for number in STOPS if number != signal.SIGINT or ctrl_c), stop) as installed:
        _installed = installed
        try:
            with _lost_in_silence() if installed else nullcontext():
                yield
        finally:
            _installed = False
            request.end()


class _Stop(KeyboardInterrupt):
    """The exception of one request. It exists as long as anything handles it, so a lost one can be noticed."""


class _Request:
    """Whether the process was asked to stop, and whether that is still under way."""

    def __init__(self) -> None:
        self._raised: Callable[[], _Stop | None] = lambda: None
        self._at = 0.0
        self._watched = self._over = False
        self._lock = threading.Lock()

    def covers(self, number: int) -> bool:
        """Return whether this signal asks for no more than the request that is under way."""
        repeated = number != signal.SIGINT or time.monotonic() - self._at < SAME_REQUEST
        return repeated and self._raised() is not None

    def made(self, number: int) -> BaseException:
        """Return the exception to raise. No frame of its traceback refers to it, or it would outlive its handling."""
        stop = _Stop()
        self._raised, self._at = weakref.ref(stop), time.monotonic()
        if not self._watched:
            with suppress(RuntimeError):  # no thread can start; then the next signal raises a lost request again
                # A signal handler may run inside Thread.start, whose lock another Thread.start would wait for.
                _thread.start_new_thread(self._watch, (number,))
                self._watched = True
        return stop

    def end(self) -> None:
        """Raise nothing any more."""
        with self._lock:
            self._over = True

    def _watch(self, number: int) -> None:
        while not self._over:
            time.sleep(LOST_SECONDS)
            with self._lock:
                if not self._over and self._raised() is None:
                    _signal_main_thread(number)


def _signal_main_thread(number: int) -> None:
    main = threading.main_thread().ident
    if sys.platform == "win32" or main is None:  # Windows would end the process
        signal.raise_signal(number)
    else:
        signal.pthread_kill(main, number)


@contextmanager
def _lost_in_silence() -> Generator[None, None, None]:
    """Do not print a traceback for a request that Python drops inside the block: it is raised again."""
    before = sys.unraisablehook

    def report(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, _Stop):
            before(unraisable)

    sys.unraisablehook = report
    try:
        yield
    finally:
        if sys.unraisablehook is report:
            sys.unraisablehook = before


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
