"""The threads of ``threaded``: each computes with one core, and all of them run before the first is used."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Barrier, BrokenBarrierError

import torch

from ...prep import LoaderError
from ...prep.limits.reached import limit_reached


@contextmanager
def one_core() -> Generator[None, None, None]:
    """Keep torch from splitting the resize of one image over threads, which costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def start_threads(count: int) -> ThreadPoolExecutor:
    """Return a pool whose threads are running, each with one core for torch; the caller's number stays unchanged.

    Raises LoaderError if the system does not start so many threads.
    """
    before = torch.get_num_threads()
    started = Barrier(count + 1)
    pool = ThreadPoolExecutor(count, "feedline", _use_one_core, (started,))
    try:
        for _ in range(count):
            pool.submit(started.wait)
    except RuntimeError as error:
        started.abort()  # ends the threads that wait for the others, which never come
        pool.shutdown(cancel_futures=True)
        raise LoaderError(f"threaded cannot start {count} threads: {limit_reached(error) or error}") from error
    started.wait()
    started.wait()
    # torch uses the last number set for threads that have not read theirs yet, such as the trainer's own.
    torch.set_num_threads(before)
    return pool


def _use_one_core(started: Barrier) -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # from here on torch does not change this thread's number
    with suppress(BrokenBarrierError):
        started.wait()
