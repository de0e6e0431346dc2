"""From the official ILSVRC-2012 archives to class folders, by streaming: no intermediate tars, no shell.

The train archive is a tar of one tar per class; the validation and test archives are flat. Every byte is read
once and every picture written once, while the sources stay untouched. Members are never extracted by name: a
name must match the official pattern exactly, and the path is built from the match.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path
from typing import BinaryIO

from .cpus import usable_cpus
from .documents import to_json
from .errors import OutputError, SourceError
from .folders import Counts, Picture, Unit, classes_in, split_of, write_units
from .labels import class_names, validation_labels, wnids
from .manifest import MANIFEST, ClassEntry, Manifest, Source, Split, read_manifest
from .output import PARTIAL, Job, claim, finish, require_room
from .progress import Progress, counter, silent
from .tar import Member, read_member, walk

DATASET = "imagenet"
SPLITS = ("train", "val", "test")

CLASS_TAR = re.compile(r"(n[0-9]{8})\.tar")
TRAIN_PICTURE = re.compile(r"(n[0-9]{8})_[0-9]{1,8}\.JPEG")
VAL_PICTURE = re.compile(r"ILSVRC2012_val_[0-9]{8}\.JPEG")
TEST_PICTURE = re.compile(r"(?:test/)?(ILSVRC2012_test_[0-9]{8}\.JPEG)")

MAX_PICTURE = 64 * 1024 * 1024  # bytes; the largest official one has about 15 MB
MEAN_PICTURE = 110_000  # bytes
CLUSTER = 4096  # bytes; a file takes whole clusters, and half of the last one is lost on average


@dataclass(frozen=True)
class Archive:
    """An official archive, recognised by what it holds."""

    path: Path
    split: str
    size: int


def prepare_imagenet(
    sources: Sequence[Path],
    out: Path,
    *,
    splits: Sequence[str] = SPLITS,
    workers: int | None = None,
    progress: Progress = silent,
) -> Manifest:
    """Write class folders and the manifest to ``out`` from archives, or folders that hold archives.

    ``splits`` narrows what is taken from the sources. A run that was interrupted continues; a finished root is
    returned as it is, or gets the splits it lacks.

    Raises SourceError for a missing, damaged or foreign archive, OutputError when ``out`` holds something else
    or has no room.
    """
    archives = [archive for archive in find_archives(sources) if archive.split in splits]
    if not archives:
        raise SourceError(f"{_names(sources)} hold no ImageNet archive of split {', '.join(splits)}")
    before = _finished(out, archives)
    archives = [archive for archive in archives if before is None or archive.split not in before.splits]
    if before is not None and not archives:
        return before
    total = sum(archive.size for archive in archives)
    if not (out / PARTIAL).exists():
        require_room(out, total + total // MEAN_PICTURE * CLUSTER // 2)
    partial = claim(out, _job(archives))
    units = [unit for archive in archives for unit in _units(archive)]
    report = counter(progress, "class folders, MB", total, 10**6)
    counts = write_units(out, partial, units, workers or usable_cpus(), report)
    manifest = _manifest(archives, counts, before)
    finish(out, manifest)
    return manifest


def find_archives(sources: Sequence[Path]) -> list[Archive]:
    """Return the archives among ``sources``, looking into folders for ``*.tar``; one archive per split."""
    found: dict[str, Archive] = {}
    for source in sources:
        if not source.exists():
            raise SourceError(f"{source} does not exist; give the ILSVRC2012 archives or the folder that holds them")
        for path in sorted(source.glob("*.tar")) if source.is_dir() else [source]:
            archive = _recognise(path)
            if archive.split in found:
                raise SourceError(f"{path} and {found[archive.split].path} are both {archive.split} archives; give one")
            found[archive.split] = archive
    if not found:
        raise SourceError(f"{_names(sources)} hold no .tar archive; make some with: feedline prep synthetic archives")
    return [found[split] for split in SPLITS if split in found]


def _recognise(path: Path) -> Archive:
    with path.open("rb") as file:
        size = path.stat().st_size
        if not size:
            raise SourceError(f"{path} is empty: copy or download it again")
        members = (member for member in walk(file, 0, size, str(path)) if not member.is_directory)
        first = next(members, None)
    name = first.name if first else "nothing"
    for split, pattern in (("train", CLASS_TAR), ("val", VAL_PICTURE), ("test", TEST_PICTURE)):
        if pattern.fullmatch(name):
            return Archive(path, split, size)
    raise SourceError(f"{path} is not an ILSVRC2012 train, val or test archive: its first member is {name!r}")


def _units(archive: Archive) -> list[Unit]:
    if archive.split != "train":
        return [Unit(archive.split, bind(_flat_pictures, archive))]
    with archive.path.open("rb") as file:
        classes = _checked(archive.path, walk(file, 0, archive.size, str(archive.path)), _class_of)
        return [Unit(f"train/{wnid}", bind(_class_pictures, archive, wnid, tar)) for wnid, tar in classes]


def _class_pictures(archive: Archive, wnid: str, tar: Member) -> Iterator[Picture]:
    where = f"{wnid}.tar in {archive.path}"
    with archive.path.open("rb") as file:
        yield from _pictures(file, where, walk(file, tar.offset, tar.size, where), bind(_train_name, wnid))


def _flat_pictures(archive: Archive) -> Iterator[Picture]:
    where, name_of = str(archive.path), _val_path if archive.split == "val" else _test_name
    with archive.path.open("rb") as file:
        yield from _pictures(file, where, walk(file, 0, archive.size, where), name_of)


def _pictures(
    file: BinaryIO, where: str, members: Iterator[Member], name_of: Callable[[str], str | None]
) -> Iterator[Picture]:
    for name, member in _checked(where, members, name_of):
        if not 0 < member.size <= MAX_PICTURE:
            raise SourceError(f"{where}: {member.name!r} at offset {member.offset} has {member.size} bytes, no picture")
        yield Picture(name, member.size, bind(read_member, file, member, where))


def _checked(
    where: Path | str, members: Iterator[Member], name_of: Callable[[str], str | None]
) -> Iterator[tuple[str, Member]]:
    """Yield (name, member) of each file; raise SourceError for a name that is foreign or comes twice."""
    seen: set[str] = set()
    for member in members:
        if member.is_directory:
            continue
        name = name_of(member.name)
        if name is None:
            raise SourceError(f"{where} holds {member.name!r} at offset {member.offset}, which does not belong there")
        if name in seen:
            raise SourceError(f"{where} holds {member.name!r} twice, again at offset {member.offset}")
        seen.add(name)
        yield name, member


def _class_of(name: str) -> str | None:
    match = CLASS_TAR.fullmatch(name)
    return match[1] if match and match[1] in _known_wnids() else None


def _train_name(wnid: str, name: str) -> str | None:
    match = TRAIN_PICTURE.fullmatch(name)
    return name if match and match[1] == wnid else None


def _val_path(name: str) -> str | None:
    wnid = validation_labels().get(name)
    return f"{wnid}/{name}" if wnid else None


def _test_name(name: str) -> str | None:
    match = TEST_PICTURE.fullmatch(name)
    return match[1] if match else None


def _known_wnids() -> frozenset[str]:
    return frozenset(wnids())


def _manifest(archives: list[Archive], counts: Counts, before: Manifest | None) -> Manifest:
    """Return the manifest of the splits just written and of those that were there before."""
    classes = sorted(classes_in(counts) | {entry.wnid for entry in (before.classes if before else ())})
    splits = {archive.split: split_of(counts, archive.split, _labelled(archive.split, classes)) for archive in archives}
    earlier = {name: _widen(split, before, classes) for name, split in before.splits.items()} if before else {}
    return Manifest(
        dataset=DATASET,
        classes=tuple(ClassEntry(wnid=wnid, name=class_names()[wnid]) for wnid in classes),
        splits={**earlier, **splits},
        sources=(*(before.sources if before else ()), *_sources(archives)),
    )


def _labelled(split: str, classes: list[str]) -> list[str]:
    return [] if split == "test" else classes


def _widen(split: Split, before: Manifest, classes: list[str]) -> Split:
    """Return an earlier split's counts over a class list that may have grown."""
    if not split.per_class:
        return split
    old = dict(zip((entry.wnid for entry in before.classes), split.per_class, strict=True))
    return Split(images=split.images, bytes=split.bytes, per_class=tuple(old.get(wnid, 0) for wnid in classes))


def _sources(archives: list[Archive]) -> list[Source]:
    return [Source(name=archive.path.name, bytes=archive.size) for archive in archives]


def _job(archives: list[Archive]) -> Job:
    return Job(command="prep imagenet", settings={"sources": [f"{a.split} {a.path.name} {a.size}" for a in archives]})


def _finished(out: Path, archives: list[Archive]) -> Manifest | None:
    """Return the manifest of a finished root, None where there is none; raise OutputError for other sources."""
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_manifest(out)
    if manifest.dataset != DATASET:
        raise OutputError(f"{out} holds the data set {manifest.dataset}; choose another directory with --out")
    known = {source.name: source for source in manifest.sources}
    for archive, source in zip(archives, _sources(archives), strict=True):
        if archive.split in manifest.splits and known.get(source.name) != source:
            raise OutputError(
                f"{out} holds {archive.split} of {to_json(manifest.sources)}, not of {source.name} "
                f"({source.bytes} bytes); choose another directory with --out"
            )
    return manifest


def _names(sources: Sequence[Path]) -> str:
    return ", ".join(str(source) for source in sources)
