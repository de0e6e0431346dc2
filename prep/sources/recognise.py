"""Recognising sources by content: a file's first bytes and first names, a folder's files.

Names of files are only a hint: browsers rename, mirrors re-pack, and ImageNet-V2's .tar.gz is no gzip. What was
recognised is reported before anything is written, so that the user sees a wrong result at once.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..archives.zip import read_zip_member
from ..base.errors import SourceError
from ..base.manifest import MANIFEST
from ..base.output import PARTIAL
from .class_tars import class_tars, train_archive
from .label_lists import (
    DEVKIT,
    MAX_TEXT,
    META,
    TEXTS,
    LabelList,
    devkit_archive,
    devkit_folder,
    labels_in_file,
    labels_in_text,
)
from .naming import (
    CLASS_TAR,
    OFFICIAL_NAMES,
    SPLIT,
    SUFFIXES,
    V2,
    WNID,
    Place,
    place,
)
from .parquet import PARQUET, parquet_part
from .parts import SIGNATURE, Listing, Part
from .streams import default_split, open_tar, tar_part
from .trees import Entry, Folder, Zip, tree_parts

ARCHIVES = (".tar", ".tgz", ".gz", ".zip", ".parquet")
OTHERS = {".tfrecord": "a TFRecord file", ".npz": "a NumPy archive of small images", ".beton": "an FFCV file"}
ZIP = b"PK"
TINY = "wnids.txt"
KAGGLE_LABELS = "LOC_val_solution.csv"
PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?")
MAX_DEPTH = 8  # folders below a source; a link that leads back up would have no end


@dataclass(frozen=True)
class Recognised:
    """All that was recognised in the sources."""

    parts: tuple[Part, ...]
    label_lists: tuple[LabelList, ...]
    ignored: tuple[str, ...] = ()
    """What else lay in the folders, a sentence each."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of classes in the source's own lists."""


class _ForeignError(SourceError):
    """A whole archive of something else: an error when it was given, and passed over in a folder."""


class TinyImagenetError(_ForeignError):
    """``path`` holds Tiny-ImageNet, which ``recognise_tiny`` takes."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is Tiny-ImageNet; prepare it with: feedline prep tiny-imagenet {path} --out ROOT")
        self.path = path


def recognise(sources: Sequence[Path], skip: Path | None = None) -> Recognised:
    """Return what the sources hold; a folder below them named ``skip``, the output, is left out.

    Raises SourceError for a source that is missing, empty, damaged or unknown.
    """
    parts: list[Part] = []
    label_lists: list[LabelList] = []
    ignored: list[str] = []
    for source in sources:
        if not source.exists():
            raise SourceError(f"{source} does not exist; give the ILSVRC2012 archives or the folder that holds them")
        found = _folder(source, skip) if source.is_dir() else _file(source)
        parts += found.parts
        label_lists += found.label_lists
        ignored += found.ignored
    return Recognised(tuple(parts), tuple(label_lists), tuple(ignored))


def _file(path: Path) -> Recognised:
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise SourceError(f"{path} is empty: copy or download it again")
    if other := _other(path.name):
        raise SourceError(f"{path} is {other}, made from the archives for another tool; give the archives themselves")
    if start.startswith(PARQUET):
        return Recognised((parquet_part(path),), ())
    if start.startswith(ZIP):
        return _zip(path)
    if path.suffix in TEXTS:
        labels = labels_in_file(path)
        if labels is None:
            raise SourceError(f"{path} names no validation image with its class, so there is nothing to compare")
        return Recognised((), (labels,))
    return _tar(path)


def _zip(path: Path) -> Recognised:
    tree = Zip(path)
    label_lists: list[LabelList] = []
    first = ""

    def entries() -> Iterator[Entry]:  # one pass: listing 1.5 million members takes 20 seconds
        nonlocal first
        for name, position, size in tree.entries():
            base = name.rpartition("/")[2]
            first = first or base
            if base == TINY or name.startswith("tiny-imagenet"):
                raise TinyImagenetError(path)
            if base == KAGGLE_LABELS and 0 < size <= MAX_TEXT:
                label_lists.extend(_zipped_labels(path, name, position))
            yield name, position, size

    parts = tuple(tree_parts(tree, entries=entries()))
    if not parts:
        hint = "; unpack that and give it instead" if first.endswith(ARCHIVES) else ""
        raise _ForeignError(f"{path} holds no image of ImageNet: its first file is {first[:200]!r}{hint}")
    return Recognised(parts, tuple(label_lists))


def _zipped_labels(path: Path, name: str, position: int) -> list[LabelList]:
    with path.open("rb") as file:
        found = labels_in_text(read_zip_member(file, position, str(path)), f"{name} in {path}")
    return [found] if found else []


def _tar(path: Path) -> Recognised:
    first, name, owner = _first_image(path)
    if first is not None:
        return Recognised((tar_part(path, first, name, owner == SIGNATURE),), ())
    if CLASS_TAR.fullmatch(name):
        return Recognised((train_archive(path, owner == SIGNATURE),), ())
    if DEVKIT.fullmatch(name):
        return Recognised((), (devkit_archive(path),))
    raise _ForeignError(f"{path} holds no image of ImageNet: its first file is {name[:200]!r}")


def _first_image(path: Path) -> tuple[Place | None, str, str]:
    """Return (place of the first image, name, owner) of a tar; no place where a class tar or a devkit comes first."""
    name = owner = ""
    with open_tar(path) as (_, members):
        for member in members:
            found = place(member.name + "/" * member.is_directory, str(path), default_split(path))
            name, owner = (name, owner) if name and not found else (member.name, member.owner)
            if found or CLASS_TAR.fullmatch(member.name) or DEVKIT.fullmatch(member.name):
                return found, member.name, member.owner
    return None, name or "nothing", owner


def _folder(folder: Path, skip: Path | None) -> Recognised:
    files, tars, archives, texts = Listing(), dict[Path, list[Path]](), list[Path](), list[Path]()
    label_lists: list[LabelList] = []
    ignored: list[str] = []
    tiny: list[TinyImagenetError] = []
    for name, entry in walk_folder(folder, skip):
        path = Path(entry.path)
        if other := _other(entry.name):
            ignored = ignored or [f"{path} is {other}, made from the archives for another tool; give the archives"]
        elif entry.name.lower().endswith(SUFFIXES):
            if _is_relevant(name):
                files.add(name, 0, entry.stat().st_size)
        elif CLASS_TAR.fullmatch(entry.name):
            tars.setdefault(path.parent, []).append(path)
        elif path.suffix.lower() in ARCHIVES:
            archives.append(path)
        elif entry.name == META:
            label_lists.append(devkit_folder(path))
        elif entry.name == TINY:
            raise TinyImagenetError(folder)
        elif path.suffix in TEXTS and name.count("/") <= 2:
            texts.append(path)
    parts = [*(class_tars(place_, found) for place_, found in tars.items()), *tree_parts(Folder(folder, files))]
    for path in archives:
        try:
            found = _file(path)
        except _ForeignError as error:  # boxes, another data set: a folder of downloads may hold anything
            ignored.append(str(error))
            tiny += [error] if isinstance(error, TinyImagenetError) else []
            continue
        parts += found.parts
        label_lists += found.label_lists
    label_lists += [found for found in map(labels_in_file, texts) if found]
    if not parts and not label_lists:
        if tiny:
            raise tiny[0]
        raise SourceError(ignored[0] if ignored else f"{folder} holds nothing of ImageNet, but {_listed(folder)}")
    return Recognised(tuple(parts), tuple(label_lists), tuple(ignored))


def walk_folder(folder: Path, skip: Path | None = None) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yield (path from the folder's own name on, entry) of the files below it.

    Hidden folders, shards and roots that are finished or in the making, and the folder ``skip`` are left out.
    """
    top = folder.resolve().name  # it may be the only one that names the split
    waiting = [(top if PLAIN.fullmatch(top) else "source", folder)]
    while waiting:
        name, place_ = waiting.pop()
        with os.scandir(place_) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        made_here = any(entry.name in (MANIFEST, PARTIAL) for entry in entries)
        if place_ != folder and (made_here or (skip and skip.exists() and place_.samefile(skip))):
            continue
        for entry in entries:
            below = f"{name}/{entry.name}"
            if entry.is_dir() and not entry.name.startswith(".") and below.count("/") < MAX_DEPTH:
                waiting.append((below, Path(entry.path)))
            elif entry.is_file():
                yield below, entry


def _is_relevant(name: str) -> bool:
    """Whether an image in a folder is meant to be data: it has an official name, or lies in a class or split."""
    *folders, base = name.split("/")
    official = any(pattern.fullmatch(base) for pattern in OFFICIAL_NAMES)
    return official or any(pattern.fullmatch(part) for part in folders for pattern in (WNID, SPLIT, V2))


def _other(name: str) -> str | None:
    """Return what a file is that other tools make of ImageNet; its images are decoded or resized already."""
    return next((what for suffix, what in OTHERS.items() if suffix in name.lower()), None)


def _listed(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())[:3]
    return ", ".join(map(repr, names)) or "nothing"
