"""How fast a loader would be on another disk: a simulation of its threads, from measured images.

Each thread asks for an image, waits for it, works on it and asks for the next: a closed queueing network of one
link, that all requests share first come first served, and of CPUs that threads at work share. Bounds are easy to
write down (bandwidth over bytes, threads over latency) and wrong where two of them meet, which is where one wants to
know; the exact solutions assume exponential times. So the network is simply run, some thousand images of the sizes
and working times that were measured. It takes milliseconds.

How fast k threads work at the same time is not modelled but measured: it is the loader's own curve on warm data.
Threads that wait for a slow disk leave the CPUs to the others, and the simulation takes the rate of fewer threads.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, cycle, pairwise

from .hardware import Disk

IMAGES = 2000
FILL = 4  # a quarter of the images passes before the time is taken: all threads begin at once

Image = tuple[float, float]
"""Encoded bytes, and the work as a multiple of the mean."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a loader does, as measured without waiting for a disk."""

    sizes: tuple[float, ...]
    """Encoded bytes of each measured image."""
    work_seconds: tuple[float, ...]
    """One thread's time for each of them, but for fetching; only their ratios count."""
    rates: Mapping[int, float]
    """Images/s of the whole loader on warm data, by the workers that it has."""
    workers: int
    sequential: bool = False
    """Reads shards from front to back, so that the system can read ahead."""

    def rate(self, active: int) -> float:
        """Return the images/s of so many threads at work, between measured numbers by proportion."""
        # No workers are the caller's thread: one that works, where one worker was not measured.
        known = sorted({max(1, workers): self.rates[workers] for workers in sorted(self.rates)}.items())
        least, most = known[0], known[-1]
        if active <= least[0]:
            return least[1] * active / least[0]
        for (few, slow), (many, fast) in pairwise(known):
            if few <= active <= many:
                return slow + (fast - slow) * (active - few) / (many - few)
        return most[1]


def predict(load: Load, disk: Disk) -> float:
    """Return the images/s of ``load`` on ``disk``."""
    threads = max(1, load.workers)
    mean = sum(load.work_seconds) / len(load.work_seconds)
    images = cycle([(size, work / mean) for size, work in zip(load.sizes, load.work_seconds, strict=True)])
    speeds = [math.inf, *(load.rate(active) / active for active in range(1, threads + 1))]
    if not load.sequential:
        return _simulate(images, disk, threads, speeds)
    # A stream asks for what comes next while its worker works: nothing is waited for but the link. The head of a
    # disk still moves from stream to stream.
    link = min(disk.bytes_per_second, threads * disk.request_bytes_per_second)
    streams = replace(disk, waiting_seconds=0.0, bytes_per_second=link, request_bytes_per_second=math.inf)
    return _simulate(images, streams, 2 * threads, speeds)


def _simulate(images: Iterator[Image], disk: Disk, requests: int, speeds: list[float]) -> float:
    """Return the rate of ``requests`` images under way at any time.

    ``speeds[k]`` is the work per second of each of k threads at work. All of them being equally fast, one clock
    counts the work that each has done, and an image is finished when that clock has moved on by its work.
    """
    total, order, link_free = max(IMAGES, 10 * requests), count(), 0.0
    arriving: list[tuple[float, int, bool, Image]] = []  # when, a number that settles ties, on the link, image
    ready, working = deque[Image](), list[tuple[float, int]]()
    now = worked = filled_at = 0.0
    done, waiting = 0, requests
    while done < total:
        for _ in range(waiting):
            image = next(images)
            moves = 1 + int(image[0] / disk.request_bytes)
            heapq.heappush(arriving, (now + moves * disk.waiting_seconds, next(order), False, image))
        waiting = 0
        while ready and len(working) < len(speeds) - 1:
            heapq.heappush(working, (worked + ready.popleft()[1], next(order)))
        speed = speeds[len(working)]
        finishes = now + (working[0][0] - worked) / speed if working else math.inf
        if arriving and arriving[0][0] < finishes:
            at, _, moved, image = heapq.heappop(arriving)
            worked += (at - now) * speed if working else 0.0
            now = at
            if moved:
                ready.append(image)
                continue
            begins = max(now, link_free)
            moves = 1 + int(image[0] / disk.request_bytes)
            link_free = begins + moves * disk.moving_seconds + image[0] / disk.bytes_per_second
            arrives = max(link_free, begins + image[0] / disk.request_bytes_per_second)
            heapq.heappush(arriving, (arrives, next(order), True, image))
        else:
            worked, now = heapq.heappop(working)[0], finishes
            done, waiting = done + 1, 1
            filled_at = now if done == total // FILL else filled_at
    return (total - total // FILL) / (now - filled_at)
