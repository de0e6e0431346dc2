"""Ranks that open a root at the same time, with the memory of each; Linux."""

import multiprocessing
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Barrier

import numpy as np

from ...loaders import LoaderSpec
from ...loaders.sampling.chosen import Chosen, in_batches
from ...loaders.support.shard_samples import ShardSamples

BATCH, BATCHES = 256, 400


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Resident memory in bytes, more than before opening."""

    rss: int
    pss: int
    """Pages that several processes map count for each by its part of them."""
    private: int
    anonymous: int
    """Without pages of files, which the system can drop and read again."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One rank's opening and first batches."""

    rank: int
    seconds: float
    cpu_seconds: float
    """Of opening: manifest, indexes, order."""
    order_seconds: float
    """CPU time until the first batch of an epoch has its order."""
    row_microseconds: float
    """CPU time of finding the rows of one sample, on average over the first batches."""
    opened: Memory
    used: Memory
    """After the rows of the first batches were read."""


_barrier: Barrier | None = None


def open_as_ranks(root: Path, ranks: int) -> list[Opened]:
    """Open a root in ``ranks`` fresh processes at the same time."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(ranks, _use, (context.Barrier(ranks),)) as pool:
        return pool.starmap(_open, [(root, rank, ranks) for rank in range(ranks)], chunksize=1)


def _use(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _together() -> None:
    assert _barrier is not None
    _barrier.wait(600)


def _open(root: Path, rank: int, ranks: int) -> Opened:
    spec = LoaderSpec(root=root, batch_size=BATCH, rank=rank, world_size=ranks)
    before = _resident()
    _together()
    started, cpu = time.perf_counter(), time.process_time()
    with closing(ShardSamples(root, "train")) as samples:
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        opened = _measured(before)
        began = time.process_time()
        batches = in_batches(Chosen(spec, len(samples), lambda: samples.labels).share(0, 0), BATCH)
        first = next(batches)
        order = time.process_time() - began
        began, count = time.process_time(), len(first)
        samples.locate(first)
        for keys in islice(batches, BATCHES):
            samples.locate(keys)
            count += len(keys)
        rows = (time.process_time() - began) / count
        return Opened(
            rank=rank,
            seconds=seconds,
            cpu_seconds=cpu,
            order_seconds=order,
            row_microseconds=1e6 * rows,
            opened=opened,
            used=_measured(before),
        )


def _measured(before: dict[str, int]) -> Memory:
    """Return the memory while all ranks hold theirs."""
    _together()
    now = _resident()
    _together()
    more: Callable[..., int] = lambda *names: sum(now[name] - before[name] for name in names)  # noqa: E731
    return Memory(
        rss=more("Rss"),
        pss=more("Pss"),
        private=more("Private_Clean", "Private_Dirty"),
        anonymous=more("Anonymous"),
    )


def _resident() -> dict[str, int]:
    """Return the sums of this process's mappings, in bytes."""
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()[1:]
    return {name: int(np.int64(words.split()[0])) * 1024 for name, _, words in (line.partition(":") for line in lines)}
