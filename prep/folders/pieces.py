"""Pieces: units that share their folders with others, such as a flat archive or one of several downloads.

A piece is written below ``.partial/`` and leaves a note when it is whole and its bytes are on the disk. The pieces move
to their folders when all of them are noted. A piece has to be read in order, so its files are handed to writer threads
in batches.
"""

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path
from threading import Event

from ..base.documents import write_document
from ..base.errors import SourceError
from ..base.names import PlainPath
from ..base.paths import below
from ..base.retries import put_in_place
from ..processes.threads import raise_if_stopped
from ..sources.parts import Counts, SourceImage, Unit, distinct
from ..sources.reader import Reader
from .files import Target, count_image, holds, path_in_root, read_checked, write_files

# Large batches, because reader and writers pass the GIL to and fro while both are busy: with 64 files of 2 KB and 1 MB
# a flat archive takes some 7 % longer (median of five, within their spread).
BATCH_FILES, BATCH_BYTES = 512, 4_000_000
AHEAD = 8  # batches that wait for their writers: 32 MB, and enough for as many writers


@dataclass(frozen=True, kw_only=True)
class UnitNote:
    """The note that a shared unit is finished: its files and bytes by folder."""

    counts: dict[PlainPath, tuple[int, int]]


def write_piece(target: Target, writers: ThreadPoolExecutor, note: Path, unit: Unit, stop: Event) -> Counts:
    """Write a piece to the folder named like its ``note``, then the note; return its files and bytes by folder.

    What a killed run left of it is compared with the source, and what is missing or differs is written.
    """
    counts: Counts = {}
    place = note.with_suffix("")
    earlier = _Earlier(target, note, unit) if note.is_file() or place.exists() else None
    batches = _Batches(writers)
    with Reader(buffered=True) as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            is_first = count_image(unit, image, counts)
            data = read_checked(unit, image, reader)
            if earlier is None or not earlier.has(image, data):
                path = below(place, image.path)
                if is_first or earlier:
                    Path(path).parent.mkdir(parents=True, exist_ok=True)
                batches.add(path, data)
            target.report(image.size)
    batches.finish()
    if earlier is None or not earlier.is_complete:
        size = sum(size for _, size in counts.values())
        target.settling.add(size, bind(write_document, note, UnitNote(counts=counts)), note.parent)
    return counts


def merge_piece(piece: Path, place: Path) -> None:
    """Move what is in ``piece`` to ``place``; raise SourceError for a file that is there already."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        put_in_place(piece, place)
    elif piece.is_dir():
        for child in piece.iterdir():
            merge_piece(child, place / child.name)
    elif piece.exists():
        raise SourceError(f"two sources hold {place}; give each image once, with another --out")


class _Earlier:
    """What a killed run left of a piece. A piece with its note may have moved to its final place, in part too."""

    def __init__(self, target: Target, note: Path, unit: Unit) -> None:
        self.is_complete = self._noted = note.is_file()
        """Whether the note is there and still true: no image is missing below ``.partial/``, or differs."""
        self._target, self._note, self._unit = target, note, unit

    def has(self, image: SourceImage, data: bytes) -> bool:
        """Return whether an image is there. One that differs at its final place is written again at once."""
        path = Path(below(self._note.with_suffix(""), image.path))
        final = Path(below(self._target.root / self._unit.folder, image.path))
        if self._noted and not path.exists() and final.exists():
            self._target.check_free([path_in_root(self._unit, image)])
            if not holds(final, data):
                self._replace(final, data)
            return True
        if holds(path, data):
            return True
        self.is_complete = False
        return False

    def _replace(self, final: Path, data: bytes) -> None:
        again = self._note.with_suffix(".again")
        write_files([(str(again), data)])
        with again.open("rb+") as file:
            os.fsync(file.fileno())
        put_in_place(again, final)


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
        self._waiting.append(self._writers.submit(write_files, self._files))
        self._files, self._bytes = [], 0
