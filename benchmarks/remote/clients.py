"""What fetching ranges costs with fsspec, as ``loaders.store`` uses it, and with obstore, if it is installed.

Both fetch the same ranges from a server in another process. The CPU time is that of this process, with all its threads.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...loaders.store.fetch import RANGE
from ...prep import SHARDS, MeasurementError, Shard, read_shard_manifest
from ...prep.store.access import Store
from ..measuring.interleaving import interleaved
from .link import behind_link
from .record import ClientRun

Get = Callable[[str, int, int], int]
"""Fetches the bytes of a file from one place to another, and returns how many came."""
IN_FLIGHT = (1, 8)
RANGES = 16  # of each run: 134 MB, one second of a link of 1 Gb/s


def measure_clients(root: Path, latency: float, bytes_per_second: float, repeats: int) -> list[ClientRun]:
    """Measure each client with 1 and 8 requests at a time, behind the link and without it, interleaved."""
    shards = read_shard_manifest(root / SHARDS).splits["train"].shards
    ranges = list(_ranges(shards))
    runs = list[ClientRun]()
    for limited in (True, False):
        with behind_link(root / SHARDS, latency if limited else 0.0, bytes_per_second if limited else 0.0) as url:
            clients = {"fsspec": _fsspec(url), **({"obstore": _obstore(url)} if find_spec("obstore") else {})}
            for name, get in clients.items():
                _fetch(name, get, ranges[:1], 1, limited=limited)  # opens the connection, reads the files
            pairs = [(name, count) for name in clients for count in IN_FLIGHT]
            for _, (name, count) in interleaved(pairs, repeats):
                runs.append(_fetch(name, clients[name], ranges, count, limited=limited))
    return runs


def _ranges(shards: Sequence[Shard]) -> Iterator[tuple[str, int, int]]:
    """Yield the largest ranges of the shards; of small data they come again."""
    found = [
        (shard.name, start, min(start + RANGE, shard.bytes))
        for shard in shards
        for start in range(0, shard.bytes, RANGE)
    ]
    found.sort(key=lambda piece: piece[1] - piece[2])
    for number in range(RANGES):
        yield found[number % len(found)]


def _fetch(name: str, get: Get, ranges: list[tuple[str, int, int]], count: int, *, limited: bool) -> ClientRun:
    cpu, began = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        size = sum(task.result() for task in [pool.submit(get, *piece) for piece in ranges])
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if size != sum(stop - start for _, start, stop in ranges):
        raise MeasurementError(f"{name} returned {size} bytes of {len(ranges)} ranges; please report this")
    return ClientRun(client=name, in_flight=count, limited=limited, bytes=size, seconds=seconds, cpu_seconds=cpu)


def _fsspec(url: str) -> Get:
    store = Store(url)
    return lambda name, start, stop: len(store.read_range(name, start, stop))


def _obstore(url: str) -> Get:
    import obstore  # pyright: ignore[reportMissingImports]
    from obstore.store import HTTPStore  # pyright: ignore

    library: Any = obstore
    store: Any = HTTPStore.from_url(url, client_options={"allow_http": True})
    return lambda name, start, stop: len(library.get_range(store, name, start=start, end=stop))
