"""A simulation of a loader's threads on another disk, from measured images.

Each thread requests an image, waits for it, works on it and requests the next. This is a closed queueing network of one
link and of the CPUs that working threads share. All requests share the link, first come, first served. Simple bounds
(bandwidth over bytes, threads over latency) are wrong where two of them meet, and exact solutions assume exponential
times. So the network is simulated with some thousand images of the measured sizes and working times. This takes
milliseconds.

The rate of k threads at work is measured and not modelled: it is the loader's own curve on warm data. Threads that
wait for a slow disk do not use the CPUs, and the simulation then takes the rate of fewer threads.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, cycle, pairwise

from .hardware import Disk

IMAGES = 2000
FILL = 4  # a quarter of the images passes before the time is taken, because all threads start at once

Image = tuple[float, float]
"""Encoded bytes, and the work as a multiple of the mean."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The work of a loader, as measured without waiting for a disk."""

    sizes: tuple[float, ...]
    """Encoded bytes of each measured image."""
    work_seconds: tuple[float, ...]
    """One thread's time for each image without fetching; only the ratios are used."""
    rates: Mapping[int, float]
    """Images/s of the whole loader on warm data, by number of workers."""
    workers: int
    sequential: bool = False
    """Whether it reads shards from front to back, so that the system can read ahead."""

    def rate(self, active: int) -> float:
        """Return the images/s of ``active`` threads at work, interpolated between the measured numbers of workers."""
        # Without workers the caller's thread works; its rate counts for one thread if one worker was not measured.
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
    # A stream requests the next image while its worker works, so it only waits for the link. The head of a disk still
    # moves from stream to stream.
    link = min(disk.bytes_per_second, threads * disk.request_bytes_per_second)
    streams = replace(disk, waiting_seconds=0.0, bytes_per_second=link, request_bytes_per_second=math.inf)
    return _simulate(images, streams, 2 * threads, speeds)


def _simulate(images: Iterator[Image], disk: Disk, requests: int, speeds: list[float]) -> float:
    """Return the images/s with ``requests`` images in progress at any time.

    ``speeds[k]`` is the work per second of each of k threads at work. All of them are equally fast, so one clock counts
    the work that each has done. An image is finished when that clock has advanced by the image's work.
    """
    total, order, link_free = max(IMAGES, 10 * requests), count(), 0.0
    arriving: list[tuple[float, int, bool, Image]] = []  # time, order of ties, past the link, image
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
