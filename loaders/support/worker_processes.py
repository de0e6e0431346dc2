"""The worker processes of torch's DataLoader: what they do with signals, how they end, and what their end means.

A batch system, ``timeout`` or a closed terminal signals the whole process group. The process of the loop decides when
to stop, so workers ignore these signals. They end when that process ends them, or soon after it died.

torch raises an error of its own when a worker has died, by a signal handler and at any place of the caller's code, even
inside a training step. The workers here are not registered for it. Their end is noticed while the loop waits for a
batch, within a second, and raised there as WorkerLost. A worker that is stopped (SIGSTOP) keeps its batches, and is
waited for.
"""

import multiprocessing
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import psutil
from torch.multiprocessing import get_sharing_strategy
from torch.utils.data._utils import signal_handling

from ...prep import WorkerLost
from ...prep.limits.memory import memory_now
from ...prep.limits.shared_memory import PLACE
from ...prep.processes.endings import how_it_ended
from ...prep.processes.parent import end_with
from ...prep.processes.stop_signals import STOPS
from .damage import log
from .passing import end_quietly, end_without_threads, pass_on_failures

LOOK_SECONDS = 1.0
"""Seconds between two looks at the workers, while no batch comes."""
REPORTED_SECONDS = 10.0
"""How long a worker is stopped before that is logged."""
STOPPED_SECONDS = 300.0
"""How long a stopped worker is waited for: less than ranks wait for each other."""
SIGNAL_SECONDS = 1.0
"""What ends workers may signal this process too, and a little later; then that signal is what happened."""

WAY_OUT = "use fewer workers (--workers), a smaller --batch-size, or --loader threaded, which starts no process"

_watches: "weakref.WeakKeyDictionary[Any, Watch]" = weakref.WeakKeyDictionary()


def beginning_of_workers() -> Callable[[int], None]:
    """Return the function that prepares a worker of this process.

    A process that multiprocessing has started may use the folder of sockets of the one above it.
    """
    return partial(_begin_worker, removes_inherited=multiprocessing.parent_process() is None)


def _begin_worker(_: int, *, removes_inherited: bool) -> None:
    """Prepare this worker process: it ignores the signals that stop the process that started it, and ends with it.

    It reports a batch that it cannot pass.
    """
    pass_on_failures()
    end_quietly()
    if sys.platform == "win32":  # there torch's own watch of the parent serves, and Ctrl-C as everywhere
        return
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    end_without_threads()
    # Not the parent that it has now: the process that started it may have died, or be the client of a forkserver.
    started_by = multiprocessing.parent_process()
    assert started_by is not None and started_by.pid is not None
    end_with(started_by.pid, removes_inherited=removes_inherited)


@contextmanager
def signals_held() -> Generator[None, None, None]:
    """Hold back the signals of this thread inside the block, so that none reaches a worker before ``_begin_worker``.

    Workers inherit that. Under forkserver the server would, and with it every process of the caller that it starts.
    """
    method = multiprocessing.get_start_method()
    if sys.platform == "win32" or method == "forkserver":
        yield
        return
    if method == "spawn":
        resource_tracker.ensure_running()  # starting it lets the signals pass again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def watch_workers(iterator: Any) -> "Watch":
    """Have an iterator of torch's DataLoader raise WorkerLost if one of its workers has died, or stays stopped.

    Returns what watches, which is that of an earlier epoch if the workers are.
    """
    workers: list[Any] = getattr(iterator, "_workers", [])
    if iterator in _watches or not workers:
        return _watches.get(iterator) or Watch(workers)
    with suppress(AttributeError, ValueError):  # a torch of other internals raises its own error, as said above
        getattr(signal_handling, "_remove_worker_pids")(id(iterator))  # noqa: B009 - there is no public name
        iterator._worker_pids_set = False
    watch, held = Watch(workers), weakref.ref(iterator)

    def try_get_data(timeout: float = LOOK_SECONDS) -> tuple[bool, Any]:
        watched: Any = held()
        with watch.waiting():
            return type(watched)._try_get_data(watched, min(timeout, LOOK_SECONDS))

    iterator._try_get_data = try_get_data
    _watches[iterator] = watch
    weakref.finalize(iterator, watch.end).atexit = False
    return watch


def watch_of(iterator: Any) -> "Watch | None":
    """Return what watches the workers of an iterator; None if nothing does."""
    return None if iterator is None else _watches.get(iterator)


class Watch:
    """Looks at the workers while the loop waits for a batch.

    A thread looks whether one is stopped: the loop may wait for an answer of that one, without an end. Looks are
    counted, not seconds, because a whole job that was stopped and continued finds its workers stopped no more.
    """

    def __init__(self, workers: list[Any]) -> None:
        self.workers = workers
        self._memory = memory_now() if workers else None
        self._waiting = False
        self._given_up: dict[int, str] = {}
        """Why a worker was ended, by process."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="feedline-workers", daemon=True)
        if workers:
            self._thread.start()

    @contextmanager
    def waiting(self) -> Generator[None, None, None]:
        """Look at the workers inside the block. Raises WorkerLost in place of any error of a worker that has died."""
        self._waiting = True
        try:
            yield
        except Exception as error:
            self.raise_if_lost(error)
            raise
        finally:
            self._waiting = False

    def end(self) -> None:
        """Look no more."""
        self._over.set()

    def join(self) -> None:
        """Look no more, and wait for the end of the thread."""
        self.end()
        if self.workers:
            self._thread.join()

    def raise_if_lost(self, error: BaseException) -> None:
        """Raise WorkerLost if a worker has died; a signal that arrives in the meantime is raised instead."""
        lost = next((worker for worker in self.workers if _is_dead(worker, error)), None)
        if lost is None:
            return
        time.sleep(SIGNAL_SECONDS)
        given_up = self._given_up.get(lost.pid)
        found = WorkerLost(given_up or f"{self._name(lost)} {how_it_ended(lost.exitcode or 0, WAY_OUT, self._memory)}")
        found.exit_code = None if given_up else lost.exitcode
        raise found from error

    def _look(self) -> None:
        looks = 0
        while not self._over.wait(LOOK_SECONDS):
            stopped = next((worker for worker in self.workers if self._waiting and is_stopped(worker)), None)
            looks = 0 if stopped is None else looks + 1
            if stopped is not None:
                self._report(stopped, looks)

    def _report(self, stopped: Any, looks: int) -> None:
        """Say that the loop waits for a stopped worker, and end the worker when it has waited for too long."""
        what, seconds = f"{self._name(stopped)} is stopped (SIGSTOP)", looks * LOOK_SECONDS
        remedy = f"let it run with: kill -CONT {stopped.pid}"
        if seconds >= STOPPED_SECONDS:
            self._given_up[stopped.pid] = (
                f"{what}, and its batch did not come for {STOPPED_SECONDS:g} s, so it was ended; "
                "find what stopped it, or use --loader threaded, which starts no process"
            )
            stopped.kill()
        elif seconds - LOOK_SECONDS < REPORTED_SECONDS <= seconds:
            log.warning("%s, and its batch is waited for; %s", what, remedy)

    def _name(self, worker: Any) -> str:
        return f"worker {self.workers.index(worker) + 1} of {len(self.workers)} (process {worker.pid})"


def _is_dead(worker: Any, error: BaseException) -> bool:
    """Return whether a worker is dead. A broken connection comes a moment before its end can be seen."""
    if isinstance(error, (OSError, EOFError)):
        worker.join(0.1)
    return not worker.is_alive()


def is_stopped(worker: Any) -> bool:
    """Return whether a worker is stopped by SIGSTOP; one that a debugger holds does not count."""
    try:
        return psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED
    except (psutil.Error, OSError):
        return False


def kill_workers(workers: list[Any]) -> None:
    """End workers that did not end when they were asked to; SIGTERM has no effect on them."""
    for worker in workers:
        if worker.is_alive():
            worker.kill()
            worker.join()


def remove_shared_files(workers: list[Any]) -> None:
    """Remove the shared memory of workers that ended while torch made a tensor there, as if /dev/shm is full.

    torch gives it a name, and takes that away again at once, except if the worker is killed or the writing fails in
    between. With its other strategy the name stays, and torch removes it itself. Elsewhere than on Linux it is no file.
    """
    if get_sharing_strategy() != "file_descriptor":
        return
    for worker in workers:
        with suppress(OSError):
            for file in Path(PLACE).glob(f"torch_{worker.pid}_*"):
                file.unlink()
