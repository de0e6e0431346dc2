"""Making the indexes of shards again: after one was lost, or for the shards that another tool wrote.

Everything is read from the tars. Shards of another tool have no manifest either, so one is written: ``found`` lists
the shards and their splits by their names, the sample indexes count the samples as they stand, and the classes, of
which a ``.cls`` has only the number, are named by it.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from ..base.cpus import usable_cpus
from ..base.documents import write_document
from ..base.errors import DatasetError
from ..base.lock import claimed
from ..base.manifest import MANIFEST, SHARDS, ClassEntry, Shard, ShardManifest, ShardSplit, read_shard_manifest
from ..base.output import PARTIAL
from ..base.paths import reachable
from ..base.progress import Notice, Progress, counter, quiet, silent
from ..base.threads import raise_if_stopped, run_all
from .encode import describe_image
from .found import data_set_of, find_shards, is_root, shard_paths
from .read import ShardSample, read_shard
from .sidecars import Sidecars, set_indexes, write_all

MAX_DATASET = 100  # characters; the files of wids are named after the data set


@dataclass(frozen=True, kw_only=True)
class _Indexed:
    shard: Shard
    labels: Counter[int]
    """Samples of each class index."""


def index_shards(
    directory: Path,
    *,
    split_from: Mapping[str, str] | None = None,
    workers: int | None = None,
    progress: Progress = silent,
    notice: Notice = quiet,
) -> ShardManifest:
    """Write every index of the shards in ``directory`` again, and the manifest if it is missing; return it.

    Without a manifest, the shards of the folders in ``directory`` are taken too, so that splits in folders become
    one set. ``split_from`` is {name of a folder, or of shards without their number: split} for names that state no
    split. Files that feedline did not write are left alone and reported to ``notice``.

    Raises DatasetError if there are no shards, if they are unfinished or not those of the manifest, if a name states
    no split, and for a sample without one image and one ``.cls``; SourceError for a damaged tar.
    """
    directory = reachable(directory)
    with claimed(directory, "shard --index-only", create=False):
        return _index_all(directory, split_from or {}, workers, progress, notice)


def _index_all(
    directory: Path, split_from: Mapping[str, str], workers: int | None, progress: Progress, notice: Notice
) -> ShardManifest:
    manifest = _read_manifest(directory)
    if manifest is None:
        shards = find_shards(directory, split_from, notice)
    else:
        shards = {split: tuple(shard.name for shard in held.shards) for split, held in manifest.splits.items()}
        if split_from:
            raise DatasetError(
                f"{directory / MANIFEST} says already which shards are which split; leave --split-from out, or move "
                f"that file away to take the shards as they are"
            )
        _report_more(directory, {name for held in shards.values() for name in held}, notice)
    known = (
        {} if manifest is None else {shard.name: shard for held in manifest.splits.values() for shard in held.shards}
    )
    classes = None if manifest is None else len(manifest.classes)
    count = counter(progress, "index, shards", sum(len(held) for held in shards.values()))
    tasks: list[Callable[[threading.Event], _Indexed]] = [
        bind(_index, directory, name, known.get(name), classes, notice, count)
        for held in shards.values()
        for name in held
    ]
    found = iter(run_all(tasks, workers or usable_cpus()))
    indexed = {split: [next(found) for _ in held] for split, held in shards.items()}
    if manifest is None:
        manifest = _manifest(directory, indexed)
        write_document(directory / MANIFEST, manifest)
    write_all(set_indexes(directory, manifest), notice)
    return manifest


def add_sample(sidecars: Sidecars, sample: ShardSample) -> None:
    """Add a sample of a shard, with the tiles that its image has, to the shard's indexes."""
    described = describe_image(sample.image)
    sidecars.add(sample.key, sample.label, sample.image_file, sample.files, described.size, described.geometry)


def _index(
    directory: Path,
    name: str,
    expected: Shard | None,
    classes: int | None,
    notice: Notice,
    count: Callable[[int], None],
    stop: threading.Event,
) -> _Indexed:
    path, sidecars, labels = directory / name, Sidecars(), Counter[int]()
    for sample in read_shard(path):
        raise_if_stopped(stop)
        add_sample(sidecars, sample)
        labels[sample.label] += 1
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    found = Shard(name=name, samples=labels.total(), bytes=path.stat().st_size, sha256=sha256)
    if expected is not None and classes is not None and (found != expected or max(labels, default=0) >= classes):
        raise DatasetError(
            f"{path} is not the shard of {directory / MANIFEST}; copy it again, or move that file away to take the "
            f"shards as they are"
        )
    write_all(sidecars.contents(path), notice)
    count(1)
    return _Indexed(shard=found, labels=labels)


def _read_manifest(directory: Path) -> ShardManifest | None:
    if (directory / PARTIAL).exists():
        raise DatasetError(f"{directory} is unfinished; run the same feedline shard again, it continues")
    if is_root(directory):
        raise DatasetError(
            f"{directory} is a prepared root, not a folder of shards; give its shards: "
            f"feedline shard --index-only {directory / SHARDS}"
        )
    return read_shard_manifest(directory) if (directory / MANIFEST).is_file() else None


def _report_more(directory: Path, known: set[str], notice: Notice) -> None:
    """Report the shards that lie in the directory although its manifest does not list them."""
    more = [name for name in shard_paths(directory) if name not in known]
    if more:
        notice(
            f"left out: {len(more)} shards that {directory / MANIFEST} does not list, such as {more[0]}; "
            f"to take all shards as they are, move that file away and run again"
        )


def _manifest(directory: Path, indexed: dict[str, list[_Indexed]]) -> ShardManifest:
    classes = max((label for held in indexed.values() for entry in held for label in entry.labels), default=-1) + 1
    digits = len(str(classes - 1))  # the names are sorted as the class indexes are
    first = next(iter(indexed.values()))[0].shard.name
    return ShardManifest(
        dataset=data_set_of(first) or directory.resolve().name[:MAX_DATASET] or "shards",
        encode="copy",
        order="sequential",
        seed=0,
        classes=tuple(ClassEntry(id=f"{label:0{digits}d}", name=f"class {label}") for label in range(classes)),
        splits={split: _split(held, classes) for split, held in indexed.items()},
    )


def _split(held: Sequence[_Indexed], classes: int) -> ShardSplit:
    labels = sum((entry.labels for entry in held), Counter[int]())
    return ShardSplit(
        samples=labels.total(),
        shards=tuple(entry.shard for entry in held),
        per_class=tuple(labels[label] for label in range(classes)),
    )
