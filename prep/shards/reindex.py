"""Making the indexes of shards again: after one was lost, or for the shards that another tool wrote.

Everything is read from the tars. Shards of another tool have no manifest either, so one is written: the split is read
from the shards' names, the sample indexes count the samples as they stand, and the classes, of which a ``.cls`` has
only the number, are named by it.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from ..base.cpus import usable_cpus
from ..base.documents import write_document
from ..base.errors import DatasetError
from ..base.lock import claimed
from ..base.manifest import MANIFEST, ClassEntry, Shard, ShardManifest, ShardSplit, read_shard_manifest
from ..base.output import PARTIAL
from ..base.paths import reachable
from ..base.progress import Progress, counter, silent
from ..base.threads import raise_if_stopped, run_all
from .encode import describe_image
from .read import ShardSample, read_shard
from .sidecars import Sidecars, set_indexes, write_all

SPLIT = re.compile(r"(?:^|[-_.])(train|validation|valid|val|test)(?=$|[-_.0-9])", re.IGNORECASE)
SPLITS = {"valid": "val", "validation": "val"}


@dataclass(frozen=True, kw_only=True)
class _Indexed:
    shard: Shard
    classes: int
    """One more than the largest class index."""


def index_shards(directory: Path, *, workers: int | None = None, progress: Progress = silent) -> ShardManifest:
    """Write every index of the shards in ``directory`` again, and the manifest if it is missing; return it.

    Raises DatasetError when there are no shards, when they are unfinished or not those of the manifest, and for a
    sample without one image and one ``.cls``; SourceError for a damaged tar.
    """
    directory = reachable(directory)
    with claimed(directory, "shard --index-only", create=False):
        return _index_all(directory, workers, progress)


def _index_all(directory: Path, workers: int | None, progress: Progress) -> ShardManifest:
    manifest = _read_manifest(directory)
    shards = _named(directory) if manifest is None else {s: held.shards for s, held in manifest.splits.items()}
    count = counter(progress, "index, shards", sum(len(held) for held in shards.values()))
    tasks: list[Callable[[threading.Event], _Indexed]] = [
        bind(_index, directory, shard, manifest, count) for held in shards.values() for shard in held
    ]
    found = iter(run_all(tasks, workers or usable_cpus()))
    indexed = {split: [next(found) for _ in held] for split, held in shards.items()}
    if manifest is None:
        manifest = _manifest(directory, indexed)
        write_document(directory / MANIFEST, manifest)
    write_all(set_indexes(directory, manifest))
    return manifest


def add_sample(sidecars: Sidecars, sample: ShardSample) -> None:
    """Add a sample of a shard, with the tiles that its image has, to the shard's indexes."""
    described = describe_image(sample.image)
    sidecars.add(sample.key, sample.label, sample.image_file, sample.files, described.size, described.geometry)


def _index(
    directory: Path, shard: Shard, manifest: ShardManifest | None, count: Callable[[int], None], stop: threading.Event
) -> _Indexed:
    path, sidecars, labels = directory / shard.name, Sidecars(), list[int]()
    for sample in read_shard(path):
        raise_if_stopped(stop)
        add_sample(sidecars, sample)
        labels.append(sample.label)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    found = Shard(name=path.name, samples=len(labels), bytes=path.stat().st_size, sha256=sha256)
    if manifest is not None and (found != shard or max(labels, default=0) >= len(manifest.classes)):
        raise DatasetError(
            f"{path} is not the shard of {directory / MANIFEST}; copy it again, or delete that file to take the shards "
            f"as they are"
        )
    write_all(sidecars.contents(path))
    count(1)
    return _Indexed(shard=found, classes=max(labels, default=-1) + 1)


def _read_manifest(directory: Path) -> ShardManifest | None:
    if (directory / PARTIAL).exists():
        raise DatasetError(f"{directory} is unfinished; run the same feedline shard again, it continues")
    return read_shard_manifest(directory) if (directory / MANIFEST).is_file() else None


def _named(directory: Path) -> dict[str, tuple[Shard, ...]]:
    """Return the shards of each split by their names, such as "imagenet-train-000000.tar"; "train" by default."""
    found: dict[str, tuple[Shard, ...]] = {}
    for path in sorted(directory.glob("*.tar")):
        match = SPLIT.search(path.stem)
        split = match[1].lower() if match else "train"
        split = SPLITS.get(split, split)
        found[split] = (*found.get(split, ()), Shard(name=path.name, samples=0, bytes=0, sha256=""))
    if not found:
        raise DatasetError(f"{directory} holds no shard (*.tar); make some with: feedline shard SOURCE")
    return found


def _manifest(directory: Path, indexed: dict[str, list[_Indexed]]) -> ShardManifest:
    first = next(iter(indexed.values()))[0].shard.name
    match = SPLIT.search(first)
    classes = max(entry.classes for held in indexed.values() for entry in held)
    digits = len(str(classes - 1))  # the names are sorted as the class indexes are
    return ShardManifest(
        dataset=(first[: match.start()] if match else "") or directory.resolve().name,
        encode="copy",
        order="sequential",
        seed=0,
        classes=tuple(ClassEntry(wnid=f"{label:0{digits}d}", name=f"class {label}") for label in range(classes)),
        splits={split: _split(held) for split, held in indexed.items()},
    )


def _split(held: Sequence[_Indexed]) -> ShardSplit:
    return ShardSplit(samples=sum(entry.shard.samples for entry in held), shards=tuple(entry.shard for entry in held))
