"""How fast a loader would be on another disk: a simulation of its threads, from measured pictures.

Each thread asks for a picture, waits for it, works on it and asks for the next: a closed queueing network of one
link, that all requests share first come first served, and as many CPUs as the loader may use. Bounds are easy to
write down (bandwidth over bytes, threads over latency, CPUs over working time) and wrong where two of them meet,
which is where one wants to know; the exact solutions assume exponential times. So the network is simply run, some
thousand pictures of the sizes and working times that were measured. It takes milliseconds.

The working times are scaled so that without any disk the simulation gives the rate that the whole loader was
measured at: what threads cost each other is in that rate, and in no stage.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, cycle

from .hardware import Disk

PICTURES = 2000
FILL = 4  # a quarter of the pictures passes before the time is taken: all threads begin at once


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a loader does, as measured without waiting for a disk."""

    sizes: tuple[float, ...]
    """Encoded bytes of each measured picture."""
    work_seconds: tuple[float, ...]
    """One thread's time for each of them, but for fetching; only their ratios count."""
    images_per_second: float
    """Of the whole loader with so many workers, on warm data."""
    workers: int
    cpus: int
    sequential: bool = False
    """Reads shards from front to back, so that the system can read ahead."""


def predict(load: Load, disk: Disk) -> float:
    """Return the images/s of ``load`` on ``disk``."""
    threads = max(1, load.workers)
    servers = min(threads, load.cpus)
    scale = servers / load.images_per_second * len(load.work_seconds) / sum(load.work_seconds)
    pictures = cycle([(size, scale * work) for size, work in zip(load.sizes, load.work_seconds, strict=True)])
    if not load.sequential:
        return _simulate(pictures, disk, threads, servers)
    # A stream asks for what comes next while its worker works: nothing is waited for but the link. The head of a
    # disk still moves from stream to stream.
    link = min(disk.bytes_per_second, threads * disk.request_bytes_per_second)
    streams = replace(disk, waiting_seconds=0.0, bytes_per_second=link, request_bytes_per_second=math.inf)
    return _simulate(pictures, streams, 2 * threads, servers)


def _simulate(pictures: Iterator[tuple[float, float]], disk: Disk, requests: int, servers: int) -> float:
    """Return the rate of ``requests`` pictures under way at any time, with ``servers`` CPUs to work on them."""
    total = max(PICTURES, 10 * requests)
    order = count()  # settles ties: first come, first served
    link_free, cpus_free, done, filled_at, now = 0.0, [0.0] * servers, 0, 0.0, 0.0
    events = [(0.0, next(order), "ask", *next(pictures)) for _ in range(requests)]
    while done < total:
        now, _, what, size, work = heapq.heappop(events)
        moves = 1 + int(size / disk.request_bytes)
        if what == "ask":
            event = (now + moves * disk.waiting_seconds, next(order), "link", size, work)
        elif what == "link":
            begins = max(now, link_free)
            link_free = begins + moves * disk.moving_seconds + size / disk.bytes_per_second
            arrives = max(link_free, begins + size / disk.request_bytes_per_second)
            event = (arrives, next(order), "work", size, work)
        elif what == "work":
            ends = max(now, heapq.heappop(cpus_free)) + work
            heapq.heappush(cpus_free, ends)
            event = (ends, next(order), "done", size, work)
        else:
            done += 1
            filled_at = now if done == total // FILL else filled_at
            event = (now, next(order), "ask", *next(pictures))
        heapq.heappush(events, event)
    return (total - total // FILL) / (now - filled_at)
