"""How a worker process ends if the system starts no further thread in it.

A worker passes its batches from threads: one sends them, one hands over the open files of their tensors. Python and
torch start these when the first batch is sent. If one cannot start, the batch is lost, and the loop waits for it
for ever.
"""

import os
import threading
from collections.abc import Callable

from ...prep.limits.reached import limit_reached
from ...prep.limits.tasks import NO_TASK


def end_without_threads() -> None:
    """From now on, end this process with the exit code ``NO_TASK`` when a thread cannot start in it."""
    start: Callable[[threading.Thread], None] = threading.Thread.start

    def start_or_end(self: threading.Thread) -> None:
        try:
            start(self)
        except RuntimeError as error:
            if not limit_reached(error):  # it was started twice
                raise
            os._exit(NO_TASK)

    threading.Thread.start = start_or_end
