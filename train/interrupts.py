"""Ctrl-C, SIGTERM and SIGHUP take effect between two training steps instead of inside one.

An interrupt inside a step would leave some weights updated and others not. The checkpoint saved on exit would then
continue to other weights than the uninterrupted run. That SIGTERM and SIGHUP mean the same as Ctrl-C is said in
``prep.processes.stop_signals``.
"""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from ..prep.processes.stop_signals import STOPS, handled


@contextmanager
def interrupts_deferred() -> Generator[Callable[[], bool], None, None]:
    """Hold back the signals that stop this process until the block ends; then handle the first as if it came then.

    Yields a function that returns whether a signal is held.
    """
    held: list[tuple[int, FrameType | None]] = []
    with handled(STOPS, lambda number, frame: held.append((number, frame))):
        yield lambda: bool(held)
    if held:
        handler = signal.getsignal(held[0][0])
        if callable(handler):
            handler(*held[0])
