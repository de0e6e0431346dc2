"""What is measured on: which pictures, which class each has, and whether they are in memory already.

Loaders are compared on equal data in an equal state. Equal data is a matter of the manifest's checksum. The
state is made, not assumed: the files are read once before the first run, so that every run, the first one too,
finds them in the operating system's page cache. Data that may not fit there is called "unknown": claiming
either state would be a guess.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import psutil

from ..loaders import LOADERS
from ..prep import (
    MANIFEST,
    SHARDS,
    MeasurementError,
    Progress,
    read_manifest,
    read_shard_manifest,
)
from .environment import granted_memory

CacheState = Literal["warm", "cold", "unknown"]

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Data:
    """What was loaded."""

    dataset: str
    samples: int
    bytes: int
    """Size of the split's pictures as files, or of its shards where there are no class folders."""
    manifest_sha256: str
    """Of the manifest that describes the split: equal means the same pictures."""
    filesystem: str | None


def describe(root: Path, split: str) -> Data:
    """Return what ``split`` of ``root`` is; raise DatasetError or MeasurementError where there is no such thing."""
    if (root / MANIFEST).is_file():
        manifest = read_manifest(root)
        dataset = manifest.dataset
        sizes = {name: (part.images, part.bytes) for name, part in manifest.splits.items()}
        described_by = root / MANIFEST
    else:
        shards = read_shard_manifest(root / SHARDS)
        dataset = shards.dataset
        sizes = {
            name: (part.samples, sum(shard.bytes for shard in part.shards)) for name, part in shards.splits.items()
        }
        described_by = root / SHARDS / MANIFEST
    if sizes.get(split, (0, 0))[0] == 0:
        raise MeasurementError(f"{root} has no pictures in split {split!r}; it has: {', '.join(sizes) or 'none'}")
    samples, size = sizes[split]
    return Data(
        dataset=dataset,
        samples=samples,
        bytes=size,
        manifest_sha256=hashlib.sha256(described_by.read_bytes()).hexdigest(),
        filesystem=_filesystem(root),
    )


def classes_of(root: Path, split: str) -> npt.NDArray[np.int64] | None:
    """Return int64 (samples,): each sample's class by the manifest, or None for a root of shards alone."""
    if not (root / MANIFEST).is_file():
        return None
    per_class = read_manifest(root).splits[split].per_class
    return np.repeat(np.arange(len(per_class), dtype=np.int64), per_class) if per_class else None


def read_into_cache(root: Path, split: str, loaders: Iterable[str], progress: Progress) -> CacheState:
    """Read every file that ``loaders`` will read, so that all of them find it in memory; return the state.

    Where the files are larger than half of the memory that is free, nothing is read and the state is unknown.
    """
    try:
        files = list(_files(root, split, {LOADERS[name].needs for name in loaders}))
        if sum(size for _, size in files) > min(psutil.virtual_memory().available, granted_memory()) // 2:
            return "unknown"
        _read(files, progress)
    except OSError as error:
        raise MeasurementError(
            f"cannot read {error.filename}: {error.strerror}; look at the data with: feedline verify {root}"
        ) from error
    return "warm"


def _read(files: Sequence[tuple[Path, int]], progress: Progress) -> None:
    done, total, buffer = 0, sum(size for _, size in files), bytearray(MIB)
    for path, size in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
        done += size
        progress("read the data into memory (MiB)", done // MIB, total // MIB)


def _files(root: Path, split: str, needs: set[str]) -> Iterator[tuple[Path, int]]:
    """Yield each file with its size. A loader that can read either kind prefers the class folders."""
    has_folders = (root / MANIFEST).is_file()
    if has_folders and needs & {"folders", "either"}:
        for folder in sorted(path for path in (root / split).iterdir() if path.is_dir()):
            with os.scandir(folder) as files:
                yield from ((Path(file.path), file.stat().st_size) for file in files)
    if "shards" in needs or not has_folders:
        part = read_shard_manifest(root / SHARDS).splits.get(split)
        yield from ((root / SHARDS / shard.name, shard.bytes) for shard in (part.shards if part else ()))


def _filesystem(root: Path) -> str | None:
    """Return the type of the file system that holds ``root``, such as ext4, ntfs or nfs4."""
    place = root.resolve()
    try:
        mounts = [mount for mount in psutil.disk_partitions(all=True) if place.is_relative_to(mount.mountpoint)]
    except OSError:
        return None
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else None
