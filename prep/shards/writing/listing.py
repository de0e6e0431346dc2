"""Listing the samples of a source: recognised and checked as by ``feedline prep``, then walked header by header.

Walking first means that a damaged archive is refused before a shard is written. The images of a gzipped tar or a
parquet file cannot be read in a random order. Such a source is read once, from front to back, into a plain tar in the
output's ``.partial/`` folder, and the samples lie there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path

from ...archives.tar import walk
from ...base.errors import DatasetError, SourceError
from ...base.manifest import MANIFEST, ClassEntry, Source, read_manifest
from ...base.output import PARTIAL
from ...base.progress import Notice, Progress, quiet, silent
from ...base.shell import shell_word
from ...labels.imagenet import class_names
from ...roots.samples import Sample, SampleSet, samples_of_root
from ...sources.agreement import (
    agreed_parts,
    check_complete,
    empty_classes,
    report_left_out,
    report_subset,
    source_of,
    units_of,
)
from ...sources.parts import Counts, Part, SourceImage, Unit, add_counts, distinct
from ...sources.reader import Location, Reader
from ...sources.recognise import recognise
from ...sources.recognised import Recognised, TinyImagenetError
from ...sources.request import Request
from ...sources.tiny_imagenet import recognise_tiny
from ..found import is_root
from .resharding import samples_of_shards, shards_in

LABELLED = ("train", "val")

Row = tuple[str, str, int, Location]
"""Wnid, name, size, and where the bytes lie."""


@dataclass(frozen=True, kw_only=True)
class Unprepared:
    """A source that is no prepared root: recognised and checked, not listed yet."""

    path: Path
    found: Recognised
    parts: tuple[Part, ...]
    """Those with labelled splits."""
    splits: tuple[str, ...]
    """The splits to take."""
    split_from: Mapping[str, str]
    """{name of a folder or archive: split} for names that do not say it."""
    chosen: bool
    """Whether the splits were requested by name, so that each of them has to be there."""

    @cached_property
    def request(self) -> Request:
        """All that is labelled: the class list does not depend on the splits that are taken."""
        return Request(command="shard", splits=LABELLED)

    @property
    def dataset(self) -> str:
        return self.parts[0].dataset if self.parts else "imagenet"

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(source_of(part, self.request) for part in self.parts)


def find_samples(
    source: Path,
    splits: Sequence[str] | None = None,
    progress: Progress = silent,
    notice: Notice = quiet,
    split_from: Mapping[str, str] | None = None,
) -> SampleSet:
    """Return the samples of a prepared root, or of any source that ``feedline prep`` takes.

    ``splits`` narrows it; by default all labelled splits are taken. What was recognised is reported to ``notice``.
    ``split_from`` is {name of a folder or archive: split} for names that do not say it.
    A sample of a gzipped tar or a parquet file is listed, but cannot be read: see ``write_shards``.

    Raises SourceError for sources that are missing, damaged, foreign, incomplete or contradict each other, and
    DatasetError for an unfinished or changed root and for a split that is not there.
    """
    found = open_source(source, splits, notice, split_from=split_from)
    return found if isinstance(found, SampleSet) else list_source(found, {}, progress, notice)


def open_source(
    source: Path,
    splits: Sequence[str] | None,
    notice: Notice,
    skip: Path | None = None,
    split_from: Mapping[str, str] | None = None,
) -> SampleSet | Unprepared:
    """Return the samples of a prepared root or of shards, or a source that is recognised and checked.

    ``skip`` is the output.
    """
    if not source.exists():
        raise SourceError(
            f"{source} does not exist; make it with: feedline prep, or give the folder of the ILSVRC2012 archives"
        )
    if (directory := shards_in(source)) is not None:
        return samples_of_shards(directory, splits)
    if (source / MANIFEST).is_file() or (source / PARTIAL).exists():
        if split_from:
            raise DatasetError(f"{source} is a prepared root, which states its splits; leave --split-from out")
        return samples_of_root(source, read_manifest(source), splits)
    above = source.resolve().parent
    if source.is_dir() and is_root(above) and source.resolve().name in read_manifest(above).splits:
        raise DatasetError(
            f"{source} is a folder of the prepared root {above}; shard the root: "
            f"feedline shard {shell_word(above)} --split {shell_word(source.resolve().name)}"
        )
    try:
        found = recognise([source], skip, split_from=split_from, command="shard")
    except TinyImagenetError as error:
        if split_from:
            raise SourceError(
                f"{error.path} is Tiny-ImageNet, which states its splits; leave --split-from out"
            ) from error
        found = recognise_tiny(error.path, skip)
    held = {split for part in found.parts for split in part.splits}
    labelled = tuple(split for split in LABELLED if split in held)
    for split in splits or ():
        if split not in labelled:
            raise _missing(source, split, labelled)
    parts = agreed_parts(found, Request(command="shard", splits=LABELLED), notice) if labelled else ()
    return Unprepared(
        path=source,
        found=found,
        parts=tuple(parts),
        splits=tuple(splits or labelled),
        split_from=split_from or {},
        chosen=bool(splits),
    )


def list_source(source: Unprepared, scratch: dict[Path, Path], progress: Progress, notice: Notice) -> SampleSet:
    """Return the samples of a source. ``scratch`` is {source of a streamed part: the tar of its images}.

    Raises SourceError for damage, for two files of one name, and if all classes are there but not all images.
    """
    listed = _Listed(source)
    for part in source.parts:
        listed.add_part(part, scratch.get(part.source), progress)
    check_complete(source.parts, listed.counts, source.found.label_lists, _request_of(source))
    listed.wnids.update(*(empty_classes(part, source.request) for part in source.parts))
    wnids = sorted(listed.wnids)
    report_left_out(source.found, notice)
    report_subset(source.parts, len(wnids), notice)
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    names = {**class_names(), **source.found.names}
    splits: dict[str, list[Sample]] = {}
    for split in source.splits:
        rows = sorted(listed.rows.pop(split), key=itemgetter(0, 1))
        splits[split] = [Sample(name, labels[wnid], size, location) for wnid, name, size, location in rows]
        if not rows and source.chosen:
            raise _missing(source.path, split, [found for found, held in splits.items() if held])
    return SampleSet(
        dataset=source.dataset,
        classes=tuple(ClassEntry(id=wnid, name=names.get(wnid, wnid)) for wnid in wnids),
        sources=source.sources,
        splits={split: samples for split, samples in splits.items() if samples},
    )


class _Listed:
    """What was listed so far."""

    def __init__(self, source: Unprepared) -> None:
        self.rows: dict[str, list[Row]] = {split: [] for split in source.splits}
        self.wnids: set[str] = set()
        self.counts: Counts = {}
        self._request = source.request

    def add_part(self, part: Part, scratch: Path | None, progress: Progress) -> None:
        """List a part; of one that was copied to ``scratch``, what lies there."""
        units = units_of(part, self._request) if scratch is None else [Unit("", _no_images, shared=True)]
        for done, unit in enumerate(units, 1):
            split, _, wnid = unit.folder.partition("/")
            if wnid and split not in self.rows:
                self.wnids.add(wnid)
            else:
                self._add_unit(unit, part.source, scratch)
            progress(f"{'/'.join(part.splits)}, headers", done, len(units))

    def _add_unit(self, unit: Unit, source: Path, scratch: Path | None) -> None:
        counts: Counts = {}
        for path, size, location in _images(unit, source) if scratch is None else _copied(scratch):
            split, wnid, name = f"{unit.folder}/{path}".removeprefix("/").split("/")
            self.wnids.add(wnid)
            if split in self.rows and name:
                self.rows[split].append((wnid, name, size, location))
                files, total = counts.get(f"{split}/{wnid}", (0, 0))
                counts[f"{split}/{wnid}"] = files + 1, total + size
        add_counts(self.counts, unit, counts)


def _images(unit: Unit, source: Path) -> Iterator[tuple[str, int, Location]]:
    """Yield the images of a unit. The bytes of a stream are dropped; their place says no more than the source."""
    with Reader() as reader:
        for image in distinct(unit, reader):
            location = Location(source, image.path) if isinstance(image.data, bytes) else image.data
            yield image.path, image.size, location


def _copied(scratch: Path) -> Iterator[tuple[str, int, Location]]:
    """Yield the images of a scratch tar; a folder stands for a class without images, and its name is empty."""
    with scratch.open("rb") as file:
        for member in walk(file, 0, scratch.stat().st_size, str(scratch)):
            yield member.name, member.size, Location(scratch, member.offset)


def _no_images(reader: Reader) -> Iterator[SourceImage]:
    return iter(())


def _request_of(source: Unprepared) -> Request:
    return Request(command="shard", splits=source.splits)


def _missing(source: Path, split: str, held: Sequence[str]) -> DatasetError:
    return DatasetError(f"{source} has no labelled split {split!r}; it has: {', '.join(held) or 'none'}")
