"""How long steps report progress: one function, so that the library needs no progress bar library.

A step calls ``progress(step, done, total)`` as it goes: ``step`` names it ("train images"), ``done`` and
``total`` count its units. The command line passes a function that draws bars; tests pass a list's append;
everybody else gets ``silent``. Calls may come from several threads and often: the receiver throttles.
"""

import threading
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]
"""Is told what a step found, in a sentence meant for the user."""


def silent(step: str, done: int, total: int) -> None:
    """Report nothing."""


def quiet(message: str) -> None:
    """Say nothing."""


def counter(progress: Progress, step: str, total: int, unit: int = 1) -> Callable[[int], None]:
    """Return a thread-safe function that adds to what is done and reports it, in multiples of ``unit``.

    With ``unit`` 10**6 and counts of bytes, ``step`` is reported in megabytes.
    """
    done = 0
    lock = threading.Lock()

    def count(more: int) -> None:
        nonlocal done
        with lock:
            done += more
            progress(step, done // unit, max(1, total // unit))

    return count
