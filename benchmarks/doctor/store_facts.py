"""The facts about a store that ``feedline doctor URL`` checks: what it answers, how soon, and how many bytes a second.

The shards behind the URL are read for some seconds, in the ranges in which a loader reads them, and are not kept.
Credentials are named by where they were found, never by their value.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from threading import Event

from ...loaders.store.cache import open_cache
from ...loaders.store.copies import CopiedRoot
from ...loaders.store.fetch import RANGE, REQUESTS, missing
from ...loaders.store.roots import find_origin, has_credentials, open_root, root_of
from ...prep import MANIFEST, SHARDS, FeedlineError, Shard, StoreError
from ...prep.base.origins import plain_url
from ...prep.store.access import PACKAGES, Store, protocol_of
from ...prep.store.credentials import CREDENTIALS

LATENCIES = 9  # requests for one byte
SECONDS, LONGEST = 3.0, 20.0  # in which requests are begun to measure the bandwidth, and in which they are answered
FIRST_PIECE, LONG = 2**16, 0.25  # bytes; and seconds of a request after which larger ones would take too long
MOST_PIECES = 4096

Piece = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """What a store can do. None stands for what could not be measured."""

    url: str
    package: str
    """The package that speaks its protocol."""
    credentials: tuple[str, ...]
    """Where there are credentials: in the URL, or in these variables and files."""
    problem: str | None = None
    """Why the shards behind the URL cannot be read."""
    samples: int = 0
    bytes: int = 0
    """Of all shards."""
    listing: bool | None = None
    """Whether the store lists files, which loaders do not need."""
    ranges: bool | None = None
    """Whether it answers a request for a range with that range."""
    latency_seconds: float | None = None
    """From a request for one byte to its answer, the median."""
    one_bytes_per_second: float | None = None
    """With one request at a time."""
    bytes_per_second: float | None = None
    """With as many requests at a time as a loader makes."""
    cache: str = ""
    cache_bytes: int = 0
    """The most bytes that the cache may hold."""


def store_facts(url: str) -> StoreFacts:
    """Return the facts about the store behind a URL, some of which take seconds. Raises StoreError for no protocol."""
    root, protocol = root_of(url), protocol_of(url)
    found = [name for name in CREDENTIALS.get(protocol, ()) if os.environ.get(name) or _is_there(name)]
    credentials = (*(["the URL"] if has_credentials(root) else []), *found)
    package = PACKAGES.get(protocol, "")
    try:
        copy = find_origin(open_root(root) / SHARDS)
        if copy is None:
            raise StoreError(f"{root} is a folder of this machine; examine its disk with: feedline doctor FOLDER")
        return _measured(copy, package, credentials)
    except FeedlineError as error:
        return StoreFacts(url=plain_url(url), package=package, credentials=credentials, problem=str(error))


def _measured(copy: CopiedRoot, package: str, credentials: tuple[str, ...]) -> StoreFacts:
    store, manifest = copy.store, copy.manifest
    shards = [shard for held in manifest.splits.values() for shard in held.shards if shard.bytes]
    if not shards:
        raise StoreError(
            f"{store.name(MANIFEST)} lists no shards; write them with: feedline shard ROOT, and upload them"
        )
    first = max(shards, key=lambda shard: shard.bytes)
    ranges = len(_read(store, first.name, 0, 1)) == 1
    size = _piece_size(store, first) if ranges else 0
    pieces = list(islice(_pieces(shards, size), MOST_PIECES)) if ranges else []
    cache = open_cache()
    return StoreFacts(
        url=store.url,
        package=package,
        credentials=credentials,
        samples=sum(held.samples for held in manifest.splits.values()),
        bytes=sum(shard.bytes for shard in shards),
        listing=_succeeds(store.list),
        ranges=ranges,
        latency_seconds=_latency(store, first.name) if ranges else None,
        one_bytes_per_second=_rate(store, pieces, 1) if ranges else None,
        bytes_per_second=_rate(store, pieces[::-1], REQUESTS) if ranges else None,
        cache=str(cache.folder),
        cache_bytes=cache.limit(),
    )


def _read(store: Store, name: str, start: int, stop: int, ended: Event | None = None) -> bytes:
    try:
        return store.read_range(name, start, stop, ended)
    except FileNotFoundError as error:
        raise missing(store, name) from error


def _pieces(shards: list[Shard], size: int) -> Iterator[Piece]:
    """Yield the ranges of the shards, of ``size`` bytes each."""
    for shard in shards:
        for start in range(0, shard.bytes, size):
            yield shard.name, start, min(start + size, shard.bytes)


def _piece_size(store: Store, shard: Shard) -> int:
    """Return the bytes of a loader's requests, or fewer on a slow link: as many as come in ``LONG`` seconds."""
    size = FIRST_PIECE
    while size < min(RANGE, shard.bytes):
        began = time.perf_counter()
        _read(store, shard.name, 0, size)
        if time.perf_counter() - began > LONG:
            return size
        size *= 2
    return RANGE


def _latency(store: Store, name: str) -> float:
    def once() -> float:
        began = time.perf_counter()
        _read(store, name, 0, 1)
        return time.perf_counter() - began

    return median(once() for _ in range(LATENCIES))


def _rate(store: Store, pieces: list[Piece], requests: int) -> float | None:
    """Return bytes per second with so many requests at a time, over some seconds or all pieces.

    Returns None if no request is answered within ``LONGEST`` seconds.
    """
    began, over, answers = time.perf_counter(), Event(), list[tuple[float, int]]()

    def read(piece: Piece) -> None:
        if over.is_set() or time.perf_counter() - began > SECONDS:
            return
        try:
            size = len(_read(store, *piece, over))
        except StoreError:
            if over.is_set():
                return
            raise
        answers.append((time.perf_counter() - began, size))

    with ThreadPoolExecutor(requests) as pool:
        tasks = [pool.submit(read, piece) for piece in pieces]
        wait(tasks, LONGEST, return_when=FIRST_EXCEPTION)
        over.set()
    for task in tasks:
        task.result()
    return sum(size for _, size in answers) / max(answers)[0] if answers else None


def _succeeds(act: Callable[[], object]) -> bool:
    try:
        act()
    except (FeedlineError, OSError, NotImplementedError, ValueError):
        return False
    return True


def _is_there(name: str) -> bool:
    return name.startswith("~") and Path(name).expanduser().exists()
