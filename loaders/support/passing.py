"""How a worker process passes tensors: a thread of it, which answers at a socket, hands over the open files.

torch starts that thread when the worker sends its first batch, in another thread. If it fails there, the batch is lost
and the loop waits for it for ever. So the worker starts it before its work, and ends if it cannot.
"""

import os
import threading
from collections.abc import Callable
from multiprocessing import reduction

import torch.multiprocessing

from ...prep.limits.reached import limit_reached
from ...prep.limits.tasks import NO_TASK


def start_passing(watch: Callable[[], None]) -> None:
    """Start the thread of ``watch`` and the one that passes tensors, and make sure that one more thread can start.

    The process ends with the exit code ``NO_TASK`` if the system starts no further thread.
    """
    try:
        watch()
        if torch.multiprocessing.get_sharing_strategy() == "file_descriptor":
            with open(os.devnull, "rb") as file:  # noqa: PTH123 - passed to this process itself
                os.close(reduction.DupFd(file.fileno()).detach())
        thread = threading.Thread(target=_nothing)  # stands for the one that sends the batches
        thread.start()
        thread.join()
    except (OSError, RuntimeError) as error:
        if not limit_reached(error):
            raise
        os._exit(NO_TASK)


def _nothing() -> None:
    pass
