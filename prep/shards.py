"""Writing WebDataset shards: plain tars of plain JPEGs that every reader understands.

A sample is ``<stem>.jpg`` and ``<stem>.cls`` (its class index in ASCII), side by side. Lower-case extensions, because
some readers compare them case by case; the original stem as key, so that a picture can be traced back. The tars
are USTAR with mtime 0 and no owner: Python's default (pax) adds 1 kB per member and a time stamp, breaks readers
that compute offsets, and makes two runs differ. Same data and seed, same bytes, whatever the workers.
"""

import hashlib
import io
import math
import os
import tarfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial as bind
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .cpus import usable_cpus
from .errors import DatasetError, OutputError
from .manifest import (
    MANIFEST,
    SHARDS,
    Manifest,
    Order,
    Shard,
    ShardManifest,
    ShardSplit,
    read_manifest,
    read_shard_manifest,
)
from .output import PARTIAL, Job, claim, finish, require_room
from .pool import check, run_all
from .progress import Progress, counter, silent
from .shard_order import sample_order

# A small split is cut into 16 all the same, so that 16 workers or streams can share it.
MIN_SHARDS = 16
SHARD_SIZE = 256_000_000
MAX_NAME = 100  # characters: the name field of a USTAR header


@dataclass(frozen=True, kw_only=True)
class ShardSpec:
    """How to write shards."""

    splits: tuple[str, ...] | None = None
    """Default: every labelled split of the root."""
    order: Order = "shuffled"
    seed: int = 0
    shard_size: int = SHARD_SIZE
    """Pictures per shard, in bytes; split sizes are evened out, so most shards stay a little below."""
    name: str | None = None
    """Prefix of the shard names. Default: the data set's name."""


@dataclass(frozen=True)
class Sample:
    """One picture of a prepared root."""

    path: Path
    label: int
    size: int


def write_shards(
    root: Path,
    spec: ShardSpec | None = None,
    *,
    out: Path | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> ShardManifest:
    """Write the shards of a prepared root to ``out`` (default ``ROOT/shards``), the manifest last.

    An interrupted run continues with the shard it was at; finished shards are returned as they are.

    Raises DatasetError for an unfinished or changed root and for names that no reader can hold, OutputError
    when ``out`` holds something else or has no room.
    """
    spec, out = spec or ShardSpec(), out or root / SHARDS
    manifest = read_manifest(root)
    splits = spec.splits or tuple(name for name, split in manifest.splits.items() if split.per_class)
    job = _job(manifest, spec, splits)
    if (out / MANIFEST).is_file():
        return _finished(out, manifest, spec, splits)
    samples = {split: list_samples(root, manifest, split) for split in splits}
    if not (out / PARTIAL).exists():
        require_room(out, sum(_tar_size(found) for found in samples.values()))
    partial = claim(out, job)
    tasks: list[Callable[[threading.Event], Shard]] = []
    count = counter(progress, "shards, pictures", sum(len(found) for found in samples.values()))
    shares = {split: _cut(found, spec) for split, found in samples.items()}
    for split, share in shares.items():
        prefix = f"{spec.name or manifest.dataset}-{split}"
        for number, held in enumerate(share):
            tasks.append(bind(_write_shard, out, partial, f"{prefix}-{number:06d}.tar", held, count))
    shards = iter(run_all(tasks, workers or usable_cpus()))
    result = ShardManifest(
        dataset=manifest.dataset,
        encode="copy",
        order=spec.order,
        seed=spec.seed,
        classes=manifest.classes,
        splits={
            split: ShardSplit(samples=len(samples[split]), shards=tuple(next(shards) for _ in share))
            for split, share in shares.items()
        },
    )
    finish(out, result)
    return result


def list_samples(root: Path, manifest: Manifest, split: str) -> list[Sample]:
    """Return a labelled split's pictures by sample index: sorted by wnid, then file name.

    Raises DatasetError when the folders are not what the manifest says, or two pictures share a key.
    """
    expected = manifest.splits.get(split)
    if expected is None or not expected.per_class:
        raise DatasetError(f"{root} has no labelled split {split!r}; it has: {', '.join(manifest.splits)}")
    samples: list[Sample] = []
    for label, entry in enumerate(manifest.classes):
        folder = root / split / entry.wnid
        found = sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else []
        samples += [Sample(path, label, path.stat().st_size) for path in found]
    if len(samples) != expected.images:
        raise DatasetError(
            f"{root / split} has {len(samples)} pictures where the manifest says {expected.images}; "
            f"run: feedline verify {root}"
        )
    _check_keys(samples)
    return samples


def _check_keys(samples: list[Sample]) -> None:
    """Raise DatasetError for names that some reader would split, cut, skip or confuse."""
    seen: dict[str, Path] = {}
    for sample in samples:
        key = sample.path.stem
        if "." in key or not key.isascii() or " " in key or len(key) + len(".jpg") > MAX_NAME or key.startswith("__"):
            raise DatasetError(
                f"{sample.path} cannot become a key: at most 96 ASCII characters without dot, space or leading '__'; "
                f"rename it"
            )
        if key in seen:
            raise DatasetError(f"{sample.path} and {seen[key]} have the same key {key}; rename one")
        seen[key] = sample.path


def _cut(samples: Sequence[Sample], spec: ShardSpec) -> list[list[Sample]]:
    """Return the samples of each shard: in the spec's order, cut where the bytes are even."""
    ordered = [samples[index] for index in sample_order(len(samples), spec.order, spec.seed).tolist()]
    sizes = np.array([sample.size for sample in ordered], dtype=np.int64)
    total = max(1, int(sizes.sum()))
    shards = max(math.ceil(total / spec.shard_size), min(MIN_SHARDS, len(samples)))
    number = (np.cumsum(sizes) - sizes) * shards // total
    cuts = np.flatnonzero(np.diff(number)) + 1
    bounds = [0, *cuts.tolist(), len(ordered)]
    return [ordered[start:stop] for start, stop in pairwise(bounds) if start < stop]


def _write_shard(
    out: Path, partial: Path, name: str, samples: list[Sample], count: Callable[[int], None], stop: threading.Event
) -> Shard:
    path, size = out / name, _tar_size(samples)
    if not path.is_file():
        with (partial / name).open("wb") as file:
            _write_tar(file, samples, count, stop)
            file.flush()
            os.fsync(file.fileno())
        (partial / name).replace(path)
    else:
        count(len(samples))
    if path.stat().st_size != size:
        raise OutputError(f"{path} has {path.stat().st_size} bytes instead of {size}; delete it and run again")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Shard(name=name, samples=len(samples), bytes=size, sha256=sha256)


def _write_tar(file: BinaryIO, samples: list[Sample], count: Callable[[int], None], stop: threading.Event) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            check(stop)
            data = sample.path.read_bytes()
            if len(data) != sample.size:
                raise DatasetError(f"{sample.path} changed while it was read; run again")
            _add(tar, sample.path.stem + ".jpg", data)
            _add(tar, sample.path.stem + ".cls", str(sample.label).encode("ascii"))
            count(1)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # mtime 0, uid and gid 0, no names, mode 0o644
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _tar_size(samples: list[Sample]) -> int:
    """Return the bytes of a shard: headers, data in 512-byte blocks, padded to tar's 10,240-byte records."""
    blocks = sum(3 + -(-sample.size // tarfile.BLOCKSIZE) for sample in samples) + 2
    return -(-blocks * tarfile.BLOCKSIZE // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _job(manifest: Manifest, spec: ShardSpec, splits: tuple[str, ...]) -> Job:
    settings: dict[str, str | int | list[str]] = {
        "dataset": manifest.dataset,
        "sources": [f"{source.name} {source.bytes}" for source in manifest.sources],
        "splits": list(splits),
        "order": spec.order,
        "seed": spec.seed,
        "shard_size": spec.shard_size,
        "name": spec.name or manifest.dataset,
    }
    return Job(command="shard", settings=settings)


def _finished(out: Path, manifest: Manifest, spec: ShardSpec, splits: tuple[str, ...]) -> ShardManifest:
    """Return the finished shards' manifest; raise OutputError when they are not what was asked for."""
    found = read_shard_manifest(out)
    same = (
        found.dataset == manifest.dataset
        and (found.order, found.seed) == (spec.order, spec.seed)
        and found.classes == manifest.classes
        and set(found.splits) == set(splits)
        and all(found.splits[split].samples == manifest.splits[split].images for split in splits)
    )
    if not same:
        raise OutputError(
            f"{out} holds other shards ({found.dataset}, {found.order}, seed {found.seed}, "
            f"{', '.join(found.splits)}); delete it or choose another directory with --out"
        )
    return found
