"""Writing class folders: units that appear by rename, side by side, and are never done twice.

A unit is either a folder of its own (a class of train), written under ``.partial/`` and moved into place whole by
one rename; or a piece that shares its folders with others (a flat archive, one of several downloads), whose
pictures are renamed into place one by one and which leaves a note under ``.partial/`` when it is through. So
whatever exists under its final name is complete, and a run that was killed is continued by running it again:
folders are compared with the source by names and sizes, noted pieces by counts and bytes, and neither is read
again. Threads suffice, because reading and writing files releases the GIL.
"""

import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from .documents import read_document, write_document
from .errors import OutputError, SourceError
from .manifest import Split
from .output import put_in_place
from .pictures import quick_problem
from .pool import check, run_all

Report = Callable[[int], None]
Counts = dict[str, tuple[int, int]]  # folder below the root, such as "val/n01440764": (files, bytes)


@dataclass(frozen=True)
class Picture:
    """One file of a unit: its path below the unit's folder, its size, and how to read it."""

    path: str
    size: int
    read: Callable[[], bytes]
    where: str
    """Its archive, name and offset, for messages."""


@dataclass(frozen=True)
class Unit:
    """What is written, resumed and reported as one."""

    folder: str
    """Such as "train/n01440764", with forward slashes, below the root; "" for the root itself."""
    pictures: Callable[[], Iterator[Picture]]
    shared: bool = False
    """Whether other units write into the same folder."""
    texts: bool = False
    """Whether its files are texts, and no pictures to be checked."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The note that a shared unit is finished: its files and bytes by folder."""

    counts: Counts


def write_units(root: Path, partial: Path, units: Sequence[Unit], workers: int, report: Report) -> Counts:
    """Write all units with ``workers`` threads and return the files and bytes of every folder.

    ``report`` is told the bytes of each file. The first error stops the others within one file and is raised;
    so does Ctrl-C. Finished units stay. Raises SourceError for a file that is no picture, or comes twice.
    """
    tasks = [
        bind(_write_piece, root, partial / f"piece-{number:04d}", unit, report)
        if unit.shared
        else bind(_write_folder, root, partial, unit, report)
        for number, unit in enumerate(units)
    ]
    counts: Counts = defaultdict(lambda: (0, 0))
    shared: set[str] = set()
    for unit, found in zip(units, run_all(tasks, workers), strict=True):
        for folder, (files, size) in found.items():
            if folder in counts and not unit.shared:
                raise SourceError(f"two sources hold {folder}; give one of them")
            counts[folder] = (counts[folder][0] + files, counts[folder][1] + size)
        shared.update(found if unit.shared else ())
    for folder in shared:
        _check_shared(root / folder, counts[folder])
    return dict(counts)


def split_of(counts: Counts, split: str, classes: Sequence[str]) -> Split:
    """Return a split's totals and its pictures per class; an unlabelled split is given no ``classes``."""
    found = [count for folder, count in counts.items() if _inside(folder, split)]
    return Split(
        images=sum(images for images, _ in found),
        bytes=sum(size for _, size in found),
        per_class=tuple(counts.get(f"{split}/{wnid}", (0, 0))[0] for wnid in classes),
    )


def _inside(folder: str, split: str) -> bool:
    return folder == split or folder.startswith(split + "/")


def _write_folder(root: Path, partial: Path, unit: Unit, report: Report, stop: threading.Event) -> Counts:
    target, temporary = root / unit.folder, partial / unit.folder
    if target.is_dir():
        return _count_finished(target, unit, report)
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    counts: Counts = defaultdict(lambda: (0, 0))
    for picture in _distinct(unit):
        check(stop)
        path = temporary / picture.path
        if "/" in picture.path and not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        _write(path, unit, picture)
        _add(counts, unit, picture, report)
    target.parent.mkdir(parents=True, exist_ok=True)
    put_in_place(temporary, target)
    return counts


def _write_piece(root: Path, note: Path, unit: Unit, report: Report, stop: threading.Event) -> Counts:
    if note.is_file():
        counts = read_document(note, Piece).counts
        report(sum(size for _, size in counts.values()))
        return counts
    noted: Counts = defaultdict(lambda: (0, 0))
    temporary = note.with_name(note.name + ".file")
    for picture in _distinct(unit):
        check(stop)
        path = root / unit.folder / picture.path
        if _folder(unit, picture) not in noted:
            path.parent.mkdir(parents=True, exist_ok=True)
        held = _size(path)
        if held is None:
            _write(temporary, unit, picture)
            put_in_place(temporary, path)
        elif held != picture.size:
            raise OutputError(f"{path} has {held} bytes, {picture.where} has {picture.size}; delete it and run again")
        _add(noted, unit, picture, report)
    write_document(note, Piece(counts=dict(noted)))
    return noted


def _distinct(unit: Unit) -> Iterator[Picture]:
    """Yield a unit's pictures; raise SourceError for a name that comes twice, also where only the case differs."""
    seen: set[str] = set()
    for picture in unit.pictures():
        # Windows and macOS take A.JPEG and a.jpeg for one file: the second would replace the first.
        name = picture.path.casefold()
        if name in seen:
            raise SourceError(f"{picture.where} comes twice (or differs only in case), so one of them would be lost")
        seen.add(name)
        yield picture


def _write(path: Path, unit: Unit, picture: Picture) -> None:
    data = picture.read()
    if not unit.texts and (problem := quick_problem(data)):
        raise SourceError(f"{picture.where} {problem}; copy or download it again")
    with path.open("wb") as file:
        file.write(data)


def _count_finished(target: Path, unit: Unit, report: Report) -> Counts:
    """Return a finished folder's counts; raise OutputError when it is not what the source holds."""
    counts: Counts = defaultdict(lambda: (0, 0))
    found = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    for picture in _distinct(unit):
        path = found.pop(picture.path, None)
        if path is None or path.stat().st_size != picture.size:
            raise OutputError(f"{target / picture.path} differs from {picture.where}; delete {target} and run again")
        _add(counts, unit, picture, report)
    if found:
        raise OutputError(f"{target / next(iter(found))} is not in the source; delete {target} and run again")
    return counts


def _check_shared(folder: Path, expected: tuple[int, int]) -> None:
    """Raise SourceError when pieces wrote the same picture, OutputError when a folder holds something else."""
    with os.scandir(folder) as entries:
        sizes = [entry.stat().st_size for entry in entries if entry.is_file()]
    if len(sizes) < expected[0]:
        raise SourceError(
            f"{folder} holds {len(sizes)} files and the sources {expected[0]}: a picture is in two sources, or was "
            f"removed since; delete the output and run again with each source once"
        )
    if (len(sizes), sum(sizes)) != expected:
        raise OutputError(
            f"{folder} holds {len(sizes)} files of {sum(sizes)} bytes, the sources {expected[0]} of {expected[1]}; "
            f"delete it and run again"
        )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _add(counts: Counts, unit: Unit, picture: Picture, report: Report) -> None:
    folder = _folder(unit, picture)
    images, size = counts[folder]
    counts[folder] = (images + 1, size + picture.size)
    report(picture.size)


def _folder(unit: Unit, picture: Picture) -> str:
    return f"{unit.folder}/{picture.path}".removeprefix("/").rpartition("/")[0]
