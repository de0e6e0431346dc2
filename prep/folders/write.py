"""Writing class folders: units that appear by rename, side by side, and are never done twice.

A unit is either a folder of its own (a class of train) or a piece that shares its folders with others (a flat
archive, one of several downloads). Both are written under ``.partial/``. A folder moves into place by one rename
when it is whole and its bytes are on the disk; pieces leave a note when they are, and move when all of them are. So
whatever exists under its final name is complete, after a power cut too. A run that was killed is continued by running
it again. What it finds is compared with the source byte by byte, and written again if it differs. Threads suffice,
because reading and writing files releases the GIL: classes are written side by side, and of a piece, which has to
be read in order, the files are handed to writers in batches.
"""

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from ..base.documents import write_document
from ..base.errors import OutputError, SourceError
from ..base.flush import FLUSH_EACH, Settling
from ..base.manifest import Split
from ..base.names import PlainPath
from ..base.output import held_before
from ..base.paths import below
from ..base.retries import put_in_place
from ..base.threads import raise_if_stopped, run_all
from ..images.check import refusal
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
    held = held_before(partial)
    settling = Settling(root)
    counts: Counts = {}
    with ThreadPoolExecutor(max(1, workers)) as writers:
        tasks = [
            bind(_write_piece, root, note, unit, held, report, writers, settling)
            if unit.shared
            else bind(_write_folder, root, partial, unit, held, report, settling)
            for note, unit in zip(notes, units, strict=True)
        ]
        try:
            results = run_all(tasks, workers)
        except BaseException:
            with suppress(OSError):  # the first error counts
                settling.finish()
            raise
        settling.finish()
    for unit, note, found in zip(units, notes, results, strict=True):
        add_counts(counts, unit, found)
        if unit.shared:
            _check_free(root, held, found)
            _merge(note.with_suffix(""), root / unit.folder)
    return counts


def check_on_disk(root: Path, counts: Counts) -> None:
    """Raise OutputError unless the folders hold as many files and bytes as were written, and no class but those."""
    for folder, expected in counts.items():
        with os.scandir(root / folder) as entries:
            sizes = [entry.stat().st_size for entry in entries if entry.is_file()]
        if (len(sizes), sum(sizes)) != expected:
            raise OutputError(
                f"{root / folder} holds {len(sizes)} files of {sum(sizes)} bytes, the sources {expected[0]} of "
                f"{expected[1]}: something else writes there; stop it and choose another directory with --out"
            )
    for split in {folder.partition("/")[0] for folder in counts}:
        with os.scandir(root / split) as entries:
            others = sorted(e.name for e in entries if e.is_dir() and f"{split}/{e.name}" not in counts)
        if others:
            raise OutputError(
                f"{root / split / others[0]} is in none of the sources: something else writes there; "
                f"stop it and choose another directory with --out"
            )


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


def _check_free(root: Path, held: frozenset[str], folders: Iterable[str]) -> None:
    """Raise OutputError for a folder that would go where the user's own lay before."""
    for folder in folders:
        if (split := folder.partition("/")[0]) in held:
            raise OutputError(
                f"{root / split} was there before, and is not of this data set; choose another directory with --out"
            )


def _write_folder(
    root: Path,
    partial: Path,
    unit: Unit,
    held: frozenset[str],
    report: Report,
    settling: Settling,
    stop: threading.Event,
) -> Counts:
    target, temporary = root / unit.folder, partial / unit.folder
    _check_free(root, held, [unit.folder])
    if target.is_dir():
        found = _compare_finished(target, unit, stop)
        if found is not None:
            report(sum(size for _, size in found.values()))
            return found
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
    size = sum(size for _, size in counts.values())
    settling.add(size, bind(_put_folder, temporary, target), target.parent)
    return counts


def _put_folder(temporary: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():  # written by a run before, and found to differ from the source
        shutil.rmtree(target)
    put_in_place(temporary, target)


def _write_piece(
    root: Path,
    note: Path,
    unit: Unit,
    held: frozenset[str],
    report: Report,
    writers: ThreadPoolExecutor,
    settling: Settling,
    stop: threading.Event,
) -> Counts:
    if note.with_suffix("").exists() or note.is_file():
        return _continue_piece(root, note, unit, held, report, writers, settling, stop)
    counts: Counts = {}
    place = note.with_suffix("")
    batches = _Batches(writers)
    with Reader(buffered=True) as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            path = below(place, image.path)
            if _count(unit, image, counts):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            batches.add(path, _read(unit, image, reader))
            report(image.size)
    batches.finish()
    _note_piece(note, counts, settling)
    return counts


def _note_piece(note: Path, counts: Counts, settling: Settling) -> None:
    size = sum(size for _, size in counts.values())
    settling.add(size, bind(write_document, note, UnitNote(counts=counts)), note.parent)


def _continue_piece(
    root: Path,
    note: Path,
    unit: Unit,
    held: frozenset[str],
    report: Report,
    writers: ThreadPoolExecutor,
    settling: Settling,
    stop: threading.Event,
) -> Counts:
    """Compare what a killed run left of a piece with the source, and write what is missing or differs.

    A noted piece may have moved to its final place, in part too.
    """
    counts: Counts = {}
    place, complete = note.with_suffix(""), note.is_file()
    noted = complete
    batches = _Batches(writers)
    with Reader(buffered=True) as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            _count(unit, image, counts)
            data, path = _read(unit, image, reader), Path(below(place, image.path))
            final = Path(below(root / unit.folder, image.path))
            if noted and not path.exists() and final.exists():
                _check_free(root, held, [f"{unit.folder}/{image.path}".removeprefix("/")])
                path = final
            if _holds(path, data):
                pass
            elif path == final:
                again = note.with_suffix(".again")
                _write([(str(again), data)])
                _flush_file(again)
                put_in_place(again, path)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                batches.add(str(path), data)
                complete = False
            report(image.size)
    batches.finish()
    if not complete:
        _note_piece(note, counts, settling)
    return counts


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _flush_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


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
        raise SourceError(f"two sources hold {target}; give each image once, with another --out")


def _read(unit: Unit, image: SourceImage, reader: Reader) -> bytes:
    data = image.read(reader)
    if not unit.texts and (problem := refusal(data)):
        raise SourceError(f"{image.where} {problem}")
    return data


def _write(files: Sequence[tuple[str, bytes]]) -> None:
    for path, data in files:
        # A third of the time of Path.open and a buffer, a million times.
        descriptor = os.open(path, NEW_FILE, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if FLUSH_EACH:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _compare_finished(target: Path, unit: Unit, stop: threading.Event) -> Counts | None:
    """Return the counts of a finished folder, None if a file of it is not what the source holds.

    Raises OutputError for a file that the source does not hold: no run of feedline wrote it.
    """
    counts: Counts = {}
    found = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    same = True
    with Reader(buffered=True) as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            path = found.pop(image.path, None)
            same = same and path is not None and _holds(path, image.read(reader))
            _count(unit, image, counts)
    if found:
        raise OutputError(
            f"{target / next(iter(found))} is not in the source; move it elsewhere, then run the same command again"
        )
    return counts if same else None
