"""What a worker process does with a batch that it cannot pass.

A worker passes its batches from threads: one sends them, one hands over the open files of their tensors. Python and
torch start these when the first batch is sent. If one cannot start, or if /dev/shm or the table of open files is full
when a batch is sent, Python drops the batch, and the loop waits for it for ever.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from multiprocessing import queues, util
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import Any

from torch._utils import ExceptionWrapper

from ...prep.limits.reached import limit_reached
from ...prep.limits.tasks import NO_TASK

KEPT_FILES = 3
"""What shutil.rmtree opens for a folder of files."""
FIRST = 1000
"""The priority of what multiprocessing does at the exit of a process; its own have 10 at most."""


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


def pass_on_failures() -> None:
    """From now on, answer with the error in place of a batch that cannot be sent, as for one that cannot be made.

    The answer is sent in the batch's turn: after it, the batch of an epoch that was left would come into the next one.
    """
    drop: Callable[[Exception, Any], None] = queues.Queue._on_queue_feeder_error  # pyright: ignore

    def answer(self: Any, error: Exception, batch: Any) -> None:
        match batch:
            case (int(number), _) if isinstance(error, (OSError, RuntimeError)):
                where = f"while worker process {os.getpid()} passed a batch"
                with suppress(OSError):  # the process of the loop has ended
                    _send(self, (number, ExceptionWrapper(where=where)))
            case _:  # of a queue of the caller's
                drop(error, batch)

    # A hook that Python has for concurrent.futures. The thread that sends calls it.
    queues.Queue._on_queue_feeder_error = answer  # pyright: ignore


def _send(queue: Any, item: object) -> None:
    """Send an item as the thread of a queue does, which has given the place of the item before it free."""
    queue._sem.acquire(block=False)
    with queue._wlock or nullcontext():  # Windows needs no lock
        queue._writer.send_bytes(ForkingPickler.dumps(item))


def end_quietly() -> None:
    """From now on, write no traceback of the end of this process: the process of the loop says what happened.

    Python writes one if a thread cannot hand over open files to the process of the loop, which needs them, and one
    if it cannot remove its folder of sockets at its exit, since the table of open files is full. So that it can, a few
    are kept for that moment.
    """
    report = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, OSError):
            report(kind, error, trace)

    sys.excepthook = hook
    with suppress(OSError):
        kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(KEPT_FILES)]
        util.Finalize(None, lambda: [os.close(file) for file in kept], exitpriority=FIRST)
