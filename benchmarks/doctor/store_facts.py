"""The facts about a store that ``feedline doctor URL`` checks: what it answers, how soon, and how many bytes a second.

The shards behind the URL are read for some seconds, in the ranges in which a loader reads them, and are not kept.
Credentials are named by where they were found, never by their value.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from ...loaders.store.cache import open_cache
from ...loaders.store.fetch import RANGE, REQUESTS
from ...loaders.store.roots import CopiedRoot, find_origin, has_credentials, open_root, root_of
from ...prep import SHARDS, FeedlineError, ShardManifest
from ...prep.base.origins import without_credentials
from ...prep.store.access import PACKAGES, Store, protocol_of

LATENCIES = 9  # requests for one byte
SECONDS = 3.0  # of each measurement of the bandwidth
CREDENTIALS = {
    "s3": ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "~/.aws/credentials"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "~/.config/gcloud/application_default_credentials.json"),
    "az": ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "~/.azure"),
    "hf": ("HF_TOKEN", "~/.cache/huggingface/token"),
}
"""By protocol, the variables and files in which its package looks for credentials."""

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
        assert copy is not None
        return _measured(copy, package, credentials)
    except FeedlineError as error:
        plain = without_credentials(url)
        return StoreFacts(url=plain, package=package, credentials=credentials, problem=str(error))


def _measured(copy: CopiedRoot, package: str, credentials: tuple[str, ...]) -> StoreFacts:
    store, manifest = copy.store, copy.manifest
    pieces = list(_pieces(manifest))
    name, start, stop = pieces[0]
    ranges = len(store.read_range(name, start, min(start + 1, stop))) == 1 or stop - start == 1
    cache = open_cache()
    return StoreFacts(
        url=store.url,
        package=package,
        credentials=credentials,
        samples=sum(held.samples for held in manifest.splits.values()),
        bytes=sum(shard.bytes for held in manifest.splits.values() for shard in held.shards),
        listing=_succeeds(store.list),
        ranges=ranges,
        latency_seconds=_latency(store, name) if ranges else None,
        one_bytes_per_second=_rate(store, pieces, 1) if ranges else None,
        bytes_per_second=_rate(store, pieces[::-1], REQUESTS) if ranges else None,
        cache=str(cache.folder),
        cache_bytes=cache.limit(),
    )


def _pieces(manifest: ShardManifest) -> Iterator[Piece]:
    """Yield the ranges in which a loader reads the shards."""
    for held in manifest.splits.values():
        for shard in held.shards:
            for start in range(0, shard.bytes, RANGE):
                yield shard.name, start, min(start + RANGE, shard.bytes)


def _latency(store: Store, name: str) -> float:
    def once() -> float:
        began = time.perf_counter()
        store.read_range(name, 0, 1)
        return time.perf_counter() - began

    return median(once() for _ in range(LATENCIES))


def _rate(store: Store, pieces: list[Piece], requests: int) -> float:
    """Return bytes per second with so many requests at a time, over some seconds or all pieces."""
    began = time.perf_counter()

    def read(piece: Piece) -> int:
        return len(store.read_range(*piece)) if time.perf_counter() - began < SECONDS else 0

    with ThreadPoolExecutor(requests) as pool:
        size = sum(pool.map(read, islice(pieces, 4096)))
    return size / (time.perf_counter() - began)


def _succeeds(act: Callable[[], object]) -> bool:
    try:
        act()
    except (FeedlineError, OSError, NotImplementedError, ValueError):
        return False
    return True


def _is_there(name: str) -> bool:
    return name.startswith("~") and Path(name).expanduser().exists()
