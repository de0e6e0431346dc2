"""Progress of long steps, reported through one function, so that prep needs no library for progress bars.

A step calls ``progress(step, done, total)`` repeatedly. ``step`` names it ("train images"), and ``done`` and
``total`` count its items. The command line passes a function that draws bars. The default, ``silent``, reports
nothing. Calls may be frequent and come from several threads, so the function that receives them must throttle.
"""

import threading
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Receives what is done, such as "train", then how much of it is done, and how much there is."""
Notice = Callable[[str], None]
"""Receives a sentence for the user about what a step found."""


def silent(step: str, done: int, total: int) -> None:
    """Ignore progress."""


def quiet(message: str) -> None:
    """Ignore a notice."""


def counter(progress: Progress, step: str, total: int, divisor: int = 1) -> Callable[[int], None]:
    """Return a thread-safe function that adds to ``done`` and reports it in multiples of ``divisor``.

    With ``divisor`` 10**6 and counts of bytes, it reports ``step`` in megabytes.
    """
    done = 0
    lock = threading.Lock()

    def count(more: int) -> None:
        nonlocal done
        with lock:
            done += more
            progress(step, done // divisor, max(1, total // divisor))

    return count
