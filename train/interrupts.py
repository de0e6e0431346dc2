"""Ctrl-C between two training steps instead of inside one.

An interrupt in the middle of a step would leave some weights updated and others not, and the checkpoint saved on
the way out would continue to other weights than the uninterrupted run.
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_deferred() -> Generator[None, None, None]:
    """Hold back SIGINT until the block is done; then handle it as if it came at that moment."""
    if threading.current_thread() is not threading.main_thread():  # signals only ever reach the main thread
        yield
        return
    held: list[FrameType | None] = []
    previous = signal.signal(signal.SIGINT, lambda _, frame: held.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if held and callable(previous):
        previous(signal.SIGINT, held[0])
