"""The samples of shards, as the source of other shards: of another encoding, size or order.

The indexes say where each image lies and of which class it is, so nothing is unpacked. This takes feedline's own shards
and those of other tools that ``feedline prep webdataset`` prepared.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...archives.tar import walk
from ...base.errors import DatasetError
from ...base.manifest import MANIFEST, SHARDS, Shard, ShardManifest, Source, is_shard_set, read_shard_manifest
from ...base.shell import shell_word
from ...roots.places import moved_shards, shard_path, shards_folder
from ...roots.samples import Sample, SampleSet
from ...sources.reader import Location
from ...store.afar import far_folder_of
from ..columns import columns_path
from ..index import read_index
from ..order import sample_order
from ..read import is_part
from ..sidecars import dali_path

MEMBER = re.compile(r"\S* ([0-9]+) [0-9]+ (.*?)(?= \S* [0-9]+ [0-9]+ |$)", re.MULTILINE)
"""A member in an index for DALI: extension, offset, size and name, which may have spaces."""


def shards_in(source: Path) -> Path | None:
    """Return the directory of the shards that a source is: a folder of shards, or a root with nothing but shards."""
    if is_shard_set(source):
        return source
    if not (source / MANIFEST).is_file() and is_shard_set(source / SHARDS):
        return source / SHARDS
    return None


def samples_of_shards(directory: Path, splits: Sequence[str] | None) -> SampleSet:
    """Return the samples of the shards of ``directory`` by sample index; by default of all splits with classes.

    Raises DatasetError for a split that is missing or has no classes, and for shards or indexes that are not those of
    the manifest.
    """
    manifest = read_shard_manifest(directory)
    if problem := moved_shards(directory, manifest):
        raise DatasetError(problem)
    labelled = [split for split, held in manifest.splits.items() if held.labelled]
    for split in splits or ():
        if split not in labelled:
            raise DatasetError(f"{directory} has no labelled split {split!r}; it has: {', '.join(labelled) or 'none'}")
    chosen = splits or labelled
    folder = shards_folder(directory, manifest)
    size = sum(shard.bytes for held in manifest.splits.values() for shard in held.shards)
    return SampleSet(
        dataset=manifest.dataset,
        classes=manifest.classes,
        sources=(Source(name=folder.absolute().name, bytes=size, layout="webdataset", splits=tuple(chosen)),),
        splits={split: _in_order(_named(_listed(directory, manifest, split)), manifest, split) for split in chosen},
        columns={split: held.columns for split in chosen if (held := manifest.splits[split]).columns},
    )


def _listed(directory: Path, manifest: ShardManifest, split: str) -> Iterator[tuple[Shard, Sample]]:
    """Yield the samples of a split as they lie in its shards."""
    has_columns = bool(manifest.splits[split].columns)
    for shard in manifest.splits[split].shards:
        path, home = shard_path(directory, manifest, shard), directory / shard.name
        rows = read_index(home, path, shard.bytes if far_folder_of(directory) else None).samples
        stale = DatasetError(
            f"the index of {path} is stale; rebuild it: feedline shard --index-only {shell_word(directory)}"
        )
        if len(rows) != shard.samples:
            raise stale
        names = _member_names(path) if far_folder_of(directory) is None else _names_of_dali(home)
        lines = _line_starts(columns_path(home), shard.samples) if has_columns else None
        for place, row in enumerate(rows[["offset", "size", "label"]].tolist()):
            offset, size, label = row
            if offset not in names:
                raise stale
            line = None if lines is None else Location(columns_path(home), lines[place])
            yield shard, Sample(names[offset], label, size, Location(path, offset), line=line)


def _named(found: Iterator[tuple[Shard, Sample]]) -> list[Sample]:
    """Return the samples; if several shards have a member of one name, all names get the path of their shard."""
    held = list(found)
    counts = Counter(sample.name for _, sample in held)
    if len(counts) == len(held):
        return [sample for _, sample in held]
    return [
        Sample(f"{shard.name[:-4]}/{sample.name}", sample.label, sample.size, sample.location, line=sample.line)
        for shard, sample in held
    ]


def _in_order(samples: list[Sample], manifest: ShardManifest, split: str) -> list[Sample]:
    """Return the samples by sample index."""
    order = sample_order(len(samples), manifest.order, manifest.seed).tolist()
    found = dict(zip(order, samples, strict=True))
    if len(found) != manifest.splits[split].samples:
        raise DatasetError(f"{split} has {len(found)} samples, its manifest says {manifest.splits[split].samples}")
    return [found[index] for index in range(len(found))]


def _member_names(path: Path) -> dict[int, str]:
    """Return {offset of the data: name} of the members of a shard; only headers are read."""
    with path.open("rb", buffering=0) as file:
        return {
            member.offset: member.name
            for member in walk(file, 0, path.stat().st_size, str(path))
            if not member.is_directory and is_part(member.name)
        }


def _names_of_dali(home: Path) -> dict[int, str]:
    """Return {offset of the data: name} of the members of a shard behind a URL, from its index for DALI."""
    path = dali_path(home)
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape").partition("\n")[2]
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; upload the folder of the shards again") from error
    return {int(offset): name for offset, name in MEMBER.findall(text)}


def _line_starts(path: Path, count: int) -> list[int]:
    """Return where each line of a file of columns begins."""
    starts, position = list[int](), 0
    try:
        with path.open("rb") as file:
            for line in file:
                starts.append(position)
                position += len(line)
    except OSError as error:
        raise DatasetError(
            f"cannot read {path}, which holds the columns: {error.strerror}; restore the file"
        ) from error
    if len(starts) != count:
        raise DatasetError(f"{path} has {len(starts)} lines for {count} samples; restore the file")
    return starts
