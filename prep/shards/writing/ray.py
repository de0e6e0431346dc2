"""Writing shards on a Ray cluster: one task a shard, on one machine or many.

Threads of one process share Python's lock, so five of them are of use (see ``write``); Ray's workers are processes,
as many as the cluster has CPUs, on machines that may come and go. What a shard holds was planned before, so the
bytes are the same, and a run that one engine began the other can continue. Each machine needs feedline, and must see
the source and the output: those behind a URL wherever they run, others under the same paths, as on a shared file
system.

Ray repeats a task whose worker died; a shard is written under a temporary name, so half of one does no harm.
"""

import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...base.errors import OutputError
from ...limits.reached import limit_in
from ...processes.temporary import temporary_folder
from ...store.afar import FarFolder, seen_from_afar
from ...store.urls import Url
from .destination import Writer
from .far_source import moved
from .shard import ShardTask, Written

SLICE = 1.0  # seconds: Windows delivers Ctrl-C to a waiting main thread only between two of them
FAREWELL = 30.0  # seconds for cancelled tasks to let go of their files


@dataclass(frozen=True)
class RayTask:
    """What every task needs to write its shard."""

    writer: Writer
    far: FarFolder | None
    """The source, if it is behind a URL."""


def write_on_ray(
    one: "RayTask", tasks: Sequence[ShardTask], workers: int | None, count: Callable[[int], None]
) -> list[Written]:
    """Write every task and return what was written, in order. ``count`` receives the samples of each shard.

    ``workers`` bounds the shards written at once; None: as many as the cluster has CPUs at the time. All paths must
    be absolute. Joins the cluster that RAY_ADDRESS names or that runs on this machine, else starts one here.

    Raises OutputError where Ray is missing, cannot be reached or loses a worker for good, and whatever a task raises.
    """
    ray = _ray()
    with _joined(ray):
        write = ray.remote(num_cpus=1)(_write)
        how = one.writer, None if one.far is None else (one.far.folder, one.far.url)
        left, written = iter(enumerate(tasks)), dict[int, Written]()
        running: dict[Any, int] = {}
        try:
            while len(written) < len(tasks):
                most = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
                for number, task in islice(left, max(0, most - len(running))):
                    running[write.remote(*how, task)] = number
                ready, _ = ray.wait(list(running), timeout=SLICE)
                for reference in ready:
                    number = running.pop(reference)
                    written[number] = _result(ray, reference)
                    count(len(tasks[number].samples))
        finally:
            _cancel(ray, list(running))
    return [written[number] for number in range(len(tasks))]


def _write(writer: Writer, source: tuple[Path, Url] | None, task: ShardTask) -> Written:
    """Write a shard in one of Ray's processes. ``source`` is where the driver sees the files of a URL."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", UserWarning)  # Pillow's about broken EXIF: the pixels are fine
        if source is not None:
            above, url = source
            folder = stack.enter_context(temporary_folder("source")) / above.name
            stack.enter_context(seen_from_afar(folder, url))
            task = moved(task, above, folder)
        return writer(task, lambda _: None, threading.Event())


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise OutputError("--engine ray needs ray; install it with: pip install 'feedline[ray]'") from error
    return ray


@contextmanager
def _joined(ray: Any) -> Generator[None, None, None]:
    """Be part of a cluster; one that the caller has joined already is left as it is."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError is an OSError
        reason = str(error).partition("\n")[0]
        if limit := limit_in(str(error)):
            raise OutputError(f"cannot start Ray: {limit}") from error
        raise OutputError(
            f"cannot join a Ray cluster: {reason}; set RAY_ADDRESS to one that runs, or start one: ray start --head"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _result(ray: Any, reference: Any) -> Written:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().partition("\n")[0]
        raise OutputError(
            f"Ray lost a worker for good: {reason}; run the same command again, finished shards are kept"
        ) from error


def _cancel(ray: Any, references: list[Any]) -> None:
    """Stop what still runs, and wait for it, so that nothing is written after the error is raised."""
    for reference in references:
        ray.cancel(reference)
    if references:
        ray.wait(references, num_returns=len(references), timeout=FAREWELL)
