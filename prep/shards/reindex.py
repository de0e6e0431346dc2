"""Making the indexes of shards again: after one was lost, or for the shards that another tool wrote.

Everything is read from the tars. Shards of another tool have no manifest either, so one is written: ``found`` lists
the shards and their splits by their names, the sample indexes count the samples as they stand, and the classes, of
which a ``.cls`` has only the number, are named by it. Shards with other labels, and shards that lie elsewhere, are
prepared by ``prep.foreign``; their indexes are made again here.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial as bind
from pathlib import Path

from ..base.documents import write_document
from ..base.errors import DatasetError
from ..base.lock import claimed
from ..base.manifest import MANIFEST, SHARDS, Shard, ShardManifest, ShardSplit, read_shard_manifest
from ..base.names import is_plain_name
from ..base.output import PARTIAL
from ..base.paths import reachable
from ..base.progress import Notice, Progress, counter, quiet, silent
from ..base.shell import shell_word
from ..limits.cpus import usable_cpus
from ..processes.threads import raise_if_stopped, run_all
from ..roots.places import is_same_time, shard_path
from .columns import MAX_COLUMNS, chosen_columns, column_line, columns_path
from .encode import describe_image
from .found import data_set_of, find_shards, is_root, shard_paths
from .index import decoded_key, read_index
from .read import OWN, ShardSample, read_whole
from .rules import LabelOf, SampleRule, class_number, labels_of, numbered_classes, rule_of
from .sidecars import Sidecars, set_indexes, write_all

MAX_DATASET = 100  # characters; the files of wids are named after the data set


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """A shard that was read."""

    shard: Shard
    labels: Counter[int]
    """Samples of each class index; -1 without a class."""
    columns: tuple[str, ...]
    """The names of the columns that its samples have, in the order in which they occur."""


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
    count = counter(progress, "index, shards", sum(len(held) for held in shards.values()))
    tasks: list[Callable[[threading.Event], Indexed]] = [
        bind(_index, directory, manifest, name, notice, count) for held in shards.values() for name in held
    ]
    found = iter(run_all(tasks, workers or usable_cpus()))
    indexed = {split: [next(found) for _ in held] for split, held in shards.items()}
    before = manifest
    if before is None:
        for held in indexed.values():
            complete_columns(directory, directory, held)
    manifest = _manifest(directory, indexed) if before is None else _with_times(before, indexed)
    if manifest != before:
        write_document(directory / MANIFEST, manifest)
    write_all(set_indexes(directory, manifest), notice)
    return manifest


def add_sample(sidecars: Sidecars, sample: ShardSample, names: Sequence[str] | None = None) -> Collection[str]:
    """Add a sample of a shard, with the tiles that its image has, to the shard's indexes.

    Of its columns, if they were read, those with ``names`` are added; None: all. Returns the names of those added.
    """
    described = describe_image(sample.image)
    columns = None if sample.columns is None else chosen_columns(sample.columns, names)
    sidecars.add(
        sample.key,
        sample.label,
        sample.image_file,
        sample.files,
        described.size,
        described.geometry,
        columns,
        first_pixel=described.first_pixel,
    )
    return columns or ()


def index_shard(
    path: Path,
    name: str,
    rule: SampleRule = OWN,
    label_of: LabelOf = class_number,
    *,
    names: Sequence[str] | None = None,
    stop: threading.Event | None = None,
    count: Callable[[int], None] | None = None,
) -> tuple[Indexed, Sidecars]:
    """Read the shard at ``path`` once and return what it is, and its indexes; ``count`` receives the bytes read.

    ``names`` are the columns to keep; None: all. Raises what ``read_shard`` raises.
    """
    sidecars, labels, columns = Sidecars(columns=bool(names)), Counter[int](), dict[str, None]()

    def add(sample: ShardSample) -> None:
        if stop:
            raise_if_stopped(stop)
        columns.update(dict.fromkeys(add_sample(sidecars, sample, names)))
        labels[sample.label] += 1
        require_few(columns, path)

    read = read_whole(path, add, rule, label_of, columns=names is None or bool(names), count=count)
    shard = Shard(name=name, samples=labels.total(), bytes=read.bytes, sha256=read.sha256, modified=read.modified)
    return Indexed(shard=shard, labels=labels, columns=tuple(columns)), sidecars


def _index(
    directory: Path,
    manifest: ShardManifest | None,
    name: str,
    notice: Notice,
    count: Callable[[int], None],
    stop: threading.Event,
) -> Indexed:
    """Write the indexes of one shard, which must be the one of the manifest, if there is one."""
    if manifest is None:
        found, sidecars = index_shard(directory / name, name, stop=stop)
    else:
        expected, split = _entry(manifest, name)
        path = shard_path(directory, manifest, expected)
        rule, label_of = rule_of(manifest), labels_of(manifest)
        found, sidecars = index_shard(path, name, rule, label_of, names=split.columns, stop=stop)
        same = replace(found.shard, modified=expected.modified) == expected
        if not same or max(found.labels, default=0) >= len(manifest.classes) or _labels_differ(found, split):
            raise DatasetError(_other_shard(directory, manifest, path))
    write_all(sidecars.contents(directory / name), notice)
    count(1)
    return found


def require_few(columns: Collection[str], place: Path) -> None:
    """Raise DatasetError for more names of columns than a table has."""
    if len(columns) > MAX_COLUMNS:
        raise DatasetError(
            f"{place}: the .json of its samples have more than {MAX_COLUMNS} different keys, such as "
            f"{str(next(iter(columns)))[:80]!r}, so they are no columns; write the shards again without these .json"
        )


def complete_columns(directory: Path, shards: Path, held: Sequence[Indexed]) -> None:
    """Write the file of columns of each shard without a value, if other shards of its split have columns.

    The indexes lie in ``directory`` and the shards in ``shards``.
    """
    if not any(entry.columns for entry in held):
        return
    for entry in held:
        if not entry.columns:
            home = directory / entry.shard.name
            keys: list[bytes] = read_index(home, shards / entry.shard.name).samples["key"].tolist()
            write_all({columns_path(home): b"".join(column_line(decoded_key(key), {}) for key in keys)})


def _entry(manifest: ShardManifest, name: str) -> tuple[Shard, ShardSplit]:
    return next((shard, held) for held in manifest.splits.values() for shard in held.shards if shard.name == name)


def _labels_differ(found: Indexed, split: ShardSplit) -> bool:
    return found.labels[-1] != (0 if split.labelled else found.shard.samples)


def _other_shard(directory: Path, manifest: ShardManifest, path: Path) -> str:
    problem = f"{path} is not the shard of {directory / MANIFEST}"
    if manifest.place is None:
        return f"{problem}; copy it again, or move that file away to take the shards as they are"
    return f"{problem}; copy it again, or move {directory} away, which holds no shard, and prepare the shards again"


def _with_times(manifest: ShardManifest, indexed: Mapping[str, Sequence[Indexed]]) -> ShardManifest:
    """Return the manifest with the times that shards of the same content have now, if they lie elsewhere."""
    if manifest.place is None:
        return manifest
    splits = {
        split: replace(
            held,
            shards=tuple(
                shard if is_same_time(entry.shard.modified or 0, shard) else entry.shard
                for shard, entry in zip(held.shards, indexed[split], strict=True)
            ),
        )
        for split, held in manifest.splits.items()
    }
    return replace(manifest, splits=splits)


def _read_manifest(directory: Path) -> ShardManifest | None:
    if (directory / PARTIAL).exists():
        raise DatasetError(f"{directory} is unfinished; run the same feedline shard again, it continues")
    if is_root(directory):
        raise DatasetError(
            f"{directory} is a prepared root, not a folder of shards; give its shards: "
            f"feedline shard --index-only {shell_word(directory / SHARDS)}"
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


def _manifest(directory: Path, indexed: dict[str, list[Indexed]]) -> ShardManifest:
    classes = max((label for held in indexed.values() for entry in held for label in entry.labels), default=-1) + 1
    return ShardManifest(
        dataset=dataset_name(next(iter(indexed.values()))[0].shard.name, directory),
        encode="copy",
        order="sequential",
        seed=0,
        classes=numbered_classes(classes),
        splits={
            split: split_entry([replace(entry, shard=replace(entry.shard, modified=None)) for entry in held], classes)
            for split, held in indexed.items()
        },
    )


def dataset_name(first: str, folder: Path) -> str:
    """Return a name for shards of another tool, from the name of the first shard, or of their folder."""
    name = data_set_of(first) or folder.resolve().name[:MAX_DATASET]
    return name if is_plain_name(name) else "shards"


def split_entry(held: Sequence[Indexed], classes: int) -> ShardSplit:
    """Return the entry of a split from its shards. It is labelled if all its samples are."""
    labels = Counter[int]()
    for entry in held:
        labels.update(entry.labels)
    columns = dict.fromkeys(name for entry in held for name in entry.columns)
    require_few(columns, Path(held[0].shard.name))
    labelled = labels[-1] == 0
    return ShardSplit(
        samples=labels.total(),
        shards=tuple(entry.shard for entry in held),
        per_class=tuple(labels[label] for label in range(classes)) if labelled else (),
        labelled=labelled,
        columns=tuple(columns),
    )
