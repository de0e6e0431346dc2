"""The cache of fetched shards: a folder on the local disk, of bounded size, that all processes of a node share.

    CACHE/roots/<name>/shards/...    the copy of a root: its documents, and the shards that were fetched
    CACHE/leases/                    which process uses which file (``leases``)
    CACHE/cache.lock                 held while files are added, taken into use or removed

``FEEDLINE_CACHE`` names the folder, and ``FEEDLINE_CACHE_SIZE`` limits the bytes of the shards in it. By default it is
``store`` in the user's cache folder, and may grow until half of the disk that is free without it is taken. If room is
needed, the shards that were not used for the longest time are removed, never one that a living process uses. A shard
gets its name when it is whole and its checksum is right; what a killed process left is under another name.
"""

import os
import re
import shutil
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from ...prep.base.disks import is_of_the_disk, reason_of
from ...prep.base.errors import StoreError
from ...prep.base.retries import put_in_place
from ...prep.limits.reached import limit_reached
from .leases import Lease, files_in_use

CACHE, CACHE_SIZE = "FEEDLINE_CACHE", "FEEDLINE_CACHE_SIZE"
PARTIAL, LOCK = ".partial", ".lock"
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
SHARE = 0.5  # of the free disk


class NoRoom(StoreError):
    """The limit of the cache, or its disk, leaves no room for a shard."""


class _Held(NamedTuple):
    """A shard or an unfinished shard in the cache."""

    used_ns: int
    """When it was used last."""
    size: int
    unwritten: int
    """Bytes of an unfinished shard that take no room of the disk yet."""
    file: Path


class Cache:
    """The shards in a folder. For several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = threading.Lock()  # threads of this process need not poll for the file's lock
        self._lease: Lease | None = None

    def take(self, shard: Path, size: int) -> bool:
        """Use a shard if it is there with all of its ``size`` bytes; return whether it is."""
        with self._locked():
            if not shard.is_file() or shard.stat().st_size != size:  # cut by a disk that failed, or by hand
                return False
            with suppress(OSError):  # the time of its last use; that of its last change stays
                os.utime(shard, ns=(time.time_ns(), shard.stat().st_mtime_ns))
            self._leased().add(shard)
            return True

    def add(self, partial: Path, shard: Path) -> None:
        """Give a whole shard its name, and use it; no one can remove it in between."""
        with self._locked():
            put_in_place(partial, shard)
            self._leased().add(shard)

    def release(self, shard: Path) -> None:
        """Use a shard no more."""
        with self._locked():
            self._leased().remove(shard)

    def forget(self, shard: Path) -> bool:
        """Remove a shard, unless a process uses it; return whether it is gone."""
        with self._locked():
            return str(shard) not in files_in_use(self.folder / "leases") and _remove(shard)

    def remove_root(self, folder: Path) -> bool:
        """Remove the copy of a root, unless a process uses or fetches a file of it; return whether it is gone.

        Raises OSError for a file that cannot be removed.
        """
        with self._locked():
            used = files_in_use(self.folder / "leases")
            if any(Path(file).is_relative_to(folder) for file in used):
                return False
            if any(not _is_free(lock) for lock in folder.rglob(f"*{LOCK}")):
                return False
            if folder.is_dir():
                shutil.rmtree(folder)
            return True

    def make_room(self, partial: Path, size: int) -> None:
        """Create the file ``partial`` of ``size`` bytes, for which shards that are not in use are removed if necessary.

        Raises NoRoom.
        """
        with self._locked():
            partial.unlink(missing_ok=True)
            held = self._held()
            limit, free = self.limit(held), self._free(held)
            missing = max(sum(each.size for each in held) + size - limit, size - free)
            used = files_in_use(self.folder / "leases") if missing > 0 else set[str]()
            for each in held:
                if missing <= 0:
                    break
                if str(each.file) not in used and _remove(each.file):
                    missing -= each.size
            if missing > 0:
                raise NoRoom(
                    f"the cache {self.folder} may hold {limit / 1e9:.3g} GB, and the shards in use leave no room for "
                    f"{partial.name.removesuffix(PARTIAL)} ({size / 1e9:.3g} GB); allow more with {CACHE_SIZE}=200GB, "
                    f"or choose a larger disk with {CACHE}=FOLDER"
                )
            partial.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.truncate(size)

    def limit(self, held: "list[_Held] | None" = None) -> int:
        """Return the most bytes that its shards may have."""
        text = os.environ.get(CACHE_SIZE, "")
        if text:
            return parsed_size(text)
        self.folder.mkdir(parents=True, exist_ok=True)
        held = self._held() if held is None else held
        return int(SHARE * (self._free(held) + sum(each.size for each in held)))

    def _free(self, held: "list[_Held]") -> int:
        """Return the free bytes of the disk without those that unfinished shards will take."""
        return shutil.disk_usage(self.folder).free - sum(each.unwritten for each in held)

    def _held(self) -> "list[_Held]":
        """Return each shard and unfinished shard, the one that was not used for the longest time first."""
        found: list[_Held] = []
        for ending in (".tar", ".tar" + PARTIAL):
            for file in self.folder.glob(f"roots/*/shards/**/*{ending}"):
                with suppress(OSError):
                    status = file.stat()
                    blocks = getattr(status, "st_blocks", None) if ending.endswith(PARTIAL) else None
                    unwritten = 0 if blocks is None else max(0, status.st_size - 512 * blocks)
                    found.append(_Held(status.st_atime_ns, status.st_size, unwritten, file))
        return sorted(found)

    def _leased(self) -> Lease:
        if self._lease is None:
            self._lease = Lease(self.folder / "leases")
        return self._lease

    @contextmanager
    def _locked(self) -> Generator[None]:
        with self._own:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                lock = FileLock(self.folder / "cache.lock", thread_local=False)
                lock.acquire(poll_interval=0.005)
            except OSError as error:
                raise StoreError(cannot_write(error)) from error
            try:
                yield
            finally:
                lock.release()


def open_cache() -> Cache:
    """Return the cache of this process, in the folder that the environment names."""
    return _cache_of(cache_folder(), os.getpid())


def cache_folder() -> Path:
    """Return the folder of the cache."""
    named = os.environ.get(CACHE)
    return (Path(named) if named else Path(user_cache_dir("feedline", appauthor=False)) / "store").resolve()


def cannot_write(error: OSError) -> str:
    """Return the message for a cache that cannot be written."""
    place = cache_folder()
    if limit := limit_reached(error):
        return f"cannot write to the cache {place}: {limit}"
    remedy = "correct that, or choose" if is_of_the_disk(error) else "choose"
    return f"cannot write to the cache {place}: {reason_of(error, place)}; {remedy} another folder with {CACHE}=FOLDER"


def parsed_size(text: str) -> int:
    """Return the bytes of a size such as 200GB. Raises StoreError for another text."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in UNITS or not (size := int(float(match[1]) * UNITS[match[2].upper()])):
        raise StoreError(f"{CACHE_SIZE} {text!r} is not a size; write 200GB or 100GiB")
    return size


@cache
def _cache_of(folder: Path, process: int) -> Cache:
    """Return one cache object per process: after a fork the child takes a lease of its own."""
    return Cache(folder)


def _remove(file: Path) -> bool:
    """Remove a shard, or what a dead process left of one; return whether it is gone."""
    if file.name.endswith(PARTIAL) and not _is_free(Path(f"{str(file).removesuffix(PARTIAL)}{LOCK}")):
        return False
    try:
        file.unlink(missing_ok=True)
    except OSError:  # Windows keeps a file that is mapped
        return False
    return True


def _is_free(file: Path) -> bool:
    """Return whether no living process holds a lock."""
    lock = FileLock(file, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return False
    lock.release()
    return True
