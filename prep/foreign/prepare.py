"""Using the shards of other tools where they lie: ROOT/shards gets a manifest and the indexes, and nothing is copied.

Each shard is read once, for its index, its checksum and its labels, with a thread for each of several shards. What was
found is noted in ROOT/shards/.partial, so a run that was interrupted goes on with the shards that it lacks. The
manifest is written last, and the folders of the shards are never written to.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial as bind
from pathlib import Path

import numpy as np

from ..base.disks import reason_of
from ..base.documents import read_document, write_atomically, write_document
from ..base.errors import DatasetError, OutputError
from ..base.lock import claimed
from ..base.manifest import MANIFEST, SHARDS, Shard, ShardManifest, read_shard_manifest
from ..base.output import JOB, PARTIAL, OutputJob, finish_output, remove_partial, start_output
from ..base.paths import GivenPath, given_paths, reachable
from ..base.progress import Notice, Progress, counter, quiet, silent
from ..labels.lists import read_class_names
from ..limits.cpus import usable_cpus
from ..processes.threads import run_all
from ..roots.places import is_same_time, moved_shards, place_of, shards_folder
from ..shards.columns import columns_path
from ..shards.found import is_root
from ..shards.index import ShardIndex, index_path, read_index
from ..shards.reindex import Indexed, complete_columns, dataset_name, index_shard, split_entry
from ..shards.rules import SampleRule
from ..shards.sidecars import dali_path, set_indexes, write_all
from .classes import Classes, LabelTable, classes_of, report_classes, with_names
from .sources import ForeignShards, find_foreign
from .survey import choose_rule

COMMAND = "prep webdataset"


@dataclass(frozen=True, kw_only=True)
class Note:
    """What was found in a shard, for a run that is continued."""

    shard: Shard
    labels: tuple[tuple[str | int, int], ...]
    """Each label with its samples. The index in ``.partial`` has the position in this list as class index."""
    unlabelled: int
    first_unlabelled: str
    columns: tuple[str, ...]
    indexes: dict[str, str]
    """{file name: sha256} of the indexes of the shard in ``.partial``."""


@dataclass(frozen=True, kw_only=True)
class _Set:
    """The shards of one call, and where everything lies."""

    found: ForeignShards
    rule: SampleRule
    directory: Path
    names: Mapping[str, str]
    root: Path

    @property
    def job(self) -> OutputJob:
        shards = [f"{split} {name}" for split, held in self.found.splits.items() for name in held]
        settings: dict[str, str | int | list[str]] = {
            "place": str(self.found.place),
            "shards": shards,
            "rule": repr(self.rule),
        }
        return OutputJob(command=COMMAND, settings=settings, adopts=self.found.place == self.directory.absolute())


def prepare_webdataset(
    sources: GivenPath | Sequence[GivenPath],
    out: GivenPath,
    *,
    label_from: str | None = None,
    image_extension: str | None = None,
    split_from: Mapping[str, str] | None = None,
    names_file: GivenPath | None = None,
    workers: int | None = None,
    progress: Progress = silent,
    notice: Notice = quiet,
) -> ShardManifest:
    """Prepare WebDataset shards that another tool wrote for the root ``out``, and return their manifest.

    The shards stay where they lie, and nothing is written there. ``sources`` are folders, which are searched, single
    tars, and patterns such as "imagenet-{train,val}-{0000..0015}.tar". ``label_from`` is where the class of a sample
    stands: "cls", "txt", "folder" (that of the key), or "json:KEY"; by default the ``.cls``. ``image_extension`` is the
    member to take if samples hold several images, such as "input.jpg". ``split_from`` is {name of a folder, or of
    shards without their number: split}. ``names_file`` has lines of class id, tab, class name. An interrupted run is
    continued by the same call.

    Raises SourceError for sources that are missing, compressed or damaged; DatasetError if the user has to choose a
    split, a label or an image, and for samples without one image and one class; OutputError if ``out`` holds something
    else.
    """
    out = reachable(out)
    if is_root(out):
        raise OutputError(f"{out} holds class folders that feedline prepared; choose another root with --out")
    found = find_foreign(given_paths(sources), out, split_from or {}, notice)
    command = f"feedline {COMMAND} {found.place} --out {out}"
    rule = choose_rule(found, label_from, image_extension, command)
    names = {} if names_file is None else read_class_names(Path(names_file))
    held = _Set(found=found, rule=rule, directory=out / SHARDS, names=names, root=out)
    with claimed(held.directory, COMMAND):
        if (held.directory / MANIFEST).is_file():
            return _finished(held, notice)
        return _prepare(held, workers, progress, notice)


def _prepare(held: _Set, workers: int | None, progress: Progress, notice: Notice) -> ShardManifest:
    _forget_other_labels(held, notice)
    partial = start_output(held.directory, held.job)
    names = [name for shards in held.found.splits.values() for name in shards]
    sizes = [(held.found.place / name).stat().st_size for name in names]
    count = counter(progress, "reading shards, MB", sum(sizes), 10**6)
    tasks: list[Callable[[threading.Event], Note]] = [
        bind(_read_shard, held, partial, name, size, count) for name, size in zip(names, sizes, strict=True)
    ]
    notes = iter(run_all(tasks, workers or usable_cpus()))
    noted = {split: [next(notes) for _ in shards] for split, shards in held.found.splits.items()}
    _require_labels(held, noted)
    labels = (label for split in noted.values() for note in split for label, _ in note.labels)
    classes = classes_of(labels, held.rule, held.names)
    try:
        indexed = {
            split: [_with_classes(held, partial, note, classes, notice) for note in notes]
            for split, notes in noted.items()
        }
        for shards in indexed.values():
            complete_columns(held.directory, held.found.place, shards)
        manifest = _manifest(held, classes, indexed)
        report_classes(classes, _counts(indexed), notice)
        write_all(set_indexes(held.directory, manifest), notice)
        finish_output(held.directory, manifest)
    except OSError as error:
        raise OutputError(_no_room(held.directory, error)) from error
    return manifest


def _forget_other_labels(held: _Set, notice: Notice) -> None:
    """Remove the notes of an unfinished run that read other labels; those of other shards stay useful."""
    job = held.directory / PARTIAL / JOB
    before = read_document(job, OutputJob) if job.is_file() else None
    if before is None or before.command != COMMAND or before == held.job:
        return
    if all(before.settings.get(name) == held.job.settings[name] for name in ("place", "rule")):
        write_document(job, held.job)
    else:
        remove_partial(held.directory)
        notice(f"{held.directory} holds an unfinished run with other labels or shards; all shards are read again")


def _read_shard(
    held: _Set,
    partial: Path,
    name: str,
    size: int,
    count: Callable[[int], None],
    stop: threading.Event,
) -> Note:
    """Read one shard, unless a run before has done so."""
    path, note_path = held.found.place / name, partial / f"{name}.json"
    if note_path.is_file():
        note = read_document(note_path, Note)
        if _is_whole(partial, note, path):
            count(size)
            return note
    table = LabelTable()
    found, sidecars = index_shard(path, name, held.rule, table.number, stop=stop, count=count)
    contents = sidecars.contents(partial / name)
    note = Note(
        shard=found.shard,
        labels=tuple((label, found.labels[number]) for label, number in table.numbers.items()),
        unlabelled=found.labels[-1],
        first_unlabelled=table.first_unlabelled,
        columns=found.columns,
        indexes={place.name: hashlib.sha256(data).hexdigest() for place, data in contents.items()},
    )
    try:
        for place in (note_path, *contents):
            place.parent.mkdir(parents=True, exist_ok=True)
        for place, data in contents.items():
            write_atomically(place, data)
        write_document(note_path, note)
    except OSError as error:
        raise OutputError(_no_room(held.directory, error)) from error
    return note


def _indexes(folder: Path, note: Note) -> list[Path]:
    """Return the indexes of a shard in a folder."""
    home = folder / note.shard.name
    return [place for place in (index_path(home), dali_path(home), columns_path(home)) if place.name in note.indexes]


def _is_whole(partial: Path, note: Note, path: Path) -> bool:
    """Return whether a shard is the one that was noted, and its indexes hold the bytes that were written."""
    found, places = path.stat(), _indexes(partial, note)
    return (
        found.st_size == note.shard.bytes
        and is_same_time(found.st_mtime_ns, note.shard)
        and all(place.is_file() and _sha256(place) == note.indexes.get(place.name) for place in places)
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_labels(held: _Set, noted: Mapping[str, Sequence[Note]]) -> None:
    """Raise DatasetError for a split without samples, or with samples of which some or all have no class."""
    for split, notes in noted.items():
        samples, without = sum(note.shard.samples for note in notes), sum(note.unlabelled for note in notes)
        first = next((note.first_unlabelled for note in notes if note.first_unlabelled), "")
        if not samples:
            raise DatasetError(f"the shards of {split} in {held.found.place} hold no sample; leave them out")
        if without and (without < samples or split != "test"):
            raise DatasetError(
                f"{without} of the {samples} samples of {split} have no class in {held.rule.label_from}: the first is "
                f"{first}; write the shards again without them, choose another --label-from, or leave these shards out"
            )


def _with_classes(held: _Set, partial: Path, note: Note, classes: Classes, notice: Notice) -> Indexed:
    """Write the indexes of a shard, with the class indexes of the set."""
    name = note.shard.name
    index = read_index(partial / name, held.found.place / name)
    numbers = np.array([*(classes.index[label] for label, _ in note.labels), -1], np.int32)
    samples = np.array(index.samples)
    samples["label"] = numbers[samples["label"]]  # a label of -1 takes the last number
    data = ShardIndex(samples, np.array(index.row_lengths)).to_bytes()
    contents = {held.directory / place.relative_to(partial): place.read_bytes() for place in _indexes(partial, note)}
    (held.directory / name).parent.mkdir(parents=True, exist_ok=True)
    write_all({**contents, index_path(held.directory / name): data}, notice)
    counts = Counter({-1: note.unlabelled} if note.unlabelled else {})
    for label, count in note.labels:
        counts[classes.index[label]] += count
    return Indexed(shard=note.shard, labels=counts, columns=note.columns)


def _manifest(held: _Set, classes: Classes, indexed: Mapping[str, Sequence[Indexed]]) -> ShardManifest:
    first = next(iter(held.found.splits.values()))[0]
    return ShardManifest(
        dataset=dataset_name(first, held.found.place),
        encode="copy",
        order="sequential",
        seed=0,
        classes=classes.entries,
        splits={split: split_entry(shards, len(classes.entries)) for split, shards in indexed.items()},
        place=place_of(held.found.place, held.directory),
        label_from=held.rule.label_from,
        image_extension=held.rule.image_extension,
    )


def _counts(indexed: Mapping[str, Sequence[Indexed]]) -> Counter[int]:
    counts = Counter[int]()
    for shards in indexed.values():
        for entry in shards:
            counts.update({label: samples for label, samples in entry.labels.items() if label >= 0})
    return counts


def _finished(held: _Set, notice: Notice) -> ShardManifest:
    """Return the manifest of a set that was prepared before; raise OutputError if it is of other shards."""
    try:
        manifest = read_shard_manifest(held.directory)
    except DatasetError as error:
        raise OutputError(f"{held.directory} holds something else ({error}); choose another root with --out") from error
    if (held.directory / PARTIAL).exists():  # of a run that was killed after it wrote the manifest
        remove_partial(held.directory)
    same = (
        shards_folder(held.directory, manifest).absolute() == held.found.place
        and {split: tuple(shard.name for shard in entry.shards) for split, entry in manifest.splits.items()}
        == held.found.splits
        and (manifest.label_from, manifest.image_extension) == (held.rule.label_from, held.rule.image_extension)
    )
    if not same:
        raise OutputError(
            f"{held.directory} was prepared from other shards or labels ({manifest.dataset}, {manifest.label_from}, "
            f"{sum(len(entry.shards) for entry in manifest.splits.values())} shards of {', '.join(manifest.splits)}); "
            f"move it away, it holds indexes only, or choose another root with --out"
        )
    if problem := moved_shards(held.directory, manifest):
        raise DatasetError(problem)
    notice(f"{held.directory} is prepared already; nothing was read again")
    named = replace(manifest, classes=with_names(manifest.classes, held.names))
    if named != manifest:
        write_document(held.directory / MANIFEST, named)
    return named


def _no_room(place: Path, error: OSError) -> str:
    return f"cannot write {place}: {reason_of(error, place)}; make room and run the same command again, it continues"
