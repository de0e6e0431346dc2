"""Independent tasks in threads, which stop soon after one fails or the user interrupts."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

SLICE = 0.2  # seconds


class Stopped(Exception):
    """A task found its stop flag set, because another task failed or the user interrupted."""


def raise_if_stopped(stop: threading.Event) -> None:
    """Raise Stopped if the stop flag is set. Tasks call this between two files."""
    if stop.is_set():
        raise Stopped


def run_all(tasks: Sequence[Callable[[threading.Event], T]], workers: int) -> list[T]:
    """Run the tasks in ``workers`` threads and return their results in order.

    After the first exception, or Ctrl-C, running tasks stop when they check their flag, and tasks that have not
    begun are cancelled. Then the exception is raised. No thread is left when the function returns or raises.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures: list[Future[T]] = []
        try:
            for task in tasks:
                futures.append(pool.submit(task, stop))  # RuntimeError: the system starts no further thread
            # Wait in slices, because Windows delivers Ctrl-C to a waiting main thread only between two waits.
            while wait(futures, SLICE, FIRST_EXCEPTION).not_done and not any(map(_failed, futures)):
                pass
        finally:
            if len(futures) < len(tasks) or not all(map(_succeeded, futures)):
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
