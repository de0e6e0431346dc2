"""Where the images of a shard come from: a prepared root, or the official archives, of which nothing is unpacked.

The training archive is a tar of one tar per class. Walking the headers of the outer and the inner tars gives every
image's offset from the start of the file, and then an image is one seek and one read, in any order: a global
shuffle needs no copy of the 148 GB. Walking first also means that a damaged archive is refused before anything is
written. A label belongs to a file name, never to a position in a listing.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..archives.tar import Member, walk
from ..base.errors import DatasetError, SourceError
from ..base.manifest import MANIFEST, ClassEntry, Manifest, Source, read_manifest
from ..base.progress import Progress, silent
from ..labels.imagenet import class_names, validation_labels, wnids
from ..sources.naming import CLASS_TAR, TEST_IMAGE, TRAIN_IMAGE
from ..sources.parts import check_size


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its label, and where its bytes lie."""

    name: str
    """The file's own name, such as "n01440764_18.JPEG"; without its extension it is the key in a shard."""
    label: int
    size: int
    place: Path
    """The folder that holds the file, or the archive that holds its bytes."""
    offset: int | None = None
    """Of the data, in bytes from the start of the archive; None for a file in a folder."""

    @property
    def key(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def path(self) -> Path:
        """The file to open."""
        return self.place / self.name if self.offset is None else self.place

    def __str__(self) -> str:
        return str(self.path) if self.offset is None else f"{self.name} in {self.place}"


@dataclass(frozen=True, kw_only=True)
class SampleSet:
    """What a source holds: samples by split, each split sorted by wnid, then file name."""

    dataset: str
    classes: tuple[ClassEntry, ...]
    sources: tuple[Source, ...]
    splits: dict[str, list[Sample]]


class SampleReader:
    """Reads samples; an archive stays open between two of them. A context manager, for one thread."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._archives: dict[Path, BinaryIO] = {}

    def read(self, sample: Sample) -> bytes:
        """Return the file's bytes. Raises DatasetError when it cannot be read or has changed in size."""
        try:
            data = self._read(sample)
        except OSError as error:
            raise DatasetError(f"cannot read {sample}: {error.strerror}; look at the disk, then run again") from error
        if len(data) != sample.size:
            raise DatasetError(f"{sample} changed while it was read; run again")
        return data

    def _read(self, sample: Sample) -> bytes:
        if sample.offset is None:
            return sample.path.read_bytes()
        file = self._open(sample.place)
        file.seek(sample.offset)
        return file.read(sample.size)

    def _open(self, path: Path) -> BinaryIO:
        if path not in self._archives:  # unbuffered: a buffer would only be thrown away at each seek
            self._archives[path] = self._stack.enter_context(path.open("rb", buffering=0))
        return self._archives[path]

    def __enter__(self) -> "SampleReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def find_samples(source: Path, splits: Sequence[str] | None = None, progress: Progress = silent) -> SampleSet:
    """Return the samples of a prepared root, an ILSVRC2012 archive, or a folder that holds such archives.

    ``splits`` narrows it; by default all labelled splits are taken. Raises SourceError for a missing, damaged or
    foreign archive, and DatasetError for an unfinished or changed root and for a split that is not there.
    """
    archives = [] if (source / MANIFEST).is_file() else _archives(source)
    return _in_archives(source, archives, splits, progress) if archives else _in_root(source, splits)


def list_samples(root: Path, manifest: Manifest, split: str) -> list[Sample]:
    """Return a labelled split's images by sample index: sorted by wnid, then file name.

    Raises DatasetError when the folders are not what the manifest says.
    """
    expected = manifest.splits.get(split)
    if expected is None or not expected.per_class:
        raise DatasetError(f"{root} has no labelled split {split!r}; it has: {', '.join(manifest.splits)}")
    samples: list[Sample] = []
    for label, entry in enumerate(manifest.classes):
        folder = root / split / entry.wnid
        found = sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else []
        samples += [Sample(path.name, label, path.stat().st_size, folder) for path in found]
    if len(samples) != expected.images:
        raise DatasetError(
            f"{root / split} has {len(samples)} images where the manifest says {expected.images}; "
            f"run: feedline verify {root}"
        )
    return samples


def _archives(source: Path) -> list[Path]:
    """Return the tars of a source that is no prepared root; none for a folder that may become one."""
    if not source.exists():
        raise SourceError(
            f"{source} does not exist; make it with: feedline prep, or give the folder of the ILSVRC2012 archives"
        )
    archives = sorted(source.glob("*.tar")) if source.is_dir() else [source]
    for path in archives or sorted(source.glob("*.zip")):
        if path.suffix.lower() == ".zip":
            raise SourceError(f"{path} is a zip; prepare it first: feedline prep tiny-imagenet {path} --out data")
    return archives


def _in_root(root: Path, splits: Sequence[str] | None) -> SampleSet:
    manifest = read_manifest(root)
    chosen = splits or [name for name, split in manifest.splits.items() if split.per_class]
    return SampleSet(
        dataset=manifest.dataset,
        classes=manifest.classes,
        sources=manifest.sources,
        splits={split: list_samples(root, manifest, split) for split in chosen},
    )


def _in_archives(source: Path, archives: Sequence[Path], splits: Sequence[str] | None, progress: Progress) -> SampleSet:
    found: dict[str, tuple[Path, list[tuple[str, Member]]]] = {}
    for path in archives:
        split, members = _recognise(path)
        if split in found:
            raise SourceError(f"{path} and {found[split][0]} are both {split} archives; keep one in the folder")
        found[split] = path, members
    labelled = {split: entry for split, entry in found.items() if split != "test"}
    chosen = splits or list(labelled)
    for split in chosen:
        if split not in labelled:
            raise DatasetError(f"{source} has no labelled archive {split!r}; it has: {', '.join(found)}")
    known = sorted({wnid for _, members in labelled.values() for wnid, _ in members})
    labels = {wnid: label for label, wnid in enumerate(known)}
    return SampleSet(
        dataset="imagenet",
        classes=tuple(ClassEntry(wnid=wnid, name=class_names()[wnid]) for wnid in known),
        sources=tuple(Source(name=path.name, bytes=path.stat().st_size) for path, _ in labelled.values()),
        splits={split: _sorted_samples(split, *labelled[split], labels, progress) for split in chosen},
    )


def _recognise(path: Path) -> tuple[str, list[tuple[str, Member]]]:
    """Return an archive's split and (wnid, member) of its files: class tars of train, images of val."""
    with path.open("rb") as file:
        members = [m for m in walk(file, 0, path.stat().st_size, str(path)) if not m.is_directory]
    first = members[0].name if members else "nothing"
    if TEST_IMAGE.fullmatch(first.removeprefix("test/")):
        return "test", []
    split = "train" if CLASS_TAR.fullmatch(first) else "val"
    wnid_of = {wnid + ".tar": wnid for wnid in wnids()} if split == "train" else validation_labels()
    for member in members:
        if member.name not in wnid_of:
            raise SourceError(
                f"{path} is not an ILSVRC2012 train, val or test archive: it holds {member.name!r}; "
                f"give the official one, or prepare other data first with: feedline prep"
            )
    return split, [(wnid_of[member.name], member) for member in members]


def _sorted_samples(
    split: str, path: Path, members: list[tuple[str, Member]], labels: dict[str, int], progress: Progress
) -> list[Sample]:
    samples: list[Sample] = []
    with path.open("rb") as file:
        for done, (wnid, member) in enumerate(members, 1):
            images = _class_images(file, path, wnid, member) if split == "train" else [member]
            samples += [_sample(path, labels[wnid], image) for image in images]
            progress(f"{split}, headers", done, len(members))
    return sorted(samples, key=lambda sample: (sample.label, sample.name))


def _class_images(file: BinaryIO, path: Path, wnid: str, tar: Member) -> list[Member]:
    where = f"{wnid}.tar in {path}"
    images = [member for member in walk(file, tar.offset, tar.size, where) if not member.is_directory]
    for member in images:
        match = TRAIN_IMAGE.fullmatch(member.name)
        if not match or match[1] != wnid:
            raise SourceError(f"{where} holds {member.name!r} at offset {member.offset}, which is not of its class")
    return images


def _sample(path: Path, label: int, member: Member) -> Sample:
    check_size(member.size, f"{path}: {member.name!r} at offset {member.offset}")
    return Sample(member.name, label, member.size, path, member.offset)
