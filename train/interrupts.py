"""Ctrl-C and SIGTERM between two training steps instead of inside one.

An interrupt in the middle of a step would leave some weights updated and others not, and the checkpoint saved on
the way out would continue to other weights than the uninterrupted run. Batch systems and torchrun end a job with
SIGTERM and some seconds of grace, so it means the same as Ctrl-C here.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sigterm_interrupts() -> Generator[None, None, None]:
    """Let SIGTERM raise KeyboardInterrupt inside the block."""
    with _handling((signal.SIGTERM,), signal.default_int_handler):
        yield


@contextmanager
def interrupts_deferred() -> Generator[Callable[[], bool], None, None]:
    """Hold back SIGINT and SIGTERM until the block is done; then handle the first as if it came at that moment.

    Yields a function that tells whether one is held.
    """
    held: list[tuple[int, FrameType | None]] = []
    with _handling(STOPPING, lambda number, frame: held.append((number, frame))):
        yield lambda: bool(held)
    if held:
        handler = signal.getsignal(held[0][0])
        if callable(handler):
            handler(*held[0])


@contextmanager
def _handling(numbers: tuple[signal.Signals, ...], handler: Handler) -> Generator[None, None, None]:
    """Handle these signals by ``handler`` inside the block, in this process only."""
    if threading.current_thread() is not threading.main_thread():  # signals only ever reach the main thread
        yield
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            handler(number, frame)
        elif number == signal.SIGTERM:
            # A forked loader worker, which torch ends so. Without an error: torch would raise one in this
            # process's parent at any place, in the middle of a step too. It notices a dead worker all the same.
            os._exit(0)

    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
