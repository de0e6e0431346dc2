"""Shards are fetched in ranges, several at a time, checked against the manifest, and then put in place.

A connection to an object store gives 50 to 100 MB/s, so one request for a whole shard leaves most of a link idle.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, partial as bind
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from ...prep.base.errors import StoreError
from ...prep.base.flush import flush_folder
from ...prep.base.manifest import Shard
from ...prep.store.access import Store
from ...prep.store.attempts import POLL, raise_if_ended
from .cache import LOCK, PARTIAL, Cache, cannot_write

RANGE = 8 * 2**20  # bytes of a request
REQUESTS = 24  # of one process at a time
SHARDS = 6  # that one process fetches at a time
BODIES = 3  # fetched before a shard with a wrong checksum is refused
READ = 2**20


class RangesIgnored(Exception):
    """The store answered with the whole file, which is in the first argument."""


def fetch_shard(store: Store, cache: Cache, shard: Shard, target: Path, ended: threading.Event | None = None) -> None:
    """Bring a shard to ``target`` and take it into use, unless another process does.

    Raises StoreError if it cannot be fetched, is not the shard of the manifest, or is not needed after ``ended``.
    """
    if cache.take(target, shard.bytes):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{target}{LOCK}", thread_local=False)
        _acquire(lock, ended)
        try:
            if not cache.take(target, shard.bytes):
                _fetch(store, cache, shard, target, ended)
        finally:
            lock.release()
    except OSError as error:
        raise StoreError(cannot_write(error)) from error


def missing(store: Store, name: str) -> StoreError:
    """Return the error of a shard that is not behind the URL."""
    return StoreError(
        f"{store.name(name)} is missing, and the manifest lists it; upload it again: "
        f"the whole folder that feedline shard wrote"
    )


def _acquire(lock: FileLock, ended: threading.Event | None) -> None:
    """Wait for a lock that another thread or process holds while it fetches the shard."""
    while True:
        try:
            lock.acquire(timeout=POLL)
            return
        except Timeout:
            raise_if_ended(ended)


def _fetch(store: Store, cache: Cache, shard: Shard, target: Path, ended: threading.Event | None) -> None:
    unfinished = Path(f"{target}{PARTIAL}")
    for _ in range(BODIES):
        raise_if_ended(ended)
        cache.make_room(unfinished, shard.bytes)
        try:
            with unfinished.open("r+b") as file:
                try:
                    sha256 = _fill(store, shard, file, ended)
                except FileNotFoundError as error:
                    raise missing(store, shard.name) from error
                os.fsync(file.fileno())
            if sha256 == shard.sha256:
                cache.add(unfinished, target)
                flush_folder(target.parent)
                return
        finally:
            unfinished.unlink(missing_ok=True)
    raise StoreError(
        f"{store.name(shard.name)} was fetched {BODIES} times, and its sha256 is not the manifest's; "
        f"upload the shard and manifest.json again, both of one run of feedline shard"
    )


def _fill(store: Store, shard: Shard, file: BinaryIO, ended: threading.Event | None) -> str:
    """Write the bytes of a shard to a file, and return their sha256. Raises FileNotFoundError and StoreError."""
    starts, writing, failed = range(0, shard.bytes, RANGE), threading.Lock(), threading.Event()

    def get(start: int) -> None:
        stop = min(start + RANGE, shard.bytes)
        data = store.read_range(shard.name, start, stop, failed)
        if len(data) > stop - start:
            raise RangesIgnored(data)
        with writing:
            file.seek(start)
            file.write(data)

    try:
        if not store.serves_ranges:  # else each of many requests would be answered with the whole file
            _all_of([request_pool().submit(get, start) for start in starts[:1]], failed, ended)
            store.serves_ranges = store.serves_ranges or len(starts) > 1  # a range of the whole shard proves nothing
            starts = starts[1:]
        _all_of([request_pool().submit(get, start) for start in starts], failed, ended)
    except RangesIgnored as whole:
        store.serves_ranges = False
        file.seek(0)
        file.truncate()
        file.write(whole.args[0])
    file.flush()
    return _sha256(file)


def _all_of(tasks: "list[Future[None]]", failed: threading.Event, ended: threading.Event | None = None) -> None:
    """Wait for all tasks. After the first error, or ``ended``, ``failed`` ends the others, and the error is raised."""
    try:
        for task in tasks:
            while not wait([task], POLL).done:
                raise_if_ended(ended)
            task.result()
    except BaseException:
        failed.set()
        for task in tasks:
            task.cancel()
        wait(tasks, 2)  # seconds; a request that takes longer finds the file closed
        raise


def _sha256(file: BinaryIO) -> str:
    found = hashlib.sha256()
    file.seek(0)
    while data := file.read(READ):
        found.update(data)
    return found.hexdigest()


def request_pool() -> ThreadPoolExecutor:
    """Return the threads of this process that make requests."""
    return _pool(REQUESTS, "feedline-requests", os.getpid())


def begin(act: Callable[[], None]) -> "Future[None]":
    """Begin to fetch a shard in the background; the caller waits for it, or cancels it."""
    return _pool(SHARDS, "feedline-shards", os.getpid()).submit(act)


def read_all(store: Store, names: list[str], put: Callable[[str, bytes], None]) -> None:
    """Read small files at the same time, and pass each to ``put``. Raises what ``Store.read`` raises."""

    failed = threading.Event()

    def get(name: str) -> None:
        put(name, store.read(name, failed))

    _all_of([request_pool().submit(bind(get, name)) for name in names], failed)


@cache
def _pool(threads: int, name: str, process: int) -> ThreadPoolExecutor:
    """Return a pool of this process: the threads of a pool do not survive a fork."""
    return ThreadPoolExecutor(threads, name)
