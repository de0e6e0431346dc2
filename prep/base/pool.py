"""Running independent pieces of work side by side, in threads, so that failing or stopping is quick and clean."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

SLICE = 0.2  # seconds


class Stopped(Exception):
    """Raised by a task that found its stop flag set: another one failed, or the user interrupted."""


def check(stop: threading.Event) -> None:
    """Raise Stopped when the others have stopped. Tasks call this between two files."""
    if stop.is_set():
        raise Stopped


def run_all(tasks: Sequence[Callable[[threading.Event], T]], workers: int) -> list[T]:
    """Run the tasks in ``workers`` threads and return their results in order.

    The first exception stops the tasks that look at their flag, cancels those not begun, and is raised; so
    does Ctrl-C. When this returns or raises, no thread is left.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures = [pool.submit(task, stop) for task in tasks]
        try:
            # In slices: Windows delivers Ctrl-C to a waiting main thread only between two of them.
            while wait(futures, SLICE, FIRST_EXCEPTION).not_done and not any(map(_failed, futures)):
                pass
        finally:
            if not all(_succeeded(future) for future in futures):
                stop.set()
                pool.shutdown(cancel_futures=True)
    for future in futures:
        if not future.cancelled() and not isinstance(future.exception(), Stopped | None):
            future.result()
    return [future.result() for future in futures]


def _failed(future: Future[T]) -> bool:
    return future.done() and not _succeeded(future)


def _succeeded(future: Future[T]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
