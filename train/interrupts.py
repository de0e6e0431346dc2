"""Ctrl-C and SIGTERM take effect between two training steps instead of inside one.

An interrupt inside a step would leave some weights updated and others not. The checkpoint saved on exit would then
continue to other weights than the uninterrupted run. Batch systems and torchrun end a job with SIGTERM and some
seconds of grace, so SIGTERM means the same as Ctrl-C here.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]

DEFERRED = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sigterm_interrupts() -> Generator[None, None, None]:
    """Make SIGTERM raise KeyboardInterrupt inside the block."""
    with _handling((signal.SIGTERM,), signal.default_int_handler):
        yield


@contextmanager
def interrupts_deferred() -> Generator[Callable[[], bool], None, None]:
    """Hold back SIGINT and SIGTERM until the block ends; then handle the first as if it came at that moment.

    Yields a function that returns whether a signal is held.
    """
    held: list[tuple[int, FrameType | None]] = []
    with _handling(DEFERRED, lambda number, frame: held.append((number, frame))):
        yield lambda: bool(held)
    if held:
        handler = signal.getsignal(held[0][0])
        if callable(handler):
            handler(*held[0])


@contextmanager
def _handling(numbers: tuple[signal.Signals, ...], handler: Handler) -> Generator[None, None, None]:
    """Handle these signals by ``handler`` inside the block, in this process only."""
    if threading.current_thread() is not threading.main_thread():  # Python runs signal handlers in the main thread only
        yield
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            handler(number, frame)
        elif number == signal.SIGTERM:
            # This process is a forked loader worker, which torch ends with SIGTERM. It exits without an error code:
            # with one, torch would raise in the parent process at any place, even inside a step. torch detects a
            # dead worker all the same.
            os._exit(0)

    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
