"""What writing class folders and writing pieces share: the output, and its files one by one."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import OutputError, SourceError
from ..base.flush import FLUSH_EACH, Settling
from ..images.check import refusal
from ..sources.parts import Counts, SourceImage, Unit
from ..sources.reader import Reader

Report = Callable[[int], None]

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)  # O_BINARY: Windows only


@dataclass(frozen=True)
class Target:
    """A root in the making."""

    root: Path
    partial: Path
    held: frozenset[str]
    """The folders that lay in the root before."""
    report: Report
    """Receives the bytes of each file."""
    settling: Settling

    def check_free(self, folders: Iterable[str]) -> None:
        """Raise OutputError for a folder that would go where the user's own lay before."""
        for folder in folders:
            if (split := folder.partition("/")[0]) in self.held:
                raise OutputError(
                    f"{self.root / split} was there before, and is not of this data set; "
                    f"choose another directory with --out"
                )


def read_checked(unit: Unit, image: SourceImage, reader: Reader) -> bytes:
    """Return the bytes of a file. Raises SourceError for one that is no image, unless the unit holds texts."""
    data = image.read(reader)
    if not unit.texts and (problem := refusal(data)):
        raise SourceError(f"{image.where} {problem}")
    return data


def write_files(files: Sequence[tuple[str, bytes]]) -> None:
    """Write files, each given as (path, bytes)."""
    for path, data in files:
        # A third of the time of Path.open and a buffer, a million times.
        descriptor = os.open(path, NEW_FILE, 0o666)
        try:
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                if FLUSH_EACH:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)  # of a share, this can be the call that reports a full disk
        except OSError as error:
            error.filename = path
            raise


def holds(path: Path, data: bytes) -> bool:
    """Return whether a file is there and has these bytes."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def path_in_root(unit: Unit, image: SourceImage) -> str:
    """Return an image's path below the root."""
    return f"{unit.folder}/{image.path}".removeprefix("/")


def count_image(unit: Unit, image: SourceImage, counts: Counts) -> bool:
    """Count an image and return whether it is the first one of its folder."""
    folder = path_in_root(unit, image).rpartition("/")[0]
    images, size = counts.get(folder, (0, 0))
    counts[folder] = (images + 1, size + image.size)
    return not images
