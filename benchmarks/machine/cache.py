"""The operating system's page cache: which files a bench reads, and how to make and check their state.

Loaders are compared on data in an equal state. The state is made and checked before each run. Warm: every file is
read before the run, so that no read reaches the disk. Cold: every file is dropped from memory, without root rights.
``posix_fadvise(POSIX_FADV_DONTNEED)`` drops a file's clean pages, and ``fdatasync`` first writes dirty pages to the
disk. ``mincore`` then reports the resident pages (all three: Linux manual pages, section 2). A state that cannot be
checked is "unknown". That is always so on Windows and macOS. On Linux it is so for files that another user owns and
that this process may not write: since Linux 5.2 ``mincore`` reports those as resident, to hide what others read.

Eviction is a request. Pages that a process has mapped stay. Files in tmpfs stay too, because there is no disk to
read them from again. Such files count as "unknown". Only the data are made cold: folders, indexes of shards and the
libraries' own files stay warm, as they are in a training after a short time.
"""

import contextlib
import ctypes
import mmap
import os
import sys
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ...loaders import LOADERS
from ...prep import (
    MANIFEST,
    SHARDS,
    MeasurementError,
    Progress,
    list_samples,
    read_manifest,
    read_shard_manifest,
    silent,
)
from ...prep.base.origins import held, is_absent, origin_of, size_of
from ...prep.roots.places import shard_path
from .environment import free_memory

CacheState = Literal["warm", "cold", "unknown"]
AskedCache = Literal["warm", "cold"]

MOST_COLD = 0.01
"""Largest share of resident bytes that still counts as cold."""
LEAST_WARM = 0.99
"""Smallest share of resident bytes that still counts as warm."""
SAMPLE = 10_000
"""Most files that are checked, evenly spread: a check costs 35 microseconds, and ImageNet has 1.3 million files."""
MIB = 2**20


def files_read(root: Path, split: str, loaders: Iterable[str]) -> list[Path]:
    """Return the files with the images of ``split`` that these loaders read: from class folders, shards, or both.

    Raises MeasurementError if they cannot be listed, DatasetError for unfinished shards.
    """
    has_folders, has_shards = (root / MANIFEST).is_file(), (root / SHARDS / MANIFEST).is_file()
    manifest = read_shard_manifest(root / SHARDS) if has_shards else None
    part = manifest.splits.get(split) if manifest else None
    shards = [shard_path(root / SHARDS, manifest, shard) for shard in part.shards] if manifest and part else []
    entries = [LOADERS[name] for name in loaders]
    # A loader that reads both uses the shards if there are any; ``cached`` uses the first loader of the table.
    takes_folders = any(
        e.needs == "folders" or (e.needs == "either" and not (shards and e.covers_epoch)) for e in entries
    )
    takes_shards = not has_folders or any(e.needs != "folders" and e.covers_epoch for e in entries)
    images: list[Path] = []
    if has_folders and takes_folders:
        with _named_errors():
            images = [sample.path for sample in list_samples(root, read_manifest(root), split)]
    return images + (shards if takes_shards else [])


def resident_fraction(files: Sequence[Path]) -> float | None:
    """Return the share of the files' bytes, 0 to 1, that is in the page cache; None if it cannot be determined.

    Of more than 10,000 files, every n-th is checked.
    Raises MeasurementError for a file that cannot be read.
    """
    if sys.platform != "linux":
        return None
    resident = pages = 0
    for path in files[:: -(-len(files) // SAMPLE) or 1]:
        if is_absent(path):
            pages += -(-size_of(path) // mmap.PAGESIZE)
            continue
        with _opened(path) as descriptor:
            found = _resident_pages(descriptor)
        if found is None:
            return None
        resident, pages = resident + found[0], pages + found[1]
    return resident / pages if pages else None


def evict(files: Sequence[Path]) -> CacheState:
    """Drop the files from the page cache; return "cold" if mincore confirms it, else "unknown".

    Files that were just written are first flushed to the disk. Shards behind a URL are removed from the cache of
    shards, and fetched again by the run. Raises MeasurementError for a file that cannot be read.
    """
    for path in files:
        if origin := origin_of(path):
            origin.forget(path)
    if sys.platform != "linux":
        return "unknown"
    for path in files:
        if is_absent(path):
            continue
        with _opened(path) as descriptor:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            found = _resident_pages(descriptor)
            if found is not None and found[0]:  # dirty; flushing every file would cost milliseconds each
                os.fdatasync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    fraction = resident_fraction(files)
    return "cold" if fraction is not None and fraction <= MOST_COLD else "unknown"


def warm(files: Sequence[Path], progress: Progress = silent) -> CacheState:
    """Read the files into the page cache; return "warm" if mincore confirms it, else "unknown".

    Nothing is read if all files are resident already. Files larger than half of the free memory are not read either;
    their state is then "unknown". Shards behind a URL are fetched. Raises MeasurementError for a file that cannot be
    read.
    """
    for path in files:
        with held(path):
            pass
    if _is_warm(files):
        return "warm"
    if any(map(is_absent, files)):  # they do not fit into the cache of shards
        return "unknown"
    with _named_errors():
        sizes = [path.stat().st_size for path in files]
    if sum(sizes) > free_memory() // 2:
        return "unknown"
    done, total, buffer = 0, sum(sizes), bytearray(MIB)
    for path, size in zip(files, sizes, strict=True):
        with _named_errors(), path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
        done += size
        progress("read the data into memory (MiB)", done // MIB, total // MIB)
    return "warm" if _is_warm(files) else "unknown"


def _is_warm(files: Sequence[Path]) -> bool:
    fraction = resident_fraction(files)
    return fraction is not None and fraction >= LEAST_WARM


def _resident_pages(descriptor: int) -> tuple[int, int] | None:
    """Return (resident, all) pages of an open file; None if the kernel or the file system does not report them."""
    status = os.fstat(descriptor)
    if not status.st_size:
        return 0, 0
    if os.geteuid() not in (0, status.st_uid) and not os.access(f"/proc/self/fd/{descriptor}", os.W_OK):
        return None
    flags = np.zeros(-(-status.st_size // mmap.PAGESIZE), np.uint8)
    try:
        mapping = mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ)
    except OSError:  # FUSE without a cache, and some network file systems
        return None
    with mapping:
        view = np.frombuffer(mapping, np.uint8)
        where, length = ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(status.st_size)
        answer = ctypes.CDLL(None).mincore(where, length, ctypes.c_void_p(flags.ctypes.data))
        del view  # a mapping cannot be closed while an array views it
    return (int((flags & 1).sum()), len(flags)) if answer == 0 else None


@contextlib.contextmanager
def _opened(path: Path) -> Generator[int, None, None]:
    """Open a file for reading; yield its descriptor."""
    with _named_errors(), path.open("rb", buffering=0) as file:
        yield file.fileno()


@contextlib.contextmanager
def _named_errors() -> Generator[None, None, None]:
    """Turn an OSError into a MeasurementError that names the file."""
    try:
        yield
    except OSError as error:
        raise MeasurementError(
            f"cannot read {error.filename}: {error.strerror}; check the data with: feedline verify ROOT"
        ) from error
