"""Start, iterate and end torch's DataLoader and its worker processes, for the loaders that use it.

Workers persist between epochs, because starting one imports torch, which takes a second or more under spawn (Windows).
So all data that change with the epoch must be sent with the requests, never in the pickled data set.
"""

import atexit
import errno
import multiprocessing
import os
import traceback
import warnings
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ...prep import LoaderError, WorkerLost
from ...prep.limits.memory import failed_allocation, memory_ran_out
from ...prep.limits.reached import limit_reached
from ...prep.limits.shared_memory import shared_memory_is_full
from ...prep.limits.sockets import prepare_sockets
from ..spec import LoaderSpec
from ..transforms.calls import require_picklable
from .worker_processes import (
    WAY_OUT,
    beginning_of_workers,
    is_stopped,
    kill_workers,
    remove_shared_files,
    signals_held,
    watch_of,
    watch_workers,
)

NEEDED = (np.random,)
"""numpy loads it late. A forked worker would open its files, and end with a traceback if it cannot."""
_loaders: weakref.WeakSet[DataLoader[Any]] = weakref.WeakSet()
_workers: weakref.WeakSet[Any] = weakref.WeakSet()
_process = os.getpid()


def start_data_loader(dataset: Dataset[Any], spec: LoaderSpec, **options: Any) -> DataLoader[Any]:
    """Return torch's DataLoader with the spec's workers; ``options`` are DataLoader's own.

    Raises LoaderError for a sample transform that cannot be sent to the workers, and if they can have no sockets.
    """
    if spec.workers and spec.sample_transform is not None:
        require_picklable("sample_transform", spec.sample_transform)
    if spec.workers and (problem := prepare_sockets()):
        raise LoaderError(f"workers cannot pass batches: {problem}, or use --loader threaded")
    with _no_advice():
        loader = DataLoader(
            dataset,
            num_workers=spec.workers,
            worker_init_fn=beginning_of_workers(),
            persistent_workers=spec.workers > 0,
            pin_memory=spec.device.startswith("cuda"),
            # DataLoader draws a seed for its workers in every epoch. From torch's own generator, that would change the
            # random numbers of the caller's loop, and with some loaders only.
            generator=torch.Generator(device="cpu"),
            **options,
        )
    _loaders.add(loader)
    return loader


def items_of(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the items that the workers return.

    An exception in the middle, such as KeyboardInterrupt, ends the workers, because torch's queues can then hold
    answers that belong to no request. The next call starts others. Raises WorkerLost if a worker has died, LoaderError
    if a limit of the system is reached (open files, of which each tensor that a worker passes is one; shared memory;
    memory; processes), and if a script has no main guard.
    """
    began, watch = False, None
    try:
        starting = loader.num_workers > 0 and loader._iterator is None  # pyright: ignore[reportPrivateUsage]
        # torch.device: DataLoader's own tensors, whatever torch.set_default_device says
        with _no_advice(), torch.device("cpu"), signals_held() if starting else nullcontext():
            iterator = iter(loader)
            watch = watch_workers(iterator)
            _workers.update(watch.workers)
        for item in iterator:
            began = True
            yield item
    except GeneratorExit:  # the caller left early; torch drops what is under way when it begins again
        raise
    except BaseException as error:
        try:
            # A worker that runs the script again starts none; to look at its frames would keep its semaphores alive.
            if watch is None and not _not_started(error, began):
                kill_workers(_started_before(error))
            elif watch is not None and isinstance(error, (OSError, EOFError, RuntimeError)):
                watch.raise_if_lost(error)  # whose sockets are gone, before the loop waited for it
        finally:
            end_data_loader(loader)
        if watch is None and isinstance(error, OSError) and error.errno == errno.ENOSPC:  # the locks are files there
            raise LoaderError(f"cannot start {loader.num_workers} workers: {shared_memory_is_full()}") from error
        if limit := limit_reached(error):  # of the system, even if torch has made an error of its own from it
            raise LoaderError(f"cannot receive batches from {loader.num_workers} workers: {limit}") from error
        if loader.num_workers and failed_allocation(error):
            raise LoaderError(f"in a worker, {memory_ran_out(error, WAY_OUT, here=False)}") from error
        if _not_started(error, began):
            raise LoaderError(
                "the worker processes ended while they started, which they do if a script has no main guard; "
                'put its loop under if __name__ == "__main__":, or use threaded, which starts no process'
            ) from error
        raise


def _started_before(error: BaseException) -> list[Any]:
    """Return the workers that an iterator had started before ``error`` ended its making: torch has forgotten them.

    They ignore SIGTERM, so Python would wait for them at its exit for ever.
    """
    made = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    return [worker for iterator in made for worker in getattr(iterator, "_workers", ())]


def _not_started(error: BaseException, began: bool) -> bool:
    """Return whether workers ended because Python started them by running the script again, up to its loop."""
    if isinstance(error, RuntimeError) and "bootstrapping phase" in str(error):  # in the worker itself
        return True
    ended = isinstance(error, WorkerLost) and error.exit_code == 1
    return ended and not began and multiprocessing.get_start_method() != "fork"


def end_data_loader(loader: DataLoader[Any]) -> None:
    """End the worker processes now, and not when the garbage collector runs."""
    # torch has no public call for this; a test checks that no process is left.
    iterator: Any = loader._iterator  # pyright: ignore[reportPrivateUsage]
    workers: list[Any] = getattr(iterator, "_workers", [])
    watch = watch_of(iterator)
    if watch is not None:
        watch.join()
    kill_workers([worker for worker in workers if is_stopped(worker)])  # torch waits five seconds for each
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()
    kill_workers(workers)
    remove_shared_files(workers)
    loader._iterator = None  # pyright: ignore[reportPrivateUsage]


def _end_all() -> None:
    """End all workers before multiprocessing waits for them at exit, those of loaders that were not closed too."""
    if os.getpid() == _process:
        for loader in list(_loaders):
            end_data_loader(loader)
        kill_workers(list(_workers))


atexit.register(_end_all)


@contextmanager
def _no_advice() -> Generator[None, None, None]:
    """Silence torch's warning about more than one worker per CPU: `feedline bench` measures how many are useful."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        yield
