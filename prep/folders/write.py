"""Writing class folders: units that appear by rename, side by side, and are never done twice.

A unit is either a folder of its own (a class of train) or a piece that shares its folders with others (a flat
archive, one of several downloads). Both are written under ``.partial/``. A folder moves into place by one rename
when it is whole; pieces leave a note when they are, and move when all of them are. So whatever exists under its
final name is complete, and a run that was killed is continued by running it again: finished folders are compared
with the source by names and sizes, noted pieces by counts and bytes, and neither is read again. Threads suffice,
because reading and writing files releases the GIL: classes are written side by side, and of a piece, which has to
be read in order, the files are handed to writers in batches.
"""

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from ..base.documents import read_document, write_document
from ..base.errors import OutputError, SourceError
from ..base.manifest import Split
from ..base.names import PlainPath
from ..base.paths import below
from ..base.retries import put_in_place
from ..base.threads import raise_if_stopped, run_all
from ..images.check import quick_problem
from ..sources.parts import Counts, SourceImage, Unit, add_counts, distinct
from ..sources.reader import Reader

Report = Callable[[int], None]
# Large batches, because reader and writers pass the GIL to and fro while both are busy: with 64 files of 2 KB and 1 MB
# a flat archive takes some 7 % longer (median of five, within their spread).
BATCH_FILES, BATCH_BYTES = 512, 4_000_000
AHEAD = 8  # batches that wait for their writers: 32 MB, and enough for as many writers

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)  # O_BINARY: Windows only


@dataclass(frozen=True, kw_only=True)
class UnitNote:
    """The note that a shared unit is finished: its files and bytes by folder."""

    counts: dict[PlainPath, tuple[int, int]]


def write_units(root: Path, partial: Path, units: Sequence[Unit], workers: int, report: Report) -> Counts:
    """Write all units with ``workers`` threads and return the files and bytes of every folder.

    ``report`` receives the bytes of each file. The first error stops the others within one file and is raised;
    so does Ctrl-C. Finished units stay. Raises SourceError for a file that is no image, or comes twice.
    """
    notes = [partial / f"piece-{number:04d}.json" for number in range(len(units))]
    counts: Counts = {}
    shared: set[str] = set()
    with ThreadPoolExecutor(max(1, workers)) as writers:
        tasks = [
            bind(_write_piece, note, unit, report, writers)
            if unit.shared
            else bind(_write_folder, root, partial, unit, report)
            for note, unit in zip(notes, units, strict=True)
        ]
        results = run_all(tasks, workers)
    for unit, note, found in zip(units, notes, results, strict=True):
        add_counts(counts, unit, found)
        if unit.shared:
            _merge(note.with_suffix(""), root / unit.folder)
            shared |= found.keys()
    for folder in shared:
        _check_shared(root / folder, counts[folder])
    return counts


def split_of(counts: Counts, split: str, classes: Sequence[str]) -> Split:
    """Return a split's totals and its images per class; an unlabelled split is given no ``classes``."""
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
    counts: Counts = {}
    with Reader(buffered=True) as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            path = below(temporary, image.path)
            if _count(unit, image, counts):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            _write([(path, _read(unit, image, reader))])
            report(image.size)
    target.parent.mkdir(parents=True, exist_ok=True)
    put_in_place(temporary, target)
    return counts


def _write_piece(note: Path, unit: Unit, report: Report, writers: ThreadPoolExecutor, stop: threading.Event) -> Counts:
    if note.is_file():
        counts = read_document(note, UnitNote).counts
        report(sum(size for _, size in counts.values()))
        return counts
    counts = {}
    place = note.with_suffix("")
    left = place.exists()  # by a killed run: what is there in full is not written again
    batches = _Batches(writers)
    with Reader(buffered=True) as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            path = below(place, image.path)
            if _count(unit, image, counts):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            if not left or _size(path) != image.size:
                batches.add(path, _read(unit, image, reader))
            report(image.size)
    batches.finish()
    write_document(note, UnitNote(counts=counts))
    return counts


class _Batches:
    """Hands files to writer threads, some at a time: a task for each would cost as much as writing it."""

    def __init__(self, writers: ThreadPoolExecutor) -> None:
        self._writers = writers
        self._files: list[tuple[str, bytes]] = []
        self._bytes = 0
        self._waiting: deque[Future[None]] = deque()

    def add(self, path: str, data: bytes) -> None:
        self._files.append((path, data))
        self._bytes += len(data)
        if len(self._files) == BATCH_FILES or self._bytes > BATCH_BYTES:
            self._submit()
            if len(self._waiting) > AHEAD:
                self._waiting.popleft().result()

    def finish(self) -> None:
        self._submit()
        for written in self._waiting:
            written.result()

    def _submit(self) -> None:
        self._waiting.append(self._writers.submit(_write, self._files))
        self._files, self._bytes = [], 0


def _count(unit: Unit, image: SourceImage, counts: Counts) -> bool:
    """Count an image and return whether it is the first one of its folder."""
    folder = f"{unit.folder}/{image.path}".removeprefix("/").rpartition("/")[0]
    images, size = counts.get(folder, (0, 0))
    counts[folder] = (images + 1, size + image.size)
    return not images


def _merge(piece: Path, target: Path) -> None:
    """Move what is in ``piece`` to ``target``; raise SourceError for a file that is there already."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        put_in_place(piece, target)
    elif piece.is_dir():
        for child in piece.iterdir():
            _merge(child, target / child.name)
    elif piece.exists():
        raise SourceError(f"two sources hold {target}; delete the output and give each image once")


def _read(unit: Unit, image: SourceImage, reader: Reader) -> bytes:
    data = image.read(reader)
    if not unit.texts and (problem := quick_problem(data)):
        raise SourceError(f"{image.where} {problem}; copy or download it again")
    return data


def _write(files: Sequence[tuple[str, bytes]]) -> None:
    for path, data in files:
        # A third of the time of Path.open and a buffer, a million times.
        descriptor = os.open(path, NEW_FILE, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)


def _count_finished(target: Path, unit: Unit, report: Report) -> Counts:
    """Return a finished folder's counts; raise OutputError when it is not what the source holds."""
    counts: Counts = {}
    found = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    with Reader() as reader:  # which reads headers alone
        for image in distinct(unit, reader):
            path = found.pop(image.path, None)
            if path is None or path.stat().st_size != image.size:
                raise OutputError(f"{target / image.path} differs from {image.where}; delete {target} and run again")
            _count(unit, image, counts)
            report(image.size)
    if found:
        raise OutputError(f"{target / next(iter(found))} is not in the source; delete {target} and run again")
    return counts


def _check_shared(folder: Path, expected: tuple[int, int]) -> None:
    """Raise OutputError when a folder that pieces were moved to is not what they wrote."""
    with os.scandir(folder) as entries:
        sizes = [entry.stat().st_size for entry in entries if entry.is_file()]
    if (len(sizes), sum(sizes)) != expected:
        raise OutputError(
            f"{folder} holds {len(sizes)} files of {sum(sizes)} bytes, the sources {expected[0]} of {expected[1]}; "
            f"delete the output and run again"
        )


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return None
